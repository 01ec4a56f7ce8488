"""Inverse of a symmetric positive definite matrix from its Cholesky factor."""

import numba
import numpy as np
from scipy import linalg

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

TILE = 64
"""Rows and columns mirrored together, so that both sides stay in the cache"""


def inverse_from_cholesky(L: np.ndarray) -> np.ndarray:
    """(L L')^-1, C-contiguous, for a lower triangular L (n, n) whose upper triangle is not read."""
    # column-major with the lower triangle filled is row-major with the upper triangle filled
    inverse = linalg.lapack.dpotri(L, lower=1)[0].T
    mirror_upper(inverse)
    return inverse


@compiled
def mirror_upper(S):
    """Copy the upper triangle of S onto the lower one."""
    n = len(S)
    for first_row in range(0, n, TILE):
        for first_column in range(first_row, n, TILE):
            for i in range(first_row, min(first_row + TILE, n)):
                for j in range(max(first_column, i + 1), min(first_column + TILE, n)):
                    S[j, i] = S[i, j]
