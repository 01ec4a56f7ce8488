"""Observations outside the support of a distribution are refused; those impossible at the start only are not."""

import numpy as np
import pymc as pm
import pytest

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import check_support, compile_model
from pymc_inla.errors import InvalidDataError

G = np.repeat(np.arange(4), 3)
COUNTS = np.array([1, 0, 2, 5, 3, 0, 1, 4, 2, 0, 7, 3])
TIMES = 0.1 + COUNTS
SHARES = (1.0 + COUNTS) / 10
BAD = [2, 7]


def replaced(values, *new):
    values = np.array(values)
    values[BAD] = new
    return values


def message(likelihood):
    """What `check_support` says of a model with a group effect."""
    with pm.Model() as model:
        a, u = pm.Normal("a", 0, 1), pm.Normal("u", 0, pm.HalfNormal("sigma", 1), shape=4)
        likelihood(a + u[G])
    lgm = analyze_model(model)
    return check_support(lgm, compile_model(lgm))


exp, sigmoid = pm.math.exp, pm.math.sigmoid

OUTSIDE = {
    "Poisson": lambda eta: pm.Poisson("y", exp(eta), observed=replaced(COUNTS, -1, -2)),
    "NegativeBinomial": lambda eta: pm.NegativeBinomial(
        "y", mu=exp(eta), alpha=pm.Exponential("alpha", 1), observed=replaced(COUNTS, -1, -2)
    ),
    "ZeroInflatedPoisson": lambda eta: pm.ZeroInflatedPoisson(
        "y", pm.Beta("psi", 1, 1), exp(eta), observed=replaced(COUNTS, -1, -2)
    ),
    "Binomial": lambda eta: pm.Binomial("y", n=replaced(np.full(12, 9), 1, 3), logit_p=eta, observed=COUNTS),
    "Beta": lambda eta: pm.Beta("y", mu=sigmoid(eta), nu=pm.Exponential("nu", 0.1), observed=replaced(SHARES, -0.1, 2)),
    "Gamma": lambda eta: pm.Gamma("y", mu=exp(eta), sigma=2.0, observed=replaced(TIMES, 0, -1)),
    "Exponential": lambda eta: pm.Exponential("y", exp(eta), observed=replaced(TIMES, -1, -2)),
    "Weibull": lambda eta: pm.Weibull("y", pm.HalfNormal("k", 2), exp(eta), observed=replaced(TIMES, -1, -2)),
    "LogNormal": lambda eta: pm.LogNormal("y", eta, 1.0, observed=replaced(TIMES, 0, -1)),
    "OrderedLogistic": lambda eta: pm.OrderedLogistic(
        "y", eta=eta, cutpoints=[-1, 1], observed=replaced(np.minimum(COUNTS, 2), 3, -1)
    ),
    "two predictors": lambda eta: pm.Gamma("y", alpha=exp(eta), beta=exp(eta[::-1]), observed=replaced(TIMES, -1, -2)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_support(name):
    with pytest.raises(InvalidDataError, match=r"^y: 2 of 12 observations are outside .* \(position 2, 7; value "):
        message(OUTSIDE[name])


def test_every_likelihood_is_named():
    def both(eta):
        pm.Normal("fine", eta, 1.0, observed=TIMES)
        pm.Poisson("y", exp(eta), observed=replaced(COUNTS, -1, -2))
        pm.Exponential("z", exp(eta), observed=-TIMES)

    with pytest.raises(InvalidDataError) as error:
        message(both)
    assert "y: 2 of 12" in str(error.value) and "z: 12 of 12" in str(error.value)
    assert "fine" not in str(error.value)


def shifted_by_hyperparameter(eta):
    shift = pm.Uniform("shift", -50, 50)
    y = 60 + TIMES - 100 * (COUNTS > 3)  # from -36 to 65, of which a shift of 0 makes some impossible
    pm.CustomDist(
        "y", exp(eta), shift, logp=lambda y, mu, shift: pm.logp(pm.Exponential.dist(mu), y - shift), observed=y
    )


IMPOSSIBLE_AT_START = {
    "identity rate": lambda eta: pm.Exponential("y", eta, observed=TIMES),
    "identity rate, exposure": lambda eta: pm.Poisson("y", 1e-4 * eta, observed=COUNTS + 1),
    "identity probability": lambda eta: pm.Binomial("y", 9, eta, observed=COUNTS),
    "two identity parameters": lambda eta: pm.Gamma("y", alpha=eta, beta=eta[::-1], observed=TIMES),
    "shift": shifted_by_hyperparameter,
}


@pytest.mark.parametrize("name", IMPOSSIBLE_AT_START)
def test_impossible_at_the_start_only(name):
    assert "impossible at the start" in message(IMPOSSIBLE_AT_START[name])


def test_possible_at_the_start():
    assert message(lambda eta: pm.Poisson("y", exp(eta), observed=COUNTS)) == ""
