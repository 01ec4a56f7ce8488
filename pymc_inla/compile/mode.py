"""How PyTensor compiles for this package.

What the user waits for is mostly compilation. Log densities are rewritten for numerical stability once (`stabilize`),
before they are differentiated; their derivatives inherit it. Functions of small data then only merge equal nodes and
run through NumPy, which compiles in 0.03 s where rewriting the derivatives takes seconds.
"""

import numpy as np
import pytensor
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.rewriting.basic import MergeOptimizer, SequentialGraphRewriter, walking_rewriter
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorConstant

from pymc_inla.analysis.inline import write_out
from pymc_inla.analysis.interpreter import split_sums
from pymc_inla.compile import complement, normal_tail, rising_factorial
from pymc_inla.compile.graph import replace_nodes
from pymc_inla.compile.normal_tail import finite_normal_tails
from pymc_inla.compile.parameter_checks import check_each
from pymc_inla.compile.probabilities import exact_logarithms, finite_complements
from pymc_inla.compile.rising_factorial import rising_factorials
from pymc_inla.compile.scalar_loops import loop_over_arrays
from pymc_inla.compile.straight_line import PYTENSOR, StraightLine, as_straight_line
from pymc_inla.compile.ufuncs import use_ufuncs

INTERPRETED = SequentialGraphRewriter(
    MergeOptimizer(), walking_rewriter("in_to_out", use_ufuncs, loop_over_arrays, split_sums), MergeOptimizer()
)
LARGE = 20_000
"""Observations above which generating machine code pays for itself"""


def compile_function(inputs, outputs, *, size: int = 0, compile_kwargs=None):
    """A PyTensor function, or what calls like one.

    Parameters
    ----------
    size : int
        Length of the longest vector in the graph. Up to `LARGE` the graph runs through NumPy; above, the default
        backend compiles it.
    compile_kwargs : dict, optional
        Passed to `pytensor.function`; a `mode` in it wins.
    """
    kwargs = {"on_unused_input": "ignore", **(compile_kwargs or {})}
    interpreted = "mode" not in kwargs and size <= LARGE
    single = not isinstance(outputs, list)
    if interpreted:
        # derivatives bring composite operations back (`AllocDiag`)
        outputs = without_composites(outputs) if single else [without_composites(output) for output in outputs]
        kwargs["mode"] = Mode(linker="py", optimizer=INTERPRETED)
    else:
        # twice, as the difference is written in terms of log_ndtr
        rules = normal_tail.written_out, normal_tail.written_out, complement.written_out, rising_factorial.written_out
        outputs = replace_nodes([outputs] if single else outputs, *rules)
        outputs = outputs[0] if single else outputs
    # inner graphs (of Scan and the like) would otherwise be compiled through C, which takes seconds
    with pytensor.config.change_flags(cxx=""):
        if "mode" not in kwargs:
            outputs = data_as_inputs(outputs)
        function = pytensor.function(inputs, outputs, **kwargs)
    function.trust_input = True
    function = as_straight_line(function) if interpreted else function
    return function if isinstance(function, StraightLine) else one_at_a_time(function)


def one_at_a_time(function):
    """The function for several threads: PyTensor's own hold inputs and outputs in storage that all calls share, and
    several functions may contain the same inner one."""

    def call(*arguments):
        with PYTENSOR:
            return function(*arguments)

    return call


def data_as_inputs(outputs):
    """The same graph with its constant arrays held in shared variables.

    Machine code that contains the data has to be generated again for other data; with the data as inputs it comes from
    PyTensor's cache on disk.
    """
    single = not isinstance(outputs, list)
    constants = [
        v
        for v in ancestors([outputs] if single else outputs)
        if isinstance(v, TensorConstant) and v.data.size > 100  # smaller ones are shapes and the like
    ]
    held = {v: pytensor.shared(v.data, shape=tuple(1 if s == 1 else None for s in v.type.shape)) for v in constants}
    return clone_replace(outputs, held, rebuild_strict=False)


_BLAS = ("BlasOpt", "use_c_blas", "blas")
"""Rewrites that only serve compiled code, and warn where PyTensor finds no BLAS of its own"""


_IMPOSSIBLE = "local_check_parameter_to_ninf_switch"
"""The rewrite of PyMC that gives impossible parameters a log density of -inf; without it they raise an error"""

_SQUARES = "local_pow_specialize"
"""The rewrite that makes x * x of x**2, whose third derivative is 0 / x to PyTensor"""


def stabilize(log_density: Variable) -> Variable:
    """The same log density, float64, without the overflows and cancellations of how it was written."""
    log_density = exact_logarithms(finite_normal_tails(check_each(log_density.astype("float64"))))
    rewrites = "fast_compile", "stabilize", _IMPOSSIBLE, _SQUARES
    stable = rewrite_graph(log_density, include=rewrites, exclude=_BLAS, clone=True)
    return rising_factorials(finite_complements(without_composites(stable)))


def without_composites(expression: Variable) -> Variable:
    """The same without composite operations (`LogAddExp`, `XLogY`), which run as functions of their own, and for many
    linear predictors at once row by row."""
    return write_out(expression, lambda op: isinstance(op, OpFromGraph))


def split_theta(theta: np.ndarray, hyperparameters) -> list[np.ndarray]:
    """The values of the hyperparameters' variables out of the stacked vector."""
    return [np.asarray(theta[h.start : h.stop]).reshape(h.shape) for h in hyperparameters]


def split_x(x: np.ndarray, latents) -> list[np.ndarray]:
    """The values of the latents' variables out of the stacked vector."""
    return [np.asarray(x[v.start : v.stop]).reshape(v.shape) for v in latents]
