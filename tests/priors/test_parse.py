"""Priors in R-INLA's words: what is meant, and every mistake."""

import numpy as np
import pymc as pm
import pytest

import pymc_inla as pmi
from pymc_inla.errors import ImproperPosteriorError, InvalidOptionError
from pymc_inla.priors.parse import make_precision, to_prior

WORDS = {
    "loggamma(1, 5e-05)": ("loggamma", None),
    "loggamma(2, 0.1)": ("loggamma", [2, 0.1]),
    "pc.prec(1, 0.01)": ("pc.prec", (1, 0.01)),
    "normal(4, 1)": ("gaussian", [4, 1]),
    "logtnormal(0, 1)": ("logtgaussian", np.array([0, 1])),
    "laplace(0, 1)": ("laplace", [0, 1]),
    "flat": ("flat", []),
    "logiflat": ("logiflat", None),
    "logflat": ("logflat", ()),
    "pc.cor0(0.5, 0.5)": ("pc.cor0", [0.5, 0.5]),
    "expression: -theta * theta / 2": ("expression: -theta * theta / 2", None),
    "table: -3 -1 1 3 | -4.5 -1.1 -1.1 -4.5": ("table: -3 -1 1 3 | -4.5 -1.1 -1.1 -4.5", None),
}


@pytest.mark.parametrize("words", WORDS)
def test_words(words):
    assert to_prior(*WORDS[words]).words == words
    assert to_prior(to_prior(*WORDS[words])).words == words


@pytest.mark.parametrize(
    "text", ["table: 0 1 2 | 3 2 1", "table:0 1 2 3 2 1", "0,1,2 ; 3,2,1", "table: 0 1 2 xx 3 2 1"]
)
def test_separator_of_a_table_is_any_token_or_none(text):
    assert pmi.priors.table.dist(text) == pmi.priors.table.dist([0, 1, 2], [3, 2, 1])


MISTAKES = [
    ("pc.perc", [1, 0.01], "'pc.perc' is unknown. Did you mean `pc.prec`.* Priors are loggamma, pc.prec, normal"),
    ("Gamma", [1, 1], "'Gamma' is unknown. Did you mean `loggamma`"),
    ("pc.prec", None, r"pc.prec takes 2 parameters \(u, alpha\); found param=\(\)"),
    ("pc.prec", [1], r"takes 2 parameters \(u, alpha\); found param=\[1\]"),
    ("pc.prec", [1, 0.01, 3], "takes 2 parameters"),
    ("pc.prec", [1, 1.0], "alpha = 1.0; it is a probability between 0 and 1"),
    ("pc.prec", [1, 0], "alpha = 0; it is a probability"),
    ("pc.prec", [-1, 0.01], "u = -1; it is positive"),
    ("loggamma", [0, 1], "shape a = 0; it is positive"),
    ("loggamma", [1, -1], "rate b = -1; it is positive"),
    ("loggamma", [1, np.nan], "rate b = nan; it is one finite number"),
    ("loggamma", [1, np.inf], "rate b = inf; it is one finite number"),
    ("loggamma", ["a", 1], "shape a = 'a'; it is one finite number"),
    ("loggamma", "12", "param='12'; it is a list of numbers"),
    ("loggamma", [[1, 2], [3, 4]], "it is a list of numbers"),
    ("normal", [0, 0], "precision = 0; it is positive"),
    ("normal", [None, 1], "mean = None; it is one finite number"),
    ("logtnormal", [0, -2], "precision = -2; it is positive"),
    ("laplace", [0, -2], "precision = -2; it is positive"),
    ("flat", [1], r"flat takes no parameters; found param=\[1\]"),
    ("expression", None, "needs its text: 'expression: ...'"),
    ("expression: theta", [1], "takes no param"),
    ("table", None, "needs its text"),
    ("table: 1 2 3", None, "as many values as knots; found 3 numbers in 'table: 1 2 3'"),
    ("table: 0 1 2 | 1 2", None, "as many values as knots"),
    ("table: 0 | 1", None, "at least 2 knots are needed; found 1"),
    ("table:", None, "at least 2 knots are needed; found 0"),
    ("table: 1 0 | 1 2", None, "the knots must ascend"),
    ("table: 0 0 | 1 2", None, "the knots must ascend"),
    ("table: 0 inf | 1 2", None, "must be finite"),
    (3.0, None, "Prior 3.0 is not allowed: it is a name with parameters"),
    (("pc.prec", (1, 0.01)), (1, 0.01), "given twice"),
    (pmi.priors.flat.dist(), (1, 2), "has its parameters already"),
]


