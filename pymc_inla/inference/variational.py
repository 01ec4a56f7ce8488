"""Variational correction of the mean of x given theta (van Niekerk & Rue 2024, section 3).

The Gaussian approximation N(x*, S) keeps its covariance, and its mean moves to m = x* + M lambda, where the columns of
M = S[:, I] belong to the chosen elements I. lambda minimizes the variational free energy

    F(lambda) = -sum_i E[log p(y_i | eta_i, theta)] + (m'Qm / 2 - b'm) + const,    eta ~ N(offset + A m, A S A'),

the Kullback-Leibler divergence from N(m, S) to p(x | theta, y) up to a constant. Expectations are Gauss-Hermite sums
over the linear predictors of one observation. Newton's method in lambda, with E[W] clamped to be nonnegative.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference.newton import Mode, clamp
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg.system import System

NODES = {1: 15, 2: 9, 3: 5}
"""Gauss-Hermite nodes per dimension, by linear predictors per observation; 3 beyond"""
MAX_ITERATIONS = 30
TOLERANCE = 1e-12
"""On the decrement, twice what is left to gain in F"""
RANK_TOLERANCE = 1e-10
"""Directions of M'HM = S[I, I] below this share of the largest are constrained away and left out."""


def check_indices(vb_correct, n_x: int) -> np.ndarray:
    """The elements of x to correct: an array of positions, or True for all of them.

    Raises
    ------
    InvalidOptionError
        If a position is not an integer in [0, n_x).
    """
    if vb_correct is True or vb_correct is False:
        return np.arange(n_x if vb_correct else 0)
    indices = np.atleast_1d(np.asarray(vb_correct))
    if indices.size == 0:
        return np.arange(0)
    if not np.issubdtype(indices.dtype, np.integer) or indices.ndim != 1:
        raise InvalidOptionError(f"vb_correct={vb_correct!r}: give True or a sequence of integers.")
    outside = indices[(indices < 0) | (indices >= n_x)]
    if len(outside):
        raise InvalidOptionError(
            f"vb_correct contains {outside[0]}; the latent field has {n_x} elements, 0 to {n_x - 1}."
        )
    return np.unique(indices)


def variational_mean_shift(
    functions: LGMFunctions,
    system: System,
    theta: np.ndarray,
    mode: Mode,
    W_covariance: np.ndarray,
    indices: np.ndarray,
) -> np.ndarray:
    """M lambda, (n_x,).

    Parameters
    ----------
    mode : Mode
        At theta, with its factor.
    W_covariance : (n_W,) array
        (A S A')[W_rows, W_cols].
    indices : (r,) int array
        The chosen elements of x.
    """
    f, n = functions, functions.n_x
    if not len(indices) or f.gaussian:
        return np.zeros(n)
    M = mode.factor.solve(np.eye(n)[:, indices])
    # constraints, and elements that determine each other, make columns dependent
    eigenvalues, vectors = np.linalg.eigh(M[indices])
    kept = eigenvalues > RANK_TOLERANCE * eigenvalues[-1]
    M = M @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))
    AM = f.A_pattern.to_matrix(mode.design.A) @ M
    QM = f.Q_pattern.to_matrix(mode.prior.Q) @ M
    expectation = _Expectation(f, theta, W_covariance)

    def evaluate(value_of):
        m = mode.x + M @ value_of
        Qm = system.multiply_Q(mode.prior.Q, m)
        likelihood = expectation(mode.eta + AM @ value_of)
        return likelihood, Qm, float(m @ (0.5 * Qm - mode.prior.b)) - likelihood[0]

    value_of = np.zeros(M.shape[1])
    (_, gradient, W), Qm, energy = evaluate(value_of)
    for _ in range(MAX_ITERATIONS):
        slope = M.T @ (Qm - mode.prior.b) - AM.T @ gradient
        WAM = _multiply_W(clamp(W, f), AM, f)
        step = -np.linalg.solve(M.T @ QM + AM.T @ WAM, slope)
        decrement = -float(slope @ step)
        if not decrement > TOLERANCE:
            break
        length = 1.0
        while length > 1e-6:
            likelihood, Qm_new, new = evaluate(value_of + length * step)
            if np.isfinite(new) and new <= energy - 1e-4 * length * decrement + 1e-13 * abs(energy):
                break
            length *= 0.5
        else:
            break
        value_of, Qm, energy = value_of + length * step, Qm_new, new
        _, gradient, W = likelihood
    return M @ value_of


class _Expectation:
    """E[log p], E[gradient], E[W] over eta ~ N(mean, blocks of A S A'), one block per observation."""

    def __init__(self, functions: LGMFunctions, theta: np.ndarray, W_covariance: np.ndarray):
        f = self.functions = functions
        self.theta = theta
        order = np.argsort(f.observation, kind="stable")
        first = np.r_[True, np.diff(f.observation[order]) != 0]
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        self.position = np.empty(f.n_eta, int)
        self.position[order] = np.arange(len(order)) - start
        size = int(self.position.max()) + 1
        blocks = np.zeros((f.n_obs, size, size))
        row, col = self.position[f.W_rows], self.position[f.W_cols]
        blocks[f.observation[f.W_rows], row, col] = W_covariance
        blocks[f.observation[f.W_rows], col, row] = W_covariance
        eigenvalues, vectors = np.linalg.eigh(blocks)
        self.root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :]
        z, w = np.polynomial.hermite_e.hermegauss(NODES.get(size, 3))
        w = w / w.sum()
        self.nodes = [
            (np.array(z_k), float(np.prod(w_k))) for z_k, w_k in zip(_grid(z, size), _grid(w, size), strict=True)
        ]

    def __call__(self, mean: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        f = self.functions
        value, gradient, W = 0.0, np.zeros(f.n_eta), np.zeros(len(f.W_rows))
        for z, weight in self.nodes:
            deviation = (self.root @ z)[f.observation, self.position]
            likelihood = f.log_likelihood(mean + deviation, self.theta)
            value += weight * float(np.sum(likelihood.value))
            gradient += weight * likelihood.gradient
            W += weight * likelihood.W
        return value, gradient, W


def _grid(values: np.ndarray, size: int):
    return product(values, repeat=size)


def _multiply_W(W: np.ndarray, B: np.ndarray, functions: LGMFunctions) -> np.ndarray:
    """W B for B of shape (n_eta, r)."""
    n = functions.n_eta
    result = W[:n, None] * B
    if len(W) > n:
        rows, cols = functions.W_rows[n:], functions.W_cols[n:]
        np.add.at(result, rows, W[n:, None] * B[cols])
        np.add.at(result, cols, W[n:, None] * B[rows])
    return result
