"""Conditional marginals of x: full Laplace against brute-force integration, variational means against a minimizer."""

import numpy as np
import pytest
from laplace_models import (
    binomial,
    build_model,
    iid_prior,
    indicator,
    location_and_log_scale,
    poisson,
    standard_log_prior,
)
from scipy import linalg, optimize

from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference.conditional import ConditionalLaplace
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.variational import check_indices
from pymc_inla.linalg import build_system

THETA = np.array([0.2])


def inner_of(f, **options):
    system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e)
    return LaplaceInner(f, system, **options)


def groups(family, constraint=False):
    """Three groups (summing to 0.5 if constrained) or two groups and an intercept: three dimensions at most."""
    group = np.array([0, 0, 1, 1, 2]) if constraint else np.array([0, 0, 1, 1])
    Z = indicator(group, 3 if constraint else 2)
    A = Z if constraint else np.column_stack([Z, np.ones(4)])
    n = len(group)
    y = np.array([0.0, 1.0, 3.0, 2.0, 1.0])[:n]
    derivatives = poisson(y) if family == "poisson" else binomial(y, np.full(n, 4.0))
    return build_model(
        derivatives,
        n,
        iid_prior(3, 0) if constraint else iid_prior(2, 1, fixed_precision=0.5),
        lambda t: (A, np.full(n, 0.1)),
        standard_log_prior,
        [0.0],
        C=np.ones((1, 3)) if constraint else None,
        e=[0.5] if constraint else None,
    )


def two_predictors():
    """One mean and one log scale."""
    y = np.array([-1.0, 0.2, 0.4, 1.9, 0.6, 0.1])
    A = np.kron(np.eye(2), np.ones((6, 1)))
    return build_model(
        location_and_log_scale(y),
        6,
        iid_prior(1, 1, fixed_precision=1.0),
        lambda t: (A, np.zeros(12)),
        standard_log_prior,
        [0.0],
        n_predictors=2,
    )


MODELS = {
    "poisson": lambda: groups("poisson"),
    "binomial": lambda: groups("binomial"),
    "poisson, constrained": lambda: groups("poisson", constraint=True),
    "two predictors": two_predictors,
}


def dense(f):
    prior, design = f.prior(THETA), f.design(THETA)
    A, Q = f.A_pattern.to_matrix(design.A).toarray(), f.Q_pattern.to_matrix(prior.Q).toarray()
    return prior, design.offset, A, Q


def brute_force_moments(f, point):
    """Mean, sd and skewness of every x_j by a trapezoidal sum over 8 sds each way, in whitened coordinates."""
    prior, offset, A, Q = dense(f)
    S = point.mode.factor.solve(np.eye(f.n_x))
    eigenvalues, vectors = np.linalg.eigh(S)
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    root = vectors[:, kept] * np.sqrt(eigenvalues[kept])
    axis = np.linspace(-8, 8, 33)
    z = np.array(np.meshgrid(*[axis] * root.shape[1])).reshape(root.shape[1], -1)
    x = point.x_star[:, None] + root @ z
    with np.errstate(over="ignore"):
        values = [f.log_likelihood(eta, THETA).value.sum() for eta in (offset[:, None] + A @ x).T]
    log_p = np.array(values) + prior.b @ x - 0.5 * np.sum(x * (Q @ x), axis=0)
    w = np.exp(log_p - log_p.max())
    w /= w.sum()
    mean = x @ w
    centered = x - mean[:, None]
    sd = np.sqrt(centered**2 @ w)
    return mean, sd, centered**3 @ w / sd**3


@pytest.mark.parametrize("name", MODELS)
def test_moments_against_brute_force(name):
    f = MODELS[name]()
    point = inner_of(f).evaluate(THETA)
    mean, sd, skewness = brute_force_moments(f, point)
    full, simple = point.moments(), inner_of(f, strategy="simplified_laplace").evaluate(THETA).moments()
    bare = inner_of(f, strategy="gaussian").evaluate(THETA).moments()
    # a handful of small counts, or six observations for a mean and a scale: what is of second order in 1/n is a few
    # percent of an sd
    np.testing.assert_allclose((full.mean - mean) / sd, 0, atol=0.03)
    np.testing.assert_allclose(full.sd / sd, 1, atol=0.03)
    np.testing.assert_allclose(full.skewness, skewness, atol=0.1)
    np.testing.assert_allclose((simple.mean - mean) / sd, 0, atol=0.12)
    np.testing.assert_allclose(simple.skewness, skewness, atol=0.3)

    def error(m):
        return np.max(np.abs(m.mean - mean) / sd), np.max(np.abs(m.sd / sd - 1))

    # each correction is worth having; below 0.005 sd the order of the first two is chance
    assert error(full)[0] < max(error(simple)[0], 0.005)
    assert error(simple)[0] < error(bare)[0]
    assert error(full)[1] < error(bare)[1]
    np.testing.assert_array_equal(bare.mean, point.x_star)
    np.testing.assert_array_equal(bare.skewness, 0.0)


