"""Priors of a correlation rho, or of its internal parameter t with rho = g(t)."""

from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc_inla.errors import InvalidOptionError
from pymc_inla.priors.base import Constructor, Prior, as_number, as_probability, checked_name, store
from pymc_inla.priors.double_exponential import double_exponential


@dataclass(frozen=True)
class PenalizedCorrelation(Prior):
    """A correlation whose base model is rho = 0: P(abs(rho) > u) = alpha.

    The distance mu = sqrt(-log(1 - rho^2)) is Exponential with rate lambda = -log(alpha) / mu(u) (Simpson et al. 2017);
    either sign is equally likely, or rho is positive only:
    log pi(rho) = log(lambda / 2) - lambda mu + log(abs(rho) / (mu (1 - rho^2))), without the 1/2 when positive. The
    variable of the model is `name_internal`: a standard normal of which rho is a smooth function, or mu when positive.

    Parameters
    ----------
    u : float
        In (0, 1).
    alpha : float
        Probability in (0, 1).
    """

    u: float
    alpha: float
    word = "pc.cor0"

    def __post_init__(self):
        store(self, u=as_probability(self.word, "u", self.u), alpha=as_probability(self.word, "alpha", self.alpha))

    def correlation(self, name: str, *, positive: bool = False, start: float | None = None):
        """The variable `name` in (-1, 1), or in (0, 1) when `positive`, started at `start`."""
        scale = _distance(self.u) / -np.log(self.alpha)
        start = (0.5 if positive else 0.1) if start is None else start
        if positive:
            variable = mu = pm.Exponential(f"{name}_internal", 1 / scale, initval=_distance(start))
        else:
            variable, mu = double_exponential(f"{name}_internal", scale, np.sign(start) * _distance(start))
        self.written(variable)
        # rho = sign(mu) sqrt(1 - exp(-mu^2)), written so that it has a derivative at zero
        square = mu**2
        small = square < 1e-8
        safe = pt.switch(small, 1.0, square)
        return pm.Deterministic(name, mu * pt.switch(small, 1 - square / 4, pt.sqrt(-pt.expm1(-safe) / safe)))


class CorrelationConstructor(Constructor):
    def __call__(self, name: str, *parameters, initial: float | None = None, **named):
        prior = self.dist(*parameters, **named)
        name = checked_name(name)
        if initial is None:
            return prior.correlation(name)
        t = as_number(f"of {name}", "initial", initial)
        rho = np.tanh(t / 2)  # the internal parameter of a correlation in R-INLA: rho = 2 / (1 + exp(-t)) - 1
        if abs(rho) == 1:
            raise InvalidOptionError(f"{name}: initial = {initial!r} starts at rho = {rho:.0f}; start inside (-1, 1).")
        return prior.correlation(name, start=rho)


def _distance(rho):
    return np.sqrt(-np.log1p(-(rho**2)))
