"""From an effect to the rows of the data: weight times the effect of the row's level, group and replicate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable

from pymc_inla.effects.levels import effect_info, label_positions
from pymc_inla.errors import InvalidDataError, InvalidOptionError


def project(effect, index, *, values=None, weights=None, replicate=None, group=None):
    """Contribution of an effect to the linear predictor of each row.

    Parameters
    ----------
    effect : TensorVariable
        Of `pymc_inla.IID` or `pymc_inla.copy`, or any variable of one axis.
    index : array_like, pandas column, or PyTensor variable (pm.Data), shape (n_rows,)
        Labels of the levels. A missing label (NaN, None, NA) means that the row gets no contribution. Without `values`,
        here or in `IID`, the levels are the sorted labels, or the categories of a categorical column. A PyTensor
        variable holds *positions* 0, ..., n-1 already, so that `pm.set_data` may change it.
    values : sequence, optional
        Labels of the levels in their order.
    weights : array_like or PyTensor variable, (n_rows,), optional
        Factor of each row; NaN means no contribution.
    replicate, group : array_like of int or PyTensor variable, (n_rows,), optional
        1, ..., nrep and 1, ..., ngroup; needed where the effect has more than one.

    Returns
    -------
    TensorVariable
        (n_rows,)

    Raises
    ------
    InvalidOptionError, InvalidDataError
    """
    info = effect_info(effect)
    if isinstance(index, Variable):
        if values is not None:
            raise InvalidOptionError(
                f"{info.name}: values= maps labels to positions, and a PyTensor index holds positions already. "
                "Give the labels as an array, or leave values out."
            )
        position = _check_positions(info, index)
        counts = np.ones(1, dtype=bool)
        n_rows = None
    else:
        position = label_positions(info, index, values)
        counts, n_rows = position >= 0, len(position)
        position = np.maximum(position, 0)
    strides = (("replicate", replicate, info.nrep, info.n * info.ngroup), ("group", group, info.ngroup, info.n))
    for key, column, count, stride in strides:
        if column is None and count > 1:
            raise InvalidOptionError(
                f"{info.name}: the effect has {count} {key}s; give {key}=, integers 1 to {count}, one per row."
            )
        if column is not None:
            position = position + stride * (_axis_index(info, key, column, count, counts, n_rows) - 1)
    weights, counts = _read_weights(info, weights, counts, n_rows)
    rows = effect.flatten()[position]
    if weights is not None:
        return rows * weights
    return rows if np.all(counts) else rows * pt.constant(counts.astype(float))


def _current_value(variable):
    """The data a variable holds now, or None for an expression."""
    if isinstance(variable, SharedVariable):
        return variable.get_value()
    return getattr(variable, "data", None)


def _check_positions(info, index):
    if index.dtype not in ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"):
        raise InvalidDataError(
            f"{info.name}: a PyTensor index holds integer positions 0 to {info.n - 1}; found dtype {index.dtype}."
        )
    now = _current_value(index)
    if now is not None and np.size(now) and (np.min(now) < 0 or np.max(now) >= info.n):
        raise InvalidDataError(
            f"{info.name}: a PyTensor index holds positions 0 to {info.n - 1}; found {np.min(now)} to {np.max(now)}."
        )
    return index


def _axis_index(info, key, column, count, counts, n_rows):
    """Integers 1, ..., count; missing only where the row has no contribution anyway."""
    if isinstance(column, Variable):
        return column
    values = pd.Series(column)
    if np.ndim(column) != 1 or (n_rows is not None and len(values) != n_rows):
        raise InvalidDataError(
            f"{info.name}: {key} has shape {np.shape(column)}; it needs one integer per row, ({n_rows},)."
        )
    missing = values.isna().to_numpy()
    needed = np.broadcast_to(counts, missing.shape)
    if np.any(missing & needed):
        raise InvalidDataError(
            f"{info.name}: {key} is missing in row {int(np.argmax(missing & needed))}. Where a row has no "
            "contribution, set its index to NaN."
        )
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = needed & ~((numbers == np.round(numbers)) & (numbers >= 1) & (numbers <= count))
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise InvalidDataError(
            f"{info.name}: {key} holds {values.tolist()[row]!r} in row {row}; it is an integer from 1 to {count} "
            f"(n{'rep' if key == 'replicate' else key}={count})."
        )
    return np.where(needed, np.nan_to_num(numbers, nan=1.0), 1).astype(np.int64)


def _read_weights(info, weights, counts, n_rows):
    """(weights or None, which rows count)."""
    if weights is None:
        return None, counts
    if isinstance(weights, Variable):
        return (weights if np.all(counts) else weights * pt.constant(counts.astype(float))), counts
    try:
        w = pd.Series(weights).to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"{info.name}: weights are not numbers ({error}).") from error
    if np.ndim(weights) != 1 or (n_rows is not None and len(w) != n_rows):
        raise InvalidDataError(
            f"{info.name}: weights have shape {np.shape(weights)}; one weight per row is needed, ({n_rows},)."
        )
    if np.any(np.isinf(w)):
        raise InvalidDataError(
            f"{info.name}: the weight in row {int(np.argmax(np.isinf(w)))} is infinite. Weights are finite, or NaN for "
            "rows without contribution."
        )
    return pt.constant(np.where(counts & ~np.isnan(w), np.nan_to_num(w), 0.0)), counts
