"""Integration over two hyperparameters line by line, where their density is bent.

Two variances that explain the same thing (one observation per group, an effect of the observations beside one of the
groups) trade against each other: sigma^2 + tau^2 is known and the share is not. The density of their logarithms is
a thin ridge along both axes with a corner between, which no lattice follows. Along a line at one value of the first
hyperparameter it is a simple function of the second:

    p(theta_1 | y) = int p(theta | y) dtheta_2,    p(theta_2 | theta_1, y)

The integral of each line and its conditional quantiles are smooth in theta_1 and are interpolated (the inverse of
Rosenblatt's transformation, 1952). Lines are placed, and evaluated, by the rules for a single hyperparameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights
from pymc_inla.inference.grid import Nodes, build_line
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral, failure_messages, integrate_grid
from pymc_inla.inference.lattice import LatticeMarginal
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior
from pymc_inla.status import Status

LINES, POINTS_PER_LINE = 40, 40
DEPTH = 12.0
"""Log units below the maximum of both hyperparameters at which a line ends"""
TOLERANCE = 1e-3
"""SCORE_TOLERANCE of the lines, whose errors all go into one integral"""
CLOUD = 2**15
SCORES = np.linspace(-4.5, 4.5, 181)
SCORE_STEP = SCORES[1] - SCORES[0]
RANKS = ndtr(SCORES)
"""Probabilities of the conditional quantiles that are interpolated, equally spaced as quantiles of a normal"""
MIXED = 256
"""Conditional densities of which the marginal of the second hyperparameter is the mean"""
PORTION = 4096


@dataclass
class Line:
    """log p~(theta | y) along one axis, with the other hyperparameter fixed. Stands for a ThetaPosterior."""

    posterior: ThetaPosterior
    axis: int
    fixed: float

    def theta(self, along: np.ndarray) -> np.ndarray:
        """(m, 1) to (m, 2)"""
        return np.insert(np.atleast_2d(along), 1 - self.axis, self.fixed, axis=1)

    def evaluate_all(self, points: list[np.ndarray]) -> list[Evaluation]:
        """Evaluations at points (1,) of the line."""
        return self.posterior.evaluate_all([self.theta(point)[0] for point in points])

    def predictors(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of linear predictors at theta (2,)."""
        return self.posterior.predictors(theta)

    def rough_at(self, along: np.ndarray) -> np.ndarray:
        """(m, 1) to (m,)"""
        return self.posterior.rough_at(self.theta(along))


