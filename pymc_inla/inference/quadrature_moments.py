"""Univariate posterior moments at one theta: exact for the local latents given x_S, and the uncertainty of x_S on top.

For a local latent, with the laws of total expectation, variance and third cumulance to first order in cov(x_S) = S,

    mean  E[u] + (dE[u]/dx_S) v + Cov(u, F)          (v, F: see `quadrature_adjoint`; the last term is the curvature
                                                      of E[u | x_S] in x_S)
    var   Var[u] + B S B',       B = dE[u]/dx_S = Cov(u, d)
    third E[(u - E u)^3] + 3 B S T',  T = dVar[u]/dx_S = E[(u - E u)^2 (d - E d)] .

For the shared latents the third cumulant of p(x_S | y, theta) in the direction of column j of S (Rue et al. 2009,
section 3.2.3, with the log density of x_S in the place of the likelihood).
"""

import numpy as np
from scipy import sparse

from pymc_inla.inference import skew_normal
from pymc_inla.inference.inner import Moments
from pymc_inla.linalg.matvec import multiply

SKEWNESS_BUDGET = 3e6
"""Shared latents times predictors times nodes up to which the skewness of x_S is computed"""


def latent_moments(point) -> Moments:
    """Moments of p~(x_j | theta, y), each (n_x,)."""
    B = point.approximation.blocks
    mean, sd, skewness = (np.empty(B.n_S + B.local.size) for _ in range(3))
    variance_S = np.maximum(np.diag(point.S), 0.0)
    mean[B.shared] = point.integral.x_S + point.adjoint.v
    sd[B.shared] = np.sqrt(variance_S)
    skewness[B.shared] = _shared_skewness(point, sd[B.shared])
    local = _LocalCumulants(point)
    # u = w + P x_S
    conditional = point.integral.conditional
    local_mean = local.mean + conditional.prior_mean(mean[B.shared])
    for c in range(B.b):
        effect = local.B[:, c] + conditional.P[:, c]
        through = _quadratic(B, point.S, effect, effect)
        variance = local.variance[:, c, c] + through
        third = local.third(c) + 3.0 * _quadratic(B, point.S, effect, local.T(c))
        at = B.local[:, c]
        mean[at], sd[at] = local_mean[:, c], np.sqrt(variance)
        skewness[at] = skew_normal.standardized(third, sd[at])
    return Moments(mean, sd, skewness)


def predictor_moments(point) -> Moments:
    """Moments of p~(eta_r | theta, y), each (n_eta,): eta = offset + A_S x_S + a'u."""
    B, c = point.approximation.blocks, point.integral.conditional
    local = _LocalCumulants(point)
    n, row_block = c.functions.n_eta, B.row_block
    inside = np.minimum(row_block, B.G - 1)
    a = np.where((row_block < B.G)[:, None], c.a, 0.0)
    mean = c.design.offset + multiply(c.A_S, point.integral.x_S + point.adjoint.v)
    mean = mean + np.einsum("rc,rc->r", a, local.mean[inside])
    # a row moves with x_S directly, by A_r, and through the conditional means of its local latents, by a_r'B_g
    direct = -2.0 * point.adjoint.W_bar[:n]
    variance = np.einsum("rc,rcd,rd->r", a, local.variance[inside], a) + direct
    for e in range(B.b):
        moved = B.multiply(point.S, local.B[:, e])
        variance += 2.0 * a[:, e] * multiply(c.A_pairs, moved)
        for d in range(B.b):
            variance += a[:, e] * a[:, d] * np.bincount(B.m_block, local.B[:, d] * moved, B.G)[inside]
    third = np.zeros(n)
    if B.b == 1:
        a, spread = a[:, 0], B.multiply(point.S, local.T(0))
        along = multiply(c.A_pairs, spread) + a * np.bincount(B.m_block, local.B[:, 0] * spread, B.G)[inside]
        third = a**2 * (a * local.third(0)[inside] + 3.0 * along)
    sd = np.sqrt(np.maximum(variance, 0.0))
    return Moments(mean, sd, skew_normal.standardized(third, sd))


class _LocalCumulants:
    """Cumulants of the local latents and of pairs of them with the slopes d."""

    def __init__(self, point):
        integral, adjoint, self.blocks = point.integral, point.adjoint, point.approximation.blocks
        B = self.blocks
        self.p, self.slopes = integral.p[:, :-1], adjoint.deviation
        mean = integral.mean
        self.u = integral.u - mean
        self.B = integral.derivative_of_mean()
        self.variance = np.einsum("kg,kgc,kgd->gcd", self.p, self.u, self.u)
        shift = self.B * adjoint.v[B.m_shared][:, None]
        moved = np.column_stack([np.bincount(B.m_block, shift[:, c], B.G) for c in range(B.b)])
        self.mean = mean + moved + np.einsum("kg,kgc->gc", adjoint.rho_F, self.u)

    def third(self, c) -> np.ndarray:
        """E[(u - E u)^3], (G,)"""
        return np.einsum("kg,kg->g", self.p, self.u[:, :, c] ** 3)

    def T(self, c) -> np.ndarray:
        """dVar[u]/dx_S, (n_m,)"""
        g = self.blocks.m_block
        return np.einsum("km,km->m", (self.p * self.u[:, :, c] ** 2)[:, g], self.slopes)


def _quadratic(B, S, left, right) -> np.ndarray:
    """left_g'S right_g for every block, (G,)"""
    return np.bincount(B.m_block, left * B.multiply(S, right), B.G)


def _shared_skewness(point, sd) -> np.ndarray:
    """Skewness of x_S, (n_S,): third derivative of log p(y, x_S | theta) along the columns w of S over sd^3,

        sum_g { kappa_3(d'w) - 3 Cov(d'w, sum_r W_r (A_r w)^2) } + sum_r E[l'''_r] (A_r w)^3 .

    Zero where an observation has several predictors or the budget is exceeded.
    """
    integral, B = point.integral, point.approximation.blocks
    c = integral.conditional
    f = c.functions
    if f.gaussian or len(f.W_rows) > f.n_eta or B.n_S * f.n_eta * len(integral.p) > SKEWNESS_BUDGET:
        return np.zeros(B.n_S)
    AS = c.A_S @ point.S
    by_pair = sparse.csr_array((np.arange(B.n_m) * 0.0 + 1.0, (B.m_block, B.m_shared)), shape=(B.G, B.n_S))
    third = np.zeros(B.n_S)
    squares, cubes = AS**2, AS**3
    to_block = sparse.csr_array((np.ones(f.n_eta), (B.row_block, np.arange(f.n_eta))), shape=(B.G + 1, f.n_eta))
    for at, likelihood in point.adjoint.likelihoods():
        for p, W, deviation in zip(integral.p[at], likelihood.W, point.adjoint.deviation[at], strict=True):
            by_pair.data = deviation
            slope = by_pair @ point.S
            curvature = (to_block @ (W[:, None] * squares))[:-1]
            third += p[:-1] @ (slope**3 - 3.0 * slope * curvature)
        eta = c.predictors(point.adjoint.z, integral.u[at])
        bars = np.zeros((len(eta), f.n_obs)), np.zeros((len(eta), f.n_eta)), -integral.p[at][:, B.row_block]
        third += f.log_likelihood_vjp_many(eta, c.theta, *bars)[0].sum(axis=0) @ cubes
    return skew_normal.standardized(third, sd)
