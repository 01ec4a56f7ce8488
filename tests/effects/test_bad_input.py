"""Bad input is refused when the model is written, with what was found, what is allowed and what to do."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.errors import InvalidDataError, InvalidOptionError

ROW = [1.0, 0, 0, 0]
IID = [
    ({}, InvalidOptionError, "u: the number of levels is unknown"),
    ({"n": 0}, InvalidOptionError, "n=0 is not allowed; it is an integer of at least 1"),
    ({"n": 2.5}, InvalidOptionError, "n=2.5 is not allowed"),
    ({"n": True}, InvalidOptionError, "n=True is not allowed"),
    ({"n": 4, "nrep": 0}, InvalidOptionError, "nrep=0 is not allowed"),
    ({"n": 4, "ngroup": -1}, InvalidOptionError, "ngroup=-1 is not allowed"),
    ({"n": 4, "values": [1, 2, 3]}, InvalidDataError, "n gives 4, values gives 3"),
    ({"n": 4, "id_names": ["a"]}, InvalidDataError, "n gives 4, id_names gives 1"),
    ({"id_names": ["a", "a"]}, InvalidDataError, "id_names must be unique"),
    ({"values": [1, 2, 2]}, InvalidDataError, "values must be unique; 2 appear more than once"),
    ({"values": [1, None]}, InvalidDataError, "missing label at position 1"),
    ({"values": []}, InvalidDataError, "values is empty"),
    ({"n": 4, "dims": ("a", "b")}, InvalidOptionError, "must name the 1 axes of the effect: level"),
    ({"n": 4, "nrep": 2, "dims": "a"}, InvalidOptionError, "the 2 axes of the effect: replicate, level"),
    ({"n": 4, "initial": np.nan}, InvalidOptionError, "initial=nan is not allowed"),
    ({"n": 4, "fixed": "yes"}, InvalidOptionError, "fixed='yes' is not allowed; it is True or False"),
    ({"n": 4, "constr": 1}, InvalidOptionError, "constr=1 is not allowed; it is True or False"),
    ({"n": 4, "diagonal": -1e-3}, InvalidOptionError, "diagonal=-0.001 is not allowed"),
    ({"n": 4, "extraconstr": np.ones(4)}, InvalidOptionError, "extraconstr is a dict"),
    ({"n": 4, "extraconstr": {"a": ROW}}, InvalidOptionError, r"extraconstr is a dict .* found \['a'\]"),
    ({"n": 4, "extraconstr": {"A": ROW, "b": 1}}, InvalidOptionError, r"found \['A', 'b'\]"),
    ({"n": 4, "extraconstr": {"A": [1.0, 2]}}, InvalidOptionError, r"shape \(1, 2\); .* \(k, 4\)"),
    ({"n": 4, "extraconstr": {"A": np.ones((1, 1, 4))}}, InvalidOptionError, r"shape \(1, 1, 4\)"),
    ({"n": 4, "extraconstr": {"A": np.zeros((0, 4))}}, InvalidOptionError, r"shape \(0, 4\)"),
    ({"n": 4, "extraconstr": {"A": [["x"] * 4]}}, InvalidOptionError, "not an array of numbers"),
    ({"n": 4, "extraconstr": {"A": ROW, "e": [1, 2]}}, InvalidOptionError, r"\['e'\] has shape \(2,\); A has 1 rows"),
    ({"n": 4, "extraconstr": {"A": [0, 0, 0, 0]}}, InvalidDataError, "row 0 of extraconstr is zero"),
    ({"n": 4, "extraconstr": {"A": [ROW, [1, np.nan, 0, 0]]}}, InvalidDataError, "row 1 of extraconstr holds NaN"),
    ({"n": 4, "extraconstr": {"A": ROW, "e": np.inf}}, InvalidDataError, "row 0 of extraconstr holds NaN or inf"),
    (
        {"n": 4, "constr": True, "extraconstr": {"A": [2.0] * 4}},
        InvalidDataError,
        r"row 0 of extraconstr is redundant: .* \(the sum-to-zero row of constr\)",
    ),
    (
        {"n": 4, "extraconstr": {"A": [ROW, [0, 1, 0, 0], [2.0, 3, 0, 0]], "e": [1, 2, 9]}},
        InvalidDataError,
        "row 2 of extraconstr contradicts the constraints before it: they imply 8 for it, and e is 9",
    ),
    ({"n": 4, "extraconstr": {"A": np.eye(4)}}, InvalidDataError, "4 independent constraints leave nothing free"),
    ({"n": 4, "control_group": {"model": "ar1"}}, InvalidOptionError, "control_group needs groups, and ngroup is 1"),
    ({"n": 4, "constraint": True}, InvalidOptionError, "no argument 'constraint'. Did you mean .constr."),
    ({"n": 4, "initial": 1000.0}, InvalidOptionError, r"initial=1000.0 .* exp\(1000\) is beyond double precision"),
    ({"n": 4, "initial": -800, "fixed": True}, InvalidOptionError, "initial=-800 .* between -700 and 700"),
    ({"n": 4, "fixed": True, "prior": ("pc.prec", (1, 0.01))}, InvalidOptionError, "Leave out prior=, or fixed="),
    ({"n": 4, "prior": pm.Normal.dist(0, 1)}, InvalidOptionError, "u_tau: the prior Normal takes negative values"),
    ({"n": 4, "prior": pm.Uniform.dist(-1, 3)}, InvalidOptionError, "the prior Uniform takes negative values"),
    ({"n": 4, "prior": pm.Poisson.dist(1)}, InvalidOptionError, "the prior Poisson is discrete; .* one positive"),
    ({"n": 4, "prior": pm.Gamma.dist(1, 1, shape=6)}, InvalidOptionError, "the prior Gamma has 1 axis; .* pm.Gamma"),
]


@pytest.mark.parametrize("options, error, message", IID, ids=range(len(IID)))
def test_options_of_iid(options, error, message):
    with pm.Model() as model, pytest.raises(error, match=message):
        pmi.IID("u", **options)
    assert not model.free_RVs


def test_positive_distributions_are_priors_of_a_precision():
    for prior in (pm.Uniform.dist(0, 3), pm.HalfCauchy.dist(1), pm.LogNormal.dist(0, 1), pm.Gamma.dist(2, 1)):
        with pm.Model() as model:
            pmi.IID("u", 4, prior=prior)
        assert "u_tau" in {rv.name for rv in model.free_RVs}


def test_names_of_effects_and_priors():
    with pytest.raises(InvalidOptionError, match=r"IID: there is no model around. Write it inside"):
        pmi.IID("u", 4)
    with pytest.raises(InvalidOptionError, match="tau: there is no model around"):
        pmi.priors.pc_prec("tau", 1, 0.01)
    with pm.Model():
        with pytest.raises(InvalidOptionError, match="the name of the effect, a string; found 4"):
            pmi.IID(4)
        u = pmi.IID("u", 4)
        pmi.copy(u, "w", beta="estimate")
        pmi.priors.loggamma("tau", 1, 1)
        for again, name in (
            (lambda: pmi.IID("u", 4), "u"),
            (lambda: pmi.copy(u, "w", beta="estimate"), "w_beta"),
            (lambda: pmi.priors.pc_prec("tau", 1, 0.01), "tau"),
        ):
            with pytest.raises(InvalidOptionError, match=f"has a variable '{name}' already. Give another name"):
                again()


LOOP = np.eye(3)
SPLIT = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
GROUPS = [
    ("ar1", "control_group is a dict such as"),
    ({"modell": "ar1"}, "no key 'modell'. Did you mean .model."),
    ({"model": "ar3"}, "model 'ar3' is unknown. Did you mean"),
    ({"model": "ar"}, "'ar' needs 'order', an integer from 1 to ngroup - 1 = 2; found None"),
    ({"model": "ar", "order": 3}, "found 3"),
    ({"model": "ar1", "order": 1}, "key 'order' applies to ar only"),
    ({"model": "iid", "cyclic": True}, "key 'cyclic' applies to ar1, rw1, rw2 only"),
    ({"model": "rw1", "graph": LOOP}, "key 'graph' applies to besag only"),
    ({"model": "ar1", "scale.model": True}, "key 'scale.model' applies to rw1, rw2, besag only"),
    ({"model": "rw1", "cyclic": 1}, r"\['cyclic'\]=1; it is True or False"),
    ({"model": "besag"}, "needs 'graph', an adjacency matrix"),
    ({"model": "besag", "graph": np.ones((2, 2))}, r"\['graph'\] has shape \(2, 2\)"),
    ({"model": "besag", "graph": LOOP}, "links a group with itself"),
    ({"model": "besag", "graph": SPLIT}, "is not connected"),
    ({"model": "besag", "graph": 0.5 * SPLIT}, "entries other than 0 and 1"),
    ({"model": "besag", "graph": np.triu(np.ones((3, 3)), 1)}, "is not symmetric"),
    ({"model": "ar1", "hyper": 3}, r"\['hyper'\] is a dict with keys prior, param, initial, fixed"),
    ({"model": "ar1", "hyper": {"inital": 3}}, "no key 'inital'. Did you mean .initial."),
    ({"model": "ar1", "hyper": {"initial": "a"}}, r"\['initial'\]='a'; it is one finite number"),
    ({"model": "ar1", "hyper": {"initial": 40.0}}, "u: .*initial.*=40.0 is a correlation of 1 in double precision"),
    ({"model": "exchangeable", "hyper": {"initial": -40, "fixed": True}}, "=-40 is a correlation of -0.5"),
    ({"model": "exchangeablepos", "hyper": {"initial": 1000}}, "=1000 is a correlation of 1"),
    ({"model": "rw1", "hyper": {"initial": 1000}}, "initial=1000 .* beyond double precision"),
    ({"model": "ar1", "hyper": {"fixed": "a"}}, r"\['fixed'\]='a'; it is True or False"),
    ({"model": "ar1", "hyper": {"param": [0, 1]}}, "'param' without 'prior'"),
    ({"model": "ar1", "hyper": {"prior": "loggamma", "param": [1, 1]}}, "is not allowed; it is .'pc.cor0'"),
    ({"model": "ar1", "hyper": {"prior": "normal", "param": [0, -1]}}, "Prior normal: precision = -1; it is positive"),
    ({"model": "ar1", "hyper": {"prior": "pc.cor0", "param": [0.5, 1.5]}}, "alpha = 1.5; it is a probability"),
]


@pytest.mark.parametrize("control_group, message", GROUPS, ids=range(len(GROUPS)))
def test_options_of_the_group_model(control_group, message):
    with pm.Model() as model, pytest.raises(InvalidOptionError, match=message):
        pmi.IID("u", 4, ngroup=3, control_group=control_group)
    assert not model.free_RVs


@pytest.mark.parametrize("control_group", [{"model": "rw2"}, {"model": "rw1", "cyclic": True}, {"model": "ar1"}])
def test_group_models_need_enough_groups(control_group):
    ngroup = 1 if control_group["model"] == "ar1" else 2
    message = "ngroup is 1" if ngroup == 1 else "needs ngroup of at least 3; found 2"
    with pm.Model(), pytest.raises(InvalidOptionError, match=message):
        pmi.IID("u", 4, ngroup=ngroup, control_group=control_group)


def test_names_that_contradict_the_model():
    with pm.Model(coords={"g": ["a", "b"]}), pytest.raises(InvalidDataError, match="n gives 3, the coordinate 'g'"):
        pmi.IID("u", 3, dims="g")
    with pm.Model(coords={"g": ["a", "b"]}), pytest.raises(InvalidDataError, match="id_names differ from the coord"):
        pmi.IID("u", id_names=["c", "d"], dims="g")


NAN = np.nan
PROJECT = [
    ({"n": 3}, ([1, 2],), {}, InvalidDataError, "the index has 2 distinct labels, and the effect has n=3 levels"),
    ({"n": 3}, ([1, 2, 3, 4],), {}, InvalidDataError, "the index has 4 distinct labels, and the effect has n=3"),
    ({"n": 3}, ([1, 2, "a"],), {"values": [1, 2, 3]}, InvalidDataError, "the index holds 'a'"),
    ({"values": [1, 2, 3]}, ([1, 7, 2],), {}, InvalidDataError, r"holds 7 \(first in row 1\), outside its levels 1, 2"),
    ({"n": 3}, ([1, 2],), {"values": [1, 2]}, InvalidDataError, "values has 2 labels, and the effect has n=3"),
    ({"n": 3}, ([1, 2],), {"values": [1, 2, 2]}, InvalidDataError, "values must be unique"),
    ({"n": 2}, ([1, np.inf],), {}, InvalidDataError, "infinite label"),
    ({"n": 2}, (np.array([1, "a"], object),), {}, InvalidDataError, "cannot be sorted"),
    ({"n": 2}, (np.ones((2, 2)),), {}, InvalidDataError, r"index has shape \(2, 2\)"),
    ({"n": 2}, ([1, 2],), {"weights": [1.0]}, InvalidDataError, r"weights have shape \(1,\); .* \(2,\)"),
    ({"n": 2}, ([1, 2],), {"weights": [1.0, np.inf]}, InvalidDataError, "the weight in row 1 is infinite"),
    ({"n": 2}, ([1, 2],), {"weights": ["a", "b"]}, InvalidDataError, "weights are not numbers"),
    ({"n": 2, "nrep": 2}, ([1, 2],), {}, InvalidOptionError, "the effect has 2 replicates; give replicate="),
    ({"n": 2, "ngroup": 2}, ([1, 2],), {}, InvalidOptionError, "the effect has 2 groups; give group="),
    ({"n": 2, "nrep": 2}, ([1, 2],), {"replicate": [1, 1.5]}, InvalidDataError, "replicate holds 1.5 in row 1"),
    ({"n": 2, "nrep": 2}, ([1, 2],), {"replicate": [0, 1]}, InvalidDataError, "holds 0 in row 0; it is an integer"),
    ({"n": 2, "nrep": 2}, ([1, 2],), {"replicate": [1, 3]}, InvalidDataError, r"from 1 to 2 \(nrep=2\)"),
    ({"n": 2, "ngroup": 2}, ([1, 2],), {"group": ["a", 1]}, InvalidDataError, "group holds 'a' in row 0"),
    ({"n": 2, "ngroup": 2}, ([1, 2],), {"group": [1]}, InvalidDataError, r"group has shape \(1,\)"),
    ({"n": 2, "ngroup": 2}, ([1, 2],), {"group": [1, NAN]}, InvalidDataError, "group is missing in row 1"),
    ({"n": 2}, ([1, 2],), {"group": [1, 2]}, InvalidDataError, r"holds 2 in row 1; .* \(ngroup=1\)"),
]


@pytest.mark.parametrize("options, args, kwargs, error, message", PROJECT, ids=range(len(PROJECT)))
def test_rows(options, args, kwargs, error, message):
    with pm.Model():
        effect = pmi.IID("u", **options)
        with pytest.raises(error, match=message):
            pmi.project(effect, *args, **kwargs)


def test_positions_in_data_containers():
    with pm.Model():
        effect = pmi.IID("u", 2)
        with pytest.raises(InvalidDataError, match="positions 0 to 1; found 0 to 2"):
            pmi.project(effect, pm.Data("a", np.array([0, 2])))
        with pytest.raises(InvalidDataError, match="positions 0 to 1; found -1 to 0"):
            pmi.project(effect, pm.Data("b", np.array([0, -1])))
        with pytest.raises(InvalidDataError, match="found dtype float64"):
            pmi.project(effect, pm.Data("c", np.array([0.0, 1.0])))
        with pytest.raises(InvalidOptionError, match="values= maps labels to positions"):
            pmi.project(effect, pm.Data("d", np.array([0, 1])), values=[5, 6])


def test_project_and_copy_of_something_else():
    with pm.Model():
        matrix = pm.Normal("m", 0, 1, shape=(2, 3))
        for call in (lambda: pmi.project(matrix, [1, 2]), lambda: pmi.copy("u")):
            with pytest.raises(InvalidOptionError, match="it must be an effect made by"):
                call()


COPY = [
    ({"beta": "free"}, "beta='free'; it is a number"),
    ({"beta": np.nan}, "beta=nan; it is a number"),
    ({"beta": True}, "beta=True; it is a number"),
    ({"beta": "estimate"}, "a copy with estimated beta needs a name"),
    ({"range": (0, 1)}, "range= bounds an estimated beta"),
    ({"name": "c", "beta": "estimate", "range": (1, 0)}, r"range=\(1, 0\) needs lower < upper"),
    ({"name": "c", "beta": "estimate", "range": 3}, "is a pair"),
    ({"name": "c", "beta": "estimate", "range": ("a", 1)}, "is a pair"),
]


@pytest.mark.parametrize("options, message", COPY, ids=range(len(COPY)))
def test_options_of_copy(options, message):
    with pm.Model():
        effect = pmi.IID("u", 2)
        with pytest.raises(InvalidOptionError, match=message):
            pmi.copy(effect, **options)


def test_index_of_pandas_keeps_row_order_not_its_own_index():
    with pm.Model():
        effect = pmi.IID("u", 2)
        with pytest.raises(InvalidDataError, match="weights have shape"):
            pmi.project(effect, pd.Series([1, 2], index=[5, 6]), weights=pd.Series([1.0, 2, 3]))
