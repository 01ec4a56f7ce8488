"""The local latents integrated out, given the shared ones, by adaptive quadrature (Pinheiro & Bates 1995).

    log p(y, x_S | theta) = shared prior + sum of l_i without local latents + sum_g log I_g,
    I_g = integral exp h_g(w) dw,   h_g(w) = b_g'w - w'Q_gg w / 2 + sum_{i in g} l_i(z_i + a_i w)
        ~ |R_g| sum_k omega_k exp(h_g(w_gk)),   w_gk = mode_g + R_g t_k,   R_g R_g' = inverse curvature at the mode ,

in coordinates w_g = u_g - P_g x_S in which the local latents are independent of x_S a priori (see `local_blocks`). The
sums run over parts of the model, one after the other or side by side.

The nodes with their weights p_gk are a discrete posterior of u_g. From it come

    gradient in x_S = E[d],    negative Hessian = E[-dd/dx_S] - Var[d]        (Fisher; Louis 1982).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pymc_inla.inference.local_conditional import Conditional, ConditionalPart
from pymc_inla.inference.newton import LOST, rounding_of_quadratic
from pymc_inla.inference.node_rules import Rule
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.lgm import Likelihood
from pymc_inla.linalg.cholesky import is_positive_definite, lost_in_rounding
from pymc_inla.linalg.finite import all_finite
from pymc_inla.linalg.matvec import multiply_transposed

MAX_LOCAL = 60
LOCAL_TOLERANCE = 1e-14
"""On the Newton decrement of every block: nodes are centered within 1e-7 of a local sd, wherever the search started."""
LEAST_OF_PRIOR = 0.9
"""Share of the prior precision of x_S below which what the data take from it is not rounding"""
FEW_SHARED = 300
"""Shared latents up to which a Cholesky factor costs next to nothing"""
AT_ONCE = 200_000
"""Linear predictors times nodes evaluated in one call: few calls in small models, what fits a cache in large ones"""


def portions(first: int, K: int, n_eta: int) -> list[slice]:
    """The nodes first..K-1 in portions that are evaluated together."""
    size = max(1, AT_ONCE // n_eta)
    return [slice(start, min(start + size, K)) for start in range(first, K, size)]


def joined(parts: Sequence, of_part: Callable[..., np.ndarray]) -> np.ndarray:
    """An array of every part, one behind the other"""
    return np.concatenate([of_part(part) for part in parts])


@dataclass(frozen=True)
class LocalMode:
    """Modes of the blocks of a part given x_S."""

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
class PartIntegral:
    """What the blocks of one part add to log p(y, x_S | theta), with the discrete posterior of their latents."""

    conditional: ConditionalPart
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
    concave: bool
    """Whether the log-likelihood is known to be concave in eta at all nodes"""
    n_passes: int

    @property
    def mean(self) -> np.ndarray:
        """E[w], (G, b)"""
        return np.einsum("kg,kgc->gc", self.p[:, :-1], self.u)

    @property
    def d_mean(self) -> np.ndarray:
        """E[d], (n_m,)"""
        return np.einsum("km,km->m", self.p[:, self.conditional.part.m_block], self.d)

    def derivative_of_mean(self) -> np.ndarray:
        """dE[w]/dx_S = Cov(w, d) on the pairs (g, s), (n_m, b)"""
        c = self.conditional
        out = np.empty((c.part.n_m, self.u.shape[2]))
        c.sums.covariances_with_slopes(c.part.m_ptr, self.p, self.u, self.d, out)
        return out

    @property
    def rounding(self) -> float:
        """About what rounding does to the value"""
        return float(self.conditional.rounding(self.mode.u).sum())

    def cancellation(self, x_S) -> float:
        """About the relative error that rounding makes in what the block that the data determine best adds to H.

        E[W] and Var[d], of the size of the curvature D, differ by no more than the prior precision. Rounding of eta
        moves the values l' at the nodes, whose sd is D^(1/2), by eps abs(eta) D.
        """
        c = self.conditional
        D, Q = 1.0 / np.einsum("gcc->gc", self.mode.root) ** 2, np.einsum("gcc->gc", c.Q_gg)
        eta = c.predictor(c.of_shared(x_S), self.mode.u)
        lost = np.finfo(float).eps * (1.0 + np.max(np.abs(eta), initial=0.0)) * D**1.5
        return float(np.max(lost / np.where(Q > 0, Q, np.inf), initial=0.0))


@dataclass(frozen=True)
class LocalIntegral:
    """log p(y, x_S | theta) with its derivatives in x_S: the shared prior and the sum over all parts."""

    conditional: Conditional
    x_S: np.ndarray
    parts: tuple[PartIntegral, ...]
    value: float
    gradient: np.ndarray
    """(n_S,)"""
    H: np.ndarray
    """(n_S, n_S), negative Hessian"""

    @property
    def n_nodes(self) -> int:
        return len(self.parts[0].u)

    @property
    def n_passes(self) -> int:
        """Passes over the data, counted in the part that took most"""
        return max(part.n_passes for part in self.parts)

    @cached_property
    def mode_u(self) -> np.ndarray:
        """(G, b) modes of the local latents"""
        return joined(self.parts, lambda part: part.mode.u)

    @property
    def is_rough(self) -> bool:
        """Whether H shows that the nodes are too few: where the log-likelihood is concave, so is its integral over the
        local latents (Prekopa 1973), and the data cannot take from the prior precision of x_S.

        Of many shared latents only the diagonal is asked. A Cholesky factor would cost as much as a step of the search;
        with so many of them nodes that are too few mostly make the search itself fail, which has the same consequence.
        """
        if not all(part.concave for part in self.parts):
            return False
        c = self.conditional
        if len(self.H) > FEW_SHARED:
            return bool(np.any(np.diag(self.H) < LEAST_OF_PRIOR * np.diag(c.Q_SS)))
        return not is_positive_definite(c.blocks.reduce(self.H - LEAST_OF_PRIOR * c.Q_SS))

    @property
    def x(self) -> np.ndarray:
        """(n_x,) x_S with the modes of the local latents given it"""
        return self.conditional.blocks.join(self.x_S, self.mode_u + self.conditional.prior_mean(self.x_S))

    @property
    def rounding(self) -> float:
        """About what rounding does to the value"""
        return self.conditional.rounding(self.x_S) + sum(part.rounding for part in self.parts)

    @property
    def lost(self) -> bool:
        """Whether rounding leaves nothing of the prior of x_S"""
        terms = np.abs(self.conditional.Q_SS) @ np.abs(self.x_S)
        return rounding_of_quadratic(self.x_S, terms) > LOST

    @property
    def cancellation(self) -> float:
        """The worst of the parts; see `PartIntegral.cancellation`."""
        return max(part.cancellation(self.x_S) for part in self.parts)

    def derivative_of_mean(self) -> np.ndarray:
        """dE[w]/dx_S = Cov(w, d) on the pairs (g, s), (n_m, b)"""
        return joined(self.parts, PartIntegral.derivative_of_mean)


def find_local_mode(c: ConditionalPart, z: np.ndarray, u: np.ndarray) -> LocalMode | None:
    """Newton's method in all blocks at once, damped block by block, where the shared latents put the predictors at z
    (n_eta,). None where something is not finite or a block has no positive curvature."""
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
        H, clamped = c.local_curvature(likelihood.W)
        if not (all_finite(g) and all_finite(H)):
            return None
        root, _ = _inverse_root(H)
        if root is None:
            return None
        whitened = np.einsum("gdc,gd->gc", root, g)
        decrement = np.einsum("gc,gc->g", whitened, whitened)
        worst = float(decrement.max())
        rounding = c.rounding(u)
        if np.all(decrement < np.maximum(LOCAL_TOLERANCE, rounding)) or passes >= MAX_LOCAL:
            return _at_mode(u, likelihood, h, clamped, worst, passes)
        step = np.einsum("gcd,gd->gc", root, whitened)
        length = np.ones(len(u))
        # 1e-12: rounding in the sum over the observations of a block
        slack = 1e-12 * (1.0 + np.abs(h)) + rounding
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
            return _at_mode(u, likelihood, h, clamped, worst, passes)
        u, likelihood, h = trial, new, h_new


def _at_mode(u, likelihood, h, clamped, decrement, passes) -> LocalMode | None:
    root, log_det = _inverse_root(clamped)
    return None if root is None else LocalMode(u, likelihood, h, root, log_det, decrement, passes)


def _inverse_root(H):
    """R with R R' = H^-1 for each (b, b) matrix, and log |R|; None if one is not positive definite
    in the digits there are."""
    if H.shape[1] == 1:
        if H.min() <= 0:
            return None, None
        return 1.0 / np.sqrt(H), -0.5 * np.log(H[:, 0, 0])
    try:
        L = np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return None, None
    if lost_in_rounding(np.diagonal(L, axis1=1, axis2=2) ** 2, np.diagonal(H, axis1=1, axis2=2)):
        return None, None
    root = np.swapaxes(np.linalg.inv(L), 1, 2)
    return root, -np.sum(np.log(np.diagonal(L, axis1=1, axis2=2)), axis=1)


@np.errstate(over="ignore", invalid="ignore")  # a step too far: what is not finite is told by the result
def integrate_part(c: ConditionalPart, x_S: np.ndarray, u_start: np.ndarray, rule: Rule) -> PartIntegral | None:
    """Integrate the local latents of one part at x_S; the search of their modes starts from u_start (G, b).

    Returns
    -------
    PartIntegral or None
        None where the log density or a derivative is not finite or a block has no curvature.
    """
    part, z = c.part, c.of_shared(x_S)
    mode = find_local_mode(c, z, u_start)
    if mode is None:
        return None
    K, G = len(rule.t), part.G
    nodes, weights, slopes = np.empty((K, G, part.b)), np.zeros((K, G + 1)), np.empty((K, part.n_m))
    # the node at the mode comes first and is the largest, so that nothing overflows
    nodes[0], weights[0, :-1], weights[0, -1] = mode.u, np.exp(rule.log_weights[0]), 1.0
    slopes[0] = c.slopes(mode.likelihood.gradient[None])[0]
    gradient = c.weighted(part.row_block, weights[:1], mode.likelihood.gradient[None])
    W = c.weighted(part.W_block, weights[:1], mode.likelihood.W[None])
    concave = c.is_concave(mode.likelihood.W)

    def evaluate(at: slice) -> tuple[np.ndarray, np.ndarray, bool]:
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
        of_gradient = c.weighted(part.row_block, weights[at], likelihood.gradient)
        return of_gradient, c.weighted(part.W_block, weights[at], likelihood.W), c.is_concave(likelihood.W)

    for of_gradient, of_W, concave_there in map_in_order(evaluate, portions(1, K, c.functions.n_eta)):
        gradient += of_gradient
        W += of_W
        concave &= concave_there
    total = weights.sum(0)
    p = weights / total
    gradient, W = gradient / total[part.row_block], W / total[part.W_block]
    if not (all_finite(gradient) and all_finite(W)):
        return None
    value = c.outside(mode.likelihood.value) + float(np.sum(mode.h + mode.log_det_root + np.log(total[:-1])))
    H, slope = c.information(W, p, slopes), multiply_transposed(c.A_S, gradient)
    passes = mode.n_passes + K - 1
    return PartIntegral(c, mode, value, slope, H, nodes, p, slopes, gradient, W, concave, passes)


def integrate_local(conditional: Conditional, x_S: np.ndarray, u_start: np.ndarray, rule: Rule) -> LocalIntegral | None:
    """Integrate the local latents at x_S; the search of their modes starts from u_start (G, b), in coordinates w.

    Returns
    -------
    LocalIntegral or None
        None where the log density or a derivative is not finite or a block has no curvature.
    """
    c = conditional
    parts = tuple(map_in_order(lambda some: integrate_part(some, x_S, u_start[some.part.blocks], rule), c.parts))
    if any(part is None for part in parts):
        return None
    Qx = c.Q_SS @ x_S
    value = c.prior.c + float(x_S @ (c.b_S - 0.5 * Qx)) + sum(part.value for part in parts)
    slope, H = c.b_S - Qx + parts[0].gradient, c.Q_SS + parts[0].H
    for part in parts[1:]:
        slope += part.gradient
        H += part.H
    if not (np.isfinite(value) and all_finite(slope) and all_finite(H)):
        return None
    return LocalIntegral(c, x_S, parts, value, slope, H)
