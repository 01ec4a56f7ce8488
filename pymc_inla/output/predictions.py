"""Missing responses: NaN in observed data become variables that are predicted after the fit."""

from __future__ import annotations

import logging

import numpy as np
import pytensor
from pytensor.graph.replace import graph_replace
from xarray import DataArray, Dataset, DataTree

from pymc_inla.analysis.interpreter import interpreter
from pymc_inla.lgm import LatentGaussianModel

INTERPRETED = interpreter()
"""Evaluated a few thousand times only: interpreting the graph beats compiling it."""


def predict_missing(idata: DataTree, lgm: LatentGaussianModel, names: tuple[str, ...], random_seed: int) -> DataTree:
    """Draw missing responses, and the deterministics that depend on them, from their posterior predictive.

    PyMC samples such responses jointly with the parameters. Given the parameters they are independent of everything
    observed, so drawing them afterwards gives the same distribution.

    Parameters
    ----------
    idata : DataTree
        with the posterior of everything else
    lgm : LatentGaussianModel
    names : tuple of str
        Variables of the posterior group; those that it lacks are drawn.
    random_seed : int

    Returns
    -------
    DataTree
        The same tree, its posterior group complete and in the order of `names`.
    """
    from pymc.sampling.forward import sample_posterior_predictive

    posterior = idata["posterior"].to_dataset()
    deterministic = {v.name for v in lgm.model.deterministics}
    wanted = [name for name in names if name not in posterior]
    drawn = sorted({*lgm.predicted, *wanted} - deterministic - set(posterior.data_vars))
    log = logging.getLogger("pymc.sampling.forward")
    level = log.level
    log.setLevel(logging.WARNING)  # what is sampled here is a detail of the fit, not news
    try:
        predicted = sample_posterior_predictive(
            idata,
            model=lgm.model,
            var_names=drawn,
            random_seed=np.random.default_rng(random_seed),
            progressbar=False,
            compile_kwargs={"mode": INTERPRETED},
        )["posterior_predictive"].to_dataset()
    finally:
        log.setLevel(level)
    complete = posterior.assign({name: predicted[name] for name in drawn})
    complete = complete.assign(evaluate_deterministics(complete, lgm, [n for n in wanted if n in deterministic]))
    order = [name for name in names if name in complete]
    others = [name for name in posterior.data_vars if name not in order]
    idata["posterior"] = DataTree(complete[order + others])
    return idata


def evaluate_deterministics(posterior: Dataset, lgm: LatentGaussianModel, names: list[str]) -> dict[str, DataArray]:
    """Deterministics of a model for every draw of its free variables, with the observed responses as they are.

    (`pymc.compute_deterministics` would draw observed responses anew.)
    """
    if not names:
        return {}
    model = lgm.model
    inputs = {rv: rv.type() for rv in model.free_RVs if rv.name in posterior}
    observed = {rv: model.rvs_to_values[rv].astype(rv.dtype) for rv in model.observed_RVs}
    graphs = graph_replace([model[name] for name in names], {**observed, **inputs}, strict=False)
    function = pytensor.function(list(inputs.values()), graphs, mode=INTERPRETED, on_unused_input="ignore")
    own = [posterior[rv.name].transpose("chain", "draw", ...).values for rv in inputs]
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    rows = [function(*(values[c, d] for values in own)) for c in range(chains) for d in range(draws)]
    dims = model.named_vars_to_dims
    arrays = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        stacked = np.stack(values).reshape(chains, draws, *np.shape(values[0]))
        axes = list(dims.get(name, ())) or [f"{name}_dim_{i}" for i in range(stacked.ndim - 2)]
        coords = {a: list(model.coords[a]) for a in axes if model.coords.get(a) is not None}
        arrays[name] = DataArray(stacked, dims=["chain", "draw", *axes], coords=coords)
    return arrays
