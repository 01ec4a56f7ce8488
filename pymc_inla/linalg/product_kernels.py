"""Products of sparse matrices (ptr, index, value) in rows with dense vectors and matrices."""

import numba

from pymc_inla.linalg.node_kernels import FOUR, unsigned

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def multiply_rows(ptr, index, value, x, out):
    """out_k = matrix x_k for the rows x_k of x."""
    last = len(x) - len(x) % FOUR
    for k in range(0, last, FOUR):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        for r in range(len(ptr) - 1):
            total0, total1, total2, total3 = 0.0, 0.0, 0.0, 0.0
            for e in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
                factor, at = value[e], unsigned(index[e])
                total0 += factor * x0[at]
                total1 += factor * x1[at]
                total2 += factor * x2[at]
                total3 += factor * x3[at]
            out[k, r], out[k + 1, r], out[k + 2, r], out[k + 3, r] = total0, total1, total2, total3
    for k in range(last, len(x)):
        vector = x[k]
        for r in range(len(ptr) - 1):
            total = 0.0
            for e in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
                total += value[e] * vector[unsigned(index[e])]
            out[k, r] = total


@compiled
def add_transposed(ptr, index, value, y, out):
    """out_k += matrix' y_k for the rows y_k of y."""
    last = len(y) - len(y) % FOUR
    for k in range(0, last, FOUR):
        y0, y1, y2, y3 = y[k], y[k + 1], y[k + 2], y[k + 3]
        total0, total1, total2, total3 = out[k], out[k + 1], out[k + 2], out[k + 3]
        for r in range(len(ptr) - 1):
            factor0, factor1, factor2, factor3 = y0[r], y1[r], y2[r], y3[r]
            for e in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
                entry, at = value[e], unsigned(index[e])
                total0[at] += entry * factor0
                total1[at] += entry * factor1
                total2[at] += entry * factor2
                total3[at] += entry * factor3
    for k in range(last, len(y)):
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
