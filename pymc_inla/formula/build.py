"""Specification and data -> pm.Model, written with the same pieces a user would write it with.

    eta = offset + Intercept + X fixed + sum over random effects of weight * beta * u[position]
    y ~ family(g^-1(eta), hyperparameters)

Rows whose response is missing stay in the model: PyMC makes them unobserved variables, which are predicted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc_inla.effects import IID
from pymc_inla.errors import InvalidOptionError
from pymc_inla.formula.columns import Columns, EffectColumns
from pymc_inla.formula.families import INVERSE_LINKS, Family, FamilyHyper
from pymc_inla.formula.family_priors import FAMILY_PRIORS, check_param
from pymc_inla.formula.fixed_priors import FixedPriors
from pymc_inla.formula.spec import Hyper
from pymc_inla.priors.parse import make_precision, to_prior

PRECISION_DEFAULT = Hyper("loggamma", (1.0, 5e-5), 4.0, False)
EFFECT_PARTS = ("tau", "rho", "pacf", "group_tau", "beta", "level", "group", "replicate", "unobserved", "observed")
"""What is appended to the name of an effect to name its variables and dimensions."""
COPY_DEFAULT = Hyper("normal", (1.0, 10.0), 1.0, True)

log = logging.getLogger("pymc_inla.formula")


@dataclass(frozen=True)
class Reported:
    """A hyperparameter as the tables show it.

    Parameters
    ----------
    label : str
        R-INLA's row label.
    variable : str
        Variable of the model.
    prior : str or None
        INLA's name of its prior, for statements about moments of precisions; None where it does not matter.
    param : tuple of float
    positive : bool
        Whether it is positive and its density is best handled on the log scale.
    effect_precision : bool
        Whether it is the precision of a latent effect, for which p(y | tau) tends to a positive constant.
    """

    label: str
    variable: str
    prior: str | None = None
    param: tuple[float, ...] = ()
    positive: bool = True
    effect_precision: bool = False


@dataclass(frozen=True)
class Built:
    """A model with what the tables need to know of it.

    Parameters
    ----------
    model : pymc.Model
    hyperparameters : tuple of Reported
    betas : dict of str to float
        Fixed multipliers of copies, by id; estimated ones are variables of the model.
    inverse_link : callable
    """

    model: pm.Model
    hyperparameters: tuple[Reported, ...]
    betas: Mapping[str, float]
    inverse_link: Callable


def merge(hyper: Hyper, default: Hyper) -> Hyper:
    """Given values where there are any; default parameters belong to the default prior only."""
    prior = hyper.prior or default.prior
    param = hyper.param
    if param is None and prior == default.prior:
        param = default.param
    initial = default.initial if hyper.initial is None else hyper.initial
    return Hyper(prior, param, initial, default.fixed if hyper.fixed is None else hyper.fixed)


def build_model(
    columns: Columns, family: Family, link: str, family_hyper: tuple[Hyper, ...], fixed: FixedPriors
) -> Built:
    """Build the PyMC model of a specification.

    Parameters
    ----------
    columns : Columns
    family : Family
    link : str
    family_hyper : tuple of Hyper
        One per hyperparameter of the family; empty fields take the family's defaults.
    fixed : FixedPriors
    """
    hypers = [merge(effect.spec.hyper, PRECISION_DEFAULT) for effect in columns.effects]
    for effect, hyper in zip(columns.effects, hypers, strict=True):
        if effect.spec.copy is None:
            check_prior(f"random effect {effect.spec.id!r}", hyper)  # also of a fixed precision, which does not use it
    check_names(columns, family)
    reported: list[Reported] = []
    betas: dict[str, float] = {}
    with pm.Model(coords={"row": list(columns.rows)}) as model:
        natural = []
        for h, given in zip(family.hyper, family_hyper, strict=True):
            variable, row = family_hyperparameter(h, given)
            natural.append(variable)
            reported += row
        eta = fixed_part(columns, fixed)
        latents: dict[str, pt.TensorVariable] = {}
        for effect, hyper in zip(columns.effects, hypers, strict=True):
            name = effect.spec.id
            if effect.spec.copy is None:
                latents[name] = make_effect(effect, hyper)
                factor = 1.0
                if not hyper.fixed:
                    reported.append(
                        Reported(f"Precision for {name}", f"{name}_tau", hyper.prior, hyper.param or (), True, True)
                    )
                reported += group_rows(effect, model)
            else:
                factor, row = copy_factor(effect)
                reported += row
                if not row:
                    betas[name] = factor
            eta = eta + contribution(effect, latents[effect.spec.copy or name], factor)
            if effect.spec.debug:
                describe(effect, hyper)
        mean = INVERSE_LINKS[link](eta)
        family.observe(columns.formula.response, mean, natural, observed_data(columns))
    return Built(model, tuple(reported), betas, INVERSE_LINKS[link])


def check_prior(where: str, hyper: Hyper) -> None:
    """Refuse a prior that does not exist or whose parameters are wrong, saying where it stands.

    Raises
    ------
    InvalidOptionError
    """
    try:
        to_prior(hyper.prior, hyper.param)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"{where}, 'hyper': {error}") from error


def check_names(columns: Columns, family: Family) -> None:
    """Refuse ids that collide with names which the model needs for something else.

    Raises
    ------
    InvalidOptionError
    """
    response = columns.formula.response
    taken = dict.fromkeys((response, f"{response}_unobserved", f"{response}_observed"), "the response")
    for h in family.hyper:
        taken |= dict.fromkeys((h.name, f"{h.name}_theta", f"{h.name}_exp_theta"), h.label)
    for effect in columns.effects:
        name = effect.spec.id
        for variable in (name, *(f"{name}_{part}" for part in EFFECT_PARTS)):
            if variable in taken:
                raise InvalidOptionError(
                    f"random effect {name!r}: the model needs the name {variable!r} for {taken[variable]} as well. "
                    "Add a copy of the column under another name."
                )
            taken[variable] = f"random effect {name!r}"


def observed_data(columns: Columns) -> dict[str, np.ndarray]:
    y, missing = columns.y, np.isnan(columns.y)
    if missing.any():
        # under the mask a number that every type holds: PyMC casts counts to integers
        y = np.ma.MaskedArray(np.where(missing, 0.0, y), missing)
    return {"y": y, "E": columns.E, "Ntrials": columns.Ntrials.astype(np.int64)}


def fixed_part(columns: Columns, priors: FixedPriors):
    """offset + Intercept + X fixed."""
    eta = pt.as_tensor(columns.offset)
    if columns.formula.intercept:
        eta = eta + priors.intercept()
    if columns.formula.fixed:
        pm.modelcontext(None).add_coord("fixed_effect", columns.formula.fixed)
        eta = eta + pt.dot(columns.X, priors.slopes(columns.formula.fixed))
    return eta


def make_effect(effect: EffectColumns, hyper: Hyper):
    """The latent effect of shape (nrep, ngroup, n) without its leading axes of length one."""
    spec = effect.spec
    return IID(
        spec.id,
        len(effect.levels),
        prior=None if hyper.fixed else hyper.prior if hyper.param is None else (hyper.prior, hyper.param),
        initial=hyper.initial,
        fixed=hyper.fixed,
        constr=spec.constr,
        extraconstr=spec.extraconstr,
        diagonal=spec.diagonal,
        nrep=effect.nrep,
        ngroup=effect.ngroup,
        control_group=spec.control_group or None,
        values=effect.levels,
        id_names=spec.id_names,
    )


def contribution(effect: EffectColumns, latent, factor):
    """weight * factor * u[position], zero where a row has no position."""
    rows = np.flatnonzero(effect.position >= 0)
    flat = latent.flatten() if latent.ndim > 1 else latent
    values = flat[effect.position[rows]]
    if not np.all(effect.weights[rows] == 1.0):
        values = effect.weights[rows] * values
    if not (isinstance(factor, float) and factor == 1.0):
        values = factor * values
    if len(rows) == len(effect.position):
        return values
    return pt.set_subtensor(pt.zeros(len(effect.position))[rows], values)


def copy_factor(effect: EffectColumns):
    """beta of a copy: a number when fixed (the default, 1), otherwise a variable with a normal prior."""
    name, hyper = effect.spec.id, merge(effect.spec.hyper, COPY_DEFAULT)
    if hyper.prior not in ("normal", "gaussian"):
        raise InvalidOptionError(
            f"random effect {name!r}: prior={hyper.prior!r} of the multiplier of a copy. Allowed: 'normal'."
        )
    if hyper.fixed:
        return float(hyper.initial), []
    mean, precision = normal_param(f"random effect {name!r}", hyper.param or COPY_DEFAULT.param)
    beta = pm.Normal(f"{name}_beta", mean, precision**-0.5, initval=hyper.initial)
    return beta, [Reported(f"Beta for {name}", f"{name}_beta", positive=False)]


def normal_param(where: str, param) -> tuple[float, float]:
    if len(param) != 2 or not param[1] > 0:
        raise InvalidOptionError(f"{where}: param={list(param)}; a normal prior has a mean and a precision above 0.")
    return param[0], param[1]


def group_rows(effect: EffectColumns, model: pm.Model) -> list[Reported]:
    """Correlations and precisions of the group axis, where they are variables of the model."""
    name = effect.spec.id
    rows = []
    if f"{name}_rho" in model.named_vars:
        rows.append(Reported(f"GroupRho for {name}", f"{name}_rho", positive=False))
    if f"{name}_pacf" in model.named_vars:
        rows.append(Reported(f"Group PACF for {name}", f"{name}_pacf", positive=False))
    if f"{name}_group_tau" in model.named_vars:
        rows.append(Reported(f"Group precision for {name}", f"{name}_group_tau"))
    return rows


def family_hyperparameter(h: FamilyHyper, given: Hyper):
    """Variable of a hyperparameter of the likelihood on its reported scale, and its row unless it is fixed."""
    hyper = merge(given, Hyper(h.prior, h.param, h.initial, False))
    positive = h.name == "noise_precision" or h.forward(2.0) == 2.0
    internal = h.name if positive else f"{h.name}_exp_theta"
    if hyper.fixed:
        value = h.forward(float(np.exp(hyper.initial)))
        return pt.constant(value, dtype="float64"), []
    if hyper.prior in FAMILY_PRIORS:
        check_param(hyper.prior, hyper.param or ())
        density = FAMILY_PRIORS[hyper.prior]
        param = hyper.param
        theta = pm.CustomDist(
            f"{h.name}_theta",
            logp=lambda value: density(value, *param),
            initval=hyper.initial,
            dtype="float64",
            signature="->()",
        )
        variable = pm.Deterministic(h.name, h.forward(pt.exp(theta)))
    else:
        check_prior(f"control_family, {h.label}", hyper)
        prior = hyper.prior if hyper.param is None else (hyper.prior, hyper.param)
        variable = make_precision(internal, prior, initial=hyper.initial)
        if not positive:
            variable = pm.Deterministic(h.name, h.forward(variable))
    scale_is_log = h.name != "zero_probability"
    return variable, [Reported(h.label, h.name, hyper.prior, hyper.param or (), scale_is_log)]


def describe(effect: EffectColumns, hyper: Hyper) -> None:
    """What a random effect does, for its 'debug' key."""
    spec = effect.spec
    absent = int(np.sum(effect.position < 0))
    used = len(np.unique(effect.position[effect.position >= 0]))
    lines = [
        f"{spec.id}: {len(effect.levels)} levels, {effect.nrep} replicates, {effect.ngroup} groups; {used} of "
        f"{len(effect.levels) * effect.nrep * effect.ngroup} elements have data; {absent} rows without contribution",
        f"{spec.id}: copy of {spec.copy}"
        if spec.copy
        else f"{spec.id}: {hyper.prior} {list(hyper.param or ())}, initial {hyper.initial:g}, fixed {hyper.fixed}",
    ]
    for line in lines:
        log.warning(line)
