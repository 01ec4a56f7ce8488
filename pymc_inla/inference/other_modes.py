"""Search for modes of log p~(theta | y) beside the one that was found first."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from pymc_inla.inference.effort import Effort
from pymc_inla.inference.hyper_mode import ThetaMode, find_theta_mode
from pymc_inla.inference.images import Image, images
from pymc_inla.inference.multistart import highest_start
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior, WarmStart, in_step
from pymc_inla.status import Status
from pymc_inla.theta_space import ThetaSpace

LOWEST = 15.0
"""Log units below the highest mode of others that matter"""
MOST_MODES, MOST_IMAGES = 8, 4
"""Modes beyond which no others are looked for, and how many images of one are searched from"""


def find_other_modes(
    posterior: ThetaPosterior,
    mode: ThetaMode,
    space: ThetaSpace,
    effort: Effort,
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
        modes = find_other_modes(near, start, space, effort)
        at = [m.theta_star for m in modes]
        values = posterior.evaluate_all(at, starts=near.evaluate_all(at))
        modes = [replace(m, log_posterior=e.log_posterior) for m, e in zip(modes, values, strict=True)]
        return sorted(modes, key=lambda m: -m.log_posterior)
    d = len(mode.theta_star)
    modes = [mode]

    def search(start: np.ndarray) -> None:
        center = posterior.center
        other = find_theta_mode(posterior, start, space.lower, space.upper)
        posterior.center = center
        # a search along a ridge that is cut short ends anywhere on it
        found = other.status is not Status.MAX_ITERATIONS
        if found and _is_new(other.theta_star, modes) and other.log_posterior > mode.log_posterior - LOWEST:
            modes.append(other)

    rays = [_rise(mode, sign * axis, space, effort) for axis in np.eye(d) for sign in (1.0, -1.0)]
    for start in in_step(rays, lambda thetas: posterior.evaluate_all(thetas, gradient=True, keep=False)):
        if start is not None:
            search(start)
    for one in modes:  # which grows
        for start in _elsewhere(posterior, one, modes, space, effort):
            if len(modes) < MOST_MODES and _is_new(start, modes):
                search(start)
    modes = sorted(modes, key=lambda m: -m.log_posterior)
    return [m for m in modes if m.log_posterior > modes[0].log_posterior - LOWEST]


def _elsewhere(
    posterior: ThetaPosterior, mode: ThetaMode, modes: list[ThetaMode], space: ThetaSpace, effort: Effort
) -> list[np.ndarray]:
    """Images of a mode that no other is near to, where a trough lies between, the highest first."""
    found, sd = [], np.sqrt(np.diag(mode.covariance))
    at_mode = posterior(mode.theta_star)
    places: dict[bytes, list[Image]] = {}
    for image in images(space, mode.theta_star, sd, at_mode.x_star):
        far = np.linalg.norm(mode.to_z(image.theta)) >= effort.first_look
        if far and space.contains(image.theta) and _is_new(image.theta, modes):
            places.setdefault(image.theta.tobytes(), []).append(image)
    for alike in places.values():
        other = alike[0].theta
        start = WarmStart(other, highest_start(posterior.inner, other, [image.x for image in alike]))
        there = posterior.evaluate_all([other], keep=False, starts=[start])[0].log_posterior
        if not np.isfinite(there) or there < mode.log_posterior - effort.trough:
            continue
        between = posterior(0.5 * (mode.theta_star + other), keep=False).log_posterior
        if between < min(there, mode.log_posterior) - 0.5:
            found.append((there, other))
    found.sort(key=lambda pair: -pair[0])
    return [other for _, other in found[:MOST_IMAGES]]


def _rise(
    mode: ThetaMode, direction: np.ndarray, space: ThetaSpace, effort: Effort
) -> Generator[np.ndarray, Evaluation, np.ndarray | None]:
    """A point on a ray from which to search another mode: where the density rises, or where it must have risen before.

    The distances double, so that the slope of another mode towards this one, about half of the way, is met.
    """
    near, value, slope, far = 0.0, mode.log_posterior, 0.0, effort.first_look
    while True:
        theta = mode.to_theta(far * direction)
        if not space.contains(theta):
            return None
        here = yield theta
        # a slope that far down is rounding as often as not, and a search from there takes long
        if here.gradient is None or not here.log_posterior > mode.log_posterior - effort.trough:
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
