"""Every method of every solver against a dense oracle written with NumPy only.

Tolerance 1e-9: the structures have condition numbers below 1e5, and rounding is 1e-16.
"""

import numpy as np
import pytest
from linalg_structures import STRUCTURES, oracle
from scipy import sparse

from pymc_inla.errors import InvalidOptionError
from pymc_inla.lgm import Pattern
from pymc_inla.linalg import build_system
from pymc_inla.status import Status

SOLVERS = ("dense", "elimination", "sparse")
WITH_PLATES = (*SOLVERS, "plates")
"""The fourth solver needs scalar local latents."""
RTOL, ATOL = 1e-9, 1e-11


def check(problem, solver):
    """All methods of the solver."""
    expected = oracle(problem)
    system = build_system(*problem.patterns, solver=solver)
    factor = system.factorize(*problem.values)
    assert factor.status is Status.CONVERGED
    n_x = system.n_x
    assert factor.log_determinant == pytest.approx(expected.log_determinant, rel=1e-10, abs=1e-9)
    np.testing.assert_allclose(factor.solve(np.eye(n_x)), expected.S, rtol=RTOL, atol=ATOL)
    r = np.linspace(-1, 2, n_x)
    np.testing.assert_allclose(factor.solve(r), expected.S @ r, rtol=RTOL, atol=ATOL)
    root = factor.sample(np.eye(n_x))
    np.testing.assert_allclose(root @ root.T, expected.S, rtol=RTOL, atol=ATOL)
    inverse = factor.selected_inverse()
    np.testing.assert_allclose(inverse.diagonal, np.diag(expected.S), rtol=RTOL, atol=ATOL)
    Q, A = problem.patterns[:2]
    np.testing.assert_allclose(inverse.Q, expected.S[Q.rows, Q.indices], rtol=RTOL, atol=ATOL)
    np.testing.assert_allclose(inverse.A, expected.WAS[A.rows, A.indices], rtol=RTOL, atol=ATOL)
    ASA = expected.AS @ problem.A.T.toarray()
    np.testing.assert_allclose(inverse.W, ASA[problem.W_rows, problem.W_cols], rtol=RTOL, atol=ATOL)
    g = np.linspace(1, 3, A.shape[0])
    np.testing.assert_allclose(system.multiply_A(problem.A.data, r), problem.A @ r, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(system.multiply_At(problem.A.data, g), problem.A.T @ g, rtol=1e-13, atol=1e-12)
    np.testing.assert_allclose(system.multiply_Q(problem.Q.data, r), problem.Q @ r, rtol=1e-13, atol=1e-12)
    projected = system.project(r)
    np.testing.assert_allclose(problem.C @ projected, problem.e, atol=1e-12)
    np.testing.assert_allclose(expected.S @ (expected.S @ (projected - r)), 0, atol=1e-10)  # moved along C' only


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name, m, solver):
    check(STRUCTURES[name](np.random.default_rng(7), m=m), solver)


@pytest.mark.parametrize("name", ["iid", "crossed", "nested", "hierarchical"])
def test_plates(name):
    check(STRUCTURES[name](np.random.default_rng(7)), "plates")


def test_plates_need_scalar_blocks():
    with pytest.raises(InvalidOptionError, match="scalar local latents"):
        build_system(*STRUCTURES["slopes2"](np.random.default_rng(7)).patterns, solver="plates")


@pytest.mark.parametrize(
    ("name", "solver"),
    [(name, solver) for name in ("iid", "slopes2", "crossed", "nested", "hierarchical") for solver in SOLVERS]
    + [(name, "plates") for name in ("iid", "crossed", "nested", "hierarchical")],
)
def test_constraints_on_local_and_shared(name, solver):
    """Sum to zero of the first and of the last latents, one row that mixes both, and a redundant row."""
    rng = np.random.default_rng(11)
    n_x = STRUCTURES[name](np.random.default_rng(7)).A.shape[1]
    C = np.zeros((4, n_x))
    C[0, n_x // 2 :], C[1, :3], C[2] = 1.0, 1.0, rng.normal(size=n_x)
    C[3] = C[0] - 2 * C[1]
    e = np.array([0.5, -1.0, 2.0, 2.5])
    check(STRUCTURES[name](np.random.default_rng(7), C=C, e=e), solver)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["iid", "slopes2", "crossed", "nested", "icar", "ar1_kron"])
