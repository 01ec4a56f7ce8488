"""The Laplace approximation of p(theta | y) and of x given theta (Rue, Martino & Chopin 2009, sections 3.1 and 3.2).

With H = Q + A'WA at the mode x*(theta) and k constraints,

    log p~(theta | y) = log p(y, x* | theta) + log p(theta) + (n_x - k)/2 log 2 pi - 1/2 log det Z'HZ .

Its gradient is analytic: the partial derivative at fixed x plus the change of x* through H, which needs only the
selected inverse (diagonal of A H^-1 A' and H^-1 on the pattern of Q).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pymc_inla.inference import skew_normal
from pymc_inla.inference.around_mode import FunctionsOfTheta
from pymc_inla.inference.cavity import remove_own, widening
from pymc_inla.inference.conditional import ConditionalLaplace, is_affordable, work
from pymc_inla.inference.conditional_distribution import Cumulants
from pymc_inla.inference.copula import Copula, fall_of_sides
from pymc_inla.inference.inner import Cavities, LatentMoments, Moments, Sample, changed, spacing
from pymc_inla.inference.marginals_of_theta import MarginalsOfTheta
from pymc_inla.inference.newton import Mode, find_mode
from pymc_inla.inference.variational import check_indices, variational_mean_shift
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg.system import SelectedInverse, System
from pymc_inla.status import Status

MAX_DENSE_PREDICTORS = 2000
"""Linear predictors up to which all their covariances are formed"""
POINTS = 36
"""Of a Laplace marginal, with the Newton steps to them, about"""
CHUNK_ELEMENTS = 2_000_000
"""Numbers held at once when linear predictors of many draws are computed"""


@dataclass(frozen=True)
class LaplacePoint:
    """The Laplace approximation at one theta. See `pymc_inla.inference.inner.InnerPoint`."""

    approximation: "LaplaceInner"
    theta: np.ndarray
    mode: Mode
    log_prior_theta: float
    log_posterior: float
    gradient: np.ndarray | None
    status: Status
    correction: float = 0.0
    refined = False

    @property
    def x_star(self):
        return self.mode.x

    @property
    def n_newton(self):
        return self.mode.n_newton

    @property
    def n_passes(self):
        return self.mode.n_passes

    @property
    def cancellation(self) -> float:
        # eliminating the local latents takes no differences of large numbers
        return 0.0

    @cached_property
    def selected_inverse(self) -> SelectedInverse:
        return self.mode.factor.selected_inverse()

    @cached_property
    def third(self) -> np.ndarray:
        """(n_eta,) half the derivative of <diag(A S A'), -W> in eta: what drives the mean away from the mode."""
        f = self.approximation.functions
        zero_obs, zero_eta = np.zeros(f.n_obs), np.zeros(f.n_eta)
        W_bar = -0.5 * _double_off_diagonal(self.selected_inverse.W, f)
        return f.log_likelihood_vjp(self.mode.eta, self.theta, zero_obs, zero_eta, W_bar)[0]

    @cached_property
    def mean_shift(self) -> np.ndarray:
        """(n_x,) difference between conditional mean and mode: S A' third to first order, or variational."""
        system, A = self.approximation.system, self.mode.design.A
        if self.approximation.vb_correct is not None:
            indices = check_indices(self.approximation.vb_correct, len(self.x_star))
            W_covariance = self.selected_inverse.W
            return variational_mean_shift(
                self.approximation.functions, system, self.theta, self.mode, W_covariance, indices
            )
        if self.approximation.functions.gaussian or self.approximation.strategy == "gaussian":
            return np.zeros(len(self.x_star))
        shift = self.mode.factor.solve(system.multiply_At(A, self.third))
        return skew_normal.bounded_shift(shift, self.sd)

    @cached_property
    def sd(self) -> np.ndarray:
        """(n_x,)"""
        return np.sqrt(np.maximum(self.selected_inverse.diagonal, 0.0))

    def moments(self) -> LatentMoments:
        """Moments of p~(x_j | theta, y), each (n_x,)."""
        c = self.shared
        return LatentMoments(self.x_star + c.mean_shift, c.sd, c.skewness, c.marginals)

    @cached_property
    def shared(self) -> Cumulants | Copula:
        """p~(x | theta, y), of which no part is integrated otherwise: its cumulants to first order, or a copula."""
        return Cumulants(self.mean_shift, self.sd, self.skewness(self.sd)) if self.copula is None else self.copula

    @cached_property
    def copula(self) -> Copula | None:
        """Of Laplace marginals, where they are asked for and affordable."""
        a, f = self.approximation, self.approximation.functions
        if a.copula:
            return ConditionalLaplace(self, np.array(a.copula)).copula()
        if a.strategy == "laplace" and a.vb_correct is None and not f.gaussian and is_affordable(f):
            return ConditionalLaplace(self, np.arange(f.n_x)).copula()
        return None

    def falls(self, elements: np.ndarray, distance: float) -> np.ndarray:
        """Of the Laplace marginals of some elements of x from their mode to -distance and distance sd, (2, m)"""
        conditional = ConditionalLaplace(self, elements)
        return fall_of_sides([conditional.side(sign, (distance,)) for sign in (-1.0, 1.0)])

    def skewness(self, sd) -> np.ndarray:
        """Third cumulant to first order over sd^3: sum_i l_i^(3) cov(x_j, eta_i)^3 / sd_j^3 (Rue et al. 2009, eq. 23).

        Over all observations in small models; in large ones over the observations that x_j itself enters, whose
        covariances the selected inverse holds, which leaves out what reaches x_j through other latents only.
        """
        a = self.approximation
        f = a.functions
        one_each = len(f.W_rows) == f.n_eta
        small = len(sd) * f.n_eta <= a.skewness_budget
        if f.gaussian or a.strategy == "gaussian" or not (small or one_each):
            return np.zeros(len(sd))
        cumulant = self._third_cumulant() if small else self._local_third_cumulant()
        return skew_normal.standardized(cumulant, sd)

    def third_derivative(self, direction) -> np.ndarray:
        """(n_eta,) third derivative of the log-likelihood, twice along `direction`."""
        f = self.approximation.functions
        W_bar = -_double_off_diagonal(direction[f.W_rows] * direction[f.W_cols], f)
        return f.log_likelihood_vjp(self.mode.eta, self.theta, np.zeros(f.n_obs), np.zeros(f.n_eta), W_bar)[0]

    def _third_cumulant(self) -> np.ndarray:
        f = self.approximation.functions
        covariance = f.A_pattern.to_matrix(self.mode.design.A) @ self.mode.factor.solve(np.eye(f.n_x))
        if len(f.W_rows) == f.n_eta:
            return self.third_derivative(np.ones(f.n_eta)) @ _cube(covariance)
        return np.array([self.third_derivative(v) @ v for v in covariance.T])

    def _local_third_cumulant(self) -> np.ndarray:
        f, W = self.approximation.functions, self.mode.likelihood.W
        inverse = np.divide(1.0, W, out=np.zeros(len(W)), where=np.abs(W) > np.finfo(float).tiny)
        covariance = self.selected_inverse.compute_A() * np.repeat(inverse, np.diff(f.A_pattern.indptr))
        covariance *= covariance * covariance
        return self.approximation.system.multiply_At(covariance, self.third_derivative(np.ones(f.n_eta)))

    def eta_moments(self, most: int | None = None) -> Moments:
        """Moments of p~(eta_r | theta, y) of all r, or of at most so many, evenly spaced."""
        f, system = self.approximation.functions, self.approximation.system
        every = spacing(f.n_eta, most)
        variance = self.selected_inverse.W[: f.n_eta : every]
        mean = self.mode.eta + system.multiply_A(self.mode.design.A, self.mean_shift)
        return Moments(mean[::every], np.sqrt(np.maximum(variance, 0.0)), np.zeros(len(variance)))

    def predictor_marginals(self) -> Moments:
        """The same with their skewness, which `eta_moments` leaves out: E[log p] has an error of the same order from
        the variance, which lacks its correction, and the two nearly cancel."""
        f, eta = self.approximation.functions, self.eta_moments()
        if f.gaussian or self.approximation.strategy == "gaussian" or len(f.W_rows) > f.n_eta:
            return eta
        skewness = skew_normal.standardized(self._predictor_third_cumulant, eta.sd)
        if self.copula is None:
            return Moments(eta.mean, eta.sd, skewness)
        A = f.A_pattern.to_matrix(self.mode.design.A)
        variance = np.asarray((A @ self.copula.covariance * A.toarray()).sum(axis=1))
        return Moments(self.mode.eta + A @ self.copula.mean_shift, np.sqrt(np.maximum(variance, 0.0)), skewness)

    def cavities(self) -> Cavities:
        """The predictors without their own observation; mean and skewness to first order in all others'."""
        f, mode = self.approximation.functions, self.mode
        variance = self.selected_inverse.W[: f.n_eta]
        found = remove_own(mode.eta, variance, mode.likelihood.gradient, mode.likelihood.W[: f.n_eta])
        if f.gaussian or self.approximation.strategy == "gaussian":
            return found
        wider = widening(found, variance)
        shift = self.approximation.system.multiply_A(mode.design.A, self.mean_shift) - variance * self.third
        third = self._predictor_third_cumulant - self.third_derivative(np.ones(f.n_eta)) * variance**3
        usable = np.isfinite(found.variance) & (found.variance > 0)
        skewness = third * wider**3 / np.where(usable, found.variance, 1.0) ** 1.5
        return Cavities(
            found.mean + wider * shift, found.variance, skew_normal.bounded(np.where(usable, skewness, 0.0))
        )

    @cached_property
    def _predictor_third_cumulant(self) -> np.ndarray:
        """(n_eta,) sum_r l_r^(3) cov(eta_i, eta_r)^3, in large models by that of the elements of x that make eta_i."""
        f = self.approximation.functions
        A = f.A_pattern.to_matrix(self.mode.design.A)
        if f.n_x * f.n_eta > self.approximation.skewness_budget or f.n_eta > MAX_DENSE_PREDICTORS:
            return A.power(3) @ self._local_third_cumulant()
        covariance = A @ self.mode.factor.solve(A.T.toarray())
        return _cube(covariance) @ self.third_derivative(np.ones(f.n_eta))

    def sample(self, rng: np.random.Generator, m: int, *, densities: bool = True, repeatable: bool = False) -> Sample:
        """m draws from N(x* + shift, S), or from the copula."""
        f, mode = self.approximation.functions, self.mode
        if self.copula is not None:
            deviation, log_q = self.copula.sample(rng, m)
            x = mode.x + deviation
            return Sample(x, log_q, self._log_joint(x) if densities else np.full(m, np.nan))
        deviation = mode.factor.sample(rng.standard_normal((m, f.n_x)).T)
        center = mode.x + self.mean_shift
        log_q = np.full(m, np.nan)
        if not densities:
            x = deviation.T
            x += center
            return Sample(x, log_q, log_q)
        x = center + deviation.T
        free = f.n_x - f.C.shape[0]
        A = f.A_pattern.to_matrix(mode.design.A)
        Q = f.Q_pattern.to_matrix(mode.prior.Q)
        W = _double_off_diagonal(mode.likelihood.W, f)
        columns = max(1, CHUNK_ELEMENTS // f.n_eta)
        for start in range(0, m, columns):
            at = slice(start, min(start + columns, m))
            d = deviation[:, at]
            Ad = A @ d
            # the quadratic form with H, through its definition
            form = np.einsum("ij,ij->j", d, Q @ d) + W @ (Ad[f.W_rows] * Ad[f.W_cols])
            log_q[at] = 0.5 * (mode.factor.log_determinant - free * np.log(2 * np.pi) - form)
        return Sample(x, log_q, self._log_joint(x))

    def repeat(self, rng: np.random.Generator, m: int, scores: None) -> np.ndarray:
        """(m, n_x) what a sample at another theta would be at this one."""
        return self.sample(rng, m, densities=False).x

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        """log p(y, x, theta) of x (m, n_x), (m,)"""
        f, mode = self.approximation.functions, self.mode
        A = f.A_pattern.to_matrix(mode.design.A)
        Q = f.Q_pattern.to_matrix(mode.prior.Q)
        found = np.empty(len(x))
        rows = max(1, CHUNK_ELEMENTS // f.n_eta)
        for start in range(0, len(x), rows):
            some = x[start : start + rows]
            eta = mode.design.offset + np.ascontiguousarray((A @ some.T).T)
            quadratic = np.einsum("ij,ij->i", some, mode.prior.b - 0.5 * (Q @ some.T).T)
            value = f.log_likelihood_values(eta, self.theta).sum(axis=1)
            found[start : start + rows] = value + mode.prior.c + quadratic + self.log_prior_theta
        return found


@dataclass(frozen=True)
class LaplaceInner:
    """x integrated out by the Laplace approximation. See `pymc_inla.inference.inner.InnerApproximation`.

    Parameters
    ----------
    functions, system
    strategy : {"laplace", "simplified_laplace", "gaussian"}
        How the marginals of x are corrected: not at all ("gaussian"), in mean and skewness to first order, or by a
        Laplace approximation each ("laplace", in fields small enough for it; to first order otherwise).
    vb_correct : True or int array, optional
        Elements whose joint mean is corrected variationally (van Niekerk & Rue 2024) instead.
    skewness_budget : int
        Largest n_x * n_eta for which skewness sums over all observations.
    """

    functions: LGMFunctions
    system: System
    strategy: str = "laplace"
    vb_correct: object = None
    skewness_budget: int = 1_000_000
    copula: tuple[int, ...] = ()
    """Elements of x with Laplace marginals in a copula, which log p~(theta | y) knows, too"""
    marginals: MarginalsOfTheta | None = None
    """These marginals, where they are not followed at every theta"""
    off: FunctionsOfTheta | None = None
    """What log p~(theta | y) is off by, one function"""
    in_parts = False
    passes_per_draw = 1

    @property
    def work_of_marginal(self) -> float:
        """Seconds that a Laplace marginal takes, about."""
        return POINTS * (1e-9 * work(self.functions) / self.functions.n_x + 1e-3)

    def with_copula(self, elements: tuple[int, ...], marginals: MarginalsOfTheta | None = None) -> "LaplaceInner":
        """The same with Laplace marginals of some elements of x."""
        return replace(self, copula=elements, marginals=marginals)

    def with_correction(self, off: FunctionsOfTheta) -> "LaplaceInner":
        """The same with what log p~(theta | y) is off by added to it."""
        return replace(self, off=off)

    @property
    def bytes_per_point(self) -> float:
        """Memory that one point holds, about."""
        f = self.functions
        likelihood = f.n_obs + 3 * f.n_eta + 2 * len(f.W_rows)
        values = 4 * f.n_x + f.Q_pattern.nnz + (f.A_pattern.nnz if f.design_vjp is not None else 0)
        return 8.0 * (likelihood + values + self.system.factor_size)

    def evaluate(self, theta, start=None, *, gradient: bool = True) -> LaplacePoint:
        """Laplace approximation at theta, warm-started from `start.x_star`."""
        theta = np.asarray(theta, float)
        f = self.functions
        log_prior, log_prior_gradient = f.log_prior_theta(theta)
        mode = find_mode(f, self.system, theta, None if start is None else start.x_star)
        usable = mode.factor is not None and mode.factor.status.ok and np.isfinite(mode.log_joint)
        usable = usable and mode.status is not Status.LOST_IN_ROUNDING
        if not (usable and np.isfinite(log_prior)):
            status = mode.status if not mode.status.ok else Status.NON_FINITE
            none = np.full(f.n_theta, np.nan) if gradient else None
            return LaplacePoint(self, theta, mode, log_prior, -np.inf, none, status)
        free = f.n_x - f.C.shape[0]
        value = mode.log_joint + log_prior + 0.5 * (free * np.log(2 * np.pi) - mode.factor.log_determinant)
        point = LaplacePoint(self, theta, mode, log_prior, value, None, mode.status)
        if self.copula:
            corrected = mode.log_joint + log_prior - point.copula.log_density_at_mode
            point = changed(point, log_posterior=corrected, correction=corrected - value)
        if self.off is not None:
            off = float(self.off.at(theta)[0])
            point = changed(point, log_posterior=point.log_posterior + off, correction=point.correction + off)
        if not gradient:
            return point
        total = log_prior_gradient + self._gradient(point)
        return changed(point, gradient=total)

    def _gradient(self, point: LaplacePoint) -> np.ndarray:
        """d/dtheta of log p(y, x* | theta) - 1/2 log det Z'HZ."""
        f, system, mode, theta = self.functions, self.system, point.mode, point.theta
        if f.n_theta == 0:
            return np.zeros(0)
        S = point.selected_inverse
        x, A = mode.x, mode.design.A
        zero_obs, theta_bar = np.zeros(f.n_obs), 0.0
        # -1/2 log det at fixed x: cotangents -S/2 on Q, -(A S A')/2 on W, -(W A S) on A
        W_bar = -0.5 * _double_off_diagonal(S.W, f)
        if f.gaussian:
            # no third derivatives: H does not depend on x
            v, Av, third = np.zeros(f.n_x), np.zeros(f.n_eta), np.zeros(f.n_eta)
        else:
            # implicit part: x* moves by S d(grad), weighted by the derivative of -1/2 log det in x
            third, _ = f.log_likelihood_vjp(mode.eta, theta, zero_obs, np.zeros(f.n_eta), W_bar)
            v = mode.factor.solve(system.multiply_At(A, third))
            Av = system.multiply_A(A, v)
        if f.likelihood_varies:
            _, theta_bar = f.log_likelihood_vjp(mode.eta, theta, np.ones(f.n_obs), Av, W_bar)
        Qp, Ap = f.Q_pattern, f.A_pattern
        Q_bar = -0.5 * S.Q - 0.5 * x[Qp.rows] * x[Qp.indices] - v[Qp.rows] * x[Qp.indices]
        gradient = theta_bar + f.prior_vjp(theta, Q_bar, x + v, 1.0)
        if f.design_vjp is not None:
            g = mode.likelihood.gradient
            # eta moves with A and offset: through the log-likelihood, through third derivatives, through H v
            WAv = _multiply_W(mode.likelihood.W, Av, f)
            eta_bar = g + third - WAv
            A_bar = -S.A + eta_bar[Ap.rows] * x[Ap.indices] + g[Ap.rows] * v[Ap.indices]
            gradient = gradient + f.design_vjp(theta, A_bar, eta_bar)
        return gradient


def _cube(a):
    """a^3 elementwise: NumPy raises to the third power by `pow`, ten times slower"""
    return a * a * a


def _double_off_diagonal(values, functions: LGMFunctions) -> np.ndarray:
    """Off-diagonal entries of W stand for two entries of a symmetric matrix but are stored once."""
    doubled = values.copy()
    doubled[functions.n_eta :] *= 2.0
    return doubled


def _multiply_W(W, v, functions: LGMFunctions) -> np.ndarray:
    """W v, (n_eta,)"""
    n = functions.n_eta
    product = W[:n] * v
    if len(W) > n:
        rows, cols = functions.W_rows[n:], functions.W_cols[n:]
        product += np.bincount(rows, W[n:] * v[cols], n) + np.bincount(cols, W[n:] * v[rows], n)
    return product
