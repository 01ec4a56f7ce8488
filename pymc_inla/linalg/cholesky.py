"""Inverse of a symmetric positive definite matrix from its Cholesky factor."""

import numpy as np
from scipy import linalg

SMALL = 100
"""Rows up to which a copy of the matrix costs nothing"""


def inverse_from_cholesky(L: np.ndarray) -> np.ndarray:
    """(L L')^-1, C-contiguous, for a lower triangular L (n, n) whose upper triangle is not read."""
    # column-major, only the lower triangle filled
    inverse = linalg.lapack.dpotri(L, lower=1)[0]
    mirror_lower(inverse)
    return inverse.T


def mirror_lower(S: np.ndarray) -> None:
    """Copy the lower triangle of S onto the upper one."""
    if len(S) <= SMALL:
        S[...] = np.tril(S) + np.tril(S, -1).T
        return
    from pymc_inla.linalg.block_kernels import mirror_tiles

    mirror_tiles(S)
