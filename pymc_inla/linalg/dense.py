"""Dense linear algebra for small fields: NumPy and LAPACK only, and the oracle of the other solvers.

With Z an orthonormal basis of the null space of C, everything is done for Z'HZ: its Cholesky factor gives the
log determinant, and Z (Z'HZ)^-1 Z' is the constrained covariance S. Rows of A are visited in chunks, so that memory is
bounded by the size of the chunk and not by n_eta times n_x.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from pymc_inla.lgm import Pattern
from pymc_inla.linalg.cholesky import lost_in_rounding
from pymc_inla.linalg.constraints import NullSpace, Projection
from pymc_inla.linalg.observations import observation_of_predictor
from pymc_inla.linalg.products import Products
from pymc_inla.linalg.system import SelectedInverse
from pymc_inla.status import Status

CHUNK = 2_000_000
"""Entries of a dense chunk of rows of A."""
SPARSE_COST = 200.0
"""Cost of one multiplication in a product of sparse matrices, in dense multiplications (measured: about 200)."""


@dataclass(frozen=True)
class DenseFactor:
    """Cholesky factor of Z'HZ. See `pymc_inla.linalg.system.Factor`."""

    system: "DenseSystem"
    status: Status
    log_determinant: float
    L: np.ndarray
    """(n_x - k, n_x - k) lower Cholesky factor of Z'HZ"""
    A: np.ndarray
    """(A_pattern.nnz,)"""
    W: np.ndarray
    """(n_W,)"""

    @cached_property
    def covariance(self) -> np.ndarray:
        """(n_x, n_x) constrained covariance S."""
        root = self.sample(np.eye(self.system.n_x))
        return root @ root.T

    def solve(self, r):
        """S r, for r of shape (n_x,) or (n_x, m)."""
        null_space = self.system.null_space
        if not len(self.L):
            return np.zeros_like(r, dtype=float)
        y, _ = linalg.lapack.dpotrs(self.L, null_space.to_basis(r), lower=1)
        return null_space.from_basis(y)

    def sample(self, normals):
        """Draws from N(0, S): (n_x, m) standard normals to (n_x, m) draws."""
        used = normals[: self.L.shape[0]]
        if len(used):
            used = linalg.solve_triangular(self.L, used, lower=True, trans="T", check_finite=False)
        return self.system.null_space.from_basis(used)

    def selected_inverse(self) -> SelectedInverse:
        """Entries of S on the patterns of Q, W and A."""
        s, S = self.system, self.covariance
        W_entries, A_entries = np.empty(len(self.W)), np.empty(len(self.A))
        for chunk in s.chunks:
            A, W = chunk.A(self.A), chunk.W(self.W)
            AS = A @ S
            WAS = W[:, None] * AS if W.ndim == 1 else W @ AS
            A_entries[chunk.A_positions] = WAS[chunk.A_rows, chunk.A_cols]
            if sparse.issparse(A):
                A = A.toarray()
            W_entries[chunk.W_positions] = np.einsum("ij,ij->i", AS[chunk.W_rows], A[chunk.W_cols])
        return SelectedInverse(
            diagonal=np.diag(S).copy(), Q=S[s.Q_rows, s.Q_pattern.indices], W=W_entries, compute_A=lambda: A_entries
        )


@dataclass(frozen=True)
class RowChunk:
    """Some rows of A, with every row that shares an observation with them."""

    shape: tuple[int, int]
    A_positions: np.ndarray | slice
    """Positions of the chunk's entries in the values of A"""
    A_rows: np.ndarray
    """Row within the chunk of each entry"""
    A_cols: np.ndarray
    W_positions: np.ndarray | slice
    W_rows: np.ndarray
    W_cols: np.ndarray
    diagonal: bool
    """Whether W is diagonal"""
    as_sparse: bool
    """Whether products with A as a sparse matrix are cheaper"""

    def A(self, values: np.ndarray) -> np.ndarray | sparse.csr_array:
        if self.as_sparse:
            return sparse.csr_array((values[self.A_positions], (self.A_rows, self.A_cols)), shape=self.shape)
        dense = np.zeros(self.shape)
        dense[self.A_rows, self.A_cols] = values[self.A_positions]
        return dense

    def W(self, values: np.ndarray) -> np.ndarray | sparse.csr_array:
        """Its diagonal as a vector if W is diagonal."""
        values = values[self.W_positions]
        if self.diagonal:
            return values
        n, off = self.shape[0], self.W_rows != self.W_cols
        rows = np.concatenate([self.W_rows, self.W_cols[off]])
        cols = np.concatenate([self.W_cols, self.W_rows[off]])
        return sparse.csr_array((np.concatenate([values, values[off]]), (rows, cols)), shape=(n, n))


