"""Models and data that must be refused, with an error that names the variable and says what to do."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.exceptions import ImputationWarning

import pymc_inla as pmi
from pymc_inla.errors import ConvergenceError, ImproperPosteriorError, INLAError, InvalidOptionError

G = np.repeat(np.arange(6), 5)
rng = np.random.default_rng(3)
X = rng.normal(size=30)
COUNTS = rng.poisson(3, 30)
Y = rng.normal(size=30)


def refused(model, *words, **options):
    with pytest.raises(INLAError) as error:
        pmi.fit(model, draws=50, chains=1, progressbar=False, **options)
    message = str(error.value)
    for word in words:
        assert word in message, message
    assert len(message) < 700, "one clear error, not an essay"
    return error.value


def test_no_latent_gaussian_structure():
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", 10, p, observed=3)
    refused(model, "p", "pm.sample")


def test_latent_that_enters_nonlinearly():
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=40)
        pm.Normal("y", u[:30] ** 2 + pm.Normal("a", 0, 1), 1.0, observed=Y)
    refused(model, "u", "pm.sample")


def test_product_of_two_long_latents():
    with pm.Model() as model:
        u, v = pm.Normal("u", 0, 1, shape=30), pm.Normal("v", 0, 1, shape=30)
        pm.Normal("y", u * v, 1.0, observed=Y)
    refused(model, "u", "pm.sample")


def test_discrete_free_variable():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        z = pm.Bernoulli("z", 0.5, shape=30)
        pm.Normal("y", a + z, 1.0, observed=Y)
    refused(model, "z", "discrete")


def test_likelihood_that_couples_observations():
    """Thirty observations under one covariance matrix."""
    distance = np.abs(np.subtract.outer(np.arange(30), np.arange(30)))
    with pm.Model() as model:
        a, b, r = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1), pm.Uniform("r", 0, 1)
        pm.MvNormal("y", a + b * X, cov=r**distance, observed=Y)
    refused(model, "y", "couples")


@pytest.mark.parametrize("n", [5, 30])
def test_covariances_of_more_than_four_components(n):
    """One for each of n observations; as many as there are components, too."""
    with pm.Model() as model:
        u = pm.Normal("u", pm.Normal("a", 0, 1), pm.HalfNormal("s", 1), shape=(n, 5))
        pm.MvNormal("y", u, cov=np.tile(np.eye(5), (n, 1, 1)), observed=np.ones((n, 5)))
    refused(model, "y", "couples")


@pytest.mark.parametrize("batched", [False, True])
def test_one_component_of_an_observation_is_missing(batched):
    """Whole observations that are missing are predicted."""
    y = Y.reshape(15, 2).copy()
    y[[3, 8], [1, 0]] = np.nan
    y[5] = np.nan
    with pm.Model() as model, pytest.warns(ImputationWarning):
        u = pm.Normal("u", pm.Normal("a", 0, 1), pm.HalfNormal("s", 1), shape=(15, 2))
        pm.MvNormal("y", u, cov=np.tile(np.eye(2), (15, 1, 1)) if batched else np.eye(2), observed=y)
    refused(model, "y", "components", "position 3, 8")


def test_density_that_cannot_be_differentiated():
    """PyTensor has no derivative of the scaled Bessel function of order one."""
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=6)
        pm.Rice("y", nu=pm.math.exp(u[G]), sigma=1.0, observed=np.abs(Y))
    refused(model, "y", "derivatives", "I1e")


@pytensor.wrap_py([pt.dvector], [pt.dvector])
def hidden(x):
    return np.sin(x)


def operation_on_latents():
    pm.Normal("y", hidden(pm.Normal("u", 0, 1, shape=30)), 1, observed=Y)


def operation_on_a_hyperparameter():
    scale = hidden(pm.HalfNormal("s", 1, shape=30))
    pm.Normal("y", pm.Normal("u", 0, scale, shape=30), 1, observed=Y)


def operation_in_a_potential():
    u = pm.Normal("u", 0, 1, shape=30)
    pm.Normal("y", u, 1, observed=Y)
    pm.Potential("p", hidden(u))


def complex_predictor():
    pm.Normal("y", pt.real(pm.Normal("b", 0, 1) * (X + 1j)), 1, observed=Y)


def simulator():
    pm.Simulator("y", lambda rng, a, size=None: rng.normal(a, 1, size=30), pm.Normal("a", 0, 1), observed=Y)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (operation_on_latents, ["y: ", "FromFunctionOp{hidden}", "without derivatives", "PyTensor"]),
        (operation_on_a_hyperparameter, ["u: ", "FromFunctionOp{hidden}", "without derivatives"]),
        (operation_in_a_potential, ["p: ", "FromFunctionOp{hidden}", "without derivatives"]),
        (complex_predictor, ["y: ", "complex numbers", "real"]),
        pytest.param(
            simulator,
            ["y: ", "pm.Simulator", "no density", "pm.sample_smc"],
            # of PyTensor, about how PyMC makes the variable
            marks=pytest.mark.filterwarnings("ignore::DeprecationWarning:pytensor"),
        ),
    ],
)
def test_what_has_no_derivatives(write, words):
    with pm.Model() as model:
        write()
    assert pmi.explain(model, display=False).refusal is not None
    refused(model, *words)


def test_operation_without_derivatives_in_a_custom_density():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        pm.CustomDist("y", a + np.zeros(30), logp=lambda value, mu: hidden(value - mu), observed=Y)
    refused(model, "y: ", "FromFunctionOp{hidden}", "derivatives")


def test_operation_without_derivatives_on_data_is_not_refused():
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * hidden(pm.Data("x", X)), 1, observed=Y)
    idata = pmi.fit(model, draws=50, chains=1, random_seed=1, progressbar=False)
    D = np.column_stack([np.ones(30), np.sin(X)])
    expected = np.linalg.solve(D.T @ D + np.eye(2), D.T @ Y)
    found = [float(idata["inla/latent_marginals"][name].sel(statistic="mean")) for name in ("a", "b")]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1000.0])
@pytest.mark.parametrize("distribution", ["Laplace", "AsymmetricLaplace"])
def test_density_without_curvature(distribution, level):
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=6)
        if distribution == "Laplace":
            pm.Laplace("y", mu=u[G], b=pm.HalfNormal("b", 1), observed=Y + level)
        else:
            pm.AsymmetricLaplace("y", mu=u[G], b=1.0, q=0.7, observed=Y + level)
    refused(model, "y", "kinks", "StudentT")


def test_linear_potential_beside_a_likelihood_is_not_refused():
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=6)
        pm.Normal("y", u[G], 1.0, observed=Y)
        pm.Potential("tilt", 0.3 * u)
    idata = pmi.fit(model, draws=50, chains=1, random_seed=1, progressbar=False)
    expected = (np.bincount(G, Y) + 0.3) / (1 + np.bincount(G))
    np.testing.assert_allclose(idata["inla/latent_marginals"]["u"].sel(statistic="mean"), expected, rtol=1e-6)


def test_the_reason_is_given_where_no_latent_is_left():
    """The inverse link of a gamma regression: its mean changes sign with the linear predictor."""
    with pm.Model() as model:
        u = pm.Normal("u", 1, 1, shape=6)
        mu = 1 / u[G]
        pm.Gamma("y", mu=mu, sigma=mu / 2, observed=np.abs(Y))
    refused(model, "u", "enters the likelihood of y nonlinearly")


@pytest.mark.parametrize(("started", "name"), [(True, "z:"), (False, "y:")])
def test_loops_are_not_analysed(started, name):
    """An autoregression written as a loop is linear in its innovations; what is missing is an analysis of loops."""
    with pm.Model() as model:
        rho, z = pm.Beta("rho", 2, 2), pm.Normal("z", 0, 1, shape=31)
        h = pytensor.scan(
            lambda z, before, rho: rho * before + z,
            sequences=[z[1:]],
            outputs_info=[z[0] if started else pt.zeros(())],
            non_sequences=[rho],
            return_updates=False,
        )
        pm.Poisson("y", pm.math.exp(pm.Normal("a", 0, 2) + h), observed=COUNTS)
    error = refused(model, name, "loop", "scan", "pm.AR", "pm.GaussianRandomWalk", "cumsum", "pm.sample")
    assert "nonlinearly" not in str(error)


NOT_MONOTONE = {
    "power": lambda eta: eta**2,
    "sqr": pm.math.sqr,
    "product": lambda eta: eta * eta,
    "written twice": lambda eta: (eta + 1) * (2 * eta + 2),
    "abs": pm.math.abs,
    "sin": lambda eta: 2 + pm.math.sin(eta),
}


@pytest.mark.parametrize("name", NOT_MONOTONE)
def test_response_functions_that_are_not_monotone(name):
    """With Poisson(eta^2) and a ~ Normal(0.5, 1), a tenth of the posterior is at -eta, where no search comes by."""
    with pm.Model() as model:
        a, u = pm.Normal("a", 0.5, 1), pm.Normal("u", 0, 0.3, shape=6)
        pm.Poisson("y", NOT_MONOTONE[name](a + u[G]), observed=np.full(len(G), 4))
    refused(model, "u", "enters the likelihood of y nonlinearly", "need not be monotone", "several modes")


@pytest.mark.parametrize(
    "response",
    [
        lambda eta: pm.math.exp(eta) ** 2,
        lambda eta: pm.math.exp(eta) * pm.math.exp(eta),
        lambda eta: pm.math.sqrt(pm.math.exp(eta)),
        lambda eta: pm.math.sigmoid(eta) * (2 - pm.math.sigmoid(eta)),
    ],
)
def test_products_of_positive_responses_are_not_refused(response):
    with pm.Model() as model:
        a, u = pm.Normal("a", 0.5, 1), pm.Normal("u", 0, 0.3, shape=6)
        pm.Poisson("y", response(a + u[G]), observed=np.full(len(G), 4))
    assert [row.role for row in pmi.explain(model).rows[:2]] == ["latent", "latent"]


def test_more_classes_than_an_observation_may_have_predictors():
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=5)
        pm.Multinomial("y", 100, p=pm.math.softmax(u), observed=[20, 30, 10, 15, 25])
    refused(model, "y", "linear predictors", "Poisson")


def test_group_effects_that_are_not_gaussian():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        u = pm.StudentT("u", nu=3, mu=0, sigma=pm.HalfNormal("s", 1), shape=60)
        pm.Poisson("y", pm.math.exp(a + u[G]), observed=COUNTS)
    refused(model, "u", "StudentT")


def test_positive_group_effects():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        u = pm.HalfNormal("u", 1, shape=60)
        pm.Poisson("y", pm.math.exp(a + u[G]), observed=COUNTS)
    refused(model, "u", "HalfNormal")


def test_minibatch():
    with pm.Model() as model:
        yb, gb = pm.Minibatch(Y, G, batch_size=10)
        u = pm.Normal("u", 0, 1, shape=6)
        pm.Normal("y", u[gb], 1.0, observed=yb, total_size=30)
    refused(model, "y", "Minibatch")


@pytest.mark.filterwarnings("ignore:The `pymc.dims` module is experimental")
def test_variables_of_pymc_dims():
    import pymc.dims as pmd

    with pm.Model(coords={"obs": range(30)}) as model:
        y = pmd.Data("data", COUNTS, dims="obs")
        a = pmd.Normal("a", 0, 1)
        pmd.Poisson("y", mu=pmd.math.exp(a), observed=y)
    refused(model, "a", "pymc.dims")


def test_many_hyperparameters_need_empirical_bayes():
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1, shape=25)
        u = pm.Normal("u", 0, 1, shape=6)
        pm.Normal("y", u[G], pt.concatenate([s, s[:5]]), observed=Y)
    refused(model, "hyperparameters", 'integration="eb"')


def test_covariates_that_are_not_finite():
    x = X.copy()
    x[4] = np.inf  # PyMC itself refuses NaN in pm.Data
    with pm.Model() as model:
        xd = pm.Data("temperature", x)
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * xd, 1.0, observed=Y)
    refused(model, "temperature", "4")


def test_covariates_without_a_name_that_are_not_finite():
    x = X.copy()
    x[7] = np.nan
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * x, 1.0, observed=Y)
    refused(model, "y", "not finite")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_single_numbers_that_are_not_finite(number):
    """A scale computed from a column with a gap is the usual way to get one."""
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * X / pt.constant(number, name="scale of x"), 1.0, observed=Y)
    refused(model, "scale of x", str(number))


def test_an_infinite_bound_of_a_clip_is_no_covariate():
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * pt.clip(pt.constant(X), 0.0, np.inf), 1.0, observed=Y)
    assert pmi.explain(model, display=False).refusal is None


def simple():
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        s = pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=6)
        pm.Poisson("y", pm.math.exp(a + u[G]), observed=COUNTS)
    return model


def test_unknown_option_names_the_nearest():
    with pytest.raises(InvalidOptionError, match="integration"):
        pmi.fit(simple(), integraton="grid")
    with pytest.raises(InvalidOptionError, match="laplace"):
        pmi.fit(simple(), strategy="laplac")


def test_start_values_that_are_not_finite():
    with pytest.raises((InvalidOptionError, ConvergenceError), match="s"):
        pmi.fit(simple(), start={"s": np.nan})


@pytest.mark.parametrize("between", [0.0, 1.0], ids=["constant response", "one value per group"])
def test_responses_that_are_fitted_exactly(between):
    """The likelihood grows without limit as their scale goes to zero."""
    group = np.repeat(np.arange(10), 5)
    y = 3.0 + between * np.sin(np.arange(10))[group]

    def model(residual):
        with pm.Model() as model:
            a, s = pm.Normal("a", 0, 10), pm.HalfNormal("s", 1)
            u = pm.Normal("u", 0, s, shape=10)
            pm.Normal("y", a + u[group], residual(), observed=y)
        return model

    error = refused(model(lambda: pm.HalfNormal("residual", 1)), "residual")
    assert isinstance(error, ImproperPosteriorError) and "fitted exactly" in str(error)
    # a prior that keeps it away from zero
    fit = pmi.fit(model(lambda: pm.InverseGamma("residual", 2, 1)), random_seed=1, criteria=False)
    # the scale has the density s^-3 exp(-1/s) s^-40 or so
    assert 0.01 < pmi.summary(fit).loc["residual", "mean"] < 0.05


def test_flat_coefficient_of_a_column_of_zeros():
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Poisson("y", pm.math.exp(a + b * np.zeros(30)), observed=COUNTS)
    error = refused(model, "b")
    assert isinstance(error, ImproperPosteriorError)


def test_two_flat_coefficients_of_one_column():
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Poisson("y", pm.math.exp(a + b + 0.1 * X), observed=COUNTS)
    assert isinstance(refused(model), ImproperPosteriorError)


def test_flat_intercept_beside_random_walk_without_initial_distribution_is_not_refused():
    """The nearest model that is fine: proper priors on both."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 3)
        u = pm.GaussianRandomWalk("u", sigma=0.3, init_dist=pm.Normal.dist(0, 1), shape=30)
        pm.Poisson("y", pm.math.exp(a + u), observed=COUNTS)
    idata = pmi.fit(model, draws=50, chains=1, random_seed=1, progressbar=False)
    assert idata.posterior.sizes["u_dim_0"] == 30


def test_a_column_of_responses_is_not_broadcast_against_a_flat_predictor():
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b * X, 1.0, observed=Y[:, None])
    refused(model, "y", f"({len(Y)}, 1)", f"(1, {len(Y)})")


def test_priors_with_parameters_that_are_not_finite():
    """Bambi's default priors of a truncated response are such, and it names no culprit."""
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2.5 * np.std([1.0, np.nan]))
        s = pm.HalfNormal("s", np.nan)
        u = pm.Normal("u", 0, s, shape=6)
        pm.Poisson("y", pm.math.exp(a + u[G]), observed=COUNTS)
    refused(model, "s: the initial value is not finite", "prior")
