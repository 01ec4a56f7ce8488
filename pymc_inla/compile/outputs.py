"""Everything the posterior group shows, computed from draws of theta and x."""

import numpy as np

from pymc_inla.compile.batches import batched_function
from pymc_inla.lgm import LatentGaussianModel

CHUNK_ELEMENTS = 5_000_000


def compile_outputs(lgm: LatentGaussianModel):
    """A function (draws_theta (S, n_theta), draws_x (S, n_x), names=None) -> {name: (S, *shape)}."""
    symbols = {v.variable: ("x", v) for v in lgm.latents} | {h.variable: ("theta", h) for h in lgm.hyperparameters}
    cache = {}

    def batched(names):
        """(the symbols that the expressions depend on, their compiled function of draws of these)."""
        if names not in cache:
            cache[names] = batched_function(symbols, [lgm.outputs[name] for name in names])
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
                batch = slice(start, min(start + step, S))
                pieces.append(function(batch.stop - start, *(values[v][batch] for v in inputs)))
            for k, name in enumerate(computed):
                result[name] = np.concatenate([piece[k] for piece in pieces])
        order = lgm.outputs if names is None else names
        return {name: result[name] for name in order}

    return outputs


def _size(variable) -> int:
    return int(np.prod([s or 1 for s in variable.type.shape], dtype=int))
