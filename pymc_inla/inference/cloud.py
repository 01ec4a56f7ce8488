"""Weighted points that carry a density: importance sampling where the target costs nothing, because it is emulated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference.density import midpoints, normalize
from pymc_inla.lgm import QUANTILES
from pymc_inla.theta_space import ThetaSpace


@dataclass(frozen=True)
class Cloud:
    """Points of a proposal, of which those within reach are kept."""

    z: np.ndarray
    """(n, d)"""
    theta: np.ndarray
    """(n, d)"""
    log_proposal: np.ndarray
    """(n,)"""
    known: np.ndarray
    """(n,) log of the target, but for what is emulated"""
    m: int
    """Number of points that were drawn"""

    def weights(self, log_target: np.ndarray) -> tuple[np.ndarray, float]:
        """Normalized importance weights (n,), and the logarithm of the integral of the target over z."""
        weights, log_sum = normalize(log_target - self.log_proposal)
        return weights, log_sum - np.log(self.m)

    def efficiency(self, log_target: np.ndarray) -> float:
        """Relative effective sample size"""
        return 1.0 / (self.m * np.sum(self.weights(log_target)[0] ** 2))

    def changes(self, before: np.ndarray, after: np.ndarray, space: ThetaSpace) -> tuple[float, float]:
        """Largest change of a quantile of a hyperparameter from one log target (n,) to another, relative to a quarter
        of the central 95 % (an sd, where there is one): as it is reported, and on the kinder of its two scales. Tails
        that are long on one of them make quantiles move there that do not matter on the other.

        Where the targets are more than a log unit apart, nothing is known but that the first one was wrong. It counts
        as far as there is mass of the second: peaks that are gone are not an error that is left.
        """
        w_after, _ = self.weights(after)
        w_before, _ = self.weights(np.clip(before, after - 1.0, after + 1.0))

        reported, kinder = [], []
        for j, column in enumerate(self.theta.T):
            order = np.argsort(column, kind="stable")
            levels = [midpoints(w[order]) for w in (w_before, w_after)]
            changes = _moved(space.reported(j, column[order]), levels)
            reported.append(changes)
            kinder.append(np.minimum(changes, _moved(column[order], levels)))
        return float(np.max(reported)), float(np.max(kinder))


def _moved(values: np.ndarray, levels: list[np.ndarray]) -> np.ndarray:
    """Changes of the quantiles of values in increasing order whose distribution function is first one, then another"""
    old, new = (np.interp(QUANTILES, level, values) for level in levels)
    spread = (new[-1] - new[0]) / 4.0
    return np.abs(new - old) / spread if spread > 0 else np.full(len(new), np.inf)
