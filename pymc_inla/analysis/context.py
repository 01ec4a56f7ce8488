"""Which model is meant."""

from __future__ import annotations

import pymc as pm
from pymc.model import modelcontext

from pymc_inla.errors import InvalidOptionError


def model_around(what: str) -> pm.Model:
    """The model of the surrounding `with` block, for what is a part of one.

    Raises
    ------
    InvalidOptionError
        There is none.
    """
    try:
        return modelcontext(None)
    except TypeError as error:
        raise InvalidOptionError(f"{what}: there is no model around. Write it inside `with pm.Model():`.") from error


def check_free(name: str) -> None:
    """Refuse a name that a variable of the surrounding model has.

    Raises
    ------
    InvalidOptionError
    """
    model = model_around(name)
    if model.name_for(name) in model.named_vars:
        raise InvalidOptionError(f"The model has a variable {model.name_for(name)!r} already. Give another name.")


def model_meant(model) -> pm.Model:
    """The given model, or that of the surrounding `with` block.

    Raises
    ------
    InvalidOptionError
        There is neither, what was given is no pymc.Model, or it is a part of another model.
    """
    if model is None:
        try:
            model = modelcontext(None)
        except TypeError as error:
            raise InvalidOptionError(
                "No model was given, and there is none around. Give a pymc.Model as the first argument, or call inside "
                "`with model:`."
            ) from error
    if isinstance(model, pm.Model):
        if model.parent is not None:
            raise InvalidOptionError(
                f"model: found the sub-model {model.name!r} of another model, and the posterior is that of the whole. "
                "Fit the outer one: call outside the inner `with` block, or give the outer model as the first argument."
            )
        return model
    found = f"{type(model).__module__.split('.')[0]}.{type(model).__name__}".removeprefix("builtins.")
    if hasattr(model, "backend") and hasattr(model, "build"):
        raise InvalidOptionError(
            f"model: found a {found}. Build it and give the PyMC model it holds: "
            "`bambi_model.build(); fit(bambi_model.backend.model)`."
        )
    raise InvalidOptionError(f"model: found a {found}. Give a pymc.Model, or nothing inside `with model:`.")
