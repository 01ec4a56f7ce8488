"""From a `pm.Model` to a `LatentGaussianModel`: the steps, in order.

1. Freeze data and dims.
2. Decide which free variables are latent (`classify`).
3. Cut every likelihood at its linear predictors (`likelihood`).
4. Collect priors, constraints and everything the posterior shows.
"""

import warnings
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.graph.traversal import ancestors
from scipy import sparse

from pymc_inla.analysis.affine import Label, label_graph
from pymc_inla.analysis.classify import classify, distribution_name
from pymc_inla.analysis.covariance_coordinates import use_scales_and_correlations
from pymc_inla.analysis.data_checks import (
    check_constant_parameters,
    check_coordinates,
    check_covariates,
    check_initial_point,
    check_response_shapes,
    check_responses,
    refuse_labeled,
    refuse_minibatch,
    refuse_partly_missing,
    refuse_without_data,
)
from pymc_inla.analysis.differentiable import refuse_simulators, refuse_undifferentiable
from pymc_inla.analysis.inline import write_out_composites
from pymc_inla.analysis.latent_priors import latent_density
from pymc_inla.analysis.likelihood import likelihood_term, potential_term
from pymc_inla.analysis.prior_words import NOT_VANISHING, describe_prior, gaussian_scales
from pymc_inla.errors import ImproperPosteriorError, InvalidDataError, UnsupportedModelError
from pymc_inla.lgm import Explanation, Hyperparameter, Latent, LatentGaussianModel


def analyze_model(model: pm.Model) -> LatentGaussianModel:
    """Take a PyMC model apart into latent field, hyperparameters, linear predictors and likelihood.

    Raises
    ------
    UnsupportedModelError
        When the model is not latent Gaussian; the message names the variable.
    """
    refuse_without_data(model)
    refuse_labeled(model)
    refuse_minibatch(model)
    refuse_partly_missing(model)
    check_coordinates(model)
    refuse_simulators(model)
    refuse_undifferentiable(model)
    check_responses(model)
    with warnings.catch_warnings():
        # meant for who goes on with a copy of the model and the old process; this copy is only read
        warnings.filterwarnings("ignore", "Detected variables likely created by GP objects")
        frozen = write_out_composites(freeze_dims_and_data(model))
    check_response_shapes(frozen)
    use_scales_and_correlations(frozen)
    # without a C compiler, whose modules would take seconds to build for functions that run once
    with pytensor.config.change_flags(cxx=""):
        point = frozen.initial_point()
        check_initial_point(frozen, point)
        check_constant_parameters(frozen)
    roles = classify(frozen, point)
    if not roles.latents:
        why = "; ".join(f"{rv.name} {reason}" for rv, reason in roles.reasons.items())
        raise UnsupportedModelError(
            ", ".join(rv.name for rv in frozen.free_RVs) or "the model",
            "no latent Gaussian structure was found: no free variable is Gaussian and enters a likelihood affinely"
            + (f" ({why})" if why else ""),
            "Sample this model with pm.sample.",
        )
    order = {rv: [v.name for v in model.free_RVs].index(rv.name) for rv in frozen.free_RVs}
    symbols = [roles.variable[rv] for rv in roles.latents]
    log_prior_theta = [pt.constant(0.0)]
    hyper_rvs = [
        rv for rv in sorted(frozen.free_RVs, key=order.get) if rv not in roles.latents and rv not in roles.predicted
    ]
    if hyper_rvs:
        log_prior_theta.append(frozen.logp(vars=hyper_rvs))
    log_prior_x, rows = [pt.constant(0.0)], []
    latents, start = [], 0
    for rv in sorted(roles.latents, key=order.get):
        shape = roles.variable[rv].type.shape
        rule = f"{distribution_name(rv)}, affine in every linear predictor"
        latent = Latent(rv.name, shape, start, roles.variable[rv], rule)
        prior = latent_density(rv, roles.value_of(rv.owner.inputs), latent)
        latents.append(replace(latent, null_space=prior.null_space))
        log_prior_x.append(prior.log_density)
        if prior.C is not None:
            rows.append((latent.start, prior.C, prior.e))
        start = latent.stop
    terms = []
    for rv in frozen.observed_RVs:
        term, density = likelihood_term(roles, frozen, rv, symbols)
        terms += [term] if term is not None else []
        log_prior_theta += [density] if density is not None else []
    for potential in frozen.potentials:
        value = roles.value_of_potential(potential)
        labels = label_graph([value], symbols)
        if labels.of(value) is Label.INDEPENDENT:
            log_prior_theta.append(value.sum())
        else:
            terms.append(potential_term(roles, potential.name, value, labels))
    for term in terms:
        check_covariates(term.name, term.eta)
    if terms and not any(np.prod(term.shape, dtype=int) for term in terms):
        names = ", ".join(term.name for term in terms)
        raise InvalidDataError(f"{names}: there are no observations (size 0). Check the rows that the data are cut to.")
    if not terms:
        raise UnsupportedModelError("the model", "no likelihood depends on a latent variable", "Use pm.sample.")
    hyperparameters, h_start = [], 0
    scales = gaussian_scales([*frozen.basic_RVs, *frozen.deterministics, *frozen.potentials]) if hyper_rvs else []
    for rv in hyper_rvs:
        value = frozen.rvs_to_values[rv]
        initial = np.asarray(point[value.name], float)
        prior = describe_prior(rv, scales, model[rv.name].tag)
        if prior in NOT_VANISHING:
            others = [*frozen.potentials, *(other for other in hyper_rvs if other is not rv)]
            refuse_improper_scale(rv, prior, value, terms, others)
        hyperparameters.append(Hyperparameter(rv.name, initial.shape, h_start, value, initial, prior))
        h_start += initial.size
    outputs = collect_outputs(roles, frozen)
    n_x = start
    C = sparse.csr_array((0, n_x))
    if rows:
        C = sparse.vstack(
            [
                sparse.hstack(
                    [sparse.csr_array((B.shape[0], s)), B, sparse.csr_array((B.shape[0], n_x - s - B.shape[1]))]
                )
                for s, B, _ in rows
            ],
            format="csr",
        )
    C = sparse.csr_array(C)
    return LatentGaussianModel(
        model=model,
        latents=tuple(latents),
        hyperparameters=tuple(hyperparameters),
        terms=tuple(terms),
        log_prior_x=sum(log_prior_x[1:], start=log_prior_x[0]),
        log_prior_theta=sum(log_prior_theta[1:], start=log_prior_theta[0]),
        outputs=outputs,
        C=C,
        e=np.concatenate([np.zeros(0), *(e for _, _, e in rows)]),
        explanations=explain_rows(roles, frozen, terms, hyperparameters, latents),
        predicted=tuple(rv.name for rv in roles.predicted),
    )


