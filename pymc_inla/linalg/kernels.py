"""Compiled passes over the data for the elimination of local blocks.

Notation for one group g, that is one local block of size b with the observations that touch it: a_i (b,) and v_i (nj,)
are the parts of row i of A on the block and on the nj unknowns of the tail that the group touches (its list J);
D = Q_ll + sum w a a' and B = q + sum w a v' are the blocks of H; s = D^-1 B. The block is eliminated in centered form,

    sum_i w_i R_i R_i' + [-s; I]' Q [-s; I],    R_i = v_i - s'a_i,

which equals sum w v v' - B'D^-1 B but is a sum of squares where that is a difference: nothing cancels, however small or
large the precision of the block is. An off-diagonal pair of W adds w (R_i R_k' + R_k R_i').

Entries of A carry a slot: 0..b-1 for the unknowns of the block, b + j for entry j of J.
"""

from typing import NamedTuple

import numba
import numpy as np

CENTERED_UP_TO = 32
"""Lists J longer than this are eliminated as a difference, which costs less when rows of A are much sparser than J."""

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
inlined = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
"""For what is called once per row: passing a dozen arrays costs more than the work."""


class Layout(NamedTuple):
    """Where everything is, computed once. Groups 0..n_blocks-1 are the local blocks; the others are single observations
    that touch no local block. Rows of A are numbered in the order of the groups."""

    n_blocks: int
    blocks: np.ndarray
    """(n_blocks, b) index into x"""
    row_ptr: np.ndarray
    """(n_groups + 1,) first row of each group"""
    rows: np.ndarray
    """(n_eta,) row of A in the original order"""
    starts: np.ndarray
    """(n_eta,) position of the row's first entry in the values of A"""
    slot_ptr: np.ndarray
    """(n_eta + 1,) first entry of each row in `slot`"""
    slot: np.ndarray
    """(nnz,) slot of each entry, rows in the order of the groups"""
    pair_ptr: np.ndarray
    """(n_groups + 1,) off-diagonal entries of W of each group in the next three"""
    pairs: np.ndarray
    """position in W"""
    pair_first: np.ndarray
    pair_second: np.ndarray
    """the two rows, in the order of the groups"""
    J_ptr: np.ndarray
    """(n_groups + 1,) list of each group in `J`"""
    J: np.ndarray
    """index into the tail"""
    within: np.ndarray
    """(n_blocks, b, b) position in Q of the block's own entries, -1 where there is none"""
    cross_ptr: np.ndarray
    """(n_blocks + 1,) entries of Q and of the constraints that tie the block to the tail"""
    cross_local: np.ndarray
    cross_slot: np.ndarray
    cross_source: np.ndarray
    """position in Q followed by the values of the constraints"""


@compiled
def assign_slots(n_tail, n_blocks, b, row_ptr, starts, slot_ptr, code, cross_ptr, cross_col):
    """List the tail unknowns of each group. `code` (nnz,) is -1 - r for entry r of the block, else the tail index.

    Returns
    -------
    J_ptr, J, slot, cross_slot
    """
    n_groups = len(row_ptr) - 1
    seen = np.full(n_tail, -1)
    place = np.zeros(n_tail, dtype=np.int64)
    J_ptr = np.zeros(n_groups + 1, dtype=np.int64)
    J = np.empty(1024, dtype=np.int32)
    slot = np.empty(len(code), dtype=np.int32)
    cross_slot = np.empty(len(cross_col), dtype=np.int32)
    for g in range(n_groups):
        begin = stop = J_ptr[g]
        n_cross = cross_ptr[g + 1] - cross_ptr[g] if g < n_blocks else 0
        n_rows = row_ptr[g + 1] - row_ptr[g]
        for k in range(n_rows + n_cross):
            if k < n_rows:
                first, last = slot_ptr[row_ptr[g] + k], slot_ptr[row_ptr[g] + k + 1]
                shift = starts[row_ptr[g] + k] - first
            else:
                first, shift = cross_ptr[g] + k - n_rows, 0
                last = first + 1
            for q in range(first, last):
                column = code[q + shift] if k < n_rows else cross_col[q]
                if column < 0:
                    slot[q] = -1 - column
                    continue
                if seen[column] != g:
                    seen[column], place[column] = g, stop - begin
                    if stop == len(J):
                        grown = np.empty(2 * len(J), dtype=np.int32)
                        grown[:stop] = J
                        J = grown
                    J[stop] = column
                    stop += 1
                if k < n_rows:
                    slot[q] = b + place[column]
                else:
                    cross_slot[q] = b + place[column]
        J_ptr[g + 1] = stop
    return J_ptr, J[: J_ptr[-1]].copy(), slot, cross_slot


