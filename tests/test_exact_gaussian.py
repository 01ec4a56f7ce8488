"""Gaussian likelihood: the answer given theta is exact, so the whole posterior is a one-dimensional integral.

The oracle is dense algebra and SciPy quadrature; it shares no code with the package. One group effect with known noise,
under every prior on the scale.
"""

import itertools

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import integrate, linalg, stats

import pymc_inla as pmi

NOISE, TAU0 = 0.7, 5.0


def data():
    rng = np.random.default_rng(71)
    g = np.repeat(np.arange(8), 4)
    x = rng.normal(size=32)
    return g, x, 1.0 + 0.5 * x + rng.normal(0, 0.6, 8)[g] + rng.normal(0, NOISE, 32)


G, X, Y = data()


def log_evidence(sigma):
    """log N(y; 0, noise^2 I + sigma^2 ZZ' + TAU0^2 FF') for the model below."""
    Z, F = np.eye(8)[G], np.column_stack([np.ones(32), X])
    covariance = NOISE**2 * np.eye(32) + sigma**2 * Z @ Z.T + TAU0**2 * F @ F.T
    return stats.multivariate_normal.logpdf(Y, np.zeros(32), covariance)


# name -> (how the user writes the scale, log density of sigma)
def _halfstudent(s):
    return np.log(2) + stats.t.logpdf(s / 2.0, 3) - np.log(2.0)


PRIORS = {
    "Exponential": (lambda: pm.Exponential("sigma", 2.0), lambda s: stats.expon.logpdf(s, scale=0.5)),
    "HalfNormal": (lambda: pm.HalfNormal("sigma", 1.5), lambda s: stats.halfnorm.logpdf(s, scale=1.5)),
    "HalfCauchy": (lambda: pm.HalfCauchy("sigma", 1.0), lambda s: stats.halfcauchy.logpdf(s)),
    "HalfStudentT": (lambda: pm.HalfStudentT("sigma", nu=3, sigma=2.0), _halfstudent),
    "Gamma on tau": (
        lambda: pm.Deterministic("sigma", pm.Gamma("tau", 2.0, 0.5) ** -0.5),
        lambda s: stats.gamma.logpdf(s**-2, 2.0, scale=2.0) + np.log(2) - 3 * np.log(s),
    ),
    "InverseGamma on the variance": (
        lambda: pm.Deterministic("sigma", pm.math.sqrt(pm.InverseGamma("v", 3.0, 1.0))),
        lambda s: stats.invgamma.logpdf(s**2, 3.0, scale=1.0) + np.log(2 * s),
    ),
    "Uniform": (lambda: pm.Uniform("sigma", 0, 3), lambda s: stats.uniform.logpdf(s, 0, 3)),
    "LogNormal": (lambda: pm.LogNormal("sigma", 0, 1), lambda s: stats.lognorm.logpdf(s, 1.0)),
    "Normal on log tau": (
        lambda: pm.Deterministic("sigma", pm.math.exp(-0.5 * pm.Normal("log_tau", 1.0, 1.5))),
        lambda s: stats.norm.logpdf(-2 * np.log(s), 1.0, 1.5) + np.log(2 / s),
    ),
}


def model(scale):
    with pm.Model() as m:
        b = pm.Normal("b", 0, TAU0, shape=2)
        u = pm.Normal("u", 0, scale(), shape=8)
        pm.Normal("y", b[0] + b[1] * X + u[G], NOISE, observed=Y)
    return m


