"""Hard linear constraints C x = e: redundant rows removed, and the null space of C without forming a basis of it."""

from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from pymc_inla.errors import InvalidDataError

RANK_TOLERANCE = 1e-10
"""A row of C counts as a combination of the others if what is left of it is below this fraction of its norm."""


def independent_rows(C, e: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Rows of (C, e) that are linearly independent; the others follow from them.

    Parameters
    ----------
    C : sparse or dense, (k, n_x)
    e : (k,)

    Returns
    -------
    C : sparse.csr_array, (rank, n_x)
    e : (rank,)

    Raises
    ------
    InvalidDataError
        If C or e is not finite, or a redundant row contradicts the others, so that no x satisfies C x = e.
    """
    C, e = sparse.csr_array(C, dtype=float), np.asarray(e, dtype=float)
    k = C.shape[0]
    if k == 0:
        return C, e
    if not (np.all(np.isfinite(C.data)) and np.all(np.isfinite(e))):
        raise InvalidDataError("The constraints C x = e hold NaN or inf. They must be finite: check C and e.")
    norm = np.sqrt(np.asarray(C.multiply(C).sum(axis=1)).ravel())
    scale = 1.0 / np.where(norm > 0, norm, 1.0)
    unit = sparse.csr_array(sparse.diags_array(scale) @ C)
    # pivoted Cholesky of the Gram matrix: rank and pivots at cost k^3, whatever n_x is
    _, pivot, rank, _ = linalg.lapack.dpstrf((unit @ unit.T).toarray(), lower=1, tol=RANK_TOLERANCE)
    kept, dropped = np.sort(pivot[:rank] - 1), pivot[rank:] - 1
    if len(dropped):
        gram = (unit[kept] @ unit[kept].T).toarray()
        implied = (unit[dropped] @ unit[kept].T).toarray() @ np.linalg.solve(gram, (scale * e)[kept])
        bad = dropped[np.abs(implied - (scale * e)[dropped]) > 1e-8 * (1.0 + np.abs(implied))]
        if len(bad):
            raise InvalidDataError(
                f"The constraints C x = e contradict each other: row {int(bad[0])} of C is a combination of other "
                f"rows, but its right-hand side e[{int(bad[0])}] = {e[bad[0]]:g} is not the same combination. "
                "Remove the row or correct e."
            )
    return sparse.csr_array(C[kept]), e[kept]


class NullSpace:
    """The orthonormal basis Z of the null space of a dense C (k, n) of full row rank, as Householder reflections.

    With C' = Q R, Z is the last n - k columns of Q = I - V T V' (compact WY form; Schreiber & Van Loan 1989). Z'HZ then
    costs O(k n^2) instead of the O(n^3) of products with a dense Z.
    """

    def __init__(self, C: np.ndarray):
        k, n = C.shape
        self.k, self.n = k, n
        if k == 0:
            self.log_determinant_gram = 0.0
            return
        factored, tau, _, info = linalg.lapack.dgeqrf(np.asfortranarray(C.T))
        if info != 0:
            raise ValueError(f"dgeqrf refused argument {-info}")
        V = np.tril(factored, -1)
        V[np.arange(k), np.arange(k)] = 1.0
        T = np.zeros((k, k))
        for j in range(k):
            T[:j, j] = -tau[j] * (T[:j, :j] @ (V[:, :j].T @ V[:, j]))
            T[j, j] = tau[j]
        self.V, self.T = V, T
        self.log_determinant_gram = 2.0 * float(np.sum(np.log(np.abs(np.diag(factored)))))
        """log det CC'"""

    def restrict(self, H: np.ndarray) -> np.ndarray:
        """Z'HZ, (n-k, n-k), for symmetric H (n, n)."""
        if self.k == 0:
            return H
        Y = H @ self.V @ self.T
        E = Y - 0.5 * self.V @ (self.T.T @ (self.V.T @ Y))
        product = E @ self.V.T
        return (H - product - product.T)[self.k :, self.k :]

    def to_basis(self, r: np.ndarray) -> np.ndarray:
        """Z'r, (n-k, ...), for r of shape (n, ...)."""
        if self.k == 0:
            return r
        return (r - self.V @ (self.T.T @ (self.V.T @ r)))[self.k :]

    def from_basis(self, y: np.ndarray) -> np.ndarray:
        """Z y, (n, ...), for y of shape (n-k, ...)."""
        if self.k == 0:
            return y
        x = np.concatenate([np.zeros((self.k, *y.shape[1:])), y])
        return x - self.V @ (self.T @ (self.V.T @ x))


class Projection:
    """The point nearest to x with C x = e, for C of full row rank."""

    def __init__(self, C: sparse.csr_array, e: np.ndarray):
        self.C, self.e = C, e

    @cached_property
    def _gram_factor(self):
        return linalg.cho_factor((self.C @ self.C.T).toarray())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.C.shape[0] == 0:
            return x
        return x - self.C.T @ linalg.cho_solve(self._gram_factor, self.C @ x - self.e)
