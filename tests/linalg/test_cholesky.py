"""The inverse from a Cholesky factor against the dense inverse."""

import numpy as np
import pytest

from pymc_inla.linalg.block_kernels import TILE
from pymc_inla.linalg.cholesky import SMALL, inverse_from_cholesky


@pytest.mark.parametrize("n", [1, 2, SMALL - 1, SMALL, SMALL + 1, 2 * TILE - 1, 2 * TILE, 2 * TILE + 1, 3 * TILE + 7])
@pytest.mark.parametrize("order", ["C", "F"])
def test_inverse_agrees_with_dense_inverse_and_is_symmetric(n, order):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n))
    H = root @ root.T + n * np.eye(n)
    L = np.linalg.cholesky(H)
    unread = L + np.triu(np.full((n, n), np.nan), 1)
    before = np.array(unread, order=order)
    S = inverse_from_cholesky(before)
    np.testing.assert_array_equal(before, unread)
    assert S.flags.c_contiguous
    np.testing.assert_array_equal(S, S.T)
    # the condition number is at most some tens, so rounding is of order n eps
    np.testing.assert_allclose(S, np.linalg.inv(H), rtol=0, atol=1e-13)
