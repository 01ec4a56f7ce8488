"""log p(y, x | theta) at one theta, as sums over blocks of local latents and over the linear predictors that see them.

In coordinates w_g = u_g - P_g x_S, in which the local latents are independent of x_S a priori (see `local_blocks`),

    log p(y, x | theta) = c + b_S'x_S - x_S'Q_SS x_S / 2 + sum of l_i without local latents + sum_g h_g(w_g),
    h_g(w) = b_g'w - w'Q_gg w / 2 + sum_{i in g} l_i(z_i + a_i w),     z = offset + A_S x_S .
"""

import numpy as np

from pymc_inla.inference.local_blocks import LocalBlocks
from pymc_inla.inference.local_design import SplitDesign
from pymc_inla.inference.local_part import LocalPart
from pymc_inla.inference.newton import clamp
from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Prior
from pymc_inla.linalg.cholesky import LOST, mirror_lower
from pymc_inla.linalg.matvec import multiply, multiply_transposed

INFORMATIVE = 1e4
"""Curvature of one observation in eta above which the rounding of its log-likelihood counts: it is the relative error
of the weights of the nodes, and H_S is the small difference of E[W] and Var[d]"""

RELIABLE = 0.01
"""Curvature of a block, beside the clamped one, from which on steps follow it"""


class Conditional:
    """The prior and the design at one theta, split into local and shared parts."""

    def __init__(self, functions: LGMFunctions, blocks: LocalBlocks, theta: np.ndarray):
        self.functions, self.blocks, self.theta = functions, blocks, theta
        self.prior: Prior = functions.prior(theta)
        self.design: Design = functions.design(theta)
        self.Q_gg, self.Q_SS = blocks.split_Q(self.prior.Q)
        self.b_S, self.b_L = self.prior.b[blocks.shared], self.prior.b[blocks.local]
        self.P = np.zeros((blocks.whole.n_m, blocks.b))
        self.taken_back = np.zeros(blocks.n_S)
        if blocks.coupled:
            self._decouple(blocks)
        whole, parts = blocks.split_design(self.design.A, self.P)
        self.whole = ConditionalPart(self, blocks.whole, whole)
        self.parts = (
            (self.whole,)
            if len(parts) == 1
            else tuple(ConditionalPart(self, *both) for both in zip(blocks.parts, parts, strict=True))
        )

    def _decouple(self, B: LocalBlocks):
        """P = -Q_gg^-1 Q_gS, and Q_SS, b_S in the coordinates (w, x_S)."""
        R = np.zeros((B.whole.n_m, B.b))
        R[B.Q_m, B.Q_LS_component] = self.prior.Q[B.Q_LS]
        with np.errstate(all="ignore"):
            # a block without prior precision gives NaN, which ends the evaluation as not finite; so does one whose
            # correlations are so near to one that rounding leaves nothing of the rest
            if B.b > 1:
                lost = np.linalg.det(self.Q_gg) < LOST * np.prod(np.einsum("gcc->gc", self.Q_gg), axis=1)
                self.Q_gg = np.where(lost[:, None, None], np.nan, self.Q_gg)
            self.P = -self.solve_Q_gg(R)
        change = np.zeros(self.Q_SS.shape)
        B.whole.add_products(R.T, self.P.T, change)
        mirror_lower(change)
        self.taken_back = np.abs(np.diag(change))
        self.Q_SS = self.Q_SS + change
        pull = np.sum(self.P * self.b_L[B.whole.m_block], axis=1)
        self.b_S = self.b_S + np.bincount(B.whole.m_shared, pull, B.n_S)

    def rounding(self, x_S) -> float:
        """About what rounding does to the log density of x_S where its prior precision is what is left of another one:
        a mean shared by local latents has a prior precision G / sigma^2 that `_decouple` takes back from it."""
        return float(np.finfo(float).eps * self.taken_back @ x_S**2)

    def solve_Q_gg(self, r) -> np.ndarray:
        """Q_gg^-1 r for r on the pairs, (n_m, b)"""
        block = self.blocks.whole.m_block
        if r.shape[1] == 1:
            return r / self.Q_gg[block, :, 0]
        return np.linalg.solve(self.Q_gg[block], r[:, :, None])[:, :, 0]

    def prior_mean(self, x_S) -> np.ndarray:
        """P x_S = u - w, (G, b)"""
        B = self.blocks
        return B.sum_pairs(self.P * x_S[B.whole.m_shared][:, None]) if B.coupled else np.zeros((B.G, B.b))


