"""A linear predictor that is written several times is one; predictors that differ stay apart."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from test_analyze import MODE, log_density, random_point

from pymc_inla.analysis import analyze_model

rng = np.random.default_rng(4)
N = 40
G = np.arange(N) % 5
X = rng.normal(size=N)
Y = rng.gamma(2.0, 1.0, N)
D = np.column_stack([np.ones(N), X])


def logistic(a, b, u):
    p = pm.math.exp(a + u[G]) / (1 + pm.math.exp(a + u[G]))
    pm.Bernoulli("y", p, observed=Y > 1)


def other_order(a, b, u):
    sd = 0.4 * pm.math.exp(u[G] + X * b + a)
    pm.Gamma("y", mu=pm.math.exp(a + b * X + u[G]), sigma=sd, observed=Y)


def matrix_product(a, b, u):
    sd = 0.4 * pm.math.exp(pt.dot(D, pt.stack([a, b])) + u[G])
    pm.Gamma("y", mu=pm.math.exp(a + b * X + u[G]), sigma=sd, observed=Y)


def multiple(a, b, u):
    pm.Normal("y", a + b * X + u[G], pm.math.exp(0.5 * (b * X + a + u[G])), observed=Y)


def shape_of_the_mean(a, b, u):
    alpha = 1 + pm.math.exp(b * X + a + u[G])
    pm.NegativeBinomial("y", mu=pm.math.exp(a + b * X + u[G]), alpha=alpha, observed=Y.astype(int))


def potential(a, b, u):
    pm.Potential("y", (Y > 1) * (a + u[G]) - pm.math.log(1 + pm.math.exp(u[G] + a)))


def ordered_by_hand(a, b, u):
    gap, eta = pm.HalfNormal("gap", 1), b * X + u[G]
    below, above = pm.math.invlogit(a - eta), pm.math.invlogit(a + gap - eta)
    pm.Categorical("y", pt.stack([below, above - below, 1 - above], axis=1), observed=np.digitize(Y, [1, 2]))


def shifted(a, b, u):
    shift = pm.Exponential("shift", 1)
    pm.Normal("y", a + b * X + u[G], pm.math.exp(X * b + u[G] + a - shift), observed=Y)


def two_that_differ(a, b, u):
    pm.Normal("y", a + u[G], pm.math.exp(a + b * X + u[G]), observed=Y)


ONE = [logistic, other_order, matrix_product, multiple, shape_of_the_mean, potential, ordered_by_hand, shifted]


def build(likelihood):
    with pm.Model() as model:
        a, b, s = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1), pm.HalfNormal("s", 1)
        likelihood(a, b, pm.Normal("u", 0, s, shape=5))
    return model


@pytest.mark.parametrize("likelihood", [*ONE, two_that_differ])
def test_number_of_predictors(likelihood):
    model = build(likelihood)
    lgm = analyze_model(model)
    assert [v.name for v in lgm.latents] == ["a", "b", "u"]
    (term,) = lgm.terms
    assert len(term.predictors) == (1 if likelihood in ONE else 2)
    ours, theirs = log_density(lgm), model.compile_logp(mode=MODE)
    point = random_point(model, 0)
    values = [point[v.name] for v in lgm.latents] + [point[h.variable.name] for h in lgm.hyperparameters]
    np.testing.assert_allclose(ours(*values), theirs(point), rtol=1e-12)  # rounding
