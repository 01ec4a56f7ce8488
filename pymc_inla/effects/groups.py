"""Precision matrices of the group axis: u_r ~ N(0, (tau Q_group (x) I)^-1) for each replicate r.

A group model knows its quadratic form written over slices of u, so that the pattern of Q_group survives symbolic
differentiation; Q_group itself, m x m, for forward draws; and log |Q_group|. Its `parameters` are one symbolic vector:
correlations, or nothing. Notation: m groups, u of shape (replicates, m, levels).
"""

from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt


def _squares(parts):
    return sum(pt.sum(part**2) for part in parts)


@dataclass(frozen=True)
class Independent:
    """Q_group = I."""

    m: int

    @property
    def rank(self) -> int:
        return self.m

    def quadratic(self, u, parameters):
        return pt.sum(u**2)

    def precision(self, parameters):
        return pt.eye(self.m)

    def log_determinant(self, parameters):
        return pt.constant(0.0, dtype="float64")


@dataclass(frozen=True)
class Exchangeable:
    """Unit variances and one correlation rho between all pairs of groups, -1/(m-1) < rho < 1.

    Q_group = (I - rho / (1 + (m-1) rho) 11') / (1 - rho).
    """

    m: int

    @property
    def rank(self) -> int:
        return self.m

    def quadratic(self, u, parameters):
        rho = parameters[0]
        within = pt.sum(u**2) - rho / (1 + (self.m - 1) * rho) * pt.sum(pt.sum(u, axis=1) ** 2)
        return within / (1 - rho)

    def precision(self, parameters):
        rho = parameters[0]
        return (pt.eye(self.m) - rho / (1 + (self.m - 1) * rho)) / (1 - rho)

    def log_determinant(self, parameters):
        rho = parameters[0]
        return -(self.m - 1) * pt.log1p(-rho) - pt.log1p((self.m - 1) * rho)


@dataclass(frozen=True)
class Autoregressive:
    """Stationary autoregression of order p with unit marginal variance; parameters are the p partial autocorrelations.

    The Durbin-Levinson recursion turns them into the coefficients and the innovation variance of every order up to p
    (Brockwell & Davis 1991, 5.2), which is the exact joint density, u_1 being drawn from the stationary distribution.
    """

    m: int
    order: int = 1

    @property
    def rank(self) -> int:
        return self.m

    def _regressions(self, parameters):
        """(coefficients phi_{k,1..k}, innovation variance v_k) for k = 0, ..., p."""
        phi, variance = [], 1.0
        found = [(phi, variance)]
        for k in range(self.order):
            psi = parameters[k]
            phi = [phi[j] - psi * phi[k - 1 - j] for j in range(k)] + [psi]
            variance = variance * (1 - psi**2)
            found.append((phi, variance))
        return found

    def _innovations(self, u, parameters):
        """u_t minus its prediction from the past, standardized: p slices of one group, then all the others."""
        p, m = self.order, self.m
        regressions = self._regressions(parameters)
        parts = []
        for t, (phi, variance) in enumerate(regressions):
            stop = t + 1 if t < p else m
            value = u[:, t:stop]
            for j, coefficient in enumerate(phi, start=1):
                value = value - coefficient * u[:, t - j : stop - j]
            parts.append(value / pt.sqrt(variance))
        return parts

    def quadratic(self, u, parameters):
        return _squares(self._innovations(u, parameters))

    def precision(self, parameters):
        B = pt.concatenate(self._innovations(pt.eye(self.m)[None], parameters), axis=1)[0]
        return B.T @ B

    def log_determinant(self, parameters):
        variances = [variance for _, variance in self._regressions(parameters)]
        counts = [1] * self.order + [self.m - self.order]
        return -sum(count * pt.log(v) for count, v in zip(counts[1:], variances[1:], strict=True))


@dataclass(frozen=True)
class CyclicAutoregressive:
    """First-order autoregression on a circle: Q_group = [1 + rho^2 on the diagonal, -rho between neighbors] / s with
    s = (1 - rho^2) (1 - rho^m) / (1 + rho^m), so that marginal variances are one. |Q_group| = (1 - rho^m)^2 / s^m.
    """

    m: int

    @property
    def rank(self) -> int:
        return self.m

    def _scale(self, rho):
        return (1 - rho**2) * (1 - rho**self.m) / (1 + rho**self.m)

    def quadratic(self, u, parameters):
        rho = parameters[0]
        return _squares([u[:, 1:] - rho * u[:, :-1], u[:, :1] - rho * u[:, -1:]]) / self._scale(rho)

    def precision(self, parameters):
        rho = parameters[0]
        shift = pt.constant(np.roll(np.eye(self.m), 1, axis=0))
        return ((1 + rho**2) * pt.eye(self.m) - rho * (shift + shift.T)) / self._scale(rho)

    def log_determinant(self, parameters):
        rho = parameters[0]
        return 2 * pt.log1p(-(rho**self.m)) - self.m * pt.log(self._scale(rho))


@dataclass(frozen=True)
class Intrinsic:
    """Q_group = scale D'D, singular: random walks and besag. Each row of D is a contrast of a few groups.

    `scale` makes the generalized variance, the geometric mean of the marginal variances on the complement of the
    null space, equal to one (Sorbye & Rue 2014). The null space carries no prior.
    """

    m: int
    columns: np.ndarray
    """(q, s) groups that each contrast takes part in"""
    coefficients: tuple[float, ...]
    """(s,)"""
    deficiency: int
    """Dimension of the null space"""
    scaled: bool = True

    def __post_init__(self):
        D = np.zeros((len(self.columns), self.m))
        for k, coefficient in enumerate(self.coefficients):
            np.add.at(D, (np.arange(len(D)), self.columns[:, k]), coefficient)
        values, vectors = np.linalg.eigh(D.T @ D)
        values[: self.deficiency] = 0.0
        kept = slice(self.deficiency, None)
        variances = np.sum(vectors[:, kept] ** 2 / values[kept], axis=1)
        scale = float(np.exp(np.mean(np.log(variances)))) if self.scaled else 1.0
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "eigenvalues", scale * values)
        object.__setattr__(self, "eigenvectors", vectors)

    @property
    def rank(self) -> int:
        return self.m - self.deficiency

    def quadratic(self, u, parameters):
        pieces = zip(self.coefficients, self.columns.T, strict=True)
        return self.scale * pt.sum(sum(coefficient * u[:, groups] for coefficient, groups in pieces) ** 2)

    def precision(self, parameters):
        return pt.constant((self.eigenvectors * self.eigenvalues) @ self.eigenvectors.T)

    def log_determinant(self, parameters):
        return pt.constant(np.sum(np.log(self.eigenvalues[self.deficiency :])), dtype="float64")


def random_walk(m: int, order: int, *, cyclic: bool = False, scaled: bool = True) -> Intrinsic:
    """First or second order random walk over m groups; on a circle its null space is the constant only."""
    contrasts = m if cyclic else m - order
    columns = (np.arange(contrasts)[:, None] + np.arange(order + 1)[None, :]) % m
    coefficients = {1: (-1.0, 1.0), 2: (1.0, -2.0, 1.0)}[order]
    return Intrinsic(m, columns, coefficients, 1 if cyclic else order, scaled)


def besag(adjacency: np.ndarray, *, scaled: bool = True) -> Intrinsic:
    """Intrinsic model of a connected graph: differences along its edges; `adjacency` is symmetric 0/1, (m, m)."""
    columns = np.argwhere(np.triu(adjacency, 1))
    return Intrinsic(len(adjacency), columns, (-1.0, 1.0), 1, scaled)
