"""Checks of parameters, observation by observation.

PyMC asks whether all parameters of a likelihood are possible (0 < p < 1), once for all observations. Where one linear
predictor is so far out that its parameter rounds to a bound, only its own observation is impossible.
"""

from functools import reduce

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.utils import CheckParameterValue
from pytensor.graph.basic import Variable
from pytensor.tensor.basic import MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.math import All

from pymc_inla.compile.graph import replace_nodes


def check_each(log_density: Variable) -> Variable:
    """The same log density with checks that apply to each element by itself. Those whose shape does not say which
    element they belong to stay as they are."""
    return replace_nodes([log_density], _each)[0]


def _each(node) -> Variable | None:
    if not (isinstance(node.op, CheckParameterValue) and node.op.can_be_replaced_by_ninf):
        return None
    value, *conditions = node.inputs
    each = [_of_elements(part, value) for condition in conditions for part in _parts(condition)]
    if any(condition is None for condition in each):
        return None
    return pt.switch(reduce(pt.and_, each), value, -np.inf)


def _parts(condition: Variable) -> list[Variable]:
    """The conditions that have to hold everywhere for this one to hold."""
    node = condition.owner
    if node is not None and isinstance(node.op, ScalarFromTensor | TensorFromScalar):
        return _parts(node.inputs[0])
    if node is not None and isinstance(node.op, MakeVector):
        return [part for single in node.inputs for part in _parts(single)]
    if node is not None and isinstance(node.op, All) and node.op.axis is None:
        return _parts(node.inputs[0])
    return [condition]


def _of_elements(condition: Variable, value: Variable) -> Variable | None:
    """The condition for each element of the value, by shapes that are known; None where they do not match. A last axis
    more is one of categories, such as the weights of a mixture."""
    shape, of_value = condition.type.shape, value.type.shape
    if len(shape) == len(of_value) + 1:
        condition, shape = pt.all(condition, axis=-1), shape[:-1]
    if len(shape) > len(of_value):
        return None
    pairs = zip(shape[::-1], of_value[::-1], strict=False)
    return condition if all(n == 1 or (n is not None and n == m) for n, m in pairs) else None
