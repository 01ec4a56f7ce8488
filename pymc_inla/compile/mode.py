"""How PyTensor compiles for this package: what the user waits for is compilation, so small graphs are interpreted."""

import numpy as np
import pytensor
from pytensor.compile.mode import Mode

LARGE = 20_000
"""Observations above which generating machine code pays for itself"""


def compile_function(inputs, outputs, *, size: int = 0, compile_kwargs=None):
    """A PyTensor function.

    Parameters
    ----------
    size : int
        Length of the longest vector in the graph. Up to `LARGE` the graph is rewritten for stability only and runs
        through NumPy (0.1 s to compile); above, the default backend compiles it.
    compile_kwargs : dict, optional
        Passed to `pytensor.function`; a `mode` in it wins.
    """
    kwargs = {"on_unused_input": "ignore", **(compile_kwargs or {})}
    if "mode" not in kwargs and size <= LARGE:
        kwargs["mode"] = Mode(linker="py", optimizer="fast_compile").including("stabilize")
    function = pytensor.function(inputs, outputs, **kwargs)
    function.trust_input = True
    return function


def split_theta(theta: np.ndarray, hyperparameters) -> list[np.ndarray]:
    """The values of the hyperparameters' variables out of the stacked vector."""
    return [np.asarray(theta[h.start : h.stop]).reshape(h.shape) for h in hyperparameters]


def split_x(x: np.ndarray, latents) -> list[np.ndarray]:
    """The values of the latents' variables out of the stacked vector."""
    return [np.asarray(x[v.start : v.stop]).reshape(v.shape) for v in latents]
