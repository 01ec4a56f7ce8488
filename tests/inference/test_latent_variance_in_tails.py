"""Latent variances that come from far tails of theta: a level of a group effect varies little where the precision is
high, which is where theta is, and much in a tail of a few percent."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from outer_models import KnownDensity, KnownPoint, gaussian_groups

from pymc_inla.inference import run_inference
from pymc_inla.inference.hyper_mode import find_theta_mode
from pymc_inla.inference.inner import LatentMoments
from pymc_inla.inference.integration import integrate_theta
from pymc_inla.inference.run import latent_marginals
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.theta_space import ThetaSpace

SHAPE, RATE = 1.0, 5e-5
"""R-INLA's default prior of a precision"""


def log_gamma(t):
    return SHAPE * t - RATE * np.exp(t)


@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6])
def test_default_prior_of_a_precision(spread):
    """Group means of sd `spread` about as large as their standard errors (0.32)."""
    rng = np.random.default_rng(7)
    J, n = 12, 10
    means = rng.normal(size=J)
    means *= spread / means.std()
    y = (means[:, None] + rng.normal(size=(J, n))).ravel()
    functions = replace(
        gaussian_groups(y, np.repeat(np.arange(J), n), J),
        log_prior_theta=lambda t: (log_gamma(t[0]), SHAPE - RATE * np.exp(t)),
    )
    result = run_inference(functions, n_draws=10, random_seed=1, criteria=False)

    theta = np.linspace(-3, 14, 4001)
    tau = np.exp(theta)[:, None]
    total = y.reshape(J, n).sum(axis=1)
    log_density = log_gamma(theta) + np.sum(0.5 * np.log(tau / (tau + n)) + 0.5 * total**2 / (tau + n), axis=1)
    w = np.exp(log_density - log_density.max())
    w /= w.sum()
    m = w @ (total / (tau + n))
    sd = np.sqrt(w @ (1 / (tau + n) + (total / (tau + n)) ** 2) - m**2)
    np.testing.assert_allclose((result.latent_marginals.mean - m) / sd, 0, atol=0.005)
    # the grid is refined until leave-one-out errors move a variance by less than 0.4 %; those errors are bounds
    np.testing.assert_allclose(result.latent_marginals.sd / sd, 1, atol=0.005)


@dataclass(frozen=True)
class WidePoint(KnownPoint):
    """x given theta is N(0, exp(-theta_1))."""

    @property
    def sd(self):
        return np.exp(-0.5 * self.theta[0])

    def moments(self):
        return LatentMoments(np.zeros(1), np.full(1, self.sd), np.zeros(1))


class WideDensity(KnownDensity):
    def evaluate(self, theta, start=None, *, gradient=True):
        known = super().evaluate(theta, start, gradient=gradient)
        return WidePoint(known.theta, known.log_posterior, known.gradient, known.x_star, known.status)


def shelf(t):
    """The gamma prior times a likelihood that is larger where the precision is low, up to where it cuts off."""
    return log_gamma(t) + 8.0 / (1.0 + np.exp(t - 5.0)) - np.exp(1.5 - t)


@pytest.mark.parametrize("d", [1, 2])
def test_variance_is_that_of_the_mixture(d):
    posterior = ThetaPosterior(WideDensity(lambda t: shelf(t[0]) - 0.5 * np.sum(t[1:] ** 2)))
    lower, upper = np.full(d, -30.0), np.full(d, 30.0)
    mode = find_theta_mode(posterior, np.full(d, 4.0), lower, upper)
    posterior.prepare_design(mode.theta_star, mode.root)
    integral = integrate_theta(posterior, mode, ThetaSpace(lower, upper))
    t = np.linspace(-3, 14, 20001)
    w = np.exp(shelf(t) - shelf(t).max())
    sd = np.sqrt(w @ np.exp(-t) / w.sum())
    # in two dimensions the grid ends where the density is 2e-6 of its maximum
    assert latent_marginals(posterior, integral).sd[0] == pytest.approx(sd, rel=0.005 * d)
