"""Draws of x follow theta, from the center that they were drawn at to their own value.

x is made of random numbers, and from the same ones it changes smoothly with theta: for a normal distribution
x*(theta) + L(theta)^-T z. So a draw at its own theta is interpolated between what its random numbers give at the
centers around, by a polynomial. What depends on x and theta, as eta = A(theta) x, is then that of a draw at its own
theta: where the latents are not centered, eta may be known a hundred times better than x, whose scale is that of theta.

Where a draw lies beyond the centers around it, the polynomial is stretched: such draws are repeated at exactly their
own theta. How far linear predictors are from those of draws at exactly their theta is measured for a few, before draws
move and after. Where they are close to them as they are, none is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from pymc_inla.inference.emulator import monomials
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.theta_posterior import ThetaPosterior

MORE = 1.5
"""Centers around, per coefficient of a polynomial"""
WORK = 1e10
"""Draws times centers around times numbers of a point up to which draws follow theta: a second or two"""
SMALLEST = 1e-6
"""Singular value, relative to the largest one, from which on a direction in which centers differ counts"""
STRETCHED, STILL_CLOSE = 3.0, 0.1
"""Sum of the absolute weights of the centers beyond which a draw is stretched. These are repeated at their own theta,
those with the largest sums first, until the distance of COMPARED of them from what they were is as small, in sd given
theta, or there are as many as centers. In a non-centered trend of 72 months it is 0.1 sd up to sums of 3, 0.5 from 5
and 7 from 10, in correlated slopes with six hyperparameters 0.04 from 5 and 0.07 from 10"""
COMPARED = 16
"""Draws whose linear predictors are compared"""
CLOSE = 0.05
"""Distance from exact ones, in sd given theta, that is left as it is: it adds a quarter of a percent to a variance"""


@dataclass(frozen=True)
class Portion:
    """Draws at one center."""

    center: int
    rows: np.ndarray
    """(m,) of x"""
    theta: np.ndarray
    """(m, d) their own"""
    seed: np.random.SeedSequence
    scores: np.ndarray | None
    """(m, ...), of `Sample`"""

    def repeated(self, point) -> np.ndarray:
        """(m, n_x) what they would be at another point"""
        return point.repeat(np.random.default_rng(self.seed), len(self.rows), self.scores)


def degree_of(d: int, centers: int, n_draws: int, bytes_per_point: float) -> int:
    """Degree of the polynomial: 2, or 1, or 0 where draws stay as they are, by how many centers there are and what work
    it takes."""
    for degree in (2, 1):
        around = _around(d, degree)
        if around < centers and n_draws * around * bytes_per_point / 8 <= WORK:
            return degree
    return 0


def _around(d: int, degree: int) -> int:
    return int(np.ceil(MORE * (comb(d + degree, degree) - 1)))


def follow_theta(
    x: np.ndarray,
    portions: list[Portion],
    centers: np.ndarray,
    points: list,
    usable: np.ndarray,
    posterior: ThetaPosterior,
    integral: ThetaIntegral,
    degree: int,
) -> None:
    """Move draws in place.

    Parameters
    ----------
    x : (S, n_x) array
        As drawn at the centers.
    centers : (D, d) array
    points : list of InnerPoint or None
        At the centers, as far as they were kept.
    usable : int array
        Centers that have one.
    """
    z = integral.mode.to_z(centers)
    around = usable[cKDTree(z[usable]).query(z, min(_around(centers.shape[1], degree) + 1, len(usable)))[1]]
    used: list[list[tuple[Portion, np.ndarray]]] = [[] for _ in centers]
    stretched: list[tuple[float, Portion, int]] = []
    for portion in portions:
        others = around[portion.center]
        others = others[np.any(z[others] != z[portion.center], axis=1)]
        steps, own = z[others] - z[portion.center], integral.mode.to_z(portion.theta) - z[portion.center]
        weights = interpolation(steps, own, degree)
        own_weight = 1.0 - weights.sum(axis=1, keepdims=True)
        x[portion.rows] *= own_weight
        norms = np.abs(weights).sum(axis=1) + np.abs(own_weight[:, 0])
        stretched += [(norm, portion, j) for j, norm in enumerate(norms.tolist()) if norm > STRETCHED]
        for other, w in zip(others, weights.T, strict=True):
            used[other].append((portion, w[:, None]))
    for theta, point, uses in zip(centers, points, used, strict=True):
        if uses:
            point = posterior.point(theta) if point is None else point
        for portion, w in uses:
            x[portion.rows] += w * portion.repeated(point)
    worst = [(portion, j) for _, portion, j in sorted(stretched, key=lambda one: -one[0])[: len(centers)]]
    for start in range(0, len(worst), COMPARED):
        exact = exact_draws(worst[start : start + COMPARED], posterior)
        off = distance_from(exact, x)
        for draw in exact:
            x[draw.row] = draw.x
        if off < STILL_CLOSE:
            break


def interpolation(steps: np.ndarray, own: np.ndarray, degree: int) -> np.ndarray:
    """Weights (m, K) of values at steps (K, d) from a center that carry what they differ by from the value there over
    to other steps (m, d): exact for polynomials, and the smaller, the farther away."""
    near = 1.0 / np.linalg.norm(steps, axis=1)
    columns = monomials(steps, degree)[:, 1:] * near[:, None]
    return monomials(own, degree)[:, 1:] @ np.linalg.pinv(columns, rcond=SMALLEST) * near


@dataclass(frozen=True)
class ExactDraw:
    """What a draw is at exactly its own theta."""

    row: int
    x: np.ndarray
    """(n_x,)"""
    A: sparse.csr_array
    sd: np.ndarray
    """(n_eta,) of eta given theta"""

    def squared_distance(self, x: np.ndarray) -> float:
        """Mean over the linear predictors of x (S, n_x), in squares of their sd given theta"""
        distance, varies = self.A @ (x[self.row] - self.x), self.sd > 0
        return float(np.mean((distance[varies] / self.sd[varies]) ** 2))


def some_draws(portions: list[Portion], rng: np.random.Generator) -> list[tuple[Portion, int]]:
    """A few at random: portions, and places in them"""
    every = [(portion, j) for portion in portions for j in range(len(portion.rows))]
    return [every[k] for k in rng.choice(len(every), min(COMPARED, len(every)), replace=False)]


def exact_draws(some: list[tuple[Portion, int]], posterior: ThetaPosterior) -> list[ExactDraw]:
    """Draws from the same random numbers at exactly their theta, as far as there is a point."""
    f = posterior.inner.functions
    found: list[ExactDraw | None] = [None] * len(some)

    def repeat(k: int, point) -> None:
        portion, j = some[k]
        A = f.A_pattern.to_matrix(f.design(point.theta).A)
        found[k] = ExactDraw(portion.rows[j], portion.repeated(point)[j], A, point.eta_moments().sd)

    posterior.each(repeat, np.array([portion.theta[j] for portion, j in some]))
    return [draw for draw in found if draw is not None]


def distance_from(exact: list[ExactDraw], x: np.ndarray) -> float:
    """Root mean square distance of linear predictors, in sd given theta. NaN where it cannot be told."""
    return float(np.sqrt(np.mean([draw.squared_distance(x) for draw in exact]))) if exact else np.nan
