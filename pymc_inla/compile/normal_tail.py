"""Logarithms of normal probabilities with derivatives that are finite everywhere.

PyMC writes them with a branch for each tail and one for the middle. Far out the branches that are not taken are
infinite, and so are their derivatives: times the zero with which automatic differentiation leaves them out they are
NaN, from z = 8.3 on. Here each branch sees only the z for which it is meant.
"""

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar.math import Erf, Erfc, Erfcx

from pymc_inla.compile.graph import constant_number, is_elementwise, replace_nodes

JOINT = -1.0
"""Where PyMC changes branches"""
NOTHING = -40.0
"""Logarithm of a ratio that adds nothing to one"""
ROOT = np.sqrt(2.0)


def log_ndtr(z: Variable) -> Variable:
    """log P(Z < z) of a standard normal Z."""
    tail, rest = pt.minimum(z, JOINT), pt.maximum(z, JOINT)
    return pt.switch(
        z < JOINT,
        pt.log(pt.erfcx(-tail / ROOT) / 2.0) - tail**2 / 2.0,
        pt.log1p(-pt.erfc(rest / ROOT) / 2.0),
    )


def log_ndtr_difference(a: Variable, b: Variable) -> Variable:
    """log P(b < Z < a)."""
    middle = pt.and_(b <= 0.0, a >= 0.0)
    # where both are on one side, by symmetry the left one
    high = log_ndtr(pt.switch(middle, 0.0, pt.minimum(a, -b)))
    low = log_ndtr(pt.switch(middle, -1.0, pt.minimum(b, -a)))
    inside = pt.erf(pt.switch(middle, a, 1.0) / ROOT) - pt.erf(pt.switch(middle, b, -1.0) / ROOT)
    return pt.switch(middle, pt.log(inside / 2.0), high + pt.log1mexp(pt.maximum(low - high, NOTHING)))


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
    a, b = (
        t.owner.inputs[0] if is_elementwise(t.owner, ps.TrueDiv) else t * ROOT for t in (x, y)
    )  # without their 1 / sqrt 2
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
