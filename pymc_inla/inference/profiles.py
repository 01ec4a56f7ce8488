"""The log density of theta as a sum of its profiles along the axes of z: the part of it that needs no other points.

    f(z) ~ f(0) + sum_j [f(z_j e_j) - f(0)] + remainder

The profiles are cubic Hermite interpolants of values and slopes. What they leave to be emulated from scattered points
vanishes where the hyperparameters do not interact, however skewed each of them is.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior, in_step

DISTANCES = 1.5, 3.0, 6.0
"""Points of a profile on each side, and then twice as far again, until the density has fallen by DEPTH."""
DEPTH = 12.0
FARTHEST = 50.0
STEEP, NEAREST = 4.0, 0.2
"""Fall to the first point beyond which points in between are looked at, and where that ends"""
DIFFERENCE_STEP = 1e-4


@dataclass(frozen=True)
class Profile:
    """f along one axis: values and outward slopes at increasing z, one of which is 0."""

    z: np.ndarray
    value: np.ndarray
    slope: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """f - f(0) at z; linear, and never rising, beyond the ends."""
        if len(self.z) == 1:
            return np.zeros_like(z)
        inside = np.clip(z, self.z[0], self.z[-1])
        value = CubicHermiteSpline(self.z, self.value, self.slope)(inside)
        slope = np.where(z > self.z[-1], min(self.slope[-1], 0.0), max(self.slope[0], 0.0))
        return value + slope * (z - inside)

    def derivative(self, z: np.ndarray) -> np.ndarray:
        if len(self.z) == 1:
            return np.zeros_like(z)
        slope = CubicHermiteSpline(self.z, self.value, self.slope)(np.clip(z, self.z[0], self.z[-1]), 1)
        slope = np.where(z > self.z[-1], min(self.slope[-1], 0.0), slope)
        return np.where(z < self.z[0], max(self.slope[0], 0.0), slope)

    def scale(self, sign: float) -> float:
        """z / sqrt(2 drop), the larger of those at the two nearest points on a side (Rue, Martino & Chopin 2009,
        section 6.5)."""
        near = [k for k in np.argsort(np.abs(self.z)) if sign * self.z[k] > 0][:2]
        found = [abs(self.z[k]) / np.sqrt(2 * max(-self.value[k], 0.05)) for k in near]
        return float(np.clip(max(found, default=1.0), 0.4, 4.0))


def axis_profiles(posterior: ThetaPosterior, mode: ThetaMode, lower, upper) -> tuple[Profile, ...]:
    """Profiles of log p~(theta | y), without its part that is known everywhere, along all axes."""
    axes = np.eye(len(mode.theta_star))
    walks = [_side(posterior, mode, axis, sign, lower, upper) for axis in axes for sign in (-1.0, 1.0)]
    sides = in_step(walks, lambda thetas: posterior.evaluate_all(thetas, gradient=True, keep=False))
    return tuple(_joined(below | above) for below, above in zip(sides[::2], sides[1::2], strict=True))


def _side(
    posterior: ThetaPosterior, mode: ThetaMode, axis: np.ndarray, sign: float, lower, upper
) -> Generator[np.ndarray, Evaluation, dict[float, tuple[float, float]]]:
    """Value and slope of a profile at points on one side of the mode."""

    def rough(z: float) -> float:
        return float(posterior.rough_at(mode.to_theta(z * axis)[None])[0])

    def value_and_slope(z: float) -> Generator[np.ndarray, Evaluation, tuple[float, float] | None]:
        theta = mode.to_theta(z * axis)
        if np.any(theta < lower) or np.any(theta > upper):
            return None
        here = yield theta
        if here.gradient is None or not np.isfinite(here.log_posterior):
            return None
        kinked = (rough(z + DIFFERENCE_STEP) - rough(z - DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
        value = here.log_posterior - mode.log_posterior - (rough(z) - rough(0.0))
        return value, float(axis @ (mode.root.T @ here.gradient)) - kinked

    points = {}
    distance, fallen = DISTANCES[0], 0.0
    while distance <= FARTHEST and (distance <= DISTANCES[1] or fallen < DEPTH):
        here = yield from value_and_slope(sign * distance)
        if here is None:
            break
        points[sign * distance] = here
        fallen = -here[0]
        distance *= 2.0
    nearest = DISTANCES[0]
    while points and -points[sign * nearest][0] > STEEP and nearest > NEAREST:
        nearest /= 2.0
        here = yield from value_and_slope(sign * nearest)
        if here is None:
            break
        points[sign * nearest] = here
    return points


def _joined(points: dict[float, tuple[float, float]]) -> Profile:
    points = points | {0.0: (0.0, 0.0)}
    z = np.array(sorted(points))
    value, slope = np.array([points[k] for k in z]).T
    return Profile(z, value, _monotone(z, value, slope))


def _monotone(z: np.ndarray, value: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Slopes no steeper than lets the interpolant fall wherever both ends of a piece do (Fritsch & Carlson 1980).

    Far out a density may fall by hundreds between two points. A cubic with the slope at the second one would rise high
    above the mode in between.
    """
    secant = np.diff(value) / np.diff(z)
    falls = (slope[:-1] * secant >= 0) & (slope[1:] * secant >= 0)
    most = np.where(falls, 3.0 * np.abs(secant), np.inf)
    most = np.minimum(np.append(np.inf, most), np.append(most, np.inf))
    return np.clip(slope, -most, most)


def sum_of_profiles(profiles: tuple[Profile, ...], z: np.ndarray) -> np.ndarray:
    """(m, d) to (m,)"""
    return sum(profile(column) for profile, column in zip(profiles, z.T, strict=True))


def slopes_of_profiles(profiles: tuple[Profile, ...], z: np.ndarray) -> np.ndarray:
    """Gradients of their sum, (m, d) to (m, d)"""
    return np.column_stack([profile.derivative(column) for profile, column in zip(profiles, z.T, strict=True)])


def split_scales(profiles: tuple[Profile, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(d,) scales below and above the mode"""
    down, up = (np.array([profile.scale(sign) for profile in profiles]) for sign in (-1.0, 1.0))
    return down, up
