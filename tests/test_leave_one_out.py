"""CPO against brute-force integration of the model with and without the observation.

b ~ N(0, 1), u_g ~ N(0, sigma^2), y_i ~ p(y | b + u_g(i)),  sigma fixed:

p(y_i | y_-i) = integral p(b) L(b) db / integral p(b) L_-i(b) db,  L the product over groups of integrals over u.
"""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pymc_inla as pmi

SIGMA = 1.0
B = np.linspace(-4, 4, 401)
U = np.linspace(-7, 7, 401) * SIGMA
ETA = B[:, None] + U


def counts(y, eta):
    return stats.poisson.logpmf(y, np.exp(eta))


def binary(y, eta):
    return -np.logaddexp(0, np.where(y == 1, -eta, eta))


def log_integral_over_u(log_p, values):
    """(401,) log of the integral over u of the product of the likelihoods of `values`, for every b."""
    total = stats.norm.logpdf(U, 0, SIGMA) + sum((log_p(v, ETA) for v in values), np.zeros_like(ETA))
    top = total.max(axis=1)
    return top + np.log(np.trapezoid(np.exp(total - top[:, None]), U, axis=1))


def leave_one_out(log_p, y, group):
    """log p(y_i | y_-i), (n,)"""
    groups = {g: log_integral_over_u(log_p, y[group == g]) for g in np.unique(group)}
    everything = stats.norm.logpdf(B) + sum(groups.values())
    log_cpo = np.empty(len(y))
    for i in range(len(y)):
        others = (group == group[i]) & (np.arange(len(y)) != i)
        without = everything - groups[group[i]] + log_integral_over_u(log_p, y[others])
        log_cpo[i] = log_integral_over_b(everything) - log_integral_over_b(without)
    return log_cpo


def log_integral_over_b(values):
    top = values.max()
    return top + np.log(np.trapezoid(np.exp(values - top), B))


def data(kind, size):
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(24 // size), size)
    eta = 0.5 + rng.normal(0, SIGMA, len(group))[group]
    if kind is counts:
        return rng.poisson(np.exp(eta)), group
    return (rng.uniform(size=24) < 1 / (1 + np.exp(-eta))).astype(int), group


def fit(kind, y, group, strategy):
    with pm.Model() as model:
        eta = pm.Normal("b", 0, 1) + pm.Normal("u", 0, SIGMA, shape=int(group.max()) + 1)[group]
        if kind is counts:
            pm.Poisson("y", pm.math.exp(eta), observed=y)
        else:
            pm.Bernoulli("y", logit_p=eta, observed=y)
    criteria = pmi.fit(model, strategy=strategy, draws=10, chains=1, random_seed=1, progressbar=False)["inla/criteria"]
    return (criteria[name]["y"].values for name in ("log_cpo", "failure"))


# Laplace is exact in u_g where it belongs to one observation. Otherwise the error is that of a skew normal for what the
# other one or two counts of a group say of u_g, largest where these are zeros; for quadrature, that the moments of the
# posterior are those to first order in the uncertainty of b.
TOLERANCE = {
    (counts, 1, "laplace"): 0.005,
    (counts, 1, "quadrature"): 0.12,
    (counts, 3, "laplace"): 0.17,
    (counts, 3, "quadrature"): 0.12,
    (counts, 8, "laplace"): 0.025,
    (counts, 8, "quadrature"): 0.025,
    (binary, 3, "laplace"): 0.025,
    (binary, 3, "quadrature"): 0.01,
    (binary, 8, "laplace"): 0.03,
    (binary, 8, "quadrature"): 0.01,
}


@pytest.mark.parametrize(("kind", "size", "strategy"), TOLERANCE)
def test_leave_one_out(kind, size, strategy):
    y, group = data(kind, size)
    log_cpo, failure = fit(kind, y, group, strategy)
    assert not failure.any()
    np.testing.assert_allclose(log_cpo, leave_one_out(kind, y, group), atol=TOLERANCE[kind, size, strategy])


def test_observation_that_nothing_else_determines():
    """A flat intercept for a single observation: there is no prediction without it."""
    with pm.Model() as model:
        b = pm.Flat("b", shape=2)
        pm.Normal("y", b[np.array([0, 0, 0, 1])], 1.0, observed=[0.1, 0.4, 0.2, 3.0])
    criteria = pmi.fit(model, draws=10, chains=1, random_seed=1, progressbar=False)["inla/criteria"]
    np.testing.assert_array_equal(criteria["failure"]["y"], [0, 0, 0, 1])
    assert np.isneginf(criteria["log_cpo"]["y"][3])
    # the mean of two observations predicts the third with variance 3/2
    expected = stats.norm.logpdf([0.1, 0.4, 0.2], [0.3, 0.15, 0.25], np.sqrt(1.5))
    np.testing.assert_allclose(criteria["log_cpo"]["y"][:3], expected, atol=1e-6)
