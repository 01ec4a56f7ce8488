"""Sums over blocks of entries against dense matrices."""

import numpy as np
from scipy import sparse

from pymc_inla.linalg.block_kernels import add_information, add_products, multiply_blocks
from pymc_inla.linalg.cholesky import mirror_lower

N, K = 20, 3


def blocks(rng):
    """Blocks of 0 to 15 entries at ascending positions, and each block's selection matrix."""
    members = [np.sort(rng.choice(N, size, replace=False)) for size in (3, 0, 15, 1, 4)]
    ptr = np.concatenate([[0], np.cumsum([len(m) for m in members])])
    return ptr, np.concatenate(members), [np.eye(N)[m] for m in members]


def test_products_within_blocks():
    rng = np.random.default_rng(1)
    ptr, index, select = blocks(rng)
    left = rng.normal(size=(len(index), K))
    right = left * rng.normal(size=K)  # left right' is symmetric
    H = np.zeros((N, N))
    add_products(ptr, index, left, right, H)
    expected = sum(s.T @ left[a:b] @ right[a:b].T @ s for s, a, b in zip(select, ptr[:-1], ptr[1:], strict=True))
    assert np.all(np.triu(H, 1) == 0)
    mirror_lower(H)
    np.testing.assert_allclose(H, expected, rtol=1e-12, atol=1e-14)


def test_symmetric_matrix_times_vectors_within_blocks():
    rng = np.random.default_rng(2)
    ptr, index, select = blocks(rng)
    M = rng.normal(size=(N, N))
    M += M.T
    d = rng.normal(size=(K, len(index)))
    found = np.full(d.shape, np.nan)
    multiply_blocks(ptr, index, M, d, found)
    expected = [s @ M @ s.T @ d[:, a:b].T for s, a, b in zip(select, ptr[:-1], ptr[1:], strict=True)]
    np.testing.assert_allclose(found, np.concatenate(expected).T, rtol=1e-12, atol=1e-14)


def test_information_with_pairs_of_predictors():
    rng = np.random.default_rng(3)
    n_eta = 8
    A = sparse.csr_array(sparse.random_array((n_eta, N), density=0.5, rng=rng))
    A.sort_indices()
    # four pairs of predictors of the same observation, which share columns
    W_rows, W_cols = np.r_[np.arange(n_eta), 0, 1, 2, 3], np.r_[np.arange(n_eta), 4, 5, 6, 7]
    W = rng.normal(size=len(W_rows))
    dense = np.zeros((n_eta, n_eta))
    dense[W_rows, W_cols] = W
    dense[W_cols, W_rows] = W
    H = np.zeros((N, N))
    add_information(A.indptr, A.indices, A.data, W_rows, W_cols, W, H)
    assert np.all(np.triu(H, 1) == 0)
    mirror_lower(H)
    np.testing.assert_allclose(H, A.T.toarray() @ dense @ A.toarray(), rtol=1e-12, atol=1e-14)
