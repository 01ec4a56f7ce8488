"""p(x_S | theta, y) as a Gaussian copula of Laplace marginals (Ferkingstad & Rue 2015).

A few shared latents need not be close to normal: an intercept when events are rare, whose density falls like a normal
on one side and like its prior on the other. With t = (x_j - x*_j) / sd_j and the other shared latents at their mode
x(t), the marginals are (Rue, Martino & Chopin 2009, section 3.2.2)

    log p~_j(t) = f(x(t)) - 1/2 log det H_{-j}(x(t)) + const,   f = log p(y, x_S | theta)  (see `local_posterior`),

exact where x_j is the only one. They are followed outward from the mode until the density has fallen by DEPTH, and
tabulated. With F_j their distribution functions and z_j = Phi^-1(F_j(t_j)), x_S has the density

    log q(x_S) = log N(sd z; 0, S) + sum_j [log p~_j(t_j) - log phi(z_j)] .

Latents under constraints keep normal marginals.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import linalg
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri

from pymc_inla.inference.local_posterior import LocalIntegral, integrate_local
from pymc_inla.inference.node_rules import node_rule
from pymc_inla.inference.shared_posterior import Normal

DISTANCES = 0.6, 1.2, 1.9, 2.8, 4.3, 6.0, 8.5, 12.0, 17.0, 24.0, 34.0, 48.0
"""Points of a marginal on each side of the mode, in sd, until its log density has fallen by DEPTH"""
DEPTH, NEGLIGIBLE = 9.0, 25.0
"""Fall up to which a marginal is followed, and up to which it is tabulated: exponential tails in between"""
LEAST_SLOPE = 0.25
"""Of the log density in these tails, per sd"""
FEWEST = 2
"""Points on each side of a marginal that is tabulated"""
GAIN = 1e-3
"""Newton steps of the other shared latents end when the next one would raise f by less than this"""
MAX_STEPS = 6
CELLS = 40
"""Cells of the table between two points"""


class LaplaceMarginal:
    """A density of t from values of its logarithm; linear between the points of a fine table.

    Parameters
    ----------
    t, log_density : (n,) arrays
        Increasing; one of t is 0, where the log density is 0.
    """

    def __init__(self, t: np.ndarray, log_density: np.ndarray):
        spline = CubicSpline(t, log_density)
        inside = np.unique(np.concatenate([np.linspace(a, b, CELLS + 1) for a, b in pairwise(t)]))
        below, above = _tail(-spline(t[0], 1), log_density[0]), _tail(spline(t[-1], 1), log_density[-1])
        self.t = np.concatenate([t[0] - below[0][::-1], inside, t[-1] + above[0]])
        density = np.exp(np.concatenate([below[1][::-1], spline(inside), above[1]]))
        steps = np.diff(self.t)
        masses = np.r_[0.0, np.cumsum(0.5 * steps * (density[1:] + density[:-1]))]
        self.density, self.F = density / masses[-1], masses / masses[-1]
        w = 0.5 * self.density * np.r_[steps[0], steps[:-1] + steps[1:], steps[-1]]
        self.mean = float(w @ self.t)
        deviation = self.t - self.mean
        self.sd = float(np.sqrt(w @ deviation**2))
        self.skewness = float(w @ deviation**3) / self.sd**3

    def score(self, t: float) -> tuple[float, float]:
        """z = Phi^-1(F(t)) and log p(t) - log phi(z) at a point of the table."""
        at = np.searchsorted(self.t, t)
        z = ndtri(self.F[at])
        return z, np.log(self.density[at]) + 0.5 * z**2 + 0.5 * np.log(2 * np.pi)

    def moved(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """t = F^-1(Phi(z)) and log p(t) - log phi(z), for z (m,)."""
        F = ndtr(z)
        cell = np.clip(np.searchsorted(self.F, F) - 1, 0, len(self.t) - 2)
        left, right, width = self.density[cell], self.density[cell + 1], self.t[cell + 1] - self.t[cell]
        mass = np.clip(F - self.F[cell], 0.0, self.F[cell + 1] - self.F[cell])
        root = np.sqrt(left**2 + 2.0 * (right - left) / width * mass)
        t = self.t[cell] + np.minimum(2.0 * mass / (left + root), width)
        return t, np.log(root) + 0.5 * z**2 + 0.5 * np.log(2 * np.pi)


def _tail(slope: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances beyond the last point, and log densities there, that fall to -NEGLIGIBLE."""
    fall = max(-slope, LEAST_SLOPE)
    distance = np.linspace(0.0, max(NEGLIGIBLE + height, 1.0) / fall, 2 * CELLS + 1)[1:]
    return distance, height - fall * distance


