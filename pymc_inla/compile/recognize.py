"""Which likelihood terms have a closed form (`families`), read off the graph of the observed variable's parameters.

Everything that is not recognized here goes through automatic differentiation, with which the formulas agree.
"""

from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.shape import Reshape

from pymc_inla.compile.families import BernoulliLogit, BinomialLogit, Gamma, NegativeBinomial, Normal, Poisson
from pymc_inla.compile.parameters import Parameters


@dataclass(frozen=True)
class LogLinear:
    """exp(sign * eta + log_factor), where log_factor is free of eta."""

    sign: int
    log_factor: Variable


def recognize_family(term, hyperparameters, compile_kwargs):
    """The closed form of one likelihood term, or None.

    Recognized, with c constant, r and every other parameter free of eta: Poisson(c exp(eta)),
    Binomial(c, sigmoid(eta)), Bernoulli(sigmoid(eta)), Normal(eta, sigma), LogNormal(eta, sigma),
    NegativeBinomial(mu=r exp(+-eta), alpha), Gamma(alpha, beta=r exp(+-eta)), Exponential(r exp(+-eta)).

    None when the distribution is not a plain random variable, has more than one linear predictor, data that are not
    constant or lie outside the support, or parameters that do not match.
    """
    rv = term.distribution
    if rv is None or len(term.predictors) != 1 or term.observed is None:
        return None
    (eta,) = term.predictors
    y = np.asarray(term.observed, float).ravel()
    parameters = rv.owner.op.dist_params(rv.owner)
    name = type(rv.owner.op).__name__

    def of_theta(*graphs):
        return Parameters([pt.as_tensor(g) for g in graphs], hyperparameters, compile_kwargs)

    if name == "PoissonRV" and _counts(y):
        exposure = _constant_factor(parameters[0], eta)
        if exposure is not None and np.all((exposure > 0) | ((exposure == 0) & (y == 0))):
            return Poisson(y, np.broadcast_to(exposure, y.shape).astype(float))
    if name == "BinomialRV" and _constant(parameters[0]) is not None and _is_unary(parameters[1], "Sigmoid", eta):
        trials = np.broadcast_to(_constant(parameters[0]), y.shape)
        if _counts(y) and np.all(y <= trials):
            return BinomialLogit(y, trials)
    if name == "BernoulliRV" and _is_unary(parameters[0], "Sigmoid", eta) and np.all((y == 0) | (y == 1)):
        return BernoulliLogit(y)
    if name == "NormalRV" and _strip(parameters[0]) is eta and _free_of(eta, parameters[1]):
        return Normal(y, of_theta(pt.log(parameters[1])))
    if name == "LogNormalRV" and np.all(y > 0) and _strip(parameters[0]) is eta and _free_of(eta, parameters[1]):
        return Normal(np.log(y), of_theta(pt.log(parameters[1])), log_jacobian=-np.log(y))
    if name == "NegBinomialRV" and _counts(y) and _free_of(eta, parameters[0]):
        odds = _log_odds(parameters[1], eta)
        if odds is not None:
            return NegativeBinomial(y, odds.sign, of_theta(parameters[0], odds.log_factor))
    if name in {"GammaRV", "ExponentialRV"} and np.all(y > 0):
        shape, scale = parameters if name == "GammaRV" else (pt.constant(1.0), parameters[0])
        scale = _log_linear(scale, eta)
        if scale is not None and _free_of(eta, shape):
            return Gamma(y, -scale.sign, of_theta(shape, -scale.log_factor))
    return None


def _counts(y) -> bool:
    return bool(np.all(y >= 0) and np.all(y == np.floor(y)))


def _free_of(eta, variable) -> bool:
    return eta not in set(ancestors([variable]))


def _scalar_op(variable) -> str | None:
    """Name of the elementwise operation that makes a variable."""
    node = variable.owner
    return type(node.op.scalar_op).__name__ if node is not None and isinstance(node.op, Elemwise) else None


def _strip(variable):
    """The variable below casts, identities and trivial dimension shuffles."""
    while variable.owner is not None and (
        _scalar_op(variable) in {"Identity", "Cast"}
        or (isinstance(variable.owner.op, DimShuffle) and variable.owner.inputs[0].ndim == variable.ndim == 1)
    ):
        variable = variable.owner.inputs[0]
    return variable


def _is_unary(variable, name, eta) -> bool:
    variable = _strip(variable)
    return _scalar_op(variable) == name and _strip(variable.owner.inputs[0]) is eta


def _log_linear(variable, eta) -> LogLinear | None:
    """The variable as exp(sign * eta) times factors free of eta, or None when it is no such product or quotient."""
    variable = _strip(variable)
    if _is_unary(variable, "Exp", eta):
        return LogLinear(1, pt.constant(0.0))
    name, inputs = _scalar_op(variable), variable.owner.inputs if variable.owner is not None else ()
    if name == "Reciprocal":
        inside = _log_linear(inputs[0], eta)
        return None if inside is None else LogLinear(-inside.sign, -inside.log_factor)
    if name not in {"Mul", "TrueDiv"}:
        return None
    sign, log_factor = 0, pt.constant(0.0)
    for k, v in enumerate(inputs):
        power = -1 if name == "TrueDiv" and k == 1 else 1
        if _free_of(eta, v):
            log_factor = log_factor + power * pt.log(v)
            continue
        inside = _log_linear(v, eta)
        if inside is None or sign != 0:
            return None
        sign, log_factor = power * inside.sign, log_factor + power * inside.log_factor
    return LogLinear(sign, log_factor) if sign else None


def _log_odds(p, eta) -> LogLinear | None:
    """p / (1 - p) where p = sigmoid(log a - log b), how PyMC writes the negative binomial's a / (a + b), or None."""
    p = _strip(p)
    if _scalar_op(p) != "Sigmoid":
        return None
    difference = _strip(p.owner.inputs[0])
    if _scalar_op(difference) != "Sub":
        return None
    log_a, log_b = (_strip(v) for v in difference.owner.inputs)
    if _scalar_op(log_b) != "Log" or not _free_of(eta, log_a):
        return None
    b = _log_linear(log_b.owner.inputs[0], eta)
    return None if b is None else LogLinear(-b.sign, log_a - b.log_factor)


def _constant_factor(variable, eta):
    """c of c * exp(eta) (1 without a factor), or None when it is anything else."""
    variable = _strip(variable)
    if _is_unary(variable, "Exp", eta):
        return np.ones(1)
    if _scalar_op(variable) != "Mul":
        return None
    product = np.ones(1)
    for v in variable.owner.inputs:
        factor = _constant_factor(v, eta) if _constant(v) is None else _constant(v)
        if factor is None:
            return None
        product = product * factor
    return product


def _constant(variable):
    variable = _strip(variable)
    if isinstance(variable, Constant):
        return np.asarray(variable.data, float).ravel()
    if variable.owner is not None and isinstance(variable.owner.op, DimShuffle | Reshape):
        return _constant(variable.owner.inputs[0])
    return None
