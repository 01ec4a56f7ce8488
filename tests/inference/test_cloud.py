"""Clouds of weighted points, and the proposals that follow a density which is known at one."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from pymc_inla.inference.cloud import Cloud
from pymc_inla.inference.proposal import DefensiveMixture, Proposal, SplitT
from pymc_inla.theta_space import ThetaSpace

INF = np.full(1, np.inf)
REAL, LOG, LOGIT = (ThetaSpace(-INF, INF, links=(link,)) for link in ("identity", "log", "logit"))


def split_t(d, scale=1.0):
    return Proposal((SplitT(np.zeros(d), np.full(d, scale), np.full(d, scale)),), np.zeros(1))


def cloud_of(proposal, d, m=2**15, seed=1):
    z = proposal.sample(m, d, seed)
    return Cloud(z, z, proposal.log_density(z), np.zeros(len(z)), m)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_density_of_the_mixture(d):
    """Its points are drawn from the density that it says: means of functions, weighted to another density."""
    before = split_t(d)
    first = cloud_of(before, d)
    target = lambda z: multivariate_normal.logpdf(z, np.full(d, 1.5), 0.4**2 * np.eye(d))  # noqa: E731
    cloud = first
    for seed in (1, 2):
        mixture = DefensiveMixture.around(before, cloud.z, cloud.weights(target(cloud.z))[0])
        cloud = cloud_of(mixture, d, seed=seed)
    weights, log_integral = cloud.weights(target(cloud.z))
    assert abs(log_integral) < 0.02
    np.testing.assert_allclose(weights @ cloud.z, 1.5, atol=0.01)
    np.testing.assert_allclose(np.sqrt(weights @ (cloud.z - 1.5) ** 2), 0.4, rtol=0.03)
    # the density before, which is elsewhere and wider in every direction, has few points there
    assert cloud.efficiency(target(cloud.z)) > max(0.25, first.efficiency(target(first.z)))


def test_changes_of_quantiles():
    cloud = cloud_of(split_t(1, 1.5), 1)
    after = norm.logpdf(cloud.z[:, 0])
    moved = norm.logpdf(cloud.z[:, 0], 0.02)
    reported, kinder = cloud.changes(moved, after, REAL)
    assert reported == kinder == pytest.approx(0.02, rel=0.1)
    assert cloud.changes(after, after, REAL) == (0.0, 0.0)


def test_changes_on_the_kinder_scale():
    """A lower tail that is longer: of exp(z) next to nothing moves."""
    cloud = cloud_of(split_t(1, 2.0), 1)
    z = cloud.z[:, 0]
    after = norm.logpdf(z)
    longer = after + np.where(z < -1.5, 0.4, 0.0)
    reported, kinder = cloud.changes(longer, after, LOG)
    assert kinder <= reported < 0.06
    assert cloud.changes(longer, after, REAL)[0] > 2 * kinder


def test_changes_at_the_end_of_a_range():
    """A tail of the logit that is next to a bound: what is between the bounds hardly moves."""
    cloud = cloud_of(split_t(1, 6.0), 1)
    z = cloud.z[:, 0]
    after = norm.logpdf(z, 6.0, 3.0)
    longer = after + np.where(z > 11, 0.4, 0.0)
    assert cloud.changes(longer, after, LOGIT)[1] < 0.02
    assert cloud.changes(longer, after, REAL)[1] > 0.05


def test_peaks_that_are_gone_are_no_error_that_is_left():
    cloud = cloud_of(split_t(1, 2.0), 1)
    z = cloud.z[:, 0]
    after = norm.logpdf(z)
    peak = np.where(np.abs(z - 6.0) < 0.2, 20.0, 0.0)
    assert cloud.changes(after + peak, after, REAL)[0] < 1e-3
    # one that only the second one has is
    assert cloud.changes(after, after + peak, REAL)[0] > 0.3
