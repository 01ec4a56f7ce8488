"""The words of priors in `pymc_inla.explain`, for models written in PyMC and with `pymc_inla.priors`."""

import numpy as np
import pymc as pm
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

import pymc_inla as pmi
from pymc_inla.analysis.power_law import PowerLaw, power_law
from pymc_inla.errors import ImproperPosteriorError

G = np.repeat(np.arange(5), 4)
Y = np.random.default_rng(5).poisson(3, 20)


def centered(make):
    u = pm.Normal("u", 0, make(), shape=5)
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[G]), observed=Y)


def prior_of(variable, build):
    with pm.Model() as model:
        build()
    return pmi.explain(model, display=False).to_frame().loc[variable, "prior"]


LOG_SCALE = {
    "normal(-1, 0.0625)": lambda: pm.math.exp(pm.Normal("r", 0.5, 2)),
    "normal(3, 4)": lambda: pm.math.exp(-pm.Normal("r", 3, 0.5) / 2),
    "normal(2.386, 0.25)": lambda: pm.math.sqrt(pm.math.exp(pm.Normal("r", -1, 2)) / 4),
    "laplace(-1, 0.03125)": lambda: pm.math.exp(pm.Laplace("r", 0.5, 2)),
    "laplace(3, 2)": lambda: pm.math.exp(-0.5 * pm.Laplace("r", 3, 0.5)),
}
SCALES = {
    "pc.prec(1, 0.01)": lambda: pm.Exponential("r", -np.log(0.01)),
    "pc.prec(9.21, 0.01)": lambda: pm.Exponential("r", 0.5),
    "pc.prec(2, 0.01)": lambda: 2 * pm.Gamma("r", 1, -np.log(0.01)),
    "loggamma(1, 5e-05)": lambda: pm.Gamma("r", 1, 5e-5) ** -0.5,
    "loggamma(2, 0.3)": lambda: 1 / pm.math.sqrt(pm.Gamma("r", 2, 0.3)),
    "loggamma(2, 1.2)": lambda: 2 / pm.math.sqrt(pm.Gamma("r", 2, 0.3)),
    "loggamma(1, 3)": lambda: pm.Exponential("r", 3) ** -0.5,
    "loggamma(2.5, 0.1)": lambda: pm.math.sqrt(pm.InverseGamma("r", 2.5, 0.1)),
    "loggamma(1.5, 0.5)": lambda: pm.ChiSquared("r", 3) ** -0.5,
    "logtnormal(0, 0.25)": lambda: pm.HalfNormal("r", 2),
    "logtnormal(1, 0.25)": lambda: pm.TruncatedNormal("r", 1, 2, lower=0),
    "logtnormal(3, 0.02778)": lambda: 3 * pm.TruncatedNormal("r", 1, 2, lower=0),
    "normal(-1, 1)": lambda: pm.LogNormal("r", 0.5, 0.5),
    "logiflat": lambda: pm.math.sqrt(pm.HalfFlat("r")),
    "HalfCauchy(beta=2.5)": lambda: pm.HalfCauchy("r", 2.5),
    "HalfStudentT(nu=3, sigma=2.5)": lambda: pm.HalfStudentT("r", 3, 2.5),
    "Uniform(0, 10)": lambda: pm.Uniform("r", 0, 10),
    "HalfNormal(sigma=2)": lambda: pm.math.sqrt(pm.HalfNormal("r", 2)),
    "Gamma(alpha=2, beta=3)": lambda: pm.Gamma("r", 2, 3),
    "InverseGamma(alpha=2, beta=3)": lambda: pm.InverseGamma("r", 2, 3),
    "Exponential(lam=3)": lambda: 1 + pm.Exponential("r", 3),
    "HalfFlat": lambda: pm.HalfFlat("r"),
    "TruncatedNormal(1, 2, 0.5, inf)": lambda: pm.TruncatedNormal("r", 1, 2, lower=0.5),
} | LOG_SCALE


@pytest.mark.parametrize("words", SCALES)
def test_words_of_a_scale(words):
    assert prior_of("r", lambda: centered(SCALES[words])) == words


