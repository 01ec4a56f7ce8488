"""Rows of an effect: labels to positions, missing labels and weights, replicates and groups, data that change."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from pytensor.compile.mode import Mode

import pymc_inla as pmi

MODE = Mode(linker="py", optimizer=None)
U = np.array([10.0, 20.0, 30.0])


def rows(effect_options, *args, u=U, **kwargs):
    """Contribution of the rows for known values of the effect."""
    with pm.Model():
        effect = pmi.IID("u", **effect_options)
        projected = pmi.project(effect, *args, **kwargs)
    return pytensor.function([effect], projected, mode=MODE)(np.asarray(u, float))


@pytest.mark.parametrize(
    "index",
    [
        [1, 2, 3, 1],
        [0, 1, 2, 0],
        [5, 10, 15, 5],
        [-7, 0, 3, -7],
        np.array([1.0, 2.0, 3.0, 1.0]),
        ["a", "b", "c", "a"],
        pd.Series(["a", "b", "c", "a"], index=[9, 8, 7, 6]),
        pd.Categorical(["z", "m", "a", "z"], categories=["z", "m", "a"]),
        pd.Series(pd.array([1, 2, 3, 1], dtype="Int64")),
        pd.to_datetime(["2020-01-01", "2020-01-02", "2021-01-01", "2020-01-01"]),
    ],
    ids=lambda index: type(index).__name__,
)
def test_labels_are_sorted_or_in_the_order_of_categories(index):
    assert rows({"n": 3}, index).tolist() == [10, 20, 30, 10]


@pytest.mark.parametrize(
    "index",
    [
        [1, np.nan, 3, np.nan, 2],
        ["a", None, "c", None, "b"],
        pd.Series(pd.array([1, pd.NA, 3, pd.NA, 2], dtype="Int64")),
        pd.Series(["a", np.nan, "c", None, "b"], dtype="category"),
    ],
    ids=["nan", "none", "na", "category"],
)
def test_a_missing_label_contributes_nothing(index):
    assert rows({"n": 3}, index).tolist() == [10, 0, 30, 0, 20]


def test_explicit_values_keep_their_order_and_reserve_levels():
    assert rows({"n": 3}, [7, 5], values=[7, 6, 5]).tolist() == [10, 30]
    assert rows({"values": ["b", "a", "c"]}, ["a", "b"]).tolist() == [20, 10]
    assert rows({"values": [3, 1, 2], "n": 3}, [1, np.nan, 3]).tolist() == [20, 0, 10]


def test_a_categorical_index_is_read_by_label_when_the_effect_has_levels():
    index = pd.Categorical(["a", "b"], categories=["c", "b", "a"])
    assert rows({"values": ["a", "b", "c"]}, index).tolist() == [10, 20]


def test_unused_categories_are_levels():
    index = pd.Categorical(["a", "c"], categories=["a", "b", "c"])
    assert rows({"n": 3}, index).tolist() == [10, 30]


def test_weights_scale_rows_and_missing_ones_drop_them():
    assert rows({"n": 3}, [1, 2, 3, 1], weights=[0.5, np.nan, -2, 0]).tolist() == [5, 0, -60, 0]
    assert rows({"n": 3}, [1, np.nan, 3, 2], weights=[1, 2, 3, None]).tolist() == [10, 0, 90, 0]
    assert rows({"n": 1}, [1, 1], weights=[2.5, 3], u=[10.0]).tolist() == [25, 30]


def test_replicate_and_group_select_slices():
    u = np.arange(24.0).reshape(2, 4, 3)
    options = {"n": 3, "nrep": 2, "ngroup": 4}
    found = rows(options, [1, 2, 3, 1], u=u, replicate=[1, 2, 1, 2], group=[4, 1, 2, 4])
    assert found.tolist() == [u[0, 3, 0], u[1, 0, 1], u[0, 1, 2], u[1, 3, 0]]
    only = rows({"n": 3, "nrep": 2}, [1, 2, 3], u=u[0, :2], replicate=pd.Series([2.0, 1.0, 2.0]))
    assert only.tolist() == [u[0, 1, 0], u[0, 0, 1], u[0, 1, 2]]
    # of a row without contribution nothing is asked
    assert rows({"n": 2, "nrep": 2}, [1, np.nan, 2], u=u[0, :2, :2], replicate=[2, np.nan, 1]).tolist() == [3, 0, 1]


def test_data_containers_hold_positions_and_can_change():
    with pm.Model() as model:
        index = pm.Data("index", np.array([0, 2, 1]))
        weights = pm.Data("weights", np.array([1.0, 2.0, 3.0]))
        effect = pmi.IID("u", 3)
        pm.Deterministic("eta", pmi.project(effect, index, weights=weights))
    f = pytensor.function([model["u"]], model["eta"], mode=MODE)
    assert f(U).tolist() == [10, 60, 60]
    with model:
        pm.set_data({"index": np.array([2, 2]), "weights": np.array([1.0, 10.0])})
    assert f(U).tolist() == [30, 300]


def test_prediction_for_new_rows_after_set_data():
    rng = np.random.default_rng(0)
    g = rng.integers(0, 3, 30)
    with pm.Model() as model:
        index = pm.Data("index", g)
        effect = pmi.IID("u", 3, initial=0.0, fixed=True)
        mu = pm.Deterministic("mu", 1.0 + pmi.project(effect, index))
        pm.Normal("y", mu, 1.0, observed=rng.normal(size=30) + g, shape=mu.shape)
    idata = pmi.fit(model, draws=50, chains=1, random_seed=1, progressbar=False)
    with model:
        pm.set_data({"index": np.array([2])})
        predicted = pm.sample_posterior_predictive(idata, var_names=["mu"], random_seed=1, progressbar=False)
    mu = predicted.predictions["mu"] if "predictions" in predicted.children else predicted.posterior_predictive["mu"]
    np.testing.assert_allclose(mu.to_numpy()[0, :, 0], 1.0 + idata.posterior["u"].to_numpy()[0, :, 2], rtol=1e-12)


def test_a_plain_variable_can_be_projected():
    with pm.Model():
        v = pm.Normal("v", 0, 1, shape=3)
        projected = pmi.project(v, ["a", "c", "b"])
    assert pytensor.function([v], projected, mode=MODE)(U).tolist() == [10, 30, 20]


def test_levels_become_coordinates():
    with pm.Model() as model:
        pmi.IID("u", values=["x", "y"], nrep=2)
        pmi.IID("v", 2, id_names=["Anna", "Bert"])
        pmi.IID("w", 2)
    assert model.coords["u_level"] == ("x", "y")
    assert tuple(model.coords["u_replicate"]) == (1, 2)
    assert model.coords["v_level"] == ("Anna", "Bert")
    assert tuple(model.coords["w_level"]) == (0, 1)
    assert model.named_vars_to_dims["u"] == ("u_replicate", "u_level")


def test_dims_of_the_model_name_the_levels():
    with pm.Model(coords={"school": ["n", "m"]}):
        effect = pmi.IID("u", dims="school")
        projected = pmi.project(effect, ["m", "n", "m"])
    assert pytensor.function([effect], projected, mode=MODE)(U[:2]).tolist() == [20, 10, 20]


def test_copies_share_the_effect():
    with pm.Model() as model:
        effect = pmi.IID("u", values=["a", "b", "c"])
        same, twice = pmi.copy(effect), pmi.copy(effect, beta=2.0)
        free = pmi.copy(effect, "c", beta="estimate", range=(0, None))
        outputs = [pmi.project(e, ["c", "a"]) for e in (same, twice, free)]
    found = pytensor.function([effect, model["c_beta"]], outputs, mode=MODE)(U, 3.0)
    assert [f.tolist() for f in found] == [[30, 10], [60, 20], [90, 30]]


def test_the_prior_of_beta():
    from scipy import stats

    with pm.Model():
        effect = pmi.IID("u", 3)
        pmi.copy(effect, "c", beta="estimate")
        pmi.copy(effect, "d", beta="estimate", range=(0.5, 2))
        free, bounded = pm.modelcontext(None)["c_beta"], pm.modelcontext(None)["d_beta"]
    sd = 1 / np.sqrt(10)
    for x in (0.7, 1.4):
        expected = stats.norm.logpdf(x, 1, sd)
        assert float(pytensor.function([], pm.logp(free, x), mode=MODE)()) == pytest.approx(expected, rel=1e-10)
        truncated = expected - np.log(stats.norm.cdf(2, 1, sd) - stats.norm.cdf(0.5, 1, sd))
        assert float(pytensor.function([], pm.logp(bounded, x), mode=MODE)()) == pytest.approx(truncated, rel=1e-8)
