"""Options are checked before anything is computed; start values; sizes; progress."""

import io
import itertools

import handmade
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from rich.console import Console

import pymc_inla as pmi
from pymc_inla import fit as fit_function
from pymc_inla.errors import InvalidOptionError
from pymc_inla.fit import choose_sizes, default_chains, posterior_names
from pymc_inla.options import FitOptions, seed_sequence
from pymc_inla.output import progress as progress_module
from pymc_inla.output.progress import FitProgress
from pymc_inla.output.start import find_theta_start

POSTERIOR = xr.DataTree.from_dict({"/posterior": xr.Dataset({"a": (("chain", "draw"), np.zeros((3, 7)))})})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"strategy": "laplce"}, "Did you mean `laplace`"),
        ({"integration": "gird"}, "Did you mean `grid`"),
        ({"draws": 0}, "integer of at least 1"),
        ({"draws": 2.5}, "integer of at least 1"),
        ({"chains": True}, "integer of at least 1"),
        ({"like": POSTERIOR, "draws": 3}, "leave out"),
        ({"like": "posterior"}, "dimensions chain and draw"),
        ({"random_seed": "one"}, "random_seed='one'"),
        ({"start": {"sigma": np.nan}}, r"start\['sigma'\]=nan is not finite"),
        ({"start": {"sigma": [1.0, np.inf]}}, "not finite"),
        ({"start": [1.0]}, "give a dict"),
        ({"start": {"sigma": "x"}}, "not finite"),
        ({"compile_kwargs": "numba"}, "give a dict"),
        ({"include_transformed": "yes"}, "True or False"),
        ({"criteria": None}, "True or False"),
        ({"vb_correct": [0.5]}, "non-negative integers"),
        ({"vb_correct": [-1]}, "non-negative integers"),
        ({"random_seed": []}, "one or more integers"),
        ({"random_seed": [[1, 2]]}, "one or more integers"),
        ({"random_seed": (True,)}, "one or more integers"),
        ({"strategy": np.array(["laplace", "auto"])}, "strategy=.*allowed are auto"),
        ({"strategy": ["laplace"]}, "strategy=.*allowed are auto"),
        ({"backend": 3}, "backend=3: give the name"),
        ({"backend": ["numba"]}, "give the name"),
        ({"var_names": 3}, "var_names=3: give a name or a sequence of names"),
        ({"var_names": [["u"]]}, "sequence of names"),
        ({"var_names": {"u": 1}}, "sequence of names"),
        ({"log_likelihood": {"y": True}}, "log_likelihood=.*give True, False, a name or a sequence of names"),
        ({"log_prior": 3}, "log_prior=3: give True, False, a name"),
        ({"progressbar": "no"}, "progressbar='no': give True or False"),
        ({"progressbar": None}, "True or False"),
        ({"progressbar_theme": "dark"}, "rich.theme.Theme"),
    ],
)
def test_bad_values_say_what_is_allowed(option, message):
    with pytest.raises(InvalidOptionError, match=message):
        fit_function(model=None, **option)


@pytest.mark.parametrize("wrong", ["laplace", 3])
def test_what_is_no_model_is_refused_when_the_method_is_made(wrong):
    with pytest.raises(InvalidOptionError, match=r"Give a pymc\.Model"):
        pmi.INLA(wrong)


