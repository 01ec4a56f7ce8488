"""Draws of x given theta: x_S from `conditional_distribution`, x_L from its exact conditional posterior given x_S.

For single local latents the conditional log density is evaluated on equally spaced nodes (one posterior sd apart or
less), interpolated by a cubic spline and inverted; where the rule of the fit reaches far into the tails, on nodes that
do so too, equally spaced in s with t = sinh(beta s) up to a factor. The trapezoidal sum over these nodes also gives the
conditional normalization log I_g(x_S) to many digits, so that

    log_q = log q(x_S) + sum_g [h_g(u_g) - log I_g(x_S)],      log_joint = log p(y, x, theta)

differ by exactly log p(y, x_S, theta) - log q(x_S): the importance ratio of (theta, x_S) alone, against a target in
which x_L is integrated out by a finer rule than the fit's.

Blocks of two or three are drawn by sampling importance resampling from a Student t with the conditional moments, whose
tails are longer than a likelihood's; the mean of their importance weights estimates I_g.

Without densities (large models) the nodes of the fit are used as they are, shifted with the conditional mean: no pass
over the data per draw.
"""

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from pymc_inla.inference import skew_normal
from pymc_inla.inference.inner import Sample
from pymc_inla.inference.local_posterior import PartIntegral
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.inference.spline_inversion import Line, invert, line, running_sums, wide_line

NEGLIGIBLE = 1e-8
"""Share of a node in its sum, below which draws do without it, and without those beyond it"""
NESTED = (0.5, (2,)), (0.25, (3, 2, 1))
"""Posterior sd between two nodes, and steps that make wider lines of them: the first wider line whose sum over all
blocks is exact to `ENOUGH` is used. One sd is exact to 1e-8 for a Gaussian; too wide where a likelihood changes over
much less than a posterior sd (binary data, large sigma)."""
WIDE = ((1 / 256, (8, 4, 2, 1)),)
"""The same for nodes that reach as far as those of a wide rule, in units of s: 0.24 to 0.03 posterior sd at the mean"""
FARTHEST = 2
"""Draws of x_S at which nodes are chosen, too"""
ENOUGH = 0.01
"""Relative error of an importance weight by the errors of log I_g: their sum over all blocks, and the root of the sum
of their squares, which their sum has where their signs are random"""
DISTANCE = 0.003
"""Error of the distribution function of a block: a cubic spline rings where a log density falls off a wall"""
LOWEST = -60.0
"""Log density, relative to the highest node, below which it does not matter"""
BATCH = 400_000
"""Numbers held at once for a batch of draws: enough that NumPy is busier than Python, and a share of a cache"""
CANDIDATES = 40
"""Candidates per block of two or three"""
DEGREES, SCALE = 6, 0.95
"""Degrees of freedom of the Student t the candidates come from, and its scale in posterior sd. Variance of the weights,
for a Gaussian with 1.15 posterior sd and for these: 0.06 and 0.05 (a normal block of two), 0.12 and 0.09 (six binary
observations alike), infinite and 0.4 (mean and log sd of three observations)"""
LOG_T = {b: gammaln(0.5 * (DEGREES + b)) - gammaln(0.5 * DEGREES) - 0.5 * b * np.log(DEGREES * np.pi) for b in (2, 3)}
"""Log density of the Student t at its center, by dimension"""


