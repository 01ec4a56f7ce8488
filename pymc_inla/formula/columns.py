"""A specification joined with its data: aligned arrays, lengths, labels and levels checked.

Rows are never dropped: a missing response is predicted, a missing index or weight contributes nothing, and anything
else that is missing is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymc_inla.errors import InvalidDataError, InvalidOptionError
from pymc_inla.formula.spec import Effect, Formula
from pymc_inla.options import did_you_mean


@dataclass(frozen=True)
class EffectColumns:
    """One random effect with its rows.

    Parameters
    ----------
    spec : Effect
    levels : tuple
        Labels of the levels in order; those of the source for a copy.
    position : ndarray of int (n_rows,)
        Flat position of the row in (replicate, group, level); -1 where the row has no contribution.
    weights : ndarray (n_rows,)
        0 where the row has no contribution.
    nrep, ngroup : int
    """

    spec: Effect
    levels: tuple
    position: np.ndarray
    weights: np.ndarray
    nrep: int
    ngroup: int

    @property
    def labels(self) -> tuple:
        """What tables show for each level."""
        return self.spec.id_names or self.levels


@dataclass(frozen=True)
class Columns:
    """Everything that a model needs, in the order of the rows.

    Parameters
    ----------
    formula : Formula
    rows : tuple
        Row labels (the index of a data frame, or 0, 1, ...).
    y : ndarray (n,)
        NaN where the response is to be predicted.
    X : ndarray (n, p)
        Columns of the fixed effects other than the intercept.
    effects : tuple of EffectColumns
    E, Ntrials, offset : ndarray (n,)
    """

    formula: Formula
    rows: tuple
    y: np.ndarray
    X: np.ndarray
    effects: tuple[EffectColumns, ...]
    E: np.ndarray
    Ntrials: np.ndarray
    offset: np.ndarray


def read_columns(formula: Formula, data, *, E=None, Ntrials=None, offset=None) -> Columns:
    """Read the data of a specification.

    Parameters
    ----------
    formula : Formula
    data : pandas.DataFrame or dict of array_like
        All columns of one length.
    E, Ntrials, offset : array_like, number or column name, optional

    Raises
    ------
    InvalidOptionError, InvalidDataError
        A column is missing, is not numeric, or has the wrong length or labels.
    """
    frame = to_frame(data)
    n = len(frame)
    y = numeric(frame, formula.response, "formula['response']", missing=True)
    if np.all(np.isnan(y)):
        raise InvalidDataError(f"Response {formula.response!r} has no observed value: there is nothing to fit.")
    X = np.empty((n, len(formula.fixed)))
    for j, name in enumerate(formula.fixed):
        X[:, j] = fixed_column(frame, name)
    effects: dict[str, EffectColumns] = {}
    for effect in formula.random:
        effects[effect.id] = read_effect_columns(effect, frame, effects)
    return Columns(
        formula,
        tuple(frame.index.tolist()),
        y,
        X,
        tuple(effects.values()),
        row_values("E", E, frame, 1.0, lower=0.0),
        row_values("Ntrials", Ntrials, frame, 1.0, lower=0.0),
        row_values("offset", offset, frame, 0.0),
    )


def to_frame(data) -> pd.DataFrame:
    """Data as a frame; every column has the same length and there is at least one row."""
    if isinstance(data, Mapping):
        lengths = {name: len(column) for name, column in data.items() if np.ndim(column) > 0}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise InvalidDataError(f"data: the columns have different lengths ({shown}); give one value per row.")
        data = pd.DataFrame(data)
    if not isinstance(data, pd.DataFrame):
        raise InvalidOptionError(f"data={type(data).__name__}: give a pandas DataFrame or a dict of columns.")
    if len(data) == 0:
        raise InvalidDataError("data has no rows.")
    return data


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    if name not in frame.columns:
        listed = ", ".join(map(str, frame.columns))
        raise InvalidOptionError(
            f"{where}: the data have no column {name!r}.{did_you_mean(name, frame.columns)} Columns: {listed}."
        )
    found = frame[name]
    if isinstance(found, pd.DataFrame):
        raise InvalidDataError(f"{where}: the data have several columns named {name!r}.")
    return found


def to_numbers(values, where: str) -> np.ndarray:
    """Floats, missing values as NaN."""
    try:
        numbers = pd.to_numeric(pd.Series(values).reset_index(drop=True)).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(
            f"{where}: not numeric ({error}). Give numbers; code categories as indicator columns."
        ) from error
    if np.any(np.isinf(numbers)):
        raise InvalidDataError(f"{where}: infinite in row {int(np.argmax(np.isinf(numbers)))}; give finite numbers.")
    return numbers


def numeric(frame: pd.DataFrame, name: str, where: str, *, missing: bool) -> np.ndarray:
    """A numeric column; NaN only where `missing`."""
    values = to_numbers(column(frame, name, where), f"{where}, column {name!r}")
    if not missing and np.any(np.isnan(values)):
        raise InvalidDataError(
            f"{where}, column {name!r}: missing in row {int(np.argmax(np.isnan(values)))}. Covariates cannot be "
            "missing: impute them, or leave the row out."
        )
    return values


def fixed_column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column, or the product of the columns in "a:b"."""
    where = "formula['fixed']"
    if name in frame.columns or ":" not in name:
        return numeric(frame, name, where, missing=False)
    return np.prod([numeric(frame, part.strip(), where, missing=False) for part in name.split(":")], axis=0)


