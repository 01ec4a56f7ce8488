"""Compiled pass over the data for the selected inverse after the elimination of local blocks.

Notation as in `kernels`. With K the inverse of the tail on the list J of a group, row i of A S is t = K R on the tail
and u = D^-1 a - s t on the block, R = v - s'a.
"""

import numpy as np

from pymc_inla.linalg.kernels import compiled, inlined, residual


@inlined
def row_of_AS(i, A, starts, slot_ptr, slot, s, D_inverse, K, U, b, nj, a, R, u, t):
    """Row i of A S on its group: t = K R on the tail and u = D^-1 a - s t on the block. Leaves a and R as well."""
    residual(i, A, starts, slot_ptr, slot, s, b, nj, a, R)
    for j in range(nj):
        t[j] = 0.0
    if nj <= slot_ptr[i + 1] - slot_ptr[i]:
        for k in range(nj):
            for j in range(nj):
                t[j] += R[k] * K[k, j]
    else:  # the same, from the few entries of v
        shift = starts[i] - slot_ptr[i]
        for q in range(slot_ptr[i], slot_ptr[i + 1]):
            k = slot[q] - b
            if k >= 0:
                for j in range(nj):
                    t[j] += A[q + shift] * K[k, j]
        for r in range(b):
            for j in range(nj):
                t[j] -= a[r] * U[r, j]
    for r in range(b):
        total = 0.0
        for c in range(b):
            total += a[c] * D_inverse[c, r]
        for j in range(nj):
            total -= t[j] * s[r, j]
        u[r] = total


@inlined
def covariance_of_rows(u, t, a, R, s, b, nj):
    """(A S A') of two rows from the first's row of A S and the second's a, R: u'a + t'(R + s'a)."""
    total = 0.0
    for j in range(nj):
        total += t[j] * R[j]
    for r in range(b):
        inner = u[r]
        for j in range(nj):
            inner += t[j] * s[r, j]
        total += inner * a[r]
    return total


@inlined
def add_row(k, w, u, t, b, starts, slot_ptr, slot, A_out):
    """Add w times a row of A S to the pattern of row k of A."""
    shift = starts[k] - slot_ptr[k]
    for q in range(slot_ptr[k], slot_ptr[k + 1]):
        c = slot[q]
        A_out[q + shift] += w * (u[c] if c < b else t[c - b])


@compiled
def selected(A, W, n_Q, layout, D_inverse, s_all, tail_inverse, diagonal, Q_out, W_out, A_out):
    """Entries of S for every group, given the inverse of the tail (P, P).

    Fills the last four arrays (A_out starts at zero, and is left out if it is empty). Entries of Q between shared
    latents are not touched, those between block and tail are filled on the block's rows.
    """
    # members are read once: each access in a loop would cost a change of its reference count
    J_all = layout.J
    J_ptr = layout.J_ptr
    blocks = layout.blocks
    cross_local = layout.cross_local
    cross_ptr = layout.cross_ptr
    cross_slot = layout.cross_slot
    cross_source = layout.cross_source
    n_blocks = layout.n_blocks
    pair_first = layout.pair_first
    pair_ptr = layout.pair_ptr
    pair_second = layout.pair_second
    pairs = layout.pairs
    row_ptr = layout.row_ptr
    rows = layout.rows
    slot = layout.slot
    slot_ptr = layout.slot_ptr
    starts = layout.starts
    within = layout.within
    n_groups, b = len(row_ptr) - 1, blocks.shape[1]
    longest = 1
    for g in range(n_groups):
        longest = max(longest, J_ptr[g + 1] - J_ptr[g])
    a, a2, R, R2 = np.empty(b), np.empty(b), np.empty(longest), np.empty(longest)
    u, u2, t, t2 = np.empty(b), np.empty(b), np.empty(longest), np.empty(longest)
    K_all, U_all = np.empty(longest * longest), np.empty(b * longest)
    nothing, no_inverse = np.zeros((b, longest)), np.zeros((b, b))
    for g in range(n_groups):
        J = J_all[J_ptr[g] : J_ptr[g + 1]]
        nj = len(J)
        local = g < n_blocks
        K, U = K_all[: nj * nj].reshape(nj, nj), U_all[: b * nj].reshape(b, nj)
        for j in range(nj):
            for k in range(nj):
                K[j, k] = tail_inverse[J[j], J[k]]
        s, inverse = nothing, no_inverse
        U[:] = 0.0
        if local:
            s = s_all[b * J_ptr[g] : b * J_ptr[g + 1]].reshape(b, nj)
            inverse = D_inverse[g]
            for r in range(b):
                for k in range(nj):
                    for j in range(nj):
                        U[r, j] += s[r, k] * K[k, j]
            for r in range(b):
                for c in range(b):
                    total = inverse[r, c]
                    for j in range(nj):
                        total += U[r, j] * s[c, j]
                    if within[g, r, c] >= 0:
                        Q_out[within[g, r, c]] = total
                    if r == c:
                        diagonal[blocks[g, r]] = total
            for k in range(cross_ptr[g], cross_ptr[g + 1]):
                if cross_source[k] < n_Q:
                    Q_out[cross_source[k]] = -U[cross_local[k], cross_slot[k] - b]
        for k in range(row_ptr[g], row_ptr[g + 1]):
            row_of_AS(k, A, starts, slot_ptr, slot, s, inverse, K, U, b, nj, a, R, u, t)
            W_out[rows[k]] = covariance_of_rows(u, t, a, R, s, b, nj)
            if len(A_out):
                add_row(k, W[rows[k]], u, t, b, starts, slot_ptr, slot, A_out)
        for k in range(pair_ptr[g], pair_ptr[g + 1]):
            i, l, w = pair_first[k], pair_second[k], W[pairs[k]]
            row_of_AS(i, A, starts, slot_ptr, slot, s, inverse, K, U, b, nj, a, R, u, t)
            row_of_AS(l, A, starts, slot_ptr, slot, s, inverse, K, U, b, nj, a2, R2, u2, t2)
            W_out[pairs[k]] = covariance_of_rows(u, t, a2, R2, s, b, nj)
            if len(A_out):
                add_row(i, w, u2, t2, b, starts, slot_ptr, slot, A_out)
                add_row(l, w, u, t, b, starts, slot_ptr, slot, A_out)
