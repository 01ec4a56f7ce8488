"""Scales so near to zero that double precision cannot tell the levels of an effect from their mean."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference.strategy import laplace_choice
from pymc_inla.status import Status

# Trials of the BCG vaccine (Colditz et al. 1994, JAMA 271, table 1): cases and persons with and without it, latitude
BCG = np.array(
    [
        [4, 123, 11, 139, 44],
        [6, 306, 29, 303, 55],
        [3, 231, 11, 220, 42],
        [62, 13598, 248, 12867, 52],
        [33, 5069, 47, 5808, 13],
        [180, 1541, 372, 1451, 44],
        [8, 2545, 10, 629, 19],
        [505, 88391, 499, 88391, 13],
        [29, 7499, 45, 7277, 27],
        [17, 1716, 65, 1665, 42],
        [186, 50634, 141, 27338, 18],
        [5, 2498, 3, 2341, 33],
        [27, 16913, 29, 17854, 33],
    ]
)


def meta_regression(centered: bool):
    trial, treated = np.tile(np.arange(13), 2), np.repeat([1.0, 0.0], 13)
    latitude = (BCG[:, 4] - BCG[:, 4].mean()) / BCG[:, 4].std()
    with pm.Model() as model:
        base, tau = pm.Normal("base", -4, 5, shape=13), pm.HalfCauchy("tau", 0.5)
        mean = pm.Normal("d", 0, 2) + pm.Normal("slope", 0, 1) * latitude
        effect = pm.Normal("effect", mean, tau, shape=13) if centered else mean + tau * pm.Normal("z", 0, 1, shape=13)
        y, n = np.append(BCG[:, 0], BCG[:, 2]), np.append(BCG[:, 1], BCG[:, 3])
        pm.Binomial("y", n, logit_p=base[trial] + effect[trial] * treated, observed=y)
    return model


def test_meta_regression_with_levels_around_a_regression():
    """The density of log tau falls like tau to the left; at 1e-8 its values had errors of ten log units."""
    fits = [pmi.fit(meta_regression(c), random_seed=1, progressbar=False) for c in (True, False)]
    assert [pmi.reliability(fit).verdict for fit in fits] == ["good", "good"]
    first, second = (pmi.summary(fit, var_names=["tau", "d", "slope"]) for fit in fits)
    # the lines of nodes end at different places, where 1e-7 of the mass is left
    np.testing.assert_allclose(first[["mean", "sd"]].astype(float), second[["mean", "sd"]].astype(float), rtol=2e-3)


@pytest.mark.parametrize("log_tau", [-18.0, -19.0])
def test_the_status_says_so(log_tau):
    functions = compile_model(analyze_model(meta_regression(True)))
    point = laplace_choice(functions, "laplace").inner.evaluate(np.array([log_tau]))
    assert point.status is Status.LOST_IN_ROUNDING and point.log_posterior == -np.inf
