"""`pymc_inla.marginal`: the posterior marginal of one scalar as a density object."""

from __future__ import annotations

import numpy as np
from xarray import DataArray, DataTree

from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import did_you_mean
from pymc_inla.output.density import GridDensity
from pymc_inla.output.groups import has_variable, require_posterior
from pymc_inla.output.marginals import draw_density

DETERMINISTIC = tuple(f"inla/{kind}_densities" for kind in ("latent", "hyperparameter", "derived", "unconstrained"))


def marginal(idata: DataTree, var_name: str, **indexers) -> GridDensity:
    """Posterior marginal of a scalar, or of one element of an array.

    Parameters
    ----------
    idata : DataTree
        Result of :func:`pymc_inla.fit`.
    var_name : str
        Variable of the posterior, or an unconstrained hyperparameter such as `"sigma_log__"`.
    **indexers
        Coordinates of the element: `marginal(idata, "u", plate=3)`.

    Returns
    -------
    GridDensity
        pdf, cdf, ppf, rvs, expectation, transform, plot. From the deterministic marginals where they exist (latent
        variables, hyperparameters, scalar functions of one hyperparameter), otherwise a kernel density estimate of the
        draws.

    Raises
    ------
    InvalidOptionError
        The variable does not exist, or the indexers do not single out one element.
    """
    require_posterior(idata, "marginal")
    if not isinstance(var_name, str):
        known = ", ".join(map(str, idata["posterior"].data_vars))
        raise InvalidOptionError(f"marginal: var_name={var_name!r}; give the name of one variable. There are {known}.")
    for group in DETERMINISTIC:
        if has_variable(idata, group, var_name):
            densities = idata[group][var_name]
            pair = select_scalar(densities, var_name, indexers, keep=densities.dims[-2:])
            return GridDensity(*pair.values, element_name(var_name, indexers))
    posterior = idata["posterior"]
    if var_name not in posterior.data_vars:
        names = [str(name) for name in posterior.data_vars]
        near, vector = did_you_mean(var_name, names), var_name.partition("[")[0]
        if vector in names:
            example = _example(posterior[vector], vector, ("chain", "draw"))
            near = f" An element is singled out by its coordinates: {example}."
        raise InvalidOptionError(f"The result has no variable {var_name!r}.{near} It has {', '.join(names)}.")
    draws = select_scalar(posterior[var_name], var_name, indexers, keep=("chain", "draw"))
    return draw_density(np.ravel(draws.values).astype(float), element_name(var_name, indexers))


def select_scalar(array: DataArray, var_name: str, indexers, keep: tuple[str, ...]) -> DataArray:
    """The element that the indexers single out; its own dimensions are gone, those of `keep` stay."""
    own = [str(d) for d in array.dims if d not in keep]
    for name in indexers:
        if name not in own:
            have = f"Its dimensions: {', '.join(own)}." if own else "It is a scalar: leave the coordinate out."
            raise InvalidOptionError(f"{var_name} has no dimension {name!r}.{did_you_mean(name, own)} {have}")
    for name, label in indexers.items():
        try:
            array = array.sel({name: label})
        except KeyError as error:
            labels = array[name].values
            raise InvalidOptionError(
                f"{var_name}: {label!r} is not a coordinate of {name}, which has {labels[:10]}."
            ) from error
    left = [str(d) for d in array.dims if d not in keep and array.sizes[d] != 1]
    if left:
        example = _example(array, var_name, keep)
        raise InvalidOptionError(
            f"{var_name} is an array: give one coordinate for each of {', '.join(left)}, as in {example}."
        )
    return array.squeeze([d for d in array.dims if d not in keep], drop=True)


def element_name(var_name: str, indexers) -> str:
    """`u[3]`, as ArviZ writes it."""
    return var_name + (f"[{', '.join(str(v) for v in indexers.values())}]" if indexers else "")


def _example(array: DataArray, var_name: str, keep: tuple[str, ...]) -> str:
    """A call that singles out the first element."""
    own = [d for d in array.dims if d not in keep]
    labels = ", ".join(f"{d}={array[d].values[0].item()!r}" for d in own)
    return f"marginal(idata, {var_name!r}, {labels})"
