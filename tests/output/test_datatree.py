"""The DataTree of a result built by hand: names, dims, coordinates, values, files."""

import handmade
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_inla as pmi
from pymc_inla.output.datatree import to_datatree

CHAINS, DRAWS = 2, 500
NAMES = ("b", "sigma", "u", "eta")


def build(**options):
    lgm = handmade.build_lgm()
    return to_datatree(
        lgm,
        handmade.outputs,
        handmade.build_result(CHAINS * DRAWS),
        chains=CHAINS,
        draws=DRAWS,
        names=NAMES,
        random_seed=1,
        timings={"analysis": 0.1},
        **options,
    )


@pytest.fixture(scope="module")
def idata():
    return build()


def test_posterior_has_the_shape_of_pm_sample(idata):
    with handmade.build_model():
        sampled = pm.sample(
            draws=3,
            tune=3,
            chains=2,
            cores=1,
            progressbar=False,
            compute_convergence_checks=False,
            random_seed=1,
            compile_kwargs=handmade.FAST,
        )
    for group in ("posterior", "observed_data", "constant_data"):
        ours, theirs = idata[group].to_dataset(), sampled[group].to_dataset()
        assert set(ours.data_vars) == set(theirs.data_vars)
        for name in theirs.data_vars:
            assert ours[name].dims == theirs[name].dims
            assert ours[name].dtype == theirs[name].dtype
        for name in set(theirs.coords) - {"draw"}:
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert set(sampled.posterior.attrs) <= set(idata.posterior.attrs)
    assert dict(idata.posterior.sizes)["chain"], dict(idata.posterior.sizes)["draw"] == (CHAINS, DRAWS)


def test_draws_keep_their_order(idata):
    result = handmade.build_result(CHAINS * DRAWS)
    np.testing.assert_array_equal(idata.posterior["u"].values.reshape(-1, 3), result.draws_x[:, 2:])
    np.testing.assert_array_equal(idata.posterior["sigma"].values.ravel(), np.exp(result.draws_theta[:, 0]))
    np.testing.assert_array_equal(idata.sample_stats["log_p"].values.ravel(), result.log_p)
    np.testing.assert_array_equal(idata.sample_stats["log_q"].values.ravel(), result.log_q)


def test_attributes(idata):
    for group in ("posterior", "sample_stats", "observed_data", "inla", "inla/reliability", "inla/latent_marginals"):
        assert idata[group].attrs["inference_library"] == "pymc_inla"
        assert idata[group].attrs["inference_library_version"]
    assert idata.posterior.attrs["sampling_time"] > 0
    attrs = idata["inla"].attrs
    assert attrs["log_marginal_likelihood"] == -12.5
    assert attrs["count_evaluations"] == 31
    assert attrs["time_analysis"] == 0.1
    assert attrs["strategy"] == "laplace"


def test_latent_marginals_carry_dims_and_coordinates(idata):
    u = idata["inla/latent_marginals"]["u"]
    assert u.dims == ("plate", "statistic")
    np.testing.assert_allclose(u.sel(plate="q", statistic="mean"), handmade.MEAN_X[3])
    np.testing.assert_allclose(u.sel(plate="r", statistic="sd"), handmade.SD_X[4])
    b = idata["inla/latent_densities"]["b"]
    assert b.dims == ("b_dim_0", "density_axis", "point")
    x, pdf = b.sel(b_dim_0=1).values
    np.testing.assert_allclose(np.trapezoid(x * pdf, x), handmade.MEAN_X[1])


