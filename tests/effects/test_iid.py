"""Every option of the iid effect: exact posterior and evidence of a Gaussian model by dense conditioning."""

import dense
import numpy as np
import pymc as pm
import pytest
from scipy import sparse

import pymc_inla as pmi

# numbers that single precision cannot hold, which PyTensor therefore computes with in double precision
n, SIGMA, TAU, PRIOR_SD = 4, 0.6, 1.9, 3.1
RHO_T = 0.8
GRAPH = np.array([[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]])
EXCHANGEABLE = np.expm1(RHO_T) / (np.exp(RHO_T) + 3)
POSITIVE = 1 / (1 + np.exp(-RHO_T))
AR1 = 2 / (1 + np.exp(-RHO_T)) - 1
A = np.array([[1.0, 0, 2, -1], [0.5, 1, 0, 0]])
E = np.array([0.4, -0.2])
ROWS = (np.zeros((0, n)), np.zeros(0))
ONES = np.ones((1, n))


def group(model, **other):
    return {"ngroup": 4, "control_group": {"model": model, "hyper": {"initial": RHO_T, "fixed": True}, **other}}


def intrinsic(model, **other):
    return {"ngroup": 4, "control_group": {"model": model, **other}}


I1, I4 = np.eye(1), np.eye(4)
# options of IID -> (Q_group, replicates, diagonal, A, e)
CASES = {
    "plain": ({}, (I1, 1, 0.0, *ROWS)),
    "constr": ({"constr": True}, (I1, 1, 0.0, ONES, np.zeros(1))),
    "diagonal": ({"diagonal": 0.7}, (I1, 1, 0.7, *ROWS)),
    "one_row_list": ({"extraconstr": {"A": A[0].tolist()}}, (I1, 1, 0.0, A[:1], np.zeros(1))),
    "rows_sparse": ({"extraconstr": {"A": sparse.csr_array(A), "e": list(E)}}, (I1, 1, 0.0, A, E)),
    "fixed_level": (
        {"extraconstr": {"A": [[0, 1, 0, 0]], "e": [0.9]}},
        (I1, 1, 0.0, np.array([[0, 1.0, 0, 0]]), np.array([0.9])),
    ),
    "constr_rows": (
        {"constr": True, "extraconstr": {"A": A, "e": E}, "diagonal": 0.2},
        (I1, 1, 0.2, np.vstack([ONES, A]), np.array([0, *E])),
    ),
    "replicates": ({"nrep": 3}, (I1, 3, 0.0, *ROWS)),
    "replicates_constr_rows": (
        {"nrep": 2, "constr": True, "extraconstr": {"A": A[:1], "e": E[:1]}},
        (I1, 2, 0.0, np.vstack([ONES, A[:1]]), np.array([0, E[0]])),
    ),
    "exchangeable": ({**group("exchangeable")}, (dense.exchangeable(4, EXCHANGEABLE), 1, 0.0, *ROWS)),
    "exchangeable_everything": (
        {**group("exchangeable"), "nrep": 2, "constr": True, "extraconstr": {"A": A, "e": E}, "diagonal": 0.3},
        (dense.exchangeable(4, EXCHANGEABLE), 2, 0.3, np.vstack([ONES, A]), np.array([0, *E])),
    ),
    "exchangeablepos": ({**group("exchangeablepos")}, (dense.exchangeable(4, POSITIVE), 1, 0.0, *ROWS)),
    "ar1": ({**group("ar1")}, (dense.ar1(4, AR1), 1, 0.0, *ROWS)),
    "ar1_replicates_rows": (
        {**group("ar1"), "nrep": 2, "extraconstr": {"A": A, "e": E}},
        (dense.ar1(4, AR1), 2, 0.0, A, E),
    ),
    "ar1_cyclic": ({**group("ar1", cyclic=True)}, (dense.cyclic_ar1(4, AR1), 1, 0.0, *ROWS)),
    "ar2": ({**group("ar", order=2)}, (dense.ar2(4, [AR1, AR1]), 1, 0.0, *ROWS)),
    "rw1": (intrinsic("rw1"), (dense.scaled(dense.rw(4, 1)), 1, 0.0, *ROWS)),
    "rw1_diagonal": ({**intrinsic("rw1"), "diagonal": 0.05}, (dense.scaled(dense.rw(4, 1)), 1, 0.05, *ROWS)),
    "rw2_constr": ({**intrinsic("rw2"), "constr": True}, (dense.scaled(dense.rw(4, 2)), 1, 0.0, ONES, np.zeros(1))),
    "rw1_cyclic_unscaled": (
        intrinsic("rw1", cyclic=True, **{"scale.model": False}),
        (dense.cyclic_rw(4, 1), 1, 0.0, *ROWS),
    ),
    "besag": (intrinsic("besag", graph=GRAPH), (dense.scaled(dense.laplacian(GRAPH)), 1, 0.0, *ROWS)),
    "iid_group": (intrinsic("iid"), (I4, 1, 0.0, *ROWS)),
    "iid_group_precision": (
        {"ngroup": 4, "control_group": {"model": "iid", "hyper": {"initial": np.log(2.5)}}},
        (2.5 * I4, 1, 0.0, *ROWS),
    ),
}


