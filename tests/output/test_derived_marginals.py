"""Scalars of a model that are functions of one hyperparameter have deterministic marginals, as it has."""

import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import pymc_inla as pmi

RNG = np.random.default_rng(12)
GROUP = np.repeat(np.arange(10), 5)
Y = RNG.normal(0, 0.2, 10)[GROUP] + RNG.normal(size=50)


@pytest.fixture(scope="module")
def idata():
    with pm.Model():
        sigma = pm.Exponential("sigma", 2.0)
        noise = pm.Gamma("noise", 2.0, 1.0)
        u = pm.Normal("u", 0, sigma, shape=10)
        pm.Normal("y", u[GROUP], noise**-0.5, observed=Y)
        pm.Deterministic("tau", sigma**-2)
        pm.Deterministic("share", sigma**2 / (1 + sigma**2))
        pm.Deterministic("noise_sd", noise**-0.5)
        pm.Deterministic("ratio", sigma**2 * noise)
        pm.Deterministic("wave", pm.math.sin(20 * sigma))
        pm.Deterministic("constant", pm.math.constant(3.0))
        pm.Deterministic("first", u[0])
        return pmi.fit(draws=200, chains=2, random_seed=1, progressbar=False)


QUANTILES = ["q2.5", "q25", "q50", "q75", "q97.5"]


def test_quantiles_are_mapped(idata):
    table = pmi.summary(idata)
    sigma = table.loc["sigma", QUANTILES].to_numpy(float)
    assert table.loc["tau", "source"] == "marginal"
    np.testing.assert_allclose(table.loc["tau", QUANTILES].to_numpy(float), sigma[::-1] ** -2)
    np.testing.assert_allclose(table.loc["share", QUANTILES].to_numpy(float), sigma**2 / (1 + sigma**2))
    noise = table.loc["noise", QUANTILES].to_numpy(float)
    np.testing.assert_allclose(table.loc["noise_sd", QUANTILES].to_numpy(float), noise[::-1] ** -0.5)


def test_moments(idata):
    table, sigma = pmi.summary(idata), pmi.marginal(idata, "sigma")

    def share(s):
        return s**2 / (1 + s**2)

    mean = sigma.expectation(share)
    # two integration rules over 201 points of a density
    assert table.loc["share", "mean"] == pytest.approx(mean, rel=1e-3)
    sd = np.sqrt(sigma.expectation(lambda s: (share(s) - mean) ** 2))
    assert table.loc["share", "sd"] == pytest.approx(sd, rel=1e-3)
    # E[1 / sigma^2] does not exist: the density of sigma is positive at zero, and not small for these data
    assert np.isnan(table.loc["tau", "mean"])
    assert np.isnan(table.loc["tau", "sd"])
    assert np.all(np.isfinite(table.loc["noise_sd", ["mean", "sd"]].to_numpy(float)))


def test_density_is_that_of_the_transformed_variable(idata):
    sigma, tau = pmi.marginal(idata, "sigma"), pmi.marginal(idata, "tau")
    for t in tau.ppf([0.05, 0.3, 0.6, 0.9]):
        assert tau.pdf(t) == pytest.approx(sigma.pdf(t**-0.5) * 0.5 * t**-1.5, rel=0.01)
        assert tau.cdf(t) == pytest.approx(1 - sigma.cdf(t**-0.5), abs=2e-3)


def test_what_is_no_function_of_one_hyperparameter_comes_from_draws(idata):
    names = ["ratio", "wave", "constant", "first"]
    assert not set(names) & set(pmi.summary(idata).index)
    assert list(pmi.summary(idata, var_names=names)["source"]) == ["draws"] * 4
    assert set(pmi.summary(idata, kind="hyperparameter").index) == {"sigma", "noise", "tau", "share", "noise_sd"}


