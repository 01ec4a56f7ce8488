"""Compiled passes over the data for scalar local latents next to a few shared ones (see `plates`)."""

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@compiled
def eliminate(W, rows, row_ptr, a, V, precision, cross, T, D, s):
    """Eliminate every local latent.

    Parameters
    ----------
    W : values of the diagonal of W
    rows : (n_eta,) row of A of each sorted row
    row_ptr : (n_L + 1,) first sorted row of each local latent; rows from the last on touch none
    a : (n_eta,) entry of each sorted row on its local latent
    V : (n_eta, P) its entries on the tail
    precision : (n_L,) diagonal of Q on the local latents
    cross : (n_L, P) what Q and the constraints tie to the tail
    T : (P, P) holds the tail's own entries of Q; the lower triangle becomes the Schur complement
    D : (n_L,) filled with the pivots
    s : (n_L, P) filled with D^-1 B

    Returns
    -------
    float
        Sum of log D, NaN if one is not positive.
    """
    n_L, P = cross.shape
    log_determinant = 0.0
    t, R = np.zeros((P, P)), np.empty(P)
    for g in range(n_L):
        pivot = precision[g]
        sg, qg = s[g], cross[g]
        for j in range(P):
            sg[j] = qg[j]
        for k in range(row_ptr[g], row_ptr[g + 1]):
            wa = W[rows[k]] * a[k]
            pivot += wa * a[k]
            for j in range(P):
                sg[j] += wa * V[k, j]
        if not (pivot > 0.0 and pivot < np.inf):
            return np.nan
        D[g] = pivot
        log_determinant += np.log(pivot)
        for j in range(P):
            sg[j] /= pivot
        # [-s; I]' Q [-s; I]
        for j in range(P):
            for l in range(j + 1):
                t[j, l] += precision[g] * sg[j] * sg[l] - sg[j] * qg[l] - qg[j] * sg[l]
        for k in range(row_ptr[g], row_ptr[g + 1]):
            w = W[rows[k]]
            for j in range(P):
                R[j] = V[k, j] - sg[j] * a[k]
            for j in range(P):
                wr = w * R[j]
                for l in range(j + 1):
                    t[j, l] += wr * R[l]
    for k in range(row_ptr[n_L], len(rows)):
        w = W[rows[k]]
        for j in range(P):
            wv = w * V[k, j]
            for l in range(j + 1):
                t[j, l] += wv * V[k, l]
    for j in range(P):
        for l in range(j + 1):
            T[j, l] += t[j, l]
    return log_determinant


@compiled
def variance_of_rows(rows, row_ptr, a, V, D, s, K, out):
    """diag(A S A'): a^2 / D + R'K R with R = v - s a, in the original order of the rows."""
    n_L, P = s.shape
    R, nothing = np.empty(P), np.zeros(P)
    for g in range(n_L + 1):
        sg = s[g] if g < n_L else nothing
        last = row_ptr[g + 1] if g < n_L else len(rows)
        for k in range(row_ptr[g], last):
            total = a[k] * a[k] / D[g] if g < n_L else 0.0
            for j in range(P):
                R[j] = V[k, j] - sg[j] * a[k]
            for j in range(P):
                inner = 0.0
                for l in range(j):
                    inner += K[j, l] * R[l]
                total += R[j] * (2.0 * inner + K[j, j] * R[j])
            out[rows[k]] = total


@compiled
def rows_of_AS(W, rows, row_ptr, starts, slot_ptr, slot, a, V, D, s, K, out):
    """W A S on the pattern of A: t = K R on the tail and a / D - t's on the local latent."""
    n_L, P = s.shape
    R, t, nothing = np.empty(P), np.empty(P), np.zeros(P)
    for g in range(n_L + 1):
        sg = s[g] if g < n_L else nothing
        last = row_ptr[g + 1] if g < n_L else len(rows)
        for k in range(row_ptr[g], last):
            w = W[rows[k]]
            own = a[k] / D[g] if g < n_L else 0.0
            for j in range(P):
                R[j] = V[k, j] - sg[j] * a[k]
            for j in range(P):
                t[j] = 0.0
                for l in range(P):
                    t[j] += K[j, l] * R[l]
                own -= t[j] * sg[j]
            for q in range(slot_ptr[k], slot_ptr[k + 1]):
                j = slot[q]
                out[starts[k] + q - slot_ptr[k]] = w * (own if j < 0 else t[j])


@compiled
def scatter_rows(A, starts, slot_ptr, slot, a, V):
    """Entries of A as dense sorted rows: slot -1 is the local latent, others the tail. a and V start at zero."""
    for k in range(len(a)):
        for q in range(slot_ptr[k], slot_ptr[k + 1]):
            value = A[starts[k] + q - slot_ptr[k]]
            if slot[q] < 0:
                a[k] = value
            else:
                V[k, slot[q]] = value


@compiled
def draw_local(x, local, D, s, y):
    """In place: standard normals on the local latents of each row of x, (m, n_x), to draws given y, (m, P)."""
    P = s.shape[1]
    root = 1.0 / np.sqrt(D)
    for d in range(len(x)):
        for g in range(len(local)):
            value = root[g] * x[d, local[g]]
            for j in range(P):
                value -= s[g, j] * y[d, j]
            x[d, local[g]] = value
