"""Where local and shared latents meet: index structures that are built once per model.

Local latents u_g (blocks g = 1..G of b latents) are independent given the shared latents x_S and theta. With block
G standing for "no local latent",

    eta_r = offset_r + A_rS x_S + a_r' u_g(r),
    log p(x | theta) = c + b_S'x_S - x_S'Q_SS x_S / 2 + sum_g [(b_g - Q_gS x_S)'u_g - u_g'Q_gg u_g / 2],
    d_g(u) = d/dx_S of the log joint of block g = sum_{r in g} A_rS' l_r'(eta_r) - Q_Sg u .

d_g touches few shared latents: it is stored on pairs (g, s), numbered m = 0, 1, ...

Where a local latent has a mean in x_S (a hierarchical mean), Q_gS is as large as Q_gg, and large precisions would
cancel in the derivatives. The integral is therefore over w_g = u_g - P_g x_S with P_g = -Q_gg^-1 Q_gS, independent of
x_S a priori: the same model with A_S + a P in the place of A_S, no Q_gS, and Q_SS + Q_Sg P_g in the place of Q_SS. That
design is stored on entries e = (r, s).
"""

import numpy as np
from scipy import linalg

from pymc_inla.inference.local_design import LocalDesign
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg.partition import Partition

SMALL = 20_000
"""Shared latents times blocks or rows up to which products are dense, and nothing is compiled for them"""
MAX_SHARED = 3000
"""Shared latents of the dense H_S: 72 MB."""
MAX_PAIRS = 2e7
"""Pairs of shared latents that meet in a block"""


