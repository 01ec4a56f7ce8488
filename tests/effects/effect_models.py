"""Small models with every kind of effect and likelihoods that are not Gaussian, for comparison with NUTS."""

import numpy as np
import pymc as pm

import pymc_inla as pmi

GRAPH = np.array([[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]])
PRIOR = ("loggamma", (2.0, 1.0))


def _design(seed, n, ngroup=1, nrep=1, per_cell=2):
    rng = np.random.default_rng(seed)
    cells = np.repeat(np.arange(nrep * ngroup * n), per_cell)
    replicate, group, level = np.unravel_index(cells, (nrep, ngroup, n))
    return rng, level, group, {"group": group + 1, "replicate": replicate + 1}


def _counts(seed, n, *, ngroup=1, nrep=1, **options):
    """Poisson counts whose log mean drifts over the groups."""
    rng, level, group, axes = _design(seed, n, ngroup, nrep)
    drift = np.cumsum(rng.normal(0, 0.4, size=(ngroup, n)), axis=0)[group, level]
    x = rng.normal(size=len(level))
    y = rng.poisson(np.exp(0.8 + 0.3 * x + drift + 0.5 * rng.normal(size=n)[level]))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1.5, shape=2)
        u = pmi.IID("u", n, prior=PRIOR, initial=0.0, ngroup=ngroup, nrep=nrep, **options)
        pm.Poisson("y", pm.math.exp(b[0] + b[1] * x + pmi.project(u, level, **axes)), observed=y)
    return model


def constr():
    rng, level, _, _ = _design(1, 8, per_cell=5)
    y = rng.binomial(1, 1 / (1 + np.exp(-0.3 - 1.2 * rng.normal(size=8)[level])))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1.5)
        u = pmi.IID("u", 8, prior=PRIOR, initial=0.0, constr=True)
        pm.Bernoulli("y", logit_p=b + pmi.project(u, level), observed=y)
    return model


def extraconstr():
    A = np.array([[1.0, 1, 0, 0, -1, 0], [0, 0, 2, 1, 0, 1]])
    return _counts(2, 6, nrep=2, constr=True, extraconstr={"A": A, "e": [0.6, -0.4]}, diagonal=0.5)


def exchangeable():
    return _counts(3, 4, ngroup=4)


def exchangeablepos():
    return _counts(4, 4, ngroup=4, control_group={"model": "exchangeablepos"})


def ar1():
    return _counts(5, 4, ngroup=6, control_group={"model": "ar1"})


def ar1_cyclic():
    return _counts(6, 3, ngroup=5, nrep=2, control_group={"model": "ar1", "cyclic": True})


def ar2():
    return _counts(7, 4, ngroup=8, control_group={"model": "ar", "order": 2})


def rw1():
    return _counts(8, 3, ngroup=6, control_group={"model": "rw1"})


def rw2():
    return _counts(9, 4, ngroup=6, control_group={"model": "rw2"}, constr=True)


def besag():
    return _counts(10, 3, ngroup=4, control_group={"model": "besag", "graph": GRAPH})


def iid_group():
    return _counts(11, 3, ngroup=3, control_group={"model": "iid"}, constr=True)


def copy():
    """Two responses, the second sees beta times the effect of the first."""
    rng, level, _, _ = _design(12, 7, per_cell=4)
    truth = 0.7 * rng.normal(size=7)
    first = rng.poisson(np.exp(1.2 + truth[level]))
    second = rng.poisson(np.exp(0.5 + 1.3 * truth[level]))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1.5, shape=2)
        u = pmi.IID("u", 7, prior=PRIOR, initial=0.0)
        again = pmi.copy(u, "again", beta="estimate", range=(0, 3))
        pm.Poisson("y1", pm.math.exp(b[0] + pmi.project(u, level)), observed=first)
        pm.Poisson("y2", pm.math.exp(b[1] + pmi.project(again, level)), observed=second)
    return model


MODELS = (
    constr,
    extraconstr,
    exchangeable,
    exchangeablepos,
    ar1,
    ar1_cyclic,
    ar2,
    rw1,
    rw2,
    besag,
    iid_group,
    copy,
)
