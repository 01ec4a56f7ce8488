"""Posteriors of every family against PyMC models written out by hand, whose hyperparameter has the same prior."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_inla as pmi
from pymc_inla.formula.families import FAMILIES

N = 40
RNG = np.random.default_rng(23)
X = RNG.normal(size=N)
ETA = 0.4 + 0.5 * X
E = RNG.uniform(0.5, 2.0, N)
TRIALS = RNG.integers(2, 9, N)
P = 1 / (1 + np.exp(-ETA))
HYPER = {"prior": "normal", "param": [1.0, 2.0], "initial": 1.0}
"""theta ~ N(1, 1/2), theta R-INLA's internal parameter"""

DATA = {
    "gaussian": ETA + 0.5 * RNG.normal(size=N),
    "lognormal": np.exp(ETA + 0.5 * RNG.normal(size=N)),
    "t": ETA + 0.5 * RNG.standard_t(6, size=N),
    "poisson": RNG.poisson(E * np.exp(ETA)),
    "zeroinflatedpoisson1": RNG.poisson(E * np.exp(ETA)) * (RNG.uniform(size=N) > 0.3),
    "nbinomial": RNG.negative_binomial(3, 3 / (3 + E * np.exp(ETA))),
    "binomial": RNG.binomial(TRIALS, P),
    "bernoulli": RNG.binomial(1, P),
    "gamma": RNG.gamma(4.0, np.exp(ETA) / 4),
    "beta": RNG.beta(6 * P, 6 * (1 - P)),
    "exponential": RNG.exponential(np.exp(-ETA)),
    "weibull": RNG.weibull(1.3, N) * np.exp(-ETA / 1.3),
}


def observe(family, eta, theta, y):
    """The likelihood of R-INLA's documentation in PyMC."""
    mu, a = pt.exp(eta), pt.exp(theta)
    match family:
        case "gaussian":
            pm.Normal("y", eta, tau=a, observed=y)
        case "lognormal":
            pm.LogNormal("y", eta, tau=a, observed=y)
        case "t":
            pm.StudentT("y", 7.0, mu=eta, sigma=pt.sqrt(5 / (7 * a)), observed=y)
        case "poisson":
            pm.Poisson("y", E * mu, observed=y)
        case "zeroinflatedpoisson1":
            pm.ZeroInflatedPoisson("y", 1 / (1 + a), E * mu, observed=y)
        case "nbinomial":
            pm.NegativeBinomial("y", n=a, p=a / (a + E * mu), observed=y)
        case "binomial":
            pm.Binomial("y", TRIALS, logit_p=eta, observed=y)
        case "bernoulli":
            pm.Bernoulli("y", logit_p=eta, observed=y)
        case "gamma":
            pm.Gamma("y", a, a / mu, observed=y)
        case "beta":
            pm.Beta("y", mu=pt.sigmoid(eta), nu=a, observed=y)
        case "exponential":
            pm.Exponential("y", scale=1 / mu, observed=y)
        case "weibull":
            alpha = pt.exp(0.1 * theta)
            pm.Weibull("y", alpha, pt.exp(-eta / alpha), observed=y)


def test_every_family_has_data():
    assert set(DATA) == set(FAMILIES)


@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")
@pytest.mark.parametrize("family", DATA)
def test_posterior(family):
    y, hyper = DATA[family], FAMILIES[family].hyper
    options = {"strategy": "laplace", "progressbar": False, "random_seed": 1, "draws": 10, "chains": 1}
    control = [HYPER, {"initial": np.log(5.0), "fixed": True}][: len(hyper)]
    result = pmi.inla(
        {"response": "y", "fixed": ["x"]},
        family,
        {"y": y, "x": X},
        E=E if "E" in FAMILIES[family].uses else None,
        Ntrials=TRIALS if "Ntrials" in FAMILIES[family].uses else None,
        control_family={"hyper": control} if hyper else None,
        **options,
    )
    with pm.Model() as model:
        theta = pm.Normal("theta", 1.0, 0.5**0.5) if hyper else 0.0
        observe(family, pm.Flat("b") + pm.Normal("slope", 0, 0.001**-0.5) * X, theta, y)
    by_hand = pmi.fit(model, **options)
    table = pmi.summary(by_hand)
    sd = table.loc[["b", "slope"], "sd"].to_numpy(float)
    # the same approximation of the same density, in the same coordinates of theta up to a factor
    means, sds = (result.summary_fixed[c].to_numpy() for c in ("mean", "sd"))
    np.testing.assert_allclose((means - table.loc[["b", "slope"], "mean"].to_numpy(float)) / sd, 0, atol=2e-3)
    np.testing.assert_allclose(sds / sd, 1, atol=2e-3)
    evidence = by_hand["inla"].attrs["log_marginal_likelihood"]
    assert result.mlik.iloc[0, 0] == pytest.approx(evidence, abs=2e-3)
    if hyper:
        reported = result.summary_hyperpar.iloc[0][["0.025quant", "0.5quant", "0.975quant"]].to_numpy(float)
        theta = table.loc["theta", ["q2.5", "q50", "q97.5"]].to_numpy(float)
        scale = {"zeroinflatedpoisson1": lambda t: 1 / (1 + np.exp(-t)), "weibull": lambda t: np.exp(0.1 * t)}
        np.testing.assert_allclose(reported, scale.get(family, np.exp)(theta), rtol=5e-3)
    for name in ("dic", "waic"):
        expected = float(by_hand["inla/criteria"][name])
        assert getattr(result, name)[name] == pytest.approx(expected, abs=0.02)
