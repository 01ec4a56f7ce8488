"""The integral over theta as plain data, and its construction from evaluated nodes by interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from pymc_inla.inference.density import IntegratedDensity, calibrate_weights, normalize, theta_quantiles
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.lattice import LatticeDensity
from pymc_inla.inference.theta_posterior import Evaluation
from pymc_inla.lgm import QUANTILES
from pymc_inla.linalg.distinct import number_distinct

FINE = {1: 2001, 2: 181, 3: 61}
"""Points per axis of the fine grid on which the interpolant is integrated; with one axis more where nodes are close."""
FINEST, PER_GAP = 40_001, 8
NORMAL_DENSITIES = np.exp(-0.5 * ndtri(QUANTILES) ** 2) / np.sqrt(2 * np.pi)
"""Of a standard normal at these quantiles"""


@dataclass(frozen=True)
class ThetaIntegral:
    """Nodes, weights and the integrated density of theta."""

    method: str
    mode: ThetaMode
    nodes: tuple[Evaluation, ...]
    weights: np.ndarray
    """(K,), sum to one"""
    log_density: np.ndarray
    """(K,), normalized"""
    density: IntegratedDensity
    log_marginal_likelihood: float
    log_marginal_likelihood_error: float
    outer_change: float
    """Estimated change of a reported quantile of theta under refinement, in posterior sd"""
    fine_weights: np.ndarray | None = None
    """(F,) weights of the finer mixture of latent marginals, or None: the nodes themselves"""
    fine_matrix: np.ndarray | None = None
    """(F, K) interpolates conditional moments from the nodes to the finer mixture"""
    fine_slopes: np.ndarray | None = None
    """(d, F, K) change of the interpolant over one sd of z_j within the surroundings that each component stands for"""
    k_hat: float = np.nan
    """Pareto shape of the importance ratios of theta, where there are any"""
    decayed: bool = True
    """Whether the density had decayed where the nodes end"""
    failures: int = 0
    """Points without a value although the density there is not negligible"""
    left_out: tuple[np.ndarray, ...] = ()
    """Modes (d,) that hold a share of the mass and are not integrated"""
    messages: tuple[str, ...] = ()

    @property
    def highest(self) -> np.ndarray:
        """(d,) theta*: the mode that the search found, or the highest node where another mode turned out higher."""
        best = max(self.nodes, key=lambda e: e.log_posterior)
        return best.theta if best.log_posterior > self.mode.log_posterior + 1e-3 else self.mode.theta_star


@dataclass(frozen=True)
class FineGrid:
    """Regular grid in z, restricted to the surroundings of the nodes."""

    z: np.ndarray
    """(M, d)"""
    spacing: np.ndarray
    """(d,)"""
    nearest: np.ndarray
    """(M,) nearest node"""
    axes: tuple[np.ndarray, ...]
    index: np.ndarray
    """(M,) positions in the whole box"""

    def lattice(self, mass: np.ndarray, mode: ThetaMode) -> LatticeDensity:
        """The density with these masses (M,)."""
        box = np.zeros(tuple(len(axis) for axis in self.axes))
        box.flat[self.index] = mass
        return LatticeDensity(self.axes, box, mode.theta_star, mode.root)


def fine_grid(nodes_z: np.ndarray, lower_z: np.ndarray, upper_z: np.ndarray) -> FineGrid:
    """Grid over the box of the nodes; in two and three dimensions only what lies within the reach of a node: 1.8, and
    more where the nodes are far apart, so that no hole is left between them."""
    d = nodes_z.shape[1]
    m = FINE[d]
    if d == 1:
        gap = np.min(np.diff(np.sort(nodes_z[:, 0])))
        m = int(np.clip(PER_GAP * (upper_z[0] - lower_z[0]) / gap, m, FINEST))
    axes = tuple(np.linspace(lower_z[j], upper_z[j], m) for j in range(d))
    z = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
    spacing = np.array([a[1] - a[0] for a in axes])
    if d == 1:
        middle = 0.5 * (np.sort(nodes_z[:, 0])[1:] + np.sort(nodes_z[:, 0])[:-1])
        nearest = np.argsort(nodes_z[:, 0])[np.searchsorted(middle, z[:, 0])]
        return FineGrid(z, spacing, nearest, axes, np.arange(m))
    between = np.sqrt(((nodes_z[:, None] - nodes_z[None]) ** 2).sum(-1))
    around = min(3**d, len(nodes_z)) - 1
    reach = np.maximum(1.8, 0.6 * np.sort(between, axis=1)[:, around])
    nearest, keep = np.empty(len(z), dtype=np.int64), np.empty(len(z), dtype=bool)
    for i in range(0, len(z), 20000):
        part = z[i : i + 20000]
        squared = (part**2).sum(1)[:, None] + (nodes_z**2).sum(1)[None] - 2 * part @ nodes_z.T
        nearest[i : i + 20000] = squared.argmin(1)
        keep[i : i + 20000] = squared.min(1) <= reach[nearest[i : i + 20000]] ** 2
    return FineGrid(z[keep], spacing, nearest[keep], axes, np.flatnonzero(keep))


def integrate_grid(
    mode: ThetaMode,
    nodes_z: np.ndarray,
    evaluations: tuple[Evaluation, ...],
    *,
    lower: np.ndarray,
    upper: np.ndarray,
    rough_at: Callable[[np.ndarray], np.ndarray] = lambda theta: np.zeros(len(theta)),
) -> ThetaIntegral:
    """Integrate the interpolated log density over a fine grid, and give every node the mass around it.

    Parameters
    ----------
    nodes_z : array (K, d)
    evaluations : K evaluations
    lower, upper : array (d,)
        Bounds of theta; the density is zero outside.
    rough_at : callable
        (m, d) theta to (m,): the part of the log density that is known everywhere and not interpolated.
    """
    d = nodes_z.shape[1]
    f = np.array([e.log_posterior for e in evaluations])
    top = f.max()
    margin = 0.0 if d == 1 else 1.0
    grid = fine_grid(nodes_z, nodes_z.min(0) - margin, nodes_z.max(0) + margin)
    inside = np.ones(len(grid.z), dtype=bool)
    theta = mode.to_theta(grid.z)
    if d > 1:
        inside = np.all((theta >= lower) & (theta <= upper), axis=1)
    emulator = Emulator.at(nodes_z)
    smooth = f - rough_at(mode.to_theta(nodes_z))
    # outside of the bounds the density is zero: minus infinity
    known = np.where(inside, rough_at(theta), -np.inf)
    # the refinement that is asked for at the end is interpolated with the rest: distances to nodes cost most
    values, *moved = _clipped(emulator, np.stack([smooth, *_refined(emulator, smooth)], 1) - smooth.max(), grid).T
    known = known + smooth.max() - top
    mass, log_sum = normalize(values + known)
    log_jacobian = np.linalg.slogdet(mode.root)[1]
    log_ml = top + log_sum + np.log(grid.spacing).sum() + log_jacobian
    coefficients = emulator.coefficients(smooth - log_ml)

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        return emulator.predict(coefficients, mode.to_z(np.atleast_2d(theta))) + rough_at(np.atleast_2d(theta))

    keep = mass > 1e-14
    density = IntegratedDensity(
        theta[keep],
        mass[keep] / mass[keep].sum(),
        mode.root * grid.spacing,
        log_density_at,
        grid.lattice(np.where(keep, mass, 0.0), mode).marginals,
    )
    mean_z = mass @ grid.z
    covariance_z = ((grid.z - mean_z) * mass[:, None]).T @ (grid.z - mean_z)
    weights = _linear_weights(nodes_z, grid, mass) if d == 1 else np.bincount(grid.nearest, mass, len(f))
    weights = calibrate_weights(nodes_z, weights, mean_z, covariance_z)
    fine_z, fine_weights, fine_spread = _aggregate(grid, mass, covariance_z)
    change, ml_change = _refinement_change(mode, [f + known for f in moved], grid, density, log_sum)
    return ThetaIntegral(
        method="grid",
        mode=mode,
        nodes=evaluations,
        weights=weights,
        log_density=f - log_ml,
        density=density,
        log_marginal_likelihood=float(log_ml),
        log_marginal_likelihood_error=float(ml_change),
        outer_change=float(change),
        fine_weights=fine_weights,
        fine_matrix=emulator.matrix(fine_z),
        fine_slopes=_slopes(emulator, fine_z, fine_spread),
    )


def _clipped(emulator: Emulator, f: np.ndarray, grid: FineGrid) -> np.ndarray:
    """Interpolants (M, m) of values (K, m) that may not rise above their surroundings where they extrapolate."""
    near = f[grid.nearest]
    return np.minimum(emulator.predict(emulator.coefficients(f), grid.z), np.maximum(near + 3.0, near * 0.25))


def _linear_weights(nodes_z, grid: FineGrid, mass) -> np.ndarray:
    """Mass of the fine grid shared between the two neighboring nodes, in proportion."""
    order = np.argsort(nodes_z[:, 0])
    z = nodes_z[order, 0]
    right = np.clip(np.searchsorted(z, grid.z[:, 0]), 1, len(z) - 1)
    t = np.clip((grid.z[:, 0] - z[right - 1]) / (z[right] - z[right - 1]), 0, 1)
    weights = np.zeros(len(z))
    np.add.at(weights, right, mass * t)
    np.add.at(weights, right - 1, mass * (1 - t))
    out = np.empty(len(z))
    out[order] = weights
    return out


def _aggregate(grid: FineGrid, mass: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of a fraction of a posterior sd: their centers of mass (F, d), masses (F,) and the sd of z within them
    (F, d). They are the components of the finer mixture of latent marginals."""
    d = grid.z.shape[1]
    width = {1: 0.2, 2: 0.5, 3: 0.8}[d] * np.sqrt(np.diag(covariance)) + 1e-300
    box = np.floor(grid.z / width).astype(np.int64)
    box -= box.min(0)
    shape = box.max(0) + 1
    _, index = number_distinct(np.ravel_multi_index(tuple(box.T), shape), int(np.prod(shape)))
    weights = np.bincount(index, mass)
    keep = weights > 1e-9
    total = np.where(weights > 0, weights, 1.0)[:, None]
    z = np.column_stack([np.bincount(index, mass * column) for column in grid.z.T]) / total
    squares = np.column_stack([np.bincount(index, mass * column**2) for column in (grid.z - z[index]).T]) / total
    return z[keep], weights[keep] / weights[keep].sum(), np.sqrt(squares[keep])


