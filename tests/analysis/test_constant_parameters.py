"""Numbers that a distribution does not take are refused; looking for them leaves other models alone."""

import numpy as np
import pymc as pm
import pytest

from pymc_inla.analysis import analyze_model
from pymc_inla.errors import InvalidDataError

Y = np.random.default_rng(0).gamma(2.0, 1.0, 20)


def intercept():
    return pm.Normal("a", 0, 1)


BAD = {
    "random walk": (lambda: pm.GaussianRandomWalk("v", sigma=0, init_dist=pm.Normal.dist(0, 1), shape=20), "sigma > 0"),
    "covariance": (lambda: pm.MvNormal("v", np.zeros(20), cov=np.zeros((20, 20))), "posdef"),
    "one of many scales": (lambda: pm.Normal("v", 0, np.r_[np.ones(19), -1], shape=20), "sigma > 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_number_is_refused(name):
    build, words = BAD[name]
    with pm.Model() as model:
        pm.Normal("y", intercept() + build(), 1, observed=Y)
    with pytest.raises(InvalidDataError, match=f"does not fulfil .*{words}"):
        analyze_model(model)


def walk_with_unknown_step():
    v = pm.GaussianRandomWalk("v", sigma=pm.HalfNormal("s", 0.3), init_dist=pm.Normal.dist(1, 1), steps=19)
    pm.Normal("y", v, 1, observed=Y)


def censored_weibull():
    beta = pm.math.exp(intercept() + pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=20))
    pm.Censored("y", pm.Weibull.dist(pm.Gamma("k", 2, 2), beta), lower=None, upper=2.0, observed=np.minimum(Y, 2))


@pytest.mark.parametrize("build", [walk_with_unknown_step, censored_weibull])
def test_unknown_parents_bring_no_warning(build):
    with pm.Model() as model:
        build()
    analyze_model(model)
