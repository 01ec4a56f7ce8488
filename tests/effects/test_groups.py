"""Q_group of every group model against its definition, and its quadratic form and determinant against Q_group."""

import dense
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from pymc_inla.effects import groups

MODE = Mode(linker="py", optimizer=None)
W = np.array([[0, 1, 0, 0, 1], [1, 0, 1, 1, 0], [0, 1, 0, 1, 0], [0, 1, 1, 0, 0], [1, 0, 0, 0, 0]])

MODELS = {
    "independent": (groups.Independent(4), [], np.eye(4)),
    "exchangeable": (groups.Exchangeable(4), [0.3], dense.exchangeable(4, 0.3)),
    "exchangeable_negative": (groups.Exchangeable(3), [-0.45], dense.exchangeable(3, -0.45)),
    "ar1": (groups.Autoregressive(6, 1), [0.7], dense.ar1(6, 0.7)),
    "ar1_of_two": (groups.Autoregressive(2, 1), [-0.4], dense.ar1(2, -0.4)),
    "ar1_cyclic": (groups.CyclicAutoregressive(5), [0.6], dense.cyclic_ar1(5, 0.6)),
    "ar1_cyclic_negative": (groups.CyclicAutoregressive(6), [-0.6], dense.cyclic_ar1(6, -0.6)),
    "ar2": (groups.Autoregressive(7, 2), [0.6, -0.3], dense.ar2(7, [0.6, -0.3])),
    "rw1": (groups.random_walk(6, 1), [], dense.scaled(dense.rw(6, 1))),
    "rw1_unscaled": (groups.random_walk(6, 1, scaled=False), [], dense.rw(6, 1)),
    "rw2": (groups.random_walk(6, 2), [], dense.scaled(dense.rw(6, 2))),
    "rw1_cyclic": (groups.random_walk(6, 1, cyclic=True), [], dense.scaled(dense.cyclic_rw(6, 1))),
    "rw2_cyclic": (groups.random_walk(6, 2, cyclic=True), [], dense.scaled(dense.cyclic_rw(6, 2))),
    "besag": (groups.besag(W), [], dense.scaled(dense.laplacian(W))),
}


def evaluate(*outputs):
    return pytensor.function([], list(outputs), mode=MODE)()


@pytest.mark.parametrize("name", MODELS)
def test_precision_quadratic_form_and_determinant(name):
    group, parameters, Q = MODELS[name]
    parameters = pt.constant(np.array(parameters, float))
    u = np.random.default_rng(1).normal(size=(2, group.m, 3))
    found, quadratic, log_determinant = evaluate(
        group.precision(parameters), group.quadratic(pt.constant(u), parameters), group.log_determinant(parameters)
    )
    # matrices of order 7 with condition numbers below 1e4
    np.testing.assert_allclose(found, Q, rtol=1e-10, atol=1e-10)
    assert quadratic == pytest.approx(np.einsum("rgl,gh,rhl->", u, Q, u), rel=1e-10)
    expected, rank = dense.log_determinant(Q)
    assert log_determinant == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert group.rank == rank


def test_third_order_autoregression_has_its_partial_correlations():
    """Unit variances, Toeplitz, banded precision, and the partial correlation at lag k given what lies between."""
    pacf = [0.5, -0.4, 0.3]
    group = groups.Autoregressive(8, 3)
    (Q,) = evaluate(group.precision(pt.constant(np.array(pacf))))
    S = np.linalg.inv(Q)
    np.testing.assert_allclose(np.diag(S), 1.0, rtol=1e-10)
    for lag in range(1, 8):
        np.testing.assert_allclose(np.diag(S, lag), S[0, lag], rtol=1e-9, atol=1e-12)
    assert np.max(np.abs(np.triu(Q, 4))) < 1e-12
    for k, psi in enumerate(pacf, start=1):
        inverse = np.linalg.inv(S[: k + 1, : k + 1])
        assert -inverse[0, k] / np.sqrt(inverse[0, 0] * inverse[k, k]) == pytest.approx(psi, rel=1e-9)


@pytest.mark.parametrize("name", ["rw1", "rw2", "besag", "rw2_cyclic"])
def test_null_space_and_generalized_variance(name):
    group, _, _ = MODELS[name]
    Q = (group.eigenvectors * group.eigenvalues) @ group.eigenvectors.T
    directions = [np.ones(group.m)] + ([np.arange(group.m)] if name == "rw2" else [])
    for direction in directions:
        assert np.max(np.abs(Q @ direction)) < 1e-10
    assert len(directions) == group.deficiency
    variances = np.diag(np.linalg.pinv(Q, rcond=1e-10, hermitian=True))
    assert np.exp(np.mean(np.log(variances))) == pytest.approx(1.0, rel=1e-9)
