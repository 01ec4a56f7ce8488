"""The linear predictor of an observation given all other observations: its cavity.

    p(eta_i | y, theta) = p(y_i | eta_i) p(eta_i | y_-i, theta) / p(y_i | y_-i, theta)

Removing the Gaussian approximation of the own likelihood from that of the posterior (mode eta_i, variance v, W and l'
at the mode) leaves (Vehtari, Mononen, Tolvanen, Sivula & Winther 2016, JMLR 17, section 3.2)

    mean eta_i - v_i l'_i,  variance v_i = v / (1 - v W),

and covariances with other predictors that are v_i / v times those of the posterior, so that the third cumulant, which
the third derivatives of the other observations make, is (v_i / v)^3 times theirs in the posterior. Cavities are skew
normals with these moments. The likelihood itself comes back by quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference import skew_normal
from pymc_inla.inference.inner import Cavities, Moments
from pymc_inla.lgm import LGMFunctions

MAX_LEVERAGE = 1 - 1e-9
"""Leverage v W beyond which nothing but the own observation determines eta_i."""
MAX_SKEWNESS = 0.9
"""A skew normal reaches 0.995; beyond this the expansion is no longer one."""
MATCH_STEPS, MATCH_NODES, TOLERANCE = 40, 15, 1e-3
SKEWNESS_TOLERANCE = 0.01
OUTWEIGHED = 3.0
"""v_i / v from which on skewness is not matched: the posterior is that of the own observation, and the difference of
two third moments, times the cube of this, would be mostly error."""
LOWEST = -1e8
"""Floor of a log density, so that one impossible observation does not turn every sum into NaN."""


def remove_own(mean: np.ndarray, variance: np.ndarray, slope: np.ndarray, W: np.ndarray) -> Cavities:
    """Cavities from posteriors N(mean, variance) with l' = `slope` and -l'' = `W` there, each (n_eta,)."""
    rest = 1.0 - variance * W
    bounded = rest > 1 - MAX_LEVERAGE
    wide = np.where(bounded, variance / np.where(bounded, rest, 1.0), np.inf)
    moved = mean - np.where(bounded, wide, 0.0) * slope
    return Cavities(moved, wide, np.zeros(len(mean)))


def widening(cavities: Cavities, variance: np.ndarray) -> np.ndarray:
    """v_i / v, (n_eta,); 1 where there is no cavity or no variance."""
    usable = np.isfinite(cavities.variance) & (variance > 0)
    return np.where(usable, cavities.variance, 1.0) / np.where(usable, variance, 1.0)


@dataclass(frozen=True)
class Tilted:
    """Moments of cavity times likelihood, each (n_eta,)."""

    log_predictive: np.ndarray
    """log p(y_i | y_-i, theta); -inf where nothing but y_i determines eta_i"""
    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    """Third central moment"""


def tilt(functions: LGMFunctions, theta, cavities: Cavities, around: Moments, n_nodes: int) -> Tilted:
    """Multiply the cavities by the likelihood.

    Parameters
    ----------
    around : Moments
        Where the nodes lie: mean and sd of the posterior of eta.
    n_nodes : int
    """
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    z = z[:, None]
    eta = around.mean + around.sd * z
    log_p = np.maximum(functions.log_likelihood_values(eta, theta), LOWEST)
    flat = ~np.isfinite(cavities.variance)
    spread = ~flat & (cavities.variance > 0) & (around.sd > 0)
    sd = np.sqrt(np.where(spread, cavities.variance, 1.0))
    log_cavity = skew_normal.log_pdf(eta, *skew_normal.parameters(cavities.mean, sd, cavities.skewness))
    log_node = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(np.where(spread, around.sd, 1.0))
    # a flat cavity is a constant next to the posterior; one without spread leaves the predictor where it is
    log_ratio = np.where(spread, log_cavity - log_node, np.where(flat, 0.5 * z**2, 0.0))
    log_mass = np.log(w / w.sum())[:, None] + log_ratio + log_p
    top = log_mass.max(axis=0)
    mass = np.exp(log_mass - top)
    total = mass.sum(axis=0)
    mass /= total
    mean = np.sum(mass * eta, axis=0)
    variance, third = (np.sum(mass * (eta - mean) ** power, axis=0) for power in (2, 3))
    return Tilted(np.where(flat, -np.inf, np.log(total) + top), mean, variance, third)


def match(functions: LGMFunctions, theta, posterior: Moments, start: Cavities) -> Cavities:
    """Cavities that give posteriors with these moments, from `start`.

    The fixed-point iteration of expectation propagation (Minka 2001) with the posterior held: the Gaussian that stands
    for the likelihood under the present cavity is removed from the posterior. Where the iteration does not settle with
    a third moment, it is done without one, and where it does not settle then, the start stays.
    """
    found, settled = _iterate(functions, theta, posterior, start, skewed=True)
    if settled.all():
        return found
    gaussian, settled_without = _iterate(functions, theta, posterior, start, skewed=False)
    return _choose(settled, found, _choose(settled_without, gaussian, start))


def _choose(condition, first: Cavities, second: Cavities) -> Cavities:
    parts = ("mean", "variance", "skewness")
    return Cavities(*(np.where(condition, getattr(first, part), getattr(second, part)) for part in parts))


def _iterate(functions, theta, posterior: Moments, start: Cavities, *, skewed: bool) -> tuple[Cavities, np.ndarray]:
    """(cavities, where they no longer move). Where a step leaves no positive variance, a cavity stays what it was."""
    found, target = start, posterior.sd**2
    shared = widening(start, target) < OUTWEIGHED
    target_third = posterior.skewness * posterior.sd**3
    settled = np.zeros(len(target), dtype=bool)
    for _ in range(MATCH_STEPS):
        tilted = tilt(functions, theta, found, posterior, MATCH_NODES)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = 1 / target - 1 / tilted.variance + 1 / found.variance
            shift = posterior.mean / target - tilted.mean / tilted.variance + found.mean / found.variance
            usable = np.isfinite(precision) & (precision * target > 1 - MAX_LEVERAGE) & np.isfinite(shift)
            mean = np.where(usable, shift / precision, found.mean)
            variance = np.where(usable, 1 / precision, found.variance)
            more = (target_third - tilted.third) * widening(found, target) ** 3 / found.variance**1.5
        more = np.where(np.isfinite(more) & shared, more, 0.0) if skewed else np.zeros(len(target))
        # half of the step: the third moment of a cavity acts on all three of the posterior
        skewness = np.clip(found.skewness + 0.5 * more, -MAX_SKEWNESS, MAX_SKEWNESS)
        settled = np.abs(mean - found.mean) <= TOLERANCE * posterior.sd
        settled &= np.abs(skewness - found.skewness) <= SKEWNESS_TOLERANCE
        found = Cavities(mean, variance, skewness)
        if settled.all():
            break
    return found, settled
