"""Integration over three or more hyperparameters with quasi-random points.

Round 1 evaluates points of a split-normal mixture around the modes (a separate scale for each side of each axis, tails
of Student's t). The profiles of log p~(theta | y) along the axes and radial basis functions through what they leave,
with its gradients, at all points give an emulator of it; each later round draws its points from the (tempered) density
of the emulator and evaluates the truth there, until the quantiles of the hyperparameters do not move. The proposal of
the points that these are chosen from follows the emulator. The ratios true / emulator of the last round are importance
weights: their Pareto shape and effective size say how good the emulator is, and they weight the points. Moments of the
latents are interpolated from these to many more.

An emulator that did not settle is confirmed at a few points of its own, which mend it where it is wrong. The error that
is left is what quantiles differ between two emulators, one stiffer than the other, which both go through everything
that was evaluated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.cloud import Cloud
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights, capped, normalize, systematic
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.profiles import axis_profiles, sum_of_profiles
from pymc_inla.inference.proposal import CLOUD, DESIGN_SEED, DefensiveMixture, Proposal, build_proposal
from pymc_inla.inference.theta_design import ThetaDesign
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior
from pymc_inla.theta_space import ThetaSpace

FINE_CLOUD = 2**16
"""Points that the marginals are read off: a 97.5 % quantile to 0.02 sd; four times as many where emulators are cheap"""
CHEAP = 5
"""Hyperparameters up to which they are"""
FINE_DESIGN, FINE_WORK = (512, 2048), 2_000_000
"""Components of the finer mixture of latent marginals, at least and at most, to which conditional moments are
interpolated, and how many times latents there may be; 512 leave 0.03 sd in a quantile, 2048 some 0.02"""
SETTLED = 0.01
"""Change of a quantile of a hyperparameter by the last round, in sd, that ends the search for a better emulator: what
is left is a part of it"""
NONSENSE = 100.0
"""Logarithm of the mean of truth / emulator at points of the emulator, beyond which that has its mass where there is
none"""
CONFIRMING, MOST_CONFIRMING = 32, 6
"""Points at which an emulator that did not settle is confirmed, and how often it is mended where it is not"""
CONFIRMED, NEAR = 0.02, 0.3
"""Change of a quantile by these points, in sd, and their mean error in the log density that are small enough"""
SCARCE = 0.05
"""Relative effective size of a cloud below which a few points carry it, and what it says of an emulator is little"""
FITTING = 0.5
"""Relative effective size of a cloud above which its proposal stays: kernels around points are not as regular as
quasi-random points of the first one, which suits densities that are nearly products"""
REACH = 40.0
"""Log units below the mode, by the profiles, beyond which an emulator extrapolates and nothing is looked for"""


def integrate_importance(
    posterior: ThetaPosterior,
    modes: list[ThetaMode],
    space: ThetaSpace,
    *,
    max_points: int,
    region: Callable[[np.ndarray], bool] | None = None,
) -> ThetaIntegral:
    """Integrate over theta by emulation and importance sampling.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    max_points : int
        Bound on the number of evaluations of the design, beside those that confirm it.
    region : callable, optional
        From theta (d,) to whether the emulator may go through what the search of modes evaluated there.

    Raises
    ------
    ConvergenceError
        If the emulator has its mass where there is none.
    """
    mode = modes[0]
    d, lower, upper = len(mode.theta_star), space.lower, space.upper
    profiles = axis_profiles(posterior, mode, lower, upper)
    first = build_proposal(posterior, modes, profiles, lower, upper)
    # to this power the density of an emulator covers tails, and exp(-1/2) of the points count in any dimension
    temper = 1.0 - d**-0.5
    n_monomials = (d + 1) * (d + 2) // 2
    per_round = int(min(max(16 * d, 2 * n_monomials, 64), max_points // 2))
    per_round = 2 ** int(np.round(np.log2(per_round)))

    def draw_cloud(proposal: Proposal | DefensiveMixture, m: int, seed: int) -> Cloud:
        """Points of a proposal within reach."""
        z = proposal.sample(m, d, DESIGN_SEED + seed)
        theta, profile = mode.to_theta(z), sum_of_profiles(profiles, z)
        kept = space.contains(theta) & (profile > -REACH)
        z, theta = z[kept], theta[kept]
        return Cloud(z, theta, proposal.log_density(z), posterior.rough_at(theta) + profile[kept], m)

    def look_at(
        cloud: Cloud, weights: np.ndarray, m: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Evaluation]]:
        """Evaluate at m points of a cloud: where, what the emulator said, what is true, and all of that."""
        z, f, found = design.add(cloud.z[systematic(cloud.z, capped(weights, m), m)])
        return z, emulator(z, design.known_at(z)), f, found

    def follow(
        before: Proposal | DefensiveMixture, cloud: Cloud, log_target: np.ndarray
    ) -> Proposal | DefensiveMixture:
        if cloud.efficiency(log_target) > FITTING:
            return before
        return DefensiveMixture.around(first, cloud.z, cloud.weights(temper * log_target)[0])

    design = ThetaDesign(posterior, mode, profiles, lower, upper)
    design.add(first.sample(per_round, d, DESIGN_SEED))
    design.add_scanned(region)
    emulator, used, proposal = design.emulate(), per_round, first
    while True:
        # other points each time: chosen again, a point would only tell that its value is remembered
        cloud = draw_cloud(proposal, CLOUD, used)
        before = emulator(cloud.z, cloud.known)
        z_new, predicted, f_new, e_new = look_at(cloud, cloud.weights(temper * before)[0], per_round)
        emulator = design.emulate()
        used += per_round
        after = emulator(cloud.z, cloud.known)
        proposal = follow(proposal, cloud, after)
        settled = cloud.changes(before, after, space)[0] < SETTLED and cloud.efficiency(after) > SCARCE
        if settled or used + per_round > max(max_points, 2 * per_round):
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
    log_ml = cloud.weights(before)[1] + log_mean + log_jacobian
    error = np.sqrt(np.sum((base * (np.exp(off - log_mean) - 1.0)) ** 2))
    efficiency = _efficiency((1 - temper) * predicted, off)

    for k in range(MOST_CONFIRMING):
        cloud = draw_cloud(proposal, FINE_CLOUD * (4 if d <= CHEAP else 1), 1 + MOST_CONFIRMING * used + k)
        log_target = emulator(cloud.z, cloud.known)
        if settled and cloud.efficiency(log_target) > SCARCE:
            break
        _, expected, f, _ = look_at(cloud, cloud.weights(log_target)[0], CONFIRMING)
        emulator = design.emulate()
        before, log_target = log_target, emulator(cloud.z, cloud.known)
        proposal = follow(proposal, cloud, log_target)
        # peaks of an emulator are a part of the integral that was corrected
        log_ml, error = cloud.weights(log_target)[1] + log_jacobian, float(np.mean(np.abs(f - expected)))
        efficiency = _efficiency(np.zeros(len(f)), f - expected)
        settled = cloud.changes(before, log_target, space)[1] < CONFIRMED and error < NEAR
        if settled and cloud.efficiency(log_target) > SCARCE:
            break
    # between the emulators that both go through all that is known there is what nobody knows
    _, outer_change = cloud.changes(design.emulate(stiff=False)(cloud.z, cloud.known), log_target, space)
    cloud_weights, log_total = cloud.weights(log_target)
    # the normalization is that of the emulator
    log_total += log_jacobian
    cloud_error = np.sqrt(np.sum(cloud_weights**2))
    keep = cloud_weights > 1e-12

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        z = mode.to_z(np.atleast_2d(theta))
        return emulator(z, design.known_at(z)) - log_total

    density = IntegratedDensity(
        cloud.theta[keep], cloud_weights[keep] / cloud_weights[keep].sum(), np.zeros((d, d)), log_density_at
    )
    mean, covariance = _cloud_summary(cloud.z, cloud_weights)
    components = int(np.clip(FINE_WORK // max(len(e_new[0].x_star), 1), *FINE_DESIGN))
    fine = cloud.z[systematic(cloud.z, cloud_weights, components)]
    weights = calibrate_weights(z_new, np.exp(smooth), mean, covariance)
    messages = ()
    if efficiency < 0.3:
        messages = (
            f"the emulator of the density of the hyperparameters explains it poorly (efficiency {efficiency:.2f}); "
            "marginals of the hyperparameters are approximate: check them with MCMC",
        )
    return ThetaIntegral(
        method="importance",
        mode=mode,
        nodes=tuple(e_new),
        weights=weights,
        log_density=f_new - log_ml,
        density=density,
        log_marginal_likelihood=float(log_ml),
        log_marginal_likelihood_error=float(np.hypot(error, cloud_error)),
        outer_change=outer_change,
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


def _interpolation(nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(m, K): values at the nodes (K, d) to values at z (m, d)"""
    distinct, index = np.unique(nodes, axis=0, return_index=True)
    matrix = np.zeros((len(z), len(nodes)))
    matrix[:, index] = Emulator.at(distinct).matrix(z)
    return matrix


def _cloud_summary(cloud, weights) -> tuple[np.ndarray, np.ndarray]:
    mean = weights @ cloud
    return mean, ((cloud - mean) * weights[:, None]).T @ (cloud - mean)
