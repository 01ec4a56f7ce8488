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
from pymc_inla.inference.inner import LatentMoments, Moments
from pymc_inla.inference.local_conditional import Conditional
from pymc_inla.inference.local_posterior import PartIntegral
from pymc_inla.inference.local_shapes import MOST, local_shapes
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.inference.quadrature_adjoint import Adjoint, PartAdjoint
from pymc_inla.linalg.forms import bilinear_forms
from pymc_inla.linalg.matvec import multiply

SKEWNESS_BUDGET = 3e6
"""Shared latents times predictors times nodes up to which the skewness of x_S is computed"""


def latent_moments(point) -> LatentMoments:
    """Moments of p~(x_j | theta, y), each (n_x,)."""
    B, c, v = point.approximation.blocks, point.integral.conditional, point.shared.mean_shift
    mean, sd, skewness = (np.empty(B.n_S + B.local.size) for _ in range(3))
    mean[B.shared] = point.integral.x_S + v
    sd[B.shared], skewness[B.shared], S = point.shared.sd, point.shared.skewness, point.shared.covariance
    cumulants = map_in_order(lambda part: _local_cumulants(part, c, S, v), point.first_order.adjoint.parts)
    local_mean, variance, third = (np.concatenate(arrays) for arrays in zip(*cumulants, strict=True))
    # u = w + P x_S
    mean[B.local], sd[B.local] = local_mean + c.prior_mean(mean[B.shared]), np.sqrt(variance)
    skewness[B.local] = skew_normal.standardized(third, sd[B.local])
    shapes = {int(B.shared[j]): marginal for j, marginal in point.shared.marginals.items()}
    if point.approximation.wide and B.b < 3 and B.local.size <= MOST:
        ends = np.cumsum([adjoint.part.G for adjoint in point.first_order.adjoint.parts])
        parts = zip(point.integral.parts, np.split(variance, ends[:-1]), strict=True)
        tables = [of_block for part, total in parts for of_block in local_shapes(part, total - _own_variance(part))]
        shapes |= {int(B.local[g, c]): tables[g][c] for g in range(B.G) for c in range(B.b)}
    return LatentMoments(mean, sd, skewness, shapes)


def _own_variance(integral: PartIntegral) -> np.ndarray:
    """Var[u | x_S] of a part, (G, b)"""
    return np.einsum("kg,kgc->gc", integral.p[:, :-1], (integral.u - integral.mean) ** 2)


def _local_cumulants(adjoint: PartAdjoint, conditional: Conditional, S, v) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First three cumulants of the local latents u of a part, the first one of w, each (G, b)."""
    local, part = _LocalCumulants(adjoint, v), adjoint.part
    variance, third = np.empty(local.mean.shape), np.empty(local.mean.shape)
    for c in range(part.b):
        effect = local.B[:, c] + conditional.P[part.pairs, c]
        moved = part.multiply(S, effect)
        variance[:, c] = local.variance[:, c, c] + local.of_blocks(effect * moved)
        third[:, c] = local.third(c) + 3.0 * local.of_blocks(moved * local.T(c))
    return local.mean, variance, third


def predictor_moments(point, every: int = 1) -> Moments:
    """Moments of p~(eta_r | theta, y) for r = 0, every, 2 every, ...: eta = offset + A_S x_S + a'u."""
    v, S = point.shared.mean_shift, point.shared.covariance
    mean_S = point.integral.x_S + v

    def of_part(adjoint: PartAdjoint):
        rows = adjoint.part.rows
        picked = None if every == 1 else slice(-rows.start % every, rows.stop - rows.start, every)
        if S is point.first_order.covariance:
            of_shared = -2.0 * adjoint.W_bar[: rows.stop - rows.start]
        else:
            own = np.arange(rows.stop - rows.start)
            of_shared = bilinear_forms(adjoint.conditional.A_S, own, S, adjoint.conditional.A_S, own)
        return _predictor_moments(adjoint, mean_S, S, v, of_shared, picked)

    of_parts = map_in_order(of_part, point.first_order.adjoint.parts)
    return Moments(*(np.concatenate(arrays) for arrays in zip(*of_parts, strict=True)))


