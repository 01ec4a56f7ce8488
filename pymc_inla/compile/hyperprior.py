"""The log prior of the hyperparameters: value and gradient at one theta, values at many."""

from functools import cached_property

import numpy as np
import pytensor.tensor as pt

from pymc_inla.compile.batches import batched_function
from pymc_inla.compile.mode import compile_function, split_theta, stabilize
from pymc_inla.lgm import LatentGaussianModel

CHUNK = 2**14
"""Values of theta at once"""


class LogPriorTheta:
    """theta -> (value, gradient (n_theta,)) of `expression`, a scalar in the hyperparameters of the model."""

    def __init__(self, lgm: LatentGaussianModel, expression, compile_kwargs=None):
        self.hyperparameters = lgm.hyperparameters
        self.value = stabilize(expression)
        outputs = [self.value, stacked_gradient(self.value, self.variables)]
        self._function = compile_function(self.variables, outputs, compile_kwargs=compile_kwargs)

    @property
    def variables(self) -> list:
        return [h.variable for h in self.hyperparameters]

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(all="ignore"):
            value, gradient = self._function(*split_theta(theta, self.hyperparameters))
        return float(value), np.asarray(gradient)

    @cached_property
    def _batched(self):
        return batched_function(self.variables, [self.value])

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Of many theta at once, (m, n_theta) to (m,)."""
        used, function = self._batched
        found = [np.zeros(0)]
        for start in range(0, len(theta), CHUNK):
            rows = theta[start : start + CHUNK]
            columns = [
                rows[:, h.start : h.stop].reshape(-1, *h.shape) for h in self.hyperparameters if h.variable in used
            ]
            found += function(len(rows), *columns)
        return np.concatenate(found)


def stacked_gradient(scalar, variables):
    """Gradient in several variables as one vector."""
    if not variables:
        return pt.zeros((0,))
    parts = pt.grad(scalar, variables, disconnected_inputs="ignore", return_disconnected="zero")
    return pt.concatenate([g.flatten() for g in parts]).astype("float64")
