"""Local latents with long tails given theta, against sums over grids."""

import numpy as np
import pymc as pm
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning
from pymc_inla.inference import local_tails

COLUMNS = ["mean", "sd", "q2.5", "q25", "q75", "q97.5"]
SCALE = np.array([-3.0, 0.0, 1.0, 6.0])
TIGHT = np.array([[1.0, 1.2, 1.1], [5.0, 5.05, 4.9], [2.0, 4.0, 0.0]])


def described(x, p):
    """The columns of a distribution on a grid"""
    p = p / p.sum()
    mean, F = p @ x, np.cumsum(p) - 0.5 * p
    return np.array([mean, np.sqrt(p @ (x - mean) ** 2), *np.interp([0.025, 0.25, 0.75, 0.975], F, x)])


def assert_close(fit, name, expected, tolerance):
    """Means and quantiles in sd, the sd relative to itself"""
    found = pmi.summary(fit).loc[name, COLUMNS].to_numpy(float)
    np.testing.assert_array_less(np.abs(found - expected) / expected[1], tolerance, err_msg=name)


def student(u, y, nu, sigma):
    return -0.5 * (nu + 1) * np.log1p(((y - u) / sigma) ** 2 / nu)


@pytest.mark.parametrize(("nu", "sigma"), [(3, 0.5), (1, 0.5)])
def test_one_student_observation_each(nu, sigma):
    """Nodes that reach 9 modal sd give sds of 0.90 to 0.94 (3 degrees of freedom) and 0.5 to 0.7 (one) of the truth."""
    with pm.Model() as model:
        u = pm.Normal("u", 0, 5, shape=4)
        pm.StudentT("y", nu=nu, mu=u, sigma=sigma, observed=SCALE)
    fit = pmi.fit(model, random_seed=1, progressbar=False)
    x = np.linspace(-40, 40, 160_001)
    for k, y in enumerate(SCALE):
        log_p = student(x, y, nu, sigma) - x**2 / 50
        # interpolation of the density between nodes, and of the distribution function in its table
        assert_close(fit, f"u[{k}]", described(x, np.exp(log_p - log_p.max())), 0.005)
    assert pmi.reliability(fit).verdict == "good"


def test_under_a_hyperparameter():
    y, nu, sigma = np.array([-3.0, 0.0, 1.0, 6.0, 2.0, -1.0, -8.0, 3.0]), 2, 0.3
    with pm.Model() as model:
        s = pm.Exponential("s", 1 / 3)
        pm.StudentT("y", nu=nu, mu=pm.Normal("u", 0, s, shape=8), sigma=sigma, observed=y)
    fit = pmi.fit(model, random_seed=1, progressbar=False)
    s, x = np.exp(np.linspace(-3, 4, 300)), np.linspace(-60, 60, 24_001)
    heights = [student(x, v, nu, sigma) - 0.5 * (x / s[:, None]) ** 2 - np.log(s)[:, None] for v in y]
    of_group = np.array([logsumexp(h, axis=1) for h in heights])
    log_p = -s / 3 + np.log(s) + of_group.sum(axis=0)
    p = np.exp(log_p - log_p.max())
    # 0.01: the grid of theta, in an sd of u that a thousandth of the mass far away makes
    assert_close(fit, "s", described(s, p), 0.01)
    for k in range(8):
        conditional = np.exp(heights[k] - of_group[k][:, None])
        assert_close(fit, f"u[{k}]", described(x, p @ conditional), 0.03)


def test_beside_a_shared_latent():
    """Its uncertainty is added as a normal's."""
    y, nu, sigma = np.array([-3.0, 0.0, 1.0, 6.0, 2.0]), 2, 0.3
    with pm.Model() as model:
        a, u = pm.Normal("a", 0, 0.3), pm.Normal("u", 0, 3, shape=5)
        pm.StudentT("y", nu=nu, mu=a + u, sigma=sigma, observed=y)
    fit = pmi.fit(model, random_seed=1, progressbar=False)
    a, x = np.linspace(-2, 2, 401), np.linspace(-25, 25, 5001)
    heights = [student(a[:, None] + x, v, nu, sigma) - x**2 / 18 for v in y]
    of_group = np.array([logsumexp(h, axis=1) for h in heights])
    log_p = -(a**2) / 0.18 + of_group.sum(axis=0)
    p = np.exp(log_p - log_p.max())
    for k in range(5):
        # a normal for what is nearly one
        assert_close(fit, f"u[{k}]", described(x, p @ np.exp(heights[k] - of_group[k][:, None])), 0.04)


