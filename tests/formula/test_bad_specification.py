"""Bad input of the dict specification: one error before anything is compiled, naming key, value, what is allowed."""

import numpy as np
import pandas as pd
import pytest

from pymc_inla import inla
from pymc_inla.errors import ImproperPosteriorError, InvalidDataError, InvalidOptionError

N = 12
IID = {"id": "g", "model": "iid"}


@pytest.fixture(autouse=True)
def never_compiled(monkeypatch):
    """Reaching the fit is a failure of the check."""

    def reached(*arguments, **options):
        raise AssertionError("the input was accepted")

    monkeypatch.setattr("pymc_inla.formula.entry.fit", reached)


def frame():
    return pd.DataFrame(
        {
            "y": np.linspace(0.5, 2.0, N),
            "x": np.linspace(-1.0, 1.0, N),
            "g": np.arange(N) % 4 + 1,
            "h": np.arange(N) % 3 + 1,
            "name": ["a", "b"] * 6,
        }
    )


def entry(**keys):
    return {"response": "y", "random": [{**IID, **keys}]}


FORMULAS = {
    "not a dict": ("y ~ x", "give a dict with the keys response, fixed, random"),
    "unknown formula key": ({"response": "y", "randm": []}, "unknown key 'randm'.*`random`.*Allowed"),
    "no response": ({"fixed": ["x"]}, r"formula\['response'\]=None"),
    "response column": ({"response": "yy"}, "no column 'yy'.*Did you mean `y`.*Columns: y, x"),
    "reserved response": ({"response": "row"}, "reserved"),
    "fixed not a list": ({"response": "y", "fixed": "x"}, r"formula\['fixed'\]='x': give a list"),
    "fixed column": ({"response": "y", "fixed": ["xx"]}, "no column 'xx'.*Did you mean `x`"),
    "intercept and none": ({"response": "y", "fixed": ["1", "x", "-1"]}, "both '1'.*and '-1', which removes it"),
    "intercept and zero": ({"response": "y", "fixed": ["0", "1"]}, "and '0', which removes it. Give one"),
    "response of itself": ({"response": "y", "fixed": ["x", "y"]}, "holds 'y', of the response 'y' itself"),
    "response in a product": ({"response": "y", "fixed": ["x:y"]}, "holds 'x:y', of the response 'y' itself"),
    "fixed twice": ({"response": "y", "fixed": ["x", "x"]}, "names 'x' twice"),
    "fixed not a name": ({"response": "y", "fixed": [2.5]}, "holds 2.5"),
    "fixed text": ({"response": "y", "fixed": ["name"]}, "column 'name': not numeric.*indicator columns"),
    "product of unknown": ({"response": "y", "fixed": ["x:z"]}, "no column 'z'"),
    "random not a list": ({"response": "y", "random": IID}, "give a list of dicts"),
    "random entry": ({"response": "y", "random": ["g"]}, "holds 'g'"),
    "no id": ({"response": "y", "random": [{"model": "iid"}]}, "'id' is None"),
    "id column": (entry(id="gg"), "no column 'gg'.*Did you mean `g`"),
    "no model": ({"response": "y", "random": [{"id": "g"}]}, "'model' is missing. Allowed: 'iid'"),
    "other model": (entry(model="rw1"), "model='rw1' does not exist.*Allowed: 'iid'"),
    "near model": (entry(model="idd"), "Did you mean `iid`"),
    "unknown key": (entry(wieghts=1), "unknown key 'wieghts'.*Did you mean `weights`.*Allowed: id, model, hyper"),
    "dot key": (entry(control_group={}), "Did you mean `control.group`"),
    "scale": (entry(scale=2.0), "'scale' is not a key.*'weights'"),
    "same id twice": ({"response": "y", "random": [IID, IID]}, "'g' is given twice"),
    "id is response": (entry(id="y"), "the name is taken by the response"),
    "hyper type": (entry(hyper="pc.prec"), "give a list with one dict"),
    "hyper two": (entry(hyper=[{}, {}]), "'hyper' has 2 entries"),
    "hyper key": (entry(hyper=[{"priors": "pc.prec"}]), "unknown key 'priors'.*Did you mean `prior`"),
    "initial conflict": (entry(initial=1, hyper=[{"initial": 2}]), "initial=1 and .*=2 contradict"),
    "fixed conflict": (entry(fixed=True, hyper=[{"fixed": False}]), "fixed=True and .*=False contradict"),
    "initial text": (entry(initial="4"), "initial='4'.*finite number"),
    "initial infinite": (entry(initial=np.inf), "initial=inf is not finite"),
    "fixed number": (entry(fixed=1), "fixed=1; give True or False"),
    "param text": (entry(hyper=[{"prior": "loggamma", "param": ["a", 1]}]), "param='a'"),
    "prior type": (entry(hyper=[{"prior": 3}]), "prior=3"),
    "n": (entry(n=0), "n=0; give an integer of at least 1"),
    "n of data": (entry(n=5), "n=5, but the data give 4 levels"),
    "n of values": (entry(values=[1, 2, 3, 4, 5], n=4), "n=4, but 'values' give 5 levels"),
    "values repeat": (entry(values=[1, 2, 3, 4, 4]), "values repeats 4"),
    "values miss": (entry(values=[1, 2, 3]), "label 4 in row 3 is not among 'values'"),
    "values type": (entry(values=4), "values=4; give a list"),
    "values empty": (entry(values=[]), "values is empty"),
    "id_names": (entry(id_names=["A", "B"]), "id_names has 2 labels for 4 levels"),
    "constr": (entry(constr="yes"), "constr='yes'; give True or False"),
    "debug": (entry(debug=2), "debug=2"),
    "diagonal": (entry(diagonal=-1.0), "diagonal=-1.0; give a number of at least 0"),
    "weights length": (entry(weights=np.ones(3)), r"weights has shape \(3,\); the data have 12 rows"),
    "weights text": (entry(weights=["a"] * N), "weights: not numeric"),
    "weights infinite": (entry(weights=np.full(N, np.inf)), "weights: infinite in row 0"),
    "replicate fraction": (entry(replicate=np.full(N, 1.5)), "replicate is 1.5 in row 0; give integers from 1"),
    "replicate zero": (entry(replicate=np.zeros(N)), "replicate is 0 in row 0"),
    "replicate beyond": (entry(replicate=np.full(N, 3), nrep=2), "replicate is 3 in row 0, but nrep=2"),
    "replicate length": (entry(replicate=[1, 2]), r"replicate has shape \(2,\)"),
    "nrep": (entry(nrep=2.5), "nrep=2.5"),
    "group beyond": (entry(group=np.full(N, 3), ngroup=2), "group is 3 in row 0, but ngroup=2"),
    "ngroup alone": (entry(ngroup=3), "ngroup=3 needs 'group'"),
    "control.group": (entry(**{"control.group": "ar1"}), "control.group='ar1'; give a dict"),
    "extraconstr": (entry(extraconstr=np.ones(4)), "give a dict such as {'A': matrix"),
    "vb.correct": (entry(**{"vb.correct": [-1]}), "vb.correct=.*positions of levels"),
    "vb.correct beyond": (entry(**{"vb.correct": [4]}), "positions 0 to 3"),
    "copy unknown": (
        {"response": "y", "random": [IID, {"id": "h", "model": "iid", "copy": "gg"}]},
        "copy='gg' is not an earlier effect.*Did you mean `g`.*Allowed: 'g'",
    ),
    "copy of a later one": (
        {"response": "y", "random": [{"id": "h", "model": "iid", "copy": "g"}, IID]},
        "not an earlier effect that can be copied. Allowed: none",
    ),
    "copy with constr": (
        {"response": "y", "random": [IID, {"id": "h", "model": "iid", "copy": "g", "constr": True}]},
        "copies 'g', so 'constr' cannot be given here",
    ),
    "copy of a label that the source lacks": (
        {"response": "y", "random": [{"id": "h", "model": "iid"}, {"id": "g", "model": "iid", "copy": "h"}]},
        "label 4 in row 3 is not among the levels of 'h'",
    ),
    "copy with another prior": (
        {
            "response": "y",
            "random": [IID, {"id": "h", "model": "iid", "copy": "g", "hyper": [{"prior": "loggamma", "fixed": False}]}],
        },
        "prior='loggamma' of the multiplier of a copy",
    ),
}

