"""Regenerate effects_nuts.json: NUTS runs of the models in `effects/effect_models.py`, kept as quantiles.

Run from the repository: `python tests/references/make_effects_nuts.py [model ...]`. Every scalar is stored with its 19
quantiles at 5 %, ..., 95 % and its bulk effective sample size; the run with its largest constraint residual.
"""

import json
import pathlib
import sys

import arviz as az
import numpy as np
import pymc as pm

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "effects")]

import effect_models  # noqa: E402

PERCENT = np.arange(1, 20) / 20
CHAINS, DRAWS = 4, 2000


def residual(model, u):
    """Largest violation of A u = e in any draw; zero without constraints."""
    structure = getattr(model["u"].owner.op, "structure", None)
    if structure is None or structure.k == 0:
        return 0.0
    return float(np.max(np.abs(u @ structure.A.T - structure.e)))


def main(names):
    path = HERE / "effects_nuts.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    builders = {build.__name__: build for build in effect_models.MODELS}
    for name in names or [name for name in builders if name not in stored]:
        model = builders[name]()
        with model:
            idata = pm.sample(
                draws=DRAWS, tune=1000, chains=CHAINS, cores=1, random_seed=20261123, target_accept=0.95,
                progressbar=False,
            )  # fmt: skip
        scalars = {}
        for rv in [*model.free_RVs, *model.deterministics]:
            values = idata.posterior[rv.name].values.reshape(CHAINS, DRAWS, -1)
            for k in range(values.shape[-1]):
                draws = values[..., k]
                if np.ptp(draws) > 0:
                    scalars[f"{rv.name}[{k}]"] = {
                        "quantiles": [float(f"{q:.6g}") for q in np.quantile(draws, PERCENT)],
                        "ess": float(f"{az.ess(draws):.4g}"),
                        "rhat": float(f"{az.rhat(draws):.5g}"),
                    }
        stored[name] = {
            "divergences": int(idata.sample_stats.diverging.sum()),
            "pymc": pm.__version__,
            "residual": residual(model, idata.posterior["u"].values),
            "scalars": scalars,
        }
        path.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        worst = min(s["ess"] for s in scalars.values()), max(s["rhat"] for s in scalars.values())
        print(name, stored[name]["divergences"], stored[name]["residual"], "min ess, max rhat", worst, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
