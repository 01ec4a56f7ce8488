"""Products with vectors against dense ones, by SciPy and compiled."""

import numpy as np
import pytest
from scipy import sparse

from pymc_inla.linalg import matvec


@pytest.mark.parametrize("large", [0, matvec.LARGE], ids=["compiled", "scipy"])
@pytest.mark.parametrize("many", [(), (1,), (3,), (6,)], ids=str)
@pytest.mark.parametrize("density", [0.5, 1.0])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 0), (0, 5)], ids=str)
def test_products_agree_with_dense_ones(shape, density, many, large, monkeypatch):
    monkeypatch.setattr(matvec, "LARGE", large)
    rng = np.random.default_rng(1)
    matrix = sparse.csr_array(sparse.random_array(shape, density=density, rng=rng))
    x, y = rng.normal(size=(*many, shape[1])), rng.normal(size=(*many, shape[0]))
    matrix.sort_indices()
    dense = matrix.toarray()
    np.testing.assert_allclose(matvec.multiply(matrix, x), x @ dense.T, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(matvec.multiply_transposed(matrix, y), y @ dense, rtol=1e-13, atol=1e-15)
