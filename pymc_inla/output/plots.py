"""`pymc_inla.plot_comparison`: two posteriors of one model in one figure, drawn by any backend of arviz-plots."""

from __future__ import annotations

import numpy as np
from xarray import Dataset, DataTree

from pymc_inla.options import check_choice
from pymc_inla.output.compare import common_names

KINDS = ("marginals", "forest", "quantiles")
COLUMNS = 3


def plot_comparison(
    idata_inla: DataTree, idata_mcmc: DataTree, *, var_names=None, kind="marginals", backend=None, **kwargs
):
    """Overlay INLA and MCMC.

    Parameters
    ----------
    idata_inla, idata_mcmc : DataTree
        Results of :func:`pymc_inla.fit` and of `pm.sample`.
    var_names : str or sequence of str, optional
        Variables; those that both posteriors have by default.
    kind : {"marginals", "forest", "quantiles"}
        Densities, intervals, or the 1, 2, ..., 99 % quantiles of one against the other, in posterior standard
        deviations: points on the diagonal mean agreement.
    backend : str, optional
        Backend of arviz-plots.
    **kwargs
        Passed to the function of arviz-plots.

    Returns
    -------
    arviz_plots.PlotCollection
    """
    import arviz_plots

    check_choice("kind", kind, KINDS)
    names = common_names(idata_inla, idata_mcmc, var_names)
    if kind != "forest":
        posterior = idata_inla["posterior"]
        panels = sum(int(np.prod(posterior[name].shape[2:], dtype=int)) for name in names)
        kwargs = {**panel_grid(panels, COLUMNS, backend), **kwargs}
    if kind == "quantiles":
        return plot_quantiles(idata_inla, idata_mcmc, names, backend, **kwargs)
    both = equal_sizes({"INLA": idata_inla, "MCMC": idata_mcmc}, names)
    if kind == "marginals":
        collection = arviz_plots.plot_dist(
            both, var_names=names, backend=backend, visuals={"point_estimate_text": False}, **kwargs
        )
    else:
        collection = arviz_plots.plot_forest(both, var_names=names, backend=backend, combined=True, **kwargs)
    collection.add_legend("model")
    return collection


def panel_grid(panels: int, columns: int, backend: str | None) -> dict:
    """Columns, figure size and (matplotlib) the layout in which titles and labels of neighbors do not touch."""
    from arviz_base import rcParams

    columns = min(columns, panels)
    height = 0.6 + 2.4 * -(-panels // columns)
    figure = {"figsize": (3.2 * columns, height), "figsize_units": "inches"}
    if (backend or rcParams["plot.backend"]) == "matplotlib":
        figure["layout"] = "constrained"
    return {"col_wrap": columns, "figure_kwargs": figure}


def equal_sizes(trees: dict[str, DataTree], names: list[str]) -> dict[str, DataTree]:
    """Posteriors of one chain and equally many draws: ArviZ drops models whose sample sizes differ.

    The longer one is thinned evenly.
    """
    sizes = {key: tree["posterior"].sizes["chain"] * tree["posterior"].sizes["draw"] for key, tree in trees.items()}
    n = min(sizes.values())
    return {
        key: DataTree.from_dict({"/posterior": flatten(tree, names, np.linspace(0, sizes[key] - 1, n).astype(int))})
        for key, tree in trees.items()
    }


def flatten(tree: DataTree, names: list[str], kept: np.ndarray) -> Dataset:
    """The draws `kept` of all chains as one chain."""
    posterior = tree["posterior"].to_dataset()[names]
    variables = {}
    for name in names:
        own = [d for d in posterior[name].dims if d not in ("chain", "draw")]
        array = posterior[name].transpose("chain", "draw", *own)
        values = array.values.reshape(-1, *array.shape[2:])[kept]
        variables[name] = (("chain", "draw", *own), values[None])
    coords = {d: posterior[d] for d in posterior.coords if d not in ("chain", "draw")}
    return Dataset(variables, coords={"chain": [0], "draw": np.arange(len(kept)), **coords})


def plot_quantiles(idata_inla: DataTree, idata_mcmc: DataTree, names: list[str], backend, **kwargs):
    """Quantiles of INLA against those of MCMC, both less the MCMC mean and over its standard deviation."""
    import arviz_plots
    from arviz_base.labels import BaseLabeller

    probabilities = np.arange(1, 100) / 100
    quantiles = []
    mcmc = idata_mcmc["posterior"].to_dataset()[names]
    mean, sd = mcmc.mean(("chain", "draw")), mcmc.std(("chain", "draw"))
    for tree in (idata_inla, idata_mcmc):
        draws = tree["posterior"].to_dataset()[names]
        quantiles.append((draws.quantile(probabilities, dim=("chain", "draw")) - mean) / sd)
    x, y = quantiles
    collection = arviz_plots.PlotCollection.wrap(x, cols=["__variable__"], backend=backend, **kwargs)
    collection.map(arviz_plots.visuals.scatter_xy, "quantiles", x=x, y=y)
    collection.map(arviz_plots.visuals.line_xy, "diagonal", x=y, y=y, color="gray")
    visuals, labeller = arviz_plots.visuals, BaseLabeller()
    collection.facet_map(visuals.labelled_title, "title", labeller=labeller, subset_info=True, ignore_aes="all")
    collection.facet_map(visuals.labelled_x, "xlabel", text="INLA", ignore_aes="all")
    collection.facet_map(visuals.labelled_y, "ylabel", text="MCMC", ignore_aes="all")
    return collection
