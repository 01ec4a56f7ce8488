"""Logarithms of probabilities that are written as such and round to zero or one: probit and complementary log-log.

In sixteen digits a normal probability is one from z = 8.3 on and 1 - exp(-exp(eta)) from eta = 3.7 on, and the
logarithm of one minus it is infinite. Read as what they are, their logarithms have all digits:

    log(c Phi(z)) = log c + log_ndtr(z),    log(1 - Phi(z)) = log_ndtr(-z).

Guards such as switch(p == 1, 1 - eps, p), with which Bambi keeps them inside of (0, 1), are not needed then.
"""

from dataclasses import dataclass

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar.math import Erf, Erfc, GammaIncC, Log1mexp, Sigmoid, Softplus
from pytensor.tensor.basic import Join
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.variable import TensorConstant

from pymc_inla.compile.complement import log_complement
from pymc_inla.compile.graph import constant_number, is_elementwise, replace_nodes
from pymc_inla.compile.normal_tail import ROOT, log_ndtr


@dataclass(frozen=True)
class NormalProbability:
    """c Phi(z)"""

    c: float
    z: Variable


def exact_logarithms(expression: Variable) -> Variable:
    """The same expression with exact logarithms of probabilities."""
    return replace_nodes([expression], _without_guard, _logarithms_of_parts, _logarithm)[0]


def finite_complements(expression: Variable) -> Variable:
    """The same expression, with stable operations already, with derivatives of log(1 - exp(x)) that are finite for
    every x < 0, and without complements of complements."""
    return replace_nodes([expression], _without_check, _tail, _complement_of_complement, _log1mexp)[0]


def _logarithm(node) -> Variable | None:
    if is_elementwise(node, ps.Log):
        p = normal_probability(node.inputs[0])
        return None if p is None else log_ndtr(p.z) + np.log(p.c)
    if is_elementwise(node, ps.Log1p):
        argument = node.inputs[0]
        scaled = _multiple_of(argument, Erf)  # log(1 + erf(t)), as in the skew normal distribution
        if scaled is not None and abs(scaled[0]) == 1.0:
            return log_ndtr(scaled[0] * _times_root(scaled[1])) + np.log(2.0)
        p = normal_probability(argument.owner.inputs[0]) if is_elementwise(argument.owner, ps.Neg) else None
        return log_ndtr(-p.z) if p is not None and p.c == 1.0 else None
    return None


def _complement_of_complement(node) -> Variable | None:
    """x of log(1 - exp(log(1 - exp(x))))"""
    return _unary(node.outputs[0], (Log1mexp, Log1mexp)) if is_elementwise(node, Log1mexp) else None


def _log1mexp(node) -> Variable | None:
    if not is_elementwise(node, Log1mexp):
        return None
    return log_complement(*node.inputs)


def _without_guard(node) -> Variable | None:
    """p of switch(p == 0, eps, p) and switch(p == 1, 1 - eps, p), p being inside of (0, 1) but for rounding."""
    if not is_elementwise(node, ps.Switch):
        return None
    condition, instead, p = node.inputs
    if not is_elementwise(condition.owner, ps.EQ) or constant_number(instead) is None:
        return None
    guarded, bound = condition.owner.inputs
    same = guarded is p and constant_number(bound) in (0.0, 1.0)
    while is_elementwise(p.owner, ps.Switch) and (inner := _without_guard(p.owner)) is not None:
        p = inner
    return p if same and _is_inside_by_itself(p) else None


def _without_check(node) -> Variable | None:
    """What a switch takes that asks for the sign of a positive variable."""
    if not is_elementwise(node, ps.Switch):
        return None
    condition, yes, no = node.inputs
    if not (is_elementwise(condition.owner, (ps.GE, ps.GT, ps.LT, ps.LE)) and _is_positive(condition.owner.inputs[0])):
        return None
    if constant_number(condition.owner.inputs[1]) != 0.0:
        return None
    taken = yes if is_elementwise(condition.owner, (ps.GE, ps.GT)) else no
    return taken if taken.type.shape == node.outputs[0].type.shape else None


def _is_positive(variable: Variable) -> bool:
    """Whether it is an exponential, or a quotient or product of such and positive constants."""
    if (c := constant_number(variable)) is not None:
        return c > 0
    if isinstance(variable, TensorConstant):
        return bool(np.all(variable.data > 0))
    node = variable.owner
    if node is not None and isinstance(node.op, DimShuffle):
        return _is_positive(node.inputs[0])
    if is_elementwise(node, (ps.Mul, ps.TrueDiv, ps.Reciprocal)):
        return all(_is_positive(part) for part in node.inputs)
    return is_elementwise(node, (ps.Exp, Softplus))


