"""Random structures for the tests of the solvers, and a dense oracle written with NumPy only."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Pattern


@dataclass(frozen=True)
class Problem:
    """Patterns, values and constraints of one H = Q + A'WA."""

    Q: sparse.csr_array
    A: sparse.csr_array
    W_rows: np.ndarray
    W_cols: np.ndarray
    W: np.ndarray
    C: sparse.csr_array
    e: np.ndarray

    @property
    def patterns(self):
        return Pattern.from_matrix(self.Q), Pattern.from_matrix(self.A), self.W_rows, self.W_cols, self.C, self.e

    @property
    def values(self):
        return self.Q.data, self.A.data, self.W


@dataclass(frozen=True)
class Oracle:
    """Dense S = Z (Z'HZ)^-1 Z' and log det Z'HZ."""

    S: np.ndarray
    log_determinant: float
    AS: np.ndarray
    WAS: np.ndarray


def oracle(problem: Problem) -> Oracle:
    A, n = problem.A.toarray(), problem.A.shape[0]
    W = np.zeros((n, n))
    W[problem.W_rows, problem.W_cols] = problem.W
    W[problem.W_cols, problem.W_rows] = problem.W
    H = problem.Q.toarray() + A.T @ W @ A
    C = problem.C.toarray()
    _, singular, rows = np.linalg.svd(C) if C.shape[0] else (None, np.empty(0), np.eye(C.shape[1]))
    Z = rows[np.sum(singular > 1e-10) :].T
    inner = Z.T @ H @ Z
    S = Z @ np.linalg.inv(inner) @ Z.T
    S = (S + S.T) / 2
    return Oracle(S, np.linalg.slogdet(inner)[1], A @ S, W @ A @ S)


def csr(matrix) -> sparse.csr_array:
    matrix = sparse.csr_array(matrix, dtype=float)
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix


def one_hot(index, n: int, values=None) -> sparse.csr_array:
    index = np.asarray(index)
    values = np.ones(len(index)) if values is None else values
    return csr(sparse.coo_array((values, (np.arange(len(index)), index)), shape=(len(index), n)))


def icar(n: int, rng, extra: int = 5) -> sparse.csr_array:
    """Laplacian of a random connected graph: singular."""
    adjacency = np.zeros((n, n))
    for i in range(1, n):
        j = int(rng.integers(i))
        adjacency[i, j] = adjacency[j, i] = 1
    for _ in range(extra):
        i, j = rng.integers(n, size=2)
        if i != j:
            adjacency[i, j] = adjacency[j, i] = 1
    return csr(np.diag(adjacency.sum(axis=1)) - adjacency)


def problem(Q_blocks, A_blocks, rng, *, C=None, e=None, m: int = 1, W=None) -> Problem:
    """Stack the blocks. With m = 2 rows i and i + n/2 belong to one observation and W is a 2 x 2 block."""
    Q, A = csr(sparse.block_diag([csr(block) for block in Q_blocks])), csr(sparse.hstack([csr(a) for a in A_blocks]))
    n_eta, n_x = A.shape
    diagonal = rng.uniform(0.5, 2.0, n_eta) if W is None else np.asarray(W, dtype=float)
    rows = cols = np.arange(n_eta)
    values = diagonal
    if m == 2:
        half = n_eta // 2
        rows = np.concatenate([rows, np.arange(half)])
        cols = np.concatenate([cols, np.arange(half) + half])
        values = np.concatenate([diagonal, 0.4 * rng.uniform(-1, 1, half)])
    C = sparse.csr_array((0, n_x)) if C is None else csr(C)
    e = np.zeros(C.shape[0]) if e is None else np.asarray(e, dtype=float)
    return Problem(Q, A, rows, cols, values, C, e)


def iid_with_fixed_effects(rng, n=60, groups=12, p=3, m=1, tau=1.3, **options) -> Problem:
    """Fixed effects, a weighted group effect with empty groups (the last two)."""
    X = rng.normal(size=(n, p))
    X[:, 0] = 1.0
    A_u = one_hot(rng.integers(groups - 2, size=n), groups, rng.uniform(0.5, 1.5, n))
    return problem([0.01 * np.eye(p), tau * np.eye(groups)], [X, A_u], rng, m=m, **options)


def correlated_slopes(rng, n=80, groups=9, m=1, b=2, **options) -> Problem:
    """Fixed effects and b correlated coefficients per group, interleaved."""
    X = rng.normal(size=(n, b))
    X[:, 0] = 1.0
    index = rng.integers(groups, size=n)
    entries = (np.repeat(np.arange(n), b), (index[:, None] * b + np.arange(b)).ravel())
    A_u = csr(sparse.coo_array((X.ravel(), entries), shape=(n, groups * b)))
    R = rng.normal(size=(b, b))
    return problem([0.01 * np.eye(b), np.kron(np.eye(groups), R @ R.T + np.eye(b))], [X, A_u], rng, m=m, **options)


