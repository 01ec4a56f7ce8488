"""Probit likelihoods far from the data against SciPy's log_ndtr."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model

Q = np.array([-60.0, -38.0, -9.0, -3.0, -0.5, 0.0, 0.5, 3.0, 8.5, 9.0, 38.0, 60.0])
LINKS = {
    "invprobit": pm.math.invprobit,
    "one plus erf": lambda q: 0.5 * (1 + pt.erf(q / np.sqrt(2))),
    "erf plus one": lambda q: (pt.erf(q / np.sqrt(2)) + 1) / 2,
    "one less the other": lambda q: 1 - pm.math.invprobit(-q),
}
RESPONSES = {
    "Bernoulli": lambda p, y: pm.Bernoulli("y", p=p, observed=y),
    "Binomial": lambda p, y: pm.Binomial("y", n=1, p=p, observed=y),
}


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("link", LINKS)
def test_value_and_derivatives(link, response, y):
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=len(Q))
        RESPONSES[response](LINKS[link](u), np.full(len(Q), y))
    f = compile_model(analyze_model(model))
    slope = f.A_pattern.to_matrix(f.design(np.zeros(0)).A).diagonal()
    found = f.log_likelihood(slope * Q, np.zeros(0))
    side = 2 * y - 1
    # PyMC's invprobit divides by a square root of 2 of single precision
    q = Q * np.abs(slope) * np.sqrt(2)
    value = stats.norm.logcdf(side * q)
    hazard = np.exp(stats.norm.logpdf(q) - value)
    # below 1e-300 nothing is left of the densities
    np.testing.assert_allclose(found.value, value, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.gradient * np.sign(slope) / np.sqrt(2), side * hazard, rtol=1e-11, atol=1e-300)
    # the second derivative is a difference of terms of the size q^2
    curvature = hazard * (hazard + side * q)
    np.testing.assert_allclose(found.W / 2, curvature, rtol=1e-9, atol=1e-12)
    ones = np.ones(len(Q))
    assert all(np.all(np.isfinite(bar)) for bar in f.log_likelihood_vjp(slope * Q, np.zeros(0), ones, ones, ones))
