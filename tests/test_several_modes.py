"""Posteriors with several modes of the hyperparameters that are images of each other: labels exchanged, signs changed.

The oracle is brute-force quadrature over the hyperparameters, the coefficients integrated out by dense algebra; or the
same model under a prior that leaves one of the images, from which the moments over all of them follow.
"""

import numpy as np
import pymc as pm
import pytest
from scipy.special import expit

import pymc_inla as pmi


def fit(model, **options):
    options = {"draws": 500, "chains": 2, "random_seed": 3, "progressbar": False, "criteria": False} | options
    return pmi.fit(model, **options)


def log_evidence_of(idata):
    return idata["inla"].attrs["log_marginal_likelihood"]


def log_evidence(y, X, mean, sd, noise):
    """log p(y | theta) of y = X a + noise, two coefficients a ~ N(mean, sd^2), up to a constant.

    Parameters
    ----------
    X : array (m, n, 2)
        One design for each theta.
    noise : array (m,)
    """
    r = y - X.sum(-1) * mean
    precision = np.einsum("mni,mnj->mij", X, X) / noise[:, None, None] ** 2 + np.eye(2) / sd**2
    b = np.einsum("mni,mn->mi", X, r) / noise[:, None] ** 2
    explained = np.einsum("mi,mi->m", b, np.linalg.solve(precision, b[..., None])[..., 0])
    log_determinant = np.linalg.slogdet(precision)[1]
    return -len(y) * np.log(noise) - 0.5 * ((r**2).sum(-1) / noise**2 - explained + log_determinant)


def expect_both_orders(idata, name, first, second, log_density):
    """Mean and sd of both elements of a variable: one of their orders is on a grid, and the other one is as likely."""
    p = np.exp(log_density - log_density.max())
    values, weights = np.concatenate([first, second]), np.tile(p / (2 * p.sum()), 2)
    mean = weights @ values
    sd = np.sqrt(weights @ (values - mean) ** 2)
    summary = pmi.summary(idata, var_names=[name])
    # 0.01 sd is what `integration` promises of the marginals of hyperparameters
    assert summary["mean"].to_numpy() == pytest.approx(mean, abs=0.01 * sd)
    assert summary["sd"].to_numpy() == pytest.approx(sd, rel=0.01)
    assert pmi.reliability(idata).verdict == "good"


def test_a_start_between_exchanged_rates():
    """Two exponentials with equal priors: where both rates are equal the gradient is that of one rate, and the density
    of both has a small maximum of its own."""
    rng = np.random.default_rng(3)
    t = np.linspace(0, 10, 30)
    y = 3 * np.exp(-1.5 * t) + 2 * np.exp(-0.2 * t) + rng.normal(0, 0.1, 30)
    with pm.Model() as m:
        A, k = pm.Normal("A", 0, 5, shape=2), pm.LogNormal("k", -0.5, 1, shape=2)
        mu = A[0] * pm.math.exp(-k[0] * t) + A[1] * pm.math.exp(-k[1] * t)
        pm.Normal("y", mu, pm.HalfNormal("s", 1), observed=y)
    idata = fit(m)
    # one of the two modes, on a grid of log rates; the other is its image
    slow, fast, s = np.linspace(-2.4, -1.1, 40), np.linspace(-0.1, 1.3, 40), np.linspace(-2.7, -1.4, 30)
    u, v, w = (axis.ravel() for axis in np.meshgrid(slow, fast, s, indexing="ij"))
    X = np.exp(-t[:, None] * np.exp(np.column_stack([u, v]))[:, None, :])
    f = log_evidence(y, X, 0.0, 5.0, np.exp(w)) - 0.5 * ((u + 0.5) ** 2 + (v + 0.5) ** 2) - 0.5 * np.exp(2 * w) + w
    expect_both_orders(idata, "k", np.exp(u), np.exp(v), f)