PRIORS = {
    "unknown": ({"prior": "pcprec"}, "random effect 'g', 'hyper': Prior 'pcprec' is unknown. Did you mean `pc.prec`"),
    "negative rate": ({"prior": "loggamma", "param": [1, -1]}, "'g'.*loggamma: rate b = -1.0; it is positive"),
    "negative precision": ({"prior": "normal", "param": [0, -1]}, "'g'.*normal: precision = -1.0; it is positive"),
    "alpha": ({"prior": "pc.prec", "param": [1, 1.5]}, "'g'.*alpha = 1.5; it is a probability"),
    "number of parameters": ({"prior": "pc.prec", "param": [1]}, r"takes 2 parameters \(u, alpha\)"),
    "unsorted table": ({"prior": "table: 1 0 2 | 0 0 0"}, "'g'.*the knots must ascend"),
    "short table": ({"prior": "table: 1 | 0"}, "'g'.*at least 2 knots"),
    "odd table": ({"prior": "table: 1 2 3"}, "'g'.*as many values as knots; found 3"),
    "unknown name": ({"prior": "expression: -thta^2"}, "'g'.*'thta' is unknown.*Did you mean `theta`"),
    "not finite": ({"prior": "expression: log(-theta)"}, "g_tau.*nan at theta = 4"),
    "Python": ({"prior": "expression: __import__('os')"}, "'g'.*is not part of R arithmetic"),
}


