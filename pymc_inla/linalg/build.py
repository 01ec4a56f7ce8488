"""Choice of the solver for H = Q + A'WA under C x = e.

The compiled solvers are imported where they are chosen, so that small problems never wait for Numba.
"""

import numpy as np
from scipy import sparse

from pymc_inla.errors import InvalidOptionError
from pymc_inla.lgm import Pattern
from pymc_inla.linalg.constraints import independent_rows
from pymc_inla.linalg.dense import SPARSE_COST, DenseSystem
from pymc_inla.linalg.partition import Partition, choose_local
from pymc_inla.linalg.system import System

SOLVERS = ("auto", "dense", "plates", "elimination", "sparse")
SMALL = 3e7
"""Multiplications up to which the dense solver is taken without further thought: some milliseconds."""
LOOP_COST = 10.0
"""Cost of a multiplication in a compiled loop, in multiplications of BLAS (measured)."""
MAX_REMAINDER = 6000
"""Shared latents that a dense remainder may have: 288 MB."""
MAX_DENSE_TAIL = 24
"""Unknowns of the tail up to which rows of A are held dense on it."""
FEW = 100
"""Shared latents so few that their dense matrix costs next to nothing."""


def build_system(
    Q_pattern: Pattern,
    A_pattern: Pattern,
    W_rows: np.ndarray,
    W_cols: np.ndarray,
    C,
    e,
    *,
    solver: str = "auto",
    partition: Partition | None = None,
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
    solver : {"auto", "dense", "plates", "elimination", "sparse"}
    partition : Partition, optional
        From `choose_local`, where it is known.

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
    W_rows, W_cols = np.asarray(W_rows), np.asarray(W_cols)
    patterns = Q_pattern, A_pattern, W_rows, W_cols, C, e
    if solver == "dense" or (solver == "auto" and dense_cost(A_pattern) <= SMALL):
        return DenseSystem(*patterns)
    if solver == "sparse":
        return _sparse(patterns)
    partition = partition or choose_local(Q_pattern, A_pattern, W_rows, W_cols, C)
    if solver == "plates" and not scalars(partition, A_pattern, len(W_rows)):
        raise InvalidOptionError("solver='plates' needs scalar local latents and one predictor per observation.")
    if solver == "plates":
        return _plates(patterns, partition)
    if solver == "elimination":
        return _elimination(patterns, partition)
    if rows_are_dense(partition, A_pattern, len(W_rows), len(e)):
        return _plates(patterns, partition)
    return _cheapest(patterns, partition)


def dense_cost(A_pattern: Pattern) -> float:
    """Multiplications of one factorization, inverse and assembly in the dense solver."""
    n_eta, n_x = A_pattern.shape
    products = float(np.sum(np.diff(A_pattern.indptr).astype(float) ** 2))
    return float(n_x) ** 3 + min(float(n_eta) * n_x**2, SPARSE_COST * products)


def scalars(partition: Partition, A_pattern: Pattern, n_W: int) -> bool:
    """Whether the local blocks are scalars and every observation has one predictor."""
    return partition.local_blocks.size > 0 and partition.local_blocks.shape[1] == 1 and n_W == A_pattern.shape[0]


def rows_are_dense(partition: Partition, A_pattern: Pattern, n_W: int, n_constraints: int) -> bool:
    """Whether the tail beside scalar local latents is so small that dense rows cost no more than sparse ones."""
    entries = max(A_pattern.nnz / max(A_pattern.shape[0], 1) - 1.0, 1.0)
    tail = len(partition.shared) + n_constraints
    return scalars(partition, A_pattern, n_W) and tail <= min(MAX_DENSE_TAIL, 4 + 3 * entries)


def _cheapest(patterns, partition: Partition) -> System:
    """The solver with the fewest estimated multiplications, those of compiled loops counted ten times: BLAS is that
    much faster. Ordering by minimum degree is spared where elimination of the local blocks leaves a nearly full matrix
    or hardly anything, because nothing can be gained by it then."""
    A_pattern = patterns[1]
    candidates: list[tuple[float, System]] = [(dense_cost(A_pattern), DenseSystem(*patterns))]
    if len(partition.local_blocks) and len(partition.shared) <= MAX_REMAINDER:
        elimination = _elimination(patterns, partition)
        candidates.append((_elimination_cost(elimination), elimination))
        if elimination.n_tail <= FEW or _remainder_is_full(elimination):
            return min(candidates, key=lambda candidate: candidate[0])[1]
    sparse_system = _sparse(patterns)
    candidates.append((_sparse_cost(sparse_system), sparse_system))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _elimination_cost(system) -> float:
    layout = system.layout
    touched = np.diff(layout.J_ptr).astype(float)
    return float(system.n_tail) ** 3 + LOOP_COST * 2.0 * float(np.sum(np.diff(layout.row_ptr) * touched**2))


def _sparse_cost(system) -> float:
    column = np.diff(system.pattern.column_ptr).astype(float)
    rows, tail = float(system.A_pattern.shape[0]), float(system.n_tail)
    return tail**3 + LOOP_COST * (2.5 * float(np.sum(column**2)) + 2.0 * rows * tail**2 + 4.0 * len(system.layout.own))


def _remainder_is_full(system) -> bool:
    """Whether more than a third of the remainder is filled in by the elimination."""
    layout, P = system.layout, system.n_tail
    if float(np.sum(np.diff(layout.J_ptr).astype(float) ** 2)) > 20.0 * P * P:
        return True  # as good as certain, and the product below would be expensive
    shape = (len(layout.J_ptr) - 1, P)
    incidence = sparse.csr_array((np.ones(len(layout.J), dtype=np.float32), layout.J, layout.J_ptr), shape=shape)
    return (incidence.T @ incidence).nnz > P * P / 3


def _elimination(patterns, partition: Partition) -> System:
    from pymc_inla.linalg.elimination import EliminationSystem

    return EliminationSystem(*patterns, partition)


def _plates(patterns, partition: Partition) -> System:
    from pymc_inla.linalg.plates import PlateSystem

    Q_pattern, A_pattern, _, _, C, e = patterns
    return PlateSystem(Q_pattern, A_pattern, C, e, partition)


def _sparse(patterns) -> System:
    from pymc_inla.linalg.sparse import SparseSystem

    return SparseSystem(*patterns)
