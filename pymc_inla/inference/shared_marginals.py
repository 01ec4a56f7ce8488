"""Laplace marginals of the shared latents, the local ones integrated by quadrature. See `copula`.

f = log p(y, x_S | theta) with gradient and negative Hessian H is that of `local_posterior`. The other shared latents
follow their mode: a tangent step to the next point, then Newton steps while they have something to gain.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import linalg

from pymc_inla.inference import skew_normal
from pymc_inla.inference.conditional_distribution import FirstOrder, Normal
from pymc_inla.inference.copula import CLIFF, DEPTH, DISTANCES, SETTLED, Copula, chain, fall_of_sides
from pymc_inla.inference.local_blocks import LocalBlocks
from pymc_inla.inference.local_posterior import LocalIntegral, integrate_local
from pymc_inla.inference.quadrature_adjoint import Adjoint
from pymc_inla.inference.quadrature_moments import shared_skewness
from pymc_inla.linalg.cholesky import inverse_from_cholesky

GAIN = 0.02
"""Newton steps of the other shared latents end when the next one would raise f by less than this"""
MAX_STEPS = 6


class SharedFirstOrder(FirstOrder):
    """x_S to first order.

    Parameters
    ----------
    integral : LocalIntegral
        At the mode.
    blocks : LocalBlocks
    factor : tuple
        Cholesky factor of Z'H_S Z.
    """

    def __init__(self, integral: LocalIntegral, blocks: LocalBlocks, factor: tuple):
        super().__init__(Normal(blocks.Z, factor[0]))
        self.integral, self.blocks, self.factor = integral, blocks, factor

    @cached_property
    def covariance(self) -> np.ndarray:
        B = self.blocks
        if not B.Z.shape[1]:
            return np.zeros((B.n_S, B.n_S))
        if B.constrained:
            return B.expand(linalg.cho_solve(self.factor, B.Z.T))
        return inverse_from_cholesky(self.factor[0])

    @cached_property
    def adjoint(self) -> Adjoint:
        """Derivatives at the nodes, shared between gradient and moments."""
        return Adjoint(self.integral, self.covariance)

    @cached_property
    def mean_shift(self) -> np.ndarray:
        return skew_normal.bounded_shift(self.adjoint.v, self.sd)

    @cached_property
    def skewness(self) -> np.ndarray:
        return shared_skewness(self.adjoint, self.covariance, self.sd)


def shared_copula(point) -> Copula:
    """Of x_S at one theta, with Laplace marginals of the elements that the approximation names.

    Parameters
    ----------
    point : QuadraturePoint
    """
    if point.approximation.marginals is not None:
        return Copula(point.first_order, point.approximation.marginals.at(point.theta))
    sides, n_passes = _followed(point)
    return Copula(point.first_order, sides, n_passes)


def _followed(point) -> tuple[dict[tuple[int, ...], tuple[list, list]], int]:
    """Both sides of what a copula of the elements that the approximation names is made of, and the passes over the data
    they took."""
    profiles = _Profiles(point)
    keys = chain(point.first_order.covariance, point.approximation.copula)
    sides = {key: (profiles.side(key, sd, -1.0), profiles.side(key, sd, 1.0)) for key, sd in keys.items()}
    return sides, profiles.n_passes


def falls(point, elements: np.ndarray, distance: float) -> np.ndarray:
    """log p~_j(t) - log p~_j(0) of some elements at t = -distance and t = distance, (2, m); NaN where it has no value.

    Parameters
    ----------
    point : QuadraturePoint
    """
    profiles, sd = _Profiles(point), point.first_order.sd
    return fall_of_sides([[profiles.side((j,), sd[j], sign, (distance,)) for j in elements] for sign in (-1.0, 1.0)])


class _Profiles:
    """Marginals from one mode."""

    def __init__(self, point):
        self.integral, self.blocks = point.integral, point.approximation.blocks
        self.rule = point.approximation.rule
        self.n_passes = 0

    def side(self, key: tuple[int, ...], sd: float, sign: float, distances=DISTANCES) -> list[tuple[float, float]]:
        """Points (t, log p~_j(t) - log p~_j(0)) of the first element j of a key on one side of the mode, where the
        others stay, in this sd."""
        at, points, last = self.integral, [], 0.0
        zero, _, _, tangent = self._newton(at, key)
        for distance in distances:
            move = (sign * distance - last) * sd * tangent
            last = sign * distance
            for _ in range(MAX_STEPS):
                at = self._moved(at, move)
                newton = None if at is None else self._newton(at, key)
                if newton is None:
                    return points
                height, gain, move, tangent = newton
                if gain < GAIN:
                    break
            if gain > SETTLED or height - zero < -CLIFF:
                break
            points.append((last, height - zero))
            if height - zero < -DEPTH:
                break
        return points

    def _moved(self, at: LocalIntegral, move: np.ndarray) -> LocalIntegral | None:
        shift = self.blocks.sum_pairs(at.derivative_of_mean() * move[self.blocks.whole.m_shared][:, None])
        found = integrate_local(at.conditional, at.x_S + move, at.mode_u + shift, self.rule)
        self.n_passes += 0 if found is None else found.n_passes
        return found

    def _newton(self, at: LocalIntegral, key: tuple[int, ...]):
        """log p~_j with f corrected by the gain of a Newton step that leaves the elements of the key where they are,
        that gain, the step, and how the mode of the others moves with x_j; None where their H is not positive
        definite."""
        held = self.blocks.Z[list(key)]
        along, N = np.linalg.pinv(held)[:, 0], linalg.null_space(held)
        H = self.blocks.reduce(at.H)
        try:
            factor = linalg.cho_factor(N.T @ H @ N, lower=True)
        except linalg.LinAlgError:
            return None
        Z = self.blocks.Z
        slope = N.T @ (Z.T @ at.gradient)
        step = linalg.cho_solve(factor, slope)
        gain = 0.5 * float(slope @ step)
        tangent = along - N @ linalg.cho_solve(factor, N.T @ (H @ along))
        height = at.value + gain - np.sum(np.log(np.diag(factor[0])))
        return height, gain, Z @ (N @ step), Z @ tangent
