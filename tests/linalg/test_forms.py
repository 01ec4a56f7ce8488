"""Entries of products with a dense S against the products themselves."""

import numpy as np
import pytest
from scipy import sparse

from pymc_inla.linalg import forms
from pymc_inla.linalg.forms import bilinear_forms, product_entries


@pytest.fixture(params=["dense", "compiled"], autouse=True)
def path(request, monkeypatch):
    """Both ways of forming the products."""
    if request.param == "compiled":
        monkeypatch.setattr(forms, "SMALL", -1)


def test_against_dense_products():
    rng = np.random.default_rng(3)
    left, right = (sparse.csr_array(sparse.random_array((m, 7), density=0.4, rng=rng)) for m in (12, 9))
    S = rng.normal(size=(7, 7))
    rows, columns = rng.integers(0, 12, 30), rng.integers(0, 9, 30)
    found = bilinear_forms(left, rows, S, right, columns)
    np.testing.assert_allclose(found, (left @ S @ right.T.toarray())[rows, columns], rtol=1e-12, atol=1e-14)
    columns = rng.integers(0, 7, 30)
    np.testing.assert_allclose(product_entries(left, S, rows, columns), (left @ S)[rows, columns], rtol=1e-12)


def test_no_rows_and_no_columns():
    empty, S = sparse.csr_array((3, 0)), np.zeros((0, 0))
    np.testing.assert_array_equal(bilinear_forms(empty, np.arange(3), S, empty, np.arange(3)), np.zeros(3))
    assert len(product_entries(empty, S, np.arange(0), np.arange(0))) == 0
