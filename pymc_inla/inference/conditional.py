"""Full Laplace approximation of the marginals p(x_j | theta, y) (Rue, Martino & Chopin 2009, section 3.2.2).

With t = (x_j - x*_j) / sd_j, the other elements follow their conditional mode x(t), and

    log p~(t) = f(x(t)) - 1/2 log det H_{-j}(x(t)) + const,   log det H_{-j} = log det H + log (H^-1)_jj,

where f = log p(y, x | theta). The conditional modes are followed outward from x*: a tangent step to the next abscissa,
then Newton steps in the others while they have something to gain. f and H are those of the last step, f corrected by
what the next one would gain. In the tails H itself need not be positive definite, only H_{-j}; since x_j is
held, a multiple of e_j e_j' may be added to H without changing any of this. The marginal's mean, sd and skewness are
Gauss-Hermite sums of its ratio to the Gaussian. Constraints: everything happens in an orthonormal basis Z of the null
space of C.

For small fields with few observations: dense algebra, all j at one abscissa together.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from pymc_inla.inference.inner import Moments
from pymc_inla.lgm import LGMFunctions

BUDGET = 3e7
"""Multiplications per abscissa, n_j n_x^2 (n_eta + n_x), up to which the full Laplace marginals are computed."""
GAIN = 1e-4
"""Newton steps end when the next one would raise f by less than this at every x_j."""
MAX_STEPS = 8
STIFFNESS = 10.0
"""Added to H at x_j, in units of 1 / sd_j^2"""
N_NODES = 7
"""Gauss-Hermite abscissae of each marginal (odd): exact for the moments of densities up to t^11 times a Gaussian."""


def is_affordable(functions: LGMFunctions) -> bool:
    """Whether all full Laplace marginals are computed at every theta."""
    return work(functions) <= BUDGET


def work(functions: LGMFunctions) -> float:
    """Multiplications of all full Laplace marginals at one abscissa."""
    n = float(functions.n_x)
    return n**3 * (functions.n_eta + n)


class ConditionalLaplace:
    """log p~(x_j | theta, y) around one mode.

    Parameters
    ----------
    point : LaplacePoint
    indices : (m,) int array
        Elements of x.
    """

    def __init__(self, point, indices: np.ndarray):
        f = self.functions = point.approximation.functions
        mode = self.mode = point.mode
        self.theta, self.indices = point.theta, indices
        C = f.C.toarray()
        self.Z = linalg.null_space(C) if len(C) else np.eye(f.n_x)
        self.A = f.A_pattern.to_matrix(mode.design.A).toarray()
        self.AZ = self.A @ self.Z
        self.Q = f.Q_pattern.to_matrix(mode.prior.Q).toarray()
        self.QZ = self.Z.T @ self.Q @ self.Z
        S = mode.factor.solve(np.eye(f.n_x))
        self.sd = np.sqrt(np.maximum(np.diag(S)[indices], 0.0))
        self.free = self.sd > 0
        scale = np.where(self.free, self.sd, 1.0)
        held = self.Z[indices] / scale[:, None]
        self.held = STIFFNESS * held[:, :, None] * held[:, None, :]

    def log_density(self, t) -> np.ndarray:
        """log p~ of each x_j at x*_j + t sd_j, relative to its value at t = 0.

        Parameters
        ----------
        t : (T,) array
            All positive or all negative and moving away from zero.

        Returns
        -------
        (T, m) array

        Raises
        ------
        numpy.linalg.LinAlgError
            If H_{-j} is not positive definite there.
        """
        x = np.repeat(self.mode.x[:, None], len(self.indices), axis=1)
        zero, _, _, tangent = self._newton(x)
        densities, last = [], 0.0
        for node in t:
            x = x + (node - last) * tangent
            last = node
            for _ in range(MAX_STEPS):
                density, gain, step, tangent = self._newton(x)
                if not np.max(gain) > GAIN:
                    break
                x = x + step
            densities.append(density - zero)
        return np.array(densities)

    def _newton(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """At x (n_x, m): log p~ with f corrected by the gain of a Newton step that leaves x_j where it is, that gain
        (both (m,)), the step, and how the conditional mode moves with t (both (n_x, m))."""
        f, prior = self.functions, self.mode.prior
        eta = self.mode.design.offset[:, None] + self.A @ x
        likelihoods = [f.log_likelihood(np.ascontiguousarray(column), self.theta) for column in eta.T]
        Qx = self.Q @ x
        value = np.array([likelihood.value.sum() for likelihood in likelihoods])
        value += np.einsum("ij,ij->j", x, prior.b[:, None] - 0.5 * Qx)
        gradient = self.A.T @ np.array([likelihood.gradient for likelihood in likelihoods]).T + prior.b[:, None] - Qx
        H = self._hessians(np.array([likelihood.W for likelihood in likelihoods])) + self.held
        L = np.linalg.cholesky(H)
        log_determinant = 2 * np.sum(np.log(np.diagonal(L, axis1=1, axis2=2)), axis=1)
        right = np.stack([self.Z[self.indices], (self.Z.T @ gradient).T], axis=2)
        half = np.linalg.solve(L, right)
        variance = np.sum(half[:, :, 0] ** 2, axis=1)
        safe = np.where(self.free, variance, 1.0)
        slope = np.sum(half[:, :, 0] * half[:, :, 1], axis=1) / safe
        others = half[:, :, 1] - half[:, :, 0] * slope[:, None]
        gain = 0.5 * np.sum(others**2, axis=1)
        moves = np.stack([others, half[:, :, 0] * (self.sd / safe)[:, None]], axis=2)
        moves = np.linalg.solve(L.transpose(0, 2, 1), moves)
        step, tangent = self.Z @ moves[:, :, 0].T, self.Z @ moves[:, :, 1].T
        return value + gain - 0.5 * (log_determinant + np.log(safe)), gain, step, tangent

    def _hessians(self, W: np.ndarray) -> np.ndarray:
        """(m, n_x - k, n_x - k) Z'HZ for W of shape (m, n_W)."""
        f = self.functions
        n = f.n_eta
        H = self.QZ + np.matmul(self.AZ.T * W[:, None, :n], self.AZ)
        if W.shape[1] > n:
            cross = np.matmul(self.AZ[f.W_rows[n:]].T * W[:, None, n:], self.AZ[f.W_cols[n:]])
            H = H + cross + cross.transpose(0, 2, 1)
        return H


