"""The local latents integrated out, given the shared ones: adaptive Gauss-Hermite (Pinheiro & Bates 1995).

    log p(y, x_S | theta) = shared prior + sum of l_i without local latents + sum_g log I_g,
    I_g = integral exp h_g(w) dw,   h_g(w) = b_g'w - w'Q_gg w / 2 + sum_{i in g} l_i(z_i + a_i w)
        ~ |R_g| sum_k omega_k exp(h_g(w_gk)),   w_gk = mode_g + R_g t_k,   R_g R_g' = inverse curvature at the mode ,

in coordinates w_g = u_g - P_g x_S in which the local latents are independent of x_S a priori (see `local_blocks`).

The nodes with their weights p_gk are a discrete posterior of u_g. From it come

    gradient in x_S = E[d],    negative Hessian = E[-dd/dx_S] - Var[d]        (Fisher; Louis 1982).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pymc_inla.inference.gauss_hermite import Rule
from pymc_inla.inference.local_blocks import LocalBlocks
from pymc_inla.inference.newton import clamp
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Prior
from pymc_inla.linalg.cholesky import mirror_lower
from pymc_inla.linalg.finite import all_finite
from pymc_inla.linalg.matvec import multiply, multiply_transposed

MAX_LOCAL = 60
LOCAL_TOLERANCE = 1e-14
"""On the Newton decrement of every block: nodes are centered within 1e-7 of a local sd, wherever the search started."""


COMPILED = 20_000
"""Linear predictors above which sums over blocks are compiled: one pass over the data each"""
INFORMATIVE = 1e4
"""Curvature of one observation in eta above which the rounding of its log-likelihood counts: it is the relative error
of the weights of the nodes, and H_S is the small difference of E[W] and Var[d]"""
AT_ONCE = 200_000
"""Linear predictors times nodes evaluated in one call: few calls in small models, what fits a cache in large ones"""


def portions(first: int, K: int, n_eta: int) -> list[slice]:
    """The nodes first..K-1 in portions that are evaluated together."""
    size = max(1, AT_ONCE // n_eta)
    return [slice(start, min(start + size, K)) for start in range(first, K, size)]


def node_kernels():
    """The compiled sums over blocks; they are loaded for models that need them."""
    from pymc_inla.linalg import node_kernels

    return node_kernels


class Conditional:
    """p(y, x | theta) at one theta, split into local and shared parts."""

    def __init__(self, functions: LGMFunctions, blocks: LocalBlocks, theta: np.ndarray):
        self.functions, self.blocks, self.theta = functions, blocks, theta
        self.kernels = node_kernels() if functions.n_eta > COMPILED else None
        self.prior: Prior = functions.prior(theta)
        self.design: Design = functions.design(theta)
        self.Q_gg, self.Q_SS = blocks.split_Q(self.prior.Q)
        self.b_S, self.b_L = self.prior.b[blocks.shared], self.prior.b[blocks.local]
        self.P = np.zeros((blocks.n_m, blocks.b))
        if blocks.coupled:
            self._decouple(blocks)
        split = blocks.fixed_design or blocks.design.split(self.design.A, self.P)
        self.a, self.A_S, self.A_pairs = split.a, split.A_S, split.A_pairs

    def _decouple(self, B: LocalBlocks):
        """P = -Q_gg^-1 Q_gS, and Q_SS, b_S in the coordinates (w, x_S)."""
        R = np.zeros((B.n_m, B.b))
        R[B.Q_m, B.Q_LS_component] = self.prior.Q[B.Q_LS]
        with np.errstate(all="ignore"):
            # a block without prior precision gives NaN, which ends the evaluation as not finite
            self.P = -self.solve_Q_gg(R)
        change = np.zeros(self.Q_SS.shape)
        B.add_products(R.T, self.P.T, change)
        mirror_lower(change)
        self.Q_SS = self.Q_SS + change
        self.b_S = self.b_S + np.bincount(B.m_shared, np.sum(self.P * self.b_L[B.m_block], axis=1), B.n_S)

    def solve_Q_gg(self, r) -> np.ndarray:
        """Q_gg^-1 r for r on the pairs, (n_m, b)"""
        if r.shape[1] == 1:
            return r / self.Q_gg[self.blocks.m_block, :, 0]
        return np.linalg.solve(self.Q_gg[self.blocks.m_block], r[:, :, None])[:, :, 0]

    def prior_mean(self, x_S) -> np.ndarray:
        """P x_S = u - w, (G, b)"""
        B = self.blocks
        if not B.coupled:
            return np.zeros((B.G, B.b))
        pull = self.P * x_S[B.m_shared][:, None]
        return np.column_stack([np.bincount(B.m_block, pull[:, c], B.G) for c in range(B.b)])

    def predictor(self, z, u) -> np.ndarray:
        """eta = z + a'w, (n_eta,); u stands for the coordinates w in this file"""
        if self.kernels:
            return self.predictors(z, u[None])[0]
        of_row = np.vstack([u, np.zeros(self.blocks.b)])[self.blocks.row_block]
        return z + self.a[:, 0] * of_row[:, 0] if self.blocks.b == 1 else z + np.einsum("rc,rc->r", self.a, of_row)

    def likelihood(self, eta) -> Likelihood:
        """Log-likelihood at eta; overflow far from the mode becomes -inf, not a warning."""
        with np.errstate(all="ignore"):
            return self.functions.log_likelihood(eta, self.theta)

    def predictors(self, z, u) -> np.ndarray:
        """The same at many nodes, (k, G, b) to (k, n_eta)"""
        if self.kernels:
            eta = np.empty((len(u), len(z)))
            self.kernels.spread_nodes(self.blocks.row_block, self.a, z, np.ascontiguousarray(u), eta)
            return eta
        of_row = np.concatenate([u, np.zeros((len(u), 1, self.blocks.b))], axis=1)[:, self.blocks.row_block]
        return z + np.einsum("rc,krc->kr", self.a, of_row)

    def likelihoods(self, etas) -> Likelihood:
        """Log-likelihood at many linear predictors, with a leading axis of k."""
        with np.errstate(all="ignore"):
            return self.functions.log_likelihood_many(etas, self.theta)

    def heights(self, u, values) -> np.ndarray:
        """Log joint of each block at many nodes, (k, G), from the log-likelihoods (k, n_obs)"""
        quadratic = np.einsum("kgc,kgc->kg", u, self.b_L - 0.5 * np.einsum("gcd,kgd->kgc", self.Q_gg, u))
        if self.kernels:
            self.kernels.add_rows(self.blocks.obs_block, values, quadratic)
            return quadratic
        return self.blocks.sum_blocks(self.blocks.obs_block, values) + quadratic

    def h(self, u, value) -> np.ndarray:
        """Log joint of each block, (G,)"""
        if self.kernels:
            return self.heights(u[None], value[None])[0]
        local = np.bincount(self.blocks.obs_block, value, self.blocks.G + 1)[:-1]
        return local + np.einsum("gc,gc->g", u, self.b_L - 0.5 * np.einsum("gcd,gd->gc", self.Q_gg, u))

    def rises(self, z, u, mode: "LocalMode", etas, likelihood: Likelihood) -> np.ndarray:
        """h at many nodes minus h at the mode, (k, G)"""
        f, at_mode = self.functions, mode.likelihood
        if f.n_eta != f.n_obs or len(at_mode.W) > f.n_eta or at_mode.W.max(initial=0.0) < INFORMATIVE:
            return self.heights(u, likelihood.value) - mode.h
        eta = self.predictor(z, mode.u)
        half_way = self.likelihoods(0.5 * (etas + eta))
        difference = precise_difference(etas - eta, at_mode, half_way, likelihood, 1.0 + np.abs(eta))
        prior = self.b_L - 0.5 * np.einsum("gcd,kgd->kgc", self.Q_gg, u + mode.u)
        return self.blocks.sum_blocks(self.blocks.obs_block, difference) + np.einsum("kgc,kgc->kg", u - mode.u, prior)

    def slopes(self, likelihood_gradients) -> np.ndarray:
        """d_g on the pairs (g, s) at many nodes, (k, n_eta) to (k, n_m)"""
        return multiply_transposed(self.A_pairs, likelihood_gradients)

    def local_gradient(self, u, gradient) -> np.ndarray:
        """dh/dw, (G, b)"""
        B, from_prior = self.blocks, self.b_L - np.einsum("gcd,gd->gc", self.Q_gg, u)
        if self.kernels:
            self.kernels.add_local_gradient(B.row_block, self.a, gradient, from_prior)
            return from_prior
        from_data = np.column_stack([B.sum_rows(self.a[:, c] * gradient) for c in range(B.b)])
        return from_data + from_prior

    def local_curvature(self, W) -> np.ndarray:
        """Q_gg + a'Wa with W clamped to be nonnegative, (G, b, b)"""
        B, f = self.blocks, self.functions
        W = clamp(W, f)
        n, rows, cols = f.n_eta, f.W_rows, f.W_cols
        H = self.Q_gg.copy()
        if self.kernels:
            self.kernels.add_curvature(B.W_block, rows, cols, W, self.a, H)
            return H
        for c in range(B.b):
            for e in range(c, B.b):
                entry = W * self.a[rows, c] * self.a[cols, e]
                entry[n:] += W[n:] * self.a[cols[n:], c] * self.a[rows[n:], e]
                total = np.bincount(B.W_block, entry, B.G + 1)[:-1]
                H[:, c, e] += total
                if e > c:
                    H[:, e, c] += total
        return H

    def information(self, W, p, slopes) -> np.ndarray:
        """A_S'WA_S - sum_g Var[d_g], (n_S, n_S), for slopes (K, n_m) at nodes with weights p (K, G + 1)"""
        B = self.blocks
        H = np.zeros((B.n_S, B.n_S))
        B.add_information(self.A_S, W, H)
        if self.kernels:
            self.kernels.subtract_covariances(B.m_ptr, B.m_shared, p, slopes, H)
        else:
            of_pair = p[:, B.m_block]
            deviation = slopes - np.einsum("km,km->m", of_pair, slopes)
            B.add_products(-of_pair * deviation, deviation, H)
        mirror_lower(H)
        return H

    def weighted(self, block, weights, values) -> np.ndarray:
        """sum_k weights_kg values_kr, g the block of r, for weights (k, G + 1)"""
        if self.kernels:
            out = np.zeros(values.shape[1])
            self.kernels.add_weighted(block, np.ascontiguousarray(weights), values, out)
            return out
        return np.einsum("kr,kr->r", weights[:, block], values)

    def W_matrix(self, W) -> sparse.csr_array:
        """W as a symmetric matrix, (n_eta, n_eta)"""
        f = self.functions
        n, rows, cols = f.n_eta, f.W_rows, f.W_cols
        index = np.concatenate([rows, cols[n:]]), np.concatenate([cols, rows[n:]])
        return sparse.csr_array(sparse.coo_array((np.concatenate([W, W[n:]]), index), shape=(n, n)))


