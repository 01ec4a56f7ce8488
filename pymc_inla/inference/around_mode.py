"""Functions of theta that change slowly, known at the points of a design around theta* and interpolated in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference.ccd import fractional_factorial
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hyper_mode import ThetaMode

DISTANCES = (0.6, 1.2, 1.8, 2.5, 3.5, 5.0, 7.0), (1.25, 2.5)
"""Distances of the design from theta* along both directions of an axis, in sd, for one hyperparameter and for more; its
corners are as far away as the last points on the axes"""
UNLIKELY = 12.0
"""Fall of log p~(theta | y) from theta* beyond which a point of the design is left out"""


def between(d: int) -> np.ndarray:
    """Points around theta*, in sd, (K, d), at which an interpolation between points of the design is compared"""
    return np.vstack([s * r * axis for axis in np.eye(d) for r in ((0.9, 3.0) if d == 1 else (0.8,)) for s in (-1, 1)])


def design(d: int) -> np.ndarray:
    """Points around theta*, in sd, (K, d): the center, points on the axes and the corners of a factorial design."""
    distances = DISTANCES[min(d, 2) - 1]
    axes = [s * r * axis for axis in np.eye(d) for r in distances for s in (-1.0, 1.0)]
    corners = distances[-1] / np.sqrt(d) * fractional_factorial(d) if d > 1 else np.zeros((0, d))
    return np.vstack([np.zeros((1, d)), *axes, corners])


def thetas_around(mode: ThetaMode, lower, upper, z: np.ndarray) -> np.ndarray:
    """Values of theta (K, d) at the rows of z, within the range that is searched, each once"""
    thetas = np.clip(mode.to_theta(z), lower, upper)
    return thetas[np.sort(np.unique(thetas, axis=0, return_index=True)[1])]


@dataclass(frozen=True)
class FunctionsOfTheta:
    """Several functions of theta."""

    mode: ThetaMode
    emulator: Emulator
    coefficients: np.ndarray
    """One column for each function"""

    @classmethod
    def of(cls, mode: ThetaMode, thetas: np.ndarray, values: np.ndarray) -> FunctionsOfTheta:
        """From values (K, m) at some thetas (K, d)."""
        emulator = Emulator.at(mode.to_z(thetas), degree=1)
        return cls(mode, emulator, emulator.coefficients(values))

    def at(self, theta: np.ndarray) -> np.ndarray:
        """Values (m,) at one theta (d,); outside of the design those at its border."""
        z, nodes = self.mode.to_z(theta), self.emulator.nodes
        # the point of the design farthest in this direction says where the border is
        border = np.max(nodes @ z, initial=0.0) / max(z @ z, 1e-300)
        return self.emulator.predict(self.coefficients, min(1.0, border) * z[None])[0]
