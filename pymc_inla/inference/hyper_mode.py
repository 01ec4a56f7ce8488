"""theta*, the mode of log p~(theta | y), and its local scale.

Damped BFGS with the analytic gradient, for a zero of the gradient. The gradient of a quadrature approximation is that
of the integral and not of the rule, so that value and gradient disagree by the error of the rule: a step is also
accepted when it shrinks the gradient, and only the gradient says where the mode is. The mode centers and scales the
design of the integral over theta; it is found far more precisely than that needs, so that equal models written in
different ways get equal designs. The Hessian at the mode comes from central differences of the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior
from pymc_inla.status import Status
from pymc_inla.theta_space import ThetaSpace

GAIN_TOLERANCE = 1e-14
"""Predicted gain in log density below which the search stops: 1e-7 sd away from the mode."""
GOOD_GAIN = 1e-5
"""The same for a search that rounding stops earlier: 0.005 sd."""
VALUE_NOISE = 0.05
"""What a log density may lose in a step that shrinks its gradient."""
SADDLE = -0.05
"""Curvature of the log density, per squared sd of the search, below which a zero of the gradient is a saddle"""
DIFFERENCE_STEP = 0.02
"""Step of the differences for the Hessian, in sd."""
NARROW = 1.0
"""Where the log density has fallen by less up to there, on both sides (a Gaussian: by 4.5, a Cauchy density: by 1.7),
the curvature at the mode is that of a kink, which says nothing of the width"""
FLAT = 0.2
"""Fall at one sd along an axis (a Gaussian: 0.5) below which its direction is noise as well"""
TIE = 5e-4
"""Part of the range of the search by which equal starts of two elements are moved apart"""
MAX_STEP = 2.0
"""Longest first step in one coordinate of theta, which are logarithms and logits most of the time."""


@dataclass(frozen=True)
class ThetaMode:
    """The mode of log p~(theta | y) and the coordinates theta(z) = theta_star + root z around it."""

    theta_star: np.ndarray
    """(d,)"""
    root: np.ndarray
    """(d, d), root root' = covariance"""
    log_posterior: float
    status: Status
    n_iterations: int

    @property
    def covariance(self) -> np.ndarray:
        return self.root @ self.root.T

    def to_theta(self, z: np.ndarray) -> np.ndarray:
        """(..., d) to (..., d)"""
        return self.theta_star + z @ self.root.T

    def to_z(self, theta: np.ndarray) -> np.ndarray:
        """Inverse of `to_theta`."""
        return np.linalg.solve(self.root, np.asarray(theta - self.theta_star).T).T


def find_theta_mode(
    posterior: ThetaPosterior,
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    covariance: np.ndarray | None = None,
    max_iterations: int = 60,
) -> ThetaMode:
    """Search the mode from one start.

    Parameters
    ----------
    posterior : ThetaPosterior
    start, lower, upper : array (d,)
        Start and bounds of the search.
    covariance : array (d, d), optional
        Guess of the inverse negative Hessian, from a similar density.

    Raises
    ------
    ConvergenceError
        If no finite log density is found at or near the start.
    """
    d = len(start)
    theta = np.clip(np.asarray(start, dtype=float), lower, upper)
    if d == 0:
        only = require_finite(posterior(theta, gradient=False))
        posterior.set_center(only)
        return ThetaMode(theta, np.zeros((0, 0)), only.log_posterior, only.status, 0)
    current = _finite_start(posterior, theta, lower, upper)
    B, n_iterations, kinked = covariance, 0, False
    for _ in range(8):
        current, B, status, n = _climb(posterior, current, B, lower, upper, max_iterations)
        n_iterations += n
        if status is Status.LINE_SEARCH_FAILED:
            best = _best_around(posterior, current, lower, upper)
            if best is not current:
                current, B = best, None
                continue
            kinked, status = True, Status.CONVERGED
        root, hessian_ok = _local_root(posterior, current, np.eye(d) if B is None else B, lower, upper)
        root = _within_bounds(root, lower, upper)
        higher = None if hessian_ok or kinked else _beside_saddle(posterior, current, root, lower, upper)
        if higher is not None:
            current, B = higher, None
            continue
        # Curvature that the search did not meet on its way (a coordinate on another scale) can hide a gain.
        if kinked or status is not Status.CONVERGED or 0.5 * np.sum((root.T @ current.gradient) ** 2) < 1e-3:
            break
        B = root @ root.T
    else:
        root, hessian_ok = _local_root(posterior, current, np.eye(d) if B is None else B, lower, upper)
        root = _within_bounds(root, lower, upper)
    if kinked:
        root = _widened(posterior, current, root, range(d), lower, upper)
    if status is Status.CONVERGED and not hessian_ok:
        status = Status.NOT_POSITIVE_DEFINITE
    return ThetaMode(current.theta, root, current.log_posterior, status, n_iterations)


