"""DIC, WAIC, CPO and PIT of the integrated posterior (Spiegelhalter et al. 2002; Watanabe 2010; Held et al. 2010).

    DIC   D_mean + p_D, D_mean = E[-2 log p(y|eta,theta)], p_D = D_mean - D(E[eta], theta*)
    WAIC  -2 sum_i (log E p_i - Var log p_i),  p_i = p(y_i | eta_i, theta)
    CPO_i 1 / E[1 / p_i],  the density of y_i given all other observations
    PIT_i E[F_i / p_i] / E[1 / p_i], F_i = P(Y_i <= y_i | eta_i, theta)

Expectations over eta_i given theta are Gauss-Hermite sums on the skew normal with the moments of the inner
approximation where each observation has one linear predictor, and averages over draws where it has several.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pymc_inla.inference import skew_normal
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import Criteria, LGMFunctions

FAILURE_SHARE = 0.2
"""CPO of an observation counts as failed when more of E[1/p] than this comes from the outermost nodes (|z| > 3), or one
draw."""


LOWEST = -1e8
"""Floor of a log density, so that one impossible observation does not turn every sum into NaN."""


class _Moments:
    """Running weighted expectations of log p_i, its square, p_i, 1/p_i and F_i/p_i."""

    def __init__(self, n_obs: int):
        self.total = 0.0
        self.log_p = np.zeros(n_obs)
        self.square = np.zeros(n_obs)
        self.center: np.ndarray | None = None
        self.log_mean = np.full(n_obs, -np.inf)
        self.log_inverse = np.full(n_obs, -np.inf)
        self.log_extreme = np.full(n_obs, -np.inf)
        self.log_pit = np.full(n_obs, -np.inf)

    def add(self, log_p: np.ndarray, weight: float, extreme: bool, cdf: np.ndarray | None) -> None:
        if self.center is None:
            self.center = np.where(np.isfinite(log_p), log_p, 0.0)
        log_w = np.log(weight)
        deviation = log_p - self.center
        self.total += weight
        self.log_p += weight * deviation
        self.square += weight * deviation**2
        np.logaddexp(self.log_mean, log_w + log_p, out=self.log_mean)
        np.logaddexp(self.log_inverse, log_w - log_p, out=self.log_inverse)
        if extreme:
            np.logaddexp(self.log_extreme, log_w - log_p, out=self.log_extreme)
        if cdf is not None:
            np.logaddexp(self.log_pit, log_w - log_p + np.log(np.maximum(cdf, 1e-300)), out=self.log_pit)

    def add_draw(self, log_p: np.ndarray, weight: float, cdf: np.ndarray | None) -> None:
        """A draw; the largest single contribution to E[1/p] takes the role of the outermost nodes."""
        self.log_extreme = np.maximum(self.log_extreme, np.log(weight) - log_p)
        self.add(log_p, weight, False, cdf)

    def result(self, deviance_at_mean: float, has_cdf: bool) -> Criteria:
        mean = self.log_p / self.total
        variance = np.maximum(self.square / self.total - mean**2, 0.0)
        mean = mean + self.center
        log_total = np.log(self.total)
        deviance_mean = float(-2 * mean.sum())
        lppd = self.log_mean - log_total
        log_cpo = log_total - self.log_inverse
        share = np.exp(self.log_extreme - self.log_inverse)
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
            pit=np.clip(np.exp(self.log_pit - self.log_inverse), 0.0, 1.0) if has_cdf else None,
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
    moments = _Moments(functions.n_obs)
    z_nodes, z_weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    z_weights = z_weights / z_weights.sum()
    limit = min(3.0, z_nodes[-1] * 0.99)
    eta_mean = np.zeros(functions.n_eta)
    for k, weight in representatives(integral, max_points):
        theta = integral.nodes[k].theta
        eta = posterior.point(theta).eta_moments()
        eta_mean += weight * eta.mean
        for z, w in zip(z_nodes, z_weights, strict=True):
            value = eta.mean + eta.sd * skew_normal.moved(z, eta.skewness)
            log_p = functions.log_likelihood(value, theta).value
            cdf = functions.cdf(value, theta) if functions.cdf is not None else None
            moments.add(np.maximum(log_p, LOWEST), weight * w, abs(z) >= limit, cdf)
    at_mean = functions.log_likelihood(eta_mean, integral.highest).value
    return moments.result(float(-2 * at_mean.sum()), functions.cdf is not None)


def criteria_by_draws(
    functions: LGMFunctions, theta: np.ndarray, x: np.ndarray, theta_star: np.ndarray, max_draws: int = 1000
) -> Criteria:
    """Criteria from joint draws, for several linear predictors per observation.

    Parameters
    ----------
    theta, x : arrays (S, d), (S, n_x)
    """
    moments = _Moments(functions.n_obs)
    n = min(len(x), max_draws)
    eta_mean = np.zeros(functions.n_eta)
    for s in range(n):
        design = functions.design(theta[s])
        eta = design.offset + functions.A_pattern.to_matrix(design.A) @ x[s]
        eta_mean += eta / n
        cdf = functions.cdf(eta, theta[s]) if functions.cdf is not None else None
        moments.add_draw(np.maximum(functions.log_likelihood(eta, theta[s]).value, LOWEST), 1.0 / n, cdf)
    at_mean = functions.log_likelihood(eta_mean, theta_star).value
    return moments.result(float(-2 * at_mean.sum()), functions.cdf is not None)


def representatives(integral: ThetaIntegral, limit: int) -> Iterable[tuple[int, float]]:
    """(index, weight) of the design points; beyond `limit`, a systematic sample of that size, equally weighted."""
    weights = integral.weights
    if len(weights) <= limit:
        return [(k, float(w)) for k, w in enumerate(weights) if w > 0]
    order = np.lexsort(np.array([e.theta for e in integral.nodes]).T[::-1])
    cumulative = np.cumsum(weights[order])
    picked = order[np.searchsorted(cumulative, (np.arange(limit) + 0.5) / limit * cumulative[-1])]
    indices, counts = np.unique(picked, return_counts=True)
    return [(int(k), float(c) / limit) for k, c in zip(indices, counts, strict=True)]
