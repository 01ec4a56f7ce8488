"""Grids that follow log p~(theta | y), for one to three hyperparameters.

The nodes live in standardized coordinates z, theta = theta* + root z, and spread from every mode to where the
density has fallen to about 1e-7 of its maximum; steps widen in long tails and plateaus. The log density between them is
interpolated. Leave-one-out errors, weighted with the mass around each node and with its part in the variances of the
linear predictors, say where a further node is worth its cost: where the posterior of a precision has its mass high up,
a lower tail of a percent may hold most of the variance of the effect.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.theta_posterior import Evaluation, in_step

DEPTH = {1: 17.0, 2: 13.0, 3: 11.0}
"""Log units below the maximum at which the grid ends, by dimension (4e-8, 2e-6, 2e-5)."""
SHALLOW = 6.0
"""The same within a line that holds little of the mass"""
RELIEF = 6.0
"""Such a line is less precise by the exponential of how far it lies below, up to this"""
APART = 0.1
"""Part of a step that nodes of a line keep from each other: rounding of values at nodes side by side is a slope"""
STEP = {1: 1.25, 2: 1.5, 3: 1.5}
SCORE_TOLERANCE = 4e-3
"""Refine while mass (or share of a latent variance) times leave-one-out error of a node exceeds this. The error with
the node present is at least 16 times smaller (fourth-order interpolation, half the spacing)."""


class LogDensity(Protocol):
    """A function that nodes are placed on: log p~(theta | y), or one of its integrals over lines."""

    def evaluate_all(self, points: list[np.ndarray]) -> list[Evaluation]:
        """Evaluations at points (d,); a point asked for again gives the same object."""

    def predictors(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of linear predictors at the theta (d,) of an evaluation."""

    def rough_at(self, theta: np.ndarray) -> np.ndarray:
        """(m, d) to (m,): the part of the function that is known everywhere and not interpolated"""


@dataclass
class Nodes:
    """Evaluated nodes in z, in the order of their evaluation."""

    posterior: LogDensity
    mode: ThetaMode
    lower: np.ndarray
    upper: np.ndarray
    z: list[np.ndarray] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    failed: list[np.ndarray] = field(default_factory=list)

    def inside(self, z: np.ndarray) -> bool:
        """Whether theta(z) is within the bounds."""
        theta = self.mode.to_theta(z)
        return bool(np.all(theta >= self.lower) and np.all(theta <= self.upper))

    def add(self, z: np.ndarray) -> float:
        """Evaluate at z and return the log density (-inf where the inner optimization failed)."""
        return self.add_all([z])[0]

    def add_all(self, points: list[np.ndarray]) -> list[float]:
        """The same at several z."""
        found = self.posterior.evaluate_all([self.mode.to_theta(z) for z in points])
        for z, evaluation in zip(points, found, strict=True):
            if any(evaluation is known for known in self.evaluations):
                continue
            if np.isfinite(evaluation.log_posterior):
                self.z.append(np.array(z, dtype=float))
                self.evaluations.append(evaluation)
            else:
                self.failed.append(np.array(z, dtype=float))
        return [evaluation.log_posterior for evaluation in found]

    def failures_that_matter(self) -> int:
        """How many nodes have no value although the density there, extrapolated, is not negligible."""
        if not self.failed:
            return 0
        emulator, failed = Emulator.at(self.points), np.array(self.failed)
        predicted = emulator.predict(emulator.coefficients(self.smooth), failed) + self.rough_at(failed)
        return int(np.sum(predicted > self.values.max() - 7.0))

    def largest_share(self, mass: np.ndarray) -> np.ndarray:
        """(K,) mass of each node or, where that is more, its largest share of the variance of a linear predictor.

        Predictors rather than latents: they do not depend on how the model is written (centered or not).

        Parameters
        ----------
        mass : array (K,)
            Posterior mass of the nodes, up to a factor.
        """
        p = mass / mass.sum()
        moments = [self.posterior.predictors(e.theta) for e in self.evaluations]
        mean, sd = (np.array(part) for part in zip(*moments, strict=True))
        square = sd**2 + (mean - p @ mean) ** 2
        variance = p @ square
        shares = mass[:, None] * square / np.where(variance > 0, variance, 1.0)
        return np.maximum(mass, shares.max(axis=1, initial=0.0))

    @property
    def points(self) -> np.ndarray:
        return np.array(self.z)

    @property
    def values(self) -> np.ndarray:
        return np.array([e.log_posterior for e in self.evaluations])

    def rough_at(self, z: np.ndarray) -> np.ndarray:
        """The part of the log density that is known and not interpolated, at the rows of z."""
        return self.posterior.rough_at(self.mode.to_theta(z))

    @property
    def smooth(self) -> np.ndarray:
        """Values without that part."""
        return self.values - self.rough_at(self.points)