@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_on_the_scale(name):
    scale, log_prior = PRIORS[name]
    top = 3.0 if name == "Uniform" else 60.0

    def joint(s):
        return np.exp(log_evidence(s) + log_prior(s) + 60.0)

    def integral(f):
        pieces = [1e-6, 0.2, 0.4, 0.6, 0.9, 1.5, 3.0] + ([8.0, 60.0] if top > 3 else [])
        return sum(integrate.quad(f, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(pieces))

    z = integral(joint)
    idata = pmi.fit(model(scale), draws=10_000, chains=1, random_seed=2, progressbar=False)
    # 0.005: what `integration` promises (0.01 sd in any quantile) seen from the evidence
    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(np.log(z) - 60.0, abs=0.005)
    draws = np.sort(idata.posterior["sigma"].values.ravel())
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        s = np.quantile(draws, q)
        assert abs(_cdf(joint, s, z) - q) < 0.02, f"quantile {q}"  # 1.63/sqrt(10 000) = 0.016 of Monte Carlo error


def _cdf(joint, s, z):
    edges = np.concatenate([[1e-6], [p for p in (0.2, 0.4, 0.6, 0.9, 1.5, 3.0, 8.0) if p < s], [s]])
    return sum(integrate.quad(joint, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges)) / z


def test_zero_hyperparameters():
    """Everything known but the latent field: the posterior is the normal distribution of the textbook."""
    with pm.Model() as m:
        b = pm.Normal("b", 0, TAU0, shape=2)
        u = pm.Normal("u", 0, 0.6, shape=8)
        pm.Normal("y", b[0] + b[1] * X + u[G], NOISE, observed=Y)
    idata = pmi.fit(m, draws=100, chains=1, random_seed=2, progressbar=False)
    A = np.column_stack([np.ones(32), X, np.eye(8)[G]])
    H = A.T @ A / NOISE**2 + np.diag([TAU0**-2] * 2 + [0.6**-2] * 8)
    mean = np.linalg.solve(H, A.T @ Y / NOISE**2)
    sd = np.sqrt(np.diag(np.linalg.inv(H)))
    summary = pmi.summary(idata, var_names=["b", "u"])
    np.testing.assert_allclose(summary["mean"].to_numpy(float), mean, atol=1e-8)
    np.testing.assert_allclose(summary["sd"].to_numpy(float), sd, rtol=1e-8)
    # PyMC holds the constant 5.0 in single precision, and log(5) with it: an error of 3e-8 for each coefficient
    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(log_evidence(0.6), abs=1e-7)


def test_offset_of_a_million():
    """A constant of 1e6 in the data moves the intercept and nothing else."""
    with pm.Model() as m:
        a = pm.Flat("a")
        u = pm.Normal("u", 0, pm.Exponential("sigma", 2.0), shape=8)
        pm.Normal("y", a + u[G], NOISE, observed=Y + 1e6)
    with pm.Model() as n:
        a = pm.Flat("a")
        u = pm.Normal("u", 0, pm.Exponential("sigma", 2.0), shape=8)
        pm.Normal("y", a + u[G], NOISE, observed=Y)
    far, near = (pmi.fit(k, draws=100, chains=1, random_seed=2, progressbar=False) for k in (m, n))
    for variable, shift in (("a", 1e6), ("u", 0.0), ("sigma", 0.0)):
        f, g = pmi.summary(far, var_names=[variable]), pmi.summary(near, var_names=[variable])
        # eps * 1e6 / noise^2, summed over the rows of a group, leaves about 1e-8 relative to the posterior sd
        np.testing.assert_allclose(f["mean"].to_numpy(float) - shift, g["mean"].to_numpy(float), atol=1e-5)
        np.testing.assert_allclose(f["sd"].to_numpy(float), g["sd"].to_numpy(float), rtol=1e-5)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0]])
def test_one_group_and_one_observation(rows):
    """Exact by a one-dimensional integral over sigma."""
    y = Y[rows]
    with pm.Model() as m:
        sigma = pm.Exponential("sigma", 2.0)
        u = pm.Normal("u", 0, sigma, shape=1)
        pm.Normal("y", 1.0 + u[np.zeros(len(rows), int)], NOISE, observed=y)
    idata = pmi.fit(m, draws=100, chains=1, random_seed=2, progressbar=False)

    def density(s):
        covariance = NOISE**2 * np.eye(len(y)) + s**2
        return stats.multivariate_normal.pdf(y, np.ones(len(y)), covariance) * stats.expon.pdf(s, scale=0.5)

    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(
        np.log(integrate.quad(density, 0, 20)[0]), abs=0.005
    )


STUDIES = 12


def bivariate_studies():
    """Two effects of each study with the covariance of their errors, known and another one in every study."""
    rng = np.random.default_rng(15)
    a, b = rng.uniform(0.02, 0.2, (2, STUDIES))
    covariances = np.array([[a, 0.3 * np.sqrt(a * b)], [0.3 * np.sqrt(a * b), b]]).transpose(2, 0, 1)
    effects = rng.multivariate_normal([0.5, -0.2], [[0.1, 0.05], [0.05, 0.08]], STUDIES)
    return covariances, np.array([rng.multivariate_normal(*pair) for pair in zip(effects, covariances, strict=True)])


def test_bivariate_studies_given_the_rest():
    """Everything known but the effects and their means."""
    S, y = bivariate_studies()
    between = np.array([[0.1, 0.05], [0.05, 0.08]])
    with pm.Model() as m:
        mu = pm.Normal("mu", 0, 2, shape=2)
        t = pm.MvNormal("t", mu, cov=between, shape=(STUDIES, 2))
        pm.MvNormal("y", t, cov=S, observed=y)
    idata = pmi.fit(m, draws=100, chains=1, random_seed=2, progressbar=False)
    F = np.tile(np.eye(2), (STUDIES, 1))
    prior = np.kron(np.eye(STUDIES), between) + 4 * F @ F.T
    total = prior + linalg.block_diag(*S)
    mean = prior @ np.linalg.solve(total, y.ravel())
    sd = np.sqrt(np.diag(prior - prior @ np.linalg.solve(total, prior)))
    summary = pmi.summary(idata, var_names=["t"])
    np.testing.assert_allclose(summary["mean"].to_numpy(float), mean, atol=1e-8)
    np.testing.assert_allclose(summary["sd"].to_numpy(float), sd, rtol=1e-8)
    expected = stats.multivariate_normal.logpdf(y.ravel(), np.zeros(2 * STUDIES), total)
    # the normal priors of mu have a constant in single precision
    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(expected, abs=1e-6)


