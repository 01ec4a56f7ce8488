"""The models that the benchmarks time. Each function returns a pm.Model; `seed` makes a second data set."""

import numpy as np
import pymc as pm


def seeds(seed=0):
    """Seeds germination (Crowder 1978), 21 rows; a seed other than 0 redraws the responses."""
    r = np.array([10, 23, 23, 26, 17, 5, 53, 55, 32, 46, 10, 8, 10, 8, 23, 0, 3, 22, 15, 32, 3])
    n = np.array([39, 62, 81, 51, 39, 6, 74, 72, 51, 79, 13, 16, 30, 28, 45, 4, 12, 41, 30, 51, 7])
    if seed:
        r = np.random.default_rng(seed).binomial(n, (r + 0.5) / (n + 1))
    x1, x2 = np.repeat([0.0, 1.0], [11, 10]), np.repeat([0.0, 1.0, 0.0, 1.0], [5, 6, 5, 5])
    with pm.Model(coords={"plate": range(21)}) as model:
        b = pm.Normal("b", 0, 10, shape=4)
        sigma = pm.Exponential("sigma", 4.605)
        u = pm.Normal("u", 0, sigma, dims="plate")
        pm.Binomial("r", n, logit_p=b[0] + b[1] * x1 + b[2] * x2 + b[3] * x1 * x2 + u, observed=r)
    return model


def poisson(n, seed=206):
    """Poisson, 2 fixed effects, one iid effect with n/10 groups."""
    rng = np.random.default_rng(seed)
    G = n // 10
    g = rng.integers(1, G + 1, n)
    x1 = rng.normal(size=n).round(6)
    x2 = rng.integers(0, 2, n)
    u = rng.normal(0, 0.5, G)
    y = rng.poisson(np.exp(0.5 + 0.3 * x1 - 0.2 * x2 + u[g - 1]))
    with pm.Model() as model:
        a, b1, b2 = pm.Flat("a"), pm.Normal("b1", 0, 30), pm.Normal("b2", 0, 30)
        sigma = pm.Exponential("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=G)
        pm.Poisson("y", pm.math.exp(a + b1 * x1 + b2 * x2 + u[g - 1]), observed=y)
    return model


def bernoulli_crossed(seed=301):
    """Bernoulli, 75 000 rows, crossed 3000 x 1000 levels."""
    rng = np.random.default_rng(seed)
    n, A, B = 75_000, 3000, 1000
    a = np.concatenate([np.arange(1, A + 1), rng.integers(1, A + 1, n - A)])
    b = np.concatenate([np.arange(1, B + 1), rng.integers(1, B + 1, n - B)])
    rng.shuffle(b)
    x1 = rng.normal(size=n).round(6)
    x2 = rng.integers(0, 2, n)
    u, v = rng.normal(0, 0.8, A), rng.normal(0, 0.5, B)
    p = 1 / (1 + np.exp(-(-0.3 + 0.5 * x1 + 0.4 * x2 + u[a - 1] + v[b - 1])))
    y = rng.binomial(1, p)
    with pm.Model() as model:
        c, b1, b2 = pm.Flat("c"), pm.Normal("b1", 0, 30), pm.Normal("b2", 0, 30)
        su, sv = pm.Exponential("sigma_u", 1), pm.Exponential("sigma_v", 1)
        u, v = pm.Normal("u", 0, su, shape=A), pm.Normal("v", 0, sv, shape=B)
        pm.Bernoulli("y", logit_p=c + b1 * x1 + b2 * x2 + u[a - 1] + v[b - 1], observed=y)
    return model


def binary_small_groups(seed=401):
    """2000 binary rows in 1600 groups: where the Laplace approximation fails and quadrature is needed."""
    rng = np.random.default_rng(seed)
    n, G = 2000, 1600
    g = np.concatenate([np.arange(G), rng.integers(0, G, n - G)])
    x = rng.normal(size=n)
    u = rng.normal(0, 2, G)
    y = rng.binomial(1, 1 / (1 + np.exp(-(-0.5 + x + u[g]))))
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        sigma = pm.Exponential("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=G)
        pm.Bernoulli("y", logit_p=a + b * x + u[g], observed=y)
    return model


def hierarchical_means(seed=501):
    """Poisson, 20 000 rows, 2000 groups around the unknown means of 20 regions."""
    rng = np.random.default_rng(seed)
    region, g = rng.integers(0, 20, 2000), rng.integers(0, 2000, 20_000)
    u = rng.normal(0.5, 0.5, 20)[region] + rng.normal(0, 0.4, 2000)
    y = rng.poisson(np.exp(u[g]))
    with pm.Model() as model:
        mu, s_region = pm.Normal("mu", 0, 3), pm.Exponential("s_region", 1)
        means = pm.Normal("means", mu, s_region, shape=20)
        sigma = pm.Exponential("sigma", 1)
        u = pm.Normal("u", means[region], sigma, shape=2000)
        pm.Poisson("y", pm.math.exp(u[g]), observed=y)
    return model


def correlated_slopes(seed=601):
    """Binary, 3000 rows, intercepts and slopes of 300 groups with an LKJ prior."""
    rng = np.random.default_rng(seed)
    g, x = rng.integers(0, 300, 3000), rng.normal(size=3000)
    b = rng.multivariate_normal([0.2, 0.5], [[0.8, 0.3], [0.3, 0.5]], 300)
    y = rng.binomial(1, 1 / (1 + np.exp(-(b[g, 0] + b[g, 1] * x))))
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 2, shape=2)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2.0, sd_dist=pm.HalfNormal.dist(1.0, shape=2))
        b = pm.MvNormal("b", mu=beta, chol=chol, shape=(300, 2))
        pm.Bernoulli("y", logit_p=b[g, 0] + b[g, 1] * x, observed=y)
    return model


CASES = {
    "seeds": seeds,
    "poisson 1e3": lambda seed=206: poisson(10**3, seed),
    "poisson 1e4": lambda seed=206: poisson(10**4, seed),
    "poisson 1e5": lambda seed=206: poisson(10**5, seed),
    "poisson 1e6": lambda seed=206: poisson(10**6, seed),
    "bernoulli 3000 x 1000": bernoulli_crossed,
    "binary small groups": binary_small_groups,
    "hierarchical means": hierarchical_means,
    "correlated slopes": correlated_slopes,
}
