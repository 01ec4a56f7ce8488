"""Models of `exact_models` against their exact marginals: Kolmogorov distance of every scalar at 20 000 draws.

Tolerance: 0.03 (issue of right answers where Laplace is wrong), plus the Monte Carlo error of both sides, 1.63/sqrt(n)
for n effective draws (the 1 % point of the Kolmogorov distribution).
"""

import json
import pathlib

import exact
import exact_models
import numpy as np
import pytest

import pymc_inla as pmi

REFERENCES = json.loads((pathlib.Path(__file__).parent / "references" / "exact.json").read_text())
DRAWS = 20_000
TOLERANCE = 0.03


def distances(idata, scalars):
    """Kolmogorov distance of the draws of every scalar."""
    found = {}
    for key, reference in scalars.items():
        name, _, index = key.rstrip("]").partition("[")
        draws = idata.posterior[name].values.reshape(DRAWS, -1)[:, int(index or 0)]
        found[key] = exact.kolmogorov_distance(draws, np.array(reference["quantiles"]))
    return found


def fit(name, **options):
    return pmi.fit(
        exact_models.build(exact_models.CASES[name]()),
        draws=DRAWS,
        chains=1,
        random_seed=1,
        progressbar=False,
        criteria=False,
        **options,
    )


@pytest.mark.parametrize("name", exact_models.FAST)
def test_draws_follow_the_exact_posterior(name):
    reference = REFERENCES[name]
    found = distances(fit(name), reference["scalars"])
    noise = 1.63 / np.sqrt(DRAWS) + 1.63 / np.sqrt(reference["ess"])
    worst = max(found, key=found.get)
    assert found[worst] < TOLERANCE + noise, f"{worst}: Kolmogorov distance {found[worst]:.3f}"
