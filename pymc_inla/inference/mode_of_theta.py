"""The conditional mode of the latents as a function of theta, interpolated from the design points."""

from __future__ import annotations

import numpy as np

from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.latent_marginals import FINE_SCALARS
from pymc_inla.inference.theta_posterior import LARGEST_WEIGHTS


class ModeOfTheta:
    """x*(theta). Linear relations that hold for all x, constraints for example, hold for its changes."""

    def __init__(self, integral: ThetaIntegral):
        self.mode = integral.mode
        z, index = np.unique(self.mode.to_z(np.array([e.theta for e in integral.nodes])), axis=0, return_index=True)
        self.emulator = Emulator.at(z)
        self.x_star = np.array([integral.nodes[k].x_star for k in index])

    def change(self, center: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """From one theta (d,) to others (m, d), (m, n_x)."""
        matrix = self.emulator.matrix(self.mode.to_z(np.vstack([center, theta])))
        usable = np.abs(matrix).sum(axis=1) <= LARGEST_WEIGHTS  # others extrapolate
        return np.where((usable[1:] & usable[0])[:, None], (matrix[1:] - matrix[0]) @ self.x_star, 0.0)


def is_affordable(n_x: int, integral: ThetaIntegral) -> bool:
    """Whether draws are moved to their own theta."""
    return n_x <= FINE_SCALARS and len(integral.nodes) > 1
