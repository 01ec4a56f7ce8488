"""Inner approximations with known densities of theta, and a small model whose posterior has a closed form."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy import sparse, stats

from pymc_inla.inference.inner import LatentMoments, Sample
from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Pattern, Prior
from pymc_inla.status import Status


@dataclass(frozen=True)
class KnownPoint:
    """theta has a given log density; x given theta is N(theta_1, exp(theta_1)) where theta exists."""

    theta: np.ndarray
    log_posterior: float
    gradient: np.ndarray | None
    x_star: np.ndarray
    status: Status = Status.CONVERGED
    n_newton: int = 1
    refined: bool = False
    correction: float = 0.0
    n_passes: int = 1

    @property
    def sd(self):
        return np.exp(0.5 * self.theta[0]) if len(self.theta) else 1.0

    def moments(self):
        return LatentMoments(self.x_star, np.full(1, self.sd), np.zeros(1))

    def eta_moments(self, most=None):
        return self.moments()

    def repeat(self, rng, m, scores):
        return self.sample(rng, m).x

    def sample(self, rng, m, *, densities=True, repeatable=False):
        z = rng.standard_normal((m, 1))
        log_q = stats.norm.logpdf(z[:, 0]) - np.log(self.sd)
        return Sample(self.x_star + self.sd * z, log_q, log_q + self.log_posterior)


@dataclass(frozen=True)
class KnownDensity:
    """An inner approximation with log density `f`."""

    f: object
    functions = SimpleNamespace(
        A_pattern=Pattern.from_matrix(np.eye(1)), design=lambda theta: Design(np.ones(1), np.zeros(1))
    )

    def evaluate(self, theta, start=None, *, gradient=True):
        h = 1e-5
        slope = None
        if gradient:
            steps = h * np.eye(len(theta))
            slope = np.array([(self.f(theta + s) - self.f(theta - s)) / (2 * h) for s in steps])
        x = np.array([theta[0] if len(theta) else 0.0])
        value = float(self.f(theta))
        return KnownPoint(theta, value, slope, x, Status.CONVERGED if np.isfinite(value) else Status.NON_FINITE)


def gaussian_groups(y: np.ndarray, group: np.ndarray, n_groups: int, prior_sd: float = 2.0) -> LGMFunctions:
    """y_i ~ N(x_g, 1), x_g ~ N(0, 1/exp(theta)), theta ~ N(0, prior_sd^2)."""
    n, J = len(y), n_groups
    eye = Pattern.from_matrix(sparse.eye_array(J, format="csr"))
    A = Pattern.from_matrix(sparse.csr_array((np.ones(n), (np.arange(n), group)), shape=(n, J)))

    def likelihood(eta, theta):
        return Likelihood(stats.norm.logpdf(y, eta, 1.0), y - eta, np.ones(n))

    def likelihood_vjp(eta, theta, value_bar, gradient_bar, W_bar):
        return value_bar * (y - eta) - gradient_bar, np.zeros(1)

    return LGMFunctions(
        n_theta=1,
        theta_initial=np.zeros(1),
        log_prior_theta=lambda t: (float(stats.norm.logpdf(t[0], 0, prior_sd)), -t / prior_sd**2),
        Q_pattern=eye,
        prior=lambda t: Prior(np.full(J, np.exp(t[0])), np.zeros(J), 0.5 * J * (t[0] - np.log(2 * np.pi))),
        prior_vjp=lambda t, Q_bar, b_bar, c_bar: np.array([np.exp(t[0]) * Q_bar.sum() + 0.5 * J * c_bar]),
        A_pattern=A,
        design=lambda t: Design(np.ones(n), np.zeros(n)),
        design_vjp=None,
        n_obs=n,
        observation=np.arange(n),
        W_rows=np.arange(n),
        W_cols=np.arange(n),
        log_likelihood=likelihood,
        log_likelihood_vjp=likelihood_vjp,
        gaussian=True,
        C=sparse.csr_array((0, J)),
        e=np.zeros(0),
        cdf=lambda eta, theta: stats.norm.cdf(y, eta, 1.0),
    )
