"""Coloring against the matrix it was made for: every entry is read from the products with the seeds."""

import numpy as np
import pytest
from scipy import sparse

from pymc_inla.compile.coloring import color_matrix, color_symmetric
from pymc_inla.lgm import Pattern


def read(coloring, M):
    return (M @ coloring.seeds.T)[coloring.row, coloring.color]


def symmetric(n, pairs, rng):
    """Matrix (n, n) with entries at these pairs, their mirror images and the diagonal."""
    M = np.zeros((n, n))
    for i, j in pairs:
        M[i, j] = M[j, i] = rng.normal()
    return M + np.diag(rng.uniform(1, 2, n))


def common_mean(rng, G=200):
    return symmetric(G + 1, [(0, 1 + g) for g in range(G)], rng), [(0, 1), (1, G + 1)], 2


def nested_means(rng, R=7, G=150):
    """A mean of region means, and effects around the mean of their region."""
    pairs = [(0, 1 + r) for r in range(R)] + [(1 + g % R, 1 + R + g) for g in range(G)]
    return symmetric(1 + R + G, pairs, rng), [(0, 1), (1, 1 + R), (1 + R, 1 + R + G)], 3


def correlated_slopes_with_means(rng, G=60):
    """Three effects per group, correlated, each around a mean of its own."""
    n = 3 + 3 * G
    within = [(3 + 3 * g + a, 3 + 3 * g + b) for g in range(G) for a in range(3) for b in range(a)]
    means = [(a, 3 + 3 * g + b) for g in range(G) for a in range(3) for b in range(3)] + [(0, 1), (0, 2), (1, 2)]
    return symmetric(n, within + means, rng), [(0, 3), (3, n)], 6


def independent_variables(rng):
    return symmetric(50, [], rng), [(0, 1), (1, 2), (2, 30), (30, 50)], 1


def chain(rng, n=100):
    return symmetric(n, [(k, k + 1) for k in range(n - 1)], rng), [(0, n)], 3


def many_to_many(rng):
    """Two variables of which every element meets most of the other: neither side is read as a whole."""
    pairs = [(i, 8 + j) for i in range(8) for j in range(8) if i != j]
    return symmetric(16, pairs, rng), [(0, 8), (8, 16)], 9


@pytest.mark.parametrize(
    "case",
    [common_mean, nested_means, correlated_slopes_with_means, independent_variables, chain, many_to_many],
)
def test_symmetric(case):
    M, blocks, most = case(np.random.default_rng(3))
    pattern = Pattern.from_matrix(sparse.csr_array(M))
    coloring = color_symmetric(pattern, blocks)
    np.testing.assert_array_equal(read(coloring, M), M[pattern.rows, pattern.indices])
    assert len(coloring.seeds) <= most


@pytest.mark.parametrize("seed", range(5))
def test_any_matrix(seed):
    M = sparse.random_array((30, 20), density=0.15, rng=np.random.default_rng(seed), format="csr")
    pattern = Pattern.from_matrix(M)
    coloring = color_matrix(pattern, [(0, 5), (5, 6), (6, 20)])
    np.testing.assert_array_equal(read(coloring, M.toarray()), M.toarray()[pattern.rows, pattern.indices])


@pytest.mark.parametrize("seed", range(5))
def test_any_symmetric_matrix(seed):
    M = sparse.random_array((20, 20), density=0.1, rng=np.random.default_rng(seed), format="csr")
    M = (M + M.T + sparse.eye_array(20)).toarray()
    pattern = Pattern.from_matrix(sparse.csr_array(M))
    coloring = color_symmetric(pattern, [(0, 5), (5, 6), (6, 20)])
    np.testing.assert_array_equal(read(coloring, M), M[pattern.rows, pattern.indices])


def test_a_group_effect_and_two_covariates():
    rng = np.random.default_rng(4)
    M = np.hstack([np.eye(5)[rng.integers(0, 5, 40)] * rng.normal(size=(40, 1)), rng.normal(size=(40, 2))])
    pattern = Pattern.from_matrix(sparse.csr_array(M))
    coloring = color_matrix(pattern, [(0, 5), (5, 7)])
    np.testing.assert_array_equal(read(coloring, M), M[pattern.rows, pattern.indices])
    assert len(coloring.seeds) == 3
