"""The choice of the solver, and accuracy at extreme precisions."""

import numpy as np
import pytest
from linalg_structures import STRUCTURES, iid_with_fixed_effects, one_hot, oracle, problem
from scipy import sparse

from pymc_inla.linalg import build_system
from pymc_inla.status import Status


def kind(p):
    return type(build_system(*p.patterns)).__name__


def test_auto_picks_the_solver_by_structure():
    rng = np.random.default_rng(1)
    assert kind(STRUCTURES["iid"](rng)) == "DenseSystem"
    assert kind(iid_with_fixed_effects(rng, n=6000, groups=600)) == "PlateSystem"
    n = 3000
    crossed = [np.ones((n, 1)), one_hot(rng.integers(400, size=n), 400), one_hot(rng.integers(150, size=n), 150)]
    assert kind(problem([np.eye(1), sparse.eye_array(400), sparse.eye_array(150)], crossed, rng)) == "EliminationSystem"
    walk = sparse.diags_array([2.0, -1.0, -1.0], offsets=[0, 1, -1], shape=(800, 800))
    assert kind(problem([walk], [one_hot(rng.integers(800, size=n), 800)], rng)) == "SparseSystem"
    low = rng.integers(2000, size=n)
    nested = [np.ones((n, 1)), one_hot(low // 5, 400), one_hot(low, 2000)]
    assert kind(problem([np.eye(1), sparse.eye_array(400), sparse.eye_array(2000)], nested, rng)) == "SparseSystem"


@pytest.mark.parametrize("solver", ["auto", "plates", "elimination", "sparse"])
def test_large_enough_to_reallocate_and_agree_with_dense(solver):
    """More than 1024 entries in the lists of groups; observations that touch no local block."""
    rng = np.random.default_rng(4)
    n = 1500
    index = rng.integers(350, size=n)
    A_u = one_hot(index, 350, np.where(np.arange(n) % 5 == 0, 0.0, 1.0))
    A_u.eliminate_zeros()
    p = problem([0.1 * np.eye(3), np.eye(350)], [rng.normal(size=(n, 3)), A_u], rng)
    dense, other = (build_system(*p.patterns, solver=s).factorize(*p.values) for s in ("dense", solver))
    assert other.log_determinant == pytest.approx(dense.log_determinant, rel=1e-12)
    expected, inverse = dense.selected_inverse(), other.selected_inverse()
    for name in ("diagonal", "Q", "W", "A"):
        np.testing.assert_allclose(getattr(inverse, name), getattr(expected, name), rtol=1e-9, atol=1e-13)


def one_way(rng, log_tau, groups=30, n=240):
    """Flat intercept and a group effect with precision tau, with its closed form.

    Var(intercept) = 1 / sum_g v_g and log det H = sum_g log(tau + W_g) + log sum_g v_g, v_g = tau W_g / (tau + W_g).
    """
    tau, index = np.exp(log_tau), np.arange(n) % groups
    p = problem([[[0.0]], tau * np.eye(groups)], [np.ones((n, 1)), one_hot(index, groups)], rng)
    W = np.bincount(index, weights=p.W)
    v = tau * W / (tau + W)
    return p, 1.0 / np.sum(v), np.sum(np.log(tau + W)) + np.log(np.sum(v)), (1 / (tau + W), W / (tau + W)), index


@pytest.mark.parametrize("solver", ["plates", "elimination", "sparse"])
@pytest.mark.parametrize("log_tau", [-20.0, -10.0, 0.0, 10.0, 25.0])
def test_extreme_precisions(solver, log_tau):
    """Uncentered elimination would lose a factor W / tau = 1e10 of the precision here; the centered form loses nothing,
    so the tolerance is rounding of sums of 240 terms."""
    p, variance, log_determinant, (d, shrinkage), index = one_way(np.random.default_rng(3), log_tau)
    factor = build_system(*p.patterns, solver=solver).factorize(*p.values)
    assert factor.status is Status.CONVERGED
    assert factor.log_determinant == pytest.approx(log_determinant, rel=1e-12)
    inverse = factor.selected_inverse()
    np.testing.assert_allclose(inverse.diagonal[0], variance, rtol=1e-12)
    np.testing.assert_allclose(inverse.diagonal[1:], d + shrinkage**2 * variance, rtol=1e-12)
    # variance of the linear predictor: 1 / (tau + W) + (1 - shrinkage)^2 variance; 1 - shrinkage = tau d
    eta = d + (np.exp(log_tau) * d) ** 2 * variance
    np.testing.assert_allclose(inverse.W, eta[index], rtol=1e-9)


@pytest.mark.parametrize("solver", ["dense", "elimination", "sparse"])
@pytest.mark.parametrize("log_tau", [-20.0, 25.0])
@pytest.mark.parametrize("name", ["crossed", "crossed_wide", "nested", "slopes2", "random_walk"])
def test_extreme_precisions_keep_the_determinant_or_say_so(name, log_tau, solver):
    """The oracle itself loses eps times the condition number, which is below 1e13 here: hence 1e-3."""
    p = STRUCTURES[name](np.random.default_rng(3))
    scaled = p.Q.copy()
    scaled.data = scaled.data * np.exp(log_tau)
    system = build_system(*p.patterns, solver=solver)
    factor = system.factorize(scaled.data, p.A.data, p.W)
    assert factor.status in (Status.CONVERGED, Status.NOT_POSITIVE_DEFINITE)
    if factor.status is Status.CONVERGED:
        expected = oracle(type(p)(scaled, p.A, p.W_rows, p.W_cols, p.W, p.C, p.e))
        assert factor.log_determinant == pytest.approx(expected.log_determinant, abs=1e-3)


def test_overflow_is_not_a_silent_nan():
    p = STRUCTURES["iid"](np.random.default_rng(3))
    for solver in ("dense", "elimination", "sparse"):
        factor = build_system(*p.patterns, solver=solver).factorize(p.Q.data, p.A.data * 1e200, p.W)
        assert factor.status in (Status.NON_FINITE, Status.NOT_POSITIVE_DEFINITE)
