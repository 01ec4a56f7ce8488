"""Integration over three or more hyperparameters with quasi-random points.

Round 1 evaluates points of a split-normal mixture around the modes (a separate scale for each side of each axis, tails
of Student's t). The profiles of log p~(theta | y) along the axes and radial basis functions through what they leave,
with its gradients, at all points give an emulator of it; each later round draws its points from the (tempered) density
of the emulator and evaluates the truth there, until the quantiles of the hyperparameters do not move. The ratios
true / emulator of the last round are importance weights: their Pareto shape and effective size say how good the
emulator is, and they weight the points. Moments of the latents are interpolated from these to many more.

The last emulator, which the marginals are read off with many more points than before, has not met the truth: where it
may have peaks of its own, it is confirmed at a few points, which mend it where it is wrong.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights, morton_key, normalize, weighted_quantiles
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.profiles import axis_profiles, sum_of_profiles
from pymc_inla.inference.proposal import CLOUD, DESIGN_SEED, build_proposal
from pymc_inla.inference.theta_design import ThetaDesign
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import QUANTILES

FINE_CLOUD = 2**16
"""Points that the marginals are read off: a 97.5 % quantile to 0.01 sd"""
FINE_DESIGN, FINE_WORK = (512, 2048), 2_000_000
"""Components of the finer mixture of latent marginals, at least and at most, to which conditional moments are
interpolated, and how many times latents there may be; 512 leave 0.03 sd in a quantile, 2048 some 0.02"""
SETTLED = 0.01
"""Change of a quantile of a hyperparameter by the last round, in sd, that ends the search for a better emulator: what
is left is a part of it"""
NONSENSE = 100.0
"""Logarithm of the mean of truth / emulator at points of the emulator, beyond which that has its mass where there is
none"""
CONFIRMING, CONFIRMED, MOST_CONFIRMING = 16, 0.2, 8
"""Points at which the last emulator is confirmed, their mean error in the log density that is small enough, and how
often the emulator is mended where it is not"""
ALIKE = 0.1
"""Difference of a quantile between a cloud and the fine one, in sd, that is noise of the former"""
REACH = 40.0
"""Log units below the mode, by the profiles, beyond which an emulator extrapolates and nothing is looked for"""


def integrate_importance(
    posterior: ThetaPosterior,
    modes: list[ThetaMode],
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    max_points: int,
    logs: np.ndarray | bool = False,
) -> ThetaIntegral:
    """Integrate over theta by emulation and importance sampling.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    max_points : int
        Bound on the number of evaluations of the design.
    logs : bool array (d,), optional
        Which elements of theta are logarithms of what is reported.

    Raises
    ------
    ConvergenceError
        If the emulator has its mass where there is none.
    """
    mode = modes[0]
    d = len(mode.theta_star)
    profiles = axis_profiles(posterior, mode, lower, upper)
    proposal = build_proposal(posterior, modes, profiles, lower, upper)
    # to this power the density of an emulator covers tails, and exp(-1/2) of the points count in any dimension
    temper = 1.0 - d**-0.5
    n_monomials = (d + 1) * (d + 2) // 2
    per_round = int(min(max(16 * d, 2 * n_monomials, 64), max_points // 2))
    per_round = 2 ** int(np.round(np.log2(per_round)))

    def draw_cloud(m: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of the proposal within reach, its log density there, and what is known of the target."""
        z = proposal.sample(m, d, DESIGN_SEED + seed)
        z = z[np.all((mode.to_theta(z) >= lower) & (mode.to_theta(z) <= upper), axis=1)]
        z = z[sum_of_profiles(profiles, z) > -REACH]
        return z, proposal.log_density(z), design.known_at(z)

    design = ThetaDesign(posterior, mode, profiles, lower, upper)
    design.add(proposal.sample(per_round, d, DESIGN_SEED))
    design.add_scanned()
    emulator, used = design.emulate(), per_round
    while True:
        # other points each time: chosen again, a point would only tell that its value is remembered
        cloud, log_proposal, known = draw_cloud(CLOUD, used)
        before = emulator(cloud) + known
        weights_before, log_sum = normalize(before - log_proposal)
        tempered, _ = normalize(temper * before - log_proposal)
        chosen = _systematic(cloud, _capped(tempered, per_round), per_round)
        z_new, f_new, e_new = design.add(cloud[chosen])
        predicted = emulator(z_new) + design.known_at(z_new)
        emulator = design.emulate()
        used += per_round
        after, _ = normalize(emulator(cloud) + known - log_proposal)
        theta = mode.to_theta(cloud)
        change = _changes_of_quantiles(np.where(logs, np.exp(theta), theta), weights_before, after)
        if change.max() < SETTLED or used + per_round > max(max_points, 2 * per_round):
            break
    base, _ = normalize((1 - temper) * predicted)
    off = f_new - predicted
    log_mean = float(logsumexp(off, b=base))
    if not abs(log_mean) < NONSENSE:
        raise ConvergenceError(
            f"integration over the hyperparameters: where an emulator of their posterior from {len(design.f)} "
            "evaluations expects its mass there is none, as where the density of a scale of scales has no mode. Write "
            "hyperparameters whose priors depend on another one without it (mu + tau * z, z ~ Normal(0, 1)), or give "
            "that one a prior that keeps it away from zero."
        )
    smooth, k_hat = smooth_log_weights(f_new - temper * predicted)
    log_jacobian = np.linalg.slogdet(mode.root)[1]
    # the integral of the emulator that the last points were drawn from, times the mean of truth / emulator under it
    log_ml = log_sum - np.log(CLOUD) + log_mean + log_jacobian
    error = np.sqrt(np.sum((base * (np.exp(off - log_mean) - 1.0)) ** 2))

    coarse = _quantiles(cloud, after)
    cloud, log_proposal, known = draw_cloud(FINE_CLOUD, 1)
    cloud_weights, log_total = normalize(emulator(cloud) + known - log_proposal)
    sure = change.max() < SETTLED and np.all(_changes(coarse, _quantiles(cloud, cloud_weights)) < ALIKE)
    off_by = 0.0
    for _ in range(0 if sure else MOST_CONFIRMING):
        chosen = _systematic(cloud, _capped(cloud_weights, CONFIRMING), CONFIRMING)
        z, f, _ = design.add(cloud[chosen])
        off_by = float(np.mean(np.abs(f - emulator(z) - design.known_at(z)))) if len(z) else NONSENSE
        if off_by < CONFIRMED:
            break
        emulator = design.emulate()
        cloud_weights, log_total = normalize(emulator(cloud) + known - log_proposal)
    cloud_error = np.sqrt(np.sum(cloud_weights**2))
    keep = cloud_weights > 1e-12
    # the normalization is that of the emulator
    log_total += log_jacobian - np.log(FINE_CLOUD)
    if not sure:
        # peaks of the emulator before are a part of the integral that was corrected
        log_ml, error = log_total, off_by

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        z = mode.to_z(np.atleast_2d(theta))
        return emulator(z) + design.known_at(z) - log_total

    density = IntegratedDensity(
        mode.to_theta(cloud[keep]), cloud_weights[keep] / cloud_weights[keep].sum(), np.zeros((d, d)), log_density_at
    )
    mean, covariance = _cloud_summary(cloud, cloud_weights)
    components = int(np.clip(FINE_WORK // max(len(e_new[0].x_star), 1), *FINE_DESIGN))
    fine = cloud[_systematic(cloud, cloud_weights, components)]
    weights = calibrate_weights(z_new, np.exp(smooth), mean, covariance)
    messages = ()
    efficiency = _efficiency((1 - temper) * predicted, off)
    if efficiency < 0.3:
        messages = (
            f"the emulator of the density of the hyperparameters explains it poorly (efficiency {efficiency:.2f}); "
            "marginals of the hyperparameters are approximate: check them with MCMC",
        )
    # tails that are long on one of the two scales make quantiles move there that do not matter on the other
    outer_change = float(np.minimum(change, _changes_of_quantiles(theta, weights_before, after)).max())
    return ThetaIntegral(
        method="importance",
        mode=mode,
        nodes=tuple(e_new),
        weights=weights,
        log_density=f_new - log_ml,
        density=density,
        log_marginal_likelihood=float(log_ml),
        log_marginal_likelihood_error=float(np.hypot(error, cloud_error)),
        outer_change=max(outer_change, off_by if off_by >= CONFIRMED else 0.0),
        fine_weights=np.full(len(fine), 1.0 / len(fine)),
        fine_matrix=_interpolation(z_new, fine),
        fine_slopes=np.zeros((0, len(fine), len(z_new))),
        k_hat=k_hat,
        messages=messages,
    )


def _efficiency(log_base: np.ndarray, log_error: np.ndarray) -> float:
    """Relative effective sample size of weights exp(log_error) under a base weighting."""
    base = np.exp(log_base - logsumexp(log_base))
    a = np.exp(log_error - log_error.max())
    return float((base @ a) ** 2 / (base @ a**2))


def _changes_of_quantiles(values: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Changes of the quantiles of the columns of values (m, d) from weights (m,) to others, (d, n), relative to a
    quarter of the central 95 %: an sd, where there is one."""
    return _changes(_quantiles(values, before), _quantiles(values, after))


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the columns of values (m, d), (d, n)"""
    return np.array([weighted_quantiles(column, weights, QUANTILES) for column in values.T])


def _changes(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """From quantiles to others, (d, n)"""
    spread = (new[:, -1:] - new[:, :1]) / 4.0
    return np.where(spread > 0, np.abs(new - old) / np.where(spread > 0, spread, 1.0), np.inf)


def _interpolation(nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(m, K): values at the nodes (K, d) to values at z (m, d)"""
    distinct, index = np.unique(nodes, axis=0, return_index=True)
    matrix = np.zeros((len(z), len(nodes)))
    matrix[:, index] = Emulator.at(distinct).matrix(z)
    return matrix


def _capped(weights: np.ndarray, m: int) -> np.ndarray:
    """Weights of which none is drawn more than once among m: where an emulator extrapolates to a few absurd heights,
    all of them are looked at in one round, and the rest of the points still go elsewhere."""
    for _ in range(20):
        weights = np.minimum(weights, 1.0 / m)
        weights = weights / weights.sum()
    return weights


def _systematic(cloud: np.ndarray, weights: np.ndarray, m: int) -> np.ndarray:
    order = np.argsort(morton_key(cloud), kind="stable")
    cumulative = np.cumsum(weights[order])
    return order[np.minimum(np.searchsorted(cumulative, (np.arange(m) + 0.5) / m), len(order) - 1)]


def _cloud_summary(cloud, weights) -> tuple[np.ndarray, np.ndarray]:
    mean = weights @ cloud
    return mean, ((cloud - mean) * weights[:, None]).T @ (cloud - mean)
