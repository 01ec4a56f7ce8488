"""The meaning of every key against dense conditioning of a Gaussian model at fixed precisions.

    y | b, u ~ N(offset + X b + Z u, 1/2),  u ~ N(0, (tau I + diagonal I)^-1) given A u = e,  tau = 3, b flat

Z is written row by row from the definition of each key; nothing of the package enters.
"""

import numpy as np
import pandas as pd
import pytest

from pymc_inla import inla

NOISE, TAU = 2.0, 3.0
ROWS = 24
RNG = np.random.default_rng(3)
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=ROWS),
        "x": RNG.normal(size=ROWS),
        "z": RNG.normal(size=ROWS),
        "g": RNG.integers(1, 5, size=ROWS),
        "h": RNG.integers(1, 5, size=ROWS),
        "rep": RNG.integers(1, 4, size=ROWS),
        "week": RNG.integers(1, 3, size=ROWS),
    }
)
DATA.loc[:3, "g"] = [1, 2, 3, 4]
W = RNG.uniform(0.5, 1.5, size=ROWS)
FIXED = {"initial": np.log(TAU), "fixed": True}


def fit(effects, data=DATA, **options):
    formula = {"response": "y", "random": effects, **options.pop("formula", {})}
    noise = {"hyper": [{"initial": np.log(NOISE), "fixed": True}]}
    return inla(formula, "gaussian", data, control_family=noise, progressbar=False, random_seed=1, draws=50, **options)


def dense(Z, *, X=None, y=None, offset=0.0, diagonal=0.0, A=None, e=None, Q=None):
    """Posterior means and sds of b and u, by the normal equations and conditioning on A u = e."""
    y = DATA["y"].to_numpy() if y is None else y
    X = np.ones((ROWS, 1)) if X is None else X
    observed = ~np.isnan(y)
    D = np.column_stack([X, Z])[observed]
    prior = np.zeros(D.shape[1])
    prior[X.shape[1] :] = TAU + diagonal
    if X.shape[1] > 1:
        prior[1 : X.shape[1]] = 0.001
    P = np.diag(prior) + NOISE * D.T @ D
    if Q is not None:
        P[X.shape[1] :, X.shape[1] :] += Q - (TAU + diagonal) * np.eye(Z.shape[1])
    S = np.linalg.inv(P)
    m = S @ (NOISE * D.T @ (y - offset)[observed])
    if A is not None:
        C = np.column_stack([np.zeros((len(A), X.shape[1])), A])
        K = S @ C.T @ np.linalg.inv(C @ S @ C.T)
        m, S = m - K @ (C @ m - e), S - K @ C @ S
    p = X.shape[1]
    sd = np.sqrt(np.clip(np.diag(S), 0, None))
    return m[:p], sd[:p], m[p:], sd[p:]


def incidence(level, weight=None, size=4):
    """Row i has its weight at its level (one-based); none where either is missing."""
    Z = np.zeros((ROWS, size))
    for i, label in enumerate(level):
        w = 1.0 if weight is None else weight[i]
        if not (np.isnan(label) or np.isnan(w)):
            Z[i, int(label) - 1] = w
    return Z


def check(result, expected, name="g"):
    """Exact up to the integration of nothing: no hyperparameter is free."""
    fixed, random = result.summary_fixed, result.summary_random[name]
    for found, value in zip((fixed["mean"], fixed["sd"], random["mean"], random["sd"]), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=2e-5)


def holes(values, *rows):
    values = np.asarray(values, float).copy()
    values[list(rows)] = np.nan
    return values


def test_id():
    check(fit([{"id": "g", "model": "iid", **FIXED}]), dense(incidence(DATA["g"])))


def test_missing_index():
    data = DATA.assign(g=holes(DATA["g"], 5, 9))
    check(fit([{"id": "g", "model": "iid", **FIXED}], data), dense(incidence(data["g"])))


@pytest.mark.parametrize("label", [None, "NA"])
def test_missing_string_index(label):
    missing = pd.NA if label == "NA" else None
    data = DATA.assign(g=[f"level {v}" if i not in (5, 9) else missing for i, v in enumerate(DATA["g"])])
    result = fit([{"id": "g", "model": "iid", **FIXED}], data)
    check(result, dense(incidence(holes(DATA["g"], 5, 9))))
    assert list(result.summary_random["g"]["ID"]) == ["level 1", "level 2", "level 3", "level 4"]


