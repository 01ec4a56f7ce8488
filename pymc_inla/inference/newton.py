"""Damped Newton iteration for the mode x*(theta) of the latent field, under C x = e.

Maximizes f(x) = log p(y | eta(x), theta) + c + b'x - x'Qx/2. A step uses the true H = Q + A'WA where that is positive
definite; elsewhere W clamped to be nonnegative, and where the data say nothing (W = 0 far from the mode, a flat prior)
some multiple of the identity on top. The step length is halved until f increases enough (Armijo). A stationary point
where the true H is not positive definite is left once, in a fixed direction. The factor returned is of the true H.
"""

from dataclasses import dataclass, replace

import numpy as np

from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Prior
from pymc_inla.linalg.system import Factor, System
from pymc_inla.status import Status

MAX_ITERATIONS = 60
TOLERANCE = 1e-12
"""On the Newton decrement g'H^-1 g: its root is the distance to the mode in posterior sds, which the log determinant,
and with it log p~(theta | y), feels to first order."""
ROUNDING = 1e-15
"""Decrements below this share of abs(f) are lost in the rounding of f."""
STALLED = 1e-6
"""A decrement up to which a step that increases f no more, or is followed by one of the same size, means rounding, not
failure."""
HALVINGS = 40
RIDGES = (1e-6, 1e-3, 1.0, 1e3)
"""Multiples of the largest prior precision (at least 1) that are added where H is singular."""

LOST = 2.0
"""Rounding in log p(x | theta) from which on it is worth nothing; errors that were seen are a fifth of it"""


@dataclass(frozen=True)
class Mode:
    """The conditional mode of x and everything evaluated there."""

    x: np.ndarray
    eta: np.ndarray
    log_joint: float
    """log p(y, x* | theta), without log p(theta)"""
    prior: Prior
    design: Design
    likelihood: Likelihood
    factor: Factor | None
    """of the true H; None when the search ended before one was made"""
    status: Status
    n_newton: int
    n_passes: int


def clamp(W: np.ndarray, functions: LGMFunctions) -> np.ndarray:
    """The nearest usable curvature: nonnegative diagonals, off-diagonal entries that keep 2 x 2 blocks semidefinite."""
    n = functions.n_eta
    clamped = W.copy()
    clamped[:n] = np.maximum(W[:n], 0.0)
    if len(W) > n:
        rows, cols = functions.W_rows[n:], functions.W_cols[n:]
        # diagonal dominance in correlation units, so that blocks of any size stay positive semidefinite
        share = np.bincount(np.concatenate([rows, cols]), minlength=n)
        bound = np.sqrt(clamped[rows] * clamped[cols]) / np.maximum(1, np.maximum(share[rows], share[cols]))
        clamped[n:] = np.clip(W[n:], -bound, bound)
    return clamped


def rounding_of_quadratic(x: np.ndarray, terms: np.ndarray) -> float:
    """About what rounding does to x'Qx where terms = abs(Q) abs(x): the terms of Qx cancel where latents are alike that
    a large prior precision ties together, as levels of an effect whose scale is 1e-8 to their mean."""
    return float(np.finfo(float).eps * np.linalg.norm(x * terms))


def find_mode(functions: LGMFunctions, system: System, theta, x_start=None, max_iterations=MAX_ITERATIONS) -> Mode:
    """Mode of p(x | theta, y).

    Parameters
    ----------
    theta : (n_theta,) array
    x_start : (n_x,) array, optional
        Zero by default. Projected on the constraints. When the search from there fails, it starts again from zero, then
        from the x whose linear predictors are nearest to zero.

    Returns
    -------
    Mode
        Its `status` is CONVERGED, MAX_ITERATIONS, LINE_SEARCH_FAILED, NOT_POSITIVE_DEFINITE (true H at the mode),
        LOST_IN_ROUNDING or NON_FINITE.
    """
    search = _Search(functions, system, theta)
    best = None
    for start in search.starts(x_start):
        mode = search.run(start(), max_iterations)
        if mode.status.ok or mode.status is Status.LOST_IN_ROUNDING:
            return mode
        if best is None or best.factor is None or mode.log_joint > best.log_joint:
            best = mode
    return replace(best, n_newton=search.n_newton, n_passes=search.n_passes)


@dataclass(frozen=True)
class _Iterate:
    """One x and f there."""

    x: np.ndarray
    eta: np.ndarray
    Qx: np.ndarray
    value: float
    likelihood: Likelihood

    @property
    def finite(self) -> bool:
        arrays = self.likelihood.gradient, self.likelihood.W
        return bool(np.isfinite(self.value) and all(np.all(np.isfinite(a)) for a in arrays))


