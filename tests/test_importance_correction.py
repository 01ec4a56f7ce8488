"""The density of the hyperparameters where the Laplace approximation of it is off: binary random walks against forward
filtering on a grid, sparse crossed effects against the sum over one of them."""

import numpy as np
import pymc as pm
import pytest
from scipy.signal import fftconvolve
from scipy.special import expit
from scipy.stats import halfnorm, norm

import pymc_inla as pmi
from pymc_inla.inference import laplace_importance
from pymc_inla.inference.inner import Sample

STATES = np.linspace(-24, 24, 1601)


def binary_walk(seed, n, step):
    rng = np.random.default_rng(seed)
    return rng.binomial(1, expit(np.cumsum(rng.normal(0, step, n))))


def exact_scale(y):
    """Mean and sd of the scale of the steps, HalfNormal(1), from the likelihood of the data at each."""
    h = STATES[1] - STATES[0]
    scales = np.exp(np.linspace(np.log(0.004), np.log(3.0), 50))
    log_density = halfnorm.logpdf(scales) + np.log(scales)
    for k, scale in enumerate(scales):
        if scale > 0.9 * h:
            reach = min(int(np.ceil(7 * scale / h)), 800)
            kernel = norm.pdf(np.arange(-reach, reach + 1) * h, 0, scale)
            kernel /= kernel.sum()
        else:  # of the same variance
            share = scale**2 / h**2
            kernel = np.array([share / 2, 1 - share, share / 2])
        p = norm.pdf(STATES, 0, 1.5) * h
        for t, success in enumerate(y):
            if t:
                p = np.maximum(fftconvolve(p, kernel, mode="same"), 0.0)
            p = p * expit(STATES if success else -STATES)
            log_density[k] += np.log(p.sum())
            p /= p.sum()
    w = np.exp(log_density - log_density.max())
    w /= w.sum()
    return w @ scales, np.sqrt(w @ scales**2 - (w @ scales) ** 2)


@pytest.mark.parametrize(("seed", "n", "step"), [(2, 40, 0.7), (4, 50, 0.3)])
def test_binary_random_walk(seed, n, step):
    """Without the correction means are off by 0.07 and 0.10 sd, sds by 10 %, and the verdict is good."""
    y = binary_walk(seed, n, step)
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1)
        f = pm.GaussianRandomWalk("f", sigma=s, init_dist=pm.Normal.dist(0, 1.5), shape=n)
        pm.Bernoulli("y", logit_p=f, observed=y)
    idata = pmi.fit(model, random_seed=1, progressbar=False)
    mean, sd = exact_scale(y)
    found = pmi.summary(idata, var_names=["s"]).iloc[0]
    assert abs(found["mean"] - mean) < 0.03 * sd
    assert abs(found["sd"] / sd - 1) < 0.03
    assert pmi.reliability(idata).verdict == "good"
    assert "importance sampling" in idata["inla"].attrs["strategy_reason"]


class _Point:
    """A point whose ratios are given."""

    log_posterior = -1.0

    def __init__(self, log_ratio):
        self.log_ratio = np.asarray(log_ratio)

    def sample(self, rng, m):
        return Sample(np.zeros((m, 1)), np.zeros(m), np.resize(self.log_ratio, m) - 1.0)


def test_mean_of_ratios():
    assert laplace_importance.log_mean_ratio(_Point([0.3]), 1000) == pytest.approx(0.3)
    z = norm.ppf((np.arange(1000) + 0.5) / 1000)
    assert laplace_importance.log_mean_ratio(_Point(0.5 * z - 0.125), 1000) == pytest.approx(0.0, abs=0.002)


@pytest.mark.parametrize("ratios", [[-np.inf], [np.nan], np.append(np.full(999, -30.0), 0.0)])
def test_ratios_that_say_nothing(ratios):
    assert np.isnan(laplace_importance.log_mean_ratio(_Point(ratios), 1000))


def test_what_is_right_is_not_corrected():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(15), 20)
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=15)
        pm.Poisson("y", pm.math.exp(pm.Normal("a", 0, 2) + u[g]), observed=rng.poisson(3.0, 300))
    idata = pmi.fit(model, draws=100, random_seed=1, progressbar=False)
    assert "importance sampling" not in idata["inla"].attrs["strategy_reason"]
