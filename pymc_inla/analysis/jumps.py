"""Densities that jump where a latent variable crosses a bound, as a hard constraint written as a potential does.

No derivative sees a jump, so that it would have no effect at all. Where a comparison of latent variables decides
between values, the density is followed along lines to where the comparison changes, and looked at on both sides.
"""

from itertools import combinations

import numpy as np
import pytensor
from pytensor.graph.traversal import ancestors, toposort
from pytensor.tensor.elemwise import Elemwise

from pymc_inla.analysis.affine import value_inputs
from pymc_inla.analysis.interpreter import interpreter
from pymc_inla.errors import UnsupportedModelError

_STEPS = {"LT", "LE", "GT", "GE", "Floor", "Ceil", "RoundHalfToEven", "RoundHalfAwayFromZero"}
"""Elementwise operations that jump; equality of real numbers has no side to jump to"""
SCALES = (1.0, 30.0, 1e3)
"""Spreads of the linear predictors at the ends of the lines"""
JUMP = 1e-6
"""Relative difference between two sides that are neighbors in double precision; a continuous density has 1e-15"""


def refuse_jumps(name, density, predictors, hyperparameters) -> None:
    """Refuse a density that is not continuous in its linear predictors.

    Parameters
    ----------
    name : str
        Of the likelihood or potential.
    density : variable
    predictors : variables with known shapes that stand for its linear predictors
    hyperparameters : dict, value variable -> initial value

    Raises
    ------
    UnsupportedModelError
    """
    steps = _deciding_steps(density, predictors)
    if not steps:
        return
    above = set(ancestors([density]))
    theta = {v: value for v, value in hyperparameters.items() if v in above}
    with pytensor.config.change_flags(cxx=""):
        function = pytensor.function(
            [*predictors, *theta],
            [density, *steps],
            mode=interpreter().including("local_remove_check_parameter"),
            on_unused_input="ignore",
        )

    def at(x):
        with np.errstate(all="ignore"):
            value, *sides = function(*x, *theta.values())
        return np.asarray(value, float), [np.asarray(side) for side in sides]

    for (start, (left, sides)), (stop, (right, others)) in _lines([v.type.shape for v in predictors], at):
        if _same(sides, others):
            continue
        low, high = 0.0, 1.0
        while low < (middle := 0.5 * (low + high)) < high:
            value, found = at([(1 - middle) * a + middle * b for a, b in zip(start, stop, strict=True)])
            if _same(found, sides):
                low, left = middle, value
            else:
                high, right = middle, value
        with np.errstate(all="ignore"):
            jumps = abs(left - right) > JUMP * (1 + np.minimum(abs(left), abs(right)))
        if np.any(jumps):
            ends = left[jumps].flat[0], right[jumps].flat[0]
            raise UnsupportedModelError(
                name,
                f"its log density jumps from {min(ends):.4g} to {max(ends):.4g} where a linear predictor crosses a "
                "bound, and a Gaussian approximation cannot follow such a hard constraint",
                "Leave it out, write a smooth one (-0.5 * (sum(u) / 0.01)**2 for a sum, "
                "pm.math.log(pm.math.invlogit(20 * (u[1] - u[0]))) for an order), or sample this model with pm.sample.",
            )


def _lines(shapes, at):
    """Pairs of points between which a constraint on signs or on an order begins or ends to hold, each with its `at`."""
    rng = np.random.default_rng(0)
    for scale in SCALES:
        x = [scale * rng.normal(size=shape) for shape in shapes]
        rising = [np.sort(v, axis=None).reshape(v.shape) for v in x]
        ends = [x, [abs(v) for v in x], [-abs(v) for v in x], rising, [-v for v in rising]]
        yield from combinations([(end, at(end)) for end in ends], 2)


def _deciding_steps(density, predictors) -> list:
    """Comparisons of predictors that another value than a choice between two functions of predictors is made of."""
    dependent, sources, deciding = set(predictors), {}, set()
    for node in toposort([density], blockers=list(predictors)):
        inputs = [v for v in value_inputs(node) if v in dependent]
        if not inputs:
            continue
        dependent.update(node.outputs)
        name = type(node.op.scalar_op).__name__ if isinstance(node.op, Elemwise) else None
        below = set().union(*(sources.get(v, set()) for v in inputs))
        if name in _STEPS:
            below = below | {node.outputs[0]}
        if name == "Switch" and node.inputs[0] in dependent and all(v in dependent for v in node.inputs[1:]):
            below = below - sources.get(node.inputs[0], set())
        if node.outputs[0].dtype in ("bool", "int8", "int64") or name in _STEPS:
            sources.update(dict.fromkeys(node.outputs, below))
        else:
            deciding |= below
    return [v for v in dependent if v in deciding]


def _same(sides, others) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(sides, others, strict=True))
