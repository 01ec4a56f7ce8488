"""Sums over blocks of entries: block g owns entries ptr[g] .. ptr[g + 1], and entry m stands at position index[m],
ascending within a block. Arrays (n_m, K) hold K numbers for every entry. Symmetric matrices are added to in their lower
triangle only."""

import numba
import numpy as np

from pymc_inla.linalg.node_kernels import FEW, most_entries, unsigned

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

TILE = 64
"""Rows and columns mirrored together, so that both sides stay in the cache"""


@compiled
def add_products(ptr, index, left, right, H):
    """Lower triangle of H[index_i, index_j] += sum_k left_ik right_jk over the entries i, j of the same block."""
    for g in range(len(ptr) - 1):
        for i in range(ptr[g], ptr[g + 1]):
            for j in range(ptr[g], i + 1):
                total = 0.0
                for k in range(left.shape[1]):
                    total += left[i, k] * right[j, k]
                H[index[i], index[j]] += total


@compiled
def multiply_blocks(ptr, index, M, d, out):
    """out_ki = sum_j M[index_i, index_j] d_kj over the entries j of the block of i, for a symmetric M, d (K, n_m)."""
    size = most_entries(ptr)
    block = np.empty((size, size))
    for g in range(len(ptr) - 1):
        first, n = ptr[g], ptr[g + 1] - ptr[g]
        for i in range(n):
            row = M[unsigned(index[first + i])]
            for j in range(i + 1):
                block[i, j] = block[j, i] = row[unsigned(index[first + j])]
        for k in range(len(d)):
            result = out[k, first : first + n]
            if n <= FEW:
                for i in range(n):
                    row = block[i]
                    total = 0.0
                    for j in range(n):
                        total += row[j] * d[k, first + j]
                    result[i] = total
            else:
                for i in range(n):
                    result[i] = 0.0
                for j in range(n):
                    row, value = block[j], d[k, first + j]
                    for i in range(n):
                        result[i] += value * row[i]


@compiled
def add_information(ptr, index, value, W_rows, W_cols, W, H):
    """Lower triangle of H += A'WA for a sparse A (ptr, index, value) with ascending indices in every row. An entry of W
    off the diagonal stands for both triangles of W."""
    for n in range(len(W)):
        r, c = W_rows[n], W_cols[n]
        for i in range(unsigned(ptr[r]), unsigned(ptr[r + 1])):
            wa, row = W[n] * value[i], unsigned(index[i])
            for j in range(unsigned(ptr[c]), i + unsigned(1) if r == c else unsigned(ptr[c + 1])):
                column = unsigned(index[j])
                product = wa * value[j]
                if r != c and row == column:
                    product *= 2.0
                H[max(row, column), min(row, column)] += product


@compiled
def mirror_tiles(S):
    """Copy the lower triangle of S onto the upper one."""
    n = len(S)
    for first_row in range(0, n, TILE):
        for first_column in range(0, first_row + 1, TILE):
            for i in range(first_row, min(first_row + TILE, n)):
                for j in range(first_column, min(first_column + TILE, i)):
                    S[j, i] = S[i, j]
