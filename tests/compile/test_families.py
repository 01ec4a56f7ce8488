"""Closed forms of the likelihoods: recognized where they apply and only there, equal to PyMC's own density."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model

N = 40
G = np.arange(N) % 8
RNG = np.random.default_rng(8)
X = RNG.normal(size=N)
EXPOSURE = RNG.uniform(0.5, 2.0, size=N)
COUNTS = RNG.poisson(2.0, size=N).astype(float)
POSITIVE = RNG.gamma(2.0, size=N)


def model(observe):
    with pm.Model() as built:
        beta = pm.Normal("beta", 0, 2, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=8)
        observe(beta[0] + beta[1] * X + u[G], pm.Exponential("alpha", 0.5))
    return built


CLOSED = {
    "poisson with exposure": lambda e, a: pm.Poisson("y", EXPOSURE * pm.math.exp(e), observed=COUNTS),
    "poisson, exposure last": lambda e, a: pm.Poisson("y", pm.math.exp(e) * EXPOSURE, observed=COUNTS),
    "negative binomial": lambda e, a: pm.NegativeBinomial("y", mu=pm.math.exp(e), alpha=a, observed=COUNTS),
    "negative binomial with exposure": lambda e, a: pm.NegativeBinomial(
        "y", mu=EXPOSURE * pm.math.exp(e), alpha=a, observed=COUNTS
    ),
    "negative binomial, alpha per row": lambda e, a: pm.NegativeBinomial(
        "y", mu=pm.math.exp(e), alpha=a * EXPOSURE, observed=COUNTS
    ),
    "gamma": lambda e, a: pm.Gamma("y", alpha=a, beta=a / pm.math.exp(e), observed=POSITIVE),
    "gamma, product": lambda e, a: pm.Gamma("y", alpha=a, beta=a * pm.math.exp(-e), observed=POSITIVE),
    "gamma, rate with exposure": lambda e, a: pm.Gamma("y", alpha=a, beta=EXPOSURE * pm.math.exp(e), observed=POSITIVE),
    "exponential, scale": lambda e, a: pm.Exponential("y", scale=a * pm.math.exp(e), observed=POSITIVE),
    "exponential, rate": lambda e, a: pm.Exponential("y", lam=pm.math.exp(e), observed=POSITIVE),
    "normal, sigma per row": lambda e, a: pm.Normal("y", e, a * EXPOSURE, observed=POSITIVE),
    "lognormal": lambda e, a: pm.LogNormal("y", e, a, observed=POSITIVE),
    "binomial": lambda e, a: pm.Binomial("y", np.arange(N) + 12, logit_p=e, observed=COUNTS),
}

GENERIC = {
    "poisson, a hyperparameter in the mean": lambda e, a: pm.Poisson("y", a * pm.math.exp(e), observed=COUNTS),
    "poisson, exp of a hyperparameter": lambda e, a: pm.Poisson("y", pm.math.exp(a) * pm.math.exp(e), observed=COUNTS),
    "poisson, another link": lambda e, a: pm.Poisson("y", pm.math.log1pexp(e), observed=COUNTS),
    "negative binomial, additive mean": lambda e, a: pm.NegativeBinomial(
        "y", mu=1 + pm.math.exp(e), alpha=a, observed=COUNTS
    ),
    "gamma, shape from eta": lambda e, a: pm.Gamma("y", alpha=pm.math.exp(e), beta=a, observed=POSITIVE),
    "exponential with a zero": lambda e, a: pm.Exponential("y", scale=pm.math.exp(e), observed=np.zeros(N)),
    "normal, sigma from eta": lambda e, a: pm.Normal("y", 2 * e, pm.math.exp(e), observed=POSITIVE),
    "student": lambda e, a: pm.StudentT("y", nu=4, mu=e, sigma=a, observed=POSITIVE),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_agrees_with_differentiated_density(name):
    lgm = analyze_model(model(CLOSED[name]))
    closed, generic = compile_model(lgm), compile_model(lgm, families=False)
    assert type(closed.log_likelihood.terms[0]) is not type(generic.log_likelihood.terms[0])
    rng = np.random.default_rng(1)
    bars = rng.normal(size=(3, N))
    for spread in (0.5, 4.0):
        theta = closed.theta_initial + rng.normal(size=closed.n_theta)
        eta = spread * rng.normal(size=N)
        a, b = closed.log_likelihood(eta, theta), generic.log_likelihood(eta, theta)
        for field in ("value", "gradient", "W"):
            expected = getattr(b, field)
            # relative to the largest entry: the differentiated graph cancels where a derivative almost vanishes
            np.testing.assert_allclose(getattr(a, field), expected, rtol=1e-9, atol=1e-11 * abs(expected).max())
        found, expected = closed.log_likelihood_vjp(eta, theta, *bars), generic.log_likelihood_vjp(eta, theta, *bars)
        for u, v in zip(found, expected, strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-8, atol=1e-10 * (1 + abs(v).max(initial=0)))
        etas, many_bars = np.stack([eta, -eta]), [np.stack([bar, 0.5 * bar]) for bar in bars]
        one_by_one = replace(closed, many=False)
        np.testing.assert_array_equal(
            closed.log_likelihood_many(etas, theta).W, one_by_one.log_likelihood_many(etas, theta).W
        )
        found = closed.log_likelihood_vjp_many(etas, theta, *many_bars)
        # sums over the observations are taken in another order
        for u, v in zip(found, one_by_one.log_likelihood_vjp_many(etas, theta, *many_bars), strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-11, atol=1e-11 * (1 + abs(v).max(initial=0)))
        many = closed.log_likelihood_values(np.stack([eta, -eta]), theta)
        np.testing.assert_allclose(many[0], a.value, rtol=1e-13)
        np.testing.assert_allclose(many[1], closed.log_likelihood(-eta, theta).value, rtol=1e-13)


@pytest.mark.parametrize("name", GENERIC)
def test_everything_else_is_differentiated(name):
    functions = compile_model(analyze_model(model(GENERIC[name])))
    assert [type(t).__name__ for t in functions.log_likelihood.terms] == ["GenericTerm"]
    assert not functions.gaussian


def test_only_quadratic_log_likelihoods_are_gaussian():
    gaussian = {name for name, observe in CLOSED.items() if compile_model(analyze_model(model(observe))).gaussian}
    assert gaussian == {"normal, sigma per row", "lognormal"}


def test_values_are_log_densities_with_their_constants():
    """Against SciPy's densities, not PyMC's."""
    mean, alpha = np.exp(0.3 * X), 2.5
    expected = {
        "poisson with exposure": stats.poisson(EXPOSURE * mean).logpmf(COUNTS),
        "negative binomial": stats.nbinom(alpha, alpha / (alpha + mean)).logpmf(COUNTS),
        "gamma": stats.gamma(alpha, scale=mean / alpha).logpdf(POSITIVE),
        "exponential, rate": stats.expon(scale=1 / mean).logpdf(POSITIVE),
        "lognormal": stats.lognorm(alpha, scale=mean).logpdf(POSITIVE),
        "binomial": stats.binom(np.arange(N) + 12, 1 / (1 + 1 / mean)).logpmf(COUNTS),
    }
    for name, density in expected.items():
        lgm = analyze_model(model(CLOSED[name]))
        functions = compile_model(lgm)
        theta = functions.theta_initial.copy()
        for h in lgm.hyperparameters:
            theta[h.start] = np.log(alpha) if h.name.startswith("alpha") else theta[h.start]
        # through the design, because what is called eta may be minus the user's: the sign is the model's business
        x = np.zeros(functions.n_x)
        beta = next(v for v in lgm.latents if v.name == "beta")
        x[beta.start : beta.stop] = 0.0, 0.3
        design = functions.design(theta)
        at = design.offset + functions.A_pattern.to_matrix(design.A) @ x
        np.testing.assert_allclose(functions.log_likelihood(at, theta).value, density, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", ["negative binomial", "gamma", "poisson with exposure", "binomial"])
def test_far_from_the_data_nothing_is_nan(name):
    functions = compile_model(analyze_model(model(CLOSED[name])))
    for eta in (-700.0, -45.0, 45.0, 700.0):
        at = functions.log_likelihood(np.full(N, eta), functions.theta_initial)
        assert not np.any(np.isnan(at.value)) and not np.any(np.isnan(at.gradient)) and np.all(at.W >= 0)


def test_negative_binomial_approaches_poisson():
    """At alpha = 1e10 the difference is of order (y - mean)^2 / alpha; plain log gammas would be off by 1e-5."""
    lgm = analyze_model(model(CLOSED["negative binomial"]))
    functions = compile_model(lgm)
    theta = functions.theta_initial.copy()
    for h in lgm.hyperparameters:
        theta[h.start] = np.log(1e10) if h.name.startswith("alpha") else theta[h.start]
    value = functions.log_likelihood(0.3 * X, theta).value
    np.testing.assert_allclose(value, stats.poisson(np.exp(0.3 * X)).logpmf(COUNTS), atol=1e-7)


def test_nothing_is_expected_where_nothing_is_exposed():
    exposure = np.where(np.arange(N) % 5 == 0, 0.0, EXPOSURE)
    y = np.where(exposure > 0, COUNTS, 0.0)
    built = model(lambda e, a: pm.Poisson("y", exposure * pm.math.exp(e), observed=y))
    f = compile_model(analyze_model(built))
    eta = np.random.default_rng(1).normal(size=N)
    value, gradient, W = (getattr(f.log_likelihood(eta, f.theta_initial), k) for k in ("value", "gradient", "W"))
    expected = stats.poisson.logpmf(y, exposure * np.exp(eta))
    np.testing.assert_allclose(value, np.where(exposure > 0, expected, 0.0), rtol=1e-12)
    np.testing.assert_allclose(gradient, y - exposure * np.exp(eta), rtol=1e-12)
    np.testing.assert_allclose(W, exposure * np.exp(eta), rtol=1e-12)
