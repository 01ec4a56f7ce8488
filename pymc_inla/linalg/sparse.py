"""Sparse LDL' for structured fields (random walks, AR, CAR, lattices, nested effects), with a dense remainder.

The latents are split into a sparse part, ordered by minimum degree, and a tail of the columns that meet nearly
everything (fixed effects, shared means) and of one latent per constraint, whose removal makes an intrinsic field
positive definite. The sparse part is eliminated as one big local block: s = D^-1 B, the remainder in the centered form
of `kernels`, and `tail` for the constraints. So every factor is a Cholesky factor, also under constraints.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from pymc_inla.lgm import Pattern
from pymc_inla.linalg import sparse_kernels as kernels
from pymc_inla.linalg.cholesky import lost_in_rounding
from pymc_inla.linalg.constraints import Projection
from pymc_inla.linalg.finite import all_finite
from pymc_inla.linalg.products import Products
from pymc_inla.linalg.system import SelectedInverse
from pymc_inla.linalg.tail import Tail, factorize_tail, split_constraints
from pymc_inla.status import Status


@dataclass(frozen=True)
class SparseFactor:
    """LDL' of the sparse part and the factorized tail. See `pymc_inla.linalg.system.Factor`."""

    system: "SparseSystem"
    status: Status
    log_determinant: float = np.nan
    Q: np.ndarray = field(default=None, repr=False)
    A: np.ndarray = field(default=None, repr=False)
    W: np.ndarray = field(default=None, repr=False)
    L: np.ndarray = field(default=None, repr=False)
    pivots: np.ndarray = field(default=None, repr=False)
    s: np.ndarray = field(default=None, repr=False)
    """(n_sparse, P) D^-1 B"""
    tail: Tail = field(default=None, repr=False)

    def solve(self, r):
        """S r, for r of shape (n_x,) or (n_x, m)."""
        system = self.system
        r = np.asarray(r, dtype=float)
        columns = r.reshape(len(r), -1)
        own = np.ascontiguousarray(columns[system.sparse_part])
        y = np.zeros((system.n_tail, columns.shape[1]))
        y[: len(system.shared)] = columns[system.shared]
        y = self.tail.solve(y - self.s.T @ own)
        kernels.solve_lower(system.pattern, self.L, own)
        own /= self.pivots[:, None]
        kernels.solve_upper(system.pattern, self.L, own)
        x = np.empty_like(columns)
        x[system.sparse_part] = own - self.s @ y
        x[system.shared] = y[: len(system.shared)]
        return x.reshape(r.shape)

    def sample(self, normals):
        """Draws from N(0, S): (n_x, m) standard normals to (n_x, m) draws (Rue & Held 2005, algorithms 2.4, 2.6)."""
        system, n_S = self.system, len(self.system.shared)
        normals = np.asarray(normals, dtype=float)
        own = np.ascontiguousarray(normals[system.sparse_part]) / np.sqrt(self.pivots)[:, None]
        kernels.solve_upper(system.pattern, self.L, own)
        shared = self.tail.sample(normals[system.shared])
        own -= self.s[:, :n_S] @ shared
        if n_S < system.n_tail:
            excess = system.constraints.eliminated @ own + system.constraints.shared @ shared
            own -= self.s[:, n_S:] @ self.tail.solve_M(excess)
        x = np.empty(normals.shape)
        x[system.sparse_part], x[system.shared] = own, shared
        return x

    def selected_inverse(self) -> SelectedInverse:
        """Entries of S on the patterns of Q, W and A: Takahashi's equations, plus the low-rank part of the tail."""
        system, K = self.system, self.tail.inverse
        Z, Z_diagonal = np.empty(len(self.L)), np.empty(len(self.pivots))
        kernels.selected_inverse(system.pattern, self.L, self.pivots, Z, Z_diagonal)
        D_inverse = np.empty(len(system.D_index))
        off = system.D_in_L >= 0
        D_inverse[off], D_inverse[~off] = Z[system.D_in_L[off]], Z_diagonal
        sK = self.s @ K
        diagonal = np.empty(system.n_x)
        diagonal[system.sparse_part] = Z_diagonal + np.einsum("ij,ij->i", sK, self.s)
        diagonal[system.shared] = np.diag(K)[: len(system.shared)]
        Q = np.empty(len(self.Q))
        positions, rows, columns, in_D = system.Q_sparse
        Q[positions] = D_inverse[in_D] + np.einsum("ij,ij->i", sK[rows], self.s[columns])
        positions, rows, columns = system.Q_mixed
        Q[positions] = -sK[rows, columns]
        positions, rows, columns = system.Q_shared
        Q[positions] = K[rows, columns]
        W, A = np.empty(len(self.W)), np.zeros(len(self.A))
        kernels.selected_rows(self.A, self.W, system.layout, D_inverse, self.s, np.ascontiguousarray(K), W, A)
        return SelectedInverse(diagonal, Q, W, lambda: A)


