"""CPO and PIT against the exact density of an observation given all others, and what ArviZ computes from a fit."""

from dataclasses import replace

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


# a few of thirty observations weigh much in groups of three: what PSIS-LOO says of this model, not of the fit
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_arviz_reads_the_fit(fitted):
    loo = az.loo(fitted)
    assert loo.elpd == pytest.approx(float(fitted["inla/criteria"]["log_cpo"]["y"].sum()), abs=0.3)
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
