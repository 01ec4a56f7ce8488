"""Compiled LDL' factorization, triangular solves, selected inverse and assembly on a fixed sparsity pattern.

The sparse part D of H is stored as its lower triangle, row by row, in the order of elimination. L is stored by columns
with its unit diagonal left out; `row_column` and `row_position` list the same entries by rows.

Sources: Davis, Direct Methods for Sparse Linear Systems (2006), chapter 4 (elimination tree, up-looking factorization);
Takahashi, Fagan & Chen (1973) and Rue & Held (2005), section 2.1 of its computation, for the selected inverse.
"""

from typing import NamedTuple

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
inlined = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
"""For what is called once per row: passing a dozen arrays costs more than the work."""


class FactorPattern(NamedTuple):
    """Pattern of L."""

    column_ptr: np.ndarray
    rows: np.ndarray
    row_ptr: np.ndarray
    row_column: np.ndarray
    row_position: np.ndarray


class RowLayout(NamedTuple):
    """Rows of A split into the sparse part and the tail."""

    A_indptr: np.ndarray
    place: np.ndarray
    """(nnz,) position in the sparse part, or -1 - f for unknown f of the tail"""
    own_ptr: np.ndarray
    """(n_eta + 1,) products within a row in `own`"""
    own: np.ndarray
    """position in D of each product of two entries of a row, second entry not after the first"""
    pair_ptr: np.ndarray
    """(n_pairs + 1,) products between the two rows of a pair of W in `pair`"""
    pair: np.ndarray
    W_rows: np.ndarray
    """(n_W,)"""
    W_cols: np.ndarray


@compiled
def factor_pattern(D_ptr, D_index):
    """Pattern of L from the lower triangle of D by rows (diagonal included, last in its row)."""
    n = len(D_ptr) - 1
    parent, seen = np.full(n, -1), np.full(n, -1)
    count, row_ptr = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
    column_ptr = np.zeros(n + 1, dtype=np.int64)
    rows = np.empty(0, dtype=np.int32)
    for fill in range(2):  # once to count, once to fill
        seen[:] = -1
        for i in range(n):
            seen[i] = i
            for q in range(D_ptr[i], D_ptr[i + 1]):
                k = D_index[q]
                while seen[k] != i:
                    if parent[k] < 0:
                        parent[k] = i
                    seen[k] = i
                    if fill == 0:
                        count[k] += 1
                        row_ptr[i + 1] += 1
                    else:
                        rows[count[k]] = i
                        count[k] += 1
                    k = parent[k]
        if fill == 0:
            for k in range(n):
                column_ptr[k + 1] = column_ptr[k] + count[k]
                row_ptr[k + 1] += row_ptr[k]
            rows = np.empty(column_ptr[n], dtype=np.int32)
            count[:] = column_ptr
    row_column, row_position = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int64)
    following = row_ptr.copy()
    for k in range(n):
        for p in range(column_ptr[k], column_ptr[k + 1]):
            i = rows[p]
            row_column[following[i]], row_position[following[i]] = k, p
            following[i] += 1
    return column_ptr, rows, row_ptr, row_column, row_position


@compiled
def factorize(D_ptr, D_index, D, pattern, L, pivots):
    """D = L diag(pivots) L'. Fills L and pivots; False at the first pivot that is not positive."""
    n = len(pivots)
    y = np.zeros(n)
    for i in range(n):
        last = D_ptr[i + 1] - 1
        pivot = D[last]
        for q in range(D_ptr[i], last):
            y[D_index[q]] = D[q]
        for q in range(pattern.row_ptr[i], pattern.row_ptr[i + 1]):
            k, position = pattern.row_column[q], pattern.row_position[q]
            yk = y[k]
            y[k] = 0.0
            for p in range(pattern.column_ptr[k], position):
                y[pattern.rows[p]] -= L[p] * yk
            l = yk / pivots[k]
            pivot -= l * yk
            L[position] = l
        if not (pivot > 0.0 and pivot < np.inf):
            return False
        pivots[i] = pivot
    return True


@compiled
def solve_lower(pattern, L, r):
    """r <- L^-1 r, (n, m)."""
    for k in range(len(r)):
        for p in range(pattern.column_ptr[k], pattern.column_ptr[k + 1]):
            for c in range(r.shape[1]):
                r[pattern.rows[p], c] -= L[p] * r[k, c]


@compiled
def solve_upper(pattern, L, r):
    """r <- L^-T r, (n, m)."""
    for k in range(len(r) - 1, -1, -1):
        for p in range(pattern.column_ptr[k], pattern.column_ptr[k + 1]):
            for c in range(r.shape[1]):
                r[k, c] -= L[p] * r[pattern.rows[p], c]