def crossed(rng, n=150, first=30, second=11, m=1, **options) -> Problem:
    """Intercept and two crossed group effects."""
    return problem(
        [[[0.01]], 0.7 * np.eye(first), 1.9 * np.eye(second)],
        [np.ones((n, 1)), one_hot(rng.integers(first, size=n), first), one_hot(rng.integers(second, size=n), second)],
        rng,
        m=m,
        **options,
    )


def nested(rng, n=120, m=1, **options) -> Problem:
    """Intercept and three nested levels of 4, 12 and 36 groups."""
    low = rng.integers(36, size=n)
    levels = [one_hot(low // 9, 4), one_hot(low // 3, 12), one_hot(low, 36)]
    return problem(
        [[[0.01]], 2.0 * np.eye(4), 0.5 * np.eye(12), 1.5 * np.eye(36)], [np.ones((n, 1)), *levels], rng, m=m, **options
    )


def hierarchical_mean(rng, n=90, groups=15, **options) -> Problem:
    """Group effect centered at a latent mean that never meets the data directly."""
    tau = 1.7
    Q = np.diag(np.r_[0.1 + groups * tau, np.full(groups, tau)])
    Q[0, 1:] = Q[1:, 0] = -tau
    A = sparse.hstack([sparse.csr_array((n, 1)), one_hot(rng.integers(groups, size=n), groups)])
    return problem([Q], [A], rng, **options)


def icar_flat_intercept(rng, n=70, nodes=14, m=1, **options) -> Problem:
    """Flat intercept, ICAR with sum to zero (H is singular without the constraint), iid effect on the same nodes."""
    index = rng.integers(nodes, size=n)
    C = np.r_[0.0, np.ones(nodes), np.zeros(nodes)][None, :]
    blocks = [[[0.0]], icar(nodes, rng), 2.0 * np.eye(nodes)]
    A = [np.ones((n, 1)), one_hot(index, nodes), one_hot(index, nodes)]
    return problem(blocks, A, rng, C=C, m=m, **options)


def random_walk(rng, n=100, steps=40, m=1, **options) -> Problem:
    """Second-order random walk with two constraints, intercept and slope of time."""
    D = np.diff(np.eye(steps), n=2, axis=0)
    time = rng.integers(steps, size=n)
    C = np.zeros((2, steps + 2))
    C[0, 2:], C[1, 2:] = 1.0, np.arange(steps)
    X = np.column_stack([np.ones(n), time / steps])
    return problem([0.001 * np.eye(2), 3.0 * D.T @ D], [X, one_hot(time, steps)], rng, C=C, m=m, **options)


def ar1_kron(rng, n=200, steps=8, areas=6, m=1, **options) -> Problem:
    """Kronecker product of an AR(1) precision and a proper CAR precision, with an intercept."""
    r = 0.7
    Qt = np.diag(np.r_[1, np.full(steps - 2, 1 + r * r), 1]) - r * (np.eye(steps, k=1) + np.eye(steps, k=-1))
    Q = np.kron(Qt / (1 - r * r), icar(areas, rng).toarray() + 0.3 * np.eye(areas))
    index = rng.integers(steps * areas, size=n)
    return problem([[[0.01]], Q], [np.ones((n, 1)), one_hot(index, steps * areas)], rng, m=m, **options)


def distributional(rng, n=90, groups=12, m=2, **options) -> Problem:
    """Mean and log scale, each with an effect of the same groups, and an iid effect: W holds 2 x 2 blocks."""
    index = rng.integers(groups - 1, size=n)
    Z, zero = one_hot(index, groups, rng.uniform(0.5, 1.5, n)), sparse.csr_array((n, groups))
    X = np.kron(np.eye(2), np.column_stack([np.ones(n), rng.normal(size=n)]))
    A = [X, sparse.block_array([[Z, zero], [zero, Z]])]
    return problem([0.01 * np.eye(4), 1.3 * np.eye(2 * groups)], A, rng, m=2, **options)


def shared_effect(rng, n=90, groups=12, m=2, **options) -> Problem:
    """Two predictors per observation that see the same group effect with different weights."""
    index = np.tile(rng.integers(groups - 1, size=n), 2)
    X = np.kron(np.eye(2), np.column_stack([np.ones(n), rng.normal(size=n)]))
    Z = one_hot(index, groups, rng.uniform(0.5, 1.5, 2 * n))
    return problem([0.01 * np.eye(4), 1.3 * np.eye(groups)], [X, Z], rng, m=2, **options)


STRUCTURES = {
    "iid": iid_with_fixed_effects,
    "slopes2": correlated_slopes,
    "slopes3": lambda rng, **options: correlated_slopes(rng, b=3, **options),
    "crossed": crossed,
    "crossed_wide": lambda rng, **options: crossed(rng, **({"n": 3000} | options), first=60, second=55),
    "distributional": distributional,
    "shared_effect": shared_effect,
    "nested": nested,
    "hierarchical": hierarchical_mean,
    "icar": icar_flat_intercept,
    "random_walk": random_walk,
    "ar1_kron": ar1_kron,
}
