"""DIC, WAIC, CPO and PIT of the integrated posterior (Spiegelhalter et al. 2002; Watanabe 2010; Held et al. 2010).

    DIC   D_mean + p_D, D_mean = E[-2 log p(y|eta,theta)], p_D = D_mean - D(E[eta], theta*)
    WAIC  -2 sum_i (log E p_i - Var log p_i),  p_i = p(y_i | eta_i, theta)
    CPO_i 1 / E[1 / p_i],  the density of y_i given all other observations
    PIT_i E[F_i / p_i] / E[1 / p_i], F_i = P(Y_i <= y_i | eta_i, theta)

Where each observation has one linear predictor, expectations over eta_i given theta are Gauss-Hermite sums on the skew
normal with the moments of the inner approximation. Not so E[1/p_i], in which the tails of that skew normal would count,
which are not those of the posterior: p(y_i | y_-i, theta) is the integral of the likelihood over what all other
observations say of eta_i (see `cavity`), and E[1/p_i] = sum_k w_k / p(y_i | y_-i, theta_k). With several predictors per
observation all expectations are averages over draws.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pymc_inla.inference import skew_normal
from pymc_inla.inference.cavity import LOWEST, Nodes, only_some, tilt
from pymc_inla.inference.density import calibrate_weights
from pymc_inla.inference.inner import Cavities
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.observation_order import observation_ranges
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import Criteria, LGMFunctions

FAILURE_SHARE = 0.2
"""CPO of an observation counts as failed when more of E[1/p] than this comes from values of theta with a posterior mass
of less than RARE together, or from one draw."""
RARE = 0.01
AT_ONCE = 32_768
"""Observations that are worked on together"""
FINE_SCALARS = 2000
"""Observations up to which leave-one-out densities are interpolated between the design points of theta."""


class _Expectations:
    """Running weighted expectations of log p_i, its square, p_i, 1/p_i and F_i/p_i."""

    def __init__(self, n_obs: int):
        self.total = 0.0
        self.first, self.second = np.zeros(n_obs), np.zeros(n_obs)
        self.center: np.ndarray | None = None
        self.log_mean, self.log_inverse = np.full(n_obs, -np.inf), np.full(n_obs, -np.inf)
        self.log_pit, self.log_rare = np.full(n_obs, -np.inf), np.full(n_obs, -np.inf)

    def add(self, mean: np.ndarray, variance: np.ndarray | float, log_mean: np.ndarray, weight: float) -> None:
        """A share of the distribution of every eta_i: means and variances of log p_i under it, and log E[p_i]."""
        if weight == 0:
            return
        if self.center is None:
            self.center = np.where(np.isfinite(mean), mean, 0.0)
        deviation = mean - self.center
        self.total += weight
        self.first += weight * deviation
        self.second += weight * (deviation**2 + variance)
        np.logaddexp(self.log_mean, np.log(weight) + log_mean, out=self.log_mean)

    def leave_out(self, log_inverse: np.ndarray, cdf: np.ndarray | None, *, rare: bool) -> None:
        """A part of E[1/p] (n_obs,), the distribution functions under it, and whether it comes from a rare theta."""
        np.logaddexp(self.log_inverse, log_inverse, out=self.log_inverse)
        if rare:
            np.logaddexp(self.log_rare, log_inverse, out=self.log_rare)
        if cdf is not None:
            np.logaddexp(self.log_pit, log_inverse + np.log(np.maximum(cdf, 1e-300)), out=self.log_pit)

    def result(self, deviance_at_mean: float, has_cdf: bool) -> Criteria:
        mean = self.first / self.total
        variance = np.maximum(self.second / self.total - mean**2, 0.0)
        mean += self.center
        log_total = np.log(self.total)
        deviance_mean = float(-2 * mean.sum())
        lppd = self.log_mean - log_total
        log_cpo = -self.log_inverse
        with np.errstate(invalid="ignore"):
            share = np.exp(self.log_rare - self.log_inverse)
            pit = np.clip(np.exp(self.log_pit - self.log_inverse), 0.0, 1.0) if has_cdf else None
        failure = ~np.isfinite(log_cpo) | ~np.isfinite(lppd) | (share > FAILURE_SHARE)
        p_eff = deviance_mean - deviance_at_mean
        return Criteria(
            dic=deviance_mean + p_eff,
            dic_p_eff=p_eff,
            deviance_mean=deviance_mean,
            deviance_at_mean=deviance_at_mean,
            waic=float(-2 * (lppd - variance).sum()),
            waic_p_eff=float(variance.sum()),
            log_cpo=log_cpo,
            pit=pit,
            failure=failure,
        )


def criteria_by_quadrature(
    functions: LGMFunctions, posterior: ThetaPosterior, integral: ThetaIntegral, *, n_nodes: int, max_points: int
) -> Criteria:
    """Criteria of a model in which every observation has one linear predictor.

    Parameters
    ----------
    n_nodes : int
        Gauss-Hermite nodes for eta_i given theta.
    max_points : int
        Design points of theta that enter at most (those with the largest weights are spread systematically).
    """
    found = _Expectations(functions.n_obs)
    eta_mean = np.zeros(functions.n_eta)
    fine = integral.fine_matrix is not None and len(integral.weights) <= max_points and functions.n_obs <= FINE_SCALARS
    design = list(enumerate(integral.weights) if fine else representatives(integral, max_points))
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    w = w / w.sum()
    log_predictive, cdf, known = [], [], {}

    def at(k: int, point) -> None:
        """What the predictors' distributions given theta say of every observation."""
        theta, eta, cavities = point.theta, point.eta_moments(), point.cavities()

        def of_range(work):
            at, some = work
            own, outside = only_some(eta, at), only_some(cavities, at)
            values = own.mean + own.sd * np.array([skew_normal.moved(node, own.skewness) for node in z])
            log_p = np.fmax(some.log_likelihood_values(values, theta), LOWEST)
            left_out = tilt(Nodes.around(some, theta, own, n_nodes), outside).log_predictive
            return *_moments_of_log(log_p, w), left_out, predictive_cdf(some, theta, outside, n_nodes)

        found = zip(*map_in_order(of_range, observation_ranges(functions, AT_ONCE)), strict=True)
        known[k] = eta.mean, *(None if parts[0] is None else np.concatenate(parts) for parts in found)

    thetas = [integral.nodes[k].theta for k, _ in design]
    posterior.each(at, thetas)
    for k, (_, weight) in enumerate(design):
        if k not in known:  # its search ended elsewhere this time
            at(k, posterior.point(thetas[k]))
        mean, *log_moments, left_out, below = known.pop(k)
        eta_mean += weight * mean
        found.add(*log_moments, weight)
        log_predictive.append(left_out)
        cdf.append(below)
    weights = np.array([weight for _, weight in design])
    has_cdf = functions.cdf is not None
    if fine:
        weights = integral.fine_weights
        log_predictive = interpolate(integral.fine_matrix, np.array(log_predictive))
        cdf = interpolate(integral.fine_matrix, np.array(cdf)) if has_cdf else [None] * len(weights)
    order = np.argsort(weights)
    rare = np.zeros(len(weights), dtype=bool)
    rare[order] = np.cumsum(weights[order]) < RARE
    for k in np.flatnonzero(weights > 0):
        found.leave_out(np.log(weights[k]) - log_predictive[k], cdf[k], rare=bool(rare[k]))
    at_mean = functions.log_likelihood(eta_mean, integral.highest).value
    return found.result(float(-2 * at_mean.sum()), has_cdf)


