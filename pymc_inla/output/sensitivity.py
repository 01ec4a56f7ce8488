"""`pymc_inla.prior_sensitivity`: the same model under other priors of its hyperparameters.

Only log p(theta) changes from one fit to the next: the model is read and compiled once, and every fit starts at the
mode of the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pymc_inla.analysis import analyze_model
from pymc_inla.analysis.context import model_meant
from pymc_inla.compile import LogPriorTheta, compile_model, compile_outputs
from pymc_inla.errors import InvalidOptionError, ReliabilityWarning
from pymc_inla.inference import run_inference
from pymc_inla.inference.parallel import available_cores, on_cores
from pymc_inla.lgm import INLAResult, LatentGaussianModel
from pymc_inla.options import INTEGRATIONS, STRATEGIES, check_choice, check_random_seed, chosen_names, seed_sequence
from pymc_inla.output.alternative_priors import (
    check_alternative,
    exchanged,
    hyperparameter_named,
    label,
    named_alternatives,
    raised,
)
from pymc_inla.output.marginals import STATISTICS, latent_marginals, natural_marginals
from pymc_inla.output.progress import FitProgress

DECLARED = "as declared"
N_DRAWS = 1000
"""Draws: only hyperparameters without a deterministic marginal (Cholesky factors, simplexes) are summarized by them"""
MOST_ELEMENTS = 20
"""Latent variables of more elements are shown only when asked for"""
COLUMNS = ("mean", "sd", "q2.5", "q50", "q97.5")


@dataclass(frozen=True)
class PriorSensitivity:
    """Posterior summaries under several priors.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per prior and scalar, with the columns `prior`, `variable`, mean, sd, q2.5, q50, q97.5; `shift`, the
        difference of the mean from that under the declared priors, in posterior sd under those; `sd_ratio`, the
        posterior sd over that under the declared priors; `log_marginal_likelihood` (NaN where a prior was raised to a
        power: its normalizing constant is unknown); `verdict` of the fit.
    """

    table: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def largest(self) -> pd.DataFrame:
        """Per scalar: the largest absolute shift, the sd ratio farthest from 1, and the priors that cause them."""
        rows = {}
        for name, part in self.table[self.table["prior"] != DECLARED].groupby("variable", sort=False):
            shift, spread = part["shift"].abs().argmax(), np.log(part["sd_ratio"]).abs().argmax()
            rows[name] = {
                "shift": part["shift"].iloc[shift],
                "shift under": part["prior"].iloc[shift],
                "sd_ratio": part["sd_ratio"].iloc[spread],
                "sd_ratio under": part["prior"].iloc[spread],
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def _by_variable(self) -> pd.DataFrame:
        """The table for reading: the priors of one variable below each other."""
        order = {name: k for k, name in enumerate(dict.fromkeys(self.table["variable"]))}
        rows = self.table.sort_values("variable", key=lambda names: names.map(order), kind="stable")
        return rows.set_index(["variable", "prior"])

    def __repr__(self):
        return self._by_variable().to_string(float_format=lambda value: f"{value:.3f}")

    def _repr_html_(self):
        return self._by_variable().round(3).to_html()

    def plot(self, var_names=None, axes=None):
        """Mean and central 95 % interval of each scalar under each prior, one panel per scalar.

        Parameters
        ----------
        var_names : str or sequence of str, optional
            Labels of the column `variable`; all by default.
        axes : sequence of matplotlib axes, optional
            One per scalar.

        Returns
        -------
        ndarray of matplotlib axes
        """
        from matplotlib import pyplot

        known = list(dict.fromkeys(self.table["variable"]))
        names = chosen_names(var_names, known, "plot: no variable {name}.")
        priors = list(dict.fromkeys(self.table["prior"]))
        if axes is None:
            size = (2.6 * len(names) + 2.2, 0.36 * len(priors) + 1.0)
            axes = pyplot.subplots(1, len(names), figsize=size, sharey=True, squeeze=False, layout="constrained")[1][0]
        for ax, name in zip(axes, names, strict=True):
            part = self.table[self.table["variable"] == name].set_index("prior").loc[priors]
            y = np.arange(len(priors))
            ax.axvspan(part["q2.5"].iloc[0], part["q97.5"].iloc[0], color="C0", alpha=0.12, lw=0)
            ax.hlines(y, part["q2.5"], part["q97.5"], color="C0")
            ax.plot(part["mean"], y, "o", color="C0")
            ax.set_yticks(y, priors)
            ax.set_ylim(len(priors) - 0.5, -0.5)
            ax.set_xlabel(name)
        return np.asarray(axes)


def prior_sensitivity(
    model=None,
    priors=None,
    *,
    powers=(0.5, 2.0),
    var_names=None,
    strategy="auto",
    integration="auto",
    random_seed=0,
    progressbar=True,
) -> PriorSensitivity:
    """Fit a model again under other priors of its hyperparameters, one prior changed at a time.

    Parameters
    ----------
    model : pymc.Model, optional
        The model; the one of the surrounding `with` block when left out.
    priors : dict, optional
        From names of hyperparameters to other priors on the same range: distributions made with `.dist`, a list of
        them, or a dict from labels to them, `{"sigma": [pm.HalfNormal.dist(1), pm.Exponential.dist(0.1)]}`.
    powers : sequence of float
        Without `priors`: the prior of each hyperparameter is raised to each of these powers (below 1 it says less,
        above 1 it says more).
    var_names : str or sequence of str, optional
        What is summarized: latent variables and hyperparameters. By default all of at most 20 elements.
    strategy, integration : str
        As in :func:`pymc_inla.fit`.
    random_seed : int, sequence of int or numpy.random.Generator
        As in :func:`pymc_inla.fit`.
    progressbar : bool

    Returns
    -------
    PriorSensitivity
        Its `table` starts with the fit under the declared priors.

    Raises
    ------
    InvalidOptionError
        A name is not that of a hyperparameter, or an alternative is no distribution on the same range.
    UnsupportedModelError
        The model is not latent Gaussian.

    Warns
    -----
    ReliabilityWarning
        The verdict of some of the fits is not "good".

    Notes
    -----
    N. Kallioinen, T. Paananen, P.-C. Buerkner, A. Vehtari (2024), Detecting and diagnosing prior and likelihood
    sensitivity with power-scaling, Statistics and Computing 34, 57. There importance weights of one posterior stand in
    for the fits (`arviz.psense`); here every fit is done.
    """
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("integration", integration, INTEGRATIONS)
    check_random_seed(random_seed)
    lgm = analyze_model(model_meant(model))
    alternatives = alternative_log_priors(lgm, priors, powers)
    wanted = summarized_names(lgm, var_names)
    functions, outputs = compile_model(lgm), compile_outputs(lgm)
    seed = int(seed_sequence(random_seed).generate_state(1)[0])
    common = {
        "strategy": strategy,
        "integration": integration,
        "n_draws": N_DRAWS,
        "random_seed": seed,
        "criteria": False,
    }
    with FitProgress(progressbar) as progress, on_cores(available_cores()):
        declared = run_inference(functions, **common)
        parts = [summarize(lgm, outputs, declared, wanted).assign(prior=DECLARED)]
        for k, (name, (log_prior_theta, normalized)) in enumerate(alternatives.items()):
            progress(f"Fit under {name}", k / len(alternatives))
            changed = replace(functions, log_prior_theta=LogPriorTheta(lgm, log_prior_theta))
            result = run_inference(changed, theta_start=declared.theta_star, **common)
            part = summarize(lgm, outputs, result, wanted).assign(prior=name)
            parts.append(part if normalized else part.assign(log_marginal_likelihood=np.nan))
    first = parts[0]
    for part in parts:
        part["shift"] = (part["mean"] - first["mean"]) / first["sd"]
        part["sd_ratio"] = part["sd"] / first["sd"]
    table = pd.concat(parts, ignore_index=True)
    order = ["prior", "variable", *COLUMNS, "shift", "sd_ratio", "log_marginal_likelihood", "verdict"]
    warn_of_verdicts(table)
    return PriorSensitivity(table[order])


def alternative_log_priors(lgm: LatentGaussianModel, priors, powers) -> dict:
    """Label -> (log p(theta), whether its integral is known to be 1)."""
    if priors is None:
        powers = [float(power) for power in np.atleast_1d(powers)]
        if not all(np.isfinite(power) and power > 0 for power in powers):
            raise InvalidOptionError(f"powers={powers}: give positive numbers.")
        if not lgm.hyperparameters:
            raise InvalidOptionError("The model has no hyperparameters, so there is no prior to vary.")
        return {f"{h.name}: power {p:g}": (raised(lgm, h, p), False) for h in lgm.hyperparameters for p in powers}
    if not isinstance(priors, Mapping) or not priors:
        raise InvalidOptionError(
            f"priors={priors!r}: give a dict from names of hyperparameters to distributions, for example "
            "{'sigma': [pm.HalfNormal.dist(1)]}."
        )
    found = {}
    for name, given in priors.items():
        h = hyperparameter_named(lgm, name)
        for text, dist in named_alternatives(given):
            check_alternative(lgm, h, dist)
            key = f"{name} ~ {text or label(dist)}"
            if key in found:
                raise InvalidOptionError(f"priors: {key} is given twice. Give a dict from labels to distributions.")
            found[key] = exchanged(lgm, h, dist), True
    return found


def summarized_names(lgm: LatentGaussianModel, var_names) -> list[str]:
    """Names of latents and hyperparameters to summarize."""
    sizes = {v.name: v.size for v in (*lgm.latents, *lgm.hyperparameters)}
    if var_names is None:
        return [name for name, size in sizes.items() if size <= MOST_ELEMENTS]
    return chosen_names(var_names, sizes, "var_names: {name} is neither a latent variable nor a hyperparameter.")


def summarize(lgm: LatentGaussianModel, outputs, result: INLAResult, names: list[str]) -> pd.DataFrame:
    """One row per scalar of the named variables."""

    def evaluate(theta, wanted):
        return outputs(theta, np.broadcast_to(result.x_star, (len(theta), lgm.n_x)), wanted)

    hyperparameters = tuple(h.name for h in lgm.hyperparameters)
    draws = outputs(result.draws_theta, result.draws_x, hyperparameters) if hyperparameters else {}
    found = dict(latent_marginals(lgm, result.latent_marginals).statistics)
    found |= natural_marginals(lgm, result.theta_marginals, evaluate, draws).statistics
    rows = []
    for name in names:
        for position in np.ndindex(*found[name].shape[:-1]):
            values = dict(zip(STATISTICS, found[name][position], strict=True))
            text = f"{name}[{', '.join(map(str, position))}]" if position else name
            rows.append({"variable": text, **{column: values[column] for column in COLUMNS}})
    return pd.DataFrame(rows).assign(
        log_marginal_likelihood=result.log_marginal_likelihood, verdict=result.reliability.verdict
    )


def warn_of_verdicts(table: pd.DataFrame) -> None:
    """Say which fits should not be trusted."""
    doubtful = dict(zip(table["prior"], table["verdict"], strict=True))
    doubtful = [f"{prior} ({verdict})" for prior, verdict in doubtful.items() if verdict != "good"]
    if doubtful:
        warnings.warn(
            f"Some fits need a look before they are compared: {'; '.join(doubtful)}. Fit the model with these priors "
            "and read pymc_inla.reliability.",
            ReliabilityWarning,
            stacklevel=3,
        )