class ConditionalPart:
    """The blocks of one part. Nodes are numbered k; u stands for the coordinates w."""

    def __init__(self, conditional: Conditional, part: LocalPart, split: SplitDesign):
        self.part, self.functions, self.theta = part, part.functions, conditional.theta
        self.offset = conditional.design.offset[part.rows]
        self.Q_gg, self.b_L = conditional.Q_gg[part.blocks], conditional.b_L[part.blocks]
        self.a, self.A_S, self.A_pairs = split.a, split.A_S, split.A_pairs
        self.sums = part.sums

    def of_shared(self, x_S) -> np.ndarray:
        """z, (n_eta,) or, for many x_S, (m, n_eta)"""
        return self.offset + multiply(self.A_S, x_S)

    def predictor(self, z, u) -> np.ndarray:
        """eta = z + a'w, (n_eta,)"""
        return self.predictors(z, u[None])[0]

    def predictors(self, z, u) -> np.ndarray:
        """The same at many nodes, (k, G, b) to (k, n_eta)"""
        eta = np.empty((len(u), len(z)))
        self.sums.spread_nodes(self.part.row_block, self.a, z, np.ascontiguousarray(u), eta)
        return eta

    def likelihood(self, eta) -> Likelihood:
        """Log-likelihood at eta; overflow far from the mode becomes -inf, not a warning."""
        with np.errstate(all="ignore"):
            return self.functions.log_likelihood(eta, self.theta)

    def likelihoods(self, etas) -> Likelihood:
        """Log-likelihood at many linear predictors, with a leading axis of k."""
        with np.errstate(all="ignore"):
            return self.functions.log_likelihood_many(etas, self.theta)

    def heights(self, u, values) -> np.ndarray:
        """h at many nodes, (k, G), from the log-likelihoods (k, n_obs)"""
        heights = np.einsum("kgc,kgc->kg", u, self.b_L - 0.5 * np.einsum("gcd,kgd->kgc", self.Q_gg, u))
        self.sums.add_rows(self.part.obs_block, values, heights)
        return heights

    def h(self, u, value) -> np.ndarray:
        """h at one node, (G,)"""
        return self.heights(u[None], value[None])[0]

    def rounding(self, u) -> np.ndarray:
        """About what rounding does to h at u, (G,): the terms of u'Q_gg u cancel where correlations are near to one."""
        u = np.abs(u)
        return 8 * np.finfo(float).eps * np.einsum("gc,gcd,gd->g", u, np.abs(self.Q_gg), u)

    def rises(self, z, u, mode, etas, likelihood: Likelihood) -> np.ndarray:
        """h at many nodes minus h at the mode (a `LocalMode`), (k, G)"""
        f, at_mode = self.functions, mode.likelihood
        if f.n_eta != f.n_obs or len(at_mode.W) > f.n_eta or at_mode.W.max(initial=0.0) < INFORMATIVE:
            return self.heights(u, likelihood.value) - mode.h
        eta = self.predictor(z, mode.u)
        half_way = self.likelihoods(0.5 * (etas + eta))
        difference = precise_difference(etas - eta, at_mode, half_way, likelihood, 1.0 + np.abs(eta))
        prior = self.b_L - 0.5 * np.einsum("gcd,kgd->kgc", self.Q_gg, u + mode.u)
        rises = np.einsum("kgc,kgc->kg", u - mode.u, prior)
        self.sums.add_rows(self.part.obs_block, difference, rises)
        return rises

    def is_concave(self, W) -> bool:
        """Whether log-likelihoods with negative Hessians W, of one node or of many, are known to be concave there; with
        several predictors in one observation they are not."""
        return W.shape[-1] == self.functions.n_eta and W.min(initial=0.0) >= 0

    def slopes(self, likelihood_gradients) -> np.ndarray:
        """d_g on the pairs (g, s) at many nodes, (k, n_eta) to (k, n_m)"""
        return multiply_transposed(self.A_pairs, likelihood_gradients)

    def local_gradient(self, u, gradient) -> np.ndarray:
        """dh/dw, (G, b)"""
        total = self.b_L - np.einsum("gcd,gd->gc", self.Q_gg, u)
        self.sums.add_local_gradient(self.part.row_block, self.a, gradient, total)
        return total

    def local_curvature(self, W) -> tuple[np.ndarray, np.ndarray]:
        """Q_gg + a'Wa, (G, b, b), twice: as it is, for steps of Newton's method, and with W clamped to be nonnegative,
        for the spread of nodes. Both are the latter in blocks where the former leaves no curvature to rely on.

        Nodes as far apart as a log density with several modes is flat between them would miss the modes.
        """
        f, H = self.functions, self._curvature(W)
        if len(W) == f.n_eta and np.min(W, initial=0.0) >= 0:
            return H, H
        clamped = self._curvature(clamp(W, f))
        unsafe = ~(_smallest(H) > RELIABLE * _smallest(clamped))
        H[unsafe] = clamped[unsafe]
        return H, clamped

    def _curvature(self, W) -> np.ndarray:
        f, H = self.functions, self.Q_gg.copy()
        self.sums.add_curvature(self.part.W_block, f.W_rows, f.W_cols, W, self.a, H)
        return H

    def information(self, W, p, slopes) -> np.ndarray:
        """A_S'WA_S - sum_g Var[d_g], (n_S, n_S), for slopes (K, n_m) at nodes with weights p (K, G + 1)"""
        part = self.part
        H = np.zeros((part.n_S, part.n_S))
        part.add_information(self.A_S, W, H)
        self.sums.subtract_covariances(part.m_ptr, part.m_shared, p, slopes, H)
        mirror_lower(H)
        return H

    def weighted(self, block, weights, values) -> np.ndarray:
        """sum_k weights_kg values_kr, g the block of r, for weights (k, G + 1)"""
        out = np.zeros(values.shape[1])
        self.sums.add_weighted(block, np.ascontiguousarray(weights), values, out)
        return out

    def outside(self, value) -> float:
        """Sum of the log-likelihoods (n_obs,) without local latents"""
        return float(np.sum(value[self.part.obs_block == self.part.G]))


