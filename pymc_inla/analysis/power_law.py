"""Reading an expression as a power law of one random variable, without compiling anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytensor.scalar as ps
from pytensor.graph.basic import Constant
from pytensor.tensor.basic import Alloc, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.subtensor import Subtensor


@dataclass(frozen=True)
class PowerLaw:
    """a + c r^p exp(q r) of a random variable r; every element of an array is the same function of its own r."""

    c: float
    p: float = 0.0
    q: float = 0.0
    a: float = 0.0

    @property
    def is_constant(self) -> bool:
        return self.p == 0 and self.q == 0

    @property
    def value(self) -> float:
        return self.a + self.c


def power_law(expression, rv, positive: bool) -> PowerLaw | None:
    """The expression as a power law of `rv`, or None where it is not one.

    Parameters
    ----------
    rv : Variable or None
        None: only constants are read.
    positive : bool
        Whether rv is positive, so that roots and absolute values of it are allowed.
    """
    if expression is rv:
        return PowerLaw(1.0, 1.0)
    if isinstance(expression, Constant):
        data = np.asarray(expression.data)
        same = data.size and data.dtype.kind in "biuf" and (data == data.flat[0]).all()
        return PowerLaw(float(data.flat[0])) if same else None
    if expression.owner is None:
        return None
    op, inputs = expression.owner.op, expression.owner.inputs
    if isinstance(op, DimShuffle | Subtensor | Alloc | ScalarFromTensor | TensorFromScalar):
        return power_law(inputs[0], rv, positive)
    if not isinstance(op, Elemwise):
        return None
    laws = [power_law(i, rv, positive) for i in inputs]
    if None in laws:
        return None
    rule = RULES.get(type(op.scalar_op))
    return None if rule is None else rule(laws, positive)


def _product(laws, positive):
    left, *rest = laws
    for right in rest:
        if right.is_constant:
            left, right = right, left
        if left.is_constant:
            k = left.value
            left = PowerLaw(k * right.c, right.p, right.q, k * right.a)
        elif left.a == 0 and right.a == 0:
            left = PowerLaw(left.c * right.c, left.p + right.p, left.q + right.q)
        else:
            return None
    return left


def _sum(laws, positive):
    varying = [law for law in laws if not law.is_constant]
    constant = sum(law.value for law in laws if law.is_constant)
    if len(varying) > 1:
        return None
    if not varying:
        return PowerLaw(constant)
    (law,) = varying
    return PowerLaw(law.c, law.p, law.q, law.a + constant)


def _power(law, exponent, positive):
    if law.is_constant:
        ok = law.value > 0 or (float(exponent).is_integer() and law.value != 0)
        return PowerLaw(law.value**exponent) if ok else None
    if law.a != 0 or law.c <= 0 or (law.p != 0 and not positive):
        return None
    return PowerLaw(law.c**exponent, law.p * exponent, law.q * exponent)


def _general_power(laws, positive):
    base, exponent = laws
    return _power(base, exponent.value, positive) if exponent.is_constant else None


def _ratio(laws, positive):
    below = _power(laws[1], -1.0, positive)
    return None if below is None else _product([laws[0], below], positive)


def _exponential(laws, positive):
    (law,) = laws
    if law.is_constant:
        return PowerLaw(math.exp(law.value))
    return PowerLaw(math.exp(law.a), 0.0, law.c) if law.p == 1 and law.q == 0 else None


def _logarithm(laws, positive):
    (law,) = laws
    if law.is_constant:
        return PowerLaw(math.log(law.value)) if law.value > 0 else None
    exponential = law.a == 0 and law.p == 0 and law.c > 0
    return PowerLaw(law.q, 1.0, 0.0, math.log(law.c)) if exponential else None


def _is_positive(law, positive):
    return law.value > 0 if law.is_constant else law.a == 0 and law.c > 0 and (law.p == 0 or positive)


def _absolute(laws, positive):
    return laws[0] if _is_positive(laws[0], positive) else None


def _signum(laws, positive):
    return PowerLaw(1.0) if _is_positive(laws[0], positive) else None


RULES = {
    ps.Mul: _product,
    ps.Add: _sum,
    ps.Sub: lambda laws, positive: _sum([laws[0], _product([PowerLaw(-1.0), laws[1]], positive)], positive),
    ps.Neg: lambda laws, positive: _product([PowerLaw(-1.0), laws[0]], positive),
    ps.TrueDiv: _ratio,
    ps.Reciprocal: lambda laws, positive: _power(laws[0], -1.0, positive),
    ps.Sqrt: lambda laws, positive: _power(laws[0], 0.5, positive),
    ps.Sqr: lambda laws, positive: _power(laws[0], 2.0, positive),
    ps.Pow: _general_power,
    ps.Exp: _exponential,
    ps.Log: _logarithm,
    ps.Abs: _absolute,
    ps.Sign: _signum,
    ps.Cast: lambda laws, positive: laws[0],
    ps.Identity: lambda laws, positive: laws[0],
}
