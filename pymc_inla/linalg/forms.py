"""Entries of A S and B S A' where S is dense and A, B are sparse, without forming the products."""

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


def bilinear_forms(left, left_rows, S, right, right_rows) -> np.ndarray:
    """left[i] S right[j]' for pairs of rows (i, j), (m,).

    Parameters
    ----------
    left, right : scipy.sparse.csr_array
        With as many columns as S.
    left_rows, right_rows : (m,) int arrays
    S : (n, n) array
    """
    out = np.empty(len(left_rows))
    _bilinear_forms(*_parts(left), left_rows, np.ascontiguousarray(S), *_parts(right), right_rows, out)
    return out


def product_entries(matrix, S, rows, columns) -> np.ndarray:
    """(matrix S)[rows, columns], (m,), for a scipy.sparse.csr_array."""
    out = np.empty(len(rows))
    _product_entries(*_parts(matrix), np.ascontiguousarray(S), rows, columns, out)
    return out


def _parts(matrix):
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), np.asarray(matrix.data, dtype=float)


@compiled
def _bilinear_forms(ptr, index, value, rows, S, ptr2, index2, value2, rows2, out):
    for k in range(len(out)):
        total = 0.0
        for e in range(ptr[rows[k]], ptr[rows[k] + 1]):
            row = S[index[e]]
            inner = 0.0
            for f in range(ptr2[rows2[k]], ptr2[rows2[k] + 1]):
                inner += row[index2[f]] * value2[f]
            total += value[e] * inner
        out[k] = total


@compiled
def _product_entries(ptr, index, value, S, rows, columns, out):
    for k in range(len(out)):
        total = 0.0
        for e in range(ptr[rows[k]], ptr[rows[k] + 1]):
            total += value[e] * S[index[e], columns[k]]
        out[k] = total
