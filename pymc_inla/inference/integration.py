"""Integration of log p~(theta | y) over theta: the choice of the method and what all methods return."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from pymc_inla.errors import ConvergenceError, InvalidOptionError
from pymc_inla.inference.apart import are_apart, integrate_apart
from pymc_inla.inference.ccd import integrate_ccd
from pymc_inla.inference.density import IntegratedDensity
from pymc_inla.inference.effort import POINTS_OF_THREE, Effort
from pymc_inla.inference.grid import Nodes, build_lattice, build_line, fit_lattice
from pymc_inla.inference.hyper_mode import ThetaMode, at_its_width, find_theta_mode, require_finite
from pymc_inla.inference.importance import integrate_importance
from pymc_inla.inference.integral import NORMAL_DENSITIES, ThetaIntegral, integrate_grid
from pymc_inla.inference.nested import integrate_nested
from pymc_inla.inference.other_modes import MOST_MODES, find_other_modes
from pymc_inla.inference.proper import check_bounded, check_proper
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.theta_space import ThetaSpace

METHODS = ("auto", "grid", "ccd", "importance", "eb")
MAX_HYPERPARAMETERS = 20
SKEWED = 0.2
CORRELATED = {2: 0.4, 3: 0.8}
UNSETTLED = {2: 0.015, 3: 0.03}
"""Two or three hyperparameters are integrated line by line where two of them are correlated at the mode and the density
is not Gaussian (logarithm of a scale at z = 2), or where refinement of what was done instead would change a quantile by
more than UNSETTLED, or its points were used up on the way to the borders of the mass and others do not confirm it.
Three take about 2000 evaluations, ten times as many as a lattice: they have to be worth it"""
CONFIRMING, CONFIRMED = 16, 0.2
"""Points for that, and their mean error in the log density that is small enough"""
POINTS_OF_LINES = 400
"""What two may take"""
UNLIKE = (
    "the posterior of the hyperparameters has several modes of very different shapes, for example two variances of "
    "which either may be zero; their marginals are approximate: compare with NUTS, or give priors that keep the "
    "variances apart"
)
SHARE, FELT = 0.01, 0.1
"""Share of the posterior in a mode that matters, and what of it at least is to be found around it: a guess of its
volume may be off by factors"""
MANY = (
    "the posterior of the hyperparameters has many modes, as where three or more labels can change places, of which "
    "others may be left out. Give priors that leave one (an order), or sample this model with pm.sample"
)
ABOVE, MOST_SEARCHES = 0.5, 2
"""Log units above the mode at which a point of the integral shows that the mode was none, and how often modes are
searched and integrated: again from there"""


def check_integration(method: str, d: int) -> None:
    """Refuse unknown methods and combinations that cannot work.

    Raises
    ------
    InvalidOptionError
    """
    if method not in METHODS:
        close = get_close_matches(str(method), METHODS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidOptionError(f"integration={method!r} is unknown; allowed are {', '.join(METHODS)}.{hint}")
    if d > MAX_HYPERPARAMETERS and method != "eb":
        raise InvalidOptionError(
            f"the model has {d} hyperparameters; integrating over more than {MAX_HYPERPARAMETERS} is not supported. "
            'Use integration="eb" (fix them at their posterior mode), or fix some of them in the model.'
        )
    if method == "grid" and d > 3:
        raise InvalidOptionError(
            f"a grid over {d} hyperparameters is too large (at most 3); use integration='importance' or 'ccd'."
        )


def integrate_theta(
    posterior: ThetaPosterior,
    mode: ThetaMode,
    space: ThetaSpace,
    *,
    method: str = "auto",
    effort: Effort | None = None,
) -> ThetaIntegral:
    """Integrate over theta around a mode found before, and others.

    Parameters
    ----------
    posterior : ThetaPosterior
    mode : ThetaMode
    space : ThetaSpace
    method : str
        "auto" is "grid" for at most two hyperparameters, for three where POINTS_OF_THREE are affordable, and
        "importance" above.
    effort : Effort, optional
        Default: that of a small model.

    Raises
    ------
    ImproperPosteriorError
        If the density does not decay towards a bound, so that its integral is not finite.
    """
    d, lower, upper, effort = len(mode.theta_star), space.lower, space.upper, effort or Effort()
    check_integration(method, d)
    if d == 0:
        return _single(posterior, mode, "none")
    if method == "eb":
        return _single(posterior, mode, "eb")
    if method == "ccd":
        return integrate_ccd(posterior, mode, lower, upper)
    check_bounded(posterior, mode, space)
    for _ in range(MOST_SEARCHES):
        modes = find_other_modes(posterior, mode, space, effort)
        result = _integrate_modes(posterior, modes, space, method, effort)
        highest = max(result.nodes, key=lambda e: e.log_posterior)
        if highest.log_posterior < modes[0].log_posterior + ABOVE:
            break
        # the search ended on a saddle or a small maximum beside which the density rises
        mode = find_theta_mode(posterior, highest.theta, lower, upper)
        posterior.prepare_design(mode.theta_star, mode.root)
        mode = at_its_width(posterior, mode, lower, upper, effort.first_look)
    if not result.decayed:
        check_proper(result, space)
    return replace(result, left_out=_left_out(result, modes))


def _integrate_modes(
    posterior: ThetaPosterior, modes: list[ThetaMode], space: ThetaSpace, method: str, effort: Effort
) -> ThetaIntegral:
    """The integral around these modes by the method that suits them."""
    d, lower, upper, max_points = len(space.lower), space.lower, space.upper, effort.max_points
    # the lattice of three suits the first mode, and would hold 0.46 of the mass of two alike in the other
    if method != "grid" and d > 2 and len(modes) > 1 and are_apart(posterior, modes):
        result = integrate_apart(posterior, modes, space, max_points=max_points)
        if result is not None:
            return replace(result, messages=result.messages + (MANY,) * (len(modes) == MOST_MODES))
    may_nest = (
        method != "importance" and d in CORRELATED and (max_points >= POINTS_OF_LINES if d == 2 else effort.lines)
    )
    if method == "auto":
        method = "grid" if d <= 2 or (d == 3 and max_points >= POINTS_OF_THREE) else "importance"
    unlike = _are_unlike(modes)
    posterior.collect_moments = method == "grid"  # every node of a grid is a design point
    if may_nest and ((unlike and d == 2) or _is_bent(Nodes(posterior, modes[0], lower, upper))):
        result = _nested(posterior, modes, lower, upper)
    elif method == "importance":
        result = integrate_importance(posterior, modes, space, max_points=max_points)
    else:
        result = _lattice(posterior, modes, lower, upper, max_points)
    if may_nest and (result.outer_change > UNSETTLED[d] or not (result.decayed or _is_confirmed(posterior, result))):
        result = _nested(posterior, modes, lower, upper)
    posterior.collect_moments = False
    messages = (UNLIKE,) * (unlike and d > 2) + (MANY,) * (len(modes) == MOST_MODES)
    return replace(result, messages=result.messages + messages)


def _left_out(result: ThetaIntegral, modes: list[ThetaMode]) -> tuple[np.ndarray, ...]:
    """Modes that have far less of the integrated mass around them than their heights and widths say."""
    if len(modes) == 1:
        return ()
    log_volumes = np.array([mode.log_posterior + np.linalg.slogdet(mode.root)[1] for mode in modes])
    expected = np.exp(log_volumes - np.logaddexp.reduce(log_volumes))
    density = result.density
    distances = [np.linalg.norm(mode.to_z(density.theta), axis=1) for mode in modes]
    share = np.bincount(np.argmin(distances, axis=0), density.weights, len(modes))
    return tuple(
        mode.theta_star
        for mode, mass, whole in zip(modes, share, expected, strict=True)
        if whole > SHARE and mass < FELT * whole
    )


def _nested(posterior, modes, lower, upper) -> ThetaIntegral:
    posterior.collect_moments = True
    return integrate_nested(posterior, modes, lower, upper)


def _lattice(posterior, modes: list[ThetaMode], lower, upper, max_points) -> ThetaIntegral:
    mode = modes[0]
    nodes, missing = Nodes(posterior, mode, lower, upper), 0.0
    if len(mode.theta_star) == 1:
        decayed = build_line(nodes, modes, min(max_points, 80))
    else:
        decayed, missing = build_lattice(nodes, [mode.to_z(m.theta_star) for m in modes[1:]], max_points)
    if len(nodes.z) < 3:
        raise ConvergenceError(
            "log p(theta | y) could not be evaluated around its mode: the inner optimization failed at "
            f"{len(nodes.failed)} of {len(nodes.failed) + len(nodes.z)} points. Check the priors, or use "
            "integration='eb'."
        )
    result = integrate_grid(
        mode, nodes.points, tuple(nodes.evaluations), lower=lower, upper=upper, rough_at=posterior.rough_at
    )
    # probability that is missing in a tail moves its quantile, and those of a normal by as many sd
    change = max(result.outer_change, missing / NORMAL_DENSITIES.min())
    return replace(result, decayed=decayed, failures=nodes.failures_that_matter(), outer_change=change)


def _is_confirmed(posterior: ThetaPosterior, result: ThetaIntegral) -> bool:
    """Whether the density is what the interpolant says, at points of the latter between which no value is known."""
    density = result.density
    at = density.theta[np.searchsorted(np.cumsum(density.weights), (np.arange(CONFIRMING) + 0.5) / CONFIRMING)]
    found = np.array([e.log_posterior for e in posterior.evaluate_all(at, keep=False)])
    off = found - result.log_marginal_likelihood - density.log_density_at(at)
    return bool(np.mean(np.abs(off)) < CONFIRMED)


def _are_unlike(modes: list[ThetaMode]) -> bool:
    """Whether no lattice fits all modes: a scale of one of them is a third of that of the first, or three times it."""
    first, *others = [np.log(np.diag(mode.covariance)) for mode in modes]
    return any(np.max(np.abs(other - first)) > 2 * np.log(3.0) for other in others)


def _is_bent(nodes: Nodes) -> bool:
    C, d = nodes.mode.covariance, len(nodes.lower)
    lattice = fit_lattice(nodes, d)
    correlations = C / np.sqrt(np.outer(np.diag(C), np.diag(C))) - np.eye(d)
    skewed = np.max(np.abs(np.log([lattice.down, lattice.up]))) > SKEWED
    return bool(np.max(np.abs(correlations)) > CORRELATED[d] and skewed)


def _single(posterior: ThetaPosterior, mode: ThetaMode, method: str) -> ThetaIntegral:
    """One point that carries all mass. With "eb" the marginal likelihood is the Gaussian (Laplace) integral."""
    d = len(mode.theta_star)
    evaluation = require_finite(posterior(mode.theta_star))
    log_volume = 0.5 * d * np.log(2 * np.pi) + (np.linalg.slogdet(mode.root)[1] if d else 0.0)
    log_ml = evaluation.log_posterior + log_volume
    density = IntegratedDensity(
        mode.theta_star[None, :], np.ones(1), np.zeros((d, d)), lambda theta: np.zeros(len(np.atleast_2d(theta)))
    )
    return ThetaIntegral(
        method=method,
        mode=mode,
        nodes=(evaluation,),
        weights=np.ones(1),
        log_density=np.array([evaluation.log_posterior - log_ml]),
        density=density,
        log_marginal_likelihood=float(log_ml),
        log_marginal_likelihood_error=0.0 if d == 0 else np.nan,
        outer_change=0.0 if d == 0 else np.nan,
    )
