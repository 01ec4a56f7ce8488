"""Linear predictors and fitted values of all rows against exact answers."""

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from pymc_inla import inla
from pymc_inla.formula.tables import COLUMNS

N, LEVELS, NOISE, TAU = 30, 6, 2.0, 1.5
RNG = np.random.default_rng(5)
DATA = pd.DataFrame({"x": RNG.normal(size=N), "g": RNG.integers(0, LEVELS, N), "y": RNG.normal(size=N)})
EFFECT = {"id": "g", "model": "iid", "initial": float(np.log(TAU)), "fixed": True, "values": list(range(LEVELS))}
FORMULA = {"response": "y", "fixed": ["x"], "random": [EFFECT]}


def test_gaussian_rows_are_normal():
    noise = {"hyper": [{"initial": float(np.log(NOISE)), "fixed": True}]}
    result = inla(FORMULA, data=DATA, control_family=noise, draws=10, chains=1, random_seed=1, progressbar=False)
    D = np.column_stack([np.ones(N), DATA["x"], np.eye(LEVELS)[DATA["g"]]])
    S = np.linalg.inv(np.diag([0, 0.001, *[TAU] * LEVELS]) + NOISE * D.T @ D)
    mean = D @ S @ (NOISE * D.T @ DATA["y"].to_numpy())
    sd = np.sqrt(np.einsum("ij,jk,ik->i", D, S, D))
    exact = np.column_stack([mean, sd, *(stats.norm.ppf(q, mean, sd) for q in (0.025, 0.5, 0.975)), mean])
    np.testing.assert_allclose(result.summary_linear_predictor[list(COLUMNS)], exact, atol=2e-5)
    # the link of the family is the identity; sums over the grid of the density, which ends at 6 sd
    np.testing.assert_allclose(result.summary_fitted_values[list(COLUMNS)], exact, atol=2e-4)


def exact_moments(link, y, b_sd=1.0):
    """Posterior mean and sd of g^-1(b + u_i) of rows that are levels of their own, by quadrature over b and u."""
    b = np.linspace(-4, 4, 321)[:, None] * b_sd
    u = np.linspace(-6, 6, 321) / np.sqrt(TAU)
    eta = b + u
    prior = stats.norm.logpdf(u, 0, TAU**-0.5)
    p = [np.exp(prior + log_p) for log_p in log_likelihoods(link, y, eta)]
    level = [q.sum(axis=1) for q in p]
    everything = np.prod(level, axis=0) * stats.norm.pdf(b[:, 0], 0, b_sd)
    mean, sd = np.empty(len(y)), np.empty(len(y))
    for i, q in enumerate(p):
        weights = (everything / level[i])[:, None] * q
        weights /= weights.sum()
        value = np.exp(eta) if link == "log" else special.expit(eta)
        mean[i] = np.sum(weights * value)
        sd[i] = np.sqrt(np.sum(weights * (value - mean[i]) ** 2))
    return mean, sd


def log_likelihoods(link, y, eta):
    if link == "log":
        return [stats.poisson.logpmf(v, np.exp(eta)) for v in y]
    return [stats.binom.logpmf(v, 12, special.expit(eta)) for v in y]


@pytest.mark.parametrize("link", ["log", "logit"])
def test_inverse_link_of_a_row(link):
    y = np.array([3, 9, 5, 7, 4, 6, 11, 5])
    formula = {"response": "y", "random": [{**EFFECT, "id": "unit", "values": None}]}
    family, options = ("poisson", {}) if link == "log" else ("binomial", {"Ntrials": 12})
    result = inla(
        formula,
        family,
        {"y": y, "unit": np.arange(8)},
        control_fixed={"prec.intercept": 1.0},
        strategy="quadrature",
        draws=10,
        chains=1,
        progressbar=False,
        **options,
    )
    mean, sd = exact_moments(link, y)
    table = result.summary_fitted_values
    # moments of eta are those to first order in the uncertainty of the intercept
    np.testing.assert_allclose((table["mean"] - mean) / sd, 0, atol=0.03)
    np.testing.assert_allclose(table["sd"] / sd, 1, atol=0.03)
    inverse = np.exp if link == "log" else special.expit
    for column in ("0.025quant", "0.5quant", "0.975quant"):
        np.testing.assert_allclose(table[column], inverse(result.summary_linear_predictor[column]), rtol=1e-12)
    assert np.all(table["mode"] < table["mean"]) if link == "log" else np.all(np.isfinite(table["mode"]))


def test_rows_of_a_large_model(monkeypatch):
    """Without stored densities the tables are those of skew normals."""
    formula = {"response": "y", "random": [{**EFFECT, "values": None}]}
    data = {"y": RNG.poisson(4.0, N), "g": DATA["g"]}
    options = {"draws": 10, "chains": 1, "random_seed": 1, "progressbar": False}
    small = inla(formula, "poisson", data, **options)
    monkeypatch.setattr("pymc_inla.inference.run.KEEP_DENSITIES", 5)
    monkeypatch.setattr("pymc_inla.inference.latent_marginals.KEEP_DENSITIES", 5)
    large = inla(formula, "poisson", data, **options)
    for name in ("summary_linear_predictor", "summary_fitted_values"):
        a, b = getattr(small, name), getattr(large, name)
        sd = a["sd"].to_numpy()[:, None]
        # no hyperparameter is free, so both are one skew normal; moments from quantiles and 41 points differ
        np.testing.assert_allclose((a - b)[list(COLUMNS)] / sd, 0, atol=0.02)
    assert large.marginals_fixed == {}
    assert large.marginals_random == {}
