"""Shared latents that are not normal but not skewed either, against sums over a grid."""

import numpy as np
import pymc as pm
import pytest
from scipy import special, stats

import pymc_inla as pmi

X = np.array([-1.0, 1.0])


def binomial(trials):
    def log_likelihood(eta):
        return 0.5 * trials * (special.log_expit(eta) + special.log_expit(-eta))

    def add(eta):
        pm.Binomial("y", trials, logit_p=eta, observed=[trials // 2] * 2)

    return lambda a, b: log_likelihood(a - b) + log_likelihood(a + b), add, X


def exponential():
    y = np.array([1.0, 2.5])

    def add(eta):
        pm.Exponential("y", pm.math.exp(-eta), observed=y)

    return lambda a, b: sum(-(a + b * x) - t * np.exp(-(a + b * x)) for x, t in zip(X, y, strict=True)), add, X


def student():
    x, y = np.linspace(-1, 1, 4), np.array([-2.0, -1.0, 1.0, 2.0])

    def add(eta):
        pm.StudentT("y", nu=3, mu=eta, sigma=1, observed=y)

    return lambda a, b: sum(stats.t.logpdf(t - a - b * z, 3) for z, t in zip(x, y, strict=True)), add, x


def exact(log_likelihood, grid):
    """Means and sds of a and b"""
    a, b = np.meshgrid(grid, grid, indexing="ij")
    log_density = log_likelihood(a, b) - (a**2 + b**2) / 50
    p = np.exp(log_density - log_density.max())
    p /= p.sum()
    means = {"a": np.sum(p * a), "b": np.sum(p * b)}
    return {name: (means[name], np.sqrt(np.sum(p * (v - means[name]) ** 2))) for name, v in {"a": a, "b": b}.items()}


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        # relative error of an sd; of the normal approximation: 0.11, 0.20, 0.20 (b) and 0.24. What is left is that of
        # the Laplace approximation of the other one of the two
        (binomial(4), 0.02),
        (binomial(2), 0.05),
        (exponential(), 0.04),
        (student(), 0.09),
    ],
    ids=["binomial 4", "binomial 2", "exponential", "student"],
)
def test_symmetric_posteriors(case, tolerance):
    log_likelihood, add, x = case
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        add(a + b * x)
    idata = pmi.fit(model, random_seed=1, progressbar=False, draws=4000)
    assert pmi.reliability(idata).verdict == "good"
    table = pmi.summary(idata)
    for name, (mean, sd) in exact(log_likelihood, np.linspace(-25, 25, 1001)).items():
        assert abs(table.loc[name, "sd"] / sd - 1) < tolerance
        assert abs(table.loc[name, "mean"] - mean) < 0.06 * sd
        draws = idata.posterior[name].values
        # 8000 draws, of which weights leave two thirds: 4 Monte Carlo errors
        assert abs(draws.std() / sd - 1) < 0.04
        assert abs(draws.mean() - mean) < 0.06 * sd


def test_no_residual_at_all():
    """x**2 has a third derivative of 0 / x to automatic differentiation."""
    x = np.linspace(-1, 1, 11)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        pm.StudentT("y", nu=20, mu=a + b * x, sigma=1, observed=np.zeros(11))
    idata = pmi.fit(model, random_seed=1, progressbar=False)
    table = pmi.summary(idata)
    assert pmi.reliability(idata).verdict == "good"
    known = exact(lambda a, b: sum(stats.t.logpdf(a + b * z, 20) for z in x), np.linspace(-4, 4, 401))
    for name, (_, sd) in known.items():
        assert abs(table.loc[name, "sd"] / sd - 1) < 0.02
