"""A point of theta holds all nodes of all observations: it is freed with its last reference, not by the collector."""

import gc
import weakref

import numpy as np
import pymc as pm
import pytest

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.quadrature import QuadratureInner
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.linalg import build_system, choose_local


@pytest.fixture(scope="module")
def functions():
    with pm.Model() as model:
        s = pm.Exponential("s", 1)
        u = pm.Normal("u", pm.Normal("a", 0, 2), s, shape=6)
        pm.Bernoulli("y", logit_p=u[np.repeat(np.arange(6), 2)], observed=[0, 1] * 6)
    return compile_model(analyze_model(model))


def inners(f):
    partition = choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C)
    laplace = LaplaceInner(f, build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e))
    quadrature = QuadratureInner(f, partition, k=5)
    return {
        "laplace": laplace,
        "laplace, copula": laplace.with_copula((0,)),
        "quadrature": quadrature,
        "quadrature, copula": quadrature.with_copula((0,)),
    }


@pytest.mark.parametrize("name", ["laplace", "laplace, copula", "quadrature", "quadrature, copula"])
def test_freed_without_the_collector(functions, name):
    gc.collect()
    gc.disable()
    try:
        point = inners(functions)[name].evaluate(np.zeros(1))
        assert np.isfinite(point.log_posterior)
        point.moments(), point.eta_moments(), point.predictor_marginals(), point.cavities()
        point.sample(np.random.default_rng(1), 3)
        point.sample(np.random.default_rng(1), 3, densities=False)
        gone = weakref.ref(point)
        del point
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["laplace", "quadrature, copula"])
def test_what_is_known_of_theta_goes_with_its_points(functions, name):
    gc.collect()
    gc.disable()
    try:
        posterior = ThetaPosterior.of(inners(functions)[name])
        gone = weakref.ref(posterior.point(np.zeros(1)))
        assert gone() is not None
        del posterior
        assert gone() is None
    finally:
        gc.enable()
