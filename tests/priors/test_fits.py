"""Posteriors of log tau under every prior against brute-force quadrature; the same models under NUTS."""

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


# case of test_densities -> (prior, hyperparameter, log tau of it)
FITS = {
    "loggamma": ("loggamma", "u_tau", np.log),
    "pc.prec": (("pc.prec", (1, 0.01)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "normal": (("normal", (0.3, 1.7)), "u_tau_log", lambda t: t),
    "logtnormal": (("logtnormal", (0.3, 1.7)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "logtnormal at zero": (("logtnormal", (0, 1.7)), "u_tau_sigma", lambda s: -2 * np.log(s)),
    "expression": (CASES["expression"][0], "u_tau_log", lambda t: t),
    "table": (pmi.priors.table.dist([-3, -1, 2, 5], [-6, -1, -1.5, -9]), "u_tau_log", lambda t: t),
    "logiflat": ("logiflat", "u_tau_variance", lambda v: -np.log(v)),
}


@pytest.mark.parametrize("case", FITS)
def test_posterior_of_log_precision(case):
    prior, variable, to_theta = FITS[case]
    if case == "expression":
        prior = "expression: a = 2; b <- 0.5; return(a*log(b) - lgamma(a) + a*theta - b*exp(theta))"
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


# one of each kind: a variable of PyMC, a log density of the user, a smooth coordinate
@pytest.mark.parametrize("prior, case", [("logtnormal", "logtnormal"), ("table", "table"), ("laplace", "laplace")])
def test_nuts_on_the_same_model(prior, case):
    parameters = (0.3, 1.7)
    prior = FITS["table"][0] if prior == "table" else (prior, parameters)
    with model_with(prior):
        mcmc = pm.sample(
            1000,
            tune=1000,
            chains=2,
            cores=1,
            random_seed=4,
            progressbar=False,
            compute_convergence_checks=False,
        )
    theta = np.log(mcmc["posterior"]["u_tau"].values).ravel()
    expected, _ = true_quantiles(CASES[case][1])
    # about 400 effective draws: the standard error of the median is about 0.065 sd, of the mean probability 0.025
    ranks = np.array([(theta < q).mean() for q in expected])
    np.testing.assert_allclose(ranks, PROBABILITIES, atol=0.08)
