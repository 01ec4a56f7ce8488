"""Passes over the rows of local blocks against dense algebra."""

import numpy as np

from pymc_inla.linalg import node_kernels as kernels

G, K, b, n = 4, 6, 2, 12
BLOCK = np.array([2, 0, 4, 2, 1, 0, 4, 3, 3, 1, 2, 2])  # 4 is no block
INSIDE = BLOCK < G
OF_BLOCK = (BLOCK[:, None] == np.arange(G)).astype(float)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_nodes_reach_the_rows_of_their_block():
    a, z, u, eta = numbers(1, n, b), numbers(2, n), numbers(3, K, G, b), np.full((K, n), np.nan)
    kernels.spread_nodes(BLOCK, a, z, u, eta)
    np.testing.assert_allclose(eta, z + np.einsum("rc,rg,kgc->kr", a, OF_BLOCK, u), rtol=1e-13)


def test_rows_are_added_to_their_block():
    values, out = numbers(1, K, n), numbers(2, K, G)
    expected = out + values @ OF_BLOCK
    kernels.add_rows(BLOCK, values, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)


def test_weighted_sums_over_nodes():
    weights, values, out = numbers(1, K, G + 1), numbers(2, K, n), numbers(3, n)
    expected = out + np.sum(weights[:, BLOCK] * values, axis=0)
    kernels.add_weighted(BLOCK, weights, values, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)


def test_curvature_of_blocks():
    rows = np.concatenate([np.arange(n), [0, 1, 8]])
    columns = np.concatenate([np.arange(n), [3, 5, 7]])  # within the blocks 2, 0 and 3
    W, a, H = numbers(1, len(rows)), numbers(2, n, b), numbers(3, G, b, b)
    full = np.zeros((n, n))
    full[rows, columns] = W
    full[columns, rows] = W
    expected = H + np.array([a[BLOCK == g].T @ full[np.ix_(BLOCK == g, BLOCK == g)] @ a[BLOCK == g] for g in range(G)])
    kernels.add_curvature(BLOCK[rows], rows, columns, W, a, H)
    np.testing.assert_allclose(H, expected, rtol=1e-12)


def test_local_gradient():
    a, gradient, out = numbers(1, n, b), numbers(2, n), numbers(3, G, b)
    expected = out + np.einsum("rg,rc,r->gc", OF_BLOCK, a, gradient)
    kernels.add_local_gradient(BLOCK, a, gradient, out)
    np.testing.assert_allclose(out, expected, rtol=1e-13)


def pairs():
    """Blocks of 0 to 15 pairs at ascending positions among 20, and normalized weights of the nodes."""
    ptr, index = np.array([0, 2, 2, 5, 20]), np.r_[1, 3, 0, 2, 4, np.delete(np.arange(20), [1, 5, 6, 9, 15])]
    weights = np.abs(numbers(4, K, G + 1))
    return ptr, index, weights / weights.sum(axis=0)


def test_covariances_of_slopes_within_blocks():
    ptr, index, p = pairs()
    d, H = numbers(1, K, len(index)), numbers(2, 20, 20)
    H += H.T
    expected = H.copy()
    for g in range(G):
        mine = slice(ptr[g], ptr[g + 1])
        deviation = d[:, mine] - p[:, g] @ d[:, mine]
        expected[np.ix_(index[mine], index[mine])] -= deviation.T @ (p[:, [g]] * deviation)
    kernels.subtract_covariances(ptr, index, p, d, H)
    np.testing.assert_allclose(np.tril(H), np.tril(expected), rtol=1e-12)


def test_covariances_of_nodes_with_slopes():
    ptr, index, p = pairs()
    d, u, out = numbers(1, K, len(index)), numbers(2, K, G, b), np.full((len(index), b), np.nan)
    kernels.covariances_with_slopes(ptr, p, u, d, out)
    for g in range(G):
        mine = slice(ptr[g], ptr[g + 1])
        deviation = d[:, mine] - p[:, g] @ d[:, mine]
        np.testing.assert_allclose(out[mine], deviation.T @ (p[:, [g]] * u[:, g]), rtol=1e-12)