@compiled
def selected_inverse(pattern, L, pivots, Z, diagonal):
    """Entries of D^-1 on the pattern of L (Takahashi's equations). Fills Z and diagonal."""
    n = len(pivots)
    total, value = np.zeros(n), np.zeros(n)
    member = np.full(n, -1)
    for j in range(n - 1, -1, -1):
        first, last = pattern.column_ptr[j], pattern.column_ptr[j + 1]
        for p in range(first, last):
            i = pattern.rows[p]
            member[i], value[i], total[i] = j, L[p], 0.0
        for p in range(first, last):
            k = pattern.rows[p]
            lk = L[p]
            sum_k = diagonal[k] * lk
            for q in range(pattern.column_ptr[k], pattern.column_ptr[k + 1]):
                i = pattern.rows[q]
                if member[i] == j:
                    total[i] += Z[q] * lk
                    sum_k += Z[q] * value[i]
            total[k] += sum_k
        entry = 1.0 / pivots[j]
        for p in range(first, last):
            i = pattern.rows[p]
            Z[p] = -total[i]
            entry += L[p] * total[i]
        diagonal[j] = entry


@compiled
def find(D_ptr, D_index, i, k):
    """Position of entry (i, k) or (k, i) in the lower triangle; it must be there."""
    row, column = max(i, k), min(i, k)
    low, high = D_ptr[row], D_ptr[row + 1] - 1
    while low < high:
        middle = (low + high) // 2
        if D_index[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def find_all(D_ptr, D_index, rows, columns, positions):
    """`find` for arrays."""
    for q in range(len(rows)):
        positions[q] = find(D_ptr, D_index, rows[q], columns[q])


@compiled
def find_in_factor(D_ptr, D_index, pattern, positions):
    """Position in L of each off-diagonal entry of D, -1 for the diagonal."""
    for i in range(len(D_ptr) - 1):
        q = pattern.row_ptr[i]
        for d in range(D_ptr[i], D_ptr[i + 1] - 1):
            while pattern.row_column[q] != D_index[d]:
                q += 1
            positions[d] = pattern.row_position[q]
        positions[D_ptr[i + 1] - 1] = -1


@compiled
def find_products(D_ptr, D_index, A_indptr, place, first_rows, second_rows, ptr, positions):
    """Positions in D of the products of the entries of two rows; of a row with itself each pair of entries once."""
    for q in range(len(first_rows)):
        i, l = first_rows[q], second_rows[q]
        at = ptr[q]
        for e in range(A_indptr[i], A_indptr[i + 1]):
            if place[e] >= 0:
                for f in range(A_indptr[l], e + 1 if i == l else A_indptr[l + 1]):
                    if place[f] >= 0:
                        positions[at] = find(D_ptr, D_index, place[e], place[f])
                        at += 1


@compiled
def assemble(A, W, layout, D, B):
    """D += A'WA on the sparse part (lower triangle), B += A'WA between the sparse part and the tail."""
    n_eta = len(layout.A_indptr) - 1
    A_indptr, place = layout.A_indptr, layout.place
    for i in range(n_eta):
        at = layout.own_ptr[i]
        for e in range(A_indptr[i], A_indptr[i + 1]):
            if place[e] >= 0:
                wa = W[i] * A[e]
                for f in range(A_indptr[i], A_indptr[i + 1]):
                    if place[f] < 0:
                        B[place[e], -1 - place[f]] += wa * A[f]
                    elif f <= e:
                        D[layout.own[at]] += wa * A[f]
                        at += 1
    for q in range(len(W) - n_eta):
        w, i, l = W[n_eta + q], layout.W_rows[n_eta + q], layout.W_cols[n_eta + q]
        at = layout.pair_ptr[q]
        for e in range(A_indptr[i], A_indptr[i + 1]):
            for f in range(A_indptr[l], A_indptr[l + 1]):
                product = w * A[e] * A[f]
                if place[e] >= 0 and place[f] >= 0:
                    D[layout.pair[at]] += 2.0 * product if place[e] == place[f] else product
                    at += 1
                elif place[e] >= 0:
                    B[place[e], -1 - place[f]] += product
                elif place[f] >= 0:
                    B[place[f], -1 - place[e]] += product


@inlined
def residual(i, A, A_indptr, place, s, R):
    """R = v - s'a of row i, (P,)."""
    n_tail = len(R)
    for j in range(n_tail):
        R[j] = 0.0
    for e in range(A_indptr[i], A_indptr[i + 1]):
        if place[e] < 0:
            R[-1 - place[e]] += A[e]
        else:
            for j in range(n_tail):
                R[j] -= A[e] * s[place[e], j]


@compiled
def add_residuals(A, W, layout, s, T):
    """T += R'WR, lower triangle."""
    n_eta, n_tail = len(layout.A_indptr) - 1, len(T)
    R, R2 = np.empty(n_tail), np.empty(n_tail)
    for i in range(n_eta):
        residual(i, A, layout.A_indptr, layout.place, s, R)
        for j in range(n_tail):
            wr = W[i] * R[j]
            for k in range(j + 1):
                T[j, k] += wr * R[k]
    for p in range(n_eta, len(W)):
        residual(layout.W_rows[p], A, layout.A_indptr, layout.place, s, R)
        residual(layout.W_cols[p], A, layout.A_indptr, layout.place, s, R2)
        for j in range(n_tail):
            for k in range(j + 1):
                T[j, k] += W[p] * (R[j] * R2[k] + R2[j] * R[k])


@inlined
def multiply_tail(K, R, t, other):
    """t = K R; returns t'other."""
    n_tail = len(R)
    for j in range(n_tail):
        t[j] = 0.0
    for k in range(n_tail):
        for j in range(n_tail):
            t[j] += R[k] * K[k, j]
    total = 0.0
    for j in range(n_tail):
        total += t[j] * other[j]
    return total


@inlined
def add_row(i, w, A_indptr, place, s, t, Da, A_out):
    """A_out += w (t on the tail, Da - s t on the sparse part) at the entries of row i."""
    for e in range(A_indptr[i], A_indptr[i + 1]):
        if place[e] < 0:
            A_out[e] += w * t[-1 - place[e]]
        else:
            entry = Da[e - A_indptr[i]]
            for j in range(len(t)):
                entry -= t[j] * s[place[e], j]
            A_out[e] += w * entry


@compiled
def selected_rows(A, W, layout, D_inverse, s, K, W_out, A_out):
    """Entries of A S A' on the pattern of W and of W A S on the pattern of A.

    D_inverse holds the entries of the inverse of the sparse part on the pattern of D, K (P, P) the inverse of the
    tail. With t = K R_i, row i of A S is t on the tail and a'D^-1 - s t on the sparse part. Fills W_out; A_out starts
    at zero.
    """
    A_indptr, place = layout.A_indptr, layout.place
    n_eta, n_tail = len(A_indptr) - 1, len(K)
    R, R2, t, t2 = np.empty(n_tail), np.empty(n_tail), np.empty(n_tail), np.empty(n_tail)
    longest = 1
    for i in range(n_eta):
        longest = max(longest, A_indptr[i + 1] - A_indptr[i])
    Da, Da2 = np.empty(longest), np.empty(longest)  # D^-1 a of one row at the entries of the other
    for i in range(n_eta):
        residual(i, A, A_indptr, place, s, R)
        total = multiply_tail(K, R, t, R)
        start, stop, at = A_indptr[i], A_indptr[i + 1], layout.own_ptr[i]
        Da[: stop - start] = 0.0
        for e in range(start, stop):
            if place[e] >= 0:
                for f in range(start, e + 1):
                    if place[f] >= 0:
                        entry = D_inverse[layout.own[at]]
                        at += 1
                        Da[e - start] += entry * A[f]
                        if e != f:
                            Da[f - start] += entry * A[e]
        for e in range(start, stop):
            if place[e] >= 0:
                total += Da[e - start] * A[e]
        W_out[i] = total
        add_row(i, W[i], A_indptr, place, s, t, Da, A_out)
    for p in range(n_eta, len(W)):
        i, l, at = layout.W_rows[p], layout.W_cols[p], layout.pair_ptr[p - n_eta]
        residual(i, A, A_indptr, place, s, R)
        residual(l, A, A_indptr, place, s, R2)
        multiply_tail(K, R2, t2, R)
        total = multiply_tail(K, R, t, R2)
        start, start2 = A_indptr[i], A_indptr[l]
        Da[:], Da2[:] = 0.0, 0.0
        for e in range(start, A_indptr[i + 1]):
            if place[e] >= 0:
                for f in range(start2, A_indptr[l + 1]):
                    if place[f] >= 0:
                        entry = D_inverse[layout.pair[at]]
                        at += 1
                        Da[f - start2] += entry * A[e]
                        Da2[e - start] += entry * A[f]
                        total += entry * A[e] * A[f]
        W_out[p] = total
        add_row(i, W[p], A_indptr, place, s, t2, Da2, A_out)
        add_row(l, W[p], A_indptr, place, s, t, Da, A_out)
