"""p(theta | y) with the local latents integrated by quadrature and the Laplace approximation for the shared ones only.

    log p~(theta | y) = max over x_S of log p(y, x_S | theta) + log p(theta) + n/2 log 2 pi - 1/2 log det H_S,

n the free dimension of x_S and H_S the negative Hessian of log p(y, x_S | theta) (Louis). With binary data in small
groups p(x_L | y) is far from Gaussian and the full Laplace approximation fails; p(x_S | y, theta) is close to Gaussian.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from pymc_inla.inference.around_mode import FunctionsOfTheta
from pymc_inla.inference.cavity import match, remove_own
from pymc_inla.inference.conditional_distribution import FirstOrder
from pymc_inla.inference.copula import Copula
from pymc_inla.inference.inner import Cavities, LatentMoments, Moments, Sample, changed, spacing
from pymc_inla.inference.local_blocks import LocalBlocks
from pymc_inla.inference.local_conditional import Conditional
from pymc_inla.inference.local_posterior import AT_ONCE, LocalIntegral, integrate_local, joined
from pymc_inla.inference.marginals_of_theta import MarginalsOfTheta
from pymc_inla.inference.node_rules import Rule, node_rule, wide_rule
from pymc_inla.inference.shared_marginals import SharedFirstOrder, falls, shared_copula
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg.partition import Partition
from pymc_inla.status import Status

MAX_ITERATIONS = 30
MOST_REJECTED = 10
"""Steps with a value that a line search tries, the last one a thousandth of Newton's: where it is no better, the value
jumps as nodes move from one mode of a local latent to another, and shorter steps do not help"""
RULES = {1: (5, 11, 23, 47), 2: (5, 11, 23), 3: (5, 7, 11)}
"""Nodes per dimension that are tried, by the dimension of the local blocks"""
FINEST = 383
"""The same in one dimension where all nodes are evaluated in one call: where a likelihood is a step on the scale of the
prior (a count of zero, sigma = 20), nodes farther apart than it is wide leave waves in the log density of x_S, and the
search of its mode fails"""
WIDE_K = {1: (63, 127), 2: (31,), 3: (15,)}
"""Nodes per dimension where local latents have long tails"""
MANY_PARTS = 8
"""Parts from which they keep all cores busy; with fewer, values of theta are evaluated side by side"""
TOLERANCE = 1e-12
"""On the Newton decrement of x_S. log det H_S is not stationary there: 1e-6 sd from the mode it is off by some 1e-7."""
LOST_SLOPE = 0.01
"""Rounding in log p(theta | y) beyond which it has no gradient: with the scale of an effect at 3e-8 and its mean at 1
it is a hundred log units, with a correlation 1e-14 below one it is one, and their slopes look like another mode"""
POINTS = 20
"""Of a Laplace marginal, about"""
ROUGH = 1e-4
"""The same where a rule is only compared with another: log det H_S is off by some 1e-3, at all theta alike."""


@dataclass(frozen=True)
class QuadraturePoint:
    """The quadrature approximation at one theta. See `pymc_inla.inference.inner.InnerPoint`."""

    approximation: "QuadratureInner"
    theta: np.ndarray
    log_posterior: float
    gradient: np.ndarray | None
    x_star: np.ndarray
    """(n_x,) mode of x_S, and of x_L given it"""
    status: Status
    n_newton: int
    n_passes: int
    log_prior_theta: float = np.nan
    integral: LocalIntegral | None = None
    factor: tuple | None = None
    """Cholesky factor of Z'H_S Z"""
    refined: bool = False

    @property
    def cancellation(self) -> float:
        return self.integral.cancellation

    @property
    def correction(self) -> float:
        a = self.approximation
        off = 0.0 if a.off is None else float(a.off.at(self.theta)[0])
        if self.integral is None or not a.copula:
            return off
        return off + self.first_order.log_density_at_mode - self.shared.log_density_at_mode

    @cached_property
    def first_order(self) -> SharedFirstOrder:
        """x_S to first order, with the derivatives at the nodes."""
        return SharedFirstOrder(self.integral, self.approximation.blocks, self.factor)

    @cached_property
    def shared(self) -> FirstOrder | Copula:
        """p~(x_S | theta, y)"""
        return shared_copula(self) if self.approximation.copula else self.first_order

    def falls(self, elements: np.ndarray, distance: float) -> np.ndarray:
        """Of the Laplace marginals of some elements of x_S from their mode to -distance and distance sd, (2, m)"""
        return falls(self, elements, distance)

    @cached_property
    def conditional_draws(self):
        """What draws of the local latents given x_S share."""
        from pymc_inla.inference.quadrature_draws import ConditionalDraws

        return ConditionalDraws(self)

    def moments(self) -> LatentMoments:
        """Moments of p~(x_j | theta, y), each (n_x,)."""
        from pymc_inla.inference.quadrature_moments import latent_moments

        return latent_moments(self)

    @cached_property
    def _eta_moments(self) -> Moments:
        from pymc_inla.inference.quadrature_moments import predictor_moments

        return predictor_moments(self)

    def eta_moments(self, most: int | None = None) -> Moments:
        """Moments of p~(eta_r | theta, y) of all r, or of at most so many, evenly spaced."""
        every = spacing(self.approximation.functions.n_eta, most)
        if every == 1:
            return self._eta_moments
        from pymc_inla.inference.quadrature_moments import predictor_moments

        return predictor_moments(self, every)

    predictor_marginals = eta_moments

    def cavities(self) -> Cavities:
        """Gaussians that give the posterior means and variances of the predictors back with their likelihoods."""
        f, posterior = self.approximation.functions, self.eta_moments()
        gradient = joined(self.integral.parts, lambda part: part.likelihood_gradient)
        W = joined(self.integral.parts, lambda part: part.W)[: f.n_eta]
        start = remove_own(posterior.mean, posterior.sd**2, gradient, np.maximum(W, 0.0))
        return match(f, self.theta, posterior, start)

    def sample(self, rng: np.random.Generator, m: int, *, densities: bool = True, repeatable: bool = False) -> Sample:
        """m draws of x given theta. See `pymc_inla.inference.quadrature_draws`."""
        from pymc_inla.inference.quadrature_draws import draw

        return draw(self, rng, m, densities=densities, repeatable=repeatable)

    def repeat(self, rng: np.random.Generator, m: int, scores: np.ndarray) -> np.ndarray:
        """(m, n_x) what a sample at another theta would be at this one. See `pymc_inla.inference.quadrature_draws`."""
        from pymc_inla.inference.quadrature_draws import repeat

        return repeat(self, rng, m, scores)


