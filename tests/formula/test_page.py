"""Every snippet of pyINLA's page of the iid effect, with only the import and the function's name changed."""

import math

import numpy as np
import pandas as pd
import pytest

from pymc_inla import inla

pytestmark = pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")

COLUMNS = ["mean", "sd", "0.025quant", "0.5quant", "0.975quant", "mode"]
rng = np.random.default_rng(42)
n = 60
df = pd.DataFrame(
    {
        "y": rng.standard_normal(n),
        "x": rng.standard_normal(n),
        "group_id": rng.integers(1, 6, size=n),
    }
)
w = rng.uniform(0.5, 1.5, size=n)
df["rep_id"] = rng.integers(1, 4, size=n)
df["week"] = rng.integers(1, 5, size=n)
df["group2_id"] = rng.integers(1, 6, size=n)

# The changes to each snippet's {'id': 'group_id', 'model': 'iid'}, and the number of elements of the effect
SNIPPETS = {
    "id": ({}, 5),
    "hyper": ({"hyper": [{"prior": "pc.prec", "param": [1, 0.01], "initial": 2, "fixed": False}]}, 5),
    "n": ({"values": list(range(1, 11)), "n": 10}, 10),
    "constr": ({"constr": True}, 5),
    "initial": ({"initial": 2}, 5),
    "fixed": ({"initial": math.log(10), "fixed": True}, 5),
    "diagonal": ({"diagonal": 1e-4}, 5),
    "weights": ({"weights": w}, 5),
    "id_names": ({"id_names": ["A", "B", "C", "D", "E"]}, 5),
    "values": ({"values": [1, 2, 3, 4, 5]}, 5),
    "replicate": ({"nrep": 3, "replicate": df["rep_id"].values}, 15),
    "group": ({"group": df["week"].values, "ngroup": 4, "control.group": {"model": "ar1"}}, 20),
    "extraconstr": ({"extraconstr": {"A": np.ones((1, 5)), "e": np.zeros(1)}}, 5),
    "vb.correct": ({"vb.correct": True}, 5),
    "debug": ({"debug": True}, 5),
    "custom hyper": ({"hyper": [{"prior": "loggamma", "param": [1, 0.01], "initial": 2, "fixed": False}]}, 5),
    "loggamma": ({"hyper": [{"prior": "loggamma", "param": [1, 0.00005]}]}, 5),
    "pc.prec": ({"hyper": [{"prior": "pc.prec", "param": [0.5, 0.05]}]}, 5),
    "normal": ({"hyper": [{"prior": "normal", "param": [4, 1]}]}, 5),
    "expression": ({"hyper": [{"prior": "expression: -theta * theta / 2"}]}, 5),
    "table": ({"hyper": [{"prior": "table: -3 -1 1 3 | -4.5 -1.1 -1.1 -4.5"}]}, 5),
}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet(snippet):
    changes, size = SNIPPETS[snippet]
    formula = {"response": "y", "random": [{"id": "group_id", "model": "iid", **changes}]}
    result = inla(formula=formula, family="gaussian", data=df)
    assert list(result.summary_fixed.columns) == COLUMNS
    assert list(result.summary_fixed.index) == ["(Intercept)"]
    random = result.summary_random["group_id"]
    assert list(random.columns) == ["ID", *COLUMNS]
    assert len(random) == size
    labels = changes.get("id_names", changes.get("values", [1, 2, 3, 4, 5]))
    assert list(random["ID"])[: len(labels)] == list(labels)
    assert np.all(np.isfinite(random[COLUMNS]))
    assert list(result.summary_hyperpar.columns) == COLUMNS
    rows = ["Precision for the Gaussian observations", "Precision for group_id", "GroupRho for group_id"]
    expected = [rows[0]] if snippet == "fixed" else rows if snippet == "group" else rows[:2]
    assert list(result.summary_hyperpar.index) == expected
    if snippet in ("constr", "extraconstr"):
        draws = result.idata["posterior"]["group_id"]
        draws = draws.sum(draws.dims[-1])
        assert float(np.abs(draws).max()) < 1e-10
        assert abs(random["mean"].sum()) < 1e-8


def test_copy():
    formula = {
        "response": "y",
        "random": [
            {"id": "group_id", "model": "iid"},
            {"id": "group2_id", "model": "iid", "copy": "group_id"},
        ],
    }
    result = inla(formula=formula, family="gaussian", data=df)
    source, copied = result.summary_random["group_id"], result.summary_random["group2_id"]
    np.testing.assert_allclose(copied[COLUMNS], source[COLUMNS], atol=0)
    assert list(result.summary_hyperpar.index) == [
        "Precision for the Gaussian observations",
        "Precision for group_id",
    ]


def test_flat_prior_is_refused():
    """The page's snippet gives an improper posterior: p(y | tau) tends to a constant as tau grows."""
    formula = {"response": "y", "random": [{"id": "group_id", "model": "iid", "hyper": [{"prior": "flat"}]}]}
    with pytest.raises(ValueError, match="improper"):
        inla(formula=formula, family="gaussian", data=df)


def test_standard_deviation_from_the_table():
    formula = {"response": "y", "random": [{"id": "group_id", "model": "iid"}]}
    result = inla(formula=formula, family="gaussian", data=df)
    tau_mean = result.summary_hyperpar["mean"].values[0]
    sigma_mean = 1 / np.sqrt(tau_mean)
    assert sigma_mean == pytest.approx(df["y"].std(), rel=0.05)


@pytest.mark.parametrize(
    "index",
    [[1, 2, 3, 1, 2, 3], [5, 10, 15, 5, 10, 15], [0, 1, 2, 0, 1, 2], ["a", "b", "c", "a", "b", "c"]],
    ids=["consecutive", "gapped", "zero-based", "strings"],
)
def test_levels_are_sorted_labels(index):
    data = pd.DataFrame({"y": [0.1, 1.0, -1.0, 0.3, 1.4, -0.6], "idx": index})
    formula = {"response": "y", "random": [{"id": "idx", "model": "iid", "initial": 0, "fixed": True}]}
    result = inla(formula, data=data)
    assert list(result.summary_random["idx"]["ID"]) == sorted(set(index))
    # levels are ordered as the data: c below a below b
    assert list(np.argsort(result.summary_random["idx"]["mean"])) == [2, 0, 1]
