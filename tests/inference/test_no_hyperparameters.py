"""Which approximation a model without hyperparameters gets."""

import numpy as np
import pymc as pm
from scipy.special import log_expit, logsumexp

import pymc_inla as pmi

Y = np.zeros((20, 10), int)
Y[0, 3] = Y[0, 5] = Y[12, 0] = 1


def exact_mean_and_sd():
    """Of the intercept, on a grid, with the effects integrated by sums over 721 values."""
    k, z, a = Y.sum(axis=1), np.linspace(-9, 9, 721), np.linspace(-45, 5, 801)
    weight = -(z**2) / 2 - logsumexp(-(z**2) / 2)
    eta = a[:, None] + 3.0 * z
    groups = [logsumexp(m * log_expit(eta) + (10 - m) * log_expit(-eta) + weight, axis=1) for m in k]
    log_p = np.sum(groups, axis=0) - a**2 / 50
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ a
    return mean, np.sqrt(p @ (a - mean) ** 2)


def test_quadrature_where_laplace_moves_only_latents():
    """Rare events in groups of known variance: there is no hyperparameter that could show it."""
    with pm.Model() as model:
        a, u = pm.Normal("a", 0, 5), pm.Normal("u", 0, 3, shape=20)
        pm.Bernoulli("y", logit_p=a + u[np.repeat(np.arange(20), 10)], observed=Y.ravel())
    fit = pmi.fit(model, random_seed=1, draws=4000, criteria=False, progressbar=False)
    mean, sd = exact_mean_and_sd()
    # the marginal of a copula is exact for one shared latent
    marginal = pmi.summary(fit, var_names="a")
    assert abs(marginal.loc["a", "mean"] - mean) < 0.005 * sd
    assert abs(marginal.loc["a", "sd"] / sd - 1) < 0.005
    assert pmi.reliability(fit).verdict == "good"
    draws = fit.posterior["a"].values.ravel()
    assert pmi.reliability(fit).method.startswith("strategy quadrature")
    # Monte Carlo error of some 7000 effective draws: 0.012 sd, 0.9 % of the sd
    assert abs(draws.mean() - mean) < 0.05 * sd
    assert abs(draws.std() / sd - 1) < 0.05
