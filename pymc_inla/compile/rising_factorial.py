"""log Gamma(a + c) - log Gamma(a), with all its digits where a is large.

PyMC writes the beta-binomial, Dirichlet-multinomial and negative binomial distributions as sums of log Gamma functions.
For a concentration of 1e20 each of them is 4e21, and what is left of their sum is rounding: log probabilities of
+65000. Their differences are logarithms of rising factorials. As log Gamma(a) = (a - 1/2) log a - a + S(a) + const,

    log Gamma(a + c) - log Gamma(a) = c log(a + c) + [(a - 1/2) log(1 + c/a) - c] + S(a + c) - S(a)

for large a, of which every part is as exact as c is; so are the derivatives, differences of polygamma functions.
S is Stirling's series (NIST Handbook of Mathematical Functions, 5.11.1). Smaller a are raised by the recurrence
Gamma(a + 1) = a Gamma(a).
"""

from functools import partial
from math import factorial

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.gradient import grad_not_implemented
from pytensor.graph.basic import Constant, Variable
from pytensor.scalar.math import GammaLn
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from scipy import special

from pymc_inla.compile.graph import is_elementwise, replace_nodes

LARGE = 20.0
"""a from which on Stirling's series is exact to 1e-17"""
ORDERS = range(4)
STIRLING = np.array(
    [
        [
            (-1) ** order * factorial(2 * k + order - 2) / factorial(2 * k - 2) * bernoulli / (2 * k * (2 * k - 1))
            for k, bernoulli in reversed(list(enumerate(special.bernoulli(14)[2::2], start=1)))
        ]
        for order in ORDERS
    ]
)
"""Coefficients of the derivatives of Stirling's series, of the highest power first"""


class Rising(ps.BinaryScalarOp):
    """Derivative in a of log Gamma(a + c) - log Gamma(a), of order 0 to 3."""

    def __init__(self, order: int, **kwargs):
        super().__init__(ps.upgrade_to_float, **kwargs)
        self.order = order

    def __eq__(self, other):
        return type(self) is type(other) and self.order == other.order

    def __hash__(self):
        return hash((type(self), self.order))

    @property
    def nfunc_spec(self):
        return f"{__name__}.rising_{self.order}", 2, 1

    def impl(self, a, c):
        return _rising(self.order, a, c)

    def pullback(self, inputs, outputs, output_gradients):
        # c is data
        if self.order == 3:
            in_a = grad_not_implemented(self, 0, inputs[0])
        else:
            in_a = output_gradients[0] * SCALARS[self.order + 1](*inputs)
        return [in_a, grad_not_implemented(self, 1, inputs[1])]


def _rising(order, a, c):
    """The same of arrays"""
    from pymc_inla.compile.rising_kernels import rising

    a, c = np.asarray(a, dtype=float), np.asarray(c, dtype=float)
    if a.shape != c.shape:
        a, c = np.broadcast_arrays(a, c)
    return rising(order, a.ravel(), c.ravel()).reshape(a.shape)


rising_0, rising_1, rising_2, rising_3 = (partial(_rising, order) for order in ORDERS)
SCALARS = [Rising(order, name=f"rising_{order}") for order in ORDERS]
log_rising = Elemwise(SCALARS[0])
FUNCTIONS = pt.gammaln, pt.psi, pt.tri_gamma, partial(pt.polygamma, 2)
"""log Gamma and its derivatives"""


def stirling(order, x):
    """Derivative of S(x) = sum_k B_2k / (2k (2k - 1) x^(2k - 1)) by Horner's rule"""
    inverse = 1.0 / x
    square, total = inverse * inverse, 0.0
    for coefficient in STIRLING[order]:
        total = total * square + coefficient
    return total * inverse ** (order + 1)


