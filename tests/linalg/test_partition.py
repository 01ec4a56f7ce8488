"""The local set is found, and it is conditionally independent given the rest."""

import subprocess
import sys

import numpy as np
import pytest
from linalg_structures import STRUCTURES, csr, iid_with_fixed_effects, one_hot, problem
from scipy import sparse

import pymc_inla.linalg.partition as partition_module
from pymc_inla.linalg import choose_local


def local_of(p):
    partition = choose_local(*p.patterns[:5])
    blocks = partition.local_blocks
    together = np.sort(np.r_[blocks.ravel(), partition.shared])
    np.testing.assert_array_equal(together, np.arange(p.A.shape[1]))
    # no entry of H between different blocks, for any values
    n = p.A.shape[0]
    W = sparse.coo_array((np.ones(len(p.W_rows)), (p.W_rows, p.W_cols)), shape=(n, n))
    A = abs(p.A)
    H = (abs(p.Q) + A.T @ (W + W.T) @ A).toarray()[np.ix_(blocks.ravel(), blocks.ravel())]
    b = blocks.shape[1]
    assert not np.any(H * (1 - np.kron(np.eye(len(blocks)), np.ones((b, b)))))
    return blocks


EXPECTED = {
    "iid": np.arange(3, 15)[:, None],
    "slopes2": np.arange(2, 20).reshape(9, 2),
    "slopes3": np.arange(3, 30).reshape(9, 3),
    "crossed": np.arange(1, 31)[:, None],
    "crossed_wide": np.arange(1, 61)[:, None],
    "distributional": np.column_stack([np.arange(4, 16), np.arange(16, 28)]),
    "shared_effect": np.arange(4, 16)[:, None],
    "nested": np.arange(17, 53)[:, None],
    "hierarchical": np.arange(1, 16)[:, None],
    "icar": np.arange(15, 29)[:, None],
    "random_walk": np.empty((0, 1)),
    "ar1_kron": np.empty((0, 1)),
}


@pytest.mark.parametrize("compile_above", [0, 10**9])
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name, m, compile_above, monkeypatch):
    monkeypatch.setattr(partition_module, "COMPILE_ABOVE", compile_above)
    p = STRUCTURES[name](np.random.default_rng(7), n=600, m=m)
    blocks = local_of(p)
    if m == 1:
        np.testing.assert_array_equal(blocks, EXPECTED[name])
    # with m = 2 the rows of an observation are drawn apart, so that it touches two groups: local_of checks the rest


def test_independent_slopes_apart_with_empty_groups():
    """u, then a fixed effect, then the slopes v of the same groups; two groups have no data."""
    rng = np.random.default_rng(2)
    index = rng.integers(18, size=300)
    A = [np.ones((300, 1)), one_hot(index, 20), rng.normal(size=(300, 1)), one_hot(index, 20, rng.normal(size=300))]
    blocks = local_of(problem([np.eye(1), np.eye(20), np.eye(1), np.eye(20)], A, rng))
    assert blocks.shape == (20, 2)


def test_means_beside_the_levels_of_another_effect():
    """mu, u ~ N(mu, .), nu, v ~ N(nu, .): nu alone with all u would keep v out."""
    rng = np.random.default_rng(2)
    index = np.repeat(np.arange(5), 4)
    difference = np.column_stack([-np.ones(5), np.eye(5)])
    Q = difference.T @ difference + 0.1 * np.eye(6)
    u, v = one_hot(index, 5), one_hot(index, 5, rng.normal(size=20))
    blocks = local_of(problem([Q, Q], [np.zeros((20, 1)), u, np.zeros((20, 1)), v], rng))
    np.testing.assert_array_equal(blocks, np.column_stack([np.arange(1, 6), np.arange(7, 12)]))


def test_nothing_is_local_without_groups():
    rng = np.random.default_rng(2)
    p = problem([np.eye(4)], [rng.normal(size=(30, 4))], rng)
    assert local_of(p).shape == (0, 1)
    empty = problem([np.empty((0, 0))], [np.empty((3, 0))], rng)
    assert choose_local(*empty.patterns[:5]).local_blocks.shape == (0, 1)


def test_fields_are_not_cut_into_slices():
    """An AR(1) of independent areas has independent slices; none of them is an effect."""
    rng = np.random.default_rng(2)
    Q = sparse.kron(csr(np.eye(6) * 3 - np.eye(6, k=1) - np.eye(6, k=-1)), csr(np.eye(9)))
    p = problem([Q, np.eye(2)], [one_hot(rng.integers(54, size=200), 54), rng.normal(size=(200, 2))], rng)
    assert len(local_of(p)) == 0


def test_small_problems_do_not_import_numba():
    code = (
        "import sys; import numpy as np; from pymc_inla.lgm import Pattern; import pymc_inla.linalg as la;"
        "eye = Pattern.from_matrix(np.eye(4)); w = np.arange(4); C = np.empty((0, 4));"
        "p = la.choose_local(eye, eye, w, w, C); f = la.build_system(eye, eye, w, w, C, np.empty(0));"
        "assert len(p.local_blocks) == 4; f.factorize(np.ones(4), np.ones(4), np.ones(4)).selected_inverse();"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_permuted_rows_do_not_matter():
    p = iid_with_fixed_effects(np.random.default_rng(7))
    shuffled = problem([p.Q], [p.A[np.random.default_rng(1).permutation(60)]], np.random.default_rng(7))
    np.testing.assert_array_equal(local_of(p), local_of(shuffled))
