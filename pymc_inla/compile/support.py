"""Which observations have no finite log likelihood where a fit starts: the usual reason why one does not get off."""

from __future__ import annotations

import numpy as np

from pymc_inla.lgm import LatentGaussianModel, LGMFunctions


def impossible_observations(lgm: LatentGaussianModel, functions: LGMFunctions) -> str:
    """A sentence per likelihood with observations whose log likelihood is not finite at the start values and x = 0.

    Empty when there are none.
    """
    theta = functions.theta_initial
    with np.errstate(all="ignore"):
        values = functions.log_likelihood(functions.design(theta).offset, theta).value
    sentences, start = [], 0
    for term in lgm.terms:
        size = int(np.prod(term.shape, dtype=int))
        bad = np.flatnonzero(~np.isfinite(values[start : start + size]))
        start += size
        if len(bad) == 0:
            continue
        first = f"position {bad[0]}"
        if term.observed is not None and term.observed.size == size:
            first += f", value {np.ravel(term.observed)[bad[0]]:.6g}"
        sentences.append(
            f"At the start, where all latent variables are 0, {len(bad)} of {size} observations of {term.name} are "
            f"impossible (the first: {first}). Check that the data lie in the support of the likelihood, and that the "
            "linear predictor reaches it through the right function (pm.math.exp for a rate, logit_p= for a "
            "probability)."
        )
    return " ".join(sentences)
