"""Draws from one-dimensional densities that are known at a few nodes."""

import exact_models
import numpy as np
import pymc as pm
import pytest
from scipy import integrate, stats

import pymc_inla as pmi
from pymc_inla.inference.draws import _k_means
from pymc_inla.inference.spline_inversion import invert, line


def logistic_times_normal(t):
    """Unnormalized: what a binary observation makes of a wide effect, in units that make its sd about one."""
    return -0.5 * (t / 1.2) ** 2 - np.logaddexp(0.0, -2.5 * t)


@pytest.mark.parametrize(
    "log_density, spacing, error",
    [
        (stats.norm.logpdf, 1.0, 2e-3),
        (stats.norm.logpdf, 0.5, 5e-4),
        (logistic_times_normal, 0.75, 2e-3),
        (logistic_times_normal, 0.5, 5e-4),
    ],
)
def test_inverse_of_the_distribution_function(log_density, spacing, error):
    nodes = line(spacing, -8.0, 8.0)
    probabilities = np.linspace(0.001, 0.999, 401)
    known = np.repeat((log_density(nodes.nodes) - np.max(log_density(nodes.nodes)))[:, None], len(probabilities), 1)
    found = invert(nodes, known, np.exp(known), probabilities)
    total = integrate.quad(lambda t: np.exp(log_density(t)), -12, 12, points=[0.0], epsabs=1e-12)[0]
    reached = [integrate.quad(lambda t: np.exp(log_density(t)), -12, t, epsabs=1e-10)[0] / total for t in found]
    # a spline and linear pieces an eighth of the spacing long; the Kolmogorov distance of 20 000 draws to their own
    # distribution is 0.006
    np.testing.assert_allclose(reached, probabilities, atol=error)


def test_integrals_up_to_nodes_grow_next_to_a_wall():
    """A spline through a log density with a wall has slopes there that say nothing about the density."""
    nodes = line(0.25, -8.0, 8.0)
    log_density = np.where(nodes.nodes > 0.4, -60.0, -0.5 * nodes.nodes**2)[:, None]
    reached = nodes.distribution(log_density, np.exp(log_density))[:, 0]
    assert np.all(np.diff(reached) >= 0)
    # the wall is somewhere within a spacing
    exact = np.minimum(stats.norm.cdf(nodes.nodes[1:]) / stats.norm.cdf(0.4), 1.0)
    np.testing.assert_allclose(reached, exact, atol=0.25 * stats.norm.pdf(0.4) / stats.norm.cdf(0.4))


def test_every_density_has_its_own_probability():
    nodes = line(1.0, -8.0, 8.0)
    centers, scales = np.array([-0.5, 0.0, 0.7]), np.array([0.9, 1.0, 1.3])
    probabilities = np.array([0.2, 0.5, 0.97])
    log_density = stats.norm.logpdf(nodes.nodes[:, None], centers, scales)
    found = invert(nodes, log_density, np.exp(log_density), probabilities)
    # linear pieces an eighth of an sd long
    np.testing.assert_allclose(found, stats.norm.ppf(probabilities, centers, scales), atol=3e-3)


def test_draws_next_to_a_wall():
    """Counts of zero say that a log rate is low, and no more: its density is the prior's below a wall."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10, shape=3)
        pm.Poisson("y", pm.math.exp(b[0] + np.array([[0, 1], [1, 0], [0, 0], [0, 0]]) @ b[1:]), observed=[0, 0, 0, 0])
    idata = pmi.fit(model, random_seed=1, progressbar=False, draws=4000)
    assert pmi.reliability(idata).verdict == "good"
    axis = np.linspace(-50, 50, 201)
    b0, b1, b2 = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    rates = np.exp(b0 + b2) + np.exp(b0 + b1) + 2 * np.exp(b0)
    p = np.exp(-0.5 * (b0**2 + b1**2 + b2**2) / 100 - rates)
    p /= p.sum()
    for k, values in enumerate((b0, b1, b2)):
        mean = np.sum(p * values)
        sd = np.sqrt(np.sum(p * (values - mean) ** 2))
        draws = idata.posterior["b"].values[..., k]
        # four Monte Carlo errors of 8000 draws
        assert abs(draws.mean() - mean) < 0.045 * sd
        assert abs(draws.std() / sd - 1) < 0.035


class Ridge:
    """Along the negative halves of both axes"""

    class mode:
        @staticmethod
        def to_z(theta):
            return theta

    class density:
        @staticmethod
        def log_density_at(theta):
            return 0.1 * theta.sum(axis=1) - 50.0 * theta.max(axis=1) ** 2


def test_centers_of_draws_have_a_density():
    """The mean of values on the two arms of a ridge is on neither."""
    arm = -(np.linspace(0, 8, 50) ** 2)
    theta = np.concatenate([np.column_stack([arm, 0 * arm]), np.column_stack([0 * arm, arm])])
    centers, owner = _k_means(theta, np.array([[0.0, 0.0], [-30.0, 0.0], [0.0, -30.0], [-5.0, -5.0]]), Ridge)
    assert np.all(np.bincount(owner, minlength=4) > 0)
    assert np.all(Ridge.density.log_density_at(centers) > -10.0)
    means = np.array([theta[owner == k].mean(axis=0) for k in range(4)])
    moved = np.any(centers != means, axis=1)
    assert 0 < moved.sum() < 4
    assert np.all(Ridge.density.log_density_at(means[moved]) < -10.0)


def test_a_ridge_of_two_variances_is_no_cause_for_concern():
    problem = exact_models.simulate("normal", 100, 1, 0.1, seed=165, b=(0.3, 0.5), scale_sigma=3.0)
    idata = pmi.fit(exact_models.build(problem), random_seed=1, progressbar=False, draws=20_000, chains=1)
    verdict = pmi.reliability(idata)
    assert verdict.verdict == "good"
    # every draw of x given theta is exact
    assert verdict.numbers["importance_efficiency"] > 0.99
