"""Posteriors that have no finite integral because the data do not determine what a prior leaves free."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from pymc_inla.compile.separation import unbounded_direction
from pymc_inla.errors import ImproperPosteriorError
from pymc_inla.lgm import LatentGaussianModel, LGMFunctions

DENSE = 500
"""Free directions up to which a dense eigendecomposition looks for a combination that nothing determines"""
SINGULAR = 1e-13
"""Smallest eigenvalue of the Gram matrix of normalized columns that counts as positive, per column"""
FREE = 1e-9
"""What is left of Q d, beside the size of its terms, in a direction d that the prior does not see"""


def check_identified(lgm: LatentGaussianModel, functions: LGMFunctions) -> None:
    """Refuse flat and intrinsic priors whose free directions the linear predictors and constraints do not determine,
    or the data do not bound.

    With B a basis of the directions that the prior of x leaves free, the posterior given theta is proper only if the
    columns of [A B; C B] are linearly independent, and the likelihood decreases along each of their combinations.

    Raises
    ------
    ImproperPosteriorError
        Names the latents.
    """
    theta = functions.theta_initial
    B = free_directions(lgm, functions.Q_pattern.to_matrix(functions.prior(theta).Q))
    if B.shape[1] == 0:
        return
    A = functions.A_pattern.to_matrix(functions.design(theta).A)
    columns = sparse.csc_array(sparse.vstack([A @ B, functions.C @ B]))
    norms = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=0)).ravel())
    empty = np.flatnonzero(norms == 0)
    if len(empty):
        raise ImproperPosteriorError(
            f"{_names(lgm, B[:, empty])}: its prior is flat in a direction on which no observation depends (a column "
            "of the design is zero, a level has no data), so the posterior is improper. Drop it, or give it a proper "
            "prior: pm.Normal(0, 10) for a coefficient, diagonal=1e-4 for an intrinsic effect."
        )
    scaled = sparse.csc_array(columns @ sparse.diags_array(1 / norms))
    value, vector = _smallest_eigenpair(sparse.csc_array(scaled.T @ scaled))
    if value < SINGULAR * len(norms):
        direction = sparse.csr_array((B @ (vector / norms))[:, None])
        raise ImproperPosteriorError(
            f"{_names(lgm, direction)}: flat priors in directions that the design does not tell apart (its columns are "
            "linearly dependent), so the posterior is improper. Drop one of them, give a coefficient a proper prior "
            "such as pm.Normal(0, 10), or constrain an intrinsic effect with constr=True."
        )
    unbounded = unbounded_direction(functions, theta, A, B, functions.C @ B)
    if unbounded is not None:
        raise ImproperPosteriorError(
            f"{_names(lgm, sparse.csr_array((B @ unbounded)[:, None]))}: flat priors in a direction in which no "
            "observation ever becomes less likely (a level whose responses are all zero, or responses separated by "
            "covariates), so the posterior is improper: estimates run off to infinity. Give a proper prior, such as "
            "pm.Normal(0, 2.5) for a coefficient of a standardized covariate, or merge or drop the level."
        )


def free_directions(lgm, Q) -> sparse.csc_array:
    """Columns B, (n_x, q), with Q B = 0: elements without prior and the null spaces of intrinsic priors, each with what
    has its mean in them, as u ~ Normal(mu, sigma) moves along with a flat mu."""
    known = np.zeros(lgm.n_x, bool)
    parts = []
    for latent in lgm.latents:
        if latent.null_space is not None:
            known[latent.start : latent.stop] = True
            above = sparse.csr_array((latent.start, latent.null_space.shape[1]))
            below = sparse.csr_array((lgm.n_x - latent.stop, latent.null_space.shape[1]))
            parts.append(sparse.vstack([above, latent.null_space, below]))
    size = np.asarray(abs(Q).sum(axis=1)).ravel()
    flat = np.flatnonzero((size == 0) & ~known)
    parts.append(sparse.csc_array((np.ones(len(flat)), (flat, np.arange(len(flat)))), shape=(lgm.n_x, len(flat))))
    B = sparse.csc_array(sparse.hstack(parts))
    pull = sparse.csc_array(Q @ B)
    if not np.any(abs(pull).max(axis=0).toarray() > 0):
        return B
    _, part = connected_components(Q, directed=False)
    moved = np.flatnonzero(np.isin(part, part[np.unique(pull.indices)]) & ~known)
    along = splu(sparse.csc_array(Q[moved][:, moved])).solve(-pull[moved].toarray())
    place = sparse.csc_array((np.ones(len(moved)), (moved, np.arange(len(moved)))), shape=(lgm.n_x, len(moved)))
    B = sparse.csc_array(B + place @ sparse.csc_array(along))
    left = np.asarray(abs(Q @ B).max(axis=0).todense()).ravel()
    return B[:, left <= FREE * max(size.max(), 1.0)]


def _smallest_eigenpair(gram) -> tuple[float, np.ndarray]:
    """Of a positive semidefinite matrix with unit diagonal; by inverse iteration when it is large."""
    q = gram.shape[0]
    if q <= DENSE:
        values, vectors = np.linalg.eigh(gram.toarray())
        return values[0], vectors[:, 0]
    # a shift far below the threshold keeps the factors finite; a few steps separate zero from anything above it
    solver = splu(sparse.csc_array(gram + 1e-3 * SINGULAR * q * sparse.eye_array(q)))
    vector = np.random.default_rng(0).normal(size=q)
    for _ in range(5):
        vector = solver.solve(vector)
        vector /= np.linalg.norm(vector)
    return float(vector @ (gram @ vector)), vector


def _names(lgm, directions) -> str:
    """Variables that take part in these directions, (n_x, q)."""
    size = np.asarray(abs(directions).max(axis=1).todense()).ravel()
    found = [v.name for v in lgm.latents if np.any(size[v.start : v.stop] > 1e-6 * size.max())]
    return ", ".join(found)
