"""Regenerate nuts.json: long NUTS runs of the models in `zoo.REFERENCE`, kept as quantiles.

Run from the repository: `python tests/references/make_nuts.py [model ...]`. Every scalar is stored with its 99
percentiles, mean, sd and bulk effective sample size.
"""

import json
import pathlib
import sys

import arviz as az
import numpy as np
import pymc as pm

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import zoo  # noqa: E402

PERCENT = np.arange(1, 100) / 100


def main(names):
    path = HERE / "nuts.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    for name in names or [name for name in zoo.REFERENCE if name not in stored]:
        build, variables = zoo.REFERENCE[name]
        model = zoo.SAMPLED_AS.get(name, build)()
        with model:
            idata = pm.sample(
                draws=4000, tune=1500, chains=4, cores=1, random_seed=20261123, target_accept=0.95, progressbar=False
            )
        posterior = idata.posterior
        variables = variables or [rv.name for rv in model.free_RVs]
        summary = {}
        for variable in variables:
            values = posterior[variable].values.reshape(4, 4000, -1)
            for k in range(values.shape[-1]):
                draws = values[..., k]
                summary[f"{variable}[{k}]"] = {
                    "quantiles": [float(f"{q:.6g}") for q in np.quantile(draws, PERCENT)],
                    "mean": float(f"{draws.mean():.6g}"),
                    "sd": float(f"{draws.std():.6g}"),
                    "ess": float(f"{az.ess(draws):.4g}"),
                    "rhat": float(f"{az.rhat(draws):.5g}"),
                }
        divergences = int(idata.sample_stats.diverging.sum())
        stored[name] = {"divergences": divergences, "pymc": pm.__version__, "scalars": summary}
        path.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        worst = min(s["ess"] for s in summary.values()), max(s["rhat"] for s in summary.values())
        print(name, "divergences", divergences, "min ess, max rhat", worst, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
