"""Cholesky factors of many small matrices, and triangular systems of many small right-hand sides, element by element.

PyTensor takes them, and their derivatives, one after the other in Python: 0.7 s for the derivatives of the factors of a
thousand 2 x 2 matrices, 0.05 s for those of 300 correlated pairs in the entries of one. Written out they are a few
operations on vectors over observations or groups.
"""

from collections.abc import Callable

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.linalg.decomposition.cholesky import Cholesky
from pytensor.tensor.linalg.solvers.triangular import SolveTriangular

from pymc_inla.analysis.pullback import MAX_PREDICTORS
from pymc_inla.analysis.shapes import static_shape


def write_out_small_factors(expression: Variable) -> Variable:
    """The same expression without Cholesky factors of several matrices of at most `MAX_PREDICTORS` rows."""
    return _write_out(expression, _factor_by_element)


def write_out_small_solves(expression: Variable) -> Variable:
    """The same expression without triangular systems of several right-hand sides of at most `MAX_PREDICTORS` rows."""
    return _write_out(expression, _solution_by_element)


def _write_out(expression: Variable, by_element: Callable[[Apply], Variable | None]) -> Variable:
    graph = FunctionGraph(outputs=[expression], clone=True, copy_inputs=False, copy_orphans=False)
    for node in graph.toposort():
        written = by_element(node) if isinstance(node.op, Blockwise) else None
        if written is not None:
            (old,) = node.outputs
            graph.replace(old, old.type.filter_variable(written), import_missing=True)
    return graph.outputs[0]


def _factor_by_element(node: Apply) -> Variable | None:
    """Other operations, one matrix and large ones stay."""
    core = node.op.core_op
    if not isinstance(core, Cholesky):
        return None
    (matrices,) = node.inputs
    *batch, size, _ = static_shape(matrices)
    if np.prod(batch, dtype=int) == 1 or size > MAX_PREDICTORS:
        return None
    return cholesky_by_element(matrices, size, lower=core.lower)


def _solution_by_element(node: Apply) -> Variable | None:
    """Other operations, one right-hand side, those that are matrices and large ones stay."""
    core = node.op.core_op
    if not (isinstance(core, SolveTriangular) and core.b_ndim == 1):
        return None
    *batch, size = static_shape(node.outputs[0])
    if np.prod(batch, dtype=int) == 1 or size > MAX_PREDICTORS:
        return None
    return solve_by_element(*node.inputs, size, lower=core.lower, unit_diagonal=core.unit_diagonal)


def cholesky_by_element(matrices: Variable, size: int, *, lower: bool = True) -> Variable:
    """Cholesky factors of (..., size, size) matrices, of which the lower (or upper) triangle is read: NaN where one of
    them is not positive definite."""
    zero = pt.zeros_like(matrices[..., 0, 0])
    factor = {}
    for j in range(size):
        for i in range(j, size):
            rest = matrices[..., i, j] if lower else matrices[..., j, i]
            for k in range(j):
                rest = rest - factor[i, k] * factor[j, k]
            factor[i, j] = pt.sqrt(rest) if i == j else rest / factor[j, j]
    cells = range(size)
    rows = [[factor.get((i, j) if lower else (j, i), zero) for j in cells] for i in cells]
    return pt.stack([pt.stack(row, axis=-1) for row in rows], axis=-2)


def solve_by_element(
    matrices: Variable, b: Variable, size: int, *, lower: bool = True, unit_diagonal: bool = False
) -> Variable:
    """x with M x = b for triangular (..., size, size) matrices M and vectors b (..., size)."""
    solved = {}
    for i in range(size) if lower else reversed(range(size)):
        rest = b[..., i]
        for j in solved:
            rest = rest - matrices[..., i, j] * solved[j]
        solved[i] = rest if unit_diagonal else rest / matrices[..., i, i]
    return pt.stack([solved[i] for i in range(size)], axis=-1)
