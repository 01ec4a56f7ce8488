"""Closed forms of the common likelihoods: value and derivatives without any compilation.

A family is recognized from the observed variable's distribution and the graph of its parameters in the linear
predictor; everything else goes through automatic differentiation, with which these formulas agree.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.shape import Reshape
from scipy import special

from pymc_inla.compile.mode import compile_function, split_theta


def recognize_family(term, hyperparameters, compile_kwargs):
    """The closed form of one likelihood term, or None.

    None when the distribution is not a plain random variable, has more than one linear predictor, data that are not
    constant, or parameters that do not match: Poisson(exp(eta) * c), Binomial(n, sigmoid(eta)),
    Bernoulli(sigmoid(eta)), Normal(eta, sigma) with constant n and c and with sigma free of eta.
    """
    rv = term.distribution
    if rv is None or len(term.predictors) != 1 or term.observed is None:
        return None
    (eta,) = term.predictors
    y = np.asarray(term.observed, float).ravel()
    parameters = rv.owner.op.dist_params(rv.owner)
    name = type(rv.owner.op).__name__
    if name == "PoissonRV":
        exposure = _times_constant(parameters[0], lambda v: _is_unary(v, "Exp", eta))
        if exposure is not None and _counts(y) and np.all(exposure > 0):
            return Poisson(y, np.broadcast_to(exposure, y.shape).astype(float))
    if name == "BinomialRV" and _constant(parameters[0]) is not None and _is_unary(parameters[1], "Sigmoid", eta):
        trials = np.broadcast_to(_constant(parameters[0]), y.shape)
        if _counts(y) and np.all(y <= trials):
            return BinomialLogit(y, trials)
    if name == "BernoulliRV" and _is_unary(parameters[0], "Sigmoid", eta) and np.all((y == 0) | (y == 1)):
        return BinomialLogit(y, np.ones_like(y))
    if name == "NormalRV" and _strip(parameters[0]) is eta and eta not in set(ancestors([parameters[1]])):
        return Normal(y, parameters[1], hyperparameters, compile_kwargs)
    return None


def _counts(y) -> bool:
    return bool(np.all(y >= 0) and np.all(y == np.floor(y)))


def _strip(variable):
    """The variable below casts, identities and trivial dimension shuffles."""
    while variable.owner is not None and (
        (isinstance(variable.owner.op, Elemwise) and type(variable.owner.op.scalar_op).__name__ in {"Identity", "Cast"})
        or (isinstance(variable.owner.op, DimShuffle) and variable.owner.inputs[0].ndim == variable.ndim == 1)
    ):
        variable = variable.owner.inputs[0]
    return variable


def _is_unary(variable, name, eta) -> bool:
    variable = _strip(variable)
    node = variable.owner
    return (
        node is not None
        and isinstance(node.op, Elemwise)
        and type(node.op.scalar_op).__name__ == name
        and _strip(node.inputs[0]) is eta
    )


def _times_constant(variable, matches):
    """c where the variable is c * f with f recognized by `matches` and constant c (1 without a factor), else None."""
    variable = _strip(variable)
    if matches(variable):
        return np.ones(1)
    node = variable.owner
    if node is None or not isinstance(node.op, Elemwise) or type(node.op.scalar_op).__name__ != "Mul":
        return None
    factor, found = np.ones(1), 0
    for v in node.inputs:
        constant = _constant(v)
        if constant is not None:
            factor = factor * constant
        elif matches(_strip(v)):
            found += 1
        else:
            return None
    return factor if found == 1 else None


def _constant(variable):
    variable = _strip(variable)
    if isinstance(variable, Constant):
        return np.asarray(variable.data, float).ravel()
    if variable.owner is not None and isinstance(variable.owner.op, DimShuffle | Reshape):
        return _constant(variable.owner.inputs[0])
    return None


class Poisson:
    """y ~ Poisson(c exp(eta)): l = y (eta + log c) - c exp(eta) - log y!"""

    m, gaussian = 1, False

    def __init__(self, y, exposure):
        self.y, self.n = y, len(y)
        self.exposure = None if np.all(exposure == 1) else exposure
        self.constant = y * np.log(exposure) - special.gammaln(y + 1)

    def values(self, eta, theta):
        return self.y * eta - self._mean(eta) + self.constant

    def _mean(self, eta):
        with np.errstate(over="ignore"):
            mean = np.exp(eta)
        return mean if self.exposure is None else mean * self.exposure

    def evaluate(self, eta, theta):
        mean = self._mean(eta)
        return self.y * eta - mean + self.constant, self.y - mean, mean

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        mean = self._mean(eta)
        return value_bar * (self.y - mean) + (W_bar - gradient_bar) * mean, np.zeros(len(theta))


class BinomialLogit:
    """y ~ Binomial(n, 1 / (1 + exp(-eta))): l = log C(n, y) + y eta - n log(1 + exp(eta))"""

    m, gaussian = 1, False

    def __init__(self, y, trials):
        self.y, self.trials, self.n = y, trials, len(y)
        self.constant = special.gammaln(trials + 1) - special.gammaln(y + 1) - special.gammaln(trials - y + 1)

    def values(self, eta, theta):
        return self.y * eta - self.trials * np.logaddexp(0.0, eta) + self.constant

    def evaluate(self, eta, theta):
        p = special.expit(eta)
        return self.values(eta, theta), self.y - self.trials * p, self.trials * p * special.expit(-eta)

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        p, q = special.expit(eta), special.expit(-eta)
        W = self.trials * p * q
        eta_bar = value_bar * (self.y - self.trials * p) - gradient_bar * W + W_bar * W * (q - p)
        return eta_bar, np.zeros(len(theta))


class Normal:
    """y ~ Normal(eta, sigma(theta)): l = -log(2 pi)/2 - log sigma - (y - eta)^2 / (2 sigma^2)"""

    m, gaussian = 1, True

    def __init__(self, y, sigma, hyperparameters, compile_kwargs):
        self.y, self.n, self.hyperparameters = y, len(y), hyperparameters
        log_sigma = pt.log(sigma).astype("float64")
        theta = [h.variable for h in hyperparameters]
        self._log_sigma = compile_function(theta, log_sigma, compile_kwargs=compile_kwargs)
        w = log_sigma.type("w")
        product = (w * log_sigma).sum()
        parts = pt.grad(product, theta, disconnected_inputs="ignore", return_disconnected="zero") if theta else []
        stacked = pt.concatenate([g.flatten() for g in parts]).astype("float64") if theta else pt.zeros((0,))
        self._vjp = compile_function([*theta, w], stacked, compile_kwargs=compile_kwargs)
        self.scalar = log_sigma.ndim == 0 or log_sigma.type.broadcastable == (True,)
        self.ndim = log_sigma.ndim

    def _scale(self, theta):
        with np.errstate(all="ignore"):
            return np.asarray(self._log_sigma(*split_theta(theta, self.hyperparameters)))

    def values(self, eta, theta):
        log_sigma = self._scale(theta)
        return -0.5 * np.log(2 * np.pi) - log_sigma - 0.5 * np.exp(-2 * log_sigma) * (self.y - eta) ** 2

    def evaluate(self, eta, theta):
        precision = np.exp(-2 * self._scale(theta))
        residual = self.y - eta
        return self.values(eta, theta), precision * residual, np.broadcast_to(precision, eta.shape).copy()

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        log_sigma = self._scale(theta)
        precision = np.exp(-2 * log_sigma)
        residual = self.y - eta
        eta_bar = value_bar * precision * residual - gradient_bar * precision
        change = (
            value_bar * (precision * residual**2 - 1) - 2 * gradient_bar * precision * residual - 2 * W_bar * precision
        )
        if self.scalar:
            change = np.full((1,) * self.ndim, change.sum())
        return eta_bar, np.asarray(self._vjp(*split_theta(theta, self.hyperparameters), change))