@dataclass(frozen=True)
class QuadratureInner:
    """Local latents integrated by adaptive quadrature. See `pymc_inla.inference.inner.InnerApproximation`.

    Parameters
    ----------
    functions : LGMFunctions
    partition : Partition
    k : int
        Odd number of nodes per dimension, at least 3 (k = 1 is `LaplaceInner`).

    Raises
    ------
    ValueError
        If k is not odd or below 3, or if the model does not fall apart over these local blocks (constraints on local
        latents, no local latents, too many shared ones): use the Laplace approximation then.
    """

    functions: LGMFunctions
    partition: Partition
    k: int = 9
    blocks: LocalBlocks = field(default=None, repr=False)
    """Index structures, reused when only k changes"""
    tolerance: float = TOLERANCE
    """On the Newton decrement of x_S"""
    copula: tuple[int, ...] = ()
    """Elements of x_S with Laplace marginals in a copula, given theta"""
    marginals: MarginalsOfTheta | None = None
    """These marginals, where they are not followed at every theta"""
    off: FunctionsOfTheta | None = None
    """What log p~(theta | y) is off by, one function"""
    wide: bool = False
    """Whether nodes reach far into the tails of the local latents"""

    def __post_init__(self):
        if self.k < 3:
            raise ValueError(f"k={self.k} nodes: quadrature needs an odd k >= 3; k = 1 is the Laplace approximation.")
        if self.blocks is None:
            object.__setattr__(self, "blocks", LocalBlocks(self.functions, self.partition))
        _ = self.rule

    @property
    def rule(self) -> Rule:
        """Nodes of the local latents"""
        return (wide_rule if self.wide else node_rule)(self.k, self.blocks.b)

    @property
    def bytes_per_point(self) -> float:
        """Memory that one point holds, about."""
        f, B = self.functions, self.blocks
        nodes = self.k**B.b * (B.G * (B.b + 3) + 3 * B.whole.n_m)
        likelihood = f.n_obs + 9 * f.n_eta + 3 * len(f.W_rows) + (0 if B.design is None else 4 * f.A_pattern.nnz)
        return 8.0 * (nodes + likelihood + 5 * B.n_S**2 + 4 * f.n_x)

    @property
    def in_parts(self) -> bool:
        """Whether one evaluation uses all cores by itself"""
        return len(self.blocks.parts) >= MANY_PARTS

    @property
    def max_k(self) -> int:
        """Most nodes per dimension beyond which others reach farther instead"""
        return self.k if self.wide else RULES[self.blocks.b][-1]

    @property
    def finest_k(self) -> int:
        """Most nodes per dimension that refinement may ask for"""
        k = self.max_k
        while self.blocks.b == 1 and not self.wide and k < FINEST and (2 * k + 1) * self.functions.n_eta <= AT_ONCE:
            k = 2 * k + 1
        return k

    def finer(self) -> "QuadratureInner":
        """About twice as many nodes per dimension, as long as that is not far too many together."""
        twice = 2 * self.k + 1
        return self.with_k(twice if twice**self.blocks.b <= 5000 else self.k + 6)

    def next(self) -> "QuadratureInner":
        """The rule to try where this one is not enough."""
        rules = RULES[self.blocks.b]
        return self.with_k(rules[rules.index(self.k) + 1]) if self.k in rules[:-1] else self.finer()

    def with_k(self, k: int) -> "QuadratureInner":
        """The same model with another number of nodes."""
        return replace(self, k=k)

    def wider(self) -> "QuadratureInner | None":
        """Nodes that reach far into the tails, more of them where they do already; None where there are no more."""
        ks = [k for k in WIDE_K[self.blocks.b] if not self.wide or k > self.k]
        return replace(self, k=ks[0], wide=True) if ks else None

    @property
    def passes_per_draw(self) -> int:
        """Over the data, for draws with their densities, about"""
        return 20 if self.blocks.b == 1 else 40

    @property
    def work_of_marginal(self) -> float:
        """Seconds that a Laplace marginal of one shared latent takes, about."""
        return POINTS * (5e-9 * self.k**self.blocks.b * self.functions.n_eta + 1.5e-3)

    def with_copula(self, elements: tuple[int, ...], marginals: MarginalsOfTheta | None = None) -> "QuadratureInner":
        """The same with Laplace marginals of some shared latents."""
        return replace(self, copula=elements, marginals=marginals)

    def with_correction(self, off: FunctionsOfTheta) -> "QuadratureInner":
        """The same with what log p~(theta | y) is off by added to it."""
        return replace(self, off=off)

    def roughly(self) -> "QuadratureInner":
        """The same rule for comparisons: at most 0.01 sd from the mode of x_S, which one step from a good start is."""
        return replace(self, tolerance=ROUGH)

    def evaluate(self, theta, start=None, *, gradient: bool = True) -> QuadraturePoint:
        """Integrate x out at theta, warm-started from `start.x_star`.

        Nodes that are enough around the mode of theta can be too few where the local latents vary much more: where the
        search of x_S fails, or H_S is less than the data can make it, the next rule is taken.
        """
        point = self._evaluate(theta, start, gradient)
        enough = point.status is Status.CONVERGED and not point.integral.is_rough
        if enough or self.k >= self.finest_k or not np.isfinite(point.log_prior_theta):
            return point
        finer = self.next().evaluate(theta, start, gradient=gradient)
        n_newton, n_passes = finer.n_newton + point.n_newton, finer.n_passes + point.n_passes
        return changed(finer, n_newton=n_newton, n_passes=n_passes, refined=True)

    def _evaluate(self, theta, start, gradient: bool) -> QuadraturePoint:
        theta = np.asarray(theta, float)
        f = self.functions
        log_prior, log_prior_gradient = f.log_prior_theta(theta)
        x = np.zeros(f.n_x) if start is None else np.asarray(start.x_star, float)
        search = self._find_mode(theta, x) if np.isfinite(log_prior) else _Search(None, None, Status.NON_FINITE, 0, 0)
        if search.factor is None and start is not None and np.isfinite(log_prior):
            again = self._find_mode(theta, np.zeros(f.n_x))
            search = replace(
                again, n_newton=again.n_newton + search.n_newton, n_passes=again.n_passes + search.n_passes
            )
        integral = search.integral
        if integral is not None and integral.lost:
            search = replace(search, factor=None, status=Status.LOST_IN_ROUNDING)
        if search.factor is None:
            x_star = x if integral is None else integral.x
            none = np.full(f.n_theta, np.nan) if gradient else None
            return QuadraturePoint(
                self, theta, -np.inf, none, x_star, search.status, search.n_newton, search.n_passes, log_prior
            )
        point = QuadraturePoint(
            self,
            theta,
            np.nan,
            None,
            integral.x,
            search.status,
            search.n_newton,
            search.n_passes,
            log_prior,
            integral,
            search.factor,
        )
        value = integral.value + search.gain + log_prior - point.shared.log_density_at_mode
        if self.off is not None:
            value += float(self.off.at(theta)[0])
        total, passes = None, search.n_passes + point.shared.n_passes
        if gradient:
            # of the Laplace approximation of x_S, also with a copula
            total = log_prior_gradient + (point.first_order.adjoint.theta_gradient() if f.n_theta else np.zeros(0))
            passes += 3 * (integral.n_nodes - 1)  # sweeps over the derivatives at the nodes
            if integral.rounding > LOST_SLOPE:
                total = np.full(f.n_theta, np.nan)
        return changed(point, log_posterior=value, gradient=total, n_passes=passes)

    def _find_mode(self, theta, x) -> "_Search":
        """Newton's method for x_S. Nodes follow the modes of the local latents; as these move, the value of the rule
        moves by its error, so a step is also accepted when it shrinks the gradient."""
        B = self.blocks
        conditional = Conditional(self.functions, B, theta)
        x_S = B.project(x[B.shared])
        u = x[B.local] - conditional.prior_mean(x_S)
        rule = self.rule
        current = integrate_local(conditional, x_S, u, rule)
        if current is None:
            return _Search(None, None, Status.NON_FINITE, 0, 1)
        passes = current.n_passes
        for iteration in range(1, MAX_ITERATIONS + 1):
            factor, exact = _factorize(B.reduce(current.H), conditional, B)
            if factor is None:
                return _Search(current, None, Status.NOT_POSITIVE_DEFINITE, iteration, passes)
            reduced = B.reduce_gradient(current.gradient)
            step = B.expand(_solve(factor, reduced)) if len(reduced) else np.zeros(B.n_S)
            decrement = float(current.gradient @ step)
            floor = max(self.tolerance, 1e-14 * abs(current.value))
            if decrement < floor:
                if not exact:
                    return _Search(current, None, Status.NOT_POSITIVE_DEFINITE, iteration, passes)
                return _Search(current, factor, Status.CONVERGED, iteration, passes, 0.5 * decrement)
            drift = current.derivative_of_mean()
            new, used = self._line_search(current, step, decrement, drift, factor, rule)
            passes += used
            if new is None:
                status = Status.CONVERGED if exact and decrement < 1e-5 else Status.LINE_SEARCH_FAILED
                return _Search(current, factor if exact else None, status, iteration, passes)
            current = new
        factor, exact = _factorize(B.reduce(current.H), conditional, B)
        return _Search(current, factor if exact else None, Status.MAX_ITERATIONS, MAX_ITERATIONS, passes)

    def _line_search(self, current: LocalIntegral, step, decrement, drift, factor, rule):
        B, length, used, rejected = self.blocks, 1.0, 0, 0
        for _ in range(25):
            if rejected == MOST_REJECTED:
                break
            x_S = current.x_S + length * step
            shift = B.sum_pairs(drift * (length * step)[B.whole.m_shared][:, None])
            new = integrate_local(current.conditional, x_S, current.mode_u + shift, rule)
            if new is not None:
                used += new.n_passes
                if new.value >= current.value + 1e-4 * length * decrement:
                    return new, used
                with np.errstate(over="ignore"):  # a step too far
                    reduced = B.reduce_gradient(new.gradient)
                    if reduced @ _solve(factor, reduced) < 0.25 * decrement:
                        return new, used
                rejected += 1
            length *= 0.5
        return None, used


@dataclass(frozen=True)
class _Search:
    """Outcome of the search for the mode of x_S."""

    integral: LocalIntegral | None
    factor: tuple | None
    status: Status
    n_newton: int
    n_passes: int
    gain: float = 0.0
    """What the step that was not made would have added to the log density"""


def _solve(factor, r) -> np.ndarray:
    return linalg.cho_solve(factor, r, check_finite=False)


def _factorize(H, conditional: Conditional, B: LocalBlocks):
    """Cholesky factor of Z'H_S Z, and whether it is of the true matrix; off the mode it may be indefinite, and its
    spectrum is then reflected. (None, False) for a singular matrix."""
    if len(H) == 0:
        return (np.zeros((0, 0)), True), True
    try:
        # the transpose, which is the same, is in the order of LAPACK
        return linalg.cho_factor(H.T, lower=True, check_finite=False), True
    except linalg.LinAlgError:
        values, vectors = np.linalg.eigh(H)
    size = np.abs(values).max()
    if size == 0:
        return None, False
    values = np.maximum(np.abs(values), 1e-8 * size)
    return linalg.cho_factor((vectors * values) @ vectors.T, lower=True), False
