"""Log densities far out and their two derivatives, as the engine takes them, against closed forms."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from bambi.backend import links
from scipy import special

from pymc_inla.compile.likelihood import _gradient
from pymc_inla.compile.mode import stabilize

ETA = np.array([-60.0, -12.0, -9.0, -3.0, 0.3, 3.0, 4.0, 6.0, 9.0, 12.0, 60.0])
n = len(ETA)


def evaluate(distribution, y, at=ETA):
    """Log density of every y, its first derivative in eta and minus the second."""
    eta = pt.vector("eta", dtype="float64", shape=(len(at),))
    value = stabilize(pm.logp(distribution(eta), y))
    (first,) = _gradient(value.sum(), [eta])
    (second,) = _gradient(first.sum(), [eta])
    return pytensor.function([eta], [value, first, -second], mode="FAST_COMPILE")(at)


def test_third_derivative_of_cloglog():
    """what moves means and skewness: 1 - exp(-exp(eta)) has none left in sixteen digits below -37"""
    eta = pt.vector("eta", dtype="float64", shape=(6,))
    value = stabilize(pm.logp(pm.Bernoulli.dist(p=1 - pm.math.exp(-pm.math.exp(eta))), np.ones(6, int)))
    for _ in range(3):
        (value,) = _gradient(value.sum(), [eta])
    at = np.array([-300.0, -60.0, -40.0, -20.0, -3.0, 0.5])
    found = pytensor.function([eta], value, mode="FAST_COMPILE")(at)
    t = np.exp(at)
    with np.errstate(over="ignore"):
        r = 1.0 / np.expm1(t)
    # of t / (e^t - 1) = t r, with dr/deta = -t r (1 + r)
    first = t * r
    a = 1.0 - t * (1.0 + r)
    exact = first * a**2 + first * (-t * (1.0 + r) + t**2 * r * (1.0 + r))
    # differences of numbers near one
    np.testing.assert_allclose(found, exact, atol=1e-13)


def log_normal_probability(z):
    """log Phi, its derivative and minus the second"""
    g = np.sqrt(2 / np.pi) / special.erfcx(-z / np.sqrt(2))
    return np.array([special.log_ndtr(z), g, g * (z + g)])


SIGN = np.array([1.0, -1.0, 1.0])[:, None]


def log_of_one_minus_exp(eta):
    """log(1 - exp(-t)) and derivatives in eta = log t"""
    t = np.exp(eta)
    with np.errstate(over="ignore"):
        ratio = t / np.expm1(t)
    # d/deta ratio = ratio (1 - t / (1 - exp(-t)))
    return np.array([np.log(-np.expm1(-t)), ratio, -ratio * (1.0 - t / -np.expm1(-t))])


@pytest.mark.parametrize(
    "probit",
    [
        pm.math.invprobit,
        lambda eta: 0.5 * (1.0 + pt.erf(eta / np.sqrt(2.0))),
        lambda eta: 0.5 + 0.5 * pt.erf(eta / pt.sqrt(2.0)),
        lambda eta: (1.0 - pt.erf(-eta / np.sqrt(2.0))) / 2.0,
        lambda eta: 1.0 - 0.5 * pt.erfc(eta / np.sqrt(2.0)),
        links.probit,
    ],
    ids=["invprobit", "erf", "sum of halves", "minus erf", "one minus erfc", "bambi"],
)
def test_probit(probit):
    """sixteen digits end at 8.3, where one minus the probability is zero"""
    yes, no = log_normal_probability(ETA), log_normal_probability(-ETA) * SIGN
    # g + z loses 1e-16 z^2 of its digits
    for y, expected in ((1, yes), (0, no)):
        found = evaluate(lambda eta: pm.Bernoulli.dist(p=probit(eta)), np.full(n, y))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-290)
    value, first, second = evaluate(lambda eta: pm.Binomial.dist(5, p=probit(eta)), np.full(n, 2))
    np.testing.assert_allclose(value, 2 * yes[0] + 3 * no[0] + np.log(10), rtol=1e-9)
    np.testing.assert_allclose(first, 2 * yes[1] + 3 * no[1], rtol=1e-9)
    np.testing.assert_allclose(second, 2 * yes[2] + 3 * no[2], rtol=1e-6)


@pytest.mark.parametrize("cloglog", [lambda eta: 1 - pt.exp(-pt.exp(eta)), links.cloglog], ids=["plain", "bambi"])
def test_complementary_log_log(cloglog):
    yes, no = log_of_one_minus_exp(ETA), -np.exp(ETA) * np.array([1.0, 1.0, -1.0])[:, None]
    for y, expected in ((1, yes), (0, no)):
        found = evaluate(lambda eta: pm.Bernoulli.dist(p=cloglog(eta)), np.full(n, y))
        # below exp(-12) the derivatives of log(1 - exp(-t)) are differences of numbers of the size of 1
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    value, first, second = evaluate(lambda eta: pm.Binomial.dist(5, p=cloglog(eta)), np.full(n, 2))
    np.testing.assert_allclose(value, 2 * yes[0] + 3 * no[0] + np.log(10), rtol=1e-12)
    np.testing.assert_allclose(first, 2 * yes[1] + 3 * no[1], rtol=1e-9)
    np.testing.assert_allclose(second, 2 * yes[2] + 3 * no[2], rtol=1e-9, atol=1e-10)


def test_skew_normal():
    """log(1 + erf) of a skew normal distribution far in its short tail"""
    alpha, sigma, y = 4.0, 0.5, 1.0
    at = np.array([-30.0, 0.0, 1.0, 1.5, 4.0, 8.0, 30.0])
    z = (y - at) / sigma
    tail = log_normal_probability(alpha * z)
    found = evaluate(lambda eta: pm.SkewNormal.dist(mu=eta, sigma=sigma, alpha=alpha), np.full(len(at), y), at)
    value = np.log(2 / sigma) - 0.5 * np.log(2 * np.pi) - z**2 / 2 + tail[0]
    first = z / sigma - alpha / sigma * tail[1]
    np.testing.assert_allclose(found[0], value, rtol=1e-12)
    np.testing.assert_allclose(found[1], first, rtol=1e-9)
    # for z = -58 tau times alpha^2 z^2 is lost
    np.testing.assert_allclose(found[2], (1 + alpha**2 * tail[2]) / sigma**2, rtol=1e-6)


def test_poisson_without_zeros():
    """Truncated at one, and the counts of a hurdle model: y eta - mu - log(1 - exp(-mu)) - log y!"""
    y = 1 + np.arange(n)
    complement = log_of_one_minus_exp(ETA)
    mu = np.exp(ETA)
    expected = np.array([y * ETA - mu - special.gammaln(y + 1), y - mu, mu]) - complement
    truncated = evaluate(lambda eta: pm.Truncated.dist(pm.Poisson.dist(pt.exp(eta)), lower=1), y)
    hurdle = evaluate(lambda eta: pm.HurdlePoisson.dist(psi=0.4, mu=pt.exp(eta)), y)
    hurdle[0] = hurdle[0] - np.log(0.4)
    for found in (truncated, hurdle):
        # at mu = exp(-60) the derivatives are differences of y and 1
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_censored_survival_times():
    """log(1 - F) is -t^a, not the logarithm of a difference"""
    at = np.array([-9.0, -3.0, 0.3, 3.0, 9.0])
    y, a = np.full(5, 2.0), 1.4
    found = evaluate(lambda eta: pm.Censored.dist(pm.Weibull.dist(a, pt.exp(eta)), lower=None, upper=2.0), y, at)
    t = (y / np.exp(at)) ** a
    np.testing.assert_allclose(found, [-t, a * t, a**2 * t], rtol=1e-10)


def test_mixture_weights_far_out():
    """log(1 - sigmoid) of a weight that rounds to one"""
    y = np.array([0, 1, 0, 2])
    at = np.array([60.0, 60.0, -60.0, -60.0])
    found = evaluate(lambda eta: pm.ZeroInflatedPoisson.dist(psi=pm.math.sigmoid(eta), mu=2.0), y, at)
    poisson = y * np.log(2.0) - 2.0 - special.gammaln(y + 1)
    # PyMC keeps log 2 in single precision
    np.testing.assert_allclose(found[0], [poisson[0], poisson[1], 0.0, poisson[3] - 60.0], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found[1], [0.0, 0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(found[2], 0.0, atol=1e-12)


def test_a_guard_that_means_something_stays():
    """A probability that can be zero by its own, as of a covariate, keeps the number it is given instead."""
    x = np.array([0.0, 0.2, 0.0])
    found = evaluate(
        lambda eta: pm.Bernoulli.dist(p=pt.switch(pt.eq(x * pt.sigmoid(eta), 0), 1e-3, x * pt.sigmoid(eta))),
        np.ones(3, int),
        np.zeros(3),
    )
    np.testing.assert_allclose(np.exp(found[0]), [1e-3, 0.1, 1e-3])
