"""Integration over hyperparameters whose posterior has several modes with deep troughs between them.

Every mode has a region, where its Gaussian approximation is the highest, and is integrated by importance sampling as if
there were no other. The posterior is the mixture of what is found in the regions, by the integrals over them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.linalg import block_diag

from pymc_inla.inference.density import IntegratedDensity, kernel_density, weighted_quantiles
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.importance import integrate_importance
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.theta_space import ThetaSpace

HELD = 0.95
"""Share of what is found around a mode that is in its region, for the modes to lie apart"""
TROUGH = 5.0
"""Log units below the lower of two modes by which the density falls between them, for them to lie apart"""


@dataclass(frozen=True)
class MixedMarginal:
    """One component of theta, whose density is as smooth as the width of each part allows."""

    shares: np.ndarray
    """(m,) of the parts"""
    parts: tuple[IntegratedDensity, ...]
    j: int

    def quantiles(self, probabilities) -> np.ndarray:
        """(k,) to (k,)"""
        values = np.concatenate([part.theta[:, self.j] for part in self.parts])
        return weighted_quantiles(values, _mixed(self.shares, [part.weights for part in self.parts]), probabilities)

    def pdf(self, theta) -> np.ndarray:
        """(k,) to (k,)"""
        densities = [kernel_density(part.theta[:, self.j], part.weights, theta) for part in self.parts]
        return self.shares @ np.array(densities)


def are_apart(posterior: ThetaPosterior, modes: list[ThetaMode]) -> bool:
    """Whether there is a deep trough between any two modes."""
    return all(
        posterior(0.5 * (a.theta_star + b.theta_star), keep=False).log_posterior
        < min(a.log_posterior, b.log_posterior) - TROUGH
        for a, b in combinations(modes, 2)
    )


def integrate_apart(
    posterior: ThetaPosterior,
    modes: list[ThetaMode],
    space: ThetaSpace,
    *,
    max_points: int,
) -> ThetaIntegral | None:
    """Integrate over theta around each of several modes, and mix; None where they do not lie apart.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    max_points : int
        Bound on the number of evaluations of the design of each mode.
    """

    def region(theta: np.ndarray) -> np.ndarray:
        """(m, d) to (m,): the mode that it belongs to"""
        return np.argmax([mode.log_posterior - 0.5 * np.sum(mode.to_z(theta) ** 2, axis=1) for mode in modes], axis=0)

    d = len(space.lower)
    parts, densities, log_masses = [], [], []
    for k, mode in enumerate(modes):

        def own(theta: np.ndarray, k: int = k) -> bool:
            return bool(region(theta[None])[0] == k)

        part = integrate_importance(posterior, [mode], space, max_points=max_points, region=own)
        whole = part.density
        inside = region(whole.theta) == k
        held = whole.weights @ inside
        if held < HELD:
            return None
        parts.append(part)
        densities.append(replace(whole, theta=whole.theta[inside], weights=whole.weights[inside] / held))
        log_masses.append(part.log_marginal_likelihood + np.log(held))
    log_ml = float(np.logaddexp.reduce(log_masses))
    shares = np.exp(np.array(log_masses) - log_ml)
    # a part is normalized over all theta, and holds what it says of its region
    log_ratios = np.array([part.log_marginal_likelihood for part in parts]) - log_ml

    def log_density_at(theta: np.ndarray) -> np.ndarray:
        theta = np.atleast_2d(theta)
        belongs, values = region(theta), np.empty(len(theta))
        for k, part in enumerate(parts):
            some = belongs == k
            if some.any():
                values[some] = part.density.log_density_at(theta[some]) + log_ratios[k]
        return values

    weights = _mixed(shares, [density.weights for density in densities])
    density = IntegratedDensity(
        np.vstack([density.theta for density in densities]),
        weights,
        np.zeros((d, d)),
        log_density_at,
        tuple(MixedMarginal(shares, tuple(densities), j) for j in range(d)),
        tuple(densities),
        region,
    )
    fine = block_diag(*[part.fine_matrix for part in parts])
    return ThetaIntegral(
        method="importance",
        mode=modes[0],
        nodes=tuple(e for part in parts for e in part.nodes),
        weights=_mixed(shares, [part.weights for part in parts]),
        log_density=np.concatenate([part.log_density + r for part, r in zip(parts, log_ratios, strict=True)]),
        density=density,
        log_marginal_likelihood=log_ml,
        log_marginal_likelihood_error=float(shares @ [part.log_marginal_likelihood_error for part in parts]),
        outer_change=max(part.outer_change for part in parts),
        fine_weights=_mixed(shares, [part.fine_weights for part in parts]),
        fine_matrix=fine,
        fine_slopes=np.zeros((0, *fine.shape)),
        k_hat=max(part.k_hat for part in parts),
        messages=tuple(dict.fromkeys(message for part in parts for message in part.messages)),
    )


def _mixed(shares: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([share * w for share, w in zip(shares, weights, strict=True)])
