"""Marginals that are off by a tenth of a sd are noticed by draws whose importance weights correct them."""

import dataclasses
import re
import warnings

import exact
import exact_models
import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning
from pymc_inla.inference.draws import Draws
from pymc_inla.inference.reliability import GAP_CHECK, InnerChange, draws_gap, judge
from pymc_inla.lgm import Marginals
from pymc_inla.status import Status

PROBLEM = exact_models.simulate("poisson", 5, 10, 5.0, seed=156, b=(0.3, 0.5), scale_sigma=3.0)


def fit(strategy):
    options = {"draws": 20_000, "chains": 1, "random_seed": 1, "criteria": False, "progressbar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return pmi.fit(exact_models.build(PROBLEM), strategy=strategy, **options)


def test_laplace_marginals_that_are_off_are_flagged():
    psi, w, _, _ = exact.sample_shared(PROBLEM, 4096)
    mean = w @ psi[:, 0]
    sd = np.sqrt(w @ (psi[:, 0] - mean) ** 2)
    laplace, default = fit("laplace"), fit("auto")
    errors = [float(pmi.summary(f, var_names=["b"])["mean"].iloc[0] - mean) / sd for f in (laplace, default)]
    assert abs(errors[0]) > 0.1
    assert pmi.reliability(laplace).verdict == "check"
    assert "believe the draws" in pmi.reliability(laplace).messages[0]
    # Monte Carlo error of the reference: 1/sqrt(3000)
    assert abs(errors[1]) < 0.06
    assert pmi.reliability(default).verdict == "good"


@pytest.fixture
def right():
    """Draws of two standard normal latents and one hyperparameter, and their marginals."""
    rng = np.random.default_rng(1)
    none = np.full(20_000, np.nan)
    draws = Draws(rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 2)), none, none, 0.3, 0.9, True, 0.0, 0.0)
    empty = np.zeros(0)
    return (
        draws,
        Marginals(np.zeros(2), np.ones(2), empty, empty, None, None),
        Marginals(np.zeros(1), np.ones(1), empty, empty, None, None),
    )


def test_gap_of_draws(right):
    draws, x, theta = right
    replace = dataclasses.replace
    assert draws_gap(draws, x, theta) == 0.0
    shifted, wide = replace(theta, mean=theta.mean + 0.1), replace(x, sd=np.array([1.0, 1.15]))
    assert draws_gap(draws, x, shifted) > GAP_CHECK
    assert draws_gap(draws, x, None) == 0.0
    assert draws_gap(draws, wide, theta) > GAP_CHECK
    uncorrected = replace(draws, resampled=False, efficiency=0.001)
    assert draws_gap(uncorrected, x, theta) == 0.0
    assert draws_gap(uncorrected, wide, theta) > GAP_CHECK


def test_long_tails_are_no_gap():
    """50 latents that are mixtures over scales with kurtosis 13, as group effects near zero are: the sd of few draws is
    off by half for one of them now and then."""
    empty, rng = np.zeros(0), np.random.default_rng(2)
    sd = np.full(50, np.exp(0.36))
    for n in (100, 600):
        for _ in range(20):
            none = np.full(n, np.nan)
            x = np.exp(0.6 * rng.normal(size=(n, 50))) * rng.normal(size=(n, 50))
            draws = Draws(np.zeros((n, 0)), x, none, none, 0.3, 1.0, True, 0.0, 0.0)
            assert draws_gap(draws, Marginals(np.zeros(50), sd, empty, empty, None, None), None) < GAP_CHECK
        narrow = Marginals(np.zeros(50), sd / 4, empty, empty, None, None)
        assert draws_gap(draws, narrow, None) > GAP_CHECK or n < 400


def test_one_draw_says_nothing(right):
    draws, x, theta = right
    one = dataclasses.replace(draws, x=draws.x[:1], theta=draws.theta[:1])
    assert draws_gap(one, x, theta) == 0.0
    constant = dataclasses.replace(draws, x=np.zeros_like(draws.x))
    assert draws_gap(constant, x, theta) > 0.9


def test_a_few_draws_that_count_are_a_cause_for_concern():
    change = InnerChange(0.05, 0.01, 0.0, "quadrature with 5 nodes")
    known = {
        "change": change,
        "outer_change": 0.0,
        "mode_status": Status.CONVERGED,
        "integral_messages": (),
        "failed_nodes": 0,
        "method": "grid",
        "quadrature_fits": True,
    }
    assert judge(k_hat=0.75, efficiency=0.5, **known).verdict == "good"
    assert judge(k_hat=0.5, efficiency=0.04, **known).verdict == "good"
    assert judge(k_hat=0.99, efficiency=0.17, **known).verdict == "check"
    concern = judge(k_hat=0.75, efficiency=0.04, **known)
    assert concern.verdict == "check"
    assert "leave few draws" in concern.messages[0]
    left = judge(k_hat=0.5, efficiency=0.9, left_out=1, **known)
    assert left.verdict == "bad"
    assert "has another mode" in left.messages[0]


