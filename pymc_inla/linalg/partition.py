"""Local latents: those conditionally independent, in small blocks, given all the others."""

from dataclasses import dataclass

import numpy as np

from pymc_inla.lgm import Pattern


@dataclass(frozen=True)
class Partition:
    """Split of x into local blocks and the rest."""

    local_blocks: np.ndarray
    """(n_blocks, b) int, indices into x; b is 1, 2 or 3; (0, 1) if there is no local set"""
    shared: np.ndarray
    """(n_shared,) int, the other indices, increasing"""


def choose_local(Q_pattern: Pattern, A_pattern: Pattern, W_rows, W_cols, C) -> Partition:
    """The local latents."""
    return Partition(np.empty((0, 1), dtype=np.int64), np.arange(A_pattern.shape[1]))
