"""The group model of an effect from R-INLA's `control.group`, with its hyperparameters as PyMC variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pymc_inla.effects import groups
from pymc_inla.effects.levels import is_number
from pymc_inla.effects.precision import make_precision
from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import did_you_mean

CORRELATIONS = ("exchangeable", "exchangeablepos", "ar1", "ar")
FIXED_STRUCTURES = ("rw1", "rw2", "besag", "iid")
MODELS = CORRELATIONS + FIXED_STRUCTURES
KEYS = ("model", "order", "cyclic", "graph", "scale.model", "hyper")
HYPER_KEYS = ("prior", "param", "initial", "fixed")
PACF_ALPHA = (0.5, 0.4, 0.3)
"""alpha in pc.cor0(0.5, alpha) of the first partial autocorrelations of ar(p); the last one serves all others"""


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
        prior = _correlation_prior(name, model, prior)
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


def _correlation_prior(name, model, prior):
    """("normal", (mean, precision)) on the internal parameter, or ("pc.cor0", (u, alpha)) on the correlation."""
    allowed = "('normal', (mean, precision)) on the internal parameter or ('pc.cor0', (u, alpha))"
    if not (isinstance(prior, tuple) and len(prior) == 2 and np.shape(prior[1]) == (2,)):
        raise InvalidOptionError(f"{name}: control_group prior {prior!r} of {model!r} is not allowed; it is {allowed}.")
    word, (a, b) = prior
    if word in ("normal", "gaussian") and b > 0 and np.isfinite(a) and np.isfinite(b):
        return "normal", (float(a), float(b))
    if word == "pc.cor0" and 0 < a < 1 and 0 < b < 1:
        return "pc.cor0", (float(a), float(b))
    raise InvalidOptionError(
        f"{name}: control_group prior {prior!r} of {model!r} is not allowed; it is {allowed}, with precision > 0 and "
        "0 < u, alpha < 1."
    )


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


def group_parameters(name: str, control: ControlGroup):
    """(parameters of the group model, factor of the precision) as PyMC variables named `name_rho`, `name_pacf` or
    `name_group_tau`."""
    m, none = control.structure.m, pt.zeros((0,))
    if control.model in FIXED_STRUCTURES:
        if control.fixed:
            return none, np.exp(0.0 if control.initial is None else control.initial)
        initial = 0.0 if control.initial is None else control.initial
        prior = ("loggamma", (1, 5e-5)) if control.prior is None else control.prior
        return none, make_precision(f"{name}_group_tau", prior, initial=initial)
    if control.model == "ar":
        return _partial_autocorrelations(name, control), 1.0
    to_rho, from_rho, default = CORRELATION_MAPS[control.model](m)
    rho = correlation(f"{name}_rho", to_rho, from_rho, control, default)
    return pt.stack([rho]), 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Correlations: rho = g(t) with a prior on the internal parameter t or on rho itself
# ---------------------------------------------------------------------------------------------------------------------


def _exchangeable_map(m):
    # rho = (e^t - 1) / (e^t + m - 1), which covers (-1/(m-1), 1)
    to_rho = lambda t: pt.expm1(t) / (pt.expm1(t) + m)  # noqa: E731
    from_rho = lambda rho: np.log((1 + (m - 1) * rho) / (1 - rho))  # noqa: E731
    return to_rho, from_rho, ("normal", (0.0, 0.2))


def _positive_map(m):
    return pt.sigmoid, lambda rho: np.log(rho / (1 - rho)), ("pc.cor0", (0.5, 0.5))


def _autoregressive_map(m):
    return lambda t: 2 * pt.sigmoid(t) - 1, lambda rho: np.log((1 + rho) / (1 - rho)), ("normal", (0.0, 0.15))


CORRELATION_MAPS: dict[str, Callable] = {
    "exchangeable": _exchangeable_map,
    "exchangeablepos": _positive_map,
    "ar1": _autoregressive_map,
}


def correlation(name: str, to_rho, from_rho, control: ControlGroup, default):
    """The correlation `name` as a deterministic function of an internal variable with its prior."""
    if control.fixed:
        t = 0.0 if control.initial is None else float(control.initial)
        return pm.Deterministic(name, to_rho(pt.constant(t, dtype="float64")))
    word, (a, b) = default if control.prior is None else control.prior
    if word == "normal":
        initval = a if control.initial is None else float(control.initial)
        t = pm.Normal(f"{name}_internal", a, 1 / np.sqrt(b), initval=initval)
        return pm.Deterministic(name, to_rho(t))
    start = None if control.initial is None else float(to_rho(pt.constant(control.initial, dtype="float64")).eval())
    return pc_correlation(name, a, b, positive=control.model == "exchangeablepos", start=start)


def pc_correlation(name: str, u: float, alpha: float, *, positive: bool = False, start: float | None = None):
    """A correlation with penalized-complexity prior and base model rho = 0: P(abs(rho) > u) = alpha.

    The distance mu = sqrt(-log(1 - rho^2)) is Exponential with rate -log(alpha) / mu(u) (Simpson et al. 2017); with
    either sign equally likely, or positive only.
    """
    rate = -np.log(alpha) / np.sqrt(-np.log1p(-(u**2)))
    # log mu of the start; rho = 0 itself is where the density has its kink
    start = (0.5 if positive else 0.1) if start is None else start
    distance = np.sign(start) * np.sqrt(-np.log1p(-(start**2)))
    if positive:
        mu = pm.Exponential(f"{name}_internal", rate, initval=distance)
        return pm.Deterministic(name, pt.sqrt(-pt.expm1(-(mu**2))))
    mu = pm.Laplace(f"{name}_internal", 0.0, 1 / rate, initval=distance)
    # the square root alone has no derivative at zero
    return pm.Deterministic(name, pt.sign(mu) * pt.sqrt(-pt.expm1(-(mu**2))))


def _partial_autocorrelations(name: str, control: ControlGroup):
    """`name_pacf`, (p,), of which each element has its own prior."""
    p = control.structure.order
    elements = []
    for k in range(p):
        default = ("pc.cor0", (0.5, PACF_ALPHA[min(k, len(PACF_ALPHA) - 1)]))
        to_rho, from_rho, _ = _autoregressive_map(None)
        elements.append(correlation(f"{name}_pacf{k + 1}", to_rho, from_rho, control, default))
    return pm.Deterministic(f"{name}_pacf", pt.stack(elements))
