"""Damped Newton iteration for the mode x*(theta) of the latent field, under C x = e.

Maximizes f(x) = log p(y | eta(x), theta) + c + b'x - x'Qx/2. Steps use H = Q + A'W+A with the curvature W+ clamped to be
nonnegative off the mode; the factor that is returned is of the true H, unclamped, at the mode.
"""

from dataclasses import dataclass

import numpy as np

from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Prior
from pymc_inla.linalg.system import Factor, System
from pymc_inla.status import Status

MAX_ITERATIONS = 100
TOLERANCE = 1e-10
"""On the Newton decrement: half of it is the distance of f to its maximum in the quadratic model."""


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


def find_mode(functions: LGMFunctions, system: System, theta, x_start=None, max_iterations=MAX_ITERATIONS) -> Mode:
    """Mode of p(x | theta, y).

    Parameters
    ----------
    theta : (n_theta,) array
    x_start : (n_x,) array, optional
        Zero (projected on the constraints) by default.

    Returns
    -------
    Mode
        Its `status` is CONVERGED, MAX_ITERATIONS, LINE_SEARCH_FAILED, NOT_POSITIVE_DEFINITE (true H at the mode) or
        NON_FINITE.
    """
    prior, design = functions.prior(theta), functions.design(theta)
    x = system.project(np.zeros(functions.n_x) if x_start is None else np.asarray(x_start, float))
    passes = 0

    def evaluate(x, eta):
        Qx = system.multiply_Q(prior.Q, x)
        likelihood = functions.log_likelihood(eta, theta)
        value = float(np.sum(likelihood.value)) + prior.c + float(x @ (prior.b - 0.5 * Qx))
        return value, likelihood, Qx

    eta = design.offset + system.multiply_A(design.A, x)
    value, likelihood, Qx = evaluate(x, eta)
    passes += 1
    if not np.isfinite(value) and x_start is not None:
        return find_mode(functions, system, theta, None, max_iterations)
    status, factor, iteration = Status.MAX_ITERATIONS, None, 0
    if not (np.isfinite(value) and np.all(np.isfinite(likelihood.gradient)) and np.all(np.isfinite(likelihood.W))):
        return Mode(x, eta, value, prior, design, likelihood, None, Status.NON_FINITE, 0, passes)
    for iteration in range(1, max_iterations + 1):
        gradient = system.multiply_At(design.A, likelihood.gradient) + prior.b - Qx
        factor = system.factorize(prior.Q, design.A, likelihood.W)
        passes += 1
        true_curvature = factor.status.ok
        if not true_curvature:
            factor = system.factorize(prior.Q, design.A, clamp(likelihood.W, functions))
            passes += 1
            if not factor.status.ok:
                status = factor.status
                break
        step = factor.solve(gradient)
        decrement = float(gradient @ step)
        scale = 1.0 + abs(value)
        if decrement < TOLERANCE or decrement < 1e-15 * scale:
            status = Status.CONVERGED if true_curvature else Status.NOT_POSITIVE_DEFINITE
            break
        eta_step = system.multiply_A(design.A, step)
        accepted = False
        length = 1.0
        for _ in range(40):
            x_new, eta_new = x + length * step, eta + length * eta_step
            value_new, likelihood_new, Qx_new = evaluate(x_new, eta_new)
            passes += 1
            finite = np.isfinite(value_new) and np.all(np.isfinite(likelihood_new.W))
            # Armijo with a rounding allowance: near the mode the gain drowns in the sum over many observations
            if finite and value_new >= value + 1e-4 * length * decrement - 1e-13 * scale:
                accepted = True
                break
            length *= 0.5
        if not accepted:
            status = Status.CONVERGED if true_curvature and decrement < 1e-6 else Status.LINE_SEARCH_FAILED
            break
        x, eta, value, likelihood, Qx = x_new, eta_new, value_new, likelihood_new, Qx_new
    # what is returned is consistent: the factor belongs to the W at this x
    if status is Status.MAX_ITERATIONS:
        factor = system.factorize(prior.Q, design.A, likelihood.W)
    return Mode(x, eta, value, prior, design, likelihood, factor, status, iteration, passes)
