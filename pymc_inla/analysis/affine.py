"""Which nodes of a graph are independent of, affine in, or nonlinear in the latent variables.

`label_graph` walks a graph once, from the latent variables to the outputs, with one short rule per kind of Op. A rule
sees the labels of a node's inputs and returns the label of its outputs. An Op without a rule is nonlinear as soon
as one of its inputs depends on a latent. Dependence through shapes alone is no dependence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import toposort
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import (
    Alloc,
    AllocDiag,
    ARange,
    ExtractDiag,
    Eye,
    Join,
    MakeVector,
    ScalarFromTensor,
    Split,
    TensorFromScalar,
)
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.extra_ops import CumOp, Repeat
from pytensor.tensor.math import Dot, Sum
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
)


class Label(IntEnum):
    """How a variable depends on the latent variables."""

    INDEPENDENT = 0
    AFFINE = 1
    NONLINEAR = 2


@dataclass
class Labels:
    """Labels of every variable of a graph, with the latents that each one depends on."""

    label: dict[Variable, Label] = field(default_factory=dict)
    latents: dict[Variable, frozenset[Variable]] = field(default_factory=dict)
    products: list[tuple[Apply, tuple[Variable, Variable]]] = field(default_factory=list)
    """Products of two inputs that both depend on latents"""
    bent: list[Apply] = field(default_factory=list)
    """Nodes that apply a function that need not be monotone (square, absolute value, sine) to latents"""

    def of(self, variable: Variable) -> Label:
        return self.label.get(variable, Label.INDEPENDENT)

    def depends_on(self, variable: Variable) -> frozenset[Variable]:
        return self.latents.get(variable, frozenset())


_LINEAR_SCALARS = {"Add", "Sub", "Neg", "Identity", "Cast", "Second", "Composite"}
_NOT_MONOTONE = {"Sqr", "Abs", "Sin", "Cos", "Tan", "Cosh", "Sign", "Mod", "Ceil", "Floor", "RoundHalfToEven"}
_POSITIVE = {"Exp", "Exp2", "Sigmoid", "Softplus"}
# inputs of these Ops that carry values; the others are shapes, indices or conditions
_FIRST_INPUT = (
    DimShuffle,
    Reshape,
    SpecifyShape,
    Subtensor,
    AdvancedSubtensor,
    Alloc,
    Repeat,
    CheckAndRaise,
    ExtractDiag,
    AllocDiag,
    ScalarFromTensor,
    TensorFromScalar,
    JoinDims,
    SplitDims,
)
_FIRST_TWO_INPUTS = (IncSubtensor, AdvancedIncSubtensor)
_SHAPES = (Shape, Shape_i, ARange, Eye)


def value_inputs(node: Apply) -> list[Variable]:
    """The inputs whose values (not only shapes) the outputs of a node depend on."""
    op = node.op
    if isinstance(op, _SHAPES):
        return []
    if isinstance(op, _FIRST_INPUT):
        return [node.inputs[0]]
    if isinstance(op, _FIRST_TWO_INPUTS):
        return list(node.inputs[:2])
    if isinstance(op, Elemwise) and type(op.scalar_op).__name__ == "Second":
        return [node.inputs[1]]
    return list(node.inputs)


def is_move(node: Apply) -> bool:
    """Whether the output holds elements of the first input and nothing else."""
    return isinstance(node.op, _FIRST_INPUT) and not isinstance(node.op, AllocDiag)


def _is_product(op: Op) -> bool:
    core = op.core_op if isinstance(op, Blockwise) else op
    name = type(core).__name__
    if isinstance(core, Elemwise):
        return type(core.scalar_op).__name__ == "Mul"
    return isinstance(core, Dot) or name in {
        "BatchedDot",
        "Dot22",
        "MatMul",
        "StructuredDot",
        "Dot",
        "SparseDot",
        "Kron",
    }


def _keeps_sign(variable: Variable, labels: Labels) -> bool:
    """Whether a variable has one sign at every value of the latents, by construction, so that its powers are monotone:
    exp(eta)^2, (exp(eta) / sigma)^2, (1 - sigmoid(eta))^(1/2)."""
    node = variable.owner
    if labels.of(variable) is Label.INDEPENDENT:
        return True
    if node is None:
        return False
    if isinstance(node.op, _FIRST_INPUT):
        return _keeps_sign(node.inputs[0], labels)
    if not isinstance(node.op, Elemwise):
        return False
    name = type(node.op.scalar_op).__name__
    if name in {"Mul", "TrueDiv", "Sqrt", "Sqr", "Abs", "Pow", "Neg", "Reciprocal", "Identity", "Cast"}:
        return all(_keeps_sign(v, labels) for v in node.inputs)
    if name == "Sub":
        left, right = node.inputs
        return _at_least_one(left) and _scalar_name(right) == "Sigmoid"
    return name in _POSITIVE


def _scalar_name(variable: Variable) -> str | None:
    """Name of the elementwise operation that makes a variable, below changes of its dimensions."""
    node = variable.owner
    while node is not None and isinstance(node.op, DimShuffle):
        node = node.inputs[0].owner
    return type(node.op.scalar_op).__name__ if node is not None and isinstance(node.op, Elemwise) else None


def _at_least_one(variable: Variable) -> bool:
    while variable.owner is not None and isinstance(variable.owner.op, DimShuffle | Alloc):
        variable = variable.owner.inputs[0]
    return isinstance(variable, Constant) and bool((variable.data >= 1).all())


def _label_node(node: Apply, labels: Labels) -> Label:
    op = node.op
    inputs = value_inputs(node)
    dependent = [v for v in inputs if labels.of(v) is not Label.INDEPENDENT]
    if not dependent:
        return Label.INDEPENDENT
    worst = max(labels.of(v) for v in dependent)
    core = op.core_op if isinstance(op, Blockwise) else op
    if _is_product(op):
        if len(dependent) == 1:
            return worst
        labels.products.append((node, tuple(dependent[:2])))
        if worst is Label.AFFINE:
            labels.bent.append(node)  # a quadratic function, as eta * eta is
        return Label.NONLINEAR
    if isinstance(core, Elemwise):
        name = type(core.scalar_op).__name__
        if name in _LINEAR_SCALARS - {"Composite"}:
            return worst
        if name == "TrueDiv":
            if labels.of(node.inputs[1]) is Label.INDEPENDENT:
                return worst
            if labels.of(node.inputs[0]) is not Label.INDEPENDENT:
                labels.products.append((node, (node.inputs[0], node.inputs[1])))
            return Label.NONLINEAR
        if name == "Switch" and labels.of(node.inputs[0]) is Label.INDEPENDENT:
            return worst
        bends = name in _NOT_MONOTONE or (name == "Pow" and labels.of(node.inputs[0]) is not Label.INDEPENDENT)
        if bends and not _keeps_sign(node.inputs[0], labels):
            labels.bent.append(node)
        return Label.NONLINEAR
    if isinstance(core, (*_FIRST_INPUT, *_FIRST_TWO_INPUTS, Join, MakeVector, Sum, Split)):
        return worst
    if isinstance(core, CAReduce):
        return worst if type(core.scalar_op).__name__ == "Add" else Label.NONLINEAR
    if isinstance(core, CumOp):
        return worst if core.mode == "add" else Label.NONLINEAR
    if type(core).__name__ in {"SolveTriangular", "Solve", "CholeskySolve"}:
        return worst if labels.of(node.inputs[0]) is Label.INDEPENDENT else Label.NONLINEAR
    return Label.NONLINEAR


def label_graph(outputs: Iterable[Variable], latents: Iterable[Variable]) -> Labels:
    """Label every variable between the latents and the outputs.

    Parameters
    ----------
    outputs : variables
    latents : variables that count as affine; the walk does not look above them.
    """
    latents = list(latents)
    labels = Labels()
    for latent in latents:
        labels.label[latent] = Label.AFFINE
        labels.latents[latent] = frozenset([latent])
    for node in toposort(list(outputs), blockers=latents):
        label = _label_node(node, labels)
        if label is not Label.INDEPENDENT:
            found = frozenset().union(*(labels.depends_on(v) for v in value_inputs(node)))
            for output in node.outputs:
                labels.label[output] = label
                labels.latents[output] = found
    tails = {labels.depends_on(v) for v in labels.label if _scalar_name(v) == "Erfcx"}
    # the logarithm of a normal tail is monotone, though it is written as log(erfcx(z)) - z^2
    labels.bent = [node for node in labels.bent if labels.depends_on(node.outputs[0]) not in tails]
    return labels