@pytest.mark.parametrize("name", MODELS)
def test_density_is_the_laplace_approximation_at_the_conditional_mode(name):
    """With the conditional mode found by a general optimizer and determinants in a basis orthogonal to x_j."""
    f = MODELS[name]()
    prior, offset, A, Q = dense(f)
    point = inner_of(f).evaluate(THETA)
    S = point.mode.factor.solve(np.eye(f.n_x))
    conditional = ConditionalLaplace(point, np.arange(f.n_x))

    def density(j, t):
        rows = np.vstack([f.C.toarray(), np.eye(f.n_x)[j]])
        basis = linalg.null_space(rows)
        origin = point.x_star + t * S[:, j] / np.sqrt(S[j, j])

        def minus(z):
            x = origin + basis @ z
            likelihood = f.log_likelihood(offset + A @ x, THETA)
            gradient = A.T @ likelihood.gradient + prior.b - Q @ x
            return -(likelihood.value.sum() + prior.b @ x - 0.5 * x @ Q @ x), -basis.T @ gradient

        found = optimize.minimize(minus, np.zeros(basis.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9})
        likelihood = f.log_likelihood(offset + A @ (origin + basis @ found.x), THETA)
        W = np.zeros((f.n_eta, f.n_eta))
        W[f.W_rows, f.W_cols] = W[f.W_cols, f.W_rows] = likelihood.W
        return -found.fun - 0.5 * np.linalg.slogdet(basis.T @ (Q + A.T @ W @ A) @ basis)[1]

    # Newton steps end when less than 1e-4 is to be gained, which is 0.014 sds, and the determinant feels to first order
    distances = [0.3, 1.0, 2.0, 3.0]
    for sign in (1.0, -1.0):
        for j, points in enumerate(conditional.side(sign, distances)):
            t, found = np.array(points).T
            np.testing.assert_array_equal(t, sign * np.array(distances[: len(t)]))
            assert len(t) >= 3
            np.testing.assert_allclose(found, [density(j, each) - density(j, 0.0) for each in t], atol=5e-3)


@pytest.mark.parametrize("log_sd", [-12.0, -15.0])
def test_random_walk_that_hardly_moves(log_sd):
    """All elements are one number then, whose density is known. Prior precisions of 1e13 hid it in the rounding of
    x'Qx, several log units, where log p~(theta | y) had a peak of its own."""
    n, level = 15, -5.0
    y, steps = np.arange(n) % 3, np.diff(np.eye(n), axis=0)

    def prior(theta):
        start = np.diag(np.arange(n) == 0) * 0.25
        Q = np.exp(-2 * theta[0]) * (steps.T @ steps) + start
        return Q, start @ np.full(n, level), 0.0

    f = build_model(poisson(y), n, prior, lambda t: (np.eye(n), np.full(n, 5.0)), standard_log_prior, [0.0])
    point = inner_of(f).evaluate(np.array([log_sd]))
    assert point.status.ok
    conditional = ConditionalLaplace(point, np.array([n - 1]))
    x, distances = point.x_star[-1], np.array([0.5, 1.0, 2.0, 3.0, 4.0])

    def density(x):
        return y.sum() * x - n * np.exp(5.0 + x) - (x - level) ** 2 / 8

    for sign in (1.0, -1.0):
        _, found = np.array(conditional.side(sign, distances)[0]).T
        at = x + sign * distances * conditional.sd[0]
        # of an sd by the factor, and of x* by its own rounding: percents at sds of 1e-7
        np.testing.assert_allclose(found, density(at) - density(x), atol=0.05)


def free_energy(f, point, m):
    """Kullback-Leibler objective of N(m, S), by a sum over a grid for each observation."""
    prior, offset, A, Q = dense(f)
    S = point.mode.factor.solve(np.eye(f.n_x))
    covariance = A @ S @ A.T
    axis = np.linspace(-7, 7, 57)
    size = f.n_eta // f.n_obs
    z = np.array(np.meshgrid(*[axis] * size)).reshape(size, -1)
    w = np.exp(-0.5 * np.sum(z**2, axis=0))
    w /= w.sum()
    roots = [np.linalg.cholesky(covariance[i :: f.n_obs, i :: f.n_obs] + 1e-14 * np.eye(size)) for i in range(f.n_obs)]
    deviation = np.stack([root @ z for root in roots], axis=1).reshape(f.n_eta, -1)
    eta = (offset + A @ m)[:, None] + deviation
    values = np.array([f.log_likelihood(column, THETA).value.sum() for column in eta.T])
    return 0.5 * m @ Q @ m - prior.b @ m - w @ values


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chosen", [True, [1]])
def test_variational_mean_minimizes_the_free_energy(name, chosen):
    f = MODELS[name]()
    point = inner_of(f, vb_correct=chosen).evaluate(THETA)
    M = point.mode.factor.solve(np.eye(f.n_x))[:, np.arange(f.n_x) if chosen is True else chosen]
    basis = linalg.orth(M)
    found = optimize.minimize(
        lambda v: free_energy(f, point, point.x_star + basis @ v), np.zeros(basis.shape[1]), options={"gtol": 1e-6}
    )
    sd = point.moments().sd
    # finite differences of the minimizer, and 9 nodes a dimension against 57
    np.testing.assert_allclose(point.moments().mean / sd, (point.x_star + basis @ found.x) / sd, atol=2e-4)
    assert np.max(np.abs(point.mean_shift) / sd) > 0.01
    np.testing.assert_allclose(f.C @ point.moments().mean, f.e, atol=1e-10)


@pytest.mark.parametrize("name", ["poisson", "binomial", "poisson, constrained"])
def test_variational_mean_is_nearer_to_the_truth_than_the_mode(name):
    f = MODELS[name]()
    point = inner_of(f, vb_correct=True).evaluate(THETA)
    mean, sd, _ = brute_force_moments(f, point)
    corrected = np.max(np.abs(point.moments().mean - mean) / sd)
    assert corrected < 0.4 * np.max(np.abs(point.x_star - mean) / sd)


def test_elements_to_correct():
    np.testing.assert_array_equal(check_indices(True, 3), [0, 1, 2])
    np.testing.assert_array_equal(check_indices(False, 3), [])
    np.testing.assert_array_equal(check_indices([2, 0, 2], 3), [0, 2])
    with pytest.raises(InvalidOptionError, match="contains 3; the latent field has 3 elements"):
        check_indices([0, 3], 3)
    with pytest.raises(InvalidOptionError, match="sequence of integers"):
        check_indices([0.5], 3)
