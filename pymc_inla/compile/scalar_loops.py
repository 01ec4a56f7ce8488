"""Loops of scalars, run for all elements of arrays side by side.

PyTensor writes derivatives in shape parameters (of `betainc` and `gammainc`) as series or continued fractions that each
element sums for itself until it has converged. Its interpreter calls a Python function per element, term and operation:
seconds for the derivative of a hundred observations. Here the operations of one term are NumPy calls on all elements
that have not converged yet.

Only for graphs that run through NumPy: compiled code has loops of its own.
"""

from functools import lru_cache

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter, walking_rewriter
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise

from pymc_inla.compile.straight_line import as_straight_line
from pymc_inla.compile.ufuncs import use_ufuncs


class ArrayLoop(Op):
    """`Elemwise` of a `ScalarLoop`, with the same values."""

    __props__ = ("loop",)

    def __init__(self, loop: ScalarLoop):
        self.loop, self.step = loop, _step(loop.fgraph)

    def make_node(self, *inputs):
        same = Elemwise(self.loop).make_node(*inputs)
        return Apply(self, same.inputs, [out.type() for out in same.outputs])

    def perform(self, node, inputs, output_storage):
        shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        n_steps, *vectors = (np.broadcast_to(x, shape).ravel() for x in inputs)
        for storage, out in zip(output_storage, self.run(n_steps, vectors), strict=True):
            storage[0] = out.reshape(shape)

    def run(self, n_steps, vectors) -> list[np.ndarray]:
        """Iterate each element until it says so, at most `n_steps` times.

        Parameters
        ----------
        n_steps : (n,) integer array
        vectors : list of (n,) arrays
            The states at the start, then what stays constant

        Returns
        -------
        list of (n,) arrays
            The states, and whether `until` was reached if the loop has one
        """
        if not self.loop.is_while and np.any(n_steps < 0):
            raise ValueError("ScalarLoop does not have a termination condition.")
        n_states = self.loop.nout - self.loop.is_while
        results = [np.array(state) for state in vectors[:n_states]]
        if self.loop.is_while:
            results.append(np.zeros(n_steps.shape, bool))
        running = n_steps > 0
        if self.loop.is_while:
            # no comparison with NaN says until: 100 000 terms to say NaN
            undefined = running & np.any([np.isnan(v) for v in vectors], axis=0)
            for state in results[:n_states]:
                if state.dtype.kind == "f":
                    state[undefined] = np.nan
            running &= ~undefined
        running = np.flatnonzero(running)
        left, vectors = n_steps[running], [v[running] for v in vectors]
        while running.size:
            outcome = self.step(*vectors)
            left -= 1
            stops = (left == 0) | outcome[-1] if self.loop.is_while else left == 0
            vectors[:n_states] = outcome[:n_states]
            if stops.any():
                stopped, going = stops.nonzero()[0], (~stops).nonzero()[0]
                for result, out in zip(results, outcome, strict=True):
                    result[running[stopped]] = out[stopped]
                running, left, *vectors = (v[going] for v in (running, left, *vectors))
        return results


@node_rewriter([Elemwise])
def loop_over_arrays(fgraph, node):
    """Loops of scalars as loops of arrays."""
    if not isinstance(node.op.scalar_op, ScalarLoop):
        return None
    return ArrayLoop(node.op.scalar_op)(*node.inputs, return_list=True)


@lru_cache(maxsize=32)
def _step(fgraph):
    """One step of a loop as a function of vectors; the same few loops are in every derivative."""
    vectors = {v: pt.vector(dtype=v.dtype) for v in fgraph.inputs}
    inputs = list(vectors.values())
    for node in fgraph.toposort():
        cast = any(v.dtype == "float64" for v in node.inputs) and node.outputs[0].dtype in ("float64", "bool")
        arguments = [vectors[v] if v in vectors else _constant(v, cast) for v in node.inputs]
        vectors |= zip(node.outputs, Elemwise(node.op)(*arguments, return_list=True), strict=True)
    outputs = [vectors[v] if v in vectors else _constant(v) for v in fgraph.outputs]
    # what depends on no input is as long as what does
    outputs = [pt.switch(pt.ones_like(inputs[0], dtype=bool), v, v) if v.type.shape == (1,) else v for v in outputs]
    rules = walking_rewriter("in_to_out", use_ufuncs, loop_over_arrays)
    function = pytensor.function(inputs, outputs, mode=Mode(linker="py", optimizer=rules), on_unused_input="ignore")
    function.trust_input = True
    return as_straight_line(function)


def _constant(variable, cast=False):
    """A vector of one; `cast` where it meets doubles, which spares NumPy to do so in every call."""
    return pt.constant(np.array([variable.data], dtype="float64" if cast and variable.dtype != "bool" else None))
