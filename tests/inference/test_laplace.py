"""log p~(theta | y) and its gradient against closed forms, dense algebra and central differences."""

import numpy as np
import pytest
from laplace_models import (
    bernoulli_model,
    gaussian_model,
    poisson_model,
    standard_log_prior,
    student_model,
    two_predictor_model,
)
from scipy import linalg, stats

from pymc_inla.inference import newton
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.linalg import build_system
from pymc_inla.status import Status


def laplace(functions, **options):
    f = functions
    system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e)
    return LaplaceInner(f, system, **options)


MODELS = {
    "gaussian": lambda: gaussian_model()[0],
    "gaussian, constrained": lambda: gaussian_model(constraint=True)[0],
    "gaussian, non-centered": lambda: gaussian_model(non_centered=True)[0],
    "gaussian, constrained, non-centered": lambda: gaussian_model(constraint=True, non_centered=True)[0],
    "poisson": poisson_model,
    "poisson, constrained": lambda: poisson_model(constraint=True),
    "poisson, non-centered": lambda: poisson_model(non_centered=True),
    "poisson, constrained, non-centered": lambda: poisson_model(constraint=True, non_centered=True),
    "bernoulli": bernoulli_model,
    "bernoulli, non-centered": lambda: bernoulli_model(non_centered=True),
    "student t with an outlier": student_model,
    "two predictors": two_predictor_model,
    "two predictors, non-centered": lambda: two_predictor_model(non_centered=True),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shift", [-0.8, 0.5])
def test_gradient_is_that_of_the_value(name, shift, monkeypatch):
    # the mode to rounding, so that differences of values are free of noise
    monkeypatch.setattr(newton, "TOLERANCE", 0.0)
    functions = MODELS[name]()
    inner = laplace(functions)
    theta = np.full(functions.n_theta, shift)
    point = inner.evaluate(theta)
    assert point.status is Status.CONVERGED
    h = 1e-3

    def value(t):
        return inner.evaluate(t, point, gradient=False).log_posterior

    for j, unit in enumerate(np.eye(functions.n_theta)):
        # Richardson extrapolation of central differences: error h^4 times a fifth derivative, 1e-11, and rounding 1e-10
        coarse = (value(theta + 2 * h * unit) - value(theta - 2 * h * unit)) / (4 * h)
        fine = (value(theta + h * unit) - value(theta - h * unit)) / (2 * h)
        assert point.gradient[j] == pytest.approx((4 * fine - coarse) / 3, rel=1e-6, abs=1e-7)


def dense_gaussian_marginal_likelihood(functions, y, theta):
    """log p(y | theta) of y = offset + A x + noise, x ~ N(mu, Q^-1) given C x = e, by NumPy alone."""
    prior, design = functions.prior(theta), functions.design(theta)
    A = functions.A_pattern.to_matrix(design.A).toarray()
    Sigma = np.linalg.inv(functions.Q_pattern.to_matrix(prior.Q).toarray())
    mu = Sigma @ prior.b
    C = functions.C.toarray()
    if len(C):
        gain = Sigma @ C.T @ np.linalg.inv(C @ Sigma @ C.T)
        mu, Sigma = mu + gain @ (functions.e - C @ mu), Sigma - gain @ C @ Sigma
    covariance = A @ Sigma @ A.T + np.exp(-theta[1]) * np.eye(len(y))
    return stats.multivariate_normal.logpdf(y, design.offset + A @ mu, covariance)


@pytest.mark.parametrize("constraint", [False, True])
@pytest.mark.parametrize("non_centered", [False, True])
def test_gaussian_is_exact(constraint, non_centered):
    functions, y = gaussian_model(constraint=constraint, non_centered=non_centered)
    for theta in np.array([[0.0, 0.0], [-1.0, 1.5], [3.0, -0.5]]):
        exact = dense_gaussian_marginal_likelihood(functions, y, theta) + standard_log_prior(theta)
        # rounding only
        assert laplace(functions).evaluate(theta).log_posterior == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_value_by_dense_algebra(name):
    """The defining formula, from the returned mode with NumPy alone; and the mode is stationary on the constraints."""
    f = MODELS[name]()
    theta = np.full(f.n_theta, 0.3)
    point = laplace(f).evaluate(theta)
    prior, design = f.prior(theta), f.design(theta)
    A, Q = f.A_pattern.to_matrix(design.A).toarray(), f.Q_pattern.to_matrix(prior.Q).toarray()
    x = point.x_star
    likelihood = f.log_likelihood(design.offset + A @ x, theta)
    W = np.zeros((f.n_eta, f.n_eta))
    W[f.W_rows, f.W_cols] = W[f.W_cols, f.W_rows] = likelihood.W
    Z = linalg.null_space(f.C.toarray()) if f.C.shape[0] else np.eye(f.n_x)
    H = Z.T @ (Q + A.T @ W @ A) @ Z
    gradient = Z.T @ (A.T @ likelihood.gradient + prior.b - Q @ x)
    # Newton stops where the decrement is below 1e-12
    assert gradient @ np.linalg.solve(H, gradient) < 2e-12
    np.testing.assert_allclose(f.C @ x, f.e, atol=1e-12)
    log_joint = likelihood.value.sum() + prior.c + prior.b @ x - 0.5 * x @ Q @ x + f.log_prior_theta(theta)[0]
    expected = log_joint + 0.5 * Z.shape[1] * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    assert point.log_posterior == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(
        point.eta_moments().sd, np.sqrt(np.diag(A @ Z @ np.linalg.inv(H) @ Z.T @ A.T)), rtol=1e-9
    )


@pytest.mark.parametrize("name", ["poisson, constrained", "bernoulli", "two predictors"])
def test_densities_of_draws(name):
    f = MODELS[name]()
    theta = np.full(f.n_theta, 0.3)
    point = laplace(f, strategy="simplified_laplace").evaluate(theta)
    m = 4000
    sample = point.sample(np.random.default_rng(1), m)
    moments = point.moments()
    # five standard errors of a mean and of a standard deviation of m draws
    assert np.all(np.abs(sample.x.mean(0) - moments.mean) < 5 * moments.sd / np.sqrt(m))
    np.testing.assert_allclose(sample.x.std(0), moments.sd, rtol=5 / np.sqrt(2 * m))
    np.testing.assert_allclose(f.C @ sample.x.T, np.broadcast_to(f.e[:, None], (len(f.e), m)), atol=1e-10)
    prior, design = f.prior(theta), f.design(theta)
    A, Q = f.A_pattern.to_matrix(design.A).toarray(), f.Q_pattern.to_matrix(prior.Q).toarray()
    Z = linalg.null_space(f.C.toarray()) if f.C.shape[0] else np.eye(f.n_x)
    covariance = np.cov(sample.x.T)
    S = point.mode.factor.solve(np.eye(f.n_x))
    np.testing.assert_allclose(covariance, S, atol=6 * np.max(np.diag(S)) / np.sqrt(m))
    log_q = stats.multivariate_normal.logpdf(sample.x[:20] @ Z, moments.mean @ Z, Z.T @ S @ Z)
    np.testing.assert_allclose(sample.log_q[:20], log_q, rtol=1e-9)
    for x, found in zip(sample.x[:20], sample.log_joint[:20], strict=True):
        value = f.log_likelihood(design.offset + A @ x, theta).value.sum()
        expected = value + prior.c + prior.b @ x - 0.5 * x @ Q @ x + f.log_prior_theta(theta)[0]
        assert found == pytest.approx(expected, rel=1e-11)
    bare = point.sample(np.random.default_rng(1), 5, densities=False)
    assert np.all(np.isnan(bare.log_q)) and np.all(np.isnan(bare.log_joint))
