"""The design matrix, split into local and shared columns, in the coordinates (w, x_S) of `local_blocks`.

    eta = offset + A x = offset + (A_S + a P) x_S + a w,

where a holds what the b latents of a row's own block multiply. The entries of A_S + a P are numbered e = (r, s).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pymc_inla.inference.local_part import LocalPart
from pymc_inla.lgm import LGMFunctions


@dataclass(frozen=True)
class SplitDesign:
    """The design matrix at one theta."""

    a: np.ndarray
    """(n_eta, b)"""
    A_S: sparse.csr_array
    """(n_eta, n_S), A_S + a P"""
    A_pairs: sparse.csr_array
    """(n_eta, n_m), its entries in rows of a block: rows by pairs (g, s)"""

    def of_part(self, part: LocalPart) -> "SplitDesign":
        """The rows of a part, with its own pairs"""
        A_S, A_pairs = (_row_range(matrix, part.rows) for matrix in (self.A_S, self.A_pairs))
        indices = A_pairs.indices - np.int32(part.pairs.start)
        shape = (A_pairs.shape[0], part.n_m)
        return SplitDesign(self.a[part.rows], A_S, sparse.csr_array((A_pairs.data, indices, A_pairs.indptr), shape))


class LocalDesign:
    """Where the values of A go.

    Parameters
    ----------
    functions : LGMFunctions
    whole : LocalPart
    Q_m : (n_LS,) int array
        Pair of each entry of Q between a local and a shared latent.
    block, component, position : (n_x,) int arrays
        Block of each latent (G: none), its number in the block, and its number among the shared ones (-1: none).
    """

    def __init__(self, functions: LGMFunctions, whole: LocalPart, Q_m, block, component, position):
        rows, cols = functions.A_pattern.rows, functions.A_pattern.indices
        is_local = block[cols] < whole.G
        self.n_eta, self.b, n_S = functions.n_eta, whole.b, whole.n_S
        self.A_local, self.A_shared = np.flatnonzero(is_local), np.flatnonzero(~is_local)
        self.A_local_row, self.A_local_component = rows[is_local], component[cols[is_local]]
        # where row fill_r of a times P of the pair fill_m goes
        coupled = np.unique(Q_m)
        first = np.searchsorted(whole.m_block[coupled], np.arange(whole.G + 1))
        inside = np.flatnonzero(whole.row_block < whole.G) if len(coupled) else np.empty(0, dtype=np.int64)
        g = whole.row_block[inside]
        count = first[g + 1] - first[g]
        self.fill_r = np.repeat(inside, count)
        offset = np.arange(len(self.fill_r)) - np.repeat(np.cumsum(count) - count, count)
        self.fill_m = coupled[np.repeat(first[g], count) + offset]
        keys = rows[~is_local] * n_S + position[cols[~is_local]]
        unique, inverse = keys, np.arange(len(keys))  # in the order of A: ascending
        if len(self.fill_r):
            keys = np.concatenate([keys, self.fill_r * n_S + whole.m_shared[self.fill_m]])
            unique, inverse = np.unique(keys, return_inverse=True)
        self.n_e = len(unique)
        self.A_e, self.fill_e = inverse[: len(self.A_shared)], inverse[len(self.A_shared) :]
        self.e_row, self.e_col = (unique // n_S, unique % n_S) if n_S else (unique, unique)
        of_entry = whole.row_block[self.e_row]
        self.e_blocked = np.flatnonzero(of_entry < whole.G)
        pair_keys = whole.m_block * n_S + whole.m_shared
        self.e_m = np.searchsorted(pair_keys, of_entry[self.e_blocked] * n_S + self.e_col[self.e_blocked])
        self.e_blocked_row = self.e_row[self.e_blocked]
        self._shared = self.e_col.astype(np.int32), _ends(self.e_row, self.n_eta), (self.n_eta, n_S)
        self._all_blocked = len(self.e_blocked) == self.n_e
        self._pairs = self.e_m.astype(np.int32), _ends(self.e_blocked_row, self.n_eta), (self.n_eta, len(pair_keys))

    def split(self, A: np.ndarray, P: np.ndarray) -> SplitDesign:
        """The values of A, split; P (n_m, b)"""
        a = np.zeros((self.n_eta, self.b))
        a[self.A_local_row, self.A_local_component] = A[self.A_local]
        entries = np.bincount(self.A_e, A[self.A_shared], self.n_e)
        if len(self.fill_e):
            entries = entries + np.bincount(self.fill_e, np.sum(a[self.fill_r] * P[self.fill_m], axis=1), self.n_e)
        indices, ends, shape = self._shared
        A_S = sparse.csr_array((entries, indices, ends), shape=shape)
        indices, ends, shape = self._pairs
        blocked = entries if self._all_blocked else entries[self.e_blocked]
        return SplitDesign(a, A_S, sparse.csr_array((blocked, indices, ends), shape=shape))


def _row_range(matrix: sparse.csr_array, rows: slice) -> sparse.csr_array:
    """Rows of a matrix, as a view"""
    first, last = matrix.indptr[rows.start], matrix.indptr[rows.stop]
    ends = matrix.indptr[rows.start : rows.stop + 1] - first
    shape = (len(ends) - 1, matrix.shape[1])
    return sparse.csr_array((matrix.data[first:last], matrix.indices[first:last], ends), shape=shape)


def _ends(rows, n: int) -> np.ndarray:
    """Row pointers of sorted entries"""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
