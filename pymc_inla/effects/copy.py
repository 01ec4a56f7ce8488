"""The same effect once more in the linear predictor, times a coefficient."""

from __future__ import annotations

import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable

from pymc_inla.analysis.context import check_free
from pymc_inla.effects.levels import effect_info, is_number
from pymc_inla.errors import InvalidOptionError

BETA_PRECISION = 10.0


def copy(effect, name=None, *, beta=1.0, range=None):
    """beta times an effect: an exact substitution, without noise of its own.

    Parameters
    ----------
    effect : TensorVariable
        Of `pymc_inla.IID`.
    name : str, optional
        Name of the copy; needed when beta is estimated, whose variable is `name_beta`.
    beta : float, "estimate" or PyTensor variable
        The coefficient; "estimate" gives it the prior N(1, precision 10). Any PyMC variable works as well.
    range : (float, float), optional
        Bounds of an estimated beta, which truncate its prior; None or an infinite number is no bound.

    Returns
    -------
    TensorVariable
        Of the shape of the effect, with its levels, so that `project` works on it.

    Raises
    ------
    InvalidOptionError
    """
    info = effect_info(effect)
    estimated = isinstance(beta, str) and beta == "estimate"
    if not estimated and not isinstance(beta, Variable) and not is_number(beta):
        raise InvalidOptionError(
            f'{info.name}: copy with beta={beta!r}; it is a number, "estimate" or a PyMC variable.'
        )
    if range is not None and not estimated:
        raise InvalidOptionError(f'{info.name}: range= bounds an estimated beta; give beta="estimate" or leave it out.')
    if estimated:
        if not isinstance(name, str) or not name:
            raise InvalidOptionError(f"{info.name}: a copy with estimated beta needs a name; its beta is `name_beta`.")
        check_free(f"{name}_beta")
        beta = _estimated(f"{name}_beta", range)
    copied = effect.copy() if not isinstance(beta, Variable) and beta == 1 else beta * effect
    if name is not None:
        copied.name = name
    copied.tag.pymc_inla = info
    return copied


def _estimated(name, bounds):
    sigma = 1 / np.sqrt(BETA_PRECISION)
    if bounds is None:
        return pm.Normal(name, 1.0, sigma)
    pair = tuple(bounds) if np.ndim(bounds) == 1 and len(bounds) == 2 else None
    if pair is None or not all(b is None or isinstance(b, int | float | np.number) for b in pair):
        raise InvalidOptionError(f"{name}: range={bounds!r} is a pair (lower, upper) of numbers or None.")
    lower = -np.inf if pair[0] is None else float(pair[0])
    upper = np.inf if pair[1] is None else float(pair[1])
    if not lower < upper:
        raise InvalidOptionError(f"{name}: range={bounds!r} needs lower < upper.")
    limits = {key: b for key, b in (("lower", lower), ("upper", upper)) if np.isfinite(b)}
    return pm.TruncatedNormal(name, 1.0, sigma, **limits) if limits else pm.Normal(name, 1.0, sigma)