@dataclass(frozen=True)
class DenseSystem:
    """H = Q + A'WA as a dense matrix. See `pymc_inla.linalg.system.System`. C must be of full row rank."""

    Q_pattern: Pattern
    A_pattern: Pattern
    W_rows: np.ndarray
    W_cols: np.ndarray
    C: sparse.csr_array
    e: np.ndarray

    @property
    def n_x(self) -> int:
        return self.A_pattern.shape[1]

    @property
    def factor_size(self) -> int:
        return 2 * self.n_x**2 + self.Q_pattern.nnz + self.A_pattern.nnz + len(self.W_rows)

    @cached_property
    def Q_rows(self) -> np.ndarray:
        return self.Q_pattern.rows

    @cached_property
    def null_space(self) -> NullSpace:
        return NullSpace(self.C.toarray())

    @cached_property
    def project(self) -> Projection:
        """The point nearest to x with C x = e."""
        return Projection(self.C, self.e)

    @cached_property
    def chunks(self) -> tuple[RowChunk, ...]:
        """Rows of A in chunks of bounded size."""
        n_eta, n_x = self.A_pattern.shape
        products = float(np.sum(np.diff(self.A_pattern.indptr).astype(float) ** 2))
        as_sparse = n_eta * n_x > 50_000 and products * SPARSE_COST < float(n_eta) * n_x**2
        return tuple(self._chunks(max(CHUNK // max(n_x, 1), 1), as_sparse))

    def _chunks(self, size: int, as_sparse: bool) -> Iterator[RowChunk]:
        n_eta, n_x = self.A_pattern.shape
        observation = observation_of_predictor(n_eta, self.W_rows, self.W_cols)
        # chunk of each row: `size` consecutive observations
        label = observation // size
        A_rows = self.A_pattern.rows
        for c in range(int(label.max(initial=-1)) + 1):
            members = np.flatnonzero(label == c)
            local = np.full(n_eta, -1)
            local[members] = np.arange(len(members))
            A_positions = np.flatnonzero(local[A_rows] >= 0)
            W_positions = np.flatnonzero(local[self.W_rows] >= 0)
            yield RowChunk(
                shape=(len(members), n_x),
                A_positions=A_positions,
                A_rows=local[A_rows[A_positions]],
                A_cols=self.A_pattern.indices[A_positions],
                W_positions=W_positions,
                W_rows=local[self.W_rows[W_positions]],
                W_cols=local[self.W_cols[W_positions]],
                diagonal=len(self.W_rows) == n_eta,
                as_sparse=as_sparse,
            )

    def factorize(self, Q, A, W) -> DenseFactor:
        """Cholesky factor of Z'HZ for values on the patterns."""
        if not (np.all(np.isfinite(Q)) and np.all(np.isfinite(A)) and np.all(np.isfinite(W))):
            return DenseFactor(self, Status.NON_FINITE, np.nan, np.empty((0, 0)), A, W)
        # overflow is reported by the status
        with np.errstate(over="ignore", invalid="ignore"):
            H = self.null_space.restrict(self._assemble(Q, A, W))
        if not np.all(np.isfinite(H)):
            return DenseFactor(self, Status.NON_FINITE, np.nan, np.empty((0, 0)), A, W)
        L, info = linalg.lapack.dpotrf(H, lower=1, clean=1) if H.size else (H, 0)
        if info != 0 or lost_in_rounding(np.diag(L) ** 2, H.diagonal()):
            return DenseFactor(self, Status.NOT_POSITIVE_DEFINITE, np.nan, L, A, W)
        return DenseFactor(self, Status.CONVERGED, 2.0 * float(np.sum(np.log(np.diag(L)))), L, A, W)

    def _assemble(self, Q, A, W) -> np.ndarray:
        H = np.zeros((self.n_x, self.n_x))
        H[self.Q_rows, self.Q_pattern.indices] = Q
        for chunk in self.chunks:
            A_chunk, W_chunk = chunk.A(A), chunk.W(W)
            if chunk.as_sparse:
                W_matrix = sparse.diags_array(W_chunk) if chunk.diagonal else W_chunk
                H += (A_chunk.T @ (W_matrix @ A_chunk)).toarray()
            else:
                H += A_chunk.T @ (W_chunk[:, None] * A_chunk if chunk.diagonal else W_chunk @ A_chunk)
        return H

    @cached_property
    def _products(self) -> Products:
        return Products(self.Q_pattern, self.A_pattern)

    def multiply_A(self, A, x):
        """A x, (n_eta,)"""
        return self._products.multiply_A(A, x)

    def multiply_At(self, A, g):
        """A'g, (n_x,)"""
        return self._products.multiply_At(A, g)

    def multiply_Q(self, Q, x):
        """Q x, (n_x,)"""
        return self._products.multiply_Q(Q, x)
