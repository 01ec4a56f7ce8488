"""The search for x*(theta) from bad starts, with outliers, negative curvature, huge offsets and almost no data."""

import numpy as np
import pytest
from laplace_models import (
    build_model,
    gaussian_noise,
    iid_prior,
    indicator,
    mixed_model,
    poisson,
    poisson_model,
    standard_log_prior,
    student_model,
    student_t,
)
from scipy import optimize

from pymc_inla.inference.newton import clamp, find_mode
from pymc_inla.linalg import build_system
from pymc_inla.status import Status


def mode_of(f, theta, start=None, **options):
    system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e)
    with np.errstate(over="ignore", invalid="ignore"):
        return find_mode(f, system, np.asarray(theta, float), start, **options)


def scalar_model(derivatives, prior_precision=1e-8, n=1, offset=0.0):
    """eta_i = offset + x for one scalar x."""
    return build_model(
        derivatives,
        n,
        lambda t: (np.array([[prior_precision]]), np.zeros(1) + 0 * t[:1], 0.5 * np.log(prior_precision)),
        lambda t: (np.ones((n, 1)), np.full(n, offset)),
        standard_log_prior,
        [0.0],
    )


@pytest.mark.parametrize("level", [-700.0, -30.0, 30.0, 650.0])
def test_poisson_from_far_away(level):
    functions = poisson_model()
    usual = mode_of(functions, [0.0])
    far = mode_of(functions, [0.0], np.full(functions.n_x, level))
    assert usual.status is far.status is Status.CONVERGED
    np.testing.assert_allclose(far.x, usual.x, atol=1e-6)


def test_start_at_which_the_density_overflows():
    functions = poisson_model()
    far = mode_of(functions, [0.0], np.full(functions.n_x, 1e4))
    assert far.status is Status.CONVERGED
    np.testing.assert_allclose(far.x, mode_of(functions, [0.0]).x, atol=1e-6)


@pytest.mark.parametrize("offset", [-2000.0, -800.0, 0.0, 600.0, 2000.0])
def test_offset_that_overflows_at_zero(offset):
    y = np.array([3.0, 5.0, 4.0])
    found = mode_of(scalar_model(poisson(y), n=3, offset=offset), [0.0])
    assert found.status is Status.CONVERGED
    # the prior precision of 1e-8 pulls x by 1e-8 x / 12
    assert found.x[0] + offset == pytest.approx(np.log(4.0), abs=1e-5)


def test_count_of_a_million():
    found = mode_of(scalar_model(poisson(np.array([1e6]))), [0.0])
    assert found.status is Status.CONVERGED
    assert found.x[0] == pytest.approx(np.log(1e6), abs=1e-7)


def test_student_t_with_an_outlier_finds_the_mode_of_the_bulk():
    functions = student_model()
    found = mode_of(functions, [0.0])
    assert found.status is Status.CONVERGED
    assert np.min(found.likelihood.W) < 0
    prior, design = functions.prior(np.zeros(1)), functions.design(np.zeros(1))
    A, Q = functions.A_pattern.to_matrix(design.A), functions.Q_pattern.to_matrix(prior.Q)

    def objective(x):
        likelihood = functions.log_likelihood(A @ x, np.zeros(1))
        gradient = A.T @ likelihood.gradient + prior.b - Q @ x
        return -(likelihood.value.sum() + prior.b @ x - 0.5 * x @ (Q @ x)), -gradient

    other = optimize.minimize(objective, np.zeros(functions.n_x), jac=True, method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(found.x, other.x, atol=1e-6)


def test_student_t_from_among_the_outliers():
    """Starts where W is negative everywhere and the true H is not positive definite."""
    y = np.array([-0.3, 0.1, 0.2, 0.4, -0.1])
    functions = scalar_model(student_t(y, 4.0, 0.2), n=5)
    far = mode_of(functions, [0.0], np.array([25.0]))
    assert np.all(functions.log_likelihood(np.full(5, 25.0), np.zeros(1)).W < 0)
    assert far.status is Status.CONVERGED
    np.testing.assert_allclose(far.x, mode_of(functions, [0.0]).x, atol=1e-6)


def test_saddle_is_left():
    """Two far observations with t noise: zero is a minimum between two modes, and a start of the search."""
    functions = scalar_model(student_t(np.array([-5.0, 5.0]), 2.0, 0.5), n=2)
    found = mode_of(functions, [0.0])
    assert found.status is Status.CONVERGED
    assert abs(found.x[0]) == pytest.approx(5.0, abs=0.1)


def test_offset_of_a_million_in_gaussian_data():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(4), 5)
    y = rng.normal(size=20) + rng.normal(size=4)[group]
    X = np.ones((20, 1))
    here = mode_of(mixed_model(gaussian_noise(y, 1), indicator(group, 4), X, 2, gaussian=True), [0.0, 1.0])
    far_model = mixed_model(gaussian_noise(y + 1e6, 1), indicator(group, 4), X, 2, gaussian=True)
    far = mode_of(far_model, [0.0, 1.0])
    assert far.status is Status.CONVERGED
    # one step and the check of it
    assert far.n_newton == 2
    # shrinkage moves linearly with the data: with flat intercepts it would not move at all
    shifted = mode_of(mixed_model(gaussian_noise(y + 2e6, 1), indicator(group, 4), X, 2, gaussian=True), [0.0, 1.0])
    np.testing.assert_allclose(far.x - here.x, shifted.x - far.x, rtol=1e-8)