def test_categories_keep_their_order():
    data = DATA.assign(g=pd.Categorical(DATA["g"], categories=[4, 3, 2, 1, 7]))
    result = fit([{"id": "g", "model": "iid", **FIXED}], data)
    assert list(result.summary_random["g"]["ID"]) == [4, 3, 2, 1, 7]
    check(result, dense(incidence(5 - DATA["g"], size=5)))


def test_weights():
    check(fit([{"id": "g", "model": "iid", "weights": W, **FIXED}]), dense(incidence(DATA["g"], W)))


def test_missing_and_negative_weights():
    weights = holes(-W, 2, 7)
    check(fit([{"id": "g", "model": "iid", "weights": weights, **FIXED}]), dense(incidence(DATA["g"], weights)))


def test_one_level_with_weights_is_a_slope():
    data = DATA.assign(one=1)
    result = fit([{"id": "one", "model": "iid", "weights": data["x"].to_numpy(), **FIXED}], data)
    check(result, dense(data[["x"]].to_numpy()), "one")


def test_values_order_and_unobserved_levels():
    values = [9, 4, 3, 2, 1]
    result = fit([{"id": "g", "model": "iid", "values": values, "n": 5, **FIXED}])
    assert list(result.summary_random["g"]["ID"]) == values
    check(result, dense(incidence([values.index(v) + 1 for v in DATA["g"]], size=5)))
    # a level without data keeps its prior
    assert result.summary_random["g"]["sd"][0] == pytest.approx(TAU**-0.5, abs=1e-5)


def test_id_names():
    names = ["A", "B", "C", "D"]
    result = fit([{"id": "g", "model": "iid", "id_names": names, **FIXED}])
    assert list(result.summary_random["g"]["ID"]) == names
    check(result, dense(incidence(DATA["g"])))


def test_diagonal():
    result = fit([{"id": "g", "model": "iid", "diagonal": 0.7, **FIXED}])
    check(result, dense(incidence(DATA["g"]), diagonal=0.7))


def test_constr():
    result = fit([{"id": "g", "model": "iid", "constr": True, **FIXED}])
    check(result, dense(incidence(DATA["g"]), A=np.ones((1, 4)), e=np.zeros(1)))


@pytest.mark.parametrize("with_constr", [False, True])
def test_extraconstr(with_constr):
    row = np.array([1.0, -2.0, 0.5, 3.0])
    keys = {"extraconstr": {"A": row, "e": [0.4]}, "constr": with_constr}
    A, e = row[None], np.array([0.4])
    if with_constr:
        A, e = np.vstack([A, np.ones(4)]), np.array([0.4, 0.0])
    check(fit([{"id": "g", "model": "iid", **keys, **FIXED}]), dense(incidence(DATA["g"]), A=A, e=e))


def test_replicate():
    """Position (r - 1) n + i - 1; replicates are independent copies."""
    result = fit([{"id": "g", "model": "iid", "replicate": DATA["rep"].to_numpy(), "nrep": 4, **FIXED}])
    flat = (DATA["rep"] - 1) * 4 + DATA["g"]
    check(result, dense(incidence(flat, size=16)))
    assert list(result.summary_random["g"]["ID"]) == [1, 2, 3, 4] * 4


def test_constr_holds_per_replicate():
    result = fit([{"id": "g", "model": "iid", "replicate": DATA["rep"].to_numpy(), "constr": True, **FIXED}])
    flat = (DATA["rep"] - 1) * 4 + DATA["g"]
    A = np.kron(np.eye(3), np.ones((1, 4)))
    check(result, dense(incidence(flat, size=12), A=A, e=np.zeros(3)))


def test_independent_groups():
    """Position (r - 1) n m + (g - 1) n + i - 1."""
    result = fit(
        [
            {
                "id": "g",
                "model": "iid",
                "group": DATA["week"].to_numpy(),
                "replicate": DATA["rep"].to_numpy(),
                "control.group": {"model": "iid"},
                **FIXED,
            }
        ]
    )
    flat = (DATA["rep"] - 1) * 8 + (DATA["week"] - 1) * 4 + DATA["g"]
    check(result, dense(incidence(flat, size=24)))


def test_autoregressive_groups():
    """u[., i] over groups is a stationary AR(1) of variance 1/tau, here with rho = 2 logit^-1(1) - 1."""
    control = {"model": "ar1", "hyper": {"initial": 1.0, "fixed": True}}
    week = RNG.integers(1, 4, size=ROWS)
    result = fit([{"id": "g", "model": "iid", "group": week, "ngroup": 3, "control.group": control, **FIXED}])
    rho = 2 / (1 + np.exp(-1.0)) - 1
    R = rho ** np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    Q = np.linalg.inv(np.kron(R, np.eye(4)) / TAU)
    check(result, dense(incidence((week - 1) * 4 + DATA["g"], size=12), Q=Q))


