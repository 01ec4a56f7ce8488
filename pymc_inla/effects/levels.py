"""Labels of the levels of an effect, and the position of the label of each row among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymc_inla.errors import InvalidDataError, InvalidOptionError


@dataclass(frozen=True)
class EffectInfo:
    """What `IID` knows about an effect beyond its tensor; kept on the tensor as `effect.tag.pymc_inla`."""

    name: str
    n: int
    nrep: int
    ngroup: int
    levels: pd.Index | None
    """Labels in the order of the levels; None: those of the data, sorted"""
    id_names: tuple | None
    """Labels to show instead of the levels"""


def is_number(value) -> bool:
    """Whether an option is one finite real number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return False
    return bool(np.isfinite(value))


def effect_info(effect) -> EffectInfo:
    """The information of an effect; of a variable that `IID` did not make, its last axis are the levels."""
    info = getattr(getattr(effect, "tag", None), "pymc_inla", None)
    if info is not None:
        return info
    shape = getattr(getattr(effect, "type", None), "shape", ())
    if len(shape) != 1 or shape[0] is None:
        raise InvalidOptionError(
            f"effect: found {effect!r}; it must be an effect made by pymc_inla.IID or pymc_inla.copy, or a variable of "
            "one axis of known length."
        )
    return EffectInfo(effect.name or "effect", int(shape[0]), 1, 1, None, None)


def read_values(name: str, values) -> pd.Index:
    """Explicit levels in their order.

    Raises
    ------
    InvalidDataError
        Missing or duplicated labels.
    """
    levels = pd.Index(np.asarray(values) if not isinstance(values, pd.Index | pd.Series | list | tuple) else values)
    if levels.isna().any():
        raise InvalidDataError(f"{name}: values holds a missing label at position {int(np.argmax(levels.isna()))}.")
    if not levels.is_unique:
        repeated = levels[levels.duplicated()].unique()[:5].tolist()
        raise InvalidDataError(f"{name}: values must be unique; {_show(repeated)} appear more than once.")
    if len(levels) == 0:
        raise InvalidDataError(f"{name}: values is empty; an effect needs at least one level.")
    return levels


def label_positions(info: EffectInfo, index, values=None) -> np.ndarray:
    """Position of each row's label among the levels, (n_rows,) integers; -1 where the row has no label.

    Levels are, in this order of preference: `values`; the levels the effect was made with; the categories of a
    categorical index; the sorted labels of the index.

    Raises
    ------
    InvalidDataError
        A label is not among the levels, or the number of labels is not the number of levels of the effect.
    """
    if np.ndim(index) != 1:
        raise InvalidDataError(f"{info.name}: index has shape {np.shape(index)}; it needs one label per row.")
    column = pd.Series(index)
    missing = column.isna().to_numpy()
    if column.dtype.kind == "f" and np.isinf(column.to_numpy(dtype=float, na_value=np.nan)).any():
        raise InvalidDataError(f"{info.name}: index holds an infinite label. Use NaN for rows without contribution.")
    levels = info.levels
    if values is not None:
        levels = read_values(info.name, values)
        if len(levels) != info.n:
            raise InvalidDataError(
                f"{info.name}: values has {len(levels)} labels, and the effect has n={info.n} levels. They must agree."
            )
    if levels is None:
        levels = _levels_of(column, info)
    positions = levels.get_indexer(pd.Index(column.astype(object) if column.dtype.name == "category" else column))
    outside = (positions < 0) & ~missing
    if outside.any():
        labels = pd.unique(column[outside])[:5].tolist()
        raise InvalidDataError(
            f"{info.name}: the index holds {_show(labels)} (first in row {int(np.argmax(outside))}), outside its "
            f"levels {_show(levels[:8].tolist())}{', ...' if len(levels) > 8 else ''}. Add it to values=, or use NaN "
            "for rows without contribution."
        )
    return np.where(missing, -1, positions).astype(np.int64)


def _levels_of(column: pd.Series, info: EffectInfo) -> pd.Index:
    if column.dtype.name == "category":
        levels, source = pd.Index(column.cat.categories), "categories"
    else:
        labels = column.dropna().unique()
        try:
            levels, source = pd.Index(sorted(labels)), "distinct labels"
        except TypeError as error:
            raise InvalidDataError(
                f"{info.name}: the labels of the index cannot be sorted ({error}). Use labels of one type, or give "
                "their order as values=."
            ) from error
    if len(levels) != info.n:
        raise InvalidDataError(
            f"{info.name}: the index has {len(levels)} {source}, and the effect has n={info.n} levels. Without values= "
            f"they must agree: give all {info.n} labels as values=, or n={len(levels)}."
        )
    return levels


def _show(labels) -> str:
    return ", ".join(repr(label) for label in labels)
