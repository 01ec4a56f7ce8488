"""What a prior of a precision or of a correlation is before it has a name in a model."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc_inla.analysis.context import check_free
from pymc_inla.analysis.prior_words import WORDS, in_words
from pymc_inla.errors import InvalidOptionError

LARGEST_LOG = 700
"""Logarithms beyond which a positive number is infinite or zero in double precision"""


@dataclass(frozen=True)
class Prior:
    """A prior with its parameters, made by `.dist()` of the names in `pymc_inla.priors`.

    Subclasses write `precision`; those on the internal parameter theta write `internal` and inherit from
    `InternalPrior`.
    """

    word: ClassVar[str]
    """R-INLA's name"""

    @property
    def words(self) -> str:
        """As R-INLA writes it: "pc.prec(1, 0.01)"."""
        return in_words(self.word, *astuple(self))

    @property
    def tail_slope(self) -> float:
        """Slope of log pi(theta) as theta = log tau goes to infinity.

        There p(y | theta) tends to the likelihood without the effect, a positive constant: the posterior has the tail
        of the prior (DESIGN 8.2).
        """
        return -np.inf

    @property
    def vanishes(self) -> bool:
        """Whether pi(theta) has a finite integral where theta goes to infinity; otherwise the posterior has none."""
        return self.tail_slope < 0

    @property
    def moments(self) -> int:
        """How many of the first two moments of the precision of an effect exist under the posterior."""
        return sum(self.tail_slope < -order for order in (1, 2))

    def precision(self, name: str, initial: float):
        """The variable `name` on the scale of the precision, in the model of the context, started at exp(initial)."""
        raise InvalidOptionError(f"{name}: {self.words} is not a prior of a precision.")

    def written(self, rv):
        """The random variable, with the words of its prior for `pymc_inla.explain`."""
        setattr(rv.tag, WORDS, self.words)
        return rv


class InternalPrior(Prior):
    """A prior on the internal parameter theta: log tau of a precision, t of a correlation rho = g(t)."""

    def internal(self, name: str, initial: float):
        """theta as a variable of the model of the context, started at `initial`."""
        raise InvalidOptionError(f"{name}: {self.words} is not a prior of an internal parameter.")

    def precision(self, name, initial):
        return pm.Deterministic(name, pt.exp(self.internal(f"{name}_log", initial)))


def store(prior: Prior, **values) -> None:
    """Set fields of a frozen prior to their checked values."""
    for field, value in values.items():
        object.__setattr__(prior, field, value)


class Constructor:
    """A name of `pymc_inla.priors`: called inside a model it makes the variable; `.dist()` makes the prior alone."""

    def __init__(self, kind: type[Prior]):
        self.kind = kind
        self.__name__ = kind.__name__
        self.__doc__ = kind.__doc__

    def __call__(self, name: str, *parameters, initial: float = 4.0, **named):
        prior = self.dist(*parameters, **named)
        check_free(checked_name(name))
        return prior.precision(name, checked_initial(name, initial))

    def dist(self, *parameters, **named) -> Prior:
        """The prior without a name, for `IID(prior=...)`."""
        return self.kind(*parameters, **named)

    def __repr__(self):
        return f"<prior {self.kind.word}>"


def as_number(word: str, what: str, value) -> np.float64:
    """One finite number in double precision (PyTensor keeps the type of Python numbers as small as it can)."""
    ok = np.ndim(value) == 0 and not isinstance(value, bool | np.bool_ | str | bytes)
    try:
        number = np.float64(value) if ok else np.nan
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise InvalidOptionError(f"Prior {word}: {what} = {value!r}; it is one finite number.")
    return number


def as_positive(word: str, what: str, value) -> np.float64:
    number = as_number(word, what, value)
    if number <= 0:
        raise InvalidOptionError(f"Prior {word}: {what} = {value!r}; it is positive.")
    return number


def as_probability(word: str, what: str, value) -> np.float64:
    number = as_number(word, what, value)
    if not 0 < number < 1:
        raise InvalidOptionError(f"Prior {word}: {what} = {value!r}; it is a probability between 0 and 1, exclusive.")
    return number


def checked_name(name) -> str:
    if not isinstance(name, str):
        raise InvalidOptionError(
            f"The first argument of a prior is the name of its variable; found {name!r}. Without a name, for "
            "IID(prior=...), write .dist(...)."
        )
    return name


def checked_initial(name, initial) -> float:
    value = float(as_number(f"of {name}", "initial", initial))
    if abs(value) > LARGEST_LOG:
        raise InvalidOptionError(
            f"{name}: initial={initial!r} is the start of a log precision, and exp({value:g}) is beyond double "
            f"precision. Give a number between -{LARGEST_LOG} and {LARGEST_LOG}."
        )
    return value