def scaled(R):
    """Generalized variance one (Sorbye & Rue 2014)."""
    return R * np.exp(np.mean(np.log(np.diag(np.linalg.pinv(R, rcond=1e-10, hermitian=True)))))


def walk(order, m=4):
    D = np.diff(np.eye(m), order, axis=0)
    return scaled(D.T @ D)


NEIGHBORS = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 0]])
GROUPS = {
    "exchangeable": ({"hyper": {"initial": 0.8, "fixed": True}}, np.expm1(0.8) / (np.exp(0.8) + 3)),
    "exchangeablepos": ({"hyper": {"initial": 0.8, "fixed": True}}, 1 / (1 + np.exp(-0.8))),
    "rw1": ({}, walk(1)),
    "rw2": ({}, walk(2)),
    "besag": ({"graph": NEIGHBORS}, scaled(np.diag(NEIGHBORS.sum(axis=0)) - NEIGHBORS)),
}


@pytest.mark.parametrize("model", GROUPS)
def test_group_models(model):
    """Q_group (x) tau I without an intercept, which the intrinsic ones hold."""
    keys, Q_group = GROUPS[model]
    if np.ndim(Q_group) == 0:
        Q_group = np.linalg.inv((1 - Q_group) * np.eye(4) + Q_group * np.ones((4, 4)))
    rng = np.random.default_rng(4)
    # every level in every group at least once, so that the null space is determined
    data = pd.DataFrame({"y": rng.normal(size=32), "g": np.tile([1, 2, 3, 4], 8), "week": np.repeat([1, 2, 3, 4], 8)})
    effect = {"id": "g", "model": "iid", "group": "week", "control.group": {"model": model, **keys}, **FIXED}
    result = fit([effect], data, formula={"fixed": ["0"]})
    Z = np.eye(16)[(data["week"] - 1) * 4 + data["g"] - 1]
    S = np.linalg.inv(np.kron(TAU * Q_group, np.eye(4)) + NOISE * Z.T @ Z)
    table = result.summary_random["g"]
    np.testing.assert_allclose(table["mean"], S @ (NOISE * Z.T @ data["y"].to_numpy()), atol=2e-5)
    np.testing.assert_allclose(table["sd"], np.sqrt(np.diag(S)), atol=2e-5)


def test_copy():
    effects = [{"id": "g", "model": "iid", **FIXED}, {"id": "h", "model": "iid", "copy": "g"}]
    check(fit(effects), dense(incidence(DATA["g"]) + incidence(DATA["h"])))


def test_copy_with_given_multiplier_and_weights():
    effects = [
        {"id": "g", "model": "iid", **FIXED},
        {"id": "h", "model": "iid", "copy": "g", "initial": -0.6, "weights": W},
    ]
    result = fit(effects)
    m, sd, u, s = dense(incidence(DATA["g"]) - 0.6 * incidence(DATA["h"], W))
    check(result, (m, sd, u, s))
    check(result, (m, sd, -0.6 * u, 0.6 * s), "h")
    # densities of the copy are those of the source, mirrored
    density = result.marginals_random["h"][0]
    assert np.all(np.diff(density["x"]) > 0)
    assert np.trapezoid(density["y"], density["x"]) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(density["x"] * density["y"], density["x"]) == pytest.approx(-0.6 * u[0], abs=1e-3)


def test_vb_correct_leaves_exact_means():
    for nodes in (True, [0, 2]):
        result = fit([{"id": "g", "model": "iid", "vb.correct": nodes, **FIXED}])
        check(result, dense(incidence(DATA["g"])))


def test_fixed_effects_products_and_offset():
    offset = np.linspace(-1, 1, ROWS)
    X = np.column_stack([np.ones(ROWS), DATA["x"], DATA["z"], DATA["x"] * DATA["z"]])
    result = fit([{"id": "g", "model": "iid", **FIXED}], formula={"fixed": ["1", "x", "z", "x:z"]}, offset=offset)
    check(result, dense(incidence(DATA["g"]), X=X, offset=offset))
    assert list(result.summary_fixed.index) == ["(Intercept)", "x", "z", "x:z"]


