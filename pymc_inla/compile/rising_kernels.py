"""Derivatives of log Gamma(a + c) - log Gamma(a), compiled: data are small, and calls of NumPy dear."""

import math

import numba
import numpy as np

from pymc_inla.compile.rising_factorial import LARGE, series_of, stirling

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
series = compiled(series_of(math.log, math.log1p, compiled(stirling)))


@compiled
def rising(order, a, c):
    """Derivatives in a of one order for all a > 0 and c >= 0, (n,)"""
    result = np.empty(len(a))
    for i in range(len(a)):
        result[i] = _rising(order, a[i], c[i])
    return result


@compiled
def _rising(order, a, c):
    total, product = 0.0, 1.0
    while a < LARGE and c >= 1.0:  # Gamma(a + c) / Gamma(a) = a Gamma(a + c) / Gamma(a + 1)
        if order == 0:
            product *= a
        else:
            total += _slope(order, a)
        a += 1.0
        c -= 1.0
    while a < LARGE and c > 0.0:
        if order == 0:
            product *= a / (a + c)
        else:
            total += _slope(order, a) - _slope(order, a + c)
        a += 1.0
    if order == 0:
        total = math.log(product)
    return total + series(order, a, c) if c > 0.0 else total


@compiled
def _slope(order, a):
    """The derivative of log(a)"""
    if order == 1:
        return 1.0 / a
    if order == 2:
        return -1.0 / (a * a)
    return 2.0 / (a * a * a)
