"""Intrinsic group models leave directions free; where nothing determines them the posterior is improper."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.errors import ImproperPosteriorError


def build(n, *, flat=False, missing=False, model="rw1", ngroup=4, **options):
    level, group = np.repeat(np.arange(n), ngroup), np.tile(np.arange(1, ngroup + 1), n)
    keep = level != 2 if missing else level >= 0
    level, group = level[keep], group[keep]
    y = np.random.default_rng(0).normal(size=len(level))
    with pm.Model() as m:
        b = pm.Flat("b") if flat else pm.Normal("b", 0, 2)
        control = {"model": model}
        u = pmi.IID("u", n, ngroup=ngroup, control_group=control, initial=0.0, fixed=True, **options)
        eta = b + pmi.project(u, level, group=group, values=np.arange(n))
        pm.Normal("y", eta, 1.0, observed=y)
    return m


def fit(model):
    return pmi.fit(model, draws=20, chains=1, random_seed=1, progressbar=False, criteria=False)


@pytest.mark.parametrize("model", ["rw1", "rw2"])
def test_a_level_without_data(model):
    with pytest.raises(ImproperPosteriorError, match=r"^u: its prior is flat in a direction on which no observation"):
        fit(build(4, missing=True, model=model))


# 700 levels: the null space is too large for a dense eigendecomposition
@pytest.mark.parametrize("n", [4, 700])
def test_a_flat_intercept_beside_free_levels(n):
    with pytest.raises(ImproperPosteriorError, match=r"^b, u: flat priors in directions .* constr=True"):
        fit(build(n, flat=True))


@pytest.mark.parametrize(
    "options",
    [
        {"flat": True, "constr": True},
        {"missing": True, "diagonal": 0.1},
        {"missing": True, "extraconstr": {"A": [[0, 0, 1.0, 0]]}},
        {},
    ],
    ids=["constr", "diagonal", "row_on_the_level", "proper_intercept"],
)
def test_what_makes_the_posterior_proper(options):
    idata = fit(build(4, **options))
    # a prior that is proper, or data: nothing is wider than a few prior sds of the intercept
    assert float(idata["inla"]["latent_marginals"]["u"].sel(statistic="sd").max()) < 4


def test_many_levels_are_identified_when_the_intercept_is_proper():
    idata = fit(build(700, flat=True, constr=True))
    assert float(idata["inla"]["latent_marginals"]["b"].sel(statistic="sd")) < 1