class LocalBlocks:
    """Split of the patterns of A, Q and C.

    Raises
    ------
    ValueError
        If quadrature over these local blocks does not apply: no local blocks, constraints on local latents, blocks that
        are not conditionally independent, or too many shared latents.
    """

    def __init__(self, functions: LGMFunctions, partition: Partition):
        f = functions
        self.local = np.asarray(partition.local_blocks, dtype=np.int64)
        self.shared = np.asarray(partition.shared, dtype=np.int64)
        self.G, self.b = self.local.shape
        self.n_S = len(self.shared)
        G, b = self.G, self.b
        if G == 0:
            raise ValueError("no latents are independent given the others: there is nothing to integrate one by one")
        if self.n_S > MAX_SHARED:
            raise ValueError(f"{self.n_S} shared latents: at most {MAX_SHARED} are supported by quadrature")
        if f.C.shape[0] and abs(f.C[:, self.local.ravel()]).sum() > 0:
            raise ValueError("a linear constraint ties local latents together, so their integral does not factorize")
        block, component = np.full(f.n_x, G), np.zeros(f.n_x, dtype=np.int64)
        block[self.local] = np.arange(G)[:, None]
        component[self.local] = np.arange(b)
        position = np.full(f.n_x, -1)
        position[self.shared] = np.arange(self.n_S)
        self._split_A(f, block)
        self._split_Q(f, block, component, position)
        self._pairs(f, block, position)
        self._constraints(f)
        self.n_eta, self.small = f.n_eta, max(f.n_eta, G) * self.n_S <= SMALL
        self.design, self.fixed_design = LocalDesign(f, self, block, component, position), None
        if f.design_vjp is None and not self.coupled:
            self.fixed_design = self.design.split(f.design(f.theta_initial).A, np.zeros((self.n_m, b)))
            self.design = None

    def _split_A(self, f, block):
        is_local = block[f.A_pattern.indices] < self.G
        of_entry = block[f.A_pattern.indices[is_local]]
        of_observation = np.full(f.n_obs, self.G)
        observation = f.observation[f.A_pattern.rows[is_local]]
        of_observation[observation] = of_entry
        if np.any(of_observation[observation] != of_entry):
            raise ValueError("an observation sees two local blocks")
        self.obs_block = of_observation
        # the same arrays where every observation has one linear predictor
        same = f.n_eta == f.n_obs and np.array_equal(f.observation, np.arange(f.n_obs))
        self.row_block = of_observation if same else of_observation[f.observation]
        self.W_block = self.row_block if len(f.W_rows) == f.n_eta else self.row_block[f.W_rows]
        self.W_rows, self.W_cols = f.W_rows, f.W_cols

    def _split_Q(self, f, block, component, position):
        rows, cols = f.Q_pattern.rows, f.Q_pattern.indices
        row_local, col_local = block[rows] < self.G, block[cols] < self.G
        within = row_local & col_local
        if np.any(block[rows[within]] != block[cols[within]]):
            raise ValueError("the prior ties two local blocks together")
        self.Q_LL = np.flatnonzero(within)
        self.Q_LL_index = block[rows[within]], component[rows[within]], component[cols[within]]
        self.Q_LS = np.flatnonzero(row_local & ~col_local)
        self.Q_LS_block, self.Q_LS_component = block[rows[self.Q_LS]], component[rows[self.Q_LS]]
        self.Q_LS_shared = position[cols[self.Q_LS]]
        self.coupled = len(self.Q_LS) > 0
        self.Q_SS = np.flatnonzero(~row_local & ~col_local)
        self.Q_SS_index = position[rows[self.Q_SS]], position[cols[self.Q_SS]]

    def _pairs(self, f, block, position):
        """Numbers m of the pairs (g, s), and their range of every block."""
        n_S = self.n_S
        shared = block[f.A_pattern.indices] == self.G
        g, s = self.row_block[f.A_pattern.rows[shared]], position[f.A_pattern.indices[shared]]
        blocked = g < self.G
        keys = np.concatenate([g[blocked] * n_S + s[blocked], self.Q_LS_block * n_S + self.Q_LS_shared])
        unique, inverse = np.unique(keys, return_inverse=True)
        self.n_m = len(unique)
        self.m_block, self.m_shared = (unique // n_S, unique % n_S) if n_S else (unique, unique)
        self.Q_m = inverse[blocked.sum() :].copy()
        counts = np.bincount(self.m_block, minlength=self.G)
        if np.sum(counts.astype(float) ** 2) > MAX_PAIRS:
            raise ValueError("local blocks touch too many shared latents for quadrature")
        self.m_ptr = np.concatenate([[0], np.cumsum(counts)])

    def _constraints(self, f):
        C = f.C[:, self.shared].toarray() if f.C.shape[0] else np.zeros((0, self.n_S))
        self.Z = linalg.null_space(C) if len(C) else np.eye(self.n_S)
        self.origin = np.linalg.lstsq(C, f.e, rcond=None)[0] if len(C) else np.zeros(self.n_S)
        self.constrained = len(C) > 0

    # ------------------------------------------------------------------------------------------------------------------

    def project(self, x_S):
        """The point nearest to x_S that satisfies the constraints."""
        return self.origin + self.Z @ (self.Z.T @ (x_S - self.origin)) if self.constrained else x_S

    def split_Q(self, Q) -> tuple[np.ndarray, np.ndarray]:
        """Q_gg, (G, b, b), and the dense Q_SS, (n_S, n_S)"""
        blocks, shared = np.zeros((self.G, self.b, self.b)), np.zeros((self.n_S, self.n_S))
        blocks[self.Q_LL_index] = Q[self.Q_LL]
        shared[self.Q_SS_index] = Q[self.Q_SS]
        return blocks, shared

    def join(self, x_S, u) -> np.ndarray:
        """x from its parts"""
        x = np.empty(self.n_S + u.size)
        x[self.shared], x[self.local] = x_S, u
        return x

    def to_W(self, of_row) -> np.ndarray:
        """Numbers that are the same for all rows of a block, (..., n_eta), for the entries of W"""
        return of_row if len(self.W_rows) == of_row.shape[-1] else of_row[..., self.W_rows]

    def sum_blocks(self, block, values) -> np.ndarray:
        """Sums (k, G) of values (k, n) over what belongs to each block; what belongs to none is left out"""
        k = len(values)
        index = block if k == 1 else (block + (self.G + 1) * np.arange(k)[:, None]).ravel()
        return np.bincount(index, values.ravel(), k * (self.G + 1)).reshape(k, self.G + 1)[:, :-1]

    def sum_rows(self, values) -> np.ndarray:
        """Sums of (n_eta,) over the rows of each block, (G,)"""
        return np.bincount(self.row_block, values, self.G + 1)[:-1]

    def multiply(self, M, d) -> np.ndarray:
        """Symmetric M (n_S, n_S) times d, (n_m,) or (K, n_m), within each block"""
        if self.small:
            return (self._dense(np.atleast_2d(d)) @ M)[:, self.m_block, self.m_shared].reshape(np.shape(d))
        from pymc_inla.linalg.block_kernels import multiply_blocks

        by_pair = np.ascontiguousarray(np.atleast_2d(d).T, dtype=float)
        out = np.empty(by_pair.shape)
        multiply_blocks(self.m_ptr, self.m_shared, np.ascontiguousarray(M), by_pair, out)
        return np.ascontiguousarray(out.T).reshape(np.shape(d))

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
        if self.small:
            A, n = A_S.toarray(), self.n_eta
            WA = W[:n, None] * A
            if len(W) > n:
                rows, cols, other = self.W_rows[n:], self.W_cols[n:], W[n:, None]
                np.add.at(WA, rows, other * A[cols])
                np.add.at(WA, cols, other * A[rows])
            H += A.T @ WA
            return
        from pymc_inla.linalg.block_kernels import add_information

        add_information(A_S.indptr, A_S.indices, A_S.data, self.W_rows, self.W_cols, W, H)

    def _dense(self, d) -> np.ndarray:
        """(K, n_m) as (K, G, n_S)"""
        full = np.zeros((len(d), self.G, self.n_S))
        full[:, self.m_block, self.m_shared] = d
        return full

    def reduce(self, H) -> np.ndarray:
        """Z'HZ"""
        return self.Z.T @ H @ self.Z if self.constrained else H

    def expand(self, r) -> np.ndarray:
        """Z r"""
        return self.Z @ r if self.constrained else r
