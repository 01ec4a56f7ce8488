"""log p(x | theta) of each kind of latent variable, with the hard constraints it brings."""

from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import pytensor.tensor as pt
from pymc.distributions.continuous import FlatRV
from pymc.distributions.multivariate import ICARRV, ZeroSumNormalRV
from pymc.logprob.basic import logp
from pytensor.tensor import TensorVariable
from scipy import sparse

from pymc_inla.analysis.shapes import static_shape
from pymc_inla.analysis.small_cholesky import write_out_small_solves


@dataclass(frozen=True)
class GaussianDensity:
    """Prior of one latent variable given theta and the latents above it."""

    log_density: TensorVariable
    """Scalar, quadratic in x; under constraints the density on the surface C x = e, in orthonormal coordinates of it"""
    C: sparse.csr_array | None = None
    """(k, size) rows of its hard constraints; None: it has none"""
    e: np.ndarray | None = None
    """(k,)"""
    null_space: sparse.csr_array | None = None
    """(size, q) directions that the log density does not see at any theta; None: none"""


@singledispatch
def gaussian_density(op, inputs, latent) -> GaussianDensity | None:
    """Prior of a latent variable whose coordinates here are not those of PyMC; otherwise None.

    Random variables register theirs by the type of their `op`; that makes them candidates for the latent field.
    """
    return None


def has_gaussian_density(op) -> bool:
    """Whether a form is registered for this kind of random variable."""
    return gaussian_density.dispatch(type(op)) is not gaussian_density.dispatch(object)


def latent_density(rv, inputs, latent) -> GaussianDensity:
    """Prior of one latent variable."""
    special = gaussian_density(rv.owner.op, inputs, latent)
    if special is not None:
        return special
    if isinstance(rv.owner.op, FlatRV):
        return GaussianDensity(pt.constant(0.0), null_space=sparse.eye_array(latent.size, format="csr"))
    clone = rv.owner.clone_with_new_inputs(inputs, strict=False).outputs[rv.owner.outputs.index(rv)]
    return GaussianDensity(write_out_small_solves(logp(clone, latent.variable)).sum())


@gaussian_density.register(ZeroSumNormalRV)
def _zero_sum_density(op, inputs, latent):
    x, sigma, support = latent.variable, inputs[2], inputs[3]
    axes = int(static_shape(support)[0])
    sizes = latent.shape[len(latent.shape) - axes :]
    free = int(np.prod([s - 1 for s in sizes]) * np.prod(latent.shape[: len(latent.shape) - axes]))
    each = -0.5 * pt.sum((x / sigma) ** 2)
    scale = pt.broadcast_to(pt.log(sigma), latent.shape).sum() * (free / latent.size)
    C = zero_sum_rows(latent.shape, axes)
    return GaussianDensity(each - scale - 0.5 * free * np.log(2 * np.pi), C, np.zeros(C.shape[0]))


@gaussian_density.register(ICARRV)
def _icar_density(op, inputs, latent):
    x, W, sigma = latent.variable, np.asarray(inputs[-3].data), inputs[-2]
    node1, node2 = np.nonzero(np.tril(W))
    n = latent.shape[-1]
    pairwise = (-0.5 / sigma**2) * pt.sum((x[node1] - x[node2]) ** 2)
    # PyMC's soft constraint is a density of sum(x) with sd 0.001 n; its limit on the hyperplane loses 1/sqrt(n)
    return GaussianDensity(pt.squeeze(pairwise) - 0.5 * np.log(n), sparse.csr_array(np.ones((1, n))), np.zeros(1))


def zero_sum_rows(shape, axes) -> sparse.csr_array:
    """Independent rows that say that x sums to zero along each of its last `axes` axes, for every leading index."""
    keep = sparse.eye_array(int(np.prod(shape[: len(shape) - axes], dtype=int)))
    core = shape[len(shape) - axes :]
    size = int(np.prod(core))
    index = np.arange(size).reshape(core)
    rows = []
    for axis in range(axes):
        moved = np.moveaxis(index, axis, -1)
        lines = moved.reshape(-1, core[axis])
        # drop lines implied by the axes before: those at the last position of an earlier axis
        positions = np.indices(moved.shape[:-1]).reshape(axes - 1, -1) if axes > 1 else np.zeros((0, 1), int)
        others = [s for k, s in enumerate(core) if k != axis]
        drop = np.zeros(len(lines), bool)
        for earlier in range(axis):
            drop |= positions[earlier] == others[earlier] - 1
        for line in lines[~drop]:
            row = np.zeros(size)
            row[line] = 1.0
            rows.append(row)
    return sparse.csr_array(sparse.kron(keep, sparse.csr_array(np.array(rows))))
