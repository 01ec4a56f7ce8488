"""Local latents: those conditionally independent, in small blocks, given all the others.

Two latents are adjacent if Q couples them or one observation sees both. A local set is a set of latents whose
adjacency falls apart into blocks of at most b latents: its part of H is block-diagonal whatever the values of Q, A
and W. The largest such set is a maximum independent set (b = 1), which is hard in general, so the search uses what a
stacked latent field offers: the levels of one effect are consecutive.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Pattern
from pymc_inla.linalg.observations import observation_of_predictor

MAX_BLOCK = 3
GAIN = 1.45
"""Larger blocks must take in this many times as many latents (a second or third coefficient per group gives 2 and 1.5):
they cost more in elimination and in quadrature."""
COMPILE_ABOVE = 30_000
"""Entries of A and Q above which the search is compiled."""


@dataclass(frozen=True)
class Partition:
    """Split of x into local blocks and the rest."""

    local_blocks: np.ndarray
    """(n_blocks, b) int, indices into x; b is 1, 2 or 3; (0, 1) if there is no local set"""
    shared: np.ndarray
    """(n_shared,) int, the other indices, increasing"""


def choose_local(Q_pattern: Pattern, A_pattern: Pattern, W_rows: np.ndarray, W_cols: np.ndarray, C) -> Partition:
    """Find the local latents, as many as possible: usually the effect with most levels.

    Runs of consecutive latents that fall apart into blocks are collected, the longest is taken, and others join it
    where they touch no more than a block. A run whose latents Q ties to as many outsiders as it has blocks is not an
    effect of exchangeable levels but a slice of a larger field (time slices of an AR(1), odd steps of a random walk):
    it is left alone. For nested effects the longest run is the lowest level.

    Parameters
    ----------
    Q_pattern, A_pattern, W_rows, W_cols, C
        As in `build_system`. Constraints do not restrict the choice: they border the eliminated blocks.

    Returns
    -------
    Partition
        With no local blocks if no run has at least two.
    """
    n_eta, n_x = A_pattern.shape
    best = np.empty((0, 1), dtype=np.int64)
    if n_x > 1:
        search = _Search(Q_pattern, A_pattern, observation_of_predictor(n_eta, np.asarray(W_rows), np.asarray(W_cols)))
        for b in range(1, MAX_BLOCK + 1):
            blocks = search.local_blocks(b)
            if len(blocks) > 1 and blocks.size > GAIN * best.size:
                best = blocks
    is_shared = np.ones(n_x, dtype=bool)
    is_shared[best.ravel()] = False
    return Partition(best, np.flatnonzero(is_shared))


class _Search:
    """Union-find over latents, joined through Q and through the observations they meet in."""

    def __init__(self, Q_pattern: Pattern, A_pattern: Pattern, observation: np.ndarray):
        n_eta, n_x = A_pattern.shape
        self.n_x, self.Q = n_x, Q_pattern
        by_column = sparse.csc_array(A_pattern.to_matrix(np.ones(A_pattern.nnz, dtype=np.int8)))
        self.graph = (
            by_column.indptr.astype(np.int64),
            observation[by_column.indices],
            Q_pattern.indptr,
            Q_pattern.indices,
        )
        self.state = (
            np.full(n_x, -1),  # which set a latent was last added to
            np.zeros(n_x, dtype=np.int64),  # parent in the union-find forest
            np.zeros(n_x, dtype=np.int64),  # size of the block of a root
            np.full(n_eta, -1),  # which set an observation was last met by
            np.zeros(n_eta, dtype=np.int64),  # a latent that met it
        )
        self.label = -1
        self.add = add_columns if A_pattern.nnz + Q_pattern.nnz <= COMPILE_ABOVE else _compiled_add_columns()

    def local_blocks(self, b: int) -> np.ndarray:
        """(n_blocks, b) blocks of the best set found."""
        runs = [run for run in self._runs(b) if run[2] >= 2]
        runs = sorted(runs, key=lambda run: (run[0] - run[1], run[0]))
        runs = [run for run in runs[:20] if self._outsiders(run[0], run[1]) < run[2]]
        if not runs:
            return np.empty((0, b), dtype=np.int64)
        self.label += 1
        self._add(runs[0][0], 1, runs[0][1] - runs[0][0], b)
        for start, stop, _ in runs[1:]:
            before = [array.copy() for array in self.state]
            if np.any(self.state[0][start:stop] == self.label):
                continue
            if self._add(start, 1, stop - start, b)[0] < stop - start:
                self.state = tuple(before)
        return self._pack(b)

    def _add(self, first, step, count, b):
        return self.add(first, step, count, b, self.label, *self.graph, *self.state)

    def _runs(self, b: int) -> list[tuple[int, int, int]]:
        """(start, stop, number of blocks) of maximal runs. Each looks back into the run before it, up to what ended
        that one: a fixed effect before the levels of an effect would otherwise cut them in two. Latents tied by Q and
        latents tied to nothing are different effects: a run ends where one kind follows the other, and at the mean of
        an effect."""
        tied, hubs = np.diff(self.Q.indptr) > 1, self._hubs(b)
        edges = np.unique(np.r_[0, np.flatnonzero(np.diff(tied)) + 1, hubs, hubs + 1, self.n_x])
        runs, start = [], 0
        while start < self.n_x:
            self.label += 1
            edge = np.searchsorted(edges, start, side="right")
            back, blocks = self._add(start, -1, start + 1 - edges[edge - 1], b)
            forward, more = self._add(start + 1, 1, edges[edge] - start - 1, b)
            runs.append((start - back + 1, start + forward + 1, blocks + more))
            start += forward + 1
        return runs

    def _hubs(self, b: int) -> np.ndarray:
        """Latents that Q ties to more than b others which are tied to no more than b themselves: means of effects. One
        that came with the levels of another effect would keep out those that it is the mean of."""
        degree, rows = np.diff(self.Q.indptr) - 1, self.Q.rows
        levels = (degree <= b)[self.Q.indices] & (self.Q.indices != rows)
        return np.flatnonzero(np.bincount(rows, levels, self.n_x) > b)

    def _outsiders(self, start: int, stop: int) -> int:
        """Number of latents outside the run that Q ties to it."""
        tied = self.Q.indices[self.Q.indptr[start] : self.Q.indptr[stop]]
        return len(np.unique(tied[(tied < start) | (tied >= stop)]))

    def _pack(self, b: int) -> np.ndarray:
        """Blocks of exactly b latents: smaller components are put together, a rest that fills no block is dropped."""
        members = np.flatnonzero(self.state[0] == self.label)
        parent = self.state[1]
        root = parent[members]
        while np.any(root != parent[root]):
            root = parent[root]
        if b == 1:
            return members[:, None]
        _, component, sizes = np.unique(root, return_inverse=True, return_counts=True)
        ordered = members[np.argsort(component, kind="stable")]
        size = sizes[np.sort(component)]
        whole, ones, twos = ordered[size == b], ordered[size == 1], ordered[(size == 2) & (b == 3)]
        mixed = min(len(twos) // 2, len(ones))
        if b == 3:
            whole = np.concatenate([whole, np.column_stack([twos[: 2 * mixed].reshape(-1, 2), ones[:mixed]]).ravel()])
            ones = ones[mixed:]
        whole = np.concatenate([whole, ones[: len(ones) // b * b]])
        blocks = np.sort(whole.reshape(-1, b), axis=1)
        return blocks[np.argsort(blocks[:, 0])]


def _compiled_add_columns() -> Callable:
    import numba

    return numba.njit(cache=True, nogil=True)(add_columns)


def add_columns(
    first, step, count, b, label, A_indptr, A_observation, Q_indptr, Q_indices, member, parent, size, met, met_by
):
    """Add latents first, first + step, ... to the set `label` until one would make a block larger than b.

    Written with scalars only, for Numba. Changes the last five arguments.

    Returns
    -------
    n_added : int
    n_blocks : int
        By how much the number of blocks grew.
    """
    roots = np.empty(b + 1, dtype=np.int64)
    n_blocks = 0
    for added in range(count):
        j = first + step * added
        n_roots, total = 0, 1
        n_Q, n_A = Q_indptr[j + 1] - Q_indptr[j], A_indptr[j + 1] - A_indptr[j]
        for k in range(n_Q + n_A):
            if k < n_Q:
                other = Q_indices[Q_indptr[j] + k]
                if other == j or member[other] != label:
                    continue
            else:
                i = A_observation[A_indptr[j] + k - n_Q]
                if met[i] != label:
                    continue
                other = met_by[i]
            while parent[other] != other:
                other = parent[other]
            known = False
            for r in range(n_roots):
                if roots[r] == other:
                    known = True
            if not known:
                total += size[other]
                if total > b:
                    return added, n_blocks
                roots[n_roots] = other
                n_roots += 1
        member[j], parent[j], size[j] = label, j, total
        for r in range(n_roots):
            parent[roots[r]] = j
        for k in range(n_A):
            i = A_observation[A_indptr[j] + k]
            met[i], met_by[i] = label, j
        n_blocks += 1 - n_roots
    return count, n_blocks
