"""Models that must fit unmodified, each a function without arguments that returns a `pm.Model`.

Data are small seeded simulations. `REFERENCE` lists the models that have a long NUTS run in `references/nuts.json`,
with the variables compared there.
"""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.sparse
import pytensor.tensor as pt
from scipy import sparse


def _seeds():
    r = [10, 23, 23, 26, 17, 5, 53, 55, 32, 46, 10, 8, 10, 8, 23, 0, 3, 22, 15, 32, 3]
    n = [39, 62, 81, 51, 39, 6, 74, 72, 51, 79, 13, 16, 30, 28, 45, 4, 12, 41, 30, 51, 7]
    x1 = np.repeat([0.0, 1.0], [11, 10])
    x2 = np.repeat([0.0, 1.0, 0.0, 1.0], [5, 6, 5, 5])
    return np.array(r), np.array(n), x1, x2


def _groups(seed, n=200, n_groups=20, beta=(0.5, 0.4), sigma=0.7):
    rng = np.random.default_rng(seed)
    g = rng.integers(0, n_groups, n)
    x = rng.normal(size=n)
    u = rng.normal(0, sigma, n_groups)
    return rng, g, x, beta[0] + beta[1] * x + u[g], u


# --- one group effect, written in four ways --------------------------------------------------------------------------


def seeds(form="sigma"):
    """Seeds germination (Crowder 1978), a plate effect on the logit; `form` says how the effect is written."""
    r, n, x1, x2 = _seeds()
    with pm.Model(coords={"plate": range(21)}) as model:
        b = pm.Normal("b", 0, 10, shape=4)
        sigma = pm.Exponential("sigma", 4.605170185988091)
        fixed = b[1] * x1 + b[2] * x2 + b[3] * x1 * x2
        if form == "sigma":
            u = pm.Normal("u", 0, sigma, dims="plate")
            eta = b[0] + fixed + u
        elif form == "tau":
            u = pm.Normal("u", 0, tau=1 / sigma**2, dims="plate")
            eta = b[0] + fixed + u
        elif form == "mean":
            u = pm.Normal("u", b[0], sigma, dims="plate")
            eta = fixed + u
        elif form == "noncentered":
            z = pm.Normal("z", 0, 1, dims="plate")
            eta = b[0] + fixed + pm.Deterministic("u", sigma * z, dims="plate")
        pm.Deterministic("eta", eta, dims="plate")
        pm.Binomial("r", n, logit_p=eta, observed=r, dims="plate")
    return model


def seeds_tau():
    return seeds("tau")


def seeds_mean():
    return seeds("mean")


def seeds_noncentered():
    return seeds("noncentered")


# --- several effects -------------------------------------------------------------------------------------------------


def nested():
    rng = np.random.default_rng(11)
    school = np.repeat(np.arange(8), 5)
    klass = np.repeat(np.arange(40), 6)
    eta = 0.4 + rng.normal(0, 0.5, 8)[school[klass]] + rng.normal(0, 0.4, 40)[klass]
    y = rng.poisson(np.exp(eta))
    with pm.Model(coords={"school": range(8), "class": range(40)}) as model:
        a = pm.Normal("a", 0, 2)
        s1 = pm.HalfNormal("sigma_school", 1)
        s2 = pm.HalfNormal("sigma_class", 1)
        v = pm.Normal("v", 0, s1, dims="school")
        u = pm.Normal("u", v[school], s2, dims="class")
        pm.Poisson("y", pm.math.exp(a + u[klass]), observed=y)
    return model


def crossed():
    rng = np.random.default_rng(12)
    i, j = np.tile(np.arange(15), 14), np.repeat(np.arange(14), 15)
    x = rng.normal(size=210)
    y = rng.poisson(np.exp(0.8 + 0.3 * x + rng.normal(0, 0.5, 15)[i] + rng.normal(0, 0.3, 14)[j]))
    with pm.Model() as model:
        a = pm.Flat("a")
        b = pm.Normal("b", 0, 2)
        s1, s2 = pm.Exponential("s1", 1), pm.Exponential("s2", 1)
        u, v = pm.Normal("u", 0, s1, shape=15), pm.Normal("v", 0, s2, shape=14)
        pm.Poisson("y", pm.math.exp(a + b * x + u[i] + v[j]), observed=y)
    return model


