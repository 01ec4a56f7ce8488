"""log pi(theta) of every prior, read off the variables that it makes, against the formula of DESIGN 8.2."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammaln, log_ndtr

import pymc_inla as pmi

TEXT = "expression: a = 2; b <- 0.5; return(a*log(b) - lgamma(a) + a*theta - b*exp(theta))"
X, Y = np.array([-3.0, -1.0, 2.0, 5.0]), np.array([-6.0, -1.0, -1.5, -9.0])


def table(theta):
    inside = np.interp(theta, X, Y)
    left, right = Y[0] + 2.5 * (theta - X[0]), Y[-1] - 2.5 * (theta - X[-1])
    return np.where(theta < X[0], left, np.where(theta > X[-1], right, inside))


def loggamma(a, b):
    return lambda t: a * np.log(b) - gammaln(a) + a * t - b * np.exp(t)


def pc_prec(u, alpha):
    rate = -np.log(alpha) / u
    return lambda t: np.log(rate / 2) - rate * np.exp(-t / 2) - t / 2


def normal(m, k):
    return lambda t: 0.5 * np.log(k / (2 * np.pi)) - 0.5 * k * (t - m) ** 2


def logtnormal(m, k):
    def log_density(t):
        sigma = np.exp(-t / 2)
        inside = 0.5 * np.log(k / (2 * np.pi)) - 0.5 * k * (sigma - m) ** 2
        return inside - log_ndtr(m * np.sqrt(k)) + np.log(sigma / 2)

    return log_density


def laplace(m, k):
    return lambda t: 0.5 * np.log(k / 2) - np.sqrt(2 * k) * np.abs(t - m)


CASES = {
    "loggamma": (lambda: pmi.priors.loggamma("tau"), loggamma(1, 5e-5)),
    "loggamma 2": (lambda: pmi.priors.loggamma("tau", 2.3, 0.7), loggamma(2.3, 0.7)),
    "pc.prec": (lambda: pmi.priors.pc_prec("tau", 1, 0.01), pc_prec(1, 0.01)),
    "pc.prec 2": (lambda: pmi.priors.pc_prec("tau", u=0.3, alpha=0.2), pc_prec(0.3, 0.2)),
    "normal": (lambda: pmi.priors.normal("tau", 0.3, 1.7), normal(0.3, 1.7)),
    "gaussian": (lambda: pmi.priors.gaussian("tau", 4, 1), normal(4, 1)),
    "logtnormal": (lambda: pmi.priors.logtnormal("tau", 0.3, 1.7), logtnormal(0.3, 1.7)),
    "logtnormal at zero": (lambda: pmi.priors.logtgaussian("tau", 0, 1.7), logtnormal(0, 1.7)),
    "logtnormal below zero": (lambda: pmi.priors.logtnormal("tau", -8, 1.7), logtnormal(-8, 1.7)),
    "laplace": (lambda: pmi.priors.laplace("tau", 0.3, 1.7), laplace(0.3, 1.7)),
    "expression": (lambda: pmi.priors.expression("tau", TEXT), loggamma(2, 0.5)),
    "table": (lambda: pmi.priors.table("tau", X, Y), table),
    "flat": (lambda: pmi.priors.flat("tau"), lambda t: 0 * t),
    "logiflat": (lambda: pmi.priors.logiflat("tau"), lambda t: -t),
    "logflat": (lambda: pmi.priors.logflat("tau"), lambda t: t),
}
IMPROPER = ("flat", "logiflat", "logflat")
NOT_NORMALIZED = ("table",)
THETA = np.array([-7.3, -1.2, 0.0, 0.31, 1.9, 4.0, 9.5])


def density_of_internal(make, to_internal, bound=60):
    """(log pi(theta), initial theta) of the scalar model that `make` writes: change of variable by autodiff."""
    with pm.Model() as model:
        theta = to_internal(make())
    (value,) = model.value_vars
    (internal,) = model.replace_rvs_by_values([theta])
    slope = pt.grad(internal, value)
    function = pytensor.function(
        [value], [model.logp(), internal, slope], mode=Mode(linker="py", optimizer="fast_compile")
    )

    def log_density(t):
        found = brentq(lambda v: function(v)[1] - t, -bound, bound, xtol=1e-15, rtol=8.9e-16)
        logp, at, derivative = function(found)
        # the root is exact to rounding only: the density's own slope corrects for what is left, at first order
        return logp - np.log(np.abs(derivative)), at

    return log_density, float(function(model.initial_point()[value.name])[1])


@pytest.mark.parametrize("case", CASES)
def test_density_of_log_precision(case):
    make, formula = CASES[case]
    log_density, start = density_of_internal(make, pt.log)
    for t in THETA:
        found, at = log_density(t)
        np.testing.assert_allclose(found, formula(at), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(at, t, atol=1e-10)
    np.testing.assert_allclose(start, 4.0, rtol=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if case not in IMPROPER + NOT_NORMALIZED])
def test_proper_formulas_are_normalized(case):
    mass = quad(lambda t: np.exp(CASES[case][1](t)), -80, 200, points=[-5, 0, 0.3, 5, 15], limit=500)[0]
    np.testing.assert_allclose(mass, 1.0, rtol=1e-7)


@pytest.mark.parametrize("u, alpha", [(0.5, 0.5), (0.9, 0.1)])
def test_density_of_correlation(u, alpha):
    rate = -np.log(alpha) / np.sqrt(-np.log1p(-(u**2)))

    def formula(t):
        log_complement = -2 * np.log(np.cosh(t / 2))  # log(1 - rho^2)
        rho, mu = np.tanh(t / 2), np.sqrt(-log_complement)
        log_density = np.log(rate / 2) - rate * mu + np.log(np.abs(rho) / mu) - log_complement
        return log_density + log_complement - np.log(2)  # d rho / dt = (1 - rho^2) / 2

    def make():
        return pmi.priors.pc_cor0("rho", u, alpha, initial=-1.5)

    log_density, start = density_of_internal(make, lambda rho: 2 * pt.arctanh(rho), bound=2.5)
    for t in (-4.0, -1.3, -0.2, 0.1, 0.7, 3.0):
        found, at = log_density(t)
        np.testing.assert_allclose(found, formula(at), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(start, -1.5, rtol=1e-12)

    def mass_beyond(t):
        return 2 * quad(lambda t: np.exp(formula(t)), t, 600, points=[t + 3, t + 60], limit=400)[0]

    np.testing.assert_allclose(mass_beyond(1e-12), 1.0, rtol=1e-7)
    np.testing.assert_allclose(mass_beyond(2 * np.arctanh(u)), alpha, rtol=1e-7)


# PyMC's linker says so of every random variable that it does not know how to compile
OBJECT_MODE = "ignore:Numba will use object mode to run"


@pytest.mark.filterwarnings(OBJECT_MODE)
@pytest.mark.parametrize("case", [case for case in CASES if case not in IMPROPER])
def test_prior_predictive_draws(case):
    """Draws of theta follow the density: a Kolmogorov-Smirnov distance beyond 1.63 / sqrt(n) has probability 0.01."""
    make, formula = CASES[case]
    with pm.Model():
        pm.Deterministic("theta", pt.log(make()))
        theta = np.sort(pm.sample_prior_predictive(2000, random_seed=3)["prior"]["theta"].values.ravel())
    grid = np.linspace(-80, 200, 280_001)
    density = np.exp(formula(grid))
    cdf = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    expected = np.interp(theta, grid, cdf / cdf[-1])
    distance = np.max(np.abs(expected - (np.arange(2000) + 0.5) / 2000))
    assert distance < 1.63 / np.sqrt(2000)


@pytest.mark.filterwarnings(OBJECT_MODE)
@pytest.mark.parametrize("name", IMPROPER)
def test_improper_priors_cannot_be_drawn(name):
    with pm.Model():
        getattr(pmi.priors, name)("tau")
        with pytest.raises(NotImplementedError, match="Cannot sample from"):
            pm.sample_prior_predictive(5)
