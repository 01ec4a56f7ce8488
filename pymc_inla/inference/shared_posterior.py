"""p(x_S | theta, y), the local latents integrated out: its density at the mode, which turns log p(y, x_S*, theta) into
log p(theta | y), its moments, and the distribution that draws of x_S come from.

To first order it is N(x_S*, S), with the mean and the skewness that third derivatives give. Where that is not enough,
see `copula`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import linalg

from pymc_inla.inference import skew_normal
from pymc_inla.inference.local_blocks import LocalBlocks


class NormalShared:
    """N(x_S*, S) with first-order corrections.

    Parameters
    ----------
    point : QuadraturePoint
    """

    n_passes = 0

    def __init__(self, point):
        self.point, self.base = point, Normal(point.approximation.blocks, point.factor[0])

    @property
    def log_density_at_mode(self) -> float:
        return self.base.log_scale

    @property
    def covariance(self) -> np.ndarray:
        """(n_S, n_S)"""
        return self.point.S

    @cached_property
    def sd(self) -> np.ndarray:
        """(n_S,)"""
        return np.sqrt(np.maximum(np.diag(self.point.S), 0.0))

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """(n_S,) difference between the mean of x_S and its mode."""
        return skew_normal.bounded_shift(self.point.adjoint.v, self.sd)

    @cached_property
    def skewness(self) -> np.ndarray:
        """(n_S,)"""
        from pymc_inla.inference.quadrature_moments import shared_skewness

        return shared_skewness(self.point, self.sd)

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of x_S - x_S* (m, n_S), and their log density (m,)."""
        deviation, log_density = self.base.sample(rng, m)
        return self.mean_shift + deviation, log_density


class Normal:
    """N(0, Z (L L')^-1 Z').

    Parameters
    ----------
    blocks : LocalBlocks
        Has Z, (n_S, n)
    lower : (n, n) array
        L
    """

    def __init__(self, blocks: LocalBlocks, lower: np.ndarray):
        self.Z, self.lower = blocks.Z, lower
        self.log_scale = float(np.sum(np.log(np.diag(lower)))) - 0.5 * len(lower) * np.log(2 * np.pi)

    def log_density(self, deviation: np.ndarray) -> np.ndarray:
        """(m, n_S) to (m,)"""
        return self.log_scale - 0.5 * np.sum((deviation @ self.Z @ np.tril(self.lower)) ** 2, axis=1)

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Deviations (m, n_S), and their log density (m,)."""
        normals = rng.standard_normal((m, len(self.lower)))
        log_density = self.log_scale - 0.5 * np.sum(normals**2, axis=1)
        if not len(self.lower):
            return np.zeros((m, len(self.Z))), log_density
        reduced = linalg.solve_triangular(self.lower, normals.T, lower=True, trans="T")
        return (self.Z @ reduced).T, log_density