def _smallest(H) -> np.ndarray:
    """Smallest eigenvalue of each (b, b) matrix, (G,)"""
    return H[:, 0, 0] if H.shape[1] == 1 else np.linalg.eigvalsh(H)[:, 0]


def precise_difference(step, start: Likelihood, middle: Likelihood, end: Likelihood, size) -> np.ndarray:
    """l(eta + step) - l(eta) of observations with large counts, (k, n), from l there and half way.

    Differences of values lose eps W (1 + abs(eta)), the rounding of their terms. Simpson's rule with end corrections,
    step (7 l'_0 + 16 l'_1/2 + 7 l'_1) / 30 + step^2 (W_1 - W_0) / 60, has no such terms and the error step^7 l^(7) /
    604800, where l^(7) is about W. It is taken for steps so short that this is less, where both agree up to rounding.
    """
    rounding = np.finfo(float).eps * size
    with np.errstate(all="ignore"):
        direct = end.value - start.value
        slope = (7.0 * (start.gradient + end.gradient) + 16.0 * middle.gradient) / 30.0
        smooth = step * (slope + step * (end.W - start.W) / 60.0)
        better = np.abs(step) ** 7 < 604800 * rounding
        better &= np.abs(smooth - direct) <= 50 * rounding * np.abs(start.W)
    return np.where(better, smooth, direct)
