"""Marginals, draws, criteria, reliability and the whole run against closed forms and brute force."""

import numpy as np
import pytest
from arviz_stats.base import array_stats
from outer_models import KnownDensity, gaussian_groups
from scipy import stats

from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference import run_inference, skew_normal
from pymc_inla.inference.draws import _weights, draw_joint
from pymc_inla.inference.hyper_mode import find_theta_mode
from pymc_inla.inference.integration import integrate_theta
from pymc_inla.inference.latent_marginals import Mixture, mixture_marginals
from pymc_inla.inference.pareto import smooth_log_weights
from pymc_inla.inference.reliability import InnerChange, inner_change, judge
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import QUANTILES
from pymc_inla.status import Status
from pymc_inla.theta_space import ThetaSpace


def test_pareto_smoothing_equals_arviz():
    r = np.random.default_rng(1).standard_t(3, size=2500)  # a size at which both round the length of the tail alike
    weights, k = smooth_log_weights(r)
    expected, expected_k = array_stats.psislw(-r)
    assert abs(k - expected_k) < 1e-10
    assert np.max(np.abs(weights - expected)) < 1e-8


def test_equal_ratios_need_no_smoothing():
    weights, k = smooth_log_weights(np.full(50, 3.0))
    assert k == -np.inf and np.allclose(weights, -np.log(50))


def test_draws_without_a_value_have_equal_weights_and_no_shape():
    weights, k, efficiency = _weights(np.full(4, np.nan))
    np.testing.assert_allclose(np.exp(weights), 0.25)
    assert k == np.inf and efficiency == 0.25


@pytest.mark.parametrize("skewness", [-0.9, -0.2, 0.0, 0.5])
def test_skew_normal_has_its_moments(skewness):
    x = np.linspace(-29, 31, 60001)
    parameters = skew_normal.parameters(1.0, 2.0, skewness)
    f = np.exp(skew_normal.log_pdf(x, *parameters))
    mean = np.trapezoid(f * x, x)
    variance = np.trapezoid(f * (x - mean) ** 2, x)
    third = np.trapezoid(f * (x - mean) ** 3, x) / variance**1.5
    # trapezoidal rule on a smooth density that has decayed at both ends, for sd 2 and |skewness| < 1
    assert np.allclose([mean, variance, third], [1.0, 4.0, skewness], atol=2e-4)
    assert np.allclose(np.gradient(skew_normal.cdf(x, *parameters), x)[1:-1], f[1:-1], atol=1e-5)


def brute_mixture(mean, sd, skewness, weights):
    x = np.linspace((mean - 9 * sd).min(), (mean + 9 * sd).max(), 400001)
    f = sum(
        w * stats.skewnorm.pdf(x, alpha, xi, omega)
        for w, xi, omega, alpha in zip(weights, *skew_normal.parameters(mean, sd, skewness), strict=True)
    )
    cdf = np.concatenate([[0], np.cumsum(0.5 * (f[1:] + f[:-1]) * np.diff(x))])
    return np.interp(QUANTILES, cdf, x), x[np.argmax(f)], x, f


def test_mixtures_against_brute_force():
    rng = np.random.default_rng(4)
    mean, sd = rng.normal(size=(5, 3)), np.exp(rng.normal(size=(5, 3)) - 0.5)
    skewness, weights = rng.uniform(-0.8, 0.8, size=(5, 3)), rng.dirichlet(np.ones(5))
    result = mixture_marginals(mean, sd, skewness, weights)
    for j in range(3):
        quantiles, mode, x, f = brute_mixture(mean[:, j], sd[:, j], skewness[:, j], weights)
        assert np.allclose(result.quantiles[j], quantiles, atol=1e-4)
        assert abs(result.mode[j] - mode) < 0.05 * result.sd[j]
        assert np.allclose(result.density[j], np.interp(result.grid[j], x, f), atol=1e-4 * f.max() + 1e-4)
        assert abs(np.trapezoid(result.density[j], result.grid[j]) - 1) < 5e-3


