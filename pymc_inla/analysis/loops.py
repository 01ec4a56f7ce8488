"""Loops (`pytensor.scan`), which are not analysed: what a variable does in one is not known."""

from pytensor.graph.traversal import ancestors, applys_between
from pytensor.scan.op import Scan

REASON = "a loop (pytensor.scan), and loops are not analysed"
ADVICE = (
    "Write the process without a loop: an autoregression as pm.AR, a random walk as pm.GaussianRandomWalk or as "
    "pt.cumsum of its steps. Or sample with pm.sample."
)


def is_loop(op) -> bool:
    return isinstance(op, Scan)


def enters_loop(model, rv) -> bool:
    """Whether a variable is an input of a loop, directly or through what is computed from it."""
    graphs = [*(v for other in model.basic_RVs for v in other.owner.inputs), *model.potentials]
    loops = [node for node in applys_between([], graphs) if is_loop(node.op)]
    return any(rv in ancestors(node.inputs) for node in loops)