class _Search:
    """f and its quadratic models at one theta, with the number of passes over the data."""

    def __init__(self, functions: LGMFunctions, system: System, theta):
        self.functions, self.system, self.theta = functions, system, theta
        self.prior, self.design = functions.prior(theta), functions.design(theta)
        self.n_newton = self.n_passes = 0

    def run(self, x: np.ndarray, max_iterations: int) -> Mode:
        """One search from x."""
        x = self.system.project(x)
        current = self.at(x, self.design.offset + self.system.multiply_A(self.design.A, x))
        if not current.finite:
            return self.result(current, None, Status.NON_FINITE)
        status, factor, true_curvature, left_saddle = Status.MAX_ITERATIONS, None, True, False
        previous = np.inf
        for _ in range(max_iterations):
            self.n_newton += 1
            factor, true_curvature = self.factor(current, factor)
            if not factor.status.ok:
                status = factor.status
                break
            gradient = self.gradient(current)
            step = factor.solve(gradient)
            decrement = float(gradient @ step)
            if true_curvature and previous < 2 * decrement and self.is_rounding(current, factor, decrement):
                status = Status.CONVERGED
                break
            previous = decrement
            if decrement >= max(TOLERANCE, ROUNDING * (1.0 + abs(current.value))):
                accepted = self.along(current, step, decrement)
                if accepted is None:
                    stalled = true_curvature and self.is_rounding(current, factor, decrement)
                    status = Status.CONVERGED if stalled else Status.LINE_SEARCH_FAILED
                    break
            elif true_curvature:
                status = Status.CONVERGED
                break
            else:
                accepted = None if left_saddle else self.away(current, factor)
                left_saddle = True
                if accepted is None:
                    status = Status.NOT_POSITIVE_DEFINITE
                    break
            current = accepted
        if status is Status.MAX_ITERATIONS or not true_curvature:
            # what is returned is consistent: the factor belongs to the W at this x
            factor = self.true_factor(current)
        return self.result(current, factor, status)

    def at(self, x, eta) -> _Iterate:
        self.n_passes += 1
        Qx = self.system.multiply_Q(self.prior.Q, x)
        likelihood = self.functions.log_likelihood(eta, self.theta)
        # a step too far ends at -inf
        with np.errstate(over="ignore"):
            value = float(np.sum(likelihood.value)) + self.prior.c + float(x @ (self.prior.b - 0.5 * Qx))
        return _Iterate(x, eta, Qx, value, likelihood)

    def is_rounding(self, at: _Iterate, factor: Factor, decrement: float) -> bool:
        """Whether a decrement that shrinks no more is made by rounding: of the gradient, whose terms Qx cancel where
        prior precisions are 1e10 times those of the data, and of f."""
        noise = np.finfo(float).eps * self.system.multiply_Q(np.abs(self.prior.Q), np.abs(at.x))
        return decrement < max(STALLED, float(noise @ factor.solve(noise)))

    def starts(self, x_start) -> list:
        """Functions that give the points to start from, in the order in which they are tried."""
        usual = [lambda: np.zeros(self.functions.n_x), self._nearest_to_zero]
        return usual if x_start is None else [lambda: np.asarray(x_start, float), *usual]

    def _nearest_to_zero(self) -> np.ndarray:
        """Minimizer of sum(eta^2) - 2 log p(x): moderate linear predictors whatever the offset."""
        unit = (np.arange(len(self.functions.W_rows)) < self.functions.n_eta).astype(float)
        factor = self.system.factorize(self.prior.Q, self.design.A, unit)
        if not factor.status.ok:
            return np.zeros(self.functions.n_x)
        x = self.system.project(np.zeros(self.functions.n_x))
        eta = self.design.offset + self.system.multiply_A(self.design.A, x)
        downhill = self.prior.b - self.system.multiply_Q(self.prior.Q, x) - self.system.multiply_At(self.design.A, eta)
        return x + factor.solve(downhill)

    def gradient(self, at: _Iterate) -> np.ndarray:
        return self.system.multiply_At(self.design.A, at.likelihood.gradient) + self.prior.b - at.Qx

    def true_factor(self, at: _Iterate) -> Factor:
        self.n_passes += 1
        return self.system.factorize(self.prior.Q, self.design.A, at.likelihood.W)

    def factor(self, at: _Iterate, previous: Factor | None) -> tuple[Factor, bool]:
        """A positive definite H for the step, and whether it is the true one."""
        if self.functions.gaussian and previous is not None:
            return previous, True
        factor = self.true_factor(at)
        # what a Gaussian likelihood adds is never negative: its H is singular or lost in rounding, here and everywhere
        if factor.status is not Status.NOT_POSITIVE_DEFINITE or self.functions.gaussian:
            return factor, True
        Q, A, W = self.prior.Q, self.design.A, clamp(at.likelihood.W, self.functions)
        pattern = self.functions.Q_pattern
        diagonal = pattern.rows == pattern.indices
        scale = max(1.0, float(np.max(Q[diagonal], initial=0.0)))
        for ridge in (0.0, *RIDGES):
            self.n_passes += 1
            factor = self.system.factorize(Q + ridge * scale * diagonal, A, W)
            if factor.status is not Status.NOT_POSITIVE_DEFINITE:
                break
        return factor, False

    def along(self, at: _Iterate, step: np.ndarray, decrement: float) -> _Iterate | None:
        """The first of 1, 1/2, 1/4, ... of the step that increases f enough, or None."""
        eta_step = self.system.multiply_A(self.design.A, step)
        length = 1.0
        for _ in range(HALVINGS):
            # the projection moves x by the rounding of the solve only, which eta need not follow
            new = self.at(self.system.project(at.x + length * step), at.eta + length * eta_step)
            # a rounding allowance: near the mode the gain drowns in the sum over many observations
            allowance = 1e-13 * (1.0 + abs(at.value))
            if new.finite and new.value >= at.value + 1e-4 * length * decrement - allowance:
                return new
            length *= 0.5
        return None

    def away(self, at: _Iterate, factor: Factor) -> _Iterate | None:
        """A point off a saddle at which f is not smaller, in a fixed direction of one posterior sd, or None."""
        signs = np.where(np.arange(self.functions.n_x) % 2, -1.0, 1.0)
        return self.along(at, factor.sample(signs[:, None])[:, 0], 0.0)

    def result(self, at: _Iterate, factor: Factor | None, status: Status) -> Mode:
        counts = {"n_newton": self.n_newton, "n_passes": self.n_passes}
        if rounding_of_quadratic(at.x, self.system.multiply_Q(np.abs(self.prior.Q), np.abs(at.x))) > LOST:
            status = Status.LOST_IN_ROUNDING
        return Mode(at.x, at.eta, at.value, self.prior, self.design, at.likelihood, factor, status, **counts)