@pytest.mark.filterwarnings("ignore:Numba will use object mode to run")
@pytest.mark.parametrize("words", [*LOG_SCALE, "pc.prec(9.21, 0.01)", "loggamma(2, 1.2)", "logtnormal(3, 0.02778)"])
def test_words_have_the_density_of_the_model(words):
    """The words, read again as a prior, give P(log tau < t) of the prior draws of the PyMC variable."""
    formulas = {
        "normal": lambda t, m, k: 0.5 * np.log(k / (2 * np.pi)) - 0.5 * k * (t - m) ** 2,
        "laplace": lambda t, m, k: 0.5 * np.log(k / 2) - np.sqrt(2 * k) * abs(t - m),
        "pc.prec": lambda t, u, a: np.log(-np.log(a) / u / 2) + np.log(a) / u * np.exp(-t / 2) - t / 2,
        "loggamma": lambda t, a, b: a * np.log(b) - gammaln(a) + a * t - b * np.exp(t),
        "logtnormal": lambda t, m, k: -0.5 * k * (np.exp(-t / 2) - m) ** 2 - t / 2,
    }
    name, _, rest = words.partition("(")
    parameters = [float(v) for v in rest.removesuffix(")").split(",")]
    with pm.Model():
        pm.Deterministic("s", SCALES[words]())
        with np.errstate(all="ignore"):
            s = pm.sample_prior_predictive(4000, random_seed=1)["prior"]["s"].values.ravel()
    theta = -2 * np.log(s)
    cut = np.quantile(theta, [0.2, 0.5, 0.8])

    def mass(low, high):
        return quad(lambda t: np.exp(formulas[name](t, *parameters)), low, high, limit=200)[0]

    total = mass(-25, cut[0]) + mass(cut[0], cut[2]) + mass(cut[2], 40)
    # three standard errors of a proportion of 4000 draws
    for p, c in zip((0.2, 0.5, 0.8), cut, strict=True):
        assert abs(mass(-25, c) / total - p) < 3 * np.sqrt(p * (1 - p) / 4000)


def noncentered():
    r = pm.Exponential("r", -np.log(0.01))
    z = pm.Normal("z", 0, 1, shape=5)
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + r * z[G]), observed=Y)


def noncentered_deterministic():
    t = pm.Gamma("r", 1, 5e-5)
    z = pm.Normal("z", 0, 1, shape=5)
    u = pm.Deterministic("u", z / pm.math.sqrt(t))
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[G]), observed=Y)


def tau_form():
    u = pm.Normal("u", 0, tau=pm.Gamma("r", 1, 5e-5), shape=5)
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[G]), observed=Y)


def noise():
    u = pm.Normal("u", 0, pm.HalfCauchy("s", 1), shape=5)
    pm.Normal("y", u[G], pm.Exponential("r", -np.log(0.01)), observed=Y.astype(float))


def vector_of_scales():
    r = pm.Exponential("r", -np.log(0.01), shape=2)
    u, v = pm.Normal("u", 0, r[0], shape=5), pm.Normal("v", 0, r[1], shape=4)
    pm.Poisson("y", pm.math.exp(u[G] + v[np.arange(20) % 4]), observed=Y)


def zero_sum():
    u = pm.ZeroSumNormal("u", pm.Exponential("r", -np.log(0.01)), shape=5)
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[G]), observed=Y)


def random_walk():
    sigma = pm.Exponential("r", -np.log(0.01))
    u = pm.GaussianRandomWalk("u", sigma=sigma, init_dist=pm.Normal.dist(0, 1), shape=5)
    pm.Poisson("y", pm.math.exp(u[G]), observed=Y)


def car():
    W = np.eye(5, k=1) + np.eye(5, k=-1)
    u = pm.CAR("u", np.zeros(5), W, 0.5, pm.Gamma("r", 1, 5e-5))
    pm.Poisson("y", pm.math.exp(u[G]), observed=Y)


def icar():
    W = np.eye(5, k=1) + np.eye(5, k=-1)
    u = pm.ICAR("u", W, sigma=pm.Exponential("r", -np.log(0.01)))
    pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + u[G]), observed=Y)


def two_different_scales():
    r = pm.Exponential("r", 3)
    u, v = pm.Normal("u", 0, r, shape=5), pm.Normal("v", 0, 2 * r, shape=4)
    pm.Poisson("y", pm.math.exp(u[G] + v[np.arange(20) % 4]), observed=Y)


def hyperprior():
    r = pm.HalfNormal("r", pm.Exponential("s", 1))
    pm.Poisson("y", pm.math.exp(pm.Normal("u", 0, r, shape=5)[G]), observed=Y)


MODELS = {
    noncentered: "pc.prec(1, 0.01)",
    noncentered_deterministic: "loggamma(1, 5e-05)",
    tau_form: "loggamma(1, 5e-05)",
    noise: "pc.prec(1, 0.01)",
    vector_of_scales: "pc.prec(1, 0.01)",
    zero_sum: "pc.prec(1, 0.01)",
    random_walk: "pc.prec(1, 0.01)",
    car: "loggamma(1, 5e-05)",
    icar: "pc.prec(1, 0.01)",
    two_different_scales: "Exponential(lam=3)",
    hyperprior: "HalfNormal",
}


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_words_wherever_the_scale_stands(build):
    assert prior_of("r", build) == MODELS[build]


