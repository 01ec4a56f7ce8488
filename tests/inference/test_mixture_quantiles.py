"""Quantiles of mixtures whose starting value is already exact: symmetric components around a common mean."""

import numpy as np
import pytest
from scipy.stats import norm

from pymc_inla.inference.latent_marginals import Mixture

PROBABILITIES = (0.025, 0.25, 0.5, 0.75, 0.975)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("skewness", [0.0, 1e-6])
def test_symmetric_mixture(exact, skewness):
    sd = np.array([[0.9, 1.0], [1.1, 1.0]])
    mean = np.array([0.3, -2.0])
    mixture = Mixture(np.broadcast_to(mean, (2, 2)), sd, np.full((2, 2), skewness), np.full((2, 1), 0.5), exact)
    found = mixture.quantiles(PROBABILITIES)
    # the second column is a normal distribution (with a skewness of 1e-6); large models stop at 1e-4 sd
    np.testing.assert_allclose(found[:, 1], mean[1] + norm.ppf(PROBABILITIES), atol=1e-4)
    np.testing.assert_allclose(found[2], mean, atol=1e-4)
    np.testing.assert_allclose(found[0] + found[4], 2 * mean, atol=2e-4)
