"""Choice of the solver for H = Q + A'WA under C x = e."""

import numpy as np

from pymc_inla.errors import InvalidOptionError
from pymc_inla.lgm import Pattern
from pymc_inla.linalg.constraints import independent_rows
from pymc_inla.linalg.dense import DenseSystem
from pymc_inla.linalg.partition import choose_local
from pymc_inla.linalg.system import System

SOLVERS = ("auto", "dense", "elimination", "sparse")


def build_system(
    Q_pattern: Pattern, A_pattern: Pattern, W_rows: np.ndarray, W_cols: np.ndarray, C, e, *, solver: str = "auto"
) -> System:
    """Analyze the patterns of H = Q + A'WA once and return the solver for them.

    Parameters
    ----------
    Q_pattern : Pattern, (n_x, n_x)
        Both triangles, full diagonal stored.
    A_pattern : Pattern, (n_eta, n_x)
    W_rows, W_cols : (n_W,) int
        Positions of W: first the n_eta diagonal entries, then pairs W_rows < W_cols (each stands for both triangles).
    C : sparse, (k, n_x)
        Hard constraints; redundant rows are removed.
    e : (k,)
    solver : {"auto", "dense", "elimination", "sparse"}

    Returns
    -------
    System

    Raises
    ------
    InvalidOptionError
        If `solver` is unknown.
    InvalidDataError
        If the constraints contradict each other.
    """
    if solver not in SOLVERS:
        raise InvalidOptionError(f"solver={solver!r} is unknown. Allowed: {', '.join(SOLVERS)}.")
    C, e = independent_rows(C, e)
    if solver == "elimination":
        from pymc_inla.linalg.elimination import EliminationSystem

        partition = choose_local(Q_pattern, A_pattern, W_rows, W_cols, C)
        return EliminationSystem(Q_pattern, A_pattern, W_rows, W_cols, C, e, partition)
    if solver == "sparse":
        from pymc_inla.linalg.sparse import SparseSystem

        return SparseSystem(Q_pattern, A_pattern, W_rows, W_cols, C, e)
    return DenseSystem(Q_pattern, A_pattern, np.asarray(W_rows), np.asarray(W_cols), C, e)
