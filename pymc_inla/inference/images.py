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


@dataclass(frozen=True)
class Elements:
    """What the elements of theta and x are."""

    names: tuple[str, ...]
    """(d,) of the elements of theta: "sigma", "sigma[1]", "sigma[1, 0]" """
    logs: np.ndarray | bool = False
    """(d,) which of them are logarithms of what is reported: these have no sign"""
    x_shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of the variables that x consists of; (): not known"""

    @property
    def real(self) -> np.ndarray:
        """(d,)"""
        return ~np.broadcast_to(self.logs, len(self.names))

    def variables(self) -> list[np.ndarray]:
        """Positions of the elements of each variable of theta"""
        variable = np.array([name.partition("[")[0] for name in self.names])
        return [np.flatnonzero(variable == name) for name in dict.fromkeys(variable.tolist())]

    def n_labels(self, positions: np.ndarray) -> int:
        """Length of the first axis of a variable of theta; 1 of a scalar"""
        last = self.names[positions[-1]].partition("[")[2]
        return int(last.rstrip("]").split(",")[0]) + 1 if last else 1


def images(elements: Elements, theta: np.ndarray, sd: np.ndarray, x: np.ndarray) -> list[Image]:
    """All images of a mode.

    Parameters
    ----------
    theta, sd : array (d,)
        The mode, and the scale of the density there.
    x : array (n_x,)
        The latents there.
    """
    found = [*_relabeled(elements, theta, x), *_exchanged(elements, theta, x)]
    return found + [Image(signs * theta, x) for signs in _signs(elements, theta, sd)]


def _relabeled(elements: Elements, theta: np.ndarray, x: np.ndarray) -> Iterator[Image]:
    """Two labels exchanged in all variables along them: hyperparameters, latents and, the one time of two, what may be
    probabilities of the labels, which have one element less."""
    variables = elements.variables()
    for K in sorted({elements.n_labels(at) for at in variables} & set(range(2, MOST_LABELS + 1))):
        rest = [at for at in variables if len(at) == K - 1 and elements.real[at].all()]
        for i, j in combinations(range(K), 2):
            order = np.arange(K)
            order[[i, j]] = j, i
            other = theta.copy()
            for at in variables:
                if elements.n_labels(at) == K:
                    other[at] = theta[at].reshape(K, -1)[order].ravel()
            moved = _latents_relabeled(elements, x, order)
            yield Image(other, moved)
            if rest:
                other = other.copy()
                for at in rest:
                    other[at] = np.append(theta[at], -theta[at].sum())[order][:-1]
                yield Image(other, moved)


def _latents_relabeled(elements: Elements, x: np.ndarray, order: np.ndarray) -> np.ndarray:
    moved, start = x.copy(), 0
    for shape in elements.x_shapes:
        stop = start + prod(shape)
        if shape[:1] == (len(order),):
            moved[start:stop] = x[start:stop].reshape(len(order), -1)[order].ravel()
        start = stop
    return moved


def _exchanged(elements: Elements, theta: np.ndarray, x: np.ndarray) -> Iterator[Image]:
    """Two hyperparameters exchanged, and no latents or two scalars among them."""
    d = len(theta)
    starts = np.cumsum([0, *map(prod, elements.x_shapes)])
    scalars = [start for start, shape in zip(starts, elements.x_shapes, strict=False) if shape == ()]
    pairs = list(combinations(scalars, 2)) if len(scalars) <= MOST_SCALARS else []
    for i, j in combinations(range(d if d <= MOST_EXCHANGED else 0), 2):
        other = theta.copy()
        other[[i, j]] = theta[[j, i]]
        yield Image(other, x)
        for pair in pairs if "[" not in elements.names[i] + elements.names[j] else ():
            moved = x.copy()
            moved[list(pair)] = x[list(pair[::-1])]
            yield Image(other, moved)


def _signs(elements: Elements, theta: np.ndarray, sd: np.ndarray) -> Iterator[np.ndarray]:
    """Changes of signs (d,): of all subsets of what has one, elements where they are few and variables where these are;
    otherwise of each variable, and of all."""
    has_one = elements.real & (2 * np.abs(theta) > MOVED * sd)
    units = [np.array([j]) for j in np.flatnonzero(has_one)]
    if len(units) > MOST_SIGNS:
        units = [at[has_one[at]] for at in elements.variables() if has_one[at].any()]
    sizes = range(1, len(units) + 1) if len(units) <= MOST_SIGNS else (1, len(units))
    for size in sizes:
        for some in combinations(units, size):
            signs = np.ones(len(theta))
            signs[np.concatenate(some)] = -1.0
            yield signs