@dataclass
class MarginalPosterior:
    """log p~(theta_1 | y), one line per value. Stands for a ThetaPosterior."""

    posterior: ThetaPosterior
    mode: ThetaMode
    axis: int
    """of the lines"""
    lower: np.ndarray
    upper: np.ndarray
    lines: dict[float, tuple[Evaluation, ThetaIntegral]] = field(default_factory=dict)

    def evaluate_all(self, points: list[np.ndarray]) -> list[Evaluation]:
        """Log integrals over the lines at points (1,)."""
        return [self._integrated(float(point[0])) for point in points]

    def _integrated(self, fixed: float) -> Evaluation:
        if fixed not in self.lines:
            self.lines[fixed] = self._integrate(fixed)
        return self.lines[fixed][0]

    def _integrate(self, fixed: float) -> tuple[Evaluation, ThetaIntegral | None]:
        line = Line(self.posterior, self.axis, fixed)
        center, scale = self._expected(fixed)
        at = np.array([self.axis])
        mode = ThetaMode(np.array([center]), np.array([[scale]]), -np.inf, Status.CONVERGED, 0)
        nodes = Nodes(line, mode, self.lower[at], self.upper[at], elsewhere=self.mode.log_posterior)
        decayed = build_line(nodes, [mode], POINTS_PER_LINE, depth=DEPTH, tolerance=TOLERANCE)
        if len(nodes.z) < 3:
            lost = Evaluation(np.array([fixed]), -np.inf, None, Status.NON_FINITE, self.posterior.center.x_star)
            return lost, None
        integral = integrate_grid(
            mode,
            nodes.points,
            tuple(nodes.evaluations),
            decayed=decayed,
            messages=failure_messages(nodes.failures_that_matter()),
            lower=self.lower[at],
            upper=self.upper[at],
            rough_at=line.rough_at,
        )
        highest = max(nodes.evaluations, key=lambda e: e.log_posterior)
        value = integral.log_marginal_likelihood
        return replace(highest, theta=np.array([fixed]), log_posterior=value, gradient=None), integral

    def _expected(self, fixed: float) -> tuple[float, float]:
        """Where the highest point of a line should be, and the scale around it: by the nearest known line."""
        known = {value: line for value, (_, line) in self.lines.items() if line is not None}
        if not known:
            precision = np.linalg.inv(self.mode.covariance)
            return float(self.mode.theta_star[self.axis]), float(precision[self.axis, self.axis] ** -0.5)
        line = known[min(known, key=lambda value: abs(value - fixed))]
        highest = max(line.nodes, key=lambda e: e.log_posterior)
        low, high = line.density.lattice.marginals[0].quantiles(ndtr([-1.0, 1.0]))
        return float(highest.theta[self.axis]), float(0.5 * (high - low))

    def predictors(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of linear predictors, mixed over the line at theta (1,)."""
        line = self.lines[float(theta[0])][1]
        moments = [self.posterior.predictors(e.theta) for e in line.nodes]
        mean, sd = (np.array(part) for part in zip(*moments, strict=True))
        center = line.weights @ mean
        return center, np.sqrt(line.weights @ (sd**2 + (mean - center) ** 2))

    def rough_at(self, theta: np.ndarray) -> np.ndarray:
        """Integrals over lines have no kinks that are known: (m, 1) to zeros (m,)"""
        return np.zeros(len(theta))


def integrate_nested(
    posterior: ThetaPosterior, modes: list[ThetaMode], lower: np.ndarray, upper: np.ndarray
) -> ThetaIntegral:
    """Integrate over two hyperparameters.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    lower, upper : array (2,)

    Raises
    ------
    ConvergenceError
        If the density could not be evaluated on at least three lines.
    """
    mode = modes[0]
    sd = np.sqrt(np.diag(mode.covariance))
    outer = int(np.argmax(sd))
    at, axis = np.array([outer]), 1 - outer
    marginal = MarginalPosterior(posterior, mode, axis, lower, upper)
    starts = [ThetaMode(m.theta_star[at], sd[at][:, None], m.log_posterior, m.status, 0) for m in modes]
    nodes = Nodes(marginal, starts[0], lower[at], upper[at])
    decayed = build_line(nodes, starts, LINES, depth=DEPTH, tolerance=TOLERANCE)
    if len(nodes.z) < 3:
        raise ConvergenceError(
            "log p(theta | y) could not be evaluated around its mode. Check the priors, or use integration='eb'."
        )
    across = integrate_grid(starts[0], nodes.points, tuple(nodes.evaluations), lower=lower[at], upper=upper[at])
    along = [marginal.lines[float(e.theta[0])][1] for e in nodes.evaluations]
    evaluations = tuple(e for line in along for e in line.nodes)
    weights = np.concatenate([w * line.weights for w, line in zip(across.weights, along, strict=True)])
    nested = _nested_density(across, along, outer)
    cloud = nested.cloud
    flat = np.full(CLOUD, 1.0 / CLOUD)
    density = IntegratedDensity(cloud, flat, np.zeros((2, 2)), nested.log_density, nested)
    points = np.array([mode.to_z(e.theta) for e in evaluations])
    z = mode.to_z(cloud)
    log_ml = across.log_marginal_likelihood
    changes = [line.outer_change for line in along]
    errors = [line.log_marginal_likelihood_error for line in along]
    return ThetaIntegral(
        method="grid",
        mode=mode,
        nodes=evaluations,
        weights=calibrate_weights(points, weights, z.mean(0), np.cov(z.T, bias=True)),
        log_density=np.array([e.log_posterior for e in evaluations]) - log_ml,
        density=density,
        log_marginal_likelihood=log_ml,
        log_marginal_likelihood_error=float(across.log_marginal_likelihood_error + across.weights @ errors),
        outer_change=float(max(across.outer_change, across.weights @ changes)),
        decayed=decayed and all(line.decayed for line in along),
        messages=max((line.messages for line in along), default=()),
    )


def _nested_density(across: ThetaIntegral, along: list[ThetaIntegral], outer: int) -> NestedDensity:
    first = np.array([float(e.theta[0]) for e in across.nodes])
    order = np.argsort(first)
    quantiles = np.array([along[k].density.lattice.marginals[0].quantiles(RANKS) for k in order])
    curves = PchipInterpolator(first[order], quantiles, axis=0)
    return NestedDensity(across.density.lattice.marginals[0], curves, outer)


@dataclass(frozen=True)
class NestedDensity:
    """p(theta_1) p(theta_2 | theta_1) and its marginals. Stands for a LatticeDensity."""

    first: LatticeMarginal
    curves: PchipInterpolator
    """theta_1 (m,) to the quantiles of theta_2 at RANKS, (m, len(RANKS))"""
    outer: int
    """Which hyperparameter is the first"""

    @cached_property
    def cloud(self) -> np.ndarray:
        """(CLOUD, 2) equally probable theta"""
        from scipy.stats import qmc  # 0.4 s to import

        u = qmc.Sobol(2, scramble=False).random(CLOUD) + 0.5 / CLOUD
        grid = np.linspace(self.first.low, self.first.high, 4001)
        first = np.interp(u[:, 0], np.maximum.accumulate(self.first.cdf(grid)), grid)
        score = ndtri(u[:, 1])
        at = np.clip(((score - SCORES[0]) / SCORE_STEP).astype(np.int64), 0, len(SCORES) - 2)
        second = np.empty(CLOUD)
        for part in _portions(CLOUD):
            low, slope = _segments(self._quantiles(first[part]), at[part])
            second[part] = low + slope * (score[part] - SCORES[at[part]])
        return self._ordered(first, second)

    @property
    def marginals(self) -> tuple[LatticeMarginal | NestedMarginal, ...]:
        """One per component of theta."""
        return self._ordered(self.first, NestedMarginal(self), join=tuple)

    def log_density(self, theta: np.ndarray) -> np.ndarray:
        """(m, 2) to (m,)"""
        theta = np.atleast_2d(theta)
        first, second = theta[:, self.outer], theta[:, 1 - self.outer]
        return np.log(np.maximum(self.first.pdf(first), 1e-300)) + self.log_conditional(second, first)

    def log_conditional(self, second: np.ndarray, first: np.ndarray) -> np.ndarray:
        """log p(theta_2 | theta_1), (m,): that of the normal score over the slope of theta_2 in it"""
        out = np.empty(len(second))
        for part in _portions(len(second)):
            rows = self._quantiles(first[part])
            at = np.clip(np.sum(rows <= second[part][:, None], axis=1) - 1, 0, len(SCORES) - 2)
            low, slope = _segments(rows, at)
            score = SCORES[at] + (second[part] - low) / slope
            out[part] = -0.5 * score**2 - 0.5 * np.log(2 * np.pi) - np.log(slope)
        return out

    def _quantiles(self, first: np.ndarray) -> np.ndarray:
        return self.curves(np.clip(first, self.curves.x[0], self.curves.x[-1]))

    def _ordered(self, first, second, join=np.column_stack):
        return join([first, second] if self.outer == 0 else [second, first])


@dataclass(frozen=True)
class NestedMarginal:
    """p(theta_2 | y), mixed over theta_1."""

    density: NestedDensity

    @cached_property
    def values(self) -> np.ndarray:
        """(CLOUD,) equally probable values, ascending"""
        return np.sort(self.density.cloud[:, 1 - self.density.outer])

    def quantiles(self, probabilities) -> np.ndarray:
        """(k,) to (k,)"""
        return np.interp(probabilities, (np.arange(CLOUD) + 0.5) / CLOUD, self.values)

    def pdf(self, theta) -> np.ndarray:
        """(k,) to (k,)"""
        given = self.density.first.quantiles((np.arange(MIXED) + 0.5) / MIXED)
        log_p = self.density.log_conditional(np.repeat(theta, MIXED), np.tile(given, len(theta)))
        return np.exp(log_p).reshape(-1, MIXED).mean(axis=1)


def _portions(n: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n), max(1, n // PORTION))


def _segments(rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantile at the lower end of a segment between two ranks, and its slope in the normal score."""
    each = np.arange(len(rows))
    low = rows[each, at]
    return low, np.maximum(rows[each, at + 1] - low, 1e-300) / SCORE_STEP
