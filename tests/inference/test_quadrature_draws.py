"""Draws from one-dimensional densities that are known at a few nodes."""

import numpy as np
import pytest
from scipy import integrate, stats

from pymc_inla.inference.quadrature_draws import _invert, line


def logistic_times_normal(t):
    """Unnormalized: what a binary observation makes of a wide effect, in units that make its sd about one."""
    return -0.5 * (t / 1.2) ** 2 - np.logaddexp(0.0, -2.5 * t)


@pytest.mark.parametrize("log_density", [stats.norm.logpdf, logistic_times_normal])
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_inverse_of_the_distribution_function(log_density, spacing):
    nodes = line(spacing, -8.0, 8.0)
    probabilities = np.linspace(0.001, 0.999, 401)
    known = np.repeat((log_density(nodes.nodes) - np.max(log_density(nodes.nodes)))[:, None], len(probabilities), 1)
    found = _invert(nodes, known, np.exp(known), probabilities)
    total = integrate.quad(lambda t: np.exp(log_density(t)), -12, 12, points=[0.0], epsabs=1e-12)[0]
    reached = [integrate.quad(lambda t: np.exp(log_density(t)), -12, t, epsabs=1e-10)[0] / total for t in found]
    # a spline through nodes one sd apart and linear pieces an eighth of that long; the Kolmogorov distance of 20 000
    # draws to their own distribution is 0.006
    np.testing.assert_allclose(reached, probabilities, atol=2e-3 if spacing == 1.0 else 5e-4)


def test_every_density_has_its_own_probability():
    nodes = line(1.0, -8.0, 8.0)
    centers, scales = np.array([-0.5, 0.0, 0.7]), np.array([0.9, 1.0, 1.3])
    probabilities = np.array([0.2, 0.5, 0.97])
    log_density = stats.norm.logpdf(nodes.nodes[:, None], centers, scales)
    found = _invert(nodes, log_density, np.exp(log_density), probabilities)
    # linear pieces an eighth of an sd long
    np.testing.assert_allclose(found, stats.norm.ppf(probabilities, centers, scales), atol=3e-3)
