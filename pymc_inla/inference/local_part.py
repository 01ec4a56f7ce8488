"""A range of local blocks with the rows of eta that see them: index structures, and sums over its blocks.

Given x_S and theta all that the data say is a sum over blocks. Large models are worked on in parts, each of which fits
a cache, several side by side. Blocks, rows and pairs of a part are ranges of those of the model, numbered from zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import ModuleType

import numpy as np

from pymc_inla.inference.observation_order import select_observations
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg import node_sums

SMALL = 20_000
"""Shared latents times blocks or rows up to which products are dense, and nothing is compiled for them"""
COMPILED = {1: 1000, 2: 1000, 3: 100}
"""Linear predictors above which sums over blocks are compiled, by the latents of a block: nodes of all evaluations and
draws go through them, and those of three latents are many"""


@dataclass(frozen=True)
class LocalPart:
    """Blocks g = 0..G-1 of b local latents, and what belongs to them; block G stands for none."""

    functions: LGMFunctions
    """of the observations of this part"""
    b: int
    n_S: int
    blocks: slice
    """Place in the model's blocks"""
    rows: slice
    """and in its linear predictors"""
    pairs: slice
    """and in its pairs (g, s)"""
    row_block: np.ndarray
    """(n_eta,) block of each linear predictor"""
    obs_block: np.ndarray
    """(n_obs,)"""
    W_block: np.ndarray
    """(n_W,)"""
    m_block: np.ndarray
    """(n_m,) block and shared latent of the pairs"""
    m_shared: np.ndarray
    m_ptr: np.ndarray
    """(G + 1,) range of the pairs of every block"""

    @property
    def G(self) -> int:
        return len(self.m_ptr) - 1

    @property
    def n_m(self) -> int:
        return len(self.m_block)

    @cached_property
    def small(self) -> bool:
        return max(self.functions.n_eta, self.G) * max(self.n_S, 1) <= SMALL

    @property
    def sums(self) -> ModuleType:
        """The sums over nodes and rows, compiled where that pays"""
        return compiled_sums() if self.functions.n_eta > COMPILED[self.b] or not self.small else node_sums

    def to_W(self, of_row) -> np.ndarray:
        """Numbers that are the same for all rows of a block, (..., n_eta), for the entries of W"""
        f = self.functions
        return of_row if len(f.W_rows) == of_row.shape[-1] else of_row[..., f.W_rows]

    def multiply(self, M, d) -> np.ndarray:
        """Symmetric M (n_S, n_S) times d, (n_m,) or (K, n_m), within each block"""
        if self.small:
            return (self._dense(np.atleast_2d(d)) @ M)[:, self.m_block, self.m_shared].reshape(np.shape(d))
        from pymc_inla.linalg.block_kernels import multiply_blocks

        d = np.ascontiguousarray(d, dtype=float)
        out = np.empty(np.atleast_2d(d).shape)
        multiply_blocks(self.m_ptr, self.m_shared, np.ascontiguousarray(M), np.atleast_2d(d), out)
        return out.reshape(d.shape)

    def add_products(self, left, right, H) -> None:
        """H (n_S, n_S) += sum_g sum_k left_kg right_kg', at least in its lower triangle, for (K, n_m) numbers on the
        pairs (g, s)"""
        if self.small:
            H += np.einsum("kgi,kgj->ij", self._dense(left), self._dense(right), optimize=True)
            return
        from pymc_inla.linalg.block_kernels import add_products

        by_pair = (np.ascontiguousarray(part.T, dtype=float) for part in (left, right))
        add_products(self.m_ptr, self.m_shared, *by_pair, H)

    def add_information(self, A_S, W, H) -> None:
        """H (n_S, n_S) += A_S'WA_S, at least in its lower triangle"""
        f = self.functions
        if self.small:
            A, n = A_S.toarray(), f.n_eta
            WA = W[:n, None] * A
            if len(W) > n:
                rows, cols, other = f.W_rows[n:], f.W_cols[n:], W[n:, None]
                np.add.at(WA, rows, other * A[cols])
                np.add.at(WA, cols, other * A[rows])
            H += A.T @ WA
            return
        from pymc_inla.linalg.block_kernels import add_information

        add_information(A_S.indptr, A_S.indices, A_S.data, f.W_rows, f.W_cols, W, H)

    def _dense(self, d) -> np.ndarray:
        """(K, n_m) as (K, G, n_S)"""
        full = np.zeros((len(d), self.G, self.n_S))
        full[:, self.m_block, self.m_shared] = d
        return full


def compiled_sums() -> ModuleType:
    """The compiled sums over nodes and rows, loaded for models that need them"""
    from pymc_inla.linalg import node_kernels

    return node_kernels


def divide(whole: LocalPart, n_rows: int) -> tuple[LocalPart, ...]:
    """Parts of about n_rows linear predictors, in order; the whole alone where it cannot be divided: rows are not in
    the order of their blocks, or the likelihood is one piece."""
    f = whole.functions
    if f.only is None or f.n_eta <= n_rows or np.any(np.diff(whole.row_block) < 0):
        return (whole,)
    ends = np.searchsorted(whole.row_block, np.arange(whole.G + 1))
    cuts = np.unique(np.searchsorted(ends, np.arange(n_rows, ends[-1], n_rows)))
    edges = np.unique(np.concatenate([[0], cuts, [whole.G]]))
    return tuple(_range(whole, first, last, ends) for first, last in pairwise(edges))


def _range(whole: LocalPart, first: int, last: int, ends: np.ndarray) -> LocalPart:
    f, pairs = whole.functions, slice(whole.m_ptr[first], whole.m_ptr[last])
    rows = slice(int(ends[first]), f.n_eta if last == whole.G else int(ends[last]))
    row_block = whole.row_block[rows] - first
    return LocalPart(
        functions=select_observations(f, rows),
        b=whole.b,
        n_S=whole.n_S,
        blocks=slice(int(first), int(last)),
        rows=rows,
        pairs=pairs,
        row_block=row_block,
        obs_block=row_block,
        W_block=row_block,
        m_block=whole.m_block[pairs] - first,
        m_shared=whole.m_shared[pairs],
        m_ptr=whole.m_ptr[first : last + 1] - whole.m_ptr[first],
    )
