"""Shapes and flat indexing of variables of a frozen model."""

import numpy as np
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import Variable


def static_shape(variable: Variable) -> tuple[int, ...]:
    """Shape as integers, by constant folding where the type does not know it."""
    shape = variable.type.shape
    if None in shape:
        shape = constant_fold(tuple(variable.shape))
    return tuple(int(s) for s in shape)


def take(variable: Variable, index: np.ndarray) -> Variable:
    """Elements of a variable by flat position, as a vector; the identity costs nothing."""
    flat = variable.flatten() if variable.ndim != 1 else variable
    size = int(np.prod(static_shape(variable), dtype=int))
    if len(index) == size and np.array_equal(index, np.arange(size)):
        return flat
    return flat[index]
