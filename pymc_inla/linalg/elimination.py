"""Exact elimination of local latents, one small block at a time, with a dense remainder.

Order the latents as (local, shared). The local part D of H is block-diagonal, so its elimination is one pass over the
data that leaves the Schur complement on the shared latents; see `kernels` for its centered form and `tail` for what
follows. Solve, draws and selected inverse run the same pass backwards.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Pattern
from pymc_inla.linalg import kernels, selected_kernels
from pymc_inla.linalg.constraints import Projection
from pymc_inla.linalg.finite import all_finite
from pymc_inla.linalg.observations import observation_of_predictor
from pymc_inla.linalg.partition import Partition
from pymc_inla.linalg.products import Products
from pymc_inla.linalg.system import SelectedInverse
from pymc_inla.linalg.tail import SplitConstraints, Tail, factorize_tail, split_constraints
from pymc_inla.status import Status


@dataclass(frozen=True)
class EliminationFactor:
    """Blocks and remainder, factorized. See `pymc_inla.linalg.system.Factor`."""

    system: "EliminationSystem"
    status: Status
    log_determinant: float = np.nan
    A: np.ndarray = field(default=None, repr=False)
    W: np.ndarray = field(default=None, repr=False)
    D_inverse: np.ndarray = field(default=None, repr=False)
    """(n_blocks, b, b)"""
    s: np.ndarray = field(default=None, repr=False)
    """D^-1 B of all blocks, on the unknowns of the tail that each touches"""
    tail: Tail = field(default=None, repr=False)

    def solve(self, r):
        """S r, for r of shape (n_x,) or (n_x, m)."""
        system, layout = self.system, self.system.layout
        r = np.asarray(r, dtype=float)
        columns = np.ascontiguousarray(r.reshape(len(r), -1))
        y = np.zeros((system.n_tail, columns.shape[1]))
        y[: len(system.shared)] = columns[system.shared]
        kernels.reduce_to_tail(columns, layout, self.s, y)
        y = np.ascontiguousarray(self.tail.solve(y))
        x = np.empty_like(columns)
        x[system.shared] = y[: len(system.shared)]
        x[layout.blocks] = np.einsum("grc,gcm->grm", self.D_inverse, columns[layout.blocks])
        kernels.expand_from_tail(y, layout, self.s, x)
        return x.reshape(r.shape)

    def sample(self, normals):
        """Draws from N(0, S): (n_x, m) standard normals to (n_x, m) draws.

        Shared latents first, local ones given them, then the local ones are conditioned on their constraints
        (Rue & Held 2005, algorithm 2.6).
        """
        system, layout = self.system, self.system.layout
        n_S = len(system.shared)
        normals = np.asarray(normals, dtype=float)
        y = np.zeros((system.n_tail, normals.shape[1]))
        y[:n_S] = self.tail.sample(normals[system.shared])
        x = np.empty(normals.shape)
        x[system.shared] = y[:n_S]
        x[layout.blocks] = np.einsum("grc,gcm->grm", np.linalg.cholesky(self.D_inverse), normals[layout.blocks])
        kernels.expand_from_tail(y, layout, self.s, x)
        constraints = system.constraints
        if n_S < system.n_tail:
            excess = constraints.eliminated @ x[layout.blocks.ravel()] + constraints.shared @ y[:n_S]
            y[:n_S], y[n_S:] = 0.0, self.tail.solve_M(excess)
            kernels.expand_from_tail(y, layout, self.s, x)
        return x

    def selected_inverse(self) -> SelectedInverse:
        """Entries of S on the patterns of Q and W in one pass over the data, and of A when asked for."""
        diagonal, Q, W, _ = self._selected(0)
        return SelectedInverse(diagonal, Q, W, lambda: self._selected(len(self.A))[3])

    def _selected(self, n_A: int):
        system = self.system
        K = self.tail.inverse
        diagonal, Q = np.empty(system.n_x), np.empty(system.Q_pattern.nnz)
        W, A = np.empty(len(self.W)), np.zeros(n_A)
        diagonal[system.shared] = np.diag(K)[: len(system.shared)]
        Q[system.Q_shared[0]] = K[system.Q_shared[1], system.Q_shared[2]]
        selected_kernels.selected(self.A, self.W, len(Q), system.layout, self.D_inverse, self.s, K, diagonal, Q, W, A)
        # the kernel fills the rows of the blocks; their transposes are on the rows of the shared latents
        Q[system.Q_transposed[0]] = Q[system.Q_transposed[1]]
        return diagonal, Q, W, A


class EliminationSystem(Products):
    """H = Q + A'WA by elimination of local blocks. See `pymc_inla.linalg.system.System`.

    Parameters
    ----------
    Q_pattern, A_pattern, W_rows, W_cols
        As in `build_system`.
    C, e
        Constraints of full row rank.
    partition : Partition
        From `choose_local`; with no local blocks everything is shared.
    """

    def __init__(self, Q_pattern: Pattern, A_pattern: Pattern, W_rows, W_cols, C, e, partition: Partition):
        super().__init__(Q_pattern, A_pattern)
        self.Q_pattern, self.A_pattern = Q_pattern, A_pattern
        self.n_x = A_pattern.shape[1]
        self.project = Projection(C, e)
        blocks = np.ascontiguousarray(partition.local_blocks, dtype=np.int64)
        self.shared = np.asarray(partition.shared, dtype=np.int64)
        self.constraints: SplitConstraints = split_constraints(C, blocks.ravel(), self.shared)
        self.n_tail = len(self.shared) + len(self.constraints.shared)
        n_blocks, b = blocks.shape
        group_of, entry_of, tail_of = (np.full(self.n_x, -1) for _ in range(3))
        group_of[blocks] = np.arange(n_blocks)[:, None]
        entry_of[blocks] = np.arange(b)
        tail_of[self.shared] = np.arange(len(self.shared))
        rows = self._rows(group_of, n_blocks, np.asarray(W_rows), np.asarray(W_cols))
        cross = self._cross(group_of, entry_of, tail_of, n_blocks, b)
        code = np.where(entry_of >= 0, -1 - entry_of, tail_of)[A_pattern.indices].astype(np.int32)
        J_ptr, J, slot, cross_slot = kernels.assign_slots(
            self.n_tail,
            n_blocks,
            b,
            rows["row_ptr"],
            rows["starts"],
            rows["slot_ptr"],
            code,
            cross["ptr"],
            cross["col"],
        )
        self.layout = kernels.Layout(
            n_blocks=n_blocks,
            blocks=blocks,
            **rows,
            slot=slot,
            J_ptr=J_ptr,
            J=J,
            within=cross["within"],
            cross_ptr=cross["ptr"],
            cross_local=cross["local"],
            cross_slot=cross_slot,
            cross_source=cross["source"],
        )
        own = b * int(J_ptr[n_blocks]) + n_blocks * b * b + 3 * self.n_tail**2
        self.factor_size = own + self.n_x + Q_pattern.nnz + len(W_rows)

    def _rows(self, group_of, n_blocks, W_rows, W_cols) -> dict[str, np.ndarray]:
        """Rows of A and pairs of W sorted by group; an observation without a local latent is a group by itself."""
        n_eta = self.A_pattern.shape[0]
        observation = observation_of_predictor(n_eta, W_rows, W_cols)
        n_obs = int(observation.max(initial=-1)) + 1
        group = np.full(n_obs, -1)
        entry_group = group_of[self.A_pattern.indices]
        local_entries = np.flatnonzero(entry_group >= 0)
        row_of_entry = np.searchsorted(self.A_pattern.indptr, local_entries, side="right") - 1
        group[observation[row_of_entry]] = entry_group[local_entries]
        free = np.flatnonzero(group < 0)
        group[free] = n_blocks + np.arange(len(free))
        n_groups = n_blocks + len(free)
        row_group, pair_group = group[observation], group[observation[W_rows[n_eta:]]]
        rows = np.argsort(row_group, kind="stable")
        place = np.empty(n_eta, dtype=np.int64)
        place[rows] = np.arange(n_eta)
        pairs = n_eta + np.argsort(pair_group, kind="stable")
        return {
            "row_ptr": np.r_[0, np.cumsum(np.bincount(row_group, minlength=n_groups))],
            "rows": rows,
            "starts": self.A_pattern.indptr[rows],
            "slot_ptr": np.r_[0, np.cumsum(np.diff(self.A_pattern.indptr)[rows])],
            "pair_ptr": np.r_[0, np.cumsum(np.bincount(pair_group, minlength=n_groups))],
            "pairs": pairs,
            "pair_first": place[W_rows[pairs]],
            "pair_second": place[W_cols[pairs]],
        }

    def _cross(self, group_of, entry_of, tail_of, n_blocks, b) -> dict[str, np.ndarray]:
        """Where the entries of Q and of the constraints on local latents belong."""
        Q_rows, Q_cols = self.Q_pattern.rows, self.Q_pattern.indices
        row_group, col_group = group_of[Q_rows], group_of[Q_cols]
        within = np.full((n_blocks, b, b), -1)
        own = np.flatnonzero((row_group >= 0) & (row_group == col_group))
        within[row_group[own], entry_of[Q_rows[own]], entry_of[Q_cols[own]]] = own
        across = np.flatnonzero((row_group >= 0) & (col_group < 0))
        shared = np.flatnonzero((row_group < 0) & (col_group < 0))
        self.Q_shared = (shared, tail_of[Q_rows[shared]], tail_of[Q_cols[shared]])
        transposed = np.flatnonzero((row_group < 0) & (col_group >= 0))
        # Q is symmetric: sorting one side by (row, column) and the other by (column, row) lines them up
        by_column = across[np.lexsort((Q_rows[across], Q_cols[across]))]
        self.Q_transposed = (transposed, by_column)
        C = sparse.coo_array(self.constraints.eliminated)
        position = np.arange(n_blocks * b)
        self._C_values = C.data
        group = np.concatenate([row_group[across], (position // b)[C.col]])
        order = np.argsort(group, kind="stable")
        return {
            "within": within,
            "ptr": np.r_[0, np.cumsum(np.bincount(group, minlength=n_blocks))],
            "local": np.concatenate([entry_of[Q_rows[across]], (position % b)[C.col]])[order],
            "col": np.concatenate([tail_of[Q_cols[across]], len(self.shared) + C.row])[order],
            "source": np.concatenate([across, len(Q_rows) + np.arange(C.nnz)])[order],
        }

    def factorize(self, Q, A, W) -> EliminationFactor:
        """Eliminate the blocks, then factorize the remainder."""
        Q, A, W = (np.ascontiguousarray(values, dtype=float) for values in (Q, A, W))
        if not all_finite(Q, A, W):
            return EliminationFactor(self, Status.NON_FINITE)
        layout, n_S = self.layout, len(self.shared)
        T = np.zeros((self.n_tail, self.n_tail))
        T[self.Q_shared[1], self.Q_shared[2]] = Q[self.Q_shared[0]]
        T[n_S:, :n_S] = self.constraints.shared
        before = T.diagonal().copy()
        D_inverse = np.empty(layout.within.shape)
        s = np.empty(layout.blocks.shape[1] * int(layout.J_ptr[layout.n_blocks]))
        values = np.concatenate([Q, self._C_values])
        log_determinant = kernels.eliminate(A, W, values, layout, T, D_inverse, s)
        if np.isnan(log_determinant):
            return EliminationFactor(self, Status.NOT_POSITIVE_DEFINITE)
        tail = factorize_tail(T, self.constraints, before)
        log_determinant += tail.log_determinant + self.constraints.log_determinant
        return EliminationFactor(self, tail.status, log_determinant, A, W, D_inverse, s, tail)
