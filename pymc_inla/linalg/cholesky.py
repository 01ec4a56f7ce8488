"""Inverse of a symmetric positive definite matrix from its Cholesky factor."""

import numba
import numpy as np
from scipy import linalg

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

TILE = 64
"""Rows and columns mirrored together, so that both sides stay in the cache"""


def inverse_from_cholesky(L: np.ndarray) -> np.ndarray:
    """(L L')^-1, C-contiguous, for a lower triangular L (n, n) whose upper triangle is not read."""
    # column-major, only the lower triangle filled
    inverse = linalg.lapack.dpotri(L, lower=1)[0]
    mirror_lower(inverse)
    return inverse.T


@compiled
def mirror_lower(S):
    """Copy the lower triangle of S onto the upper one."""
    n = len(S)
    for first_row in range(0, n, TILE):
        for first_column in range(0, first_row + 1, TILE):
            for i in range(first_row, min(first_row + TILE, n)):
                for j in range(first_column, min(first_column + TILE, i)):
                    S[j, i] = S[i, j]