def test_a_mean_that_does_not_exist_is_said():
    """A half-Cauchy alpha of counts without overdispersion has none: NaN in the summary, with the verdict "good"."""
    y = np.random.default_rng(14).binomial(8, 0.6, 40)
    with pm.Model() as model:
        alpha = pm.HalfCauchy("alpha", 5)
        pm.Deterministic("dispersion", alpha**2)
        pm.NegativeBinomial("y", mu=pm.math.exp(pm.Normal("a", 0, 2)), alpha=alpha, observed=y)
    with pytest.warns(ReliabilityWarning, match="no finite mean or sd: alpha, dispersion"):
        fit = pmi.fit(model, random_seed=1, progressbar=False)
    assert np.isnan(pmi.summary(fit).loc["alpha", "mean"])
    assert pmi.reliability(fit).verdict == "check"


def test_mirror_images_of_loadings_are_not_passed_over():
    """By symmetry the means of loadings and scores are zero, of which points around one mode say nothing."""
    rng = np.random.default_rng(5)
    y = np.outer(rng.normal(size=40), [1.0, 0.8, -0.6]) + rng.normal(0, 0.6, (40, 3))
    with pm.Model() as model:
        loadings, scores = pm.Normal("loadings", shape=3), pm.Normal("scores", shape=40)
        pm.Normal("y", scores[:, None] * loadings, pm.HalfNormal("e", 1), observed=y)
    idata = pmi.fit(model, draws=100, chains=1, random_seed=1, progressbar=False, criteria=False)
    assert pmi.reliability(idata).verdict == "good"
    # half a percent in the share of a mode is a hundredth of the distance to the other
    np.testing.assert_allclose(pmi.summary(idata, var_names=["loadings", "scores"])["mean"], 0.0, atol=0.02)


def crossing_lines():
    """Two lines through the origin, 0.43 and 0.57 of the posterior for a dense grid over both coefficients."""
    x = np.tile(np.linspace(-1, 1, 10), 2)
    y = np.append(2 * x[:10], -2 * x[10:]) + np.sin(np.arange(20)) * 0.05
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
        pm.StudentT("y", nu=2, mu=a + b * x, sigma=0.2, observed=y)
    grid_a, grid_b = np.linspace(-1, 1, 201), np.linspace(-4, 4, 801)
    eta = grid_a[:, None, None] + grid_b[None, :, None] * x
    log_p = np.sum(stats.t.logpdf((y - eta) / 0.2, 2), axis=-1)
    log_p += stats.norm.logpdf(grid_a, 0, 2)[:, None] + stats.norm.logpdf(grid_b, 0, 2)
    p = np.exp(log_p - log_p.max())
    return model, p[:, grid_b > 0].sum() / p.sum()


def two_regressions():
    """Components that may change places."""
    rng = np.random.default_rng(0)
    x, first = rng.normal(size=60), rng.random(60) < 0.5
    y = np.where(first, 1 + x, -1 - x) + rng.normal(0, 0.4, 60)
    with pm.Model() as model:
        a, b, c, d = (pm.Normal(name, 0, 2) for name in "abcd")
        lines = [pm.Normal.dist(a + b * x, 0.4), pm.Normal.dist(c + d * x, 0.4)]
        pm.Mixture("y", w=[0.5, 0.5], comp_dists=lines, observed=y)
    return model, 0.5


def cut_off():
    """The search begins where all means are at their bound and nothing has a slope."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30), rng.poisson(3, 30)
    with pm.Model() as model:
        a, b = pm.Normal("a"), pm.Normal("b")
        pm.Poisson("y", pm.math.maximum(a + b * x, 0.01), observed=y)
    return model, 1.0


@pytest.mark.parametrize("problem", [crossing_lines, two_regressions, cut_off])
def test_other_modes_of_the_latents_are_not_passed_over(problem):
    model, share = problem()
    with pytest.warns(ReliabilityWarning, match="have several modes"):
        idata = pmi.fit(model, draws=100, chains=1, random_seed=1, progressbar=False, criteria=False)
    reliability = pmi.reliability(idata)
    assert reliability.verdict == "bad"
    (found,) = re.findall(r"and (\d+) % of their posterior is not", str(reliability))
    # by the Laplace approximation of every mode, and whichever of them was found first
    assert min(abs(int(found) / 100 - s) for s in (share, 1 - share)) < 0.05
