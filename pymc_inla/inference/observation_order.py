"""Some of the observations of a model, and an order in which neighbors share a local block.

What the data say of a block is then a contiguous range of every array: sums over blocks stay in the cache, and ranges
of blocks can be worked on one by one (see `local_part`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Criteria, Design, LGMFunctions, Marginals, Pattern
from pymc_inla.linalg.partition import Partition, choose_local

LARGE = 32_768
"""Linear predictors above which the order of the observations matters: their arrays do not fit a cache together"""


def one_predictor_each(functions: LGMFunctions) -> bool:
    """Whether entry i of eta belongs to observation i and to no other."""
    return functions.n_eta == functions.n_obs and bool(
        np.array_equal(functions.observation, np.arange(functions.n_obs))
    )


@dataclass(frozen=True)
class Arrangement:
    """A model with its observations in an order that suits the computations."""

    functions: LGMFunctions
    order: np.ndarray | None = None
    """(n_obs,) place in the data of each observation; None: as they are"""
    partition: Partition | None = None
    """The local latents, where they were looked for"""

    def criteria_of_data(self, criteria: Criteria) -> Criteria:
        """Criteria in the order of the data"""
        if self.order is None:
            return criteria
        back = np.argsort(self.order)
        pit = None if criteria.pit is None else criteria.pit[back]
        return replace(criteria, log_cpo=criteria.log_cpo[back], pit=pit, failure=criteria.failure[back])

    def marginals_of_data(self, marginals: Marginals) -> Marginals:
        """Marginals of linear predictors in the order of the data"""
        if self.order is None:
            return marginals
        back = np.argsort(self.order)
        arrays = (getattr(marginals, f.name) for f in fields(marginals))
        return Marginals(*(None if array is None else array[back] for array in arrays))


def arrange(functions: LGMFunctions) -> Arrangement:
    """Put the observations of a large model in the order of their local blocks, if the likelihood allows it."""
    f = functions
    if f.only is None or f.n_eta <= LARGE:
        return Arrangement(f)
    partition = choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C)
    order = block_order(f, partition)
    return Arrangement(select_observations(f, order), order, partition)


def block_order(functions: LGMFunctions, partition: Partition) -> np.ndarray:
    """(n_obs,) observations by local block, those that see none last; of models in which each has one predictor."""
    G = len(partition.local_blocks)
    block = np.full(functions.n_x, G)
    block[partition.local_blocks] = np.arange(G)[:, None]
    A = functions.A_pattern
    of_row = np.full(functions.n_eta, G)
    local = block[A.indices] < G
    of_row[A.rows[local]] = block[A.indices[local]]
    return np.argsort(of_row, kind="stable")


def select_observations(functions: LGMFunctions, index: np.ndarray | slice) -> LGMFunctions:
    """The model of some observations, in the order of `index`; where `functions.only` is known."""
    some, A, n_eta = functions.only(index), functions.A_pattern, functions.n_eta
    pattern, entries = _rows(A, index)
    n = pattern.shape[0]

    # the functions keep hold of nothing of the whole model that they do not need
    def of_whole(whole: Design) -> Design:
        return Design(whole.A[entries], whole.offset[index])

    if functions.design_vjp is None:
        fixed, design_vjp = of_whole(functions.design(functions.theta_initial)), None

        def design(theta):
            return fixed
    else:
        whole_design, whole_vjp = functions.design, functions.design_vjp

        def design(theta):
            return of_whole(whole_design(theta))

        def design_vjp(theta, A_bar, offset_bar):
            A_whole, offset_whole = np.zeros(A.nnz), np.zeros(n_eta)
            A_whole[entries], offset_whole[index] = A_bar, offset_bar
            return whole_vjp(theta, A_whole, offset_whole)

    return replace(
        functions,
        A_pattern=pattern,
        design=design,
        design_vjp=design_vjp,
        n_obs=n,
        observation=np.arange(n),
        W_rows=np.arange(n),
        W_cols=np.arange(n),
        log_likelihood=some,
        log_likelihood_vjp=some.vjp,
        log_likelihood_batch=some.values,
        cdf=None if functions.cdf is None else some.cdf,
        only=some.only,
    )


def observation_ranges(functions: LGMFunctions, size: int) -> list[tuple[slice, LGMFunctions]]:
    """Ranges of at most `size` observations, each with its model; one range where the likelihood is one piece."""
    n = functions.n_eta
    if functions.only is None or n <= size:
        return [(slice(0, n), functions)]
    ranges = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [(at, select_observations(functions, at)) for at in ranges]


def _rows(A: Pattern, index: np.ndarray | slice) -> tuple[Pattern, np.ndarray | slice]:
    """Rows of a pattern, and where their entries are; of a range of rows no more than a view."""
    if isinstance(index, slice):
        first, last = A.indptr[index.start], A.indptr[index.stop]
        ends = A.indptr[index.start : index.stop + 1] - first
        return Pattern((len(ends) - 1, A.shape[1]), ends, A.indices[first:last]), slice(first, last)
    picked = sparse.csr_array((np.arange(A.nnz), A.indices, A.indptr), shape=A.shape)[index]
    return Pattern(picked.shape, picked.indptr.astype(np.int64), picked.indices.astype(np.int64)), picked.data
