"""Shared latents that are far from normal given theta (rare events) against brute force over x_S and the effects."""

import numpy as np
import pymc as pm
import pytest
from scipy import integrate, special, stats

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference.copula import DISTANCES, LaplaceMarginal
from pymc_inla.inference.quadrature import QuadratureInner
from pymc_inla.linalg import choose_local

G, M = 20, 10
EVENTS = np.zeros((G, M), dtype=int)
EVENTS[0, 3] = EVENTS[0, 5] = EVENTS[12, 0] = 1
DOSE = np.tile(np.linspace(-1.5, 1.5, M), (G, 1))


def rare_events(dose=False, a_sd=10.0):
    with pm.Model() as model:
        a = pm.Normal("a", 0, a_sd)
        s = pm.HalfNormal("s", 2.0)
        u = pm.Normal("u", 0, s, shape=G)
        eta = a + u[:, None]
        if dose:
            eta = eta + pm.Normal("b", 0, 3.0) * DOSE
        pm.Bernoulli("y", logit_p=eta, observed=EVENTS)
    return model


def inner_of(model):
    f = compile_model(analyze_model(model))
    inner = QuadratureInner(f, choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C), k=47)
    return f, inner.with_copula(tuple(range(inner.blocks.n_S)))


def log_joint(sigma, a, b=None):
    """log p(y, x_S | sigma) at all points, the effects by a trapezoidal rule of 401 nodes."""
    t = np.linspace(-9, 9, 401)
    weight = stats.norm.pdf(t) * (t[1] - t[0])
    total = stats.norm.logpdf(a, 0, 10.0) + (0.0 if b is None else stats.norm.logpdf(b, 0, 3.0))
    for rows in np.unique(EVENTS, axis=0):
        times = np.sum(np.all(EVENTS == rows, axis=1))
        log_likelihood = 0.0
        for y, x in zip(rows, DOSE[0], strict=True):
            eta = (a if b is None else a + b * x)[..., None] + sigma * t
            log_likelihood = log_likelihood + special.log_expit(eta if y else -eta)
        total = total + times * np.log(np.exp(log_likelihood) @ weight)
    return total


def prior(sigma):
    return stats.halfnorm.logpdf(sigma, scale=2.0) + np.log(sigma)


def moments(x, log_density):
    """log of the integral, mean, sd and skewness of a density on a grid."""
    p = np.exp(log_density - log_density.max())
    mass = integrate.simpson(p, x=x)
    mean = integrate.simpson(p * x, x=x) / mass
    sd = np.sqrt(integrate.simpson(p * (x - mean) ** 2, x=x) / mass)
    return np.log(mass) + log_density.max(), mean, sd, integrate.simpson(p * (x - mean) ** 3, x=x) / mass / sd**3


@pytest.mark.parametrize("sigma", [0.3, 1.5, 5.0])
def test_one_shared_latent_is_exact(sigma):
    f, inner = inner_of(rare_events())
    a = np.linspace(-60, 10, 2801)
    exact, mean, sd, skewness = moments(a, log_joint(sigma, a))
    point = inner.evaluate(np.array([np.log(sigma)]))
    # nodes of the local integrals, a spline through the log density, tails beyond exp(-9)
    assert point.log_posterior == pytest.approx(exact + prior(sigma), abs=1e-3)
    found = point.moments()
    assert found.mean[0] == pytest.approx(mean, abs=2e-3 * sd)
    assert found.sd[0] == pytest.approx(sd, rel=3e-3)
    assert found.skewness[0] == pytest.approx(skewness, abs=0.02)
    normal = QuadratureInner(f, inner.partition, k=47).evaluate(np.array([np.log(sigma)]))
    assert abs(normal.log_posterior - exact - prior(sigma)) > 0.01
    assert normal.moments().sd[0] < 0.98 * sd


def test_two_shared_latents():
    """Marginals and density of theta of the copula against a grid over both, where the normal ones are off."""
    f, inner = inner_of(rare_events(dose=True))
    sigma = 3.0
    a, b = np.linspace(-50, 8, 291), np.linspace(-9, 9, 181)
    value = log_joint(sigma, *np.meshgrid(a, b, indexing="ij"))
    top = value.max()
    p = np.exp(value - top)
    exact = np.log(integrate.simpson(integrate.simpson(p, x=b), x=a)) + top
    of_a = moments(a, np.log(integrate.simpson(p, x=b, axis=1)))
    of_b = moments(b, np.log(integrate.simpson(p, x=a, axis=0)))
    point = inner.evaluate(np.array([np.log(sigma)]))
    normal = QuadratureInner(f, inner.partition, k=47).evaluate(np.array([np.log(sigma)]))
    # a copula has no dependence but correlation: 0.034 are left, and 0.053 of the normal distribution
    assert abs(point.log_posterior - exact - prior(sigma)) < 0.04
    found, first = point.moments(), normal.moments()
    for j, (_, mean, sd, skewness) in zip(inner.blocks.shared, (of_a, of_b), strict=True):
        assert found.mean[j] == pytest.approx(mean, abs=0.01 * sd)
        assert found.sd[j] == pytest.approx(sd, rel=0.005)
        assert found.skewness[j] == pytest.approx(skewness, abs=0.005)
        assert first.sd[j] < 0.95 * sd
    sample = point.sample(np.random.default_rng(1), 4000)
    log_ratio = sample.log_joint - sample.log_q
    assert special.logsumexp(log_ratio) - np.log(4000) == pytest.approx(exact + prior(sigma), abs=0.02)


