"""`pymc_inla.inla`: the dict specification from dict to result."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from pymc.exceptions import ImputationWarning

from pymc_inla.errors import InvalidOptionError
from pymc_inla.fit import fit
from pymc_inla.formula.build import build_model
from pymc_inla.formula.columns import Columns, read_columns
from pymc_inla.formula.families import FAMILIES, Family, check_response, find_family, find_link
from pymc_inla.formula.fixed_priors import read_control_fixed
from pymc_inla.formula.result import Result
from pymc_inla.formula.spec import Hyper, check_keys, read_formula, read_hyper
from pymc_inla.options import OPTION_NAMES, did_you_mean

ARGUMENTS = (
    "formula",
    "family",
    "data",
    "Ntrials",
    "E",
    "offset",
    "link",
    "control_family",
    "control_fixed",
    "control_compute",
)
FIT_OPTIONS = tuple(name for name in OPTION_NAMES if name not in ("vb_correct", "predictors"))
COMPUTE_KEYS = ("dic", "waic", "cpo")


def inla(
    formula,
    family="gaussian",
    data=None,
    *,
    Ntrials=None,
    E=None,
    offset=None,
    link=None,
    control_family=None,
    control_fixed=None,
    control_compute=None,
    strategy="auto",
    integration="auto",
    **options,
) -> Result:
    """Fit a model given in the dict specification of pyINLA.

    Parameters
    ----------
    formula : dict
        `response`: column name; `fixed`: list of columns ("1", "0", "-1" and products "a:b" as in R; the intercept is
        there unless removed); `random`: list of dicts with the keys of the iid effect (see the documentation of the
        iid effect).
    family : str
        gaussian, lognormal, t, poisson, zeroinflatedpoisson1, nbinomial, binomial, bernoulli, gamma, beta,
        exponential or weibull, in R-INLA's parametrizations.
    data : pandas.DataFrame or dict of array_like
        A missing response is predicted, a missing index contributes nothing.
    Ntrials, E, offset : number, array_like (n,) or column name, optional
        Trials of the binomial (1), exposure of count families (1), known part of the linear predictor (0).
    link : str, optional
        logit, probit or cloglog for probabilities.
    control_family : dict, optional
        `link`, and `hyper`: a list with one dict (prior, param, initial, fixed) per hyperparameter of the family.
    control_fixed : dict, optional
        `mean`, `prec` (numbers or dicts by column), `mean.intercept`, `prec.intercept`. The defaults are normal priors
        with mean 0 and precision 0.001, and a flat intercept.
    control_compute : dict, optional
        `dic`, `waic`, `cpo`: all are computed unless all given ones are False.
    strategy, integration : str
        As in :func:`pymc_inla.fit`.
    **options
        All other options of :func:`pymc_inla.fit`: draws, chains, random_seed, progressbar, ...

    Returns
    -------
    Result

    Raises
    ------
    InvalidOptionError, InvalidDataError
        Before anything is compiled; the message names the key, the value, what is allowed and the nearest match.
    """
    for name in options:
        if name not in FIT_OPTIONS:
            allowed = (*ARGUMENTS, *FIT_OPTIONS)
            raise InvalidOptionError(
                f"inla: unknown argument {name!r}.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}."
            )
    if data is None:
        raise InvalidOptionError("inla: data is missing; give a pandas DataFrame or a dict of columns.")
    specification = read_formula(formula)
    likelihood = find_family(family)
    hyper, family_link = read_control_family(likelihood, control_family)
    if link is not None and family_link is not None and link != family_link:
        raise InvalidOptionError(f"link={link!r} and control_family['link']={family_link!r} contradict each other.")
    chosen_link = find_link(likelihood, link if link is not None else family_link)
    fixed = read_control_fixed(control_fixed, specification.fixed)
    criteria = read_control_compute(control_compute, options.pop("criteria", None))
    for name, value in {"Ntrials": Ntrials, "E": E}.items():
        if value is not None and name not in likelihood.uses:
            takers = [f.name for f in FAMILIES.values() if name in f.uses]
            raise InvalidOptionError(f"{name} has no meaning for family {family!r}; it belongs to {', '.join(takers)}.")
    columns = read_columns(specification, data, E=E, Ntrials=Ntrials, offset=offset)
    check_trials(columns)
    check_response(likelihood, specification.response, columns.y, columns.Ntrials)
    built = build_quietly(columns, likelihood, chosen_link, hyper, fixed)
    idata = fit(
        built.model,
        strategy=strategy,
        integration=integration,
        criteria=criteria,
        predictors=True,
        vb_correct=corrected_positions(columns, built.model),
        **options,
    )
    return Result(idata, columns, likelihood, built)


def build_quietly(*arguments):
    """`build_model` without PyMC's notice that missing responses are predicted, which is what was asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return build_model(*arguments)


def read_control_family(family: Family, control) -> tuple[tuple[Hyper, ...], str | None]:
    """Hyperparameters of the likelihood and its link."""
    empty = tuple(Hyper() for _ in family.hyper)
    if control is None:
        return empty, None
    if not isinstance(control, Mapping):
        raise InvalidOptionError(f"control_family={control!r}: give a dict of hyper, link.")
    check_keys("control_family", control, ("hyper", "link"))
    given = control.get("hyper")
    if given is None:
        return empty, control.get("link")
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, (list, tuple)) or len(given) != len(family.hyper):
        names = ", ".join(h.label for h in family.hyper) or "none"
        raise InvalidOptionError(
            f"control_family['hyper']={given!r}: give one dict per hyperparameter of {family.name!r} ({names})."
        )
    hyper = tuple(
        read_hyper(f"control_family, {h.label}", {"hyper": entry}, "hyper")
        for h, entry in zip(family.hyper, given, strict=True)
    )
    return hyper, control.get("link")


def read_control_compute(control, criteria) -> bool:
    """Whether the criteria are computed."""
    if control is None:
        return True if criteria is None else criteria
    if criteria is not None:
        raise InvalidOptionError("control_compute and criteria say the same thing: give one of them.")
    if not isinstance(control, Mapping):
        raise InvalidOptionError(f"control_compute={control!r}: give a dict of {', '.join(COMPUTE_KEYS)}.")
    check_keys("control_compute", control, COMPUTE_KEYS)
    for key, value in control.items():
        if not isinstance(value, (bool, np.bool_)):
            raise InvalidOptionError(f"control_compute: {key}={value!r}; give True or False.")
    return any(control.values()) if control else True


def check_trials(columns: Columns) -> None:
    if np.any(columns.Ntrials != np.round(columns.Ntrials)):
        row = int(np.argmax(columns.Ntrials != np.round(columns.Ntrials)))
        raise InvalidOptionError(f"Ntrials is {columns.Ntrials[row]:g} in row {row}; give integers of at least 1.")


def corrected_positions(columns: Columns, model):
    """Positions in the latent field whose means are corrected variationally; None for none."""
    wanted = [effect for effect in columns.effects if effect.spec.vb_correct is not False]
    if not wanted:
        return None
    from pymc_inla.analysis import analyze_model

    latents = {latent.name: latent for latent in analyze_model(model).latents}
    positions: list[int] = []
    for effect in wanted:
        name, nodes = effect.spec.id, effect.spec.vb_correct
        size = len(effect.levels) * effect.nrep * effect.ngroup
        if nodes is not True and max(nodes) >= size:
            raise InvalidOptionError(
                f"random effect {name!r}: vb.correct={list(nodes)}: its elements have the positions 0 to {size - 1}."
            )
        start = latents[name].start
        positions += [start + node for node in (range(size) if nodes is True else nodes)]
    return sorted(positions)