def _predictor_moments(adjoint: PartAdjoint, mean_S, S, v, of_shared, rows: slice | None):
    """Mean, sd and skewness of linear predictors of a part (None: of all), each (n,); of_shared is diag A_S S A_S'."""
    local, part, c = _LocalCumulants(adjoint, v), adjoint.part, adjoint.conditional
    of_row = part.row_block, c.a, c.offset, c.A_S, c.A_pairs, of_shared
    block, a, offset, A_S, A_pairs, of_shared = of_row if rows is None else (array[rows] for array in of_row)
    inside = np.minimum(block, part.G - 1)
    a = np.where((block < part.G)[:, None], a, 0.0)
    mean = offset + multiply(A_S, mean_S) + np.einsum("rc,rc->r", a, local.mean[inside])
    # a row moves with x_S directly, by A_r, and through the conditional means of its local latents, by a_r'B_g
    variance = np.einsum("rc,rcd,rd->r", a, local.variance[inside], a) + of_shared
    # all at once: most of the time goes into picking the entries of S
    moved = part.multiply(S, np.vstack([local.B.T, local.T(0)]) if part.b == 1 else local.B.T)
    for e in range(part.b):
        variance += 2.0 * a[:, e] * multiply(A_pairs, moved[e])
        for d in range(part.b):
            variance += a[:, e] * a[:, d] * local.of_blocks(local.B[:, d] * moved[e])[inside]
    third = np.zeros(len(mean))
    if part.b == 1:
        a, spread = a[:, 0], moved[1]
        along = multiply(A_pairs, spread) + a * local.of_blocks(local.B[:, 0] * spread)[inside]
        third = a**2 * (a * local.third(0)[inside] + 3.0 * along)
    sd = np.sqrt(np.maximum(variance, 0.0))
    return mean, sd, skew_normal.standardized(third, sd)


class _LocalCumulants:
    """Cumulants of the local latents w of a part and of pairs of them with the slopes d."""

    def __init__(self, adjoint: PartAdjoint, v):
        integral, self.part = adjoint.integral, adjoint.part
        self.p, self.slopes = integral.p[:, :-1], adjoint.deviation
        mean = integral.mean
        self.u = integral.u - mean
        self.B = integral.derivative_of_mean()
        self.variance = np.einsum("kg,kgc,kgd->gcd", self.p, self.u, self.u)
        shift = self.B * v[self.part.m_shared][:, None]
        moved = np.column_stack([self.of_blocks(column) for column in shift.T])
        self.mean = mean + moved + np.einsum("kg,kgc->gc", adjoint.rho_F, self.u)

    def of_blocks(self, values) -> np.ndarray:
        """Sums of values on the pairs, (n_m,), of every block, (G,)"""
        return np.bincount(self.part.m_block, values, self.part.G)

    def third(self, c) -> np.ndarray:
        """E[(u - E u)^3], (G,)"""
        u = self.u[:, :, c]
        return np.einsum("kg,kg->g", self.p, u * u * u)

    def T(self, c) -> np.ndarray:
        """dVar[u]/dx_S, (n_m,)"""
        return np.einsum("km,km->m", (self.p * self.u[:, :, c] ** 2)[:, self.part.m_block], self.slopes)


def shared_skewness(adjoint: Adjoint, S: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Skewness of x_S, (n_S,): third derivative of log p(y, x_S | theta) along the columns w of S over sd^3,

        sum_g { kappa_3(d'w) - 3 Cov(d'w, sum_r W_r (A_r w)^2) } + sum_r E[l'''_r] (A_r w)^3 .

    Zero where an observation has several predictors or the budget is exceeded.
    """
    f, n_S = adjoint.integral.conditional.functions, len(sd)
    if f.gaussian or len(f.W_rows) > f.n_eta or n_S * f.n_eta * adjoint.integral.n_nodes > SKEWNESS_BUDGET:
        return np.zeros(n_S)
    return skew_normal.standardized(sum(_third_of_shared(part, S) for part in adjoint.parts), sd)


def _third_of_shared(adjoint: PartAdjoint, S) -> np.ndarray:
    """What a part adds to the third derivative, (n_S,)"""
    integral, part, c = adjoint.integral, adjoint.part, adjoint.conditional
    f = c.functions
    AS = c.A_S @ S
    third = np.zeros(part.n_S)
    squares = AS**2
    rows = np.arange(f.n_eta)
    to_block = sparse.csr_array((rows, (part.row_block, rows)), shape=(part.G + 1, f.n_eta))
    for at, likelihood in adjoint.likelihoods():
        slope = _multiply_each(part.m_ptr, part.m_shared, adjoint.deviation[at], S)
        curvature = _multiply_each(to_block.indptr, to_block.indices, likelihood.W[:, to_block.data], squares)[:, :-1]
        slope *= slope * slope - 3.0 * curvature
        third += np.einsum("kg,kgs->s", integral.p[at][:, :-1], slope)
        eta = c.predictors(adjoint.z, integral.u[at])
        bars = np.zeros((len(eta), f.n_obs)), np.zeros((len(eta), f.n_eta)), -integral.p[at][:, part.row_block]
        third += f.log_likelihood_vjp_many(eta, c.theta, *bars)[0].sum(axis=0) @ (AS * squares)
    return third


def _multiply_each(ptr, columns, values, M) -> np.ndarray:
    """Products of sparse matrices of one pattern, whose values are the rows of (k, n), with M (m, s): (k, rows, s)"""
    ends = ptr[1:] + ptr[-1] * np.arange(len(values))[:, None]
    stacked = values.ravel(), np.tile(columns, len(values)), np.append(0, ends)
    return (sparse.csr_array(stacked, shape=(ends.size, len(M))) @ M).reshape(*ends.shape, M.shape[1])
