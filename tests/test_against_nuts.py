"""Every model of the zoos against a long NUTS run on the same data: Kolmogorov distance of every scalar marginal.

Tolerance: 0.03 for the approximation, plus the Monte Carlo error of both sides, 1.63/sqrt(n) for n effective draws
(the 1 % point of the Kolmogorov distribution). NUTS with fewer than 400 effective draws is no reference.
"""

import json
import pathlib

import numpy as np
import pytest
import zoo
import zoo_real
import zoo_responses

import pymc_inla as pmi

HERE = pathlib.Path(__file__).parent / "references"
REFERENCES = json.loads((HERE / "nuts.json").read_text()) | json.loads((HERE / "nuts_more.json").read_text())
MODELS = zoo.REFERENCE | zoo_real.REAL | zoo_responses.RESPONSES
PERCENT = {99: np.arange(1, 100) / 100, 19: np.arange(1, 20) / 20}
APPROXIMATION = 0.03


def kolmogorov_distances(posterior, scalars):
    """Distance of each scalar's draws to the NUTS percentiles, less the Monte Carlo error of both."""
    excess = {}
    for key, reference in scalars.items():
        variable, index = key[:-1].rsplit("[", 1)
        draws = posterior[variable].values
        draws = np.sort(draws.reshape(draws.shape[0] * draws.shape[1], -1)[:, int(index)])
        cdf = np.searchsorted(draws, reference["quantiles"], side="right") / len(draws)
        noise = 1.63 / np.sqrt(len(draws)) + 1.63 / np.sqrt(reference["ess"])
        excess[key] = np.max(np.abs(cdf - PERCENT[len(cdf)])) - noise
    return excess


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:Data in .* contains missing values")
@pytest.mark.filterwarnings("ignore:For backward compatibility, 'str' dtypes")  # formulae, which Bambi uses
@pytest.mark.filterwarnings("ignore::pymc_inla.errors.ReliabilityWarning")  # the verdict has tests of its own
def test_marginals_agree_with_nuts(name):
    build, _ = MODELS[name]
    scalars = REFERENCES[name]["scalars"]
    assert min(s["ess"] for s in scalars.values()) > 400, "the reference run is too short"
    idata = pmi.fit(build(), draws=5000, chains=2, random_seed=1, progressbar=False)
    excess = kolmogorov_distances(idata.posterior, scalars)
    worst = max(excess, key=excess.get)
    assert excess[worst] < APPROXIMATION, f"{worst}: Kolmogorov distance {excess[worst]:.3f} above Monte Carlo error"
