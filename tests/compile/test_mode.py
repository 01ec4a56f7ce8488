"""What graphs are made into before they are differentiated."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.traversal import applys_between

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.compile.likelihood import GenericTerm
from pymc_inla.compile.mode import compile_function, stabilize
from pymc_inla.compile.straight_line import StraightLine

MU, PSI = pt.vector("mu", shape=(4,)), pt.scalar("psi")
Y = np.array([0, 0, 2, 5])
DENSITIES = {
    "logaddexp": pm.logp(pm.ZeroInflatedPoisson.dist(psi=PSI, mu=MU), Y),
    "xlogy": pm.logp(pm.Binomial.dist(n=6, p=pm.math.sigmoid(MU)), Y),
    "log_sum": pt.log(pt.exp(MU) + pt.exp(PSI)),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_derivatives_have_no_composite_operations(name):
    """They would run as functions of their own, and row by row for many linear predictors."""
    value = stabilize(DENSITIES[name])
    gradient = pt.grad(value.sum(), MU)
    outputs = [value, gradient, pt.grad(gradient.sum(), MU)]
    assert not any(isinstance(node.op, OpFromGraph) for node in applys_between([], outputs))
    function = compile_function([MU, PSI], outputs)
    assert isinstance(function, StraightLine)
    point = {MU: np.array([0.3, 1.2, 0.8, 2.0]), PSI: np.array(0.6)}
    expected = DENSITIES[name].eval(point, on_unused_input="ignore")
    np.testing.assert_allclose(function(*point.values())[0], expected, rtol=1e-12)


def test_many_predictors_at_once_stay_a_straight_line():
    with pm.Model() as model:
        v = pm.Normal("v", 0, 1, shape=(5, 3))
        pm.Categorical("y", p=pm.math.softmax(v, axis=1), observed=[0, 2, 1, 1, 0])
    (term,) = analyze_model(model).terms
    generic = GenericTerm(term, (), None)
    eta = np.random.default_rng(1).normal(size=(7, 15))
    many = generic.evaluate(eta, np.zeros(0))
    assert all(isinstance(function, StraightLine) for function in generic._evaluate._compiled.values())
    for k in range(7):
        for together, alone in zip(many, generic.evaluate(eta[k], np.zeros(0)), strict=True):
            np.testing.assert_allclose(together[k], alone, rtol=1e-13)


def test_composite_operations_of_derivatives_are_written_out():
    M = pt.matrix("M", shape=(3, 3))
    gradient = pt.grad(pt.log(pt.diagonal(M)).sum(), M)
    assert any(isinstance(node.op, OpFromGraph) for node in applys_between([], [gradient]))
    function = compile_function([M], gradient)
    assert isinstance(function, StraightLine)
    at = np.arange(1.0, 10.0).reshape(3, 3)
    np.testing.assert_allclose(function(at), np.diag(1 / np.diag(at)), rtol=1e-15)


def test_impossible_hyperparameters_have_no_density_and_raise_nothing():
    """A correlation of one, which the search of the mode comes by."""
    with pm.Model() as model:
        r = pm.Uniform("r", 0, 1)
        cov = pt.stack([pt.stack([1.0, 2 * r]), pt.stack([2 * r, 1.0])])
        u = pm.MvNormal("u", np.zeros(2), cov=cov)
        pm.Normal("y", u, 1.0, observed=np.zeros(2))
    functions = compile_model(analyze_model(model))
    assert functions.prior(np.array([2.0])).c == -np.inf
    assert np.isfinite(functions.prior(np.array([-2.0])).c)
