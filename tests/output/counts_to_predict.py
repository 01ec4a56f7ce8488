"""Counts in groups, and three questions about rows that were not observed, asked through PyMC's own functions.

`python tests/output/counts_to_predict.py` answers them with NUTS and writes tests/references/prediction.json.
"""

import json
import pathlib

import numpy as np
import pymc as pm

REFERENCE = pathlib.Path(__file__).parent.parent / "references" / "prediction.json"
LEVELS = [f"s{k}" for k in range(12)]
rng = np.random.default_rng(20261124)
SCHOOL = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
X = rng.normal(size=len(SCHOOL))
Y = rng.poisson(np.exp(0.6 + 0.4 * X + rng.normal(0, 0.7, 12)[SCHOOL]))


def build():
    """Poisson counts with a slope and one effect per school."""
    with pm.Model(coords={"school": LEVELS}) as model:
        x, school = pm.Data("x", X), pm.Data("school_index", SCHOOL)
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
        u = pm.Normal("u", 0, pm.HalfNormal("sigma", 1), dims="school")
        pm.Poisson("y", pm.math.exp(a + b * x + u[school]), observed=Y, shape=x.shape)
    return model


def predict(model, idata):
    """{question: draws (n, rows)} for rows of known schools, of new schools, and of a typical school (effect zero)."""
    quiet = {"predictions": True, "random_seed": 3, "progressbar": False}
    answers = {}
    with model:
        pm.set_data({"x": np.array([-1.0, 0.0, 1.5]), "school_index": np.array([0, 11, 5])})
        answers["known"] = pm.sample_posterior_predictive(idata, **quiet).predictions["y"]
        pm.set_data({"x": np.array([0.0, 1.0]), "school_index": np.array([0, 1])})
        typical = pm.do(model, {"u": np.zeros(12)})
        answers["typical"] = pm.sample_posterior_predictive(idata, model=typical, var_names=["y"], **quiet).predictions[
            "y"
        ]
        model.set_dim("school", 2, coord_values=["new A", "new B"])
        new = pm.sample_posterior_predictive(idata, sample_vars=["u"], var_names=["y"], **quiet)
        answers["new"] = new.predictions["y"]
    return {question: draws.values.reshape(-1, draws.shape[-1]) for question, draws in answers.items()}


def main():
    """Frequencies of 0, 1, ..., from 40 000 draws of NUTS."""
    model = build()
    with model:
        idata = pm.sample(
            draws=10_000, tune=2000, chains=4, cores=1, random_seed=20261124, target_accept=0.95, progressbar=False
        )
    answers = {
        question: [np.bincount(column.astype(int), minlength=1).tolist() for column in draws.T]
        for question, draws in predict(model, idata).items()
    }
    REFERENCE.write_text(json.dumps({"pymc": pm.__version__, "frequencies": answers}) + "\n")


if __name__ == "__main__":
    main()