@pytest.mark.parametrize("case", PRIORS)
def test_prior(case):
    hyper, message = PRIORS[case]
    with pytest.raises(InvalidOptionError, match=message):
        inla(entry(hyper=[hyper]), data=frame())


def test_prior_of_the_likelihood():
    control = {"hyper": [{"prior": "pc.prec", "param": [1, 2]}]}
    with pytest.raises(InvalidOptionError, match=r"control_family, Precision for the Gaussian obs.*alpha = 2"):
        inla(PLAIN, data=frame(), control_family=control)


@pytest.mark.parametrize("prior", ["flat", "logflat"])
def test_improper_prior(prior):
    with pytest.raises(ImproperPosteriorError, match=f"g: under the prior {prior} the posterior is improper"):
        inla(entry(hyper=[{"prior": prior}]), data=frame())


CONSTRAINTS = {
    "singular": ({"extraconstr": {"A": [[1, 1, 1, 1], [2, 2, 2, 2]]}}, "row 1 of extraconstr is redundant"),
    "redundant": ({"constr": True, "extraconstr": {"A": [[1, 1, 1, 1]]}}, "redundant.*sum-to-zero row of constr"),
    "inconsistent": ({"constr": True, "extraconstr": {"A": np.ones(4), "e": [1]}}, "contradicts.*imply 0.*e is 1"),
    "columns": ({"extraconstr": {"A": np.ones((1, 3))}}, r"shape \(1, 3\).*each of the 4 levels"),
    "right side": ({"extraconstr": {"A": np.ones((1, 4)), "e": [0, 0]}}, r"e'\] has shape \(2,\)"),
    "zero": ({"extraconstr": {"A": np.zeros((1, 4))}}, "zero everywhere"),
    "keys": ({"extraconstr": {"B": 1}}, r"found \['B'\]"),
}


@pytest.mark.parametrize("case", CONSTRAINTS)
def test_constraint(case):
    keys, message = CONSTRAINTS[case]
    with pytest.raises((InvalidOptionError, InvalidDataError), match=message):
        inla(entry(**keys), data=frame())


@pytest.mark.parametrize("case", FORMULAS)
def test_formula(case):
    formula, message = FORMULAS[case]
    with pytest.raises((InvalidOptionError, InvalidDataError), match=message):
        inla(formula, data=frame())


