"""Ways of writing one model that must give one posterior, in the deterministic parts of the result."""

import numpy as np
import pymc as pm
import pytensor.sparse as ps
import pytest
import zoo
from scipy import sparse

import pymc_inla as pmi


def marginal(idata, variable):
    """Mean, sd and quantiles of a variable from the deterministic marginals."""
    return pmi.summary(idata, var_names=[variable])[["mean", "sd", "q2.5", "q50", "q97.5"]].to_numpy(float)


def deterministic_fit(model, strategy="laplace"):
    return pmi.fit(model, strategy=strategy, draws=50, chains=1, random_seed=3, progressbar=False)


@pytest.fixture(scope="module", params=["laplace", "quadrature"])
def centered_seeds(request):
    return request.param, deterministic_fit(zoo.seeds(), request.param)


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize("build", [zoo.seeds_tau, zoo.seeds_noncentered, zoo.seeds_mean])
def test_four_ways_to_write_a_group_effect(build, centered_seeds):
    strategy, centered = centered_seeds
    other = deterministic_fit(build(), strategy)
    # With a hierarchical mean the prior precision of the shared latents is a difference of numbers of size 1 / sigma^2,
    # which rounding takes below sigma = 1e-6. The other forms still have a mass of 1e-6 there (Laplace: 1e-5), and the
    # spline through the lost nodes bends elsewhere, by 1e-8 to 1e-5 sd depending on the order of sums.
    tolerance = {"laplace": 1e-3, "quadrature": 2e-5}[strategy] if build is zoo.seeds_mean else 1e-6
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


SPARSE = {
    "structured_dot": lambda Z, u: ps.structured_dot(ps.as_sparse_variable(Z), u[:, None])[:, 0],
    "csc": lambda Z, u: ps.dot(ps.as_sparse_variable(Z.tocsc()), u[:, None]).flatten(),
    "transposed": lambda Z, u: ps.dot(ps.as_sparse_variable(Z.T.tocsr()).T, u[:, None]).flatten(),
    "from the left": lambda Z, u: ps.dot(u[None, :], ps.as_sparse_variable(Z.T.tocsc())).flatten(),
}


def group_counts_by(look_up):
    rng = np.random.default_rng(14)
    group = np.repeat(np.arange(10), 5)
    Z = sparse.csr_matrix((np.ones(50), (np.arange(50), group)), shape=(50, 10))
    y = rng.poisson(np.exp(1 + rng.normal(0, 0.5, 10)[group]))
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("tau", 1), shape=10)
        eta = pm.Deterministic("eta", pm.Normal("a", 0, 2) + (u[group] if look_up is None else look_up(Z, u)))
        pm.Poisson("y", pm.math.exp(eta), observed=y)
    return deterministic_fit(model)


@pytest.fixture(scope="module")
def looked_up_by_index():
    return group_counts_by(None)


@pytest.mark.parametrize("form", SPARSE)
def test_sparse_designs(form, looked_up_by_index):
    """Sparse matrices of PyTensor, whose type is derived from that of dense ones."""
    fit = group_counts_by(SPARSE[form])
    for name in ("a", "u", "tau"):
        np.testing.assert_allclose(marginal(fit, name), marginal(looked_up_by_index, name), atol=1e-8)
    np.testing.assert_allclose(fit.posterior["eta"], looked_up_by_index.posterior["eta"], atol=1e-8)


@pytest.mark.parametrize("k", [31, 45])
def test_sums_of_many_terms(k):
    """PyTensor's interpreter takes 31 of them."""
    n = k + 20
    rng = np.random.default_rng(17)
    X, y = rng.normal(size=(n, k)), rng.normal(size=n)
    with pm.Model() as one_by_one:
        betas = [pm.Normal(f"beta{j}", 0, 0.5) for j in range(k)]
        mu = pm.Deterministic("mu", sum(beta * column for beta, column in zip(betas, X.T, strict=True)))
        pm.Normal("y", mu, pm.Exponential("sigma", 1), observed=y)
    with pm.Model() as vector:
        beta = pm.Normal("beta", 0, 0.5, shape=k)
        pm.Deterministic("mu", X @ beta)
        pm.Normal("y", X @ beta, pm.Exponential("sigma", 1), observed=y)
    a, b = deterministic_fit(one_by_one), deterministic_fit(vector)
    np.testing.assert_allclose(marginal(a, f"beta{k - 1}")[0], marginal(b, "beta")[-1], atol=1e-6)
    np.testing.assert_allclose(marginal(a, "sigma"), marginal(b, "sigma"), atol=1e-6)
    betas = [a.posterior[f"beta{j}"].values for j in range(k)]
    np.testing.assert_allclose(a.posterior["mu"].values, np.einsum("jcd,nj->cdn", betas, X), atol=1e-10)


