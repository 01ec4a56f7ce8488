"""summary, marginal, compare_mcmc, reliability, plots and explain on results built by hand."""

import handmade
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pymc_inla as pmi
from pymc_inla.errors import InvalidOptionError, ReliabilityWarning, UnsupportedModelError
from pymc_inla.output import explain as explain_module
from pymc_inla.output.datatree import to_datatree
from pymc_inla.output.explain import explain

NAMES = ("b", "sigma", "u", "eta")


def build(verdict="good", seed=0, draws=1000, model=None):
    result = handmade.build_result(2 * draws, seed, verdict)
    return to_datatree(
        handmade.build_lgm(model), handmade.outputs, result, chains=2, draws=draws, names=NAMES, random_seed=1
    )


@pytest.fixture(scope="module")
def idata():
    return build()


# --- summary ----------------------------------------------------------------------------------------------------------


def test_summary_is_that_of_the_deterministic_marginals(idata):
    table = pmi.summary(idata)
    assert list(table.index) == ["b[0]", "b[1]", "u[p]", "u[q]", "u[r]", "sigma"]
    np.testing.assert_allclose(table["mean"][:5].to_numpy(float), handmade.MEAN_X)
    np.testing.assert_allclose(table["sd"][:5].to_numpy(float), handmade.SD_X)
    np.testing.assert_allclose(
        table.loc["u[q]", ["q2.5", "q97.5"]].to_numpy(float), stats.norm(0.2, 0.5).ppf([0.025, 0.975])
    )
    assert set(table["source"]) == {"marginal"}


def test_summary_by_kind_and_name(idata):
    assert list(pmi.summary(idata, kind="hyperparameter").index) == ["sigma"]
    assert list(pmi.summary(idata, ["u"], kind="latent").index) == ["u[p]", "u[q]", "u[r]"]
    criteria = pmi.summary(idata, kind="criteria")
    assert criteria.loc["log_marginal_likelihood", "value"] == -12.5
    assert criteria.loc["waic", "p_eff"] == 2.1
    eta = pmi.summary(idata, "eta")
    assert set(eta["source"]) == {"draws"}
    # eta[0] = b[0] + u[p], whose sum has the moments below; Monte Carlo error of 2000 draws, five standard errors
    assert abs(eta.loc["eta[p]", "mean"] - 0.6) < 5 * np.hypot(0.2, 0.4) / np.sqrt(2000)


@pytest.mark.parametrize("dim", ["statistic", "density_axis", "point", "theta"])
def test_dimension_of_the_model_with_a_name_of_the_results(dim, idata):
    named = build(model=handmade.build_model(dim))
    for var_names in (None, "u", "eta"):
        pd.testing.assert_frame_equal(pmi.summary(named, var_names), pmi.summary(idata, var_names))
    density, same = pmi.marginal(named, "u", **{dim: "q"}), pmi.marginal(idata, "u", plate="q")
    np.testing.assert_array_equal(density.x, same.x)
    with pytest.raises(InvalidOptionError, match=f"{dim}='p'"):
        pmi.marginal(named, "u")
    pd.testing.assert_frame_equal(pmi.compare_mcmc(named, named), pmi.compare_mcmc(idata, idata))
    assert dict(named["inla/integration"]["weights"].sizes) == {dim + "_" if dim == "point" else "point": 3}


def test_summary_refuses_unknown_names_and_kinds(idata):
    with pytest.raises(InvalidOptionError, match="Did you mean `sigma`"):
        pmi.summary(idata, ["sigm"])
    with pytest.raises(InvalidOptionError, match="Did you mean `latent`"):
        pmi.summary(idata, kind="latents")


# --- marginal ---------------------------------------------------------------------------------------------------------


def test_marginal_of_latents_hyperparameters_and_deterministics(idata):
    u = pmi.marginal(idata, "u", plate="q")
    assert u.name == "u[q]"
    np.testing.assert_allclose(u.ppf(0.9), stats.norm(0.2, 0.5).ppf(0.9), atol=1e-4)
    theta = pmi.marginal(idata, "sigma_log__")
    sigma = pmi.marginal(idata, "sigma")
    # two ways to the same density of the precision: from sigma and from log sigma
    np.testing.assert_allclose(
        sigma.transform(lambda s: s**-2).ppf(0.3), theta.transform(lambda t: np.exp(-2 * t)).ppf(0.3), rtol=1e-3
    )
    eta = pmi.marginal(idata, "eta", plate="p")
    assert abs(eta.mean - 0.6) < 0.06
    ax = u.plot()
    assert ax.get_xlabel() == "u[q]"


def test_marginal_asks_for_one_element(idata):
    with pytest.raises(InvalidOptionError, match="one coordinate for each of plate"):
        pmi.marginal(idata, "u")
    with pytest.raises(InvalidOptionError, match=r"no dimension 'plat'. Did you mean `plate`"):
        pmi.marginal(idata, "u", plat="q")
    with pytest.raises(InvalidOptionError, match="'zzz' is not a coordinate of plate"):
        pmi.marginal(idata, "u", plate="zzz")
    with pytest.raises(InvalidOptionError, match="no variable 'v'"):
        pmi.marginal(idata, "v")


# --- compare_mcmc -----------------------------------------------------------------------------------------------------


