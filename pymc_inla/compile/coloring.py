"""Entries of a sparse matrix from few products with seeds: columns of one color are added up, and every entry is read
where its column is the only one of its color in a row (Curtis, Powell & Reid 1974).

A symmetric matrix needs fewer: an entry may be read in its mirror image (star coloring; Coleman & More 1984). The
common mean of a thousand group effects fills a row, in which no two of them may share a color; read in their own rows,
the mean is one color and the effects are another.
"""

from dataclasses import dataclass

import numpy as np

from pymc_inla.lgm import Pattern


@dataclass(frozen=True)
class Coloring:
    """Seeds, and where the product of a seed shows each entry."""

    seeds: np.ndarray
    """(n_colors, n) indicator vectors of the colors"""
    color: np.ndarray
    """(nnz,) the seed in whose product an entry is read"""
    row: np.ndarray
    """(nnz,) the row in which it is read"""


def color_matrix(pattern: Pattern, blocks) -> Coloring:
    """Seeds of any matrix (m, n), by columns that share no row.

    Parameters
    ----------
    pattern : Pattern (m, n)
    blocks : list of (start, stop)
        Columns that are tried as one color first: whole variables.
    """
    colors = _color_columns(pattern.rows, pattern.indices, *pattern.shape, blocks)
    return Coloring(_seeds(colors), colors[pattern.indices], pattern.rows)


def color_symmetric(pattern: Pattern, blocks) -> Coloring:
    """Seeds of a symmetric matrix (n, n) whose pattern has its full diagonal.

    Parameters
    ----------
    pattern : Pattern (n, n)
    blocks : list of (start, stop)
        Whole variables. Their columns are colored within themselves first; then each of these classes gets the first
        color, of those that the variable has not used, with which every entry can still be read.
    """
    rows, columns = pattern.rows, pattern.indices
    mirror = np.argsort(columns, kind="stable")
    colors, n_colors = np.full(pattern.shape[1], -1), 0
    for start, stop in blocks:
        free = list(range(n_colors))
        for members in _classes(pattern, start, stop):
            for color in [*free, n_colors] if len(members) > 1 else free:
                colors[members] = color
                if _readable(rows, columns, mirror, colors):
                    break
            else:
                # a column of its own color is alone in every row
                colors[members] = n_colors + np.arange(len(members))
            free = [color for color in free if color != colors[members[0]]]
            n_colors = max(n_colors, int(colors[members].max()) + 1)
    here = _alone(rows, columns, colors)
    return Coloring(_seeds(colors), np.where(here, colors[columns], colors[rows]), np.where(here, rows, columns))


def _classes(pattern: Pattern, start: int, stop: int) -> list[np.ndarray]:
    """Columns of a block that share no row of it."""
    n = stop - start
    entries = slice(*np.searchsorted(pattern.rows, [start, stop]))
    rows, columns = pattern.rows[entries] - start, pattern.indices[entries] - start
    own = (columns >= 0) & (columns < n)
    colors = _color_columns(rows[own], columns[own], n, n, [(0, n)])
    return [start + np.flatnonzero(colors == color) for color in range(colors.max(initial=-1) + 1)]


def _alone(rows, columns, colors) -> np.ndarray:
    """(nnz,) whether an entry's column is the only one of its color in its row; without color: whether it is not met"""
    cell = rows * (colors.max(initial=-1) + 2) + colors[columns] + 1
    return np.bincount(cell)[cell] == 1


def _readable(rows, columns, mirror, colors) -> bool:
    """Whether every entry between colored columns can be read, there or in its mirror image."""
    alone = _alone(rows, columns, colors)
    pending = (colors[rows] < 0) | (colors[columns] < 0)
    return bool(np.all(alone | alone[mirror] | pending))


def _color_columns(rows, columns, n_rows: int, n_columns: int, blocks) -> np.ndarray:
    """Color of each column, so that no row meets two columns of one color."""
    colors = np.full(n_columns, -1)
    order = np.argsort(columns, kind="stable")
    rows_by_column = rows[order]
    starts = np.searchsorted(columns[order], np.arange(n_columns + 1))
    used: list[np.ndarray] = []  # per color: which rows are taken

    def place(members, member_rows) -> bool:
        if len(np.unique(member_rows)) < len(member_rows):
            return False
        for color, taken in enumerate(used):
            if not taken[member_rows].any():
                taken[member_rows] = True
                colors[members] = color
                return True
        taken = np.zeros(n_rows, bool)
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


def _seeds(colors: np.ndarray) -> np.ndarray:
    return (colors[None, :] == np.arange(colors.max(initial=-1) + 1)[:, None]).astype(float)
