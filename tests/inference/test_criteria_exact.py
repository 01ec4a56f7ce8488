"""CPO and PIT against the exact density of an observation given all others, and what ArviZ computes from a fit."""

from dataclasses import replace
from types import SimpleNamespace

import arviz as az
import exact
import exact_models
import numpy as np
import pymc as pm
import pytest
from scipy import special, stats

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference.criteria import representatives

PROBLEM = exact_models.simulate("binomial", 10, 3, 1.0, seed=21, trials=4)


@pytest.fixture(scope="module")
def fitted():
    return pmi.fit(
        exact_models.build(PROBLEM),
        draws=2000,
        chains=2,
        random_seed=1,
        log_likelihood=True,
        log_prior=True,
        progressbar=False,
    )


def without(i):
    keep = np.arange(len(PROBLEM.y)) != i
    return replace(
        PROBLEM, y=PROBLEM.y[keep], X=PROBLEM.X[keep], group=PROBLEM.group[keep], trials=PROBLEM.trials[keep]
    )


@pytest.mark.parametrize("i", [0, 7, 14])
def test_cpo_and_pit_are_those_of_refits(fitted, i):
    others = without(i)
    psi, w, _, _ = exact.sample_shared(others, n=4096)
    b, sigma, _, noise, _, _ = exact._unpack(others, psi)
    # p(y_i = m | y_-i, psi) = I_g with the row i at m over I_g without it
    log_without = exact.conditional_moments(others, b @ others.X.T, sigma, noise)[0].sum(1)
    masses = []
    for m in range(5):
        y = PROBLEM.y.copy()
        y[i] = m
        problem = replace(PROBLEM, y=y)
        log_with = exact.conditional_moments(problem, b @ problem.X.T, sigma, noise)[0].sum(1)
        masses.append(w @ np.exp(log_with - log_without))
    assert sum(masses) == pytest.approx(1.0, abs=1e-6)
    criteria = fitted["inla/criteria"]
    # Monte Carlo error of the reference 0.5 / sqrt(3000); skewness of eta to first order
    assert np.exp(float(criteria["log_cpo"]["y"][i])) == pytest.approx(masses[PROBLEM.y[i]], rel=0.03)
    assert float(criteria["pit"]["y"][i]) == pytest.approx(sum(masses[: PROBLEM.y[i] + 1]), abs=0.02)


def information_criteria(problem):
    """WAIC, its number of effective parameters, DIC and its: by quadrature over every u_g and a weighted sample of all
    else."""
    psi, w, _, _ = exact.sample_shared(problem, n=2048)
    b, sigma, _, noise, _, _ = exact._unpack(problem, psi)
    z = b @ problem.X.T
    _, center, sd = exact.conditional_moments(problem, z, sigma, noise)
    t, log_w = np.polynomial.hermite_e.hermegauss(41)
    log_w = np.log(log_w) + 0.5 * t**2
    u = center[..., None] + sd[..., None] * t  # (S, G, k)
    eta = z[..., None] + u[:, problem.group]
    log_p = np.stack([problem.log_likelihood(eta[..., k], noise)[0] for k in range(len(t))], axis=-1)
    height = np.add.reduceat(log_p, problem.starts, axis=1) - 0.5 * (u / sigma[..., None]) ** 2 + log_w
    weight = np.exp(height - height.max(-1, keepdims=True))
    weight = (weight / weight.sum(-1, keepdims=True))[:, problem.group] * w[:, None, None]

    def mean(values):
        return np.sum(weight * values, axis=(0, 2))

    p_waic = np.sum(mean(log_p**2) - mean(log_p) ** 2)
    waic = -2 * (np.sum(np.log(mean(np.exp(log_p)))) - p_waic)
    deviance = -2 * np.sum(mean(log_p))
    at_mean = -2 * np.sum(problem.log_likelihood(mean(eta)[None], noise[:1])[0])
    return waic, p_waic, 2 * deviance - at_mean, deviance - at_mean


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_waic_and_dic_by_brute_force(fitted, family):
    if family == "binomial":
        problem, idata = PROBLEM, fitted
    else:
        problem = exact_models.simulate("poisson", 12, 3, 0.8, seed=22)
        idata = pmi.fit(exact_models.build(problem), draws=100, chains=2, random_seed=1, progressbar=False)
    table = pmi.summary(idata, kind="criteria")
    waic, p_waic, dic, p_dic = information_criteria(problem)
    # Monte Carlo error of the reference: 2048 points of an effective size above 1000
    assert table.loc["waic", "value"] == pytest.approx(waic, abs=0.15)
    assert table.loc["waic", "p_eff"] == pytest.approx(p_waic, abs=0.1)
    assert table.loc["dic", "value"] == pytest.approx(dic, abs=0.15)
    assert table.loc["dic", "p_eff"] == pytest.approx(p_dic, abs=0.1)


