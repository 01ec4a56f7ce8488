"""Flat priors under separation: the posterior is improper exactly when the data are separated.

The oracle is how the data were made: separated by construction, or overlapping by construction."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import sparse

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model, separation
from pymc_inla.compile.separation import in_cone
from pymc_inla.errors import ImproperPosteriorError

rng = np.random.default_rng(5)
N = 60
G = np.arange(N) % 6
X = rng.normal(size=N)
SEPARATED = (X > 0).astype(int)
OVERLAP = np.where(np.arange(N) % 10 == 0, 1 - SEPARATED, SEPARATED)
COUNTS = 1 + rng.poisson(2, N)
ZERO_LEVEL = np.where(G == 2, 0, COUNTS)


def effects():
    s = pm.HalfNormal("s", 1)
    return pm.Normal("u", 0, s, shape=6)


def binary(y, x=X, slope=pm.Flat, **options):
    with pm.Model() as model:
        a, b, u = pm.Normal("a", 0, 1), slope("b", **options), effects()
        pm.Bernoulli("y", logit_p=a + b * x + u[G], observed=y)
    return model


def level(y, response, prior=pm.Flat, **options):
    with pm.Model() as model:
        f = prior("f", **options, shape=6)
        z = pm.Normal("z", 0, pm.HalfNormal("s", 1), shape=10)
        response(f[G] + z[np.arange(N) % 10], y)
    return model


def poisson(eta, y):
    pm.Poisson("y", pm.math.exp(eta), observed=y)


def negative_binomial(eta, y):
    pm.NegativeBinomial("y", mu=pm.math.exp(eta), alpha=pm.Exponential("alpha", 1), observed=y)


def zero_inflated(eta, y):
    pm.ZeroInflatedPoisson("y", psi=pm.Beta("psi", 1, 1), mu=pm.math.exp(eta), observed=y)


def probit(eta, y):
    pm.Bernoulli("y", p=pm.math.invprobit(eta), observed=np.minimum(y, 1))


def cloglog(eta, y):
    pm.Bernoulli("y", p=1 - pm.math.exp(-pm.math.exp(eta)), observed=np.minimum(y, 1))


def student(eta, y):
    pm.StudentT("y", nu=4, mu=eta, sigma=1.0, observed=1e6 * y)


def two_predictors(eta, y):
    c = pm.Flat("c")
    pm.NegativeBinomial("y", mu=pm.math.exp(eta), alpha=pm.math.exp(1 + c * X), observed=y)


def unknown_mean(y, prior=pm.Flat):
    with pm.Model() as model:
        mu = prior("mu")
        u = pm.Normal("u", mu, pm.HalfNormal("s", 1), shape=6)
        pm.Poisson("y", pm.math.exp(u[G]), observed=y)
    return model


def classes(y):
    with pm.Model() as model:
        b, c = pm.Flat("b", shape=2), pm.Flat("c", shape=2)
        eta = pt.stack([pt.zeros(N), c[0] + b[0] * X, c[1] + b[1] * X], axis=1)
        pm.Categorical("y", logit_p=eta, observed=y)
    return model


def ordered(y):
    with pm.Model() as model:
        b = pm.Flat("b")
        cuts = pm.Normal("cuts", [-1, 1], 1, transform=pm.distributions.transforms.ordered, initval=[-1, 1])
        pm.OrderedLogistic("y", eta=b * X, cutpoints=cuts, observed=y)
    return model


def tied(y):
    """Quasi-complete: all ones for x = 1, both responses for x = 0."""
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Bernoulli("y", logit_p=a + b * (np.arange(N) < 30), observed=y)
    return model


THREE = np.digitize(X, [-0.5, 0.5])
THREE_MIXED = np.where(np.arange(N) % 4 == 0, np.arange(N) // 4 % 3, THREE)
TIED = np.where(np.arange(N) < 30, 1, np.arange(N) % 2)

IMPROPER = {
    "separated": (lambda: binary(SEPARATED), "b"),
    "the other way round": (lambda: binary(1 - SEPARATED), "b"),
    "every response one": (lambda: binary(np.ones(N, int), x=np.ones(N)), "b"),
    "quasi-complete": (lambda: tied(TIED), "b"),
    "zero counts": (lambda: level(ZERO_LEVEL, poisson), "f"),
    "zero counts of a negative binomial": (lambda: level(ZERO_LEVEL, negative_binomial), "f"),
    "zero counts with inflation": (lambda: level(ZERO_LEVEL, zero_inflated), "f"),
    "probit": (lambda: level(ZERO_LEVEL, probit), "f"),
    "cloglog": (lambda: level(ZERO_LEVEL, cloglog), "f"),
    "two predictors": (lambda: level(ZERO_LEVEL, two_predictors), "f"),
    "unknown mean": (lambda: unknown_mean(np.zeros(N, int)), "mu, u"),
    "classes": (lambda: classes(THREE), "b, c"),
    "ordered": (lambda: ordered(np.digitize(X, [-1e-9, 1e-9])), "b"),
}
BINARY_LEVEL = np.where(G == 2, np.arange(N) // 6 % 2, COUNTS)  # levels of ones only would be separated themselves
PROPER = {
    "overlap": lambda: binary(OVERLAP),
    "separated under a proper prior": lambda: binary(SEPARATED, slope=pm.Normal, mu=0, sigma=2.5),
    "ties that overlap": lambda: tied(np.arange(N) % 2),
    "positive counts": lambda: level(COUNTS, poisson),
    "some zero counts": lambda: level(np.where(np.arange(N) < 30, 0, COUNTS), poisson),
    "zero level under a proper prior": lambda: level(ZERO_LEVEL, poisson, pm.Normal, mu=0, sigma=3),
    "negative binomial": lambda: level(COUNTS, negative_binomial),
    "inflated": lambda: level(COUNTS, zero_inflated),
    "probit": lambda: level(np.arange(N) // 6 % 2, probit),
    "cloglog": lambda: level(np.arange(N) // 6 % 2, cloglog),
    "power tails far from zero": lambda: level(COUNTS, student),
    "unknown mean": lambda: unknown_mean(ZERO_LEVEL),
    "unknown mean, zero counts under a proper prior": lambda: unknown_mean(
        np.zeros(N, int), lambda name: pm.Normal(name, 0, 1)
    ),
    "classes": lambda: classes(THREE_MIXED),
    "ordered": lambda: ordered(THREE_MIXED),
}


@pytest.mark.parametrize("name", IMPROPER)
def test_separation_is_refused(name):
    build, names = IMPROPER[name]
    with pytest.raises(ImproperPosteriorError, match=rf"^{names}: flat priors in a direction .* proper prior"):
        compile_model(analyze_model(build()))


@pytest.mark.parametrize("name", PROPER)
def test_no_false_alarm(name):
    compile_model(analyze_model(PROPER[name]()))


def test_cone_of_random_inequalities():
    """Half spaces that all contain one vector, and the same with one of them turned around its boundary."""
    for seed in range(20):
        local = np.random.default_rng(seed)
        inside = local.normal(size=4)
        M = local.normal(size=(3000, 4))
        M *= np.sign(M @ inside)[:, None]
        M /= np.linalg.norm(M, axis=1)[:, None]
        none = sparse.csr_array((0, 4))
        v = in_cone(sparse.csr_array(M), none)
        assert v is not None and (M @ v).min() >= -1e-9
        # the sum of all rows is a positive combination of them: no vector is on the right side of its opposite too
        opposite = -M.sum(axis=0) / np.linalg.norm(M.sum(axis=0))
        assert in_cone(sparse.csr_array(np.vstack([M, opposite])), none) is None


@pytest.mark.parametrize("separated", [False, True])
def test_many_observations(separated, monkeypatch):
    """A sample is asked first; a level that it does not see, whose counts are all zero, is found all the same."""
    monkeypatch.setattr(separation, "MANY", 50)
    rng = np.random.default_rng(4)
    level = np.minimum(np.arange(400) // 133, 3)  # the last has one observation
    y = rng.poisson(2.0, 400)
    y[-1] = 0 if separated else 1
    with pm.Model() as model:
        b = pm.Flat("b", shape=4)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=20)
        pm.Poisson("y", pm.math.exp(b[level] + u[np.arange(400) % 20]), observed=y)
    lgm = analyze_model(model)
    if separated:
        with pytest.raises(ImproperPosteriorError, match="b"):
            compile_model(lgm)
    else:
        compile_model(lgm)
