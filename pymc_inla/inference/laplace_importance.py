"""What an approximation of log p(theta | y) is off by, from importance sampling:

    log p(y | theta) - log p~(y | theta) = log E_q[ p(y, x | theta) / (p~(y | theta) q(x)) ],    q = p~(x | theta, y)

(Kuk 1999, Laplace importance sampling for generalized linear mixed models). The same normals at every theta make
differences between values of theta far more precise than the values, and what is left of their Monte Carlo error a
smooth function of theta.
"""

from __future__ import annotations

import numpy as np

from pymc_inla.inference.draws import EVEN, GOOD_K
from pymc_inla.inference.pareto import smooth_log_weights

SEED = 20261130
"""The result does not depend on the seed of a fit"""
LEAST = 0.05
"""Share of effective draws below which their mean says nothing"""


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
