"""Images of a mode of log p~(theta | y): the same point with labels exchanged or signs changed.

What a posterior does not tell apart has a mode for each way to write it. The components of a mixture, two curves of a
sum, two effects alike may change places; a loading and what it multiplies, a slope within a curve and its height, may
change their signs together. Where priors treat the images alike they are modes of the same height, and where they
nearly do, a search from there finds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from pymc_inla.theta_space import ThetaSpace

MOST_LABELS = 4
"""Labels of which every two are exchanged, in all variables that have so many"""
MOST_EXCHANGED = 5
"""Hyperparameters of which every two are exchanged, whatever their names: two evaluations for each pair"""
MOST_SIGNS = 4
"""Signs of which all subsets are changed, 15 of them"""
MOST_SCALARS = 3
"""Latent scalars of which two may belong to two hyperparameters that are exchanged"""
MOVED = 1.0
"""Distance in sd by which a change of sign moves a hyperparameter at least, for it to be one"""


@dataclass(frozen=True)
class Image:
    """Where another mode may be."""

    theta: np.ndarray
    """(d,)"""
    x: np.ndarray
    """(n_x,) where the latents may be there"""


def images(space: ThetaSpace, theta: np.ndarray, sd: np.ndarray, x: np.ndarray) -> list[Image]:
    """All images of a mode.

    Parameters
    ----------
    theta, sd : array (d,)
        The mode, and the scale of the density there.
    x : array (n_x,)
        The latents there.
    """
    found = [*_relabeled(space, theta, x), *_exchanged(space, theta, x)]
    return found + [Image(signs * theta, x) for signs in _signs(space, theta, sd)]


def _relabeled(space: ThetaSpace, theta: np.ndarray, x: np.ndarray) -> Iterator[Image]:
    """Two labels exchanged in all variables along them: hyperparameters, latents and, the one time of two, what may be
    probabilities of the labels, which have one element less."""
    variables = space.variables()
    for K in sorted({space.n_labels(at) for at in variables} & set(range(2, MOST_LABELS + 1))):
        rest = [at for at in variables if len(at) == K - 1 and space.has_sign[at].all()]
        for i, j in combinations(range(K), 2):
            order = np.arange(K)
            order[[i, j]] = j, i
            other = theta.copy()
            for at in variables:
                if space.n_labels(at) == K:
                    other[at] = theta[at].reshape(K, -1)[order].ravel()
            moved = _latents_relabeled(space, x, order)
            yield Image(other, moved)
            if rest:
                other = other.copy()
                for at in rest:
                    other[at] = np.append(theta[at], -theta[at].sum())[order][:-1]
                yield Image(other, moved)


def _latents_relabeled(space: ThetaSpace, x: np.ndarray, order: np.ndarray) -> np.ndarray:
    moved, start = x.copy(), 0
    for shape in space.x_shapes:
        stop = start + prod(shape)
        if shape[:1] == (len(order),):
            moved[start:stop] = x[start:stop].reshape(len(order), -1)[order].ravel()
        start = stop
    return moved


def _exchanged(space: ThetaSpace, theta: np.ndarray, x: np.ndarray) -> Iterator[Image]:
    """Two hyperparameters exchanged, and no latents or two scalars among them."""
    d = len(theta)
    starts = np.cumsum([0, *map(prod, space.x_shapes)])
    scalars = [start for start, shape in zip(starts, space.x_shapes, strict=False) if shape == ()]
    pairs = list(combinations(scalars, 2)) if len(scalars) <= MOST_SCALARS else []
    for i, j in combinations(range(d if d <= MOST_EXCHANGED else 0), 2):
        other = theta.copy()
        other[[i, j]] = theta[[j, i]]
        yield Image(other, x)
        for pair in pairs if "[" not in space.names[i] + space.names[j] else ():
            moved = x.copy()
            moved[list(pair)] = x[list(pair[::-1])]
            yield Image(other, moved)


def _signs(space: ThetaSpace, theta: np.ndarray, sd: np.ndarray) -> Iterator[np.ndarray]:
    """Changes of signs (d,): of all subsets of what has one, elements where they are few and variables where these are;
    otherwise of each variable, and of all."""
    has_one = space.has_sign & (2 * np.abs(theta) > MOVED * sd)
    units = [np.array([j]) for j in np.flatnonzero(has_one)]
    if len(units) > MOST_SIGNS:
        units = [at[has_one[at]] for at in space.variables() if has_one[at].any()]
    sizes = range(1, len(units) + 1) if len(units) <= MOST_SIGNS else (1, len(units))
    for size in sizes:
        for some in combinations(units, size):
            signs = np.ones(len(theta))
            signs[np.concatenate(some)] = -1.0
            yield signs
