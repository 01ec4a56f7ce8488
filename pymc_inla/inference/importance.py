"""Integration over three or more hyperparameters with quasi-random points.

Round 1 evaluates points of a split-normal mixture around the modes (a separate scale for each side of each axis, tails
of Student's t). The profiles of log p~(theta | y) along the axes and radial basis functions through what they leave at
all points give an emulator of it; each later round draws its points from the (tempered) density of the emulator and
evaluates the truth there, until both agree. The ratios true / emulator of the last round are importance weights: their
Pareto shape and effective size say how good the emulator is, and they weight the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp, stdtrit

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights, morton_key, normalize
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.profiles import axis_profiles, split_scales, sum_of_profiles
from pymc_inla.inference.theta_posterior import ThetaPosterior

CLOUD, FINE_CLOUD = 2**14, 2**16
"""Points that design points are chosen from, and that the marginals are read off: a 97.5 % quantile to 0.01 sd"""
DEGREES_OF_FREEDOM = 8.0
DESIGN_SEED = 20261123
"""The design is part of the deterministic answer: it does not depend on the seed of the draws."""
GOOD_EFFICIENCY = 0.995
REACH = 40.0
"""Log units below the mode, by the profiles, beyond which an emulator extrapolates and nothing is looked for"""
TEMPER = 0.75
"""Points are drawn from the density of the emulator to this power, so that the tails are covered too."""


@dataclass(frozen=True)
class SplitT:
    """Product of split Student's t densities in z, one component of the proposal."""

    center: np.ndarray
    down: np.ndarray
    up: np.ndarray

    def sample(self, u: np.ndarray) -> np.ndarray:
        """Uniforms (m, d) to points (m, d)."""
        share = self.down / (self.down + self.up)
        below = u < share
        p = np.where(below, 0.5 * u / share, 0.5 + 0.5 * (u - share) / (1 - share))
        t = stdtrit(DEGREES_OF_FREEDOM, np.clip(p, 1e-12, 1 - 1e-12))
        return self.center + t * np.where(below, self.down, self.up)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        nu = DEGREES_OF_FREEDOM
        scale = np.where(z < self.center, self.down, self.up)
        t = (z - self.center) / scale
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        log_t = constant - 0.5 * (nu + 1) * np.log1p(t**2 / nu)
        return np.sum(log_t - np.log(0.5 * (self.down + self.up)), axis=1)


@dataclass(frozen=True)
class Proposal:
    """Mixture of split t densities."""

    components: tuple[SplitT, ...]
    log_shares: np.ndarray

    def sample(self, m: int, d: int, seed: int) -> np.ndarray:
        from scipy.stats import qmc  # 0.4 s to import, and only needed with many hyperparameters

        u = qmc.Sobol(d + 1, scramble=True, rng=np.random.default_rng(seed)).random(m)
        which = np.searchsorted(np.cumsum(np.exp(self.log_shares)), u[:, d] * (1 - 1e-12))
        which = np.minimum(which, len(self.components) - 1)
        z = np.empty((m, d))
        for c, component in enumerate(self.components):
            z[which == c] = component.sample(u[which == c, :d])
        return z

    def log_density(self, z: np.ndarray) -> np.ndarray:
        parts = [c.log_density(z) + s for c, s in zip(self.components, self.log_shares, strict=True)]
        return logsumexp(np.array(parts), axis=0)


