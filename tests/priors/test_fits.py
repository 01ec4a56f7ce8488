"""Posteriors of log tau under every prior against brute-force quadrature; the same models under NUTS."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy.integrate import cumulative_trapezoid
from scipy.stats import norm
from test_densities import CASES

import pymc_inla as pmi

GROUPS = 12
G = np.repeat(np.arange(GROUPS), 3)
RNG = np.random.default_rng(11)
Y = RNG.normal(0, 0.7, GROUPS)[G] + RNG.normal(0, 1, G.size)
PROBABILITIES = np.array([0.025, 0.25, 0.5, 0.75, 0.975])


def log_likelihood(theta):
    """Means of three observations of variance 1 are N(0, 1/tau + 1/3)."""
    means = Y.reshape(GROUPS, 3).mean(axis=1)
    return norm.logpdf(means[:, None], 0, np.sqrt(np.exp(-theta) + 1 / 3)).sum(axis=0)


def true_quantiles(log_prior):
    theta = np.linspace(-10, 40, 500_001)
    with np.errstate(over="ignore"):
        log_density = log_likelihood(theta) + log_prior(theta)
    density = np.exp(log_density - log_density.max())
    cdf = cumulative_trapezoid(density, theta, initial=0)
    mean = np.sum(density * theta) / density.sum()
    sd = np.sqrt(np.sum(density * (theta - mean) ** 2) / density.sum())
    return np.interp(PROBABILITIES, cdf / cdf[-1], theta), sd


def model_with(prior):
    with pm.Model() as model:
        u = pmi.IID("u", GROUPS, prior=prior)
        pm.Normal("y", pmi.project(u, G), 1.0, observed=Y)
    return model


EXPRESSION = "expression: a = 2; b <- 0.5; return(a*log(b) - lgamma(a) + a*theta - b*exp(theta))"
# case of test_densities -> (prior, hyperparameter, log tau of it)
FITS = {
    "loggamma": ("loggamma", "u_tau", np.log),
    "pc.prec": (("pc.prec", (1, 0.01)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "normal": (("normal", (0.3, 1.7)), "u_tau_log", lambda t: t),
    "logtnormal": (("logtnormal", (0.3, 1.7)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "logtnormal at zero": (("logtnormal", (0, 1.7)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "expression": (EXPRESSION, "u_tau_log", lambda t: t),
    "table": (pmi.priors.table.dist([-3, -1, 2, 5], [-6, -1, -1.5, -9]), "u_tau_log", lambda t: t),
    "logiflat": ("logiflat", "u_tau_variance", lambda v: -np.log(v)),
}


@pytest.mark.parametrize("case", FITS)
def test_posterior_of_log_precision(case):
    prior, variable, to_theta = FITS[case]
    idata = pmi.fit(model_with(prior), draws=500, random_seed=1, progressbar=False)
    quantiles = np.sort(to_theta(pmi.marginal(idata, variable).ppf(PROBABILITIES)))
    expected, sd = true_quantiles(CASES[case][1])
    np.testing.assert_allclose(quantiles, expected, atol=0.01 * sd)


def test_posterior_under_the_laplace_prior():
    """log tau is a function of a standard normal, which has the deterministic marginal."""
    idata = pmi.fit(model_with(("laplace", (0.3, 1.7))), draws=500, random_seed=1, progressbar=False)
    z = pmi.marginal(idata, "u_tau_log_z").ppf(PROBABILITIES)
    theta = 0.3 - np.sign(z) * np.log(2 * norm.sf(np.abs(z))) / np.sqrt(2 * 1.7)
    expected, sd = true_quantiles(CASES["laplace"][1])
    np.testing.assert_allclose(theta, expected, atol=0.01 * sd)


@pytest.mark.parametrize("case", [*FITS, "laplace"])
def test_nuts_on_the_same_model(case):
    """The models run unchanged under `pm.sample` and give the exact posterior of log tau."""
    prior = ("laplace", (0.3, 1.7)) if case == "laplace" else FITS[case][0]
    with model_with(prior):
        mcmc = pm.sample(
            1500,
            tune=1500,
            chains=2,
            cores=1,
            random_seed=4,
            target_accept=0.95,  # one divergence in the funnel of a centered effect stops a shorter run from mixing
            progressbar=False,
            compute_convergence_checks=False,
        )
    theta = np.log(mcmc["posterior"]["u_tau"].values).ravel()
    expected, _ = true_quantiles(CASES[case][1])
    ranks = np.array([(theta < q).mean() for q in expected])
    # the quartiles, within four standard errors by the effective number of draws: short runs of a centered effect do
    # not reach the ends of its funnel
    for p, rank, q in list(zip(PROBABILITIES, ranks, expected, strict=True))[1:4]:
        below = (np.log(mcmc["posterior"]["u_tau"]) < q).astype(float)
        n = max(20.0, float(az.ess(below.rename("u_tau").to_dataset())["u_tau"]))
        assert abs(rank - p) < 4 * np.sqrt(p * (1 - p) / n)