class SparseSystem(Products):
    """H = Q + A'WA by sparse LDL'. See `pymc_inla.linalg.system.System`.

    Parameters
    ----------
    Q_pattern, A_pattern, W_rows, W_cols
        As in `build_system`.
    C, e
        Constraints of full row rank.
    """

    def __init__(self, Q_pattern: Pattern, A_pattern: Pattern, W_rows, W_cols, C, e):
        super().__init__(Q_pattern, A_pattern)
        self.Q_pattern, self.A_pattern = Q_pattern, A_pattern
        self.n_x = A_pattern.shape[1]
        self.project = Projection(C, e)
        W_rows, W_cols = np.asarray(W_rows, dtype=np.int64), np.asarray(W_cols, dtype=np.int64)
        structure, in_tail = sparse_structure(Q_pattern, A_pattern, W_rows, W_cols)
        in_tail = in_tail.copy()
        in_tail[_pinned(C)] = True
        self.shared = np.flatnonzero(in_tail)
        kept = np.flatnonzero(~in_tail)
        structure = sparse.csr_array(structure[kept][:, kept])
        order = minimum_degree(structure)
        self.sparse_part = kept[order]
        self.constraints = split_constraints(C, self.sparse_part, self.shared)
        self.n_tail = len(self.shared) + len(self.constraints.shared)
        lower = sparse.csr_array(sparse.tril(structure[order][:, order]))
        lower.sort_indices()
        self.D_ptr, self.D_index = lower.indptr.astype(np.int64), lower.indices.astype(np.int32)
        self.pattern = kernels.FactorPattern(*kernels.factor_pattern(self.D_ptr, self.D_index))
        self.D_in_L = np.empty(len(self.D_index), dtype=np.int64)
        kernels.find_in_factor(self.D_ptr, self.D_index, self.pattern, self.D_in_L)
        place = np.empty(self.n_x, dtype=np.int64)
        place[self.sparse_part] = np.arange(len(kept))
        place[self.shared] = -1 - np.arange(len(self.shared))
        self._place_Q(place)
        self.layout = self._row_layout(place, W_rows, W_cols)
        own = len(self.pattern.rows) + len(kept) * self.n_tail + 3 * self.n_tail**2
        self.factor_size = own + self.n_x + 2 * Q_pattern.nnz + A_pattern.nnz + len(W_rows)

    def _place_Q(self, place):
        """Where each entry of Q goes: the sparse part (twice: both triangles), the border, or the tail."""
        rows, columns = place[self.Q_pattern.rows], place[self.Q_pattern.indices]
        own = np.flatnonzero((rows >= 0) & (columns >= 0))
        in_D = np.empty(len(own), dtype=np.int64)
        kernels.find_all(self.D_ptr, self.D_index, rows[own], columns[own], in_D)
        self.Q_sparse = (own, rows[own], columns[own], in_D)
        self._Q_lower = (own[rows[own] >= columns[own]], in_D[rows[own] >= columns[own]])
        mixed = np.flatnonzero((rows >= 0) != (columns >= 0))
        high, low = np.maximum(rows[mixed], columns[mixed]), np.minimum(rows[mixed], columns[mixed])
        self.Q_mixed = (mixed, high, -1 - low)
        shared = np.flatnonzero((rows < 0) & (columns < 0))
        self.Q_shared = (shared, -1 - rows[shared], -1 - columns[shared])

    def _row_layout(self, place, W_rows, W_cols) -> kernels.RowLayout:
        n_eta = self.A_pattern.shape[0]
        A_indptr, entry_place = self.A_pattern.indptr, place[self.A_pattern.indices].astype(np.int32)
        cumulative = np.r_[0, np.cumsum(entry_place >= 0)]
        length = np.diff(cumulative[A_indptr])
        every, first, second = np.arange(n_eta), W_rows[n_eta:], W_cols[n_eta:]
        own_ptr = np.r_[0, np.cumsum(length * (length + 1) // 2)]
        pair_ptr = np.r_[0, np.cumsum(length[first] * length[second])]
        own = np.empty(own_ptr[-1], dtype=np.int32 if len(self.D_index) < 2**31 else np.int64)
        pair = np.empty(pair_ptr[-1], dtype=own.dtype)
        kernels.find_products(self.D_ptr, self.D_index, A_indptr, entry_place, every, every, own_ptr, own)
        kernels.find_products(self.D_ptr, self.D_index, A_indptr, entry_place, first, second, pair_ptr, pair)
        return kernels.RowLayout(A_indptr, entry_place, own_ptr, own, pair_ptr, pair, W_rows, W_cols)

    @cached_property
    def _Q_sparse_pattern(self) -> tuple[np.ndarray, sparse.csr_array]:
        """Order of the entries of Q on the sparse part as a CSR matrix, and its template."""
        positions, rows, columns, _ = self.Q_sparse
        n = len(self.sparse_part)
        template = sparse.csr_array((np.arange(len(positions)), (rows, columns)), shape=(n, n))
        return positions[template.data], template

    def factorize(self, Q, A, W) -> SparseFactor:
        """LDL' of the sparse part, then the remainder."""
        Q, A, W = (np.ascontiguousarray(values, dtype=float) for values in (Q, A, W))
        if not all_finite(Q, A, W):
            return SparseFactor(self, Status.NON_FINITE)
        n, n_S = len(self.sparse_part), len(self.shared)
        D, q = np.zeros(len(self.D_index)), np.zeros((n, self.n_tail))
        D[self._Q_lower[1]] = Q[self._Q_lower[0]]
        q[self.Q_mixed[1], self.Q_mixed[2]] = Q[self.Q_mixed[0]]
        q[:, n_S:] = self.constraints.eliminated.T.toarray()
        s = q.copy()
        kernels.assemble(A, W, self.layout, D, s)
        L, pivots = np.empty(len(self.pattern.rows)), np.empty(n)
        factorized = kernels.factorize(self.D_ptr, self.D_index, D, self.pattern, L, pivots)
        if not factorized or lost_in_rounding(pivots, D[self.D_ptr[1:] - 1]):
            return SparseFactor(self, Status.NOT_POSITIVE_DEFINITE)
        kernels.solve_lower(self.pattern, L, s)
        s /= pivots[:, None]
        kernels.solve_upper(self.pattern, L, s)
        order, template = self._Q_sparse_pattern
        Q_own = sparse.csr_array((Q[order], template.indices, template.indptr), shape=template.shape)
        crossed = s.T @ q
        T = np.zeros((self.n_tail, self.n_tail))
        T[self.Q_shared[1], self.Q_shared[2]] = Q[self.Q_shared[0]]
        T[n_S:, :n_S] = self.constraints.shared
        before = T.diagonal().copy()
        T += s.T @ (Q_own @ s) - crossed - crossed.T
        kernels.add_residuals(A, W, self.layout, s, T)
        tail = factorize_tail(T, self.constraints, before)
        log_determinant = np.sum(np.log(pivots)) + tail.log_determinant + self.constraints.log_determinant
        return SparseFactor(self, tail.status, float(log_determinant), Q, A, W, L, pivots, s, tail)


def sparse_structure(Q_pattern: Pattern, A_pattern: Pattern, W_rows, W_cols) -> tuple[sparse.csr_array, np.ndarray]:
    """Pattern of H without the dense rows, and which those are.

    A latent belongs to the tail if a quarter of the rows of A meet it or its row of H is longer than 10 sqrt(n_x), the
    usual bound of minimum-degree orderings.

    Returns
    -------
    H : (n_x, n_x), entries between kept latents, full diagonal
    in_tail : (n_x,) bool
    """
    n_eta, n_x = A_pattern.shape
    in_tail = np.bincount(A_pattern.indices, minlength=n_x) > max(n_eta / 4, 4)
    kept = np.flatnonzero(~in_tail[A_pattern.indices])
    A = sparse.csr_array((np.ones(len(kept)), (A_pattern.rows[kept], A_pattern.indices[kept])), shape=(n_eta, n_x))
    W = sparse.csr_array((np.ones(len(W_rows)), (W_rows, W_cols)), shape=(n_eta, n_eta))
    H = A.T @ ((W + W.T) @ A) + Q_pattern.to_matrix(np.ones(Q_pattern.nnz)) + sparse.eye_array(n_x)
    H = sparse.csr_array(H)
    in_tail = in_tail | (np.diff(H.indptr) > 10 * np.sqrt(n_x) + 1)
    keep = sparse.diags_array((~in_tail).astype(float))
    H = sparse.csr_array(keep @ H @ keep) + sparse.eye_array(n_x)
    H = sparse.csr_array(H)
    H.eliminate_zeros()
    return H, in_tail


def minimum_degree(structure: sparse.csr_array) -> np.ndarray:
    """Elimination order by minimum degree: order[i] is eliminated i-th. SuperLU finds it on the way to factors of a
    diagonally dominant matrix with this pattern."""
    n = structure.shape[0]
    if n == 0:
        return np.empty(0, dtype=np.int64)
    dominant = abs(structure)
    dominant = sparse.csc_array(sparse.diags_array(2.0 * dominant.sum(axis=1)) - dominant)
    factors = splu(dominant, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.argsort(factors.perm_c)


def _pinned(C: sparse.csr_array) -> np.ndarray:
    """One latent per constraint, such that C restricted to them is invertible (QR with column pivoting)."""
    k = C.shape[0]
    if k == 0:
        return np.empty(0, dtype=np.int64)
    used = np.unique(C.indices)
    return used[linalg.qr(C[:, used].toarray(), mode="r", pivoting=True)[1][:k]]
