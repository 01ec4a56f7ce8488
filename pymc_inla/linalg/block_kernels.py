"""Sums over blocks of entries: block g owns entries ptr[g] .. ptr[g + 1], and entry m stands at position index[m],
ascending within a block. Arrays (n_m, K) hold K numbers for every entry."""

import numba

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


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
    """out_ik = sum_j M[index_i, index_j] d_jk over the entries j of the block of i."""
    for g in range(len(ptr) - 1):
        for i in range(ptr[g], ptr[g + 1]):
            for k in range(d.shape[1]):
                out[i, k] = 0.0
            for j in range(ptr[g], ptr[g + 1]):
                value = M[index[i], index[j]]
                for k in range(d.shape[1]):
                    out[i, k] += value * d[j, k]
