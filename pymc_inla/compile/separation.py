"""Separation: directions of flat coefficients in which no observation ever becomes less likely.

Along such a direction the likelihood has a positive limit, and the posterior under a flat prior no finite integral: a
level whose counts are all zero, binary responses that a covariate separates (completely, or with ties).

The tails of the log density l_i of an observation say in which directions d of its linear predictors it does not
decrease: those with <g, d> >= 0 for every gradient g of l_i far out. Half lines for one predictor, the cone of
d_y >= d_j for softmax. A combination of coefficients that satisfies the inequalities of all observations is found by
linear programming.

K. Konis (2007), Linear programming algorithms for detecting separated data in binary logistic regression models,
DPhil thesis, University of Oxford.
"""

from itertools import product

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from pymc_inla.inference.observation_order import select_observations

FAR = (50.0, 1e4, 1e8, 1e16, 1e32)
"""Linear predictors beyond the data whatever their unit; at the first no exponential overflows or matters any more"""
FLAT = 1e-3
"""Largest d l / d log|eta| that counts as none: a power of |eta|, as in the tails of StudentT, has one of order 1"""
ROUNDING = 1e-12
"""Gradients that are rounding, however far out"""
MANY = 20_000
"""Observations of which a sample of this size is asked first: what bounds all directions of some bounds those of all"""
HOLDS = 1e-9
"""How far below zero <g, v> may be for unit vectors g and a solution v whose largest element is 1"""
ROWS_PER_COLUMN = 50
"""Inequalities per coefficient of a first linear program; few data without separation need more"""


def unbounded_direction(functions, theta, A, B, C) -> np.ndarray | None:
    """A combination of free directions along which the likelihood does not decrease.

    Parameters
    ----------
    functions : LGMFunctions
    theta : (n_theta,)
    A : (n_eta, n_x) sparse, the design
    B : (n_x, q) sparse, directions that the prior leaves free; no combination of them has A B v = 0 and C v = 0
    C : (k, q) sparse, hard constraints on the combinations

    Returns
    -------
    (q,) or None
        None where every combination makes some observation impossible in the end.
    """
    if functions.gaussian:
        return None
    if functions.only is not None and functions.n_obs > MANY:
        index = np.sort(np.random.default_rng(0).choice(functions.n_obs, MANY, replace=False))
        if unbounded_direction(select_observations(functions, index), theta, A[index], B, C) is None:
            return None
    tails = tail_gradients(functions, theta)
    one_predictor = functions.n_eta == functions.n_obs
    if one_predictor and np.all(tails.max(axis=0).toarray() > 0) and np.all(tails.min(axis=0).toarray() < 0):
        return None
    G = sparse.csr_array(tails @ A @ B)
    scale = np.sqrt(np.asarray(G.multiply(G).sum(axis=0)).ravel())
    shrink = sparse.diags_array(1 / np.where(scale > 0, scale, 1.0))
    v = in_cone(_unit_rows(G @ shrink), _unit_rows(C @ shrink))
    if v is None:
        return None
    v = shrink @ v
    return v if one_predictor or _stays(functions, theta, A @ (B @ v)) else None


def tail_gradients(functions, theta) -> sparse.csr_array:
    """Gradients of the log densities far out, (m, n_eta): each row is one of one observation, scaled to the largest
    entry 1. Flat tails have none."""
    which = _predictor_number(functions.observation)
    m = which.max() + 1
    single = (np.bincount(functions.observation) == 1)[functions.observation]
    signs = dict.fromkeys([*map(tuple, np.vstack([np.eye(m), -np.eye(m)])), *product((1.0, -1.0), repeat=m)])
    found = []
    for sign in signs:
        s = np.array(sign)[which]
        before = np.zeros(functions.n_eta)
        for far in FAR:
            with np.errstate(all="ignore"):
                at = functions.log_likelihood(far * s, theta)
            value, g = at.value[functions.observation], at.gradient
            g = np.where(abs(g) > max(FLAT / far, ROUNDING), g, 0.0)
            if far == FAR[0]:
                # impossible there, or not to be computed: nothing leads that way
                g = np.where(single & ~np.isfinite(value), -s, g)
            largest = np.zeros(functions.n_obs)
            np.maximum.at(largest, functions.observation, abs(g))
            usable = ((largest > 0) & np.isfinite(largest))[functions.observation]
            g = np.where(usable, g / np.where(usable, largest[functions.observation], 1.0), 0.0)
            new = np.bincount(functions.observation, abs(g - before), functions.n_obs)[functions.observation] > 0
            entries = np.flatnonzero((g != 0) & new)
            shape = (functions.n_obs, functions.n_eta)
            found.append(sparse.csr_array((g[entries], (functions.observation[entries], entries)), shape=shape))
            before = g
    rows = sparse.csr_array(sparse.vstack(found))
    return rows[np.diff(rows.indptr) > 0]


def _predictor_number(observation) -> np.ndarray:
    """Whether an entry of eta is the first, second, ... of its observation, counted from 0, (n_eta,)."""
    order = np.argsort(observation, kind="stable")
    starts = np.searchsorted(observation[order], observation[order])
    number = np.empty(len(order), int)
    number[order] = np.arange(len(order)) - starts
    return number


def in_cone(G, C) -> np.ndarray | None:
    """A vector with G v >= 0, C v = 0 and largest element 1, or None when there is only 0.

    The objective is a random one: a cone that holds more than 0 has a vector on one side or the other of nearly every
    hyperplane. Few inequalities decide as a rule; those that a solution violates are added until none is.

    Parameters
    ----------
    G : (m, q) sparse, rows of length 1
    C : (k, q) sparse
    """
    m, q = G.shape
    rng = np.random.default_rng(0)
    objective = rng.uniform(0.5, 1.0, q) * rng.choice([-1.0, 1.0], q)
    batch = ROWS_PER_COLUMN * q
    active = np.zeros(m, bool)
    active[rng.permutation(m)[:batch]] = True
    equal = {"A_eq": C, "b_eq": np.zeros(C.shape[0])} if C.shape[0] else {}
    for c in (objective, -objective):
        while True:
            solution = linprog(
                -c,
                A_ub=-G[active],
                b_ub=np.zeros(np.count_nonzero(active)),
                bounds=(-1, 1),
                method="highs",
                options={"primal_feasibility_tolerance": 1e-10},
                **equal,
            )
            v = solution.x
            if v is None or np.abs(v).max() < 0.5:
                break
            gap = G @ v
            if np.all(gap >= -HOLDS):
                return v / np.abs(v).max()
            new = np.flatnonzero((gap < -HOLDS) & ~active)
            if len(new) == 0:
                break
            active[new[np.argsort(gap[new])[:batch]]] = True
    return None


def _unit_rows(M) -> sparse.csr_array:
    """Rows of length 1; those of zeros are left out."""
    M = sparse.csr_array(M)
    length = np.sqrt(np.asarray(M.multiply(M).sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array(1 / length[length > 0]) @ M[length > 0])


def _stays(functions, theta, direction) -> bool:
    """Whether no observation with several predictors becomes less likely along a direction, (n_eta,): their cone may
    not have been seen as a whole."""
    several = np.bincount(functions.observation) > 1
    steps = np.array(FAR[0] * np.array([1.0, 2.0, 4.0, 8.0]) / np.abs(direction).max())
    with np.errstate(all="ignore"):
        values = functions.log_likelihood_values(steps[:, None] * direction, theta)[:, several]
        # what is a sum of canceling terms moves by rounding
        return bool(np.all(np.diff(values, axis=0) >= -1e-6 * (1 + abs(values[1:]))))
