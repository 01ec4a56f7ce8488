"""Central composite design over theta (Rue, Martino & Chopin 2009, section 6.5): few points, coarse marginals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.special import logsumexp

from pymc_inla.inference.density import IntegratedDensity
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.profiles import axis_profiles, split_scales
from pymc_inla.inference.proposal import CLOUD, DESIGN_SEED, Proposal, SplitT
from pymc_inla.inference.theta_posterior import ThetaPosterior

SPREAD = 1.1
"""f0: the sphere of design points has radius SPREAD sqrt(d)"""


def fractional_factorial(d: int) -> np.ndarray:
    """Two-level design of resolution V, (2^p, d) of +-1 (Sanchez & Sanchez 2005).

    Column j is the Walsh function of index i_j, where each index is the smallest one such that no two, three or four
    of them multiply to the constant: main effects and two-factor interactions are not aliased.
    """
    chosen: list[int] = []
    taken: set[int] = set()
    index = 1
    while len(chosen) < d:
        if index not in taken:
            chosen.append(index)
            taken = {int(np.bitwise_xor.reduce(group)) for size in (1, 2, 3) for group in combinations(chosen, size)}
        index += 1
    rows = np.arange(2 ** max(chosen).bit_length()) if d else np.arange(1)
    bits = np.array([[bin(int(row) & c).count("1") % 2 for c in chosen] for row in rows])
    return 1 - 2 * bits.reshape(len(rows), d)


def integrate_ccd(posterior: ThetaPosterior, mode: ThetaMode, lower, upper) -> ThetaIntegral:
    """Integrate with the center, the axial points and the corners of a fractional factorial design.

    The marginals of theta come from the split normal with the scales found along the axes.
    """
    d = len(mode.theta_star)
    down, up = split_scales(axis_profiles(posterior, mode, lower, upper))
    corners = fractional_factorial(d).astype(float)
    directions = (
        np.vstack([corners, *(np.sqrt(d) * s * np.eye(d) for s in (1, -1))]) if d > 1 else np.array([[1.0], [-1.0]])
    )
    unit = np.vstack([np.zeros(d), SPREAD * directions])
    z = np.where(unit < 0, unit * down, unit * up)
    theta = mode.to_theta(z)
    nodes = posterior.evaluate_all(np.clip(theta, lower, upper))
    finite = np.array([np.isfinite(e.log_posterior) for e in nodes])
    n_sphere = len(z) - 1
    # Weights that integrate 1 and z'z exactly against a Gaussian, times the density at each point.
    sphere = 1.0 / (n_sphere * SPREAD**2)
    base = np.concatenate([[max(1.0 - n_sphere * sphere, 1e-3)], np.full(n_sphere, sphere)])
    f = np.array([e.log_posterior for e in nodes])
    gaussian = mode.log_posterior - 0.5 * np.sum(unit**2, axis=1)
    log_w = np.where(finite, np.log(base) + np.where(finite, f, 0.0) - gaussian, -np.inf)
    weights = np.exp(log_w - logsumexp(log_w))
    log_jacobian = np.linalg.slogdet(mode.root)[1]
    log_volume = 0.5 * d * np.log(2 * np.pi) + np.sum(np.log(0.5 * (down + up))) + log_jacobian
    log_ml = mode.log_posterior + log_volume + float(logsumexp(log_w))
    proposal = Proposal((SplitT(np.zeros(d), down, up),), np.zeros(1))
    cloud = proposal.sample(CLOUD, d, DESIGN_SEED)
    log_target = _split_normal(cloud, down, up)
    log_cloud = log_target - proposal.log_density(cloud)
    cloud_weights = np.exp(log_cloud - logsumexp(log_cloud))

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        return _split_normal(mode.to_z(np.atleast_2d(theta)), down, up) - log_volume

    density = IntegratedDensity(mode.to_theta(cloud), cloud_weights, np.zeros((d, d)), log_density_at)
    return ThetaIntegral(
        method="ccd",
        mode=mode,
        nodes=tuple(e for e, ok in zip(nodes, finite, strict=True) if ok),
        weights=weights[finite],
        log_density=f[finite] - log_ml,
        density=density,
        log_marginal_likelihood=float(log_ml),
        log_marginal_likelihood_error=float(np.std(f[finite] - gaussian[finite])),
        outer_change=np.nan,
    )


def _split_normal(z, down, up):
    return -0.5 * np.sum((z / np.where(z < 0, down, up)) ** 2, axis=1)