def test_seeds():
    assert seed_sequence(4).entropy == 4
    for one in (np.array(4), np.array([4]), [4], np.int64(4)):
        assert seed_sequence(FitOptions(random_seed=one).random_seed).entropy == 4
    assert list(seed_sequence([1, 2]).entropy) == [1, 2]
    one, two = (seed_sequence(np.random.default_rng(3)).generate_state(2) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    generator = np.random.default_rng(3)
    assert seed_sequence(generator).entropy != seed_sequence(generator).entropy
    assert seed_sequence(None).entropy != seed_sequence(None).entropy


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_default_sizes_are_those_of_pm_sample(monkeypatch):
    from pymc.sampling.parallel import _cpu_count

    assert default_chains() == max(2, min(4, _cpu_count()))
    lgm = handmade.build_lgm()
    names = posterior_names(lgm, None)
    assert names == ("b", "sigma", "u", "eta")
    assert choose_sizes(lgm, names, FitOptions()) == (default_chains(), 1000)
    assert choose_sizes(lgm, names, FitOptions(draws=5, chains=1)) == (1, 5)
    assert choose_sizes(lgm, names, FitOptions(like=POSTERIOR)) == (3, 7)


def test_large_posteriors_get_fewer_draws_unless_asked_for(monkeypatch):
    lgm = handmade.build_lgm()
    # 9 numbers per draw and 2 chains: 500 MB would hold 3.5 million draws, so pretend that x is a million long
    monkeypatch.setattr(type(lgm), "n_x", 1_000_000)
    names = posterior_names(lgm, None)
    with pytest.warns(UserWarning, match=r"16.0 GB: 31 draws per chain"):
        assert choose_sizes(lgm, names, FitOptions(chains=2)) == (2, 31)
    assert choose_sizes(lgm, names, FitOptions(chains=2, draws=1000)) == (2, 1000)


def test_var_names_are_checked():
    lgm = handmade.build_lgm()
    assert posterior_names(lgm, ("u", "b")) == ("b", "u")
    with pytest.raises(InvalidOptionError, match=r"no posterior variable 'et'. Did you mean `eta`"):
        posterior_names(lgm, ("et",))


# --- start ------------------------------------------------------------------------------------------------------------


def test_start_values_go_to_the_unconstrained_scale():
    lgm = handmade.build_lgm()
    np.testing.assert_allclose(find_theta_start(lgm, {"sigma": 2.5}), [np.log(2.5)])
    np.testing.assert_allclose(find_theta_start(lgm, {"u": np.zeros(3)}), [0.0])


def test_start_refuses_names_shapes_and_values_outside_the_support():
    lgm = handmade.build_lgm()
    with pytest.raises(InvalidOptionError, match=r"no free variable 'sgma'. Did you mean `sigma`"):
        find_theta_start(lgm, {"sgma": 1.0})
    with pytest.raises(InvalidOptionError, match="shape"):
        find_theta_start(lgm, {"sigma": [1.0, 2.0]})
    with pytest.raises(InvalidOptionError, match="outside the support"):
        find_theta_start(lgm, {"sigma": -1.0})


def test_start_of_a_variable_whose_bound_is_another_variable():
    from pymc_inla.lgm import Hyperparameter

    with pm.Model() as model:
        top = pm.Uniform("top", 1, 3)
        s = pm.Uniform("s", 0, top)
    base = handmade.build_lgm().__dict__
    hyperparameters = tuple(
        Hyperparameter(rv.name, (), i, model.rvs_to_values[rv], np.array(0.0), "") for i, rv in enumerate([top, s])
    )
    from pymc_inla.lgm import LatentGaussianModel

    lgm = LatentGaussianModel(**{**base, "model": model, "hyperparameters": hyperparameters})
    theta = find_theta_start(lgm, {"top": 2.0, "s": 0.5})
    # interval transform: log((x - lower) / (upper - x))
    np.testing.assert_allclose(theta, [np.log(1.0 / 1.0), np.log(0.5 / 1.5)], atol=1e-12)


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def ticking(monkeypatch):
    """A clock that advances by 0.4 s at every look."""
    clock = itertools.count(0, 0.4)
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: next(clock))


def test_a_short_fit_shows_nothing():
    stream = io.StringIO()
    with FitProgress(console=Console(file=stream)) as progress:
        progress("Compiling", 0.5)
    assert stream.getvalue() == ""


def test_a_long_fit_shows_its_stage_and_ends(ticking):
    stream = io.StringIO()
    with FitProgress(console=Console(file=stream, force_terminal=True, width=80)) as progress:
        for k in range(6):
            progress("Integrating", k / 5)
    assert "INLA finished" in stream.getvalue()


def test_progress_can_be_switched_off(ticking):
    stream = io.StringIO()
    with FitProgress(False, console=Console(file=stream)) as progress:
        for k in range(6):
            progress("Integrating", k / 5)
    assert stream.getvalue() == ""


def test_a_notebook_without_widgets_gets_no_progress_instead_of_warnings(ticking, monkeypatch):
    find = progress_module.importlib.util.find_spec
    monkeypatch.setattr(
        progress_module.importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else find(name)
    )
    stream = io.StringIO()
    with FitProgress(console=Console(file=stream, force_jupyter=True)) as progress:
        for k in range(6):
            progress("Integrating", k / 5)
    assert stream.getvalue() == "" and progress.bar is None


def test_log_likelihood_of_a_model_with_start_values():
    """PyMC rewrites no model whose variables have start values; effects have them."""
    y = np.array([0.3, -0.4, 1.2, 0.8])
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 1.0, initval=0.7)
        pm.Normal("y", pm.Normal("b", 0, 1), sigma, observed=y)
    idata = pmi.fit(
        model, draws=20, chains=1, random_seed=1, progressbar=False, log_likelihood=True, log_prior=["sigma"]
    )
    b, sigma = (idata["posterior"][name].values[..., None] for name in ("b", "sigma"))
    expected = -0.5 * ((y - b) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(idata["log_likelihood"]["y"], expected)
    assert model.initial_point()["sigma_log__"] == pytest.approx(np.log(0.7))
