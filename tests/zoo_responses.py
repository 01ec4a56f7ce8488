"""Responses of several parts or classes, by hand and by Bambi, on seeded simulations.

`RESPONSES` has the models with a NUTS run in `references/nuts_more.json`, and the variables compared there.
"""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt


def _groups(seed, n=200, n_groups=10, sigma=0.6):
    rng = np.random.default_rng(seed)
    g, x = rng.integers(0, n_groups, n), rng.normal(size=n)
    return rng, g, x, 0.4 + 0.5 * x + rng.normal(0, sigma, n_groups)[g]


def _effects(g, x):
    a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
    u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=10)
    return a + b * x + u[g]


def zero_inflated_negative_binomial():
    rng, g, x, eta = _groups(1)
    y = rng.negative_binomial(2, 2 / (2 + np.exp(eta + 0.8))) * rng.binomial(1, 0.75, 200)
    with pm.Model() as model:
        mu = pm.math.exp(_effects(g, x))
        psi, alpha = pm.Beta("psi", 2, 2), pm.Exponential("alpha", 0.5)
        pm.ZeroInflatedNegativeBinomial("y", psi=psi, mu=mu, alpha=alpha, observed=y)
    return model


def hurdle_gamma():
    """Both parts have predictors."""
    rng, g, x, eta = _groups(2)
    y = rng.gamma(2, np.exp(eta) / 2) * rng.binomial(1, 1 / (1 + np.exp(-0.5 - x)))
    with pm.Model() as model:
        mu, k = pm.math.exp(_effects(g, x)), pm.Exponential("k", 0.5)
        c, d = pm.Normal("c", 0, 1.5), pm.Normal("d", 0, 1)
        pm.HurdleGamma("y", psi=pm.math.sigmoid(c + d * x), alpha=k, beta=k / mu, observed=y)
    return model


def mixture_with_outliers():
    rng, g, x, eta = _groups(3)
    y = rng.normal(eta, 0.4)
    y[:12] += 6
    with pm.Model() as model:
        mu, noise, w = _effects(g, x), pm.HalfNormal("noise", 1), pm.Dirichlet("w", np.array([9.0, 1.0]))
        pm.Mixture("y", w=w, comp_dists=[pm.Normal.dist(mu, noise), pm.Normal.dist(mu, 8.0)], observed=y)
    return model


def truncated_below():
    """A truncation with one bound, by `pm.Truncated`."""
    rng, g, x, eta = _groups(4)
    y = rng.normal(eta, 0.7)
    keep = y > 0
    with pm.Model() as model:
        mu = _effects(g[keep], x[keep])
        pm.Truncated("y", pm.Normal.dist(mu, pm.HalfNormal("noise", 1)), lower=0, observed=y[keep])
    return model


def dirichlet_multinomial():
    rng, _, x, _ = _groups(5, n=60)
    p = np.exp(np.column_stack([0 * x, 0.5 * x, 0.4 - 0.5 * x]))
    p = np.array([rng.dirichlet(12 * row / row.sum()) for row in p])
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1, shape=3), pm.Normal("b", 0, 1, shape=3)
        p_hat = pm.math.softmax(a + b * x[:, None], axis=1)
        y = np.array([rng.multinomial(30, row) for row in p])
        pm.DirichletMultinomial("y", n=30, a=pm.Gamma("concentration", 2, 0.1) * p_hat, observed=y)
    return model


def correlated_by_lkjcorr():
    """Correlated slopes through a correlation matrix and a covariance built by hand."""
    rng, g, x, _ = _groups(6)
    w = rng.multivariate_normal([0, 0], [[0.5, 0.2], [0.2, 0.3]], 10)
    with pm.Model() as model:
        C, s = pm.LKJCorr("C", n=2, eta=2), pm.HalfNormal("s", 1, shape=2)
        u = pm.MvNormal("u", np.zeros(2), cov=pt.diag(s) @ C @ pt.diag(s), shape=(10, 2))
        y = rng.normal(w[g, 0] + w[g, 1] * x, 0.5)
        pm.Normal("y", u[g, 0] + u[g, 1] * x, pm.HalfNormal("noise", 1), observed=y)
    return model


def _by_bambi(formula, family, seed):
    import bambi as bmb

    rng, g, x, eta = _groups(seed)
    p = np.exp(np.column_stack([0 * x, eta - 0.4, 0.3 - 0.5 * x]))
    table = {
        "x": x,
        "g": [f"g{k}" for k in g],
        "rating": pd.Categorical(np.digitize(eta + rng.logistic(size=200), [-1, 0.5, 1.5]), ordered=True),
        "choice": [rng.choice(["a", "b", "c"], p=row / row.sum()) for row in p],
    }
    model = bmb.Model(formula, pd.DataFrame(table), family=family)
    model.build()
    return model.backend.model


def bambi_cumulative():
    return _by_bambi("rating ~ 0 + x + (1 | g)", "cumulative", 7)


def bambi_sratio():
    return _by_bambi("rating ~ 0 + x + (1 | g)", "sratio", 8)


def bambi_categorical():
    return _by_bambi("choice ~ x + (1 | g)", "categorical", 9)


RESPONSES = {
    "zero_inflated_negative_binomial": (zero_inflated_negative_binomial, ["a", "b", "s", "psi", "alpha"]),
    "hurdle_gamma": (hurdle_gamma, ["a", "b", "s", "k", "c", "d"]),
    "mixture_with_outliers": (mixture_with_outliers, ["a", "b", "s", "noise", "w"]),
    "truncated_below": (truncated_below, ["a", "b", "s", "noise"]),
    "dirichlet_multinomial": (dirichlet_multinomial, ["a", "b", "concentration"]),
    "bambi_sratio": (bambi_sratio, ["x", "threshold", "1|g_sigma"]),
    "bambi_categorical": (bambi_categorical, ["Intercept", "x", "1|g_sigma"]),
}
