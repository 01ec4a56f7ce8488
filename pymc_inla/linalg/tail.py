"""What is left after some latents were eliminated: a dense matrix of the other latents, bordered by constraints.

Let x_L be eliminated, x_S the rest, and split the constraints, after a rotation if need be, into rows C_1 whose part on
x_L has full row rank and rows C_2 that do not touch x_L. Eliminating x_L from the bordered matrix leaves

    [[T, G'], [G, -M]]      in (x_S, multipliers of C_1),      M = C_1L D^-1 C_1L',  G = C_1S - C_1L D^-1 B,

and eliminating the multipliers leaves T_1 = T + G'M^-1 G under C_2 x_S = 0. H is positive definite on the constrained
subspace, given that D is, exactly if M and Z_2'T_1 Z_2 are: only Cholesky factors are needed.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from pymc_inla.linalg.cholesky import inverse_from_cholesky, lost_in_rounding
from pymc_inla.linalg.constraints import NullSpace
from pymc_inla.linalg.finite import all_finite
from pymc_inla.status import Status


@dataclass(frozen=True)
class SplitConstraints:
    """C x = 0 split by whether a row touches the eliminated latents."""

    eliminated: sparse.csr_array
    """(k_1, n_L) C_1L, of full row rank"""
    shared: np.ndarray
    """(k_1, n_S) C_1S"""
    null_space: NullSpace
    """of C_2, (k_2, n_S)"""
    log_determinant: float
    """log det C_2 C_2' - log det C C': what the determinant of the bordered matrix is corrected by"""


def split_constraints(C: sparse.csr_array, eliminated: np.ndarray, shared: np.ndarray) -> SplitConstraints:
    """Split constraints of full row rank.

    Parameters
    ----------
    C : (k, n_x)
    eliminated, shared : int arrays, (n_L,) and (n_S,)
        Indices into x, in the order of the returned columns.
    """
    gram = (C @ C.T).toarray()
    C_L, C_S = sparse.csr_array(C[:, eliminated]), C[:, shared].toarray()
    touches = np.diff(C_L.indptr) > 0
    if np.any(touches):
        values, vectors = np.linalg.eigh((C_L[touches] @ C_L[touches].T).toarray())
        if values[0] < 1e-10 * values[-1]:
            # rows that are dependent on x_L alone: rotate, so that the dependent combinations leave x_L
            full = values >= 1e-10 * values[-1]
            rotation = np.eye(len(touches))
            rotation[np.ix_(touches, touches)] = vectors.T
            touches[np.flatnonzero(touches)] = full
            C_L = sparse.csr_array(sparse.csr_array(rotation) @ C_L)
            C_S = rotation @ C_S
    null_space = NullSpace(C_S[~touches])
    log_determinant = null_space.log_determinant_gram - np.linalg.slogdet(gram)[1]
    return SplitConstraints(sparse.csr_array(C_L[touches]), C_S[touches], null_space, float(log_determinant))


@dataclass(frozen=True)
class Tail:
    """Factorized remainder. P = n_S + k_1 is its size with the multipliers of C_1 last."""

    status: Status
    log_determinant: float
    """log det M + log det Z_2'T_1 Z_2"""
    null_space: NullSpace
    L: np.ndarray
    """Lower Cholesky factor of Z_2'T_1 Z_2"""
    L_M: np.ndarray
    """(k_1, k_1) lower Cholesky factor of M"""
    G: np.ndarray
    """(k_1, n_S)"""

    def solve(self, r: np.ndarray) -> np.ndarray:
        """Solution for the right-hand side r, (P, m), in (x_S, multipliers)."""
        n_S = self.null_space.n
        if not len(self.L_M):
            return self._solve_shared(r)
        x = self._solve_shared(r[:n_S] + self.G.T @ self.solve_M(r[n_S:]))
        return np.concatenate([x, self.solve_M(self.G @ x - r[n_S:])])

    def solve_M(self, r: np.ndarray) -> np.ndarray:
        """M^-1 r, (k_1, m)."""
        return linalg.lapack.dpotrs(self.L_M, r, lower=1)[0]

    def sample(self, normals: np.ndarray) -> np.ndarray:
        """Standard normals (n_S, m) to draws of x_S."""
        used = normals[: len(self.L)]
        if len(used):
            used = linalg.solve_triangular(self.L, used, lower=True, trans="T", check_finite=False)
        return self.null_space.from_basis(used)

    @cached_property
    def inverse(self) -> np.ndarray:
        """(P, P) inverse of the bordered remainder: top left is the covariance of x_S."""
        n_S = self.null_space.n
        S = self._covariance()
        if not len(self.L_M):
            return S
        K = np.empty((n_S + len(self.L_M),) * 2)
        M_inverse_G = self.solve_M(self.G)
        K[:n_S, :n_S] = S
        K[n_S:, :n_S] = M_inverse_G @ S
        K[:n_S, n_S:] = K[n_S:, :n_S].T
        K[n_S:, n_S:] = K[n_S:, :n_S] @ M_inverse_G.T - self.solve_M(np.eye(len(self.L_M)))
        return K

    def _covariance(self) -> np.ndarray:
        if not len(self.L):
            return np.zeros((self.null_space.n,) * 2)
        if self.null_space.k == 0:
            return inverse_from_cholesky(self.L)
        root = self.sample(np.eye(self.null_space.n))
        return root @ root.T

    def _solve_shared(self, r):
        if not len(self.L):
            return np.zeros_like(r)
        return self.null_space.from_basis(linalg.lapack.dpotrs(self.L, self.null_space.to_basis(r), lower=1)[0])


def factorize_tail(T: np.ndarray, constraints: SplitConstraints, before: np.ndarray) -> Tail:
    """Factorize the remainder.

    Parameters
    ----------
    T : (P, P)
        Bordered remainder, of which the lower triangle is read; the upper one must be finite.
    constraints : SplitConstraints
    before : (P,)
        Diagonal of what the elimination subtracted from; a remainder that is mostly rounding is not accepted.
    """
    n_S, empty = constraints.null_space.n, np.empty((0, 0))
    failed = {"log_determinant": np.nan, "null_space": constraints.null_space, "L": empty, "L_M": empty, "G": empty}
    if not all_finite(T):
        return Tail(Status.NON_FINITE, **failed)
    G, L_M, inner, log_determinant = T[n_S:, :n_S], empty, T, 0.0
    if n_S < len(T) or constraints.null_space.k:
        inner = np.tril(T[:n_S, :n_S])
        inner += np.tril(inner, -1).T
    if n_S < len(T):
        L_M, info = linalg.lapack.dpotrf(-T[n_S:, n_S:], lower=1, clean=1)
        if info != 0:
            return Tail(Status.NOT_POSITIVE_DEFINITE, **failed)
        log_determinant += 2.0 * float(np.sum(np.log(np.diag(L_M))))
        half = linalg.solve_triangular(L_M, G, lower=True)
        inner += half.T @ half
    inner = constraints.null_space.restrict(inner)
    L, info = linalg.lapack.dpotrf(inner, lower=1, clean=1) if inner.size else (empty, 0)
    before = before[:n_S]
    if constraints.null_space.k:
        before = constraints.null_space.restrict(np.diag(before)).diagonal()
    if info != 0 or lost_in_rounding(np.diag(L) ** 2, before):
        return Tail(Status.NOT_POSITIVE_DEFINITE, **failed)
    log_determinant += 2.0 * float(np.sum(np.log(np.diag(L))))
    return Tail(Status.CONVERGED, log_determinant, constraints.null_space, L, L_M, G)
