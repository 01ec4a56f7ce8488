"""log p~(theta | y) as a function that remembers where it has been evaluated.

Every part of the integration over theta asks this object, so that no point is computed twice, every point starts from
the mode of its nearest neighbor, and the number of evaluations is known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from pymc_inla.inference.parallel import map_in_order
from pymc_inla.linalg.heap import release_temporaries
from pymc_inla.status import Status

KEEP_BYTES = 1.5e8
"""The points used last are kept whole (with their factors) up to this estimated size; of the others only the mode x* is
kept as a warm start, and a point that is needed again is evaluated again."""

AT_ONCE, LARGE_POINT = 8, 2e6
"""Values of theta that are evaluated side by side where a point has more bytes than this. In smaller models Python is
busier than the numerics, and threads would wait for each other."""
NEIGHBORS = 12
"""Known points that a warm start is extrapolated from"""
SAMPLED_PREDICTORS = 2000
"""Linear predictors whose variances say where the grid needs nodes"""
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
    """(d,), of log_posterior - correction"""
    status: Status
    x_star: np.ndarray
    correction: float = 0.0


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
        Estimated size of one inner point, which decides how many are kept, and whether several are evaluated at once.
    in_parts : bool
        Whether one evaluation uses all cores by itself: then there is one at a time, which takes less memory.
    """

    def __init__(self, inner, bytes_per_point: float = 0.0, in_parts: bool = False):
        self.inner = inner
        self.bytes_per_point = bytes_per_point
        self._map = map if in_parts else map_in_order
        self._memory: dict[bytes, Evaluation] = {}
        self._finite: list[bytes] = []  # keys of the finite ones
        self._places = np.empty((0, 0))  # their theta, with room for more
        self._points: dict[bytes, Any] = {}  # the one used last comes last
        self._moments: dict[bytes, Any] = {}
        self._predictors: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._lock = Lock()
        self.at_once = AT_ONCE if bytes_per_point > LARGE_POINT and not in_parts else 1
        self.n_evaluations = 0
        self.n_passes = 0
        self.n_newton = 0
        self.n_refined = 0
        """Evaluations for which the inner approximation had to be finer than it is"""
        self.center: Any = None
        self.root: np.ndarray | None = None
        self.strict = False
        self.collect_moments = False
        """Whether the moments of every value asked for are taken at once, because its point may not be kept"""
        self.rough: Callable[[np.ndarray], np.ndarray] | None = None
        self.near: ThetaPosterior | None = None
        """A density that is nearly the same, whose evaluations cost less: for searches"""

    @classmethod
    def of(cls, inner) -> ThetaPosterior:
        """With what the approximation says of itself."""
        return cls(inner, inner.bytes_per_point, inner.in_parts)

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
        return self.evaluate_all([theta], gradient=gradient, keep=keep)[0]

    def evaluate_all(
        self,
        thetas: Iterable,
        *,
        gradient: bool = False,
        keep: bool = True,
        starts: Sequence[Evaluation | WarmStart] | None = None,
    ) -> list[Evaluation]:
        """Evaluate at several theta, `at_once` of them side by side, none of which starts from another.

        Parameters
        ----------
        starts : sequence of Evaluation or WarmStart, optional
            Where the inner searches start, instead of near what is known.
        """
        thetas = [np.ascontiguousarray(theta, dtype=float) for theta in thetas]
        starts = [None] * len(thetas) if starts is None else starts
        for first in range(0, len(thetas), self.at_once):
            portion = slice(first, first + self.at_once)
            self._evaluate_portion(thetas[portion], starts[portion], gradient, keep)
        return [self._memory[theta.tobytes()] for theta in thetas]

    def _evaluate_portion(self, thetas, starts, gradient: bool, keep: bool) -> None:
        wanted = {}
        for theta, start in zip(thetas, starts, strict=True):
            key = theta.tobytes()
            known = self._memory.get(key)
            if known is None or (known.gradient is None and gradient):
                wanted[key] = theta, self._warm_start(theta, known or start)

        def evaluate(work):
            theta, start = work
            point, tried = self._evaluate(theta, start, gradient)
            evaluation = self._evaluation(point)
            collect = self.collect_moments and np.isfinite(evaluation.log_posterior)
            return point, tried, evaluation, (point.moments(), _sampled(point)) if collect else None

        for key, found in zip(wanted, map_in_order(evaluate, wanted.values()), strict=True):
            point, tried, evaluation, moments = found
            self._remember(key, evaluation)
            self._count(tried)
            if keep:
                self._keep(key, point)
            if moments is not None:
                self._moments[key], self._predictors[key] = moments
        if self.collect_moments:
            for theta in thetas:
                if np.isfinite(self._memory[theta.tobytes()].log_posterior):
                    self.moments(theta)
                    self.predictors(theta)

    def _evaluation(self, point) -> Evaluation:
        value, g = float(point.log_posterior), point.gradient
        tolerated = Status.CONVERGED, Status.MAX_ITERATIONS, Status.LINE_SEARCH_FAILED
        usable = np.isfinite(value) and point.status in (tolerated[:1] if self.strict else tolerated)
        if g is not None and not np.all(np.isfinite(g)):
            g = None
        theta = np.ascontiguousarray(point.theta, dtype=float)
        return Evaluation(theta, value if usable else -np.inf, g, point.status, point.x_star, point.correction)

    def _keep(self, key: bytes, point) -> None:
        """Remember the whole point, and forget those that were used longest ago where they take too much memory."""
        with self._lock:
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
        if self.near is not None:
            self.near.prepare_design(theta_star, root)
        self.root = root if len(root) else None
        self.strict = self(theta_star).status is Status.CONVERGED

    def each(self, function: Callable[[int, Any], Any], thetas: Iterable) -> list[Evaluation]:
        """Call function(k, point) at several theta where there is an inner approximation, side by side unless one
        evaluation uses all cores; the points are not kept."""
        thetas = [np.ascontiguousarray(theta, dtype=float) for theta in thetas]
        starts = [self._warm_start(theta, self._memory.get(theta.tobytes())) for theta in thetas]
        if crowded := 2 * self.bytes_per_point > KEEP_BYTES:
            self._points.clear()  # there is no room for them beside those that come now

        def at(k: int):
            point, tried = self._points.get(thetas[k].tobytes()), []
            if point is None:
                point, tried = self._evaluate(thetas[k], starts[k], False)
            evaluation = self._evaluation(point)
            if np.isfinite(evaluation.log_posterior):
                function(k, point)
            return evaluation, tried

        found = []
        for evaluation, tried in self._map(at, range(len(thetas))):
            key = evaluation.theta.tobytes()
            if key not in self._memory:
                self._remember(key, evaluation)
            self._count(tried)
            found.append(evaluation)
            if crowded:
                del tried
                release_temporaries()
        return found

    def _warm_start(self, theta: np.ndarray, near: Evaluation | None = None):
        """The mode that is known `near` theta, or x* at theta, extrapolated from the nearest known points by a
        polynomial of degree two, one or zero."""
        if near is not None:
            return WarmStart(near.theta, near.x_star)
        if self.root is None or not self._finite:
            return self.center
        z = np.linalg.solve(self.root, (self._places[: len(self._finite)] - theta).T).T
        order = np.argsort((z**2).sum(axis=1), kind="stable")[:NEIGHBORS]
        weights = extrapolation_weights(z[order])
        x_star = sum(w * self._memory[self._finite[i]].x_star for w, i in zip(weights, order, strict=True) if w != 0)
        return WarmStart(theta, x_star)

    def _remember(self, key: bytes, evaluation: Evaluation) -> None:
        if np.isfinite(evaluation.log_posterior) and not (
            key in self._memory and np.isfinite(self._memory[key].log_posterior)
        ):
            if len(self._finite) == len(self._places):
                self._places = np.resize(self._places, (2 * len(self._places) + 64, len(evaluation.theta)))
            self._places[len(self._finite)] = evaluation.theta
            self._finite.append(key)
        self._memory[key] = evaluation

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
            self._predictors[key] = _sampled(self.point(theta))
        return self._predictors[key]

    def point(self, theta: np.ndarray):
        """The whole InnerPoint at theta: as kept, or evaluated again from its own mode."""
        key = np.ascontiguousarray(theta, dtype=float).tobytes()
        known = self._memory[key] if key in self._memory else self(theta)
        point = self._points.get(key)
        if point is None:
            point, tried = self._evaluate(known.theta, WarmStart(known.theta, known.x_star), False)
            self._count(tried)
        self._keep(key, point)
        return point

    def _evaluate(self, theta: np.ndarray, start, gradient: bool) -> tuple[Any, list]:
        """The point, and all that were tried."""
        point = self.inner.evaluate(theta, start, gradient=gradient)
        if point.status is not Status.CONVERGED and start is not None:
            # A start far from the mode of this theta can mislead Newton's method: try once from scratch.
            fresh = self.inner.evaluate(theta, None, gradient=gradient)
            return (fresh if fresh.status is Status.CONVERGED else point), [fresh, point]
        return point, [point]

    def _count(self, points: list) -> None:
        with self._lock:
            self.n_evaluations += len(points)
            self.n_passes += sum(int(point.n_passes) for point in points)
            self.n_newton += sum(int(point.n_newton) for point in points)
            self.n_refined += sum(point.refined for point in points)


def _sampled(point) -> tuple[np.ndarray, np.ndarray]:
    """(mean, sd) of SAMPLED_PREDICTORS linear predictors"""
    eta = point.eta_moments(SAMPLED_PREDICTORS)
    return eta.mean.copy(), eta.sd.copy()


def in_step(searches: list[Generator], evaluate_all: Callable[[list], list]) -> list:
    """Run searches side by side: each yields a place, is sent the value there, and returns its outcome."""
    outcomes, asked = [None] * len(searches), {}

    def advance(k: int, value) -> None:
        try:
            asked[k] = searches[k].send(value)
        except StopIteration as end:
            outcomes[k] = end.value

    for k in range(len(searches)):
        advance(k, None)
    while asked:
        places, asked = asked, {}
        for k, value in zip(places, evaluate_all(list(places.values())), strict=True):
            advance(k, value)
    return outcomes