def observation_level():
    rng, g, x, eta, _ = _groups(13, n=150, n_groups=15)
    y = rng.poisson(np.exp(eta + rng.normal(0, 0.6, 150)))
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s, t = pm.HalfNormal("s", 1), pm.HalfNormal("t", 1)
        u, e = pm.Normal("u", 0, s, shape=15), pm.Normal("e", 0, t, shape=150)
        pm.Poisson("y", pm.math.exp(a + b * x + u[g] + e), observed=y)
    return model


def independent_slopes():
    rng, g, x, eta, _ = _groups(14)
    y = rng.poisson(np.exp(eta + rng.normal(0, 0.3, 20)[g] * x))
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s = pm.HalfNormal("s", 1, shape=2)
        u, v = pm.Normal("u", 0, s[0], shape=20), pm.Normal("v", 0, s[1], shape=20)
        pm.Poisson("y", pm.math.exp(a + u[g] + (b + v[g]) * x), observed=y)
    return model


def correlated_slopes(centered=True):
    rng, g, x, eta, u0 = _groups(15, n=300, n_groups=25)
    slope = 0.3 * (0.6 * u0 / 0.7 + 0.8 * rng.normal(size=25))
    y = rng.poisson(np.exp(eta + slope[g] * x))
    with pm.Model(coords={"g": range(25), "coef": ["intercept", "slope"]}) as model:
        b = pm.Normal("b", 0, 2, dims="coef")
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2.0, sd_dist=pm.Exponential.dist(1.0))
        if centered:
            w = pm.MvNormal("w", np.zeros(2), chol=chol, dims=("g", "coef"))
        else:
            z = pm.Normal("z", 0, 1, dims=("g", "coef"))
            w = pm.Deterministic("w", pt.dot(z, chol.T), dims=("g", "coef"))
        pm.Poisson("y", pm.math.exp(b[0] + w[g, 0] + (b[1] + w[g, 1]) * x), observed=y)
    return model


def correlated_slopes_noncentered():
    return correlated_slopes(centered=False)


# --- structured latents ----------------------------------------------------------------------------------------------


def group_scales():
    """Mean and log scale of the response, both with an effect of the same groups."""
    rng, g, _, eta, _ = _groups(8)
    v = rng.normal(0, 0.5, 20)
    y = rng.normal(eta, np.exp(-0.4 + v[g]))
    with pm.Model() as model:
        a, c = pm.Normal("a", 0, 5), pm.Normal("c", 0, 2)
        s, t = pm.HalfNormal("s", 1), pm.HalfNormal("t", 1)
        u, v = pm.Normal("u", 0, s, shape=20), pm.Normal("v", 0, t, shape=20)
        pm.Normal("y", a + u[g], pm.math.exp(c + v[g]), observed=y)
    return model


def zero_sum():
    rng, g, x, eta, _ = _groups(21, n=180, n_groups=9)
    y = rng.poisson(np.exp(eta))
    with pm.Model(coords={"g": range(9)}) as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s = pm.HalfNormal("s", 1)
        u = pm.ZeroSumNormal("u", sigma=s, dims="g")
        pm.Poisson("y", pm.math.exp(a + b * x + u[g]), observed=y)
    return model


def mvnormal(form="cov"):
    rng = np.random.default_rng(22)
    t = np.linspace(0, 1, 12)
    K = np.exp(-0.5 * (t[:, None] - t) ** 2 / 0.2**2) + 1e-4 * np.eye(12)
    f = np.linalg.cholesky(K) @ rng.normal(size=12)
    idx = np.repeat(np.arange(12), 5)
    y = rng.poisson(np.exp(1 + 0.6 * f[idx]))
    with pm.Model() as model:
        a = pm.Normal("a", 0, 3)
        s = pm.HalfNormal("s", 1)
        if form == "cov":
            u = pm.MvNormal("u", np.zeros(12), cov=s**2 * K)
        elif form == "tau":
            u = pm.MvNormal("u", np.zeros(12), tau=np.linalg.inv(K) / s**2)
        elif form == "chol":
            u = pm.MvNormal("u", np.zeros(12), chol=s * np.linalg.cholesky(K))
        pm.Poisson("y", pm.math.exp(a + u[idx]), observed=y)
    return model


