"""log Gamma(a + c) - log Gamma(a) against sums over c terms, and log densities at huge concentrations."""

from math import factorial

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import special, stats

from pymc_inla.compile.likelihood import _gradient
from pymc_inla.compile.mode import compile_function, stabilize
from pymc_inla.compile.rising_factorial import log_rising

SIZES = [1e-30, 1e-3, 0.7, 3.0, 19.99, 20.0, 50.0, 1e6, 1e15, 1e30]
A, C = (part.ravel() for part in np.meshgrid(SIZES, [0, 1, 4, 300]))


def exact(order, a, c):
    terms = a + np.arange(c)
    return np.sum(np.log(terms)) if order == 0 else -factorial(order - 1) * np.sum((-1.0 / terms) ** order)


@pytest.mark.parametrize("interpreted", [True, False])
def test_values_and_derivatives(interpreted):
    a = pt.vector("a", dtype="float64")
    outputs = [log_rising(a, C.astype(float))]
    for _ in range(3):
        outputs.append(pt.grad(outputs[-1].sum(), a))
    options = {} if interpreted else {"compile_kwargs": {"mode": "FAST_COMPILE"}}
    for order, found in enumerate(compile_function([a], outputs, **options)(A)):
        # elsewhere just below 20 the difference of two polygamma functions loses a digit or two
        rtol = 2e-15 if interpreted else 1e-13
        np.testing.assert_allclose(found, [exact(order, *at) for at in zip(A, C, strict=True)], rtol=rtol)


@pytest.mark.parametrize("c", [0.25, 2.5])
def test_offsets_that_are_no_counts(c):
    a = pt.vector("a", dtype="float64")
    at = np.array([1e-3, 0.7, 3.0, 19.99])
    value = log_rising(a, pt.constant(np.full(4, c)))
    found = compile_function([a], [value, pt.grad(value.sum(), a)])(at)
    np.testing.assert_allclose(found[0], special.gammaln(at + c) - special.gammaln(at), rtol=1e-13)
    np.testing.assert_allclose(found[1], special.psi(at + c) - special.psi(at), rtol=1e-13)


LOG_K = np.array([-2.0, 3.0, 10.0, 20.0, 30.0, 36.0, 60.0, 200.0])


def derivatives(logp, at):
    """A log density of inputs {variable: values}, its first derivatives and minus the second ones"""
    value = stabilize(logp)
    first = _gradient(value.sum(), list(at))
    second = [-_gradient(g.sum(), [v])[0] for g, v in zip(first, at, strict=True)]
    function = compile_function(list(at), [value, *first, *second])
    return function(*at.values())


def test_beta_binomial():
    """A concentration of exp(36) and more makes it binomial to all digits, where PyMC's is rounding (+65548)."""
    eta, log_k = (pt.vector(name, shape=LOG_K.shape, dtype="float64") for name in ("eta", "log_k"))
    p, k = pm.math.sigmoid(eta), pm.math.exp(log_k)
    y, n = np.array([4, 0, 10, 4, 10, 0, 4, 7]), 10
    logp = pm.logp(pm.BetaBinomial.dist(alpha=p * k, beta=(1 - p) * k, n=n), y)
    at = np.linspace(-1.0, 1.5, len(y))
    value, in_eta, in_log_k, W, W_k = derivatives(logp, {eta: at, log_k: LOG_K})
    a, K = special.expit(at), np.exp(LOG_K)
    few = LOG_K <= 3.0  # SciPy's loses digits where K is large, too
    np.testing.assert_allclose(value[few], stats.betabinom.logpmf(y, n, a * K, (1 - a) * K)[few], rtol=1e-12)
    many = LOG_K >= 36.0
    np.testing.assert_allclose(value[many], stats.binom.logpmf(y, n, a)[many], rtol=1e-12)
    np.testing.assert_allclose(in_eta[many], (y - n * a)[many], rtol=1e-10)
    np.testing.assert_allclose(W[many], (n * a * (1 - a))[many], rtol=1e-10)
    # sums over y, n - y and n terms: d/dlog k of log(p k + j) is p k / (p k + j), its second derivative j p k / ()^2
    signs = (1, a, y), (1, 1 - a, n - y), (-1, np.ones(len(y)), np.full(len(y), n))
    first, second = np.zeros(len(y)), np.zeros(len(y))
    for sign, q, m in signs:
        for i in range(len(y)):
            j, pk = np.arange(m[i]), q[i] * K[i]
            first[i] += sign * np.sum(pk / (pk + j))
            second[i] -= sign * np.sum(j * pk / (pk + j) ** 2)
    # sums of numbers of the size of n
    np.testing.assert_allclose(in_log_k, first, atol=1e-12)
    np.testing.assert_allclose(W_k, second, atol=1e-12)


