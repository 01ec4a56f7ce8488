"""Priors in R-INLA's words: a name with parameters, "expression: ...", "table: ..."."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pymc as pm
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.random.op import RandomVariable

from pymc_inla.errors import ImproperPosteriorError, InvalidOptionError
from pymc_inla.options import did_you_mean
from pymc_inla.priors import precision
from pymc_inla.priors.base import Constructor, Prior
from pymc_inla.priors.correlation import PenalizedCorrelation
from pymc_inla.priors.log_density import Expression, Table
from pymc_inla.priors.support import check_precision_prior

PRIORS = {
    kind.word: kind
    for kind in (
        precision.LogGamma,
        precision.PenalizedComplexity,
        precision.Normal,
        precision.TruncatedNormal,
        precision.Laplace,
        precision.Flat,
        precision.LogIFlat,
        precision.LogFlat,
        PenalizedCorrelation,
    )
}
ALIASES = {"gaussian": "normal", "logtgaussian": "logtnormal"}
TEXTS = {"expression": Expression, "table": Table}


def to_prior(prior, param=None) -> Prior:
    """The prior that is meant.

    Parameters
    ----------
    prior : Prior, str or (str, param)
        Of `.dist()`, or R-INLA's name, or "expression: ..." or "table: ...".
    param : sequence of float, optional
        Parameters of a name; its defaults when left out (loggamma only).

    Raises
    ------
    InvalidOptionError
    """
    if isinstance(prior, tuple | list) and len(prior) == 2 and isinstance(prior[0], str):
        if param is not None:
            raise InvalidOptionError(f"Prior {prior!r}: the parameters are given twice, here and as param={param!r}.")
        prior, param = prior
    if isinstance(prior, Constructor):
        prior = prior.kind.word
    if isinstance(prior, Prior):
        if param is not None and np.size(param):
            raise InvalidOptionError(f"Prior {prior.words} has its parameters already; remove param={param!r}.")
        return prior
    if not isinstance(prior, str):
        raise InvalidOptionError(
            f"Prior {prior!r} is not allowed: it is a name with parameters such as ('pc.prec', (1, 0.01)), a prior of "
            f"pymc_inla.priors or a PyMC .dist(). Names are {', '.join([*PRIORS, *ALIASES])}, 'expression: ...', "
            "'table: ...'."
        )
    word, colon, _ = prior.partition(":")
    if word.strip() in TEXTS:
        if param is not None and np.size(param):
            raise InvalidOptionError(f"Prior {prior!r} takes no param; found {param!r}. Write its numbers in the text.")
        if not colon:
            raise InvalidOptionError(f"Prior {prior!r} needs its text: '{word.strip()}: ...'.")
        return TEXTS[word.strip()](prior)
    name = ALIASES.get(prior, prior)
    if name not in PRIORS:
        known = [*PRIORS, *ALIASES, *(f"{text}: ..." for text in TEXTS)]
        raise InvalidOptionError(
            f"Prior {prior!r} is unknown.{did_you_mean(prior, known)} Priors are {', '.join(known)}."
        )
    return _with_parameters(PRIORS[name], param)


def _with_parameters(kind, param) -> Prior:
    names = [field.name for field in fields(kind)]
    if param is None:
        param = ()
    if isinstance(param, str) or np.ndim(param) > 1:
        raise InvalidOptionError(f"Prior {kind.word}: param={param!r}; it is a list of numbers.")
    values = list(np.atleast_1d(np.asarray(param, object)))
    if len(values) != len(names) and not (not values and kind is precision.LogGamma):
        takes = f"{len(names)} parameters ({', '.join(names)})" if names else "no parameters"
        raise InvalidOptionError(f"Prior {kind.word} takes {takes}; found param={param!r}.")
    return kind(*values)


def make_precision(name: str, prior, *, initial: float = 4.0, fixed: bool = False):
    """The variable `name` on the scale of the precision in the model of the context, started at exp(initial).

    Parameters
    ----------
    prior : Prior, str, (str, param), PyMC `.dist()` variable or tensor
        As `to_prior` takes it; or a distribution or a tensor on the scale of the precision.
    fixed : bool
        Whether the precision is exp(initial), a constant.

    Raises
    ------
    InvalidOptionError
    """
    if fixed:
        return precision.fixed_precision(name, initial)
    if not isinstance(prior, Variable):
        return to_prior(prior).precision(name, initial)
    model = pm.modelcontext(None)
    if prior.owner is not None and isinstance(prior.owner.op, RandomVariable | SymbolicRandomVariable):
        check_precision_prior(name, prior)
        if prior in model.basic_RVs:
            return pm.Deterministic(name, prior)
        return model.register_rv(prior, name, initval=np.exp(initial))
    return pm.Deterministic(name, prior)


def refuse_improper(name: str, prior):
    """Refuse a prior under which the posterior of an effect with a free precision has no finite integral.

    Raises
    ------
    ImproperPosteriorError
    """
    if isinstance(prior, Variable):
        return
    prior = to_prior(prior)
    if not prior.vanishes:
        raise ImproperPosteriorError(
            f"{name}: under the prior {prior.words} the posterior is improper: as the precision goes to infinity the "
            "effect vanishes, the likelihood tends to a positive constant, and the prior's mass there is infinite. Use "
            "pc.prec or loggamma, or fix the precision."
        )