def mvnormal_tau():
    return mvnormal("tau")


def mvnormal_chol():
    return mvnormal("chol")


def random_walk():
    rng = np.random.default_rng(23)
    y = rng.poisson(np.exp(3 + np.cumsum(rng.normal(0, 0.3, 40))))
    with pm.Model() as model:
        s = pm.HalfNormal("s", 0.5)
        u = pm.GaussianRandomWalk("u", sigma=s, init_dist=pm.Normal.dist(3, 2), shape=40)
        pm.Poisson("y", pm.math.exp(u), observed=y)
    return model


def autoregressive():
    rng = np.random.default_rng(24)
    z = np.zeros(50)
    for t in range(1, 50):
        z[t] = 0.7 * z[t - 1] + rng.normal(0, 0.4)
    y = rng.poisson(np.exp(3 + z))
    with pm.Model() as model:
        a = pm.Normal("a", 3, 2)
        rho = pm.Uniform("rho", -1, 1)
        s = pm.HalfNormal("s", 1)
        u = pm.AR("u", rho=[rho], sigma=s, init_dist=pm.Normal.dist(0, 1), shape=50)
        pm.Poisson("y", pm.math.exp(a + u), observed=y)
    return model


def _grid_adjacency(rows=5, cols=5):
    W = np.zeros((rows * cols, rows * cols), dtype=int)
    for r in range(rows):
        for c in range(cols):
            k = r * cols + c
            if c + 1 < cols:
                W[k, k + 1] = W[k + 1, k] = 1
            if r + 1 < rows:
                W[k, k + cols] = W[k + cols, k] = 1
    return W


def car():
    rng = np.random.default_rng(25)
    y = rng.poisson(np.exp(1.2 + rng.normal(0, 0.4, 25)))
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2)
        alpha = pm.Beta("alpha", 2, 2)
        tau = pm.Gamma("tau", 2, 0.5)
        u = pm.CAR("u", mu=np.zeros(25), W=_grid_adjacency(), alpha=alpha, tau=tau)
        pm.Poisson("y", pm.math.exp(a + u), observed=y)
    return model


def icar():
    rng = np.random.default_rng(26)
    y = rng.poisson(np.exp(1.2 + rng.normal(0, 0.4, 25)))
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2)
        s = pm.HalfNormal("s", 1)
        u = pm.ICAR("u", W=_grid_adjacency(), sigma=s)
        pm.Poisson("y", pm.math.exp(a + u), observed=y)
    return model


# --- likelihoods -----------------------------------------------------------------------------------------------------