def draw(point, rng: np.random.Generator, m: int, *, densities: bool = True, repeatable: bool = False) -> Sample:
    """m draws of x.

    Parameters
    ----------
    point : QuadraturePoint
    densities : bool
        Whether log_q and log_joint are computed, which costs a pass over the data per draw and node, and two more.
    repeatable : bool
        Whether scores are computed.
    """
    blocks, integral = point.approximation.blocks, point.integral
    x = np.empty((m, blocks.n_S + blocks.local.size))
    log_q, log_joint = np.full(m, np.nan), np.full(m, np.nan)
    scores = np.empty((m, blocks.G, blocks.b)) if repeatable else None
    deviation, log_q_S = point.shared.sample(rng, m)
    x_S = integral.x_S + deviation
    local = point.conditional_draws
    if densities or repeatable:
        local.prepare_exact(x_S)
    size = local.n_candidates * (blocks.G + point.approximation.functions.n_eta) if densities else blocks.G
    for part in np.array_split(np.arange(m), min(m, 1 + m * size // BATCH)):
        if densities:
            u, log_conditional, joint = local.exact(rng, x_S[part])
            log_q[part], log_joint[part] = log_q_S[part] + log_conditional, joint + point.log_prior_theta
        else:
            u = local.shifted(rng, x_S[part])
        if repeatable:
            scores[part] = local.scores(x_S[part], u)
        rows = x[part[0] : part[-1] + 1]
        rows[:, blocks.shared] = x_S[part]
        u += local.prior_mean(x_S[part])
        rows[:, blocks.place] = u.reshape(len(part), -1)
    return Sample(x, log_q, log_joint, scores)


def repeat(point, rng: np.random.Generator, m: int, scores: np.ndarray) -> np.ndarray:
    """Draws of x from the random numbers of a sample at another theta: of x_S from the same normals, of x_L as many
    conditional sds from their conditional means.

    Parameters
    ----------
    point : QuadraturePoint
    scores : (m, G, b) array
        Of the sample.
    """
    blocks, local = point.approximation.blocks, point.conditional_draws
    x_S = point.integral.x_S + point.shared.sample(rng, m)[0]
    local.prepare_exact(x_S)
    u = local.of_scores(x_S, scores)
    u += local.prior_mean(x_S)
    x = np.empty((m, blocks.n_S + blocks.local.size))
    x[:, blocks.shared] = x_S
    x[:, blocks.place] = u.reshape(m, -1)
    return x


class ConditionalDraws:
    """Conditional posteriors of the local latents, for many x_S (B, n_S) at one theta."""

    def __init__(self, point):
        self.integral = integral = point.integral
        self.conditional, self.blocks = integral.conditional, point.approximation.blocks
        moments = list(map_in_order(_central_moments, integral.parts))
        self.mean, covariance, third = (np.concatenate(arrays) for arrays in zip(*moments, strict=True))
        self.root = np.linalg.cholesky(covariance)
        self.sd = np.sqrt(np.einsum("gcd,gcd->gc", self.root, self.root))
        self.skewness = skew_normal.standardized(third, self.sd)
        B = self.blocks
        self.drift = self._of_pairs(integral.derivative_of_mean())
        self.pull = self._of_pairs(self.conditional.P) if B.coupled else None
        self.n_candidates, self.line = CANDIDATES, None
        self.make_line, self.nested = (wide_line, WIDE) if point.approximation.wide else (line, NESTED)
        self.sums = B.whole.sums

    def prepare_exact(self, draws) -> None:
        """The moments of single local latents at x_S* by a fine sum, and the nodes that draws of x_S need, also those
        that are farthest away, where means have left their tangents; once."""
        if self.blocks.b > 1 or self.line is not None:
            return
        sd = np.std(draws, axis=0)
        distance = np.abs(draws - self.integral.x_S) / np.where(sd > 0, sd, 1.0)
        farthest = np.argsort(-np.max(distance, axis=1, initial=0.0), kind="stable")[:FARTHEST]
        x_S = self.integral.x_S[None]
        first = self.make_line(self.nested[0][0])
        nodes = first.nodes
        for _ in range(3):
            weight = np.exp(self._relative(x_S, first)[:, 0])
            weight /= weight.sum(0)
            z = np.einsum("jg,j->g", weight, nodes)
            # a density between two nodes has no sd of its own
            wider = np.maximum(np.sqrt(np.sum(weight * (nodes[:, None] - z) ** 2, axis=0)), 0.5 * NESTED[0][0])
            self.mean[:, 0] += z * self.root[:, 0, 0]
            self.root[:, 0, 0] *= wider
            if np.all(np.abs(wider - 1.0) < 0.1):
                break
        x_S = np.concatenate([x_S, draws[farthest]])
        self.line = self._widest_line(x_S)
        self.n_candidates = len(self.line.nodes)

    def _widest_line(self, x_S) -> Line:
        """The nodes that make log I_g and the distribution functions exact enough at all x_S (B, n_S)."""
        for spacing, steps in self.nested:
            fine = self.make_line(spacing)
            heights = self._relative(x_S, fine)
            density = np.exp(heights)
            flat = heights.reshape(len(heights), -1), density.reshape(len(density), -1)
            exact = np.log(spacing * density.sum(0)), fine.distribution(*flat)
            for step in steps:
                first = len(fine.s) // 2 % step
                some = slice(first, None, step)
                used = fine.s[some]
                wide = self.make_line(step * spacing, used[0], used[-1])
                mass = step * spacing * density[some]
                with np.errstate(divide="ignore"):
                    error = np.log(mass.sum(0)) - exact[0]
                distance = wide.distribution(*(v[some] for v in flat)) - exact[1][first + step - 1 :: step]
                if (
                    max(np.max(np.abs(error.sum(1))), np.max(np.linalg.norm(error, axis=1))) < ENOUGH
                    and np.max(np.abs(distance)) < DISTANCE
                ):
                    used = used[np.max(mass / mass.sum(0), axis=(1, 2)) > NEGLIGIBLE]
                    return self.make_line(step * spacing, used[0], used[-1])
        return fine  # without finite heights

    def _relative(self, x_S, of: Line) -> np.ndarray:
        """Log joint density of the blocks at the nodes, relative to the highest: (J, B, G)"""
        at = self.moved_mean(x_S)[..., 0] + of.nodes[:, None, None] * self.root[:, 0, 0]
        heights, _ = self._heights(self._predictor_of_shared(x_S), at[None])
        heights += of.log_slope[:, None, None]
        heights -= heights.max(axis=0)
        return np.maximum(heights, LOWEST, out=heights)

    def _of_pairs(self, values) -> list[sparse.csr_array]:
        """Values on the pairs (g, s), (n_m, b), as a matrix (G, n_S) for each component."""
        B, whole = self.blocks, self.blocks.whole
        index, shape = (whole.m_block, whole.m_shared), (B.G, max(B.n_S, 1))
        return [sparse.csr_array((values[:, c], index), shape=shape) for c in range(B.b)]

    def _times(self, matrices, x_S) -> np.ndarray:
        """(B, n_S) to (B, G, b)"""
        return np.ascontiguousarray(np.stack([(M @ x_S.T).T for M in matrices], axis=-1))

    def moved_mean(self, x_S) -> np.ndarray:
        """E[u | x_S] to first order, (B, G, b)"""
        if self.blocks.n_S == 0:
            return np.broadcast_to(self.mean, (len(x_S), *self.mean.shape))
        return self.mean + self._times(self.drift, x_S - self.integral.x_S)

    def scores(self, x_S, u) -> np.ndarray:
        """How far u (B, G, b) is from its conditional means, in the root of its conditional covariance, (B, G, b)"""
        distance = u - self.moved_mean(x_S)
        for k in range(self.blocks.b):
            for other in range(k):
                distance[..., k] -= self.root[:, k, other] * distance[..., other]
            distance[..., k] /= self.root[:, k, k]
        return distance

    def of_scores(self, x_S, scores) -> np.ndarray:
        """u (B, G, b) that have these scores"""
        if self.blocks.b == 1:
            return self.moved_mean(x_S) + self.root[:, 0] * scores
        return self.moved_mean(x_S) + np.einsum("gcd,mgd->mgc", self.root, scores)

    def prior_mean(self, x_S) -> np.ndarray | float:
        """What u has to be moved by from the coordinates of the integral, (B, G, b)"""
        return 0.0 if self.pull is None else self._times(self.pull, x_S)

    def exact(self, rng, x_S):
        """u (B, G, b), log p(u | x_S, y, theta) (B,), log p(y, x | theta) (B,)."""
        c, B, whole = self.conditional, self.blocks, self.blocks.whole
        z = self._predictor_of_shared(x_S)
        center = self.moved_mean(x_S)
        draw_blocks = self._by_grid if B.b == 1 else self._by_resampling
        u, log_I = draw_blocks(rng, z, center)
        (height,), (value,) = self._heights(z, np.ascontiguousarray(np.moveaxis(u, -1, 0))[:, None])
        outside = value[:, whole.obs_block == whole.G].sum(axis=1)
        shared = c.prior.c + np.einsum("ms,ms->m", x_S, c.b_S - 0.5 * x_S @ c.Q_SS)
        return u, np.sum(height - log_I, axis=1), shared + outside + height.sum(axis=1)

    def _predictor_of_shared(self, x_S) -> np.ndarray:
        """eta without local latents, (B, n_eta)"""
        return np.ascontiguousarray(self.conditional.whole.of_shared(x_S))

    def _heights(self, z, u) -> tuple[np.ndarray, np.ndarray]:
        """Log joint of the blocks at several u (b, j, B, G): (j, B, G) and the log-likelihoods (j, B, n_obs)."""
        c = self.conditional
        values = self._log_likelihood(z, u)
        j, m = values.shape[:2]
        heights = np.zeros(u.shape[1:])
        for k, component in enumerate(u):
            slope = -0.5 * c.Q_gg[:, k, k] * component
            for other in range(k):
                slope -= c.Q_gg[:, k, other] * u[other]
            slope += c.b_L[:, k]
            slope *= component
            heights += slope
        self.sums.add_rows(self.blocks.whole.obs_block, values.reshape(j * m, -1), heights.reshape(j * m, -1))
        # the sum is NaN where a height is, and also where two are infinite
        if np.isnan(np.sum(heights)):
            heights[np.isnan(heights)] = -np.inf
        return heights, values

    def _log_likelihood(self, z, u) -> np.ndarray:
        """(j, B, n_obs) at z (B, n_eta) and u (b, j, B, G)"""
        c, B = self.conditional.whole, self.blocks
        # a is zero in rows of no block
        block = np.minimum(B.whole.row_block, B.G - 1)
        eta = z
        for component, a in zip(u, c.a.T, strict=True):
            of_rows = np.take(component, block, axis=-1, mode="clip")
            of_rows *= a
            of_rows += eta
            eta = of_rows
        with np.errstate(all="ignore"):
            values = c.functions.log_likelihood_values(eta.reshape(-1, eta.shape[-1]), c.theta)
        return values.reshape(*eta.shape[:2], -1)

    def _by_grid(self, rng, z, center):
        m, G = center.shape[:2]
        sd, nodes = self.root[:, 0, 0], self.line.nodes
        heights, _ = self._heights(z, (center[..., 0] + nodes[:, None, None] * sd)[None])
        heights += self.line.log_slope[:, None, None]
        top = heights.max(axis=0)
        heights -= top
        relative = np.maximum(heights, LOWEST, out=heights)
        density = np.exp(relative)
        log_I = top + np.log(np.sum(density, axis=0) * sd * self.line.spacing)
        relative, density = (values.reshape(len(nodes), -1) for values in (relative, density))
        at = invert(self.line, relative, density, rng.random(m * G)).reshape(m, G)
        return (center[..., 0] + sd * at)[..., None], log_I

    def _by_resampling(self, rng, z, center):
        m, G, b = center.shape
        log_root = np.sum(np.log(SCALE * np.diagonal(self.root, axis1=1, axis2=2)), axis=1)
        # components first: all that follows runs along rows
        step = np.ascontiguousarray(np.moveaxis(rng.standard_normal((CANDIDATES, m, G, b)), -1, 0))
        step *= np.sqrt(0.5 * DEGREES / rng.standard_gamma(0.5 * DEGREES, (CANDIDATES, m, G)))
        log_density = np.log1p(np.einsum("cjmg,cjmg->jmg", step, step) / DEGREES)
        log_density *= -0.5 * (DEGREES + b)
        log_density += LOG_T[b] - log_root
        candidates, root = np.empty(step.shape), SCALE * self.root
        for k, candidate in enumerate(candidates):
            np.multiply(root[:, k, k], step[k], out=candidate)
            for other in range(k):
                candidate += root[:, k, other] * step[other]
            candidate += center[..., k]
        heights, _ = self._heights(z, candidates)
        heights -= log_density
        top = heights.max(axis=0)
        heights -= top
        cumulative = running_sums(np.exp(heights, out=heights))
        chosen = np.sum(cumulative < rng.random((m, G)) * cumulative[-1], axis=0)
        picked = np.take_along_axis(candidates, chosen[None, None], axis=1)[:, 0]
        return np.moveaxis(picked, 0, -1), top + np.log(cumulative[-1] / CANDIDATES)

    def shifted(self, rng, x_S) -> np.ndarray:
        """Draws from the posteriors at x_S*, shifted with the conditional mean: quadratic transform of a normal with
        the conditional sd and skewness."""
        step = rng.standard_normal((len(x_S), *self.mean.shape))
        if self.blocks.b > 1:
            step = np.einsum("gcd,mgd->mgc", self.root, step) / self.sd
        return self.moved_mean(x_S) + self.sd * skew_normal.moved(step, self.skewness)


def _central_moments(part: PartIntegral) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (G, b), covariances (G, b, b) and third central moments (G, b) of the local latents of a part"""
    p, mean = part.p[:, :-1], part.mean
    u = part.u - mean
    return mean, np.einsum("kg,kgc,kgd->gcd", p, u, u), np.einsum("kg,kgc->gc", p, u * u * u)
