"""Gauss-Hermite product rules for integrals of smooth functions over R^b, b = 1, 2, 3."""

from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Rule:
    """Nodes t and log weights with integral f(t) dt ~ sum_k exp(log_weights_k) f(t_k); exact for a polynomial of degree
    2k - 1 in each coordinate times the standard normal density. The first node is the origin."""

    t: np.ndarray
    """(K, b)"""
    log_weights: np.ndarray
    """(K,)"""


@cache
def gauss_hermite(k: int, b: int = 1) -> Rule:
    """Product rule with k nodes per dimension (k odd).

    Raises
    ------
    ValueError
        If k is even or not positive.
    """
    if k < 1 or k % 2 == 0:
        raise ValueError(f"k={k} nodes: an odd number is needed, so that one node lies at the mode. Use k + 1.")
    nodes, weights = np.polynomial.hermite_e.hermegauss(k)
    nodes[k // 2] = 0.0
    log_one = np.log(weights) + 0.5 * nodes**2
    t = np.stack(np.meshgrid(*[nodes] * b, indexing="ij"), -1).reshape(-1, b)
    log_weights = sum(np.meshgrid(*[log_one] * b, indexing="ij")).reshape(-1)
    order = np.argsort(np.sum(t**2, axis=1), kind="stable")
    return Rule(t[order], log_weights[order])
