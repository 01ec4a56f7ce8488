"""Impossible parameters of one observation leave the others alone."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from pymc_inla.compile.mode import stabilize


def values(distribution, y, at):
    eta = pt.vector("eta", dtype="float64", shape=(len(at),))
    logp = stabilize(pm.logp(distribution(eta), np.asarray(y)))
    with np.errstate(all="ignore"):
        return pytensor.function([eta], logp, mode="FAST_COMPILE")(np.asarray(at))


def test_one_observation_out_of_range():
    """At eta = 60 the mean of a beta distribution rounds to one."""
    found = values(lambda eta: pm.Beta.dist(mu=pt.sigmoid(eta), nu=5.0), [0.3, 0.4, 0.5], [0.2, 60.0, -1.0])
    alone = values(lambda eta: pm.Beta.dist(mu=pt.sigmoid(eta), nu=5.0), [0.3, 0.5], [0.2, -1.0])
    np.testing.assert_allclose(found[[0, 2]], alone, rtol=1e-14)
    assert found[1] == -np.inf


def test_a_parameter_of_all():
    """A scale that is impossible is so for every observation."""
    found = values(lambda eta: pm.Normal.dist(eta, eta.sum()), [0.3, 0.4], [0.2, -1.0])
    assert np.all(found == -np.inf)


def test_a_last_axis_of_categories():
    def categorical(eta):
        p = pt.stack([eta, 0.5 * eta, 1 - 1.5 * eta], axis=1)
        return pm.Categorical.dist(p=p)

    found = values(categorical, [0, 1, 2], [0.2, 0.9, 0.4])
    np.testing.assert_allclose(np.exp(found), [0.2, 0.0, 0.4])
