"""The seeds data (Crowder 1978) written by hand in NumPy against the log posterior of theta that R-INLA prints.

Provenance of the numbers: references/rinla.json. Intercept flat, other fixed effects N(0, precision 0.001).
"""

import json
import pathlib

import numpy as np
import pytest
from laplace_models import LOG_2PI, binomial, build_model

from pymc_inla.datasets import load
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.linalg import build_system

REFERENCES = json.loads((pathlib.Path(__file__).parents[1] / "references" / "rinla.json").read_text())


def log_prior_pc(theta):
    """pc.prec(1, 0.01): sigma ~ Exponential(-log 0.01)"""
    rate = -np.log(0.01)
    return np.log(rate / 2) - rate * np.exp(-theta[0] / 2) - theta[0] / 2


def log_prior_gamma(theta):
    """loggamma(1, 5e-5)"""
    return np.log(5e-5) + theta[0] - 5e-5 * np.exp(theta[0])


def seeds(log_prior_theta):
    frame = load("seeds")
    seed = (frame["seed"] == "O73").to_numpy(float)
    extract = (frame["extract"] == "CUCUMBER").to_numpy(float)
    X = np.column_stack([np.ones(21), seed, extract, seed * extract])
    A = np.hstack([np.eye(21), X])
    precisions = np.array([0.0, 0.001, 0.001, 0.001])

    def prior(theta):
        Q = np.diag(np.concatenate([np.exp(theta[0]) * np.ones(21), precisions]))
        c = 0.5 * (21 * theta[0] + 3 * np.log(0.001) - 24 * LOG_2PI)
        return Q, 0 * theta[0] * np.ones(25), c

    y, trials = frame["germinated"].to_numpy(float), frame["seeds"].to_numpy(float)
    return build_model(binomial(y, trials), 21, prior, lambda t: (A, np.zeros(21)), log_prior_theta, [2.0])


@pytest.mark.parametrize("name, log_prior", [("seeds_pc", log_prior_pc), ("seeds_lg", log_prior_gamma)])
def test_log_posterior_of_theta(name, log_prior):
    f = seeds(log_prior)
    system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e)
    inner = LaplaceInner(f, system)
    theta, expected = list(REFERENCES[name]["log_posterior_theta_grid"].values())[:2]
    found, point = [], None
    for value in theta:
        point = inner.evaluate([value], point, gradient=False)
        assert point.status.ok
        found.append(point.log_posterior)
    difference = np.array(found) - np.array(expected)
    # R-INLA stops its own search for the mode of x at a relative accuracy of about this size
    np.testing.assert_allclose(difference - np.median(difference), 0, atol=1e-4)
