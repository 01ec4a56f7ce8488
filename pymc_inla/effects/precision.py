"""The precision of an effect as a PyMC variable."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt


def make_precision(name, prior, *, initial=4.0, fixed=False):
    """The variable `name`, a precision with this prior, started at exp(initial)."""
    if fixed:
        return pm.Deterministic(name, pt.constant(float(np.exp(initial))))
    if isinstance(prior, pt.TensorVariable):
        return pm.Deterministic(name, prior)
    _, (a, b) = prior
    return pm.Gamma(name, a, b, initval=float(np.exp(initial)))
