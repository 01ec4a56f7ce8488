"""Coordinates of covariance matrices: log scales and partial correlations.

PyMC keeps the Cholesky factor L of `LKJCholeskyCov` as its elements, those on the diagonal on the log scale. Where a
scale may be zero their posterior is a funnel: every element of the row goes to zero with the scale, and two effects
without variance are a spike. Here row i is s_i (r_i1, ..., r_ii), a scale times a point on a sphere, with the canonical
partial correlations (Lewandowski, Kurowicka & Joe 2009, section 2)

    z_ij = tanh(y_ij),   r_ij = z_ij prod_{k<j} sqrt(1 - z_ik^2),   r_ii = prod_{k<i} sqrt(1 - z_ik^2),

and theta = (log s_i, y_ij), in the order of the elements of L. With n rows counted from 1,

    log |dL / dtheta| = sum_i [i log s_i - sum_{j<i} (i - j) log cosh y_ij].
"""

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.transforms import CholeskyCovPacked
from pymc.logprob.transforms import Transform


class ScalesAndCorrelations(Transform):
    """A packed Cholesky factor of n rows from log scales and partial correlations.

    Parameters
    ----------
    n : int
    """

    name = "scales-correlations"
    ndim_supp = 1

    def __init__(self, n: int):
        self.n = n

    def _rows(self, value):
        """Of each row, what stands left of the diagonal, and on it."""
        ends = np.cumsum(np.arange(1, self.n + 1))
        for i, end in enumerate(ends):
            yield [value[..., k] for k in range(end - 1 - i, end - 1)], value[..., end - 1]

    def backward(self, value, *inputs):
        packed = []
        for correlations, log_scale in self._rows(value):
            rest = pt.exp(log_scale)
            for y in correlations:
                packed.append(rest * pt.tanh(y))
                rest = rest / pt.cosh(y)
            packed.append(rest)
        return pt.stack(packed, axis=-1)

    def forward(self, value, *inputs):
        theta = []
        for left, diagonal in self._rows(value):
            rest = scale = pt.sqrt(sum((x**2 for x in left), diagonal**2))
            for x in left:
                z = x / rest
                theta.append(pt.arctanh(z))
                rest = rest * pt.sqrt(1.0 - z**2)
            theta.append(pt.log(scale))
        return pt.stack(theta, axis=-1)

    def log_jac_det(self, value, *inputs):
        total = 0.0
        for i, (correlations, log_scale) in enumerate(self._rows(value), start=1):
            total = total + i * log_scale
            for j, y in enumerate(correlations, start=1):
                total = total - (i - j) * (pt.softplus(2.0 * y) - y - np.log(2.0))
        return total


def preferred(transform: Transform | None, rv) -> Transform | None:
    """The transform of a variable, or these coordinates in the place of PyMC's for Cholesky factors."""
    if not isinstance(transform, CholeskyCovPacked) or (size := rv.type.shape[-1]) is None:
        return transform
    return ScalesAndCorrelations(int((np.sqrt(8 * size + 1) - 1) / 2))


def use_scales_and_correlations(model) -> None:
    """Give the Cholesky factors of a model, which is changed, these coordinates."""
    for rv, transform in model.rvs_to_transforms.items():
        new = preferred(transform, rv)
        if new is not transform:
            model.rvs_to_transforms[rv] = new
            model.rvs_to_values[rv].name = f"{rv.name}_{new.name}__"
