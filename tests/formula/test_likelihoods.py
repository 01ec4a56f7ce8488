"""Each family of the dict specification against a hand-written PyMC model: same density, prior by prior."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import special, stats

import pymc_inla as pmi
from pymc_inla.formula.build import build_model
from pymc_inla.formula.columns import read_columns
from pymc_inla.formula.entry import read_control_family
from pymc_inla.formula.families import FAMILIES, find_link
from pymc_inla.formula.fixed_priors import FixedPriors
from pymc_inla.formula.spec import read_formula

ROWS = 8
X = np.linspace(-1, 1, ROWS)
E = np.linspace(0.5, 2, ROWS)
TRIALS = np.arange(3, 3 + ROWS)
ETA = 0.3 + 0.7 * X
Y = {
    "real": np.linspace(-1.5, 2, ROWS),
    "positive": np.linspace(0.2, 3, ROWS),
    "count": np.array([0, 1, 0, 3, 2, 1, 0, 3]),
    "unit": np.linspace(0.1, 0.9, ROWS),
    "binary": np.array([0, 1, 1, 0, 1, 0, 0, 1]),
}


def scipy_log_likelihood(family, link, theta, y):
    """log p(y | eta, theta) as R-INLA's documentation writes it; theta on the internal scale."""
    mu = np.exp(ETA)
    probability = {
        "logit": special.expit(ETA),
        "probit": stats.norm.cdf(ETA),
        "cloglog": 1 - np.exp(-np.exp(ETA)),
    }
    match family:
        case "gaussian":
            return stats.norm.logpdf(y, ETA, np.exp(-theta[0] / 2))
        case "lognormal":
            return stats.norm.logpdf(np.log(y), ETA, np.exp(-theta[0] / 2)) - np.log(y)
        case "t":
            nu = 2 + np.exp(theta[1])
            scale = np.sqrt((nu - 2) / nu) * np.exp(-theta[0] / 2)
            return stats.t.logpdf(y, nu, ETA, scale)
        case "poisson":
            return stats.poisson.logpmf(y, E * mu)
        case "zeroinflatedpoisson1":
            p = special.expit(theta[0])
            return np.log(p * (y == 0) + (1 - p) * stats.poisson.pmf(y, E * mu))
        case "nbinomial":
            size = np.exp(theta[0])
            return stats.nbinom.logpmf(y, size, size / (size + E * mu))
        case "binomial":
            return stats.binom.logpmf(y, TRIALS, probability[link])
        case "bernoulli":
            return stats.bernoulli.logpmf(y, probability[link])
        case "gamma":
            phi = np.exp(theta[0])
            return stats.gamma.logpdf(y, phi, scale=mu / phi)
        case "beta":
            phi = np.exp(theta[0])
            return stats.beta.logpdf(y, probability[link] * phi, (1 - probability[link]) * phi)
        case "exponential":
            return ETA - mu * y
        case "weibull":
            alpha = np.exp(0.1 * theta[0])
            return np.log(alpha) + (alpha - 1) * np.log(y) + ETA - mu * y**alpha


def built(family, link, hyper=None):
    columns = read_columns(
        read_formula({"response": "y", "fixed": ["x"]}),
        {"y": Y[FAMILIES[family].support], "x": X},
        E=E if "E" in FAMILIES[family].uses else None,
        Ntrials=TRIALS if "Ntrials" in FAMILIES[family].uses else None,
    )
    control, _ = read_control_family(FAMILIES[family], None if hyper is None else {"hyper": hyper})
    return build_model(columns, FAMILIES[family], find_link(FAMILIES[family], link), control, FixedPriors())


PAIRS = [(name, link) for name, family in FAMILIES.items() for link in family.links]


@pytest.mark.parametrize("start", [(0.4, 1.3), (float(np.log(2)), 0.0)])
@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_likelihood(family, link, start):
    """Also where exp(theta) = 2 is exact in single precision, to which PyTensor would round what follows."""
    theta = np.array(start)[: len(FAMILIES[family].hyper)]
    hyper = [{"initial": t, "fixed": True} for t in theta] or None
    model = built(family, link, hyper).model
    value = {"Intercept": 0.3, "fixed": np.array([0.7])}
    found = pytensor.function(
        [model.rvs_to_values[model[name]] for name in value], model.logp(model["y"], sum=False)[0], mode="FAST_COMPILE"
    )(*value.values())
    expected = scipy_log_likelihood(family, link, theta, Y[FAMILIES[family].support])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def loggamma(theta, a, b):
    return a * np.log(b) - special.gammaln(a) + a * theta - b * np.exp(theta)


DEFAULTS = {
    "gaussian": (loggamma, (1, 5e-5), 4),
    "lognormal": (loggamma, (1, 5e-5), 0),
    "t": (loggamma, (1, 5e-5), 0),
    "gamma": (loggamma, (1, 0.01), np.log(100)),
    "beta": (loggamma, (1, 0.1), np.log(10)),
    "zeroinflatedpoisson1": (lambda t, m, k: stats.norm.logpdf(t, m, k**-0.5), (-1, 0.2), -1),
}


