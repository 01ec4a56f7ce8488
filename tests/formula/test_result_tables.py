"""The tables of hyperparameters against brute-force integration, and what they say about moments that do not exist."""

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline
from scipy.stats import gaussian_kde

from pymc_inla import inla
from pymc_inla.errors import InvalidOptionError
from pymc_inla.formula.build import Reported
from pymc_inla.formula.tables import COLUMNS, existing_moments, kernel_modes

LEVELS, PER_LEVEL, NOISE = 8, 4, 2.0
RNG = np.random.default_rng(8)
G = np.repeat(np.arange(LEVELS), PER_LEVEL)
Y = RNG.normal(0, 0.8, LEVELS)[G] + RNG.normal(0, NOISE**-0.5, len(G))
DATA = pd.DataFrame({"y": Y, "g": G, "h": (G + np.arange(len(G)) % 3 + 1) % LEVELS})
FIX_NOISE = {"hyper": [{"initial": float(np.log(NOISE)), "fixed": True}]}
PC = {"hyper": [{"prior": "pc.prec", "param": [1, 0.01]}]}


def fit(effects, **options):
    formula = {"response": "y", "random": effects}
    options = {"control_family": FIX_NOISE, "draws": 100, "chains": 2} | options
    return inla(formula, data=DATA, progressbar=False, random_seed=1, **options)


def log_likelihood(covariance):
    """log p(y) with a flat intercept, noise precision NOISE and this covariance of the effects, up to a constant."""
    V = covariance + np.eye(len(Y)) / NOISE
    P = np.linalg.inv(V)
    ones = np.ones(len(Y))
    information = ones @ P @ ones
    center = ones @ P @ Y / information
    r = Y - center
    return -0.5 * np.linalg.slogdet(V)[1] - 0.5 * np.log(information) - 0.5 * r @ P @ r


Z = np.eye(LEVELS)[G]
PRIORS = {
    "pc.prec": (PC, lambda t: -0.5 * t + np.log(0.01) * np.exp(-t / 2)),
    "loggamma": ({"hyper": [{"param": [2, 0.5]}]}, lambda t: 2 * t - 0.5 * np.exp(t)),
    "normal": ({"hyper": [{"prior": "normal", "param": [1, 0.5]}]}, lambda t: -0.25 * (t - 1) ** 2),
}


@pytest.fixture(scope="module", params=PRIORS)
def precision(request):
    keys, log_prior = PRIORS[request.param]
    theta = np.linspace(-8, 45, 6000)
    knots = np.linspace(-8, 45, 400)  # the likelihood is smooth in theta
    values = [log_likelihood(Z @ Z.T * np.exp(-t)) for t in knots]
    log_density = CubicSpline(knots, values)(theta) + log_prior(theta)
    density = np.exp(log_density - log_density.max())
    density /= np.trapezoid(density, theta)
    return request.param, fit([{"id": "g", "model": "iid", **keys}]), theta, density


def quantiles(x, density):
    steps = np.diff(x) * 0.5 * (density[1:] + density[:-1])
    cdf = np.concatenate([[0], np.cumsum(steps)])
    return np.interp([0.025, 0.5, 0.975], cdf / cdf[-1], x)


def test_precision_of_an_effect(precision):
    name, result, theta, density = precision
    row = result.summary_hyperpar.loc["Precision for g"]
    low, middle, high = quantiles(theta, density)
    sd = np.sqrt(np.trapezoid(theta**2 * density, theta) - np.trapezoid(theta * density, theta) ** 2)
    # the engine refines its grid until quantiles move by less than 0.02 sd; the far tail is the loosest
    assert np.log(row["0.025quant"]) == pytest.approx(low, abs=0.02 * sd)
    assert np.log(row["0.5quant"]) == pytest.approx(middle, abs=0.02 * sd)
    assert np.log(row["0.975quant"]) == pytest.approx(high, abs=0.05 * sd)
    natural = density * np.exp(-theta)
    # the top of a density is flat: 0.1 in log precision lowers it by a percent
    assert np.log(row["mode"]) == pytest.approx(theta[np.argmax(natural)], abs=0.1)
    if name == "pc.prec":
        assert np.isnan(row["mean"])
        assert np.isnan(row["sd"])
        (note,) = result.summary_hyperpar.attrs["notes"]
        assert "mean and sd do not exist" in note
        assert note in str(result)
    elif name == "loggamma":
        mean = np.trapezoid(np.exp(theta) * density, theta)
        assert row["mean"] == pytest.approx(mean, rel=0.01)
        assert row["sd"] == pytest.approx(np.sqrt(np.trapezoid(np.exp(2 * theta) * density, theta) - mean**2), rel=0.02)
        assert result.summary_hyperpar.attrs["notes"] == []


def test_log_precision_of_an_effect(precision):
    _, result, theta, density = precision
    row = result.internal_summary_hyperpar.loc["Log precision for g"]
    mean = np.trapezoid(theta * density, theta)
    sd = np.sqrt(np.trapezoid(theta**2 * density, theta) - mean**2)
    assert row["mean"] == pytest.approx(mean, abs=0.01 * sd)
    assert row["sd"] == pytest.approx(sd, rel=0.02)
    internal = result.internal_marginals_hyperpar["Log precision for g"]
    # both densities at the same points, relative to the highest; the grid of the engine interpolates
    exact = np.interp(internal["x"], theta, density)
    np.testing.assert_allclose(internal["y"], exact, atol=0.02 * density.max())


