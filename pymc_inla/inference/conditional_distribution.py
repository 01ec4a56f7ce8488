"""A distribution of latents given theta: its density at the mode, which turns log p(y, x*, theta) into
log p(theta | y), its moments, and where draws come from. Of x_S where the local latents are integrated by quadrature,
else of all x.

To first order it is N(x*, S), with the mean and the skewness that third derivatives give. Where that is not enough, see
`copula`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy import linalg


@dataclass(frozen=True)
class Cumulants:
    """Of x - x*, each (n,)."""

    mean_shift: np.ndarray
    sd: np.ndarray
    skewness: np.ndarray
    marginals: ClassVar[dict] = {}


class FirstOrder:
    """N(x*, S) with corrections to first order. Subclasses say how these are computed, when they are needed.

    Parameters
    ----------
    base : Normal
        N(0, S)
    """

    n_passes = 0
    marginals: ClassVar[dict] = {}
    covariance: np.ndarray
    """(n, n) S"""
    mean_shift: np.ndarray
    """(n,) difference between mean and mode"""
    skewness: np.ndarray
    """(n,)"""

    def __init__(self, base: Normal):
        self.base = base

    @property
    def log_density_at_mode(self) -> float:
        return self.base.log_scale

    @cached_property
    def sd(self) -> np.ndarray:
        """(n,)"""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of x - x* (m, n), and their log density (m,)."""
        deviation, log_density = self.base.sample(rng, m)
        return self.mean_shift + deviation, log_density


class Normal:
    """N(0, Z (L L')^-1 Z').

    Parameters
    ----------
    Z : (n_S, n) array
    lower : (n, n) array
        L
    """

    def __init__(self, Z: np.ndarray, lower: np.ndarray):
        self.Z, self.lower = Z, lower
        self.log_scale = float(np.sum(np.log(np.diag(lower)))) - 0.5 * len(lower) * np.log(2 * np.pi)

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Deviations (m, n_S), and their log density (m,)."""
        normals = rng.standard_normal((m, len(self.lower)))
        log_density = self.log_scale - 0.5 * np.sum(normals**2, axis=1)
        if not len(self.lower):
            return np.zeros((m, len(self.Z))), log_density
        reduced = linalg.solve_triangular(self.lower, normals.T, lower=True, trans="T")
        return (self.Z @ reduced).T, log_density
