"""The dense solver against NumPy formulas, and the constraints."""

import numpy as np
import pytest
from linalg_structures import STRUCTURES, iid_with_fixed_effects, oracle
from scipy import sparse

from pymc_inla.errors import InvalidDataError, InvalidOptionError
from pymc_inla.linalg import build_system
from pymc_inla.linalg.constraints import NullSpace, independent_rows


def test_null_space_agrees_with_an_explicit_basis():
    rng = np.random.default_rng(1)
    C = rng.normal(size=(3, 8))
    C[0] = np.eye(8)[0]  # Householder vector of length zero in LAPACK's convention
    null_space = NullSpace(C)
    Z = null_space.from_basis(np.eye(5))
    np.testing.assert_allclose(C @ Z, 0, atol=1e-13)
    np.testing.assert_allclose(Z.T @ Z, np.eye(5), atol=1e-13)
    H = rng.normal(size=(8, 8))
    H = H + H.T
    np.testing.assert_allclose(null_space.restrict(H), Z.T @ H @ Z, atol=1e-12)
    np.testing.assert_allclose(null_space.to_basis(H), Z.T @ H, atol=1e-12)
    assert null_space.log_determinant_gram == pytest.approx(np.linalg.slogdet(C @ C.T)[1])


def test_redundant_constraints_are_removed_and_contradictions_refused():
    C = sparse.csr_array(np.array([[1.0, 1, 0], [0, 1, 1], [1, 2, 1], [0, 0, 0]]))
    kept, e = independent_rows(C, np.array([1.0, 2, 3, 0]))
    assert kept.shape == (2, 3)
    expected = np.linalg.lstsq(C.toarray(), [1, 2, 3, 0])[0]
    np.testing.assert_allclose(np.linalg.lstsq(kept.toarray(), e)[0], expected, atol=1e-13)
    with pytest.raises(InvalidDataError, match="contradict"):
        independent_rows(C, np.array([1.0, 2, 4, 0]))
    with pytest.raises(InvalidDataError, match="finite"):
        independent_rows(C, np.array([1.0, np.nan, 4, 0]))


def test_unknown_solver_is_refused():
    problem = iid_with_fixed_effects(np.random.default_rng(1))
    with pytest.raises(InvalidOptionError, match="elimination"):
        build_system(*problem.patterns, solver="cholmod")


@pytest.mark.parametrize("chunk", [7, 10**6])
@pytest.mark.parametrize("sparse_cost", [1e-9, 1e9])
def test_chunks_and_sparse_products_do_not_change_the_answer(monkeypatch, chunk, sparse_cost):
    import pymc_inla.linalg.dense as dense

    problem = STRUCTURES["crossed"](np.random.default_rng(3), n=1300, m=2)
    n_x = problem.A.shape[1]
    monkeypatch.setattr(dense, "CHUNK", chunk * n_x)
    monkeypatch.setattr(dense, "SPARSE_COST", sparse_cost)
    system = build_system(*problem.patterns, solver="dense")
    assert (len(system.chunks) > 1) == (chunk == 7)
    assert system.chunks[0].as_sparse == (sparse_cost < 1)
    factor, expected = system.factorize(*problem.values), oracle(problem)
    inverse = factor.selected_inverse()
    assert factor.log_determinant == pytest.approx(expected.log_determinant, rel=1e-12)
    np.testing.assert_allclose(inverse.A, expected.WAS[problem.A.nonzero()], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        inverse.W, (expected.AS @ problem.A.T.toarray())[problem.W_rows, problem.W_cols], rtol=1e-9, atol=1e-13
    )
