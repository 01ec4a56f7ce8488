"""Hermite interpolation of a function of a few standardized coordinates from scattered values and gradients:
polyharmonic radial basis functions.

    f(z) ~ sum_k [ c_k phi(z - z_k) - g_k . grad phi(z - z_k) ] + quadratic polynomial,     phi(z) = |z|^p,
    sum_k [ c_k p(z_k) + g_k . grad p(z_k) ] = 0 for every quadratic p

(Wendland 2005, Scattered Data Approximation, section 16.2). There is no length to choose, and a Gaussian log density is
reproduced exactly. A gradient says of a function of d coordinates as much as d values, and costs about one. The power
p is 5, or 3: an interpolant that bends more easily.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference.emulator import monomials


def monomial_slopes(z: np.ndarray) -> np.ndarray:
    """Gradients of the monomials of degree 0, 1 and 2 at the rows of z, (d, m, P)."""
    m, d = z.shape
    slopes = np.zeros((d, m, (d + 1) * (d + 2) // 2))
    slopes[np.arange(d), :, 1 + np.arange(d)] = 1.0
    for p, (i, j) in enumerate(zip(*np.triu_indices(d), strict=True), start=1 + d):
        slopes[i, :, p] += z[:, j]
        slopes[j, :, p] += z[:, i]
    return slopes


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = a @ (-2.0 * b.T)
    squared += (a**2).sum(1)[:, None]
    squared += (b**2).sum(1)
    return np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)


@dataclass(frozen=True)
class HermiteEmulator:
    """Interpolant of values and of some gradients."""

    nodes: np.ndarray
    """(K, d)"""
    values: np.ndarray
    """(K,) coefficients c"""
    slopes: np.ndarray
    """(K, d) coefficients g, zero where no gradient is known"""
    polynomial: np.ndarray
    """(P,)"""
    power: int

    @classmethod
    def of(cls, nodes: np.ndarray, values: np.ndarray, gradients: np.ndarray, power: int = 5) -> HermiteEmulator:
        """Interpolate.

        Parameters
        ----------
        nodes : array (K, d)
        values : array (K,)
        gradients : array (K, d)
            NaN where they are not known. What is known determines a quadratic polynomial.
        """
        (K, d), known = nodes.shape, np.flatnonzero(np.isfinite(gradients).all(axis=1))
        at, G = nodes[known], len(known)
        P = np.vstack([monomials(nodes, 2), *monomial_slopes(at)])
        n, n_p = P.shape
        M = np.zeros((n + n_p, n + n_p))
        M[:n, n:], M[n:, :n] = P, P.T
        r = _distance(nodes, nodes)
        M[:K, :K] = r**power
        # grad phi = p r^(p-2) z, Hessian of phi = p r^(p-2) I + p (p - 2) r^(p-4) z z'
        r = r[known]
        first = power * r ** (power - 2)
        r = np.where(r[:, known] > 0, r[:, known], 1.0)
        second = -power * (power - 2) * r ** (power - 4)
        apart = at.T[:, :, None] - nodes.T[:, None, :]
        place = [slice(K + i * G, K + (i + 1) * G) for i in range(d)]
        for i in range(d):
            M[place[i], :K] = first * apart[i]
            M[:K, place[i]] = M[place[i], :K].T
            own = second * apart[i][:, known]
            for j in range(i + 1):
                M[place[i], place[j]] = own * apart[j][:, known]
                M[place[j], place[i]] = M[place[i], place[j]]
            M[place[i], place[i]] -= first[:, known]
        data = np.concatenate([values, gradients[known].T.ravel(), np.zeros(n_p)])
        solved = np.linalg.solve(M, data)
        slopes = np.zeros((K, d))
        slopes[known] = solved[K:n].reshape(d, G).T
        return cls(nodes, solved[:K], slopes, solved[n:], power)

    def __call__(self, z: np.ndarray, chunk: int = 1000) -> np.ndarray:
        """Values at the rows of z, (m,), in chunks that stay in the cache."""
        at_nodes = np.einsum("kd,kd->k", self.nodes, self.slopes)
        found = []
        for i in range(0, len(z), chunk):
            here = z[i : i + chunk]
            r = _distance(here, self.nodes)
            steep = r if self.power == 3 else r * r * r
            along = here @ self.slopes.T
            along -= at_nodes
            along *= -self.power
            along += r * r * self.values
            found.append(np.einsum("mk,mk->m", steep, along) + monomials(here, 2) @ self.polynomial)
        return np.concatenate(found) if found else np.zeros(0)
