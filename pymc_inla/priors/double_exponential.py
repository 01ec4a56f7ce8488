"""A double-exponential variable in a coordinate in which its density is smooth."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.special import erfcinv


def double_exponential(name: str, scale: float, start: float):
    """(z, d): d with density exp(-abs(d) / scale) / (2 scale), as the quantile of a standard normal z, named `name`.

    The density of d has a kink at zero. Here d = F^-1(Phi(z)) with z ~ N(0, 1): the prior is smooth in z, and what
    depends on d keeps a continuous gradient.

    Parameters
    ----------
    scale : float
        Mean of abs(d).
    start : float
        Of d.
    """
    z = np.sign(start) * float(erfcinv(np.exp(-abs(start) / scale))) * np.sqrt(2)
    z = pm.Normal(name, 0.0, 1.0, initval=z)
    half = z / np.sqrt(2)
    return z, scale * pt.switch(z >= 0, -pt.log(pt.erfc(half)), pt.log(pt.erfc(-half)))
