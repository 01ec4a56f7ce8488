"""The group model of an effect from R-INLA's `control.group`, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pymc_inla.effects import groups
from pymc_inla.effects.levels import is_number
from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import did_you_mean
from pymc_inla.priors.base import InternalPrior, Prior
from pymc_inla.priors.correlation import PenalizedCorrelation
from pymc_inla.priors.parse import refuse_improper, to_prior

CORRELATIONS = ("exchangeable", "exchangeablepos", "ar1", "ar")
FIXED_STRUCTURES = ("rw1", "rw2", "besag", "iid")
MODELS = CORRELATIONS + FIXED_STRUCTURES
KEYS = ("model", "order", "cyclic", "graph", "scale.model", "hyper")
HYPER_KEYS = ("prior", "param", "initial", "fixed")


@dataclass(frozen=True)
class ControlGroup:
    """A checked `control.group`."""

    model: str
    structure: object
    """Of `effects.groups`"""
    initial: float | None
    """Start of the internal parameter, or its value when fixed"""
    fixed: bool
    prior: object
    """As for a precision; None: the default of the model"""


def read_control_group(name: str, ngroup: int, options) -> ControlGroup:
    """Check `control_group` and build the structure of Q_group.

    Parameters
    ----------
    name : str
        Of the effect, for messages.
    ngroup : int
    options : dict or None
        Keys model (default "exchangeable"), order (ar), cyclic (ar1, rw1, rw2), graph (besag: symmetric adjacency
        matrix (ngroup, ngroup), dense or sparse), scale.model (rw1, rw2, besag; default True), hyper (dict of prior,
        param, initial, fixed).

    Raises
    ------
    InvalidOptionError
    """
    options = {} if options is None else options
    if not hasattr(options, "keys"):
        raise InvalidOptionError(f"{name}: control_group is a dict such as {{'model': 'ar1'}}; found {options!r}.")
    _check_keys(name, "control_group", options, KEYS)
    model = options.get("model", "exchangeable")
    if model not in MODELS:
        raise InvalidOptionError(
            f"{name}: control_group model {model!r} is unknown.{did_you_mean(str(model), MODELS)} Group models are "
            f"{', '.join(MODELS)}."
        )
    applies = {"order": ("ar",), "cyclic": ("ar1", "rw1", "rw2"), "graph": ("besag",)}
    applies["scale.model"] = ("rw1", "rw2", "besag")
    for key, models in applies.items():
        if key in options and model not in models:
            raise InvalidOptionError(
                f"{name}: control_group key {key!r} applies to {', '.join(models)} only, not to {model!r}. Remove it."
            )
    for key in ("cyclic", "scale.model"):
        if not isinstance(options.get(key, True), bool | np.bool_):
            raise InvalidOptionError(f"{name}: control_group[{key!r}]={options[key]!r}; it is True or False.")
    hyper = _read_hyper(name, options.get("hyper"))
    structure = _structure(name, ngroup, model, options)
    fixed = bool(hyper.get("fixed", model in FIXED_STRUCTURES))
    prior = hyper.get("prior")
    if prior is not None and "param" in hyper:
        prior = (prior, hyper["param"])
    if prior is not None and model in CORRELATIONS:
        prior = _internal_prior(name, model, prior)
    elif prior is not None and not fixed:
        refuse_improper(name, prior)
    return ControlGroup(model, structure, hyper.get("initial"), fixed, prior)


def _check_keys(name, what, options, allowed):
    for key in options:
        if key not in allowed:
            raise InvalidOptionError(
                f"{name}: {what} has no key {key!r}.{did_you_mean(str(key), allowed)} Keys are {', '.join(allowed)}."
            )


def _read_hyper(name, hyper) -> dict:
    if hyper is None:
        return {}
    if isinstance(hyper, list | tuple) and len(hyper) == 1:
        hyper = hyper[0]
    if not hasattr(hyper, "keys"):
        raise InvalidOptionError(
            f"{name}: control_group['hyper'] is a dict with keys {', '.join(HYPER_KEYS)}; found {hyper!r}."
        )
    _check_keys(name, "control_group['hyper']", hyper, HYPER_KEYS)
    if "param" in hyper and "prior" not in hyper:
        raise InvalidOptionError(f"{name}: control_group['hyper'] has 'param' without 'prior'. Name the prior.")
    initial = hyper.get("initial")
    if initial is not None and not is_number(initial):
        raise InvalidOptionError(f"{name}: control_group['hyper']['initial']={initial!r}; it is one finite number.")
    if not isinstance(hyper.get("fixed", False), bool | np.bool_):
        raise InvalidOptionError(f"{name}: control_group['hyper']['fixed']={hyper['fixed']!r}; it is True or False.")
    return dict(hyper)


def _internal_prior(name, model, prior) -> Prior:
    """A prior of the internal parameter of a correlation, or of the correlation itself."""
    prior = to_prior(prior)
    if not isinstance(prior, InternalPrior | PenalizedCorrelation) or not prior.vanishes:
        raise InvalidOptionError(
            f"{name}: control_group prior {prior.words} of {model!r} is not allowed; it is ('pc.cor0', (u, alpha)) on "
            "the correlation, or on its internal parameter t ('normal', (mean, precision)), ('laplace', (mean, "
            "precision)), 'expression: ...' or 'table: ...', proper in t."
        )
    return prior


def _structure(name, m, model, options):
    smallest = {"rw2": 3, "iid": 1}.get(model, 2)
    cyclic, scaled = bool(options.get("cyclic", False)), bool(options.get("scale.model", True))
    if cyclic:
        smallest = 3
    if m < smallest:
        raise InvalidOptionError(
            f"{name}: control_group model {model!r}{' (cyclic)' if cyclic else ''} needs ngroup of at least "
            f"{smallest}; found {m}."
        )
    if model in ("exchangeable", "exchangeablepos"):
        return groups.Exchangeable(m)
    if model == "ar1":
        return groups.CyclicAutoregressive(m) if cyclic else groups.Autoregressive(m, 1)
    if model == "ar":
        order = options.get("order")
        if not isinstance(order, int | np.integer) or isinstance(order, bool) or not 1 <= order < m:
            raise InvalidOptionError(
                f"{name}: control_group model 'ar' needs 'order', an integer from 1 to ngroup - 1 = {m - 1}; found "
                f"{order!r}."
            )
        return groups.Autoregressive(m, int(order))
    if model == "besag":
        return groups.besag(_adjacency(name, m, options.get("graph")), scaled=scaled)
    if model == "iid":
        return groups.Independent(m)
    return groups.random_walk(m, 1 if model == "rw1" else 2, cyclic=cyclic, scaled=scaled)


def _adjacency(name, m, graph) -> np.ndarray:
    if graph is None:
        raise InvalidOptionError(f"{name}: control_group model 'besag' needs 'graph', an adjacency matrix ({m}, {m}).")
    W = np.asarray(graph.toarray() if sparse.issparse(graph) else graph)
    problem = None
    if W.shape != (m, m):
        problem = f"has shape {W.shape}; it needs one row and column per group, ({m}, {m})"
    elif W.dtype.kind not in "biuf" or not np.isin(W, (0, 1)).all():
        problem = "holds entries other than 0 and 1"
    elif not np.array_equal(W, W.T):
        problem = "is not symmetric"
    elif np.any(np.diag(W)):
        problem = "links a group with itself"
    elif connected_components(sparse.csr_array(W))[0] > 1:
        problem = "is not connected"
    if problem:
        raise InvalidOptionError(f"{name}: control_group['graph'] {problem}. Give a connected graph without loops.")
    return W
