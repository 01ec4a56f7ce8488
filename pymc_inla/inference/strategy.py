"""Which inner approximation integrates the latent field, and why."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg import build_system

STRATEGIES = ("auto", "quadrature", "laplace", "simplified_laplace", "gaussian")


@dataclass(frozen=True)
class Choice:
    """An inner approximation with the reason for it."""

    inner: object
    """InnerApproximation"""
    strategy: str
    reason: str
    finer: object | None = None
    """A better inner approximation to judge this one by"""
    finer_name: str = ""


def check_strategy(strategy: str) -> None:
    """Refuse unknown strategies.

    Raises
    ------
    InvalidOptionError
    """
    if strategy not in STRATEGIES:
        close = get_close_matches(str(strategy), STRATEGIES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidOptionError(f"strategy={strategy!r} is unknown; allowed are {', '.join(STRATEGIES)}.{hint}")


def laplace_choice(functions: LGMFunctions, strategy: str, **options) -> Choice:
    """The Laplace approximation, as asked for or as the one that everything starts from."""
    system = build_system(
        functions.Q_pattern, functions.A_pattern, functions.W_rows, functions.W_cols, functions.C, functions.e
    )
    if functions.gaussian:
        reason = "the likelihood is Gaussian: the Laplace approximation is exact given theta"
    else:
        reason = "asked for"
    name = "laplace" if strategy in ("auto", "quadrature") else strategy
    return Choice(LaplaceInner(functions, system, strategy=name, **options), name, reason)


def choose_inner(
    functions: LGMFunctions, strategy: str, start: np.ndarray, *, vb_correct: np.ndarray | None = None
) -> tuple[Choice, np.ndarray]:
    """The inner approximation for this model, and where the search for theta* may start.

    Parameters
    ----------
    strategy : str
        One of `STRATEGIES`.
    start : array (n_theta,)
    vb_correct : int array, optional
    """
    options = {} if vb_correct is None else {"vb_correct": vb_correct}
    return laplace_choice(functions, strategy, **options), start


def bytes_per_point(functions: LGMFunctions) -> float:
    """Rough size of one inner point: a few vectors, the patterns and a dense remainder."""
    vectors = 8 * functions.n_eta + 8 * functions.n_x + 3 * functions.A_pattern.nnz + 3 * functions.Q_pattern.nnz
    return 8.0 * (vectors + min(functions.n_x, 1000) ** 2)


def one_predictor_each(functions: LGMFunctions) -> bool:
    """Whether entry i of eta belongs to observation i and to no other."""
    return functions.n_eta == functions.n_obs and bool(
        np.array_equal(functions.observation, np.arange(functions.n_obs))
    )
