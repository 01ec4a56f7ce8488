"""Mistakes of newcomers: each gives one error that says what was found, what is allowed, and what to do."""

import bambi
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pymc_inla as pmi
from pymc_inla.errors import ConvergenceError, InvalidDataError, InvalidOptionError, UnsupportedModelError

G = np.repeat(np.arange(6), 5)
rng = np.random.default_rng(3)
X, Y, COUNTS = rng.normal(size=30), rng.normal(size=30), rng.poisson(3, 30)
QUICK = {"draws": 20, "chains": 1, "progressbar": False}


def grouped(likelihood):
    """A group effect and a likelihood given as a function of the linear predictor."""
    with pm.Model(coords={"g": list("abcdef")}) as model:
        a = pm.Normal("a", 0, 1)
        u = pm.Normal("u", 0, pm.HalfNormal("sigma", 1), dims="g")
        likelihood(a + u[G])
    return model


def poisson():
    return grouped(lambda eta: pm.Poisson("y", pm.math.exp(eta), observed=COUNTS))


def in_context(**arguments):
    with poisson():
        return pm.fit(method="inla", **arguments)


def rows_of_predictions():
    with pm.Model() as model:
        x = pm.Data("x", X)
        pm.Poisson("y", pm.math.exp(pm.Normal("a", 0, 1) + pm.Normal("b", 0, 1) * x), observed=COUNTS, shape=x.shape)
        pm.set_data({"x": np.zeros(3)})
    return model


def nothing_observed():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        pm.Normal("b", a, 1)
    return model


def scaled(scale):
    with pm.Model() as model:
        u = pm.Normal("u", 0, scale, shape=6)
        pm.Poisson("y", pm.math.exp(u[G]), observed=COUNTS)
    return model


def without_hyperparameters(likelihood):
    with pm.Model() as model:
        likelihood(pm.Normal("a", 0, 1))
    return model


def labeled_by(labels):
    with pm.Model(coords={"g": labels}) as model:
        u = pm.Normal("u", 0, 1, dims="g")
        pm.Poisson("y", pm.math.exp(u[G]), observed=COUNTS)
    return model


def index_from_one():
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("sigma", 1), shape=6)
        pm.Poisson("y", pm.math.exp(u[G + 1]), observed=COUNTS)
    return model


def covariate_with_nan():
    x = np.where(np.arange(30) == 4, np.nan, X)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * x, 1, observed=Y)
    return model


def mixture_of_latents():
    with pm.Model() as model:
        w, mu = pm.Dirichlet("w", np.ones(2)), pm.Normal("mu", 0, 1, shape=2)
        pm.NormalMixture("y", w, mu, 1, observed=Y)
    return model


def bilinear():
    with pm.Model() as model:
        u, v = pm.Normal("u", 0, 1, shape=30), pm.Normal("v", 0, 1, shape=30)
        pm.Normal("y", u * v, 1.0, observed=Y)
    return model


def discrete():
    with pm.Model() as model:
        a, z = pm.Normal("a", 0, 1), pm.Bernoulli("z", 0.5, shape=30)
        pm.Normal("y", a + z, 1.0, observed=Y)
    return model


def fit(model, **options):
    return pmi.fit(model, **{**QUICK, **options})


def in_a_part_of_a_model():
    with pm.Model():
        a = pm.Normal("a", 0, 1)
        with pm.Model("part"):
            pm.Poisson("y", pm.math.exp(a), observed=COUNTS)
            return pm.fit(method="inla", **QUICK)


WRONG_MODEL = [
    (in_a_part_of_a_model, ["sub-model 'part'", "Fit the outer one"]),
    (pmi.fit, ["No model was given", "`with model:`"]),
    (lambda: pmi.explain(), ["No model was given", "`with model:`"]),
    (lambda: pmi.prior_sensitivity(), ["No model was given"]),
    (lambda: pmi.fit("seeds"), ["found a str", "pymc.Model"]),
    (lambda: pmi.explain({"a": 1}), ["found a dict"]),
    (
        lambda: pmi.fit(bambi.Model("y ~ x", pd.DataFrame({"x": X, "y": Y}))),
        ["found a bambi.Model", "bambi_model.build()", "bambi_model.backend.model"],
    ),
]