@inlined
def residual(k, A, starts, slot_ptr, slot, s, b, nj, a, R):
    """Split row k of A into a (b,) and R = v - s'a (nj,)."""
    for r in range(b):
        a[r] = 0.0
    for j in range(nj):
        R[j] = 0.0
    first, last = slot_ptr[k], slot_ptr[k + 1]
    shift = starts[k] - first
    for q in range(first, last):
        c = slot[q]
        if c < b:
            a[c] = A[q + shift]
        else:
            R[c - b] = A[q + shift]
    for r in range(b):
        for j in range(nj):
            R[j] -= a[r] * s[r, j]


@compiled
def invert_block(D, inverse):
    """Inverse of a small symmetric D through its Cholesky factor; log det D, or NaN if it is not positive definite."""
    b = len(D)
    log_determinant = 0.0
    L = np.zeros((3, 3))
    U = np.zeros((3, 3))
    for r in range(b):
        for c in range(r + 1):
            total = D[r, c]
            for k in range(c):
                total -= L[r, k] * L[c, k]
            if r == c:
                if not (total > 0.0 and total < np.inf):
                    return np.nan
                L[r, r] = np.sqrt(total)
                log_determinant += np.log(total)
            else:
                L[r, c] = total / L[c, c]
    for r in range(b):  # U = L^-1
        U[r, r] = 1.0 / L[r, r]
        for c in range(r):
            total = 0.0
            for k in range(c, r):
                total -= L[r, k] * U[k, c]
            U[r, c] = total / L[r, r]
    for r in range(b):
        for c in range(b):
            total = 0.0
            for k in range(max(r, c), b):
                total += U[k, r] * U[k, c]
            inverse[r, c] = total
    return log_determinant


@inlined
def add_outer(i, k, w, A, starts, slot_ptr, slot, b, D, B):
    """D += w a_i a_k', B += w a_i v_k'."""
    shift_i, shift_k = starts[i] - slot_ptr[i], starts[k] - slot_ptr[k]
    for q in range(slot_ptr[i], slot_ptr[i + 1]):
        r = slot[q]
        if r < b:
            wa = w * A[q + shift_i]
            for p in range(slot_ptr[k], slot_ptr[k + 1]):
                c = slot[p]
                if c < b:
                    D[r, c] += wa * A[p + shift_k]
                else:
                    B[r, c - b] += wa * A[p + shift_k]


@compiled
def add_to_tail(i, k, w, A, starts, slot_ptr, slot, b, J, T):
    """T += w v_i v_k', in place of its lower triangle; for a pair both (i, k) and (k, i) are to be added."""
    shift_i, shift_k = starts[i] - slot_ptr[i], starts[k] - slot_ptr[k]
    for q in range(slot_ptr[i], slot_ptr[i + 1]):
        if slot[q] >= b:
            row = J[slot[q] - b]
            wv = w * A[q + shift_i]
            for p in range(slot_ptr[k], slot_ptr[k + 1]):
                if slot[p] >= b:
                    column = J[slot[p] - b]
                    if column <= row:
                        T[row, column] += wv * A[p + shift_k]


