"""The conditioned effect as a PyMC variable: density, coordinates and forward draws against dense algebra."""

import dense
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from scipy import stats

from pymc_inla.effects import groups
from pymc_inla.effects.conditioned_normal import ConditionedNormalRV, Structure, SurfaceTransform

MODE = Mode(linker="py", optimizer=None)
n = 5
NO_ROWS = (np.zeros((0, n)), np.zeros(0))
SUM = (np.ones((1, n)), np.zeros(1))
TWO = (np.array([[1.0, 1, 1, 1, 1], [0, 2.0, -1, 0.5, 0]]), np.array([0.7, -1.2]))

# (group model, parameters, Q_group, replicates, diagonal, (A, e))
CASES = {
    "sum_to_zero": (groups.Independent(1), [], np.eye(1), 1, 0.0, SUM),
    "two_rows_replicates": (groups.Independent(1), [], np.eye(1), 3, 0.4, TWO),
    "ar1": (groups.Autoregressive(4, 1), [0.6], dense.ar1(4, 0.6), 1, 0.0, NO_ROWS),
    "ar1_two_rows_diagonal": (groups.Autoregressive(4, 1), [0.6], dense.ar1(4, 0.6), 2, 0.3, TWO),
    "exchangeable_two_rows": (groups.Exchangeable(3), [0.4], dense.exchangeable(3, 0.4), 2, 0.0, TWO),
    "independent_groups": (groups.Independent(3), [], np.eye(3), 1, 0.2, TWO),
    "rw1_sum": (groups.random_walk(4, 1), [], dense.scaled(dense.rw(4, 1)), 2, 0.0, SUM),
    "rw2_two_rows_diagonal": (groups.random_walk(4, 2), [], dense.scaled(dense.rw(4, 2)), 1, 0.1, TWO),
}
TAU = 1.7


def make(case):
    group, parameters, Q_group, replicates, diagonal, (A, e) = CASES[case]
    structure = Structure(n, group, replicates, diagonal, A, e)
    Q = dense.precision(n, Q_group, TAU, replicates=replicates, diagonal=diagonal)
    C, e_all = dense.constraints(A, e, replicates * group.m)
    return structure, np.array(parameters, float), Q, C, e_all


def evaluate(*outputs):
    return pytensor.function([], list(outputs), mode=MODE)()


@pytest.mark.parametrize("case", CASES)
def test_log_density_is_that_of_the_dense_normal_on_the_surface(case):
    structure, parameters, Q, C, e = make(case)
    rng = np.random.default_rng(2)
    u_0, Z, mean, V = dense.on_surface(Q, C, e)
    u = u_0 + Z @ rng.normal(size=Z.shape[1])
    rv = ConditionedNormalRV.rv_op(TAU, parameters, structure=structure)
    (found,) = evaluate(pm.logp(rv, pt.constant(u.reshape(structure.shape))))
    log_det, rank = dense.log_determinant(V)
    v = Z.T @ (u - u_0) - mean
    # two sums of some hundred terms of order one
    assert found == pytest.approx(0.5 * log_det - 0.5 * rank * np.log(2 * np.pi) - 0.5 * v @ V @ v, rel=1e-10)
    if len(e) and rank == len(V):
        # Rue & Held (2005), 2.31: p(u) / p(Cu = e), as a density in orthonormal coordinates
        if rank == len(V) and dense.log_determinant(Q)[1] == len(Q):
            S = np.linalg.inv(Q)
            bayes = (
                stats.multivariate_normal.logpdf(u, np.zeros(len(Q)), S)
                - stats.multivariate_normal.logpdf(e, np.zeros(len(e)), C @ S @ C.T)
                - 0.5 * np.linalg.slogdet(C @ C.T)[1]
            )
            assert found == pytest.approx(bayes, rel=1e-9)


def test_a_value_off_the_surface_has_no_density():
    structure, parameters, _, _, _ = make("two_rows_replicates")
    rv = ConditionedNormalRV.rv_op(TAU, parameters, structure=structure)
    (found,) = evaluate(pm.logp(rv, pt.zeros(structure.shape)))
    assert found == -np.inf


@pytest.mark.parametrize("case", [c for c in CASES if c != "ar1"])
def test_free_coordinates_are_an_isometry_onto_the_surface(case):
    structure, _, _, C, e = make(case)
    transform = SurfaceTransform(structure)
    v = np.random.default_rng(3).normal(size=structure.free_shape)
    u, at_zero, jacobian = evaluate(
        transform.backward(pt.constant(v)), transform.backward(pt.zeros(v.shape)), transform.log_jac_det(pt.constant(v))
    )
    assert np.max(np.abs(C @ u.ravel() - e)) < 1e-13
    assert np.sum((u - at_zero) ** 2) == pytest.approx(np.sum(v**2), rel=1e-12)
    assert jacobian == 0
    (back,) = evaluate(transform.forward(pt.constant(u)))
    np.testing.assert_allclose(back, v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ["two_rows_replicates", "ar1_two_rows_diagonal", "exchangeable_two_rows", "rw1_sum"])
def test_forward_draws_have_the_conditional_moments(case):
    structure, parameters, Q, C, e = make(case)
    with pm.Model() as model:
        model.register_rv(ConditionedNormalRV.rv_op(TAU, parameters, structure=structure), "u")
    S = 1500
    draws = pm.draw(model["u"], S, random_seed=4, mode=MODE).reshape(S, -1)
    assert np.max(np.abs(draws @ C.T - e), initial=0.0) < 1e-12
    u_0, Z, mean, V = dense.on_surface(Q, C, e)
    # directions without prior stay at zero: the Moore-Penrose inverse is the covariance
    covariance = Z @ np.linalg.pinv(V, rcond=1e-10, hermitian=True) @ Z.T
    sd = np.sqrt(np.diag(covariance))
    # mean within 5 standard errors; the covariance within 6 of its own, sqrt((1 + r^2) / S) <= sqrt(2 / S) relative
    assert np.all(np.abs(draws.mean(axis=0) - u_0 - Z @ mean) < 5 * sd / np.sqrt(S) + 1e-12)
    assert np.all(np.abs(np.cov(draws.T) - covariance) < 6 * np.sqrt(2 / S) * np.outer(sd, sd) + 1e-12)


def test_initial_point_is_on_the_surface():
    structure, parameters, _, C, e = make("two_rows_replicates")
    with pm.Model() as model:
        rv = model.register_rv(ConditionedNormalRV.rv_op(TAU, parameters, structure=structure), "u")
    point = model.initial_point()
    assert point["u_surface__"].shape == structure.free_shape
    assert np.max(np.abs(point["u_surface__"])) < 1e-14
    u = structure.u_0
    assert np.max(np.abs(C @ np.tile(u, structure.replicates) - e)) < 1e-13
    assert rv.type.shape == structure.shape
