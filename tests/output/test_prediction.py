"""Prediction through PyMC's own functions, against closed forms of Gaussian models with known scales and against NUTS'
way of doing the same: new rows, new groups, the population."""

import json

import counts_to_predict
import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi

rng = np.random.default_rng(8)
G = np.repeat(np.arange(6), 5)
X = rng.normal(size=30)
SIGMA_U, SIGMA_Y, SD_FIXED = 0.8, 0.6, 3.0
Y = 1.0 + 0.5 * X + rng.normal(0, SIGMA_U, 6)[G] + rng.normal(0, SIGMA_Y, 30)
DRAWS, CHAINS = 8000, 2
N = DRAWS * CHAINS
QUIET = {"predictions": True, "random_seed": 3, "progressbar": False}


def gaussian_model(sigma_u=None):
    with pm.Model(coords={"g": list("abcdef")}) as model:
        x, g = pm.Data("x", X), pm.Data("index", G)
        a, b = pm.Normal("a", 0, SD_FIXED), pm.Normal("b", 0, SD_FIXED)
        scale = SIGMA_U if sigma_u is None else sigma_u("sigma_u")
        u = pm.Normal("u", 0, scale, dims="g")
        pm.Normal("y", a + b * x + u[g], SIGMA_Y, observed=Y, shape=x.shape)
    return model


@pytest.fixture(scope="module")
def fitted():
    model = gaussian_model()
    return model, pmi.fit(model, draws=DRAWS, chains=CHAINS, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def exact():
    """Mean and covariance of (a, b, u) given y, dense algebra."""
    D = np.column_stack([np.ones(30), X, np.eye(6)[G]])
    precision = np.diag(np.r_[[SD_FIXED**-2] * 2, [SIGMA_U**-2] * 6]) + D.T @ D / SIGMA_Y**2
    covariance = np.linalg.inv(precision)
    return covariance @ D.T @ Y / SIGMA_Y**2, covariance


def assert_moments(draws, mean, variance):
    """Means and variances of independent draws within five Monte Carlo errors."""
    draws = np.asarray(draws, float).reshape(N, -1)
    mean, variance = np.atleast_1d(mean), np.atleast_1d(variance)
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * np.sqrt(variance / N))
    assert np.all(np.abs(draws.var(0) / variance - 1) < 5 * np.sqrt(2 / N))


def test_new_rows_of_known_groups(fitted, exact):
    model, idata = fitted
    x, g = np.array([-1.0, 0.0, 2.0]), np.array([0, 3, 3])
    with model:
        pm.set_data({"x": x, "index": g})
        predicted = pm.sample_posterior_predictive(idata, **QUIET)
        pm.set_data({"x": X, "index": G})
    mean, covariance = exact
    D = np.column_stack([np.ones(3), x, np.eye(6)[g]])
    assert_moments(predicted.predictions["y"], D @ mean, np.diag(D @ covariance @ D.T) + SIGMA_Y**2)


def test_new_groups_come_from_their_prior(fitted, exact):
    model, idata = fitted
    with model:
        pm.set_data({"x": np.array([0.0, 1.0]), "index": np.array([0, 1])})
        model.set_dim("g", 2, coord_values=["new A", "new B"])
        predicted = pm.sample_posterior_predictive(idata, sample_vars=["u"], var_names=["u", "y"], **QUIET)
        model.set_dim("g", 6, coord_values=list("abcdef"))
        pm.set_data({"x": X, "index": G})
    mean, covariance = exact
    D = np.array([[1.0, 0.0], [1.0, 1.0]])
    fixed = D @ covariance[:2, :2] @ D.T
    assert list(predicted.predictions["g"].values) == ["new A", "new B"]
    assert_moments(predicted.predictions["u"], np.zeros(2), np.full(2, SIGMA_U**2))
    assert_moments(predicted.predictions["y"], D @ mean[:2], np.diag(fixed) + SIGMA_U**2 + SIGMA_Y**2)


def test_population_level_leaves_the_effect_out(fitted, exact):
    model, idata = fitted
    with model:
        pm.set_data({"x": np.array([0.5]), "index": np.array([0])})
        typical = pm.do(model, {"u": np.zeros(6)})
        predicted = pm.sample_posterior_predictive(idata, model=typical, var_names=["y"], **QUIET)
        pm.set_data({"x": X, "index": G})
    mean, covariance = exact
    d = np.array([1.0, 0.5])
    assert_moments(predicted.predictions["y"], d @ mean[:2], d @ covariance[:2, :2] @ d + SIGMA_Y**2)


def test_new_group_under_an_uncertain_scale():
    """u_new given y is a scale mixture: variance E[sigma_u^2 | y], kurtosis 3 E[sigma_u^4] / E[sigma_u^2]^2; both of a
    spare level in the model and of a group sampled afterwards."""
    model = gaussian_model(lambda name: pm.HalfNormal(name, 1))
    idata = pmi.fit(model, draws=DRAWS, chains=CHAINS, random_seed=2, progressbar=False)
    sigma = pmi.marginal(idata, "sigma_u")
    second, fourth = sigma.expectation(lambda s: s**2), sigma.expectation(lambda s: s**4)
    with model:
        pm.set_data({"x": np.zeros(1), "index": np.zeros(1, int)})
        model.set_dim("g", 1, coord_values=["new"])
        later = pm.sample_posterior_predictive(idata, sample_vars=["u"], var_names=["u"], **QUIET)
    with pm.Model() as spare:
        a, b = pm.Normal("a", 0, SD_FIXED), pm.Normal("b", 0, SD_FIXED)
        u = pm.Normal("u", 0, pm.HalfNormal("sigma_u", 1), shape=7)
        pm.Normal("y", a + b * X + u[G], SIGMA_Y, observed=Y)
    in_fit = pmi.fit(spare, draws=DRAWS, chains=CHAINS, random_seed=2, progressbar=False)
    # relative Monte Carlo error of a variance: sqrt((kurtosis - 1) / N)
    error = np.sqrt((3 * fourth / second**2 - 1) / N)
    for draws in (later.predictions["u"].values.ravel(), in_fit.posterior["u"].values[..., 6].ravel()):
        assert abs(draws.mean()) < 5 * np.sqrt(second / N)
        assert abs(draws.var() / second - 1) < 5 * error
    # the deterministic marginal of the spare level has no Monte Carlo error: what the grid over sigma_u promises
    assert abs(pmi.summary(in_fit, "u").loc["u[6]", "sd"] / np.sqrt(second) - 1) < 0.01


@pytest.fixture(scope="module")
def counts():
    reference = json.loads(counts_to_predict.REFERENCE.read_text())["frequencies"]
    model = counts_to_predict.build()
    idata = pmi.fit(model, draws=DRAWS, chains=CHAINS, random_seed=1, progressbar=False)
    return reference, counts_to_predict.predict(model, idata)


@pytest.mark.parametrize("question", ["known", "new", "typical"])
def test_counts_agree_with_nuts(counts, question):
    """Distribution functions of predicted counts within 0.015 of those from 40 000 draws of NUTS, whose own error is
    about 0.005 at an effective size of 20 000, as is that of 16 000 draws."""
    reference, predicted = counts
    for frequencies, column in zip(reference[question], predicted[question].T, strict=True):
        size = max(len(frequencies), int(column.max()) + 1)
        ours = np.cumsum(np.bincount(column.astype(int), minlength=size)) / len(column)
        theirs = np.cumsum(np.pad(frequencies, (0, size - len(frequencies)))) / np.sum(frequencies)
        assert np.max(np.abs(ours - theirs)) < 0.015
