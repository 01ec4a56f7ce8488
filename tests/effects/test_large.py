"""Effects with many levels stay sparse: counted, not timed."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model


@pytest.fixture(scope="module")
def large():
    """1e5 levels under the sum-to-zero constraint and one more row."""
    n = 100_000
    rng = np.random.default_rng(1)
    g = np.concatenate([np.arange(n), rng.integers(0, n, n)])
    A = rng.normal(size=(1, n))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10.5)
        u = pmi.IID("u", n, constr=True, extraconstr={"A": A, "e": [2.0]}, initial=0.3, fixed=True)
        pm.Normal("y", b + pmi.project(u, g), 1.1, observed=0.7 + 0.9 * rng.normal(size=n)[g] + rng.normal(size=2 * n))
    return model, A, g


def test_a_hundred_thousand_constrained_levels(large):
    model, A, g = large
    n = A.shape[1]
    idata = pmi.fit(model, draws=4, chains=1, random_seed=1, progressbar=False, criteria=False)
    u = idata.posterior["u"].to_numpy()[0]
    # rounding of sums of 1e5 terms, relative to the sum of their sizes
    assert np.max(np.abs(u.sum(axis=1)) / np.abs(u).sum(axis=1)) < 1e-14
    assert np.max(np.abs(u @ A[0] - 2.0) / np.abs(u * A[0]).sum(axis=1)) < 1e-14
    # the exact posterior mean: given b the precision of u is diagonal, and conditioning on C u = e shifts u along V C'
    tau, w = np.exp(0.3), 1 / 1.1**2
    y, counts = model.rvs_to_values[model["y"]].data, np.bincount(g, minlength=n)
    sums = np.bincount(g, y, minlength=n)
    C = np.vstack([np.ones(n), A])
    V = 1 / (tau + w * counts)
    # three unknowns: b and two multipliers
    m0, m1 = V * w * sums, -V * w * counts  # E u = m0 + m1 b + V C' multipliers
    lhs = np.zeros((3, 3))
    rhs = np.zeros(3)
    lhs[:2, 0], lhs[:2, 1:] = C @ m1, (C * V) @ C.T
    rhs[:2] = [0.0, 2.0] - C @ m0
    lhs[2, 0] = 1 / 10.5**2 + w * len(g) + w * counts @ m1
    lhs[2, 1:] = w * (C * V) @ counts
    rhs[2] = w * (y.sum() - counts @ m0)
    b, *multipliers = np.linalg.solve(lhs, rhs)
    mean = m0 + m1 * b + V * (C.T @ multipliers)
    found = idata["inla"]["latent_marginals"]
    assert float(found["b"].sel(statistic="mean")) == pytest.approx(b, rel=1e-7)
    np.testing.assert_allclose(found["u"].sel(statistic="mean"), mean, rtol=1e-6, atol=1e-8)


def test_the_constrained_prior_is_diagonal(large):
    functions = compile_model(analyze_model(large[0]))
    n = functions.n_x - 1
    assert functions.Q_pattern.nnz == n + 1
    assert functions.C.shape == (2, n + 1)
    assert functions.C.nnz == 2 * n


def test_free_coordinates_take_no_square_matrix(large):
    """The transform holds k vectors of length n, and its log density has a gradient of length n - k."""
    model, _, _ = large
    structure = model["u"].owner.op.structure
    assert structure.null_space.V.shape == (structure.n, 2)
    assert model.initial_point()["u_surface__"].shape == (structure.n - 2,)


@pytest.mark.parametrize(
    "control_group, per_row",
    [({"model": "ar1"}, 3), ({"model": "ar", "order": 2}, 5), ({"model": "rw2"}, 5), ({"model": "exchangeable"}, 40)],
    ids=lambda value: str(value),
)
def test_the_band_of_the_group_model_survives(control_group, per_row):
    n, m = 30, 40
    level, week = np.tile(np.arange(n), m), np.repeat(np.arange(1, m + 1), n)
    with pm.Model() as model:
        u = pmi.IID("u", n, ngroup=m, control_group=control_group)
        pm.Normal("y", pmi.project(u, level, group=week), 1.0, observed=np.zeros(n * m))
    functions = compile_model(analyze_model(model))
    rows = np.bincount(functions.Q_pattern.rows, minlength=n * m)
    assert rows.max() == per_row
    assert functions.A_pattern.nnz == n * m
