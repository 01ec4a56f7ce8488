"""Observations that the model makes impossible: whatever the parameters are, or where the search for them starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pymc_inla.errors import InvalidDataError
from pymc_inla.lgm import LatentGaussianModel, LGMFunctions

SIZES = (1e-3, 0.03, 0.3, 0.5, 0.9, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e6)
"""Absolute values of linear predictors: some lie in any range that a parameter may have, as (0, 1) and (0, inf)"""
COMBINATIONS = 60
"""Of values of several linear predictors"""
SPREADS = (1.0, 1.0, 10.0, 10.0, 100.0, 1000.0)
"""Of other hyperparameters than those of the start, as bounds or shifts of a distribution"""
SHOWN = 5


def check_support(lgm: LatentGaussianModel, functions: LGMFunctions, theta_start: np.ndarray | None = None) -> str:
    """Refuse observations that no linear predictor and no hyperparameter makes possible.

    They are looked for among those that are impossible at the start, by evaluation at predictors and hyperparameters of
    all sizes.

    Parameters
    ----------
    lgm : LatentGaussianModel
    functions : LGMFunctions
        Compiled from it.
    theta_start : array (n_theta,), optional
        Where the search will start, `functions.theta_initial` by default.

    Returns
    -------
    str
        What to say when the search fails: which observations are impossible at the start values and x = 0. Empty when
        none is.

    Raises
    ------
    InvalidDataError
    """
    theta = functions.theta_initial if theta_start is None else theta_start
    offset = functions.design(theta).offset
    at_start = _impossible(functions, offset, theta)
    if not at_start.any():
        return ""
    never = at_start.copy()
    for eta, other in _trials(lgm, functions, offset, theta):
        never &= _impossible(functions, eta, other)
        if not never.any():
            break
    outside = _described(lgm, never, "are outside the support of its distribution")
    if outside:
        raise InvalidDataError(
            f"{outside}. No linear predictor and no hyperparameter makes them possible: correct or drop these rows, or "
            "take a distribution that allows them."
        )
    return (
        f"{_described(lgm, at_start, 'are impossible at the start, where all latent variables are 0')}. Check that the "
        "linear predictor reaches the likelihood through the right function (pm.math.exp for a rate, logit_p= for a "
        "probability)."
    )


def _impossible(functions: LGMFunctions, eta: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(n_obs,)"""
    with np.errstate(all="ignore"):
        return ~np.isfinite(functions.log_likelihood_values(eta[None], theta)[0])


def _trials(lgm, functions, offset, theta) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Linear predictors (n_eta,) around zero and around the offset, with hyperparameters."""
    rng = np.random.default_rng(0)
    blocks = [int(np.prod(term.shape, dtype=int)) for term in lgm.terms for _ in term.predictors]
    sizes = np.array([sign * size for size in SIZES for sign in (1.0, -1.0)])
    alike = np.tile(sizes[:, None], len(blocks))
    several = max(len(term.predictors) for term in lgm.terms) > 1
    mixed = rng.choice(sizes, size=(COMBINATIONS if several else 0, len(blocks)))
    centers = [np.zeros(len(offset)), offset] if offset.any() else [offset]
    moved = [theta + spread * rng.normal(size=len(theta)) for spread in SPREADS if len(theta)]
    for hyperparameters in [theta, *(np.clip(t, functions.space.lower, functions.space.upper) for t in moved)]:
        for values in np.vstack([alike, mixed]):
            for center in centers:
                yield center + np.repeat(values, blocks), hyperparameters


def _described(lgm: LatentGaussianModel, bad: np.ndarray, what: str) -> str:
    """Of every likelihood, how many observations are bad (n_obs,), with the places and values of the first ones"""
    found, start = [], 0
    for term in lgm.terms:
        size = int(np.prod(term.shape, dtype=int))
        here, start = np.flatnonzero(bad[start : start + size]), start + size
        if len(here) == 0:
            continue
        more = ", ..." if len(here) > SHOWN else ""
        places = f"position {', '.join(map(str, here[:SHOWN]))}{more}"
        if term.observed is not None and term.observed.size == size:
            values = np.ravel(term.observed)[here[:SHOWN]]
            places += f"; value {', '.join(f'{value:.6g}' for value in values)}{more}"
        found.append(f"{term.name}: {len(here)} of {size} observations {what} ({places})")
    return "; ".join(found)
