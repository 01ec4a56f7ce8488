"""Integration over two or three hyperparameters line by line, where their density is bent.

Two variances that explain the same thing (one observation per group, an effect of the observations beside one of the
groups) trade against each other: sigma^2 + tau^2 is known and the share is not. The density of their logarithms is
a thin ridge along both axes with a corner between, which no lattice follows. Along a line at fixed values of the other
hyperparameters it is a simple function. With the hyperparameters in an order, the longest first,

    p(theta_1 .. theta_k | y) = int p(theta_1 .. theta_{k+1} | y) dtheta_{k+1}

each integral is one of a function along a line: of log p~(theta | y) itself for the last hyperparameter, of the log
integrals over the lines below for those before it. Lines are placed, and evaluated, by the rules for a single
hyperparameter. The quantiles of each line are smooth in what is fixed and are interpolated (`triangular`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtr

from pymc_inla.errors import ConvergenceError
from pymc_inla.inference.density import IntegratedDensity, calibrate_weights
from pymc_inla.inference.grid import Nodes, Reach, build_line, fit_lattice
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.integral import ThetaIntegral, integrate_grid
from pymc_inla.inference.theta_posterior import Evaluation, ThetaPosterior
from pymc_inla.inference.triangular import TriangularDensity, scores_of, tabulate
from pymc_inla.status import Status

POINTS_PER_LINE = 40
MOST, POINTS_THEN = 6000, 12
"""Evaluations after which lines get fewer points; the estimate of the error says what that costs"""
NARROWEST = 1e-4
"""Least scale of a line, in sd at the mode"""
LONGEST = 60.0
"""Longest step, in units of the scale of the nearest line, which may be the thin one beside a long one"""


@dataclass(frozen=True)
class Precision:
    """How precise the lines are."""

    depth: float
    """Log units below the maximum of all hyperparameters at which a line ends"""
    shallow: float
    """The same below the maximum of a line that holds little of the mass"""
    tolerances: tuple[float, ...]
    """SCORE_TOLERANCE by level: the errors of an outer line go into everything, those of many inner lines differ"""


PRECISION = {2: Precision(12.0, 6.0, (1e-3, 1e-3)), 3: Precision(9.0, 4.0, (2e-3, 4e-3, 8e-3))}
"""By the number of hyperparameters: three take thousands of evaluations at the precision of two"""


@dataclass
class Nest:
    """What all lines of one integral share."""

    posterior: ThetaPosterior
    modes: list[ThetaMode]
    order: np.ndarray
    """(d,) hyperparameters from the outermost to the innermost"""
    lower: np.ndarray
    upper: np.ndarray
    highest: np.ndarray
    """(d,) highest value that the lines at each level have met: parts of other lines far below it do not matter"""
    lines: list[list[Line]]
    """The integrated lines at each level"""
    most: int
    """Evaluations of the posterior after which lines get fewer points"""

    @property
    def points_per_line(self) -> int:
        return POINTS_PER_LINE if self.posterior.n_evaluations < self.most else POINTS_THEN

    @classmethod
    def around(cls, posterior: ThetaPosterior, modes: list[ThetaMode], lower, upper) -> Nest:
        """Innermost is the hyperparameter that is nearest to a Gaussian independent of the others at the mode: it is
        integrated most often, and its lines change least. The others go by their sd."""
        d, C = len(lower), modes[0].covariance
        order = np.argsort(-np.diag(C), kind="stable")
        if d > 2:
            explained = 1.0 - 1.0 / (np.diag(C) * np.diag(np.linalg.inv(C)))  # squared multiple correlations
            lattice = fit_lattice(Nodes(posterior, modes[0], lower, upper), d)
            skewness = np.max(np.abs(np.log([lattice.down, lattice.up])), axis=0)
            innermost = int(np.argmin(explained + 0.5 * skewness))
            order = np.append(order[order != innermost], innermost)
        highest = np.full(d, -np.inf)
        highest[-1] = modes[0].log_posterior
        lines: list[list[Line]] = [[] for _ in range(d)]
        return cls(posterior, modes, order, lower, upper, highest, lines, posterior.n_evaluations + MOST)

    def expected(self, level: int, fixed: np.ndarray) -> ThetaMode:
        """Where the highest point of a line should be, and the scale around it: by the nearest line at this level."""
        known = self.lines[level]
        if known:
            sd = np.sqrt(np.diag(self.modes[0].covariance))[self.order[:level]]
            distances = [np.sum(((line.fixed - fixed) / sd) ** 2) for line in known]
            near = known[int(np.argmin(distances))].integral
            highest = max(near.nodes, key=lambda e: e.log_posterior)
            low, high = near.density.marginals[0].quantiles(ndtr([-1.0, 1.0]))
            narrowest = NARROWEST * np.sqrt(self.modes[0].covariance[self.order[level], self.order[level]])
            return _frame(float(highest.theta[0]), max(0.5 * (high - low), narrowest))
        # the others integrated out, or fixed
        precision, these = np.linalg.inv(self.modes[0].covariance), self.order[level:]
        variance = np.linalg.inv(precision[np.ix_(these, these)])[0, 0]
        return _frame(self.modes[0].theta_star[these[0]], np.sqrt(variance))


@dataclass
class Line:
    """A log density along one hyperparameter: those before it in the order fixed, those after it integrated out."""

    nest: Nest
    fixed: np.ndarray
    """(level,)"""
    values: dict[float, Evaluation] = field(default_factory=dict)
    """Evaluations by their place on the line, their theta being that place (1,)"""
    below: dict[float, Line | Evaluation] = field(default_factory=dict)
    """By their place: the lines that were integrated, or what log p~(theta | y) was evaluated to"""
    integral: ThetaIntegral | None = None
    failures: int = 0

    @property
    def level(self) -> int:
        return len(self.fixed)

    @property
    def is_innermost(self) -> bool:
        return self.level == len(self.nest.order) - 1

    def evaluate_all(self, points: list[np.ndarray]) -> list[Evaluation]:
        """Evaluations at points (1,) of the line."""
        new = [float(point[0]) for point in points if float(point[0]) not in self.values]
        if self.is_innermost:
            found = self.nest.posterior.evaluate_all(list(self.theta(np.array(new)[:, None])) if new else [])
            self.below |= zip(new, found, strict=True)
            self.values |= {x: replace(e, theta=np.array([x])) for x, e in zip(new, found, strict=True)}
        for x in new if not self.is_innermost else []:
            line = Line(self.nest, np.append(self.fixed, x))
            self.below[x], self.values[x] = line, line.integrate()
        return [self.values[float(point[0])] for point in points]

    def integrate(self) -> Evaluation:
        """Fill the line with nodes; its log integral, at the value fixed last."""
        nest, at = self.nest, self.nest.order[[self.level]]
        frame, elsewhere = nest.expected(self.level, self.fixed), nest.highest[self.level]
        # other modes are not looked for again on every line, but every line passes the places where they are
        others = [_frame(m.theta_star[at[0]], np.sqrt(m.covariance[at[0], at[0]])) for m in nest.modes[1:]]
        starts = [frame, *others]
        nodes = Nodes(self, frame, nest.lower[at], nest.upper[at])
        precision = PRECISION[len(nest.order)]
        reach = Reach(precision.depth, elsewhere, precision.shallow, LONGEST)
        decayed = build_line(nodes, starts, nest.points_per_line, reach, precision.tolerances[self.level])
        place = self.fixed[-1:]
        if len(nodes.z) < 3:
            return Evaluation(place, -np.inf, None, Status.NON_FINITE, nest.posterior.center.x_star)
        self.failures = nodes.failures_that_matter()
        self.integral = replace(
            integrate_grid(
                frame,
                nodes.points,
                tuple(nodes.evaluations),
                lower=nest.lower[at],
                upper=nest.upper[at],
                rough_at=self.rough_at,
            ),
            decayed=decayed,
        )
        nest.highest[self.level] = max(elsewhere, nodes.values.max())
        nest.lines[self.level].append(self)
        highest = max(nodes.evaluations, key=lambda e: e.log_posterior)
        return replace(highest, theta=place, log_posterior=self.integral.log_marginal_likelihood, gradient=None)

    def theta(self, along: np.ndarray) -> np.ndarray:
        """(m, 1) places on an innermost line to theta (m, d)"""
        theta = np.empty((len(along), len(self.nest.order)))
        theta[:, self.nest.order] = np.column_stack([np.tile(self.fixed, (len(along), 1)), along])
        return theta

    def rough_at(self, along: np.ndarray) -> np.ndarray:
        """(m, 1) to (m,); integrals over lines have no kinks that are known"""
        return self.nest.posterior.rough_at(self.theta(along)) if self.is_innermost else np.zeros(len(along))

    def predictors(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and sds of linear predictors at a place (1,), mixed over the line below it."""
        below = self.below[float(place[0])]
        if isinstance(below, Evaluation):
            return self.nest.posterior.predictors(below.theta)
        integral = below.integral
        moments = [below.predictors(e.theta) for e in integral.nodes]
        mean, sd = (np.array(part) for part in zip(*moments, strict=True))
        center = integral.weights @ mean
        return center, np.sqrt(integral.weights @ (sd**2 + (mean - center) ** 2))

    def lines_below(self) -> list[Line]:
        """The lines at the nodes of this one, in the order of the nodes."""
        return [self.below[float(e.theta[0])] for e in self.integral.nodes] if not self.is_innermost else []

    def leaves(self) -> tuple[list[Evaluation], np.ndarray]:
        """All evaluations of log p~(theta | y) that the integral is made of, and their weights."""
        if self.is_innermost:
            return [self.below[float(e.theta[0])] for e in self.integral.nodes], self.integral.weights
        parts = [line.leaves() for line in self.lines_below()]
        weights = [w * part for w, (_, part) in zip(self.integral.weights, parts, strict=True)]
        return [e for nodes, _ in parts for e in nodes], np.concatenate(weights)

    def outer_change(self) -> float:
        """What refining the line and those below it would change: the errors of the levels add up."""
        below = [line.outer_change() for line in self.lines_below()]
        return self.integral.outer_change + (self.integral.weights @ below if below else 0.0)

    def log_integral_error(self) -> float:
        below = [line.log_integral_error() for line in self.lines_below()]
        return self.integral.log_marginal_likelihood_error + (self.integral.weights @ below if below else 0.0)

    def tables(self, scores: np.ndarray) -> list[np.ndarray]:
        """Quantiles of this hyperparameter and of those after it, each given those before it (see `triangular`)."""
        quantiles = self.integral.density.marginals[0].quantiles(ndtr(scores))
        places = np.array([float(e.theta[0]) for e in self.integral.nodes])
        return tabulate(quantiles, places, [line.tables(scores) for line in self.lines_below()])