def without_ties(start: np.ndarray, space: ThetaSpace) -> np.ndarray:
    """The start with the elements of one variable moved apart where all are equal.

    Elements that enter alike have a gradient that leaves them equal, and a search ends where that is zero: on a saddle
    between modes in which they have changed places, or on a small maximum of its own where the density of what they
    multiply is widest.
    """
    width = space.upper - space.lower
    start, width = start.copy(), np.where(np.isfinite(width), width, 0.0)
    for at in space.variables():
        if len(at) > 1 and np.ptp(start[at]) == 0.0:
            start[at] += TIE * width[at] * np.linspace(-0.5, 0.5, len(at))
    return np.clip(start, space.lower, space.upper)


def _climb(posterior, current: Evaluation, B: np.ndarray | None, lower, upper, max_iterations: int):
    """BFGS from `current` with inverse Hessian B (None: not known yet).

    Returns
    -------
    (Evaluation, B, Status, iterations)
    """
    posterior.set_center(current)
    d = len(current.theta)
    for iteration in range(max_iterations):
        g = current.gradient
        blocked = ((current.theta <= lower) & (g < 0)) | ((current.theta >= upper) & (g > 0))
        at_end = Status.BOUNDARY if blocked.any() else Status.CONVERGED
        g_free = np.where(blocked, 0.0, g)
        if np.max(np.abs(g_free)) < 1e-10:
            return current, B, at_end, iteration
        direction = g_free if B is None else np.where(blocked, 0.0, B @ g_free)
        gain = direction @ g
        if gain <= 0:
            direction, gain = g_free, g_free @ g
        if B is not None and 0.5 * gain < GAIN_TOLERANCE:
            return current, B, at_end, iteration
        longest = np.max(np.abs(direction))
        limit = 1.0 if B is None else MAX_STEP * max(1.0, np.max(_scale(B)))
        step = _line_search(posterior, current, direction * min(1.0, limit / longest), B, lower, upper)
        if step is None:
            small = B is not None and 0.5 * gain < GOOD_GAIN
            return current, B, at_end if small else Status.LINE_SEARCH_FAILED, iteration
        s, q = step.theta - current.theta, current.gradient - step.gradient
        sq = s @ q
        if sq > 1e-10 * np.sqrt((s @ s) * (q @ q)):
            B = _bfgs(np.eye(d) * sq / (q @ q) if B is None else B, s, q, sq)
        current = step
        posterior.set_center(current)
    return current, B, Status.MAX_ITERATIONS, max_iterations


def _best_around(posterior, current: Evaluation, lower, upper) -> Evaluation:
    """The highest of the current point and its neighbors along the axes, which is the current one at a maximum without
    a zero of the gradient: a kink of the prior."""
    best = current
    for j in range(len(current.theta)):
        for step in (1e-3, -1e-3, 0.02, -0.02):
            theta = np.clip(current.theta + step * (np.arange(len(current.theta)) == j), lower, upper)
            near = posterior(theta, gradient=True)
            if near.gradient is not None and near.log_posterior > best.log_posterior + 1e-9:
                best = near
    return best


def _beside_saddle(posterior, current: Evaluation, root: np.ndarray, lower, upper) -> Evaluation | None:
    """A higher point along the axis of least curvature, or None: hyperparameters that enter alike have a zero of the
    gradient where they are equal, which may be a saddle between two modes."""
    changes = _gradient_changes(posterior, current, root, lower, upper)
    if changes is None:
        return None
    H = changes @ root
    curvature, rotation = np.linalg.eigh((H + H.T) / 2)
    if curvature[0] > SADDLE:
        return None
    axis = root @ rotation[:, 0]
    ends = [np.clip(current.theta + t * axis, lower, upper) for t in (1.0, -1.0, 0.2, -0.2)]
    found = [e for e in posterior.evaluate_all(ends, gradient=True) if e.gradient is not None]
    best = max(found, key=lambda e: e.log_posterior, default=current)
    return best if best.log_posterior > current.log_posterior + GOOD_GAIN else None


