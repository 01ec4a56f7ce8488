"""Likelihoods of two linear predictors whose parameters are functions of both."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model

G, GROUP = 6, np.repeat(np.arange(6), 5)
Y = np.random.default_rng(1).integers(1, 9, 30)


def negative_binomial(mu, spread):
    pm.NegativeBinomial("y", mu=mu, alpha=spread, observed=Y)


def gamma_by_rate(mu, spread):
    pm.Gamma("y", alpha=spread, beta=spread / mu, observed=Y.astype(float))


def gamma_by_sd(mu, spread):
    pm.Gamma("y", mu=mu, sigma=spread, observed=Y.astype(float))


DENSITIES = {
    negative_binomial: lambda mu, s: stats.nbinom.logpmf(Y, s, s / (s + mu)),
    gamma_by_rate: lambda mu, s: stats.gamma.logpdf(Y, s, scale=mu / s),
    gamma_by_sd: lambda mu, s: stats.gamma.logpdf(Y, (mu / s) ** 2, scale=s**2 / mu),
}


@pytest.mark.parametrize("likelihood", DENSITIES)
def test_group_effects_in_both(likelihood):
    """None of them becomes a hyperparameter."""
    with pm.Model() as model:
        a, c = pm.Normal("a", 0, 2), pm.Normal("c", 0, 1)
        s, t = pm.HalfNormal("s", 1), pm.HalfNormal("t", 1)
        u, v = pm.Normal("u", 0, s, shape=G), pm.Normal("v", 0, t, shape=G)
        likelihood(pm.math.exp(a + u[GROUP]), pm.math.exp(c + v[GROUP]))
    lgm = analyze_model(model)
    assert {latent.name for latent in lgm.latents} == {"a", "c", "u", "v"}
    assert lgm.n_theta == 2
    f = compile_model(lgm)
    x = 0.3 * np.random.default_rng(2).normal(size=lgm.n_x)
    of = {latent.name: x[latent.start : latent.stop] for latent in lgm.latents}
    design = f.design(f.theta_initial)
    eta = design.offset + f.A_pattern.to_matrix(design.A) @ x
    expected = DENSITIES[likelihood](np.exp(of["a"] + of["u"][GROUP]), np.exp(of["c"] + of["v"][GROUP]))
    np.testing.assert_allclose(f.log_likelihood(eta, f.theta_initial).value, expected, rtol=1e-10)