def test_scale_mixture_with_a_spike():
    """A group effect whose variance may be zero: components of very different sd."""
    sd = np.array([[1e-4], [1e-2], [1.0]])
    result = mixture_marginals(np.zeros((3, 1)), sd, np.zeros((3, 1)), np.array([0.3, 0.4, 0.3]))
    probability = np.sum(
        [w * stats.norm.cdf(result.quantiles[0] / s) for w, s in zip([0.3, 0.4, 0.3], sd, strict=True)], 0
    )
    # quantiles are good to 1e-7 sd, which is 5e-4 of the width of the spike
    assert np.allclose(probability, QUANTILES, atol=1e-4)
    assert abs(result.mode[0]) < 1e-3


def test_fast_distribution_function_is_close():
    g = np.array([[-0.2, 0.0, 0.1, 0.2]])
    one = np.ones_like(g)
    exact, fast = (Mixture(0 * one, one, g, np.ones((1, 1)), exact=e) for e in (True, False))
    for x in np.linspace(-4, 4, 41):
        at = np.full(4, x)
        assert np.max(np.abs(exact.cdf_pdf(at)[0] - fast.cdf_pdf(at)[0])) < 8e-4


def integrated(f, d):
    posterior = ThetaPosterior(KnownDensity(f))
    bound = np.full(d, 50.0)
    mode = find_theta_mode(posterior, np.zeros(d), -bound, bound)
    posterior.prepare_design(mode.theta_star, mode.root)
    return posterior, integrate_theta(posterior, mode, ThetaSpace(-bound, bound))


@pytest.mark.parametrize("d", [0, 1, 2, 3])
def test_joint_draws(d):
    """x | theta ~ N(theta_1, exp(theta_1)): the sampler must reproduce theta and the dependence."""
    posterior, integral = integrated(lambda t: -0.5 * np.sum((t - 1) ** 2) / 0.25, d)
    draws = draw_joint(posterior, integral, 4000, np.random.SeedSequence(5), size=100)
    again = draw_joint(posterior, integral, 4000, np.random.SeedSequence(5), size=100)
    assert np.array_equal(draws.x, again.x) and np.array_equal(draws.theta, again.theta)
    assert draws.theta.shape == (4000, d) and draws.x.shape == (4000, 1)
    # the ratios differ only by the interpolation error of log p(theta | y) and are constant otherwise
    assert np.ptp(draws.log_p - draws.log_q) < 0.2
    if d:
        # theta is spread evenly over its distribution: far closer than independent draws
        assert np.max(np.abs(draws.theta.mean(0) - 1)) < 0.005
        assert np.max(np.abs(draws.theta.std(0) - 0.5)) < 0.005
        ranks = stats.norm.cdf(np.sort((draws.theta - 1) / 0.5, axis=0)) - (np.arange(4000)[:, None] + 0.5) / 4000
        assert np.max(np.abs(ranks)) < 0.01
        standardized = (draws.x[:, 0] - draws.theta[:, 0]) / np.exp(0.5 * draws.theta[:, 0])
        # independent normals given theta: 4000 of them give 0.016 for the mean, 0.011 for the sd, taken 4-fold
        assert abs(standardized.mean()) < 0.064 and abs(standardized.std() - 1) < 0.045
        assert abs(np.corrcoef(standardized, draws.theta[:, 0])[0, 1]) < 0.064


@pytest.mark.parametrize("d", [1, 3])
def test_draws_where_the_inner_approximation_fails_move_to_another_center(d):
    posterior, integral = integrated(lambda t: -0.5 * np.sum((t - 1) ** 2) / 0.25, d)
    limit = 1.3  # a quarter of the mass is beyond it; theta* = 1 is not
    posterior.inner = KnownDensity(lambda t: -np.inf if t[0] > limit else -0.5 * np.sum((t - 1) ** 2) / 0.25)
    draws = draw_joint(posterior, integral, 4000, np.random.SeedSequence(5), size=100)
    assert np.all(np.isfinite(draws.x)) and np.all(np.isfinite(draws.log_p))
    # theta comes from the integrated density, whatever becomes of x; the sd of its mean is 0.008
    assert np.max(np.abs(draws.theta.mean(axis=0) - 1)) < 0.03