@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_data(name, n, solver):
    check(STRUCTURES[name](np.random.default_rng(5), n=n), solver)


@pytest.mark.parametrize("solver", WITH_PLATES)
def test_negative_weights_are_fine_while_the_sum_is_positive_definite(solver):
    W = np.where(np.arange(60) % 7 == 0, -0.02, 1.0)
    check(STRUCTURES["iid"](np.random.default_rng(7), W=W), solver)


@pytest.mark.parametrize(
    ("name", "solver"), [(name, solver) for name in STRUCTURES for solver in SOLVERS] + [("iid", "plates")]
)
def test_indefinite_and_non_finite_give_a_status(name, solver):
    problem = STRUCTURES[name](np.random.default_rng(7))
    system = build_system(*problem.patterns, solver=solver)
    Q, A, W = problem.values
    assert system.factorize(Q, A, -20 * W).status is Status.NOT_POSITIVE_DEFINITE
    for bad in (np.nan, np.inf):
        for which in range(3):
            values = [Q.copy(), A.copy(), W.copy()]
            values[which][len(values[which]) // 2] = bad
            assert system.factorize(*values).status is Status.NON_FINITE


@pytest.mark.parametrize("solver", SOLVERS)
def test_singular_without_constraint_is_reported(solver):
    problem = STRUCTURES["icar"](np.random.default_rng(7))
    free = sparse.csr_array((0, problem.C.shape[1]))
    system = build_system(*problem.patterns[:4], free, np.empty(0), solver=solver)
    factor = system.factorize(*problem.values)
    # rounding decides whether the last pivot is negative or tiny; a tiny one must show as a tiny determinant
    if factor.status is Status.CONVERGED:
        smallest = np.linalg.eigvalsh(factor.solve(np.eye(system.n_x))).max()
        assert smallest > 1e10
    else:
        assert factor.status is Status.NOT_POSITIVE_DEFINITE


@pytest.mark.parametrize("solver", WITH_PLATES)
def test_same_input_gives_the_same_bits(solver):
    problem = STRUCTURES["crossed"](np.random.default_rng(7))
    system = build_system(*problem.patterns, solver=solver)
    first, second = (system.factorize(*problem.values) for _ in range(2))
    assert first.log_determinant == second.log_determinant
    np.testing.assert_array_equal(first.selected_inverse().A, second.selected_inverse().A)


@pytest.mark.parametrize("solver", WITH_PLATES)
@pytest.mark.parametrize("G", [8, 200])
def test_a_remainder_that_is_rounding_is_not_a_factor(G, solver):
    """Effects with an unknown mean: at sigma = 1e-9 the elimination leaves nothing but rounding of what the data say of
    the mean, whose sign depends on the machine; at 1e-4 the determinant is that of the same model without cancellation,
    det(H) = det(D) det(q + sum(1 / (1 + sigma^2))), D = 1 / sigma^2 + 1."""
    for sigma, status in ((1e-4, Status.CONVERGED), (1e-9, Status.NOT_POSITIVE_DEFINITE)):
        tau = sigma**-2
        Q = np.diag(np.r_[np.full(G, tau), G * tau + 0.01])
        Q[:G, G] = Q[G, :G] = -tau
        Q, A = sparse.csr_array(Q), sparse.csr_array(np.eye(G, G + 1))
        patterns = Pattern.from_matrix(Q), Pattern.from_matrix(A), np.arange(G), np.arange(G)
        system = build_system(*patterns, sparse.csr_array((0, G + 1)), np.empty(0), solver=solver)
        factor = system.factorize(Q.data, A.data, np.ones(G))
        assert factor.status is status
        if factor.status is Status.CONVERGED:
            expected = G * np.log(tau + 1.0) + np.log(0.01 + G / (1.0 + sigma**2))
            assert factor.log_determinant == pytest.approx(expected, abs=1e-6)