def _slopes(emulator: Emulator, z: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(d, F, K) half the difference of the interpolant between z + spread_j e_j and z - spread_j e_j."""
    steps = [spread * axis for axis in np.eye(z.shape[1])]
    return np.array([0.5 * (emulator.matrix(z + step) - emulator.matrix(z - step)) for step in steps])


def _refined(emulator: Emulator, f: np.ndarray) -> list[np.ndarray]:
    """The values at the nodes moved by what further nodes would change: their leave-one-out errors over 16
    (interpolation of fourth order, half the spacing), once all together and once with alternating signs."""
    left_out = emulator.leave_one_out(f)
    error = np.clip(np.where(np.isfinite(left_out), left_out, 0.0), -4.0, 4.0) / 16.0
    return [f + error, f + (-1.0) ** np.arange(len(f)) * error]


def _refinement_change(mode, refined, grid: FineGrid, density, log_sum) -> tuple[float, float]:
    """Largest change of a quantile of theta (in sd) and of the log marginal likelihood by refined log densities.

    In a trough between two modes a quantile moves far by hardly any probability: the change of its probability counts
    there, relative to the density of a normal at that quantile, whose quantiles would move by as many sd.
    """
    quantiles, sd = theta_quantiles(density), np.sqrt(np.diag(density.covariance))
    changes, ml_changes = [], []
    for values in refined:
        mass, other_sum = normalize(values)
        for marginal, before, spread in zip(grid.lattice(mass, mode).marginals, quantiles, sd, strict=True):
            in_sd = np.abs(marginal.quantiles(QUANTILES) - before) / spread
            in_probability = np.abs(marginal.cdf(before) - QUANTILES) / NORMAL_DENSITIES
            changes.append(np.max(np.minimum(in_sd, in_probability)))
        ml_changes.append(abs(other_sum - log_sum))
    return max(changes), max(ml_changes)