WRONG_OPTION = [
    (lambda: in_context(n=10_000), ["`n`", "`draws`"]),
    (lambda: in_context(callbacks=[print]), ["`callbacks`", "no stochastic iterations"]),
    (lambda: in_context(obj_optimizer=pm.adam()), ["`obj_optimizer`", "variational"]),
    (lambda: in_context(tune=1000), ["`tune`", "nothing is tuned"]),
    (lambda: in_context(target_accept=0.9), ["`target_accept`", "NUTS"]),
    (lambda: fit(poisson(), seed=1), ["`seed`", "`random_seed`"]),
    (lambda: fit(poisson(), integraton="grid"), ["`integraton`", "Did you mean `integration`"]),
    (lambda: fit(poisson(), strategy="Laplace"), ["strategy='Laplace'", "Did you mean `laplace`"]),
    (lambda: fit(poisson(), integration="mcmc"), ["integration='mcmc'", "grid"]),
    (lambda: fit(poisson(), draws=0), ["draws=0", "at least 1"]),
    (lambda: fit(poisson(), var_names=["sigm"]), ["'sigm'", "Did you mean `sigma`"]),
    (lambda: fit(poisson(), log_likelihood=["counts"]), ["log_likelihood: 'counts'", "Allowed: y"]),
    (lambda: fit(poisson(), log_prior=["sigm"]), ["log_prior: 'sigm'", "Did you mean `sigma`"]),
    (lambda: fit(poisson(), backend="jaxx"), ["backend='jaxx'", "numba"]),
    (lambda: fit(poisson(), backend="mlx"), ["needs the package mlx", "leave it out"]),
    (lambda: fit(poisson(), compile_kwargs={"modee": "JAX"}), ["compile_kwargs", "'modee'", "Did you mean `mode`"]),
    (lambda: fit(poisson(), compile_kwargs={3: 4}), ["compile_kwargs", "3", "on_unused_input"]),
    (lambda: fit(poisson(), compile_kwargs={"mode": "fast"}), ["compile_kwargs['mode']='fast'", "fast_compile"]),
    (lambda: fit(poisson(), compile_kwargs={"mode": 3}), ["compile_kwargs['mode']=3", "neither", "fast_compile"]),
    (lambda: fit(poisson(), compile_kwargs={"mode": "JAX"}, backend="numba"), ["only define one of `backend`"]),
    (lambda: fit(poisson(), vb_correct=[100]), ["vb_correct contains 100", "7 elements"]),
    (lambda: fit(poisson(), draws=10**9), ["draws=1000000000", "GB", "at most about"]),
    (lambda: fit(poisson(), draws=10**12, chains=4), ["draws=1000000000000 of 4 chains", "GB"]),
    (lambda: fit(poisson(), start={"sigmaa": 1.0}), ["'sigmaa'", "Did you mean `sigma`"]),
    (lambda: fit(poisson(), start={"sigma": -1.0}), ["start['sigma']=-1", "support"]),
]

WRONG_DATA = [
    (lambda: fit(covariate_with_nan()), InvalidDataError, ["position 4", "drop or impute"]),
    (
        lambda: fit(grouped(lambda eta: pm.Normal("y", eta, 1, observed=np.where(G == 2, np.inf, Y)))),
        InvalidDataError,
        ["y: 5 observed values are infinite", "position 10, 11", "NaN"],
    ),
    (
        lambda: fit(grouped(lambda eta: pm.Poisson("y", pm.math.exp(eta), observed=COUNTS - 2))),
        InvalidDataError,
        ["y: ", "of 30 observations are outside the support", "position", "value -", "correct or drop"],
    ),
    (
        lambda: fit(grouped(lambda eta: pm.Bernoulli("y", logit_p=eta, observed=COUNTS))),
        InvalidDataError,
        ["y: ", "of 30 observations are outside the support", "value "],
    ),
    (
        lambda: fit(grouped(lambda eta: pm.Poisson("y", eta, observed=COUNTS))),
        ConvergenceError,
        ["y: ", "observations are impossible at the start", "pm.math.exp for a rate"],
    ),
    (
        lambda: fit(without_hyperparameters(lambda a: pm.Normal("y", a * (1e200 * X), 1, observed=Y))),
        ConvergenceError,
        ["mode of the latent variables", "not finite", "Scale covariates", "1e150"],
    ),
    (
        lambda: fit(without_hyperparameters(lambda a: pm.Bernoulli("y", p=a * X, observed=COUNTS > 2))),
        ConvergenceError,
        ["y: ", "impossible at the start", "logit_p= for a probability"],
    ),
    (lambda: fit(scaled(0)), InvalidDataError, ["u:", "sigma > 0", "leave the variable out"]),
    (lambda: fit(scaled([1, 1, 0, 1, 1, 1])), InvalidDataError, ["u:", "sigma > 0"]),
    (lambda: fit(grouped(lambda eta: pm.Normal("y", eta, -1, observed=Y))), InvalidDataError, ["y:", "sigma > 0"]),
    (
        lambda: fit(grouped(lambda eta: pm.Normal("y", eta, pm.HalfNormal("s", -1), observed=Y))),
        InvalidDataError,
        ["s: the initial value is not finite", "negative scale"],
    ),
    (
        lambda: fit(grouped(lambda eta: pm.Normal("y", eta[:0], 1, observed=Y[:0]))),
        InvalidDataError,
        ["y: there are no observations", "size 0"],
    ),
    (lambda: fit(rows_of_predictions()), InvalidDataError, ["y:", "(30,)", "(3,)", "pm.set_data"]),
    (lambda: fit(labeled_by([(k, "a") for k in range(6)])), InvalidDataError, ["coords['g']", "(0, 'a')", "Join"]),
    (lambda: fit(index_from_one()), InvalidDataError, ["out of bounds", "from 0", "pandas.factorize"]),
]

