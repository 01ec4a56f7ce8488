"""The result object of the dict specification: R-INLA's names over the DataTree of the fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from xarray import DataTree

from pymc_inla.errors import InvalidOptionError
from pymc_inla.formula.build import Built
from pymc_inla.formula.columns import Columns
from pymc_inla.formula.families import Family
from pymc_inla.formula.tables import (
    COLUMNS,
    HyperMarginal,
    density_frame,
    draws_table,
    frame,
    hyper_marginal,
    increasing_table,
    latent_densities,
    latent_table,
    predictor_marginals,
    scaled_table,
)
from pymc_inla.output.density import GridDensity
from pymc_inla.output.groups import has_group

CHUNK = 2_000_000
"""Numbers held at once when linear predictors are computed from draws."""


@dataclass(frozen=True)
class Result:
    """Posterior of a model given as a dict specification.

    Parameters
    ----------
    idata : DataTree
        Everything :func:`pymc_inla.fit` returns; every ArviZ function works on it.
    columns : Columns
    family : Family
    built : Built

    Notes
    -----
    All tables come from deterministic marginals, except for copies with an estimated multiplier and, in
    `summary_linear_predictor` and `summary_fitted_values`, rows with a missing response: these come from the posterior
    draws.
    """

    idata: DataTree
    columns: Columns = field(repr=False)
    family: Family = field(repr=False)
    built: Built = field(repr=False)

    @property
    def model(self):
        """The PyMC model that was fitted."""
        return self.built.model

    @cached_property
    def summary_fixed(self) -> pd.DataFrame:
        """One row per fixed effect, "(Intercept)" first."""
        parts = [latent_table(self.idata, name) for name, _ in self._fixed_variables]
        labels = [label for _, names in self._fixed_variables for label in names]
        return frame(np.concatenate(parts) if parts else [], labels)

    @cached_property
    def summary_random(self) -> dict[str, pd.DataFrame]:
        """Per random effect one row per level, within groups, within replicates."""
        tables = {}
        for effect in self.columns.effects:
            name, source = effect.spec.id, effect.spec.copy
            if source is None:
                table = latent_table(self.idata, name)
            elif name in self.built.betas:
                table = scaled_table(latent_table(self.idata, source), self.built.betas[name])
            else:
                beta = self._draws(f"{name}_beta")
                table = draws_table(beta * self._draws(source))
            origin = effect if source is None else self._effect(source)
            ids = list(origin.labels) * (effect.nrep * effect.ngroup)
            found = frame(table, range(len(table)))
            found.insert(0, "ID", ids)
            tables[name] = found
        return tables

    @cached_property
    def hyperpar(self) -> dict[str, HyperMarginal]:
        """Posterior of every hyperparameter by its row label."""
        return {h.label: hyper_marginal(self.idata, h) for h in self.built.hyperparameters}

    @cached_property
    def summary_hyperpar(self) -> pd.DataFrame:
        """One row per hyperparameter. A mean or sd that does not exist is NaN; `attrs["notes"]` says why."""
        table = frame([h.row for h in self.hyperpar.values()], list(self.hyperpar))
        table.attrs["notes"] = [h.note for h in self.hyperpar.values() if h.note]
        return table

    @cached_property
    def marginals_fixed(self) -> dict[str, pd.DataFrame]:
        """Density of each fixed effect: columns x and y. Empty where a model is too large for densities to be kept."""
        marginals = {}
        for name, labels in self._fixed_variables:
            stored = latent_densities(self.idata, name)
            for label, (x, y) in zip(labels, [] if stored is None else stored, strict=stored is not None):
                marginals[label] = density_frame(GridDensity(x, y))
        return marginals

    @cached_property
    def marginals_random(self) -> dict[str, list[pd.DataFrame]]:
        """Densities of the levels of each random effect, in the order of `summary_random`.

        Copies with an estimated multiplier have none, and neither have effects too large for densities to be kept.
        """
        marginals = {}
        for effect in self.columns.effects:
            name = effect.spec.id
            factor = 1.0 if effect.spec.copy is None else self.built.betas.get(name, 0.0)
            stored = latent_densities(self.idata, effect.spec.copy or name)
            if stored is None or factor == 0.0:
                continue
            step = 1 if factor > 0 else -1
            marginals[name] = [density_frame(GridDensity(factor * x[::step], y[::step])) for x, y in stored]
        return marginals

    @cached_property
    def marginals_hyperpar(self) -> dict[str, pd.DataFrame]:
        """Density of each hyperparameter on the scale of `summary_hyperpar`."""
        return {label: density_frame(h.density) for label, h in self.hyperpar.items()}

    @cached_property
    def internal_marginals_hyperpar(self) -> dict[str, pd.DataFrame]:
        """The same with positive hyperparameters on the log scale, "Log precision for ..."."""
        return {internal_label(label): density_frame(h.internal) for label, h in self.hyperpar.items()}

    @cached_property
    def internal_summary_hyperpar(self) -> pd.DataFrame:
        """Summary of positive hyperparameters on the log scale, where every moment exists."""
        rows = []
        for h in self.hyperpar.values():
            d = h.internal
            rows.append([d.mean, d.sd, *d.ppf([0.025, 0.5, 0.975]), d.mode])
        return frame(rows, [internal_label(label) for label in self.hyperpar])

    @cached_property
    def summary_linear_predictor(self) -> pd.DataFrame:
        """One row per row of the data; those with a missing response from the posterior draws."""
        return self._predictor_table(None)

    @cached_property
    def summary_fitted_values(self) -> pd.DataFrame:
        """Inverse link of the linear predictor for every row; those with a missing response from the posterior draws.

        For count families this is the mean at E = 1, for the binomial the probability.
        """
        import pytensor
        import pytensor.tensor as pt

        eta = pt.dmatrix("eta")
        inverse = pytensor.function([eta], self.built.inverse_link(eta), mode="FAST_COMPILE")
        return self._predictor_table(inverse)

    @cached_property
    def predictive(self) -> pd.DataFrame:
        """Posterior predictive of the rows with a missing response, indexed by the labels of these rows."""
        missing = np.flatnonzero(np.isnan(self.columns.y))
        if len(missing) == 0:
            return frame([], [])
        draws = self._draws(f"{self.columns.formula.response}_unobserved").astype(float)
        return frame(draws_table(draws), [self.columns.rows[i] for i in missing])

    @property
    def mlik(self) -> pd.DataFrame:
        """Log marginal likelihood, the integral over all hyperparameters."""
        value = self.idata["inla"].attrs["log_marginal_likelihood"]
        return pd.DataFrame({"mlik": [value]}, index=["log marginal-likelihood (integration)"])

    @property
    def dic(self) -> dict[str, float]:
        """dic, p.eff, mean.deviance, deviance.mean."""
        names = {
            "dic": "dic",
            "p.eff": "dic_p_eff",
            "mean.deviance": "deviance_mean",
            "deviance.mean": "deviance_at_mean",
        }
        return {label: float(self._criteria()[name]) for label, name in names.items()}

    @property
    def waic(self) -> dict[str, float]:
        """waic, p.eff."""
        return {"waic": float(self._criteria()["waic"]), "p.eff": float(self._criteria()["waic_p_eff"])}

    @cached_property
    def cpo(self) -> pd.DataFrame:
        """cpo, pit and failure per row; NaN for rows with a missing response."""
        self._criteria()
        observed = ~np.isnan(self.columns.y)
        table = pd.DataFrame(np.nan, index=list(self.columns.rows), columns=["cpo", "pit", "failure"])
        for column, quantity in {"cpo": "log_cpo", "pit": "pit", "failure": "failure"}.items():
            if has_group(self.idata, f"inla/criteria/{quantity}"):
                stored = self.idata[f"inla/criteria/{quantity}"]
                values = np.concatenate([np.ravel(stored[name].values).astype(float) for name in stored.data_vars])
                table.loc[observed, column] = np.exp(values) if quantity == "log_cpo" else values
        return table

    def summary(self) -> str:
        """Fixed effects, hyperparameters and criteria as text."""
        parts = []
        if len(self.summary_fixed):
            parts += ["Fixed effects:", self.summary_fixed.to_string(float_format="%.4f"), ""]
        if self.columns.effects:
            parts.append("Random effects:")
            for effect in self.columns.effects:
                kind = f"copy of {effect.spec.copy}" if effect.spec.copy else "iid"
                size = len(effect.levels) * effect.nrep * effect.ngroup
                parts.append(f"  {effect.spec.id}: {kind}, {size} elements")
            parts.append("")
        if len(self.summary_hyperpar):
            parts += ["Model hyperparameters:", self.summary_hyperpar.to_string(float_format="%.4f")]
            parts += [f"  {note}" for note in self.summary_hyperpar.attrs["notes"]] + [""]
        if has_group(self.idata, "inla/criteria"):
            dic, waic = self.dic, self.waic
            parts.append(f"DIC: {dic['dic']:.2f} (effective parameters {dic['p.eff']:.2f})")
            parts.append(f"WAIC: {waic['waic']:.2f} (effective parameters {waic['p.eff']:.2f})")
        parts.append(f"Log marginal likelihood: {float(self.mlik.iloc[0, 0]):.2f}")
        return "\n".join(parts)

    def __str__(self):
        return self.summary()

    def __repr__(self):
        effects = ", ".join(e.spec.id for e in self.columns.effects) or "none"
        n = len(self.columns.y)
        return f"<INLA result: {self.family.name}, {n} rows, random effects: {effects}; print it for the summary>"

    @property
    def _fixed_variables(self) -> list[tuple[str, tuple[str, ...]]]:
        """(variable, row labels) of the fixed effects."""
        formula = self.columns.formula
        intercept = [("Intercept", ("(Intercept)",))] if formula.intercept else []
        return intercept + ([("fixed", formula.fixed)] if formula.fixed else [])

    def _effect(self, name: str):
        return next(effect for effect in self.columns.effects if effect.spec.id == name)

    def _draws(self, name: str) -> np.ndarray:
        """Draws (S, size) of a variable of the posterior."""
        draws = self.idata["posterior"][name].transpose("chain", "draw", ...).values
        return draws.reshape(draws.shape[0] * draws.shape[1], -1)

    def _criteria(self):
        if not has_group(self.idata, "inla/criteria"):
            raise InvalidOptionError("The model criteria were not computed: fit with criteria=True.")
        return self.idata["inla/criteria"]

    def _predictor_table(self, function) -> pd.DataFrame:
        """Statistics of an increasing function of eta, or of eta itself, in blocks of rows."""
        missing = np.isnan(self.columns.y)
        table = np.empty((len(missing), len(COLUMNS)))
        observed, unobserved = np.flatnonzero(~missing), np.flatnonzero(missing)
        stored = predictor_marginals(self.idata)
        for at in blocks(len(observed), CHUNK // 100):
            parts = [part[at] for part in stored]
            table[observed[at]] = parts[0] if function is None else increasing_table(function, *parts)
        samples = self.idata["posterior"].sizes["chain"] * self.idata["posterior"].sizes["draw"]
        for at in blocks(len(unobserved), max(1, CHUNK // samples)):
            rows = unobserved[at]
            eta = self._linear_predictor(rows)
            table[rows] = draws_table(eta if function is None else np.asarray(function(eta)))
        return frame(table, list(self.columns.rows))

    def _linear_predictor(self, rows: np.ndarray) -> np.ndarray:
        """Draws (S, rows) of eta, assembled from the draws of its parts."""
        c = self.columns
        eta = c.offset[rows][None, :]
        if c.formula.intercept:
            eta = eta + self._draws("Intercept")
        if c.formula.fixed:
            eta = eta + self._draws("fixed") @ c.X[rows].T
        for effect in c.effects:
            u = self._draws(effect.spec.copy or effect.spec.id)
            if effect.spec.copy:
                name = effect.spec.id
                u = u * (self.built.betas[name] if name in self.built.betas else self._draws(f"{name}_beta"))
            # rows without contribution have weight zero and position -1, which reads some element
            eta = eta + u[:, effect.position[rows]] * effect.weights[rows]
        return eta


def blocks(n: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover n."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def internal_label(label: str) -> str:
    """R-INLA's label of the internal scale."""
    return "Log p" + label[1:] if label.startswith(("Precision", "precision")) else label
