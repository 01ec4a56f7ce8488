"""Multivariate responses whose observations have a covariance each: densities and derivatives against SciPy."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.exceptions import ImputationWarning
from pytensor.graph.traversal import applys_between
from pytensor.tensor.blockwise import Blockwise
from scipy import stats

from pymc_inla.analysis import analyze_model
from pymc_inla.analysis.small_cholesky import cholesky_by_element, solve_by_element, write_out_small_solves
from pymc_inla.compile import compile_model

N = 7
RNG = np.random.default_rng(0)
HALF = {k: RNG.normal(size=(N, k, k)) for k in (1, 2, 3, 4)}
S = {k: A @ A.transpose(0, 2, 1) + 0.3 * np.eye(k) for k, A in HALF.items()}
Y = {k: RNG.normal(size=(N, k)) for k in S}
GROUP = np.array([0, 0, 1, 1, 0, 1, 0])

FORMS = {
    "cov": lambda C: {"cov": C},
    "tau": lambda C: {"tau": np.linalg.inv(C)},
    "chol": lambda C: {"chol": np.linalg.cholesky(C)},
    "upper chol": lambda C: {"chol": np.linalg.cholesky(C).transpose(0, 2, 1), "lower": False},
}


def compiled(model):
    """(functions, theta, eta, values of the latents) at a random point."""
    lgm = analyze_model(model)
    f = compile_model(lgm)
    rng = np.random.default_rng(2)
    theta, x = f.theta_initial + 0.2 * rng.normal(size=lgm.n_theta), rng.normal(size=lgm.n_x)
    design = f.design(theta)
    eta = design.offset + f.A_pattern.to_matrix(design.A) @ x
    return f, theta, eta, {v.name: x[v.start : v.stop].reshape(v.shape) for v in lgm.latents}


def density(y, mean, covariance):
    rows = zip(y, np.broadcast_to(mean, y.shape), covariance, strict=True)
    return np.array([stats.multivariate_normal.logpdf(*row) for row in rows])


def effects(k):
    return pm.Normal("t", pm.Normal("mu", 0, 2, shape=k), pm.HalfNormal("s", 1), shape=(N, k))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", S)
def test_known_covariances(k, form):
    with pm.Model() as model:
        pm.MvNormal("y", effects(k), **FORMS[form](S[k]), observed=Y[k])
    f, theta, eta, of = compiled(model)
    likelihood = f.log_likelihood(eta, theta)
    np.testing.assert_allclose(likelihood.value, density(Y[k], of["t"], S[k]), rtol=1e-12)
    # minus the second derivatives of a normal density are its precision
    W = np.zeros((N * k, N * k))
    rows, columns = f.log_likelihood.W_rows, f.log_likelihood.W_cols
    W[rows, columns] = W[columns, rows] = likelihood.W
    precision = np.linalg.inv(S[k])
    for i in range(N):
        np.testing.assert_allclose(W[i::N, i::N], precision[i], rtol=1e-9, atol=1e-11)


def covariance_and_effects(s):
    """A covariance between studies beside the known one of each."""
    return S[2] + s[0] ** 2 * np.array([[1.0, 0.5], [0.5, 1.0]])


def scales_by_observation(s):
    a, b = s[0] * np.linspace(0.5, 2, N), s[1] * np.ones(N)
    stack = pt.stack if isinstance(s, pytensor.graph.basic.Variable) else np.stack
    return stack([stack([a**2, 0.3 * a * b], -1), stack([0.3 * a * b, b**2], -1)], -2)


def covariance_by_group(s):
    stack = pt.stack if isinstance(s, pytensor.graph.basic.Variable) else np.stack
    return stack([np.eye(2) * s[0], np.eye(2) * s[1] + 0.2])[GROUP]


@pytest.mark.parametrize("form", ["cov", "chol", "tau"])
@pytest.mark.parametrize("covariance", [covariance_and_effects, scales_by_observation, covariance_by_group])
def test_covariances_that_depend_on_hyperparameters(covariance, form):
    """A mean that all observations share, too."""
    ways = {"cov": lambda C: C, "chol": pt.linalg.cholesky, "tau": pt.linalg.inv}
    with pm.Model() as model:
        mu, s = pm.Normal("mu", 0, 2, shape=2), pm.LogNormal("s", 0, 1, shape=2)
        pm.MvNormal("y", mu, **{form: ways[form](covariance(s))}, observed=Y[2])
    f, theta, eta, of = compiled(model)
    likelihood = f.log_likelihood(eta, theta)
    np.testing.assert_allclose(likelihood.value, density(Y[2], of["mu"], covariance(np.exp(theta))), rtol=1e-10)
    rng = np.random.default_rng(4)
    bars = [rng.normal(size=part.shape) for part in (likelihood.value, likelihood.gradient, likelihood.W)]

    def product(theta):
        found = f.log_likelihood(eta, theta)
        return sum(bar @ part for bar, part in zip(bars, (found.value, found.gradient, found.W), strict=True))

    steps = 1e-5 * np.eye(2)
    differences = [(product(theta + step) - product(theta - step)) / 2e-5 for step in steps]
    # central differences with a step of 1e-5 keep about nine digits
    np.testing.assert_allclose(f.log_likelihood.vjp(eta, theta, *bars)[1], differences, rtol=1e-7, atol=1e-7)


def test_several_axes_of_observations():
    y = np.random.default_rng(5).normal(size=(3, N, 2))
    with pm.Model() as model:
        u, w = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=(3, 1, 2)), pm.Normal("w", 0, 1, shape=(N, 2))
        pm.MvNormal("y", u + w, cov=S[2], observed=y)
    f, theta, eta, of = compiled(model)
    expected = [density(*pair, S[2]) for pair in zip(y, of["u"] + of["w"], strict=True)]
    np.testing.assert_allclose(f.log_likelihood(eta, theta).value, np.ravel(expected), rtol=1e-12)


def test_heavy_tails():
    with pm.Model() as model:
        pm.MvStudentT("y", nu=5, mu=effects(2), scale=S[2], observed=Y[2])
    f, theta, eta, of = compiled(model)
    rows = zip(Y[2], of["t"], S[2], strict=True)
    expected = [stats.multivariate_t.logpdf(y, mean, C, df=5) for y, mean, C in rows]
    # PyMC holds pi in single precision here
    np.testing.assert_allclose(f.log_likelihood(eta, theta).value, expected, atol=1e-8)


def test_whole_observations_are_missing():
    y = Y[2].copy()
    y[[2, 5]] = np.nan
    with pm.Model() as model, pytest.warns(ImputationWarning):
        pm.MvNormal("y", effects(2), cov=S[2], observed=y)
    f, theta, eta, of = compiled(model)
    kept = [0, 1, 3, 4, 6]
    np.testing.assert_allclose(
        f.log_likelihood(eta, theta).value, density(y[kept], of["t"][kept], S[2][kept]), rtol=1e-12
    )


def test_one_covariance_that_is_impossible():
    """Its own observation is, and no other."""
    with pm.Model() as model:
        mu, r = pm.Normal("mu", 0, 2, shape=2), pm.LogNormal("r", 0, 1)
        off = r * np.linspace(0.5, 1, N)
        one = pt.ones(N)
        pm.MvNormal("y", mu, cov=pt.stack([pt.stack([one, off], -1), pt.stack([off, one], -1)], -2), observed=Y[2])
    f, _, eta, _ = compiled(model)
    value = f.log_likelihood(eta, np.log([1.05])).value
    impossible = 1.05 * np.linspace(0.5, 1, N) >= 1
    assert impossible.sum() == 1
    np.testing.assert_array_equal(~np.isfinite(value), impossible)


COVARIANCES = {
    "a correlation": lambda z: pt.stacklists([[1.0, z[0]], [z[0], 1.0]]),
    "log scales": lambda z: pt.diag(pt.exp(2 * z)),
    "scales around a correlation": lambda z: pt.diag(pt.exp(z)) @ np.array([[1, 0.3], [0.3, 1]]) @ pt.diag(pt.exp(z)),
}


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("name", COVARIANCES)
def test_what_is_normal_in_a_covariance_is_a_hyperparameter(name, each):
    with pm.Model() as model:
        z = pm.Normal("z", 0, 0.3, shape=2)
        covariance = COVARIANCES[name](z) + (S[2] if each else 0.0)
        pm.MvNormal("y", effects(2), cov=covariance, observed=Y[2])
    lgm = analyze_model(model)
    assert [v.name for v in lgm.latents] == ["mu", "t"]
    assert {v.name for v in lgm.hyperparameters} == {"s", "z"}


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("k", S)
def test_factors_by_element(k, lower):
    factor = np.linalg.cholesky(S[k])
    other = np.triu(np.ones((k, k)), 1) if lower else np.tril(np.ones((k, k)), -1)
    found = cholesky_by_element(pt.constant(S[k] + other), k, lower=lower).eval()
    np.testing.assert_allclose(found, factor if lower else factor.transpose(0, 2, 1), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("k", S)
def test_solutions_by_element(k, lower, unit):
    L = np.linalg.cholesky(S[k])
    L = L if lower else L.transpose(0, 2, 1)
    found = solve_by_element(pt.constant(L), pt.constant(Y[k]), k, lower=lower, unit_diagonal=unit).eval()
    if unit:
        L = L - L * np.eye(k) + np.eye(k)
    # rounding, amplified by systems with condition numbers of at most 1e3
    np.testing.assert_allclose(found, np.linalg.solve(L, Y[k][..., None])[..., 0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("k", [3, 5])
def test_systems_with_one_matrix_are_written_out_where_they_are_small(k):
    """The matrix may be the same for all right-hand sides."""
    rng = np.random.default_rng(3)
    L, B = np.tril(rng.normal(size=(k, k))) + 2 * np.eye(k), rng.normal(size=(N, k))
    b = pt.matrix("b", shape=B.shape)
    solution = pt.linalg.solve_triangular(pt.constant(L), b, lower=True, b_ndim=1)
    written = write_out_small_solves(solution)
    assert any(isinstance(node.op, Blockwise) for node in applys_between([], [written])) == (k > 4)
    # rounding
    np.testing.assert_allclose(written.eval({b: B}), np.linalg.solve(L, B.T).T, rtol=1e-12, atol=1e-13)
