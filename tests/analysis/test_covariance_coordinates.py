"""Scales and partial correlations of a covariance matrix, against automatic derivatives and PyMC's own coordinates."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.distributions.transforms import CholeskyCovPacked

from pymc_inla.analysis import analyze_model
from pymc_inla.analysis.covariance_coordinates import ScalesAndCorrelations


def functions(n):
    theta = pt.vector("theta", shape=(n * (n + 1) // 2,), dtype="float64")
    transform = ScalesAndCorrelations(n)
    packed = transform.backward(theta)
    jacobian = pytensor.gradient.jacobian(packed, theta)
    return pytensor.function([theta], [packed, transform.forward(packed), transform.log_jac_det(theta), jacobian])


@pytest.mark.parametrize("n", [1, 2, 4])
def test_there_and_back_with_the_jacobian(n):
    evaluate = functions(n)
    rng = np.random.default_rng(n)
    for _ in range(3):
        theta = rng.normal(size=n * (n + 1) // 2)
        packed, back, log_jacobian, jacobian = evaluate(theta)
        np.testing.assert_allclose(back, theta, rtol=1e-10)
        np.testing.assert_allclose(log_jacobian, np.linalg.slogdet(jacobian)[1], rtol=1e-10, atol=1e-12)
        L = np.zeros((n, n))
        L[np.tril_indices(n)] = packed
        scales = np.exp(theta[np.cumsum(np.arange(1, n + 1)) - 1])
        np.testing.assert_allclose(np.sqrt(np.sum(L**2, axis=1)), scales, rtol=1e-12)
        assert np.all(np.diag(L) > 0)
    if n == 2:  # the only correlation is the partial one
        np.testing.assert_allclose(packed[1] / scales[1], np.tanh(theta[1]), rtol=1e-12)


def test_the_density_of_the_model_is_that_of_pymc():
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=1.5, sd_dist=pm.HalfNormal.dist(1.5))
        u = pm.MvNormal("u", np.zeros(3), chol=chol, shape=(4, 3))
        pm.Normal("y", u.sum(axis=1), 1.0, observed=np.arange(4.0))
    lgm = analyze_model(model)
    (h,) = lgm.hyperparameters
    theta = np.random.default_rng(1).normal(size=6)
    packed, _, log_jacobian, _ = functions(3)(theta)
    own = pytensor.function([h.variable], lgm.log_prior_theta)(theta)
    pymc = CholeskyCovPacked(3)
    value = packed.copy()
    value[[0, 2, 5]] = np.log(value[[0, 2, 5]])
    with pm.Model() as prior:
        pm.LKJCholeskyCov("chol", n=3, eta=1.5, sd_dist=pm.HalfNormal.dist(1.5))
    # both are the density of L, each times its Jacobian
    expected = prior.compile_logp()({"chol_cholesky-cov-packed__": value}) - pymc.log_jac_det(pt.constant(value)).eval()
    np.testing.assert_allclose(own - log_jacobian, expected, rtol=1e-10)
    # the model of the user is as it was
    assert [v.name for v in model.value_vars] == ["chol_cholesky-cov-packed__", "u"]
