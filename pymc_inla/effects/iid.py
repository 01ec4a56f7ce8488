"""The iid effect: u_i ~ N(0, 1/tau) over n levels, with replicates, groups and linear constraints."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature

import numpy as np
import pymc as pm

from pymc_inla.analysis.context import check_free, model_around
from pymc_inla.effects.conditioned_normal import Structure, conditioned_normal
from pymc_inla.effects.constraints import constraint_rows
from pymc_inla.effects.control_group import read_control_group
from pymc_inla.effects.group_parameters import check_initial, group_parameters
from pymc_inla.effects.groups import Independent
from pymc_inla.effects.levels import EffectInfo, is_number, read_values
from pymc_inla.errors import InvalidDataError, InvalidOptionError
from pymc_inla.options import did_you_mean
from pymc_inla.priors.base import checked_initial
from pymc_inla.priors.parse import make_precision, refuse_improper

DEFAULT_PRIOR = ("loggamma", (1, 5e-5))


def IID(
    name,
    n=None,
    *,
    dims=None,
    prior=None,
    initial=4.0,
    fixed=False,
    constr=False,
    extraconstr=None,
    diagonal=0.0,
    nrep=1,
    ngroup=1,
    control_group=None,
    values=None,
    id_names=None,
    **unknown,
):
    """Independent Gaussian effects of n levels that share one precision, inside a `pm.Model`.

    For every replicate the effect is N(0, (tau Q_group (x) I_n + diagonal I)^-1), conditioned on its constraints. It is
    an ordinary PyMC variable: the model also runs under `pm.sample` and `pm.sample_prior_predictive`.

    Parameters
    ----------
    name : str
        Name of the effect. Its precision is `name_tau`, its group correlation `name_rho` (`name_pacf` for ar).
    n : int, optional
        Number of levels; left out where `values`, `id_names` or `dims` tell it.
    dims : str or tuple of str, optional
        One name per axis of the effect. A dimension that the model does not have yet is added with the labels of the
        levels; the coordinate of one that it has names the levels, as `values` does.
    prior : prior object, (str, params), str, PyMC `.dist()` variable or tensor
        Prior of the precision: of `pymc_inla.priors`, in R-INLA's words, or a distribution or tensor on the scale of
        the precision. Default loggamma(1, 5e-5). A fixed precision has none.
    initial : float
        Start of log tau, or its value when `fixed`.
    fixed : bool
        Whether tau is exp(initial) and not estimated.
    constr : bool
        Sum to zero, in every replicate and group.
    extraconstr : dict, optional
        {"A": (k, n), "e": (k,)}: A u = e in every replicate and group, together with `constr`.
    diagonal : float
        Constant added to the diagonal of the precision matrix.
    nrep : int
        Number of independent copies that share tau.
    ngroup : int
        Number of groups: copies that are correlated as `control_group` says.
    control_group : dict, optional
        {"model": "exchangeable" | "exchangeablepos" | "ar1" | "ar" | "rw1" | "rw2" | "besag" | "iid", ...}
        (`pymc_inla.effects.control_group`); exchangeable by default.
    values : sequence, optional
        Labels of the levels in their order. Levels without data keep their prior.
    id_names : sequence of str, optional
        Labels to show instead, (n,).

    Returns
    -------
    TensorVariable
        Shape (nrep, ngroup, n) without the leading axes of size one.

    Raises
    ------
    InvalidOptionError, InvalidDataError
    """
    if not isinstance(name, str):
        raise InvalidOptionError(f"IID: the first argument is the name of the effect, a string; found {name!r}.")
    for key in unknown:
        allowed = [key for key in signature(IID).parameters if key != "unknown"]
        raise InvalidOptionError(
            f"{name}: IID has no argument {key!r}.{did_you_mean(key, allowed)} Arguments are {', '.join(allowed)}."
        )
    model = model_around("IID")
    for taken in (name, f"{name}_tau"):
        check_free(taken)
    nrep, ngroup = _count(name, "nrep", nrep), _count(name, "ngroup", ngroup)
    _check_scalars(name, initial, fixed, diagonal)
    if fixed and prior is not None:
        raise InvalidOptionError(
            f"{name}: fixed=True keeps the precision at exp({initial:g}), so that it has no prior. Leave out prior=, "
            "or fixed=."
        )
    prior = DEFAULT_PRIOR if prior is None else prior
    if not fixed:
        refuse_improper(name, prior)
    if control_group is not None and ngroup == 1:
        raise InvalidOptionError(f"{name}: control_group needs groups, and ngroup is 1. Give ngroup=, or leave it out.")
    leading = [("replicate", nrep)] * (nrep > 1) + [("group", ngroup)] * (ngroup > 1)
    names = _dim_names(name, dims, leading)
    info = _read_levels(model, EffectInfo(name, -1, nrep, ngroup, None, None), n, values, id_names, names)
    control = read_control_group(name, ngroup, control_group) if ngroup > 1 else None
    if control is not None:
        check_initial(name, control)
    A, e = constraint_rows(name, info.n, constr, extraconstr)
    group = Independent(1) if control is None else control.structure
    structure = Structure(info.n, group, nrep, float(diagonal), A, e)
    _add_coords(model, info, names, leading)

    tau = make_precision(f"{name}_tau", prior, initial=initial, fixed=fixed)
    parameters, factor = (np.zeros(0), 1.0) if control is None else group_parameters(name, control)
    if structure.k == 0 and diagonal == 0 and isinstance(structure.group, Independent):
        effect = pm.Normal(name, 0.0, tau=tau * factor, dims=names)
    else:
        effect = conditioned_normal(name, tau * factor, parameters, structure, dims=names)
    effect.tag.pymc_inla = info
    return effect


def _count(name, key, value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidOptionError(f"{name}: {key}={value!r} is not allowed; it is an integer of at least 1.")
    return int(value)


def _check_scalars(name, initial, fixed, diagonal):
    if not is_number(initial):
        raise InvalidOptionError(f"{name}: initial={initial!r} is not allowed; it is the start of log tau, a number.")
    checked_initial(name, initial)
    if not isinstance(fixed, bool | np.bool_):
        raise InvalidOptionError(f"{name}: fixed={fixed!r} is not allowed; it is True or False.")
    if not is_number(diagonal) or diagonal < 0:
        raise InvalidOptionError(
            f"{name}: diagonal={diagonal!r} is not allowed; it is a number of at least 0, added to the precision."
        )


def _dim_names(name, dims, leading) -> tuple[str, ...]:
    if dims is None:
        return tuple(f"{name}_{axis}" for axis, _ in leading) + (f"{name}_level",)
    names = (dims,) if isinstance(dims, str) else tuple(dims)
    axes = [axis for axis, _ in leading] + ["level"]
    if len(names) != len(axes) or not all(isinstance(d, str) for d in names):
        raise InvalidOptionError(
            f"{name}: dims={dims!r} must name the {len(axes)} axes of the effect: {', '.join(axes)}."
        )
    return names


def _read_levels(model, info, n, values, id_names, names) -> EffectInfo:
    """Number and labels of the levels, from all the places that may tell them, which must agree."""
    counts = {}
    if n is not None:
        counts["n"] = _count(info.name, "n", n)
    levels = None
    if values is not None:
        levels = read_values(info.name, values)
        counts["values"] = len(levels)
    if id_names is not None:
        id_names = tuple(id_names)
        counts["id_names"] = len(id_names)
        if len(set(id_names)) < len(id_names):
            raise InvalidDataError(f"{info.name}: id_names must be unique; found {list(id_names)[:10]}.")
    if names[-1] in model.coords:
        coord = model.coords[names[-1]]
        if coord is not None:
            counts[f"the coordinate {names[-1]!r}"] = len(coord)
            levels = read_values(info.name, list(coord)) if levels is None and id_names is None else levels
    if not counts:
        raise InvalidOptionError(f"{info.name}: the number of levels is unknown. Give n=, values= or dims=.")
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{key} gives {count}" for key, count in counts.items())
        raise InvalidDataError(f"{info.name}: the number of levels is contradictory: {found}. They must agree.")
    return replace(info, n=next(iter(counts.values())), levels=levels, id_names=id_names)


def _add_coords(model, info, names, leading):
    for dim, (_, length) in zip(names, leading, strict=False):
        if dim not in model.dim_lengths:
            model.add_coord(dim, range(1, length + 1))
    labels = info.id_names
    if labels is None:
        labels = range(info.n) if info.levels is None else info.levels.tolist()
    if names[-1] not in model.dim_lengths:
        model.add_coord(names[-1], tuple(labels))
    elif info.id_names is not None and list(model.coords[names[-1]] or ()) != list(info.id_names):
        raise InvalidDataError(
            f"{info.name}: id_names differ from the coordinate {names[-1]!r} that the model has. Give one of them."
        )
