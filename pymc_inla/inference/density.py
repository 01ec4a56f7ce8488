"""The integrated posterior density of theta, its marginals and draws from it.

The density is carried by many weighted points (a fine regular grid for one or two hyperparameters, quasi-random points
for more) on which the interpolated log p~(theta | y) has been normalized. Everything that is reported about theta comes
from them, never from a parametric shape around the mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logsumexp

from pymc_inla.lgm import QUANTILES, Marginals

GRID_SIZE = 201


class Marginal(Protocol):
    """The distribution of one component of theta."""

    def quantiles(self, probabilities) -> np.ndarray:
        """(k,) to (k,)"""

    def pdf(self, theta) -> np.ndarray:
        """(k,) to (k,)"""


@dataclass(frozen=True)
class IntegratedDensity:
    """A normalized density of theta on weighted points."""

    theta: np.ndarray
    """(M, d)"""
    weights: np.ndarray
    """(M,), posterior mass of each point, sum to one"""
    cell: np.ndarray
    """(d, d): a point stands for theta + cell u, u uniform on (-1/2, 1/2)^d; zero for quasi-random points"""
    log_density_at: Callable[[np.ndarray], np.ndarray]
    """(m, d) to (m,): log of the normalized density"""
    marginals: tuple[Marginal, ...] | None = None
    """One per component of theta, to many digits, where there is a grid or there are lines"""
    parts: tuple[IntegratedDensity, ...] = ()
    """What it is a mixture of, where its modes lie apart..."""
    part_of: Callable[[np.ndarray], np.ndarray] | None = None
    """...and which of them theta belongs to, (m, d) to (m,)"""

    @property
    def d(self) -> int:
        return self.theta.shape[1]

    @property
    def mean(self) -> np.ndarray:
        return self.weights @ self.theta

    @property
    def covariance(self) -> np.ndarray:
        centered = self.theta - self.mean
        return (self.weights[:, None] * centered).T @ centered


def normalize(log_values: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights proportional to exp(log_values) and the log of their sum."""
    total = float(logsumexp(log_values))
    return np.exp(log_values - total), total


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, probabilities) -> np.ndarray:
    """Quantiles of a weighted sample, linear between the midpoints of the steps of its distribution function."""
    order = np.argsort(values, kind="stable")
    return np.interp(probabilities, midpoints(weights[order]), values[order])


def midpoints(weights: np.ndarray) -> np.ndarray:
    """Midpoints of the steps of the distribution function of values in increasing order, from their weights"""
    cumulative = np.cumsum(weights)
    return (cumulative - 0.5 * weights) / cumulative[-1]


def theta_marginals(density: IntegratedDensity) -> Marginals:
    """Marginals of every component of theta."""
    d = density.d
    if d == 0:
        none = np.zeros((0,))
        return Marginals(
            none, none, np.zeros((0, len(QUANTILES))), none, np.zeros((0, GRID_SIZE)), np.zeros((0, GRID_SIZE))
        )
    mean, sd = density.mean, np.sqrt(np.diag(density.covariance))
    quantiles = theta_quantiles(density)
    grids, densities = zip(*(_line_density(density, j) for j in range(d)), strict=True)
    grid, values = np.array(grids), np.array(densities)
    mode = np.array([_refined_argmax(grid[j], values[j]) for j in range(d)])
    return Marginals(mean, sd, quantiles, mode, grid, values)


def theta_quantiles(density: IntegratedDensity, probabilities=QUANTILES) -> np.ndarray:
    """Quantiles of every component of theta, (d, len(probabilities))."""
    return np.array([_quantiles(density, j, probabilities) for j in range(density.d)])


def _quantiles(density: IntegratedDensity, j: int, probabilities) -> np.ndarray:
    if density.marginals is not None:
        return density.marginals[j].quantiles(probabilities)
    return weighted_quantiles(density.theta[:, j], density.weights, probabilities)