@pytest.fixture(scope="module")
def groups():
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(12), 4)
    y = rng.normal(0, 0.8, 12)[group] + rng.normal(size=48)
    theta = np.linspace(-9, 16, 4001)
    # p(y | theta): the group means are N(0, 1/tau + 1/4), the rest does not depend on theta
    total = np.array([stats.norm.logpdf(y.reshape(12, 4).mean(1), 0, np.sqrt(np.exp(-t) + 0.25)).sum() for t in theta])
    within = ((y.reshape(12, 4) - y.reshape(12, 4).mean(1, keepdims=True)) ** 2).sum()
    rest = -0.5 * within - 12 * (1.5 * np.log(2 * np.pi) + 0.5 * np.log(4))
    log_p = total + rest + stats.norm.logpdf(theta, 0, 2.0)
    weight = np.exp(log_p - log_p.max())
    return y, group, theta, log_p, weight / weight.sum()


@pytest.fixture(scope="module")
def fitted(groups):
    y, group, *_ = groups
    return run_inference(gaussian_groups(y, group, 12), random_seed=3, n_draws=4000)


def test_theta_and_evidence_are_exact(groups, fitted):
    _, _, theta, log_p, weight = groups
    mean = weight @ theta
    sd = np.sqrt(weight @ (theta - mean) ** 2)
    assert abs(fitted.theta_marginals.mean[0] - mean) < 0.005 * sd
    assert abs(fitted.theta_marginals.sd[0] / sd - 1) < 0.005
    exact = np.interp(QUANTILES, np.cumsum(weight) - weight / 2, theta)
    assert np.max(np.abs(fitted.theta_marginals.quantiles[0] - exact)) < 0.01 * sd
    evidence = np.log(np.trapezoid(np.exp(log_p - log_p.max()), theta)) + log_p.max()
    assert abs(fitted.log_marginal_likelihood - evidence) < 1e-3
    assert fitted.integration.method == "grid" and fitted.reliability.verdict == "good"
    assert fitted.reliability.messages == ()


def conditional(y, theta):
    """Mean (12, T) and sd (T,) of x_g given theta."""
    precision = 4 + np.exp(theta)
    return 4 * y.reshape(12, 4).mean(1)[:, None] / precision, precision**-0.5


def test_latent_marginals_are_exact(groups, fitted):
    y, _, theta, _, weight = groups
    mean, sd = conditional(y, theta)
    for g in (0, 5, 11):
        total_mean = weight @ mean[g]
        total_sd = np.sqrt(weight @ (sd**2 + (mean[g] - total_mean) ** 2))
        assert abs(fitted.latent_marginals.mean[g] - total_mean) < 0.005 * total_sd
        assert abs(fitted.latent_marginals.sd[g] / total_sd - 1) < 0.005
        probability = [weight @ stats.norm.cdf((q - mean[g]) / sd) for q in fitted.latent_marginals.quantiles[g]]
        assert np.max(np.abs(np.array(probability) - QUANTILES)) < 0.002


def test_draws_are_exact(groups, fitted):
    y, _, theta, _, weight = groups
    mean, sd = conditional(y, theta)
    for g in (0, 5, 11):
        values = np.sort(fitted.draws_x[:, g])[::40]
        cdf = np.array([weight @ stats.norm.cdf((v - mean[g]) / sd) for v in values])
        # 4000 draws: 1.79 / sqrt(4000) = 0.0283 is the 1 % point of the largest of three Kolmogorov distances
        assert np.max(np.abs(cdf - np.arange(0, 4000, 40) / 4000)) < 0.0283
    theta_cdf = np.interp(np.sort(fitted.draws_theta[:, 0]), theta, np.cumsum(weight))
    assert np.max(np.abs(theta_cdf - (np.arange(4000) + 0.5) / 4000)) < 0.01


