"""The prior of a hyperparameter in R-INLA's words where it has them, otherwise in PyMC's.

R-INLA writes priors of the precision tau of a Gaussian effect. A model in PyMC's words has a variable r (a standard
deviation, a variance, a logarithm, ...) and a scale that is a power law of it, s = c r^p or s = c exp(q r), so that
theta = log tau = -2 log s; the prior of r then is one of theta (DESIGN 8.2).
"""

from __future__ import annotations

import math
from functools import singledispatch

from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.multivariate import CARRV, ICARRV, ZeroSumNormalRV
from pytensor.graph.traversal import ancestors
from pytensor.scalar import Mul, TrueDiv
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.random.basic import NormalRV
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor

from pymc_inla.analysis.classify import distribution_name
from pymc_inla.analysis.power_law import PowerLaw, power_law

WORDS = "pymc_inla_prior"
"""Tag of a random variable that says how its prior was written"""
POSITIVE = {"Exponential", "Gamma", "InvGamma", "HalfNormal", "TruncatedNormal", "LogNormal", "HalfFlat"}
NOT_VANISHING = {"flat", "logflat"}
"""Words of priors with infinite mass where the precision goes to infinity"""
ALPHA = 0.01
"""pc.prec(u, alpha) is an exponential distribution of one parameter: of all pairs this alpha is shown"""


def in_words(word: str, *values: float) -> str:
    """ "word(1, 0.01)" with four significant digits."""
    return f"{word}({', '.join(f'{v:.4g}' for v in values)})" if values else word


# ---------------------------------------------------------------------------------------------------------------------
# Where the scales of Gaussian variables stand in the graph
# ---------------------------------------------------------------------------------------------------------------------


@singledispatch
def scale_of(op, inputs):
    """(expression, exponent) with standard deviation = expression^exponent of a Gaussian variable, or None.

    Random variables register theirs by the type of their `op`.
    """
    return None


scale_of.register(NormalRV)(lambda op, inputs: (inputs[3], 1.0))
scale_of.register(ZeroSumNormalRV)(lambda op, inputs: (inputs[2], 1.0))
scale_of.register(ICARRV)(lambda op, inputs: (inputs[-2], 1.0))
scale_of.register(CARRV)(lambda op, inputs: (inputs[5], -0.5))


def gaussian_scales(variables) -> list[tuple]:
    """(expression, exponent) of every Gaussian scale above the variables, those of non-centered effects included."""
    scales, seen = [], set()
    for variable in ancestors(variables):
        node = variable.owner
        if node is None or node in seen:
            continue
        seen.add(node)
        scale = scale_of(node.op, node.inputs)
        if scale is not None:
            scales.append(scale)
        elif isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, Mul | TrueDiv) and len(node.inputs) == 2:
            left, right = node.inputs
            exponent = 1.0 if isinstance(node.op.scalar_op, Mul) else -1.0
            if _is_standard_normal(left):
                scales.append((right, exponent))
            elif _is_standard_normal(right) and exponent == 1:
                scales.append((left, exponent))
    return scales


def _is_standard_normal(variable) -> bool:
    while variable.owner is not None and isinstance(variable.owner.op, DimShuffle | Subtensor | AdvancedSubtensor):
        variable = variable.owner.inputs[0]
    if variable.owner is None or not isinstance(variable.owner.op, NormalRV):
        return False
    mean, sd = (power_law(p, None, False) for p in variable.owner.inputs[2:4])
    return mean == PowerLaw(0.0) and sd == PowerLaw(1.0)


# ---------------------------------------------------------------------------------------------------------------------
# From the distribution of r and the power law to the words
# ---------------------------------------------------------------------------------------------------------------------


