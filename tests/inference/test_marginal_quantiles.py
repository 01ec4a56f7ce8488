"""Quantiles of many mixtures at once: those that have converged stay where they are while others still move."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from pymc_inla.inference.latent_marginals import mixture_marginals
from pymc_inla.lgm import QUANTILES


@pytest.mark.parametrize("columns", [40, 20_000])
@pytest.mark.parametrize("skewness", [0.0, 0.05])
def test_easy_columns_beside_hard_ones(columns, skewness):
    """Few columns use exact distribution functions and many steps, many columns an expansion and few steps. A Gaussian
    converges in one step; a mixture of scales that differ by 30 needs them all."""
    rng = np.random.default_rng(0)
    w = np.array([0.3, 0.4, 0.3])
    mean = np.tile(rng.normal(size=columns), (3, 1))
    sd = np.full((3, columns), 0.5)
    hard = np.arange(columns) % 4 == 0
    sd[:, hard] = np.array([0.05, 0.5, 1.5])[:, None]
    mean[:, hard] += np.array([-0.3, 0.0, 0.4])[:, None]
    found = mixture_marginals(mean, sd, np.full(mean.shape, skewness), w)
    assert np.all(np.diff(found.quantiles, axis=1) > 0)
    easy = (found.quantiles[~hard] - mean[0, ~hard, None]) / 0.5
    # skewness 0.05 moves the quantiles of a standardized skew normal by up to 0.05 (z^2 - 1) / 6 = 0.024
    np.testing.assert_allclose(easy, np.tile(stats.norm.ppf(QUANTILES), (len(easy), 1)), atol=2e-4 + 0.6 * skewness)
    if skewness == 0.0:
        j = 4
        for p, q in zip(QUANTILES, found.quantiles[j], strict=True):
            exact = brentq(lambda x, p=p: np.sum(w * stats.norm.cdf(x, mean[:, j], sd[:, j])) - p, -20, 20, xtol=1e-12)
            assert abs(q - exact) < 2e-3 * found.sd[j]
