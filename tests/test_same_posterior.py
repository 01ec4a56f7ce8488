"""Ways of writing one model that must give one posterior, in the deterministic parts of the result."""

import numpy as np
import pymc as pm
import pytest
import zoo

import pymc_inla as pmi


def marginal(idata, variable):
    """Mean, sd and quantiles of a variable from the deterministic marginals."""
    return pmi.summary(idata, var_names=[variable])[["mean", "sd", "q2.5", "q50", "q97.5"]].to_numpy(float)


def deterministic_fit(model, strategy="laplace"):
    return pmi.fit(model, strategy=strategy, draws=50, chains=1, random_seed=3, progressbar=False)


@pytest.fixture(scope="module", params=["laplace", "quadrature"])
def centered_seeds(request):
    return request.param, deterministic_fit(zoo.seeds(), request.param)


# The grid over theta is anchored at theta*, which the search finds to about 0.3 % of a posterior sd; the interpolated
# density then differs by about 1e-5 of its maximum, and quantiles of scales by up to 1e-4.
@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize("build", [zoo.seeds_tau, zoo.seeds_noncentered, zoo.seeds_mean])
def test_four_ways_to_write_a_group_effect(build, centered_seeds):
    strategy, centered = centered_seeds
    other = deterministic_fit(build(), strategy)
    # quadrature refines its nodes until theta moves by less than 0.02 posterior sd, and no further: 0.008 measured
    tolerance = 2e-3 if strategy == "laplace" else 0.01
    for variable in ("sigma", "b"):
        base, found = marginal(centered, variable), marginal(other, variable)
        np.testing.assert_allclose((found - base) / base[:, 1:2], 0, atol=tolerance)
    evidence = [f["inla"].attrs["log_marginal_likelihood"] for f in (other, centered)]
    assert evidence[0] == pytest.approx(evidence[1], abs=tolerance)


def test_multivariate_normal_by_covariance_precision_and_factor():
    fits = [deterministic_fit(zoo.mvnormal(form)) for form in ("cov", "tau", "chol")]
    for other in fits[1:]:
        np.testing.assert_allclose(marginal(other, "u"), marginal(fits[0], "u"), atol=1e-5)


def test_centered_and_noncentered_correlated_slopes():
    centered, noncentered = (
        deterministic_fit(zoo.correlated_slopes()),
        deterministic_fit(zoo.correlated_slopes_noncentered()),
    )
    np.testing.assert_allclose(marginal(noncentered, "b"), marginal(centered, "b"), atol=1e-4)


def test_dot_and_matmul():
    a, b = deterministic_fit(zoo.matrix_data("dot")), deterministic_fit(zoo.matrix_data("matmul"))
    np.testing.assert_allclose(marginal(b, "beta"), marginal(a, "beta"), atol=1e-8)


def grouped_counts(split, order=None, empty_group=False):
    """Binomial counts, or the same data as Bernoulli rows; rows permuted; a group without data added."""
    rng = np.random.default_rng(5)
    trials = rng.integers(1, 6, 30)
    g = np.repeat(np.arange(10), 3)
    y = rng.binomial(trials, 0.6)
    if split:
        g = np.repeat(g, trials)
        y = np.concatenate([np.repeat([1, 0], [k, m - k]) for k, m in zip(y, trials, strict=True)])
        trials = np.ones(len(y), int)
    if order is not None:
        permutation = np.random.default_rng(order).permutation(len(y))
        g, y, trials = g[permutation], y[permutation], trials[permutation]
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2)
        s = pm.Exponential("s", 1)
        u = pm.Normal("u", 0, s, shape=10 + empty_group)
        pm.Binomial("y", trials, logit_p=a + u[g], observed=y)
    return model


@pytest.mark.parametrize(
    "change", [{"split": True}, {"split": False, "order": 9}, {"split": False, "empty_group": True}]
)
@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
def test_invariance(change):
    base = deterministic_fit(grouped_counts(split=False))
    other = deterministic_fit(grouped_counts(**change))
    for variable in ("a", "s"):
        np.testing.assert_allclose(marginal(other, variable), marginal(base, variable), atol=1e-6)
    np.testing.assert_allclose(marginal(other, "u")[:10], marginal(base, "u"), atol=1e-6)


def test_same_seed_same_result_bit_for_bit():
    a, b = (pmi.fit(zoo.seeds(), random_seed=11, progressbar=False) for _ in range(2))
    for variable in ("b", "sigma", "u"):
        np.testing.assert_array_equal(a.posterior[variable], b.posterior[variable])
