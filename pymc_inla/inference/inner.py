"""The seam at which the latent field is integrated out, given theta.

An inner approximation turns theta into log p~(theta | y) and into the conditional posterior of x. Laplace and local
quadrature are two of them; the outer part of the inference sees only this protocol.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import numpy as np

from pymc_inla.status import Status


class Shape(Protocol):
    """A distribution with a table of its distribution function, in units of its own."""

    mean: float
    sd: float
    t: np.ndarray
    """(n,) increasing"""
    F: np.ndarray
    """(n,) distribution function at t"""
    density: np.ndarray
    """(n,) at t, linear in between"""


@dataclass(frozen=True)
class Moments:
    """First three moments of univariate conditional posteriors, each of shape (m,)."""

    mean: np.ndarray
    sd: np.ndarray
    skewness: np.ndarray


@dataclass(frozen=True)
class LatentMoments(Moments):
    """The same for the latents, each of shape (n_x,)."""

    shapes: dict[int, Shape] = field(default_factory=dict)
    """Distributions of some of them"""


EtaMoments = Moments
"""The same for the linear predictors, each of shape (n_eta,)."""


@dataclass(frozen=True)
class Cavities:
    """Moments of p~(eta_r | y without its own observation, theta), each (n_eta,)."""

    mean: np.ndarray
    variance: np.ndarray
    """Infinite where nothing but the own observation determines eta_r"""
    skewness: np.ndarray


@dataclass(frozen=True)
class Sample:
    """Draws of x from p~(x | theta, y) with what importance sampling needs."""

    x: np.ndarray
    """(m, n_x)"""
    log_q: np.ndarray
    """(m,) log density of each draw under the approximation, given theta"""
    log_joint: np.ndarray
    """(m,) log p(y, x | theta) + log p(theta), of the same variables as log_q"""
    scores: np.ndarray | None = None
    """(m, ...) what `repeat` needs beside the random numbers, where it was asked for"""


def spacing(n: int, most: int | None) -> int:
    """Every how many of n are taken where at most so many are wanted (None: all)."""
    return 1 if most is None else max(1, -(-n // most))


def changed(point, **fields_of_point):
    """A point with other values of some fields, and with what it has computed so far."""
    new = replace(point, **fields_of_point)
    names = {f.name for f in fields(point)}
    new.__dict__.update({name: value for name, value in point.__dict__.items() if name not in names})
    return new


class InnerPoint(Protocol):
    """The latent field integrated out at one theta."""

    theta: np.ndarray
    log_posterior: float
    """log p~(theta | y), unnormalized: log p~(y | theta) + log p(theta) with all constants"""
    gradient: np.ndarray | None
    """(n_theta,), of log_posterior - correction"""
    correction: float
    """What a copula changes in log_posterior"""
    x_star: np.ndarray
    """(n_x,) conditional mode"""
    status: Status
    n_newton: int
    n_passes: int
    refined: bool
    """Whether the approximation had to be finer than it is"""
    cancellation: float
    """Relative error that rounding makes in the curvature of the latents"""

    def moments(self) -> LatentMoments:
        """Moments of p~(x_j | theta, y)."""

    def eta_moments(self, most: int | None = None) -> EtaMoments:
        """Moments of p~(eta_r | theta, y) for expectations of the log-likelihood, of all r, or of at most so many,
        evenly spaced."""

    def predictor_marginals(self) -> EtaMoments:
        """Moments of p~(eta_r | theta, y) as a distribution."""

    def cavities(self) -> Cavities:
        """p~(eta_r | theta, y without the observation of r), where every observation has one linear predictor."""

    def sample(self, rng: np.random.Generator, m: int, *, densities: bool = True, repeatable: bool = False) -> Sample:
        """m draws of x given theta, with what it takes to repeat them elsewhere if asked for; without `densities`,
        which cost a pass over the data per draw, log_q and log_joint are NaN."""

    def repeat(self, rng: np.random.Generator, m: int, scores: np.ndarray | None) -> np.ndarray:
        """(m, n_x) what a sample at another theta would be at this one: from the same random numbers."""


class InnerApproximation(Protocol):
    """log p~(theta | y) as a function of theta."""

    bytes_per_point: float
    """Memory that one point holds, about"""
    in_parts: bool
    """Whether one evaluation uses all cores by itself"""

    def evaluate(self, theta: np.ndarray, start=None, *, gradient: bool = True) -> InnerPoint:
        """Integrate x out at theta. `start` is anything with `x_star` from which the search for the mode may begin."""
