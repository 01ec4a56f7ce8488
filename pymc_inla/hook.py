"""`pm.fit(method="inla")`: a wrapper around PyMC's `fit`, and an `Inference` object that works without the wrapper."""

from __future__ import annotations

import functools
import inspect

import pymc
from pymc.variational import inference
from pymc.variational.inference import Inference

from pymc_inla.errors import InvalidOptionError
from pymc_inla.fit import fit_model
from pymc_inla.options import OPTION_NAMES, REFUSED, FitOptions, check_names

PYMC_DEFAULT_N = inspect.signature(inference.fit).parameters["n"].default
_MARK = "__pymc_inla__"


class INLA(Inference):
    """The method as an object: `pm.fit(method=pymc_inla.INLA(strategy="laplace"))`.

    Parameters
    ----------
    model : pymc.Model, optional
        The model; the one of the surrounding `with` block when left out.
    **options
        Options of :func:`pymc_inla.fit`. Those given to `pm.fit` itself take precedence.

    Raises
    ------
    InvalidOptionError
        An option is unknown or its value is not allowed, or the model is none. Options are given by name.
    """

    def __init__(self, model=None, **options):
        # Inference.__init__ builds a variational objective; there is none here
        check_names(options)
        FitOptions(**options)
        if model is not None:
            from pymc_inla.analysis.context import model_meant

            model_meant(model)
        self.model, self.options = model, options
        self.hist, self.state = [], None

    def fit(self, n=PYMC_DEFAULT_N, score=None, callbacks=None, *, model=None, **arguments):
        """Fit the model and return its DataTree. Called by PyMC's own `fit`, which always passes `n`."""
        refused = {"n": n if n != PYMC_DEFAULT_N else None, "score": score, "callbacks": callbacks}
        # PyMC's fit always passes these two, with their defaults unless the user set them
        unset = {"backend": None, "include_transformed": False}
        given = {name: value for name, value in arguments.items() if name not in unset or value != unset[name]}
        return run(model if model is not None else self.model, self.options, {**refused, **given})


def run(model, options, arguments):
    """Check the arguments of a `pm.fit` call and fit.

    Parameters
    ----------
    model : pymc.Model or None
    options : dict
        Options of the `INLA` object.
    arguments : dict
        Arguments of the call; those of variational methods are refused unless they are None.
    """
    arguments = {name: value for name, value in arguments.items() if value is not None or name not in REFUSED}
    check_names(arguments, OPTION_NAMES)
    checked = FitOptions(**{**options, **arguments})
    from pymc_inla.analysis.context import model_meant

    return fit_model(model_meant(model), checked)


def wrap(original):
    """PyMC's `fit` with one more method; every other call passes through unchanged.

    Parameters
    ----------
    original : callable
        `pymc.variational.inference.fit`.
    """
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(*args, **kwargs):
        method = kwargs.get("method", args[1] if len(args) > 1 else None)
        by_name = isinstance(method, str) and method.lower() == "inla"
        if not by_name and not isinstance(method, INLA):
            return original(*args, **kwargs)
        arguments = dict(signature.bind(*args, **kwargs).arguments)
        arguments |= arguments.pop("kwargs", {})
        del arguments["method"]
        model = arguments.pop("model", None)
        if by_name:
            return run(model, {}, arguments)
        if model is not None and method.model is not None and model is not method.model:
            raise InvalidOptionError("pm.fit and INLA(...) were given different models. Give one of them.")
        return run(model if model is not None else method.model, method.options, arguments)

    setattr(fit, _MARK, True)
    return fit


def register() -> None:
    """Make `pm.fit(method="inla")` work. Doing so again changes nothing."""
    if getattr(pymc.fit, _MARK, False):
        return
    wrapper = wrap(inference.fit)
    for module in (pymc, pymc.variational, inference):
        module.fit = wrapper
