"""The pieces a model is taken apart into add up to the model: PyMC's own log density is the oracle."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import zoo
import zoo_real
import zoo_responses
from pymc.distributions.transforms import CholeskyCovPacked
from pytensor.compile.mode import Mode
from pytensor.graph.replace import clone_replace

from pymc_inla.analysis import analyze_model
from pymc_inla.analysis.covariance_coordinates import ScalesAndCorrelations
from pymc_inla.compile import compile_model

MODE = Mode(linker="py", optimizer="fast_compile").including("stabilize")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Data in .* contains missing values", "ignore:For backward compatibility, 'str' dtypes"
)

# Their latent coordinates differ from PyMC's values: tested one by one below.
OTHER_COORDINATES = {"zero_sum", "icar", "missing_response"}
BUILDERS = {name: build for name, (build, _) in zoo.REFERENCE.items() if name not in OTHER_COORDINATES} | {
    f.__name__: f
    for f in (zoo.seeds_tau, zoo.seeds_mean, zoo.seeds_noncentered, zoo.mvnormal_tau, zoo.mvnormal_chol)
    + (zoo.correlated_slopes_noncentered, zoo.matmul_data)
    + (zoo.gamma_of_mean_and_sd, zoo.beta_of_mean_and_sd, zoo.ordered_probit)
    + (zoo.einsum, zoo.sparse_membership)
    + (zoo.categorical_by_logits, zoo.multinomial, zoo.outer_product)
    + (zoo_real.penguins, zoo_responses.truncated_below, zoo_responses.correlated_by_lkjcorr)
    + (zoo_responses.bambi_cumulative, zoo_responses.bambi_sratio, zoo_responses.bambi_categorical)
}


def symbols(lgm):
    return [v.variable for v in lgm.latents] + [h.variable for h in lgm.hyperparameters]


def log_density(lgm):
    """Sum of the pieces as a function of latents and hyperparameters."""
    total = lgm.log_prior_x + lgm.log_prior_theta
    for term in lgm.terms:
        (value,) = clone_replace([term.logp], dict(zip(term.predictors, term.eta, strict=True)))
        total = total + value.sum()
    return pytensor.function(symbols(lgm), total, mode=MODE, on_unused_input="ignore")


def random_point(model, seed):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(v) + 0.3 * rng.normal(size=np.shape(v)) for name, v in model.initial_point().items()}


def in_our_coordinates(point):
    """Cholesky factors as scales and correlations, and what that changes in the log density."""
    change, moved = 0.0, {}
    for name, value in point.items():
        if name.endswith("_cholesky-cov-packed__"):
            n = int((np.sqrt(8 * len(value) + 1) - 1) / 2)
            theirs, ours = CholeskyCovPacked(pt.constant(n)), ScalesAndCorrelations(n)
            packed = theirs.backward(pt.constant(value))
            change -= theirs.log_jac_det(pt.constant(value)).eval()
            name = name.replace("cholesky-cov-packed", ours.name)
            value = ours.forward(packed).eval()
            change += ours.log_jac_det(pt.constant(value)).eval()
        moved[name] = value
    return moved, change


@pytest.mark.parametrize("name", BUILDERS)
def test_pieces_add_up_to_the_model(name):
    model = BUILDERS[name]()
    lgm = analyze_model(model)
    ours, theirs = log_density(lgm), model.compile_logp(mode=MODE)
    names = [model.rvs_to_values[model[v.name]].name for v in lgm.latents] + [
        h.variable.name for h in lgm.hyperparameters
    ]
    for seed in range(2):
        point, change = in_our_coordinates(random_point(model, seed))
        # two sums of the same terms in different order; PyMC inverts the precision of one, whose condition is some 1e5
        close = 1e-9 if name == "mvnormal_tau" else 1e-10
        expected = float(theirs(random_point(model, seed))) + change
        assert ours(*[point[k] for k in names]) == pytest.approx(expected, rel=close)


@pytest.mark.parametrize("name", ["seeds", "correlated_slopes", "autoregressive", "likelihood_two_predictors"])
def test_linear_predictors_are_affine(name):
    lgm = analyze_model(zoo.REFERENCE[name][0]())
    eta = pytensor.function(
        symbols(lgm), pt.concatenate([e for t in lgm.terms for e in t.eta]), mode=MODE, on_unused_input="ignore"
    )
    rng = np.random.default_rng(1)
    theta = [h.initial for h in lgm.hyperparameters]
    x, y = ([rng.normal(size=v.shape) for v in lgm.latents] for _ in range(2))
    zero = [np.zeros(v.shape) for v in lgm.latents]
    both = [a + b for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(eta(*both, *theta) + eta(*zero, *theta), eta(*x, *theta) + eta(*y, *theta), atol=1e-12)


def test_zero_sum_normal_is_a_density_on_the_hyperplane():
    """In orthonormal coordinates of sum(x) = 0 the effect is iid normal."""
    with pm.Model() as model:
        u = pm.ZeroSumNormal("u", sigma=0.7, shape=5)
        pm.Normal("y", u, 1.0, observed=np.zeros(5))
    lgm = analyze_model(model)
    density = pytensor.function(symbols(lgm), lgm.log_prior_x, mode=MODE)
    x = np.random.default_rng(0).normal(size=5)
    x -= x.mean()
    expected = -0.5 * x @ x / 0.7**2 - 4 * np.log(0.7) - 2 * np.log(2 * np.pi)
    assert float(density(x)) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(lgm.C.toarray(), np.ones((1, 5)))


def test_zero_sum_over_two_axes_has_independent_constraints():
    with pm.Model() as model:
        u = pm.ZeroSumNormal("u", sigma=1.0, shape=(2, 3, 4), n_zerosum_axes=2)
        pm.Normal("y", u, 1.0, observed=np.zeros((2, 3, 4)))
    C = analyze_model(model).C.toarray()
    assert C.shape == (2 * (3 + 4 - 1), 24)
    assert np.linalg.matrix_rank(C) == C.shape[0]
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    x -= x.mean(1, keepdims=True)
    x -= x.mean(2, keepdims=True)
    np.testing.assert_allclose(C @ x.ravel(), 0, atol=1e-12)


def test_icar_is_the_limit_of_its_soft_constraint():
    """PyMC's density integrated over the direction of the constraint is ours on the hyperplane."""
    model = zoo.icar()
    lgm = analyze_model(model)
    (u,) = (v for v in lgm.latents if v.name == "u")
    density = pytensor.function(symbols(lgm), lgm.log_prior_x, mode=MODE, on_unused_input="ignore")
    theirs = model.compile_logp(vars=[model["u"], model["a"]], mode=MODE)
    x = np.random.default_rng(0).normal(size=25)
    x -= x.mean()
    s_log = np.asarray(lgm.hyperparameters[0].initial)
    point = {"a": np.array(0.3), "u": x, "s_log__": s_log}
    # the soft constraint is N(sum(x); 0, 0.001 n): along the unit normal its density at 0 integrates to 1
    at_zero = -0.5 * np.log(2 * np.pi) - np.log(0.001 * 25)
    ours = float(density(*[point[v.name] for v in lgm.latents], s_log))
    assert ours == pytest.approx(float(theirs(point)) - at_zero - 0.5 * np.log(25), rel=1e-10)
    assert u.size == 25