@pytest.fixture(scope="module")
def mean_and_scale():
    """Groups of three with a mean and a log sd of their own: blocks of two"""
    with pm.Model() as model:
        mu, log_sd = pm.Normal("mu", 0, 5, shape=3), pm.Normal("ls", 0, 2, shape=3)
        pm.Normal("y", mu[np.repeat(range(3), 3)], pm.math.exp(log_sd[np.repeat(range(3), 3)]), observed=TIGHT.ravel())
    return model


def exact_mean_and_scale(y):
    """With the mean integrated in closed form: columns of mu and of ls"""
    s = np.linspace(-14, 14, 8001)
    variance = 1 / (1 / 25 + len(y) * np.exp(-2 * s))
    mean = variance * y.sum() * np.exp(-2 * s)
    log_p = -(s**2) / 8 - len(y) * s + 0.5 * np.log(variance) - 0.5 * (y @ y) * np.exp(-2 * s)
    log_p += 0.5 * mean**2 / variance
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    center = p @ mean
    sd = np.sqrt(p @ (variance + (mean - center) ** 2))
    x = np.unique(np.r_[np.linspace(-40, 40, 4001), center + np.linspace(-2, 2, 4001)])
    F = np.array([p @ norm.cdf((v - mean) / np.sqrt(variance)) for v in x])
    return np.array([center, sd, *np.interp([0.025, 0.25, 0.75, 0.975], F, x)]), described(s, p)


