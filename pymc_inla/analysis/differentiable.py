"""Operations that have no derivative at all, and densities that are none, before anything else looks at them."""

from pymc.distributions.simulator import SimulatorRV
from pytensor.graph.op import Op
from pytensor.graph.traversal import toposort
from pytensor.tensor.random.op import RandomVariable

from pymc_inla.errors import UnsupportedModelError

_DERIVATIVES = ("pullback", "L_op", "grad")
"""The methods of which an operation writes one to have derivatives"""


def refuse_simulators(model) -> None:
    """Refuse likelihoods that are simulated: they have no density.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.basic_RVs:
        if isinstance(rv.owner.op, SimulatorRV):
            raise UnsupportedModelError(
                rv.name,
                "it is a pm.Simulator, which has no density",
                "Write its density as a distribution or with pm.CustomDist(logp=...), or use pm.sample_smc.",
            )


def refuse_undifferentiable(model) -> None:
    """Refuse what is computed from free variables by Python functions without derivatives, or in complex numbers.

    Parameters
    ----------
    model : pm.Model

    Raises
    ------
    UnsupportedModelError
    """
    for rv in [*model.basic_RVs, *model.potentials]:
        outputs = rv.owner.inputs if isinstance(rv.owner.op, RandomVariable) else [rv]
        others = [other for other in model.basic_RVs if other is not rv]
        check_operations(rv.name, outputs, set(model.free_RVs) - {rv}, blockers=others)


def check_operations(name, outputs, inputs, blockers=()) -> None:
    """Refuse operations without derivatives, and complex numbers, between inputs and outputs.

    Raises
    ------
    UnsupportedModelError
    """
    dependent = set(inputs)
    for node in toposort(outputs, blockers=[*inputs, *blockers]):
        if dependent.isdisjoint(node.inputs):
            continue
        dependent.update(node.outputs)
        if any(str(getattr(v.type, "dtype", "")).startswith("complex") for v in node.outputs):
            raise UnsupportedModelError(
                name,
                "it depends on free variables through complex numbers",
                "Write real and imaginary parts as two real variables.",
            )
        if all(getattr(type(node.op), method) is getattr(Op, method) for method in _DERIVATIVES):
            raise UnsupportedModelError(
                name,
                f"it depends on free variables through {node.op}, an operation without derivatives",
                "Write it with functions of PyTensor, give the Op a method `pullback`, or use a sampler that needs "
                "no gradient (pm.Slice, pm.DEMetropolisZ).",
            )
