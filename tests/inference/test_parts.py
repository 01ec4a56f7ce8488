"""Large models are put in the order of their local blocks and worked on in parts: nothing else changes."""

from itertools import pairwise

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference import local_blocks, local_part, observation_order
from pymc_inla.inference.observation_order import Arrangement, arrange, select_observations
from pymc_inla.inference.quadrature import QuadratureInner
from pymc_inla.linalg import choose_local

rng = np.random.default_rng(0)
G, N = 30, 160
# levels without data among the first and the last; the last rows of the data see no group
GROUP = rng.permutation(np.concatenate([np.arange(1, G - 1), rng.integers(1, G - 1, N - G + 2)]))
ALONE = np.arange(N) >= N - 12
X = rng.normal(size=N)
EXPOSURE = rng.uniform(0.5, 2.0, size=N)
COUNTS = rng.poisson(1.5, size=N)
REAL = rng.normal(size=N)


def centered(likelihood):
    a, sigma = pm.Normal("a", 0, 2), pm.HalfNormal("sigma", 1)
    u = pm.Normal("u", 0, sigma, shape=G)
    likelihood(a + 0.3 * X + u[GROUP])


def some_rows_without_group(likelihood):
    a, sigma = pm.Normal("a", 0, 2), pm.HalfNormal("sigma", 1)
    u = pm.Normal("u", 0, sigma, shape=G)
    likelihood(a + pm.math.where(ALONE, 0.0, 1.0) * u[GROUP])


def non_centered_slopes(likelihood):
    a, sigma = pm.Normal("a", 0, 2), pm.HalfNormal("sigma", 1, shape=2)
    z = pm.Normal("z", 0, 1, shape=(2, G))
    likelihood(a + sigma[0] * z[0, GROUP] + sigma[1] * z[1, GROUP] * X)


def hierarchical(likelihood):
    mean, sigma = pm.Normal("mean", 0, 2, shape=3), pm.HalfNormal("sigma", 1)
    u = pm.Normal("u", mean[np.arange(G) % 3], sigma, shape=G)
    likelihood(0.3 * X + u[GROUP])


def poisson(eta):
    pm.Poisson("y", EXPOSURE * pm.math.exp(eta), observed=COUNTS)


def binomial(eta):
    pm.Binomial("y", COUNTS + 2, logit_p=eta, observed=COUNTS)


def negative_binomial(eta):
    alpha = pm.Exponential("alpha", 0.5)
    pm.NegativeBinomial("y", mu=pm.math.exp(eta), alpha=alpha * EXPOSURE, observed=COUNTS)


def normal(eta):
    pm.Normal("y", eta, pm.HalfNormal("noise", 1, shape=2)[COUNTS % 2], observed=REAL)


MODELS = {
    "counts": (centered, poisson),
    "rows without group": (some_rows_without_group, negative_binomial),
    "non-centered slopes": (non_centered_slopes, binomial),
    "hierarchical mean": (hierarchical, normal),
}


@pytest.fixture(scope="module", params=MODELS)
def functions(request):
    effects, likelihood = MODELS[request.param]
    with pm.Model() as model:
        effects(likelihood)
    return compile_model(analyze_model(model))


def test_parts_add_up_to_the_whole(functions, monkeypatch):
    partition = choose_local(functions.Q_pattern, functions.A_pattern, functions.W_rows, functions.W_cols, functions.C)
    theta = np.linspace(-0.6, 0.2, functions.n_theta)
    whole = QuadratureInner(functions, partition, 5).evaluate(theta)
    monkeypatch.setattr(observation_order, "LARGE", 0)
    monkeypatch.setattr(local_blocks, "PART", 25)
    arranged = arrange(functions)
    assert np.array_equal(np.sort(arranged.order), np.arange(N))
    point = QuadratureInner(arranged.functions, arranged.partition, 5).evaluate(theta)
    assert len(whole.integral.parts) == 1 and len(point.integral.parts) > 3
    # Newton's method stops in every part by itself, 1e-7 sd from its modes; sums in another order
    assert point.log_posterior == pytest.approx(whole.log_posterior, abs=1e-9)
    np.testing.assert_allclose(point.gradient, whole.gradient, atol=1e-7)
    np.testing.assert_allclose(point.x_star, whole.x_star, atol=1e-6)
    for name in ("mean", "sd", "skewness"):
        found, expected = getattr(point.moments(), name), getattr(whole.moments(), name)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        found, expected = getattr(point.eta_moments(), name), getattr(whole.eta_moments(), name)
        np.testing.assert_allclose(found, expected[arranged.order], atol=1e-6)
        np.testing.assert_allclose(getattr(point.eta_moments(21), name), found[::8], rtol=1e-12)
    draws = [p.sample(np.random.default_rng(1), 50) for p in (point, whole)]
    np.testing.assert_allclose(draws[0].x, draws[1].x, atol=1e-4)
    np.testing.assert_allclose(draws[0].log_joint, draws[1].log_joint, atol=1e-4)


