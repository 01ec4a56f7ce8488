"""Evaluations of log p~(theta | y) at scattered points, and the emulators that go through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymc_inla.inference.density import morton_key
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hermite import HermiteEmulator
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.profiles import DIFFERENCE_STEP, Profile, slopes_of_profiles, sum_of_profiles
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior

WITH_GRADIENTS = 11
"""Hyperparameters up to which an emulator goes through gradients, too"""
MOST_DATA = 2200
"""Values and derivatives that it goes through, but for values alone beyond them: a system of so many equations takes
half a second"""
CEILING = 0.5
"""How far an emulator may rise above everything that was evaluated: the modes are known"""

Emulated = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From points z (m, d) and the known part of the log density there (m,) to the log density (m,)"""


class ThetaDesign:
    """Evaluations of log p~(theta | y) that an emulator goes through, in coordinates z."""

    def __init__(self, posterior: ThetaPosterior, mode: ThetaMode, profiles: tuple[Profile, ...], lower, upper):
        self.posterior, self.mode, self.profiles, self.lower, self.upper = posterior, mode, profiles, lower, upper
        d = len(mode.theta_star)
        self.gradients = d <= WITH_GRADIENTS
        self.z, self.f = np.empty((0, d)), np.empty(0)
        self.correction, self.gradient = np.empty(0), np.empty((0, d))

    def known_at(self, z: np.ndarray) -> np.ndarray:
        """The part of the log density that is not emulated, (m,)"""
        return self.posterior.rough_at(self.mode.to_theta(z)) + sum_of_profiles(self.profiles, z)

    def add(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Evaluation]]:
        """Evaluate at the rows of z, and return those that have a value, in the order of a space-filling curve."""
        z = z[np.argsort(morton_key(z), kind="stable")]
        theta = self.mode.to_theta(z)
        inside = np.all((theta >= self.lower) & (theta <= self.upper), axis=1)
        z, theta = z[inside], theta[inside]
        self.posterior.evaluate_all(theta[self._with_gradients(len(theta))], gradient=True)
        found = self.posterior.evaluate_all(theta)
        finite = np.array([np.isfinite(e.log_posterior) for e in found], dtype=bool)
        found = [e for e, ok in zip(found, finite, strict=True) if ok]
        z = z[finite]
        self._append(z, found)
        return z, np.array([e.log_posterior for e in found]), found

    def add_scanned(self, region: Callable[[np.ndarray], bool] | None = None) -> None:
        """What is known from scans along the axes and the search of the mode, where it is not next to another point;
        of a region of theta only, where one is given."""
        near, found = list(self.z), []
        for e in self.posterior.known():
            if region is not None and not region(e.theta):
                continue
            point = self.mode.to_z(e.theta)
            if np.min(np.sum((np.array(near) - point) ** 2, axis=1), initial=np.inf) > 0.3**2:
                near.append(point)
                found.append(e)
        self._append(np.array(near[len(self.z) :]).reshape(-1, self.z.shape[1]), found)

    def _append(self, z: np.ndarray, found: list[Evaluation]) -> None:
        m, d = z.shape
        self.z = np.vstack([self.z, z])
        self.f = np.append(self.f, [e.log_posterior for e in found])
        self.correction = np.append(self.correction, [e.correction for e in found])
        gradient = np.full((m, d), np.nan)
        for k in self._with_gradients(m):
            if found[k].gradient is not None:
                gradient[k] = self.mode.root.T @ found[k].gradient
        self.gradient = np.vstack([self.gradient, gradient])

    def _with_gradients(self, m: int) -> np.ndarray:
        """Those of m more points that have gradients: as many as are affordable, evenly spaced."""
        d = self.z.shape[1]
        n_data = len(self.z) + np.isfinite(self.gradient).sum() + m
        most = max(MOST_DATA - n_data, 0) // d if self.gradients else 0
        return np.unique(np.linspace(0, m - 1, min(most, m)).astype(int))

    def emulate(self, *, stiff: bool = True) -> Emulated:
        """Emulator of the log density from its known part, within reach of the maximum; values far below it would only
        bend it.

        What the inner approximation adds to a density whose gradient it gives is interpolated without gradients.

        Parameters
        ----------
        stiff : bool
            Of two interpolants of everything that was evaluated the smoother one. Both are as near as one can tell.
        """
        d = self.z.shape[1]
        near = self.f > self.f.max() - (25.0 + 2.0 * d)
        if near.sum() <= (d + 1) * (d + 2) // 2:
            near = np.argsort(-self.f)[: max((d + 1) * (d + 2) // 2 + 1, d + 2)]
        # coincident points would make the system singular
        z, index = np.unique(self.z[near], axis=0, return_index=True)
        f, correction, gradient = (v[near][index] for v in (self.f, self.correction, self.gradient))
        values, ceiling = f - self.known_at(z), self.f.max() + CEILING
        if not self.gradients:
            parts = [_by_values(z, values, 3 if stiff else 1)]
        else:
            slopes = gradient - slopes_of_profiles(self.profiles, z) - self._slopes_of_rough(z)
            parts = [HermiteEmulator.of(z, values - correction, slopes, 5 if stiff else 3)]
            if np.any(correction):
                parts.append(_by_values(z, correction, 3 if stiff else 1))
        return lambda at, known: np.minimum(sum(part(at) for part in parts) + known, ceiling)

    def _slopes_of_rough(self, z: np.ndarray) -> np.ndarray:
        """(m, d)"""
        if self.posterior.rough is None:
            return np.zeros(z.shape)
        up, down = (
            [self.posterior.rough_at(self.mode.to_theta(z + step)) for step in s * DIFFERENCE_STEP * np.eye(z.shape[1])]
            for s in (1, -1)
        )
        return (np.array(up) - np.array(down)).T / (2 * DIFFERENCE_STEP)


def _by_values(z: np.ndarray, values: np.ndarray, power: int) -> Callable[[np.ndarray], np.ndarray]:
    emulator = Emulator.at(z, degree=1, power=power)
    coefficients = emulator.coefficients(values)
    return lambda at: emulator.predict(coefficients, at)