def test_negative_binomial():
    """Poisson in the limit, and exact where its alpha depends on a latent and is no closed form of the engine"""
    log_k = pt.vector("log_k", shape=LOG_K.shape, dtype="float64")
    y, mu, K = np.array([4, 0, 10, 4, 100, 0, 4, 7]), np.full(len(LOG_K), 5.0), np.exp(LOG_K)
    logp = pm.logp(pm.NegativeBinomial.dist(mu=mu, alpha=pm.math.exp(log_k)), y)
    value, in_log_k, _ = derivatives(logp, {log_k: LOG_K})
    expected = special.gammaln(np.maximum(y, 1)) * (y > 0) - special.gammaln(y + 1) - (y + K) * np.log1p(mu / K)
    expected += y * np.log(mu / K) - np.where(y > 0, special.betaln(K, np.maximum(y, 1)), 0.0)
    large = LOG_K > 20.0
    expected[large] = stats.poisson.logpmf(y, mu)[large]
    np.testing.assert_allclose(value, expected, rtol=1e-8)
    assert np.all(np.abs(in_log_k[large]) < 1e-8)


def test_dirichlet_multinomial():
    """multinomial in the limit"""
    log_k = pt.vector("log_k", shape=(1,), dtype="float64")
    p, y = np.array([0.2, 0.5, 0.3]), np.array([3, 1, 6])
    logp = pm.logp(pm.DirichletMultinomial.dist(n=10, a=pm.math.exp(log_k)[:, None] * p), y[None])
    function = pytensor.function([log_k], stabilize(logp), mode="FAST_COMPILE")
    np.testing.assert_allclose(function([60.0]), stats.multinomial.logpmf(y, 10, p), rtol=1e-12)


def test_other_differences_stay():
    """of arguments that differ by no constant, or by one of both signs"""
    x, z = (pt.vector(name, shape=(2,), dtype="float64") for name in ("x", "z"))
    at = np.array([0.7, 3.0]), np.array([2.0, 1.3])
    value = pt.gammaln(x) - pt.gammaln(z) + pt.gammaln(x + 1.0) - pt.gammaln(x + np.array([0.5, 1.5])) + x
    found = pytensor.function([x, z], stabilize(value), mode="FAST_COMPILE")(*at)
    ln = special.gammaln
    expected = ln(at[0]) - ln(at[1]) + ln(at[0] + 1) - ln(at[0] + np.array([0.5, 1.5])) + at[0]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_negative_offsets_and_repeated_terms():
    x = pt.vector("x", shape=(2,), dtype="float64")
    at = np.array([0.7, 1e25])
    value = pt.gammaln(x + x + 1.0) - pt.gammaln(2.0 + x + x) + (pt.gammaln(x + 3.0) - pt.gammaln(1.0 + x))
    found = pytensor.function([x], stabilize(value), mode="FAST_COMPILE")(at)
    np.testing.assert_allclose(found, -np.log(2 * at + 1) + np.log(at + 1) + np.log(at + 2), rtol=1e-13)
