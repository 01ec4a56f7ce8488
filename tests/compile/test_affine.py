"""The interpreter of affine graphs against dense automatic differentiation."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.traversal import ancestors
from pytensor.tensor.linalg import solve_triangular
from pytensor.tensor.variable import TensorConstant

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.compile.affine import AffineExpression
from pymc_inla.compile.mode import data_as_inputs
from pymc_inla.errors import UnsupportedModelError
from pymc_inla.lgm import Hyperparameter, Latent

RNG = np.random.default_rng(3)
M = RNG.normal(size=(4, 6))
L = np.tril(RNG.normal(size=(6, 6))) + 4 * np.eye(6)
INDEX = np.array([5, 0, 0, 3, 2, 2, 1])

v = pt.vector("v", dtype="float64", shape=(6,))
w = pt.matrix("w", dtype="float64", shape=(3, 6))
t = pt.scalar("t", dtype="float64")

EXPRESSIONS = {
    "sum, difference, scale": 2.0 * v - v[::-1] / t + 1e6,
    "negative, cast": -v.astype("float64"),
    "index": v[INDEX] * pt.exp(t),
    "boolean and slice": v[np.array([True, False, True, True, False, False])] + v[1:4],
    "dot left": pt.dot(M, v),
    "dot right": pt.dot(w, M.T).flatten(),
    "matmul of matrices": (np.ones((2, 3)) @ w).flatten(),
    "dot with theta": pt.dot(t * M, v),
    "rows of a matrix": w[INDEX % 3, INDEX],
    "reshape, transpose": w.T.reshape((9, 2))[:, 1] + v[0],
    "broadcast": (w + v).flatten(),
    "sum over an axis": w.sum(axis=0) + v.sum(),
    "mean": w.mean(axis=1),
    "cumulative sum": pt.cumsum(v),
    "join": pt.concatenate([v, pt.arange(3.0), w[1]]),
    "stack of scalars": pt.stack([v[0], t, 2 * v[3]]),
    "set": pt.set_subtensor(pt.zeros(8)[1:7], v),
    "increment": pt.inc_subtensor(v[np.array([0, 2])], w[0, :2]),
    "zero-sum extension": pt.concatenate([v, -v.sum(keepdims=True)]),
    "triangular solve": solve_triangular(L, v, lower=True),
    "batched triangular solve": solve_triangular(
        pt.stack([L[:3, :3], 2 * L[3:, 3:], L[1:4, 1:4]]), w.T.reshape((3, 3, 2)), lower=True
    ).flatten(),
    "triangular solve for a batch": solve_triangular(L, w, lower=True, b_ndim=1).flatten(),
    "cumulative sum of nothing": pt.concatenate([v, pt.cumsum(v[:0])]),
    "where": pt.where(np.array([1, 0, 1, 0, 1, 0], bool), v, t),
    "alloc": pt.alloc(v[2], 5),
    "difference operator": pt.diff(v),
    "repeat and tile": pt.concatenate([pt.repeat(v, 2), pt.tile(v, 2)]),
    "shape only": pt.zeros_like(v) + v.shape[0] + t,
    "einsum": pt.einsum("ij,kj->ik", w, M).flatten(),
    "split": pt.split(v, [2, 4], n_splits=2)[1],
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_interpreter_against_the_jacobian(name):
    expression = EXPRESSIONS[name].astype("float64")
    latents = (Latent("v", (6,), 0, v, ""), Latent("w", (3, 6), 6, w, ""))
    theta = (Hyperparameter("t", (), 0, t, np.array(0.0), ""),)
    found = AffineExpression(expression, latents, theta)(np.array([0.7]))
    jacobians = pt.jacobian(expression, [v, w], disconnected_inputs="ignore", vectorize=True)
    function = pytensor.function([v, w, t], [expression, *jacobians], mode="FAST_COMPILE", on_unused_input="ignore")
    value, in_v, in_w = function(np.zeros(6), np.zeros((3, 6)), 0.7)
    expected = np.hstack([in_v.reshape(value.size, 6), in_w.reshape(value.size, 18)])
    np.testing.assert_allclose(found.A.toarray(), expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(found.offset, value, rtol=1e-14, atol=1e-14)


def switched_slope(threshold):
    """A slope that is multiplied by zero on one side of a threshold of a hyperparameter."""
    x = np.linspace(-1, 1, 30)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        k = pm.Normal("k", 0, 1)
        pm.Poisson("y", pm.math.exp(a + pm.math.switch(k > threshold, k, 0.0) * b * x), observed=np.ones(30))
    return model


def test_entries_that_vanish_at_some_theta_stay_in_the_pattern():
    """k starts at 0 and the points at which patterns are found lie on both sides of it."""
    lgm = analyze_model(switched_slope(0.0))
    functions = compile_model(lgm)
    theta = np.array([-0.4])
    assert np.count_nonzero(functions.design(theta).A) == 30
    theta[0] = 0.8
    A = functions.A_pattern.to_matrix(functions.design(theta).A).toarray()
    b = next(latent.start for latent in lgm.latents if latent.name == "b")
    np.testing.assert_allclose(A[:, b], 0.8 * np.linspace(-1, 1, 30), atol=1e-14)


@pytest.mark.parametrize("bound", [0.3, 3.0])
def test_predictors_that_jump_are_refused(bound):
    with pytest.raises(UnsupportedModelError, match="linear predictors: they jump where"):
        compile_model(analyze_model(switched_slope(bound)))


def gaussian_process():
    x = np.linspace(0, 1, 25)[:, None]
    with pm.Model() as model:
        ell, scale = pm.InverseGamma("ell", 5, 1), pm.HalfNormal("scale", 1)
        gp = pm.gp.HSGP(m=[8], c=2.0, cov_func=scale**2 * pm.gp.cov.ExpQuad(1, ell))
        f = gp.prior("f", X=x)
        pm.Poisson("y", pm.math.exp(f), observed=np.arange(25) % 4)
    return model


def test_hilbert_space_gaussian_process():
    """The design depends on the hyperparameters; the linear predictor of any draw is the model's own f."""
    lgm = analyze_model(gaussian_process())
    functions = compile_model(lgm)
    assert functions.design_vjp is not None
    rng = np.random.default_rng(6)
    theta, x = functions.theta_initial + 0.3, rng.normal(size=functions.n_x)
    variables = [latent.variable for latent in lgm.latents] + [h.variable for h in lgm.hyperparameters]
    values = [x[latent.start : latent.stop].reshape(latent.shape) for latent in lgm.latents]
    values += [theta[h.start : h.stop].reshape(h.shape) for h in lgm.hyperparameters]
    f = pytensor.function(variables, lgm.outputs["f"], mode="FAST_COMPILE")(*values)
    design = functions.design(theta)
    np.testing.assert_allclose(design.offset + functions.A_pattern.to_matrix(design.A) @ x, f, rtol=1e-12, atol=1e-13)


def test_machine_code_does_not_contain_the_data():
    """Otherwise other data would mean compiling again; the values are the same."""
    rows, x = np.arange(300) % 6, np.linspace(0, 1, 300)
    expression = pt.exp(v[rows] * x[:, None].ravel()) + pt.as_tensor(x)
    (held,) = data_as_inputs([expression])
    sizes = [c.data.size for c in ancestors([held]) if isinstance(c, TensorConstant)]
    assert max(sizes, default=0) <= 100
    at = RNG.normal(size=6)
    value = pytensor.function([v], held, mode="FAST_COMPILE")(at)
    np.testing.assert_allclose(value, np.exp(at[rows] * x) + x, rtol=1e-14)