def test_selected_observations_are_those_of_the_data(functions):
    theta, design = np.linspace(-0.6, 0.2, functions.n_theta), functions.design
    x = np.random.default_rng(2).normal(size=functions.n_x)
    eta = design(theta).offset + functions.A_pattern.to_matrix(design(theta).A) @ x
    bars = np.random.default_rng(3).normal(size=(3, N))
    for index in (np.random.default_rng(4).permutation(N), np.array([7, 3, 90]), slice(20, 60)):
        some = select_observations(functions, index)
        n = len(np.arange(N)[index])
        again = select_observations(some, slice(1, n))
        at = np.arange(N)[index][1:]
        part = again.design(theta)
        np.testing.assert_allclose(part.offset + again.A_pattern.to_matrix(part.A) @ x, eta[at], rtol=1e-12)
        for attribute in ("value", "gradient", "W"):
            found = getattr(again.log_likelihood(eta[at], theta), attribute)
            np.testing.assert_allclose(found, getattr(functions.log_likelihood(eta, theta), attribute)[at], rtol=1e-12)
        np.testing.assert_allclose(again.cdf(eta[at], theta), functions.cdf(eta, theta)[at], rtol=1e-12)
        # the vjp of the others is that of cotangents that are zero elsewhere
        elsewhere = np.ones(N, dtype=bool)
        elsewhere[at] = False
        zeroed = np.where(elsewhere, 0.0, bars)
        expected_eta, expected_theta = functions.log_likelihood_vjp(eta, theta, *zeroed)
        found_eta, found_theta = again.log_likelihood_vjp(eta[at], theta, *bars[:, at])
        np.testing.assert_allclose(found_eta, expected_eta[at], rtol=1e-12)
        np.testing.assert_allclose(found_theta, expected_theta, rtol=1e-10, atol=1e-12)
        if functions.design_vjp is not None:
            A_bar = np.random.default_rng(5).normal(size=again.A_pattern.nnz)
            step = 1e-6 * np.eye(len(theta))
            slopes = [(A_bar @ (again.design(theta + s).A - again.design(theta - s).A)) / 2e-6 for s in step]
            np.testing.assert_allclose(again.design_vjp(theta, A_bar, np.zeros(n - 1)), slopes, atol=1e-6)


@pytest.mark.parametrize("strategy", ["auto", "laplace"])
def test_results_come_back_in_the_order_of_the_data(strategy, monkeypatch):
    with pm.Model() as model:
        some_rows_without_group(poisson)
    options = {"strategy": strategy, "draws": 100, "chains": 2, "random_seed": 1, "progressbar": False}
    expected = pmi.fit(model, predictors=True, **options)
    monkeypatch.setattr(observation_order, "LARGE", 0)
    monkeypatch.setattr(local_blocks, "PART", 25)
    found = pmi.fit(model, predictors=True, **options)
    assert found["inla"].attrs["strategy"] == expected["inla"].attrs["strategy"]
    for group in ("inla/predictor_marginals", "inla/latent_marginals", "inla/criteria", "posterior"):
        for name, values in expected[group].dataset.data_vars.items():
            scale = 1.0 + np.abs(values)
            np.testing.assert_allclose(found[group][name] / scale, values / scale, atol=2e-4, err_msg=f"{group} {name}")


def test_what_is_one_piece_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(observation_order, "LARGE", 0)
    with pm.Model() as model:
        centered(lambda eta: pm.ZeroInflatedPoisson("y", 0.7, pm.math.exp(eta), observed=COUNTS))
    functions = compile_model(analyze_model(model))
    assert arrange(functions) == Arrangement(functions)
    partition = choose_local(functions.Q_pattern, functions.A_pattern, functions.W_rows, functions.W_cols, functions.C)
    monkeypatch.setattr(local_blocks, "PART", 25)
    assert len(QuadratureInner(functions, partition).blocks.parts) == 1


def test_parts_are_ranges_of_whole_blocks():
    with pm.Model() as model:
        some_rows_without_group(poisson)
    functions = compile_model(analyze_model(model))
    partition = choose_local(functions.Q_pattern, functions.A_pattern, functions.W_rows, functions.W_cols, functions.C)
    whole = QuadratureInner(functions, partition).blocks.whole
    assert local_part.divide(whole, 25) == (whole,)  # rows are in the order of the data
    order = observation_order.block_order(functions, partition)
    whole = QuadratureInner(select_observations(functions, order), partition).blocks.whole
    for n_rows in (1, 25, N - 1):
        parts = local_part.divide(whole, n_rows)
        for name in ("blocks", "rows", "pairs"):
            ranges = [getattr(part, name) for part in parts]
            assert all(a.stop == b.start for a, b in pairwise(ranges))
            assert (ranges[0].start, ranges[-1].stop) == (getattr(whole, name).start, getattr(whole, name).stop)
        blocks = np.concatenate([part.row_block + part.blocks.start for part in parts])
        np.testing.assert_array_equal(blocks, whole.row_block)