def collect_outputs(roles, frozen) -> dict:
    outputs = {rv.name: roles.replacement[rv] for rv in frozen.free_RVs if rv not in roles.predicted}
    hidden = set(roles.predicted)
    for deterministic in frozen.deterministics:
        if hidden.isdisjoint(ancestors([deterministic])):
            (outputs[deterministic.name],) = roles.value_of([deterministic])
    return outputs


def refuse_improper_scale(rv, prior, value, terms, others):
    """Refuse a prior of a precision whose mass at infinity is infinite, where nothing else bounds the precision.

    As the precision goes to infinity the effects that it scales vanish; the likelihood tends to a positive constant.

    Raises
    ------
    ImproperPosteriorError
    """
    if value in ancestors([term.logp for term in terms]) or rv in ancestors(others):
        return
    raise ImproperPosteriorError(
        f"{rv.name}: under the prior {prior} of this precision the posterior is improper: as the precision goes to "
        "infinity the effects that it scales vanish and the likelihood tends to a positive constant, while the prior "
        "has infinite mass there. Use a proper prior such as pc.prec or loggamma (pymc_inla.priors)."
    )


def explain_rows(roles, frozen, terms, hyperparameters, latents):
    rows = [Explanation(v.name, "latent", v.rule, v.size) for v in latents]
    rows += [Explanation(h.name, "hyperparameter", "", h.size, h.prior) for h in hyperparameters]
    rows += [
        Explanation(t.name, "likelihood", f"{len(t.predictors)} linear predictor(s)", int(np.prod(t.shape)))
        for t in terms
    ]
    return tuple(rows)