PLAIN = {"response": "y"}
ARGUMENTS = {
    "family": ({"family": "possion"}, "family='possion' does not exist.*Did you mean `poisson`.*Allowed: gaussian"),
    "link": ({"family": "bernoulli", "link": "probti"}, "link='probti'.*Did you mean `probit`"),
    "link of another family": ({"family": "poisson", "link": "logit"}, "Allowed: log"),
    "two links": (
        {"family": "bernoulli", "link": "probit", "control_family": {"link": "logit"}},
        "contradict each other",
    ),
    "no data": ({"data": None}, "data is missing"),
    "data type": ({"data": [1, 2]}, "data=list"),
    "lengths": ({"data": {"y": [1.0, 2.0], "x": [1.0]}}, "different lengths.*y: 2, x: 1"),
    "no rows": ({"data": {"y": []}}, "no rows"),
    "nothing observed": ({"data": {"y": [np.nan, np.nan]}}, "no observed value"),
    "infinite response": ({"data": {"y": [np.inf, 1.0]}}, "infinite in row 0"),
    "unknown argument": ({"Ntrial": 3}, "unknown argument 'Ntrial'.*Did you mean `Ntrials`"),
    "INLA's argument": ({"control_inla": {}}, "unknown argument 'control_inla'"),
    "Ntrials elsewhere": ({"Ntrials": 3}, "Ntrials has no meaning for family 'gaussian'; it belongs to binomial"),
    "E elsewhere": ({"E": 3}, "E has no meaning for family 'gaussian'.*poisson"),
    "negative E": ({"family": "poisson", "E": -1.0}, "E is -1 in row 0"),
    "Ntrials length": ({"family": "binomial", "Ntrials": [1, 2]}, "Ntrials has shape"),
    "Ntrials fraction": ({"family": "binomial", "Ntrials": 2.5}, "Ntrials is 2.5 in row 0"),
    "offset missing": ({"offset": np.full(N, np.nan)}, "offset: missing in row 0"),
    "offset column": ({"offset": "xx"}, "no column 'xx'"),
    "control_family key": ({"control_family": {"hypr": []}}, "unknown key 'hypr'.*`hyper`"),
    "control_family hyper": ({"control_family": {"hyper": [{}, {}]}}, "one dict per hyperparameter of 'gaussian'"),
    "control_fixed key": ({"control_fixed": {"precision": 1}}, "unknown key 'precision'"),
    "control_fixed name": ({"control_fixed": {"prec": {"z": 1}}}, "names 'z', which is not a fixed effect"),
    "control_fixed negative": ({"control_fixed": {"prec": -1}}, "at least 0"),
    "control_compute key": ({"control_compute": {"doc": True}}, "unknown key 'doc'.*`dic`"),
    "control_compute value": ({"control_compute": {"dic": 1}}, "dic=1"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(case):
    options, message = ARGUMENTS[case]
    with pytest.raises((InvalidOptionError, InvalidDataError), match=message):
        inla(PLAIN, **{"data": frame(), **options})


SUPPORT = {
    "poisson": ([1.0, 2.5], "integers of at least 0"),
    "nbinomial": ([-1.0, 2.0], "integers of at least 0"),
    "binomial": ([0.0, 2.0], "integers from 0 to Ntrials"),
    "bernoulli": ([0.0, 2.0], "needs 0 or 1"),
    "gamma": ([0.0, 2.0], "numbers above 0"),
    "lognormal": ([-1.0, 2.0], "numbers above 0"),
    "weibull": ([0.0, 2.0], "numbers above 0"),
    "exponential": ([0.0, 2.0], "numbers above 0"),
    "beta": ([0.5, 1.0], "strictly between 0 and 1"),
    "zeroinflatedpoisson1": ([0.5, 1.0], "integers of at least 0"),
}


@pytest.mark.parametrize("family", SUPPORT)
def test_response_outside_the_support(family):
    y, message = SUPPORT[family]
    with pytest.raises(InvalidDataError, match=message):
        inla(PLAIN, family, {"y": y})


def test_index_without_levels():
    data = frame()
    data["g"] = np.nan
    with pytest.raises(InvalidDataError, match="holds no level"):
        inla(entry(), data=data)


@pytest.mark.parametrize(("first", "second"), [("noise_precision", "g"), ("g_tau", "g"), ("y_unobserved", "y")])
def test_names_that_collide(first, second):
    data = frame().rename(columns={"h": first})
    effects = [{"id": first, "model": "iid"}] + [IID] * (second == "g")
    with pytest.raises(InvalidOptionError, match="the model needs the name"):
        inla({"response": "y", "random": effects}, data=data)


def test_missing_covariate():
    data = frame()
    data.loc[2, "x"] = np.nan
    with pytest.raises(InvalidDataError, match="column 'x': missing in row 2"):
        inla({"response": "y", "fixed": ["x"]}, data=data)
