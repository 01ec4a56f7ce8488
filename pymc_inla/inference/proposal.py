"""Where the hyperparameters may be: a mixture of split Student t densities around the modes of their posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import chdtri, gammaln, logsumexp, ndtri, stdtrit

from pymc_inla.inference.density import capped, systematic
from pymc_inla.inference.profiles import axis_profiles, split_scales

CLOUD = 2**14
"""Points of a proposal that others are chosen from"""
DESIGN_SEED = 20261123
"""The design is part of the deterministic answer: it does not depend on the seed of the draws."""
DEGREES_OF_FREEDOM = 8.0
NARROWEST = 1e-3
"""Sd of a cloud at least, relative to that of the mode"""
KERNELS, CHUNK = 128, 2000
"""Points of a weighted cloud around which the next one is drawn, and points whose density is computed at once"""


@dataclass(frozen=True)
class SplitT:
    """Product of split Student's t densities in z, one component of the proposal."""

    center: np.ndarray
    down: np.ndarray
    up: np.ndarray

    def sample(self, u: np.ndarray) -> np.ndarray:
        """Uniforms (m, d) to points (m, d)."""
        share = self.down / (self.down + self.up)
        below = u < share
        p = np.where(below, 0.5 * u / share, 0.5 + 0.5 * (u - share) / (1 - share))
        t = stdtrit(DEGREES_OF_FREEDOM, np.clip(p, 1e-12, 1 - 1e-12))
        return self.center + t * np.where(below, self.down, self.up)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        nu = DEGREES_OF_FREEDOM
        scale = np.where(z < self.center, self.down, self.up)
        t = (z - self.center) / scale
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        log_t = constant - 0.5 * (nu + 1) * np.log1p(t**2 / nu)
        return np.sum(log_t - np.log(0.5 * (self.down + self.up)), axis=1)


@dataclass(frozen=True)
class Proposal:
    """Mixture of split t densities."""

    components: tuple[SplitT, ...]
    log_shares: np.ndarray

    def sample(self, m: int, d: int, seed: int) -> np.ndarray:
        from scipy.stats import qmc  # 0.4 s to import, and only needed with many hyperparameters

        u = qmc.Sobol(d + 1, scramble=True, rng=np.random.default_rng(seed)).random(m)
        which = np.searchsorted(np.cumsum(np.exp(self.log_shares)), u[:, d] * (1 - 1e-12))
        which = np.minimum(which, len(self.components) - 1)
        z = np.empty((m, d))
        for c, component in enumerate(self.components):
            z[which == c] = component.sample(u[which == c, :d])
        return z

    def log_density(self, z: np.ndarray) -> np.ndarray:
        parts = [c.log_density(z) + s for c, s in zip(self.components, self.log_shares, strict=True)]
        return logsumexp(np.array(parts), axis=0)


@dataclass(frozen=True)
class DefensiveMixture:
    """A proposal that follows a density which is known at a weighted cloud: half of its points are drawn around some of
    those, half of them as before (Hesterberg 1995, Technometrics 37, 185-194)."""

    before: Proposal
    centers: np.ndarray
    """(K, d)"""
    root: np.ndarray
    """(d, d) lower Cholesky factor of the scale of the kernels, which are Student's t as well"""

    @classmethod
    def around(cls, before: Proposal, z: np.ndarray, weights: np.ndarray) -> DefensiveMixture:
        """Kernels as wide as Silverman's rule says, around points drawn from a cloud (m, d) with weights (m,)."""
        d = z.shape[1]
        weights = capped(weights, KERNELS)
        centered = z - weights @ z
        covariance = (centered * weights[:, None]).T @ centered
        covariance += NARROWEST**2 * np.eye(d)  # where a spike of an emulator has all of the weight
        width = (4.0 / ((d + 2.0) * KERNELS)) ** (1.0 / (d + 4.0))
        return cls(before, z[systematic(z, weights, KERNELS)], width * np.linalg.cholesky(covariance))

    def sample(self, m: int, d: int, seed: int) -> np.ndarray:
        from scipy.stats import qmc

        u = qmc.Sobol(d + 2, scramble=True, rng=np.random.default_rng((seed, 1))).random(m // 2)
        u = np.clip(u, 1e-12, 1 - 1e-12)
        scale = np.sqrt(DEGREES_OF_FREEDOM / chdtri(DEGREES_OF_FREEDOM, u[:, d]))
        center = self.centers[(KERNELS * u[:, d + 1]).astype(int)]
        return np.vstack(
            [self.before.sample(m - m // 2, d, seed), center + scale[:, None] * ndtri(u[:, :d]) @ self.root.T]
        )

    def log_density(self, z: np.ndarray) -> np.ndarray:
        d, nu = z.shape[1], DEGREES_OF_FREEDOM
        a, centers = (solve_triangular(self.root, x.T, lower=True).T for x in (z, self.centers))
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - 0.5 * d * np.log(nu * np.pi)
        constant -= np.log(np.diag(self.root)).sum() + np.log(KERNELS)
        around = np.concatenate([_sum_of_t(here, centers) for here in np.array_split(a, len(a) // CHUNK + 1)])
        return np.logaddexp(self.before.log_density(z), np.log(around) + constant) - np.log(2.0)


def _sum_of_t(a: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(m,) sums over centers of (1 + |a - c|^2 / nu)^(-(nu + d) / 2), which does not underflow."""
    scaled = a @ (-2.0 / DEGREES_OF_FREEDOM * centers.T)
    scaled += (a**2).sum(1)[:, None] / DEGREES_OF_FREEDOM
    scaled += (centers**2).sum(1) / DEGREES_OF_FREEDOM
    log_t = np.log1p(np.maximum(scaled, 0.0, out=scaled), out=scaled)
    log_t *= -0.5 * (DEGREES_OF_FREEDOM + a.shape[1])
    return np.exp(log_t, out=log_t).sum(axis=1)


def build_proposal(posterior, modes, profiles, lower, upper) -> Proposal:
    components, logs = [], []
    first = modes[0]
    for mode in modes:
        along = profiles if mode is first else axis_profiles(posterior, mode, lower, upper)
        down, up = split_scales(along)
        # In the coordinates of the first mode; a further mode is described by its sd along those axes.
        if mode is first:
            component = SplitT(np.zeros(len(down)), down, up)
        else:
            sd = np.sqrt(np.diag(np.linalg.solve(first.root, np.linalg.solve(first.root, mode.covariance).T)))
            component = SplitT(first.to_z(mode.theta_star), sd * down.max(), sd * up.max())
        components.append(component)
        logs.append(mode.log_posterior + np.sum(np.log(component.down + component.up)))
    log_shares = np.array(logs) - logsumexp(logs)
    # No mode gets less than a tenth of the points: the local volume is a guess.
    shares = np.maximum(np.exp(log_shares), 0.1)
    return Proposal(tuple(components), np.log(shares / shares.sum()))
