"""Quadrature over the structures it must handle (slopes, hierarchical means, non-centered effects, nested designs, two
predictors), on models written by hand, against dense grids that share no code with the package."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
from grouped_models import Binomial, Normal, Poisson, TwoPredictors, grouped
from scipy import sparse, special, stats

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference import local_part
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.local_conditional import Conditional
from pymc_inla.inference.local_posterior import integrate_local
from pymc_inla.inference.node_rules import node_rule
from pymc_inla.inference.quadrature import QuadratureInner
from pymc_inla.linalg import build_system, choose_local, forms, matvec, node_kernels, node_sums
from pymc_inla.linalg.partition import Partition
from pymc_inla.status import Status

rng = np.random.default_rng(0)
G = 8
GROUP = np.repeat(np.arange(G), 3)
N = len(GROUP)
X = np.column_stack([np.ones(N), rng.normal(size=N)])
BINARY = (rng.random(N) < special.expit(X @ [0.5, 1.0] + 1.5 * rng.normal(size=G)[GROUP])).astype(float)
COUNTS = rng.poisson(np.exp(X @ [0.5, 0.3])).astype(float)
REAL = rng.normal(size=N)

MODELS = {
    "binary": lambda: grouped(Binomial(BINARY), GROUP, X),
    "nested": lambda: grouped(Binomial(BINARY), GROUP, X, outer=GROUP // 4),
    "hierarchical mean": lambda: grouped(Binomial(BINARY), GROUP, X[:, :1], hierarchical=True),
    "non-centered": lambda: grouped(Binomial(BINARY), GROUP, X, outer=GROUP // 4, noncentered=True),
    "slopes": lambda: grouped(Binomial(BINARY), GROUP, X, Z=X),
    "non-centered slopes": lambda: grouped(Binomial(BINARY), GROUP, X, Z=X, noncentered=True),
    "Poisson": lambda: grouped(Poisson(COUNTS), GROUP, X),
    "Gaussian": lambda: grouped(Normal(REAL), GROUP, X),
    "two predictors": lambda: grouped(TwoPredictors(REAL), GROUP, X, A2=X),
    "two predictors, non-centered": lambda: grouped(TwoPredictors(REAL), GROUP, X, A2=X, noncentered=True),
}


def differences(function, at, h=1e-4):
    steps = h * np.eye(len(at))
    return np.array([(function(at + s) - function(at - s)) / (2 * h) for s in steps])


@pytest.mark.parametrize("name", MODELS)
def test_gradient_in_theta(name):
    functions, partition = MODELS[name]()
    b = partition.local_blocks.shape[1]
    inner = QuadratureInner(functions, partition, 41 if b == 1 else 25)
    theta = np.linspace(0.1, 0.3, functions.n_theta)
    point = inner.evaluate(theta)
    expected = differences(lambda t: inner.evaluate(t, gradient=False).log_posterior, theta)
    assert point.status is Status.CONVERGED
    # exact for the integral; the rule differs from it by up to 1e-5 for flat binary blocks at these k
    np.testing.assert_allclose(point.gradient, expected, atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_compiled_sums_agree(name, monkeypatch):
    """Large models sum over blocks by compiled passes over the rows."""
    functions, partition = MODELS[name]()
    theta = np.linspace(0.1, 0.3, functions.n_theta)
    plain = QuadratureInner(functions, partition, 5).evaluate(theta)
    for module in (local_part, forms):
        monkeypatch.setattr(module, "SMALL", -1)
    monkeypatch.setattr(local_part, "COMPILED", dict.fromkeys((1, 2, 3), 0))
    monkeypatch.setattr(matvec, "LARGE", 0)
    compiled = QuadratureInner(functions, partition, 5).evaluate(theta)
    assert compiled.integral.conditional.whole.sums is node_kernels
    assert plain.integral.conditional.whole.sums is node_sums
    # sums in another order
    np.testing.assert_allclose(compiled.log_posterior, plain.log_posterior, rtol=1e-12)
    np.testing.assert_allclose(compiled.gradient, plain.gradient, rtol=1e-8, atol=1e-9)
    for found, expected in ((compiled.moments(), plain.moments()), (compiled.eta_moments(), plain.eta_moments())):
        for part in ("mean", "sd", "skewness"):
            np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-8, atol=1e-9)


def trapezoid_1d(log_density, center, width):
    t = np.linspace(center - width, center + width, 4001)
    values = log_density(t)
    top = values.max()
    return top + np.log(np.sum(np.exp(values - top)) * (t[1] - t[0]))


def log_prior_beta(beta):
    return np.sum(stats.norm.logpdf(beta, 0, 10))


def oracle(kind, x_S, sigma):
    """log p(y, x_S | theta) with every local integral on a dense grid."""
    total = log_prior_beta(x_S)
    for g in range(G):
        rows = GROUP == g
        if kind == "slopes":
            t = np.linspace(-9, 9, 601)
            u0, u1 = np.meshgrid(sigma[0] * t, sigma[1] * t, indexing="ij")
            eta = (X[rows] @ x_S)[:, None, None] + u0 + X[rows, 1][:, None, None] * u1
            density = np.exp(np.sum(BINARY[rows][:, None, None] * eta - np.logaddexp(0, eta), axis=0))
            weight = np.multiply.outer(stats.norm.pdf(t), stats.norm.pdf(t)) * (t[1] - t[0]) ** 2
            total += np.log(np.sum(density * weight))
            continue
        mean = x_S[0] if kind == "hierarchical mean" else 0.0
        design = X[:, :1] if kind == "hierarchical mean" else X

        def log_density(u, rows=rows, mean=mean, design=design):
            eta = (design[rows] @ x_S)[:, None] + u
            if kind == "Poisson":
                y = COUNTS[rows][:, None]
                value = y * eta - np.exp(eta) - special.gammaln(y + 1)
            else:
                value = BINARY[rows][:, None] * eta - np.logaddexp(0, eta)
            return value.sum(0) + stats.norm.logpdf(u, mean, sigma[0])

        total += trapezoid_1d(log_density, mean, 9 * sigma[0])
    return total


@pytest.mark.parametrize("kind", ["binary", "hierarchical mean", "Poisson", "slopes"])
@pytest.mark.parametrize("log_sigma", [-1.0, 0.7, 1.1])
def test_local_integral_and_its_derivatives_in_the_shared_latents(kind, log_sigma):
    functions, partition = MODELS[kind]()
    b = partition.local_blocks.shape[1]
    inner = QuadratureInner(functions, partition)
    theta = np.full(functions.n_theta, log_sigma)
    x_S = np.array([0.3, 0.6])[: len(partition.shared)]
    conditional = Conditional(functions, inner.blocks, theta)
    found = integrate_local(conditional, x_S, np.zeros((G, b)), node_rule(41 if b == 1 else 31, b))
    sigma = np.exp(theta)
    # 1e-6: what 41 (31 x 31) nodes leave for binary groups with sigma = 3
    assert found.value == pytest.approx(oracle(kind, x_S, sigma), abs=2e-6 if b == 1 else 2e-5)
    if kind == "slopes":
        return  # the oracle is too slow to be differentiated
    np.testing.assert_allclose(found.gradient, differences(lambda s: oracle(kind, s, sigma), x_S), atol=1e-5)

    def slope(s):
        return differences(lambda r: oracle(kind, r, sigma), s, 1e-3)

    np.testing.assert_allclose(found.H, -differences(slope, x_S, 1e-3), atol=1e-4)


@pytest.fixture(scope="module")
def intercept_and_pairs():
    """40 binary pairs, sigma = exp(1.0), intercept: exact marginals of the intercept and of every group effect."""
    generator = np.random.default_rng(5)
    group = np.repeat(np.arange(40), 2)
    y = (generator.random(80) < special.expit(0.4 + 2.7 * generator.normal(size=40)[group])).astype(float)
    functions, partition = grouped(Binomial(y), group, np.ones((80, 1)))
    sigma, a, u = np.exp(1.0), np.linspace(-4, 5, 181), np.linspace(-14, 14, 561)
    successes = np.bincount(group, y).astype(int)
    eta = np.add.outer(a, u)
    kind = [
        np.exp(s * special.log_expit(eta) + (2 - s) * special.log_expit(-eta)) * stats.norm.pdf(u, 0, sigma)
        for s in range(3)
    ]
    log_sums = np.log([k.sum(1) for k in kind])
    log_a = stats.norm.logpdf(a, 0, 10) + sum(log_sums[s] for s in successes)
    p_a = np.exp(log_a - log_a.max())
    p_a /= p_a.sum()
    p_u = np.array([p_a @ (k / k.sum(1, keepdims=True)) for k in kind])
    return functions, partition, successes, (a, p_a), (u, p_u)


def test_moments_against_dense_grids(intercept_and_pairs):
    functions, partition, successes, (a, p_a), (u, p_u) = intercept_and_pairs
    point = QuadratureInner(functions, partition, 31).evaluate(np.array([1.0]))
    moments = point.moments()
    mean_a = p_a @ a
    sd_a = np.sqrt(p_a @ (a - mean_a) ** 2)
    # first-order corrections: what is left is of second order in 1 / (number of groups)
    assert abs(moments.mean[-1] - mean_a) < 0.02 * sd_a
    assert abs(moments.sd[-1] / sd_a - 1) < 0.03
    for g, s in enumerate(successes):
        mean, sd = p_u[s] @ u, np.sqrt(p_u[s] @ (u - p_u[s] @ u) ** 2)
        skewness = p_u[s] @ (u - mean) ** 3 / sd**3
        assert abs(moments.mean[g] - mean) < 0.01 * sd
        assert abs(moments.sd[g] / sd - 1) < 0.01
        assert abs(moments.skewness[g] - skewness) < 0.05
    # a row's predictor is the sum of both
    eta = point.eta_moments()
    total = moments.mean[0] + moments.mean[-1]
    assert eta.mean[0] == pytest.approx(total, rel=1e-8)


def test_draws_against_dense_grids(intercept_and_pairs):
    functions, partition, successes, (a, p_a), (u, p_u) = intercept_and_pairs
    point = QuadratureInner(functions, partition, 15).evaluate(np.array([1.0]))
    sample = point.sample(np.random.default_rng(2), 4000)

    def distance(draws, x, p):
        # the distribution function between the cells of the grid
        edges = x + 0.5 * (x[1] - x[0])
        return np.max(np.abs(np.searchsorted(np.sort(draws), edges) / len(draws) - np.cumsum(p)))

    # 1.63 / sqrt(4000) = 0.026 at the 1 % level, for 43 comparisons 0.035; plus what is Gaussian in the intercept
    assert distance(sample.x[:, -1], a, p_a) < 0.04
    assert max(distance(sample.x[:, g], u, p_u[s]) for g, s in enumerate(successes)) < 0.04
    # importance weights are those of the intercept alone: their mean corrects the Laplace step
    ratio = sample.log_joint - sample.log_q
    assert np.std(ratio) < 0.4
    exact = stats.norm.logpdf(1.0) + np.log(np.sum(_joint_of_intercept(a, successes)) * (a[1] - a[0]))
    assert np.log(np.mean(np.exp(ratio - ratio.max()))) + ratio.max() == pytest.approx(exact, abs=0.02)


def _joint_of_intercept(a, successes):
    """p(y, a | sigma = e) on the grid."""
    u = np.linspace(-14, 14, 561)
    eta = np.add.outer(a, u)
    log_I = [
        np.log(np.sum(np.exp(s * special.log_expit(eta) + (2 - s) * special.log_expit(-eta))
                      * stats.norm.pdf(u, 0, np.exp(1.0)), axis=1) * 0.05)
        for s in range(3)
    ]  # fmt: skip
    return np.exp(stats.norm.logpdf(a, 0, 10) + sum(log_I[s] for s in successes))


def test_splitting_counts_into_binary_rows():
    """5 trials in one row or in five rows: the same up to the binomial coefficients."""
    y, trials = np.array([0, 2, 5, 3, 1, 4]), 5
    group = np.arange(6)
    whole, partition = grouped(Binomial(y, trials), group, np.ones((6, 1)))
    rows = np.concatenate([np.arange(trials) < s for s in y]).astype(float)
    split, split_partition = grouped(Binomial(rows), np.repeat(group, trials), np.ones((30, 1)))
    constant = np.sum(np.log(special.comb(trials, y)))
    for theta in ([-0.5], [1.0]):
        one = QuadratureInner(whole, partition, 9).evaluate(np.array(theta))
        other = QuadratureInner(split, split_partition, 9).evaluate(np.array(theta))
        assert one.log_posterior - constant == pytest.approx(other.log_posterior, abs=1e-10)
        np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-8)
        np.testing.assert_allclose(one.moments().sd, other.moments().sd, rtol=1e-8)


def test_permutation_empty_groups_and_centering():
    theta = np.array([0.8])
    base, partition = grouped(Binomial(BINARY), GROUP, X)
    expected = QuadratureInner(base, partition, 9).evaluate(theta)
    order, relabel = np.random.default_rng(1).permutation(N), np.random.default_rng(2).permutation(G)
    shuffled, same = grouped(Binomial(BINARY[order]), relabel[GROUP[order]], X[order])
    found = QuadratureInner(shuffled, same, 9).evaluate(theta)
    assert found.log_posterior == pytest.approx(expected.log_posterior, abs=1e-9)
    np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-7)
    np.testing.assert_allclose(found.moments().mean[relabel], expected.moments().mean[:G], atol=1e-7)
    # a group without data has its prior, and changes nothing else
    wider, more = grouped(Binomial(BINARY), GROUP, X, n_groups=G + 1)
    found = QuadratureInner(wider, more, 9).evaluate(theta)
    assert found.log_posterior == pytest.approx(expected.log_posterior, abs=1e-9)
    empty = found.moments()
    assert (empty.mean[G], empty.sd[G]) == pytest.approx((0.0, np.exp(0.8)), abs=1e-9)
    noncentered, _ = grouped(Binomial(BINARY), GROUP, X, noncentered=True)
    found = QuadratureInner(noncentered, partition, 9).evaluate(theta)
    assert found.log_posterior == pytest.approx(expected.log_posterior, abs=1e-8)
    # the gradients are those of the integral (Fisher), which the rules reach from two sides: 0.02 apart at k = 9
    many = [QuadratureInner(f, partition, 41).evaluate(theta).gradient for f in (base, noncentered)]
    np.testing.assert_allclose(*many, atol=2e-5)


def test_all_responses_of_every_group_equal():
    """One-sided likelihoods: flat for half of the effects; the integral exists and stays right."""
    y = np.repeat(np.arange(G) % 2, 3).astype(float)
    functions, partition = grouped(Binomial(y), GROUP, np.zeros((N, 0)))
    for log_sigma in (0.0, 1.1, 2.0):
        point = QuadratureInner(functions, partition, 45).evaluate(np.array([log_sigma]))
        sigma = np.exp(log_sigma)
        one = trapezoid_1d(lambda u, s=sigma: 3 * special.log_expit(u) + stats.norm.logpdf(u, 0, s), 0.0, 9 * sigma)
        # no shared latents: the integral is the answer. 45 nodes leave 1e-3 at sigma = 7
        assert point.log_posterior == pytest.approx(G * one + stats.norm.logpdf(log_sigma), abs=2e-3)


@pytest.mark.parametrize("name", ["binary", "slopes", "Gaussian"])
def test_few_nodes_and_gaussian_equal_laplace(name):
    """With a Gaussian likelihood every rule is exact: value and gradient equal those of the Laplace approximation."""
    functions, partition = MODELS[name]()
    system = build_system(
        functions.Q_pattern, functions.A_pattern, functions.W_rows, functions.W_cols, functions.C, functions.e
    )
    # with sigma = exp(-3) every block is all but Gaussian
    theta = np.full(functions.n_theta, -3.0 if name != "Gaussian" else 0.2)
    laplace = LaplaceInner(functions, system).evaluate(theta)
    point = QuadratureInner(functions, partition, 3).evaluate(theta)
    tolerance = 1e-8 if name == "Gaussian" else 2e-3
    assert point.log_posterior == pytest.approx(laplace.log_posterior, abs=tolerance)
    np.testing.assert_allclose(point.gradient, laplace.gradient, atol=2 * tolerance)


def test_refusals():
    functions, partition = MODELS["binary"]()
    sum_to_zero = sparse.csr_array(np.r_[np.ones(G), np.zeros(2)][None])
    with pytest.raises(ValueError, match="constraint"):
        QuadratureInner(replace(functions, C=sum_to_zero, e=np.zeros(1)), partition, 3)
    with pytest.raises(ValueError, match="odd"):
        QuadratureInner(functions, partition, 8)
    with pytest.raises(ValueError, match="k = 1 is the Laplace approximation"):
        QuadratureInner(functions, partition, 1)
    coupled = Partition(np.arange(G + 1)[:, None], np.array([G + 1]))
    with pytest.raises(ValueError, match="two local blocks"):
        QuadratureInner(functions, coupled, 3)


@pytest.mark.parametrize("log_sigma", [-12.0, -9.0, 0.5])
def test_hierarchical_mean_keeps_its_digits(log_sigma):
    """u ~ N(beta, sigma^2) or beta + N(0, sigma^2): precisions of e^24 must not cancel."""
    ones, theta = X[:, :1], np.array([log_sigma])
    centered, partition = grouped(Binomial(BINARY), GROUP, ones)
    # u carries its mean, so that beta itself does not enter the predictor
    hierarchical, same = grouped(Binomial(BINARY), GROUP, 0.0 * ones, hierarchical=True)
    expected = QuadratureInner(centered, partition, 9).evaluate(theta)
    found = QuadratureInner(hierarchical, same, 9).evaluate(theta)
    assert found.status is Status.CONVERGED
    # e^24 times the rounding of a double is 6e-6, relative to a prior precision of 0.01 that is itself 1 % of H
    assert found.log_posterior == pytest.approx(expected.log_posterior, abs=1e-5)
    np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-4)
    np.testing.assert_allclose(found.moments().sd[-1], expected.moments().sd[-1], rtol=1e-5)


@pytest.mark.parametrize("log_sigma", [-13.5, -17.5])
def test_hierarchical_mean_without_digits(log_sigma):
    """e^35 G beta^2 / 2 times the rounding of a double is a hundred log units, whose slope says nothing."""
    theta = np.array([log_sigma])
    counts = Poisson(np.random.default_rng(3).poisson(400, len(X)))
    hierarchical, partition = grouped(counts, GROUP, 0.0 * X[:, :1], hierarchical=True)
    found = QuadratureInner(hierarchical, partition, 9).evaluate(theta)
    assert np.all(np.isnan(found.gradient))
    near = QuadratureInner(hierarchical, partition, 9).evaluate(np.array([-9.0]))
    assert np.all(np.isfinite(near.gradient))


def test_correlations_within_rounding_of_one():
    """1 - rho^2 = e^-32: the terms of u'Qu are 1e14, so that the value has no slope, and the modes of the local latents
    are searched to what their log densities can tell."""
    rng = np.random.default_rng(14)
    group, x = np.repeat(np.arange(4), 10), rng.normal(size=40)
    y = rng.binomial(1, special.expit(0.3 + rng.normal(size=4)[group] + x * (0.5 + 2 * rng.normal(size=4)[group])))
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=1, sd_dist=pm.HalfCauchy.dist(2.5))
        b = pm.Normal("b", 0, 2, shape=2)
        u = pm.MvNormal("u", 0, chol=chol, shape=(4, 2))
        pm.Bernoulli("y", logit_p=b[0] + u[group, 0] + (b[1] + u[group, 1]) * x, observed=y)
    f = compile_model(analyze_model(model))
    inner = QuadratureInner(f, choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C), 11)
    # log scale, partial correlation on the scale of atanh, log scale
    near, far = np.array([1.0, 8.0, 1.0]), np.array([1.0, 16.0, 1.0])
    point = inner.evaluate(near)
    assert np.all(np.isfinite(point.gradient))
    assert np.all(np.isnan(inner.evaluate(far, point).gradient))
    conditional = Conditional(f, inner.blocks, far)
    integral = integrate_local(conditional, np.zeros(2), np.zeros((4, 2)), node_rule(11, 2))
    assert integral.parts[0].mode.n_passes < 30


def test_binary_data_with_correlated_slopes_that_hardly_vary():
    """In the elements of the Cholesky factor their posterior is a funnel, with its mode at a slope without variance."""
    rng = np.random.default_rng(9)
    group, x = np.repeat(np.arange(10), 6), rng.normal(size=60)
    eta = 0.3 + rng.normal(0, 1, 10)[group] + x * (0.5 + rng.normal(0, 0.7, 10)[group])
    y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist(1.5))
        b = pm.Normal("b", 0, 2, shape=2)
        u = pm.MvNormal("u", np.zeros(2), chol=chol, shape=(10, 2))
        pm.Bernoulli("y", logit_p=b[0] + u[group, 0] + (b[1] + u[group, 1]) * x, observed=y)
    idata = pmi.fit(model, random_seed=1, progressbar=False, criteria=False)
    assert pmi.reliability(idata).verdict == "good"
    assert idata["inla"].attrs["count_theta_evaluations"] < 1500
    table = pmi.summary(idata, ["b", "chol_stds", "chol_corr"])
    # NUTS, 2 chains of 2000 draws, target_accept=0.95: (mean, sd, Monte Carlo error of the mean)
    reference = {
        "b[0]": (1.211, 0.685, 0.021),
        "b[1]": (-0.078, 0.472, 0.009),
        "chol_stds[0]": (1.652, 0.658, 0.030),
        "chol_stds[1]": (0.666, 0.501, 0.030),
        "chol_corr[0, 1]": (0.197, 0.421, 0.011),
    }
    for name, (mean, sd, error) in reference.items():
        assert abs(table.loc[name, "mean"] - mean) < 4 * error
        assert abs(table.loc[name, "sd"] / sd - 1) < 0.1