def row_values(name: str, values, frame: pd.DataFrame, default: float, lower: float | None = None) -> np.ndarray:
    """One finite number per row: from a number, a sequence or the name of a column."""
    n = len(frame)
    if values is None:
        return np.full(n, default)
    if isinstance(values, str):
        values = column(frame, values, name)
    numbers = to_numbers(np.full(n, values) if np.ndim(values) == 0 else values, name)
    check_length(name, numbers, n)
    if np.any(np.isnan(numbers)):
        raise InvalidDataError(f"{name}: missing in row {int(np.argmax(np.isnan(numbers)))}; give one number per row.")
    if lower is not None and np.any(numbers <= lower):
        row = int(np.argmax(numbers <= lower))
        raise InvalidDataError(f"{name} is {numbers[row]:g} in row {row}; give numbers above {lower:g}.")
    return numbers


def check_length(where: str, values, n: int) -> None:
    if np.ndim(values) != 1 or len(values) != n:
        raise InvalidDataError(f"{where} has shape {np.shape(values)}; the data have {n} rows, give one value per row.")


def read_effect_columns(effect: Effect, frame: pd.DataFrame, earlier: Mapping[str, EffectColumns]) -> EffectColumns:
    """Levels, positions and weights of one random effect."""
    where = f"random effect {effect.id!r}"
    index = column(frame, effect.id, f"{where}, 'id'")
    if effect.copy is None:
        levels = find_levels(effect, index, where)
        nrep, replicate = read_axis(where, "replicate", effect.replicate, "nrep", effect.nrep, frame)
        ngroup, group = read_axis(where, "group", effect.group, "ngroup", effect.ngroup, frame)
    else:
        source = earlier[effect.copy]
        levels = source.levels
        nrep, replicate = read_axis(where, "replicate", effect.replicate, "nrep", source.nrep, frame)
        ngroup, group = read_axis(where, "group", effect.group, "ngroup", source.ngroup, frame)
    level = level_positions(index, levels, where, effect)
    weights = np.ones(len(frame))
    if effect.weights is not None:
        given = column(frame, effect.weights, where) if isinstance(effect.weights, str) else effect.weights
        check_length(f"{where}: weights", np.asarray(given), len(frame))
        weights = to_numbers(given, f"{where}: weights")
    absent = (level < 0) | np.isnan(weights) | (replicate < 0) | (group < 0)
    position = np.where(absent, -1, (replicate * ngroup + group) * len(levels) + level)
    return EffectColumns(effect, levels, position, np.where(absent, 0.0, weights), nrep, ngroup)


def find_levels(effect: Effect, index: pd.Series, where: str) -> tuple:
    """Explicit `values`, categories in their order, or the sorted distinct labels."""
    if effect.values is not None:
        levels, source = effect.values, "'values'"
    elif isinstance(index.dtype, pd.CategoricalDtype):
        levels, source = tuple(index.cat.categories.tolist()), "the categories"
    else:
        present = index.dropna()
        if len(present) == 0:
            raise InvalidDataError(f"{where}: the column holds no level, all rows are missing.")
        try:
            levels = tuple(sorted(set(present.tolist())))
        except TypeError as error:
            raise InvalidDataError(f"{where}: labels of several types cannot be sorted; use one type.") from error
        source = "the data"
    if effect.n is not None and effect.n != len(levels):
        raise InvalidDataError(
            f"{where}: n={effect.n}, but {source} give {len(levels)} levels. They must be equal: declare levels "
            "without data with 'values', or drop 'n'."
        )
    if effect.id_names is not None and len(effect.id_names) != len(levels):
        raise InvalidDataError(
            f"{where}: id_names has {len(effect.id_names)} labels for {len(levels)} levels; give one per level."
        )
    return levels


def level_positions(index: pd.Series, levels: tuple, where: str, effect: Effect) -> np.ndarray:
    """Position of each row's label among the levels, -1 where it is missing."""
    positions = pd.Index(levels).get_indexer(pd.Index(index.to_numpy(dtype=object)))
    unknown = (positions < 0) & ~pd.isna(index.to_numpy(dtype=object))
    if np.any(unknown):
        label = index.tolist()[int(np.argmax(unknown))]
        declared = "'values'" if effect.copy is None else f"the levels of {effect.copy!r}"
        shown = ", ".join(map(str, levels[:20])) + (", ..." if len(levels) > 20 else "")
        raise InvalidDataError(
            f"{where}: label {label!r} in row {int(np.argmax(unknown))} is not among {declared} ({shown})."
        )
    return positions


def read_axis(where, key: str, values, count_key: str, count: int | None, frame: pd.DataFrame):
    """Size of the replicate or group axis and each row's zero-based position on it; -1 where it is missing."""
    n = len(frame)
    if values is None:
        if count is not None and count > 1 and count_key == "ngroup":
            raise InvalidDataError(f"{where}: {count_key}={count} needs '{key}': give one integer from 1 per row.")
        return count or 1, np.zeros(n, dtype=int)
    if isinstance(values, str):
        values = column(frame, values, f"{where}, '{key}'")
    check_length(f"{where}: {key}", np.asarray(values), n)
    numbers = to_numbers(values, f"{where}: {key}")
    present = ~np.isnan(numbers)
    bad = present & ((numbers != np.round(numbers)) | (numbers < 1))
    if np.any(bad):
        row = int(np.argmax(bad))
        raise InvalidDataError(f"{where}: {key} is {numbers[row]:g} in row {row}; give integers from 1 to {count_key}.")
    largest = int(numbers[present].max()) if np.any(present) else 1
    if count is not None and largest > count:
        row = int(np.argmax(np.where(present, numbers, 0)))
        raise InvalidDataError(f"{where}: {key} is {largest} in row {row}, but {count_key}={count}.")
    return count or largest, np.where(present, np.nan_to_num(numbers) - 1, -1).astype(int)
