"""Marginals of theta from its density on a regular grid in z, theta = origin + root z.

Along a line of the grid theta_j moves linearly. A cubic spline of the density on each line gives its distribution
function and density at any theta_j; their sums over the parallel lines, which for a smooth density are exact to many
digits (trapezoidal rule), are those of the marginal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

BRACKETS, FINE_BRACKETS, FEW = 257, 1025, 50
"""Values of theta_j between which a quantile is bracketed: for a few probabilities, and for many"""
EMPTY = 1e-14
"""Mass of a line that adds nothing to the sums: most lines in the corners of a box of three"""


@dataclass(frozen=True)
class LatticeDensity:
    """A density on a regular grid."""

    axes: tuple[np.ndarray, ...]
    """d arrays of equally spaced z"""
    mass: np.ndarray
    """(m_1, ..., m_d), sums to one"""
    origin: np.ndarray
    """(d,)"""
    root: np.ndarray
    """(d, d)"""

    @cached_property
    def marginals(self) -> tuple[LatticeMarginal, ...]:
        """One per component of theta."""
        return tuple(LatticeMarginal.of(self, j) for j in range(len(self.axes)))


@dataclass(frozen=True)
class LatticeMarginal:
    """One component of theta."""

    axis: np.ndarray
    """(m,) z along the lines"""
    offsets: np.ndarray
    """(L,) theta_j on each line at z = 0"""
    slope: float
    """Change of theta_j per z"""
    density: np.ndarray
    """(4, m - 1, L) coefficients of the density on the lines"""
    integral: np.ndarray
    """(5, m - 1, L) the same of its integral from the lower end"""
    low: float
    high: float
    """Range of theta_j that holds all mass but 1e-12 per point"""

    @classmethod
    def of(cls, lattice: LatticeDensity, j: int) -> LatticeMarginal:
        """Lines along the axis that moves theta_j most."""
        along = int(np.argmax(np.abs(lattice.root[j] * [np.ptp(axis) for axis in lattice.axes])))
        z = np.meshgrid(*lattice.axes, indexing="ij")
        theta = lattice.origin[j] + sum(r * part for r, part in zip(lattice.root[j], z, strict=True))
        within = theta[lattice.mass > 1e-12]
        axis, slope = lattice.axes[along], float(lattice.root[j, along])
        mass = np.moveaxis(lattice.mass, along, 0).reshape(len(axis), -1)
        held = mass.sum(axis=0) > EMPTY
        offsets = (np.moveaxis(theta, along, 0)[0].reshape(-1) - slope * axis[0])[held]
        spline = CubicSpline(axis, mass[:, held])
        integral = spline.antiderivative()
        total = float(np.sum(integral(axis[-1])))
        return cls(axis, offsets, slope, spline.c / total, integral.c / total, float(within.min()), float(within.max()))

    def cdf(self, theta) -> np.ndarray:
        """(T,) to (T,)"""
        below = self._sum(self.integral, theta)
        return np.clip(below if self.slope > 0 else 1.0 - below, 0.0, 1.0)

    def pdf(self, theta) -> np.ndarray:
        """(T,) to (T,)"""
        return np.maximum(self._sum(self.density, theta, inside=True), 0.0) / abs(self.slope)

    def quantiles(self, probabilities) -> np.ndarray:
        """Of a few probabilities to many digits; of many, as for draws, linear between 1025 values."""
        p = np.asarray(probabilities, dtype=float)
        if len(p) > FEW:
            return np.interp(p, *self._table(FINE_BRACKETS))
        F, theta = self._brackets
        found = np.interp(p, F, theta)
        at = np.clip(np.searchsorted(F, p) - 1, 0, BRACKETS - 2)
        for _ in range(2):
            slope = self.pdf(found)
            step = np.where(slope > 0, (p - self.cdf(found)) / np.where(slope > 0, slope, 1.0), 0.0)
            found = np.clip(found + step, theta[at], theta[at + 1])
        return found

    @cached_property
    def _brackets(self) -> tuple[np.ndarray, np.ndarray]:
        return self._table(BRACKETS)

    def _table(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Distribution function at equally spaced theta_j, and these."""
        theta = np.linspace(self.low, self.high, size)
        return np.maximum.accumulate(self.cdf(theta)), theta

    def _sum(self, coefficients, theta, inside: bool = False) -> np.ndarray:
        """Sums over the lines of piecewise polynomials, constant beyond the ends of a line or zero there (`inside`)."""
        z = (np.asarray(theta, dtype=float)[:, None] - self.offsets) / self.slope
        clipped = np.clip(z, self.axis[0], self.axis[-1])
        spacing = self.axis[1] - self.axis[0]
        at = np.clip(((clipped - self.axis[0]) / spacing).astype(np.int64), 0, len(self.axis) - 2)
        step, lines = clipped - self.axis[at], np.arange(len(self.offsets))
        value = np.zeros_like(z)
        for power in coefficients:
            value = value * step + power[at, lines]
        if inside:
            value = np.where(z == clipped, value, 0.0)
        return value.sum(axis=1)
