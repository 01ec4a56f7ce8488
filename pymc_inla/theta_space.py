"""What the hyperparameters theta and the latents x are, as far as it matters to integrate over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REPORTED = {"identity": lambda theta: theta, "log": np.exp, "logit": lambda theta: np.tanh(0.5 * theta)}
"""Links, and what is reported of an element with each, up to its location and its unit"""


@dataclass(frozen=True)
class ThetaSpace:
    """The elements of theta and the variables of x.

    Names and links are those of all elements, or () where they are not known.
    """

    lower: np.ndarray
    """(d,) bounds within which theta is searched: a numerical range, not a statement of the model"""
    upper: np.ndarray
    names: tuple[str, ...] = ()
    """(d,): "sigma", "sigma[1]", "sigma[1, 0]" """
    links: tuple[str, ...] = ()
    """(d,) which function of what is reported an element is: "identity" as far as they are not known"""
    x_shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of the variables that x consists of, in order"""

    def __post_init__(self):
        d = len(self.lower)
        object.__setattr__(self, "names", self.names or tuple(f"theta[{j}]" for j in range(d)))
        object.__setattr__(self, "links", self.links or ("identity",) * d)

    @property
    def has_sign(self) -> np.ndarray:
        """(d,)"""
        return np.array([link != "log" for link in self.links], dtype=bool)

    def contains(self, theta: np.ndarray) -> np.ndarray:
        """(..., d) to (...)"""
        return np.all((theta >= self.lower) & (theta <= self.upper), axis=-1)

    def reported(self, j: int, theta: np.ndarray) -> np.ndarray:
        """Values of an element as they are reported, up to their location and unit."""
        return REPORTED[self.links[j]](theta)

    def variables(self) -> list[np.ndarray]:
        """Positions of the elements of each variable of theta"""
        variable = np.array([name.partition("[")[0] for name in self.names])
        return [np.flatnonzero(variable == name) for name in dict.fromkeys(variable.tolist())]

    def n_labels(self, positions: np.ndarray) -> int:
        """Length of the first axis of a variable of theta; 1 of a scalar"""
        last = self.names[positions[-1]].partition("[")[2]
        return int(last.rstrip("]").split(",")[0]) + 1 if last else 1
