"""Composite operations replaced by what they are made of.

Some operations (`einsum`, a user's `OpFromGraph`) hide a graph of their own, which the rules of the analysis do not
see. Written out, every product and sum in it has a rule.
"""

from collections.abc import Callable

import pymc as pm
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.model.fgraph import fgraph_from_model, model_from_fgraph
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.graph.basic import Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import applys_between
from pytensor.tensor.special import LogSoftmax, LogSumExp, Softmax

_KEPT = SymbolicRandomVariable, Softmax, LogSoftmax, LogSumExp
"""Composite operations with rules of their own"""


def is_composite(op) -> bool:
    """Whether an operation hides a graph that the analysis has to see."""
    return isinstance(op, OpFromGraph) and not isinstance(op, _KEPT)


def write_out(expression: Variable, hides: Callable[[Op], bool] = is_composite) -> Variable:
    """The same expression without the operations that hide a graph."""
    while nodes := [node for node in applys_between([], [expression]) if hides(node.op)]:
        written = {}
        for node in nodes:
            for old, new in zip(node.outputs, inline_ofg_node(node), strict=True):
                written[old] = old.type.filter_variable(new)
        (expression,) = clone_replace([expression], written, rebuild_strict=False)
    return expression


def write_out_composites(model: pm.Model) -> pm.Model:
    """The same model without composite operations; the model itself where it has none.

    Parameters
    ----------
    model : pm.Model with frozen data and dims
    """
    outputs = [*model.basic_RVs, *model.deterministics, *model.potentials]
    if not any(is_composite(node.op) for node in applys_between([], outputs)):
        return model
    # a graph does not hold initial values, and a model that has them is not made into one
    initial = dict(model.rvs_to_initial_values)
    try:
        model.rvs_to_initial_values.update(dict.fromkeys(initial))
        graph, _ = fgraph_from_model(model)
    finally:
        model.rvs_to_initial_values.update(initial)
    while nodes := [node for node in graph.toposort() if is_composite(node.op)]:
        node = nodes[0]
        for old, new in zip(node.outputs, inline_ofg_node(node), strict=True):
            graph.replace(old, old.type.filter_variable(new), import_missing=True)
    written = model_from_fgraph(graph, mutate_fgraph=True)
    for rv, value in initial.items():
        written.set_initval(written[rv.name], value)
    return written
