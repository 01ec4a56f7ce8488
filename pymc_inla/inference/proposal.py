"""Where the hyperparameters may be: a mixture of split Student t densities around the modes of their posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp, stdtrit

from pymc_inla.inference.profiles import axis_profiles, split_scales

CLOUD = 2**14
"""Points of a proposal that others are chosen from"""
DESIGN_SEED = 20261123
"""The design is part of the deterministic answer: it does not depend on the seed of the draws."""
DEGREES_OF_FREEDOM = 8.0


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
