"""Priors of a precision tau, theta = log tau, sigma = tau^(-1/2), as R-INLA defines them (DESIGN 8.2)."""

from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions import transforms
from scipy.special import log_ndtr

from pymc_inla.priors.base import InternalPrior, Prior, as_number, as_positive, as_probability, store
from pymc_inla.priors.double_exponential import double_exponential


@dataclass(frozen=True)
class LogGamma(Prior):
    """tau ~ Gamma(a, rate b), that is log pi(theta) = a log b - log Gamma(a) + a theta - b exp(theta).

    Parameters
    ----------
    a, b : float
        Shape and rate, positive. Default 1 and 5e-5.
    """

    a: float = 1.0
    b: float = 5e-5
    word = "loggamma"

    def __post_init__(self):
        store(self, a=as_positive(self.word, "shape a", self.a), b=as_positive(self.word, "rate b", self.b))

    def precision(self, name, initial):
        return self.written(pm.Gamma(name, self.a, self.b, initval=np.exp(initial)))


@dataclass(frozen=True)
class PenalizedComplexity(Prior):
    """sigma ~ Exponential(lambda) with P(sigma > u) = alpha: lambda = -log(alpha) / u.

    log pi(theta) = log(lambda / 2) - lambda exp(-theta / 2) - theta / 2 (Simpson et al. 2017, section 3.3). The
    variable of the model is the standard deviation, `name_sigma`.

    Parameters
    ----------
    u : float
        Positive, on the scale of the standard deviation.
    alpha : float
        Probability in (0, 1).
    """

    u: float
    alpha: float
    word = "pc.prec"
    tail_slope = -0.5

    def __post_init__(self):
        store(self, u=as_positive(self.word, "u", self.u), alpha=as_probability(self.word, "alpha", self.alpha))

    def precision(self, name, initial):
        sigma = pm.Exponential(f"{name}_sigma", -np.log(self.alpha) / self.u, initval=np.exp(-initial / 2))
        self.written(sigma)
        return pm.Deterministic(name, sigma**-2)


@dataclass(frozen=True)
class MeanAndPrecision(Prior):
    """A prior with a mean m and a precision k > 0."""

    m: float
    k: float

    def __post_init__(self):
        store(self, m=as_number(self.word, "mean", self.m), k=as_positive(self.word, "precision", self.k))


@dataclass(frozen=True)
class Normal(MeanAndPrecision, InternalPrior):
    """theta ~ N(m, 1/k).

    Parameters
    ----------
    m : float
        Mean.
    k : float
        Precision, positive.
    """

    word = "normal"

    def internal(self, name, initial):
        return self.written(pm.Normal(name, self.m, 1 / np.sqrt(self.k), initval=initial))


@dataclass(frozen=True)
class TruncatedNormal(MeanAndPrecision):
    """sigma ~ N(m, 1/k) truncated to sigma > 0 (R-INLA's logtnormal; a half-normal sigma for m = 0).

    log pi(theta) = log(k / 2 pi) / 2 - k (sigma - m)^2 / 2 - log Phi(m sqrt(k)) + log(sigma / 2). The variable of the
    model is the standard deviation, `name_sigma`.

    Parameters
    ----------
    m : float
        Mean of the normal distribution before truncation.
    k : float
        Its precision, positive.
    """

    word = "logtnormal"
    tail_slope = -0.5

    def precision(self, name, initial):
        sd, start = 1 / np.sqrt(self.k), np.exp(-initial / 2)
        if self.m == 0:
            sigma = self.written(pm.HalfNormal(f"{name}_sigma", sd, initval=start))
            return pm.Deterministic(name, sigma**-2)
        # pm.TruncatedNormal normalizes to single precision only
        constant = 0.5 * np.log(self.k / (2 * np.pi)) - log_ndtr(self.m / sd)

        def logp(sigma):
            return pt.switch(sigma > 0, constant - 0.5 * self.k * (sigma - self.m) ** 2, -np.inf)

        def random(rng=None, size=None):
            from scipy.stats import truncnorm

            return truncnorm.rvs(-self.m / sd, np.inf, self.m, sd, size=size, random_state=rng)

        sigma = pm.CustomDist(f"{name}_sigma", logp=logp, random=random, transform=transforms.log, initval=start)
        return pm.Deterministic(name, self.written(sigma) ** -2)


@dataclass(frozen=True)
class Laplace(MeanAndPrecision, InternalPrior):
    """log pi(theta) = log(k / 2) / 2 - sqrt(2 k) abs(theta - m), of variance 1/k.

    The variable of the model is a standard normal, `name_log_z`, of which theta is a function: the density of theta
    has a kink at m, which an integration over theta would meet.

    Parameters
    ----------
    m : float
        Mean.
    k : float
        Precision, positive.
    """

    word = "laplace"

    @property
    def tail_slope(self):
        return -float(np.sqrt(2 * self.k))

    def internal(self, name, initial):
        z, distance = double_exponential(f"{name}_z", 1 / np.sqrt(2 * self.k), initial - self.m)
        self.written(z)
        return self.m + distance


@dataclass(frozen=True)
class Flat(InternalPrior):
    """log pi(theta) = 0: improper, and so is the posterior of a free effect."""

    word = "flat"
    tail_slope = 0.0

    def internal(self, name, initial):
        return self.written(pm.Flat(name, initval=initial))


@dataclass(frozen=True)
class LogIFlat(Prior):
    """Flat in the variance 1/tau, `name_variance`: log pi(theta) = -theta. Improper."""

    word = "logiflat"
    tail_slope = -1.0

    def precision(self, name, initial):
        return pm.Deterministic(name, 1 / self.written(pm.HalfFlat(f"{name}_variance", initval=np.exp(-initial))))


@dataclass(frozen=True)
class LogFlat(Prior):
    """Flat in the precision tau: log pi(theta) = theta. Improper, and so is the posterior of a free effect."""

    word = "logflat"
    tail_slope = 1.0

    def precision(self, name, initial):
        return self.written(pm.HalfFlat(name, initval=np.exp(initial)))


def fixed_precision(name: str, initial: float):
    """exp(initial) as a constant of the model."""
    return pm.Deterministic(name, pt.constant(np.exp(initial), dtype="float64"))