@dataclass(frozen=True)
class LocalMode:
    """Modes of all blocks given x_S."""

    u: np.ndarray
    """(G, b)"""
    likelihood: Likelihood
    """at u"""
    h: np.ndarray
    """(G,)"""
    root: np.ndarray
    """(G, b, b), lower triangular inverse-transposed Cholesky factors R with R R' = curvature^-1"""
    log_det_root: np.ndarray
    """(G,)"""
    decrement: float
    n_passes: int


@dataclass(frozen=True)
class LocalIntegral:
    """log p(y, x_S | theta) with its derivatives in x_S, and the discrete posterior of the local latents."""

    conditional: Conditional
    x_S: np.ndarray
    mode: LocalMode
    value: float
    gradient: np.ndarray
    """(n_S,)"""
    H: np.ndarray
    """(n_S, n_S), negative Hessian"""
    u: np.ndarray
    """(K, G, b) nodes"""
    p: np.ndarray
    """(K, G + 1) their posterior weights; the last column stands for rows without local latents"""
    d: np.ndarray
    """(K, n_m) slopes at the nodes"""
    likelihood_gradient: np.ndarray
    """(n_eta,), E[l']"""
    W: np.ndarray
    """(n_W,), E[W]"""
    n_passes: int

    @property
    def x(self):
        """(n_x,) x_S with the modes of the local latents given it"""
        return self.conditional.blocks.join(self.x_S, self.mode.u + self.conditional.prior_mean(self.x_S))

    @property
    def mean(self):
        """E[w], (G, b)"""
        return np.einsum("kg,kgc->gc", self.p[:, :-1], self.u)

    @property
    def d_mean(self):
        """E[d], (n_m,)"""
        return np.einsum("km,km->m", self.p[:, self.conditional.blocks.m_block], self.d)

    @property
    def cancellation(self) -> float:
        """About the relative error that rounding makes in what the block that the data determine best adds to H.

        E[W] and Var[d], of the size of the curvature D, differ by no more than the prior precision. Rounding of eta
        moves the values l' at the nodes, whose sd is D^(1/2), by eps abs(eta) D.
        """
        c = self.conditional
        D, Q = 1.0 / np.einsum("gcc->gc", self.mode.root) ** 2, np.einsum("gcc->gc", c.Q_gg)
        eta = c.predictor(c.design.offset + multiply(c.A_S, self.x_S), self.mode.u)
        lost = np.finfo(float).eps * (1.0 + np.max(np.abs(eta), initial=0.0)) * D**1.5
        return float(np.max(lost / np.where(Q > 0, Q, np.inf), initial=0.0))

    def derivative_of_mean(self):
        """dE[w]/dx_S = Cov(w, d) on the pairs (g, s), (n_m, b)"""
        g = self.conditional.blocks.m_block
        if self.conditional.kernels:
            out = np.empty((len(g), self.u.shape[2]))
            self.conditional.kernels.covariances_with_slopes(self.conditional.blocks.m_ptr, self.p, self.u, self.d, out)
            return out
        d = self.d - self.d_mean
        return np.einsum("km,kmc->mc", self.p[:, g] * d, self.u[:, g])


