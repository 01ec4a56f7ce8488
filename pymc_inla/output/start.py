"""Start values of hyperparameters: from the scale of the model to the unconstrained one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytensor
from pymc.initial_point import make_initial_point_expression

from pymc_inla.analysis.interpreter import interpreter
from pymc_inla.errors import InvalidOptionError
from pymc_inla.lgm import LatentGaussianModel
from pymc_inla.options import did_you_mean


def find_theta_start(lgm: LatentGaussianModel, start: Mapping[str, object]) -> np.ndarray:
    """Unconstrained start values (n_theta,), those of `start` where given, the model's elsewhere.

    Parameters
    ----------
    lgm : LatentGaussianModel
    start : dict of str to array_like
        Values on the scale on which the model declares the variables. Latent variables are allowed and need none.

    Raises
    ------
    InvalidOptionError
        A name is not a variable of the model, a shape does not fit, or a value lies outside the support.
    """
    model = lgm.model
    free = {rv.name: rv for rv in model.free_RVs}
    hyperparameters = {h.name: h for h in lgm.hyperparameters}
    for name in start:
        if name not in free:
            raise InvalidOptionError(
                f"start: the model has no free variable {name!r}.{did_you_mean(name, free)} It has {', '.join(free)}."
            )
    theta = np.concatenate([np.ravel(h.initial) for h in lgm.hyperparameters] or [np.zeros(0)]).astype(float)
    given = {name: np.asarray(value, dtype=float) for name, value in start.items() if name in hyperparameters}
    if not given:
        return theta
    for name, value in given.items():
        declared = free[name].type.shape
        if value.ndim != len(declared) or any(
            a is not None and a != b for a, b in zip(declared, value.shape, strict=True)
        ):
            raise InvalidOptionError(f"start[{name!r}] has shape {value.shape}; the variable has shape {declared}.")
    expressions = make_initial_point_expression(
        free_rvs=model.free_RVs,
        rvs_to_transforms=model.rvs_to_transforms,
        initval_strategies={**model.rvs_to_initial_values, **{free[name]: value for name, value in given.items()}},
        return_transformed=True,
    )
    wanted = [expressions[i] for i, rv in enumerate(model.free_RVs) if rv.name in given]
    names = [rv.name for rv in model.free_RVs if rv.name in given]
    # evaluated once: interpreting the graph is faster than compiling it
    values = pytensor.function([], wanted, mode=interpreter(), on_unused_input="ignore")()
    for name, value in zip(names, values, strict=True):
        if not np.all(np.isfinite(value)):
            raise InvalidOptionError(f"start[{name!r}]={start[name]!r} lies outside the support of {name}.")
        theta[hyperparameters[name].start : hyperparameters[name].stop] = np.ravel(value)
    return theta