def series_of(log, log1p, stirling):
    """The derivative of any order for large a, written in these functions"""

    def series(order, a, c):
        b = a + c
        if order == 0:
            return c * log(b) + ((a - 0.5) * log1p(c / a) - c) + (stirling(0, b) - stirling(0, a))
        # ratios, as powers of a overflow
        r, s = 1.0 / a, 1.0 / b
        difference = c * r * s
        if order == 1:
            leading = log1p(c / a) + 0.5 * difference
        elif order == 2:
            leading = -difference - 0.5 * difference * (r + s)
        else:
            leading = difference * (r + s) + difference * (r * r + r * s + s * s)
        return leading + (stirling(order, b) - stirling(order, a))

    return series


def written_out(node) -> Variable | None:
    """The result of an operation of this file in functions that every backend has."""
    if not is_elementwise(node, Rising):
        return None
    (a, c), order = node.inputs, node.op.scalar_op.order
    large = a >= LARGE
    by_series = series_of(pt.log, pt.log1p, stirling)(order, pt.switch(large, a, LARGE), c)
    moderate, function = pt.switch(large, LARGE, a), FUNCTIONS[order]
    return pt.switch(large, by_series, function(moderate + c) - function(moderate))


def rising_factorials(expression: Variable) -> Variable:
    """The same expression with differences of log Gamma functions whose arguments differ by constants in one piece."""
    return replace_nodes([expression], _with_pairs)[0]


def _with_pairs(node) -> Variable | None:
    if not is_elementwise(node, (ps.Add, ps.Sub)):
        return None
    terms = _terms(node.outputs[0])
    gammas = [k for k, (_, term) in enumerate(terms) if is_elementwise(term.owner, GammaLn)]
    paired, found = set(), []
    for plus in gammas:
        for minus in gammas:
            if terms[plus][0] < 0 or terms[minus][0] > 0 or paired & {plus, minus}:
                continue
            pair = _pair(terms[plus][1].owner.inputs[0], terms[minus][1].owner.inputs[0])
            if pair is not None:
                paired |= {plus, minus}
                found.append(pair)
    if not found:
        return None
    found += [(sign, term) for k, (sign, term) in enumerate(terms) if k not in paired]
    total = 0.0
    for sign, term in found:
        total = total + term if sign > 0 else total - term
    return total


def _pair(above: Variable, below: Variable) -> tuple[int, Variable] | None:
    """log Gamma(above) - log Gamma(below) as a sign and a log rising factorial"""
    (names, constant), (others, other) = _split(above), _split(below)
    if not names or names != others:
        return None
    c = constant - other
    sign = 1 if np.all(c >= 0) else -1
    if not np.all(sign * c >= 0):
        return None
    base = other if sign > 0 else constant
    parts = [times * v for v, times in names.items()] + ([pt.constant(base)] if np.any(base != 0) else [])
    return sign, log_rising(sum(parts[1:], parts[0]), pt.constant(np.abs(c)))


def _split(variable: Variable) -> tuple[dict[Variable, int], np.ndarray]:
    """A sum as {variable: how often} and a constant"""
    names, constant = {}, np.zeros((1,) * variable.type.ndim)
    for sign, term in _terms(variable):
        if (value := _constant(term)) is not None:
            constant = constant + sign * value
        else:
            names[term] = names.get(term, 0) + sign
    return {v: times for v, times in names.items() if times}, constant


def _terms(variable: Variable, sign: int = 1) -> list[tuple[int, Variable]]:
    """The signed terms of a sum"""
    node = variable.owner
    if is_elementwise(node, ps.Add):
        return [term for part in node.inputs for term in _terms(part, sign)]
    if is_elementwise(node, ps.Sub):
        return _terms(node.inputs[0], sign) + _terms(node.inputs[1], -sign)
    if is_elementwise(node, ps.Neg):
        return _terms(node.inputs[0], -sign)
    return [(sign, variable)]


def _constant(variable: Variable) -> np.ndarray | None:
    """The value of a constant, with the axes it was given"""
    if isinstance(variable, Constant):
        return np.asarray(variable.data, dtype=float)
    node = variable.owner
    if node is not None and isinstance(node.op, DimShuffle | Alloc) and isinstance(node.inputs[0], Constant):
        return np.asarray(variable.eval(), dtype=float)
    return None
