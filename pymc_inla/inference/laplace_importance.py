"""What an approximation of log p(theta | y) is off by, from importance sampling:

    log p(y | theta) - log p~(y | theta) = log E_q[ p(y, x | theta) / (p~(y | theta) q(x)) ],    q = p~(x | theta, y)

(Kuk 1999, Laplace importance sampling for generalized linear mixed models). The same normals at every theta make
differences between values of theta far more precise than the values, and what is left of their Monte Carlo error a
smooth function of theta.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymc_inla.inference.around_mode import UNLIKELY, FunctionsOfTheta, design, thetas_around
from pymc_inla.inference.draws import EVEN, GOOD_K
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior

SEED = 20261130
"""The result does not depend on the seed of a fit"""
LEAST = 0.05
"""Share of effective draws below which their mean says nothing"""
DRAWS, FEW_DRAWS, SCREENED = 1000, 200, 2.0
"""At each theta of the design of `around_mode`, at most; at each of those so many sd from theta* that are looked at
first, and the least"""
WORK_OF_IMPORTANCE = 1e8
"""Draws at all of it, times passes over the data for each, latents and predictors: a few seconds"""
FELT, LIKELY = 0.1, 4.0
"""Change of log p(theta | y) by importance sampling, from point to point of those at most so much less likely than
theta*, from which on it is made"""


def log_mean_ratio(point, m: int) -> float:
    """The logarithm of the mean of the ratios at one theta, NaN where it cannot be told.

    Parameters
    ----------
    point : InnerPoint
    m : int
        Draws.
    """
    sample = point.sample(np.random.default_rng(SEED), m)
    r = sample.log_joint - sample.log_q - point.log_posterior
    r = np.where(np.isfinite(r), r, -np.inf)
    if not np.any(np.isfinite(r)):
        return np.nan
    smooth, k_hat = smooth_log_weights(r)
    efficiency = 1.0 / (m * np.sum(np.exp(2 * smooth)))
    if efficiency < LEAST or (k_hat > GOOD_K and efficiency < EVEN):
        return np.nan
    return float(np.logaddexp.reduce(r) - np.log(m))


def corrected(posterior: ThetaPosterior, mode: ThetaMode, lower, upper) -> tuple[ThetaPosterior, ThetaMode, str]:
    """The same with what log p~(theta | y) is off by, as importance sampling tells, and what to say of it."""
    inner, d = posterior.inner, len(mode.theta_star)
    f, points = inner.functions, design(d)
    each = len(points) * inner.passes_per_draw * (f.n_x + f.n_eta)
    draws = min(DRAWS, int(WORK_OF_IMPORTANCE / each))
    if not d or draws < FEW_DRAWS:
        return posterior, mode, ""

    def off_at(z: np.ndarray, m: int) -> tuple[list[Evaluation], np.ndarray]:
        """Values of theta, theta* first, and what is off there."""
        known = posterior.evaluate_all(thetas_around(mode, lower, upper, z))
        known = [e for e in known if e.log_posterior > mode.log_posterior - UNLIKELY]
        return known, np.array([log_mean_ratio(posterior.point(e.theta), m) for e in known])

    few, screened = off_at(points[np.linalg.norm(points, axis=1) < SCREENED], FEW_DRAWS)
    if len(few) and np.ptp(screened) < 0.5 * FELT:  # not where one of them cannot be told
        return posterior, mode, ""
    known, off = off_at(points, draws)
    told = np.isfinite(off)
    likely = told & np.array([e.log_posterior > mode.log_posterior - LIKELY for e in known], dtype=bool)
    if not told[:1].any() or np.ptp(off[likely]) < FELT:
        return posterior, mode, ""
    thetas = np.array([e.theta for e in known])[told]
    better = ThetaPosterior.of(inner.with_correction(FunctionsOfTheta.of(mode, thetas, off[told, None])))
    better.near, better.center = posterior.near, posterior.center
    mode = replace(mode, log_posterior=better(mode.theta_star).log_posterior)
    return better, mode, "; the density of the hyperparameters is corrected by importance sampling"
