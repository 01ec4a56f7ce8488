"""Simulation-based calibration (Talts et al. 2018) through the public API, at a size that takes seconds; the full run
is benchmarks/sbc.py.

Ranks of the true values become normal scores: their mean is zero where draws are not shifted, and their mean square is
one where draws have the right spread. Averaged over the elements of a vector and over the data sets this tells an sd
that is 40 % off, which sixty ranks of one scalar would not.
"""

import pathlib
import sys

import numpy as np
import pytest
from scipy.stats import norm

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "benchmarks"))

import sbc

DRAWS = 99
SIMULATIONS = {"binary_pairs": 20, "poisson_groups": 30}


def scores(ranks, stretch):
    """Means and mean squares (over all elements) of normal scores, per data set: two arrays (simulations,).

    `stretch` > 1 are the scores that draws with sds divided by it would give.
    """
    z = stretch * np.column_stack([norm.ppf((rank + 0.5) / (DRAWS + 1)) for rank in ranks])
    return z.mean(axis=1), (z**2).mean(axis=1)


def standardized(values, expected):
    """Distance of the mean of independent values from what it should be, in standard errors."""
    return abs(values.mean() - expected) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("name", SIMULATIONS)
def test_ranks_are_uniform(name):
    found = sbc.ranks(sbc.MODELS[name], SIMULATIONS[name], DRAWS, seed=20261124)
    effects = found.pop("u")
    # mean square of normal scores of ranks 0..99, which cut the tails
    expected = float(np.mean(norm.ppf((np.arange(DRAWS + 1) + 0.5) / (DRAWS + 1)) ** 2))
    for ranks in ([effects], list(found.values())):
        mean, square = scores(ranks, 1.0)
        # four standard errors of independent data sets
        assert standardized(mean, 0.0) < 4
        assert standardized(square, expected) < 4
    _, square = scores([effects], 1 / 0.6)
    assert standardized(square, expected) > 4, "draws with sds of 0.6 would go unnoticed"
