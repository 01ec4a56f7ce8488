"""Posteriors that have no finite integral because the data do not determine a latent variable with a flat prior."""

import numpy as np

from pymc_inla.errors import ImproperPosteriorError
from pymc_inla.lgm import LatentGaussianModel, LGMFunctions

MAX_FLAT = 500
"""Flat coefficients up to which collinearity is looked for; a column of zeros is always found"""


def check_identified(lgm: LatentGaussianModel, functions: LGMFunctions) -> None:
    """Refuse flat latents that the linear predictors do not identify.

    The posterior given theta is proper only if the columns of A that belong to latents without prior precision are
    linearly independent.

    Raises
    ------
    ImproperPosteriorError
        Names the latents.
    """
    theta = functions.theta_initial
    Q = functions.Q_pattern.to_matrix(functions.prior(theta).Q)
    flat = np.flatnonzero(np.asarray(abs(Q).sum(axis=1)).ravel() == 0)
    if len(flat) == 0:
        return
    columns = functions.A_pattern.to_matrix(functions.design(theta).A)[:, flat]
    norms = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=0)).ravel())
    empty = flat[norms == 0]
    if len(empty):
        raise ImproperPosteriorError(
            f"{_names(lgm, empty)}: a flat prior, and no observation depends on it (its column of the design is zero), "
            "so the posterior is improper. Drop it, or give it a proper prior such as pm.Normal(0, 10)."
        )
    if len(flat) > MAX_FLAT:
        return
    scaled = (columns / norms[None, :]).toarray() if hasattr(columns / norms[None, :], "toarray") else columns / norms
    gram = scaled.T @ scaled
    values, vectors = np.linalg.eigh(gram)
    if values[0] < 1e-13 * len(flat):
        involved = flat[np.abs(vectors[:, 0]) > 1e-6]
        raise ImproperPosteriorError(
            f"{_names(lgm, involved)}: flat priors on coefficients whose columns of the design are linearly dependent, "
            "so the posterior is improper. Drop one of them, or give them proper priors such as pm.Normal(0, 10)."
        )


def _names(lgm, positions) -> str:
    """Variables that these elements of x belong to."""
    found = [v.name for v in lgm.latents if np.any((positions >= v.start) & (positions < v.stop))]
    return ", ".join(found)
