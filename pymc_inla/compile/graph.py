"""Reading graphs, which elementwise operation makes a variable and which constant it is, and replacing nodes."""

from collections.abc import Callable

import numpy as np
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.basic import Alloc, get_underlying_scalar_constant_value
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.exceptions import NotScalarConstantError
from pytensor.tensor.shape import Reshape
from pytensor.tensor.variable import TensorConstant


def is_elementwise(node, scalar_op) -> bool:
    """Whether a node is this elementwise operation (a class, or a tuple of them)."""
    return node is not None and isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, scalar_op)


def constant_number(variable: Variable) -> float | None:
    """The number that all elements of a variable are, in any shape; None where they differ or depend on inputs."""
    while variable.owner is not None and isinstance(variable.owner.op, DimShuffle | Reshape | Alloc):
        variable = variable.owner.inputs[0]
    if isinstance(variable, TensorConstant) and variable.data.size > 1:
        first = variable.data.flat[0]
        return float(first) if np.all(variable.data == first) else None
    try:
        return float(get_underlying_scalar_constant_value(variable))
    except NotScalarConstantError:
        return None


def replace_nodes(outputs: list[Variable], *rules: Callable[[Apply], Variable | None]) -> list[Variable]:
    """The same expressions with the results of nodes replaced by what the rules, one after the other, say of them.

    A rule sees what was made of the inputs of a node, and says None of a node that stays.
    """
    graph = FunctionGraph(outputs=outputs, clone=True, copy_inputs=False)
    for rule in rules:
        for node in graph.toposort():
            if (new := rule(node)) is not None:
                (out,) = node.outputs
                graph.replace(out, out.type.filter_variable(new.astype(out.dtype)), import_missing=True)
    return list(graph.outputs)