def test_draws_carry_their_density():
    """The mean of p / q is the integral, whatever q is, if log q is the density that draws come from."""
    sigma = 3.0
    _, inner = inner_of(rare_events())
    point = inner.evaluate(np.array([np.log(sigma)]))
    a = np.linspace(-60, 10, 2801)
    exact, mean, sd, _ = moments(a, log_joint(sigma, a))
    sample = point.sample(np.random.default_rng(1), 4000)
    log_ratio = sample.log_joint - sample.log_q
    assert special.logsumexp(log_ratio) - np.log(4000) == pytest.approx(exact + prior(sigma), abs=0.02)
    # 19 of 20 are proposed by the target itself, which bounds the weights
    assert np.max(log_ratio) < exact + prior(sigma) - np.log(0.95) + 0.02
    weights = special.softmax(log_ratio)
    assert 1 / np.sum(weights**2) > 0.9 * 4000
    assert weights @ sample.x[:, 0] == pytest.approx(mean, abs=4 * sd / np.sqrt(3600))
    assert np.sqrt(weights @ (sample.x[:, 0] - mean) ** 2) == pytest.approx(sd, rel=0.06)


def test_a_known_density():
    """log of a gamma variable of shape 2: moments by polygamma functions, quantiles by scipy."""
    mode_sd = np.sqrt(0.5)
    t = np.concatenate([-np.array(DISTANCES[7::-1]), [0.0], DISTANCES[:4]]) * mode_sd
    marginal = LaplaceMarginal(t, 2.0 * t - 2.0 * np.exp(t) + 2.0)
    sd = np.sqrt(special.polygamma(1, 2.0))
    # cubic interpolation between these points
    assert marginal.mean == pytest.approx(special.digamma(2.0) - np.log(2.0), abs=2e-4)
    assert marginal.sd == pytest.approx(sd, rel=2e-4)
    assert marginal.skewness == pytest.approx(special.polygamma(2, 2.0) / sd**3, abs=1e-3)
    z = np.array([-3.0, -1.0, 0.0, 1.0, 2.0])
    found, change = marginal.moved(z)
    np.testing.assert_allclose(found, np.log(stats.gamma(2.0, scale=0.5).ppf(stats.norm.cdf(z))), atol=1e-3)
    log_density = 2.0 * found - 2.0 * np.exp(found) + 2.0 * np.log(2.0)
    np.testing.assert_allclose(change, log_density - stats.norm.logpdf(z), atol=2e-2)


def test_constraints_hold():
    """Draws of a ZeroSumNormal among the shared latents sum to zero."""
    day = np.arange(M) % 5
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10.0)
        s = pm.HalfNormal("s", 2.0)
        u = pm.Normal("u", 0, s, shape=G)
        w = pm.ZeroSumNormal("w", 1.0, shape=5)
        pm.Bernoulli("y", logit_p=a + u[:, None] + w[day], observed=EVENTS)
    f, inner = inner_of(model)
    assert inner.blocks.constrained
    point = inner.evaluate(np.array([1.0]))
    sample = point.sample(np.random.default_rng(1), 200)
    of_days = np.abs(f.C).sum(axis=0) > 0
    np.testing.assert_allclose(sample.x[:, of_days].sum(axis=1), 0.0, atol=1e-10)
    assert len(point.shared.T) == inner.blocks.n_S - 1  # the last one follows
    weights = special.softmax(sample.log_joint - sample.log_q)
    assert 1 / np.sum(weights**2) > 0.7 * 200


def test_chosen_by_itself():
    """Wide priors and three events: what "auto" reports, against a grid over the intercept and the scale."""
    a, s = np.linspace(-60, 10, 1401), np.exp(np.linspace(np.log(0.01), np.log(9.0), 121))
    value = np.array([log_joint(sigma, a) + prior(sigma) for sigma in s])
    p = np.exp(value - value.max())
    of_a, of_s = p.sum(axis=0), p.sum(axis=1)
    mean_a, mean_s = a @ of_a / of_a.sum(), s @ of_s / of_s.sum()
    sd_a, sd_s = np.sqrt((a - mean_a) ** 2 @ of_a / of_a.sum()), np.sqrt((s - mean_s) ** 2 @ of_s / of_s.sum())
    idata = pmi.fit(rare_events(), random_seed=1, draws=8000, progressbar=False)
    assert "copula" in pmi.reliability(idata).method
    assert pmi.reliability(idata).verdict == "good"
    table = pmi.summary(idata, var_names=["a", "s"])
    draws = idata.posterior
    for name, mean, sd in (("a", mean_a, sd_a), ("s", mean_s, sd_s)):
        assert table.loc[name, "mean"] == pytest.approx(mean, abs=0.03 * sd)
        assert table.loc[name, "sd"] == pytest.approx(sd, rel=0.03)
        # Monte Carlo error of 8000 draws
        assert float(draws[name].mean()) == pytest.approx(mean, abs=0.05 * sd)
        assert float(draws[name].std()) == pytest.approx(sd, rel=0.05)


def test_not_where_normal_is_enough():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2.0)
        s = pm.HalfNormal("s", 1.0)
        u = pm.Normal("u", 0, s, shape=40)
        y = np.random.default_rng(4).integers(0, 2, (40, 5))
        pm.Bernoulli("y", logit_p=a + u[:, None], observed=y)
    idata = pmi.fit(model, random_seed=1, draws=100, progressbar=False)
    assert "copula" not in pmi.reliability(idata).method
