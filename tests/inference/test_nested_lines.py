"""Two variances of which the data determine the sum only: a thin bent density of their logarithms."""

import numpy as np
import pytest
from test_outer_theta import integrate

from pymc_inla.inference.density import draw_theta, theta_marginals
from pymc_inla.lgm import QUANTILES


def two_variances(n, mean_square, scales):
    """log density of (log sigma, log tau) after n observations from N(0, sigma^2 + tau^2), half-normal priors."""

    def f(t):
        squares = np.exp(2 * np.asarray(t))
        total = squares.sum(-1)
        priors = np.sum(np.asarray(t) - 0.5 * squares / np.square(scales), axis=-1)
        return priors - 0.5 * n * (np.log(total) + mean_square / total)

    return f


def polar(n, mean_square, scales):
    """Means and sds of (sigma, tau), their quantiles as logarithms, and the log integral; by dense quadrature."""
    log_r = np.linspace(-2, 2, 1601)[:, None]
    phi = (np.arange(4000) + 0.5) / 4000 * np.pi / 2
    r, parts = np.exp(log_r), np.array([np.cos(phi), np.sin(phi)])
    # d log sigma d log tau = dr dphi r / (sigma tau); the density f holds the Jacobian sigma tau
    log_f = -0.5 * n * (2 * log_r + mean_square / r**2)
    log_f = log_f - 0.5 * r**2 * np.sum(np.square(parts / np.reshape(scales, (2, 1))), axis=0) + 2 * log_r
    w = np.exp(log_f - log_f.max())
    log_integral = np.log(w.sum()) + log_f.max() + np.log(log_r[1, 0] - log_r[0, 0]) + np.log(phi[1] - phi[0])
    w /= w.sum()
    found = []
    for part in parts:
        values = r * part
        mean = np.sum(w * values)
        order = np.argsort(values, axis=None)
        F = np.cumsum(w.flat[order]) - 0.5 * w.flat[order]
        quantiles = np.log(np.interp(QUANTILES, F, values.flat[order]))
        found.append((mean, np.sqrt(np.sum(w * (values - mean) ** 2)), quantiles))
    return found, log_integral


@pytest.mark.parametrize("n", [30, 400])
def test_both_arms_are_found(n):
    problem = n, 2.0, (3.0, 1.0)
    posterior, integral = integrate(two_variances(*problem), 2, start=[0.0, 0.0])
    truth, log_integral = polar(*problem)
    marginals = theta_marginals(integral.density)
    draws = np.exp(draw_theta(integral.density, 20_000, np.random.default_rng(1)))
    for j, (mean, sd, quantiles) in enumerate(truth):
        on_log_scale = np.sqrt(integral.density.covariance[j, j])
        np.testing.assert_allclose(marginals.quantiles[j], quantiles, atol=0.01 * on_log_scale)
        p = marginals.density[j] * np.gradient(marginals.grid[j])
        p /= p.sum()
        for values, weights in ((draws[:, j], np.full(20_000, 5e-5)), (np.exp(marginals.grid[j]), p)):
            assert abs(weights @ values - mean) < 0.01 * sd
            assert abs(np.sqrt(weights @ (values - weights @ values) ** 2) / sd - 1) < 0.01
    assert abs(integral.log_marginal_likelihood - log_integral) < 0.002
    assert integral.outer_change < 0.01
    assert posterior.n_evaluations < 600


def test_the_log_density_of_points_is_normalized():
    f = two_variances(100, 2.0, (3.0, 1.0))
    _, integral = integrate(f, 2, start=[0.0, 0.0])
    theta = draw_theta(integral.density, 2000, np.random.default_rng(2))
    error = integral.density.log_density_at(theta) - (f(theta) - integral.log_marginal_likelihood)
    assert np.quantile(np.abs(error), 0.95) < 0.02


def exchangeable_arms(t):
    """Half of the mass where the first of two hyperparameters is low, half where the second is."""
    t = np.asarray(t)
    wide, narrow = ((t + 5.0) / 0.7) ** 2, (t / 0.1) ** 2
    return -0.5 * np.minimum(wide[..., 0] + narrow[..., 1], wide[..., 1] + narrow[..., 0])


# at the second start the gradient keeps the hyperparameters equal: the search ends at a saddle and has to leave it
@pytest.mark.parametrize("start", [[-4.5, 0.1], [-3.0, -3.0]])
def test_a_mode_with_hyperparameters_exchanged_is_found(start):
    _, integral = integrate(exchangeable_arms, 2, start=start)
    marginals = theta_marginals(integral.density)
    # 0.012 sd: the tables are linear where one arm jumps to the other
    np.testing.assert_allclose(marginals.mean, -2.5, atol=0.03)
    # half the distance of the arms, and the mean of their variances
    np.testing.assert_allclose(marginals.sd, np.sqrt(2.5**2 + (0.7**2 + 0.1**2) / 2), rtol=0.02)
    assert abs(integral.log_marginal_likelihood - np.log(2 * 2 * np.pi * 0.7 * 0.1)) < 0.02


def test_unlike_modes_of_three_hyperparameters_that_lie_apart_are_integrated_each():
    f = lambda t: exchangeable_arms(t[..., :2]) - 0.5 * t[..., 2] ** 2  # noqa: E731
    _, integral = integrate(f, 3, start=[-4.5, 0.1, 0.0])
    assert integral.messages == ()
    # Gaussian arms are emulated exactly; the cloud is random to 0.003 sd
    np.testing.assert_allclose(integral.density.mean, [-2.5, -2.5, 0.0], atol=0.01)
    assert abs(integral.log_marginal_likelihood - np.log(2 * (2 * np.pi) ** 1.5 * 0.7 * 0.1)) < 0.005


def test_unlike_modes_of_three_hyperparameters_without_a_trough_are_reported():
    def f(t):
        t = np.asarray(t)
        narrow, wide = -0.5 * ((t[..., 0] + 1.5) / 0.15) ** 2, -0.5 * (t[..., 0] - 1.5) ** 2
        return np.logaddexp(narrow, wide) - 0.5 * np.sum(t[..., 1:] ** 2, axis=-1)

    _, integral = integrate(f, 3, start=[-1.5, 0.0, 0.0])
    assert any("several modes" in message for message in integral.messages)