def integrate_importance(
    posterior: ThetaPosterior,
    modes: list[ThetaMode],
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    max_points: int,
) -> ThetaIntegral:
    """Integrate over theta by emulation and importance sampling.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    max_points : int
        Bound on the number of evaluations of the design.

    Raises
    ------
    ConvergenceError
        If the emulator has its mass where there is none.
    """
    mode = modes[0]
    d = len(mode.theta_star)
    profiles = axis_profiles(posterior, mode, lower, upper)
    proposal = _build_proposal(posterior, modes, profiles, lower, upper)

    def known_at(z: np.ndarray) -> np.ndarray:
        """The part of the log density that is not emulated"""
        return posterior.rough_at(mode.to_theta(z)) + sum_of_profiles(profiles, z)

    n_monomials = (d + 1) * (d + 2) // 2
    per_round = int(min(max(20 * d, 2 * n_monomials, 64), max_points // 2))
    per_round = 2 ** int(np.round(np.log2(per_round)))
    rounds = max(2, max_points // per_round)
    z_all, f_all, _ = _evaluate(posterior, mode, proposal.sample(per_round, d, DESIGN_SEED), lower, upper)

    def draw_cloud(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points of the proposal within reach, its log density there, and what is known of the target."""
        z = proposal.sample(m, d, DESIGN_SEED + 1)
        z = z[np.all((mode.to_theta(z) >= lower) & (mode.to_theta(z) <= upper), axis=1)]
        z = z[sum_of_profiles(profiles, z) > -REACH]
        return z, proposal.log_density(z), known_at(z)

    cloud, log_proposal, known = draw_cloud(CLOUD)
    z_scan, f_scan = _scanned(posterior, mode, z_all)
    z_all, f_all = np.vstack([z_all, z_scan]), np.concatenate([f_all, f_scan])

    def emulate():
        return _emulate(z_all, f_all, f_all - known_at(z_all), d)

    emulator, coefficients = emulate()
    for _ in range(1, rounds):
        log_target = emulator.predict(coefficients, cloud) + known
        _, log_sum = normalize(log_target - log_proposal)
        tempered, _ = normalize(TEMPER * log_target - log_proposal)
        chosen = _systematic(cloud, _capped(tempered, per_round), per_round)
        z_new, f_new, e_new = _evaluate(posterior, mode, cloud[chosen], lower, upper)
        predicted = emulator.predict(coefficients, z_new) + known_at(z_new)
        log_ratio = f_new - TEMPER * predicted
        efficiency = _efficiency((1 - TEMPER) * predicted, f_new - predicted)
        z_all, f_all = np.vstack([z_all, z_new]), np.concatenate([f_all, f_new])
        emulator, coefficients = emulate()
        if efficiency > GOOD_EFFICIENCY:
            break
    base, _ = normalize((1 - TEMPER) * predicted)
    ratio = np.exp(f_new - predicted)
    if not base @ ratio > 0:
        raise ConvergenceError(
            f"integration over the hyperparameters: where an emulator of their posterior from {len(f_all)} evaluations "
            "expects its mass there is none, as where the density of a scale of scales has no mode. Write "
            "hyperparameters whose priors depend on another one without it (mu + tau * z, z ~ Normal(0, 1)), or give "
            "that one a prior that keeps it away from zero."
        )
    smooth, k_hat = smooth_log_weights(log_ratio)
    log_jacobian = np.linalg.slogdet(mode.root)[1]
    # the integral of the emulator that the last points were drawn from, times the mean of truth / emulator under it
    log_ml = log_sum - np.log(CLOUD) + np.log(base @ ratio) + log_jacobian
    error = np.sqrt(np.sum((base * (ratio - base @ ratio)) ** 2)) / (base @ ratio)

    cloud, log_proposal, known = draw_cloud(FINE_CLOUD)
    log_target = emulator.predict(coefficients, cloud) + known
    cloud_weights, _ = normalize(log_target - log_proposal)
    cloud_error = np.sqrt(np.sum(cloud_weights**2))
    keep = cloud_weights > 1e-12
    offset = coefficients.copy()
    # The coefficient after those of the nodes belongs to the constant. The normalization is that of the emulator.
    offset[len(emulator.nodes)] -= float(logsumexp(log_target - log_proposal)) - np.log(FINE_CLOUD)

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        z = mode.to_z(np.atleast_2d(theta))
        return emulator.predict(offset, z) + known_at(z) - log_jacobian

    density = IntegratedDensity(
        mode.to_theta(cloud[keep]), cloud_weights[keep] / cloud_weights[keep].sum(), np.zeros((d, d)), log_density_at
    )
    mean, covariance = _cloud_summary(cloud, cloud_weights)
    # what the truth at the last points changed in the emulator that they were drawn from
    before, after = _cloud_summary(z_new, base), _cloud_summary(z_new, base * ratio / (base @ ratio))
    shift = np.max(np.abs(after[0] - before[0]) / np.sqrt(np.diag(covariance)))
    spread = np.max(np.abs(np.sqrt(np.diag(after[1]) / np.diag(before[1])) - 1))
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
        outer_change=float(max(shift, spread)),
        k_hat=k_hat,
        messages=messages,
    )


def _efficiency(log_base: np.ndarray, log_error: np.ndarray) -> float:
    """Relative effective sample size of weights exp(log_error) under a base weighting."""
    base = np.exp(log_base - logsumexp(log_base))
    a = np.exp(log_error - log_error.max())
    return float((base @ a) ** 2 / (base @ a**2))


def _scanned(posterior: ThetaPosterior, mode: ThetaMode, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is known from scans along the axes and the search of the mode, where it is not next to another point."""
    kept, values = list(z), []
    for e in posterior.known():
        point = mode.to_z(e.theta)
        if np.min(np.sum((np.array(kept) - point) ** 2, axis=1)) > 0.3**2:
            kept.append(point)
            values.append(e.log_posterior)
    return np.array(kept[len(z) :]).reshape(-1, z.shape[1]), np.array(values)


def _build_proposal(posterior, modes, profiles, lower, upper) -> Proposal:
    components, logs = [], []
    first = modes[0]
    for mode in modes:
        along = profiles if mode is first else axis_profiles(posterior, mode, lower, upper)
        down, up = split_scales(along)
        # In the coordinates of the first mode; a further mode is described by its sd along those axes.
        if mode is first:
            component = SplitT(np.zeros(len(down)), down, up)
        else:
            sd = np.sqrt(np.diag(np.linalg.solve(first.root, np.linalg.solve(first.root, mode.covariance).T)))
            component = SplitT(first.to_z(mode.theta_star), sd * down.max(), sd * up.max())
        components.append(component)
        logs.append(mode.log_posterior + np.sum(np.log(component.down + component.up)))
    log_shares = np.array(logs) - logsumexp(logs)
    # No mode gets less than a tenth of the points: the local volume is a guess.
    shares = np.maximum(np.exp(log_shares), 0.1)
    return Proposal(tuple(components), np.log(shares / shares.sum()))


def _evaluate(posterior, mode, z, lower, upper):
    """Values at the rows of z that have one, in the order of a space-filling curve."""
    z = z[np.argsort(morton_key(z), kind="stable")]
    theta = mode.to_theta(z)
    inside = np.all((theta >= lower) & (theta <= upper), axis=1)
    found = posterior.evaluate_all(theta[inside])
    finite = np.array([np.isfinite(e.log_posterior) for e in found], dtype=bool)
    return (
        z[inside][finite],
        np.array([e.log_posterior for e in found])[finite],
        [e for e, ok in zip(found, finite, strict=True) if ok],
    )


def _emulate(z: np.ndarray, f: np.ndarray, smooth: np.ndarray, d: int) -> tuple[Emulator, np.ndarray]:
    """Emulator of the smooth part of the values f within reach of their maximum; values far below it would only bend
    the polynomial."""
    near = f > f.max() - (25.0 + 2.0 * d)
    if near.sum() <= (d + 1) * (d + 2) // 2:
        near = np.argsort(-f)[: max((d + 1) * (d + 2) // 2 + 1, d + 2)]
    # Coincident points (a cloud point may be drawn twice) would make the system singular.
    points, index = np.unique(z[near], axis=0, return_index=True)
    emulator = Emulator.at(points, degree=1)
    return emulator, emulator.coefficients(smooth[near][index])


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
