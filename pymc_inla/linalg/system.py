"""What the inference asks of linear algebra: H = Q + A'WA factorized on fixed patterns, under C x = e.

Every solver (dense, elimination of local latents, sparse) has these methods, and every one is tested against the
dense one. With constraints, the solver works with the bordered matrix K = [[H, C'], [C, 0]]: the top left block of its
inverse is the constrained covariance Z(Z'HZ)^-1 Z' and log|det K| - log det CC' = log det Z'HZ, where the columns of Z
are an orthonormal basis of the null space of C. H may be singular along directions that the constraints fix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from pymc_inla.status import Status


@dataclass(frozen=True)
class SelectedInverse:
    """Entries of the (constrained) covariance S, where S = H^-1 without constraints and Z(Z'HZ)^-1 Z' with them."""

    diagonal: np.ndarray
    """(n_x,)"""
    Q: np.ndarray
    """(Q_pattern.nnz,), S on the pattern of Q"""
    W: np.ndarray
    """(n_W,), (A S A')[W_rows, W_cols]"""
    compute_A: Callable[[], np.ndarray]

    @cached_property
    def A(self) -> np.ndarray:
        """(A_pattern.nnz,), (W A S) on the pattern of A: half the gradient of log det(Q + A'WA) in the entries of A.
        Computed when asked for: a design that does not depend on theta never needs it for a gradient."""
        return self.compute_A()


class Factor(Protocol):
    """H at one (Q, A, W), factorized."""

    status: Status
    """CONVERGED, NOT_POSITIVE_DEFINITE (on the constrained subspace) or NON_FINITE. Only a CONVERGED factor may be
    used further."""
    log_determinant: float
    """log det Z'HZ"""

    def solve(self, r: np.ndarray) -> np.ndarray:
        """S r, for r of shape (n_x,) or (n_x, m)."""

    def sample(self, normals: np.ndarray) -> np.ndarray:
        """Draws from N(0, S): (n_x, m) standard normals to (n_x, m) draws, deterministic.

        The normals may be overwritten: those of a Fortran-ordered array, one draw after the other, are where the memory
        of a large model would not hold both.
        """

    def selected_inverse(self) -> SelectedInverse:
        """The entries of S that the inference needs."""


class System(Protocol):
    """Patterns of Q, A, W and the constraints, analyzed once."""

    n_x: int
    factor_size: int
    """Numbers that a factor and its selected inverse hold, about"""

    def factorize(self, Q: np.ndarray, A: np.ndarray, W: np.ndarray) -> Factor:
        """Factorize H for values on the patterns."""

    def multiply_A(self, A: np.ndarray, x: np.ndarray) -> np.ndarray:
        """A x, (n_eta,)"""

    def multiply_At(self, A: np.ndarray, g: np.ndarray) -> np.ndarray:
        """A'g, (n_x,)"""

    def multiply_Q(self, Q: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Q x, (n_x,)"""

    def project(self, x: np.ndarray) -> np.ndarray:
        """The point nearest to x with C x = e."""
