"""Hyperpriors with kinks and jumps: the integral over theta against dense grids of closed forms."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pymc_inla as pmi
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.kinks import is_rough
from pymc_inla.status import Status

GROUPS, SIZE = 12, 4
rng = np.random.default_rng(8)
Y = (rng.normal(0, 0.8, GROUPS)[:, None] + rng.normal(size=(GROUPS, SIZE))).round(3)


def log_likelihood(log_tau, log_noise):
    """Of balanced Gaussian groups with mean zero, scalars."""
    noise2, means = np.exp(2 * log_noise), Y.mean(1)
    within = np.sum((Y - means[:, None]) ** 2)
    between = np.exp(-log_tau) + noise2 / SIZE
    value = -0.5 * within / noise2 - GROUPS * (SIZE - 1) * log_noise
    return value - 0.5 * np.sum(means**2) / between - 0.5 * GROUPS * np.log(between)


def distance(draws, grid, log_density):
    """Kolmogorov distance to a density on an equally spaced grid."""
    mass = np.exp(log_density - log_density.max())
    cdf = np.cumsum(mass) - 0.5 * mass
    draws = np.sort(draws.ravel())
    return np.max(np.abs(np.interp(draws, grid, cdf / mass.sum()) - (np.arange(len(draws)) + 0.5) / len(draws)))


def fit(model):
    return pmi.fit(model, draws=10_000, chains=1, random_seed=1, criteria=False, progressbar=False)


# 1.63 / sqrt(10 000) = 0.016 would be the 1 % point for independent draws; theta is drawn systematically
TOLERANCE = 0.012


@pytest.mark.parametrize(("center", "scale"), [(0.0, 0.7), (0.5, 0.35), (0.7, 0.13), (3.0, 0.13)])
def test_laplace_prior_of_a_log_precision(center, scale):
    with pm.Model() as model:
        t = pm.Laplace("t", center, scale)
        u = pm.Normal("u", 0, pm.math.exp(-t / 2), shape=GROUPS)
        pm.Normal("y", u[:, None], 1.0, observed=Y)
    grid = np.linspace(-12, 14, 20001)
    exact = np.array([log_likelihood(g, 0.0) for g in grid]) + stats.laplace.logpdf(grid, center, scale)
    idata = fit(model)  # a verdict other than good is a warning, and a failure
    assert distance(idata.posterior["t"].values, grid, exact) < TOLERANCE


def test_two_kinked_priors():
    with pm.Model() as model:
        t = pm.Laplace("t", 1.0, 0.3)
        s = pm.Laplace("s", 0.2, 0.1)
        u = pm.Normal("u", 0, pm.math.exp(-t / 2), shape=GROUPS)
        pm.Normal("y", u[:, None], pm.math.exp(s), observed=Y)
    a, b = np.linspace(-3, 6, 901), np.linspace(-1, 1, 401)
    exact = np.array([[log_likelihood(p, q) for q in b] for p in a])
    exact += stats.laplace.logpdf(a, 1.0, 0.3)[:, None] + stats.laplace.logpdf(b, 0.2, 0.1)
    idata = fit(model)
    assert distance(idata.posterior["t"].values, a, np.logaddexp.reduce(exact, axis=1)) < TOLERANCE
    assert distance(idata.posterior["s"].values, b, np.logaddexp.reduce(exact, axis=0)) < TOLERANCE


def test_prior_with_a_jump():
    """A density that drops by a factor of e at log tau = 0.8."""
    with pm.Model() as model:
        t = pm.Normal("t", 0, 2)
        pm.Potential("step", pm.math.switch(t > 0.8, -1.0, 0.0))
        u = pm.Normal("u", 0, pm.math.exp(-t / 2), shape=GROUPS)
        pm.Normal("y", u[:, None], 1.0, observed=Y)
    grid = np.linspace(-12, 14, 20001)
    exact = np.array([log_likelihood(g, 0.0) for g in grid]) + stats.norm.logpdf(grid, 0, 2) - (grid > 0.8)
    assert distance(fit(model).posterior["t"].values, grid, exact) < TOLERANCE


@pytest.mark.parametrize(
    ("log_density", "slope", "rough"),
    [
        (lambda t: -0.5 * t**2, lambda t: -t, False),
        (lambda t: t - np.exp(t), lambda t: 1 - np.exp(t), False),
        (lambda t: -2 * np.log1p(t**2 / 3), lambda t: -4 * t / (3 + t**2), False),
        (lambda t: -abs(t - 0.3), lambda t: -np.sign(t - 0.3), True),
        (lambda t: -abs(t), lambda t: -np.sign(t), True),
        (lambda t: -0.5 * t**2 - (t > 1), lambda t: -t, True),
        (lambda t: -0.5 * t**2 if t < 2 else -np.inf, lambda t: -t, True),
    ],
)
def test_detection(log_density, slope, rough):
    mode = ThetaMode(np.zeros(1), np.ones((1, 1)), 0.0, Status.CONVERGED, 0)
    bound = np.full(1, 50.0)
    assert is_rough(lambda t: (log_density(t[0]), np.array([slope(t[0])])), mode, -bound, bound) == rough


X = np.sort(np.random.default_rng(2).uniform(0, 10, 40))
BENT = 1 + 0.5 * X - np.maximum(X - 6, 0) + np.random.default_rng(3).normal(size=40)


def exact_of_knot(hinge, k, noise):
    """Log density (K, E) of logit(k / 10) and log noise: intercept and slopes are integrated out in closed form."""
    out, e = np.empty((len(k), len(noise))), noise[:, None, None]
    for i, knot in enumerate(k):
        columns = np.column_stack([np.ones(40), X, hinge(X - knot)])
        Q = np.diag(1 / np.array([25.0, 4.0, 4.0])) + columns.T @ columns / e**2
        r = columns.T @ BENT / noise[:, None] ** 2
        explained = np.sum(r * np.linalg.solve(Q, r[..., None])[..., 0], axis=1)
        quadratic = BENT @ BENT / noise**2 - explained + noise**2 / 4
        out[i] = -39 * np.log(noise) - 0.5 * quadratic - 0.5 * np.linalg.slogdet(Q)[1]
    return out + np.log(k * (10 - k))[:, None]


@pytest.mark.parametrize(
    ("symbolic", "hinge"),
    [
        (lambda t: pm.math.maximum(t, 0), lambda t: np.maximum(t, 0)),
        (lambda t: pm.math.clip(t, 0, 3), lambda t: np.clip(t, 0, 3)),
        (lambda t: pm.math.abs(t), np.abs),
    ],
    ids=["hinge", "ramp", "corner"],
)
def test_changepoint_with_kinks_at_the_data(symbolic, hinge):
    """The gradient jumps at every x: there the curvature at the mode says nothing of the width, which is 50 times as
    large, and a ramp has modes of nearly the same noise."""
    with pm.Model() as model:
        k, noise = pm.Uniform("k", 0, 10), pm.HalfNormal("noise", 2)
        a, b, c = pm.Normal("a", 0, 5), pm.Normal("b", 0, 2), pm.Normal("c", 0, 2)
        # the small number keeps all entries of the matrix
        pm.Normal("y", a + b * X + c * (symbolic(X - k) + 1e-9), noise, observed=BENT)
    logit, log_noise = np.linspace(-16, 16, 1601), np.linspace(-0.8, 1.6, 61)
    knot = 10 / (1 + np.exp(-logit))
    exact = np.logaddexp.reduce(exact_of_knot(hinge, knot, np.exp(log_noise)), axis=1)
    idata = fit(model)  # a verdict other than good is a warning, and a failure
    k = idata.posterior["k"].values
    assert distance(np.log(k / (10 - k)), logit, exact) < TOLERANCE
    mass = np.exp(exact - exact.max()) / np.exp(exact - exact.max()).sum()
    mean, sd = mass @ knot, np.sqrt(mass @ knot**2 - (mass @ knot) ** 2)
    # a tenth of what would move the verdict to "bad": some kinks lie between nodes
    found = pmi.summary(idata).loc["k"]
    assert abs(found["mean"] - mean) < 0.02 * sd
    assert abs(found["sd"] / sd - 1) < 0.02
