"""Hard constraints on latent variables are refused by name; densities that only look like one are not."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc_inla.analysis import analyze_model
from pymc_inla.errors import UnsupportedModelError

G = np.repeat(np.arange(6), 5)
Y = np.random.default_rng(3).poisson(2, 30)


def model_with(potential):
    with pm.Model() as model:
        a, s = pm.Normal("a", 0, 1), pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=6)
        pm.Potential("limit", potential(u, s))
        pm.Poisson("y", pm.math.exp(a + u[G]), observed=Y)
    return model


HARD = {
    "order of two": lambda u, s: pt.switch(u[0] < u[1], 0, -np.inf),
    "order of two, finite": lambda u, s: -1e3 * (u[0] > u[1]),
    "order of all": lambda u, s: pm.math.log(pt.all(pt.diff(u) > 0)),
    "sign of all": lambda u, s: pt.switch(pt.all(u > 0), 0, -np.inf),
    "sign of each": lambda u, s: pt.switch(u > 0, 0, -np.inf).sum(),
    "sign of a sum": lambda u, s: pt.switch(u.sum() > 0, 0.0, -1e10),
    "interval": lambda u, s: pm.logp(pm.Uniform.dist(-1, 1), u),
    "half normal": lambda u, s: pm.logp(pm.HalfNormal.dist(1), u),
    "bound of a hyperparameter": lambda u, s: pt.switch(u[0] < s, 0, -np.inf),
}
SMOOTH = {
    "sum near zero": lambda u, s: pm.logp(pm.Normal.dist(0, 0.01), u.sum()),
    "support that is never left": lambda u, s: pm.logp(pm.Gamma.dist(2, 1), pm.math.exp(u)),
    "probability": lambda u, s: pm.logp(pm.Beta.dist(2, 2), pm.math.invlogit(u)),
    "Huber": lambda u, s: -pt.switch(abs(u) < 1, u**2 / 2, abs(u) - 0.5),
    "hinge squared": lambda u, s: pt.switch(u > 0, -(u**2), 0.0),
    "order, soft": lambda u, s: pm.math.log(pm.math.invlogit(20 * (u[1] - u[0]))),
    "of a hyperparameter": lambda u, s: pt.switch(s < 5, 0.0, -np.inf),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_constraint_is_refused_by_name(name):
    with pytest.raises(UnsupportedModelError, match=r"^limit: its log density jumps from -.* smooth"):
        analyze_model(model_with(HARD[name]))


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_potential_is_no_constraint(name):
    analyze_model(model_with(SMOOTH[name]))


def test_support_that_moves_with_a_predictor():
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=6)
        pm.Uniform("y", 0, pm.math.exp(u[G]), observed=np.linspace(0.01, 0.5, 30))
    with pytest.raises(UnsupportedModelError, match=r"^y: its log density jumps from -inf"):
        analyze_model(model)
