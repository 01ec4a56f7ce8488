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


def test_no_event_at_all():
    """The density is a prior on one side and a cliff on the other."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10)
        pm.Poisson("y", pm.math.exp(a), observed=[0, 0, 0])
    mean, sd, quantiles = of_grid(A, -3 * np.exp(np.minimum(A, 50)) - A**2 / 200)
    row = pmi.summary(pmi.fit(model, random_seed=1, criteria=False, progressbar=False), var_names="a").loc["a"]
    # the cliff begins between two points
    assert row["mean"] == pytest.approx(mean, abs=0.02 * sd)
    assert row["sd"] == pytest.approx(sd, rel=0.02)
    np.testing.assert_allclose(row[COLUMNS].to_numpy(float), quantiles, atol=0.05 * sd)


def test_a_step_in_the_dose():
    """Far out the log density of complementary log-log falls by 1e18 within a sd."""
    x = np.array([-0.86, -0.3, -0.05, 0.73])
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 20)
        pm.Binomial("y", 5, p=1 - pm.math.exp(-pm.math.exp(a + b * x)), observed=[0, 0, 5, 5])
    grid_a, grid_b = np.linspace(-3, 25, 701), np.linspace(-5, 110, 1151)
    a_, b_ = np.meshgrid(grid_a, grid_b, indexing="ij")
    value = -(a_**2) / 50 - b_**2 / 800
    for dose, events in zip(x, (0, 0, 5, 5), strict=True):
        t = np.exp(np.minimum(a_ + b_ * dose, 30.0))
        value += events * np.log(np.maximum(-np.expm1(-t), 1e-300)) - (5 - events) * t
    p = np.exp(value - value.max())
    # its marginals are off by 0.1 sd: two latents depend on each other by more than correlation
    with pytest.warns(ReliabilityWarning, match="believe the draws"):
        fit = pmi.fit(model, random_seed=1, draws=20_000, criteria=False, progressbar=False)
    for name, grid, axis in (("a", grid_a, 1), ("b", grid_b, 0)):
        mean, sd, _ = of_grid(grid, np.log(np.maximum(p.sum(axis=axis), 1e-300)))
        draws = fit.posterior[name]
        assert float(draws.mean()) == pytest.approx(mean, abs=0.05 * sd)
        assert float(draws.std()) == pytest.approx(sd, rel=0.05)


def test_latents_that_determine_each_other():
    """A random walk: as its scale vanishes all values are one, and a copula of them would ask for scores that agree to
    as many digits. NUTS, 4000 draws: s 0.464 (0.206)."""
    rng = np.random.default_rng(1)
    y = rng.poisson(np.exp(np.cumsum(rng.normal(0, 0.5, 30)) - 0.5))
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1)
        f = pm.GaussianRandomWalk("f", sigma=s, init_dist=pm.Normal.dist(0, 2), shape=30)
        pm.Poisson("y", pm.math.exp(f), observed=y)
    fit = pmi.fit(model, random_seed=1, criteria=False, progressbar=False)
    row = pmi.summary(fit, var_names="s").loc["s"]
    assert abs(row["mean"] - 0.464) < 0.15 * 0.206
    assert abs(row["sd"] / 0.206 - 1) < 0.1
