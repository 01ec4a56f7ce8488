"""Draw docs/_static/where_laplace_fails.png: sigma of groups of binary data, exact, by Laplace and by default.

python benchmarks/where_laplace_fails.py
"""

import json
import pathlib
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import exact  # noqa: E402
import exact_models  # noqa: E402

CASES = {
    "binary_pairs_sigma_1": "80 pairs, sigma 1",
    "binary_pairs_sigma_3": "80 pairs, sigma 3",
    "binary_triples_sigma_3": "60 triples, sigma 3",
}


def main():
    warnings.simplefilter("ignore", ReliabilityWarning)
    references = json.loads((ROOT / "tests" / "references" / "exact.json").read_text())
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for axis, (name, title) in zip(axes, CASES.items(), strict=True):
        quantiles = references[name]["scalars"]["sigma"]["quantiles"]
        axis.plot(quantiles, exact.PROBABILITIES, color="0.75", linewidth=6, label="exact")
        for strategy, color in (("laplace", "C3"), ("auto", "C0")):
            idata = pmi.fit(
                exact_models.build(exact_models.CASES[name]()),
                strategy=strategy,
                draws=4000,
                chains=1,
                random_seed=1,
                criteria=False,
                progressbar=False,
            )
            draws = np.sort(idata.posterior["sigma"].values.ravel())
            label = f"{strategy}: {pmi.reliability(idata).verdict}"
            axis.plot(draws, (np.arange(len(draws)) + 0.5) / len(draws), color=color, label=label)
        axis.set(title=title, xlabel="sigma", ylabel="P(sigma < x | y)", xlim=(0, quantiles[-1]))
        axis.legend(frameon=False, loc="lower right")
    figure.savefig(ROOT / "docs" / "_static" / "where_laplace_fails.png", dpi=110)


if __name__ == "__main__":
    main()
