"""Log distribution functions of normals and their derivatives, against scipy."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import integrate, special, stats

from pymc_inla.compile.mode import LARGE, compile_function, stabilize
from pymc_inla.compile.normal_tail import log_ndtr, log_ndtr_difference

Z = np.array([-300.0, -40.0, -12.0, -8.3, -1.0 - 1e-9, -1.0, -1.0 + 1e-9, -0.3, 0.0, 2.0, 8.3, 12.0, 40.0, 300.0])


def derivatives(expression, variable, values):
    """The expression, its first derivative and minus its second one."""
    first = pt.grad(expression.sum(), variable)
    second = -pt.grad(first.sum(), variable)
    return pytensor.function([variable], [expression, first, second], mode="FAST_COMPILE")(values)


def exact(z):
    """g = phi / Phi, and g (z + g)"""
    g = np.sqrt(2 / np.pi) / special.erfcx(-z / np.sqrt(2))
    return g, g * (z + g)


def test_log_ndtr():
    z = pt.vector("z", dtype="float64")
    value, first, second = derivatives(log_ndtr(z), z, Z)
    np.testing.assert_allclose(value, special.log_ndtr(Z), rtol=1e-13)
    expected = np.array([exact(z) for z in Z])
    np.testing.assert_allclose(first, expected[:, 0], rtol=1e-10, atol=1e-300)
    # g + z loses 1e-16 z^2 of its digits
    np.testing.assert_allclose(second, expected[:, 1], rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize(
    ("distribution", "value", "z"),
    [
        (lambda mu: pm.Censored.dist(pm.Normal.dist(mu, 2.0), lower=0.5, upper=None), 0.5, lambda mu: (0.5 - mu) / 2),
        (lambda mu: pm.Censored.dist(pm.Normal.dist(mu, 2.0), lower=None, upper=0.5), 0.5, lambda mu: (mu - 0.5) / 2),
        (
            lambda mu: pm.Censored.dist(pm.LogNormal.dist(mu, 2.0), lower=None, upper=3.0),
            3.0,
            lambda mu: (mu - np.log(3.0)) / 2,
        ),
    ],
)
def test_censored(distribution, value, z):
    """As PyMC writes them, the derivatives are NaN from eight sd on."""
    mu = pt.vector("mu", dtype="float64")
    at = np.array([-200.0, -20.0, -1.0, 0.3, 4.0, 30.0, 200.0])
    logp = stabilize(pm.logp(distribution(mu), np.full(len(at), value)))
    found, first, second = derivatives(logp, mu, at)
    np.testing.assert_allclose(found, special.log_ndtr(z(at)), rtol=1e-12)
    sign = np.sign(z(at)[1] - z(at)[0])
    expected = np.array([exact(k) for k in z(at)])
    np.testing.assert_allclose(first, sign * expected[:, 0] / 2, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(second, expected[:, 1] / 4, rtol=1e-6, atol=1e-300)


def test_truncated():
    """Normal above zero, with its mean far below: nearly exponential with rate -mu / sigma^2."""
    mu = pt.vector("mu", dtype="float64")
    at, y = np.array([-400.0, -40.0, -9.0, 0.0, 9.0, 40.0]), 0.7
    logp = stabilize(pm.logp(pm.Truncated.dist(pm.Normal.dist(mu, 1.0), lower=0.0), np.full(len(at), y)))
    found, first, second = derivatives(logp, mu, at)
    value = stats.norm.logpdf(y, at) - special.log_ndtr(at)
    expected = np.array([exact(m) for m in at])
    # PyMC's constant log(1/2) is a float32
    np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(first, y - at - expected[:, 0], rtol=1e-8)
    # rounding of g + z: 1e-16 z^2
    assert np.all(np.abs(second - (1.0 - expected[:, 1])) < 1e-11 + 1e-15 * at**2)


@pytest.mark.parametrize(
    ("a", "b"), [(9.0, 8.0), (-30.0, -31.0), (0.5, -2.0), (300.0, 20.0), (-8.5, -300.0), (1e-9, 0.0)]
)
def test_difference(a, b):
    """Probability of an interval, by quadrature of the density relative to its largest value."""
    z = pt.vector("z", dtype="float64")
    value, first, second = derivatives(log_ndtr_difference(z + (a - b), z), z, np.array([b]))
    # density of a normal beyond the end that is nearer to zero, relative to that end
    end = b if b > 0 else min(a, 0.0)
    if end:
        mass = integrate.quad(
            lambda t: np.exp(-0.5 * t**2 - abs(end) * t), 0, min(a - b, 40.0), epsabs=0, epsrel=1e-12
        )[0]
        expected = stats.norm.logpdf(end) + np.log(mass)
    else:
        expected = np.log(0.5 * (special.erf(a / np.sqrt(2)) - special.erf(b / np.sqrt(2))))
    np.testing.assert_allclose(value, [expected], rtol=1e-9)
    slope = np.exp(stats.norm.logpdf(a) - expected) - np.exp(stats.norm.logpdf(b) - expected)
    np.testing.assert_allclose(first, [slope], rtol=1e-6)
    assert np.all(np.isfinite(second))


@pytest.mark.parametrize("size", [10, LARGE + 1], ids=["interpreted", "compiled"])
def test_as_functions_are_compiled(size):
    """Large data run through generated code, which has these operations in other functions."""
    z = pt.vector("z", dtype="float64")
    value = log_ndtr(z) + log_ndtr_difference(z + 0.5, z - 1.0)
    (first,) = pt.grad(value.sum(), [z])
    (second,) = pt.grad(first.sum(), [z])
    function = compile_function([z], [value, first, second], size=size)
    at = np.array([-30.0, -9.0, -1.0, 0.2, 1.5, 9.0, 30.0])
    found = function(at)
    expected = pytensor.function([z], [value, first, second], mode="FAST_COMPILE")(at)
    for a, b in zip(found, expected, strict=True):
        # curvatures far out are differences of numbers of the size z^2
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_ordered_probit():
    """Categories far from the linear predictor have finite derivatives; their probabilities are those of scipy."""
    eta = pt.vector("eta", dtype="float64")
    cuts, at = np.array([-1.0, 0.5, 2.0]), np.array([-20.0, -12.0, 0.3, 14.0, 20.0])
    edges = np.r_[-np.inf, cuts, np.inf]
    for category in range(4):
        y = np.full(len(at), category)
        logp = stabilize(pm.logp(pm.OrderedProbit.dist(eta=eta, cutpoints=cuts, compute_p=False), y))
        found, first, second = derivatives(logp, eta, at)
        assert np.all(np.isfinite(first))
        assert np.all(np.isfinite(second))
        p = special.ndtr(edges[category + 1] - at[2]) - special.ndtr(edges[category] - at[2])
        np.testing.assert_allclose(found[2], np.log(p), rtol=1e-6)
