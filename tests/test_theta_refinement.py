"""Refining the integration over theta changes no reported quantile by more than 0.01 posterior sd: finer steps, deeper
tails and smaller tolerances of the same models."""

import numpy as np
import pymc as pm
import pytest
import zoo

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference import grid, run_inference


def no_variance():
    """A group effect that is not there, under R-INLA's default prior: a plateau towards infinite precision."""
    rng = np.random.default_rng(31)
    group = np.repeat(np.arange(8), 4)
    with pm.Model() as model:
        a, u = pm.Normal("a", 0, 3), pmi.IID("u", 8, prior=("loggamma", (1, 5e-5)))
        pm.Poisson("y", pm.math.exp(a + pmi.project(u, group)), observed=rng.poisson(3.0, 32))
    return model


MODELS = {
    "one scale": zoo.seeds,
    "variance near zero": no_variance,
    "scale and overdispersion": lambda: zoo.likelihood("negative_binomial"),
    "spatial": zoo.car,
    "crossed": zoo.crossed,
}


@pytest.mark.parametrize("name", MODELS)
def test_refinement_changes_no_quantile(name, monkeypatch):
    functions = compile_model(analyze_model(MODELS[name]()))
    reported = run_inference(functions, n_draws=1, random_seed=1, criteria=False)
    monkeypatch.setattr(grid, "STEP", {d: 0.7 * step for d, step in grid.STEP.items()})
    monkeypatch.setattr(grid, "DEPTH", {d: depth + 4 for d, depth in grid.DEPTH.items()})
    monkeypatch.setattr(grid, "SCORE_TOLERANCE", 0.2 * grid.SCORE_TOLERANCE)
    refined = run_inference(functions, n_draws=1, random_seed=1, criteria=False)
    assert len(refined.integration.points) > len(reported.integration.points)
    for part in ("theta_marginals", "latent_marginals"):
        a, b = getattr(reported, part), getattr(refined, part)
        assert np.max(np.abs(a.quantiles - b.quantiles) / b.sd[:, None]) < 0.01
        assert np.max(np.abs(a.sd / b.sd - 1)) < 0.01