def likelihood(name):
    """One group effect and one covariate under every likelihood; `name` selects it."""
    rng, g, x, eta, _ = _groups(31)
    n = len(x)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s = pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=20)
        e = a + b * x + u[g]
        if name == "normal":
            pm.Normal("y", e, pm.HalfNormal("noise", 2), observed=rng.normal(eta, 0.8))
        elif name == "binomial_logit":
            pm.Binomial("y", 10, logit_p=e, observed=rng.binomial(10, 1 / (1 + np.exp(-eta))))
        elif name == "binomial_p":
            pm.Binomial("y", 10, p=pm.math.sigmoid(e), observed=rng.binomial(10, 1 / (1 + np.exp(-eta))))
        elif name == "binomial_probit":
            pm.Binomial("y", 10, p=pm.math.invprobit(0.5 * e), observed=rng.binomial(10, 1 / (1 + np.exp(-eta))))
        elif name == "binomial_cloglog":
            p = 1 - np.exp(-np.exp(eta - 1))
            pm.Binomial("y", 10, p=1 - pm.math.exp(-pm.math.exp(e)), observed=rng.binomial(10, p))
        elif name == "bernoulli":
            pm.Bernoulli("y", logit_p=e, observed=rng.binomial(1, 1 / (1 + np.exp(-eta))))
        elif name == "negative_binomial":
            alpha = pm.Exponential("alpha", 0.3)
            mu = rng.gamma(2.0, np.exp(eta) / 2.0)
            pm.NegativeBinomial("y", mu=pm.math.exp(e), alpha=alpha, observed=rng.poisson(mu))
        elif name == "gamma":
            shape = pm.Exponential("shape", 0.3)
            pm.Gamma("y", alpha=shape, beta=shape / pm.math.exp(e), observed=rng.gamma(3.0, np.exp(eta) / 3.0))
        elif name == "beta":
            nu = pm.Exponential("nu", 0.1)
            m = 1 / (1 + np.exp(-eta))
            y = np.clip(rng.beta(m * 8, (1 - m) * 8), 1e-4, 1 - 1e-4)
            pm.Beta("y", mu=pm.math.sigmoid(e), nu=nu, observed=y)
        elif name == "student_t":
            nu = pm.Gamma("nu", 2, 0.1)
            pm.StudentT("y", nu=nu, mu=e, sigma=pm.HalfNormal("noise", 2), observed=eta + 0.6 * rng.standard_t(4, n))
        elif name == "exponential":
            pm.Exponential("y", scale=pm.math.exp(e), observed=rng.exponential(np.exp(eta)))
        elif name == "weibull":
            k = pm.Exponential("k", 0.5)
            pm.Weibull("y", alpha=k, beta=pm.math.exp(e), observed=np.exp(eta) * rng.weibull(1.7, n))
        elif name == "lognormal":
            pm.LogNormal("y", e, pm.HalfNormal("noise", 2), observed=np.exp(rng.normal(eta, 0.8)))
        elif name == "zero_inflated_poisson":
            psi = pm.Beta("psi", 2, 2)
            y = rng.poisson(np.exp(eta)) * rng.binomial(1, 0.7, n)
            pm.ZeroInflatedPoisson("y", psi=psi, mu=pm.math.exp(e), observed=y)
        elif name == "censored":
            noise = pm.HalfNormal("noise", 2)
            y = np.minimum(rng.normal(eta, 0.8), 1.2)
            pm.Censored("y", pm.Normal.dist(e, noise), lower=None, upper=1.2, observed=y)
        elif name == "custom_dist":

            def logp(value, eta):
                return value * eta - pt.exp(eta) - pt.gammaln(value + 1)

            pm.CustomDist("y", e, logp=logp, observed=rng.poisson(np.exp(eta)))
        elif name == "potential":
            y = rng.poisson(np.exp(eta))
            pm.Potential("y", y * e - pm.math.exp(e))
        elif name == "two_predictors":
            c, d = pm.Normal("c", 0, 2), pm.Normal("d", 0, 2)
            pm.Normal("y", e, pm.math.exp(c + d * x), observed=rng.normal(eta, np.exp(-0.4 + 0.3 * x)))
        elif name == "several_observed":
            pm.Poisson("y1", pm.math.exp(e), observed=rng.poisson(np.exp(eta)))
            c = pm.Normal("c", 0, 5)
            pm.Bernoulli("y2", logit_p=c + u[g], observed=rng.binomial(1, 1 / (1 + np.exp(-eta))))
        else:
            raise KeyError(name)
    return model


LIKELIHOODS = [
    "normal",
    "binomial_logit",
    "binomial_p",
    "binomial_probit",
    "binomial_cloglog",
    "bernoulli",
    "negative_binomial",
    "gamma",
    "beta",
    "student_t",
    "exponential",
    "weibull",
    "lognormal",
    "zero_inflated_poisson",
    "censored",
    "custom_dist",
    "potential",
    "two_predictors",
    "several_observed",
]


# --- likelihoods of several probabilities or responses per observation -----------------------------------------------


def gamma_of_mean_and_sd():
    """The standard deviation is a multiple of the mean."""
    rng, g, x, eta, _ = _groups(51)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s, shape = pm.HalfNormal("s", 1), pm.Exponential("shape", 0.3)
        u = pm.Normal("u", 0, s, shape=20)
        mu = pm.math.exp(a + b * x + u[g])
        pm.Gamma("y", mu=mu, sigma=mu / pm.math.sqrt(shape), observed=rng.gamma(3.0, np.exp(eta) / 3.0))
    return model


def beta_of_mean_and_sd():
    rng, g, x, eta, _ = _groups(52)
    m = 1 / (1 + np.exp(-eta))
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s, k = pm.HalfNormal("s", 1), pm.Beta("k", 2, 2)
        u = pm.Normal("u", 0, s, shape=20)
        mu = pm.math.sigmoid(a + b * x + u[g])
        y = np.clip(rng.beta(m * 8, (1 - m) * 8), 1e-4, 1 - 1e-4)
        pm.Beta("y", mu=mu, sigma=k * pm.math.sqrt(mu * (1 - mu)), observed=y)
    return model