def _line_density(density: IntegratedDensity, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Density of theta_j on a grid that covers all but 1e-6 of the mass (1e-5 with several hyperparameters, where the
    grid of all of them ends at a few 1e-6)."""
    values = density.theta[:, j]
    tail = 5e-7 if density.d == 1 or density.marginals is None else 5e-6
    low, high = _quantiles(density, j, (tail, 1 - tail))
    margin = 0.02 * (high - low) if density.marginals is None else 0.0
    grid = np.linspace(low - margin, high + margin, GRID_SIZE)
    if density.marginals is not None:
        f = density.marginals[j].pdf(grid)
    else:
        f = kernel_density(values, density.weights, grid)
    area = np.trapezoid(f, grid)
    return grid, f / area


def kernel_density(values: np.ndarray, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Gaussian kernel estimate of weighted values (M,) with one mode, by Silverman's rule.

    The widening of the sd (0.7 % at a width of 0.12 sd) is taken back by shrinking the points towards the mean.
    """
    mean = weights @ values
    sd = np.sqrt(weights @ (values - mean) ** 2)
    width = max(0.9 * np.sum(weights**2) ** 0.2, 0.12)
    values, width = mean + (values - mean) * np.sqrt(1 - width**2), width * sd
    # binned finely first
    edges = np.linspace(values.min() - 1e-12, values.max() + 1e-12, 2001)
    if edges[-1] <= edges[0]:
        edges = edges + np.linspace(-1, 1, 2001) * max(width, 1e-12)
    mass, _ = np.histogram(values, bins=edges, weights=weights)
    centers = 0.5 * (edges[1:] + edges[:-1])
    t = (grid[:, None] - centers[None, :]) / width
    return np.exp(-0.5 * t**2) @ mass / (width * np.sqrt(2 * np.pi))


def _refined_argmax(grid: np.ndarray, f: np.ndarray) -> float:
    """Vertex of the parabola through the largest value of f and its neighbors."""
    k = int(np.argmax(f))
    if k in (0, len(f) - 1):
        return float(grid[k])
    left, middle, right = f[k - 1 : k + 2]
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(grid[k] + shift * (grid[1] - grid[0]))


def draw_theta(density: IntegratedDensity, n: int, rng: np.random.Generator) -> np.ndarray:
    """n draws of theta by systematic resampling along a space-filling curve: spread evenly, each exactly distributed.

    Returns
    -------
    array (n, d)
    """
    if density.d == 0:
        return np.zeros((n, 0))
    picked = systematic(density.theta, density.weights, n, rng.random())
    return density.theta[picked] + (rng.random((n, density.d)) - 0.5) @ density.cell.T


def systematic(points: np.ndarray, weights: np.ndarray, n: int, offset: float = 0.5) -> np.ndarray:
    """Indices (n,) of a systematic sample of weighted points (m, d), taken along a space-filling curve."""
    order = np.argsort(morton_key(points), kind="stable")
    cumulative = np.cumsum(weights[order])
    u = (np.arange(n) + offset) / n
    return order[np.minimum(np.searchsorted(cumulative / cumulative[-1], u), len(order) - 1)]


def capped(weights: np.ndarray, n: int) -> np.ndarray:
    """Weights of which none is drawn more than once among n: where an emulator extrapolates to a few absurd heights,
    all of them are looked at in one round, and the rest of the points still go elsewhere."""
    for _ in range(20):
        weights = np.minimum(weights, 1.0 / n)
        weights = weights / weights.sum()
    return weights


def morton_key(theta: np.ndarray, bits: int = 10) -> np.ndarray:
    """Position along the Z-order curve through the box of the points, (M,)."""
    d = theta.shape[1]
    if d == 1:
        return theta[:, 0]
    bits = max(1, min(bits, 60 // d))
    low, high = theta.min(0), theta.max(0)
    cells = ((theta - low) / np.where(high > low, high - low, 1.0) * (2**bits - 1)).astype(np.int64)
    key = np.zeros(len(theta), dtype=np.int64)
    for b in range(bits):
        for j in range(d):
            key |= ((cells[:, j] >> b) & 1) << (b * d + j)
    return key


def calibrate_weights(z: np.ndarray, weights: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Positive weights nearest to the given ones (Kullback-Leibler) whose mean and covariance are as asked.

    The few evaluated nodes then reproduce the first two moments of the finely integrated density. Exponential tilting
    (Deville & Sarndal 1992), by Newton's method; when the moments cannot be met (outside the hull of the nodes, or
    tilts beyond a factor of ten), the weights come back as they were.
    """
    K, d = z.shape
    if d == 0 or K <= (d + 1) * (d + 2) // 2:
        return weights
    i, j = np.triu_indices(d)
    features = np.hstack([z - mean, (z - mean)[:, i] * (z - mean)[:, j] - covariance[i, j]])
    tilt = np.zeros(features.shape[1])
    for _ in range(30):
        log_w = np.log(np.maximum(weights, 1e-300)) + features @ tilt
        w = np.exp(log_w - logsumexp(log_w))
        gap = w @ features
        if np.max(np.abs(gap)) < 1e-10:
            break
        centered = features - gap
        hessian = (w[:, None] * centered).T @ centered
        step = np.linalg.lstsq(hessian, gap, rcond=1e-10)[0]
        tilt = tilt - step * min(1.0, 1.0 / max(np.max(np.abs(step)), 1e-300))
    ratio = w[weights > 1e-6] / weights[weights > 1e-6]
    if np.max(np.abs(gap)) > 1e-6 or ratio.max(initial=1.0) > 10 or ratio.min(initial=1.0) < 0.1:
        return weights
    return w
