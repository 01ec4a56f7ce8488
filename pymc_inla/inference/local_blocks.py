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

from pymc_inla.inference.local_design import LocalDesign, SplitDesign
from pymc_inla.inference.local_part import LocalPart, divide
from pymc_inla.inference.observation_order import one_predictor_each
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg.distinct import number_distinct
from pymc_inla.linalg.partition import Partition

MAX_SHARED = 3000
"""Shared latents of the dense H_S: 72 MB."""
MAX_PAIRS = 2e7
"""Pairs of shared latents that meet in a block"""
PART = 32_768
"""Linear predictors of a part: its arrays fit a cache, and are long enough for Python not to count"""


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
        self.local = _most_seen_first(np.asarray(partition.local_blocks, dtype=np.int64), f.A_pattern.indices)
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
        self.place = _place(self.local.ravel())
        """of the local latents in x, block by block"""
        block, component = np.full(f.n_x, G), np.zeros(f.n_x, dtype=np.int64)
        block[self.local] = np.arange(G)[:, None]
        component[self.local] = np.arange(b)
        position = np.full(f.n_x, -1)
        position[self.shared] = np.arange(self.n_S)
        obs_block = self._observations(f, block)
        self._split_Q(f, block, component, position)
        self.whole = self._whole(f, block, position, obs_block)
        # every part has a negative Hessian in x_S of its own
        self.parts = divide(self.whole, max(PART, self.n_S**2))
        self._constraints(f)
        self.design, self._fixed = LocalDesign(f, self.whole, self.Q_m, block, component, position), None
        if f.design_vjp is None and not self.coupled:
            self._fixed = self.split_design(f.design(f.theta_initial).A, np.zeros((self.whole.n_m, b)))
            self.design = None

    def _observations(self, f, block):
        """Block of each observation"""
        is_local = block[f.A_pattern.indices] < self.G
        of_entry = block[f.A_pattern.indices[is_local]]
        of_observation = np.full(f.n_obs, self.G)
        observation = f.observation[f.A_pattern.rows[is_local]]
        of_observation[observation] = of_entry
        if np.any(of_observation[observation] != of_entry):
            raise ValueError("an observation sees two local blocks")
        return of_observation

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

    def _whole(self, f, block, position, obs_block) -> LocalPart:
        """All blocks, with the numbers m of the pairs (g, s) and their range of every block"""
        n_S = self.n_S
        # the same arrays where every observation has one linear predictor
        row_block = obs_block if one_predictor_each(f) else obs_block[f.observation]
        shared = block[f.A_pattern.indices] == self.G
        g, s = row_block[f.A_pattern.rows[shared]], position[f.A_pattern.indices[shared]]
        blocked = g < self.G
        keys = np.concatenate([g[blocked] * n_S + s[blocked], self.Q_LS_block * n_S + self.Q_LS_shared])
        unique, inverse = number_distinct(keys, self.G * n_S)
        self.Q_m = inverse[blocked.sum() :].copy()
        m_block, m_shared = (unique // n_S, unique % n_S) if n_S else (unique, unique)
        counts = np.bincount(m_block, minlength=self.G)
        if np.sum(counts.astype(float) ** 2) > MAX_PAIRS:
            raise ValueError("local blocks touch too many shared latents for quadrature")
        return LocalPart(
            functions=f,
            b=self.b,
            n_S=n_S,
            blocks=slice(0, self.G),
            rows=slice(0, f.n_eta),
            pairs=slice(0, len(unique)),
            row_block=row_block,
            obs_block=obs_block,
            W_block=row_block if len(f.W_rows) == f.n_eta else row_block[f.W_rows],
            m_block=m_block,
            m_shared=m_shared,
            m_ptr=np.concatenate([[0], np.cumsum(counts)]),
        )

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

    def split_design(self, A, P) -> tuple[SplitDesign, tuple[SplitDesign, ...]]:
        """The values of A, of the whole and of its parts; P (n_m, b)"""
        if self._fixed is not None:
            return self._fixed
        whole = self.design.split(A, P)
        return whole, (whole,) if len(self.parts) == 1 else tuple(whole.of_part(part) for part in self.parts)

    def sum_pairs(self, values) -> np.ndarray:
        """Sums of values on the pairs, (n_m, c), over the pairs of each block, (G, c)"""
        return np.column_stack([np.bincount(self.whole.m_block, column, self.G) for column in values.T])

    def join(self, x_S, u) -> np.ndarray:
        """x from its parts"""
        x = np.empty(self.n_S + u.size)
        x[self.shared], x[self.local] = x_S, u
        return x

    def reduce(self, H) -> np.ndarray:
        """Z'HZ"""
        return self.Z.T @ H @ self.Z if self.constrained else H

    def reduce_gradient(self, g) -> np.ndarray:
        """Z'g"""
        return self.Z.T @ g if self.constrained else g

    def expand(self, r) -> np.ndarray:
        """Z r"""
        return self.Z @ r if self.constrained else r


def _most_seen_first(blocks: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The latents of every block, (G, b), ordered by how many linear predictors see them.

    Nodes of a latent are moved by those of the ones after it. What two parts of a block share comes first: conditional
    on it they are independent, and product rules of two effects and one above both are ten times as exact as when it
    comes last.
    """
    if blocks.shape[1] == 1:
        return blocks
    count = np.bincount(seen, minlength=blocks.max() + 1)
    return np.take_along_axis(blocks, np.argsort(-count[blocks], axis=1, kind="stable"), axis=1)


def _place(indices: np.ndarray) -> np.ndarray | slice:
    """Indices as a slice where they are consecutive, which is faster"""
    if np.all(np.diff(indices) == 1):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
