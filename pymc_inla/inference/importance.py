"""Integration over three or more hyperparameters with quasi-random points.

Round 1 evaluates points of a split-normal mixture around the modes (a separate scale for each side of each axis, tails
of Student's t). The profiles of log p~(theta | y) along the axes and radial basis functions through what they leave,
with its gradients, at all points give an emulator of it; each later round draws its points from the (tempered) density
of the emulator and evaluates the truth there, until the quantiles of the hyperparameters do not move. The ratios
true / emulator of the last round are importance weights: their Pareto shape and effective size say how good the
emulator is, and they weight the points. Moments of the latents are interpolated from these to many more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp, stdtrit

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights, morton_key, normalize
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hermite import HermiteEmulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.profiles import (
    DIFFERENCE_STEP,
    Profile,
    axis_profiles,
    slopes_of_profiles,
    split_scales,
    sum_of_profiles,
)
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior

CLOUD, FINE_CLOUD = 2**14, 2**16
"""Points that design points are chosen from, and that the marginals are read off: a 97.5 % quantile to 0.01 sd"""
FINE_DESIGN = 512
"""Components of the finer mixture of latent marginals: conditional moments are interpolated to them"""
DEGREES_OF_FREEDOM = 8.0
DESIGN_SEED = 20261123
"""The design is part of the deterministic answer: it does not depend on the seed of the draws."""
SETTLED = 0.01
"""Change of a quantile of a hyperparameter by the last round, in sd, that ends the search for a better emulator: what
is left is a part of it"""
NONSENSE = 100.0
"""Logarithm of the mean of truth / emulator at points of the emulator, beyond which that has its mass where there is
none"""
PROBABILITIES = 0.025, 0.25, 0.5, 0.75, 0.975
WITH_GRADIENTS = 11
"""Hyperparameters up to which an emulator goes through gradients, too"""
MOST_DATA = 2200
"""Values and derivatives that it goes through, but for values alone beyond them: a system of so many equations takes
half a second"""
REACH = 40.0
"""Log units below the mode, by the profiles, beyond which an emulator extrapolates and nothing is looked for"""


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
    proposal = _build_proposal(posterior, modes, profiles, lower, upper)
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

    design = _Design(posterior, mode, profiles, lower, upper, gradients=d <= WITH_GRADIENTS)
    design.add(proposal.sample(per_round, d, DESIGN_SEED))
    design.add_scanned()
    emulator, used = design.emulate(), per_round
    while True:
        # other points each time: chosen again, a point would only tell that its value is remembered
        cloud, log_proposal, known = draw_cloud(CLOUD, used)
        before = emulator(cloud) + known
        cloud_weights, log_sum = normalize(before - log_proposal)
        tempered, _ = normalize(temper * before - log_proposal)
        chosen = _systematic(cloud, _capped(tempered, per_round), per_round)
        z_new, f_new, e_new = design.add(cloud[chosen])
        predicted = emulator(z_new) + design.known_at(z_new)
        log_ratio = f_new - temper * predicted
        efficiency = _efficiency((1 - temper) * predicted, f_new - predicted)
        emulator = design.emulate()
        used += per_round
        after, _ = normalize(emulator(cloud) + known - log_proposal)
        theta = mode.to_theta(cloud)
        change = _change_of_quantiles(np.where(logs, np.exp(theta), theta), cloud_weights, after)
        if change < SETTLED or used + per_round > max(max_points, 2 * per_round):
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
    smooth, k_hat = smooth_log_weights(log_ratio)
    log_jacobian = np.linalg.slogdet(mode.root)[1]
    # the integral of the emulator that the last points were drawn from, times the mean of truth / emulator under it
    log_ml = log_sum - np.log(CLOUD) + log_mean + log_jacobian
    error = np.sqrt(np.sum((base * (np.exp(off - log_mean) - 1.0)) ** 2))

    cloud, log_proposal, known = draw_cloud(FINE_CLOUD, 1)
    log_target = emulator(cloud) + known
    cloud_weights, log_total = normalize(log_target - log_proposal)
    cloud_error = np.sqrt(np.sum(cloud_weights**2))
    keep = cloud_weights > 1e-12
    # the normalization is that of the emulator
    log_total += log_jacobian - np.log(FINE_CLOUD)

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        z = mode.to_z(np.atleast_2d(theta))
        return emulator(z) + design.known_at(z) - log_total

    density = IntegratedDensity(
        mode.to_theta(cloud[keep]), cloud_weights[keep] / cloud_weights[keep].sum(), np.zeros((d, d)), log_density_at
    )
    mean, covariance = _cloud_summary(cloud, cloud_weights)
    fine = cloud[_systematic(cloud, cloud_weights, FINE_DESIGN)]
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
        outer_change=change,
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


def _change_of_quantiles(values: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    """The largest change of a quantile of a column of values (m, d) from weights (m,) to others, relative to a quarter
    of the central 95 %: an sd, where there is one."""
    largest = 0.0
    for column in values.T:
        order = np.argsort(column)
        old, new = (
            np.interp(PROBABILITIES, np.cumsum(weights[order]) - 0.5 * weights[order], column[order])
            for weights in (before, after)
        )
        spread = (new[-1] - new[0]) / 4.0
        largest = max(largest, float(np.max(np.abs(new - old)) / spread) if spread > 0 else np.inf)
    return largest


def _interpolation(nodes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(m, K): values at the nodes (K, d) to values at z (m, d)"""
    distinct, index = np.unique(nodes, axis=0, return_index=True)
    matrix = np.zeros((len(z), len(nodes)))
    matrix[:, index] = Emulator.at(distinct).matrix(z)
    return matrix


