"""Quadrature over local effects against brute force: every integral on a dense grid, by code that shares nothing.

Binary data in pairs with a large group variance are where the Laplace approximation is worst.
"""

import dataclasses

import numpy as np
import pymc as pm
import pytest
from scipy import integrate, special, stats

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.errors import ConvergenceError
from pymc_inla.inference import local_posterior, run_inference
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.quadrature import QuadratureInner
from pymc_inla.inference.strategy import choose_inner
from pymc_inla.lgm import QUANTILES, Likelihood
from pymc_inla.linalg import build_system, choose_local
from pymc_inla.status import Status

PAIRS = np.array([[0, 0], [1, 1], [0, 1], [1, 1], [0, 0], [1, 1], [1, 0], [0, 0], [1, 1], [1, 1]])


def binary_model(groups, scale=3.0):
    """Intercept N(0, 1.5^2), group effects N(0, sigma^2), sigma ~ HalfNormal(scale)."""
    g = np.repeat(np.arange(len(groups)), [len(y) for y in groups])
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1.5)
        s = pm.HalfNormal("s", scale)
        u = pm.Normal("u", 0, s, shape=len(groups))
        pm.Bernoulli("y", logit_p=a + u[g], observed=np.concatenate(groups))
    return model


def log_group(y, a, sigma):
    """log of the integral of prod sigmoid(+-(a + u)) N(u; 0, sigma^2) du by a fine trapezoidal rule, a a vector."""
    t = np.linspace(-9, 9, 721)
    eta = np.add.outer(a, sigma * t)
    k, n = np.sum(y), len(y)
    log_likelihood = k * special.log_expit(eta) + (n - k) * special.log_expit(-eta)
    return np.log(np.sum(np.exp(log_likelihood) * stats.norm.pdf(t), axis=-1) * (t[1] - t[0]))


A = np.linspace(-7, 7, 281)


def log_joint(groups, sigma, scale):
    """log p(y, a, log sigma) on the grid of a."""
    total = stats.norm.logpdf(A, 0, 1.5) + stats.halfnorm.logpdf(sigma, scale=scale) + np.log(sigma)
    return total + sum(log_group(y, A, sigma) for y in groups)


def functions_of(model):
    f = compile_model(analyze_model(model))
    return f, choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C)


def test_integral_of_the_local_effects_alone():
    """Without shared latents the quadrature is the whole answer."""
    g = np.repeat(np.arange(10), 2)
    with pm.Model() as model:
        s = pm.HalfNormal("s", 3.0)
        u = pm.Normal("u", 0, s, shape=10)
        pm.Bernoulli("y", logit_p=0.3 + u[g], observed=PAIRS.ravel())
    f, partition = functions_of(model)
    assert partition.local_blocks.size == 10
    for log_sigma in (-2.0, 0.0, 1.1):
        sigma = np.exp(log_sigma)
        prior = stats.halfnorm.logpdf(sigma, scale=3.0) + log_sigma
        exact = prior + sum(float(log_group(y, np.array([0.3]), sigma)[0]) for y in PAIRS)
        point = QuadratureInner(f, partition, k=31).evaluate(np.array([log_sigma]))
        # 21 nodes leave 2e-6 at sigma = 3
        assert point.log_posterior == pytest.approx(exact, abs=1e-6)
        # the Laplace approximation is wrong where the variance is large
        system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e)
        laplace = LaplaceInner(f, system).evaluate(np.array([log_sigma]))
        assert (abs(laplace.log_posterior - exact) > 0.1) == (log_sigma > 0.5)


@pytest.mark.parametrize("log_sigma", [-1.0, 0.5, 1.1])
def test_shared_latents_by_laplace(log_sigma):
    f, partition = functions_of(binary_model(PAIRS))
    exact = np.log(integrate.trapezoid(np.exp(log_joint(PAIRS, np.exp(log_sigma), 3.0)), A))
    point = QuadratureInner(f, partition, k=21).evaluate(np.array([log_sigma]))
    # what is left is the Laplace approximation of one well-determined intercept: measured 0.003 to 0.02
    assert point.log_posterior == pytest.approx(exact, abs=0.03)


def test_gradient():
    f, partition = functions_of(binary_model(PAIRS))
    at, error = np.array([0.7]), []
    for k in (7, 31):
        inner = QuadratureInner(f, partition, k=k)
        slope = [inner.evaluate(at + h, gradient=False).log_posterior for h in (1e-4, -1e-4)]
        error.append(abs(inner.evaluate(at).gradient[0] - (slope[0] - slope[1]) / 2e-4))
    # the gradient is that of the integral (Fisher's identity), not of the rule: they meet as k grows
    assert error[1] < 1e-4 and error[0] < 0.05


