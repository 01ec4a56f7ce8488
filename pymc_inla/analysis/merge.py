"""One linear predictor that is written several times in a model, made one.

`exp(a + u[g]) / (1 + exp(a + u[g]))` builds a + u[g] twice, and a + b * x + u[g] is a + u[g] + x * b. Expressions that
are affine in the latent variables are the same when they have the same values at random points.
"""

import numpy as np
import pytensor
from pytensor.compile.mode import Mode
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import ancestors

from pymc_inla.analysis.affine import Label, label_graph, value_inputs

POINTS = 2
ROUNDING = 1e-12
"""Largest difference of equal expressions, beside their largest value: sums in another order differ by 1e-15 a term"""


def merge_predictors(output, latents, hyperparameters):
    """The same graph in which affine variables of equal values are one variable.

    Parameters
    ----------
    output : variable
    latents : symbolic inputs
    hyperparameters : dict, value variable -> initial value
    """
    if len(_last_affine(output, latents)) < 2:
        return output
    graph = FunctionGraph(outputs=[output], clone=True, copy_inputs=False, copy_orphans=False)
    labels = label_graph(graph.outputs, latents)
    affine = [v for node in graph.toposort() for v in node.outputs if labels.of(v) is Label.AFFINE]
    affine = [v for v in affine if hasattr(v.type, "shape") and v.dtype == "float64"]
    alike: dict[tuple, list] = {}
    for v, values in zip(affine, _values(affine, latents, hyperparameters), strict=True):
        size = np.abs(values).max(initial=0.0)
        # long chains of scalars would take long to compare each with each
        group = alike.setdefault((values.shape, *np.round(values.ravel()[:1] / (size or 1.0), 9)), [])
        for first, other in group:
            if np.abs(values - other).max(initial=0.0) <= ROUNDING * size:
                graph.replace(v, v.type.filter_variable(first), reason="merge", import_missing=True)
                break
        else:
            group.append((v, values))
    return graph.outputs[0]


def _last_affine(output, latents) -> set:
    """Affine variables to which something that is not affine is applied."""
    labels = label_graph([output], latents)
    nodes = {v.owner for v in labels.label if labels.of(v) is Label.NONLINEAR and v.owner is not None}
    return {v for node in nodes for v in value_inputs(node) if labels.of(v) is Label.AFFINE}


def _values(variables, latents, hyperparameters) -> list[np.ndarray]:
    """Values of variables at random points, (POINTS, *shape) each."""
    above = set(ancestors(variables))
    inputs = [v for v in (*latents, *hyperparameters) if v in above]
    with pytensor.config.change_flags(cxx=""):
        function = pytensor.function(inputs, variables, mode=Mode(linker="py", optimizer="merge"))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(POINTS):
        center = [np.asarray(hyperparameters.get(v, np.zeros(v.type.shape))) for v in inputs]
        with np.errstate(all="ignore"):
            found.append(function(*(c + rng.normal(size=c.shape) for c in center)))
    return [np.array(values) for values in zip(*found, strict=True)]
