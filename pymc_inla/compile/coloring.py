"""Entries of a sparse matrix from few products (Curtis, Powell & Reid 1974): columns that share no row share a seed.

A group effect is one color, a coefficient vector with a dense design is as many colors as coefficients.
"""

import numpy as np

from pymc_inla.lgm import Pattern


def color_columns(pattern: Pattern, blocks) -> np.ndarray:
    """Color of each column, so that no row meets two columns of one color.

    Parameters
    ----------
    pattern : Pattern (m, n)
    blocks : list of (start, stop)
        Columns that are tried as one color first: whole variables.
    """
    colors = np.full(pattern.shape[1], -1)
    rows, columns = pattern.rows, pattern.indices
    order = np.argsort(columns, kind="stable")
    rows_by_column = rows[order]
    starts = np.searchsorted(columns[order], np.arange(pattern.shape[1] + 1))
    used: list[np.ndarray] = []  # per color: which rows are taken

    def place(members, member_rows) -> bool:
        if len(np.unique(member_rows)) < len(member_rows):
            return False
        for color, taken in enumerate(used):
            if not taken[member_rows].any():
                taken[member_rows] = True
                colors[members] = color
                return True
        taken = np.zeros(pattern.shape[0], bool)
        taken[member_rows] = True
        used.append(taken)
        colors[members] = len(used) - 1
        return True

    for start, stop in blocks:
        members = np.arange(start, stop)
        if not place(members, rows_by_column[starts[start] : starts[stop]]):
            for k in members:
                place(np.array([k]), rows_by_column[starts[k] : starts[k + 1]])
    return colors


def seeds(colors: np.ndarray) -> np.ndarray:
    """(n_colors, n) indicator vectors of the colors."""
    return (colors[None, :] == np.arange(colors.max(initial=-1) + 1)[:, None]).astype(float)
