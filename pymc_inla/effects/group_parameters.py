"""Hyperparameters of the group model of an effect as PyMC variables: correlations, or a precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc_inla.effects.control_group import FIXED_STRUCTURES, ControlGroup
from pymc_inla.errors import InvalidOptionError
from pymc_inla.priors.base import LARGEST_LOG, checked_initial
from pymc_inla.priors.correlation import PenalizedCorrelation
from pymc_inla.priors.parse import make_precision
from pymc_inla.priors.precision import LogGamma, Normal

SINGULAR = 1e-10
"""Distance of a correlation from its bounds below which the precision matrix has no digits left"""
PACF_ALPHA = (0.5, 0.4, 0.3)
"""alpha in pc.cor0(0.5, alpha) of the first partial autocorrelations of ar(p); the last one serves all others"""


def check_initial(name: str, control: ControlGroup) -> None:
    """Refuse start values, or fixed ones, that are a bound of their parameter in double precision.

    Raises
    ------
    InvalidOptionError
    """
    if control.initial is None:
        return
    if control.model in FIXED_STRUCTURES:
        checked_initial(f"{name}_group_tau", control.initial)
        return
    to_rho, _ = CORRELATION_MAPS.get(control.model, _autoregressive_map)(control.structure.m)
    ends = [float(control.initial), -LARGEST_LOG, LARGEST_LOG]
    rho, *bounds = to_rho(pt.constant(np.array(ends, dtype=float))).eval()
    if not min(abs(rho - bound) for bound in bounds) > SINGULAR:
        raise InvalidOptionError(
            f"{name}: control_group['hyper']['initial']={control.initial!r} is a correlation of "
            f"{bounds[int(rho > 0)]:g} in double precision, where the groups have no joint density. Give a number "
            "nearer to zero."
        )


def group_parameters(name: str, control: ControlGroup):
    """(parameters of the group model, factor of the precision) as PyMC variables named `name_rho`, `name_pacf` or
    `name_group_tau`."""
    m, none = control.structure.m, pt.zeros((0,))
    if control.model in FIXED_STRUCTURES:
        initial = 0.0 if control.initial is None else control.initial
        if control.fixed:
            return none, np.exp(initial)
        prior = LogGamma() if control.prior is None else control.prior
        return none, make_precision(f"{name}_group_tau", prior, initial=initial)
    if control.model == "ar":
        return _partial_autocorrelations(name, control), 1.0
    to_rho, default = CORRELATION_MAPS[control.model](m)
    return pt.stack([correlation(f"{name}_rho", to_rho, control, default)]), 1.0


def _exchangeable_map(m):
    # rho = (e^t - 1) / (e^t + m - 1), which covers (-1/(m-1), 1)
    return lambda t: pt.expm1(t) / (pt.expm1(t) + m), Normal(0.0, 0.2)


def _positive_map(m):
    return pt.sigmoid, PenalizedCorrelation(0.5, 0.5)


def _autoregressive_map(m):
    return lambda t: 2 * pt.sigmoid(t) - 1, Normal(0.0, 0.15)


CORRELATION_MAPS: dict[str, Callable] = {
    "exchangeable": _exchangeable_map,
    "exchangeablepos": _positive_map,
    "ar1": _autoregressive_map,
}
"""model -> (rho as a function of the internal parameter t, default prior), given the number of groups"""


def correlation(name: str, to_rho, control: ControlGroup, default):
    """The correlation `name` as a deterministic function of an internal variable with its prior."""
    if control.fixed:
        t = 0.0 if control.initial is None else float(control.initial)
        return pm.Deterministic(name, to_rho(pt.constant(t, dtype="float64")))
    prior = default if control.prior is None else control.prior
    if isinstance(prior, PenalizedCorrelation):
        start = None if control.initial is None else float(to_rho(pt.constant(control.initial, dtype="float64")).eval())
        return prior.correlation(name, positive=control.model == "exchangeablepos", start=start)
    initial = getattr(prior, "m", 0.0) if control.initial is None else float(control.initial)
    return pm.Deterministic(name, to_rho(prior.internal(f"{name}_internal", initial)))


def _partial_autocorrelations(name: str, control: ControlGroup):
    """`name_pacf`, (p,), of which each element has its own prior."""
    elements = []
    to_rho, _ = _autoregressive_map(None)
    for k in range(control.structure.order):
        default = PenalizedCorrelation(0.5, PACF_ALPHA[min(k, len(PACF_ALPHA) - 1)])
        elements.append(correlation(f"{name}_pacf{k + 1}", to_rho, control, default))
    return pm.Deterministic(f"{name}_pacf", pt.stack(elements))