def test_blocks_of_two(mean_and_scale):
    """Nodes scaled by the curvature give sds of mu of 0.6, 0.54 and 0.98 of the truth with 23 per dimension."""
    fit = pmi.fit(mean_and_scale, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "good"
    for k, y in enumerate(TIGHT):
        for name, expected in zip(("mu", "ls"), exact_mean_and_scale(y), strict=True):
            # 31 nodes per dimension miss up to 1.1 % of the sd of mu
            assert_close(fit, f"{name}[{k}]", expected, 0.015)


def test_draws_of_blocks_of_two(mean_and_scale):
    """Candidates from a Gaussian leave the sds of mu at 0.6 to 0.7 of the truth, also with the right covariance."""
    fit = pmi.fit(mean_and_scale, random_seed=1, progressbar=False, draws=10_000, criteria=False)
    for k, y in enumerate(TIGHT):
        for name, expected in zip(("mu", "ls"), exact_mean_and_scale(y), strict=True):
            draws = fit.posterior[name].values[..., k].ravel()
            # Monte Carlo error of extreme quantiles: 0.02 to 0.04 sd
            np.testing.assert_array_less(
                np.abs(np.quantile(draws, [0.025, 0.25, 0.75, 0.975]) - expected[2:]) / expected[1], 0.1
            )
    assert pmi.reliability(fit).numbers["importance_efficiency"] > 0.8


def test_verdict_where_nodes_may_not_be_more(mean_and_scale, monkeypatch):
    monkeypatch.setattr(local_tails, "WORK_OF_FIT", 0)
    with pytest.warns(ReliabilityWarning, match="longer tails than its nodes reach"):
        fit = pmi.fit(mean_and_scale, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "check"


def test_some_blocks_of_a_large_model(monkeypatch):
    """The same, found in a tenth of the blocks"""
    y = np.resize(SCALE, 40)
    with pm.Model() as model:
        pm.StudentT("y", nu=1, mu=pm.Normal("u", 0, 5, shape=40), sigma=0.5, observed=y)
    monkeypatch.setattr(local_tails, "WORK", 4 * 255)
    monkeypatch.setattr(local_tails, "WORK_OF_FIT", 0)
    with pytest.warns(ReliabilityWarning, match="longer tails than its nodes reach"):
        pmi.fit(model, random_seed=1, progressbar=False)


@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_ordinary_groups_keep_their_nodes(family):
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(30), 4)
    eta = -1 + 2 * rng.normal(size=30)[group]
    with pm.Model() as model:
        eta_ = pm.Normal("a", 0, 3) + pm.Normal("u", 0, pm.HalfNormal("s", 2), shape=30)[group]
        if family == "bernoulli":
            pm.Bernoulli("y", logit_p=eta_, observed=(rng.random(120) < 1 / (1 + np.exp(-eta))).astype(int))
        else:
            pm.Poisson("y", pm.math.exp(eta_), observed=rng.poisson(np.exp(eta)))
    verdict = pmi.reliability(pmi.fit(model, random_seed=1, progressbar=False, strategy="quadrature"))
    assert verdict.verdict == "good"
    assert verdict.method.startswith("strategy quadrature (11 nodes:")


def test_concentrations_far_out():
    """At hundreds of modal sd a beta binomial distribution is binomial. Written with log Gamma functions it was
    rounding (log probabilities of +65000), and the verdict said that a mean is off by 67 sd."""
    rng = np.random.default_rng(5)
    group, n = np.repeat(np.arange(5), 4), rng.integers(5, 20, 20)
    y = rng.binomial(n, rng.beta(2, 2, 20))
    with pm.Model() as model:
        p = pm.math.sigmoid(pm.Normal("u", 0, 1, shape=5)[group])
        k = pm.math.exp(pm.Normal("v", 1, 1, shape=5)[group])
        pm.BetaBinomial("y", alpha=p * k, beta=(1 - p) * k, n=n, observed=y)
    fit = pmi.fit(model, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "good"


CONFLICT = np.array([[4.0, 4.2, -4.0, -3.9, 5.0], [-3.0, -2.8, 3.1, 2.9, 0.1]])


def test_draws_reach_a_second_mode():
    """15 posterior sds from the mean lies a mode with 0.2 % of the mass and half of the variance, which nodes up to
    nine sds never saw: the sd of the draws was 0.7 of the truth, and the verdict said to believe them."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=2)
        pm.StudentT("y", nu=2, mu=mu[:, None], sigma=0.5, observed=CONFLICT)
    fit = pmi.fit(model, draws=20_000, chains=1, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "good"
    x = np.linspace(-40, 40, 160_001)
    for k, y in enumerate(CONFLICT):
        log_p = sum(student(x, each, 2, 0.5) for each in y) - x**2 / 50
        expected = described(x, np.exp(log_p - log_p.max()))
        draws = fit.posterior["mu"].to_numpy()[0, :, k]
        # the sd rests on 40 draws in the second mode, of 20 000
        assert draws.std() == pytest.approx(expected[1], rel=0.12)
        np.testing.assert_allclose(np.quantile(draws, [0.025, 0.25, 0.75, 0.975]), expected[2:], atol=0.1)


def test_draws_of_a_narrow_core():
    """A Cauchy scale of a hundredth of the prior sd: the core is ten times narrower than the posterior sd."""
    with pm.Model() as model:
        pm.StudentT("y", nu=1, mu=pm.Normal("u", 0, 5, shape=4), sigma=0.05, observed=SCALE)
    fit = pmi.fit(model, draws=20_000, chains=1, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "good"
    x, draws = np.linspace(-40, 40, 160_001), fit.posterior["u"].to_numpy()[0]
    for k, y in enumerate(SCALE):
        log_p = student(x, y, 1, 0.05) - x**2 / 50
        expected = described(x, np.exp(log_p - log_p.max()))
        # the kurtosis of such a density is in the hundreds
        assert draws[:, k].std() == pytest.approx(expected[1], rel=0.15)
        np.testing.assert_allclose(np.quantile(draws[:, k], [0.25, 0.75]), expected[3:5], atol=0.005)


def test_tails_beyond_wide_nodes_are_said():
    """A Cauchy scale of 1/250 of the prior sd: 400 modal sd are one prior sd, and the sd was 16 % too small."""
    with pm.Model() as model:
        pm.StudentT("y", nu=1, mu=pm.Normal("u", 0, 5, shape=4), sigma=0.02, observed=SCALE)
    with pytest.warns(ReliabilityWarning, match="longer tails than its nodes reach"):
        fit = pmi.fit(model, random_seed=1, progressbar=False)
    assert pmi.reliability(fit).verdict == "check"


def test_densities_that_cannot_be_computed_far_out():
    """log(1 - exp(-mu)) is minus infinity below mu = 1e-16: counts without zeros have an infinite density there, as it
    is computed, where only nodes that reach far are."""
    y = np.array([1, 1, 2, 5])
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1.5, shape=4)
        pm.Truncated("y", pm.Poisson.dist(pm.math.exp(u)), lower=1, observed=y)
    fit = pmi.fit(model, strategy="quadrature", random_seed=1, progressbar=False)  # NumPy's warnings are failures
    x = np.linspace(-12, 6, 20_001)
    for k in range(4):
        log_p = y[k] * x - np.exp(x) - np.log(-np.expm1(-np.exp(x))) - x**2 / 4.5
        mean, sd = described(x, np.exp(log_p - log_p.max()))[:2]
        found = pmi.summary(fit).loc[f"u[{k}]"]
        # what 11 nodes leave of skewed densities
        assert abs(found["mean"] - mean) < 0.005 * sd
        assert abs(found["sd"] / sd - 1) < 0.005
    assert pmi.reliability(fit).verdict == "good"