def grouped_counts(split=False, order=None, empty_group=False, levels=None, shift=0.0, swapped=False):
    """Binomial counts in two crossed sets of groups with a covariate, or the same model written in another way: as
    Bernoulli rows, with rows permuted, a group without data, levels renumbered, another origin of the covariate, or the
    effects declared in the other order."""
    rng = np.random.default_rng(5)
    trials = rng.integers(1, 6, 60)
    g, h = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    y, x = rng.binomial(trials, 0.6), rng.normal(size=60)
    if split:
        g, h, x = (np.repeat(v, trials) for v in (g, h, x))
        y = np.concatenate([np.repeat([1, 0], [k, m - k]) for k, m in zip(y, trials, strict=True)])
        trials = np.ones(len(y), int)
    if order is not None:
        permutation = np.random.default_rng(order).permutation(len(y))
        g, h, x, y, trials = (v[permutation] for v in (g, h, x, y, trials))
    if levels is not None:
        g = levels[g]
    with pm.Model() as model:
        a = pm.Flat("a")
        if not swapped:
            s = pm.Exponential("s", 1)
            u = pm.Normal("u", 0, s, shape=20 + empty_group)
        t = pm.Exponential("t", 2)
        v = pm.Normal("v", 0, t, shape=3)
        if swapped:
            s = pm.Exponential("s", 1)
            u = pm.Normal("u", 0, s, shape=20 + empty_group)
        b = pm.Normal("b", 0, 2)
        pm.Binomial("y", trials, logit_p=a + b * (x - shift) + u[g] + v[h], observed=y)
    return model


LEVELS = np.random.default_rng(2).permutation(20)


@pytest.fixture(scope="module", params=["laplace", "quadrature"])
def counts(request):
    return request.param, deterministic_fit(grouped_counts(), request.param)


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize(
    "change",
    [
        {"split": True},
        {"order": 9},
        {"empty_group": True},
        {"levels": LEVELS},
        {"shift": 1.5},
        {"swapped": True},
        {"split": True, "order": 4, "levels": LEVELS, "swapped": True},
    ],
    ids=lambda change: "_".join(change),
)
def test_invariance(change, counts):
    strategy, base = counts
    other = deterministic_fit(grouped_counts(**change), strategy)
    for variable in ("b", "s", "t", "v"):
        expected = marginal(base, variable)
        np.testing.assert_allclose((marginal(other, variable) - expected) / expected[:, 1:2], 0, atol=1e-6)
    expected = marginal(base, "u")
    found = marginal(other, "u")[:20]
    found = found[change["levels"]] if "levels" in change else found
    np.testing.assert_allclose((found - expected) / expected[:, 1:2], 0, atol=1e-6)
    evidence = [f["inla"].attrs["log_marginal_likelihood"] for f in (other, base)]
    if "split" not in change:  # the binomial coefficients go
        assert evidence[0] == pytest.approx(evidence[1], abs=1e-6)


def test_same_seed_same_result_bit_for_bit():
    a, b = (pmi.fit(zoo.seeds(), random_seed=11, progressbar=False) for _ in range(2))
    for variable in ("b", "sigma", "u"):
        np.testing.assert_array_equal(a.posterior[variable], b.posterior[variable])


def test_units_of_the_response():
    """An intercept with a Student t prior is searched as far as its prior has it, whether the response is in seconds or
    in milliseconds."""
    rng = np.random.default_rng(11)
    group, x = np.repeat(np.arange(12), 5), np.tile(np.arange(5.0), 12)
    y = 0.25 + 0.01 * x + rng.normal(0, 0.04, 12)[group] + rng.normal(0, 0.03, 60)
    tables, evidence = [], []
    for unit in (1.0, 1000.0):
        with pm.Model() as model:
            a, b = pm.StudentT("a", nu=3, mu=0.25 * unit, sigma=0.06 * unit), pm.Normal("b", 0, 0.1 * unit)
            s, e = (pm.HalfStudentT(name, nu=3, sigma=0.06 * unit) for name in "se")
            pm.Normal("y", a + b * x + pm.Normal("u", 0, s, shape=12)[group], e, observed=unit * y)
        idata = pmi.fit(model, draws=100, chains=1, random_seed=1, progressbar=False, criteria=False)
        assert pmi.reliability(idata).verdict == "good"
        tables.append(pmi.summary(idata, ["a", "b", "s", "e"])[["mean", "sd"]].to_numpy() / unit)
        evidence.append(idata["inla"].attrs["log_marginal_likelihood"] + len(y) * np.log(unit))
    sd = tables[0][:, 1:]
    # the search of the mode stops elsewhere, and steps of the grid follow it
    np.testing.assert_allclose(tables[1] / sd, tables[0] / sd, atol=0.002)
    assert evidence[1] == pytest.approx(evidence[0], abs=1e-3)