def laplace_moments(point) -> Moments | None:
    """Moments of all full Laplace marginals, or None where H is not positive definite at an abscissa or the ratio to
    the Gaussian is too far from one to be summed over its nodes.

    Parameters
    ----------
    point : LaplacePoint
    """
    conditional = ConditionalLaplace(point, np.arange(point.approximation.functions.n_x))
    t, w = np.polynomial.hermite_e.hermegauss(N_NODES)
    try:
        left, right = t[t < 0][::-1], t[t > 0]
        below, above = conditional.log_density(left)[::-1], conditional.log_density(right)
    except np.linalg.LinAlgError:
        return None
    middle = np.zeros((1, below.shape[1]))
    log_ratio = np.concatenate([below, middle, above]) + 0.5 * t[:, None] ** 2
    if not np.all(np.isfinite(log_ratio)):
        return None
    weights = w[:, None] * np.exp(log_ratio - log_ratio.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = t @ weights
    deviation = t[:, None] - mean
    variance = np.sum(weights * deviation**2, axis=0)
    if np.any(variance < 0.1) or np.any(variance > 4.0):
        return None
    third = np.sum(weights * deviation**3, axis=0)
    sd = conditional.sd
    return Moments(point.x_star + sd * mean, sd * np.sqrt(variance), np.where(sd > 0, third / variance**1.5, 0.0))
