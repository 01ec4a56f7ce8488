"""Data that cannot be fitted, found before anything is compiled."""

import numpy as np
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors

from pymc_inla.errors import InvalidDataError, UnsupportedModelError


def refuse_minibatch(model) -> None:
    """Refuse models on minibatches of the data: their likelihood is a random one.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.observed_RVs:
        for variable in ancestors([rv, model.rvs_to_values[rv]]):
            if variable.owner is not None and "Minibatch" in type(variable.owner.op).__name__:
                raise UnsupportedModelError(
                    rv.name,
                    "it is observed through a Minibatch",
                    "Use all of the data: a fit takes about a hundred passes over them.",
                )


def refuse_labeled(model) -> None:
    """Refuse variables of `pymc.dims`, whose graphs the analysis does not read.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.basic_RVs:
        if hasattr(rv.type, "dims"):
            raise UnsupportedModelError(
                rv.name,
                "it is a variable of pymc.dims, which cannot be read yet",
                "Write the model with the distributions of pymc itself (dims= and coords work there too), or sample it "
                "with pm.sample.",
            )


def check_covariates(term_name: str, predictors) -> None:
    """Refuse NaN and infinite numbers in the data that make up linear predictors.

    Parameters
    ----------
    term_name : str
        The likelihood, named when the data have no name of their own.
    predictors : expressions of the linear predictors

    Raises
    ------
    InvalidDataError
    """
    for variable in ancestors(predictors):
        if not isinstance(variable, Constant) or not hasattr(variable.type, "dtype"):
            continue
        data = np.asarray(getattr(variable.data, "data", variable.data))
        if data.dtype.kind != "f" or np.all(np.isfinite(data)):
            continue
        if data.ndim == 0 and np.isinf(data):
            continue  # a bound of a truncated hyperparameter
        where = np.argwhere(~np.isfinite(data))
        first = ", ".join(str(tuple(int(i) for i in w) if len(w) > 1 else int(w[0])) for w in where[:5] if len(w))
        name = variable.name or f"a covariate of {term_name} (an array of shape {data.shape})"
        raise InvalidDataError(
            f"{name}: {len(where)} value{'s are' if len(where) > 1 else ' is'} not finite (position {first}). "
            "Linear predictors need finite covariates: drop or impute these rows. A NaN is allowed in the response, "
            "where it asks for a prediction."
        )
