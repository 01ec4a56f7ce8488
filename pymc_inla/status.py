"""Outcome of an iterative routine: an enum whose value is the sentence shown to the user."""

from enum import Enum


class Status(Enum):
    """How a numerical routine ended. Only `CONVERGED` is a success."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "the iteration limit was reached before convergence"
    NOT_POSITIVE_DEFINITE = "the negative Hessian is not positive definite"
    NON_FINITE = "the log density or a derivative of it is not finite"
    LINE_SEARCH_FAILED = "no step length along the search direction increased the log density"
    BOUNDARY = "the optimum lies at the bound of the search region"
    LOST_IN_ROUNDING = "rounding leaves nothing of the log density: prior precisions are too large for double precision"

    @property
    def ok(self) -> bool:
        """Whether the routine succeeded."""
        return self is Status.CONVERGED