WAYS = {
    "effects": lambda mu, s, S: {"mu": pm.Normal("t", mu, s, shape=(STUDIES, 2)), "cov": S},
    "effects from standard ones": lambda mu, s, S: {"mu": mu + s * pm.Normal("z", shape=(STUDIES, 2)), "cov": S},
    "effects by name": lambda mu, s, S: {
        "mu": pm.math.stack([mu[k] + pm.Normal(f"t{k}", 0, s, shape=STUDIES) for k in range(2)], axis=-1),
        "tau": np.linalg.inv(S),
    },
    "covariances of both": lambda mu, s, S: {"mu": mu, "cov": S + s**2 * np.eye(2)},
    "factors of both": lambda mu, s, S: {"mu": mu, "chol": pt.linalg.cholesky(S + s**2 * np.eye(2))},
    "precisions of both": lambda mu, s, S: {"mu": mu, "tau": pt.linalg.inv(S + s**2 * np.eye(2))},
}


@pytest.mark.parametrize("way", WAYS)
def test_bivariate_studies(way):
    """Variance between studies as an effect of every study, or within the covariance of the likelihood: one integral
    over their scale."""
    S, y = bivariate_studies()
    with pm.Model() as m:
        mu, s = pm.Normal("mu", 0, 2, shape=2), pm.HalfNormal("sigma", 0.5)
        pm.MvNormal("y", **WAYS[way](mu, s, S), observed=y)
    idata = pmi.fit(m, draws=100, chains=1, random_seed=2, progressbar=False)
    F = np.tile(np.eye(2), (STUDIES, 1))

    def joint(s, log_factor=20.0):
        total = linalg.block_diag(*S) + s**2 * np.eye(2 * STUDIES) + 4 * F @ F.T
        value = stats.multivariate_normal.logpdf(y.ravel(), np.zeros(2 * STUDIES), total)
        return np.exp(value + stats.halfnorm.logpdf(s, scale=0.5) + log_factor)

    def integral(f):
        return sum(integrate.quad(f, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise([0, 0.2, 0.4, 0.8, 4.0]))

    z = integral(joint)
    # 0.005: what `integration` promises (0.01 sd in any quantile) seen from the evidence
    assert idata["inla"].attrs["log_marginal_likelihood"] == pytest.approx(np.log(z) - 20.0, abs=0.005)
    mean = integral(lambda s: s * joint(s)) / z
    sd = np.sqrt(integral(lambda s: (s - mean) ** 2 * joint(s)) / z)
    row = pmi.summary(idata, var_names=["sigma"]).iloc[0]
    # 0.01 sd is what `integration` promises of the marginals of hyperparameters
    assert row["mean"] == pytest.approx(mean, abs=0.01 * sd)
    assert row["sd"] == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize("G, n", [(3, 20), (4, 10)])
def test_mirror_images(G, n):
    """A loading and its mirror image, a trough of 20 to 30 log units between them and fewer sd than a search that
    begins far out would pass."""
    rng = np.random.default_rng(G)
    g, z = np.repeat(np.arange(G), n), rng.normal(size=G)
    y = 1.2 * z[g] / z.std() + rng.normal(size=G * n)
    fits = {}
    for prior in (pm.Normal, pm.HalfNormal):
        with pm.Model() as m:
            loading = prior("loading", sigma=2)
            pm.Normal("y", loading * pm.Normal("z", shape=G)[g], 1, observed=y)
        fits[prior] = pmi.fit(m, draws=100, chains=1, random_seed=2, progressbar=False, criteria=False)
    both, half = fits[pm.Normal], fits[pm.HalfNormal]
    row, one = pmi.summary(both, var_names=["loading"]).iloc[0], pmi.summary(half, var_names=["loading"]).iloc[0]
    sd = np.hypot(one["mean"], one["sd"])
    # 0.01 sd is what `integration` promises of the marginals of hyperparameters
    assert row["mean"] == pytest.approx(0, abs=0.01 * sd)
    assert row["sd"] == pytest.approx(sd, rel=0.01)
    evidence = [fit["inla"].attrs["log_marginal_likelihood"] for fit in (both, half)]
    assert evidence[0] == pytest.approx(evidence[1], abs=0.005)
    # the median is anywhere in the trough
    assert pmi.reliability(both).verdict == "good"
