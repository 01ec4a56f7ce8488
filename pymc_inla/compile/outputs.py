"""Everything the posterior group shows, computed from draws of theta and x."""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.traversal import ancestors

from pymc_inla.compile.mode import compile_function
from pymc_inla.lgm import LatentGaussianModel

CHUNK_ELEMENTS = 5_000_000


def compile_outputs(lgm: LatentGaussianModel):
    """A function (draws_theta (S, n_theta), draws_x (S, n_x), names=None) -> {name: (S, *shape)}."""
    symbols = {v.variable: ("x", v) for v in lgm.latents} | {h.variable: ("theta", h) for h in lgm.hyperparameters}
    cache = {}

    def batched(names):
        """(the symbols that the expressions depend on, their compiled function of draws of these)."""
        if names not in cache:
            expressions = [lgm.outputs[name] for name in names]
            above = set(ancestors(expressions))
            inputs = tuple(v for v in symbols if v in above)
            # products with sparse matrices know no batches
            build = _draw_by_draw if inputs and any(hasattr(v.type, "format") for v in above) else _vectorized
            cache[names] = inputs, build(inputs, expressions)
        return cache[names]

    def outputs(draws_theta, draws_x, names=None):
        S = len(draws_x)
        result, computed = {}, []
        values = {}
        for symbol, (kind, item) in symbols.items():
            draws = draws_x if kind == "x" else draws_theta
            values[symbol] = draws[:, item.start : item.stop].reshape(S, *item.shape)
        for name in lgm.outputs if names is None else names:
            expression = lgm.outputs[name]
            if expression in values:
                result[name] = values[expression]
            else:
                computed.append(name)
        if computed:
            inputs, function = batched(tuple(computed))
            largest = max(_size(lgm.outputs[name]) for name in computed)
            step = max(1, CHUNK_ELEMENTS // max(1, largest))
            pieces = []
            for start in range(0, S, step):
                with np.errstate(all="ignore"):
                    found = function(*(np.ascontiguousarray(values[v][start : start + step]) for v in inputs))
                stop = min(start + step, S)
                pieces.append([_spread(f, stop - start, lgm.outputs[n]) for f, n in zip(found, computed, strict=True)])
            for k, name in enumerate(computed):
                result[name] = np.concatenate([piece[k] for piece in pieces])
        order = lgm.outputs if names is None else names
        return {name: result[name] for name in order}

    return outputs


def _vectorized(inputs, expressions):
    """A function of batches of the inputs."""
    batch = {
        v: pt.tensor(name=f"batched_{k}", dtype="float64", shape=(None, *v.type.shape)) for k, v in enumerate(inputs)
    }
    return compile_function(list(batch.values()), vectorize_graph(expressions, batch))


def _draw_by_draw(inputs, expressions):
    function = compile_function(list(inputs), expressions)
    return lambda *batches: [
        np.stack(one) for one in zip(*(function(*d) for d in zip(*batches, strict=True)), strict=True)
    ]


def _size(variable) -> int:
    return int(np.prod([s or 1 for s in variable.type.shape], dtype=int))


def _spread(values, S, expression):
    """An expression that depends on no draw has no batch dimension; it is the same in every draw."""
    values = np.asarray(values)
    if values.ndim == expression.ndim:
        values = np.broadcast_to(values, (S, *values.shape)).copy()
    return values