# ---------------------------------------------------------------------------------------------------------------------
# One hyperparameter
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """How far the nodes of a line go."""

    depth: float = DEPTH[1]
    """Log units below the maximum at which it ends"""
    elsewhere: float = -np.inf
    """Log density at a point that is not on this line, beside which low parts of it do not matter..."""
    shallow: float = SHALLOW
    """...as far as they are this many log units below the line's own maximum"""
    longest: float = 6.0
    """Longest step, in units of the scale at the mode"""

    def ends_at(self, value: float, top: float) -> bool:
        """Whether a line with this maximum ends where the density is so low."""
        return value < max(top - self.depth, min(self.elsewhere - self.depth, top - self.shallow))


def build_line(
    nodes: Nodes,
    modes: list[ThetaMode],
    max_points: int,
    reach: Reach = Reach(),
    tolerance: float = SCORE_TOLERANCE,
) -> bool:
    """Fill `nodes` along a line, from every mode outwards. Returns whether the density had decayed at both ends."""
    decayed = True
    for mode in modes:
        center = float(nodes.mode.to_z(mode.theta_star)[0])
        step = STEP[1] * float(mode.root[0, 0] / nodes.mode.root[0, 0])
        center = next((float(z[0]) for z in nodes.z if abs(z[0] - center) < APART * step), center)
        nodes.add(np.array([center]))
        walks = [_walk(nodes, center, sign * step, max_points, reach) for sign in (1.0, -1.0)]
        decayed &= all(in_step(walks, lambda z: nodes.add_all([np.array([k]) for k in z])))
    if not nodes.z:
        return False
    # A second mode above the first one moves the level at which the tails end.
    tolerance = tolerance * max(1.0, np.exp(min(reach.elsewhere - nodes.values.max(), RELIEF)))
    while len(nodes.z) < max_points:
        order = np.argsort(nodes.points[:, 0])
        z = nodes.points[order, 0]
        score = line_scores(nodes)[order]
        if score.max() < tolerance:
            break
        worst = np.flatnonzero(score >= max(tolerance, 0.2 * score.max()))
        gaps = {g for k in worst for g in (k - 1, k) if 0 <= g < len(z) - 1}
        gaps = {g for g in gaps if z[g + 1] - z[g] > 0.02}
        if not gaps:
            break
        before = len(nodes.z)
        nodes.add_all([np.array([0.5 * (z[g] + z[g + 1])]) for g in sorted(gaps)])
        if len(nodes.z) == before:
            break
    return decayed