@compiled
def eliminate(A, W, values, layout, T, D_inverse, s_all):
    """Eliminate every local block.

    Parameters
    ----------
    A, W : values
    values : Q followed by the values of the constraints
    layout : Layout
    T : (P, P), holds the tail's own entries of Q; the lower triangle becomes the Schur complement
    D_inverse : (n_blocks, b, b), filled
    s_all : (b * J_ptr[n_blocks],), filled with s of each block, (b, nj) row by row

    Returns
    -------
    float
        Sum of log det D, NaN if a block is not positive definite.
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
    D, Q, a, a2 = np.empty((b, b)), np.empty((b, b)), np.empty(b), np.empty(b)
    B_all, q_all = np.empty(b * longest), np.empty(b * longest)
    R, R2 = np.empty(longest), np.empty(longest)
    t = np.empty((min(longest, CENTERED_UP_TO), min(longest, CENTERED_UP_TO)))
    log_determinant = 0.0
    for g in range(n_groups):
        J = J_all[J_ptr[g] : J_ptr[g + 1]]
        nj = len(J)
        first, last = row_ptr[g], row_ptr[g + 1]
        first_pair, last_pair = pair_ptr[g], pair_ptr[g + 1]
        local = g < n_blocks
        centered = local and nj <= CENTERED_UP_TO
        if not centered:
            for k in range(first, last):
                add_to_tail(k, k, W[rows[k]], A, starts, slot_ptr, slot, b, J, T)
            for k in range(first_pair, last_pair):
                w, i, l = W[pairs[k]], pair_first[k], pair_second[k]
                add_to_tail(i, l, w, A, starts, slot_ptr, slot, b, J, T)
                add_to_tail(l, i, w, A, starts, slot_ptr, slot, b, J, T)
        if not local:
            continue
        # blocks of H
        q, B = q_all[: b * nj].reshape(b, nj), B_all[: b * nj].reshape(b, nj)
        q[:] = 0.0
        for k in range(cross_ptr[g], cross_ptr[g + 1]):
            q[cross_local[k], cross_slot[k] - b] += values[cross_source[k]]
        B[:] = q
        for r in range(b):
            for c in range(b):
                p = within[g, r, c]
                Q[r, c] = values[p] if p >= 0 else 0.0
                D[r, c] = Q[r, c]
        for k in range(first, last):
            add_outer(k, k, W[rows[k]], A, starts, slot_ptr, slot, b, D, B)
        for k in range(first_pair, last_pair):
            w, i, l = W[pairs[k]], pair_first[k], pair_second[k]
            add_outer(i, l, w, A, starts, slot_ptr, slot, b, D, B)
            add_outer(l, i, w, A, starts, slot_ptr, slot, b, D, B)
        log_determinant += invert_block(D, D_inverse[g])
        if np.isnan(log_determinant):
            return np.nan
        s = s_all[b * J_ptr[g] : b * J_ptr[g + 1]].reshape(b, nj)
        for r in range(b):
            for j in range(nj):
                total = 0.0
                for c in range(b):
                    total += D_inverse[g, r, c] * B[c, j]
                s[r, j] = total
        if not centered:
            for j in range(nj):
                for k in range(nj):
                    if J[k] <= J[j]:
                        total = 0.0
                        for r in range(b):
                            total += s[r, j] * B[r, k]
                        T[J[j], J[k]] -= total
            continue
        # [-s; I]' Q [-s; I]
        for j in range(nj):
            for k in range(j + 1):
                total = 0.0
                for r in range(b):
                    total -= s[r, j] * q[r, k] + q[r, j] * s[r, k]
                    for c in range(b):
                        total += s[r, j] * Q[r, c] * s[c, k]
                t[j, k] = total
        for k in range(first, last):
            residual(k, A, starts, slot_ptr, slot, s, b, nj, a, R)
            w = W[rows[k]]
            for j in range(nj):
                wr = w * R[j]
                for l in range(j + 1):
                    t[j, l] += wr * R[l]
        for k in range(first_pair, last_pair):
            w = W[pairs[k]]
            residual(pair_first[k], A, starts, slot_ptr, slot, s, b, nj, a, R)
            residual(pair_second[k], A, starts, slot_ptr, slot, s, b, nj, a2, R2)
            for j in range(nj):
                for l in range(j + 1):
                    t[j, l] += w * (R[j] * R2[l] + R2[j] * R[l])
        for j in range(nj):
            for k in range(j + 1):
                T[max(J[j], J[k]), min(J[j], J[k])] += t[j, k]
    return log_determinant


@compiled
def reduce_to_tail(r, layout, s_all, y):
    """y -= s'r over all blocks, for r (n_x, m) and y (P, m)."""
    b = layout.blocks.shape[1]
    for g in range(layout.n_blocks):
        start, nj = layout.J_ptr[g], layout.J_ptr[g + 1] - layout.J_ptr[g]
        for c in range(b):
            x = layout.blocks[g, c]
            for j in range(nj):
                value = s_all[b * start + c * nj + j]
                for k in range(r.shape[1]):
                    y[layout.J[start + j], k] -= value * r[x, k]


@compiled
def expand_from_tail(y, layout, s_all, x):
    """x_l -= s y_J over all blocks, for y (P, m) and x (n_x, m)."""
    b = layout.blocks.shape[1]
    for g in range(layout.n_blocks):
        start, nj = layout.J_ptr[g], layout.J_ptr[g + 1] - layout.J_ptr[g]
        for c in range(b):
            i = layout.blocks[g, c]
            for j in range(nj):
                value = s_all[b * start + c * nj + j]
                for k in range(x.shape[1]):
                    x[i, k] -= value * y[layout.J[start + j], k]
