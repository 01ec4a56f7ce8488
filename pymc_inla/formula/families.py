"""Likelihoods in R-INLA's parametrizations, as PyMC distributions.

    family               mean or location           hyperparameters (theta is R-INLA's internal scale)
    gaussian             eta                        tau = exp(theta), variance 1 / (scale tau)
    lognormal            E log y = eta              tau = exp(theta), variance of log y is 1 / tau
    t                    eta                        tau = exp(theta), nu = 2 + exp(theta); variance 1 / tau
    poisson              E exp(eta)
    zeroinflatedpoisson1 E exp(eta) if not zeroed   p = 1 / (1 + exp(-theta)), probability of an extra zero
    nbinomial            E exp(eta)                 size = exp(theta), variance mu (1 + mu / size)
    binomial             Ntrials p, p = g^-1(eta)
    bernoulli            p = g^-1(eta)
    gamma                exp(eta)                   phi = exp(theta), variance mu^2 / phi
    beta                 g^-1(eta)                  phi = exp(theta), variance mu (1 - mu) / (1 + phi)
    exponential          rate exp(eta)
    weibull              lambda = exp(eta)          alpha = exp(0.1 theta), density alpha lambda y^(alpha-1)
                                                    exp(-lambda y^alpha)

Names, internal scales, start values and default priors are those of R-INLA's documentation of each likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc_inla.errors import InvalidDataError, InvalidOptionError
from pymc_inla.options import did_you_mean


@dataclass(frozen=True)
class FamilyHyper:
    """A hyperparameter of a likelihood.

    Parameters
    ----------
    name : str
        Name of the variable in the model, on the scale that is reported.
    label : str
        R-INLA's row label.
    prior : str
    param : tuple of float
    initial : float
        on R-INLA's internal scale theta
    forward : callable
        exp(theta) -> reported scale
    """

    name: str
    label: str
    prior: str
    param: tuple[float, ...]
    initial: float
    forward: Callable = lambda positive: positive


@dataclass(frozen=True)
class Family:
    """A likelihood.

    Parameters
    ----------
    name : str
    links : tuple of str
        The first is the default.
    hyper : tuple of FamilyHyper
    observe : callable
        (name, mean parameter, hyperparameters, data) -> the observed variable; `data` holds `y`, `E`, `Ntrials`
    support : str
        Key of SUPPORTS.
    uses : tuple of str
        Which of `E`, `Ntrials` have a meaning.
    """

    name: str
    links: tuple[str, ...]
    hyper: tuple[FamilyHyper, ...]
    observe: Callable
    support: str
    uses: tuple[str, ...] = ()


INVERSE_LINKS: Mapping[str, Callable] = {
    "identity": lambda eta: eta,
    "log": pt.exp,
    "logit": pt.sigmoid,
    # pymc.math.invprobit divides by sqrt(2) in single precision
    "probit": lambda eta: 0.5 * pt.erfc(-np.sqrt(0.5) * eta),
    "cloglog": lambda eta: -pt.expm1(-pt.exp(eta)),
}
PROBABILITY_LINKS = ("logit", "probit", "cloglog")

SUPPORTS: Mapping[str, tuple[Callable, str]] = {
    "real": (lambda y: np.isfinite(y), "finite numbers"),
    "positive": (lambda y: np.isfinite(y) & (y > 0), "numbers above 0"),
    "count": (lambda y: np.isfinite(y) & (y >= 0) & (y == np.round(y)), "integers of at least 0"),
    "unit": (lambda y: np.isfinite(y) & (y > 0) & (y < 1), "numbers strictly between 0 and 1"),
    "binary": (lambda y: (y == 0) | (y == 1), "0 or 1"),
}


def gaussian(name, mu, hyper, data):
    return pm.Normal(name, mu, hyper[0] ** -0.5, observed=data["y"], dims="row")


def lognormal(name, mu, hyper, data):
    return pm.LogNormal(name, mu, hyper[0] ** -0.5, observed=data["y"], dims="row")


def student_t(name, mu, hyper, data):
    tau, nu = hyper
    # scaled to variance 1 / tau: a t variable has variance nu / (nu - 2)
    return pm.StudentT(name, nu, mu=mu, sigma=pt.sqrt((nu - 2) / (nu * tau)), observed=data["y"], dims="row")


def poisson(name, mu, hyper, data):
    return pm.Poisson(name, data["E"] * mu, observed=data["y"], dims="row")


def zero_inflated_poisson(name, mu, hyper, data):
    return pm.ZeroInflatedPoisson(name, psi=1 - hyper[0], mu=data["E"] * mu, observed=data["y"], dims="row")


def negative_binomial(name, mu, hyper, data):
    return pm.NegativeBinomial(name, mu=data["E"] * mu, alpha=hyper[0], observed=data["y"], dims="row")


def binomial(name, p, hyper, data):
    return pm.Binomial(name, data["Ntrials"], p, observed=data["y"], dims="row")


def bernoulli(name, p, hyper, data):
    return pm.Bernoulli(name, p, observed=data["y"], dims="row")


def gamma(name, mu, hyper, data):
    return pm.Gamma(name, alpha=hyper[0], beta=hyper[0] / mu, observed=data["y"], dims="row")


def beta(name, mu, hyper, data):
    return pm.Beta(name, alpha=mu * hyper[0], beta=(1 - mu) * hyper[0], observed=data["y"], dims="row")


def exponential(name, rate, hyper, data):
    return pm.Exponential(name, rate, observed=data["y"], dims="row")


def weibull(name, scale, hyper, data):
    return pm.Weibull(name, alpha=hyper[0], beta=scale ** (-1 / hyper[0]), observed=data["y"], dims="row")


def noise_precision(label: str, initial: float) -> FamilyHyper:
    return FamilyHyper("noise_precision", label, "loggamma", (1.0, 5e-5), initial)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "gaussian",
            ("identity",),
            (noise_precision("Precision for the Gaussian observations", 4.0),),
            gaussian,
            "real",
        ),
        Family(
            "lognormal",
            ("identity",),
            (noise_precision("Precision for the lognormal observations", 0.0),),
            lognormal,
            "positive",
        ),
        Family(
            "t",
            ("identity",),
            (
                noise_precision("precision for the student-t observations", 0.0),
                FamilyHyper(
                    "degrees_of_freedom",
                    "degrees of freedom for student-t",
                    "pc.dof",
                    (15.0, 0.5),
                    5.0,
                    lambda positive: 2 + positive,
                ),
            ),
            student_t,
            "real",
        ),
        Family("poisson", ("log",), (), poisson, "count", ("E",)),
        Family(
            "zeroinflatedpoisson1",
            ("log",),
            (
                FamilyHyper(
                    "zero_probability",
                    "zero-probability parameter for zero-inflated poisson_1",
                    "normal",
                    (-1.0, 0.2),
                    -1.0,
                    lambda odds: odds / (1 + odds),
                ),
            ),
            zero_inflated_poisson,
            "count",
            ("E",),
        ),
        Family(
            "nbinomial",
            ("log",),
            (
                FamilyHyper(
                    "size",
                    "size for the nbinomial observations (1/overdispersion)",
                    "pc.mgamma",
                    (7.0,),
                    float(np.log(10)),
                ),
            ),
            negative_binomial,
            "count",
            ("E",),
        ),
        Family("binomial", PROBABILITY_LINKS, (), binomial, "count", ("Ntrials",)),
        Family("bernoulli", PROBABILITY_LINKS, (), bernoulli, "binary"),
        Family(
            "gamma",
            ("log",),
            (
                FamilyHyper(
                    "gamma_precision",
                    "Precision-parameter for the Gamma observations",
                    "loggamma",
                    (1.0, 0.01),
                    float(np.log(100)),
                ),
            ),
            gamma,
            "positive",
        ),
        Family(
            "beta",
            PROBABILITY_LINKS,
            (
                FamilyHyper(
                    "beta_precision",
                    "precision parameter for the beta observations",
                    "loggamma",
                    (1.0, 0.1),
                    float(np.log(10)),
                ),
            ),
            beta,
            "unit",
        ),
        Family("exponential", ("log",), (), exponential, "positive"),
        Family(
            "weibull",
            ("log",),
            (
                FamilyHyper(
                    "weibull_alpha",
                    "alpha parameter for weibull",
                    "pc.alphaw",
                    (5.0,),
                    -2.0,
                    lambda positive: positive**0.1,
                ),
            ),
            weibull,
            "positive",
        ),
    )
}


def find_family(name) -> Family:
    """The family of this name.

    Raises
    ------
    InvalidOptionError
        There is none; the message lists all and the nearest match.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        raise InvalidOptionError(
            f"family={name!r} does not exist.{did_you_mean(name, FAMILIES)} Allowed: {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def find_link(family: Family, link) -> str:
    """The link of this name; None and "default" are the family's default."""
    if link is None or link == "default":
        return family.links[0]
    if link not in family.links:
        raise InvalidOptionError(
            f"link={link!r} is not available for family {family.name!r}.{did_you_mean(link, family.links)} Allowed: "
            f"{', '.join(family.links)}."
        )
    return link


def check_response(family: Family, name: str, y: np.ndarray, trials: np.ndarray | None) -> None:
    """Refuse observed responses outside the support of the family (missing ones are NaN).

    Raises
    ------
    InvalidDataError
        The message shows the first offending row.
    """
    inside, allowed = SUPPORTS[family.support]
    bad = ~np.isnan(y) & ~inside(y)
    if family.name == "binomial":
        allowed = "integers from 0 to Ntrials"
        bad |= y > trials
    if np.any(bad):
        row = int(np.argmax(bad))
        raise InvalidDataError(
            f"Response {name!r} is {y[row]:g} in row {row}; family {family.name!r} needs {allowed} (NaN: predict the "
            "row)."
        )
