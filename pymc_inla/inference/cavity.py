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

from dataclasses import dataclass, fields

import numpy as np

from pymc_inla.inference import skew_normal
from pymc_inla.inference.inner import Cavities, Moments
from pymc_inla.inference.observation_order import observation_ranges
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.lgm import LGMFunctions

MAX_LEVERAGE = 1 - 1e-9
"""Leverage v W beyond which nothing but the own observation determines eta_i."""
MATCH_STEPS = 80
LARGE = 50_000
"""Linear predictors above which matching is less precise: log p(y_i | y_-i) is off by 0.002 in one of a thousand"""
OUTWEIGHED = 3.0
"""v_i / v from which on skewness is not matched: the posterior is that of the own observation, and the difference of
two third moments, times the cube of this, would be mostly error."""
AT_ONCE, MATCHED_AT_ONCE = 8192, 32_768
"""Linear predictors whose nodes are worked on together, once and in an iteration: what fits a cache"""
LOWEST = -1e8
"""Floor of a log density, so that one impossible observation does not turn every sum into NaN. Where a
log density is not a number, a parameter is outside its range."""


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
class Precision:
    """How precisely posteriors are matched."""

    nodes: int
    mean: float
    """Change of a mean, in sd, at which the iteration ends"""
    skewness: float
    """and of a skewness"""


FINE, COARSE = Precision(15, 1e-4, 1e-3), Precision(7, 1e-3, 1e-2)


@dataclass(frozen=True)
class Tilted:
    """Moments of cavity times likelihood, each (n_eta,)."""

    log_predictive: np.ndarray
    """log p(y_i | y_-i, theta); -inf where nothing but y_i determines eta_i"""
    mean: np.ndarray
    variance: np.ndarray
    third: np.ndarray
    """Third central moment"""


@dataclass(frozen=True)
class Nodes:
    """Gauss-Hermite nodes for every linear predictor, with the log-likelihood there."""

    z: np.ndarray
    """(k, 1) of a standard normal"""
    weights: np.ndarray
    """(k, 1), sum to one"""
    mean: np.ndarray
    """(n_eta,)"""
    sd: np.ndarray
    """(n_eta,)"""
    log_p: np.ndarray
    """(k, n_eta)"""

    @classmethod
    def around(cls, functions: LGMFunctions, theta, posterior: Moments, k: int) -> Nodes:
        """k nodes in the posterior with these moments, its skewness left out."""
        z, w = np.polynomial.hermite_e.hermegauss(k)
        log_p = np.empty((k, functions.n_eta))
        for node, row in zip(z, log_p, strict=True):
            value = functions.log_likelihood_values((posterior.mean + posterior.sd * node)[None], theta)
            np.fmax(value[0], LOWEST, out=row)
        return cls(z[:, None], (w / w.sum())[:, None], posterior.mean, posterior.sd, log_p)

    def only(self, part) -> Nodes:
        """For some of the linear predictors."""
        return Nodes(self.z, self.weights, self.mean[part], self.sd[part], self.log_p[:, part])


def tilt(nodes: Nodes, cavities: Cavities) -> Tilted:
    """Multiply the cavities by the likelihood."""
    slices = _slices(len(nodes.mean), AT_ONCE)
    return _joined(map_in_order(lambda part: _tilt(nodes.only(part), only_some(cavities, part)), slices))


def _tilt(nodes: Nodes, cavities: Cavities) -> Tilted:
    z = nodes.z
    eta = nodes.mean + nodes.sd * z
    flat = ~np.isfinite(cavities.variance)
    spread = ~flat & (cavities.variance > 0) & (nodes.sd > 0)
    sd = np.sqrt(np.where(spread, cavities.variance, 1.0))
    log_cavity = skew_normal.log_pdf(eta, *skew_normal.parameters(cavities.mean, sd, cavities.skewness))
    log_node = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(np.where(spread, nodes.sd, 1.0))
    # a flat cavity is a constant next to the posterior; one without spread leaves the predictor where it is
    log_ratio = np.where(spread, log_cavity - log_node, np.where(flat, 0.5 * z**2, 0.0))
    log_mass = np.log(nodes.weights) + log_ratio + nodes.log_p
    top = log_mass.max(axis=0)
    mass = np.exp(log_mass - top)
    total = mass.sum(axis=0)
    mass /= total
    mean = np.sum(mass * eta, axis=0)
    deviation = eta - mean
    mass *= deviation
    mass *= deviation
    variance = mass.sum(axis=0)
    mass *= deviation
    return Tilted(np.where(flat, -np.inf, np.log(total) + top), mean, variance, mass.sum(axis=0))