def integrate_nested(
    posterior: ThetaPosterior, modes: list[ThetaMode], lower: np.ndarray, upper: np.ndarray
) -> ThetaIntegral:
    """Integrate over two or three hyperparameters.

    Parameters
    ----------
    modes : list of ThetaMode
        The highest first.
    lower, upper : array (d,)

    Raises
    ------
    ConvergenceError
        If the density could not be evaluated on at least three lines.
    """
    mode, d = modes[0], len(lower)
    nest = Nest.around(posterior, modes, lower, upper)
    outermost = Line(nest, np.zeros(0))
    outermost.integrate()
    if outermost.integral is None:
        raise ConvergenceError(
            "log p(theta | y) could not be evaluated around its mode. Check the priors, or use integration='eb'."
        )
    evaluations, weights = outermost.leaves()
    across = outermost.integral
    nested = TriangularDensity(tuple(outermost.tables(scores_of(d))), nest.order, across.density.marginals[0])
    theta, masses = nested.cloud
    density = IntegratedDensity(theta, masses, np.zeros((d, d)), nested.log_density, nested.marginals)
    points = np.array([mode.to_z(e.theta) for e in evaluations])
    z = mode.to_z(theta)
    every = [line for level in nest.lines for line in level]
    return ThetaIntegral(
        method="grid",
        mode=mode,
        nodes=tuple(evaluations),
        weights=calibrate_weights(points, weights, masses @ z, np.cov(z.T, aweights=masses, bias=True)),
        log_density=np.array([e.log_posterior for e in evaluations]) - across.log_marginal_likelihood,
        density=density,
        log_marginal_likelihood=across.log_marginal_likelihood,
        log_marginal_likelihood_error=float(outermost.log_integral_error()),
        outer_change=float(outermost.outer_change()),
        decayed=all(line.integral.decayed for line in every),
        failures=sum(line.failures for line in every),
    )


def _frame(center: float, scale: float) -> ThetaMode:
    """Coordinates of a line."""
    return ThetaMode(np.array([center]), np.array([[scale]]), -np.inf, Status.CONVERGED, 0)
