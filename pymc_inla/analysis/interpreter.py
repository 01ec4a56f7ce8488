"""PyTensor's interpreter: for graphs that are run once or a few times, which takes less than compiling them."""

from pytensor.compile.mode import Mode
from pytensor.graph.rewriting.basic import copy_stack_trace, node_rewriter, walking_rewriter
from pytensor.scalar.basic import Add, Mul
from pytensor.tensor.elemwise import Elemwise

MOST_TERMS = 31
"""Operands beyond which the interpreter refuses an elementwise operation, less its output"""
LAST = 100.0
"""Place among the rewrites, after those that join sums"""


@node_rewriter([Elemwise])
def split_sums(fgraph, node):
    """Sums and products of many terms as sums and products of such."""
    operation, terms = node.op.scalar_op, node.inputs
    if not isinstance(operation, Add | Mul) or len(terms) <= MOST_TERMS:
        return None
    while len(terms) > 1:
        portions = [terms[i : i + MOST_TERMS] for i in range(0, len(terms), MOST_TERMS)]
        terms = [Elemwise(operation)(*some) if len(some) > 1 else some[0] for some in portions]
    copy_stack_trace(node.outputs[0], terms[0])
    return terms


def interpreter(optimizer: str = "fast_compile") -> Mode:
    """A mode that rewrites little and compiles nothing."""
    return Mode(linker="py", optimizer=optimizer).register((walking_rewriter("in_to_out", split_sums), LAST))
