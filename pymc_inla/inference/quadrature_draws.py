"""Draws of x given theta: x_S from its Gaussian approximation, x_L from its exact conditional posterior given x_S.

For single local latents the conditional log density is evaluated on equally spaced nodes (one posterior sd apart),
interpolated by a cubic spline and inverted. The trapezoidal sum over these nodes also gives the conditional
normalization log I_g(x_S) to many digits, so that

    log_q = log q(x_S) + sum_g [h_g(u_g) - log I_g(x_S)],      log_joint = log p(y, x, theta)

differ by exactly log p(y, x_S, theta) - log q(x_S): the importance ratio of (theta, x_S) alone, against a target in
which x_L is integrated out by a finer rule than the fit's.

Blocks of two or three are drawn by sampling importance resampling from a Gaussian with the conditional moments; the
mean of their importance weights estimates I_g.

Without densities (large models) the nodes of the fit are used as they are, shifted with the conditional mean: no pass
over the data per draw.
"""

import numpy as np
from scipy import linalg
from scipy.interpolate import CubicSpline

from pymc_inla.inference.inner import Sample

REACH = 6
"""Nodes from -6 to 6 posterior sd: sums over equally spaced nodes one sd apart are exact to 1e-8 for a Gaussian."""
FINE = 8
"""Subintervals between two nodes on which the spline is exponentiated"""
CANDIDATES = 40
"""Candidates per block of two or three"""
WIDER = 1.15
"""Scale of the Gaussian the candidates come from, so that their weights have a variance"""

NODES = np.arange(-REACH, REACH + 1.0)
GRID = np.linspace(-REACH, REACH, 2 * REACH * FINE + 1)
SPLINE = CubicSpline(NODES, np.eye(len(NODES)), axis=0)(GRID)
"""(grid, nodes) interpolation matrix"""


def draw(point, rng: np.random.Generator, m: int, *, densities: bool = True) -> Sample:
    """m draws of x.

    Parameters
    ----------
    point : QuadraturePoint
    densities : bool
        Whether log_q and log_joint are computed; costs 2 REACH + 2 passes over the data per draw.
    """
    blocks, integral = point.approximation.blocks, point.integral
    x = np.empty((m, blocks.n_S + blocks.local.size))
    log_q, log_joint = np.full(m, np.nan), np.full(m, np.nan)
    normals = rng.standard_normal((m, blocks.Z.shape[1]))
    lower = point.factor[0]
    if len(lower):
        reduced = linalg.solve_triangular(lower, normals.T, lower=True, trans="T")
        deviation = (blocks.Z @ reduced).T
        log_scale = float(np.sum(np.log(np.diag(lower)))) - 0.5 * len(lower) * np.log(2 * np.pi)
    else:
        deviation, log_scale = np.zeros((m, blocks.n_S)), 0.0
    log_q_S = log_scale - 0.5 * np.sum(normals**2, axis=1)
    x_S = integral.x_S + point.adjoint.v + deviation
    local = point.conditional_draws
    for s in range(m):
        if densities:
            u, log_conditional, joint = local.exact(rng, x_S[s])
            log_q[s], log_joint[s] = log_q_S[s] + log_conditional, joint + point.log_prior_theta
        else:
            u = local.shifted(rng, x_S[s])
        x[s, blocks.shared], x[s, blocks.local] = x_S[s], u + integral.conditional.prior_mean(x_S[s])
    return Sample(x, log_q, log_joint)


