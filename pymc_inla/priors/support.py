"""The range of a PyMC distribution that has no name in a model yet."""

from __future__ import annotations

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.transforms import _default_transform
from pytensor.tensor.variable import TensorVariable

from pymc_inla.analysis.covariance_coordinates import preferred
from pymc_inla.errors import InvalidOptionError

UNCONSTRAINED = np.array([-30.0, -3.0, 0.0, 3.0, 30.0])


def natural_transform(dist: TensorVariable):
    """The transform to the unconstrained coordinate that a model would use; None where that is the value itself."""
    return preferred(_default_transform(dist.owner.op, dist), dist)


def check_precision_prior(name: str, dist: TensorVariable) -> None:
    """Refuse distributions that a precision cannot have: discrete, of several elements, or with negative values.

    Raises
    ------
    InvalidOptionError
    """
    word = dist.owner.op._print_name[0]
    problem = None
    if dist.type.ndim:
        problem = f"has {dist.type.ndim} axis" if dist.type.ndim == 1 else f"has {dist.type.ndim} axes"
    elif dist.type.dtype.startswith(("int", "uint", "bool")):
        problem = "is discrete"
    else:
        transform = natural_transform(dist)
        z = pt.constant(UNCONSTRAINED)
        values = z if transform is None else transform.backward(z, *dist.owner.inputs)
        if np.any(np.asarray(values.eval()) < 0):
            problem = "takes negative values"
    if problem:
        raise InvalidOptionError(
            f"{name}: the prior {word} {problem}; a precision is one positive number. Give a scalar distribution on "
            "positive numbers, such as pm.Gamma.dist(2, 1), or pymc_inla.priors.pc_prec.dist(1, 0.01)."
        )