def _walk(nodes: Nodes, center: float, stride: float, max_points: int, reach: Reach) -> Generator[float, float, bool]:
    """Step outwards from a mode until the line ends, or another walk went there; wider steps where
    it falls slowly. `stride` is the first step, with its sign. Returns whether the density had decayed."""
    unit, sign = abs(stride) / STEP[1], np.sign(stride)
    others = np.array([z[0] for z in nodes.z]) if nodes.z else np.zeros(0)
    beyond = others[sign * (others - center) > 1e-9]
    met = np.min(sign * beyond, initial=np.inf)
    z, step, value = center, STEP[1], nodes.add(np.array([center]))
    for _ in range(max_points // 2):
        target = z + sign * unit * step
        if sign * target > met - APART * unit * step:
            return True
        if not nodes.inside(np.array([target])):
            target = _bound(nodes, sign)
            if abs(target - z) < 1e-6:
                break
        new = yield target
        if not np.isfinite(new):
            # No value there: approach in smaller steps and stop where that does not help.
            step *= 0.5
            if step < 0.1:
                break
            continue
        drop, z, value = value - new, target, new
        if reach.ends_at(value, nodes.values.max()):
            return True
        # Along a Gaussian the drop grows with every step; along a plateau or an exponential tail it does not.
        if drop < 1.0:
            step = min(step * 1.3, reach.longest)
        elif drop < 3.0:
            step = min(step * 1.1, reach.longest)
        elif drop > 8.0:
            step = max(step * 0.7, 0.5)
    return bool(nodes.z) and bool(value < nodes.values.max() - 7.0)


def _bound(nodes: Nodes, sign: float) -> float:
    """z of the bound of theta in this direction."""
    slope = sign * nodes.mode.root[0, 0]
    bound = nodes.upper[0] if slope > 0 else nodes.lower[0]
    return float((bound - nodes.mode.theta_star[0]) / nodes.mode.root[0, 0]) * (1 - 1e-12)


def line_scores(nodes: Nodes) -> np.ndarray:
    """Share of each node times its leave-one-out error, in the order of the nodes."""
    order = np.argsort(nodes.points[:, 0])
    z, f = nodes.points[order, 0], nodes.values[order]
    if len(z) < 5:
        return np.full(len(z), np.inf)
    width = np.gradient(z)
    density = np.exp(f - f.max())
    # The mass next to a node can exceed its own density times width where the density rises steeply.
    raised = density.copy()
    raised[1:] = np.maximum(raised[1:], np.sqrt(density[1:] * density[:-1]))
    raised[:-1] = np.maximum(raised[:-1], np.sqrt(density[1:] * density[:-1]))
    mass = np.empty(len(z))
    mass[order] = raised * width / np.sum(density * width)
    error = np.empty(len(z))
    error[order] = Emulator.at(z[:, None]).leave_one_out(nodes.smooth[order])
    return nodes.largest_share(mass) * np.minimum(np.abs(error), 1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Two or three hyperparameters
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lattice:
    """z = stretch(u): regular in u, wider on the sides of the mode where the density falls slowly."""

    down: np.ndarray
    """(d,) scale for u < 0"""
    up: np.ndarray

    def to_z(self, u: np.ndarray) -> np.ndarray:
        return np.where(u < 0, u * self.down, u * self.up)

    def to_u(self, z: np.ndarray) -> np.ndarray:
        return np.where(z < 0, z / self.down, z / self.up)


def build_lattice(nodes: Nodes, modes_z: list[np.ndarray], max_points: int) -> tuple[bool, float]:
    """Fill `nodes` by growing a region from every mode. Returns whether all of its border decayed and, where the points
    ran out before, what may be missing: the share of the mass at those nodes beside which there should be others."""
    d = len(nodes.lower)
    h, depth = STEP[d], DEPTH[d]
    lattice = fit_lattice(nodes, d)
    unit = 8  # keys count eighths of a step, so that refined nodes have integer keys too
    values: dict[tuple[int, ...], float] = {}

    def evaluate(keys: list[tuple[int, ...]]) -> None:
        z = {key: lattice.to_z(np.array(key) * (h / unit)) for key in keys}
        inside = [key for key in keys if nodes.inside(z[key])]
        values.update(dict.fromkeys(keys, -np.inf))
        values.update(zip(inside, nodes.add_all([z[key] for key in inside]), strict=True))

    block = np.stack(np.meshgrid(*[[-unit, 0, unit]] * d, indexing="ij"), -1).reshape(-1, d)
    evaluate([tuple(key) for key in block.tolist()])
    evaluate([tuple((np.round(lattice.to_u(z) / h) * unit).astype(int).tolist()) for z in modes_z])
    steps = [tuple(unit * s * (np.arange(d) == j)) for j in range(d) for s in (1, -1)]

    def wanted() -> dict[tuple[int, ...], list[tuple[int, ...]]]:
        """Keys without a value where the density is not known to be small, and those beside them."""
        top, border = max(values.values()), {}
        for key, value in values.items():
            for step in steps if value > top - depth else ():
                beside = tuple(int(a + b) for a, b in zip(key, step, strict=True))
                if beside not in values:
                    border.setdefault(beside, []).append(key)
        wave = sorted(border)
        if not wave:
            return {}
        predicted, trusted = _predict(nodes, lattice.to_z(np.array(wave) * (h / unit)))
        return {
            key: border[key] for key, p, t in zip(wave, predicted, trusted, strict=True) if p > top - depth or not t
        }

    while (wave := wanted()) and len(nodes.z) < max_points:
        evaluate(list(wave))
    inside = [key for key in wave if nodes.inside(lattice.to_z(np.array(key) * (h / unit)))]
    missing = _share(lattice, values, {key for beyond in inside for key in wave[beyond]})
    decayed = not wave
    _refine_lattice(nodes, lattice, values, evaluate, unit, max_points)
    top = max(values.values())
    outside = [
        key
        for key, value in values.items()
        if value > top - 4.0
        for s in steps
        if values.get(tuple(int(a + b) for a, b in zip(key, s, strict=True)), 0.0) == -np.inf
    ]
    return decayed and not outside, missing


def _share(lattice: Lattice, values: dict[tuple[int, ...], float], some: set[tuple[int, ...]]) -> float:
    """Share of the mass at some of the keys of a lattice."""
    top = max(values.values())
    mass = {
        key: np.exp(f - top) * np.prod(np.abs(lattice.to_z(np.where(key, np.sign(key), 1))))
        for key, f in values.items()
    }
    return float(sum(mass[key] for key in some) / sum(mass.values()))


def fit_lattice(nodes: Nodes, d: int) -> Lattice:
    """Scale of each half axis from the drop of the log density at z = 2 (Rue, Martino & Chopin 2009, section 6.5)."""
    ends = {(side, j): 2.0 * (2 * side - 1) * (np.arange(d) == j) for j in range(d) for side in (0, 1)}
    ends = {at: z for at, z in ends.items() if nodes.inside(z)}
    top, *values = nodes.add_all([np.zeros(d), *ends.values()])
    scales = np.ones((2, d))
    for at, value in zip(ends, values, strict=True):
        drop = top - value
        if np.isfinite(drop):
            scales[at] = np.clip(2.0 / np.sqrt(2.0 * max(drop, 1e-6)), 0.4, 2.5)
    return Lattice(scales[0], scales[1])


def _predict(nodes: Nodes, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted log density at z, and whether the prediction can be trusted to say that the density is small there."""
    emulator = Emulator.at(nodes.points)
    f, smooth = nodes.values, nodes.smooth
    predicted = emulator.predict(emulator.coefficients(smooth), z) + nodes.rough_at(z)
    nearest = np.argmin(((z[:, None, :] - nodes.points[None, :, :]) ** 2).sum(-1), axis=1)
    error = np.abs(emulator.leave_one_out(smooth))[nearest]
    # Half of the predicted fall from the neighbor must exceed the error made at the neighbor.
    fall = f[nearest] - predicted
    return predicted, 0.5 * fall > error


def _refine_lattice(nodes, lattice, values, evaluate, unit, max_points) -> None:
    d = nodes.points.shape[1]
    half = {tuple(key): unit for key in values}
    h = STEP[d]
    for _ in range(3):
        keys = {tuple(np.round(lattice.to_u(z) / h * unit, 6)): k for k, z in enumerate(nodes.z)}
        scores = lattice_scores(nodes)
        chosen = []
        for key, spacing in list(half.items()):
            k = keys.get(tuple(np.round(np.array(key, dtype=float), 6)))
            if k is None or spacing <= 1 or scores[k] < SCORE_TOLERANCE:
                continue
            half[key] = spacing // 2
            for j in range(d):
                for s in (1, -1):
                    chosen.append(tuple(int(v) for v in np.array(key) + s * (spacing // 2) * (np.arange(d) == j)))
        chosen = [key for key in dict.fromkeys(chosen) if key not in values]
        if not chosen:
            return
        chosen = chosen[: max(0, max_points - len(nodes.z))]
        evaluate(chosen)
        half.update(dict.fromkeys(chosen, unit // 2))


def lattice_scores(nodes: Nodes) -> np.ndarray:
    """Share of each node (mass: density times volume to its nearest neighbors) times its leave-one-out error."""
    z, f = nodes.points, nodes.values
    d = z.shape[1]
    distance = np.sqrt(((z[:, None] - z[None]) ** 2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    volume = np.sort(distance, axis=1)[:, : 2 * d].mean(1) ** d
    mass = np.exp(f - f.max()) * volume
    error = Emulator.at(z).leave_one_out(nodes.smooth)
    return nodes.largest_share(mass / mass.sum()) * np.minimum(np.abs(error), 1.0)
