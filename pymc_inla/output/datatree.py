"""The result of a fit as an xarray.DataTree, laid out as pm.sample does, with the deterministic results under `inla`.

    posterior, sample_stats, observed_data, constant_data, (log_likelihood, log_prior)
    inla                                attrs: log_marginal_likelihood, strategy, counts, timings
    inla/latent_marginals               per latent variable: mean, sd, mode, quantiles (dimension `statistic`)
    inla/latent_densities               per latent variable: abscissae and density (`density_axis`, `point`)
    inla/hyperparameter_marginals       the same of the hyperparameters, on the scale of the model
    inla/hyperparameter_densities
    inla/predictor_marginals            on request: per observed variable, that of its linear predictor
    inla/predictor_densities
    inla/derived_marginals              the same of scalars that are monotone functions of one hyperparameter
    inla/derived_densities
    inla/unconstrained_marginals        the same of theta, named as PyMC names the unconstrained values
    inla/unconstrained_densities
    inla/integration                    points, weights, log density and status of the nodes of the integral over theta
    inla/criteria                       dic, waic, ...; inla/criteria/log_cpo, pit, failure per observation
    inla/reliability                    the numbers behind the verdict; attrs: verdict, messages

Groups without content are left out. The attribute `source` of a hyperparameter's marginals says "marginal" or "draws",
line by line per element where they differ. `statistic`, `density_axis`, `point`, `theta` and `theta_bis` get
underscores at their end where the model has a dimension or variable of that name; the first three are the last ones of
their arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from pymc.backends.arviz import coords_and_dims_for_inferencedata, find_constants, find_observations
from xarray import Dataset, DataTree

from pymc_inla.analysis.prior_words import WORDS
from pymc_inla.inference.reliability import with_missing_moments
from pymc_inla.lgm import Criteria, INLAResult, Integration, LatentGaussianModel
from pymc_inla.output.marginals import (
    STATISTICS,
    NamedMarginals,
    derived_marginals,
    latent_marginals,
    natural_marginals,
    predictor_marginals,
    unconstrained_marginals,
    unconstrained_name,
    without_moments,
)
from pymc_inla.output.predictions import predict_missing

Outputs = Callable[[np.ndarray, np.ndarray, tuple[str, ...]], Mapping[str, np.ndarray]]

LIBRARY = SimpleNamespace(__name__="pymc_inla")
"""All that ArviZ asks of a library: it looks the version up among the installed packages."""


def to_datatree(
    lgm: LatentGaussianModel,
    outputs: Outputs,
    result: INLAResult,
    *,
    chains: int,
    draws: int,
    names: tuple[str, ...],
    random_seed: int,
    include_transformed=False,
    log_likelihood=False,
    log_prior=False,
    timings: Mapping[str, float] | None = None,
    start_time: float | None = None,
) -> DataTree:
    """Give the arrays of a result their names, dimensions and coordinates.

    Parameters
    ----------
    lgm : LatentGaussianModel
    outputs : callable
        (theta (S, n_theta), x (S, n_x), names) -> values (S, *shape) of the named variables.
    result : INLAResult
        with chains * draws joint draws
    chains, draws : int
    names : tuple of str
        Variables of the posterior group, in order.
    random_seed : int
        Seed of the predictions of missing responses.
    include_transformed : bool
        Whether the posterior also holds the unconstrained hyperparameters.
    log_likelihood, log_prior : bool or sequence of str
        Whether to compute these groups, or for which variables.
    timings : dict of str to float, optional
        Seconds of the stages before the inference.
    start_time : float, optional
        `time.perf_counter()` at the start of the fit.
    """
    writer = _Writer(lgm, chains, draws)
    # what depends on the draws is computed from all free variables; those not asked for are dropped afterwards
    needs_all = log_likelihood is not False or log_prior is not False or bool(set(names) - set(lgm.outputs))
    free = {rv.name for rv in lgm.model.free_RVs} if needs_all else set()
    kept = tuple(name for name in lgm.outputs if name in names or name in free)
    values = dict(outputs(result.draws_theta, result.draws_x, kept))
    hyperparameters = tuple(h.name for h in lgm.hyperparameters)
    missing = tuple(name for name in hyperparameters if name not in values)
    natural_draws = {**values, **(outputs(result.draws_theta, result.draws_x, missing) if missing else {})}

    def evaluate(theta, wanted):
        # hyperparameters on their natural scale do not depend on x: any x will do, repeated without a copy
        return outputs(theta, np.broadcast_to(result.x_star, (len(theta), lgm.n_x)), wanted)

    unconstrained = [unconstrained_name(h) for h in lgm.hyperparameters] if include_transformed else []
    if include_transformed:
        for h in lgm.hyperparameters:
            block = result.draws_theta[:, h.start : h.stop]
            values.setdefault(unconstrained_name(h), block.reshape(len(block), *h.shape))

    groups: dict[str, Dataset] = {"posterior": writer.samples(values)}
    groups["sample_stats"] = writer.samples({"log_p": result.log_p, "log_q": result.log_q})
    observed, constant = find_observations(lgm.model), find_constants(lgm.model)
    if observed:
        groups["observed_data"] = writer.arrays(observed)
    if constant:
        groups["constant_data"] = writer.arrays(constant)

    groups["inla"] = Dataset(attrs=writer.attrs({}))
    natural = natural_marginals(lgm, result.theta_marginals, evaluate, natural_draws)
    groups |= writer.marginals("inla/latent", latent_marginals(lgm, result.latent_marginals))
    groups |= writer.marginals("inla/hyperparameter", natural)
    if result.predictor_marginals is not None:
        groups |= writer.marginals("inla/predictor", predictor_marginals(lgm, result.predictor_marginals))
    derived = derived_marginals(lgm, result.theta_marginals, evaluate)
    groups |= writer.marginals("inla/derived", derived)
    groups |= writer.marginals("inla/unconstrained", unconstrained_marginals(lgm, result.theta_marginals))
    groups["inla/integration"] = writer.integration(result.integration, result.theta_star, result.theta_covariance)
    if result.criteria is not None:
        groups |= writer.criteria(result.criteria)
    missing = without_moments(natural)
    own = [name for name in missing if not hasattr(getattr(lgm.model.named_vars.get(name), "tag", None), WORDS)]
    others = [name for name in (*missing, *without_moments(derived)) if name not in own]
    verdict = with_missing_moments(result.reliability, own, others)
    groups["inla/reliability"] = Dataset(
        {name: float(value) for name, value in verdict.numbers.items()},
        attrs=writer.attrs({"verdict": verdict.verdict, "messages": "\n".join(verdict.messages)}),
    )
    idata = DataTree.from_dict({f"/{path}": dataset for path, dataset in groups.items()})
    idata = add_requested(idata, lgm, names, random_seed, log_likelihood, log_prior)
    shown = [name for name in (*names, *unconstrained) if name in idata["posterior"].data_vars]
    idata["posterior"] = DataTree(idata["posterior"].to_dataset()[shown])

    seconds = {**(timings or {}), **result.timings}
    total = sum(seconds.values()) if start_time is None else time.perf_counter() - start_time
    idata["inla"].attrs.update(fit_attrs(lgm, result, {**seconds, "total": total}))
    for group in ("posterior", "sample_stats"):
        idata[group].attrs |= {"sampling_time": float(total), "tuning_steps": 0}
    return idata


def add_requested(idata: DataTree, lgm, names, random_seed, log_likelihood, log_prior) -> DataTree:
    """Predictions of missing responses, pointwise log likelihood, log prior."""
    if set(names) - set(lgm.outputs):
        idata = predict_missing(idata, lgm, names, random_seed)
    quiet = {"extend_inferencedata": True, "model": lgm.model, "progressbar": False}
    if log_likelihood is not False:
        from pymc.stats.log_density import compute_log_likelihood

        wanted = None if log_likelihood is True else list(np.atleast_1d(log_likelihood))
        with no_initial_values(lgm.model):
            idata = compute_log_likelihood(idata, var_names=wanted, **quiet)
    if log_prior is not False:
        from pymc.stats.log_density import compute_log_prior

        wanted = None if log_prior is True else list(np.atleast_1d(log_prior))
        with no_initial_values(lgm.model):
            idata = compute_log_prior(idata, var_names=wanted, **quiet)
    return idata


@contextmanager
def no_initial_values(model):
    """The model without start values: PyMC rewrites no model that has any, and log densities do not need them."""
    saved = dict(model.rvs_to_initial_values)
    model.rvs_to_initial_values.update(dict.fromkeys(saved))
    try:
        yield
    finally:
        model.rvs_to_initial_values.update(saved)


def fit_attrs(lgm: LatentGaussianModel, result: INLAResult, seconds: Mapping[str, float]) -> dict:
    """Scalars of the fit; only numbers and strings, so that netCDF and zarr keep them."""
    attrs = {
        "log_marginal_likelihood": float(result.log_marginal_likelihood),
        "log_marginal_likelihood_error": float(result.log_marginal_likelihood_error),
        "strategy": result.strategy,
        "strategy_reason": result.strategy_reason,
        "integration": result.integration.method,
        "n_latent": int(lgm.n_x),
        "n_hyperparameters": int(lgm.n_theta),
        "notes": "\n".join(lgm.warnings),
    }
    attrs |= {f"count_{name.removeprefix('n_')}": int(value) for name, value in result.counts.items()}
    attrs |= {f"time_{name}": float(value) for name, value in seconds.items()}
    return attrs


class _Writer:
    """Datasets in the dimensions and coordinates of one model."""

    def __init__(self, lgm: LatentGaussianModel, chains: int, draws: int):
        self.lgm, self.chains, self.draws = lgm, chains, draws
        self.coords, self.dims = coords_and_dims_for_inferencedata(lgm.model)
        self.taken = {*lgm.model.coords, *lgm.model.named_vars}

    def attrs(self, attrs: Mapping[str, object]) -> dict:
        from arviz_base import make_attrs

        return make_attrs(attrs, inference_library=LIBRARY)

    def dataset(self, values, *, dims=None, coords=None, sample_dims=()) -> Dataset:
        from arviz_base import dict_to_dataset

        coords = {**self.coords, **(coords or {})}
        dims = self.dims if dims is None else dims
        return dict_to_dataset(
            values,
            inference_library=LIBRARY,
            coords=coords,
            dims={
                name: _dims_that_fit(name, dims[name], np.shape(v)[len(sample_dims) :], coords)
                for name, v in values.items()
                if name in dims
            },
            sample_dims=list(sample_dims),
        )

    def samples(self, values: Mapping[str, np.ndarray]) -> Dataset:
        """(S, *shape) draws as (chain, draw, *dims)."""
        shaped = {name: v.reshape(self.chains, self.draws, *v.shape[1:]) for name, v in values.items()}
        return self.dataset(shaped, sample_dims=("chain", "draw"))

    def arrays(self, values: Mapping[str, np.ndarray]) -> Dataset:
        """Arrays without sample dimensions."""
        return self.dataset(values)

    def named_dims(self, name: str, ndim: int) -> list[str]:
        """Dimensions of a variable, generated as ArviZ does where the model gives none."""
        given = list(self.dims.get(name, ()))[:ndim]
        return [d or f"{name}_dim_{i}" for i, d in enumerate(given + [None] * (ndim - len(given)))]

    def own_dim(self, name: str) -> str:
        """Name of a dimension that the model does not have: `name`, with underscores where the model has that."""
        while name in self.taken:
            name += "_"
        return name

    def marginals(self, prefix: str, named: NamedMarginals) -> dict[str, Dataset]:
        """The groups `<prefix>_marginals` and `<prefix>_densities`."""
        groups = {}
        statistic, axis, point = map(self.own_dim, ("statistic", "density_axis", "point"))
        parts = [
            ("marginals", named.statistics, [statistic], {statistic: np.array(STATISTICS)}),
            ("densities", named.densities, [axis, point], {axis: np.array(["x", "pdf"])}),
        ]
        for suffix, values, last, coords in parts:
            if values:
                dims = {name: self.named_dims(name, v.ndim - len(last)) + last for name, v in values.items()}
                groups[f"{prefix}_{suffix}"] = self.dataset(values, dims=dims, coords=coords)
        for name, words in named.sources.items():
            if name in named.statistics:
                alike = len(set(words)) == 1
                groups[f"{prefix}_marginals"][name].attrs["source"] = str(words[0]) if alike else "\n".join(words)
        return groups

    def theta_labels(self) -> list[str]:
        """One label per element of theta: `sigma_log__`, `beta[0]`, ..."""
        labels = []
        for h in self.lgm.hyperparameters:
            name = unconstrained_name(h)
            labels += [name + (str(list(index)) if index else "") for index in np.ndindex(*h.shape)]
        return labels

    def integration(self, integration: Integration, theta_star: np.ndarray, covariance: np.ndarray) -> Dataset:
        """Nodes of the integral over theta; `status` indexes the sentences in its attribute `meanings`."""
        meanings = sorted(set(integration.status))
        codes = np.array([meanings.index(sentence) for sentence in integration.status], dtype=np.int64)
        values = {"weights": integration.weights, "log_density": integration.log_density, "status": codes}
        point, theta, theta_bis = map(self.own_dim, ("point", "theta", "theta_bis"))
        dims = {name: [point] for name in values}
        coords = {}
        if self.lgm.n_theta:  # zero-length dimensions do not survive zarr
            values |= {"points": integration.points, "theta_star": theta_star, "theta_covariance": covariance}
            dims |= {"points": [point, theta], "theta_star": [theta], "theta_covariance": [theta, theta_bis]}
            coords = {theta: self.theta_labels(), theta_bis: self.theta_labels()}
        dataset = self.dataset(values, dims=dims, coords=coords)
        dataset["status"].attrs["meanings"] = "\n".join(meanings)
        return dataset.assign_attrs(method=integration.method)

    def criteria(self, criteria: Criteria) -> dict[str, Dataset]:
        """Scalars in `inla/criteria`; one group per quantity of each observation."""
        scalars = ("dic", "dic_p_eff", "deviance_mean", "deviance_at_mean", "waic", "waic_p_eff")
        groups = {"inla/criteria": self.arrays({name: float(getattr(criteria, name)) for name in scalars})}
        pointwise = {"log_cpo": criteria.log_cpo, "pit": criteria.pit, "failure": criteria.failure}
        for quantity, stacked in pointwise.items():
            if stacked is None:
                continue
            # failure flags are integers: netCDF attributes and zarr attributes have no booleans
            stacked = np.asarray(stacked, dtype=np.int8 if quantity == "failure" else float)
            values, start = {}, 0
            for term in self.lgm.terms:
                size = int(np.prod(term.shape, dtype=int))
                values[term.name] = stacked[start : start + size].reshape(term.shape)
                start += size
            groups[f"inla/criteria/{quantity}"] = self.arrays(values)
        return groups


def _dims_that_fit(name, dims, shape, coords) -> list:
    """The dimensions of a variable; one whose coordinate has another length gets the name that ArviZ generates.

    PyMC does not compare the two for a `Deterministic`, and Bambi declares its cumulative probabilities as long as the
    classes.
    """
    fits = [d not in coords or len(coords[d]) == n for d, n in zip(dims, shape, strict=False)]
    return [d if fit else f"{name}_dim_{i}" for i, (d, fit) in enumerate(zip(dims, fits, strict=False))]
