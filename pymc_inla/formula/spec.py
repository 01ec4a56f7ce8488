"""The dict specification as frozen dataclasses: keys, shorthands and simple values checked, no data needed.

The keys are those that pyINLA documents for the iid effect; anything else is an error that lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import did_you_mean

FORMULA_KEYS = ("response", "fixed", "random")
EFFECT_KEYS = (
    "id",
    "model",
    "hyper",
    "n",
    "constr",
    "initial",
    "fixed",
    "diagonal",
    "weights",
    "id_names",
    "values",
    "nrep",
    "replicate",
    "group",
    "ngroup",
    "control.group",
    "extraconstr",
    "copy",
    "vb.correct",
    "debug",
)
HYPER_KEYS = ("prior", "param", "initial", "fixed")
MODELS = ("iid",)
SOURCE_KEYS = (
    "n",
    "constr",
    "diagonal",
    "id_names",
    "values",
    "nrep",
    "ngroup",
    "control.group",
    "extraconstr",
    "vb.correct",
)
"""Keys that describe the effect itself, which a copy takes from its source."""
RESERVED = ("Intercept", "fixed", "fixed_effect", "linear_predictor", "row", "offset")
"""Names of the variables and dimensions that the built model has in any case."""


@dataclass(frozen=True)
class Hyper:
    """Prior of one hyperparameter.

    Parameters
    ----------
    prior : str or None
        INLA's name; None for the default.
    param : tuple of float or None
    initial : float or None
        Start (or value, if fixed) on the internal scale; None for the default.
    fixed : bool or None
        Whether it is pinned at `initial`; None for the default.
    """

    prior: str | None = None
    param: tuple[float, ...] | None = None
    initial: float | None = None
    fixed: bool | None = None


@dataclass(frozen=True)
class Effect:
    """One entry of `random`; fields named as the keys of the specification."""

    id: str
    hyper: Hyper
    n: int | None = None
    constr: bool = False
    diagonal: float = 0.0
    weights: Any = None
    id_names: tuple | None = None
    values: tuple | None = None
    nrep: int | None = None
    replicate: Any = None
    group: Any = None
    ngroup: int | None = None
    control_group: Mapping[str, Any] | None = None
    extraconstr: Mapping[str, Any] | None = None
    copy: str | None = None
    vb_correct: bool | tuple[int, ...] = False
    debug: bool = False


@dataclass(frozen=True)
class Formula:
    """Response, names of fixed effects, and the random effects.

    Parameters
    ----------
    response : str
    intercept : bool
    fixed : tuple of str
        Columns, or products of columns written `"a:b"`.
    random : tuple of Effect
    """

    response: str
    intercept: bool
    fixed: tuple[str, ...]
    random: tuple[Effect, ...]


def read_formula(formula) -> Formula:
    """Check the dict specification.

    Parameters
    ----------
    formula : dict
        `{"response": column, "fixed": [columns], "random": [dicts]}`; only the response is required. `"1"` in `fixed`
        asks for the intercept, which is there by default; `"0"` or `"-1"` removes it.

    Raises
    ------
    InvalidOptionError
        The message names the key, the value found, what is allowed and the nearest match.
    """
    if not isinstance(formula, Mapping):
        raise InvalidOptionError(
            f"formula={formula!r}: give a dict with the keys {', '.join(FORMULA_KEYS)}, such as "
            "{'response': 'y', 'fixed': ['x'], 'random': [{'id': 'g', 'model': 'iid'}]}."
        )
    check_keys("formula", formula, FORMULA_KEYS)
    response = formula.get("response")
    if not isinstance(response, str) or not response:
        raise InvalidOptionError(f"formula['response']={response!r}: give the name of the response column.")
    if response in RESERVED:
        raise InvalidOptionError(f"formula['response']={response!r} is a reserved name: rename the column.")
    intercept, fixed = read_fixed(formula.get("fixed", ()))
    own = [name for name in fixed if response in (part.strip() for part in name.split(":"))]
    if own:
        raise InvalidOptionError(
            f"formula['fixed'] holds {own[0]!r}, of the response {response!r} itself: a response does not explain "
            "itself. Leave it out, or name another column."
        )
    random = formula.get("random", ())
    if isinstance(random, (str, Mapping)) or not isinstance(random, (list, tuple)):
        raise InvalidOptionError(f"formula['random']={random!r}: give a list of dicts, one per random effect.")
    effects: list[Effect] = []
    for entry in random:
        effect = read_effect(entry)
        check_name(effect, response, effects)
        effects.append(effect)
    return Formula(response, intercept, fixed, tuple(effects))


def read_fixed(fixed) -> tuple[bool, tuple[str, ...]]:
    """Whether there is an intercept, and the names of the other fixed effects."""
    if fixed is None:
        return True, ()
    if isinstance(fixed, (str, bytes, Mapping)) or not isinstance(fixed, (list, tuple)):
        raise InvalidOptionError(f"formula['fixed']={fixed!r}: give a list of column names, such as ['1', 'x'].")
    constants, names = {}, []
    for name in fixed:
        text = str(name).strip() if isinstance(name, (str, int)) and not isinstance(name, bool) else ""
        if not text:
            raise InvalidOptionError(
                f"formula['fixed'] holds {name!r}: give column names; '1' asks for the intercept, '0' or '-1' removes "
                "it."
            )
        if text in ("0", "-1", "1"):
            constants[text == "1"] = text
        elif text in names:
            raise InvalidOptionError(f"formula['fixed'] names {text!r} twice: each fixed effect enters once.")
        else:
            names.append(text)
    if len(constants) == 2:
        raise InvalidOptionError(
            f"formula['fixed'] holds both '1', which asks for the intercept, and {constants[False]!r}, which "
            "removes it. Give one of them."
        )
    return False not in constants, tuple(names)


def read_effect(entry) -> Effect:
    """One entry of `random`."""
    if not isinstance(entry, Mapping):
        raise InvalidOptionError(
            f"formula['random'] holds {entry!r}: give dicts such as {{'id': 'g', 'model': 'iid'}}."
        )
    name = entry.get("id")
    where = f"random effect {name!r}"
    if "scale" in entry:
        raise InvalidOptionError(
            f"{where}: 'scale' is not a key of the iid effect. Scale the contribution of each row with 'weights'. "
            f"Allowed: {', '.join(EFFECT_KEYS)}."
        )
    check_keys(where, entry, EFFECT_KEYS)
    if not isinstance(name, str) or not name:
        raise InvalidOptionError(f"formula['random']: 'id' is {name!r}; give the name of the column with the levels.")
    if "model" not in entry:
        raise InvalidOptionError(f"{where}: 'model' is missing. Allowed: {', '.join(map(repr, MODELS))}.")
    model = entry["model"]
    if model not in MODELS:
        raise InvalidOptionError(
            f"{where}: model={model!r} does not exist.{did_you_mean(model, MODELS)} Allowed: "
            f"{', '.join(map(repr, MODELS))}. Write other effects as a PyMC model and fit it with pymc_inla.fit."
        )
    source = read_copy(where, entry)
    return Effect(
        id=name,
        hyper=read_hyper(where, entry, "hyper"),
        n=read_count(where, entry, "n"),
        constr=read_bool(where, entry, "constr"),
        diagonal=read_diagonal(where, entry),
        weights=entry.get("weights"),
        id_names=read_labels(where, entry, "id_names"),
        values=read_labels(where, entry, "values"),
        nrep=read_count(where, entry, "nrep"),
        replicate=entry.get("replicate"),
        group=entry.get("group"),
        ngroup=read_count(where, entry, "ngroup"),
        control_group=read_mapping(where, entry, "control.group", "{'model': 'ar1'}", {}),
        extraconstr=read_mapping(where, entry, "extraconstr", "{'A': matrix, 'e': vector}"),
        copy=source,
        vb_correct=read_vb_correct(where, entry),
        debug=read_bool(where, entry, "debug"),
    )


def read_hyper(where: str, entry: Mapping, key: str) -> Hyper:
    """`hyper` (a list with one dict, or the dict) together with the shorthands `initial` and `fixed`."""
    nested = entry.get(key)
    if nested is None:
        nested = {}
    if isinstance(nested, (list, tuple)):
        if len(nested) != 1:
            raise InvalidOptionError(f"{where}: '{key}' has {len(nested)} entries; give a list with one dict.")
        nested = nested[0]
    if isinstance(nested, Mapping) and set(nested) and set(nested) <= {"prec", "theta", "beta"} and len(nested) == 1:
        nested = next(iter(nested.values()))  # R-INLA's spelling: hyper = list(prec = list(...))
    if not isinstance(nested, Mapping):
        raise InvalidOptionError(
            f"{where}: {key}={entry[key]!r}; give a list with one dict of the keys {', '.join(HYPER_KEYS)}."
        )
    check_keys(f"{where}, '{key}'", nested, HYPER_KEYS)
    for name in ("initial", "fixed"):
        if name in entry and name in nested and entry[name] != nested[name]:
            raise InvalidOptionError(
                f"{where}: {name}={entry[name]!r} and {key}[0][{name!r}]={nested[name]!r} contradict each other. "
                "Give one of them."
            )
    merged = {**nested, **{name: entry[name] for name in ("initial", "fixed") if name in entry}}
    prior = merged.get("prior")
    if prior is not None and not isinstance(prior, str):
        raise InvalidOptionError(f"{where}: prior={prior!r}; give the name of a prior, such as 'pc.prec'.")
    initial = merged.get("initial")
    if initial is not None:
        initial = finite_number(where, "initial", initial, "a finite number, the start of log precision")
    fixed = merged.get("fixed")
    if fixed is not None and not isinstance(fixed, (bool, np.bool_)):
        raise InvalidOptionError(f"{where}: fixed={fixed!r}; give True or False.")
    return Hyper(prior, read_param(where, merged.get("param")), initial, None if fixed is None else bool(fixed))


def read_param(where: str, param) -> tuple[float, ...] | None:
    """Parameters of a prior as floats; how many and which values is for the prior to say."""
    if param is None:
        return None
    items = param if isinstance(param, (list, tuple, np.ndarray)) else [param]
    return tuple(finite_number(where, "param", item, "finite numbers") for item in items)


def read_copy(where: str, entry: Mapping) -> str | None:
    """Name of the copied effect; keys that describe the effect itself contradict it."""
    source = entry.get("copy")
    if source is None:
        return None
    if not isinstance(source, str):
        raise InvalidOptionError(f"{where}: copy={source!r}; give the 'id' of an earlier random effect.")
    given = [key for key in SOURCE_KEYS if entry.get(key) is not None and entry.get(key) is not False]
    if given:
        raise InvalidOptionError(
            f"{where} copies {source!r}, so {', '.join(map(repr, given))} cannot be given here: the copy has the "
            f"levels, constraints and structure of its source. Set them on {source!r}."
        )
    return source


def check_name(effect: Effect, response: str, earlier: list[Effect]) -> None:
    """Names of effects are unique and free; a copy names an effect before it."""
    names = [other.id for other in earlier]
    if effect.id in names:
        raise InvalidOptionError(
            f"random effect {effect.id!r} is given twice: add a copy of the column under another name."
        )
    if effect.id == response or effect.id in RESERVED:
        raise InvalidOptionError(
            f"random effect {effect.id!r}: the name is taken by the "
            f"{'response' if effect.id == response else 'model'}. Add a copy of the column under another name."
        )
    if effect.copy is None:
        return
    sources = [other.id for other in earlier if other.copy is None]
    if effect.copy not in sources:
        listed = ", ".join(map(repr, sources)) or "none"
        raise InvalidOptionError(
            f"random effect {effect.id!r}: copy={effect.copy!r} is not an earlier effect that can be copied."
            f"{did_you_mean(effect.copy, sources)} Allowed: {listed}."
        )


def check_keys(where: str, found: Mapping, allowed: tuple[str, ...]) -> None:
    """Refuse keys that are not in `allowed`, with the nearest match."""
    for key in found:
        if key not in allowed:
            raise InvalidOptionError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, allowed)} Allowed: {', '.join(allowed)}."
            )


def finite_number(where: str, key: str, value, allowed: str) -> float:
    """A finite float."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidOptionError(f"{where}: {key}={value!r}; give {allowed}.")
    if not np.isfinite(value):
        raise InvalidOptionError(f"{where}: {key}={value!r} is not finite; give {allowed}.")
    return float(value)


