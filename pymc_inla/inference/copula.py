"""A distribution of latents given theta with Laplace marginals of a few in a Gaussian copula (Ferkingstad & Rue 2015).

A few latents need not be close to normal: an intercept when events are rare, whose density falls like a normal on one
side and like its prior on the other. With t = (x_j - x*_j) / sd_j and the others at their mode x(t), the marginals are
(Rue, Martino & Chopin 2009, section 3.2.2)

    log p~_j(t) = f(x(t)) - 1/2 log det H_{-j}(x(t)) + const,

exact where x_j is the only one. f is log p(y, x | theta), or log p(y, x_S | theta) where the local latents are
integrated by quadrature: see `conditional` and `shared_marginals`. They are followed outward from the mode until the
density has fallen by DEPTH, and tabulated. With F_j their distribution functions and z_j = Phi^-1(F_j(t_j)), those
elements T have the density

    log q(x_T) = log N(sd z; 0, S_TT) + sum_j [log p~_j(t_j) - log phi(z_j)] ,

and the others, given them, that of N(x*, S): they follow along their regression B = S_oT S_TT^-1. Elements of T that
others of T determine nearly are left out, as their scores z would have to agree to as many digits.

Draws come from q. Its density at the mode is not what log p~(theta | y) = log p(y, x*, theta) - log p~(x* | theta, y)
is computed with: several elements may be far from normal in one direction that they share, which q would count as many
times. By the chain rule it is that of the first one, times that of the second one given the first at its mode, ...: the
same marginals, followed with more and more elements that stay at their modes.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.special import ndtr

from pymc_inla.inference.conditional_distribution import FirstOrder, Normal

DISTANCES = 0.6, 1.2, 1.9, 2.8, 4.3, 6.0, 8.5, 12.0, 17.0, 24.0, 34.0, 48.0
"""Points of a marginal on each side of the mode, in sd, until its log density has fallen by DEPTH"""
DEPTH, NEGLIGIBLE = 9.0, 25.0
"""Fall up to which a marginal is followed, and up to which it is tabulated: exponential tails in between"""
LEAST_SLOPE = 0.25
"""Of the log density in these tails, per sd"""
FEWEST = 1
"""Points on each side of a marginal that is tabulated"""
CLIFF = 30.0
"""Fall from which on a point is left out: no polynomial follows"""
SETTLED = 0.1
"""What another Newton step of the other latents may gain at most; beyond, a marginal ends"""
LEAST_VARIANCE = 1e-6
"""Share of the variance of an element that those before it leave unexplained, below which there is nothing to follow"""
OWN_VARIANCE = 0.05
"""Share of the variance of an element of T that those before it must leave unexplained"""
DEFENSIVE, SPREAD = 0.05, 1.6
"""Share of draws that are spread, and how far: sds of draws that cannot be weighted are 4 % too large at most"""
OVERSHOOT = 0.5
"""Of a cubic spline above its highest point, beyond which a monotone one is taken"""
CELLS = 40
"""Cells of the table between two points"""


def _with_defense(
    rng: np.random.Generator, deviation: np.ndarray, log_density: np.ndarray, base: Normal
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of a normal distribution (m, n), a share of them spread, and their log density."""
    spread = np.where(rng.random(len(deviation)) < DEFENSIVE, SPREAD, 1.0)
    form = 2.0 * (base.log_scale - log_density) * spread**2
    wider = np.log(DEFENSIVE) - len(base.lower) * np.log(SPREAD) - 0.5 * form / SPREAD**2
    return deviation * spread[:, None], base.log_scale + np.logaddexp(np.log1p(-DEFENSIVE) - 0.5 * form, wider)


def fall_of_sides(sides) -> np.ndarray:
    """The fall to a single point on each side, (2, m); NaN where there is none."""
    return np.array([[points[0][1] if points else np.nan for points in side] for side in sides])


