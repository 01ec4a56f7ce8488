"""Inverse of distribution functions whose log densities are known at equally spaced nodes.

The log density is a cubic spline. Its integral from node to node finds the interval that a probability falls into, and
a finer one within that interval the rest.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from scipy import sparse
from scipy.interpolate import CubicSpline

from pymc_inla.inference.node_rules import log_widening, widened

REACH = 9
"""Posterior sd on both sides of the mean that nodes may reach: the tails of a logistic likelihood are exponential on
one side."""
FINE = 8
"""Subintervals of the interval that a draw falls into, in which the density is linear"""
CUBIC = np.vander(np.arange(FINE + 1) / FINE, 4) @ np.linalg.inv(
    [[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0], [3, 2, 1, 0]]
)
"""(FINE + 1, 4) a cubic polynomial at the ends of the subintervals from its values and slopes at both ends"""
TRAPEZOIDS = 0.5 * (np.tri(FINE, FINE + 1) + np.tri(FINE, FINE + 1, 1)) - 0.5 * np.eye(FINE + 1)[0]
"""(FINE, FINE + 1) integrals up to the ends of the subintervals, in units of their length"""


@dataclass(frozen=True)
class Line:
    """Nodes, in posterior sd, that are equally spaced in some s, and what a cubic spline through them needs."""

    s: np.ndarray
    """(J,)"""
    slope: np.ndarray | sparse.csr_array
    """(J, J) slopes of the spline at the nodes, per spacing, from its values there"""
    wide: bool = False
    """Whether nodes are widened outwards; otherwise they are s. Densities are those of s."""

    @property
    def spacing(self) -> float:
        return float(self.s[1] - self.s[0])

    def at(self, s) -> np.ndarray:
        """Of s, in posterior sd"""
        return widened(s, 1) if self.wide else s

    @property
    def nodes(self) -> np.ndarray:
        """(J,)"""
        return self.at(self.s)

    @property
    def log_slope(self) -> np.ndarray:
        """(J,) log dt/ds: what a density of s has more than that of t"""
        return log_widening(self.s, 1) if self.wide else np.zeros(len(self.s))

    def integrate(self, log_density, density) -> tuple[np.ndarray, np.ndarray]:
        """Slopes of log densities, (J, G), and integrals of densities up to all nodes but the first, (J - 1, G), in
        units of the spacing, from what both are at the nodes, (J, G).

        Trapezoidal sums with the first correction of Euler and Maclaurin, the slope of the density over 12. A density
        that falls by more than exp(6) from node to node has no use for it; there it is cut such that integrals grow.
        """
        slopes = self.slope @ log_density
        beyond = slopes / 12.0
        beyond += 0.5
        np.clip(beyond, 0.0, 1.0, out=beyond)
        beyond *= density
        cumulative = running_sums(density)
        cumulative -= beyond
        cumulative -= density[0] - beyond[0]
        return slopes, cumulative[1:]

    def distribution(self, log_density, density) -> np.ndarray:
        """Distribution functions at all nodes but the first, (J - 1, G)"""
        _, cumulative = self.integrate(log_density, density)
        return cumulative / cumulative[-1]


@cache
def line(spacing: float, low: float = -REACH, high: float = REACH) -> Line:
    """Nodes at the multiples of the spacing from low to high."""
    number, slope = _spline(spacing, low, high)
    return Line(spacing * number, slope)


@cache
def wide_line(spacing: float, low: float = -1.0, high: float = 1.0) -> Line:
    """Nodes with such s that reach as far, in posterior sd, as those of a wide rule in modal ones."""
    number, slope = _spline(spacing, low, high)
    # slopes feel nodes that are near
    return Line(spacing * number, sparse.csr_array(np.where(np.abs(slope) > 1e-14, slope, 0.0)), wide=True)


def _spline(spacing: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    number = np.arange(round(low / spacing), round(high / spacing) + 1)
    return number, CubicSpline(number, np.eye(len(number)), axis=0)(number, 1)


def running_sums(rows) -> np.ndarray:
    """Sums of the rows up to every one of them, (n, G).

    Row by row: numpy.cumsum along the first axis strides through memory, which takes eight times as long.
    """
    sums = rows.copy()
    for before, row in pairwise(sums):
        row += before
    return sums


def invert(of: Line, log_density, density, uniform) -> np.ndarray:
    """Inverse of the distribution functions of the exponentials of splines, (G,). log_density and density at the nodes
    (J, G).

    The interval between two nodes is found first, by its mass; only in that interval is the density integrated further.
    """
    slopes, cumulative = of.integrate(log_density, density)
    columns = np.arange(len(uniform))
    interval, share = _find(cumulative, uniform * cumulative[-1], columns)
    known = np.stack([values[interval + end, columns] for values in (log_density, slopes) for end in (0, 1)])
    density = np.exp(CUBIC @ known)
    cumulative = TRAPEZOIDS @ density
    cell, share = _find(cumulative, share * cumulative[-1], columns)
    left, right = density[cell, columns], density[cell + 1, columns]
    root = np.sqrt(left**2 + (right - left) * (left + right) * share)
    return of.at(of.s[interval] + of.spacing / FINE * (cell + share * (left + right) / (left + root)))


def _find(cumulative, target, columns) -> tuple[np.ndarray, np.ndarray]:
    """The interval in which cumulative (n, G) passes target (G,), and the share of its mass up to there."""
    counts = np.int8 if len(cumulative) < 128 else np.int16
    interval = np.sum(cumulative[:-1] < target, axis=0, dtype=counts).astype(np.intp)
    after = cumulative[interval, columns]
    before = np.where(interval > 0, cumulative[interval - 1, columns], 0.0)
    return interval, np.clip((target - before) / (after - before), 0.0, 1.0)