@pytest.mark.parametrize("family", DEFAULTS)
def test_default_prior(family):
    """The density of theta, whatever the scale on which the model declares the hyperparameter."""
    density, param, initial = DEFAULTS[family]
    model = built(family, None).model
    rv = next(rv for rv in model.free_RVs if rv.name not in ("Intercept", "fixed", "degrees_of_freedom_theta"))
    value = model.rvs_to_values[rv]
    natural = model.rvs_to_transforms[rv].backward(value) if model.rvs_to_transforms[rv] else value
    h = FAMILIES[family].hyper[0]
    reported = pytensor.graph.replace.graph_replace(model[h.name], {rv: natural}, strict=False)
    theta = pt.log(reported / (1 - reported)) if family == "zeroinflatedpoisson1" else pt.log(reported)
    logp = model.logp(rv)
    function = pytensor.function([value], [theta, logp, pytensor.grad(theta, value)], mode="FAST_COMPILE")
    for point in (-0.7, 0.2, 1.1):
        at, found, slope = function(point)
        # the density of theta is that of the value over |dtheta/dvalue|
        assert found - np.log(abs(slope)) == pytest.approx(density(at, *param), abs=1e-9)
    start = function(np.asarray(model.initial_point()[value.name]))[0]
    assert start == pytest.approx(initial, abs=1e-6)


def hand_written_t(x, y):
    with pm.Model() as model:
        tau = pm.Gamma("tau", 1, 5e-5, initval=1.0)
        theta = pm.Flat("theta", initval=3.0)
        nu = 2 + pt.exp(theta)
        # pc.dof by numerical differentiation of its distance is tested on its own; here the prior is normal(3, 1)
        pm.Potential("prior", -0.5 * (theta - 3) ** 2)
        mu = pm.Flat("Intercept") + pm.Normal("b", 0, 0.001**-0.5) * x
        pm.StudentT("y", nu, mu=mu, sigma=pt.sqrt((nu - 2) / nu / tau), observed=y)
    return model


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
def test_student_t_posterior():
    rng = np.random.default_rng(5)
    x = rng.normal(size=80)
    y = 1 + 0.5 * x + 0.6 * rng.standard_t(6, size=80)
    result = pmi.inla(
        {"response": "y", "fixed": ["x"]},
        "t",
        {"y": y, "x": x},
        control_family={"hyper": [{}, {"prior": "normal", "param": [3, 1], "initial": 3}]},
        progressbar=False,
        random_seed=1,
        draws=50,
    )
    by_hand = pmi.summary(pmi.fit(hand_written_t(x, y), progressbar=False, random_seed=1, draws=50))
    found = result.summary_fixed
    for label, name in {"(Intercept)": "Intercept", "x": "b"}.items():
        # both are the same integral, over differently parametrized theta
        assert found.loc[label, "mean"] == pytest.approx(by_hand.loc[name, "mean"], abs=0.01 * by_hand.loc[name, "sd"])
        assert found.loc[label, "sd"] == pytest.approx(by_hand.loc[name, "sd"], rel=0.01)
    assert list(result.summary_hyperpar.index) == [
        "precision for the student-t observations",
        "degrees of freedom for student-t",
    ]
    precision = result.summary_hyperpar.iloc[0]
    assert precision["mean"] == pytest.approx(by_hand.loc["tau", "mean"], rel=0.01)


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize("family", ["nbinomial", "weibull", "gamma", "beta", "zeroinflatedpoisson1", "t"])
def test_defaults_fit_simulated_data(family):
    """Known coefficients are recovered within four posterior sds, and each hyperparameter within its interval."""
    rng = np.random.default_rng(11)
    n = 300
    x = rng.normal(size=n)
    eta = 0.5 + 0.4 * x
    mu = np.exp(eta)
    p = special.expit(eta)
    y, truth = {
        "nbinomial": lambda: (rng.negative_binomial(3, 3 / (3 + mu)), [3.0]),
        "weibull": lambda: (rng.weibull(1.5, n) * mu ** (-1 / 1.5), [1.5]),
        "gamma": lambda: (rng.gamma(4, mu / 4), [4.0]),
        "beta": lambda: (rng.beta(6 * p, 6 * (1 - p)), [6.0]),
        "zeroinflatedpoisson1": lambda: (rng.poisson(mu) * (rng.random(n) > 0.25), [0.25]),
        "t": lambda: (eta + 0.5 * rng.standard_t(5, n) * np.sqrt(3 / 5), [4.0, 5.0]),
    }[family]()
    result = pmi.inla(
        {"response": "y", "fixed": ["x"]}, family, {"y": y, "x": x}, progressbar=False, random_seed=1, draws=50
    )
    fixed = result.summary_fixed
    z = (fixed["mean"] - [0.5, 0.4]) / fixed["sd"]
    assert np.all(np.abs(z) < 4)
    for (label, row), value in zip(result.summary_hyperpar.iterrows(), truth, strict=True):
        assert row["0.025quant"] * 0.8 < value < row["0.975quant"] * 1.25, label