def _logarithms_of_parts(node) -> Variable | None:
    """Logarithms of what was joined, joined."""
    joined = node.inputs[0].owner if is_elementwise(node, ps.Log) else None
    if joined is None or not isinstance(joined.op, Join):
        return None
    return joined.op(*(pt.log(part) for part in joined.inputs))


def _tail(node) -> Variable | None:
    """Logarithm of the tail of a gamma distribution of shape one: P(Y = 0) of a Poisson distribution."""
    probability = node.inputs[0].owner if is_elementwise(node, ps.Log) else None
    if is_elementwise(probability, GammaIncC) and constant_number(probability.inputs[0]) == 1.0:
        return -probability.inputs[1]
    return None


def _unary(variable: Variable, operations) -> Variable | None:
    """The argument of these operations, the outermost first."""
    for scalar_op in operations:
        if not is_elementwise(variable.owner, scalar_op):
            return None
        (variable,) = variable.owner.inputs
    return variable


def _is_inside_by_itself(p: Variable) -> bool:
    probability = normal_probability(p)
    if probability is not None:
        return probability.c == 1.0
    if is_elementwise(p.owner, Sigmoid):
        return True
    if is_elementwise(p.owner, ps.Sub) and constant_number(p.owner.inputs[0]) == 1.0:
        p = p.owner.inputs[1]
    return _unary(p, (ps.Exp, ps.Neg, ps.Exp)) is not None


def normal_probability(variable: Variable) -> NormalProbability | None:
    """A variable as a multiple of a normal probability, written with `erf` or `erfc`; None where it is none."""
    node = variable.owner
    if node is None:
        return None
    if isinstance(node.op, DimShuffle):
        p = normal_probability(node.inputs[0])
        return None if p is None else NormalProbability(p.c, node.op(p.z))
    if is_elementwise(node, Erfc):
        return NormalProbability(2.0, -_times_root(node.inputs[0]))
    if is_elementwise(node, (ps.Add, ps.Sub)) and len(node.inputs) == 2:
        return _sum(*node.inputs, -1.0 if is_elementwise(node, ps.Sub) else 1.0)
    factor, rest = _without_factor(variable)
    if rest is variable or factor <= 0:
        return None
    p = normal_probability(rest)
    return None if p is None else NormalProbability(factor * p.c, p.z)


def _sum(a: Variable, b: Variable, sign: float) -> NormalProbability | None:
    """a + sign b as c (1 + erf(t)) = 2 c Phi(t sqrt 2), or as c - c Phi(z) = c Phi(-z)."""
    if constant_number(a) is None and sign > 0:
        a, b = b, a
    c = constant_number(a)
    if c is None or c <= 0:
        return None
    multiple = _multiple_of(b, Erf)
    if multiple is not None and abs(multiple[0]) == c:
        return NormalProbability(2.0 * c, np.sign(sign * multiple[0]) * _times_root(multiple[1]))
    p = normal_probability(b) if sign < 0 else None
    return NormalProbability(c, -p.z) if p is not None and p.c == c else None


def _times_root(t: Variable) -> Variable:
    """t sqrt 2; of a quotient by sqrt 2, which may be written in single precision, the numerator."""
    if is_elementwise(t.owner, ps.TrueDiv):
        numerator, root = t.owner.inputs
        while root.owner is not None and isinstance(root.owner.op, DimShuffle):
            (root,) = root.owner.inputs
        square = constant_number(root.owner.inputs[0]) if is_elementwise(root.owner, ps.Sqrt) else None
        number = constant_number(root)
        if square == 2.0 or (number is not None and abs(number - ROOT) < np.finfo(np.float32).eps):
            return numerator
    return ROOT * t


def _multiple_of(variable: Variable, scalar_op) -> tuple[float, Variable] | None:
    """(c, t) of c f(t)."""
    factor, rest = _without_factor(variable)
    return (factor, rest.owner.inputs[0]) if is_elementwise(rest.owner, scalar_op) else None


def _without_factor(variable: Variable) -> tuple[float, Variable]:
    """A constant factor, and what it is a factor of."""
    node, factor, rest = variable.owner, 1.0, None
    if is_elementwise(node, ps.Neg):
        factor, rest = -1.0, node.inputs[0]
    elif is_elementwise(node, ps.TrueDiv) and (c := constant_number(node.inputs[1])):
        factor, rest = 1.0 / c, node.inputs[0]
    elif is_elementwise(node, ps.Mul) and len(node.inputs) == 2:
        for a, b in (node.inputs, node.inputs[::-1]):
            if (c := constant_number(a)) is not None:
                factor, rest = c, b
    if rest is None:
        return 1.0, variable
    inner, rest = _without_factor(rest)
    return factor * inner, rest