def read_bool(where: str, entry: Mapping, key: str) -> bool:
    value = entry.get(key, False)
    if value is None:
        return False
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidOptionError(f"{where}: {key}={value!r}; give True or False.")
    return bool(value)


def read_count(where: str, entry: Mapping, key: str) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidOptionError(f"{where}: {key}={value!r}; give an integer of at least 1.")
    return int(value)


def read_diagonal(where: str, entry: Mapping) -> float:
    value = entry.get("diagonal")
    value = 0.0 if value is None else finite_number(where, "diagonal", value, "a number of at least 0")
    if value < 0:
        raise InvalidOptionError(f"{where}: diagonal={value!r}; give a number of at least 0.")
    return value


def read_labels(where: str, entry: Mapping, key: str) -> tuple | None:
    """A one-dimensional sequence without duplicates."""
    labels = entry.get(key)
    if labels is None:
        return None
    if isinstance(labels, (str, bytes, Mapping)) or not hasattr(labels, "__len__") or np.ndim(labels) != 1:
        raise InvalidOptionError(f"{where}: {key}={labels!r}; give a list with one entry per level.")
    labels = tuple(np.asarray(labels).tolist()) if not isinstance(labels, (list, tuple)) else tuple(labels)
    if not labels:
        raise InvalidOptionError(f"{where}: {key} is empty; give one entry per level.")
    repeated = [str(label) for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise InvalidOptionError(f"{where}: {key} repeats {', '.join(repeated)}; give every level once.")
    return labels


def read_mapping(where: str, entry: Mapping, key: str, example: str, default=None) -> Mapping | None:
    value = entry.get(key)
    if value is None:
        return default
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"{where}: {key}={value!r}; give a dict such as {example}.")
    return value


def read_vb_correct(where: str, entry: Mapping) -> bool | tuple[int, ...]:
    value = entry.get("vb.correct")
    if value is None:
        return False
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    nodes = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else np.zeros(0)
    if nodes.ndim != 1 or nodes.size == 0 or nodes.dtype.kind not in "iu" or nodes.min() < 0:
        raise InvalidOptionError(
            f"{where}: vb.correct={value!r}; give True, False or a list of positions of levels, counted from 0."
        )
    return tuple(int(node) for node in nodes)
