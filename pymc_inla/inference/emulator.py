"""Interpolation of a function of a few standardized coordinates from scattered values: cubic radial basis functions.

    f(z) ~ sum_k c_k |z - z_k|^3 + quadratic polynomial in z,   sum_k c_k p(z_k) = 0 for every quadratic p

In one dimension this is a cubic spline. A Gaussian log density is reproduced exactly; what deviates from it is
interpolated. Leave-one-out errors have a closed form (Rippa 1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np


def monomials(z: np.ndarray, degree: int) -> np.ndarray:
    """All monomials up to `degree` (0, 1 or 2) at the rows of z, (m, d) to (m, P)."""
    columns = [np.ones(len(z))]
    if degree >= 1:
        columns += list(z.T)
    if degree >= 2:
        columns += [z[:, i] * z[:, j] for i, j in combinations_with_replacement(range(z.shape[1]), 2)]
    return np.column_stack(columns)


def _kernel(a: np.ndarray, b: np.ndarray, power: int) -> np.ndarray:
    """|a_i - b_j|^power, odd"""
    squared = a @ (-2.0 * b.T)
    squared += (a**2).sum(1)[:, None]
    squared += (b**2).sum(1)
    np.maximum(squared, 0.0, out=squared)
    distance = np.sqrt(squared)
    if power == 1:
        return distance
    squared *= distance
    return squared


@dataclass(frozen=True)
class Emulator:
    """Interpolant of values at nodes; the values may be vectors (one column per function)."""

    nodes: np.ndarray
    """(K, d)"""
    degree: int
    inverse: np.ndarray
    """(K + P, K + P) inverse of [[kernel, P], [P', 0]]"""
    power: int = 3

    @classmethod
    def at(cls, nodes: np.ndarray, degree: int = 2, power: int = 3) -> Emulator:
        """Prepare for these nodes; the degree of the polynomial is lower where there are too few of them. The power of
        the distance is 3, or 1: piecewise linear in one dimension."""
        K = len(nodes)
        P = monomials(nodes, degree)
        while degree > 0 and not (K > P.shape[1] and np.linalg.matrix_rank(P) == P.shape[1]):
            degree -= 1
            P = monomials(nodes, degree)
        n_p = P.shape[1]
        M = np.zeros((K + n_p, K + n_p))
        M[:K, :K] = _kernel(nodes, nodes, power)
        M[:K, K:], M[K:, :K] = P, P.T
        return cls(nodes, degree, np.linalg.pinv(M, hermitian=True) if K == n_p else np.linalg.inv(M), power)

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """(K,) or (K, m) values to (K + P,) or (K + P, m) coefficients."""
        return self.inverse[:, : len(self.nodes)] @ values

    def basis(self, z: np.ndarray) -> np.ndarray:
        """(m, K + P)"""
        return np.hstack([_kernel(z, self.nodes, self.power), monomials(z, self.degree)])

    def matrix(self, z: np.ndarray) -> np.ndarray:
        """(m, K): values at the nodes to values at z."""
        return self.basis(z) @ self.inverse[:, : len(self.nodes)]

    def predict(self, coefficients: np.ndarray, z: np.ndarray, chunk: int = 2000) -> np.ndarray:
        """Values at the rows of z, in chunks that stay in the cache."""
        parts = [self.basis(z[i : i + chunk]) @ coefficients for i in range(0, len(z), chunk)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def leave_one_out(self, values: np.ndarray) -> np.ndarray:
        """(K,) value minus its prediction from all other nodes; infinite where a node is indispensable."""
        K = len(self.nodes)
        diagonal = np.diag(self.inverse)[:K]
        indispensable = np.abs(diagonal) < 1e-12 * np.max(np.abs(diagonal))
        safe = np.where(indispensable, 1.0, diagonal)
        return np.where(indispensable, np.inf, self.coefficients(values)[:K] / safe)
