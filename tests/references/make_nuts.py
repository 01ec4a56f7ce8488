"""Regenerate nuts.json and nuts_more.json: NUTS runs of the models of the zoos, kept as quantiles.

Run from the repository: `python tests/references/make_nuts.py [model ...]`. Every scalar is stored with its mean, sd,
bulk effective sample size and percentiles: 99 of them after long runs of the models in `zoo.REFERENCE`, 19 after
shorter runs of those in `zoo_real` and `zoo_responses`.
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
import zoo_real  # noqa: E402
import zoo_responses  # noqa: E402

PERCENT = np.arange(1, 100) / 100
FILES = [
    ("nuts.json", zoo.REFERENCE, 4000, PERCENT),
    ("nuts_more.json", zoo_real.REAL | zoo_responses.RESPONSES, 2000, PERCENT[4::5]),
]


def main(names, file, models, draws, percent):
    path = HERE / file
    stored = json.loads(path.read_text()) if path.exists() else {}
    for name in [name for name in names if name in models] or [n for n in models if n not in stored and not names]:
        build, variables = models[name]
        model = (zoo.SAMPLED_AS | zoo_real.SAMPLED_AS).get(name, build)()
        with model:
            idata = pm.sample(
                draws=draws,
                tune=1500,
                chains=4,
                cores=1,
                random_seed=20261123,
                target_accept=0.95,
                progressbar=False,
                var_names=[v.name for v in model.free_RVs] if variables is None else variables,
            )
        posterior = idata.posterior
        variables = variables or [rv.name for rv in model.free_RVs]
        summary = {}
        for variable in variables:
            values = posterior[variable].values.reshape(4, draws, -1)
            for k in range(values.shape[-1]):
                one = values[..., k]
                summary[f"{variable}[{k}]"] = {
                    "quantiles": [float(f"{q:.6g}") for q in np.quantile(one, percent)],
                    "mean": float(f"{one.mean():.6g}"),
                    "sd": float(f"{one.std():.6g}"),
                    "ess": float(f"{az.ess(one):.4g}"),
                    "rhat": float(f"{az.rhat(one):.5g}"),
                }
        divergences = int(idata.sample_stats.diverging.sum())
        stored[name] = {"divergences": divergences, "pymc": pm.__version__, "scalars": summary}
        path.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        worst = min(s["ess"] for s in summary.values()), max(s["rhat"] for s in summary.values())
        print(name, "divergences", divergences, "min ess, max rhat", worst, flush=True)


if __name__ == "__main__":
    for file in FILES:
        main(sys.argv[1:], *file)