def test_missing_responses_are_left_to_prediction():
    lgm = analyze_model(zoo.missing_response())
    assert lgm.predicted == ("y_unobserved",)
    assert lgm.terms[0].shape == (197,)
    assert "y" not in lgm.outputs


def test_missing_covariates_with_a_prior_are_latent():
    """They enter the density of another variable, unlike missing responses."""
    lgm = analyze_model(zoo_real.penguins())
    assert lgm.predicted == ()
    assert [v.name for v in lgm.latents] == ["a", "size_unobserved", "u"]
    assert "size" in lgm.outputs


def test_a_mediator_is_data_to_what_depends_on_it():
    """The outcome depends on the observed values, not on draws of their distribution."""
    x, mediator, y = np.random.default_rng(6).normal(size=(3, 40))
    with pm.Model() as model:
        a, b, c = (pm.Normal(name, 0, 1) for name in "abc")
        between = pm.Normal("between", a * x, 0.8, observed=mediator)
        pm.Deterministic("share", c * between)
        pm.Normal("y", b * x + c * between, 0.5, observed=y)
    lgm = analyze_model(model)
    assert [v.name for v in lgm.latents] == ["a", "b", "c"]
    ours = log_density(lgm)
    point = {"a": 0.3, "b": -0.2, "c": 0.7}
    assert ours(0.3, -0.2, 0.7) == pytest.approx(float(model.compile_logp(mode=MODE)(point)), rel=1e-12)
    share = pytensor.function(
        [v.variable for v in lgm.latents], lgm.outputs["share"], on_unused_input="ignore", mode=MODE
    )
    np.testing.assert_allclose(share(0.3, -0.2, 0.7), 0.7 * mediator)


@pytest.mark.filterwarnings("ignore:pytensor.tensor.linalg.trace is deprecated")  # PyMC's own density
def test_matrix_normal_is_latent():
    with pm.Model() as model:
        u = pm.MatrixNormal("u", np.zeros((8, 3)), rowcov=np.eye(8) + 0.3, colcov=np.eye(3), shape=(8, 3))
        pm.Normal("y", pm.Normal("a", 0, 1) + u, 0.5, observed=np.zeros((8, 3)))
    assert roles(model) == (["u", "a"], [])


def roles(model):
    lgm = analyze_model(model)
    return [v.name for v in lgm.latents], [h.name for h in lgm.hyperparameters]