class ConditionalDraws:
    """Conditional posteriors of the local latents, for many x_S at one theta."""

    def __init__(self, point):
        self.integral = integral = point.integral
        self.conditional, self.blocks = integral.conditional, point.approximation.blocks
        self.drift = integral.derivative_of_mean()
        self.mean = integral.mean
        p, u = integral.p[:, :-1], integral.u - self.mean
        self.root = np.linalg.cholesky(np.einsum("kg,kgc,kgd->gcd", p, u, u))
        self.sd = np.sqrt(np.einsum("gcd,gcd->gc", self.root, self.root))
        self.skewness = np.clip(np.einsum("kg,kgc->gc", p, u**3) / self.sd**3, -0.9, 0.9)

    def moved_mean(self, x_S) -> np.ndarray:
        """E[u | x_S] to first order, (G, b)"""
        B = self.blocks
        if B.n_S == 0:
            return self.mean
        move = self.drift * (x_S - self.integral.x_S)[B.m_shared][:, None]
        return self.mean + np.column_stack([np.bincount(B.m_block, move[:, c], B.G) for c in range(B.b)])

    def exact(self, rng, x_S):
        """u (G, b), log p(u | x_S, y, theta), log p(y, x | theta)."""
        c, B = self.conditional, self.blocks
        z = c.design.offset + c.A_S @ x_S
        center = self.moved_mean(x_S)

        def h(candidates):
            """Log joint of the blocks at several u at once: (j, G) and the log-likelihoods (j, n_obs)."""
            with np.errstate(all="ignore"):
                values = c.functions.log_likelihood_values(np.array([c.predictor(z, u) for u in candidates]), c.theta)
            heights = np.array([c.h(u, value) for u, value in zip(candidates, values, strict=True)])
            return np.where(np.isnan(heights), -np.inf, heights), values

        u, log_I = self._by_grid(rng, center, h) if B.b == 1 else self._by_resampling(rng, center, h)
        (height,), (value,) = h(u[None])
        outside = float(np.sum(value[B.obs_block == B.G]))
        shared = c.prior.c + float(x_S @ (c.b_S - 0.5 * (c.Q_SS @ x_S)))
        return u, float(np.sum(height - log_I)), shared + outside + float(np.sum(height))

    def _by_grid(self, rng, center, h):
        sd = self.root[:, 0, 0]
        heights, _ = h(center + NODES[:, None, None] * sd[:, None])
        top = heights.max(axis=0)
        relative = np.maximum(heights - top, -60.0)
        log_I = top + np.log(np.sum(np.exp(relative), axis=0) * sd)
        u = center[:, 0] + sd * _invert(np.exp(SPLINE @ relative), rng.random(len(sd)))
        return u[:, None], log_I

    def _by_resampling(self, rng, center, h):
        G, b = center.shape
        log_density, candidates = np.empty((CANDIDATES, G)), np.empty((CANDIDATES, G, b))
        log_root = np.sum(np.log(WIDER * np.diagonal(self.root, axis1=1, axis2=2)), axis=1)
        for j in range(CANDIDATES):
            normal = rng.standard_normal((G, b))
            candidates[j] = center + WIDER * np.einsum("gcd,gd->gc", self.root, normal)
            log_density[j] = -0.5 * np.sum(normal**2, axis=1) - 0.5 * b * np.log(2 * np.pi) - log_root
        heights = h(candidates)[0] - log_density
        top = heights.max(axis=0)
        cumulative = np.cumsum(np.exp(heights - top), axis=0)
        chosen = np.sum(cumulative < rng.random(G) * cumulative[-1], axis=0)
        return candidates[chosen, np.arange(G)], top + np.log(cumulative[-1] / CANDIDATES)

    def shifted(self, rng, x_S) -> np.ndarray:
        """Draws from the posteriors at x_S*, shifted with the conditional mean: quadratic transform of a normal with
        the conditional sd and skewness."""
        normal = rng.standard_normal(self.mean.shape)
        sd, skewness = self.sd, self.skewness
        # E = 0, variance = 1 and third cumulant = skewness to first order (Cornish & Fisher 1938)
        step = np.einsum("gcd,gd->gc", self.root, normal) / sd
        step = (step + skewness / 6.0 * (step**2 - 1.0)) / np.sqrt(1.0 + skewness**2 / 18.0)
        return self.moved_mean(x_S) + sd * step


def _invert(density, uniform) -> np.ndarray:
    """Inverse of the distribution function of piecewise linear densities on GRID, (G,). density (grid, G).

    The interval between two nodes is found first, then the cell of the grid in it: only one interval of each density is
    summed up cell by cell.
    """
    G = density.shape[1]
    columns = np.arange(G)
    # trapezoidal sums, in units of the step
    intervals = density[:-1].reshape(2 * REACH, FINE, G).sum(axis=1) + 0.5 * (density[FINE::FINE] - density[:-1:FINE])
    cumulative = np.vstack([np.zeros(G), np.cumsum(intervals, axis=0)])
    target = uniform * cumulative[-1]
    interval = np.clip(np.sum(cumulative < target, axis=0) - 1, 0, 2 * REACH - 1)
    rest = target - cumulative[interval, columns]
    inside = density[FINE * interval + np.arange(FINE + 1)[:, None], columns]
    cumulative = np.vstack([np.zeros(G), np.cumsum(0.5 * (inside[1:] + inside[:-1]), axis=0)])
    cell = np.clip(np.sum(cumulative < rest, axis=0) - 1, 0, FINE - 1)
    rest = rest - cumulative[cell, columns]
    left, right = inside[cell, columns], inside[cell + 1, columns]
    root = np.sqrt(np.maximum(left**2 + 2.0 * (right - left) * rest, 0.0))
    share = np.clip(2.0 * rest / np.maximum(left + root, 1e-300), 0.0, 1.0)
    return GRID[FINE * interval + cell] + share * (GRID[1] - GRID[0])
