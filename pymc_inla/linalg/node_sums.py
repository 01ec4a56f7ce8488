"""What `node_kernels` compiles, in NumPy: small models need not wait for a compiler. Same arguments, same results."""

import numpy as np


def spread_nodes(block, a, z, u, eta):
    """eta_kr = z_r + sum_c a_rc u_kgc, g the block of r, for u (K, G, b)."""
    of_row = np.concatenate([u, np.zeros((len(u), 1, u.shape[2]))], axis=1)[:, block]
    eta[:] = a[:, 0] * of_row[:, :, 0] if u.shape[2] == 1 else np.einsum("rc,krc->kr", a, of_row)
    eta += z


def add_rows(block, values, out):
    """out_kg += sum of values_kr over the rows of g; what belongs to no block is left out."""
    k, G = out.shape
    index = block if k == 1 else (block + (G + 1) * np.arange(k)[:, None]).ravel()
    out += np.bincount(index, values.ravel(), k * (G + 1)).reshape(k, G + 1)[:, :-1]


def add_weighted(block, weights, values, out):
    """out_r += sum_k weights_kg values_kr, for weights (K, G + 1)."""
    out += np.einsum("kr,kr->r", weights[:, block], values)


def add_curvature(block, rows, columns, W, a, H):
    """H_gce += sum of W_n a_rc a_se over the entries n = (r, s) of W in g. An entry off the diagonal stands for both
    triangles of W."""
    G, b = H.shape[:2]
    other = rows != columns
    for c in range(b):
        for e in range(c, b):
            entry = W * a[rows, c] * a[columns, e]
            entry[other] += W[other] * a[columns[other], c] * a[rows[other], e]
            total = np.bincount(block, entry, G + 1)[:-1]
            H[:, c, e] += total
            if e > c:
                H[:, e, c] += total


def add_local_gradient(block, a, gradient, out):
    """out_gc += sum of a_rc gradient_r over the rows of g."""
    for c in range(out.shape[1]):
        out[:, c] += np.bincount(block, a[:, c] * gradient, len(out) + 1)[:-1]


def subtract_covariances(ptr, index, p, d, H):
    """Lower triangle of H[index_i, index_j] -= sum_g Cov(d_i, d_j) over the pairs i, j of the same block g, for nodes
    with weights p (K, G + 1) and d (K, n_m)."""
    block = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    of_pair = p[:, block]
    full = np.zeros((len(d), len(ptr) - 1, len(H)))
    full[:, block, index] = np.sqrt(of_pair) * (d - np.einsum("km,km->m", of_pair, d))
    H -= np.einsum("kgi,kgj->ij", full, full, optimize=True)


def covariances_with_slopes(ptr, p, u, d, out):
    """out_mc = Cov(u_gc, d_m) for the pairs m of g, for nodes u (K, G, b) with weights p (K, G + 1) and d (K, n_m)."""
    block = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    of_pair = p[:, block]
    deviation = of_pair * (d - np.einsum("km,km->m", of_pair, d))
    out[:] = np.einsum("km,kmc->mc", deviation, u[:, block])