class CopulaShared:
    """The copula at one theta. See `shared_posterior.NormalShared`.

    Parameters
    ----------
    point : QuadraturePoint
    """

    def __init__(self, point):
        self.integral, self.S = point.integral, point.S
        self.blocks = point.approximation.blocks
        self.rule = node_rule(point.approximation.k, self.blocks.b)
        self.base = Normal(self.blocks, point.factor[0])
        self.normal_sd = np.sqrt(np.maximum(np.diag(self.S), 0.0))
        held = np.any(self.blocks.C != 0, axis=0) | ~(self.normal_sd > 0)
        self.n_passes = 0
        found = {int(j): self._marginal(j) for j in np.flatnonzero(~held)}
        self.marginals = {j: marginal for j, marginal in found.items() if marginal is not None}

    def _marginal(self, j: int) -> LaplaceMarginal | None:
        """None, for a normal marginal, where H_{-j} is not positive definite near the mode."""
        below, above = self._side(j, -1.0), self._side(j, 1.0)
        if min(len(below), len(above)) < FEWEST:
            return None
        t, log_density = np.array([*below[::-1], (0.0, 0.0), *above]).T
        return LaplaceMarginal(t, log_density)

    def _side(self, j: int, sign: float) -> list[tuple[float, float]]:
        """Points (t, log p~_j(t) - log p~_j(0)) on one side of the mode."""
        at, points, last = self.integral, [], 0.0
        zero, _, _, tangent = self._newton(at, j)
        for distance in DISTANCES:
            move = (sign * distance - last) * tangent
            last = sign * distance
            for _ in range(MAX_STEPS):
                at = self._moved(at, move)
                newton = None if at is None else self._newton(at, j)
                if newton is None:
                    return points
                height, gain, move, tangent = newton
                if gain < GAIN:
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

    def _newton(self, at: LocalIntegral, j: int):
        """log p~_j with f corrected by the gain of a Newton step that leaves x_j where it is, that gain, the step, and
        how the mode of the others moves with t; None where H_{-j} is not positive definite."""
        Z = self.blocks.Z
        along = Z[j] / (Z[j] @ Z[j])
        N = linalg.null_space(Z[j][None])
        H = self.blocks.reduce(at.H)
        try:
            factor = linalg.cho_factor(N.T @ H @ N, lower=True)
        except linalg.LinAlgError:
            return None
        slope = N.T @ (Z.T @ at.gradient)
        step = linalg.cho_solve(factor, slope)
        gain = 0.5 * float(slope @ step)
        tangent = along - N @ linalg.cho_solve(factor, N.T @ (H @ along))
        height = at.value + gain - np.sum(np.log(np.diag(factor[0])))
        return height, gain, Z @ (N @ step), self.normal_sd[j] * (Z @ tangent)

    @cached_property
    def log_density_at_mode(self) -> float:
        deviation, change = np.zeros((1, len(self.normal_sd))), 0.0
        for j, marginal in self.marginals.items():
            z, of_marginal = marginal.score(0.0)
            deviation[0, j] = z * self.normal_sd[j]
            change += of_marginal
        return float(self.base.log_density(deviation)[0]) + change

    def _of_marginals(self, name: str, normal: float) -> np.ndarray:
        out = np.full(len(self.normal_sd), normal)
        for j, marginal in self.marginals.items():
            out[j] = getattr(marginal, name)
        return out

    @cached_property
    def sd(self) -> np.ndarray:
        """(n_S,)"""
        return self.normal_sd * self._of_marginals("sd", 1.0)

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """(n_S,)"""
        return self.normal_sd * self._of_marginals("mean", 0.0)

    @cached_property
    def skewness(self) -> np.ndarray:
        """(n_S,)"""
        return self._of_marginals("skewness", 0.0)

    @cached_property
    def covariance(self) -> np.ndarray:
        """(n_S, n_S)"""
        ratio = self._of_marginals("sd", 1.0)
        return ratio[:, None] * self.S * ratio

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of x_S - x_S* (m, n_S), and their log density (m,)."""
        deviation, log_density = self.base.sample(rng, m)
        for j, marginal in self.marginals.items():
            t, change = marginal.moved(deviation[:, j] / self.normal_sd[j])
            deviation[:, j] = t * self.normal_sd[j]
            log_density += change
        return deviation, log_density
