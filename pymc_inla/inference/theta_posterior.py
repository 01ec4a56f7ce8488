"""log p~(theta | y) as a function that remembers where it has been evaluated.

Every part of the integration over theta asks this object, so that no point is computed twice, every point starts from
the mode of its nearest neighbor, and the number of evaluations is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_inla.status import Status

KEEP_BYTES = 2.5e8
"""The points used last are kept whole (with their factors) up to this estimated size; of the others only the mode x* is
kept as a warm start, and a point that is needed again is evaluated again."""

NEIGHBORS = 12
"""Known points that a warm start is extrapolated from"""
SAMPLED_PREDICTORS = 2000
LARGEST_WEIGHTS = 8.0
"""Sum of the absolute weights of an extrapolation, beyond which a polynomial of lower degree is used"""


@dataclass(frozen=True)
class WarmStart:
    """The part of an inner point that a neighbor starts from."""

    theta: np.ndarray
    x_star: np.ndarray
    """(n_x,)"""


@dataclass(frozen=True)
class Evaluation:
    """One value of log p~(theta | y)."""

    theta: np.ndarray
    """(d,)"""
    log_posterior: float
    """-inf where the inner optimization gave no finite value"""
    gradient: np.ndarray | None
    """(d,)"""
    status: Status
    x_star: np.ndarray


def extrapolation_weights(z: np.ndarray) -> np.ndarray:
    """Weights (k,) that carry values at points z (k, d), ascending in distance, over to the origin.

    Of the polynomials of degree two, one and zero, the highest that the points determine and whose weights are small;
    among the weights that reproduce it those of least norm.
    """
    k, d = z.shape
    i, j = np.triu_indices(d)
    for basis in (np.column_stack([np.ones(k), z, z[:, i] * z[:, j]]), np.column_stack([np.ones(k), z])):
        if k < basis.shape[1]:
            continue
        value_at_origin = np.eye(basis.shape[1])[0]
        weights, _, rank, _ = np.linalg.lstsq(basis.T, value_at_origin, rcond=1e-6)
        if rank == basis.shape[1] and np.abs(weights).sum() <= LARGEST_WEIGHTS:
            return weights
    return np.eye(k)[0]


class ThetaPosterior:
    """Evaluations of log p~(theta | y), memoized.

    Parameters
    ----------
    inner : InnerApproximation
        Has ``evaluate(theta, start, gradient=...)``.
    bytes_per_point : float
        Estimated size of one inner point, which decides how many are kept.
    """

    def __init__(self, inner, bytes_per_point: float = 0.0):
        self.inner = inner
        self.bytes_per_point = bytes_per_point
        self._memory: dict[bytes, Evaluation] = {}
        self._points: dict[bytes, Any] = {}  # the one used last comes last
        self._moments: dict[bytes, Any] = {}
        self._predictors: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self.n_evaluations = 0
        self.n_passes = 0
        self.n_newton = 0
        self.center: Any = None
        self.root: np.ndarray | None = None
        self.strict = False
        self.collect_moments = False
        """Whether the moments of every value asked for are taken at once, because its point may not be kept"""
        self.rough: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, theta, *, gradient: bool = False, keep: bool = True) -> Evaluation:
        """Evaluate at one theta.

        Parameters
        ----------
        theta : array (d,)
        gradient : bool
            Whether the gradient is needed; a remembered value without it is evaluated again.
        keep : bool
            Whether the point may be needed again with its factor.
        """
        theta = np.ascontiguousarray(theta, dtype=float)
        key = theta.tobytes()
        known = self._memory.get(key)
        if known is None or (known.gradient is None and gradient):
            start = WarmStart(known.theta, known.x_star) if known is not None else self._warm_start(theta)
            point = self._evaluate(theta, start, gradient)
            known = self._memory[key] = self._evaluation(point)
            if keep:
                self._keep(key, point)
        if self.collect_moments and key not in self._moments and np.isfinite(known.log_posterior):
            self._moments[key] = self.point(theta).moments()
            self.predictors(theta)
        return known

    def _evaluation(self, point) -> Evaluation:
        value, g = float(point.log_posterior), point.gradient
        tolerated = Status.CONVERGED, Status.MAX_ITERATIONS, Status.LINE_SEARCH_FAILED
        usable = np.isfinite(value) and point.status in (tolerated[:1] if self.strict else tolerated)
        if g is not None and not np.all(np.isfinite(g)):
            g = None
        theta = np.ascontiguousarray(point.theta, dtype=float)
        return Evaluation(theta, value if usable else -np.inf, g, point.status, point.x_star)

    def _keep(self, key: bytes, point) -> None:
        """Remember the whole point, and forget those that were used longest ago where they take too much memory."""
        self._points.pop(key, None)
        self._points[key] = point
        while len(self._points) > 1 and len(self._points) * self.bytes_per_point > KEEP_BYTES:
            del self._points[next(iter(self._points))]

    def rough_at(self, theta: np.ndarray) -> np.ndarray:
        """The part of the log density that is not to be interpolated (see `kinks`), (m, d) to (m,)."""
        return np.zeros(len(theta)) if self.rough is None else self.rough(theta)

    def known(self) -> list[Evaluation]:
        """All finite evaluations so far, in the order of theta (not of their evaluation)."""
        finite = [e for e in self._memory.values() if np.isfinite(e.log_posterior)]
        return sorted(finite, key=lambda e: tuple(e.theta))

    def set_center(self, evaluation: Evaluation) -> None:
        """Let later points start from this one."""
        self.center = WarmStart(evaluation.theta, evaluation.x_star)

    def prepare_design(self, theta_star: np.ndarray, root: np.ndarray) -> None:
        """From now on points start from the nearest known one, in coordinates root^-1 theta.

        If the inner optimization converged at theta*, values where it did not are no longer taken: they may be lost to
        rounding (precisions of 1e18) and be anything.
        """
        self.root = root if len(root) else None
        self.strict = self(theta_star).status is Status.CONVERGED

    def _warm_start(self, theta: np.ndarray):
        """x* at theta, extrapolated from the nearest known points by a polynomial of degree two, one or zero."""
        known = [e for e in self._memory.values() if np.isfinite(e.log_posterior)] if self.root is not None else []
        if not known:
            return self.center
        z = np.linalg.solve(self.root, (np.array([e.theta for e in known]) - theta).T).T
        order = np.argsort((z**2).sum(axis=1), kind="stable")[:NEIGHBORS]
        weights = extrapolation_weights(z[order])
        x_star = sum(w * known[i].x_star for w, i in zip(weights, order, strict=True) if w != 0)
        return WarmStart(theta, x_star)

    def moments(self, theta: np.ndarray):
        """Moments of x at theta, as collected or from the point."""
        key = np.ascontiguousarray(theta, dtype=float).tobytes()
        if key not in self._moments:
            self._moments[key] = self.point(theta).moments()
        return self._moments[key]

    def predictors(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, sd) of SAMPLED_PREDICTORS linear predictors, evenly spaced, at theta."""
        key = np.ascontiguousarray(theta, dtype=float).tobytes()
        if key not in self._predictors:
            eta = self.point(theta).eta_moments()
            every = slice(None, None, max(1, -(-len(eta.mean) // SAMPLED_PREDICTORS)))
            self._predictors[key] = eta.mean[every].copy(), eta.sd[every].copy()
        return self._predictors[key]

    def point(self, theta: np.ndarray):
        """The whole InnerPoint at theta: as kept, or evaluated again from its own mode."""
        key = np.ascontiguousarray(theta, dtype=float).tobytes()
        known = self._memory[key] if key in self._memory else self(theta)
        point = self._points.get(key)
        if point is None:
            point = self._evaluate(known.theta, WarmStart(known.theta, known.x_star), False)
        self._keep(key, point)
        return point

    def _evaluate(self, theta: np.ndarray, start, gradient: bool):
        point = self.inner.evaluate(theta, start, gradient=gradient)
        if point.status is not Status.CONVERGED and start is not None:
            # A start far from the mode of this theta can mislead Newton's method: try once from scratch.
            fresh = self.inner.evaluate(theta, None, gradient=gradient)
            self._count(fresh)
            if fresh.status is Status.CONVERGED:
                self._count(point)
                return fresh
        self._count(point)
        return point

    def _count(self, point) -> None:
        self.n_evaluations += 1
        self.n_passes += int(point.n_passes)
        self.n_newton += int(point.n_newton)
