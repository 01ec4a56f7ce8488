"""Closed forms of the common likelihoods: value and derivatives without any compilation.

Every class has `evaluate(eta, theta)` -> (value, gradient, W), each (n,), its reverse mode `vjp` and `values` of many
eta at once (m, n), `cdf(eta, theta)`, P(Y <= y), and `only(index)`, the same for some of the observations. `recognize`
decides where they apply; automatic differentiation of the graph agrees with them.
"""

from copy import copy

import numpy as np
from scipy import special


def _exp_of_minus_abs(eta):
    result = np.abs(eta)
    np.negative(result, out=result)
    return np.exp(result, out=result)


def softplus(eta):
    """log(1 + exp(eta)), in half the time of numpy.logaddexp"""
    result = _exp_of_minus_abs(eta)
    np.log1p(result, out=result)
    result += np.maximum(eta, 0.0)
    return result


def logistic(eta):
    """p = 1 / (1 + exp(-eta)) and 1 - p, by one exponential and without cancellation"""
    rarer = _exp_of_minus_abs(eta)
    p, likelier = _logistic(eta, rarer)
    q = np.maximum(rarer, (eta < 0).astype(float))
    q *= likelier
    return p, q


def _logistic(eta, rarer):
    """p, and the larger of p and 1 - p, from exp(-abs(eta))

    Not by numpy.where: where signs are mixed its branches are mispredicted, which takes longer than the exponential.
    """
    likelier = 1.0 + rarer
    np.divide(1.0, likelier, out=likelier)
    p = np.maximum(rarer, (eta >= 0).astype(float))
    p *= likelier
    return p, likelier


class ClosedForm:
    """One likelihood term with one linear predictor per observation.

    Attributes of shape (n,) hold one number per observation.
    """

    m, gaussian = 1, False
    n: int
    parameters = None

    def only(self, index) -> "ClosedForm":
        """The term of some observations, in the order of `index` (int array or slice)."""
        some = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and value.shape == (self.n,):
                setattr(some, name, value[index])
        some.n = len(np.arange(self.n)[index])
        if self.parameters is not None:
            some.parameters = self.parameters.only(index, self.n)
        return some


class Poisson(ClosedForm):
    """y ~ Poisson(c exp(eta)): l = y (eta + log c) - c exp(eta) - log y!"""

    def __init__(self, y, exposure):
        self.y, self.n = y, len(y)
        self.exposure = None if np.all(exposure == 1) else exposure
        self.constant = special.xlogy(y, exposure) - special.gammaln(y + 1)

    def values(self, eta, theta):
        return self._value(eta, self._mean(eta))

    def _value(self, eta, mean):
        value = self.y * eta
        value -= mean
        value += self.constant
        return value

    def _mean(self, eta):
        with np.errstate(over="ignore"):
            mean = np.exp(eta)
        return mean if self.exposure is None else mean * self.exposure

    def cdf(self, eta, theta):
        return special.pdtr(self.y, self._mean(eta))

    def evaluate(self, eta, theta):
        mean = self._mean(eta)
        return self._value(eta, mean), self.y - mean, mean

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        mean = self._mean(eta)
        through_value, through_mean = self.y - mean, W_bar - gradient_bar
        through_value *= value_bar
        through_mean *= mean
        through_value += through_mean
        return through_value, np.zeros(len(theta))


class BinomialLogit(ClosedForm):
    """y ~ Binomial(n, 1 / (1 + exp(-eta))): l = log C(n, y) + y eta - n log(1 + exp(eta))"""

    def __init__(self, y, trials):
        self.y, self.trials, self.n = y, np.asarray(trials, dtype=float), len(y)
        self.constant = special.gammaln(trials + 1) - special.gammaln(y + 1) - special.gammaln(trials - y + 1)

    def values(self, eta, theta):
        return self._value(eta, _exp_of_minus_abs(eta))

    def _value(self, eta, rarer):
        """From exp(-abs(eta)), whose place it takes"""
        value = np.log1p(rarer, out=rarer)
        value += np.maximum(eta, 0.0)
        value *= -self.trials
        value += self.y * eta
        value += self.constant
        return value

    def cdf(self, eta, theta):
        # the regularized incomplete beta function takes float counts, and 1 where all trials succeeded
        rest = self.trials - self.y
        return np.where(rest > 0, special.betainc(np.maximum(rest, 1.0), self.y + 1.0, special.expit(-eta)), 1.0)

    def evaluate(self, eta, theta):
        rarer = _exp_of_minus_abs(eta)
        mean, likelier = _logistic(eta, rarer)
        mean *= self.trials
        W = rarer * likelier
        W *= likelier
        W *= self.trials
        return self._value(eta, rarer), np.subtract(self.y, mean, out=mean), W

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        p, q = logistic(eta)
        W = p * q
        W *= self.trials
        eta_bar = q - p
        eta_bar *= W_bar
        eta_bar -= gradient_bar
        eta_bar *= W
        p *= self.trials
        np.subtract(self.y, p, out=p)
        p *= value_bar
        eta_bar += p
        return eta_bar, np.zeros(len(theta))


class BernoulliLogit(BinomialLogit):
    """y ~ Bernoulli(1 / (1 + exp(-eta))): l = min(s eta, 0) - log(1 + exp(-abs(eta))) with s = 2 y - 1"""

    def __init__(self, y):
        self.y, self.trials, self.n = y, np.ones(len(y)), len(y)
        self.s = 2.0 * y - 1.0

    def _value(self, eta, rarer):
        value = self.s * eta
        np.minimum(value, 0.0, out=value)
        value -= np.log1p(rarer, out=rarer)
        return value


