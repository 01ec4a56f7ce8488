"""Priors of the fixed effects: `control_fixed` with R-INLA's names and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pymc as pm

from pymc_inla.errors import InvalidOptionError
from pymc_inla.formula.spec import check_keys, finite_number
from pymc_inla.options import did_you_mean

KEYS = ("mean", "prec", "mean.intercept", "prec.intercept")


@dataclass(frozen=True)
class FixedPriors:
    """Normal priors; a precision of zero is flat.

    Parameters
    ----------
    mean, precision : dict of str to float
        By column; "default" for the others.
    intercept_mean, intercept_precision : float
    """

    mean: Mapping[str, float] = field(default_factory=lambda: {"default": 0.0})
    precision: Mapping[str, float] = field(default_factory=lambda: {"default": 0.001})
    intercept_mean: float = 0.0
    intercept_precision: float = 0.0

    def intercept(self):
        """The intercept as a variable of the surrounding model."""
        if self.intercept_precision == 0:
            return pm.Flat("Intercept")
        return pm.Normal("Intercept", self.intercept_mean, self.intercept_precision**-0.5)

    def slopes(self, names: tuple[str, ...]):
        """The other fixed effects as one variable of the surrounding model."""
        mean = np.array([self.mean.get(name, self.mean["default"]) for name in names])
        precision = np.array([self.precision.get(name, self.precision["default"]) for name in names])
        if np.all(precision == 0):
            return pm.Flat("fixed", dims="fixed_effect")
        return pm.Normal("fixed", mean, precision**-0.5, dims="fixed_effect")


def read_control_fixed(control, names: tuple[str, ...]) -> FixedPriors:
    """Check `control_fixed`.

    Parameters
    ----------
    control : dict or None
        `mean` and `prec`: a number, or a dict by column with "default" for the rest; `mean.intercept`,
        `prec.intercept`: numbers.
    names : tuple of str
        The fixed effects of the formula.

    Raises
    ------
    InvalidOptionError
    """
    if control is None:
        return FixedPriors()
    if not isinstance(control, Mapping):
        raise InvalidOptionError(f"control_fixed={control!r}: give a dict of {', '.join(KEYS)}.")
    check_keys("control_fixed", control, KEYS)
    precision = by_name("prec", control.get("prec", 0.001), names, 0.001)
    flat = [value == 0 for value in (precision.get(name, precision["default"]) for name in names)]
    if any(flat) and not all(flat):
        raise InvalidOptionError(
            f"control_fixed: prec={control['prec']!r} is 0 for some columns only. Give a small positive precision "
            "there, such as 1e-10."
        )
    intercept = finite_number("control_fixed", "prec.intercept", control.get("prec.intercept", 0.0), "a number")
    for key, value in {"prec.intercept": intercept, **{f"prec of {k!r}": v for k, v in precision.items()}}.items():
        if value < 0:
            raise InvalidOptionError(f"control_fixed: {key} is {value:g}; give a precision of at least 0.")
    return FixedPriors(
        by_name("mean", control.get("mean", 0.0), names, 0.0),
        precision,
        finite_number("control_fixed", "mean.intercept", control.get("mean.intercept", 0.0), "a number"),
        intercept,
    )


def by_name(key: str, given, names: tuple[str, ...], default: float) -> dict[str, float]:
    """One number for all, or a dict by column."""
    if not isinstance(given, Mapping):
        return {"default": finite_number("control_fixed", key, given, "a number or a dict of numbers by column")}
    for name in given:
        if name not in (*names, "default"):
            raise InvalidOptionError(
                f"control_fixed: {key} names {name!r}, which is not a fixed effect.{did_you_mean(name, names)} "
                f"Allowed: {', '.join((*names, 'default'))}."
            )
    numbers = {"default": default}
    for name, value in given.items():
        numbers[name] = finite_number("control_fixed", f"{key} of {name!r}", value, "a number")
    return numbers
