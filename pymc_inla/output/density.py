"""A univariate density given on a grid: statistics, quantiles, change of variable.

Between the points the density is a monotone cubic (PCHIP: never negative, no overshoot); its integral is exact for
that interpolant. Beyond the grid it is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator

from pymc_inla.errors import InvalidOptionError


@dataclass(frozen=True)
class GridDensity:
    """Density of one scalar.

    Parameters
    ----------
    x : ndarray (G,)
        Increasing abscissae.
    density : ndarray (G,)
        Values of the density up to a factor.
    name : str
    """

    x: np.ndarray
    density: np.ndarray
    name: str = ""
    _normalized: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        x, density = np.asarray(self.x, float), np.asarray(self.density, float)
        if x.ndim == 1 and x.shape == density.shape:
            # points that a change of variable rounds to one number carry no mass
            kept = np.concatenate([[True], np.diff(x) != 0])
            x, density = x[kept], density[kept]
        if x.ndim != 1 or x.shape != density.shape or len(x) < 3 or np.any(np.diff(x) <= 0) or np.any(density < 0):
            raise InvalidOptionError(f"{self.name}: a density needs increasing abscissae and non-negative values.")
        mass = PchipInterpolator(x, density).antiderivative()(x[-1])
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "_normalized", density / mass)

    @cached_property
    def _interpolant(self) -> PchipInterpolator:
        return PchipInterpolator(self.x, self._normalized, extrapolate=False)

    @cached_property
    def _integral(self):
        return self._interpolant.antiderivative()

    def pdf(self, x):
        """Density at x."""
        return np.nan_to_num(self._interpolant(np.asarray(x, float)), nan=0.0)

    def cdf(self, x):
        """Probability of values up to x."""
        return np.clip(self._integral(np.clip(x, self.x[0], self.x[-1])), 0.0, 1.0)

    def ppf(self, q):
        """Quantiles: the inverse of `cdf`, by Newton steps inside the bracketing cell of the grid."""
        q = np.asarray(q, float)
        if np.any((q < 0) | (q > 1)):
            raise InvalidOptionError("ppf: probabilities lie between 0 and 1.")
        at_grid = np.maximum.accumulate(self.cdf(self.x))
        cell = np.clip(np.searchsorted(at_grid, q, side="left"), 1, len(self.x) - 1)
        low, high = self.x[cell - 1], self.x[cell]
        x = 0.5 * (low + high)
        for _ in range(60):  # bisection safeguards Newton, so 60 halvings bound the error by 1e-18 of the cell
            error = self.cdf(x) - q
            low, high = np.where(error < 0, x, low), np.where(error < 0, high, x)
            slope = self.pdf(x)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = x - error / slope
            x = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        return x

    def rvs(self, size=None, random_state=None):
        """Random draws."""
        return self.ppf(np.random.default_rng(random_state).uniform(size=size))

    def expectation(self, function: Callable = lambda x: x) -> float:
        """E[function(x)], by Gauss-Legendre quadrature (5 nodes, exact to degree 9) in each cell of the grid."""
        nodes, weights = np.polynomial.legendre.leggauss(5)
        half = 0.5 * np.diff(self.x)
        x = 0.5 * (self.x[1:] + self.x[:-1])[:, None] + half[:, None] * nodes
        values = np.broadcast_to(np.asarray(function(x), float), x.shape)
        return float(np.sum(half[:, None] * weights * values * self.pdf(x)))

    @property
    def mean(self) -> float:
        """Expectation of the part on the grid."""
        return self.expectation()

    @property
    def sd(self) -> float:
        """Standard deviation of the part on the grid."""
        mean = self.mean
        return float(np.sqrt(self.expectation(lambda x: (x - mean) ** 2)))

    @property
    def mode(self) -> float:
        """Vertex of the parabola through the logarithm of the highest point and its neighbors."""
        return find_mode(self.x, self._normalized)

    def quantile(self, q):
        """The same as `ppf`."""
        return self.ppf(q)

    def transform(self, function: Callable, name: str | None = None) -> GridDensity:
        """Density of function(x), for a strictly monotone function.

        Raises
        ------
        InvalidOptionError
            The function is not strictly monotone or not finite on the grid.
        """
        y, slope = monotone_values(function, self.x)
        order = slice(None) if y[-1] > y[0] else slice(None, None, -1)
        return GridDensity(y[order], (self._normalized / np.abs(slope))[order], self.name if name is None else name)

    def plot(self, ax=None, **kwargs):
        """Draw the density with matplotlib and return the axes."""
        from matplotlib import pyplot

        ax = pyplot.subplots()[1] if ax is None else ax
        low, high = self.ppf([0.001, 0.999])
        x = np.linspace(low, high, 400)
        ax.plot(x, self.pdf(x), **kwargs)
        ax.set_xlabel(self.name)
        ax.set_yticks([])
        return ax


def monotone_values(function: Callable, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """function(x) and its derivative, by central differences whose step balances truncation and rounding."""
    step = 6e-6 * np.maximum(np.abs(x), np.ptp(x))
    y = np.asarray(function(x), float)
    slope = (np.asarray(function(x + step), float) - np.asarray(function(x - step), float)) / (2 * step)
    differences = np.diff(y)
    if not (np.all(np.isfinite(y)) and (np.all(differences > 0) or np.all(differences < 0))):
        raise InvalidOptionError("transform: the function must be finite and strictly monotone on the grid.")
    return y, slope


def find_mode(x: np.ndarray, density: np.ndarray) -> float:
    """Vertex of the parabola through the log of the highest point and its neighbors; an end point when highest."""
    i = int(np.argmax(density))
    if i in (0, len(x) - 1) or np.any(density[i - 1 : i + 2] <= 0):
        return float(x[i])
    a, b, _ = np.polyfit(x[i - 1 : i + 2] - x[i], np.log(density[i - 1 : i + 2]), 2)
    if a >= 0:
        return float(x[i])
    return float(np.clip(x[i] - b / (2 * a), x[i - 1], x[i + 1]))