def data(options):
    """Every level, group and replicate twice, in random order, with weights."""
    R, m = options.get("nrep", 1), options.get("ngroup", 1)
    rng = np.random.default_rng(5)
    rows = rng.permutation(np.repeat(np.arange(R * m * n), 2))
    replicate, g, level = np.unravel_index(rows, (R, m, n))
    weights = rng.uniform(0.5, 1.5, len(rows))
    y = rng.normal(size=len(rows))
    W = np.zeros((len(rows), R * m * n))
    W[np.arange(len(rows)), rows] = weights
    return {"replicate": replicate + 1, "group": g + 1}, level, weights, y, W


def build(options):
    axes, level, weights, y, W = data(options)
    with pm.Model() as model:
        b = pm.Normal("b", 0, PRIOR_SD)
        u = pmi.IID("u", n, initial=np.log(TAU), fixed=True, **options)
        pm.Normal("y", b + pmi.project(u, level, weights=weights, **axes), SIGMA, observed=y)
    return model, y, W


@pytest.mark.parametrize("case", CASES)
def test_posterior_and_evidence_are_those_of_dense_conditioning(case):
    options, (Q_group, replicates, diagonal, rows, e) = CASES[case]
    model, y, W = build(options)
    idata = pmi.fit(model, draws=100, chains=1, random_seed=1, progressbar=False, criteria=False)
    Q = dense.precision(n, Q_group, TAU, replicates=replicates, diagonal=diagonal)
    C, e_all = dense.constraints(rows, e, replicates * len(Q_group))
    mean, covariance, log_ml = dense.posterior(Q, C, e_all, W, y, SIGMA, PRIOR_SD)
    found = idata["inla"]["latent_marginals"]["u"]
    shape = tuple(s for s in (replicates, len(Q_group)) if s > 1) + (n,)
    assert found.sel(statistic="mean").shape == shape
    # everything is exact: linear algebra of order 40 with condition numbers up to 1e4
    np.testing.assert_allclose(found.sel(statistic="mean").to_numpy().ravel(), mean, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(
        found.sel(statistic="sd").to_numpy().ravel(), np.sqrt(np.diag(covariance)), rtol=1e-7, atol=1e-9
    )
    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(log_ml, rel=1e-9)
    draws = idata.posterior["u"].to_numpy().reshape(100, -1)
    assert np.max(np.abs(draws @ C.T - e_all), initial=0.0) < 1e-10


def test_precision_and_correlations_carry_their_names():
    model, _, _ = build({**group("ar1")})
    assert {"u_tau", "u_rho"} <= set(model.named_vars)
    model, _, _ = build({**group("ar", order=2)})
    assert "u_pacf" in model.named_vars
    with pm.Model() as model:
        pmi.IID("u", 3)
        assert type(model["u"].owner.op).__name__ == "NormalRV"
        assert "u_tau" in {rv.name for rv in model.free_RVs}


def test_the_default_precision_starts_at_log_tau_4():
    with pm.Model() as model:
        pmi.IID("u", 3)
    assert model.initial_point()["u_tau_log__"] == pytest.approx(4.0)