def test_marginals_have_mass_one(precision):
    _, result, *_ = precision
    for table in (
        *result.marginals_fixed.values(),
        *result.marginals_random["g"],
        result.internal_marginals_hyperpar["Log precision for g"],
    ):
        assert list(table.columns) == ["x", "y"]
        assert np.trapezoid(table["y"], table["x"]) == pytest.approx(1, abs=5e-3)


def test_noise_precision_has_moments():
    result = fit([{"id": "g", "model": "iid", **PC}], control_family=None)
    row = result.summary_hyperpar.loc["Precision for the Gaussian observations"]
    assert np.all(np.isfinite(row))
    assert row["0.025quant"] < NOISE < row["0.975quant"]


def test_estimated_multiplier_of_a_copy():
    """beta ~ N(1, 1/10) by brute force over beta at a fixed precision of the effect."""
    effects = [
        {"id": "g", "model": "iid", "initial": 0.0, "fixed": True},
        {"id": "h", "model": "iid", "copy": "g", "fixed": False},
    ]
    result = fit(effects, draws=2000)
    beta = np.linspace(-1.5, 3.5, 801)
    H = np.eye(LEVELS)[DATA["h"]]
    log_density = [log_likelihood((Z + b * H) @ (Z + b * H).T) - 5 * (b - 1) ** 2 for b in beta]
    density = np.exp(np.array(log_density) - max(log_density))
    density /= np.trapezoid(density, beta)
    mean = np.trapezoid(beta * density, beta)
    sd = np.sqrt(np.trapezoid(beta**2 * density, beta) - mean**2)
    assert list(result.summary_hyperpar.index) == ["Beta for h"]
    row = result.summary_hyperpar.loc["Beta for h"]
    assert row["mean"] == pytest.approx(mean, abs=0.01 * sd)
    assert row["sd"] == pytest.approx(sd, rel=0.02)
    found = [row[c] for c in ("0.025quant", "0.5quant", "0.975quant")]
    np.testing.assert_allclose(found, quantiles(beta, density), atol=0.03 * sd)
    draws = result.idata["posterior"]
    product = (draws["h_beta"] * draws["g"]).mean(("chain", "draw")).values
    np.testing.assert_allclose(result.summary_random["h"]["mean"], product)


MOMENTS = {
    ("loggamma", (1.0, 5e-5)): 2,
    ("normal", (0.0, 0.01)): 2,
    ("gaussian", (0.0, 0.01)): 2,
    ("pc.prec", (1.0, 0.01)): 0,
    ("logtnormal", (0.0, 1.0)): 0,
    ("logiflat", ()): 0,
    ("laplace", (0.0, 0.4)): 0,  # rate sqrt(0.8) < 1
    ("laplace", (0.0, 1.0)): 1,  # rate sqrt(2)
    ("laplace", (0.0, 2.1)): 2,  # rate above 2
    ("table: -3 3 | -1 -1", ()): 2,
}


@pytest.mark.parametrize(("prior", "param"), MOMENTS)
def test_moments_of_the_precision_of_an_effect(prior, param):
    reported = Reported("Precision for g", "g_tau", prior, param, True, True)
    assert existing_moments(reported) == MOMENTS[prior, param]
    # the data bound the tail of the precision of the noise
    assert existing_moments(Reported("Precision", "tau", prior, param, True, False)) == 2


@pytest.mark.parametrize(
    ("expression", "moments"),
    [
        ("-theta * theta / 2", 2),
        ("-theta / 2 - 4.6 * exp(-theta / 2)", 0),
        ("-1.5 * theta", 1),
        ("theta - 0.01 * exp(theta)", 2),
    ],
)
def test_moments_under_an_expression(expression, moments):
    prior = f"expression: {expression}"
    assert existing_moments(Reported("Precision for g", "g_tau", prior, (), True, True)) == moments


def test_modes_of_draws():
    """Against the kernel density estimate of scipy, column by column; a constant column is its own mode."""
    draws = np.column_stack([RNG.normal(3, 2, 900), RNG.gamma(2, 1, 900), np.full(900, 1.7)])
    found = kernel_modes(draws)
    for j in range(2):
        grid = np.linspace(draws[:, j].min(), draws[:, j].max(), 4000)
        density = gaussian_kde(draws[:, j])
        # bins round the draws by half a step of 1/511 of their range
        assert density(found[j]) == pytest.approx(density(grid).max(), rel=1e-3)
    assert found[2] == 1.7


def test_criteria_and_text():
    result = fit([{"id": "g", "model": "iid", **PC}])
    assert list(result.dic) == ["dic", "p.eff", "mean.deviance", "deviance.mean"]
    assert result.dic["dic"] == pytest.approx(result.dic["mean.deviance"] + result.dic["p.eff"])
    assert list(result.waic) == ["waic", "p.eff"]
    assert list(result.cpo.columns) == ["cpo", "pit", "failure"]
    assert result.mlik.index[0] == "log marginal-likelihood (integration)"
    assert "gaussian, 32 rows, random effects: g" in repr(result)
    for words in ("Fixed effects:", "(Intercept)", "Model hyperparameters:", "DIC:", "Log marginal likelihood:"):
        assert words in str(result)
    assert list(result.summary_fitted_values.columns) == list(COLUMNS)
    assert result.model["y"] is not None


def test_without_criteria():
    result = fit([{"id": "g", "model": "iid", **PC}], control_compute={"dic": False, "waic": False})
    with pytest.raises(InvalidOptionError, match="criteria were not computed"):
        _ = result.dic
    assert "DIC" not in str(result)
