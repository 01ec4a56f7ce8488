"""The demonstration: one model of real data, fitted by INLA and by NUTS, side by side.

Logistic regression with a random effect of the plate, seeds data of Crowder (1978): see datasets/README.md.
"""

from __future__ import annotations

import time
import warnings

import pymc as pm

from pymc_inla.datasets import load
from pymc_inla.fit import fit
from pymc_inla.output.compare import compare_mcmc
from pymc_inla.output.explain import explain
from pymc_inla.output.plots import plot_comparison
from pymc_inla.output.summary import summary
from pymc_inla.output.verdict import reliability


def seeds_model() -> pm.Model:
    """Germination by seed type, root extract and their interaction, with an effect of each plate."""
    data = load("seeds")
    cucumber = (data["extract"] == "CUCUMBER").to_numpy(float)
    o73 = (data["seed"] == "O73").to_numpy(float)
    with pm.Model(coords={"plate": data["plate"].to_numpy()}) as model:
        intercept = pm.Normal("intercept", 0, 10)
        b_seed = pm.Normal("b_seed", 0, 10)
        b_extract = pm.Normal("b_extract", 0, 10)
        b_interaction = pm.Normal("b_interaction", 0, 10)
        sigma = pm.Exponential("sigma", 4.6)
        u = pm.Normal("u", 0, sigma, dims="plate")
        eta = intercept + b_seed * o73 + b_extract * cucumber + b_interaction * o73 * cucumber + u
        pm.Binomial("germinated", data["seeds"].to_numpy(), logit_p=eta, observed=data["germinated"], dims="plate")
    return model


def run_demo(figure: str = "demo.png") -> None:
    """Explain, fit, summarize, compare with NUTS, draw.

    Parameters
    ----------
    figure : str
        File of the figure.
    """
    from rich.console import Console

    console = Console(width=120)
    model = seeds_model()
    console.rule("What was recognized")
    explain(model)

    console.rule("INLA")
    clock = time.perf_counter()
    inla = fit(model, draws=4000, chains=2, random_seed=1)
    inla_seconds = time.perf_counter() - clock
    names = ["intercept", "b_seed", "b_extract", "b_interaction", "sigma"]
    console.print(summary(inla, names).round(3).to_string())
    console.print(summary(inla, kind="criteria").round(3).to_string())
    console.print(str(reliability(inla)))

    console.rule("NUTS, the same model")
    clock = time.perf_counter()
    with model, warnings.catch_warnings():
        # sigma near zero makes NUTS diverge now and then; compare_mcmc says whether its draws are a reference
        warnings.simplefilter("ignore")
        nuts = pm.sample(draws=4000, tune=2000, chains=2, target_accept=0.99, random_seed=1, progressbar=False)
    nuts_seconds = time.perf_counter() - clock
    columns = ["mean_inla", "mean_mcmc", "sd_inla", "sd_mcmc", "kolmogorov", "flag"]
    console.print(compare_mcmc(inla, nuts, names)[columns].round(3).to_string())
    console.print(f"INLA took {inla_seconds:.1f} s, NUTS {nuts_seconds:.1f} s.")

    plots = plot_comparison(inla, nuts, var_names=names)
    plots.savefig(figure)
    console.print(f"Both posteriors are drawn in {figure}.")
