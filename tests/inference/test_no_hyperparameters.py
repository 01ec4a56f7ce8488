"""Which approximation a model without hyperparameters gets."""

import numpy as np
import pymc as pm
import pytest
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


IDENTITY_GROUP = np.repeat(np.arange(6), 10)
IDENTITY_Y = np.random.default_rng(0).poisson(4, 60) + 1.0
"""Waiting times with a rate near 0.2, while the rate is Normal(2, 1) a priori: it is zero 1.8 sd from its mean"""


def identity_rate():
    with pm.Model() as model:
        a, u = pm.Normal("a", 2, 1), pm.Normal("u", 0, 0.3, shape=6)
        pm.Exponential("y", a + u[IDENTITY_GROUP], observed=IDENTITY_Y)
    return model


def identity_grid():
    """a (I,), log prior of it, the rate of a group (I, J), and log densities (6, I, J) of a group's responses and
    effect, on a grid of 0.004 and 0.002. The density is zero where the rate is not positive."""
    a, u = np.linspace(-0.6, 1.6, 551), np.linspace(-1.8, 1.8, 1801)
    rate = a[:, None] + u
    log_rate = np.log(rate, out=np.full(rate.shape, -np.inf), where=rate > 0)
    n, total = np.bincount(IDENTITY_GROUP), np.bincount(IDENTITY_GROUP, IDENTITY_Y)
    prior = -((u / 0.3) ** 2) / 2
    groups = np.array([n[k] * log_rate - total[k] * rate + prior for k in range(6)])
    return a, -((a - 2) ** 2) / 2, rate, groups


def normalized(log_p):
    weights = np.exp(log_p - log_p.max())
    return weights / weights.sum()


@pytest.mark.parametrize("strategy", ["auto", "laplace", "quadrature"])
def test_start_outside_the_support(strategy):
    """At x = 0 the rate is zero. No search of hyperparameters says where else to start."""
    fit = pmi.fit(identity_rate(), strategy=strategy, random_seed=1, draws=1000, criteria=False, progressbar=False)
    a, log_prior, _, groups = identity_grid()
    weights = normalized(log_prior + logsumexp(groups, axis=2).sum(axis=0))
    mean = weights @ a
    sd = np.sqrt(weights @ (a - mean) ** 2)
    marginal = pmi.summary(fit, var_names="a")
    # marginals of the fit are good to about 0.001 sd here: one shared latent, groups integrated by 11 nodes or Laplace
    assert abs(marginal.loc["a", "mean"] - mean) < 0.005 * sd
    assert abs(marginal.loc["a", "sd"] / sd - 1) < 0.005
    assert pmi.reliability(fit).verdict == "good"


@pytest.mark.parametrize("strategy", ["auto", "laplace"])
def test_criteria_next_to_the_end_of_the_support(strategy):
    """Gaussian nodes reach past it, where the log density is not a number."""
    fit = pmi.fit(identity_rate(), strategy=strategy, random_seed=1, draws=50, progressbar=False)
    _, log_prior, rate, groups = identity_grid()
    of_a = log_prior + logsumexp(groups, axis=2).sum(axis=0)
    exact = []
    for k, y in zip(IDENTITY_GROUP, IDENTITY_Y, strict=True):
        joint = normalized((of_a - logsumexp(groups[k], axis=1))[:, None] + groups[k])
        p, eta = joint[joint > 0], rate[joint > 0]
        log_p = np.log(eta) - y * eta
        variance = p @ (log_p - p @ log_p) ** 2
        exact.append([-np.log(p @ np.exp(-log_p)), p @ log_p, np.log(p @ np.exp(log_p)) - variance])
    log_cpo, mean, waic = np.transpose(exact)
    criteria = fit["inla/criteria"]
    # a skew normal stands for a density that ends at zero: 0.03 of single observations, 0.4 of the sum over 60
    np.testing.assert_allclose(criteria["log_cpo"]["y"], log_cpo, atol=0.05)
    assert abs(criteria["deviance_mean"] + 2 * mean.sum()) < 0.6
    assert abs(criteria["waic"] + 2 * waic.sum()) < 1.0
    assert not criteria["failure"]["y"].any()
