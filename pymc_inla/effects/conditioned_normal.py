"""A Gaussian latent effect conditioned on linear constraints, as a PyMC random variable.

    u ~ N(0, (P (x) I_n)^-1) for each replicate,  P = tau Q_group + diagonal I_m,   conditioned on A u_g = e

for every group g of every replicate. With u_0 = A'(AA')^-1 e and Z an orthonormal basis of the null space of A,
(n, n-k), the effect is u_g = u_0 + Z v_g with v ~ N(0, (P (x) I_{n-k})^-1): the constraints act on levels, P on
groups, so they do not meet. v are the coordinates that NUTS moves in; u satisfies the constraints to rounding.
In these coordinates (Rue & Held 2005, 2.3.3)

    log p(u) = (n-k)/2 (log|P| - m log 2pi) - (u'(P (x) I)u - u_0'u_0 1'P1)/2 .

The engine takes the same quadratic form in u, which is sparse, with the rows (I (x) A, 1 (x) e).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import SymbolicRandomVariable, _support_point
from pymc.distributions.transforms import _default_transform
from pymc.logprob.abstract import _logprob
from pymc.logprob.transforms import Transform
from pymc.logprob.utils import CheckParameterValue
from pymc.pytensorf import normalize_rng_param
from scipy import sparse

from pymc_inla.analysis.latent_priors import GaussianDensity, gaussian_density
from pymc_inla.analysis.prior_words import scale_of
from pymc_inla.effects.groups import Independent
from pymc_inla.linalg.constraints import NullSpace

SURFACE_TOLERANCE = 1e-8
"""Largest relative residual of a constraint with which a value still counts as a point of the surface"""


@dataclass(frozen=True)
class Structure:
    """All of the effect that is known before the data: sizes, group model, constraints."""

    n: int
    group: object
    """Group model of `effects.groups`"""
    replicates: int
    diagonal: float
    A: np.ndarray
    """(k, n), full row rank; k may be 0"""
    e: np.ndarray
    """(k,)"""

    @property
    def k(self) -> int:
        return len(self.e)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the effect: (replicates, groups, levels) without the leading axes of length one."""
        leading = [s for s in (self.replicates, self.group.m) if s > 1]
        return (*leading, self.n)

    @property
    def full_shape(self) -> tuple[int, int, int]:
        return self.replicates, self.group.m, self.n

    @property
    def free_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.n - self.k)

    @cached_property
    def null_space(self) -> NullSpace:
        return NullSpace(self.A)

    @cached_property
    def u_0(self) -> np.ndarray:
        """(n,) the point of the surface nearest to zero"""
        return self.A.T @ np.linalg.solve(self.A @ self.A.T, self.e) if self.k else np.zeros(self.n)

    def from_free(self, v):
        """u = u_0 + Z v along the last axis, at cost O(n k)."""
        if self.k == 0:
            return v
        V, T = pt.constant(self.null_space.V), pt.constant(self.null_space.T)
        padded = pt.concatenate([pt.zeros((*v.shape[:-1], self.k)), v], axis=-1)
        return pt.constant(self.u_0) + padded - (padded @ V @ T.T) @ V.T

    def to_free(self, u):
        """v = Z'(u - u_0) along the last axis."""
        if self.k == 0:
            return u
        V, T = pt.constant(self.null_space.V), pt.constant(self.null_space.T)
        centered = u - pt.constant(self.u_0)
        return (centered - (centered @ V @ T) @ V.T)[..., self.k :]

    def precision(self, tau, parameters):
        """P, (m, m)."""
        return tau * self.group.precision(parameters) + self.diagonal * pt.eye(self.group.m)

    def log_density(self, u, tau, parameters):
        """log p(u) on the surface, a scalar."""
        group, free = self.group, self.n - self.k
        u = u.reshape(self.full_shape)
        rank = group.m if self.diagonal > 0 else group.rank
        if self.diagonal == 0:
            log_determinant = group.rank * pt.log(tau) + group.log_determinant(parameters)
        elif isinstance(group, Independent):
            log_determinant = group.m * pt.log(tau + self.diagonal)
        else:
            L = pt.linalg.cholesky(self.precision(tau, parameters))
            log_determinant = 2 * pt.sum(pt.log(pt.diagonal(L)))
        quadratic = tau * group.quadratic(u, parameters)
        if self.diagonal > 0:
            quadratic = quadratic + self.diagonal * pt.sum(u**2)
        if np.any(self.u_0):
            constant = self.replicates * float(self.u_0 @ self.u_0)
            quadratic = quadratic - constant * pt.sum(self.precision(tau, parameters))
        return 0.5 * self.replicates * free * (log_determinant - rank * np.log(2 * np.pi)) - 0.5 * quadratic

    def null_space_of_prior(self) -> sparse.csr_array | None:
        """(size, q) directions that an intrinsic group model leaves free, before the constraints."""
        group = self.group
        if group.rank == group.m or self.diagonal > 0:
            return None
        free = group.eigenvectors[:, : group.deficiency]
        return sparse.csr_array(
            sparse.kron(sparse.eye_array(self.replicates), sparse.kron(free, sparse.eye_array(self.n)))
        )

    def rows(self) -> tuple[sparse.csr_array, np.ndarray]:
        """(C, e) of the whole effect, stacked in C order."""
        blocks = self.replicates * self.group.m
        C = sparse.kron(sparse.eye_array(blocks), sparse.csr_array(self.A), format="csr")
        return sparse.csr_array(C), np.tile(self.e, blocks)


