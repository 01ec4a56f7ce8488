"""Simulation-based calibration through the public API (Talts et al. 2018).

    python benchmarks/sbc.py [--simulations 500] [--draws 199] [MODEL ...]

Parameters are drawn from the prior, data from the model, the model is fitted, and the rank of each true value among
the posterior draws is uniform on 0..draws if the posterior is right. Printed per scalar: the p-value of a chi-square
test on 20 bins and the largest distance of the rank distribution to the uniform one.
"""

import argparse
import time

import numpy as np
import pymc as pm
from scipy import stats

import pymc_inla as pmi


def _data(seed, n, n_groups):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_groups, n), rng.normal(size=n)


def binary_pairs(y=None):
    """Binary responses, two a group: the Laplace approximation of the group effects is at its worst."""
    g, x = np.repeat(np.arange(60), 2), _data(1, 120, 60)[1]
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        sigma = pm.HalfNormal("sigma", 1.5)
        u = pm.Normal("u", 0, sigma, shape=60)
        pm.Bernoulli("y", logit_p=a + b * x + u[g], observed=y, shape=120)
    return model


def poisson_groups(y=None):
    """Counts in 15 groups of about 6."""
    g, x = _data(2, 90, 15)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 0.5)
        sigma = pm.HalfNormal("sigma", 0.7)
        u = pm.Normal("u", 0, sigma, shape=15)
        pm.Poisson("y", pm.math.exp(a + b * x + u[g]), observed=y, shape=90)
    return model


def gaussian_groups(y=None):
    """Gaussian responses in 10 groups, noise unknown."""
    g, x = _data(3, 60, 10)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 1)
        sigma, noise = pm.HalfNormal("sigma", 1), pm.HalfNormal("noise", 1)
        u = pm.Normal("u", 0, sigma, shape=10)
        pm.Normal("y", a + b * x + u[g], noise, observed=y, shape=60)
    return model


def crossed_counts(y=None):
    """Counts, 8 x 10 crossed."""
    i, j = np.repeat(np.arange(8), 10), np.tile(np.arange(10), 8)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        s, t = pm.HalfNormal("s", 0.7), pm.HalfNormal("t", 0.7)
        u, v = pm.Normal("u", 0, s, shape=8), pm.Normal("v", 0, t, shape=10)
        pm.Poisson("y", pm.math.exp(a + u[i] + v[j]), observed=y, shape=80)
    return model


MODELS = {f.__name__: f for f in (binary_pairs, poisson_groups, gaussian_groups, crossed_counts)}


def ranks(build, simulations, draws, seed=0):
    """Rank of each true value among the draws: dict of variable name to (simulations, size) integers."""
    with build():
        prior = pm.sample_prior_predictive(
            draws=simulations, random_seed=seed
        )  # y is still unobserved: part of the prior
    truth = prior["prior"].dataset.isel(chain=0)
    responses = truth["y"].values
    names = [name for name in truth.data_vars if name != "y"]
    collected = {name: [] for name in names}
    for k in range(simulations):
        idata = pmi.fit(
            build(responses[k]), draws=draws, chains=1, random_seed=seed + k, criteria=False, progressbar=False
        )
        for name in names:
            sampled = idata.posterior[name].values[0].reshape(draws, -1)
            collected[name].append((sampled < truth[name].values[k].ravel()).sum(axis=0))
    return {name: np.array(values) for name, values in collected.items()}


def uniformity(rank, draws, bins=20):
    """p-value of the chi-square test and Kolmogorov distance of ranks (simulations,) to the uniform distribution."""
    counts = np.bincount((rank * bins) // (draws + 1), minlength=bins)
    p_value = stats.chisquare(counts).pvalue
    distance = stats.kstest((rank + 0.5) / (draws + 1), "uniform").statistic
    return p_value, distance


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--draws", type=int, default=199)
    arguments = parser.parse_args()
    for name in arguments.models or MODELS:
        start = time.perf_counter()
        found = ranks(MODELS[name], arguments.simulations, arguments.draws)
        print(f"{name}: {arguments.simulations} data sets, {time.perf_counter() - start:.0f} s")
        for variable, rank in found.items():
            scored = [uniformity(rank[:, k], arguments.draws) for k in range(rank.shape[1])]
            worst = min(p for p, _ in scored)
            # Bonferroni over the elements of a vector
            print(
                f"  {variable:8s} p = {min(1.0, worst * len(scored)):.3f}, "
                f"distance {max(d for _, d in scored):.3f} (1 % point {1.63 / np.sqrt(arguments.simulations):.3f})"
            )


if __name__ == "__main__":
    main()
