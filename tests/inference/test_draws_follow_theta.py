"""Draws of functions of latents and hyperparameters, where the latents have to change with the hyperparameters: a
non-centered random walk is known to the noise of its data, its increments in units of their sd are not."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy.stats import norm, poisson

import pymc_inla as pmi
from pymc_inla.inference import draws as draws_module

TIMES = 50


def walk(noise: float):
    rng = np.random.default_rng(3)
    level = np.cumsum(rng.normal(0, 0.3, TIMES))
    return level + rng.normal(0, noise, TIMES)


def exact(y):
    """Means and sds of the level, and the mean of the log likelihood, over a grid of both sds."""
    steps, noises = np.exp(np.linspace(-2.4, 0.2, 61)), np.exp(np.linspace(-4.0, -1.3, 61))
    time = np.arange(1, TIMES + 1)
    log_weight, mean, second, log_likelihood = [], [], [], []
    for step in steps:
        K = 1.0 + step**2 * np.minimum.outer(time, time)
        values, vectors = np.linalg.eigh(K)
        projected = vectors.T @ y
        for noise in noises:
            total = values + noise**2
            log_prior = norm.logpdf(step, 0, 0.5) + np.log(step) + norm.logpdf(np.log(noise), np.log(0.08), 0.3)
            log_weight.append(log_prior + norm.logpdf(projected, 0, np.sqrt(total)).sum())
            m, variance = vectors @ (values / total * projected), vectors**2 @ (values * noise**2 / total)
            mean.append(m)
            second.append(m**2 + variance)
            log_likelihood.append(np.sum(norm.logpdf(y, m, noise) - 0.5 * variance / noise**2))
    weight = np.exp(np.array(log_weight) - np.max(log_weight))
    weight /= weight.sum()
    m = weight @ np.array(mean)
    return m, np.sqrt(weight @ np.array(second) - m**2), weight @ np.array(log_likelihood)


@pytest.mark.parametrize(("centered", "most_work"), [(False, 1e7), (True, 1e7), (False, 1e4)])
def test_a_random_walk_in_both_parametrizations(centered, most_work, monkeypatch):
    """Also with more draws than their densities are computed of."""
    monkeypatch.setattr(draws_module, "MAX_DENSITY_WORK", most_work)
    y = walk(0.08)
    with pm.Model() as model:
        step, noise = pm.HalfNormal("step", 0.5), pm.LogNormal("noise", np.log(0.08), 0.3)
        start = pm.Normal("start", 0, 1)
        if centered:
            level = start + pt.cumsum(pm.Normal("e", 0, step, shape=TIMES))
        else:
            level = start + pt.cumsum(step * pm.Normal("e", 0, 1, shape=TIMES))
        pm.Normal("y", pm.Deterministic("level", level), noise, observed=y)
    idata = pmi.fit(model, random_seed=1, progressbar=False, draws=2000, chains=1)
    mean, sd, log_likelihood = exact(y)
    draws = idata.posterior["level"].values[0]
    # Monte Carlo errors of 2000 draws: 0.022 sd and 1.6 %
    assert np.max(np.abs(draws.mean(axis=0) - mean) / sd) < 0.09
    assert np.max(np.abs(draws.std(axis=0) / sd - 1)) < 0.07
    found = norm.logpdf(y, draws, idata.posterior["noise"].values[0][:, None]).sum(axis=1)
    # four Monte Carlo errors
    assert abs(found.mean() - log_likelihood) < 4 * found.std() / np.sqrt(2000)


def test_a_local_linear_trend():
    """Three hyperparameters, latents of both kinds; with draws beyond all centers, too."""
    rng = np.random.default_rng(9)
    time = np.arange(48)
    month = time % 6
    y = rng.poisson(np.exp(5 + 0.5 * np.sin(time / 8) + 0.2 * np.sin(np.pi * month / 3)))

    def fitted(centered):
        with pm.Model() as model:
            drift_sd, level_sd = pm.HalfNormal("drift_sd", 0.02), pm.HalfNormal("level_sd", 0.1)
            season = pm.ZeroSumNormal("season", pm.HalfNormal("season_sd", 0.5), shape=6)
            if centered:
                slopes, steps = pm.Normal("slopes", 0, drift_sd, shape=48), pm.Normal("steps", 0, level_sd, shape=48)
            else:
                slopes = drift_sd * pm.Normal("slopes", 0, 1, shape=48)
                steps = level_sd * pm.Normal("steps", 0, 1, shape=48)
            level = pm.Normal("start", 5, 1) + pt.cumsum(pt.cumsum(slopes) + steps)
            pm.Poisson("y", pm.math.exp(pm.Deterministic("level", level) + season[month]), observed=y)
        posterior = pmi.fit(model, random_seed=1, progressbar=False, draws=2000, chains=1).posterior
        level = posterior["level"].values[0]
        eta = level + posterior["season"].values[0][:, month]
        return level, poisson.logpmf(y, np.exp(eta)).sum(axis=1)

    (level, log_likelihood), (other, log_likelihood_of_other) = fitted(False), fitted(True)
    # errors of the difference of two times 2000 draws: 2.2 %
    assert np.max(np.abs(level.std(axis=0) / other.std(axis=0) - 1)) < 0.1
    error = np.sqrt(log_likelihood.var() / 2000 + log_likelihood_of_other.var() / 2000)
    assert abs(log_likelihood.mean() - log_likelihood_of_other.mean()) < 4 * error
    # the 1 % quantile of 2000 draws has an error of 0.08 sd
    low, low_of_other = np.quantile(log_likelihood, 0.01), np.quantile(log_likelihood_of_other, 0.01)
    assert abs(low - low_of_other) < 0.45 * log_likelihood_of_other.std()
    # the lowest of 2000: a tail of a chi square, not of draws that have lost their theta
    assert log_likelihood.min() > log_likelihood_of_other.min() - 3 * log_likelihood_of_other.std()


def test_group_effects_integrated_by_quadrature():
    """Local latents are drawn from their own posteriors given the shared ones, and follow the hyperparameters too."""
    rng = np.random.default_rng(4)
    group, block = np.arange(12), np.arange(12) // 4
    y = rng.poisson(np.exp(7 + rng.normal(0, 0.5, 12)))

    def predictors(centered):
        with pm.Model() as model:
            sd, of_block = pm.HalfNormal("sd", 1), pm.HalfNormal("of_block", 1)
            unit = (sd, of_block) if centered else (1.0, 1.0)
            scale = (1.0, 1.0) if centered else (sd, of_block)
            u = scale[0] * pm.Normal("u", 0, unit[0], shape=12)[group]
            v = scale[1] * pm.Normal("v", 0, unit[1], shape=3)[block]
            pm.Poisson("y", pm.math.exp(pm.Deterministic("eta", pm.Normal("a", 7, 1) + u + v)), observed=y)
        idata = pmi.fit(model, strategy="quadrature", random_seed=1, progressbar=False, draws=2000, chains=1)
        return idata.posterior["eta"].values[0]

    eta, other = predictors(False), predictors(True)
    # errors of the difference of two times 2000 draws: 2.2 %
    assert np.max(np.abs(eta.std(axis=0) / other.std(axis=0) - 1)) < 0.1