def test_one_observation():
    functions = build_model(
        poisson(np.array([7.0])),
        1,
        iid_prior(1, 0),
        lambda t: (np.ones((1, 1)), np.zeros(1)),
        standard_log_prior,
        [0.0],
    )
    found = mode_of(functions, [1.0])
    root = optimize.brentq(lambda x: 7.0 - np.exp(x) - np.exp(1.0) * x, -5, 5, xtol=1e-14)
    assert found.status is Status.CONVERGED
    assert found.x[0] == pytest.approx(root, abs=1e-7)


def test_warm_start_saves_passes():
    functions = poisson_model()
    cold = mode_of(functions, [0.0])
    warm = mode_of(functions, [0.05], cold.x)
    assert warm.n_passes < cold.n_passes
    assert mode_of(functions, [0.0], cold.x).n_newton <= 2


def test_iteration_limit_is_reported():
    found = mode_of(poisson_model(), [0.0], max_iterations=2)
    assert found.status is Status.MAX_ITERATIONS
    # from both usual starts
    assert found.n_newton == 4


def test_no_finite_density_is_reported():
    def nowhere(eta, theta):
        return eta - np.inf, 0 * eta, 1 + 0 * eta

    found = mode_of(scalar_model(nowhere), [0.0])
    assert found.status is Status.NON_FINITE
    assert found.factor is None


def test_likelihood_that_grows_forever_is_not_converged():
    """exp(eta) has no maximum; the Gaussian prior is too weak to make one near the start."""

    def growing(eta, theta):
        e = np.exp(eta)
        return e, e, -e

    found = mode_of(scalar_model(growing), [0.0])
    assert not found.status.ok


def test_clamp_keeps_blocks_semidefinite():
    from laplace_models import two_predictor_model

    functions = two_predictor_model()
    n = functions.n_obs
    W = np.random.default_rng(7).normal(size=3 * n)
    clamped = clamp(W, functions)
    for i in range(n):
        block = np.array([[clamped[i], clamped[2 * n + i]], [clamped[2 * n + i], clamped[n + i]]])
        assert np.min(np.linalg.eigvalsh(block)) > -1e-12
    positive = np.concatenate([np.full(2 * n, 2.0), np.full(n, 0.7)])
    np.testing.assert_array_equal(clamp(positive, functions), positive)


def test_a_tight_effect_with_unknown_mean_converges_at_the_rounding_of_its_density():
    """u ~ N(m, sigma^2), sigma = 5e-5 of the sd of the data: the density has eleven digits, and steps that gain less
    than its rounding are not searched for. The mode is that of the weighted mean."""
    y, G, sigma = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]), 8, 5e-5
    Q = np.diag(np.r_[np.full(G, sigma**-2), G * sigma**-2 + 1e-4])
    Q[:G, G] = Q[G, :G] = -(sigma**-2)
    functions = build_model(
        gaussian_noise(y, 0),
        G,
        lambda t: (Q + 0 * t[0], np.zeros(G + 1) + 0 * t[0], 0.0 * t[0]),
        lambda t: (np.eye(G, G + 1) + 0 * t[0], np.zeros(G)),
        standard_log_prior,
        [0.0],
    )
    found = mode_of(functions, [0.0])
    assert found.status is Status.CONVERGED
    assert found.n_passes < 40
    np.testing.assert_allclose(found.x, np.sum(y) / (G + 1e-4), atol=1e-5)