def _by_values(z: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    emulator = Emulator.at(z, degree=1)
    coefficients = emulator.coefficients(values)
    return lambda at: emulator.predict(coefficients, at)


class _Design:
    """Evaluations of log p~(theta | y) that an emulator goes through, in coordinates z."""

    def __init__(
        self,
        posterior: ThetaPosterior,
        mode: ThetaMode,
        profiles: tuple[Profile, ...],
        lower,
        upper,
        *,
        gradients: bool,
    ):
        self.posterior, self.mode, self.profiles, self.lower, self.upper = posterior, mode, profiles, lower, upper
        self.gradients = gradients
        d = len(mode.theta_star)
        self.z, self.f = np.empty((0, d)), np.empty(0)
        self.correction, self.gradient = np.empty(0), np.empty((0, d))

    def known_at(self, z: np.ndarray) -> np.ndarray:
        """The part of the log density that is not emulated, (m,)"""
        return self.posterior.rough_at(self.mode.to_theta(z)) + sum_of_profiles(self.profiles, z)

    def add(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Evaluation]]:
        """Evaluate at the rows of z, and return those that have a value, in the order of a space-filling curve."""
        z = z[np.argsort(morton_key(z), kind="stable")]
        theta = self.mode.to_theta(z)
        inside = np.all((theta >= self.lower) & (theta <= self.upper), axis=1)
        z, theta = z[inside], theta[inside]
        self.posterior.evaluate_all(theta[self._with_gradients(len(theta))], gradient=True)
        found = self.posterior.evaluate_all(theta)
        finite = np.array([np.isfinite(e.log_posterior) for e in found], dtype=bool)
        found = [e for e, ok in zip(found, finite, strict=True) if ok]
        z = z[finite]
        self._append(z, found)
        return z, np.array([e.log_posterior for e in found]), found

    def add_scanned(self) -> None:
        """What is known from scans along the axes and the search of the mode, where it is not next to another point."""
        near, found = list(self.z), []
        for e in self.posterior.known():
            point = self.mode.to_z(e.theta)
            if np.min(np.sum((np.array(near) - point) ** 2, axis=1), initial=np.inf) > 0.3**2:
                near.append(point)
                found.append(e)
        self._append(np.array(near[len(self.z) :]).reshape(-1, self.z.shape[1]), found)

    def _append(self, z: np.ndarray, found: list[Evaluation]) -> None:
        m, d = z.shape
        self.z = np.vstack([self.z, z])
        self.f = np.append(self.f, [e.log_posterior for e in found])
        self.correction = np.append(self.correction, [e.correction for e in found])
        gradient = np.full((m, d), np.nan)
        for k in self._with_gradients(m):
            if found[k].gradient is not None:
                gradient[k] = self.mode.root.T @ found[k].gradient
        self.gradient = np.vstack([self.gradient, gradient])

    def _with_gradients(self, m: int) -> np.ndarray:
        """Those of m more points that have gradients: as many as are affordable, evenly spaced."""
        d = self.z.shape[1]
        n_data = len(self.z) + np.isfinite(self.gradient).sum() + m
        most = max(MOST_DATA - n_data, 0) // d if self.gradients else 0
        return np.unique(np.linspace(0, m - 1, min(most, m)).astype(int))

    def emulate(self) -> Callable[[np.ndarray], np.ndarray]:
        """Emulator of what is not known, within reach of the maximum; values far below it would only bend it.

        What the inner approximation adds to a density whose gradient it gives is interpolated without gradients.
        """
        d = self.z.shape[1]
        near = self.f > self.f.max() - (25.0 + 2.0 * d)
        if near.sum() <= (d + 1) * (d + 2) // 2:
            near = np.argsort(-self.f)[: max((d + 1) * (d + 2) // 2 + 1, d + 2)]
        # coincident points would make the system singular
        z, index = np.unique(self.z[near], axis=0, return_index=True)
        f, correction, gradient = (v[near][index] for v in (self.f, self.correction, self.gradient))
        values = f - self.known_at(z)
        if not self.gradients:
            return _by_values(z, values)
        slopes = gradient - slopes_of_profiles(self.profiles, z) - self._slopes_of_rough(z)
        smooth = HermiteEmulator.of(z, values - correction, slopes)
        if not np.any(correction):
            return smooth
        rest = _by_values(z, correction)
        return lambda at: smooth(at) + rest(at)

    def _slopes_of_rough(self, z: np.ndarray) -> np.ndarray:
        """(m, d)"""
        if self.posterior.rough is None:
            return np.zeros(z.shape)
        up, down = (
            [self.posterior.rough_at(self.mode.to_theta(z + step)) for step in s * DIFFERENCE_STEP * np.eye(z.shape[1])]
            for s in (1, -1)
        )
        return (np.array(up) - np.array(down)).T / (2 * DIFFERENCE_STEP)


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
