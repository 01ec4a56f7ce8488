"""The log prior of the hyperparameters at many theta at once against one at a time."""

import numpy as np
import pymc as pm
import pytensor.sparse as ps
import pytest
from scipy import sparse

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.compile.hyperprior import CHUNK

Y = np.random.default_rng(0).normal(size=12)


def scalar_prior():
    return pm.Exponential("s", 1.0)


def vector_prior_with_flat():
    return pm.Laplace("s", 0, 1, shape=3).sum() + pm.Flat("without_prior", initval=0.0)


def correlations():
    pm.Laplace("shift", 0, 1)
    return pm.LKJCholeskyCov("s", n=3, eta=2, sd_dist=pm.HalfNormal.dist(1))[0][1, 0]


def sparse_product():
    s = pm.Normal("s", 0, 1, shape=3)
    pm.Potential("rough", -abs(ps.structured_dot(ps.as_sparse_variable(sparse.eye(3, format="csr")), s[:, None])).sum())
    return s.sum()


@pytest.mark.parametrize("prior", [scalar_prior, vector_prior_with_flat, correlations, sparse_product])
def test_many_values_are_those_one_at_a_time(prior):
    with pm.Model() as model:
        scale = pm.math.exp(prior())
        u = pm.Normal("u", 0, scale, shape=4)
        pm.Normal("y", u[np.arange(12) % 4], 1, observed=Y)
    functions = compile_model(analyze_model(model))
    theta = functions.theta_initial + np.random.default_rng(1).normal(size=(7, functions.n_theta))
    expected = [functions.log_prior_theta(t)[0] for t in theta]
    np.testing.assert_allclose(functions.log_prior_theta.values(theta), expected, rtol=1e-12)
    assert functions.log_prior_theta.values(theta[:0]).shape == (0,)


def test_many_values_in_several_portions():
    with pm.Model() as model:
        u = pm.Normal("u", 0, scalar_prior(), shape=4)
        pm.Normal("y", u[np.arange(12) % 4], 1, observed=Y)
    log_prior = compile_model(analyze_model(model)).log_prior_theta
    theta = np.linspace(-3, 3, CHUNK + 5)[:, None]
    # Exponential(1) of exp(theta) with its Jacobian
    np.testing.assert_allclose(log_prior.values(theta), theta[:, 0] - np.exp(theta[:, 0]), rtol=1e-12)
