"""Logarithms of normal probabilities with derivatives that are finite everywhere.

PyMC writes them with a branch for each tail and one for the middle; their derivatives are long, and NaN from 8.3 on.
Here they are operations that know their derivatives,

    d log Phi(z) / dz = h(z) = phi(z) / Phi(z),    dh / dz = -h (z + h),
    d log(Phi(a) - Phi(b)) = [phi(a) da - phi(b) db] / (Phi(a) - Phi(b)),

so that all further ones are products of what is known already. `written_out` says how they are computed.
"""

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar.math import Erf, Erfc, Erfcx
from pytensor.tensor.elemwise import Elemwise
from scipy import special

from pymc_inla.compile.graph import constant_number, is_elementwise, replace_nodes

JOINT = -1.0
"""Where PyMC changes branches"""
NOTHING = -40.0
"""Logarithm of a ratio that adds nothing to one"""
ROOT = np.sqrt(2.0)
LOG_ROOT_TWO_PI = 0.5 * np.log(2 * np.pi)


class LogNdtr(ps.UnaryScalarOp):
    """log P(Z < z) of a standard normal Z."""

    nfunc_spec = ("scipy.special.log_ndtr", 1, 1)

    def impl(self, z):
        return special.log_ndtr(z)

    def pullback(self, inputs, outputs, output_gradients):
        return [output_gradients[0] * hazard_of_scalar(*inputs)]


class Hazard(ps.UnaryScalarOp):
    """phi(z) / Phi(z)"""

    def impl(self, z):
        return np.sqrt(2.0 / np.pi) / special.erfcx(-z / ROOT)

    def pullback(self, inputs, outputs, output_gradients):
        (z,), (h,) = inputs, outputs
        return [-output_gradients[0] * h * (z + h)]


class LogNdtrDifference(ps.BinaryScalarOp):
    """log P(b < Z < a)"""

    def impl(self, a, b):
        if b <= 0 <= a:
            return np.log(0.5 * (special.erf(a / ROOT) - special.erf(b / ROOT)))
        high, low = special.log_ndtr(min(a, -b)), special.log_ndtr(min(b, -a))
        return high + np.log(-np.expm1(max(low - high, NOTHING)))

    def pullback(self, inputs, outputs, output_gradients):
        (log_p,), (g,) = outputs, output_gradients
        ratios = [ps.exp(ps.constant(-0.5) * z * z - ps.constant(LOG_ROOT_TWO_PI) - log_p) for z in inputs]
        return [g * ratios[0], -g * ratios[1]]


hazard_of_scalar = Hazard(ps.upgrade_to_float, name="hazard")
log_ndtr = Elemwise(LogNdtr(ps.upgrade_to_float, name="log_ndtr"))
log_ndtr_difference = Elemwise(LogNdtrDifference(ps.upgrade_to_float, name="log_ndtr_difference"))


def log_ndtr_in_branches(z: Variable) -> Variable:
    """`log_ndtr` in functions that every backend has."""
    tail = pt.log(pt.erfcx(-z / ROOT) / 2.0) - z**2 / 2.0
    return pt.switch(z < JOINT, tail, pt.log1p(-pt.erfc(z / ROOT) / 2.0))


def hazard_by_erfcx(z: Variable) -> Variable:
    return np.sqrt(2.0 / np.pi) / pt.erfcx(-z / ROOT)


def difference_by_symmetry(a: Variable, b: Variable) -> Variable:
    """`log_ndtr_difference` in the left tail, where both are on one side."""
    middle = pt.and_(b <= 0.0, a >= 0.0)
    high, low = log_ndtr(pt.minimum(a, -b)), log_ndtr(pt.minimum(b, -a))
    ratio = pt.maximum(low - high, NOTHING)
    inside = pt.erf(a / ROOT) - pt.erf(b / ROOT)
    return pt.switch(middle, pt.log(inside / 2.0), high + pt.log(-pt.expm1(ratio)))


FORMS = {Hazard: hazard_by_erfcx, LogNdtrDifference: difference_by_symmetry}


def written_out(node) -> Variable | None:
    """The result of an operation of this file in functions that every backend has."""
    if not is_elementwise(node, (LogNdtr, Hazard, LogNdtrDifference)):
        return None
    forms = {LogNdtr: log_ndtr_in_branches, **FORMS}
    return forms[type(node.op.scalar_op)](*node.inputs)


def finite_normal_tails(expression: Variable) -> Variable:
    """The same expression with the forms of this file in the place of PyMC's `normal_lcdf`, `normal_lccdf` and
    `log_diff_normal_cdf`."""
    return replace_nodes([expression], _finite)[0]


def _finite(node) -> Variable | None:
    if not is_elementwise(node, ps.Switch):
        return None
    new = _distribution_function(*node.inputs)
    return _difference(*node.inputs) if new is None else new


def _distribution_function(beyond: Variable, tail: Variable, rest: Variable) -> Variable | None:
    """`log_ndtr` where switch(beyond, tail, rest) is that of z or, for the complement, of -z."""
    if not (_meets(tail, Erfcx) and _meets(rest, Erfc)):
        return None
    if (z := _compared(beyond, ps.LT, JOINT)) is not None:
        return log_ndtr(z)
    if (z := _compared(beyond, ps.GT, -JOINT)) is not None:
        return log_ndtr(-z)
    return None


def _difference(right: Variable, above: Variable, other: Variable) -> Variable | None:
    """The difference that PyMC writes as log(1/2) + switch(right, above, switch(left, below, middle)), plus log 2."""
    if not (_meets(above, Erfcx) and is_elementwise(other.owner, ps.Switch) and _meets(other.owner.inputs[2], Erf)):
        return None
    x, y = _compared(other.owner.inputs[0], ps.LT, 0.0), _compared(right, ps.GT, 0.0)
    if x is None or y is None:
        return None
    # without their 1 / sqrt 2
    a, b = (t.owner.inputs[0] if is_elementwise(t.owner, ps.TrueDiv) else t * ROOT for t in (x, y))
    if _has_bound(a, np.inf):
        return log_ndtr(-b) + np.log(2.0)
    if _has_bound(b, -np.inf):
        return log_ndtr(a) + np.log(2.0)
    return log_ndtr_difference(a, b) + np.log(2.0)


def _has_bound(z: Variable, bound: float) -> bool:
    """Whether z is (bound - mu) / sigma."""
    while is_elementwise(z.owner, ps.TrueDiv):
        z = z.owner.inputs[0]
    return is_elementwise(z.owner, ps.Sub) and constant_number(z.owner.inputs[0]) == bound


def _compared(condition: Variable, scalar_op, value: float) -> Variable | None:
    """z where the condition is z < value (or >, by the operation)."""
    node = condition.owner
    return node.inputs[0] if is_elementwise(node, scalar_op) and constant_number(node.inputs[1]) == value else None


ARITHMETIC = (ps.Log, ps.Log1p, ps.Exp, ps.Sqr, ps.Neg, ps.Mul, ps.TrueDiv, ps.Sub, ps.Add)


def _meets(variable: Variable, scalar_op) -> bool:
    """Whether this function is below the arithmetic that ends in a variable."""
    node = variable.owner
    return is_elementwise(node, scalar_op) or (
        is_elementwise(node, ARITHMETIC) and any(_meets(part, scalar_op) for part in node.inputs)
    )