@pytest.mark.parametrize("k", [3, 7])
def test_gaussian_likelihood_is_exact_for_every_k(k):
    g = np.repeat(np.arange(4), 3)
    y = np.random.default_rng(0).normal(size=12)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=4)
        pm.Normal("y", a + u[g], 0.7, observed=y)
    f, partition = functions_of(model)
    sigma = 0.8
    covariance = 0.49 * np.eye(12) + 4.0 + sigma**2 * (g[:, None] == g)
    exact = stats.multivariate_normal.logpdf(y, np.zeros(12), covariance)
    exact += stats.halfnorm.logpdf(sigma) + np.log(sigma)
    point = QuadratureInner(f, partition, k=k).evaluate(np.array([np.log(sigma)]))
    assert point.log_posterior == pytest.approx(exact, abs=1e-7)  # PyMC holds log of small constants to 3e-8


@pytest.fixture(scope="module")
def pairs_and_triples():
    """60 groups of two and three with sigma = 2.5, the fit, and exact distribution functions of sigma and a."""
    rng = np.random.default_rng(17)
    groups = [
        (rng.random(m) < special.expit(0.4 + u)).astype(int)
        for m, u in zip(np.tile([2, 3], 30), rng.normal(0, 2.5, 60), strict=True)
    ]
    idata = pmi.fit(binary_model(groups), draws=20_000, chains=1, random_seed=3, progressbar=False)
    log_sigma = np.linspace(-4, 2.7, 90)
    kinds = {}
    for y in groups:
        kinds[tuple(sorted(y))] = kinds.get(tuple(sorted(y)), 0) + 1
    joint = np.array(
        [
            stats.norm.logpdf(A, 0, 1.5)
            + stats.halfnorm.logpdf(np.exp(t), scale=3.0)
            + t
            + sum(count * log_group(y, A, np.exp(t)) for y, count in kinds.items())
            for t in log_sigma
        ]
    )
    density = np.exp(joint - joint.max())
    sigma_cdf = integrate.cumulative_trapezoid(integrate.trapezoid(density, A, axis=1), log_sigma, initial=0)
    a_cdf = integrate.cumulative_trapezoid(integrate.trapezoid(density, log_sigma, axis=0), A, initial=0)
    return idata, (np.exp(log_sigma), sigma_cdf / sigma_cdf[-1]), (A, a_cdf / a_cdf[-1])


@pytest.mark.parametrize("variable", ["s", "a"])
def test_binary_pairs_and_triples(pairs_and_triples, variable):
    idata, *exact = pairs_and_triples
    x, cdf = exact[["s", "a"].index(variable)]
    draws = np.sort(idata.posterior[variable].values.ravel())
    found = np.searchsorted(draws, x) / len(draws)
    # 0.03 for the approximation, 0.0115 = 1.63/sqrt(20 000) for the draws
    assert np.max(np.abs(found - cdf)) < 0.0415
    assert idata["inla"].attrs["strategy"] == "quadrature"


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
def test_laplace_is_off_where_quadrature_is_not(pairs_and_triples):
    """The reason for quadrature, and a check that the test above could fail."""
    _, (x, cdf), _ = pairs_and_triples
    rng = np.random.default_rng(17)
    groups = [
        (rng.random(m) < special.expit(0.4 + u)).astype(int)
        for m, u in zip(np.tile([2, 3], 30), rng.normal(0, 2.5, 60), strict=True)
    ]
    laplace = pmi.fit(binary_model(groups), strategy="laplace", draws=5000, chains=1, random_seed=3, progressbar=False)
    draws = np.sort(laplace.posterior["s"].values.ravel())
    assert np.max(np.abs(np.searchsorted(draws, x) / len(draws) - cdf)) > 0.15


def test_nodes_without_a_value_leave_the_laplace_approximation():
    """A derivative that is NaN a little beyond the mode: no rule has a value there, and none is reported."""
    functions, _ = functions_of(binary_model(PAIRS))

    def log_likelihood(eta, theta):
        value, gradient, W = dataclasses.astuple(functions.log_likelihood(eta, theta))
        return Likelihood(value, np.where(np.abs(eta) < 3.0, gradient, np.nan), W)

    narrow = dataclasses.replace(functions, log_likelihood=log_likelihood, only=None)
    start = functions.theta_initial
    with np.errstate(invalid="ignore"):
        choice, _, mode = choose_inner(narrow, "auto", start)
        assert choice.strategy == "laplace"
        assert not choice.quadrature_fits
        assert "no finite value" in choice.reason
        assert mode.log_posterior == choose_inner(narrow, "laplace", start)[2].log_posterior
        with pytest.raises(ConvergenceError, match=r"no finite value.*strategy='laplace'"):
            choose_inner(narrow, "quadrature", start)