def test_precision_and_correlation_of_an_effect():
    with pm.Model():
        u = pmi.IID("u", 10, prior=("pc.prec", (1, 0.01)), ngroup=2, control_group={"model": "ar1"})
        group = np.tile([0, 1], 25)
        pm.Normal("y", pmi.project(u, GROUP, values=range(10), group=group + 1), 1.0, observed=Y)
        idata = pmi.fit(draws=50, chains=1, random_seed=1, progressbar=False)
    table = pmi.summary(idata, kind="hyperparameter")
    assert {"u_tau", "u_rho"} <= set(table.index)
    assert set(table["source"]) == {"marginal"}
    assert -1 < table.loc["u_rho", "q2.5"] < table.loc["u_rho", "mean"] < table.loc["u_rho", "q97.5"] < 1


@pytest.fixture(scope="module")
def cutpoints():
    x = RNG.normal(size=50)
    y = np.digitize(0.4 * x + RNG.logistic(size=50), [-0.5, 1])
    ordered = pm.distributions.transforms.ordered
    with pm.Model():
        c = pm.Normal("c", 0, 3, shape=2, transform=ordered, initval=np.array([-1, 1.0]))
        w = pm.Dirichlet("w", [2.0, 3.0])
        pm.OrderedLogistic("y", pm.Normal("b", 0, w[0]) * x, c, observed=y, compute_p=False)
        return [pmi.fit(draws=200, chains=2, random_seed=seed, progressbar=False) for seed in (1, 2)]


def test_elements_that_depend_on_several_unconstrained_ones_come_from_draws(cutpoints):
    first, second = (pmi.summary(idata, ["c", "w"]) for idata in cutpoints)
    assert list(first["source"]) == ["marginal", "draws", "marginal", "marginal"]
    stored = cutpoints[0]["inla/hyperparameter_marginals"]
    assert stored["c"].attrs["source"] == "marginal\ndraws"
    assert stored["w"].attrs["source"] == "marginal"
    numbers = [*QUANTILES, "mean", "sd", "mode"]
    exact = ["c[0]", "w[0]", "w[1]"]
    pd.testing.assert_frame_equal(first.loc[exact, numbers], second.loc[exact, numbers])
    assert np.all(first.loc["c[1]", numbers] != second.loc["c[1]", numbers])
    # c[0] is its own unconstrained value, and the two weights of a simplex are one number
    theta = cutpoints[0]["inla/unconstrained_marginals"]["c_ordered__"].sel(statistic="q25")[0]
    assert first.loc["c[0]", "q25"] == float(theta)
    np.testing.assert_allclose(first.loc["w[0]", QUANTILES], 1 - first.loc["w[1]", QUANTILES[::-1]].to_numpy())


def test_marginal_of_an_exact_element_is_that_of_the_summary(cutpoints):
    """Densities are stored of whole variables, so that this one is estimated from draws: 3 standard errors of 400."""
    density, row = pmi.marginal(cutpoints[0], "c", c_dim_0=0), pmi.summary(cutpoints[0], "c").loc["c[0]"]
    assert abs(density.mean - row["mean"]) < 3 * row["sd"] / np.sqrt(400)


def test_bounded_variables_have_all_moments():
    """The position of one of two peaks: its marginal has two modes far apart, beyond which the grid ends."""
    rng = np.random.default_rng(3)
    t = np.linspace(0, 20, 60)
    y = 4 * np.exp(-0.5 * (t - 6) ** 2) + 3 * np.exp(-0.5 * (t - 13) ** 2) + rng.normal(0, 0.3, 60)
    with pm.Model():
        h, c = pm.Normal("h", 0, 5, shape=2), pm.Uniform("c", 0, 20, shape=2)
        peaks = h[0] * pm.math.exp(-0.5 * (t - c[0]) ** 2) + h[1] * pm.math.exp(-0.5 * (t - c[1]) ** 2)
        pm.Normal("y", peaks, pm.HalfNormal("s", 1), observed=y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pmi.errors.ReliabilityWarning)
            idata = pmi.fit(draws=200, chains=1, random_seed=1, progressbar=False)
    table = pmi.summary(idata, "c")
    assert np.all(np.isfinite(table[["mean", "sd"]].to_numpy(dtype=float)))
    # the two orders are as likely
    np.testing.assert_allclose(table["mean"].to_numpy(dtype=float), 9.5, atol=0.5)
    assert not any("no finite mean" in message for message in pmi.reliability(idata).messages)