def match(functions: LGMFunctions, theta, posterior: Moments, start: Cavities) -> Cavities:
    """Cavities that give posteriors with these moments, from `start`.

    The fixed-point iteration of expectation propagation (Minka 2001) with the posterior held: the Gaussian that stands
    for the likelihood under the present cavity is removed from the posterior. Where the iteration does not settle with
    a third moment, it is done without one, and where it does not settle then, the start stays.
    """
    precision = FINE if functions.n_eta <= LARGE else COARSE

    def match_range(work) -> Cavities:
        at, some = work
        known, first = only_some(posterior, at), only_some(start, at)
        nodes = Nodes.around(some, theta, known, precision.nodes)
        return _joined(
            map_in_order(
                lambda part: _match(nodes.only(part), only_some(known, part), only_some(first, part), precision),
                _slices(len(nodes.mean), MATCHED_AT_ONCE),
            )
        )

    return _joined(map_in_order(match_range, observation_ranges(functions, MATCHED_AT_ONCE)))


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _joined(parts):
    """Cavities or tilted moments of ranges of linear predictors, one behind the other"""
    parts = list(parts)
    return type(parts[0])(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(parts[0])))


def _match(nodes: Nodes, posterior: Moments, start: Cavities, precision: Precision) -> Cavities:
    found, settled = _iterate(nodes, posterior, start, precision, skewed=True)
    again = np.flatnonzero(~settled)
    if len(again) == 0:
        return found
    at = nodes.only(again), only_some(posterior, again), only_some(start, again)
    without, settled = _iterate(*at, precision, skewed=False)
    return _replace(found, again, _choose(settled, without, at[2]))


def only_some(of, part):
    """Cavities or moments of some of the linear predictors."""
    return type(of)(*(getattr(of, f.name)[part] for f in fields(of)))


def _replace(of: Cavities, part, new: Cavities) -> Cavities:
    replaced = [getattr(of, f.name).copy() for f in fields(of)]
    for values, f in zip(replaced, fields(of), strict=True):
        values[part] = getattr(new, f.name)
    return Cavities(*replaced)


def _choose(condition, first: Cavities, second: Cavities) -> Cavities:
    return Cavities(*(np.where(condition, getattr(first, f.name), getattr(second, f.name)) for f in fields(first)))


def _iterate(
    nodes: Nodes, posterior: Moments, start: Cavities, precision: Precision, *, skewed: bool
) -> tuple[Cavities, np.ndarray]:
    """(cavities, where they no longer move). Only those that still move are updated."""
    found, moving = start, np.arange(len(posterior.mean))
    shared = widening(start, posterior.sd**2) < OUTWEIGHED
    for _ in range(MATCH_STEPS):
        at = nodes.only(moving), only_some(posterior, moving), only_some(found, moving), shared[moving] & skewed
        moved, settled = _step(*at, precision)
        found = _replace(found, moving, moved)
        moving = moving[~settled]
        if len(moving) == 0:
            break
    still = np.ones(len(posterior.mean), dtype=bool)
    still[moving] = False
    return found, still


def _step(
    nodes: Nodes, posterior: Moments, found: Cavities, skewed, precision: Precision
) -> tuple[Cavities, np.ndarray]:
    """(cavities after a step, where it was small). Where it leaves no positive variance, a cavity stays what it was."""
    target, tilted = posterior.sd**2, tilt(nodes, found)
    with np.errstate(divide="ignore", invalid="ignore"):
        narrowness = 1 / target - 1 / tilted.variance + 1 / found.variance
        shift = posterior.mean / target - tilted.mean / tilted.variance + found.mean / found.variance
        usable = np.isfinite(narrowness) & (narrowness * target > 1 - MAX_LEVERAGE) & np.isfinite(shift)
        mean = np.where(usable, shift / narrowness, found.mean)
        variance = np.where(usable, 1 / narrowness, found.variance)
        more = (posterior.skewness * posterior.sd**3 - tilted.third) * widening(found, target) ** 3
        more = np.where(skewed, more / found.variance**1.5, 0.0)
    # half of the step: the third moment of a cavity acts on all three of the posterior
    skewness = skew_normal.bounded(found.skewness + 0.5 * np.where(np.isfinite(more), more, 0.0))
    settled = usable & (np.abs(mean - found.mean) <= precision.mean * posterior.sd)
    settled &= np.abs(skewness - found.skewness) <= precision.skewness
    # nothing to match: no other observation says anything, or nothing is uncertain
    settled |= ~np.isfinite(found.variance) | (target <= 0)
    return Cavities(mean, variance, skewness), settled
