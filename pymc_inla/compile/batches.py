"""Expressions of one set of values as functions of batches of them."""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors

from pymc_inla.compile.mode import compile_function


def batched_function(symbols, expressions):
    """Those of the symbols that expressions depend on, and a function of batches (S, *shape) of these that returns
    lists of (S, *shape)."""
    above = set(ancestors(expressions))
    inputs = tuple(symbol for symbol in symbols if symbol in above)
    # products with sparse matrices know no batches
    build = _one_by_one if inputs and any(hasattr(v.type, "format") for v in above) else _vectorized
    function = build(inputs, expressions)

    def batched(S: int, *batches):
        with np.errstate(all="ignore"):
            found = function(*map(np.ascontiguousarray, batches))
        return [_spread(f, S, expression) for f, expression in zip(found, expressions, strict=True)]

    return inputs, batched


def _vectorized(inputs, expressions):
    batch = {
        v: pt.tensor(name=f"batched_{k}", dtype="float64", shape=(None, *v.type.shape)) for k, v in enumerate(inputs)
    }
    return compile_function(list(batch.values()), vectorize_graph(expressions, batch))


def _one_by_one(inputs, expressions):
    function = compile_function(list(inputs), expressions)
    return lambda *batches: [
        np.stack(one) for one in zip(*(function(*d) for d in zip(*batches, strict=True)), strict=True)
    ]


def _spread(values, S, expression):
    """An expression that depends on no symbol has no batch dimension; it is the same in every row."""
    values = np.asarray(values)
    if values.ndim == expression.ndim:
        values = np.broadcast_to(values, (S, *values.shape)).copy()
    return values