OUTSIDE_THE_CLASS = [
    (lambda: fit(nothing_observed()), ["nothing is observed", "observed="]),
    (lambda: fit(pm.Model()), ["no free variables"]),
    (lambda: fit(mixture_of_latents()), ["mu", "pm.sample"]),
    (lambda: fit(bilinear()), ["u:", "nonlinearly", "pm.sample"]),
    (lambda: fit(discrete()), ["z:", "discrete", "Sum it out"]),
]


def assert_message(call, kind, words):
    with pytest.raises(kind) as error:
        call()
    message = str(error.value)
    for word in words:
        assert word in message, message
    assert "theta = []" not in message
    assert "`start`" not in message or "theta = [" in message, "no start of what the model does not have"
    assert len(message) < 700, "one clear error, not an essay"
    assert message.rstrip(")").endswith((".", "?")), message


@pytest.mark.parametrize(("call", "words"), WRONG_MODEL)
def test_wrong_model(call, words):
    assert_message(call, InvalidOptionError, words)


@pytest.mark.parametrize(("call", "words"), WRONG_OPTION)
def test_wrong_option(call, words):
    assert_message(call, InvalidOptionError, words)


@pytest.mark.parametrize("options", [{"vb_correct": [100]}, {"draws": 10**12}, {"compile_kwargs": {"modee": 1}}])
def test_options_are_checked_before_anything_is_compiled(options, monkeypatch):
    def compiled(*arguments, **named):
        raise AssertionError("compiled")

    monkeypatch.setattr("pymc_inla.compile.compile_model", compiled)
    with pytest.raises(InvalidOptionError):
        fit(poisson(), **options)


@pytest.mark.parametrize(("call", "kind", "words"), WRONG_DATA)
def test_wrong_data(call, kind, words):
    assert_message(call, kind, words)


@pytest.mark.parametrize(("call", "words"), OUTSIDE_THE_CLASS)
def test_outside_the_class(call, words):
    assert_message(call, UnsupportedModelError, words)


@pytest.fixture(scope="module")
def idata():
    return fit(poisson(), random_seed=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda idata: pmi.summary(idata, "sigmma"), ["'sigmma'", "Did you mean `sigma`"]),
        (lambda idata: pmi.summary(mcmc_like(idata)), ["without the group 'inla'", "az.summary"]),
        (lambda idata: pmi.reliability(mcmc_like(idata)), ["without the group 'inla'"]),
        (lambda idata: pmi.plot_hyperparameters(mcmc_like(idata)), ["without the group 'inla'"]),
        (lambda idata: pmi.summary("idata.nc"), ["found str", "DataTree"]),
        (lambda idata: pmi.marginal(idata, "u"), ["u is an array", "marginal(idata, 'u', g='a')"]),
        (lambda idata: pmi.marginal(idata, "u[2]"), ["no variable 'u[2]'", "marginal(idata, 'u', g='a')"]),
        (lambda idata: pmi.marginal(idata, "u", g="z"), ["'z' is not a coordinate of g"]),
        (lambda idata: pmi.marginal(idata, None), ["var_name=None", "There are a, sigma, u"]),
        (lambda idata: pmi.marginal(idata, "a", g="a"), ["a has no dimension 'g'", "is a scalar"]),
        (lambda idata: pmi.marginal(None, "u"), ["found NoneType", "DataTree"]),
        (lambda idata: pmi.compare_mcmc(idata, 3), ["idata_mcmc: found int"]),
        (lambda idata: pmi.compare_mcmc(idata, idata, ["v"]), ["'v' is not in both"]),
    ],
)
def test_wrong_use_of_a_result(idata, call, words):
    assert_message(lambda: call(idata), InvalidOptionError, words)


def mcmc_like(idata):
    return xr.DataTree.from_dict({"/posterior": idata["posterior"].to_dataset()})


def test_latent_gaussian_process_is_not_mistaken_for_bad_data():
    """An infinite bound occurs in the squared distances of its covariance function; it is no covariate."""
    with pm.Model() as model:
        scale = pm.Gamma("scale", 2, 2)
        process = pm.gp.Latent(cov_func=pm.gp.cov.ExpQuad(1, scale))
        f = process.prior("f", X=np.linspace(0, 5, 30)[:, None])
        pm.Poisson("y", pm.math.exp(f), observed=COUNTS)
    explained = pmi.explain(model, display=False)
    assert explained.refusal is None
    assert explained.to_frame().loc["f_rotated_", "role"] == "latent"
