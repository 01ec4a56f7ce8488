"""Products of sparse matrices (ptr, index, value) in rows with dense vectors and matrices."""

import numba

from pymc_inla.linalg.node_kernels import unsigned

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def multiply_rows(ptr, index, value, x, out):
    """out_k = matrix x_k for the rows x_k of x."""
    for k in range(len(x)):
        vector = x[k]
        for r in range(len(ptr) - 1):
            total = 0.0
            for e in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
                total += value[e] * vector[unsigned(index[e])]
            out[k, r] = total


@compiled
def add_transposed(ptr, index, value, y, out):
    """out_k += matrix' y_k for the rows y_k of y."""
    for k in range(len(y)):
        total, vector = out[k], y[k]
        for r in range(len(ptr) - 1):
            factor = vector[r]
            for e in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
                total[unsigned(index[e])] += value[e] * factor


@compiled
def add_bilinear_forms(ptr, index, value, rows, S, ptr2, index2, value2, rows2, out):
    """out_k += left_rows[k] S right_rows2[k]' for sparse matrices (ptr, index, value)."""
    for k in range(len(out)):
        total = 0.0
        for e in range(unsigned(ptr[rows[k]]), unsigned(ptr[rows[k] + 1])):
            row = S[unsigned(index[e])]
            inner = 0.0
            for f in range(unsigned(ptr2[rows2[k]]), unsigned(ptr2[rows2[k] + 1])):
                inner += row[unsigned(index2[f])] * value2[f]
            total += value[e] * inner
        out[k] += total


@compiled
def add_product_entries(ptr, index, value, S, rows, columns, out):
    """out_k += (matrix S)[rows[k], columns[k]] for a sparse matrix (ptr, index, value)."""
    for k in range(len(out)):
        total = 0.0
        for e in range(unsigned(ptr[rows[k]]), unsigned(ptr[rows[k] + 1])):
            total += value[e] * S[unsigned(index[e]), unsigned(columns[k])]
        out[k] += total
