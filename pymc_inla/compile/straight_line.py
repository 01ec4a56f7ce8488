"""Functions of small data as straight lines of NumPy calls.

PyTensor's interpreter spends ten times what a NumPy call on a few hundred numbers takes on the checks around it:
shapes, types and error states of every operation. The graphs of this package have known shapes; they are walked once,
into a list of plain calls.
"""

from threading import RLock

import numpy as np
from pytensor.graph.op import HasInnerGraph
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.type import TensorType

PYTENSOR = RLock()
"""Held while functions and operations of PyTensor run, which keep inputs and outputs in storage that threads share"""


class StraightLine:
    """The graph of a function that PyTensor's interpreter would run, with the same values."""

    def __init__(self, function):
        graph = function.maker.fgraph
        self.single = function.unpack_single
        slots, self.values = {}, []

        def slot(variable):
            if variable not in slots:
                slots[variable] = len(self.values)
                self.values.append(getattr(variable, "data", None))
            return slots[variable]

        self.inputs = [slot(variable) for variable in graph.inputs]
        self.nodes = graph.toposort()
        self.steps = []
        for node in self.nodes:
            sources = [slot(variable) for variable in node.inputs]
            self.steps.append((_call(node), sources, [slot(variable) for variable in node.outputs], []))
        self.outputs = [(slot(variable), _is_array(variable)) for variable in graph.outputs]
        # memory that is let go where a value is not needed any more is used again while it is in the cache
        needed = {at for at, _ in self.outputs}
        for _, sources, targets, done in reversed(self.steps):
            done += set(sources + targets) - needed
            needed.update(sources + targets)

    def __call__(self, *arguments):
        values = self.values.copy()
        for at, argument in zip(self.inputs, arguments, strict=True):
            values[at] = argument
        with np.errstate(all="ignore"):
            for call, sources, targets, done in self.steps:
                result = call(*[values[at] for at in sources])
                if len(targets) == 1:
                    values[targets[0]] = result
                else:
                    for at, value in zip(targets, result, strict=True):
                        values[at] = value
                for at in done:
                    values[at] = None
        found = [np.asarray(values[at]) if array else values[at] for at, array in self.outputs]
        return found[0] if self.single else found


def as_straight_line(function):
    """The function as a straight line, or as it is where its graph has inner graphs, state or works in place."""
    nodes = function.maker.fgraph.toposort()
    # `IfElse`, whose module has moved between releases of PyTensor, evaluates one of its branches only
    plain = not any(
        isinstance(node.op, HasInnerGraph) or type(node.op).__name__ == "IfElse" or node.op.destroy_map
        for node in nodes
    )
    stateless = not any(i.implicit or i.update is not None for i in function.maker.inputs)
    return StraightLine(function) if plain and stateless else function


def _call(node):
    """What computes the outputs of a node from the values of its inputs."""
    op = node.op
    if isinstance(op, Elemwise) and len(node.outputs) == 1:
        return _elementwise(node)
    if isinstance(op, DimShuffle):
        return _shuffle(op)
    arrays = [_is_array(variable) for variable in node.inputs]

    def perform(*inputs):
        storage = [[None] for _ in node.outputs]
        with PYTENSOR:
            op.perform(node, [np.asarray(v) if a else v for v, a in zip(inputs, arrays, strict=True)], storage)
        return storage[0][0] if len(storage) == 1 else [cell[0] for cell in storage]

    return perform


def _is_array(variable) -> bool:
    # the type of sparse matrices is derived from that of tensors
    return isinstance(variable.type, TensorType) and not hasattr(variable.type, "format")


def _elementwise(node):
    op, dtype = node.op, np.dtype(node.outputs[0].dtype)
    if op.nfunc and len(node.inputs) == op.nfunc_spec[1]:
        ufunc, sig = op.nfunc, getattr(node.tag, "sig", None)
    else:
        ufunc, sig = op.ufunc or node.tag.ufunc, None
    if sig is not None:
        return lambda *inputs: np.asarray(ufunc(*inputs, sig=sig), dtype=dtype)
    if isinstance(ufunc, np.ufunc) and _result_type(ufunc, node.inputs) == dtype:
        return ufunc
    return lambda *inputs: np.asarray(ufunc(*inputs), dtype=dtype)


def _result_type(ufunc, inputs):
    """What NumPy makes of arguments of these types by itself, None where it has no loop for them."""
    try:
        return ufunc.resolve_dtypes((*(np.dtype(v.dtype) for v in inputs), *[None] * ufunc.nout))[-1]
    except TypeError:
        return None


def _shuffle(op):
    transposition, kept, augment = op._transposition, len(op.shuffle), op.augment

    def shuffle(x):
        x = np.asarray(x).transpose(transposition)
        shape = list(x.shape[:kept])
        for axis in augment:
            shape.insert(axis, 1)
        return x.reshape(shape)

    return shuffle
