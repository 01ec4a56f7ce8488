"""Full Laplace approximation of the marginals p(x_j | theta, y) (Rue, Martino & Chopin 2009, section 3.2.2).

With t = (x_j - x*_j) / sd_j, the other elements follow their conditional mode x(t), and

    log p~(t) = f(x(t)) - 1/2 log det H_{-j}(x(t)) + const,   log det H_{-j} = log det H + log (H^-1)_jj,

where f = log p(y, x | theta). The conditional modes are followed outward from x*: a tangent step to the next abscissa,
then Newton steps in the others while they have something to gain. f and H are those of the last step, f corrected by
what the next one would gain. In the tails H itself need not be positive definite, only H_{-j}; since x_j is
held, a multiple of e_j e_j' may be added to H without changing any of this. Constraints: everything happens in an
orthonormal basis Z of the null space of C.

For small fields with few observations: dense algebra, all j at one abscissa together.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from pymc_inla.inference.conditional_distribution import FirstOrder, Normal
from pymc_inla.inference.copula import CLIFF, DEPTH, DISTANCES, SETTLED, Copula, chain
from pymc_inla.lgm import LGMFunctions
from pymc_inla.status import Status

BUDGET = 3e7
"""Multiplications per abscissa, n_j n_x^2 (n_eta + n_x), up to which the full Laplace marginals are computed."""
GAIN = 1e-4
"""Newton steps end when the next one would raise f by less than this at every x_j."""
MAX_STEPS = 8
STIFFNESS = 10.0
"""Added to H at x_j, in units of 1 / sd_j^2"""


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
    at_mode : tuple of int
        Elements that stay at their mode.
    """

    def __init__(self, point, indices: np.ndarray, at_mode: tuple[int, ...] = ()):
        f = self.functions = point.approximation.functions
        self.point, self.mode = point, point.mode
        mode = point.mode
        self.theta, self.indices = point.theta, indices
        C = np.vstack([f.C.toarray(), np.eye(f.n_x)[list(at_mode)]])
        self.Z = linalg.null_space(C) if len(C) else np.eye(f.n_x)
        self.A = f.A_pattern.to_matrix(mode.design.A).toarray()
        self.AZ = self.A @ self.Z
        self.Q = f.Q_pattern.to_matrix(mode.prior.Q).toarray()
        self.QZ = self.Z.T @ self.Q @ self.Z
        # of the log prior at x*, which is minus that of the likelihood where x* is a mode
        known = mode.status is Status.CONVERGED
        self.slope = -self.A.T @ mode.likelihood.gradient if known else mode.prior.b - self.Q @ mode.x
        self.S = mode.factor.solve(np.eye(f.n_x))
        if at_mode:
            held = list(at_mode)
            self.S -= self.S[:, held] @ np.linalg.lstsq(self.S[np.ix_(held, held)], self.S[held])[0]
        self.sd = np.sqrt(np.maximum(np.diag(self.S)[indices], 0.0))
        self.free = self.sd > 0
        scale = np.where(self.free, self.sd, 1.0)
        held = self.Z[indices] / scale[:, None]
        self.held = STIFFNESS * held[:, :, None] * held[:, None, :]

    def copula(self) -> Copula:
        """Of all x, with these marginals, or with what is known as a function of theta."""
        known = self.point.approximation.marginals
        sides = self.sides() if known is None else known.at(self.theta)
        base = Normal(self.Z, np.linalg.cholesky(self._hessians(self.mode.likelihood.W[None])[0]))
        normal = FirstOrder(base)
        normal.covariance, normal.mean_shift = self.S, self.point.mean_shift
        normal.skewness = self.point.skewness(normal.sd)
        return Copula(normal, sides)

    def sides(self) -> dict[tuple[int, ...], tuple[list, list]]:
        """Both sides of every marginal, and of what else a copula of those that the approximation names is made of."""
        both = zip(self.indices.tolist(), self.side(-1.0), self.side(1.0), strict=True)
        sides = {(j,): (below, above) for j, below, above in both}
        for j, *held in chain(self.S, self.point.approximation.copula):
            if held:
                given = ConditionalLaplace(self.point, np.array([j]), tuple(held))
                sides[j, *held] = given.side(-1.0)[0], given.side(1.0)[0]
        return sides

    def side(self, sign: float, distances=DISTANCES) -> list[list[tuple[float, float]]]:
        """Points (t, log p~_j(t) - log p~_j(0)) of every x_j on one side of the mode, outwards until it has fallen."""
        points, active, last = [[] for _ in self.indices], np.flatnonzero(self.free), 0.0
        d = np.zeros((len(self.mode.x), len(active)))
        zero, _, _, tangent = self._newton(d, active)
        for distance in distances:
            if not len(active):
                break
            d = d + (sign * distance - last) * tangent
            last = sign * distance
            for _ in range(MAX_STEPS):
                height, gain, step, tangent = self._newton(d, active)
                if not np.max(gain) > GAIN:
                    break
                d = d + np.where(gain > GAIN, step, 0.0)  # none of them depends on which others there are
            fall = np.where(gain < SETTLED, zero - height, np.nan)
            for j, value in zip(active, fall, strict=True):
                if value < CLIFF:
                    points[j].append((last, -float(value)))
            going = fall < DEPTH
            active, d, tangent, zero = active[going], d[:, going], tangent[:, going], zero[going]
        return points

    def _newton(self, d: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """At x* + d (n_x, m) of some of the x_j: log p~ with f corrected by the gain of a Newton step that leaves x_j
        where it is, that gain (both (m,)), the step, and how the conditional mode moves with t (both (n_x, m)). Where
        H_{-j} is not positive definite, log p~ is NaN and nothing moves.

        With distances from x* and the slope of the log prior there: the terms of x'Qx cancel where prior precisions are
        1e13 times those of the data, as those of a random walk that hardly moves."""
        f = self.functions
        eta = self.mode.eta[:, None] + self.A @ d
        likelihoods = [f.log_likelihood(np.ascontiguousarray(column), self.theta) for column in eta.T]
        Qd = self.Q @ d
        value = np.array([likelihood.value.sum() for likelihood in likelihoods])
        value += np.einsum("ij,ij->j", d, self.slope[:, None] - 0.5 * Qd)
        gradient = self.A.T @ np.array([likelihood.gradient for likelihood in likelihoods]).T + self.slope[:, None] - Qd
        H = self._hessians(np.array([likelihood.W for likelihood in likelihoods])) + self.held[active]
        L, definite = _cholesky_each(H)
        log_determinant = 2 * np.sum(np.log(np.diagonal(L, axis1=1, axis2=2)), axis=1)
        right = np.stack([self.Z[self.indices[active]], (self.Z.T @ np.where(definite, gradient, 0.0)).T], axis=2)
        half = np.linalg.solve(L, right)
        variance = np.sum(half[:, :, 0] ** 2, axis=1)
        slope = np.sum(half[:, :, 0] * half[:, :, 1], axis=1) / variance
        others = half[:, :, 1] - half[:, :, 0] * slope[:, None]
        gain = 0.5 * np.sum(others**2, axis=1)
        moves = np.stack([others, half[:, :, 0] * (self.sd[active] / variance)[:, None]], axis=2)
        moves = np.linalg.solve(L.transpose(0, 2, 1), moves)
        step, tangent = self.Z @ moves[:, :, 0].T, self.Z @ moves[:, :, 1].T
        height = value + gain - 0.5 * (log_determinant + np.log(variance))
        return np.where(definite, height, np.nan), gain, step, tangent

    def _hessians(self, W: np.ndarray) -> np.ndarray:
        """(m, n_x - k, n_x - k) Z'HZ for W of shape (m, n_W)."""
        f = self.functions
        n = f.n_eta
        H = self.QZ + np.matmul(self.AZ.T * W[:, None, :n], self.AZ)
        if W.shape[1] > n:
            cross = np.matmul(self.AZ[f.W_rows[n:]].T * W[:, None, n:], self.AZ[f.W_cols[n:]])
            H = H + cross + cross.transpose(0, 2, 1)
        return H


def _cholesky_each(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factors of matrices (m, n, n), and which of them are positive definite; identities for the others."""
    try:
        return np.linalg.cholesky(H), np.ones(len(H), bool)
    except np.linalg.LinAlgError:
        definite = np.all(np.isfinite(H), axis=(1, 2))
        definite[definite] = np.linalg.eigvalsh(H[definite])[:, 0] > 0
        return np.linalg.cholesky(np.where(definite[:, None, None], H, np.eye(H.shape[1]))), definite
