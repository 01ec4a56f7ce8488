"""`pymc_inla.compare_mcmc`: INLA beside MCMC, honest about the Monte Carlo error of the latter."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from xarray import DataArray, DataTree

from pymc_inla.errors import InvalidOptionError, ReliabilityWarning
from pymc_inla.options import chosen_names
from pymc_inla.output.density import GridDensity
from pymc_inla.output.groups import has_variable, require_posterior
from pymc_inla.output.marginal import DETERMINISTIC
from pymc_inla.output.marginals import STATISTICS
from pymc_inla.output.summary import GROUPS, element_labels

KOLMOGOROV_1_PERCENT = 1.63
"""1 % point of the Kolmogorov distribution: the distance of n exact draws exceeds 1.63 / sqrt(n) once in a hundred."""
TOLERANCE = 0.03
"""Kolmogorov distance above Monte Carlo error that is called a difference."""
CONSTANT = 1e-8
"""Relative spread of what is constant but for rounding"""
LEAST_ESS = 400
GREATEST_RHAT = 1.01
"""Vehtari, Gelman, Simpson, Carpenter, Buerkner (2021), Rank-normalization, folding, and localization: an improved
R-hat: the thresholds below which MCMC draws are no reference."""


def compare_mcmc(idata_inla: DataTree, idata_mcmc: DataTree, var_names=None) -> pd.DataFrame:
    """Compare every scalar of two posteriors.

    Parameters
    ----------
    idata_inla : DataTree
        Result of :func:`pymc_inla.fit`. Its deterministic marginals are used where they exist, its draws elsewhere.
    idata_mcmc : DataTree
        Result of `pm.sample` for the same model.
    var_names : str or sequence of str, optional
        Variables; those that both posteriors have by default.

    Returns
    -------
    pandas.DataFrame
        Per scalar: mean and sd of both; `diff_sd`, the difference of the means in posterior sd; `diff_mcse`, the same
        in Monte Carlo standard errors; `sd_ratio`; `kolmogorov`, the largest difference of the distribution functions;
        `noise`, the distance that Monte Carlo error alone explains at the 1 % level; `ess` and `rhat` of MCMC; `flag`:
        empty, "differs" when the distance exceeds the noise by more than 0.03, or "mcmc" when the MCMC draws are no
        reference (fewer than 400 effective draws or R-hat above 1.01).

    Warns
    -----
    ReliabilityWarning
        Some MCMC draws are no reference.
    """
    names = common_names(idata_inla, idata_mcmc, var_names)
    parts = [compare_variable(name, idata_inla, idata_mcmc["posterior"][name]) for name in names]
    table = pd.concat(parts)
    doubtful = int((table["flag"] == "mcmc").sum())
    if doubtful:
        warnings.warn(
            f"MCMC is no reference for {doubtful} of {len(table)} scalars (fewer than {LEAST_ESS} effective draws or "
            f"R-hat above {GREATEST_RHAT}): sample longer or reparametrize before drawing conclusions about INLA.",
            ReliabilityWarning,
            stacklevel=2,
        )
    return table


def common_names(idata_inla: DataTree, idata_mcmc: DataTree, var_names) -> list[str]:
    """Names to compare, in the order of the INLA posterior."""
    require_posterior(idata_inla, "idata_inla")
    require_posterior(idata_mcmc, "idata_mcmc")
    first, second = (tree["posterior"].data_vars for tree in (idata_inla, idata_mcmc))
    names = [str(name) for name in first if name in second]
    return chosen_names(var_names, names, "{name} is not in both posteriors.", "Both have")


def compare_variable(name: str, idata_inla: DataTree, mcmc: DataArray) -> pd.DataFrame:
    """Rows of one variable."""
    from arviz_stats.base import array_stats

    inla = idata_inla["posterior"][name]
    own = [d for d in inla.dims if d not in ("chain", "draw")]
    if [mcmc.sizes.get(d) for d in own] != [inla.sizes[d] for d in own]:
        raise InvalidOptionError(f"{name} has different shapes in the two posteriors: was the model the same?")
    a = np.asarray(inla.transpose("chain", "draw", *own).values, float).reshape(-1, int(np.prod(inla.shape[2:])))
    b = np.asarray(mcmc.transpose("chain", "draw", *own).values, float)
    b = b.reshape(*b.shape[:2], -1)
    labels = element_labels(name, inla, own)
    densities, moments = deterministic_parts(name, idata_inla)
    table = []
    for j in range(a.shape[1]):
        draws = np.ascontiguousarray(b[:, :, j])
        ess = float(array_stats.ess(draws, chain_axis=0, draw_axis=1))
        rhat = float(array_stats.rhat(draws, chain_axis=0, draw_axis=1)) if len(draws) > 1 else np.nan
        mcse = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean"))
        mean, sd = (a[:, j].mean(), a[:, j].std(ddof=1)) if moments is None else moments[j]
        spread, difference = draws.std(ddof=1), mean - draws.mean()
        distance = kolmogorov(a[:, j] if densities is None else GridDensity(*densities[j]), draws.ravel())
        if max(sd, spread) <= CONSTANT * abs(draws.mean()) and abs(difference) <= CONSTANT * abs(draws.mean()):
            # the diagonal of a correlation matrix: equal but for rounding, and without effective draws
            distance, difference, spread, ess, rhat = 0.0, 0.0, 0.0, float(draws.size), np.nan
        noise = KOLMOGOROV_1_PERCENT * (ess**-0.5 + (0.0 if densities is not None else len(a) ** -0.5))
        reference = ess >= LEAST_ESS and not rhat > GREATEST_RHAT
        flag = "mcmc" if not reference else "differs" if distance > noise + TOLERANCE else ""
        table.append(
            {
                "mean_inla": mean,
                "mean_mcmc": draws.mean(),
                "sd_inla": sd,
                "sd_mcmc": spread,
                "diff_sd": difference / spread if spread > 0 else 0.0,
                "diff_mcse": difference / mcse if mcse > 0 else 0.0,
                "sd_ratio": sd / spread if spread > 0 else np.nan,
                "kolmogorov": distance,
                "noise": noise,
                "ess": ess,
                "rhat": rhat,
                "flag": flag,
            }
        )
    return pd.DataFrame(table, index=labels)


def deterministic_parts(name: str, idata: DataTree):
    """Densities (m, 2, G) and (mean, sd) (m, 2) of the deterministic marginals; None where there are none."""
    densities = moments = None
    for group in DETERMINISTIC:
        if has_variable(idata, group, name):
            pair = idata[group][name].values
            densities = pair.reshape(-1, *pair.shape[-2:])
    for group in GROUPS:
        if has_variable(idata, group, name):
            moments = idata[group][name].values.reshape(-1, len(STATISTICS))[:, :2]
    return densities, moments


def kolmogorov(first: GridDensity | np.ndarray, draws: np.ndarray) -> float:
    """Largest difference between a distribution function and the empirical one of `draws`."""
    x = np.sort(draws)
    n = len(x)
    if isinstance(first, GridDensity):
        F = first.cdf(x)
        return float(max(np.max(np.arange(1, n + 1) / n - F), np.max(F - np.arange(n) / n)))
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, draws, method="asymp").statistic)
