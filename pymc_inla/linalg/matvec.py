"""Products of a sparse matrix with vectors, without the interpreter's lock where they are large.

SciPy's keep it, so that values of theta that are evaluated side by side would wait for each other there.
"""

import numpy as np
from scipy import sparse

LARGE = 50_000
"""Stored entries from which the lock matters more than the call"""


def multiply(matrix: sparse.csr_array, x: np.ndarray) -> np.ndarray:
    """matrix x.

    Parameters
    ----------
    matrix : (n, m) csr_array
        Without duplicates, with ascending indices in every row.
    x : (m,) or (K, m) array
        One vector, or one in every row.

    Returns
    -------
    (n,) or (K, n) array
    """
    if matrix.nnz == matrix.shape[0] * matrix.shape[1]:
        return x @ matrix.data.reshape(matrix.shape).T
    if matrix.nnz < LARGE:
        return (matrix @ x.T).T
    from pymc_inla.linalg.product_kernels import multiply_rows

    out = np.empty((*x.shape[:-1], matrix.shape[0]))
    multiply_rows(matrix.indptr, matrix.indices, matrix.data, _rows(x), _rows(out))
    return out


def multiply_transposed(matrix: sparse.csr_array, y: np.ndarray) -> np.ndarray:
    """matrix' y.

    Parameters
    ----------
    matrix : (n, m) csr_array
        Without duplicates, with ascending indices in every row.
    y : (n,) or (K, n) array
        One vector, or one in every row.

    Returns
    -------
    (m,) or (K, m) array
    """
    if matrix.nnz == matrix.shape[0] * matrix.shape[1]:
        return y @ matrix.data.reshape(matrix.shape)
    if matrix.nnz < LARGE:
        return (matrix.T @ y.T).T
    from pymc_inla.linalg.product_kernels import add_transposed

    out = np.zeros((*y.shape[:-1], matrix.shape[1]))
    add_transposed(matrix.indptr, matrix.indices, matrix.data, _rows(y), _rows(out))
    return out


def _rows(x) -> np.ndarray:
    return np.atleast_2d(np.ascontiguousarray(x, dtype=float))