# a few of thirty observations weigh much in groups of three: what PSIS-LOO says of this model, not of the fit
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_arviz_reads_the_fit(fitted):
    loo = az.loo(fitted)
    assert loo.elpd == pytest.approx(float(fitted["inla/criteria"]["log_cpo"]["y"].sum()), abs=0.3)
    stats = fitted.sample_stats
    corrected = az.loo_approximate_posterior(fitted, log_p=stats["log_p"], log_q=stats["log_q"])
    # draws are resampled by the same ratios already, which are close to one
    assert corrected.elpd == pytest.approx(loo.elpd, abs=0.1)
    flat = pmi.fit(
        exact_models.build(replace(PROBLEM, scale_sigma=0.01)),
        draws=1000,
        chains=2,
        random_seed=1,
        log_likelihood=True,
        progressbar=False,
    )
    table = az.compare({"groups": fitted, "none": flat})
    assert table.index[0] == "groups"
    sensitivity = az.psense(fitted, var_names=["sigma", "b"])
    assert np.isfinite(float(sensitivity["sigma"])) and np.isfinite(sensitivity["b"]).all()


DISTRIBUTIONS = {
    "poisson": (
        lambda eta, y: pm.Poisson("y", 2.0 * pm.math.exp(eta), observed=y),
        lambda eta: stats.poisson(2 * np.exp(eta)),
    ),
    "binomial": (
        lambda eta, y: pm.Binomial("y", 7, logit_p=eta, observed=y),
        lambda eta: stats.binom(7, special.expit(eta)),
    ),
    "normal": (lambda eta, y: pm.Normal("y", eta, 1.5, observed=y), lambda eta: stats.norm(eta, 1.5)),
    "negative binomial": (
        lambda eta, y: pm.NegativeBinomial("y", mu=pm.math.exp(eta), alpha=2.0, observed=y),
        lambda eta: stats.nbinom(2.0, 2 / (2 + np.exp(eta))),
    ),
    "gamma": (
        lambda eta, y: pm.Gamma("y", 3.0, 3.0 / pm.math.exp(eta), observed=y),
        lambda eta: stats.gamma(3.0, scale=np.exp(eta) / 3),
    ),
    "lognormal": (
        lambda eta, y: pm.LogNormal("y", eta, 0.5, observed=y),
        lambda eta: stats.lognorm(0.5, scale=np.exp(eta)),
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution_functions(name):
    likelihood, distribution = DISTRIBUTIONS[name]
    y = np.array([0, 1, 2, 5, 7] if name in ("poisson", "binomial", "negative binomial") else [0.1, 0.5, 1.0, 2.0, 4.0])
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1, shape=5)
        likelihood(x, y)
    functions = compile_model(analyze_model(model))
    eta = np.array([-1.0, 0.3, 0.8, -0.2, 1.5])
    # PyMC keeps constants in single precision
    np.testing.assert_allclose(functions.cdf(eta, np.zeros(0)), distribution(eta).cdf(y), rtol=1e-6)


def test_no_pit_without_a_distribution_function():
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1, shape=5)
        pm.StudentT("y", nu=4, mu=x, sigma=1.0, observed=np.zeros(5))
    assert compile_model(analyze_model(model)).cdf is None


def test_a_part_of_the_design_stands_for_all_of_it():
    """Whatever the order of the hyperparameters, and with the mean and covariance of all design points."""
    rng = np.random.default_rng(5)
    theta, weights = rng.normal(size=(200, 3)), rng.dirichlet(np.ones(200))

    def chosen(order):
        nodes = tuple(SimpleNamespace(theta=t[order]) for t in theta)
        mode = SimpleNamespace(to_z=lambda values: values)
        return representatives(
            SimpleNamespace(nodes=nodes, weights=weights, log_density=np.log(weights), mode=mode), 60
        )

    index, w = (np.array(column) for column in zip(*chosen([0, 1, 2]), strict=True))
    other_index, other_w = (np.array(column) for column in zip(*chosen([2, 0, 1]), strict=True))
    assert np.array_equal(index, other_index)
    np.testing.assert_allclose(other_w, w, rtol=1e-8)
    assert len(index) <= 60
    np.testing.assert_allclose(w @ theta[index], weights @ theta, atol=1e-8)
    centered, all_centered = theta[index] - weights @ theta, theta - weights @ theta
    np.testing.assert_allclose(
        (w[:, None] * centered).T @ centered, (weights[:, None] * all_centered).T @ all_centered, atol=1e-8
    )
