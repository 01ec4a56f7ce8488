"""Densities of theta that have no finite integral, as far as the search of their mode and their points show."""

from __future__ import annotations

import numpy as np

from pymc_inla.errors import ImproperPosteriorError
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.status import Status
from pymc_inla.theta_space import ThetaSpace

STEEP, NEXT = 1.0, 0.1
"""Slope of a log density at its highest point, per unit of theta, that no posterior has; and where to look beyond"""


def check_bounded(posterior: ThetaPosterior, mode: ThetaMode, space: ThetaSpace) -> None:
    """Refuse a density that rises steeply up to where it can no longer be computed, or to a bound: the likelihood of
    responses that are fitted exactly grows without limit as their scale goes to zero."""
    if mode.status is Status.CONVERGED:
        return
    gradient = posterior(mode.theta_star, gradient=True, keep=False).gradient
    for j in np.argsort(-np.abs(gradient)) if gradient is not None else ():
        side = np.sign(gradient[j])
        beyond = mode.theta_star + NEXT * side * (np.arange(len(mode.theta_star)) == j)
        inside = space.contains(beyond)
        if abs(gradient[j]) > STEEP and not (inside and np.isfinite(posterior(beyond, keep=False).log_posterior)):
            raise ImproperPosteriorError(
                f"{space.names[j]}: the posterior density of this hyperparameter rises up to {mode.theta_star[j]:.3g} "
                "on its unconstrained scale, where double precision or the range that is searched ends. The posterior "
                "is improper or nearly so, as where responses are fitted exactly (a constant response, one value per "
                "group) and their scale may be zero. Check the data, or give this hyperparameter a prior that keeps it "
                "away from there."
            )


def check_proper(integral: ThetaIntegral, space: ThetaSpace) -> None:
    """A density that is flat at the bound of the numerical range has no finite integral."""
    f, theta = integral.log_density, np.array([e.theta for e in integral.nodes])
    for j in range(theta.shape[1]):
        for end, edge, side in (
            (np.argmax(theta[:, j]), space.upper[j], "upper"),
            (np.argmin(theta[:, j]), space.lower[j], "lower"),
        ):
            at_edge = np.isfinite(edge) and abs(theta[end, j] - edge) < 0.5
            if at_edge and f[end] > f.max() - 3.0:
                raise ImproperPosteriorError(
                    f"{space.names[j]}: the posterior density of this hyperparameter does not decay towards the {side} "
                    f"end of the range that is searched, {edge:g} on its unconstrained scale: there it is "
                    f"{np.exp(f[end] - f.max()):.2g} of its maximum. The posterior is improper or nearly so; give this "
                    "hyperparameter a proper prior with lighter tails."
                )
