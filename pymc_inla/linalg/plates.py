"""Exact elimination of scalar local latents next to a few shared ones: group effects beside fixed effects.

The special case of `elimination` in which blocks have one element and the list of tail unknowns of every group is the
whole tail. Rows of A are dense then, (a, v), and sorted by group once; with D = q + sum w a^2, s = D^-1 B and
R = v - s a everything is a short loop over contiguous numbers, bound by memory rather than by indices.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Pattern
from pymc_inla.linalg import plate_kernels as kernels
from pymc_inla.linalg.constraints import Projection
from pymc_inla.linalg.finite import all_finite
from pymc_inla.linalg.partition import Partition
from pymc_inla.linalg.products import Products
from pymc_inla.linalg.system import SelectedInverse
from pymc_inla.linalg.tail import SplitConstraints, Tail, factorize_tail, split_constraints
from pymc_inla.status import Status


@dataclass(frozen=True)
class PlateFactor:
    """Pivots and tail, factorized. See `pymc_inla.linalg.system.Factor`."""

    system: "PlateSystem"
    status: Status
    log_determinant: float = np.nan
    A: np.ndarray = field(default=None, repr=False)
    W: np.ndarray = field(default=None, repr=False)
    D: np.ndarray = field(default=None, repr=False)
    """(n_L,)"""
    s: np.ndarray = field(default=None, repr=False)
    """(n_L, P)"""
    tail: Tail = field(default=None, repr=False)

    def solve(self, r):
        """S r, for r of shape (n_x,) or (n_x, m)."""
        local, shared = self.system.local, self.system.shared
        columns = np.asarray(r, dtype=float).reshape(len(r), -1)
        r_L = columns[local]
        y = -(self.s.T @ r_L)
        y[: len(shared)] += columns[shared]
        y = self.tail.solve(y)
        x = np.empty_like(columns)
        x[shared] = y[: len(shared)]
        x[local] = r_L / self.D[:, None] - self.s @ y
        return x.reshape(np.shape(r))

    def sample(self, normals):
        """Draws from N(0, S): (n_x, m) standard normals to (n_x, m) draws.

        Shared latents first, local ones given them, then the local ones are conditioned on their constraints
        (Rue & Held 2005, algorithm 2.6).
        """
        local, shared = self.system.local, self.system.shared
        n_S = len(shared)
        x = np.ascontiguousarray(np.asarray(normals, dtype=float).T)
        y = np.zeros((len(x), self.system.n_tail))
        y[:, :n_S] = self.tail.sample(x[:, shared].T).T
        x[:, shared] = y[:, :n_S]
        kernels.draw_local(x, local, self.D, self.s, y)
        if n_S < self.system.n_tail:
            constraints = self.system.constraints
            excess = constraints.eliminated @ x[:, local].T + constraints.shared @ y[:, :n_S].T
            x[:, local] -= (self.s[:, n_S:] @ self.tail.solve_M(excess)).T
        return x.T

    def selected_inverse(self) -> SelectedInverse:
        """Entries of S on the patterns of Q and W in one pass over the data, of A when asked for."""
        system = self.system
        a, V = system.dense_rows(self.A)
        K = self.tail.inverse
        U = self.s @ K
        n_S = len(system.shared)
        diagonal, Q, W = np.empty(system.n_x), np.zeros(len(system.Q_pattern.indices)), np.empty(len(self.W))
        diagonal[system.shared] = np.diag(K)[:n_S]
        diagonal[system.local] = 1.0 / self.D + np.einsum("gj,gj->g", U, self.s)
        Q[system.Q_local] = diagonal[system.local]
        Q[system.Q_shared[0]] = K[system.Q_shared[1], system.Q_shared[2]]
        for at, g, j in system.Q_cross:
            Q[at] = -U[g, j]
        kernels.variance_of_rows(system.rows, system.row_ptr, a, V, self.D, self.s, K, W)
        return SelectedInverse(diagonal, Q, W, lambda: self._rows_of_AS(K))

    def _rows_of_AS(self, K) -> np.ndarray:
        system, out = self.system, np.zeros(len(self.A))
        a, V = system.dense_rows(self.A)
        order = system.rows, system.row_ptr, system.starts, system.slot_ptr, system.slot
        kernels.rows_of_AS(self.W, *order, a, V, self.D, self.s, K, out)
        return out


class PlateSystem(Products):
    """H = Q + A'WA by elimination of scalar local latents. See `pymc_inla.linalg.system.System`.

    Parameters
    ----------
    Q_pattern, A_pattern, C, e
        As in `build_system`; W is diagonal.
    partition : Partition
        From `choose_local`, with blocks of one latent.
    """

    def __init__(self, Q_pattern: Pattern, A_pattern: Pattern, C, e, partition: Partition):
        super().__init__(Q_pattern, A_pattern)
        self.Q_pattern, self.A_pattern = Q_pattern, A_pattern
        self.n_x = A_pattern.shape[1]
        self.project = Projection(C, e)
        self.local = np.ascontiguousarray(partition.local_blocks[:, 0], dtype=np.int64)
        self.shared = np.asarray(partition.shared, dtype=np.int64)
        self.constraints: SplitConstraints = split_constraints(C, self.local, self.shared)
        self.n_tail = len(self.shared) + len(self.constraints.shared)
        group_of, tail_of = np.full(self.n_x, -1), np.full(self.n_x, -1)
        group_of[self.local] = np.arange(len(self.local))
        tail_of[self.shared] = np.arange(len(self.shared))
        self._sort_rows(group_of, tail_of)
        self._split_Q(group_of, tail_of)
        self._dense = (None, None)
        own = len(self.local) * (1 + self.n_tail) + 3 * self.n_tail**2
        self.factor_size = own + self.n_x + Q_pattern.nnz + A_pattern.shape[0]

    def _sort_rows(self, group_of, tail_of) -> None:
        """Rows of A by the local latent they touch; those that touch none at the end."""
        n_eta, n_L = self.A_pattern.shape[0], len(self.local)
        entry_group = group_of[self.A_pattern.indices]
        entries = np.flatnonzero(entry_group >= 0)
        group = np.full(n_eta, n_L)
        group[np.searchsorted(self.A_pattern.indptr, entries, side="right") - 1] = entry_group[entries]
        self.rows = np.argsort(group, kind="stable")
        self.row_ptr = np.r_[0, np.cumsum(np.bincount(group, minlength=n_L + 1))][: n_L + 1]
        self.starts = self.A_pattern.indptr[self.rows]
        lengths = np.diff(self.A_pattern.indptr)[self.rows]
        self.slot_ptr = np.r_[0, np.cumsum(lengths)]
        source = np.repeat(self.starts - self.slot_ptr[:-1], lengths) + np.arange(self.slot_ptr[-1])
        self.slot = tail_of[self.A_pattern.indices[source]].astype(np.int32)

    def _split_Q(self, group_of, tail_of) -> None:
        """Where the entries of Q belong: local diagonal, cross (both triangles), shared."""
        rows, cols = self.Q_pattern.rows, self.Q_pattern.indices
        row_group, col_group = group_of[rows], group_of[cols]
        own = np.flatnonzero((row_group >= 0) & (row_group == col_group))
        self.Q_local = np.empty(len(self.local), dtype=np.int64)
        self.Q_local[row_group[own]] = own
        shared = np.flatnonzero((row_group < 0) & (col_group < 0))
        self.Q_shared = (shared, tail_of[rows[shared]], tail_of[cols[shared]])
        across = np.flatnonzero((row_group >= 0) & (col_group < 0))
        back = np.flatnonzero((row_group < 0) & (col_group >= 0))
        self.Q_cross = (
            (across, row_group[across], tail_of[cols[across]]),
            (back, col_group[back], tail_of[rows[back]]),
        )
        self.C_cross = sparse.csr_array(self.constraints.eliminated).T.toarray()

    def dense_rows(self, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sorted rows of A as (a (n_eta,), V (n_eta, P)), made once for a design that does not change."""
        known, rows = self._dense
        if known is not A:
            a, V = np.zeros(len(self.rows)), np.zeros((len(self.rows), self.n_tail))
            kernels.scatter_rows(A, self.starts, self.slot_ptr, self.slot, a, V)
            rows = a, V
            self._dense = A, rows
        return rows

    def factorize(self, Q, A, W) -> PlateFactor:
        """Eliminate the local latents, then factorize the tail."""
        Q, W = (np.ascontiguousarray(values, dtype=float) for values in (Q, W))
        if not all_finite(Q, A, W):
            return PlateFactor(self, Status.NON_FINITE)
        n_S, n_L = len(self.shared), len(self.local)
        T = np.zeros((self.n_tail, self.n_tail))
        T[self.Q_shared[1], self.Q_shared[2]] = Q[self.Q_shared[0]]
        T[n_S:, :n_S] = self.constraints.shared
        before = T.diagonal().copy()
        cross = np.zeros((n_L, self.n_tail))
        at, g, j = self.Q_cross[0]
        cross[g, j] = Q[at]
        cross[:, n_S:] = self.C_cross
        D, s = np.empty(n_L), np.empty((n_L, self.n_tail))
        a, V = self.dense_rows(A)
        order = self.rows, self.row_ptr
        log_determinant = kernels.eliminate(W, *order, a, V, Q[self.Q_local], cross, T, D, s)
        if np.isnan(log_determinant):
            return PlateFactor(self, Status.NOT_POSITIVE_DEFINITE)
        tail = factorize_tail(T, self.constraints, before)
        log_determinant += tail.log_determinant + self.constraints.log_determinant
        return PlateFactor(self, tail.status, log_determinant, A, W, D, s, tail)
