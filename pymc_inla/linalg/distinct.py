"""Numbers of distinct keys."""

import numpy as np


def number_distinct(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and the number of each key among them, for keys 0..size-1: `numpy.unique` without
    sorting where a table of all possible keys is no longer than the keys."""
    if size > len(keys):
        return np.unique(keys, return_inverse=True)
    present = np.zeros(size, dtype=bool)
    present[keys] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[keys]