@pytest.mark.parametrize("mean", [True, False])
def test_correlated_effects_whose_matrix_is_lost_in_rounding(mean):
    """Far out on the log scale of the second sd the precision of a block is singular in sixteen digits. The search for
    other modes goes there; an evaluation there continues the slope of the log density, or says that it has failed."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(6), 5), rng.normal(size=30)
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=2)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.Exponential.dist(1.0, shape=2))
        u = pm.MvNormal("u", mu=b if mean else np.zeros(2), chol=chol, shape=(6, 2))
        eta = u[g, 0] + u[g, 1] * x + (0 if mean else b[0] + b[1] * x)
        pm.Bernoulli("y", logit_p=eta, observed=rng.integers(0, 2, 30))
    functions, partition = functions_of(model)
    inner = QuadratureInner(functions, partition, k=5)

    def at(t):
        return inner.evaluate(np.array([0.0, 0.3, t]), gradient=False)

    start, slope = at(-9.0).log_posterior, at(-9.0).log_posterior - at(-10.0).log_posterior
    assert slope == pytest.approx(1.0, abs=1e-3)  # the density of the scale is constant at zero
    for t in np.arange(-11.0, -36.0, -1.0):
        point = at(t)
        if point.status is Status.CONVERGED:
            # from -17 on some of 16 digits are left, and a density of exp(-16) of the highest
            assert point.log_posterior == pytest.approx(start + slope * (t + 9.0), abs=0.05 if t > -16.5 else 0.5)
        else:
            assert t < -14.0


@pytest.mark.parametrize("few_shared", [0, 300])
def test_more_nodes_where_the_information_of_the_data_is_negative(few_shared, monkeypatch):
    """Binary data are log-concave: what they add to the precision of the intercept is not negative, unless the nodes
    are too few for a group variance that is far above the one that they were chosen at. Of many shared latents only the
    diagonal is asked, which is all there is of one."""
    monkeypatch.setattr(local_posterior, "FEW_SHARED", few_shared)
    f, partition = functions_of(binary_model(PAIRS, 10.0))
    theta = np.array([2.0])
    exact = np.log(np.trapezoid(np.exp(log_joint(PAIRS, np.exp(2.0), 10.0)), A))
    few = QuadratureInner(f, partition, k=7)
    point = few.evaluate(theta)
    fine = few.with_k(47).evaluate(theta)
    # what is left is the Laplace approximation of the intercept
    assert fine.log_posterior == pytest.approx(exact, abs=0.05)
    assert point.refined and not fine.refined
    assert point.log_posterior == pytest.approx(fine.log_posterior, abs=0.05)
    assert point.moments().sd == pytest.approx(fine.moments().sd, rel=0.05)


def test_counts_of_zero_under_a_wide_prior():
    """Given sigma = 20 a count of zero is a step, and rules that do not resolve it have no mode of the intercept."""
    counts = np.array([0, 0, 0, 1, 25])
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10)
        s = pm.Exponential("s", 0.1)
        u = pm.Normal("u", 0, s, shape=5)
        pm.Poisson("y", pm.math.exp(a + u), observed=counts)
    result = run_inference(compile_model(analyze_model(model)), n_draws=500, random_seed=1, criteria=False)

    # masses of intervals of eta, below which a count of zero is certain and above which no count is likely
    intercept, log_s = np.linspace(-40, 30, 141), np.linspace(-3, 6, 91)
    eta = np.linspace(-14, 6, 401)
    ends = np.append(-np.inf, 0.5 * (eta[1:] + eta[:-1]))
    cdf = special.ndtr((ends - intercept[:, None, None]) / np.exp(log_s)[:, None])
    masses = np.diff(cdf, axis=2, append=1.0)
    log_p = stats.norm.logpdf(intercept, 0, 10)[:, None] - 0.1 * np.exp(log_s) + log_s
    for y in counts:
        log_p = log_p + np.log(masses @ stats.poisson.pmf(y, np.exp(eta)) + 1e-300)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p.sum(1) @ intercept
    sd = np.sqrt(p.sum(1) @ (intercept - mean) ** 2)
    below = np.interp(result.theta_marginals.quantiles[0], log_s, np.cumsum(p.sum(0)) - 0.5 * p.sum(0))

    assert result.reliability.verdict == "good"
    # 0.001 sd are reached
    assert abs(result.latent_marginals.mean[0] - mean) < 0.01 * sd
    assert abs(result.latent_marginals.sd[0] / sd - 1) < 0.01
    assert np.max(np.abs(below - QUANTILES)) < 0.01
