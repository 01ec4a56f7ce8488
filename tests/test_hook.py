"""`pm.fit(method="inla")` and `pm.fit(method=INLA())`: the wrapper, without running a fit."""

import inspect
import subprocess
import sys

import pymc as pm
import pytest
from pymc.variational import inference

import pymc_inla as pmi
from pymc_inla import hook
from pymc_inla.errors import InvalidOptionError

ORIGINAL = inspect.unwrap(pm.fit)


@pytest.fixture
def calls(monkeypatch):
    """Every (model, options) that would have been fitted."""
    seen = []

    def record(model, options):
        seen.append((model, options))
        return "fitted"

    monkeypatch.setattr(hook, "fit_model", record)
    return seen


@pytest.fixture
def model():
    with pm.Model() as model:
        pm.Normal("x")
    return model


def test_the_three_names_are_one_wrapper_and_registering_again_changes_nothing():
    before = pm.fit
    hook.register()
    assert pm.fit is pm.variational.fit is inference.fit is before
    assert ORIGINAL is not before
    assert not hasattr(ORIGINAL, "__wrapped__")


def test_signature_and_documentation_are_kept():
    assert inspect.signature(pm.fit) == inspect.signature(ORIGINAL)
    assert pm.fit.__doc__ == ORIGINAL.__doc__
    assert pm.fit.__name__ == "fit"


@pytest.mark.parametrize("name", ["inla", "INLA", "Inla"])
def test_name_is_case_insensitive(calls, model, name):
    assert pm.fit(method=name, model=model) == "fitted"
    assert calls[0][0] is model


def test_model_of_the_context(calls, model):
    with model:
        pm.fit(method="inla")
    assert calls[0][0] is model


def test_options_arrive(calls, model):
    with model:
        pm.fit(
            method="inla",
            random_seed=3,
            progressbar=False,
            backend="numba",
            include_transformed=True,
            start={"x": 1.0},
            draws=7,
            chains=3,
            strategy="laplace",
        )
    options = calls[0][1]
    assert (options.random_seed, options.progressbar, options.backend) == (3, False, "numba")
    assert (options.include_transformed, options.start) == (True, {"x": 1.0})
    assert (options.draws, options.chains, options.strategy) == (7, 3, "laplace")
    with model:
        pm.fit(method="inla", compile_kwargs={"mode": "FAST_COMPILE"})
    assert calls[1][1].compile_kwargs == {"mode": "FAST_COMPILE"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"n": 10_000}, "draws"),
        ({"callbacks": [print]}, "no stochastic iterations"),
        ({"score": True}, "no loss"),
        ({"obj_n_mc": 5}, "Monte Carlo"),
        ({"start_sigma": {"x": 1.0}}, "start"),
        ({"inf_kwargs": {}}, "directly"),
        ({"obj_optimizer": pm.adam()}, "variational"),
    ],
)
def test_arguments_of_variational_methods_are_refused_with_a_reason(calls, model, arguments, reason):
    (name,) = arguments
    with pytest.raises(InvalidOptionError, match=rf"`{name}`.*{reason}"):
        pm.fit(method="inla", model=model, **arguments)
    assert calls == []


def test_positional_n_is_refused_too(model):
    with pytest.raises(InvalidOptionError, match="`n`"):
        pm.fit(500, "inla", model)


def test_arguments_left_at_none_are_no_arguments(calls, model):
    pm.fit(method="inla", model=model, callbacks=None, score=None, start_sigma=None, random_seed=None)
    assert len(calls) == 1


@pytest.mark.parametrize("call", [pm.fit, pmi.fit])
def test_unknown_options_are_refused_with_the_nearest_match(model, call):
    method = {} if call is pmi.fit else {"method": "inla"}
    with pytest.raises(InvalidOptionError, match=r"`stratgy`.*Did you mean `strategy`"):
        call(model=model, stratgy="laplace", **method)


def test_options_are_checked_before_the_model_is_looked_for():
    with pytest.raises(InvalidOptionError, match="draws=0"):
        pm.fit(method="inla", draws=0)
    with pytest.raises(InvalidOptionError, match="No model was given"):
        pm.fit(method="inla")


def test_other_methods_pass_through(model):
    with model:
        approximation = pm.fit(
            20, method="advi", progressbar=False, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"}
        )
    assert isinstance(approximation, inference.MeanField)
    with pytest.raises(KeyError, match="method should be one of"):
        pm.fit(method="nope", model=model)
    with pytest.raises(TypeError, match="method should be one of"):
        pm.fit(method=3, model=model)
    with pytest.raises(TypeError, match="positional"):
        pm.fit(1, 2, 3, 4, 5, 6, 7, 8)


# --- the object -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [pm.fit, ORIGINAL])
def test_object_with_and_without_the_wrapper(calls, model, entry):
    with model:
        result = entry(
            method=pmi.INLA(strategy="laplace", random_seed=5, backend="numba"),
            progressbar=False,
            include_transformed=True,
        )
    assert result == "fitted"
    found, options = calls[0]
    assert found is model
    assert (options.strategy, options.random_seed, options.backend) == ("laplace", 5, "numba")
    assert options.include_transformed
    assert options.progressbar is False


@pytest.mark.parametrize("entry", [pm.fit, ORIGINAL])
def test_object_carries_its_model(calls, model, entry):
    with pm.Model():
        entry(method=pmi.INLA(model=model))
    assert calls[0][0] is model


def test_arguments_of_the_call_win_over_those_of_the_object(calls, model):
    with model:
        pm.fit(method=pmi.INLA(random_seed=5, draws=10), random_seed=6)
    assert (calls[0][1].random_seed, calls[0][1].draws) == (6, 10)


@pytest.mark.parametrize("entry", [pm.fit, ORIGINAL])
@pytest.mark.parametrize("arguments", [{"n": 7}, {"callbacks": [print]}, {"score": True}, {"obj_n_mc": 2}])
def test_object_refuses_arguments_of_variational_methods(calls, model, entry, arguments):
    (name,) = arguments
    with model, pytest.raises(InvalidOptionError, match=f"`{name}`"):
        entry(method=pmi.INLA(), **arguments)


def test_object_refuses_unknown_options_and_two_models(model):
    with pytest.raises(InvalidOptionError, match="Did you mean `integration`"):
        pmi.INLA(integraton="grid")
    with pytest.raises(InvalidOptionError, match="different models"):
        pm.fit(method=pmi.INLA(model=pm.Model()), model=model)


def test_bambi_reaches_the_method(calls):
    import bambi
    import pandas as pd

    data = pd.DataFrame({"y": [0.1, 0.5, 0.2, 0.9], "x": [0.0, 1.0, 2.0, 3.0]})
    built = bambi.Model("y ~ x", data)
    built.fit(inference_method="vi", method="inla", random_seed=4)
    found, options = calls[0]
    assert found is built.backend.model
    assert options.random_seed == 4


# --- the import -------------------------------------------------------------------------------------------------------


def test_import_brings_in_nothing_heavy():
    code = """
import sys, pymc
before = set(sys.modules)
import pymc_inla
new = {name.split(".")[0] for name in set(sys.modules) - before}
heavy = {"arviz", "arviz_base", "arviz_stats", "arviz_plots", "numba", "matplotlib", "pymc_extras", "pandas"}
print(sorted(new & heavy))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_submodule_fit_does_not_hide_the_function():
    import importlib

    importlib.import_module("pymc_inla.fit")
    assert callable(pmi.fit)
    assert {"fit", "INLA", "explain", "summary"} <= set(dir(pmi))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        pmi.nothing_of_the_kind  # noqa: B018
