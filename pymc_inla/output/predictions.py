"""Missing responses: NaN in observed data become variables that are predicted after the fit."""

from __future__ import annotations

import numpy as np
from pytensor.compile.mode import Mode
from xarray import DataTree

from pymc_inla.lgm import LatentGaussianModel


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
    wanted = [name for name in names if name not in posterior]
    predicted = sample_posterior_predictive(
        idata,
        model=lgm.model,
        var_names=wanted,
        random_seed=np.random.default_rng(random_seed),
        progressbar=False,
        # evaluated a few thousand times: interpreting the graph beats compiling it
        compile_kwargs={"mode": Mode(linker="py", optimizer="fast_compile")},
    )["posterior_predictive"].to_dataset()
    posterior = posterior.assign({name: predicted[name] for name in wanted})
    order = [name for name in names if name in posterior]
    others = [name for name in posterior.data_vars if name not in order]
    idata["posterior"] = DataTree(posterior[order + others])
    return idata