def at_its_width(
    posterior: ThetaPosterior, mode: ThetaMode, lower: np.ndarray, upper: np.ndarray, first_look: float
) -> ThetaMode:
    """The mode with axes as long as its density is wide, where a kink of the likelihood beside it (a changepoint at a
    value of a covariate) makes the curvature at the mode large. What is evaluated otherwise is needed anyway, by the
    search for other modes, which begins at `first_look` sd."""
    d, density = len(mode.theta_star), posterior.near or posterior
    theta = mode.to_theta(first_look * np.repeat(np.eye(d), 2, axis=0) * np.tile([1.0, -1.0], d)[:, None])
    inside = np.all((theta >= lower) & (theta <= upper), axis=1)
    top = density(mode.theta_star, keep=False)
    drop = np.full(2 * d, -np.inf)
    found = density.evaluate_all(theta[inside], gradient=True, keep=False)
    drop[inside] = [top.log_posterior - e.log_posterior for e in found]
    narrow = np.flatnonzero(np.abs(drop.reshape(d, 2)).max(axis=1) < NARROW)
    if not len(narrow):
        return mode
    wide = replace(mode, root=_widened(density, top, mode.root, narrow, lower, upper))
    posterior.prepare_design(wide.theta_star, wide.root)
    return wide


def _widened(posterior, current: Evaluation, root: np.ndarray, axes, lower, upper) -> np.ndarray:
    """The root with these axes so long that the log density falls by about one along them on average, as it does over
    one sd of a Laplace density: differences of the gradient across a kink give a curvature that says nothing of the
    width."""
    root = root.copy()
    for j in axes:
        for step in range(20):
            ends = [np.clip(current.theta + sign * root[:, j], lower, upper) for sign in (1.0, -1.0)]
            values = [posterior(end, keep=False).log_posterior for end in ends]
            drop = current.log_posterior - np.mean(values)
            if not 0 <= drop < 0.8:
                break
            if step == 0 and drop < FLAT:
                root[:, j] *= np.arange(len(root)) == j
            root[:, j] *= np.clip(max(drop, 1e-3) ** -0.5, 1.3, 10.0)
    return _within_bounds(_axes_root(root), lower, upper)


def _scale(B: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.diag(B), 0.0))


def _bfgs(B, s, q, sq):
    """BFGS update of the inverse Hessian (Nocedal & Wright 2006, eq. 6.17)."""
    V = np.eye(len(s)) - np.outer(s, q) / sq
    return V @ B @ V.T + np.outer(s, s) / sq


def _line_search(posterior, current: Evaluation, direction, B, lower, upper) -> Evaluation | None:
    """Backtracking with safeguarded cubic interpolation, until Armijo's rule holds or the gradient, in units of a gain,
    has halved; None when no step does either."""
    t = 1.0
    slope = direction @ current.gradient
    for _ in range(25):
        theta = np.clip(current.theta + t * direction, lower, upper)
        trial = posterior(theta, gradient=True)
        if trial.gradient is not None:
            gained = trial.log_posterior - current.log_posterior
            enough = gained >= 1e-4 * ((theta - current.theta) @ current.gradient)
            if B is not None and gained > -VALUE_NOISE:
                # Near the mode the gradient decides: differences of values are rounding there.
                remaining, before = trial.gradient @ B @ trial.gradient, current.gradient @ B @ current.gradient
                enough = remaining < 0.5 * before or (enough and before > 2 * GOOD_GAIN)
            if enough:
                return trial
        if np.isfinite(trial.log_posterior):
            drop = current.log_posterior + t * slope - trial.log_posterior
            t *= float(np.clip(0.5 * t * slope / max(drop, 1e-300), 0.1, 0.5))
        else:
            t *= 0.25
        if t * np.max(np.abs(direction)) < 1e-9 * (1 + np.max(np.abs(current.theta))):
            return None
    return None


