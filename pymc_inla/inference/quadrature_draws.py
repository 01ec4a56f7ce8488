"""Draws of x given theta: x_S from its Gaussian approximation, x_L from its exact conditional posterior given x_S.

For single local latents the conditional log density is evaluated on equally spaced nodes (one posterior sd apart or
less), interpolated by a cubic spline and inverted. The trapezoidal sum over these nodes also gives the conditional
normalization log I_g(x_S) to many digits, so that

    log_q = log q(x_S) + sum_g [h_g(u_g) - log I_g(x_S)],      log_joint = log p(y, x, theta)

differ by exactly log p(y, x_S, theta) - log q(x_S): the importance ratio of (theta, x_S) alone, against a target in
which x_L is integrated out by a finer rule than the fit's.

Blocks of two or three are drawn by sampling importance resampling from a Gaussian with the conditional moments; the
mean of their importance weights estimates I_g.

Without densities (large models) the nodes of the fit are used as they are, shifted with the conditional mean: no pass
over the data per draw.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import linalg, sparse
from scipy.interpolate import CubicSpline

from pymc_inla.inference.inner import Sample

REACH = 7
"""Nodes from -7 to 7 posterior sd: the tails of a logistic likelihood are exponential on one side."""
SPACINGS = 1.0, 0.5, 0.25
"""Posterior sd between two nodes: the first that makes the sum over all blocks exact to `ENOUGH`. One is exact to 1e-8
for a Gaussian; too wide where a likelihood changes over much less than a posterior sd (binary data, large sigma)."""
ENOUGH = 2e-3
FINE = 8
"""Subintervals between two nodes on which the spline is exponentiated"""
BATCH = 1_000_000
"""Numbers held at once for a batch of draws"""
CANDIDATES = 40
"""Candidates per block of two or three"""
WIDER = 1.15
"""Scale of the Gaussian the candidates come from, so that their weights have a variance"""


@dataclass(frozen=True)
class Line:
    """Equally spaced nodes, in posterior sd, and the finer grid on which densities are inverted."""

    nodes: np.ndarray
    grid: np.ndarray
    spline: np.ndarray
    """(grid, nodes) interpolation matrix"""

    @property
    def spacing(self) -> float:
        return float(self.nodes[1] - self.nodes[0])


@cache
def line(spacing: float) -> Line:
    n = round(REACH / spacing)
    nodes, grid = spacing * np.arange(-n, n + 1), spacing / FINE * np.arange(-n * FINE, n * FINE + 1)
    return Line(nodes, grid, CubicSpline(nodes, np.eye(len(nodes)), axis=0)(grid))


def draw(point, rng: np.random.Generator, m: int, *, densities: bool = True) -> Sample:
    """m draws of x.

    Parameters
    ----------
    point : QuadraturePoint
    densities : bool
        Whether log_q and log_joint are computed; costs 2 REACH / spacing + 2 passes over the data per draw.
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
    if densities:
        local.prepare_exact()
    size = local.n_candidates * (blocks.G + point.approximation.functions.n_eta) if densities else blocks.G
    for part in np.array_split(np.arange(m), min(m, 1 + m * size // BATCH)):
        if densities:
            u, log_conditional, joint = local.exact(rng, x_S[part])
            log_q[part], log_joint[part] = log_q_S[part] + log_conditional, joint + point.log_prior_theta
        else:
            u = local.shifted(rng, x_S[part])
        x[np.ix_(part, blocks.shared)] = x_S[part]
        x[np.ix_(part, blocks.local.reshape(-1))] = (u + local.prior_mean(x_S[part])).reshape(len(part), -1)
    return Sample(x, log_q, log_joint)


class ConditionalDraws:
    """Conditional posteriors of the local latents, for many x_S (B, n_S) at one theta."""

    def __init__(self, point):
        self.integral = integral = point.integral
        self.conditional, self.blocks = integral.conditional, point.approximation.blocks
        self.mean = integral.mean
        p, u = integral.p[:, :-1], integral.u - self.mean
        self.root = np.linalg.cholesky(np.einsum("kg,kgc,kgd->gcd", p, u, u))
        self.sd = np.sqrt(np.einsum("gcd,gcd->gc", self.root, self.root))
        self.skewness = np.clip(np.einsum("kg,kgc->gc", p, u**3) / self.sd**3, -0.9, 0.9)
        B, f = self.blocks, point.approximation.functions
        self.drift = self._of_pairs(integral.derivative_of_mean())
        self.pull = self._of_pairs(self.conditional.P) if B.coupled else None
        inside = np.flatnonzero(B.obs_block < B.G)
        ones = np.ones(len(inside))
        self.sum_observations = sparse.csr_array((ones, (B.obs_block[inside], inside)), shape=(B.G, f.n_obs))
        self.n_candidates, self.line = CANDIDATES, None

    def prepare_exact(self) -> None:
        """The moments of single local latents at x_S* by a fine sum, and the nodes that draws need; once."""
        if self.blocks.b > 1 or self.line is not None:
            return
        x_S = self.integral.x_S[None]
        fine = line(SPACINGS[-1])
        for _ in range(2):
            _, weight = self._sum(x_S, fine)
            u = (self.mean[:, 0] + fine.nodes[:, None] * self.root[:, 0, 0])[:, None]
            mean = (weight * u).sum(0)
            self.root[:, 0, 0] = np.sqrt((weight * (u - mean) ** 2).sum(0))[0]
            self.mean = mean[0][:, None]
        exact, _ = self._sum(x_S, fine)
        for spacing in SPACINGS:
            self.line = line(spacing)
            self.n_candidates = len(self.line.nodes)
            if np.sum(np.abs(self._sum(x_S, self.line)[0] - exact)) < ENOUGH:
                return

    def _sum(self, x_S, nodes: Line) -> tuple[np.ndarray, np.ndarray]:
        """log I_g at one x_S, (1, G), and the weights of the nodes, (nodes, 1, G)."""
        sd = self.root[:, 0, 0]
        z = self._predictor_of_shared(x_S)
        heights, _ = self._heights(z, self.moved_mean(x_S) + nodes.nodes[:, None, None, None] * sd[:, None])
        top = heights.max(axis=0)
        weight = np.exp(heights - top)
        total = weight.sum(0)
        return top + np.log(total * sd * nodes.spacing), weight / total

    def _of_pairs(self, values) -> list[sparse.csr_array]:
        """Values on the pairs (g, s), (n_m, b), as a matrix (G, n_S) for each component."""
        B = self.blocks
        return [
            sparse.csr_array((values[:, c], (B.m_block, B.m_shared)), shape=(B.G, max(B.n_S, 1))) for c in range(B.b)
        ]

    def _times(self, matrices, x_S) -> np.ndarray:
        """(B, n_S) to (B, G, b)"""
        return np.stack([(M @ x_S.T).T for M in matrices], axis=-1)

    def moved_mean(self, x_S) -> np.ndarray:
        """E[u | x_S] to first order, (B, G, b)"""
        if self.blocks.n_S == 0:
            return np.broadcast_to(self.mean, (len(x_S), *self.mean.shape))
        return self.mean + self._times(self.drift, x_S - self.integral.x_S)

    def prior_mean(self, x_S) -> np.ndarray | float:
        """What u has to be moved by from the coordinates of the integral, (B, G, b)"""
        return 0.0 if self.pull is None else self._times(self.pull, x_S)

    def exact(self, rng, x_S):
        """u (B, G, b), log p(u | x_S, y, theta) (B,), log p(y, x | theta) (B,)."""
        c, B = self.conditional, self.blocks
        z = self._predictor_of_shared(x_S)
        center = self.moved_mean(x_S)
        draw_blocks = self._by_grid if B.b == 1 else self._by_resampling
        u, log_I = draw_blocks(rng, z, center)
        (height,), (value,) = self._heights(z, u[None])
        outside = value[:, B.obs_block == B.G].sum(axis=1)
        shared = c.prior.c + np.einsum("ms,ms->m", x_S, c.b_S - 0.5 * x_S @ c.Q_SS)
        return u, np.sum(height - log_I, axis=1), shared + outside + height.sum(axis=1)

    def _predictor_of_shared(self, x_S) -> np.ndarray:
        """eta without local latents, (B, n_eta)"""
        c = self.conditional
        return c.design.offset + (c.A_S @ x_S.T).T

    def _heights(self, z, candidates) -> tuple[np.ndarray, np.ndarray]:
        """Log joint of the blocks at several u (j, B, G, b): (j, B, G) and the log-likelihoods (j, B, n_obs)."""
        c, B = self.conditional, self.blocks
        values = self._log_likelihood(z, candidates)
        j, m = values.shape[:2]
        heights = (self.sum_observations @ values.reshape(j * m, -1).T).T.reshape(j, m, B.G)
        if B.b == 1:
            u = candidates[..., 0]
            heights += u * (c.b_L[:, 0] - 0.5 * c.Q_gg[:, 0, 0] * u)
        else:
            heights += np.einsum("jmgc,gc->jmg", candidates, c.b_L)
            heights -= 0.5 * np.einsum("jmgc,gcd,jmgd->jmg", candidates, c.Q_gg, candidates)
        return np.where(np.isnan(heights), -np.inf, heights), values

    def _log_likelihood(self, z, u) -> np.ndarray:
        """(j, B, n_obs) at z (B, n_eta) and u (j, B, G, b)"""
        c, B = self.conditional, self.blocks
        rows = np.flatnonzero(B.row_block < B.G)
        block = B.row_block[rows]
        eta = np.repeat(z[None], len(u), axis=0)
        for k in range(B.b):
            eta[:, :, rows] += c.a[rows, k] * u[:, :, block, k]
        with np.errstate(all="ignore"):
            values = c.functions.log_likelihood_values(eta.reshape(-1, eta.shape[-1]), c.theta)
        return values.reshape(*eta.shape[:2], -1)

    def _by_grid(self, rng, z, center):
        m, G = center.shape[:2]
        sd, nodes = self.root[:, 0, 0], self.line.nodes
        heights, _ = self._heights(z, center + nodes[:, None, None, None] * sd[:, None])
        top = heights.max(axis=0)
        relative = np.maximum(heights - top, -60.0)
        log_I = top + np.log(np.sum(np.exp(relative), axis=0) * sd * self.line.spacing)
        density = np.exp(self.line.spline @ relative.reshape(len(nodes), -1))
        u = center[..., 0] + sd * _invert(self.line, density, rng.random(m * G)).reshape(m, G)
        return u[..., None], log_I

    def _by_resampling(self, rng, z, center):
        m, G, b = center.shape
        log_root = np.sum(np.log(WIDER * np.diagonal(self.root, axis1=1, axis2=2)), axis=1)
        normal = rng.standard_normal((CANDIDATES, m, G, b))
        candidates = center + WIDER * np.einsum("gcd,jmgd->jmgc", self.root, normal)
        log_density = -0.5 * np.sum(normal**2, axis=-1) - 0.5 * b * np.log(2 * np.pi) - log_root
        heights = self._heights(z, candidates)[0] - log_density
        top = heights.max(axis=0)
        cumulative = np.cumsum(np.exp(heights - top), axis=0)
        chosen = np.sum(cumulative < rng.random((m, G)) * cumulative[-1], axis=0)
        picked = np.take_along_axis(candidates, chosen[None, :, :, None], axis=0)[0]
        return picked, top + np.log(cumulative[-1] / CANDIDATES)

    def shifted(self, rng, x_S) -> np.ndarray:
        """Draws from the posteriors at x_S*, shifted with the conditional mean: quadratic transform of a normal with
        the conditional sd and skewness."""
        normal = rng.standard_normal((len(x_S), *self.mean.shape))
        sd, skewness = self.sd, self.skewness
        # E = 0, variance = 1 and third cumulant = skewness to first order (Cornish & Fisher 1938)
        step = np.einsum("gcd,mgd->mgc", self.root, normal) / sd
        step = (step + skewness / 6.0 * (step**2 - 1.0)) / np.sqrt(1.0 + skewness**2 / 18.0)
        return self.moved_mean(x_S) + sd * step


def _invert(of: Line, density, uniform) -> np.ndarray:
    """Inverse of the distribution function of piecewise linear densities on the grid, (G,). density (grid, G).

    The interval between two nodes is found first, then the cell of the grid in it: only one interval of each density is
    summed up cell by cell.
    """
    G = density.shape[1]
    columns, n_intervals = np.arange(G), len(of.nodes) - 1
    # trapezoidal sums, in units of the step
    intervals = density[:-1].reshape(n_intervals, FINE, G).sum(axis=1) + 0.5 * (density[FINE::FINE] - density[:-1:FINE])
    cumulative = np.vstack([np.zeros(G), np.cumsum(intervals, axis=0)])
    target = uniform * cumulative[-1]
    interval = np.clip(np.sum(cumulative < target, axis=0) - 1, 0, n_intervals - 1)
    rest = target - cumulative[interval, columns]
    inside = density[FINE * interval + np.arange(FINE + 1)[:, None], columns]
    cumulative = np.vstack([np.zeros(G), np.cumsum(0.5 * (inside[1:] + inside[:-1]), axis=0)])
    cell = np.clip(np.sum(cumulative < rest, axis=0) - 1, 0, FINE - 1)
    rest = rest - cumulative[cell, columns]
    left, right = inside[cell, columns], inside[cell + 1, columns]
    root = np.sqrt(np.maximum(left**2 + 2.0 * (right - left) * rest, 0.0))
    share = np.clip(2.0 * rest / np.maximum(left + root, 1e-300), 0.0, 1.0)
    return of.grid[FINE * interval + cell] + share * (of.grid[1] - of.grid[0])