def _power_words(name, values, c, p):
    """Prior of tau = (c r^p)^-2 for a positive variable r."""
    if name == "Exponential":
        (scale,) = values
        if p == 1:
            return in_words("pc.prec", -math.log(ALPHA) * c * scale, ALPHA)
        name, values = "Gamma", (1.0, scale)
    if name == "Gamma":
        a, scale = values
        if p == -0.5:
            return in_words("loggamma", a, c**2 / scale)
        return _power_words("Exponential", (scale,), c, p) if a == 1 and p == 1 else None
    if name == "InvGamma" and p == 0.5:
        return in_words("loggamma", values[0], values[1] * c**2)
    if name == "HalfNormal" and p == 1 and values[0] == 0:
        return in_words("logtnormal", 0.0, 1 / (c * values[1]) ** 2)
    if name == "TruncatedNormal" and p == 1 and values[2:] == (0.0, math.inf):
        return in_words("logtnormal", c * values[0], 1 / (c * values[1]) ** 2)
    if name == "LogNormal":
        return _log_words("Normal", values, c, p)
    if name == "HalfFlat" and p in (-0.5, 0.5):
        return "logflat" if p < 0 else "logiflat"
    return None


def _log_words(name, values, c, q):
    """Prior of theta = -2 log c - 2 q r for a real variable r."""
    if name == "Normal":
        return in_words("normal", -2 * math.log(c) - 2 * q * values[0], 1 / (2 * q * values[1]) ** 2)
    if name == "Laplace":
        return in_words("laplace", -2 * math.log(c) - 2 * q * values[0], 1 / (2 * (2 * q * values[1]) ** 2))
    return "flat" if name == "Flat" else None


def distribution_values(rv) -> tuple[float, ...] | None:
    """Parameters as the random variable stores them, or None where they are not numbers."""
    op = rv.owner.op
    if not isinstance(op, RandomVariable | SymbolicRandomVariable) or op.ndims_params is None:
        return None
    laws = [power_law(parameter, None, False) for parameter in op.dist_params(rv.owner)]
    return None if None in laws else tuple(law.value for law in laws)


def inla_words(rv, scales) -> str | None:
    """The prior of the precision that `rv` stands for, if it is the scale of Gaussian variables and has a name.

    Parameters
    ----------
    rv : random variable
    scales : list
        Of `gaussian_scales`.
    """
    values = distribution_values(rv)
    if values is None:
        return None
    name, found = distribution_name(rv), set()
    for expression, exponent in scales:
        law = power_law(expression, rv, name in POSITIVE)
        if law is None or law.is_constant or law.a != 0 or law.c <= 0 or (law.p != 0) == (law.q != 0):
            continue
        c, p, q = law.c**exponent, law.p * exponent, law.q * exponent
        found.add(_power_words(name, values, c, p) if p else _log_words(name, values, c, q))
    return found.pop() if len(found) == 1 else None


PYMC_PARAMETERS = {
    "Exponential": lambda scale: {"lam": 1 / scale},
    "Gamma": lambda alpha, scale: {"alpha": alpha, "beta": 1 / scale},
    "HalfNormal": lambda loc, sigma: {"sigma": sigma},
    "HalfCauchy": lambda beta: {"beta": beta},
    "HalfStudentT": lambda nu, sigma: {"nu": nu, "sigma": sigma},
    "InvGamma": lambda alpha, beta: {"alpha": alpha, "beta": beta},
    "Beta": lambda alpha, beta: {"alpha": alpha, "beta": beta},
}
"""What the user of PyMC writes, from the parameters that the random variable stores"""
PYMC_NAMES = {"InvGamma": "InverseGamma"}


def pymc_words(rv) -> str:
    """PyMC's words with the parameters that are numbers: "HalfCauchy(beta=2.5)", "Uniform(0, 10)"."""
    name, values = distribution_name(rv), distribution_values(rv)
    if not values:
        return name
    if name in PYMC_PARAMETERS:
        named = PYMC_PARAMETERS[name](*values)
        return f"{PYMC_NAMES.get(name, name)}({', '.join(f'{key}={value:.4g}' for key, value in named.items())})"
    return in_words(name, *values)


def describe_prior(rv, scales, tag) -> str:
    """The words of a prior: those it was written with, R-INLA's, or PyMC's.

    Parameters
    ----------
    tag : object
        Of the random variable in the user's model, where `pymc_inla.priors` leaves its words.
    """
    return getattr(tag, WORDS, None) or inla_words(rv, scales) or pymc_words(rv)
