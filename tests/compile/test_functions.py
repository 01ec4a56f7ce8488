"""LGMFunctions of the zoo against dense automatic differentiation of the model's own log density, and differences."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import zoo
from pytensor.compile.mode import Mode
from pytensor.graph.replace import clone_replace
from scipy import special, stats

from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model, compile_outputs

MODE = Mode(linker="py", optimizer="fast_compile").including("stabilize")
MODELS = [
    "seeds",
    "nested",
    "correlated_slopes",
    "zero_sum",
    "mvnormal",
    "random_walk",
    "autoregressive",
    "car",
    "icar",
    "likelihood_normal",
    "likelihood_negative_binomial",
    "likelihood_zero_inflated_poisson",
    "likelihood_censored",
    "likelihood_two_predictors",
    "likelihood_several_observed",
]


@pytest.fixture(scope="module", params=[*MODELS, "noncentered"])
def compiled(request):
    model = zoo.seeds_noncentered() if request.param == "noncentered" else zoo.REFERENCE[request.param][0]()
    lgm = analyze_model(model)
    functions = compile_model(lgm)
    rng = np.random.default_rng(0)
    theta = functions.theta_initial + 0.2 * rng.normal(size=functions.n_theta)
    x = 0.3 * rng.normal(size=functions.n_x)
    return lgm, functions, theta, x


def split(lgm, theta, x):
    parts = [x[v.start : v.stop].reshape(v.shape) for v in lgm.latents]
    return parts + [theta[h.start : h.stop].reshape(h.shape) for h in lgm.hyperparameters]


def symbols(lgm):
    return [v.variable for v in lgm.latents] + [h.variable for h in lgm.hyperparameters]


def evaluate(lgm, expression, theta, x):
    return pytensor.function(symbols(lgm), expression, mode=MODE, on_unused_input="ignore")(*split(lgm, theta, x))


def eta_of(functions, theta, x):
    design = functions.design(theta)
    return design.offset + functions.A_pattern.to_matrix(design.A) @ x


def test_latent_prior(compiled):
    lgm, functions, theta, x = compiled
    prior = functions.prior(theta)
    Q = functions.Q_pattern.to_matrix(prior.Q).toarray()
    np.testing.assert_allclose(Q, Q.T, atol=1e-12 * abs(Q).max())
    value = prior.c + prior.b @ x - 0.5 * x @ Q @ x
    assert value == pytest.approx(float(evaluate(lgm, lgm.log_prior_x, theta, x)), rel=1e-9)


def test_linear_predictors_and_likelihood(compiled):
    lgm, functions, theta, x = compiled
    expressions = [clone_replace([t.logp], dict(zip(t.predictors, t.eta, strict=True)))[0] for t in lgm.terms]
    expected = np.concatenate([evaluate(lgm, e, theta, x) for e in expressions])
    eta = eta_of(functions, theta, x)
    likelihood = functions.log_likelihood(eta, theta)
    # PyMC's log distribution function of a normal divides by a square root of two in float32, ours does not
    np.testing.assert_allclose(likelihood.value, expected, rtol=3e-8, atol=1e-9)
    many = functions.log_likelihood_values(np.stack([eta, eta + 0.1]), theta)
    np.testing.assert_allclose(many[0], likelihood.value, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(many[1], functions.log_likelihood(eta + 0.1, theta).value, rtol=1e-10, atol=1e-12)


def test_derivatives_in_eta(compiled):
    _, functions, theta, x = compiled
    eta = eta_of(functions, theta, x)
    at = functions.log_likelihood(eta, theta)
    rng = np.random.default_rng(2)
    direction, h = rng.normal(size=functions.n_eta), 1e-5
    plus, minus = (functions.log_likelihood(eta + s * h * direction, theta) for s in (1, -1))
    slope = (plus.value.sum() - minus.value.sum()) / (2 * h)
    # central differences with h = 1e-5: error 1e-10 of third derivatives plus rounding of sums of hundreds
    assert at.gradient @ direction == pytest.approx(slope, rel=1e-5, abs=1e-5)
    W = np.zeros((functions.n_eta, functions.n_eta))
    W[functions.W_rows, functions.W_cols] = at.W
    W[functions.W_cols, functions.W_rows] = at.W
    np.testing.assert_allclose(-W @ direction, (plus.gradient - minus.gradient) / (2 * h), rtol=2e-5, atol=2e-5)


def test_likelihood_vjp(compiled):
    _, functions, theta, x = compiled
    eta = eta_of(functions, theta, x)
    rng = np.random.default_rng(3)
    bars = rng.normal(size=functions.n_obs), rng.normal(size=functions.n_eta), rng.normal(size=len(functions.W_rows))

    def product(eta, theta):
        at = functions.log_likelihood(eta, theta)
        return bars[0] @ at.value + bars[1] @ at.gradient + bars[2] @ at.W

    eta_bar, theta_bar = functions.log_likelihood_vjp(eta, theta, *bars)
    check(eta_bar, lambda v: product(v, theta), eta, rng)
    if functions.n_theta:
        check(theta_bar, lambda v: product(eta, v), theta, rng)


def test_many_linear_predictors_at_once(compiled):
    """Row by row the same as one at a time; rounding differs where sums are taken in another order."""
    _, functions, theta, x = compiled
    rng = np.random.default_rng(5)
    eta = eta_of(functions, theta, x) + 0.1 * rng.normal(size=(3, functions.n_eta))
    bars = [rng.normal(size=(3, size)) for size in (functions.n_obs, functions.n_eta, len(functions.W_rows))]
    assert functions.many
    at = functions.log_likelihood_many(eta, theta)
    eta_bar, theta_bar = functions.log_likelihood_vjp_many(eta, theta, *bars)
    one_by_one = replace(functions, many=False)
    expected = one_by_one.log_likelihood_many(eta, theta)
    for name in ("value", "gradient", "W"):
        np.testing.assert_allclose(getattr(at, name), getattr(expected, name), rtol=1e-11, atol=1e-12, err_msg=name)
    for found, other in zip((eta_bar, theta_bar), one_by_one.log_likelihood_vjp_many(eta, theta, *bars), strict=True):
        assert found.shape == other.shape
        np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-9)


def check(gradient, function, at, rng):
    direction, h = rng.normal(size=len(at)), 1e-5
    slope = (function(at + h * direction) - function(at - h * direction)) / (2 * h)
    assert gradient @ direction == pytest.approx(slope, rel=2e-5, abs=2e-4)


def test_prior_and_design_vjps(compiled):
    _, functions, theta, _ = compiled
    rng = np.random.default_rng(4)
    Q_bar, b_bar = rng.normal(size=functions.Q_pattern.nnz), rng.normal(size=functions.n_x)

    def product(theta):
        prior = functions.prior(theta)
        return Q_bar @ prior.Q + b_bar @ prior.b + 0.7 * prior.c

    if functions.n_theta:
        check(functions.prior_vjp(theta, Q_bar, b_bar, 0.7), product, theta, rng)
        check(functions.log_prior_theta(theta)[1], lambda v: functions.log_prior_theta(v)[0], theta, rng)
    if functions.design_vjp is not None:
        A_bar, offset_bar = rng.normal(size=functions.A_pattern.nnz), rng.normal(size=functions.n_eta)

        def moved(theta):
            design = functions.design(theta)
            return A_bar @ design.A + offset_bar @ design.offset

        check(functions.design_vjp(theta, A_bar, offset_bar), moved, theta, rng)


def test_design_depends_on_theta_only_where_it_does(compiled):
    lgm, functions, _, _ = compiled
    noncentered = any(v.name == "z" for v in lgm.latents)
    assert (functions.design_vjp is not None) == noncentered


def test_outputs(compiled):
    lgm, _, theta, x = compiled
    draws = compile_outputs(lgm)(np.stack([theta, theta + 0.1]), np.stack([x, x]))
    for name, expression in lgm.outputs.items():
        expected = evaluate(lgm, expression, theta, x)
        np.testing.assert_allclose(draws[name][0], expected, rtol=1e-10, atol=1e-12)
        assert draws[name].dtype == np.float64


@pytest.mark.parametrize(
    "name", ["seeds", "likelihood_binomial_p", "likelihood_bernoulli", "likelihood_normal", "matrix_data"]
)
def test_closed_forms_agree_with_automatic_differentiation(name):
    lgm = analyze_model(zoo.REFERENCE[name][0]())
    closed, generic = compile_model(lgm), compile_model(lgm, families=False)
    assert type(closed.log_likelihood.terms[0]) is not type(generic.log_likelihood.terms[0])
    rng = np.random.default_rng(5)
    theta = closed.theta_initial + 0.1
    for scale in (1.0, 10.0):
        eta = scale * rng.normal(size=closed.n_eta)
        a, b = closed.log_likelihood(eta, theta), generic.log_likelihood(eta, theta)
        for field in ("value", "gradient", "W"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-9, atol=1e-9)
        bars = rng.normal(size=(3, closed.n_eta))
        for u, v in zip(
            closed.log_likelihood_vjp(eta, theta, *bars), generic.log_likelihood_vjp(eta, theta, *bars), strict=True
        ):
            np.testing.assert_allclose(u, v, rtol=1e-8, atol=1e-8 * (1 + abs(v).max(initial=0)))


@pytest.mark.parametrize("families", [True, False])
def test_binomial_far_from_the_data_is_finite(families):
    """Binomial(p=sigmoid(eta)) written plainly is -inf at eta = -45."""
    functions = compile_model(analyze_model(zoo.likelihood("binomial_p")), families=families)
    at = functions.log_likelihood(np.full(functions.n_eta, -45.0), functions.theta_initial)
    y = functions.log_likelihood.terms[0].y if families else None
    assert np.all(np.isfinite(at.value)) and np.all(np.isfinite(at.W))
    if families:
        expected = stats.binom(10, 0.5).logpmf(y) + 10 * np.log(2) - 45.0 * y
        np.testing.assert_allclose(at.value, expected, atol=1e-9)


KNOT = np.linspace(0.25, 9.75, 20)
HINGES = {
    "maximum": (lambda k: pt.maximum(KNOT - k, 0.0), lambda k: np.maximum(KNOT - k, 0.0)),
    "relu": (lambda k: (KNOT - k + pt.abs(KNOT - k)) / 2, lambda k: np.maximum(KNOT - k, 0.0)),
    "clip": (lambda k: pt.clip(KNOT - k, 0.0, 3.0), lambda k: np.clip(KNOT - k, 0.0, 3.0)),
    "switch": (lambda k: pt.switch(KNOT > k, KNOT - k, 0.0), lambda k: np.maximum(KNOT - k, 0.0)),
    "tent": (lambda k: pt.maximum(1.0 - pt.abs(KNOT - k), 0.0), lambda k: np.maximum(1.0 - abs(KNOT - k), 0.0)),
    "cancels": (lambda k: pt.maximum(KNOT - k, 0.0) - (KNOT - k), lambda k: np.maximum(KNOT - k, 0.0) - (KNOT - k)),
}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", HINGES)
def test_slopes_from_an_unknown_knot_on(name, inside):
    """Entries of the design that vanish for some knots are there for the others, whatever the start."""
    hinge, exact = HINGES[name]
    with pm.Model() as model:
        k, a, c = pm.Uniform("k", 0, 10), pm.Normal("a", 0, 5), pm.Normal("c", 0, 2)
        if inside and name == "switch":
            slope = pt.switch(KNOT > k, c * (KNOT - k), 0.0)
        elif inside:
            slope = hinge(k) * c
        else:
            slope = c * hinge(k) + 0.5 * c - 0.5 * c
        pm.Normal("y", a + slope, 1.0, observed=np.zeros(20))
    f = compile_model(analyze_model(model))
    for knot in (0.1, 2.0, 5.0, 8.0, 9.9):
        design = f.design(np.array([special.logit(knot / 10)]))
        A = f.A_pattern.to_matrix(design.A).toarray()
        np.testing.assert_allclose(A, np.column_stack([np.ones(20), exact(knot)]), atol=1e-12)


def test_links_of_hyperparameters():
    """What is known of the bounds of a variable decides on which scale it is reported."""
    with pm.Model() as model:
        free, scale = pm.Normal("free", 0, 1, shape=2), pm.HalfNormal("scale")
        phase, share = pm.Uniform("phase", 0, 6), pm.Beta("share", 2, 2)
        above = pm.Truncated("above", pm.Normal.dist(2, 1), lower=1)
        u = pm.Normal("u", 0, scale, shape=3)
        eta = u * pm.math.sin(phase) + pm.math.exp(free[0]) * share + pm.math.exp(free[1]) * above
        pm.Normal("y", eta, 1, observed=np.arange(3.0))
    space = compile_model(analyze_model(model)).space
    assert dict(zip(space.names, space.links, strict=True)) == {
        "free[0]": "identity",
        "free[1]": "identity",
        "scale": "log",
        "phase": "logit",
        "share": "logit",
        "above": "log",
    }
    assert space.contains(np.zeros((4, 6))).all() and not space.contains(np.full(6, 1e6))