EFFECTS = {
    ("u_tau", "loggamma(1, 5e-05)"): {},
    ("u_tau_sigma", "pc.prec(0.5, 0.05)"): {"prior": ("pc.prec", (0.5, 0.05)), "constr": True},
    ("u_tau_log", "normal(4, 1)"): {"prior": pmi.priors.normal.dist(4, 1)},
    ("u_tau_log_z", "laplace(4, 1)"): {"prior": ("laplace", (4, 1))},
    ("u_tau_sigma", "logtnormal(1, 2)"): {"prior": ("logtnormal", (1, 2))},
    ("u_tau_log", "expression: -theta^2/2"): {"prior": "expression: -theta^2/2"},
    ("u_tau_log", "table: 0 4 | 0 -3"): {"prior": "table: 0 4 0 -3"},
    ("u_tau", "pc.prec(1, 0.01)"): {"prior": "dist"},
    ("u_rho_internal", "normal(0, 0.2)"): {"ngroup": 3},
    ("u_rho_internal", "pc.cor0(0.5, 0.4)"): {
        "ngroup": 3,
        "control_group": {"model": "ar1", "hyper": {"prior": "pc.cor0", "param": [0.5, 0.4]}},
    },
    ("u_rho_internal_z", "laplace(0, 1)"): {
        "ngroup": 3,
        "control_group": {"model": "ar1", "hyper": {"prior": "laplace", "param": [0, 1]}},
    },
}


@pytest.mark.parametrize("case", EFFECTS, ids=str)
def test_words_of_effects(case):
    variable, words = case
    options = dict(EFFECTS[case])

    def build():
        if options.get("prior") == "dist":
            sigma = pm.Exponential("u_tau", -np.log(0.01))
            options["prior"] = sigma**-2
            u = pmi.IID("v", 5, **options)
        else:
            u = pmi.IID("u", 5, **options)
        group = np.arange(20) % 3 + 1 if "ngroup" in options else None
        pm.Poisson("y", pm.math.exp(pm.Normal("b", 0, 2) + pmi.project(u, G, group=group)), observed=Y)

    found = prior_of(variable, build)
    assert found == words


@pytest.mark.parametrize("words", ["flat", "logflat"])
def test_improper_precision_priors_are_refused(words):
    with pm.Model() as model:
        tau = getattr(pmi.priors, words)("tau")
        pm.Poisson("y", pm.math.exp(pm.Normal("u", 0, tau=tau, shape=5)[G]), observed=Y)
    with pytest.raises(ImproperPosteriorError, match=f"prior {words} .*improper.*pc.prec"):
        pmi.fit(model, progressbar=False)
    with pm.Model() as model:
        s = pm.math.exp(pm.Flat("log_s"))
        pm.Poisson("y", pm.math.exp(s * pm.Normal("u", 0, 1, shape=5)[G]), observed=Y)
    with pytest.raises(ImproperPosteriorError, match="log_s: under the prior flat"):
        pmi.fit(model, progressbar=False)


def test_a_posterior_without_an_end_names_the_hyperparameter():
    """Flat in 1/tau with two groups: the density falls towards tau = 0 as tau^(1/2) while the prior grows as 1/tau."""
    with pm.Model() as model:
        u = pmi.IID("u", 2, prior="logiflat")
        pm.Normal("y", pm.Normal("b", 0, 10) + u[G % 2], 1.0, observed=Y)
    with pytest.raises(ImproperPosteriorError, match=r"u_tau_variance: the posterior density .* does not decay"):
        pmi.fit(model, progressbar=False)


def test_flat_noise_and_flat_with_a_potential_are_not_refused():
    with pm.Model() as model:
        tau = pmi.priors.flat("tau")
        u = pm.Normal("u", 0, 1, shape=5)
        pm.Normal("y", u[G], tau=tau, observed=Y.astype(float))
    assert prior_of_fitted(model, "tau_log") == "flat"
    with pm.Model() as model:
        t = pm.Flat("t")
        pm.Potential("p", -(t**2) / 2)
        pm.Poisson("y", pm.math.exp(pm.Normal("u", 0, pm.math.exp(-t / 2), shape=5)[G]), observed=Y)
    assert prior_of_fitted(model, "t") == "flat"


def prior_of_fitted(model, variable):
    return pmi.explain(model, display=False).to_frame().loc[variable, "prior"]


def test_power_laws():
    r = pm.HalfNormal.dist()
    x = pm.Normal.dist()
    read = {
        3.0: (PowerLaw(3.0), None),
        "2 r^-1": (PowerLaw(2.0, -1.0), r),
        "1 + 2 r": (PowerLaw(2.0, 1.0, 0.0, 1.0), r),
        "exp": (PowerLaw(np.exp(1.0), 0.0, -2.0), x),
    }
    graphs = {3.0: r * 0 + 3, "2 r^-1": 2 / r, "1 + 2 r": 1 + r * 2, "exp": pm.math.exp(1 - 2 * x)}
    for key, (law, rv) in read.items():
        if rv is not None:
            assert power_law(graphs[key], rv, rv is r) == law
    assert power_law(pm.math.sqrt(x), x, False) is None
    assert power_law(r + x, r, True) is None
    assert power_law(pm.math.exp(r) * r, r, True) == PowerLaw(1.0, 1.0, 1.0)
    assert power_law(pm.math.abs(x), x, False) is None
    assert power_law(pm.math.exp(r**2), r, True) is None
    assert power_law(r * np.array([1.0, 2.0]), r, True) is None
    assert power_law(pm.math.log(pm.math.exp(2 * x)), x, False) == PowerLaw(2.0, 1.0)
