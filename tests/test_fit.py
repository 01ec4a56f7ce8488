"""Whole fits of small models through the public entry points: what comes back, and that the options do something."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_inla as pmi
from pymc_inla.__main__ import main
from pymc_inla.datasets import load
from pymc_inla.demo import seeds_model
from pymc_inla.errors import UnsupportedModelError


@pytest.fixture(scope="module")
def model():
    return seeds_model()


@pytest.fixture(scope="module")
def idata(model):
    return pm.fit(method="inla", model=model, draws=200, chains=2, random_seed=1, progressbar=False)


def test_shipped_data():
    data = load("seeds")
    assert data.shape == (21, 5)
    assert int(data["seeds"].sum()) == 831
    assert int(data["germinated"].sum()) == 424


def test_groups_dims_and_coordinates(idata):
    expected = {"posterior", "sample_stats", "observed_data", "inla"}
    assert expected <= set(idata.children)
    assert idata.posterior["u"].dims == ("chain", "draw", "plate")
    assert list(idata.posterior["plate"].values) == list(range(1, 22))
    assert dict(idata.posterior.sizes) == {"chain": 2, "draw": 200, "plate": 21}
    assert list(idata.observed_data["germinated"].values) == list(load("seeds")["germinated"])


def test_the_three_entry_points_agree(idata, model):
    options = {"draws": 200, "chains": 2, "random_seed": 1, "progressbar": False}
    with model:
        for other in (pmi.fit(**options), pm.fit(method=pmi.INLA(**options))):
            for name in idata.posterior.data_vars:
                np.testing.assert_array_equal(other.posterior[name], idata.posterior[name])


def test_draws_agree_with_the_deterministic_marginals(model):
    idata = pmi.fit(model, draws=2000, chains=2, random_seed=2, progressbar=False)
    table = pmi.summary(idata)
    for name in ("intercept", "b_seed", "b_extract", "b_interaction", "sigma"):
        draws = idata.posterior[name].values.ravel()
        row = table.loc[name]
        # the mean of 4000 draws: five standard errors, and 0.02 sd for what the approximation of the marginals may miss
        assert abs(draws.mean() - row["mean"]) < (5 / np.sqrt(4000) + 0.02) * row["sd"]
        assert abs(draws.std() / row["sd"] - 1) < 0.08


def test_like_takes_the_sizes(idata, model):
    other = pmi.fit(model, like=idata, random_seed=1, progressbar=False)
    assert other.posterior.sizes["draw"] == 200
    assert other.posterior.sizes["chain"] == 2


def test_var_names_transformed_and_log_likelihood(idata, model):
    other = pmi.fit(
        model,
        draws=50,
        chains=1,
        random_seed=1,
        var_names=["b_seed", "sigma"],
        include_transformed=True,
        log_likelihood=True,
        progressbar=False,
    )
    assert list(other.posterior.data_vars) == ["b_seed", "sigma", "sigma_log__"]
    assert other.log_likelihood["germinated"].shape == (1, 50, 21)
    np.testing.assert_allclose(np.log(other.posterior["sigma"]), other.posterior["sigma_log__"])


def test_start_does_not_change_the_answer(model, idata):
    other = pmi.fit(model, draws=50, chains=1, start={"sigma": 1.5}, random_seed=1, progressbar=False)
    # both searches end within the optimizer's tolerance of one mode; the grid laid there moves with it
    np.testing.assert_allclose(
        pmi.summary(other, ["sigma"])["mean"].to_numpy(float),
        pmi.summary(idata, ["sigma"])["mean"].to_numpy(float),
        rtol=1e-3,
    )


def test_backend_and_compile_kwargs_are_honored(model, idata):
    other = pmi.fit(
        model, draws=50, chains=1, random_seed=1, progressbar=False, compile_kwargs={"mode": "FAST_COMPILE"}
    )
    np.testing.assert_allclose(
        pmi.summary(other)["mean"].to_numpy(float), pmi.summary(idata)["mean"].to_numpy(float), atol=1e-6
    )
    with pytest.raises(ValueError, match="Can only define one"):
        pmi.fit(model, backend="numba", compile_kwargs={"mode": "FAST_COMPILE"}, progressbar=False)


def test_round_trip_of_a_whole_fit(idata, tmp_path):
    idata.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    back = xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")
    xr.testing.assert_identical(back, idata)
    assert pmi.reliability(back).verdict == pmi.reliability(idata).verdict


def test_arviz_and_pymc_work_on_the_result(idata, model):
    from arviz_stats import summary

    assert summary(idata, var_names=["b_seed"]).shape[0] == 1
    with model:
        predictive = pm.sample_posterior_predictive(
            idata, progressbar=False, random_seed=1, compile_kwargs={"mode": "FAST_COMPILE"}
        )
    assert predictive.posterior_predictive["germinated"].shape == (2, 200, 21)


def test_missing_responses_come_back_as_pm_sample_names_them():
    y = np.array([1.0, 2.0, np.nan, 3.0, 2.5, np.nan])
    g = np.array([0, 0, 0, 1, 1, 1])
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("sigma", 1), shape=2)
        with pytest.warns(pm.exceptions.ImputationWarning):
            pm.Normal("y", u[g], 0.5, observed=y)
    idata = pmi.fit(model, draws=1000, chains=2, random_seed=1, progressbar=False)
    posterior = idata.posterior
    assert list(posterior.data_vars) == ["sigma", "u", "y_unobserved", "y"]
    np.testing.assert_array_equal(
        posterior["y"].values[..., [0, 1, 3, 4]], np.broadcast_to([1, 2, 3, 2.5], (2, 1000, 4))
    )
    predicted, u = posterior["y_unobserved"].values, posterior["u"].values
    # y given u is normal around it with sd 0.5: mean of 2000 draws, five standard errors
    assert np.all(np.abs((predicted - u).mean(axis=(0, 1))) < 5 * 0.5 / np.sqrt(2000))
    np.testing.assert_allclose((predicted - u).std(axis=(0, 1)), 0.5, rtol=0.1)


def test_bambi_model_through_its_own_fit():
    import bambi
    import pandas as pd

    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(8), 6)
    x = rng.normal(size=48)
    y = rng.poisson(np.exp(0.3 + 0.5 * x + rng.normal(0, 0.5, 8)[g]))
    built = bambi.Model("y ~ x + (1|g)", pd.DataFrame({"y": y, "x": x, "g": g}), family="poisson")
    idata = built.fit(inference_method="vi", method="inla", draws=100, chains=2, random_seed=1, progressbar=False)
    assert {"Intercept", "x", "1|g", "1|g_sigma"} <= set(idata.posterior.data_vars)
    assert idata.posterior["1|g"].sizes["g__factor_dim"] == 8
    assert abs(pmi.summary(idata, "x")["mean"].iloc[0] - 0.5) < 0.3


def test_elements_of_matrix_hyperparameters_are_summarized_from_draws():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(10), 5)
    x = rng.normal(size=50)
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.Exponential.dist(1.0))
        w = pm.MvNormal("w", np.zeros(2), chol=chol, shape=(10, 2))
        pm.Normal("y", w[g, 0] + w[g, 1] * x, 0.5, observed=rng.normal(size=50))
    idata = pmi.fit(model, draws=200, chains=2, random_seed=1, progressbar=False)
    packed = idata["inla/hyperparameter_marginals"]["chol"]
    assert packed.sizes["statistic"] == 8
    # the first element of a Cholesky factor is a standard deviation, one unconstrained value of its own
    assert packed.attrs["source"] == "marginal\ndraws\ndraws"
    means = idata.posterior["chol"].mean(("chain", "draw"))
    np.testing.assert_allclose(packed.sel(statistic="mean")[1:], means[1:])
    sds = packed.sel(statistic="sd")
    # five standard errors of 400 draws
    assert abs(packed.sel(statistic="mean")[0] - means[0]) < 5 * sds[0] / np.sqrt(400)
    assert idata["inla/unconstrained_marginals"]["chol_scales-correlations__"].shape == (3, 8)


def test_versions_and_caches_are_printed(capsys):
    main(["versions"])
    printed = capsys.readouterr().out
    assert "pymc-inla" in printed and "PyTensor cache" in printed and "Numba cache" in printed


def test_a_refused_model_is_an_error_that_names_the_variable():
    with pm.Model() as model:
        k = pm.Poisson("k", 3)
        a = pm.Normal("a", 0, 1)
        pm.Normal("y", a + k, 1, observed=[1.0, 2.0])
    with pytest.raises(UnsupportedModelError, match="k"):
        pmi.fit(model, progressbar=False)
    assert pmi.explain(model, display=False).refusal.variable == "k"


def test_more_than_twenty_hyperparameters_need_empirical_bayes():
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1, shape=21)
        u = pm.Normal("u", 0, s, shape=21)
        pm.Normal("y", u, 1, observed=np.zeros(21))
    with pytest.raises(UnsupportedModelError, match=r'^s: .*integration="eb"'):
        pmi.fit(model, progressbar=False)


def test_explain_draws_the_matrix(model):
    from matplotlib import pyplot

    explained = pmi.explain(model, display=False)
    assert set(explained.to_frame()["role"]) >= {"latent", "hyperparameter", "likelihood"}
    ax = explained.plot()
    assert ax.get_yticklabels()[-1].get_text() == "u"
    pyplot.close(ax.figure)
