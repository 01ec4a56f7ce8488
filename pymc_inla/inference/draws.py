"""Joint draws of (theta, x), and their importance weights.

theta is drawn from the integrated density, not at its nodes. D centers, the k-means of the draws, get an inner
approximation of their own, and x is drawn from that of the nearest center. From there it follows theta to its own value
(see `follow`), unless the model is large.

Each draw carries log p(y, x, theta) and the log density it was drawn from, both as at its center but for the density of
theta: their ratio is that of the inner approximation, and whether x has followed theta is asked separately. The ratios
are Pareto-smoothed; when the shape k allows, the draws are resampled, and follow the target of the inner approximation
rather than the approximation.
Where few of them would be left, they are resampled from several times as many.
Where a pass over the data per draw would be too dear, the densities are NaN and nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pymc_inla.inference.density import IntegratedDensity, draw_theta, theta_quantiles
from pymc_inla.inference.follow import CLOSE, Portion, degree_of, distance_from, exact_draws, follow_theta, some_draws
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.theta_posterior import ThetaPosterior

FEW = 100
"""Draws that have no tail to take a shape of"""
GOOD_K, GOOD_EFFICIENCY, EVEN = 0.7, 0.5, 0.85
"""Pareto shape below which draws are resampled; efficiency above which more of them are not needed, and above which the
largest ratios do not matter, whatever their shape"""
NEARLY_EQUAL = 0.95
"""Efficiency above which the shape of the largest ratios says nothing: they hardly differ"""
LLOYD_STEPS = 20
FAR = 1 / 3
"""Share of centers that are there for draws far from all others, to which interpolation would not reach"""
KEPT_BYTES = 4e8
"""Size of the inner approximations at all centers up to which they are kept until draws have followed theta"""
FITS, MORE_CENTERS = 0.3, 3
"""Distance of linear predictors of draws from those at their own theta, in sd given theta, beyond which x is drawn
again with more centers, and how many times as many"""
MAX_DENSITY_WORK = 2e7
"""Draws times size of the model up to which the densities of the draws are computed."""
FOLLOWED = 10_000
"""Size of the model up to which draws follow theta however many they are, which takes no pass over the data per draw"""
MOST_TIMES = 10
"""As many draws per draw asked for are made where the weights leave few of them"""
SHAPE_WORK = 4e6
"""The same up to which as many are made to learn the shape of ratios that are even otherwise: it comes from a tail of a
hundred draws, is uncertain by 0.15, and decides the verdict of a model without hyperparameters"""
SAMPLED_AT_ONCE = 1_000_000
"""Elements of x drawn at once, beside the array that they go to: memory that is used again stays in the cache."""
MAX_COPY = 2e7
"""Elements of x up to which rows are taken by making a copy."""


@dataclass(frozen=True)
class Draws:
    """Joint posterior draws."""

    theta: np.ndarray
    """(S, d)"""
    x: np.ndarray
    """(S, n_x)"""
    log_p: np.ndarray
    """(S,)"""
    log_q: np.ndarray
    """(S,)"""
    k_hat: float
    """Pareto shape of the importance ratios, before resampling"""
    efficiency: float
    """Effective sample size of the weights over the number of draws; over that of the draws asked for, where several
    times as many were made because the weights leave few"""
    resampled: bool
    log_evidence: float
    """log of the mean importance ratio: log p(y) by importance sampling, of the draws before resampling"""
    log_evidence_error: float
    """Its Monte Carlo error; both are NaN where the ratios have no reliable mean"""
    weights: np.ndarray | None = None
    """(S,) importance weights, summing to one, of draws that were not resampled by them; None otherwise"""
    off: float = np.nan
    """Root mean square distance of linear predictors from those of draws at exactly their theta, in sd given theta,
    before resampling; NaN where it was not measured"""


def n_distinct(size: int, d: int, n_draws: int) -> int:
    """How many values of theta to evaluate for the draws, by the size of the model (latents + predictors)."""
    for limit, distinct in ((30_000, (50, 50, 100)[d] if d <= 2 else 200), (300_000, 24)):
        if size <= limit:
            return min(distinct, n_draws)
    return min(4, n_draws)


def draw_joint(
    posterior: ThetaPosterior, integral: ThetaIntegral, n_draws: int, seed: np.random.SeedSequence, *, size: int
) -> Draws:
    """Draw from the joint posterior.

    Parameters
    ----------
    n_draws : int
        S
    seed : numpy SeedSequence
    size : int
        n_x + n_eta, which decides how many values of theta are evaluated.
    """
    densities = n_draws * size <= MAX_DENSITY_WORK
    follows = densities or size <= FOLLOWED
    centers = n_distinct(size, integral.density.d, n_draws)
    drawn = _propose(posterior, integral, n_draws, seed, centers, densities=densities, follows=follows)
    if drawn.off > FITS:
        centers = min(MORE_CENTERS * centers, n_draws)
        drawn = _propose(posterior, integral, n_draws, seed, centers, densities=densities, follows=follows)
    if not densities:
        nothing = np.nan, np.nan, False, np.nan, np.nan
        return Draws(drawn.theta, drawn.x, drawn.log_p, drawn.log_q, *nothing, off=drawn.off)
    smooth, k_hat, efficiency = _weights(drawn.log_ratio)
    times, weighted = 1, k_hat < GOOD_K
    if weighted:
        times = min(np.ceil(GOOD_EFFICIENCY / efficiency), MOST_TIMES, MAX_DENSITY_WORK // (n_draws * size))
    elif integral.method == "none" and GOOD_EFFICIENCY < efficiency < NEARLY_EQUAL and n_draws >= FEW:
        times = min(MOST_TIMES, SHAPE_WORK // (n_draws * size))
    if times > 1:
        drawn = _propose(posterior, integral, int(times) * n_draws, seed, centers, densities=True, follows=True)
        smooth, k_hat, efficiency = _weights(drawn.log_ratio)
    n = len(smooth)
    evidence, evidence_error = np.nan, np.nan
    # the shape of the largest ratios says little about their mean where they hardly differ
    if k_hat < GOOD_K or efficiency > GOOD_EFFICIENCY:
        evidence = float(np.logaddexp.reduce(drawn.log_ratio[np.isfinite(drawn.log_ratio)]) - np.log(n))
        evidence_error = float(np.sqrt(max(1.0 / efficiency - 1.0, 0.0) / n))
    shapeless = n_draws < FEW and efficiency > GOOD_EFFICIENCY
    resampled = bool(k_hat < GOOD_K or efficiency > EVEN or shapeless)
    if resampled:
        rows = _systematic_rows(np.exp(smooth), n_draws, np.random.default_rng(seed.spawn(1)[0]))
        x, weights = _take_rows(drawn.x, rows), None
    else:
        rows = slice(n_draws)
        x, weights = drawn.x[rows], np.exp(smooth[rows])
        weights /= weights.sum()
    taken = drawn.theta[rows], x, drawn.log_p[rows], drawn.log_q[rows]
    if weighted:
        efficiency *= n / n_draws
    return Draws(*taken, k_hat, efficiency, resampled, evidence, evidence_error, weights, drawn.off)


@dataclass(frozen=True)
class _Proposal:
    """Draws of the approximation, in random order."""

    theta: np.ndarray
    x: np.ndarray
    log_p: np.ndarray
    log_q: np.ndarray
    log_ratio: np.ndarray
    off: float
    """Distance of a few linear predictors from those of draws at exactly their theta, see `follow`"""


def _weights(log_ratio: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Smoothed log weights that sum to one, the shape k, and the effective sample size over the number of draws."""
    if not np.any(np.isfinite(log_ratio)):
        return np.full(len(log_ratio), -np.log(len(log_ratio))), np.inf, 1.0 / len(log_ratio)
    smooth, k_hat = smooth_log_weights(np.where(np.isfinite(log_ratio), log_ratio, -np.inf))
    return smooth, k_hat, float(1.0 / (len(smooth) * np.sum(np.exp(2 * smooth))))


