"""Other priors of hyperparameters: log p(theta) with the prior of one variable exchanged or raised to a power.

A prior enters the approximation through log p(theta) only. The Jacobian of the transform belongs to the variable and
not to its prior, so the new log p(theta) is the old one plus log p_new(natural) - log p_old(natural).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from pymc_inla.errors import InvalidOptionError
from pymc_inla.lgm import Hyperparameter, LatentGaussianModel
from pymc_inla.options import did_you_mean
from pymc_inla.priors.support import natural_transform

RATES = {"Exponential": (0,), "Gamma": (1,)}
"""Parameters that PyMC holds as the reciprocal of what a user writes."""


def hyperparameter_named(lgm: LatentGaussianModel, name: str) -> Hyperparameter:
    """The hyperparameter of this name.

    Raises
    ------
    InvalidOptionError
        There is none; the message says whether the variable is latent, and what there is.
    """
    known = {h.name: h for h in lgm.hyperparameters}
    if name in known:
        return known[name]
    have = f"The hyperparameters are {', '.join(known)}." if known else "The model has no hyperparameters."
    if name in {latent.name for latent in lgm.latents}:
        raise InvalidOptionError(
            f"priors: {name} is part of the latent field, whose Gaussian prior is compiled into the fit. {have} "
            f"To vary the prior of {name}, make its scale a hyperparameter, or build and fit a second model."
        )
    raise InvalidOptionError(f"priors: the model has no hyperparameter {name!r}.{did_you_mean(name, known)} {have}")


def check_alternative(lgm: LatentGaussianModel, h: Hyperparameter, dist) -> None:
    """Refuse what cannot stand in for the prior of a hyperparameter.

    Raises
    ------
    InvalidOptionError
        Not a distribution, not on the same support, of another shape, or a function of variables of the model.
    """
    if not isinstance(dist, TensorVariable) or dist.owner is None or not hasattr(dist.owner.op, "dist_params"):
        raise InvalidOptionError(
            f"priors[{h.name!r}]: found {dist!r}. Give distributions made with .dist, such as pm.HalfNormal.dist(1)."
        )
    if set(lgm.model.basic_RVs).intersection(ancestors([dist])):
        raise InvalidOptionError(
            f"priors[{h.name!r}]: {label(dist)} depends on variables of the model. Give distributions with fixed "
            "parameters."
        )
    natural_shape = lgm.outputs[h.name].type.shape
    if dist.type.ndim > len(natural_shape) or any(
        a is not None and b is not None and a not in (1, b)
        for a, b in zip(dist.type.shape[::-1], natural_shape[::-1], strict=False)
    ):
        raise InvalidOptionError(
            f"priors[{h.name!r}]: {label(dist)} has shape {dist.type.shape}; {h.name} has shape {natural_shape}."
        )
    if not same_support(lgm, h, dist):
        raise InvalidOptionError(
            f"priors[{h.name!r}]: {label(dist)} does not have the support on which the model declares {h.name} "
            f"({h.prior}). Give a prior on the same range, for example the declared one cut to that range."
        )


def same_support(lgm: LatentGaussianModel, h: Hyperparameter, dist) -> bool:
    """Whether the unconstrained coordinate of a distribution is the one that the model uses.

    Two default transforms onto the real line agree in value exactly when their ranges are the same.
    """
    natural, value = lgm.outputs[h.name], h.variable
    transform = natural_transform(dist)
    forward = natural if transform is None else transform.forward(natural, *dist.owner.inputs)
    others = [k for k in lgm.hyperparameters if k is not h]
    for shift in (0.0, -0.7, 1.3):
        point = {value: h.initial + shift} | {k.variable: k.initial for k in others}
        found, wanted = (g.eval(relevant(g, point)) for g in (forward, value + 0.0))
        if np.shape(found) != np.shape(wanted) or not np.allclose(found, wanted, rtol=1e-6, atol=1e-8):
            return False
    return True


def relevant(graph: TensorVariable, point: Mapping) -> dict:
    """The inputs that a graph depends on, with their values."""
    needed = set(ancestors([graph]))
    return {variable: value for variable, value in point.items() if variable in needed}


def log_prior(lgm: LatentGaussianModel, h: Hyperparameter) -> TensorVariable:
    """log density of the declared prior of h at its natural value, without the Jacobian: a scalar in theta."""
    parents = {lgm.model[k.name]: lgm.outputs[k.name] for k in lgm.hyperparameters if k is not h}
    density = pm.logp(lgm.model[h.name], lgm.outputs[h.name]).sum()
    needed = set(ancestors([density]))
    return graph_replace(density, {rv: natural for rv, natural in parents.items() if rv in needed}, strict=False)


def exchanged(lgm: LatentGaussianModel, h: Hyperparameter, dist) -> TensorVariable:
    """log p(theta) with `dist` as the prior of h."""
    # a scalar distribution is the prior of every element: log p broadcasts over the natural values
    return lgm.log_prior_theta + pm.logp(dist, lgm.outputs[h.name]).sum() - log_prior(lgm, h)


def raised(lgm: LatentGaussianModel, h: Hyperparameter, power: float) -> TensorVariable:
    """log p(theta) with the prior of h raised to a power, up to the constant that would normalize it.

    N. Kallioinen, T. Paananen, P.-C. Buerkner, A. Vehtari (2024), Detecting and diagnosing prior and likelihood
    sensitivity with power-scaling, Statistics and Computing 34, 57.
    """
    return lgm.log_prior_theta + (pt.as_tensor(float(power)) - 1.0) * log_prior(lgm, h)


def label(dist: TensorVariable) -> str:
    """`Gamma(2, 0.5)`, in the parameters that PyMC's documentation lists first."""
    name = dist.owner.op._print_name[0]
    rates = RATES.get(name, ())
    words = []
    for position, parameter in enumerate(dist.owner.op.dist_params(dist.owner)):
        values = np.asarray(parameter.eval())
        values = 1 / values if position in rates else values
        words.append(f"{values.item():.4g}" if values.size == 1 else f"<{values.shape}>")
    if name.startswith("Half") and words and words[0] == "0":
        words = words[1:]  # the location, which HalfNormal and HalfCauchy fix at zero
    return f"{name}({', '.join(words)})"


def named_alternatives(given) -> list[tuple[str, TensorVariable]]:
    """(label, distribution) out of a distribution, a sequence of them, or a dict from labels to them."""
    if isinstance(given, Mapping):
        return [(str(key), dist) for key, dist in given.items()]
    alternatives = list(given) if isinstance(given, Sequence) else [given]
    return [("", dist) for dist in alternatives]
