"""Cavities that give posteriors back with the likelihood."""

from types import SimpleNamespace

import numpy as np
from scipy.special import gammaln

from pymc_inla.inference.cavity import Nodes, match, remove_own, tilt
from pymc_inla.inference.inner import Cavities, Moments


def poisson(y):
    """One Poisson count per linear predictor."""
    return SimpleNamespace(
        n_eta=len(y), only=None, log_likelihood_values=lambda eta, theta: y * eta - np.exp(eta) - gammaln(y + 1.0)
    )


def cavities(y, posterior):
    functions, slope = poisson(y), y - np.exp(posterior.mean)
    start = remove_own(posterior.mean, posterior.sd**2, slope, np.exp(posterior.mean))
    found = match(functions, np.zeros(0), posterior, start)
    return found, tilt(Nodes.around(functions, np.zeros(0), posterior, 15), found)


def test_moments_of_posteriors_come_back():
    y = np.array([0.0, 2.0, 5.0, 1.0])
    posterior = Moments(
        np.array([-0.2, 0.6, 1.4, 0.3]), np.array([0.4, 0.3, 0.25, 0.5]), np.array([-0.1, -0.15, -0.1, 0.0])
    )
    _, tilted = cavities(y, posterior)
    # the tolerances of the iteration: 1e-4 sd in the mean, 1e-3 in the skewness
    np.testing.assert_allclose(tilted.mean, posterior.mean, atol=1e-4)
    np.testing.assert_allclose(np.sqrt(tilted.variance), posterior.sd, rtol=2e-3)
    np.testing.assert_allclose(tilted.third / posterior.sd**3, posterior.skewness, atol=5e-3)


def test_an_iteration_that_gets_stuck_is_no_match():
    """Counts far above what is expected: the iteration with a third moment ends where no step leaves a positive
    variance, at cavities whose posteriors are up to six sd off. Without a third moment there is a match."""
    y = np.arange(9.0, 14.0)
    posterior = Moments(*(np.full(5, value) for value in (1.0220198783, 0.2641560807, -0.1801879046)))
    start = Cavities(np.full(5, 0.4874047), np.full(5, 0.0872966), np.zeros(5))
    functions = poisson(y)
    found = match(functions, np.zeros(0), posterior, start)
    tilted = tilt(Nodes.around(functions, np.zeros(0), posterior, 15), found)
    np.testing.assert_allclose(tilted.mean, posterior.mean, atol=1e-4)
    np.testing.assert_allclose(np.sqrt(tilted.variance), posterior.sd, rtol=2e-3)


def test_predictors_are_matched_one_by_one():
    y = np.array([0.0, 9.0, 5.0, 1.0])
    mean, sd = np.array([-0.2, 1.0220198783, 1.4, 0.3]), np.array([0.4, 0.2641560807, 0.25, 0.5])
    skewness = np.array([-0.1, -0.1801879046, -0.1, 0.0])
    together, _ = cavities(y, Moments(mean, sd, skewness))
    for i in range(4):
        alone, _ = cavities(y[[i]], Moments(mean[[i]], sd[[i]], skewness[[i]]))
        np.testing.assert_allclose([together.mean[i], together.variance[i]], [alone.mean[0], alone.variance[0]])