def ordered(link="logit"):
    """Four ordered classes, cutpoints unknown."""
    rng, g, x, eta, _ = _groups(53)
    y = np.digitize(eta - 0.5 + rng.logistic(size=200), [-1.0, 0.5, 1.5])
    with pm.Model() as model:
        b = pm.Normal("b", 0, 3)
        s = pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=20)
        cut = pm.Normal(
            "cut", [-1, 0, 1], 2, shape=3, transform=pm.distributions.transforms.ordered, initval=[-1, 0, 1]
        )
        if link == "logit":
            pm.OrderedLogistic("y", eta=b * x + u[g], cutpoints=cut, observed=y)
        else:
            pm.OrderedProbit("y", eta=b * x + u[g], cutpoints=cut, observed=y)
    return model


def ordered_probit():
    return ordered("probit")


def categorical():
    """Three classes, the first of them the reference."""
    rng, g, x, eta, _ = _groups(54)
    second = 0.4 - 0.5 * x
    p = np.exp(np.column_stack([np.zeros(200), eta - 0.5, second]))
    y = np.array([rng.choice(3, p=row / row.sum()) for row in p])
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2, shape=2), pm.Normal("b", 0, 2, shape=2)
        s = pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=20)
        others = a + b * x[:, None] + pt.stack([u[g], pt.zeros(200)], axis=1)
        eta = pt.concatenate([pt.zeros((200, 1)), others], axis=1)
        pm.Categorical("y", p=pm.math.softmax(eta, axis=1), observed=y)
    return model


def categorical_by_logits():
    rng, _, x, _, _ = _groups(55)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2, shape=3), pm.Normal("b", 0, 2, shape=3)
        pm.Categorical("y", logit_p=a + b * x[:, None], observed=rng.integers(0, 3, 200))
    return model


def multinomial():
    rng, g, x, _, _ = _groups(56)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2, shape=3), pm.Normal("b", 0, 2, shape=3)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=(20, 3))
        p = pm.math.softmax(a + b * x[:, None] + u[g], axis=1)
        pm.Multinomial("y", n=20, p=p, observed=rng.multinomial(20, [0.2, 0.3, 0.5], 200))
    return model


def bivariate():
    """Two responses per observation with correlated noise."""
    rng, g, x, eta, _ = _groups(57)
    noise = rng.multivariate_normal([0, 0], [[0.5, 0.3], [0.3, 0.8]], 200)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2, shape=2), pm.Normal("b", 0, 2, shape=2)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.Exponential.dist(1))
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=20)
        mu = a + b * x[:, None] + u[g][:, None]
        pm.MvNormal("y", mu=mu, chol=chol, observed=noise + eta[:, None])
    return model


def outer_product():
    """Rates as an outer product, as in a model of piecewise constant hazards."""
    rng, _, x, _, _ = _groups(58)
    interval = np.arange(200) % 4
    with pm.Model() as model:
        hazard = pm.Gamma("hazard", 2, 2, shape=4)
        b = pm.Normal("b", 0, 1)
        rate = pt.outer(pm.math.exp(b * x), hazard)[np.arange(200), interval]
        pm.Poisson("y", rate, observed=rng.poisson(1.0, 200))
    return model


def einsum():
    """Slopes by group through `einsum`, with an initial value."""
    rng, g, x, eta, _ = _groups(59)
    X = np.column_stack([np.ones(200), x])
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1, shape=2, initval=[0.3, 0.4])
        u = pm.Normal("u", 0, s, shape=(20, 2))
        pm.Poisson("y", pm.math.exp(pt.einsum("ij,ij->i", X, u[g])), observed=rng.poisson(np.exp(eta)))
    return model


def sparse_membership():
    """Every observation has several members, through a sparse matrix."""
    rng, _, _, eta, _ = _groups(60)
    members = sparse.csc_matrix((rng.random((200, 20)) < 0.2).astype(float))
    with pm.Model() as model:
        a = pm.Normal("a", 0, 2)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=20)
        total = pytensor.sparse.structured_dot(members, u[:, None])[:, 0]
        pm.Poisson("y", pm.math.exp(a + total), observed=rng.poisson(np.exp(eta)))
    return model