def find_local_mode(conditional: Conditional, x_S: np.ndarray, u: np.ndarray) -> LocalMode | None:
    """Newton's method in all blocks at once, damped block by block. None where something is not finite or a block
    has no positive curvature."""
    c = conditional
    z = c.design.offset + multiply(c.A_S, x_S)
    likelihood = c.likelihood(c.predictor(z, u))
    h = c.h(u, likelihood.value)
    passes = 1
    if not all_finite(h):
        u = np.zeros_like(u)
        likelihood = c.likelihood(c.predictor(z, u))
        h = c.h(u, likelihood.value)
        passes += 1
        if not all_finite(h):
            return None
    while True:
        g = c.local_gradient(u, likelihood.gradient)
        H = c.local_curvature(likelihood.W)
        if not (all_finite(g) and all_finite(H)):
            return None
        root, log_det = _inverse_root(H)
        if root is None:
            return None
        whitened = np.einsum("gdc,gd->gc", root, g)
        decrement = np.einsum("gc,gc->g", whitened, whitened)
        worst = float(decrement.max())
        if worst < LOCAL_TOLERANCE or passes >= MAX_LOCAL:
            return LocalMode(u, likelihood, h, root, log_det, worst, passes)
        step = np.einsum("gcd,gd->gc", root, whitened)
        length = np.ones(len(u))
        # 1e-12: rounding in the sum over the observations of a block
        slack = 1e-12 * (1.0 + np.abs(h))
        while True:
            trial = u + length[:, None] * step
            new = c.likelihood(c.predictor(z, trial))
            h_new = c.h(trial, new.value)
            passes += 1
            worse = ~(h_new >= h - slack)
            if not worse.any() or passes >= MAX_LOCAL:
                break
            length[worse] *= 0.5
        if worse.any():
            return LocalMode(u, likelihood, h, root, log_det, worst, passes)
        u, likelihood, h = trial, new, h_new


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


