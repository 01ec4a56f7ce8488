"""Densities on a grid against closed forms of SciPy."""

import numpy as np
import pytest
from scipy import stats

from pymc_inla.errors import InvalidOptionError
from pymc_inla.output.density import GridDensity

GAMMA = stats.gamma(3.0, scale=0.5)


@pytest.fixture
def density():
    x = np.linspace(1e-9, 12, 400)
    return GridDensity(x, 7.0 * GAMMA.pdf(x), "g")


# monotone cubics between points 0.03 apart: error of order step^3 in the density, less in its integral
def test_distribution_functions(density):
    x = np.linspace(0.05, 6, 50)
    np.testing.assert_allclose(density.pdf(x), GAMMA.pdf(x), atol=1e-3)
    np.testing.assert_allclose(density.cdf(x), GAMMA.cdf(x), atol=1e-5)
    q = np.array([0.001, 0.025, 0.5, 0.975, 0.999])
    np.testing.assert_allclose(density.ppf(q), GAMMA.ppf(q), atol=1e-3)
    np.testing.assert_allclose(density.cdf(density.ppf(q)), q, atol=1e-12)
    assert density.cdf(-1.0) == 0
    assert density.cdf(99.0) == pytest.approx(1, abs=1e-12)
    assert density.pdf(-1.0) == 0


def test_moments_and_mode(density):
    np.testing.assert_allclose([density.mean, density.sd], [GAMMA.mean(), GAMMA.std()], rtol=1e-5)
    np.testing.assert_allclose(density.mode, 1.0, atol=1e-3)
    np.testing.assert_allclose(density.expectation(np.log), GAMMA.expect(np.log), atol=1e-5)
    np.testing.assert_allclose(density.expectation(lambda x: 1.0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_change_of_variable_increasing_and_decreasing(density, sign):
    transformed = density.transform(lambda x: np.exp(-sign * x), "h")
    assert transformed.name == "h"
    q = np.array([0.1, 0.5, 0.9])
    expected = np.exp(-sign * GAMMA.ppf(1 - q if sign == 1 else q))
    # the image of an even grid is uneven: at most 0.4 % of the value between two points
    np.testing.assert_allclose(transformed.ppf(q), expected, rtol=4e-3)
    y = np.exp(-sign * 1.3)
    np.testing.assert_allclose(transformed.pdf(y), GAMMA.pdf(1.3) / y, rtol=1e-3)


def test_draws_follow_the_density(density):
    draws = density.rvs(20_000, random_state=1)
    # 1.63 / sqrt(20 000): the 1 % point of the Kolmogorov distribution
    assert stats.kstest(draws, GAMMA.cdf).statistic < 1.63 / np.sqrt(20_000)
    np.testing.assert_array_equal(draws, density.rvs(20_000, random_state=1))


def test_what_is_not_a_density_is_refused(density):
    with pytest.raises(InvalidOptionError, match="increasing"):
        GridDensity([0.0, 2.0, 1.0], [1.0, 1.0, 1.0])
    with pytest.raises(InvalidOptionError, match="non-negative"):
        GridDensity([0.0, 1.0, 2.0], [1.0, -1.0, 1.0])
    with pytest.raises(InvalidOptionError, match="monotone"):
        density.transform(lambda x: (x - 2) ** 2)
    with pytest.raises(InvalidOptionError, match="between 0 and 1"):
        density.ppf(1.2)
