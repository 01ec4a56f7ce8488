"""What all Cholesky factors need: the inverse of the matrix, and whether its pivots are more than rounding."""

import numpy as np
from scipy import linalg

SMALL = 100
"""Rows up to which a copy of the matrix costs nothing"""
LOST = 1e-13
"""Share of the diagonal entry it is what was left of, below which a pivot has fewer than three digits"""


def lost_in_rounding(pivots: np.ndarray, diagonal: np.ndarray) -> bool:
    """Whether a pivot (n,) is mostly rounding: that small beside its diagonal entry (n,) before the elimination.

    A latent whose mean is another latent has a prior precision 1/sigma^2 that the elimination of all latents of this
    mean takes back from it; at sigma = 1e-8 of the rest nothing is left of what the data say.
    """
    return bool(np.any(pivots < LOST * diagonal))


def is_positive_definite(A: np.ndarray) -> bool:
    """Whether a symmetric matrix (n, n) is."""
    try:
        linalg.cholesky(A, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return False
    return True


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