@pytest.mark.parametrize("without", ["0", "-1", 0, -1])
def test_no_intercept(without):
    result = fit([{"id": "g", "model": "iid", **FIXED}], formula={"fixed": [without]})
    *_, mean, sd = dense(incidence(DATA["g"]), X=np.zeros((ROWS, 0)))
    np.testing.assert_allclose(result.summary_random["g"]["mean"], mean, atol=2e-5)
    np.testing.assert_allclose(result.summary_random["g"]["sd"], sd, atol=2e-5)
    assert len(result.summary_fixed) == 0


def test_control_fixed():
    result = fit(
        [],
        formula={"fixed": ["x", "z"]},
        control_fixed={"mean": {"x": 1.0}, "prec": {"x": 50.0, "default": 10.0}, "prec.intercept": 4.0},
    )
    X = np.column_stack([np.ones(ROWS), DATA["x"], DATA["z"]])
    P = np.diag([4.0, 50.0, 10.0]) + NOISE * X.T @ X
    mean = np.linalg.solve(P, NOISE * X.T @ DATA["y"].to_numpy() + [0.0, 50.0, 0.0])
    np.testing.assert_allclose(result.summary_fixed["mean"], mean, atol=2e-5)
    np.testing.assert_allclose(result.summary_fixed["sd"], np.sqrt(np.diag(np.linalg.inv(P))), atol=2e-5)


def test_missing_responses_are_predicted():
    data = DATA.assign(y=holes(DATA["y"], 4, 11))
    formula = {"response": "y", "random": [{"id": "g", "model": "iid", **FIXED}]}
    noise = {"hyper": [{"initial": np.log(NOISE), "fixed": True}]}
    result = inla(formula, data=data, control_family=noise, progressbar=False, random_seed=1, draws=2000, chains=2)
    Z = incidence(data["g"])
    check(result, dense(Z, y=data["y"].to_numpy()))
    assert list(result.predictive.index) == [4, 11]
    assert len(result.summary_fitted_values) == ROWS
    observed = ~np.isnan(data["y"].to_numpy())
    D = np.column_stack([np.ones(ROWS), Z])
    S = np.linalg.inv(np.diag([0.0, *[TAU] * 4]) + NOISE * D[observed].T @ D[observed])
    m = D @ S @ (NOISE * D[observed].T @ data["y"].to_numpy()[observed])
    v = np.einsum("ij,jk,ik->i", D, S, D)
    # 4000 draws: four Monte Carlo standard errors of a mean are 6 % of a sd, those of a sd 5 %
    table = result.summary_linear_predictor
    np.testing.assert_allclose((table["mean"] - m) / np.sqrt(v), 0, atol=0.065)
    np.testing.assert_allclose(table["sd"] / np.sqrt(v), 1, atol=0.05)
    spread = np.sqrt(v[~observed] + 1 / NOISE)
    np.testing.assert_allclose((result.predictive["mean"] - m[~observed]) / spread, 0, atol=0.065)
    np.testing.assert_allclose(result.predictive["sd"] / spread, 1, atol=0.05)
    assert np.all(np.isnan(result.cpo.loc[[4, 11], "cpo"]))
    assert not np.any(np.isnan(result.cpo.loc[observed, "cpo"]))


def test_debug_says_what_the_effect_does(caplog):
    fit([{"id": "g", "model": "iid", "debug": True, **FIXED}])
    assert "g: 4 levels, 1 replicates, 1 groups" in caplog.text


@pytest.mark.parametrize(("family", "options"), [("poisson", {}), ("bernoulli", {}), ("binomial", {"Ntrials": 4})])
def test_missing_counts_are_predicted(family, options):
    """A missing response is no number that an integer could hold."""
    y = np.tile([0.0, 1.0, 1.0, np.nan], 6)
    result = inla(
        {"response": "y", "random": [{"id": "g", "model": "iid", **FIXED}]},
        family,
        {"y": y, "g": DATA["g"]},
        progressbar=False,
        random_seed=1,
        draws=200,
        chains=1,
        **options,
    )
    assert list(result.predictive.index) == list(range(3, 24, 4))
    assert np.all(np.isfinite(result.summary_fitted_values))
    # what is predicted has the mean of the fitted value; 200 draws, four standard errors
    mean = result.summary_fitted_values["mean"].to_numpy()[3::4] * options.get("Ntrials", 1)
    error = 4 * result.predictive["sd"] / np.sqrt(200)
    assert np.all(np.abs(result.predictive["mean"] - mean) < error)
