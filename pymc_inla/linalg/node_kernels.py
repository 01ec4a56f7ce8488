"""Quadrature nodes of local blocks and the rows of eta that see them, one pass over the rows each.

`block` (n,) says which of G blocks a row belongs to; G stands for none. Nodes are numbered k, components of a block c.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

unsigned = np.uint64
"""For indices read from arrays: signed ones are tested for being negative, which takes as long as the sums"""


@compiled
def spread_nodes(block, a, z, u, eta):
    """eta_kr = z_r + sum_c a_rc u_kgc, g the block of r, for u (K, G, b)."""
    K, G, b = u.shape
    for k in range(K):
        nodes = u[k]
        for r in range(len(block)):
            g = unsigned(block[r])
            total = z[r]
            if g < unsigned(G):
                for c in range(b):
                    total += a[r, c] * nodes[g, c]
            eta[k, r] = total


FOUR = 4
"""Nodes or vectors worked on side by side: each sum waits for the one before it, and indices are read once for all"""
FEW = 12
"""Entries of a block up to which a sum over nodes for each pair is faster than sums for all pairs side by side"""


@compiled
def add_rows(block, values, out):
    """out_kg += sum of values_kr over the rows of g; what belongs to no block is left out."""
    G, last = out.shape[1], len(values) - len(values) % FOUR
    for k in range(0, last, FOUR):
        values0, values1, values2, values3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        out0, out1, out2, out3 = out[k], out[k + 1], out[k + 2], out[k + 3]
        for r in range(len(block)):
            g = unsigned(block[r])
            if g < unsigned(G):
                out0[g] += values0[r]
                out1[g] += values1[r]
                out2[g] += values2[r]
                out3[g] += values3[r]
    for k in range(last, len(values)):
        for r in range(len(block)):
            g = unsigned(block[r])
            if g < unsigned(G):
                out[k, g] += values[k, r]


@compiled
def add_weighted(block, weights, values, out):
    """out_r += sum_k weights_kg values_kr, for weights (K, G + 1)."""
    for k in range(len(values)):
        of_block = weights[k]
        for r in range(len(block)):
            out[r] += of_block[unsigned(block[r])] * values[k, r]


@compiled
def add_curvature(block, rows, columns, W, a, H):
    """H_gce += sum of W_n a_rc a_se over the entries n = (r, s) of W in g. An entry off the diagonal stands for both
    triangles of W."""
    G, b = H.shape[0], H.shape[1]
    for n in range(len(W)):
        g = unsigned(block[n])
        if g == unsigned(G):
            continue
        r, s = unsigned(rows[n]), unsigned(columns[n])
        for c in range(b):
            for e in range(b):
                H[g, c, e] += W[n] * a[r, c] * a[s, e]
                if r != s:
                    H[g, c, e] += W[n] * a[s, c] * a[r, e]


@compiled
def add_local_gradient(block, a, gradient, out):
    """out_gc += sum of a_rc gradient_r over the rows of g."""
    G, b = out.shape
    for r in range(len(block)):
        g = unsigned(block[r])
        if g < unsigned(G):
            for c in range(b):
                out[g, c] += a[r, c] * gradient[r]


@compiled
def most_entries(ptr):
    """Entries of the largest block"""
    size = 0
    for g in range(len(ptr) - 1):
        size = max(size, ptr[g + 1] - ptr[g])
    return size


@compiled
def subtract_covariances(ptr, index, p, d, H):
    """Lower triangle of H[index_i, index_j] -= sum_g Cov(d_i, d_j) over the pairs i, j of the same block g, for nodes
    with weights p (K, G + 1) and d (K, n_m)."""
    K, size = len(d), most_entries(ptr)
    root, total = np.empty(K), np.empty(size)
    # deviations times the root of the weights: what the innermost loop runs over side by side
    by_entry, by_node = np.empty((size, K)), np.empty((K, size))
    for g in range(len(ptr) - 1):
        first, n = ptr[g], ptr[g + 1] - ptr[g]
        for k in range(K):
            root[k] = np.sqrt(p[k, g])
        for i in range(n):
            row = H[unsigned(index[first + i])]
            mean = 0.0
            for k in range(K):
                mean += p[k, g] * d[k, first + i]
            if n <= FEW:
                own = by_entry[i]
                for k in range(K):
                    own[k] = root[k] * (d[k, first + i] - mean)
                for j in range(i + 1):
                    other = by_entry[j]
                    covariance = 0.0
                    for k in range(K):
                        covariance += own[k] * other[k]
                    row[unsigned(index[first + j])] -= covariance
            else:
                for j in range(i + 1):
                    total[j] = 0.0
                for k in range(K):
                    others = by_node[k]
                    deviation = root[k] * (d[k, first + i] - mean)
                    others[i] = deviation
                    for j in range(i + 1):
                        total[j] += deviation * others[j]
                for j in range(i + 1):
                    row[unsigned(index[first + j])] -= total[j]


@compiled
def covariances_with_slopes(ptr, p, u, d, out):
    """out_mc = Cov(u_gc, d_m) for the pairs m of g, for nodes u (K, G, b) with weights p (K, G + 1) and d (K, n_m)."""
    K, b = len(d), u.shape[2]
    for g in range(len(ptr) - 1):
        for m in range(ptr[g], ptr[g + 1]):
            mean = 0.0
            for k in range(K):
                mean += p[k, g] * d[k, m]
            for c in range(b):
                total = 0.0
                for k in range(K):
                    total += p[k, g] * (d[k, m] - mean) * u[k, g, c]
                out[m, c] = total
