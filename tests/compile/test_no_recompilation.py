"""A second data set through the same model generates no machine code: neither PyTensor's nor that of our kernels."""

import numpy as np
import pymc as pm
import pytest
from numba.core import event

import pymc_inla as pmi


def small(rng):
    """Interpreted: a likelihood without a closed form of ours."""
    group = rng.integers(0, 20, 200)
    y = 1.0 + rng.normal(0, 0.5, 20)[group] + rng.standard_t(4, 200)
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=20)
        mu = pm.Normal("b", 0, 5) + u[group]
        pm.Logistic("y", mu=mu, s=pm.HalfNormal("s", 1), observed=y)
    return model


def binary_pairs(rng):
    group = np.repeat(np.arange(60), 2)
    y = rng.binomial(1, 0.5, 120)
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=60)
        pm.Bernoulli("y", logit_p=pm.Normal("b", 0, 2) + u[group], observed=y)
    return model


def large(rng):
    """Beyond the size up to which graphs run through NumPy."""
    n = 21_000
    group, x = rng.integers(0, 50, n), rng.normal(size=n)
    with pm.Model() as model:
        sigma = pm.Exponential("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=50)
        pm.Logistic("y", mu=0.3 * x + u[group], s=pm.HalfNormal("s", 1), observed=rng.logistic(size=n))
    return model


STRATEGY = {large: "laplace"}


def compilations(call):
    with event.install_recorder("numba:compile") as recorder:
        call()
    return len(recorder.buffer)


@pytest.mark.parametrize("build", [small, binary_pairs, large], ids=lambda build: build.__name__)
def test_equal_models_with_other_data(build):
    options = {"draws": 50, "random_seed": 1, "progressbar": False, "strategy": STRATEGY.get(build, "auto")}
    pmi.fit(build(np.random.default_rng(1)), **options)
    assert compilations(lambda: pmi.fit(build(np.random.default_rng(2)), **options)) == 0


def test_set_data():
    rng = np.random.default_rng(3)
    with pm.Model() as model:
        group = pm.Data("group", rng.integers(0, 10, 100))
        y = pm.Data("counts", rng.poisson(3, 100))
        sigma = pm.Exponential("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=10)
        pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[group]), observed=y)
    options = {"draws": 50, "random_seed": 1, "progressbar": False}
    first = pmi.fit(model, **options)

    def again():
        with model:
            pm.set_data({"group": rng.integers(0, 10, 150), "counts": rng.poisson(9, 150)})
        second = pmi.fit(model, **options)
        assert second["posterior"]["b"].mean() > first["posterior"]["b"].mean() + 0.5

    assert compilations(again) == 0


def test_the_recorder_sees_compilations():
    import numba

    assert compilations(lambda: numba.njit(lambda x: x + 1)(1.0)) > 0