@pytest.mark.parametrize("prior, param, message", MISTAKES, ids=range(len(MISTAKES)))
def test_mistake(prior, param, message):
    with pytest.raises(InvalidOptionError, match=message):
        to_prior(prior, param)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0, 1], [1, 2, 3]), "one value per knot"),
        (([0, 1],), "values are missing"),
        (("0 1 | 1 2", [1, 2]), "values are given twice"),
        ((["a", 1], [1, 2]), "must be numbers"),
    ],
)
def test_mistakes_of_a_table(arguments, message):
    with pytest.raises(InvalidOptionError, match=message):
        pmi.priors.table.dist(*arguments)


def test_calls_need_a_name_and_a_start():
    with pm.Model():
        with pytest.raises(InvalidOptionError, match=r"is the name of its variable; found 1. .* write .dist"):
            pmi.priors.pc_prec(1, 1, 0.01)
        with pytest.raises(InvalidOptionError, match="initial = inf; it is one finite number"):
            pmi.priors.pc_prec("tau", 1, 0.01, initial=np.inf)
        with pytest.raises(InvalidOptionError, match=r"starts at rho = 1; start inside"):
            pmi.priors.pc_cor0("rho", 0.5, 0.5, initial=100)
        with pytest.raises(InvalidOptionError, match=r"pc.cor0.* is not a prior of a precision"):
            make_precision("tau", ("pc.cor0", (0.5, 0.5)))
        with pytest.raises(InvalidOptionError, match="is -inf at theta = -4, where the search starts"):
            pmi.priors.expression("tau", "log(max(theta, 0)) - theta", initial=-4)


PRECISIONS = {
    "name": ("pc.prec", (1, 0.01)),
    "object": pmi.priors.pc_prec.dist(1, 0.01),
    "constructor": pmi.priors.loggamma,
    "text": "expression: theta - exp(theta)",
}


@pytest.mark.parametrize("kind", PRECISIONS)
def test_precision_starts_where_it_is_told(kind):
    with pm.Model() as model:
        tau = make_precision("tau", PRECISIONS[kind], initial=1.5)
    assert model["tau"] is tau
    (value,) = model.replace_rvs_by_values([tau])
    np.testing.assert_allclose(value.eval(model.initial_point(), on_unused_input="ignore"), np.exp(1.5), rtol=1e-12)


def test_precision_from_pymc():
    with pm.Model() as model:
        make_precision("a", pm.Gamma.dist(2, 3), initial=1.0)
        s = pm.HalfNormal("s", 1)
        make_precision("b", s**-2)
        make_precision("c", "flat", initial=2.0, fixed=True)
    assert {rv.name for rv in model.free_RVs} == {"a", "s"}
    assert {rv.name for rv in model.deterministics} == {"b", "c"}
    np.testing.assert_allclose(model.initial_point()["a_log__"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(model["c"].eval(), np.exp(2.0), rtol=1e-15)


@pytest.mark.parametrize("prior", ["flat", "logflat", "expression: 0", "expression: -log(theta)", "table: 0 1 | 1 1"])
def test_priors_that_do_not_vanish_are_refused_in_effects(prior):
    with pm.Model() as model, pytest.raises(ImproperPosteriorError, match=r"u: under the prior .* improper.*pc.prec"):
        pmi.IID("u", 4, prior=prior)
    assert not model.free_RVs


@pytest.mark.parametrize("prior", ["logiflat", "expression: -2*log(abs(theta) + 1)", "table: 0 1 | 1 0"])
def test_priors_that_vanish_are_taken(prior):
    with pm.Model() as model:
        pmi.IID("u", 4, prior=prior)
    assert len(model.free_RVs) == 2
