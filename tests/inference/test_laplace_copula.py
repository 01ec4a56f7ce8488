"""Models without local latents whose latents are far from normal, as reported, against sums over a grid."""

import numpy as np
import pymc as pm
import pytest
from scipy import special

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning

PROBABILITIES = [0.025, 0.25, 0.5, 0.75, 0.975]
COLUMNS = ["q2.5", "q25", "q50", "q75", "q97.5"]
A = np.linspace(-60, 60, 120_001)


def of_grid(x, log_density):
    p = np.exp(log_density - log_density.max())
    p /= p.sum()
    mean = p @ x
    return mean, np.sqrt(p @ (x - mean) ** 2), np.interp(PROBABILITIES, np.cumsum(p), x)


def binomial():
    a = pm.Normal("a", 0, 10)
    pm.Binomial("y", 20, logit_p=a, observed=1)
    return special.log_expit(A) + 19 * special.log_expit(-A) - A**2 / 200


def poisson():
    a = pm.Normal("a", 0, 10)
    pm.Poisson("y", pm.math.exp(a), observed=[0, 1, 0])
    return A - 3 * np.exp(A) - A**2 / 200


def censored():
    """three rows of which it is known only that they exceed one"""
    a = pm.Normal("a", 0, 2)
    pm.Censored("y", pm.Normal.dist(a, 1), lower=None, upper=1.0, observed=[1.0, 1.0, 1.0])
    return 3 * special.log_ndtr(A - 1) - A**2 / 8


@pytest.mark.parametrize("build", [binomial, poisson, censored])
@pytest.mark.parametrize("strategy", ["auto", "laplace"])
def test_one_latent(build, strategy):
    with pm.Model() as model:
        log_density = build()
    mean, sd, quantiles = of_grid(A, log_density)
    fit = pmi.fit(model, strategy=strategy, random_seed=1, draws=20_000, criteria=False, progressbar=False)
    row = pmi.summary(fit, var_names="a").loc["a"]
    # a cubic spline through the log density, exponential tails beyond exp(-9)
    assert row["mean"] == pytest.approx(mean, abs=2e-3 * sd)
    assert row["sd"] == pytest.approx(sd, rel=2e-3)
    np.testing.assert_allclose(row[COLUMNS].to_numpy(float), quantiles, atol=5e-3 * sd)
    draws = fit.posterior["a"].values.ravel()
    # Monte Carlo
    np.testing.assert_allclose(np.quantile(draws, PROBABILITIES), quantiles, atol=0.06 * sd)
    assert pmi.reliability(fit).verdict == "good"


def test_two_latents():
    """No event in one of two groups: the sd of their difference was 23 % too small."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 10), pm.Normal("b", 0, 10)
        pm.Binomial("y", 20, logit_p=a + b * np.array([0.0, 1.0]), observed=[0, 3])
    x, y = np.linspace(-60, 12, 1201), np.linspace(-30, 60, 1201)
    a_, b_ = np.meshgrid(x, y, indexing="ij")
    value = 20 * special.log_expit(-a_) + 3 * special.log_expit(a_ + b_) + 17 * special.log_expit(-a_ - b_)
    value -= (a_**2 + b_**2) / 200
    fit = pmi.fit(model, random_seed=1, draws=20_000, criteria=False, progressbar=False)
    table = pmi.summary(fit, var_names=["a", "b"])
    p = np.exp(value - value.max())
    for name, at, axis in (("a", x, 1), ("b", y, 0)):
        mean, sd, quantiles = of_grid(at, np.log(p.sum(axis=axis)))
        # the mode of the other latent stands for all of it
        assert table.loc[name, "mean"] == pytest.approx(mean, abs=0.02 * sd)
        assert table.loc[name, "sd"] == pytest.approx(sd, rel=0.02)
        np.testing.assert_allclose(table.loc[name, COLUMNS].to_numpy(float), quantiles, atol=0.05 * sd)
        np.testing.assert_allclose(fit.posterior[name].std(), sd, rtol=0.06)


def test_two_modes_of_a_location():
    """Student t responses at -5 and 5: draws are right, and the marginals are said not to be."""
    y = np.array([-5.0, -5.2, -4.8, 5.1, 4.9])
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10)
        pm.StudentT("y", nu=2, mu=a, sigma=1, observed=y)
    log_density = -(A**2) / 200 - 1.5 * np.log1p((y[:, None] - A) ** 2 / 2).sum(axis=0)
    mean, sd, _ = of_grid(A, log_density)
    with pytest.warns(ReliabilityWarning, match="believe the draws"):
        fit = pmi.fit(model, random_seed=1, draws=20_000, criteria=False, progressbar=False)
    draws = fit.posterior["a"].values.ravel()
    assert draws.mean() == pytest.approx(mean, abs=0.05 * sd)
    assert draws.std() == pytest.approx(sd, rel=0.06)