class LaplaceMarginal:
    """A density of t from values of its logarithm, which is 0 at t = 0 and `height` after normalization; linear between
    the points of a fine table.

    Parameters
    ----------
    t, log_density : (n,) arrays
        Increasing; one of t is 0, where the log density is 0.
    """

    def __init__(self, t: np.ndarray, log_density: np.ndarray):
        spline = CubicSpline(t, log_density)
        if np.max(spline(np.linspace(t[0], t[-1], 20 * len(t)))) > np.max(log_density) + OVERSHOOT:
            spline = PchipInterpolator(t, log_density)
        inside = np.unique(np.concatenate([np.linspace(a, b, CELLS + 1) for a, b in pairwise(t)]))
        below, above = _tail(-spline(t[0], 1), log_density[0]), _tail(spline(t[-1], 1), log_density[-1])
        self.t = np.concatenate([t[0] - below[0][::-1], inside, t[-1] + above[0]])
        density = np.exp(np.concatenate([below[1][::-1], spline(inside), above[1]]))
        steps = np.diff(self.t)
        masses = np.r_[0.0, np.cumsum(0.5 * steps * (density[1:] + density[:-1]))]
        self.density, self.F = density / masses[-1], masses / masses[-1]
        self.height = -float(np.log(masses[-1]))
        w = 0.5 * self.density * np.r_[steps[0], steps[:-1] + steps[1:], steps[-1]]
        self.mean = float(w @ self.t)
        deviation = self.t - self.mean
        self.sd = float(np.sqrt(w @ deviation**2))
        self.skewness = float(w @ deviation**3) / self.sd**3

    def moved(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """t = F^-1(Phi(z)) and log p(t) - log phi(z), for z (m,)."""
        F = ndtr(z)
        cell = np.clip(np.searchsorted(self.F, F) - 1, 0, len(self.t) - 2)
        left, right, width = self.density[cell], self.density[cell + 1], self.t[cell + 1] - self.t[cell]
        mass = np.clip(F - self.F[cell], 0.0, self.F[cell + 1] - self.F[cell])
        root = np.sqrt(left**2 + 2.0 * (right - left) / width * mass)
        t = self.t[cell] + np.minimum(2.0 * mass / (left + root), width)
        return t, np.log(root) + _minus_log_phi(z)


def _minus_log_phi(z):
    return 0.5 * z**2 + 0.5 * np.log(2 * np.pi)


def _tail(slope: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances beyond the last point, and log densities there, that fall to -NEGLIGIBLE."""
    fall = max(-slope, LEAST_SLOPE)
    distance = np.linspace(0.0, max(NEGLIGIBLE + height, 1.0) / fall, 2 * CELLS + 1)[1:]
    return distance, height - fall * distance


def _own_variance(S: np.ndarray, j: int, others: list[int]) -> float:
    """What is left of the variance of x_j given others, which may determine each other"""
    return float(S[j, j] - S[j, others] @ np.linalg.lstsq(S[np.ix_(others, others)], S[others, j])[0])


def _with_variance_of_their_own(S: np.ndarray, elements: list[int]) -> np.ndarray:
    """The elements that those before them do not determine nearly."""
    T: list[int] = []
    for j in elements:
        if _own_variance(S, j, T) > OWN_VARIANCE * S[j, j]:
            T.append(j)
    return np.array(T, dtype=np.int64)


def chain(S: np.ndarray, elements: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """What a copula of some elements is made of, with sds by S (n, n): of every element j its marginal (j,), and its
    distribution (j, *held) given those before it."""
    keys, held = {}, ()
    for j in elements:
        if S[j, j] <= 0:
            continue
        keys[j,] = float(np.sqrt(S[j, j]))
        own = _own_variance(S, j, list(held))
        if held and own > LEAST_VARIANCE * S[j, j]:
            keys[j, *held] = float(np.sqrt(own))
        held = (*held, j)
    return keys


class Copula:
    """The distribution of x - x* at one theta.

    Parameters
    ----------
    normal : FirstOrder
        To first order: what the other elements have.
    sides : dict of tuple of int to two lists
        By the keys of `chain`, the most important elements first: points (t, log p~_j(t) - log p~_j(0)) below and above
        the mode, outwards, in the sds of `chain`.
    n_passes : int
        Passes over the data that they took.
    """

    def __init__(self, normal: FirstOrder, sides: dict[int, tuple[list, list]], n_passes: int = 0):
        self.normal, self.sides, self.n_passes = normal, sides, n_passes
        self.marginals, self.given = {}, []
        for (j, *held), (below, above) in sides.items():
            if min(len(below), len(above)) < FEWEST:
                continue
            t, log_density = np.array([*below[::-1], (0.0, 0.0), *above]).T
            marginal = LaplaceMarginal(t, log_density)
            if not held:
                self.marginals[j] = marginal
            if held or len(self.marginals) == 1:
                self.given.append(marginal)
        S = normal.covariance
        self.T = _with_variance_of_their_own(S, list(self.marginals))
        self.S_TT = S[np.ix_(self.T, self.T)]
        self.B = np.linalg.solve(self.S_TT, S[self.T]).T
        self.B[self.T] = np.eye(len(self.T))

    @cached_property
    def log_density_at_mode(self) -> float:
        """Of the chain rule, not of draws"""
        return self.normal.base.log_scale + sum(marginal.height + 0.5 * np.log(2 * np.pi) for marginal in self.given)

    @cached_property
    def sd(self) -> np.ndarray:
        """(n,)"""
        return self._replaced(self.normal.sd, "sd", self.normal.sd)

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """(n,)"""
        return self._replaced(self.normal.mean_shift, "mean", self.normal.sd)

    @cached_property
    def skewness(self) -> np.ndarray:
        """(n,)"""
        return self._replaced(self.normal.skewness, "skewness", np.ones(len(self.normal.sd)))

    def _replaced(self, values: np.ndarray, name: str, unit: np.ndarray) -> np.ndarray:
        """Values with those of the marginals, which are in this unit, in their places."""
        values = values.copy()
        for j, marginal in self.marginals.items():
            values[j] = getattr(marginal, name) * unit[j]
        return values

    @cached_property
    def covariance(self) -> np.ndarray:
        """(n, n)"""
        one = np.ones(len(self.normal.sd))
        ratio = self._replaced(one, "sd", one)
        return ratio[:, None] * self.normal.covariance * ratio

    def sample(self, rng: np.random.Generator, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of x - x* (m, n), and their log density (m,): of the copula, a share of them of a wider one, so that
        importance weights are bounded where the copula misses a tail of the joint distribution (Hesterberg 1995)."""
        normal, T = self.normal, self.T
        deviation, log_density = _with_defense(rng, *normal.base.sample(rng, m), normal.base)
        moved = np.empty((m, len(T)))
        for k, j in enumerate(T):
            t, change = self.marginals[j].moved(deviation[:, j] / normal.sd[j])
            moved[:, k] = t * normal.sd[j]
            log_density += change
        # the others keep what they differ by from their regression on T
        deviation += (moved - deviation[:, T] - normal.mean_shift[T]) @ self.B.T + normal.mean_shift
        return deviation, log_density
