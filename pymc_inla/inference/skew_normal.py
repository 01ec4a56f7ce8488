"""Skew normal distributions given by mean, sd and skewness (Azzalini 1985), vectorized.

    f(x) = 2/omega phi(t) Phi(alpha t),  t = (x - xi)/omega

The skewness of the family is below 0.9953; larger values are cut to 0.99.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, owens_t

MAX_SKEWNESS = 0.99
MAX_EXPANSION = 0.9
"""Bound of skewnesses that come from an expansion in the third derivatives, which is none any more beyond it."""
MOST_SHIFT = np.sqrt(3.0)
_HALF_GAP = (4.0 - np.pi) / 2.0


def parameters(mean, sd, skewness) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(xi, omega, alpha) with these moments; arrays broadcast."""
    gamma = np.clip(skewness, -MAX_SKEWNESS, MAX_SKEWNESS)
    power = np.abs(gamma) ** (2.0 / 3.0)
    delta = np.sign(gamma) * np.sqrt(np.pi / 2 * power / (power + _HALF_GAP ** (2.0 / 3.0)))
    omega = sd / np.sqrt(1 - 2 * delta**2 / np.pi)
    xi = mean - omega * delta * np.sqrt(2 / np.pi)
    return xi, omega, delta / np.sqrt(np.maximum(1 - delta**2, 1e-12))


def log_pdf(x, xi, omega, alpha) -> np.ndarray:
    """Log density."""
    t = (x - xi) / omega
    return np.log(2.0) - np.log(omega) - 0.5 * np.log(2 * np.pi) - 0.5 * t**2 + log_ndtr(alpha * t)


def cdf(x, xi, omega, alpha) -> np.ndarray:
    """Distribution function, Phi(t) - 2 T(t, alpha) with Owen's T."""
    t = (x - xi) / omega
    return np.clip(ndtr(t) - 2 * owens_t(t, alpha), 0.0, 1.0)


def bounded(skewness) -> np.ndarray:
    """A skewness from an expansion, within what the expansion can say."""
    return np.clip(skewness, -MAX_EXPANSION, MAX_EXPANSION)


def bounded_shift(shift, sd) -> np.ndarray:
    """Distances of means from modes that come from an expansion, (n,), within what is possible.

    The mean of a distribution with one mode is within sqrt(3) sd of it (Johnson & Rogers 1951). An expansion that says
    more is none any more; all elements are shortened together, so that linear combinations that are fixed stay so.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.max(np.where(sd > 0, np.abs(shift) / sd, 0.0), initial=0.0)
    if np.isposinf(excess):
        return np.zeros_like(shift)
    return shift if excess <= MOST_SHIFT else shift * (MOST_SHIFT / excess)


def standardized(third, sd) -> np.ndarray:
    """Bounded skewness from an expansion of the third central moment; zero where there is no spread."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return bounded(np.where(sd > 0, third / sd**3, 0.0))


def moved(z, skewness: np.ndarray) -> np.ndarray:
    """Values z of a standard normal (a Gauss-Hermite node, draws), moved to a standardized variable with this skewness.

    The map z + gamma (z^2 - 1)/6, rescaled to unit variance, has the right third moment to first order (Cornish &
    Fisher 1938).
    """
    c = np.clip(skewness, -MAX_SKEWNESS, MAX_SKEWNESS) / 6.0
    return (z + c * (z * z - 1.0)) / np.sqrt(1.0 + 2.0 * c * c)