def test_hyperparameter_on_its_natural_scale_is_log_normal(idata):
    """log sigma is normal, so sigma is log-normal: closed forms for everything."""
    m, s = handmade.MEAN_THETA[0], handmade.SD_THETA[0]
    sigma = idata["inla/hyperparameter_marginals"]["sigma"]
    mean = np.exp(m + s**2 / 2)
    # the grid ends at 6 sd, beyond which 1e-9 of the mass lies
    np.testing.assert_allclose(sigma.sel(statistic="mean"), mean, rtol=1e-7)
    np.testing.assert_allclose(sigma.sel(statistic="sd"), mean * np.sqrt(np.expm1(s**2)), rtol=1e-6)
    # vertex of a parabola through points 0.06 sd apart: skewness moves it by about a thousandth of a sd
    np.testing.assert_allclose(sigma.sel(statistic="mode"), np.exp(m - s**2), rtol=5e-4)
    np.testing.assert_allclose(sigma.sel(statistic="q97.5"), np.exp(m + 1.959963985 * s), rtol=1e-9)
    x, pdf = idata["inla/hyperparameter_densities"]["sigma"].values
    expected = np.exp(-0.5 * ((np.log(x) - m) / s) ** 2) / (x * s * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(pdf, expected, rtol=1e-6)
    theta = idata["inla/unconstrained_marginals"]["sigma_log__"]
    np.testing.assert_allclose(theta.sel(statistic="mean"), m)


def test_integration_and_criteria(idata):
    integration = idata["inla/integration"]
    assert integration["points"].dims == ("point", "theta")
    assert list(integration["theta"].values) == ["sigma_log__"]
    meanings = integration["status"].attrs["meanings"].split("\n")
    assert meanings[int(integration["status"][2])].startswith("the iteration limit")
    assert integration.attrs["method"] == "grid"
    assert float(idata["inla/criteria"]["dic"]) == 10.0
    assert idata["inla/criteria/log_cpo"]["y"].dims == ("plate",)
    np.testing.assert_array_equal(idata["inla/criteria/failure"]["y"], [0, 1, 0])
    assert "pit" not in idata["inla/criteria"].children


def test_include_transformed_names_theta_as_pymc_does():
    idata = build(include_transformed=True)
    np.testing.assert_allclose(np.exp(idata.posterior["sigma_log__"]), idata.posterior["sigma"])


def test_log_likelihood_and_log_prior_on_request():
    from scipy import stats

    idata = build(log_likelihood=True, log_prior=["b"])
    expected = stats.poisson.logpmf([1, 0, 3], np.exp(idata.posterior["eta"].values))
    np.testing.assert_allclose(idata.log_likelihood["y"].values, expected)
    assert list(idata.log_prior.data_vars) == ["b"]


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_round_trip_through_a_file(idata, tmp_path, kind):
    path = tmp_path / f"fit.{'nc' if kind == 'netcdf' else 'zarr'}"
    if kind == "netcdf":
        idata.to_netcdf(path, engine="h5netcdf")
        back = xr.load_datatree(path, engine="h5netcdf")
    else:
        idata.to_zarr(path, consolidated=False)
        back = xr.load_datatree(path, engine="zarr", consolidated=False)
    assert set(back.groups) == set(idata.groups)
    for group in idata.groups:
        xr.testing.assert_identical(back[group].to_dataset(), idata[group].to_dataset())
        for name, array in idata[group].data_vars.items():
            assert back[group][name].dtype == array.dtype


def test_predictive_sampling_works_on_the_result(idata):
    with handmade.build_model():
        predicted = pm.sample_posterior_predictive(
            idata, progressbar=False, random_seed=1, compile_kwargs=handmade.FAST
        )
    y = predicted.posterior_predictive["y"]
    assert y.shape == (CHAINS, DRAWS, 3)
    # Monte Carlo error of 1000 draws: five standard errors of the mean of y
    expected = np.exp(idata.posterior["eta"]).mean(("chain", "draw"))
    error = 5 * y.std(("chain", "draw")) / np.sqrt(CHAINS * DRAWS)
    assert (abs(y.mean(("chain", "draw")) - expected) < error).all()


def test_missing_responses_are_drawn_from_their_predictive():
    with pm.Model() as model, pytest.warns(pm.exceptions.ImputationWarning):
        mu = pm.Normal("mu")
        pm.Poisson("y", pm.math.exp(mu), observed=np.ma.masked_array([1, 0, 3], mask=[0, 1, 0]))
    from pymc_inla.output.predictions import predict_missing

    lgm = handmade.build_lgm()
    lgm = type(lgm)(**{**lgm.__dict__, "model": model, "predicted": ("y_unobserved",)})
    draws = np.random.default_rng(0).normal(0.5, 0.1, (2, 500))
    idata = xr.DataTree.from_dict({"/posterior": xr.Dataset({"mu": (("chain", "draw"), draws)})})
    idata = predict_missing(idata, lgm, ("mu", "y_unobserved", "y"), 1)
    posterior = idata["posterior"]
    assert list(posterior.data_vars) == ["mu", "y_unobserved", "y"]
    assert posterior["y_unobserved"].shape == (2, 500, 1)
    # E y = exp(0.5 + 0.005), sd sqrt(1.66): five standard errors of 1000 draws are 0.2
    assert abs(float(posterior["y_unobserved"].mean()) - np.exp(0.505)) < 0.2
    np.testing.assert_array_equal(posterior["y"].values[..., 1], posterior["y_unobserved"].values[..., 0])
    assert (posterior["y"].values[..., [0, 2]] == [1, 3]).all()


def test_a_dimension_of_another_length_is_not_used():
    """PyMC takes any dims for a Deterministic; Bambi names its cumulative probabilities after the classes."""
    coords = {"class": ["low", "middle", "high"]}
    with pm.Model(coords=coords) as model:
        cut = pm.Normal("cut", [-1, 1], 1, transform=pm.distributions.transforms.ordered, shape=2)
        pm.Deterministic("p", pm.math.sigmoid(cut), dims="class")
        b = pm.Normal("b", 0, 1)
        pm.OrderedLogistic("y", eta=b * np.arange(6.0), cutpoints=cut, observed=[0, 0, 1, 1, 2, 2])
    posterior = pmi.fit(model, draws=20, chains=1, random_seed=1, progressbar=False).posterior
    assert posterior["p"].dims == ("chain", "draw", "p_dim_0") and posterior["p"].shape == (1, 20, 2)


def test_dims_of_a_response_of_several_counts():
    """The criteria have one number per observation, the response three."""
    coords = {"row": [f"r{k}" for k in range(8)], "class": ["a", "b", "c"]}
    with pm.Model(coords=coords) as model:
        v = pm.Normal("v", 0, 1, dims="class")
        p = pm.math.softmax(v + np.zeros((8, 3)), axis=1)
        pm.Multinomial("y", n=5, p=p, observed=np.tile([1, 2, 2], (8, 1)), dims=("row", "class"))
    idata = pmi.fit(model, draws=20, chains=1, random_seed=1, progressbar=False)
    assert idata["inla/criteria/log_cpo"]["y"].dims == ("row",)
