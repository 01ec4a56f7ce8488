"""Parameters of a likelihood that depend on theta only, and their gradients."""

from functools import lru_cache

import numpy as np
import pytensor.tensor as pt

from pymc_inla.compile.mode import compile_function, split_theta

KEPT = 4
"""Values of theta at which the parameters are kept: a search for a mode asks for the same ones at every step"""


class Parameters:
    """Float64 arrays that are functions of theta.

    Parameters
    ----------
    graphs : list of symbolic scalars or vectors in the variables of `hyperparameters`
    """

    def __init__(self, graphs, hyperparameters, compile_kwargs=None):
        self.hyperparameters = hyperparameters
        theta = [h.variable for h in hyperparameters]
        graphs = [g.astype("float64") for g in graphs]
        self._values = compile_function(theta, graphs, compile_kwargs=compile_kwargs)
        self._kept = lru_cache(KEPT)(self._at)
        self._vjp = None
        if theta:
            bars = [g.type() for g in graphs]
            product = sum((bar * g).sum() for bar, g in zip(bars, graphs, strict=True))
            parts = pt.grad(product, theta, disconnected_inputs="ignore", return_disconnected="zero")
            stacked = pt.concatenate([g.flatten() for g in parts]).astype("float64")
            self._vjp = compile_function([*theta, *bars], stacked, compile_kwargs=compile_kwargs)

    def __call__(self, theta) -> list[np.ndarray]:
        """The values at one theta, not to be written to."""
        return self._kept(np.asarray(theta, dtype=float).tobytes())

    def _at(self, theta: bytes) -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [np.asarray(v) for v in self._values(*split_theta(np.frombuffer(theta), self.hyperparameters))]

    def vjp(self, theta, bars) -> np.ndarray:
        """Gradient (n_theta,) of the sum of <bar, value>; a bar may be larger than its value, which is broadcast."""
        if self._vjp is None:
            return np.zeros(len(theta))
        shapes = [v.shape for v in self(theta)]
        summed = [_sum_to(bar, shape) for bar, shape in zip(bars, shapes, strict=True)]
        with np.errstate(all="ignore"):
            return np.asarray(self._vjp(*split_theta(theta, self.hyperparameters), *summed))

    def only(self, index, n: int) -> "SomeParameters":
        """Of some of n observations: scalars stay, vectors (n,) are restricted."""
        return SomeParameters(self, index, n)


class SomeParameters:
    """Parameters of some of n observations.

    Parameters
    ----------
    parameters : Parameters
    index : int array or slice
    n : int
    """

    def __init__(self, parameters: Parameters, index, n: int):
        self.parameters, self.index, self.n = parameters, index, n

    def __call__(self, theta) -> list[np.ndarray]:
        """The values at one theta."""
        return [v[self.index] if v.shape == (self.n,) else v for v in self.parameters(theta)]

    def vjp(self, theta, bars) -> np.ndarray:
        """Gradient (n_theta,) of the sum of <bar, value>; see `Parameters.vjp`."""
        summed = []
        for value, bar in zip(self.parameters(theta), bars, strict=True):
            if value.shape == (self.n,):
                total = np.zeros(self.n)
                total[self.index] = bar.reshape(-1, bar.shape[-1]).sum(axis=0)
                bar = total
            summed.append(bar)
        return self.parameters.vjp(theta, summed)

    def only(self, index, n: int) -> "SomeParameters":
        """Of some of these observations"""
        return SomeParameters(self.parameters, np.arange(self.n)[self.index][index], self.n)


def _sum_to(bar, shape) -> np.ndarray:
    """The cotangent of an array of this shape (scalar or vector) that was broadcast to the shape of `bar`."""
    if bar.shape == shape:
        return bar
    if shape and bar.shape[-1:] == shape:
        return bar.sum(axis=0)
    return np.full(shape, bar.sum())