def _moments_of_log(log_p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and variance of log p and log of the mean of p, (n,), over nodes with weights w (K,); log_p (K, n).

    Nodes at which an observation is impossible do not count: the posterior has no mass there.
    """
    top = log_p.max(axis=0)
    share = np.where((log_p > LOWEST) | (top <= LOWEST), w[:, None], 0.0)
    share /= share.sum(axis=0)
    log_mean = top + np.log(np.sum(share * np.exp(log_p - top), axis=0))
    mean = np.sum(share * log_p, axis=0)
    return mean, np.sum(share * (log_p - mean) ** 2, axis=0), log_mean


def interpolate(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (K, n) at the nodes to (F, n) at the finer design, within their range; -inf where they are not finite.

    Leave-one-out densities of unlikely observations change by factors between two nodes.
    """
    finite = np.all(np.isfinite(values), axis=0)
    known = np.where(finite, values, 0.0)
    return np.where(finite, np.clip(matrix @ known, known.min(axis=0), known.max(axis=0)), -np.inf)


def predictive_cdf(functions: LGMFunctions, theta, cavities: Cavities, n_nodes: int) -> np.ndarray | None:
    """P(Y_i <= y_i | y_-i, theta), (n_obs,), where the distribution function is known."""
    if functions.cdf is None:
        return None
    z, w = np.polynomial.hermite_e.hermegauss(n_nodes)
    sd = np.sqrt(np.where(np.isfinite(cavities.variance), cavities.variance, 0.0))
    below = map_in_order(lambda node: functions.cdf(cavities.mean + sd * node, theta), z)
    return sum(weight * at_node for weight, at_node in zip(w / w.sum(), below, strict=True))


def criteria_by_draws(
    functions: LGMFunctions, theta: np.ndarray, x: np.ndarray, theta_star: np.ndarray, max_draws: int = 1000
) -> Criteria:
    """Criteria from joint draws, for several linear predictors per observation.

    Parameters
    ----------
    theta, x : arrays (S, d), (S, n_x)
    """
    found = _Expectations(functions.n_obs)
    n = min(len(x), max_draws)
    eta_mean = np.zeros(functions.n_eta)
    for s in range(n):
        design = functions.design(theta[s])
        eta = design.offset + functions.A_pattern.to_matrix(design.A) @ x[s]
        eta_mean += eta / n
        cdf = functions.cdf(eta, theta[s]) if functions.cdf is not None else None
        log_p = np.fmax(functions.log_likelihood(eta, theta[s]).value, LOWEST)
        found.add(log_p, 0.0, log_p, 1.0 / n)
        found.leave_out(-np.log(n) - log_p, cdf, rare=False)
        # the largest single contribution takes the role of rare values of theta
        found.log_rare = np.maximum(found.log_rare, -np.log(n) - log_p)
    at_mean = functions.log_likelihood(eta_mean, theta_star).value
    return found.result(float(-2 * at_mean.sum()), functions.cdf is not None)


def representatives(integral: ThetaIntegral, limit: int) -> Iterable[tuple[int, float]]:
    """(index, weight) of the design points; beyond `limit`, a systematic sample of that size from the likely to the
    unlikely ones, with weights that have the mean and covariance of all of them. Neither depends on the order of theta.
    """
    weights = integral.weights
    if len(weights) > limit:
        z = integral.mode.to_z(np.array([e.theta for e in integral.nodes]))
        mean = weights @ z
        covariance = ((z - mean) * weights[:, None]).T @ (z - mean)
        order = np.argsort(-integral.log_density, kind="stable")
        cumulative = np.cumsum(weights[order])
        picked = order[np.searchsorted(cumulative, (np.arange(limit) + 0.5) / limit * cumulative[-1])]
        weights = np.bincount(picked, minlength=len(weights)) / limit
        some = np.flatnonzero(weights)
        weights[some] = calibrate_weights(z[some], weights[some], mean, covariance)
    return [(k, float(w)) for k, w in enumerate(weights) if w > 0]