# 0.03 sd, from which on the verdict is "check", are estimated of one of the modes
@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize("curve", [expit, np.tanh])
def test_two_signs_change_together(curve):
    """a + b f(k (t - c)): b and k change their signs, and of a logistic curve a moves to a + b."""
    rng = np.random.default_rng(12)
    t = np.linspace(0, 10, 40)
    y = 1 + 3 * curve(1.2 * (t - 5)) + rng.normal(0, 0.3, 40)
    priors = {
        "both": lambda: pm.Normal("k", 0, 2),
        "up": lambda: pm.HalfNormal("k", 2),
        "down": lambda: pm.Deterministic("k", -pm.HalfNormal("size", 2)),
    }
    rows, evidence = {}, {}
    for name, prior in priors.items():
        with pm.Model() as m:
            a, b, c, k = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5), pm.Normal("c", 5, 3), prior()
            f = pm.math.sigmoid if curve is expit else pm.math.tanh
            pm.Normal("y", a + b * f(k * (t - c)), pm.HalfNormal("s", 1), observed=y)
        idata = fit(m)
        assert pmi.reliability(idata).numbers["outer_change"] < 0.05
        rows[name], evidence[name] = pmi.summary(idata, var_names=["k"]).iloc[0], log_evidence_of(idata)
        if name == "both":
            k = idata["posterior"].dataset["k"].to_numpy()
            share, nearest = np.mean(k > 0), np.min(np.abs(k))
    # half-normal priors are twice as high
    up = 1 / (1 + np.exp(evidence["down"] - evidence["up"]))
    mean = up * rows["up"]["mean"] + (1 - up) * rows["down"]["mean"]
    square = up * np.hypot(*rows["up"][["mean", "sd"]]) ** 2 + (1 - up) * np.hypot(*rows["down"][["mean", "sd"]]) ** 2
    sd = np.sqrt(square - mean**2)
    # 0.01 in the log integral of each mode is half a percent of its share: 0.01 of the sd, which is their distance / 2
    assert rows["both"]["mean"] == pytest.approx(mean, abs=0.01 * sd)
    assert rows["both"]["sd"] == pytest.approx(sd, rel=0.01)
    assert nearest > 0.2  # none in the trough
    # draws are spread evenly: their share of one mode is far better known than the 0.016 of 1000 independent ones
    assert share == pytest.approx(up, abs=0.02)
    assert evidence["both"] == pytest.approx(np.logaddexp(evidence["up"], evidence["down"]) - np.log(2), abs=0.01)


def test_latents_change_places_with_hyperparameters():
    """A[0] f(t - c[0]) + A[1] f(t - c[1]), where the places c are latent and the heights A hyperparameters: given
    heights in the other order, a search that starts at places in the old one stays there."""
    rng = np.random.default_rng(3)
    t = np.linspace(0, 20, 50)
    y = 2 * expit(t - 5) + 3 * expit(t - 14) + rng.normal(0, 0.2, 50)
    with pm.Model() as m:
        A, c = pm.Normal("A", 2, 2, shape=2), pm.Normal("c", 10, 5, shape=2)
        mu = A[0] * pm.math.sigmoid(t - c[0]) + A[1] * pm.math.sigmoid(t - c[1])
        pm.Normal("y", mu, 0.2, observed=y)
    idata = fit(m)
    first, second = np.linspace(4.2, 6.4, 60), np.linspace(13.4, 15.0, 60)
    u, v = (axis.ravel() for axis in np.meshgrid(first, second, indexing="ij"))
    X = expit(t[:, None] - np.column_stack([u, v])[:, None, :])
    f = log_evidence(y, X, 2.0, 2.0, np.full(len(u), 0.2)) - 0.5 * ((u - 10) ** 2 + (v - 10) ** 2) / 25
    expect_both_orders(idata, "c", u, v, f)


def test_loadings_of_a_factor():
    """All loadings of a factor change their signs together: five hyperparameters, and the latents with them."""
    rng = np.random.default_rng(5)
    n, true = 40, np.array([1.0, 0.8, 1.2, -0.7])
    y = rng.normal(size=n)[:, None] * true + rng.normal(0, 0.6, (n, 4))
    fits = {}
    for prior in (pm.Normal, pm.HalfNormal):
        with pm.Model() as m:
            first, others = prior("first", sigma=1), pm.Normal("others", 0, 1, shape=3)
            loadings = pm.math.concatenate([first[None], others])
            mu = pm.Normal("z", shape=n)[:, None] * loadings[None, :]
            pm.Normal("y", mu, pm.HalfNormal("s", 1), observed=y)
        fits[prior] = fit(m)
    both, half = fits[pm.Normal], fits[pm.HalfNormal]
    names = ["first", "others"]
    row, one = pmi.summary(both, var_names=names), pmi.summary(half, var_names=names)
    sd = np.hypot(one["mean"], one["sd"]).to_numpy()
    # 0.01 in the log integral of each mode is half a percent of its share
    assert row["mean"].to_numpy() == pytest.approx(0, abs=0.02)
    assert row["sd"].to_numpy() == pytest.approx(sd, rel=0.01)
    assert pmi.reliability(both).verdict == "good"
    z = pmi.summary(both, var_names=["z"])
    assert z["mean"].to_numpy() == pytest.approx(0, abs=0.02)
