"""Integration of log p~(theta | y) over theta: the choice of the method and what all methods return."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from difflib import get_close_matches

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from pymc_inla.errors import ConvergenceError, ImproperPosteriorError, InvalidOptionError
from pymc_inla.inference.apart import are_apart, integrate_apart
from pymc_inla.inference.ccd import integrate_ccd
from pymc_inla.inference.density import IntegratedDensity
from pymc_inla.inference.grid import Nodes, build_lattice, build_line, fit_lattice
from pymc_inla.inference.hyper_mode import FIRST_LOOK, ThetaMode, at_its_width, find_theta_mode, require_finite
from pymc_inla.inference.images import Elements, Image, images
from pymc_inla.inference.importance import integrate_importance
from pymc_inla.inference.integral import NORMAL_DENSITIES, ThetaIntegral, integrate_grid
from pymc_inla.inference.multistart import highest_start
from pymc_inla.inference.nested import integrate_nested
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior, WarmStart, in_step
from pymc_inla.status import Status

METHODS = ("auto", "grid", "ccd", "importance", "eb")
MAX_HYPERPARAMETERS = 20
POINTS_OF_THREE = 400
"""A grid over three hyperparameters takes 150 to 300 points, and importance sampling half of that."""
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
STEEP, NEXT = 1.0, 0.1
"""Slope of a log density at its highest point, per unit of theta, that no posterior has; and where to look beyond"""
LOWEST = 15.0
"""Log units below the highest mode of others that matter"""
MOST_MODES, MOST_IMAGES = 8, 4
"""Modes beyond which no others are looked for, and how many images of one are searched from"""
MANY = (
    "the posterior of the hyperparameters has many modes, as where three or more labels can change places, of which "
    "others may be left out. Give priors that leave one (an order), or sample this model with pm.sample"
)
ABOVE, MOST_SEARCHES = 0.5, 2
"""Log units above the mode at which a point of the integral shows that the mode was none, and how often modes are
searched and integrated: again from there"""
TROUGH, TROUGH_LARGE = 70.0, 15.0
"""Log units below the mode beyond which no other mode is looked for: 12 sd of a Gaussian, and 5.5 in models of so many
observations that one evaluation takes a second"""


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
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    method: str = "auto",
    max_points: int = 400,
    lines: bool = True,
    trough: float = TROUGH,
    first_look: float = FIRST_LOOK,
    names: tuple[str, ...] | None = None,
    logs: np.ndarray | bool = False,
    x_shapes: tuple[tuple[int, ...], ...] = (),
) -> ThetaIntegral:
    """Integrate over theta around a mode found before, and others.

    Parameters
    ----------
    posterior : ThetaPosterior
    mode : ThetaMode
    lower, upper : array (d,)
    method : str
        "auto" is "grid" for at most two hyperparameters, for three where POINTS_OF_THREE are affordable, and
        "importance" above.
    max_points : int
        Bound on the number of design points of a lattice or of importance sampling.
    lines : bool
        Whether three hyperparameters may be integrated line by line, with about 2000 evaluations.
    trough : float
        Log units below the mode beyond which no other mode is looked for.
    first_look : float
        Distance in sd at which the search for other modes begins.
    names : tuple of str, optional
        Of the elements of theta, for messages.
    logs : bool array (d,), optional
        Which elements of theta are logarithms of what is reported.
    x_shapes : tuple of tuple of int
        Shapes of the variables that the latents consist of, where they are known.

    Raises
    ------
    ImproperPosteriorError
        If the density does not decay towards a bound, so that its integral is not finite.
    """
    d = len(mode.theta_star)
    check_integration(method, d)
    if d == 0:
        return _single(posterior, mode, "none")
    if method == "eb":
        return _single(posterior, mode, "eb")
    if method == "ccd":
        return integrate_ccd(posterior, mode, lower, upper)
    names = names or tuple(f"theta[{j}]" for j in range(d))
    _check_bounded(posterior, mode, lower, upper, names)
    elements = Elements(names, logs, x_shapes)
    for _ in range(MOST_SEARCHES):
        modes = find_other_modes(posterior, mode, lower, upper, trough, elements, first_look)
        result = _integrate_modes(posterior, modes, lower, upper, method, max_points, lines, logs)
        highest = max(result.nodes, key=lambda e: e.log_posterior)
        if highest.log_posterior < modes[0].log_posterior + ABOVE:
            break
        # the search ended on a saddle or a small maximum beside which the density rises
        mode = find_theta_mode(posterior, highest.theta, lower, upper)
        posterior.prepare_design(mode.theta_star, mode.root)
        mode = at_its_width(posterior, mode, lower, upper, first_look)
    if not result.decayed:
        _check_proper(result, lower, upper, names)
    return replace(result, left_out=_left_out(result, modes))


def _integrate_modes(
    posterior: ThetaPosterior, modes: list[ThetaMode], lower, upper, method: str, max_points: int, lines: bool, logs
) -> ThetaIntegral:
    """The integral around these modes by the method that suits them."""
    d = len(lower)
    # the lattice of three suits the first mode, and would hold 0.46 of the mass of two alike in the other
    if method != "grid" and d > 2 and len(modes) > 1 and are_apart(posterior, modes):
        result = integrate_apart(posterior, modes, lower, upper, max_points=max_points, logs=logs)
        if result is not None:
            return replace(result, messages=result.messages + (MANY,) * (len(modes) == MOST_MODES))
    may_nest = method != "importance" and d in CORRELATED and (max_points >= POINTS_OF_LINES if d == 2 else lines)
    if method == "auto":
        method = "grid" if d <= 2 or (d == 3 and max_points >= POINTS_OF_THREE) else "importance"
    unlike = _are_unlike(modes)
    posterior.collect_moments = method == "grid"  # every node of a grid is a design point
    if may_nest and ((unlike and d == 2) or _is_bent(Nodes(posterior, modes[0], lower, upper))):
        result = _nested(posterior, modes, lower, upper)
    elif method == "importance":
        result = integrate_importance(posterior, modes, lower, upper, max_points=max_points, logs=logs)
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


def _check_bounded(posterior: ThetaPosterior, mode: ThetaMode, lower, upper, names) -> None:
    """Refuse a density that rises steeply up to where it can no longer be computed, or to a bound: the likelihood of
    responses that are fitted exactly grows without limit as their scale goes to zero."""
    if mode.status is Status.CONVERGED:
        return
    gradient = posterior(mode.theta_star, gradient=True, keep=False).gradient
    for j in np.argsort(-np.abs(gradient)) if gradient is not None else ():
        side = np.sign(gradient[j])
        beyond = mode.theta_star + NEXT * side * (np.arange(len(lower)) == j)
        inside = lower[j] <= beyond[j] <= upper[j]
        if abs(gradient[j]) > STEEP and not (inside and np.isfinite(posterior(beyond, keep=False).log_posterior)):
            raise ImproperPosteriorError(
                f"{names[j]}: the posterior density of this hyperparameter rises up to {mode.theta_star[j]:.3g} on its "
                "unconstrained scale, where double precision or the range that is searched ends. The posterior is "
                "improper or nearly so, as where responses are fitted exactly (a constant response, one value per "
                "group) and their scale may be zero. Check the data, or give this hyperparameter a prior that keeps it "
                "away from there."
            )


def _check_proper(integral: ThetaIntegral, lower, upper, names) -> None:
    """A density that is flat at the bound of the numerical range has no finite integral."""
    f, theta = integral.log_density, np.array([e.theta for e in integral.nodes])
    for j in range(theta.shape[1]):
        for end, edge, side in (
            (np.argmax(theta[:, j]), upper[j], "upper"),
            (np.argmin(theta[:, j]), lower[j], "lower"),
        ):
            at_edge = np.isfinite(edge) and abs(theta[end, j] - edge) < 0.5
            if at_edge and f[end] > f.max() - 3.0:
                raise ImproperPosteriorError(
                    f"{names[j]}: the posterior density of this hyperparameter does not decay towards the {side} end "
                    f"of the range that is searched, {edge:g} on its unconstrained scale: there it is "
                    f"{np.exp(f[end] - f.max()):.2g} of its maximum. The posterior is improper or nearly so; give this "
                    "hyperparameter a proper prior with lighter tails."
                )


def find_other_modes(
    posterior: ThetaPosterior,
    mode: ThetaMode,
    lower,
    upper,
    trough: float = TROUGH,
    elements: Elements | None = None,
    first_look: float = FIRST_LOOK,
) -> list[ThetaMode]:
    """Look for further modes: along the axes, where the density rises again away from the mode, and at the images of
    every mode, where labels have changed places or hyperparameters have the other sign; search from there.

    Two variances that explain the same thing have a mode with each of them near zero where priors of precisions put
    much mass there (loggamma(1, 5e-5)). Loadings of a factor have one with all signs changed.

    Returns
    -------
    list of ThetaMode
        The highest first.
    """
    if posterior.near is not None:
        near = posterior.near
        start = replace(mode, log_posterior=near(mode.theta_star).log_posterior)
        modes = find_other_modes(near, start, lower, upper, trough, elements, first_look)
        at = [m.theta_star for m in modes]
        values = posterior.evaluate_all(at, starts=near.evaluate_all(at))
        modes = [replace(m, log_posterior=e.log_posterior) for m, e in zip(modes, values, strict=True)]
        return sorted(modes, key=lambda m: -m.log_posterior)
    d = len(mode.theta_star)
    elements = elements or Elements(tuple(f"theta[{j}]" for j in range(d)))
    modes = [mode]

    def search(start: np.ndarray) -> None:
        center = posterior.center
        other = find_theta_mode(posterior, start, lower, upper)
        posterior.center = center
        # a search along a ridge that is cut short ends anywhere on it
        found = other.status is not Status.MAX_ITERATIONS
        if found and _is_new(other.theta_star, modes) and other.log_posterior > mode.log_posterior - LOWEST:
            modes.append(other)

    rays = [_rise(mode, sign * axis, lower, upper, trough, first_look) for axis in np.eye(d) for sign in (1.0, -1.0)]
    for start in in_step(rays, lambda thetas: posterior.evaluate_all(thetas, gradient=True, keep=False)):
        if start is not None:
            search(start)
    for one in modes:  # which grows
        for start in _elsewhere(posterior, one, modes, lower, upper, trough, elements, first_look):
            if len(modes) < MOST_MODES and _is_new(start, modes):
                search(start)
    modes = sorted(modes, key=lambda m: -m.log_posterior)
    return [m for m in modes if m.log_posterior > modes[0].log_posterior - LOWEST]


def _elsewhere(
    posterior: ThetaPosterior,
    mode: ThetaMode,
    modes: list[ThetaMode],
    lower,
    upper,
    trough: float,
    elements: Elements,
    first_look: float,
) -> list[np.ndarray]:
    """Images of a mode that no other is near to, where a trough lies between, the highest first."""
    found, sd = [], np.sqrt(np.diag(mode.covariance))
    at_mode = posterior(mode.theta_star)
    places: dict[bytes, list[Image]] = {}
    for image in images(elements, mode.theta_star, sd, at_mode.x_star):
        outside = np.any(image.theta < lower) or np.any(image.theta > upper)
        if not outside and np.linalg.norm(mode.to_z(image.theta)) >= first_look and _is_new(image.theta, modes):
            places.setdefault(image.theta.tobytes(), []).append(image)
    for alike in places.values():
        other = alike[0].theta
        start = WarmStart(other, highest_start(posterior.inner, other, [image.x for image in alike]))
        there = posterior.evaluate_all([other], keep=False, starts=[start])[0].log_posterior
        if not np.isfinite(there) or there < mode.log_posterior - trough:
            continue
        between = posterior(0.5 * (mode.theta_star + other), keep=False).log_posterior
        if between < min(there, mode.log_posterior) - 0.5:
            found.append((there, other))
    found.sort(key=lambda pair: -pair[0])
    return [other for _, other in found[:MOST_IMAGES]]


def _rise(
    mode: ThetaMode, direction: np.ndarray, lower, upper, trough: float, first_look: float
) -> Generator[np.ndarray, Evaluation, np.ndarray | None]:
    """A point on a ray from which to search another mode: where the density rises, or where it must have risen before.

    The distances double, so that the slope of another mode towards this one, about half of the way, is met.
    """
    near, value, slope, far = 0.0, mode.log_posterior, 0.0, first_look
    while True:
        theta = mode.to_theta(far * direction)
        if np.any(theta < lower) or np.any(theta > upper):
            return None
        here = yield theta
        # a slope that far down is rounding as often as not, and a search from there takes long
        if here.gradient is None or not here.log_posterior > mode.log_posterior - trough:
            return None
        outwards = float(direction @ (mode.root.T @ here.gradient))
        if outwards > 0.05:
            return theta
        between = CubicHermiteSpline([near, far], [value, here.log_posterior], [slope, outwards])
        inside = np.linspace(near, far, 33)[1:]
        k = int(np.argmax(between(inside)))
        if near > 0 and between(inside[k]) > value:
            return mode.to_theta(inside[k] * direction)
        near, value, slope, far = far, here.log_posterior, outwards, 2.0 * far


def _is_new(theta: np.ndarray, modes: list[ThetaMode]) -> bool:
    return all(np.linalg.norm(m.to_z(theta)) > 1.0 for m in modes)


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
