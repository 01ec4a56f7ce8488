"""One linear predictor that is written several times in a model, made one.

`exp(a + u[g]) / (1 + exp(a + u[g]))` builds a + u[g] twice, and a + b * x + u[g] is a + u[g] + x * b. Expressions that
are affine in the latent variables are the same when they have the same values at random points.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from pymc_inla.analysis.affine import Label, label_graph, value_inputs
from pymc_inla.analysis.interpreter import interpreter

ROUNDING = 1e-12
"""Largest difference of equal expressions, beside their largest value: sums in another order differ by 1e-15 a term"""


def merge_predictors(output, latents, hyperparameters):
    """The same graph in which affine variables of equal values are one variable, and predictors that differ by what
    does not depend on the latents, as c - eta and c + d - eta do, are one predictor and a difference.

    Parameters
    ----------
    output : variable
    latents : symbolic inputs
    hyperparameters : dict, value variable -> initial value
    """
    if len(_last_affine(output, latents)) < 2:
        return output
    graph = FunctionGraph(outputs=[output], clone=True, copy_inputs=False, copy_orphans=False)
    _merge_equal(graph, latents, hyperparameters)
    _merge_parallel(graph, latents, hyperparameters)
    return graph.outputs[0]


def _merge_equal(graph, latents, hyperparameters) -> None:
    labels = label_graph(graph.outputs, latents)
    affine = [v for node in graph.toposort() for v in node.outputs if labels.of(v) is Label.AFFINE]
    affine = [v for v in affine if hasattr(v.type, "shape") and v.dtype == "float64"]
    alike: dict[tuple, list] = {}
    for v, values in zip(affine, _values(affine, latents, hyperparameters), strict=True):
        size = np.abs(values).max(initial=0.0)
        # long chains of scalars would take long to compare each with each
        group = alike.setdefault((values.shape, *np.round(values.ravel()[:1] / (size or 1.0), 9)), [])
        for first, other in group:
            if _same(values, other, size):
                graph.replace(v, v.type.filter_variable(first), reason="merge", import_missing=True)
                break
        else:
            group.append((v, values))


def _merge_parallel(graph, latents, hyperparameters) -> None:
    last = _last_affine(graph.outputs[0], latents)
    last = [v for node in graph.toposort() for v in node.outputs if v in last]
    if len(last) < 2:
        return
    zeros = {v: pt.zeros(v.type.shape) for v in latents}
    kept = []
    for v, values in zip(last, _values(last, latents, hyperparameters), strict=True):
        linear, size = values[:, 0] - values[:, 1], np.abs(values).max(initial=0.0)
        for first, other in kept:
            if linear.shape == other.shape and first not in ancestors([v]) and _same(linear, other, size):
                (difference,) = clone_replace([v - first], zeros, rebuild_strict=False)
                moved = v.type.filter_variable(first + difference)
                graph.replace(v, moved, reason="merge", import_missing=True)
                break
        else:
            kept.append((v, linear))


def _same(values, others, size) -> bool:
    return bool(np.abs(values - others).max(initial=0.0) <= ROUNDING * size)


def _last_affine(output, latents) -> set:
    """Affine variables to which something that is not affine is applied."""
    labels = label_graph([output], latents)
    nodes = {v.owner for v in labels.label if labels.of(v) is Label.NONLINEAR and v.owner is not None}
    return {v for node in nodes for v in value_inputs(node) if labels.of(v) is Label.AFFINE}


def _values(variables, latents, hyperparameters) -> list[np.ndarray]:
    """Values of variables, (2, 2, *shape) each: at two random values of the hyperparameters, where the latents are
    random and where they are zero."""
    above = set(ancestors(variables))
    inputs = [v for v in (*latents, *hyperparameters) if v in above]
    with pytensor.config.change_flags(cxx=""):
        function = pytensor.function(inputs, variables, mode=interpreter("merge"))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        theta = {v: value + rng.normal(size=np.shape(value)) for v, value in hyperparameters.items()}
        for scale in (1.0, 0.0):
            x = {v: scale * rng.normal(size=v.type.shape) for v in latents}
            with np.errstate(all="ignore"):
                found.append(function(*({**x, **theta}[v] for v in inputs)))
    return [np.array(values).reshape(2, 2, *values[0].shape) for values in zip(*found, strict=True)]
