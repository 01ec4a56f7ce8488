"""Pareto-smoothed importance weights (Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25:72)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp


def fit_generalized_pareto(excesses: np.ndarray) -> tuple[float, float]:
    """Shape k and scale of a generalized Pareto distribution, by the estimator of Zhang & Stephens (2009).

    Parameters
    ----------
    excesses : array (n,)
        Positive values over the threshold, in increasing order.
    """
    n = len(excesses)
    m = 30 + int(np.sqrt(n))
    quarter = excesses[int(n / 4 + 0.5) - 1]
    b = (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quarter) + 1 / excesses[-1]
    k = np.mean(np.log1p(-b[:, None] * excesses), axis=1)
    log_profile = n * (np.log(-b / k) - k - 1)
    weights = np.exp(log_profile - logsumexp(log_profile))
    b_mean = float(b @ weights)
    shape = float(np.mean(np.log1p(-b_mean * excesses)))
    scale = -shape / b_mean
    # Weak prior towards 0.5 for small n.
    return shape * n / (n + 10) + 5 / (n + 10), scale


def smooth_log_weights(log_ratios: np.ndarray) -> tuple[np.ndarray, float]:
    """Smooth the largest importance ratios.

    Returns
    -------
    log_weights : array (n,)
        Normalized: they sum to one after exp.
    k_hat : float
        Pareto shape; above 0.7 the weights are not to be trusted. -inf when the ratios are equal, inf when there are
        too few to fit the tail.
    """
    x = np.asarray(log_ratios, dtype=float)
    x = x - np.max(x)
    n = len(x)
    if n == 0 or np.ptp(x) < 1e-10:
        return x - np.log(max(n, 1)), -np.inf
    tail = int(np.ceil(min(0.2 * n, 3 * np.sqrt(n))))
    k_hat = np.inf
    if tail > 4:
        order = np.argsort(x, kind="stable")
        ids = order[-tail:]
        cutoff = max(x[order[-tail - 1]], np.log(np.finfo(float).tiny))
        excesses = np.exp(x[ids]) - np.exp(cutoff)
        positive = excesses > 0
        if positive.sum() > 4:
            k_hat, scale = fit_generalized_pareto(excesses[positive])
            p = (np.arange(positive.sum()) + 0.5) / positive.sum()
            quantiles = scale * np.expm1(-k_hat * np.log1p(-p)) / k_hat if k_hat != 0 else -scale * np.log1p(-p)
            x = x.copy()
            x[ids[positive]] = np.minimum(np.log(quantiles + np.exp(cutoff)), 0.0)
    return x - logsumexp(x), float(k_hat)
