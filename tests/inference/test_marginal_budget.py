"""strategy="laplace" in models too large for a Laplace approximation of every marginal: said, never silent."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi


@pytest.fixture(scope="module")
def fits():
    def build(G):
        rng = np.random.default_rng(1)
        group = np.repeat(np.arange(G), 3)
        with pm.Model() as model:
            u = pm.Normal("u", 0, pm.Exponential("sigma", 1), shape=G)
            pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[group]), observed=rng.poisson(2, len(group)))
        return model

    options = {"draws": 50, "random_seed": 1, "progressbar": False, "strategy": "laplace"}
    return pmi.fit(build(10), **options), pmi.fit(build(90), **options)


def test_small_models_get_what_was_asked_for(fits):
    attrs = fits[0]["inla"].attrs
    assert (attrs["strategy"], attrs["strategy_reason"]) == ("laplace", "asked for")


def test_large_models_say_what_they_got(fits):
    attrs = fits[1]["inla"].attrs
    assert attrs["strategy"] == "simplified_laplace"
    assert "laplace was asked for; the model is too large" in attrs["strategy_reason"]
    assert "laplace was asked for" in str(pmi.reliability(fits[1]))