# --- fixed effects and data ------------------------------------------------------------------------------------------


def matrix_data(operator="dot"):
    """Design matrix, pm.Data, exposure as an offset, dims and coords, a Deterministic on the way."""
    rng, g, x, eta, _ = _groups(41)
    X = np.column_stack([x, rng.normal(size=200), rng.integers(0, 2, 200)])
    exposure = rng.uniform(0.5, 3, 200)
    y = rng.poisson(exposure * np.exp(eta - 0.3 * X[:, 2]))
    coords = {"coef": ["x1", "x2", "x3"], "g": [f"g{k}" for k in range(20)], "obs": range(200)}
    with pm.Model(coords=coords) as model:
        Xd = pm.Data("X", X, dims=("obs", "coef"))
        gd = pm.Data("index", g, dims="obs")
        log_exposure = pm.Data("log_exposure", np.log(exposure), dims="obs")
        a = pm.Flat("a")
        beta = pm.Normal("beta", 0, 3, dims="coef")
        s = pm.Exponential("s", 2)
        u = pm.Normal("u", 0, s, dims="g")
        fixed = pm.math.dot(Xd, beta) if operator == "dot" else Xd @ beta
        eta_hat = pm.Deterministic("eta", a + fixed + u[gd] + log_exposure, dims="obs")
        pm.Poisson("y", pm.math.exp(eta_hat), observed=y, dims="obs")
    return model


def matmul_data():
    return matrix_data("matmul")


def bambi_model():
    """Intercepts and slopes by group, built by Bambi from a formula."""
    import bambi as bmb

    rng, g, x, eta, _ = _groups(42)
    data = pd.DataFrame({"y": rng.poisson(np.exp(eta)), "x": x, "g": [f"g{k:02d}" for k in g]})
    fitted = bmb.Model("y ~ x + (x | g)", data, family="poisson")
    fitted.build()
    return fitted.backend.model


def missing_response():
    rng, g, x, eta, _ = _groups(43)
    y = rng.normal(eta, 0.8)
    y[[3, 50, 120]] = np.nan
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        s = pm.HalfNormal("s", 1)
        u = pm.Normal("u", 0, s, shape=20)
        pm.Normal("y", a + b * x + u[g], pm.HalfNormal("noise", 2), observed=y)
    return model


SAMPLED_AS = {"seeds": seeds_noncentered}
"""The same model in the form in which NUTS samples it well"""

REFERENCE = {
    "seeds": (seeds, ["b", "sigma", "u"]),
    "nested": (nested, ["a", "sigma_school", "sigma_class", "v", "u"]),
    "crossed": (crossed, ["a", "b", "s1", "s2", "u", "v"]),
    "observation_level": (observation_level, ["a", "b", "s", "t", "u"]),
    "independent_slopes": (independent_slopes, ["a", "b", "s", "u", "v"]),
    "correlated_slopes": (correlated_slopes, ["b", "chol", "w"]),
    "group_scales": (group_scales, ["a", "c", "s", "t", "u", "v"]),
    "zero_sum": (zero_sum, ["a", "b", "s", "u"]),
    "mvnormal": (mvnormal, ["a", "s", "u"]),
    "random_walk": (random_walk, ["s", "u"]),
    "autoregressive": (autoregressive, ["a", "rho", "s", "u"]),
    "car": (car, ["a", "alpha", "tau", "u"]),
    "icar": (icar, ["a", "s", "u"]),
    "matrix_data": (matrix_data, ["a", "beta", "s", "u"]),
    "bambi_model": (bambi_model, ["Intercept", "x", "1|g_sigma", "x|g_sigma", "1|g", "x|g"]),
    "ordered": (ordered, None),
    "categorical": (categorical, None),
    "bivariate": (bivariate, None),
    "missing_response": (missing_response, ["a", "b", "s", "noise", "u", "y_unobserved"]),
    **{
        f"likelihood_{name}": (lambda name=name: likelihood(name), None)  # None: every free variable
        for name in LIKELIHOODS
    },
}
