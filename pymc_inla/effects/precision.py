"""The precision of an effect as a PyMC variable."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.random.op import RandomVariable

from pymc_inla.errors import InvalidOptionError


def make_precision(name, prior, *, initial=4.0, fixed=False):
    """The variable `name` on the scale of the precision, started at exp(initial).

    Parameters
    ----------
    prior : (str, params), PyMC `.dist()` variable or tensor
        ("loggamma", (a, b)) or ("pc.prec", (u, alpha)); a distribution or a tensor on the scale of the precision.

    Raises
    ------
    InvalidOptionError
    """
    start = float(np.exp(initial))
    if fixed:
        return pm.Deterministic(name, pt.constant(start, dtype="float64"))
    if isinstance(prior, Variable):
        model = pm.modelcontext(None)
        is_distribution = prior.owner is not None and isinstance(prior.owner.op, RandomVariable | SymbolicRandomVariable)
        if is_distribution and prior not in model.basic_RVs:
            return model.register_rv(prior, name, initval=start)
        return pm.Deterministic(name, prior)
    word, parameters = (prior, ()) if isinstance(prior, str) else prior
    if word == "loggamma":
        a, b = parameters or (1, 5e-5)
        return pm.Gamma(name, a, b, initval=start)
    if word == "pc.prec":
        u, alpha = parameters
        sigma = pm.Exponential(f"{name}_sigma", -np.log(alpha) / u, initval=start**-0.5)
        return pm.Deterministic(name, sigma**-2)
    raise InvalidOptionError(
        f"{name}: prior {prior!r} is not allowed; it is ('loggamma', (a, b)), ('pc.prec', (u, alpha)), a PyMC .dist() "
        "variable or a tensor on the scale of the precision."
    )