class ConditionedNormalRV(SymbolicRandomVariable):
    """Random variable of one effect; inputs are (rng, tau, parameters of the group model)."""

    name = "ConditionedNormal"
    _print_name = ("ConditionedNormal", "\\operatorname{ConditionedNormal}")

    def __init__(self, *args, structure: Structure, **kwargs):
        self.structure = structure
        super().__init__(*args, **kwargs)

    @classmethod
    def rv_op(cls, tau, parameters, *, structure: Structure, rng=None):
        tau, parameters = pt.as_tensor(tau, dtype="float64"), pt.as_tensor(parameters, dtype="float64")
        rng = normalize_rng_param(rng)
        R, m, n = structure.full_shape
        next_rng, normal = pm.Normal.dist(shape=(m, R * (n - structure.k)), rng=rng, return_next_rng=True)
        v = _scaled(normal, structure, tau, parameters)
        v = v.reshape((m, R, n - structure.k)).transpose(1, 0, 2)
        u = pt.specify_shape(structure.from_free(v).reshape(structure.shape), structure.shape)
        core = ",".join(f"d{axis}" for axis in range(len(structure.shape)))
        return cls(
            inputs=[rng, tau, parameters],
            outputs=[next_rng, u],
            structure=structure,
            extended_signature=f"[rng],(),(p)->[rng],({core})",
        )(rng, tau, parameters)


def _scaled(normal, structure, tau, parameters):
    """Standard normals (m, N) with the rows correlated as P^-1; directions without prior stay at zero."""
    group, d = structure.group, structure.diagonal
    if isinstance(group, Independent):
        return normal / pt.sqrt(tau + d)
    if hasattr(group, "eigenvalues"):
        values = tau * pt.constant(group.eigenvalues) + d
        free = group.deficiency if d == 0 else 0
        scales = pt.concatenate([pt.zeros(free), 1 / pt.sqrt(values[free:])])
        return pt.constant(group.eigenvectors) @ (scales[:, None] * normal)
    L = pt.linalg.cholesky(structure.precision(tau, parameters))
    return pt.linalg.solve_triangular(L.T, normal, lower=False)


class SurfaceTransform(Transform):
    """Between the effect, which satisfies the constraints, and its free coordinates. An isometry."""

    name = "surface"

    def __init__(self, structure: Structure):
        self.structure = structure
        self.ndim_supp = len(structure.shape)

    def forward(self, value, *inputs):
        return self.structure.to_free(value)

    def backward(self, value, *inputs):
        return self.structure.from_free(value)

    def log_jac_det(self, value, *inputs):
        return pt.zeros(())


@_default_transform.register(ConditionedNormalRV)
def _surface(op, rv):
    return SurfaceTransform(op.structure) if op.structure.k else None


@_support_point.register(ConditionedNormalRV)
def _nearest_to_zero(op, rv, *inputs):
    return pt.constant(np.broadcast_to(op.structure.u_0, op.structure.shape).copy())


@_logprob.register(ConditionedNormalRV)
def _log_density(op, values, rng, tau, parameters, **kwargs):
    (value,) = values
    structure = op.structure
    density = structure.log_density(value, tau, parameters)
    if structure.k:
        residual = pt.abs(value @ pt.constant(structure.A.T) - structure.e)
        size = pt.abs(value) @ pt.constant(np.abs(structure.A.T)) + np.abs(structure.e)
        on_surface = pt.all(residual <= SURFACE_TOLERANCE * (1 + size))
        density = pt.switch(on_surface, density, -np.inf)
    return CheckParameterValue("tau > 0")(density, pt.all(tau > 0))


@gaussian_density.register(ConditionedNormalRV)
def _engine_density(op, inputs, latent):
    _, tau, parameters = inputs
    structure = op.structure
    density = structure.log_density(latent.variable, tau, parameters)
    return GaussianDensity(density, *structure.rows(), structure.null_space_of_prior())


scale_of.register(ConditionedNormalRV)(lambda op, inputs: (inputs[1], -0.5))


def conditioned_normal(name, tau, parameters, structure: Structure, *, dims=None):
    """Register the effect in the model of the context and return it."""
    rv = ConditionedNormalRV.rv_op(tau, parameters, structure=structure)
    return pm.modelcontext(None).register_rv(rv, name, dims=dims)
