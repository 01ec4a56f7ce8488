"""Marginals of local latents whose conditional posteriors have long tails, from nodes that reach into them.

Along one dimension nodes are equally spaced in s, t = R sinh(beta s) / sinh(beta), and their weights are a density in s
at s, whose logarithm is interpolated. In a block of two with u = mode + R t, R upper triangular, the second latent is a
multiple of t_1, and the first one a mixture, over the nodes of t_1, of what it is along lines of nodes of t_0. The
uncertainty of x_S moves a local latent as a whole, to first order: a normal distribution is added.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from pymc_inla.inference.node_rules import wide_nodes

FINER = 8
"""Intervals of the table for every one between two nodes"""
NEGLIGIBLE = 1e-8
"""Mass that is cut off at both ends, and of lines that are left out"""
LOWEST = -60.0
"""Log density, relative to the highest, below which it does not matter"""
MOST = 200
"""Local latents of which marginals are tabulated; where there are more, of none"""


@dataclass(frozen=True)
class Tabulated:
    """A `Shape`."""

    t: np.ndarray
    """(n,) increasing"""
    F: np.ndarray
    """(n,) distribution function"""
    density: np.ndarray
    """(n,)"""

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mass, middle and width of the cells, in which the mass is spread evenly"""
        return np.diff(self.F), 0.5 * (self.t[1:] + self.t[:-1]), np.diff(self.t)

    @cached_property
    def mean(self) -> float:
        mass, middle, _ = self._cells
        return float(mass @ middle / mass.sum())

    @cached_property
    def sd(self) -> float:
        mass, middle, width = self._cells
        return float(np.sqrt(mass @ ((middle - self.mean) ** 2 + width**2 / 12.0) / mass.sum()))

    def spread(self, sd: float) -> "Tabulated":
        """This plus an independent normal of mean 0."""
        if sd < 0.01 * self.sd:
            return self
        mass, _, width = self._cells
        edge = 6.0 * sd * np.linspace(1.0 / 12.0, 1.0, 12)
        t = np.concatenate([self.t[0] - edge[::-1], self.t, self.t[-1] + edge])
        z = (t[:, None] - self.t) / sd
        Phi = ndtr(z)
        integral = z * Phi + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        share = mass / width
        F, density = -sd * np.diff(integral, axis=1) @ share, -np.diff(Phi, axis=1) @ share
        return Tabulated(t, np.maximum.accumulate(F), density)


def local_shapes(part_integral, extra: np.ndarray) -> list[list[Tabulated]]:
    """Of every block of a part and each of its latents, in coordinates w relative to the mode.

    Parameters
    ----------
    part_integral : PartIntegral
        With nodes of a wide rule, for blocks of one or two.
    extra : (G, b) array
        Variance that x_S adds.
    """
    root, G, b = part_integral.mode.root, *extra.shape
    K = len(part_integral.p)
    k = round(K ** (1 / b))
    nodes = wide_nodes(k, b)
    weights = np.empty((G, K))
    weights[:, _places(k, b)] = part_integral.p[:, :-1].T
    weights, sd = weights.reshape(G, *[k] * b), np.sqrt(np.maximum(extra, 0.0))
    shapes = []
    for g in range(G):
        if b == 1:
            of_block = [_on_line(nodes, b, weights[g], root[g, 0, 0])]
        else:
            of_block = [_across(nodes, weights[g], root[g]), _on_line(nodes, b, weights[g].sum(axis=0), root[g, 1, 1])]
        shapes.append([shape.spread(s) for shape, s in zip(of_block, sd[g], strict=True)])
    return shapes


def _places(k: int, b: int) -> np.ndarray:
    """Where the nodes of the product rule, which are in order of their distance, are in the product"""
    nodes = wide_nodes(k, b)
    t = np.stack(np.meshgrid(*[nodes] * b, indexing="ij"), -1).reshape(-1, b)
    return np.argsort(np.sum(t**2, axis=1), kind="stable")


def _table(nodes: np.ndarray, b: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t (n,), and density and distribution function there, (n, m), of m distributions from their weights (k, m) at the
    nodes"""
    k = len(nodes)
    with np.errstate(divide="ignore"):
        height = np.log(weights)
    height = np.maximum(height - height.max(axis=0), LOWEST)
    s = np.arange((k - 1) * FINER + 1) / FINER
    in_s = np.exp(PchipInterpolator(np.arange(k), height)(s))
    t = wide_nodes(len(s), b)
    F = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(0.5 * (in_s[1:] + in_s[:-1]), axis=0)])
    slope = np.gradient(t, s)[:, None]
    return t, in_s / slope / (F[-1] / FINER), F / F[-1]


def _cut(t: np.ndarray, F: np.ndarray, density: np.ndarray) -> Tabulated:
    first = max(np.searchsorted(F, NEGLIGIBLE) - 1, 0)
    last = min(np.searchsorted(F, 1.0 - NEGLIGIBLE) + 2, len(F))
    return Tabulated(t[first:last], F[first:last], density[first:last])


def _on_line(nodes: np.ndarray, b: int, weights: np.ndarray, scale: float) -> Tabulated:
    t, density, F = _table(nodes, b, weights[:, None])
    return _cut(scale * t, F[:, 0], density[:, 0] / scale)


def _across(nodes: np.ndarray, weights: np.ndarray, root: np.ndarray) -> Tabulated:
    """The first latent of a block of two, from weights at the nodes of t_0 and t_1, (k, k)"""
    mass = weights.sum(axis=0)
    lines = np.flatnonzero(mass > NEGLIGIBLE)
    t, density, F = _table(nodes, 2, weights[:, lines])
    scale, at = root[0, 0], root[0, 1] * nodes[lines]
    x = scale * t
    # where the lines are farther apart than nodes along them, there have to be points as well
    x = np.unique(np.concatenate([x, np.linspace(np.min(at), np.max(at), 201)]))
    total, slope = np.zeros(len(x)), np.zeros(len(x))
    for j, m in enumerate(mass[lines]):
        total += m * np.interp(x - at[j], scale * t, F[:, j], 0.0, 1.0)
        slope += m / scale * np.interp(x - at[j], scale * t, density[:, j], 0.0, 0.0)
    return _cut(x, total / total[-1], slope / total[-1])
