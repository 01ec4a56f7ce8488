"""Cholesky factors of many small matrices, one covariance per observation, element by element.

PyTensor takes such factors, and their derivatives, one matrix after the other in Python: 0.7 s for the derivatives of a
thousand 2 x 2 matrices. Written out they are a few operations on vectors over observations.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.linalg.decomposition.cholesky import Cholesky

from pymc_inla.analysis.pullback import MAX_PREDICTORS
from pymc_inla.analysis.shapes import static_shape


def write_out_small_factors(expression: Variable) -> Variable:
    """The same expression without Cholesky factors of several matrices of at most `MAX_PREDICTORS` rows."""
    graph = FunctionGraph(outputs=[expression], clone=True, copy_inputs=False, copy_orphans=False)
    for node in graph.toposort():
        if isinstance(node.op, Blockwise) and isinstance(node.op.core_op, Cholesky):
            (matrices,), (factors,) = node.inputs, node.outputs
            *batch, size, _ = static_shape(matrices)
            if np.prod(batch, dtype=int) > 1 and size <= MAX_PREDICTORS:
                written = cholesky_by_element(matrices, size, lower=node.op.core_op.lower)
                graph.replace(factors, factors.type.filter_variable(written), import_missing=True)
    return graph.outputs[0]


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