def _inverse_root(H):
    """R with R R' = H^-1 for each (b, b) matrix, and log |R|; None if one is not positive definite."""
    if H.shape[1] == 1:
        if H.min() <= 0:
            return None, None
        return 1.0 / np.sqrt(H), -0.5 * np.log(H[:, 0, 0])
    if np.linalg.eigvalsh(H)[:, 0].min() <= 0:
        return None, None
    L = np.linalg.cholesky(H)
    root = np.swapaxes(np.linalg.inv(L), 1, 2)
    return root, -np.sum(np.log(np.diagonal(L, axis1=1, axis2=2)), axis=1)


def integrate_local(conditional: Conditional, x_S: np.ndarray, u_start: np.ndarray, rule: Rule) -> LocalIntegral | None:
    """Integrate the local latents at x_S; the search of their modes starts from u_start (G, b), in coordinates w.

    Returns
    -------
    LocalIntegral or None
        None where the log density or a derivative is not finite or a block has no curvature.
    """
    c, B = conditional, conditional.blocks
    mode = find_local_mode(c, x_S, u_start)
    if mode is None:
        return None
    z = c.design.offset + multiply(c.A_S, x_S)
    K, G = len(rule.t), B.G
    nodes, weights, slopes = np.empty((K, G, B.b)), np.zeros((K, G + 1)), np.empty((K, B.n_m))
    # the node at the mode comes first and is the largest, so that nothing overflows
    nodes[0], weights[0, :-1], weights[0, -1] = mode.u, np.exp(rule.log_weights[0]), 1.0
    slopes[0] = c.slopes(mode.likelihood.gradient[None])[0]
    gradient = c.weighted(B.row_block, weights[:1], mode.likelihood.gradient[None])
    W = c.weighted(B.W_block, weights[:1], mode.likelihood.W[None])

    def evaluate(at: slice) -> tuple[np.ndarray, np.ndarray]:
        u = mode.u + np.einsum("gcd,kd->kgc", mode.root, rule.t[at])
        etas = c.predictors(z, u)
        likelihood = c.likelihoods(etas)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            weight = np.exp(rule.log_weights[at][:, None] + c.rises(z, u, mode, etas, likelihood))
        bad = ~(weight > 0) | ~np.isfinite(weight)
        if bad.any():
            # a node without weight repeats the mode, where everything is finite
            weight[bad], u[bad] = 0.0, np.broadcast_to(mode.u, u.shape)[bad]
            likelihood = c.likelihoods(c.predictors(z, u))
        nodes[at], weights[at, :-1], slopes[at] = u, weight, c.slopes(likelihood.gradient)
        of_gradient = c.weighted(B.row_block, weights[at], likelihood.gradient)
        return of_gradient, c.weighted(B.W_block, weights[at], likelihood.W)

    for of_gradient, of_W in map_in_order(evaluate, portions(1, K, c.functions.n_eta)):
        gradient += of_gradient
        W += of_W
    total = weights.sum(0)
    p = weights / total
    gradient, W = gradient / total[B.row_block], W / total[B.W_block]
    Qx = c.Q_SS @ x_S
    outside = float(np.sum(mode.likelihood.value[B.obs_block == G]))
    value = c.prior.c + float(x_S @ (c.b_S - 0.5 * Qx)) + outside
    value += float(np.sum(mode.h + mode.log_det_root + np.log(total[:-1])))
    slope = c.b_S - Qx + multiply_transposed(c.A_S, gradient)
    H = c.information(W, p, slopes)
    H += c.Q_SS
    if not (np.isfinite(value) and all_finite(slope) and all_finite(H)):
        return None
    passes = mode.n_passes + K - 1
    return LocalIntegral(c, x_S, mode, value, slope, H, nodes, p, slopes, gradient, W, passes)