def require_finite(evaluation: Evaluation) -> Evaluation:
    """An evaluation that has a value.

    Raises
    ------
    ConvergenceError
        If it has none.
    """
    if not np.isfinite(evaluation.log_posterior):
        if len(evaluation.theta) == 0:
            raise ConvergenceError(
                f"the search for the mode of the latent variables found no finite density ({evaluation.status.value}). "
                "Scale covariates and responses whose squares overflow (beyond about 1e150), and check that the "
                "likelihood is possible where the linear predictor is near zero."
            )
        raise ConvergenceError(
            f"log p(theta | y) is not finite at theta = {np.round(evaluation.theta, 4).tolist()} "
            f"({evaluation.status.value}). Give other start values with `start`, or check the data and priors."
        )
    return evaluation


def _finite_start(posterior, theta, lower, upper) -> Evaluation:
    """The start, or a point near it where the density is finite."""
    first = posterior(theta, gradient=True)
    if first.gradient is not None and np.isfinite(first.log_posterior):
        return first
    for shift in (1.0, -1.0, 2.0, -2.0, 4.0, -4.0):
        other = posterior(np.clip(theta + shift, lower, upper), gradient=True)
        if other.gradient is not None and np.isfinite(other.log_posterior):
            return other
    require_finite(first)
    raise ConvergenceError(
        f"the gradient of log p(theta | y) is not finite at theta = {np.round(theta, 4).tolist()}. "
        "Give other start values with `start`."
    )


def _local_root(posterior, current: Evaluation, B: np.ndarray, lower, upper) -> tuple[np.ndarray, bool]:
    """Root of the inverse negative Hessian, by differences of the gradient along the axes of B.

    Where the negative Hessian is not positive definite (a plateau, a mode at the bound) the scale found by BFGS stays.
    """
    values, vectors = np.linalg.eigh((B + B.T) / 2)
    axes = vectors * np.sqrt(np.maximum(values, 1e-12 * max(values.max(), 1e-12)))
    for _ in range(6):
        changes = _gradient_changes(posterior, current, axes, lower, upper)
        if changes is None:
            return _positive_root(B), False
        H = changes @ axes  # in coordinates theta = theta* + axes z
        curvature, rotation = np.linalg.eigh((H + H.T) / 2)
        if curvature.min() < -0.2 or (curvature.min() > 0.1 and curvature.max() < 10.0):
            break
        # Differences over a step far from the scale of an axis are noise, or not local: let it take its own scale.
        axes = axes @ rotation * np.clip(1.0 / np.sqrt(np.maximum(curvature, 1e-4)), 0.02, 100.0)
    # Directions without curvature keep the scale they have; the others take their own.
    positive = curvature > 1e-4
    root = axes @ rotation / np.sqrt(np.where(positive, curvature, 1.0))
    return _axes_root(root), bool(positive.all())


def _within_bounds(root: np.ndarray, lower, upper) -> np.ndarray:
    """Axes shortened to a tenth of the search region, for densities that are flat at the mode."""
    with np.errstate(divide="ignore"):
        excess = np.max(np.abs(root) * (10.0 / (upper - lower))[:, None], axis=0)
    return root / np.maximum(excess, 1.0)


def _gradient_changes(posterior, current: Evaluation, axes: np.ndarray, lower, upper) -> np.ndarray | None:
    """Minus the derivative of the gradient along every column of `axes`, (d, d), by central differences."""
    ends = np.clip(current.theta + DIFFERENCE_STEP * np.vstack([axes.T, -axes.T]), lower, upper)
    evaluations = posterior.evaluate_all(ends, gradient=True)
    up, down = np.reshape(ends, (2, *axes.shape))
    width = np.linalg.norm(up - down, axis=1) / np.linalg.norm(axes, axis=0)
    if any(e.gradient is None for e in evaluations) or np.any(width == 0):
        return None
    up, down = np.reshape([e.gradient for e in evaluations], (2, *axes.shape))
    return (down - up) / width[:, None]


def _positive_root(B: np.ndarray) -> np.ndarray:
    return _axes_root(np.linalg.cholesky(B + 1e-12 * np.trace(B) * np.eye(len(B))))


def _axes_root(M: np.ndarray) -> np.ndarray:
    """The root of M M' whose axes stay closest to those of theta: D C^(1/2), D the sds and C the correlations.

    Long tails and skewness of hyperparameters mostly run along their own axes; principal axes may point anywhere where
    the scales are nearly equal (ZCA-cor whitening, Kessy, Lewin & Strimmer 2018, The American Statistician).
    """
    covariance = M @ M.T
    sd = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(sd, sd))
    return sd[:, None] * ((vectors * np.sqrt(np.maximum(values, 1e-14))) @ vectors.T)