class Normal(ClosedForm):
    """y ~ Normal(eta, sigma(theta)): l = -log(2 pi)/2 - log sigma - (y - eta)^2 / (2 sigma^2)

    Parameters
    ----------
    parameters : Parameters
        (log sigma,)
    log_jacobian : float or array (n,)
        Added to l where y is a transform of the data
    """

    gaussian = True

    def __init__(self, y, parameters, log_jacobian=0.0):
        self.y, self.n, self.parameters = y, len(y), parameters
        self.constant = log_jacobian - 0.5 * np.log(2 * np.pi)

    def values(self, eta, theta):
        (log_sigma,) = self.parameters(theta)
        return self.constant - log_sigma - 0.5 * np.exp(-2 * log_sigma) * (self.y - eta) ** 2

    def cdf(self, eta, theta):
        (log_sigma,) = self.parameters(theta)
        return special.ndtr((self.y - eta) * np.exp(-log_sigma))

    def evaluate(self, eta, theta):
        (log_sigma,) = self.parameters(theta)
        precision = np.exp(-2 * log_sigma)
        residual = self.y - eta
        value = self.constant - log_sigma - 0.5 * precision * residual**2
        return value, precision * residual, np.broadcast_to(precision, eta.shape).copy()

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        (log_sigma,) = self.parameters(theta)
        precision = np.exp(-2 * log_sigma)
        residual = self.y - eta
        eta_bar = value_bar * precision * residual - gradient_bar * precision
        change = (
            value_bar * (precision * residual**2 - 1) - 2 * gradient_bar * precision * residual - 2 * W_bar * precision
        )
        return eta_bar, self.parameters.vjp(theta, [change])


class NegativeBinomial(ClosedForm):
    """y ~ NegativeBinomial(alpha, p) with logit p = d = k + s eta and alpha, k functions of theta:

    l = log G(y + alpha) - log G(alpha) - log y! - alpha log(1 + exp(-d)) - y log(1 + exp(d))

    A mean r exp(eta) is s = -1 and k = log alpha - log r.

    Parameters
    ----------
    sign : int
        s
    parameters : Parameters
        (alpha, k)
    """

    def __init__(self, y, sign, parameters):
        self.y, self.n, self.sign, self.parameters = y, len(y), sign, parameters
        self.positive = y > 0
        # log G(y + alpha) - log G(alpha) = log G(y) - log B(alpha, y): no cancellation where alpha is large
        self.constant = np.where(self.positive, special.gammaln(np.maximum(y, 1)), 0.0) - special.gammaln(y + 1)

    def _value(self, alpha, d):
        with np.errstate(all="ignore"):
            beta = np.where(self.positive, special.betaln(alpha, np.maximum(self.y, 1.0)), 0.0)
        distance = np.abs(d)
        powers = np.where(d > 0, self.y, alpha) * distance + (alpha + self.y) * softplus(-distance)
        return self.constant - beta - powers

    def values(self, eta, theta):
        alpha, k = self.parameters(theta)
        return self._value(alpha, k + self.sign * eta)

    def cdf(self, eta, theta):
        alpha, k = self.parameters(theta)
        return special.betainc(alpha, self.y + 1.0, special.expit(k + self.sign * eta))

    def evaluate(self, eta, theta):
        alpha, k = self.parameters(theta)
        d = k + self.sign * eta
        p, q = logistic(d)
        return self._value(alpha, d), self.sign * (alpha * q - self.y * p), (alpha + self.y) * p * q

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        alpha, k = self.parameters(theta)
        d = k + self.sign * eta
        p, q = logistic(d)
        W = (alpha + self.y) * p * q
        d_bar = value_bar * (alpha * q - self.y * p) - self.sign * gradient_bar * W + W_bar * W * (q - p)
        slope = special.digamma(self.y + alpha) - special.digamma(alpha) - np.logaddexp(0.0, -d)
        alpha_bar = value_bar * slope + self.sign * gradient_bar * q + W_bar * p * q
        return self.sign * d_bar, self.parameters.vjp(theta, [alpha_bar, d_bar])


class Gamma(ClosedForm):
    """y ~ Gamma(alpha, rate) with log rate = d = k + s eta and alpha, k functions of theta:

    l = alpha d - log G(alpha) + (alpha - 1) log y - y exp(d)

    The exponential distribution is alpha = 1.

    Parameters
    ----------
    sign : int
        s
    parameters : Parameters
        (alpha, k)
    """

    def __init__(self, y, sign, parameters):
        self.y, self.n, self.sign, self.parameters = y, len(y), sign, parameters
        self.log_y = np.log(y)

    def _scaled(self, d):
        with np.errstate(over="ignore"):
            return np.exp(d + self.log_y)

    def values(self, eta, theta):
        alpha, k = self.parameters(theta)
        d = k + self.sign * eta
        return alpha * d - special.gammaln(alpha) + (alpha - 1) * self.log_y - self._scaled(d)

    def cdf(self, eta, theta):
        alpha, k = self.parameters(theta)
        return special.gammainc(alpha, self._scaled(k + self.sign * eta))

    def evaluate(self, eta, theta):
        alpha, k = self.parameters(theta)
        d = k + self.sign * eta
        W = self._scaled(d)
        value = alpha * d - special.gammaln(alpha) + (alpha - 1) * self.log_y - W
        return value, self.sign * (alpha - W), W

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        alpha, k = self.parameters(theta)
        d = k + self.sign * eta
        W = self._scaled(d)
        d_bar = value_bar * (alpha - W) - self.sign * gradient_bar * W + W_bar * W
        alpha_bar = value_bar * (d - special.digamma(alpha) + self.log_y) + self.sign * gradient_bar
        return self.sign * d_bar, self.parameters.vjp(theta, [alpha_bar, d_bar])