def independent_draws(shift=0.0, draws=1000):
    """Independent draws from the same posterior stand in for a perfect MCMC run."""
    other = build(seed=7, draws=draws)
    posterior = other["posterior"].to_dataset()
    posterior["b"] = posterior["b"] + shift
    return xr.DataTree.from_dict({"/posterior": posterior})


def test_equal_posteriors_are_not_flagged(idata):
    table = pmi.compare_mcmc(idata, independent_draws())
    assert len(table) == 2 + 1 + 3 + 3
    assert set(table["flag"]) == {""}
    assert (table["kolmogorov"] < table["noise"] + 0.03).all()
    # differences of independent means in standard errors: beyond 4.5 once in 100 000
    assert (table["diff_mcse"].abs() < 4.5).all()
    np.testing.assert_allclose(table["sd_ratio"].to_numpy(float), 1, atol=0.1)


def test_a_shifted_posterior_is_flagged(idata):
    """A shift by half a sd moves a normal distribution function by up to 2 Phi(0.25) - 1 = 0.197."""
    table = pmi.compare_mcmc(idata, independent_draws(shift=0.1, draws=20_000), ["b"])
    assert table.loc["b[0]", "flag"] == "differs"
    assert abs(table.loc["b[0]", "kolmogorov"] - 0.197) < 1.63 / np.sqrt(40_000)
    assert abs(table.loc["b[0]", "diff_sd"] + 0.5) < 0.03


def test_mcmc_that_did_not_converge_is_no_reference(idata):
    stuck = independent_draws()
    posterior = stuck["posterior"].to_dataset()
    posterior["sigma"] = posterior["sigma"] + posterior["chain"]
    with pytest.warns(ReliabilityWarning, match="no reference for 1 of 1"):
        table = pmi.compare_mcmc(idata, xr.DataTree.from_dict({"/posterior": posterior}), "sigma")
    assert list(table["flag"]) == ["mcmc"]


def test_compare_what_is_constant_but_for_rounding():
    """The diagonal of a correlation matrix differs in the last digit, which is no difference."""
    rng = np.random.default_rng(1)
    one = 1.0 + 2.0**-52 * rng.integers(0, 2, (2, 500))
    trees = [
        xr.DataTree.from_dict({"/posterior": xr.Dataset({"r": (("chain", "draw"), values)})})
        for values in (np.ones((2, 500)), one)
    ]
    row = pmi.compare_mcmc(*trees).loc["r"]
    assert row["flag"] == "" and row["kolmogorov"] == 0 and row["diff_sd"] == 0
    # a constant that is another one
    trees[1] = xr.DataTree.from_dict({"/posterior": xr.Dataset({"r": (("chain", "draw"), one + 0.1)})})
    assert pmi.compare_mcmc(*trees).loc["r", "kolmogorov"] == 1


def test_compare_refuses_what_does_not_match(idata):
    with pytest.raises(InvalidOptionError, match="not in both"):
        pmi.compare_mcmc(idata, independent_draws(), ["nope"])
    posterior = independent_draws()["posterior"].to_dataset().isel(plate=[0, 1])
    with pytest.raises(InvalidOptionError, match="different shapes"):
        pmi.compare_mcmc(idata, xr.DataTree.from_dict({"/posterior": posterior}), ["u"])


@pytest.mark.parametrize("kind", ["marginals", "forest", "quantiles"])
def test_plots_of_posteriors_of_different_sizes(idata, kind):
    collection = pmi.plot_comparison(
        idata, independent_draws(draws=300), var_names=["b", "sigma"], kind=kind, backend="none"
    )
    assert collection.viz is not None


# --- reliability ------------------------------------------------------------------------------------------------------


def test_verdict_reads_back():
    verdict = pmi.reliability(build("check"))
    assert verdict.verdict == "check"
    assert verdict.messages == ("The integral over sigma is rough. Use integration='grid'.",)
    assert "k_hat = 0.1" in str(verdict)
    assert verdict.to_frame().loc["outer_change", "value"] == 0.003
    assert pmi.reliability(build()).messages == ()


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_prints_and_returns_what_was_recognized(monkeypatch, capsys):
    monkeypatch.setattr(explain_module, "analyze_model", lambda model: handmade.build_lgm(model))
    explained = explain(handmade.build_model())
    printed = capsys.readouterr().out
    assert "hyperparameter" in printed and "pc.prec" in printed
    frame = explained.to_frame()
    assert frame.loc["b", "role"] == "latent"
    assert frame.loc["b", "size"] == 2
    assert repr(explained) == "<Explained: 2 latent values, 1 hyperparameters>"
    assert "<table" in explained._repr_html_()
    explain(handmade.build_model(), display=False)
    assert capsys.readouterr().out == ""


def test_explain_shows_a_refusal_with_its_advice(monkeypatch, capsys):
    def refuse(model):
        raise UnsupportedModelError("k", "it is discrete", "Sum it out.")

    monkeypatch.setattr(explain_module, "analyze_model", refuse)
    explained = explain(pm.Model())
    assert "k: it is discrete.\nSum it out." in capsys.readouterr().out
    assert explained.refusal.variable == "k"
    assert explained.to_frame().empty
    assert "Sum it out" in explained._repr_html_()
    with pytest.raises(InvalidOptionError, match="refused"):
        explained.plot()