def test_criteria_against_brute_force(groups, fitted):
    y, group, theta, _, weight = groups
    mean, sd = conditional(y, theta)
    z, w = np.polynomial.hermite_e.hermegauss(40)
    w = w / w.sum()
    keep = weight > 1e-9
    log_mean, variance, log_mean_p, log_cpo, pit = (np.empty(48) for _ in range(5))
    for i in range(48):
        eta = mean[group[i], keep][:, None] + sd[keep][:, None] * z
        log_p = stats.norm.logpdf(y[i], eta)
        mass = (weight[keep] / weight[keep].sum())[:, None] * w
        log_mean[i] = np.sum(mass * log_p)
        variance[i] = np.sum(mass * log_p**2) - log_mean[i] ** 2
        log_mean_p[i] = np.log(np.sum(mass * np.exp(log_p)))
        log_cpo[i] = -np.log(np.sum(mass * np.exp(-log_p)))
        pit[i] = np.sum(mass * np.exp(-log_p) * stats.norm.cdf(y[i], eta)) * np.exp(log_cpo[i])
    c = fitted.criteria
    # the sums over theta use about 20 nodes; extreme observations (log CPO -4) show the difference most
    assert np.allclose(c.log_cpo, log_cpo, atol=5e-3) and np.allclose(c.pit, pit, atol=2e-3)
    assert abs(c.waic - -2 * (log_mean_p - variance).sum()) < 0.05
    assert abs(c.deviance_mean - -2 * log_mean.sum()) < 0.02
    assert abs(c.dic - (2 * c.deviance_mean - c.deviance_at_mean)) < 1e-9
    assert not c.failure.any()


def test_cpo_is_the_leave_one_out_density(groups, fitted):
    y, group, theta, _, _ = groups
    i = 17
    log_rest = np.zeros_like(theta)
    others = np.delete(np.arange(48), i)
    for g in range(12):
        mine = y[others][group[others] == g]
        n = len(mine)
        precision = n + np.exp(theta)
        log_rest += 0.5 * (theta - np.log(precision)) + 0.5 * mine.sum() ** 2 / precision
    log_rest += stats.norm.logpdf(theta, 0, 2.0)
    weight = np.exp(log_rest - log_rest.max())
    mine = y[others][group[others] == group[i]]
    precision = len(mine) + np.exp(theta)
    predictive = stats.norm.pdf(y[i], mine.sum() / precision, np.sqrt(1 + 1 / precision))
    assert abs(fitted.criteria.log_cpo[i] - np.log(weight @ predictive / weight.sum())) < 3e-3


def test_same_seed_same_result(groups, fitted):
    y, group, *_ = groups
    again = run_inference(gaussian_groups(y, group, 12), random_seed=3, n_draws=4000)
    other = run_inference(gaussian_groups(y, group, 12), random_seed=4, n_draws=4000)
    assert np.array_equal(again.draws_x, fitted.draws_x) and np.array_equal(again.log_p, fitted.log_p)
    assert not np.array_equal(other.draws_x, fitted.draws_x)
    assert other.log_marginal_likelihood == fitted.log_marginal_likelihood
    assert np.array_equal(other.latent_marginals.quantiles, fitted.latent_marginals.quantiles)


def test_log_p_is_the_joint_density(groups, fitted):
    y, group, *_ = groups
    x, theta = fitted.draws_x, fitted.draws_theta[:, 0]
    joint = stats.norm.logpdf(y, x[:, group]).sum(1) + stats.norm.logpdf(x, 0, np.exp(-0.5 * theta)[:, None]).sum(1)
    joint += stats.norm.logpdf(theta, 0, 2.0)
    # theta within a cell shares the x of its center (see draws.py); the cells at the ends are the widest
    assert np.median(np.abs(fitted.log_p - joint)) < 0.05