def test_normal_log_scale_is_a_hyperparameter():
    with pm.Model() as model:
        log_tau = pm.Normal("log_tau", 0, 1)
        a = pm.Normal("a", 0, 1)
        u = pm.Normal("u", 0, pm.math.exp(-0.5 * log_tau), shape=4)
        log_noise = pm.Normal("log_noise", 0, 1)
        pm.Normal("y", a + u, pm.math.exp(log_noise), observed=np.zeros(4))
    assert roles(model) == (["a", "u"], ["log_tau", "log_noise"])


def test_smaller_factor_of_a_product_is_a_hyperparameter():
    with pm.Model() as model:
        loading = pm.Normal("loading", 1, 0.5, shape=3)
        f = pm.Normal("f", 0, 1, shape=30)
        pm.Normal("y", f[:, None] * loading[None, :], 1.0, observed=np.zeros((30, 3)))
    assert roles(model) == (["f"], ["loading"])


def test_response_function_before_indexing():
    g = np.repeat(np.arange(3), 4)
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=3)
        rate = pm.Deterministic("rate", pm.math.exp(u))
        pm.Poisson("y", rate[g], observed=np.ones(12, int))
    lgm = analyze_model(model)
    assert lgm.terms[0].shape == (12,)
    assert len(lgm.terms[0].predictors) == 1


def test_powers_of_a_positive_response_function():
    """Gamma(mu, sigma) squares mu: exp(eta)^2 is as monotone as exp(eta)."""
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=4)
        pm.Gamma("y", mu=pm.math.exp(u), sigma=pm.HalfNormal("s", 1), observed=np.ones(4))
    lgm = analyze_model(model)
    assert [v.name for v in lgm.latents] == ["u"] and len(lgm.terms[0].predictors) == 1


@pytest.mark.parametrize("build", [zoo.ordered, zoo.ordered_probit])
def test_ordered_classes_have_one_predictor(build):
    """It is expanded to one column per cutpoint, of which each observation sees one or two."""
    lgm = analyze_model(build())
    (term,) = lgm.terms
    assert len(term.predictors) == 1 and term.shape == (200,)
    assert [h.name for h in lgm.hyperparameters] == ["s", "cut"]


@pytest.mark.parametrize("build, m", [(zoo.categorical, 3), (zoo.multinomial, 3), (zoo.bivariate, 2)])
def test_classes_and_responses_have_a_predictor_each(build, m):
    """One observation of several numbers is one element of the likelihood."""
    (term,) = analyze_model(build()).terms
    assert len(term.predictors) == m and term.shape == (200,)


def test_probabilities_of_classes_far_apart_do_not_underflow():
    with pm.Model() as model:
        v = pm.Normal("v", 0, 1, shape=(2, 3))
        pm.Categorical("y", p=pm.math.softmax(v, axis=1), observed=[0, 2])
    lgm = analyze_model(model)
    v = np.array([[0.0, 900.0, -900.0], [5.0, 1500.0, 3.0]])
    functions = compile_model(lgm)
    prior, design = functions.prior(np.zeros(0)), functions.design(np.zeros(0))
    eta = design.offset + functions.A_pattern.to_matrix(design.A) @ v.ravel()
    likelihood = functions.log_likelihood(eta, np.zeros(0))
    np.testing.assert_allclose(likelihood.value, [-900.0, -1497.0], rtol=1e-12)
    assert np.all(np.isfinite(likelihood.gradient)) and np.all(np.isfinite(likelihood.W)) and np.isfinite(prior.c)


def test_initial_values_survive_writing_out_composites():
    lgm = analyze_model(zoo.einsum())
    np.testing.assert_allclose(lgm.hyperparameters[0].initial, np.log([0.3, 0.4]))


def test_explanations_name_every_variable():
    rows = {r.variable: r.role for r in analyze_model(zoo.seeds()).explanations}
    assert rows["u"] == "latent" and rows["sigma"] == "hyperparameter" and rows["r"] == "likelihood"


def test_a_mixture_in_a_log_density_of_ones_own():
    """`logaddexp` is a graph of its own to PyTensor."""
    y = np.array([0.0, 1.0, 2.0, 9.0])

    def build(add):
        with pm.Model() as model:
            eta = pm.Normal("a", 0, 1) + pm.Normal("u", 0, 1, shape=4)
            pm.CustomDist("y", eta, logp=lambda v, e: add(v * e - pt.exp(e), 2.0 * v - 10.0), observed=y)
        return analyze_model(model)

    hidden, written = build(pt.logaddexp), build(lambda a, b: pt.log(pt.exp(a) + pt.exp(b)))
    point = [np.array(0.3), np.array([0.1, -0.5, 0.2, 1.0])]
    assert log_density(hidden)(*point) == pytest.approx(float(log_density(written)(*point)), rel=1e-12)