def _propose(
    posterior: ThetaPosterior,
    integral: ThetaIntegral,
    n_draws: int,
    seed: np.random.SeedSequence,
    n_centers: int,
    *,
    densities: bool,
    follows: bool,
) -> _Proposal:
    """Draws of theta from the integrated density, and of x by the centers nearest to them."""
    theta_seed, x_seed, order_seed, compare_seed = seed.spawn(4)
    rng, d = np.random.default_rng(theta_seed), integral.density.d
    centers = _centers(integral, n_centers, rng)
    moves, degree = len(centers) > 1, 0
    if moves:
        theta = draw_theta(integral.density, n_draws, rng)
        theta = theta if d <= 2 else _spread(theta, integral.density, rng)
        degree = degree_of(d, len(centers), n_draws, posterior.bytes_per_point) if follows else 0
        far = int(FAR * len(centers)) if degree else 0
        centers, owner = _k_means(theta, centers[far:], integral)
        if far:
            centers, owner = _with_farthest(theta, centers, far, integral)
    else:
        theta, owner = np.repeat(centers, n_draws, axis=0), np.zeros(n_draws, dtype=int)
    D = len(centers)
    # Rows are shuffled once, here, so that draws at the same theta are not neighbors.
    row = np.random.default_rng(order_seed).permutation(n_draws)
    theta_out, x = np.empty_like(theta), np.empty((n_draws, len(posterior(integral.mode.theta_star).x_star)))
    log_p, log_q, log_ratio = np.empty(n_draws), np.empty(n_draws), np.empty(n_draws)
    log_density, at_once = integral.density.log_density_at, max(1, SAMPLED_AT_ONCE // x.shape[1])
    theta_out[row] = theta
    kept: list = [None] * (D + 1)
    portions_at: list[list[Portion]] = [[] for _ in range(2 * D + 1)]

    def sample_at(point, k: int, mine: np.ndarray, center_seed: np.random.SeedSequence) -> list[Portion]:
        """Draw x at the center k into the rows of the draws that belong to it."""
        at_center = float(log_density(point.theta[None])[0])

        def sample_some(work) -> Portion:
            some, some_seed = work
            sample = point.sample(
                np.random.default_rng(some_seed), len(some), densities=densities, repeatable=degree > 0
            )
            target = row[some]
            x[target] = sample.x
            # both densities change from the center by that of theta
            moved = log_density(theta[some]) - at_center if moves else 0.0
            log_q[target] = sample.log_q + at_center + moved
            log_p[target] = sample.log_joint + moved
            log_ratio[target] = log_p[target] - log_q[target]
            return Portion(k, target, theta[some], some_seed, sample.scores)

        portions = [mine[start : start + at_once] for start in range(0, len(mine), at_once)]
        if not portions:
            return []
        first, *others = zip(portions, center_seed.spawn(len(portions)), strict=True)
        # the first one prepares what all draws at a center share
        return [sample_some(first), *map_in_order(sample_some, others)]

    def sample_own(k: int, point) -> None:
        portions_at[k] = sample_at(point, k, np.flatnonzero(owner == k), seeds[k])
        if degree and D * posterior.bytes_per_point <= KEPT_BYTES:
            kept[k] = point

    seeds = x_seed.spawn(2 * D + 1)
    found = posterior.each(sample_own, centers)
    usable = np.flatnonzero(np.append([np.isfinite(e.log_posterior) for e in found], True))
    # Draws of a center without an inner approximation go to the nearest one that has it.
    centers, lost = np.vstack([centers, integral.mode.theta_star]), np.flatnonzero(~np.isin(owner, usable))
    nearest = usable[_nearest(theta[lost], centers[usable], integral)] if len(lost) else lost
    for k in np.unique(nearest):
        portions_at[D + k] = sample_at(posterior.point(centers[k]), k, lost[nearest == k], seeds[D + k])
    portions = [portion for portions in portions_at for portion in portions]
    off = np.nan
    if degree:
        exact = exact_draws(some_draws(portions, np.random.default_rng(compare_seed)), posterior)
        off = distance_from(exact, x)
        if not off < CLOSE:
            follow_theta(x, portions, centers, kept, usable, posterior, integral, degree)
            off = distance_from(exact, x)
    return _Proposal(theta_out, x, log_p, log_q, log_ratio, off)


def _centers(integral: ThetaIntegral, D: int, rng) -> np.ndarray:
    if integral.method in ("eb", "none"):
        return integral.mode.theta_star[None, :]
    return draw_theta(integral.density, D, rng)


def _spread(theta: np.ndarray, density: IntegratedDensity, rng) -> np.ndarray:
    """Draws, moved along every axis to the quantiles of their ranks: the marginals are those of the integrated density,
    and their order along an axis, so that the dependence stays. Where modes lie apart, in each part: no draw is moved
    into the trough between them."""
    if density.parts:
        belongs, spread = density.part_of(theta), theta.copy()
        for k, part in enumerate(density.parts):
            spread[belongs == k] = _spread(theta[belongs == k], part, rng)
        return spread
    n = len(theta)
    probabilities = (np.arange(n) + 0.5) / n
    spread = np.empty_like(theta)
    for j, quantiles in enumerate(theta_quantiles(density, probabilities)):
        spread[np.lexsort((rng.random(n), theta[:, j])), j] = quantiles
    return spread


def _nearest(theta: np.ndarray, centers: np.ndarray, integral: ThetaIntegral) -> np.ndarray:
    return cKDTree(integral.mode.to_z(centers)).query(integral.mode.to_z(theta))[1]


def _k_means(theta: np.ndarray, centers: np.ndarray, integral: ThetaIntegral) -> tuple[np.ndarray, np.ndarray]:
    """Centers that are the means of the values nearest to them (Lloyd 1982), and the nearest of every value.

    A mean need not have any density, between the arms of a ridge for example. One that is less likely than every value
    that it stands for gives way to the value nearest to it.
    """
    owner = _nearest(theta, centers, integral)
    for _ in range(LLOYD_STEPS):
        count = np.bincount(owner, minlength=len(centers))
        sums = np.column_stack([np.bincount(owner, column, len(centers)) for column in theta.T])
        centers, before = sums[count > 0] / count[count > 0, None], owner
        owner = _nearest(theta, centers, integral)
        if np.array_equal(owner, before):
            break
    log_density, lowest = integral.density.log_density_at, np.full(len(centers), np.inf)
    np.minimum.at(lowest, owner, log_density(theta))
    unlikely = log_density(centers) < lowest
    centers[unlikely] = theta[_nearest(centers[unlikely], theta, integral)]
    return centers, owner


def _with_farthest(
    theta: np.ndarray, centers: np.ndarray, n: int, integral: ThetaIntegral
) -> tuple[np.ndarray, np.ndarray]:
    """Centers and, one after the other, n more: the value that is farthest from all; and the nearest of every value."""
    z = integral.mode.to_z(theta)
    distance = cKDTree(integral.mode.to_z(centers)).query(z)[0]
    for _ in range(n):
        far = int(np.argmax(distance))
        centers = np.vstack([centers, theta[far]])
        distance = np.minimum(distance, np.linalg.norm(z - z[far], axis=1))
    return centers, _nearest(theta, centers, integral)


def _systematic_rows(weights: np.ndarray, n: int, rng) -> np.ndarray:
    """Rows of a systematic resample, in random order."""
    cumulative = np.cumsum(weights)
    u = (np.arange(n) + rng.random()) / n * cumulative[-1]
    return rng.permutation(np.minimum(np.searchsorted(cumulative, u), len(weights) - 1))


def _take_rows(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x[index], by columns in place where a second copy would be large."""
    if x.size < MAX_COPY:
        return x[index]
    for start in range(0, x.shape[1], 1024):
        x[:, start : start + 1024] = x[index, start : start + 1024]
    return x