@pytest.mark.parametrize("method, count", [("eb", 1), ("ccd", 3), ("importance", None), ("grid", None)])
def test_every_method_runs(groups, method, count):
    y, group, _, _, _ = groups
    result = run_inference(gaussian_groups(y, group, 12), integration=method, n_draws=50, random_seed=0, criteria=False)
    assert result.integration.method == method and result.criteria is None
    assert count is None or len(result.integration.weights) == count
    assert np.all(np.isfinite(result.draws_x)) and result.draws_x.shape == (50, 12)
    assert np.all(result.theta_marginals.sd > 0)


def test_bad_options_are_refused(groups):
    f = gaussian_groups(groups[0], groups[1], 12)
    for options, message in (
        ({"strategy": "laplce"}, "Did you mean 'laplace'"),
        ({"integration": "gridd"}, "Did you mean 'grid'"),
        ({"n_draws": 0}, "at least 1"),
        ({"theta_start": np.array([np.nan])}, "not finite"),
        ({"theta_start": np.zeros(2)}, "has 2 elements"),
    ):
        with pytest.raises(InvalidOptionError, match=message):
            run_inference(f, **options)


def test_progress_ends_at_one(groups):
    calls = []
    f = gaussian_groups(groups[0], groups[1], 12)
    run_inference(f, n_draws=10, random_seed=0, progress=lambda stage, fraction: calls.append((stage, fraction)))
    assert calls[-1] == ("done", 1.0) and [f for _, f in calls] == sorted(f for _, f in calls)


def test_reliability_measures_a_wrong_inner_approximation():
    """A better log density that is tilted by 0.4 z and sharper by 0.5 z^2 / 2 must be reported as such."""
    _, integral = integrated(lambda t: -0.5 * np.sum((t - 1) ** 2) / 0.25, 1)
    wide = np.array([-99.0]), np.array([99.0])
    change = inner_change(
        integral.mode, *wide, lambda t: 0.4 * (t[:, 0] - 1) / 0.5 - 0.25 * ((t[:, 0] - 1) / 0.5) ** 2 + 3, "test"
    )
    assert abs(change.shift - 0.4 / 1.5) < 1e-3 and abs(change.sd - (1 - 1.5**-0.5)) < 1e-3
    verdict = judge_with(change)
    assert verdict.verdict == "check" and "0.27 sd" in verdict.messages[0]


def judge_with(change, **other):
    settings = {
        "change": change,
        "outer_change": 0.001,
        "k_hat": 0.2,
        "efficiency": 0.9,
        "mode_status": Status.CONVERGED,
        "integral_messages": (),
        "failed_nodes": 0,
        "method": "grid",
        "quadrature_fits": True,
    }
    return judge(**(settings | other))


def test_verdicts():
    good, unknown = InnerChange(0.01, 0.01, 0.0, "test"), InnerChange.unknown("test")
    assert judge_with(good).verdict == "good"
    assert judge_with(good, k_hat=0.9).verdict == "good"  # a high-dimensional x alone is not an alarm
    assert judge_with(unknown, k_hat=0.9).verdict == "check"
    assert judge_with(good, outer_change=0.05).verdict == "check"
    assert judge_with(good, outer_change=0.5).verdict == "bad"
    assert judge_with(InnerChange(0.9, 0.0, 0.0, "test")).verdict == "bad"
    assert judge_with(good, mode_status=Status.MAX_ITERATIONS).verdict == "check"
    assert judge_with(good, failed_nodes=2).verdict == "check"
    assert judge_with(good, failures=3, n_nodes=50).verdict == "check"
    assert judge_with(good, failures=30, n_nodes=50).verdict == "bad"
    assert "believe the draws" in judge_with(good, gap=0.3).messages[0]
    assert "believe the marginals" in judge_with(good, gap=0.3, farther=True).messages[0]
    # neither is to be believed where both come from a bad density of the hyperparameters
    assert not any("believe" in text for text in judge_with(good, gap=0.3, outer_change=0.5).messages)
    assert "too uneven" in judge_with(good, gap=0.3, resampled=False).messages[0]
    assert judge_with(good, gap=0.09, resampled=False).verdict == "good"
    assert judge_with(good, n_undefined=1).verdict == "bad"
