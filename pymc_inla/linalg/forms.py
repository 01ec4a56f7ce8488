"""Entries of A S and B S A' where S is dense and A, B are sparse, without forming the products."""

import numpy as np

SMALL = 20_000
"""Elements of a dense matrix A or B up to which the products are formed"""


def bilinear_forms(left, left_rows, S, right, right_rows) -> np.ndarray:
    """left[i] S right[j]' for pairs of rows (i, j), (m,).

    Parameters
    ----------
    left, right : scipy.sparse.csr_array
        With as many columns as S.
    left_rows, right_rows : (m,) int arrays
    S : (n, n) array
    """
    if max(left.shape[0], right.shape[0]) * len(S) <= SMALL:
        return np.einsum("mi,mi->m", (left.toarray() @ S)[left_rows], right.toarray()[right_rows])
    from pymc_inla.linalg.product_kernels import add_bilinear_forms

    out = np.zeros(len(left_rows))
    add_bilinear_forms(*_parts(left), left_rows, np.ascontiguousarray(S), *_parts(right), right_rows, out)
    return out


def product_entries(matrix, S, rows, columns) -> np.ndarray:
    """(matrix S)[rows, columns], (m,), for a scipy.sparse.csr_array."""
    if matrix.shape[0] * len(S) <= SMALL:
        return (matrix.toarray() @ S)[rows, columns]
    from pymc_inla.linalg.product_kernels import add_product_entries

    out = np.zeros(len(rows))
    add_product_entries(*_parts(matrix), np.ascontiguousarray(S), rows, columns, out)
    return out


def _parts(matrix):
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), np.asarray(matrix.data, dtype=float)
