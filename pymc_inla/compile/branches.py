"""Derivatives of expressions with branches, free of those that are not taken.

Where switch(c, a, b) takes b, the derivative with respect to a is zero, and automatic differentiation carries this zero
down through a. Far out, where a or its derivatives are infinite, zero times infinity is NaN. As

    switch(c, g, 0) d = switch(c, g d, 0)

for every finite d, PyTensor has rewrites that move switches behind the products, after which NaN stays in the branch
that is not taken. Functions of small data are not rewritten as a whole (see `mode`); their derivatives are in this.
"""

from pytensor.graph.basic import Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import EquilibriumGraphRewriter, MergeOptimizer
from pytensor.tensor.rewriting.basic import constant_folding, local_merge_switch_same_cond
from pytensor.tensor.rewriting.elemwise import local_dimshuffle_lift
from pytensor.tensor.rewriting.math import local_div_switch_sink, local_mul_switch_sink, local_neg_to_mul

# a factor has one switch, however often it is used, once equal nodes are merged
MERGE = MergeOptimizer()
MOVE = EquilibriumGraphRewriter(
    [
        local_neg_to_mul,
        local_dimshuffle_lift,
        local_mul_switch_sink,
        local_div_switch_sink,
        local_merge_switch_same_cond,
        constant_folding,
    ],
    max_use_ratio=20,
)


def leave_out_branches(derivatives: list[Variable]) -> list[Variable]:
    """The same derivatives with every switch between a factor and zero behind the products it is a factor of."""
    graph = FunctionGraph(outputs=derivatives, clone=True, copy_inputs=False)
    MERGE.rewrite(graph)
    MOVE.rewrite(graph)
    return list(graph.outputs)
