"""Products with matrices whose pattern is fixed and whose values change."""

import copy

import numpy as np

from pymc_inla.lgm import Pattern
from pymc_inla.linalg.matvec import multiply, multiply_transposed


class Products:
    """A x, A'g and Q x on fixed patterns. The patterns are checked once and the indices kept in 32 bits."""

    def __init__(self, Q_pattern: Pattern, A_pattern: Pattern):
        self._A = _template(A_pattern)
        self._Q = _template(Q_pattern)

    def multiply_A(self, A, x):
        """A x, (n_eta,)"""
        return multiply(_with_values(self._A, A), x)

    def multiply_At(self, A, g):
        """A'g, (n_x,)"""
        return multiply_transposed(_with_values(self._A, A), g)

    def multiply_Q(self, Q, x):
        """Q x, (n_x,)"""
        return multiply(_with_values(self._Q, Q), x)


def _template(pattern: Pattern):
    matrix = pattern.to_matrix(np.empty(0)) if pattern.nnz == 0 else pattern.to_matrix(np.ones(pattern.nnz))
    if pattern.nnz < np.iinfo(np.int32).max:
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    matrix.data = np.empty(0)
    return matrix


def _with_values(template, values):
    # a shallow copy shares the index arrays and is safe when several threads multiply at once
    matrix = copy.copy(template)
    matrix.data = np.asarray(values, dtype=float)
    return matrix
