"""Counts of millions: log-likelihoods whose rounding is larger than what they say of the shared latents."""

import numpy as np
import pymc as pm
import pytest
from scipy import integrate

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning


def counts(level, n_groups=30, size=4):
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(n_groups), size)
    v = level + rng.normal(0, 2.0, n_groups)
    return group, np.round(np.exp(v[group]))


def fit(group, y):
    with pm.Model() as model:
        a, sigma = pm.Normal("a", 0, 100), pm.HalfNormal("sigma", 5)
        u = pm.Normal("u", 0, sigma, shape=int(group.max()) + 1)
        pm.Poisson("y", pm.math.exp(a + u[group]), observed=y)
    return pmi.fit(model, strategy="quadrature", draws=100, random_seed=1, progressbar=False, criteria=False)


@pytest.mark.parametrize("level", [9.0, 12.0])
def test_the_intercept_above_large_counts(level):
    """Such counts give the logarithms v of the groups' means, and a + u = v is a normal sample of a and sigma."""
    group, y = counts(level)
    table = pmi.summary(fit(group, y), ["a", "sigma"])
    v = np.log(np.bincount(group, y) / np.bincount(group))
    n, S = len(v), np.sum((v - v.mean()) ** 2)

    def density(s):
        return np.exp(-(n - 1) * np.log(s) - S / (2 * s**2) - s**2 / 50 + (n - 1) * np.log(2) + S / 8)

    total, mean, second = (integrate.quad(lambda s, k=k: density(s) * s**k, 0.5, 8)[0] for k in range(3))
    sigma_mean, sigma_sd = mean / total, np.sqrt(second / total - (mean / total) ** 2)
    # the prior of a adds 1e-5 to the precision, the finite counts 1e-5 to the variance of a group with few of them
    assert abs(table.loc["a", "mean"] - v.mean()) < 0.01 * table.loc["a", "sd"]
    assert abs(table.loc["a", "sd"] / np.sqrt(second / total / n) - 1) < 0.01
    assert abs(table.loc["sigma", "mean"] - sigma_mean) < 0.01 * sigma_sd
    assert abs(table.loc["sigma", "sd"] / sigma_sd - 1) < 0.01


@pytest.mark.parametrize("level", [14.0, 20.0])
def test_counts_beyond_double_precision_are_reported(level):
    group, y = counts(level)
    with pytest.warns(ReliabilityWarning, match="rounding: the data determine some group effects"):
        idata = fit(group, y)
    assert pmi.reliability(idata).numbers["cancellation"] > 0.01
