"""Means from an expansion that has left its range."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.inference.skew_normal import bounded_shift


def test_bounded_shift():
    sd = np.array([1.0, 2.0, 0.0])
    np.testing.assert_array_equal(bounded_shift(np.array([0.5, -1.0, 0.0]), sd), [0.5, -1.0, 0.0])
    shift = bounded_shift(np.array([100.0, -3.0, 0.0]), sd)
    # shortened together
    np.testing.assert_allclose(shift, np.sqrt(3) * np.array([1.0, -0.03, 0.0]))
    # an expansion without a value says nothing, and no 0 * inf either
    np.testing.assert_array_equal(bounded_shift(np.array([np.inf, 1.0, 0.0]), sd), 0.0)


@pytest.fixture(scope="module")
def reaction_times():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(15), 12)
    y = 5 + rng.normal(0, 1, 15)[group] + rng.normal(0, 0.5, 180) + rng.exponential(1.5, 180)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 10)
        s = pm.HalfNormal("s", 2)
        u = pm.Normal("u", 0, s, shape=15)
        pm.ExGaussian("y", mu=a + u[group], sigma=pm.HalfNormal("sd", 2), nu=pm.HalfNormal("nu", 3), observed=y)
    return pmi.fit(model, random_seed=1, criteria=False, progressbar=False)


def test_design_points_where_the_expansion_fails(reaction_times):
    """At small sd the log density has an edge, and its third derivative says that the mean is 300 sd from the mode: of
    weight 1e-7, that made the sd of the intercept seven times too large.

    NUTS, 4000 draws: a 4.662 (0.226), s 0.748 (0.182), sd 0.387 (0.127), nu 1.697 (0.170).
    """
    found = pmi.summary(reaction_times)
    for name, mean, sd in (("a", 4.662, 0.226), ("s", 0.748, 0.182), ("sd", 0.387, 0.127), ("nu", 1.697, 0.170)):
        # Monte Carlo error of the reference: 0.03 sd of a mean, 3 % of a sd
        assert abs(found.loc[name, "mean"] - mean) < 0.08 * sd
        assert abs(found.loc[name, "sd"] / sd - 1) < 0.08
    assert pmi.reliability(reaction_times).verdict == "good"
