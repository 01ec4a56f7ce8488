"""Rows (A, e) of the linear constraints A u = e of one effect, checked when the model is written."""

import numpy as np
from scipy import sparse

from pymc_inla.errors import InvalidDataError, InvalidOptionError
from pymc_inla.linalg.constraints import RANK_TOLERANCE


def constraint_rows(name: str, n: int, constr: bool, extraconstr) -> tuple[np.ndarray, np.ndarray]:
    """Constraints of every replicate and group: the sum-to-zero row of `constr`, then those of `extraconstr`.

    Parameters
    ----------
    name : str
        Of the effect, for messages.
    n : int
        Number of levels.
    constr : bool
    extraconstr : dict or None
        {"A": (k, n) or (n,), "e": (k,)}; dense, lists or scipy.sparse; e is zero by default.

    Returns
    -------
    A : (k, n)
    e : (k,)

    Raises
    ------
    InvalidOptionError
        Not a dict with A and perhaps e; wrong shapes.
    InvalidDataError
        A row is not finite, zero, a combination of the others, or contradicts them.
    """
    if not isinstance(constr, bool | np.bool_):
        raise InvalidOptionError(f"{name}: constr={constr!r} is not allowed; it is True or False.")
    A, e, labels = np.zeros((0, n)), np.zeros(0), []
    if constr:
        A, e, labels = np.ones((1, n)), np.zeros(1), ["the sum-to-zero row of constr"]
    if extraconstr is not None:
        extra_A, extra_e = _read(name, n, extraconstr)
        A, e = np.vstack([A, extra_A]), np.concatenate([e, extra_e])
        labels += [f"row {i} of extraconstr" for i in range(len(extra_e))]
    _check_rank(name, A, e, labels)
    if len(e) and len(e) >= n:
        raise InvalidDataError(
            f"{name}: {len(e)} independent constraints leave nothing free of {n} levels. Use at most {n - 1}."
        )
    return A, e


def _read(name, n, extraconstr):
    if not hasattr(extraconstr, "keys") or "A" not in extraconstr or set(extraconstr) - {"A", "e"}:
        found = sorted(map(str, extraconstr)) if hasattr(extraconstr, "keys") else type(extraconstr).__name__
        raise InvalidOptionError(
            f"{name}: extraconstr is a dict {{'A': (k, n) matrix, 'e': (k,) vector}}; found {found}. 'e' may be left "
            "out, and is then zero."
        )
    A = extraconstr["A"]
    A = _numbers(name, "A", A.toarray() if sparse.issparse(A) else A)
    A = A[None, :] if A.ndim == 1 else A
    if A.ndim != 2 or A.shape[1] != n or A.shape[0] == 0:
        raise InvalidOptionError(
            f"{name}: extraconstr['A'] has shape {A.shape}; it needs one row per constraint and one column for each of "
            f"the {n} levels, (k, {n}). The constraints hold in every replicate and group."
        )
    k = A.shape[0]
    given = extraconstr.get("e")
    e = np.zeros(k) if given is None else np.atleast_1d(_numbers(name, "e", given))
    if e.shape != (k,):
        raise InvalidOptionError(
            f"{name}: extraconstr['e'] has shape {e.shape}; A has {k} rows, so e needs shape ({k},)."
        )
    return A, e


def _numbers(name, key, values):
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(f"{name}: extraconstr[{key!r}] is not an array of numbers ({error}).") from error


def _check_rank(name, A, e, labels):
    """Gram-Schmidt in the order of the rows, twice for accuracy, so that the first dependent row can be named."""
    basis, targets = np.zeros((0, A.shape[1])), []
    for row, target, label in zip(A, e, labels, strict=True):
        if not (np.all(np.isfinite(row)) and np.isfinite(target)):
            raise InvalidDataError(f"{name}: {label} holds NaN or inf. Constraints must be finite.")
        norm = np.linalg.norm(row)
        if norm == 0:
            raise InvalidDataError(f"{name}: {label} is zero everywhere, so it constrains nothing. Remove it.")
        rest, implied = row / norm, 0.0
        for _ in range(2):
            along = basis @ rest
            rest = rest - along @ basis
            implied += along @ np.asarray(targets)
        left = np.linalg.norm(rest)
        if left < np.sqrt(RANK_TOLERANCE):
            before = ", ".join(labels[: labels.index(label)])
            if abs(implied - target / norm) <= 1e-8 * (1 + abs(implied)):
                problem = "is redundant: it follows from the constraints before it"
            else:
                problem = (
                    f"contradicts the constraints before it: they imply {implied * norm:g} for it, and e is {target:g}"
                )
            raise InvalidDataError(f"{name}: {label} {problem} ({before}). Remove or correct it.")
        basis = np.vstack([basis, rest / left])
        targets.append((target / norm - implied) / left)
