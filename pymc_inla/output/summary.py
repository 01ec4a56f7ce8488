"""`pymc_inla.summary`: a table of the posterior from the deterministic marginals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from xarray import DataArray, DataTree

from pymc_inla.options import check_choice, chosen_names
from pymc_inla.output.groups import has_group, require_posterior
from pymc_inla.output.marginals import STATISTICS, draw_statistics

KINDS = ("all", "latent", "hyperparameter", "criteria")
GROUPS = {
    "inla/latent_marginals": "latent",
    "inla/hyperparameter_marginals": "hyperparameter",
    "inla/derived_marginals": "hyperparameter",
}
COLUMNS = ("mean", "sd", *STATISTICS[3:], "mode")


def summary(idata: DataTree, var_names=None, kind: str = "all") -> pd.DataFrame:
    """Mean, sd, quantiles and mode of every scalar.

    Parameters
    ----------
    idata : DataTree
        Result of :func:`pymc_inla.fit`.
    var_names : str or sequence of str, optional
        Variables of the posterior. By default the latent variables, the hyperparameters, and the scalars that are
        functions of one hyperparameter (a precision that is computed from a standard deviation).
    kind : {"all", "latent", "hyperparameter", "criteria"}
        Which variables, or the model criteria.

    Returns
    -------
    pandas.DataFrame
        One row per scalar, labeled as ArviZ does (`u[3]`), with the columns mean, sd, q2.5, q25, q50, q75, q97.5, mode,
        and `source`: "marginal" for deterministic marginals, "draws" for what comes from the posterior draws: other
        deterministic variables of the model, and elements of a hyperparameter that depend on several unconstrained ones
        (of a simplex, of a Cholesky factor, all but the first of ordered cutpoints). Mean and sd of a hyperparameter,
        or of a function of one, are NaN where they come from its farthest tails, as those of a precision that may be
        infinite, or of a scale of three groups under a flat prior: they need not exist.

    Raises
    ------
    InvalidOptionError
        A variable does not exist.
    """
    check_choice("kind", kind, KINDS)
    require_posterior(idata, "summary", deterministic=True)
    if kind == "criteria":
        return criteria_table(idata)
    groups = [group for group, k in GROUPS.items() if kind in ("all", k) and has_group(idata, group)]
    known = {str(name): idata[group][name] for group in groups for name in idata[group].data_vars}
    posterior = idata["posterior"]
    allowed = [*known, *(str(n) for n in posterior.data_vars if kind == "all" and n not in known)]
    names = chosen_names(
        known if var_names is None else var_names, allowed, f"summary: no variable {{name}} of kind {kind}."
    )
    frames = []
    for name in names:
        if name in known:
            frames.append(rows(name, known[name], known[name].dims[:-1], known[name].values, sources(known[name])))
        else:
            own = [d for d in posterior[name].dims if d not in ("chain", "draw")]
            draws = posterior[name].transpose("chain", "draw", *own).values
            frames.append(
                rows(name, posterior[name], own, draw_statistics(draws.reshape(-1, *draws.shape[2:])), ["draws"])
            )
    if not frames:
        return pd.DataFrame(columns=[*COLUMNS, "source"])
    return pd.concat(frames)


def rows(name: str, array: DataArray, own: Sequence, statistics: np.ndarray, source: list[str]) -> pd.DataFrame:
    """Rows of one variable from its statistics (*shape, len(STATISTICS)), in C order of its dimensions `own`.

    Parameters
    ----------
    source : list of str
        One for all elements, or one for each.
    """
    table = statistics.reshape(-1, len(STATISTICS))
    frame = pd.DataFrame(table, index=element_labels(name, array, own), columns=list(STATISTICS))[list(COLUMNS)]
    return frame.assign(source=np.broadcast_to(np.array(source, dtype=object), len(frame)))


def sources(stored: DataArray) -> list[str]:
    """What the statistics of a stored variable come from: one word for all elements, or one for each."""
    return stored.attrs.get("source", "marginal").split("\n")


def element_labels(name: str, array: DataArray, own: Sequence) -> list[str]:
    """`u[3]`, `chol[0, 1]`: one label per element of the dimensions `own`, in C order."""
    axes = [[str(v) for v in array[d].values] for d in own]
    return [
        name + (f"[{', '.join(axis[i] for axis, i in zip(axes, position, strict=True))}]" if own else "")
        for position in np.ndindex(*(len(axis) for axis in axes))
    ]


def criteria_table(idata: DataTree) -> pd.DataFrame:
    """Log marginal likelihood, DIC and WAIC with their effective numbers of parameters."""
    attrs = idata["inla"].attrs
    rows = {
        "log_marginal_likelihood": [attrs["log_marginal_likelihood"], attrs["log_marginal_likelihood_error"], np.nan]
    }
    if has_group(idata, "inla/criteria"):
        criteria = idata["inla/criteria"]
        for name in ("dic", "waic"):
            rows[name] = [float(criteria[name]), np.nan, float(criteria[f"{name}_p_eff"])]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "error", "p_eff"])
