"""Dense algebra from the definitions: the oracle of the tests of effects. It imports nothing from the package."""

import numpy as np
from scipy import linalg, stats


def exchangeable(m, rho):
    return np.linalg.inv((1 - rho) * np.eye(m) + rho * np.ones((m, m)))


def ar1(m, rho):
    lag = np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    return np.linalg.inv(rho**lag)


def cyclic_ar1(m, rho):
    """Wrapped autoregression: correlation (rho^d + rho^(m-d)) / (1 + rho^m) at distance d on the circle."""
    lag = np.abs(np.subtract.outer(np.arange(m), np.arange(m)))
    return np.linalg.inv((rho**lag + rho ** (m - lag)) / (1 + rho**m))


def ar2(m, pacf):
    """Autocorrelations of x_t = phi1 x_{t-1} + phi2 x_{t-2} + noise by the Yule-Walker equations."""
    phi2 = pacf[1]
    phi1 = pacf[0] * (1 - phi2)
    acf = [1.0, phi1 / (1 - phi2)]
    while len(acf) < m:
        acf.append(phi1 * acf[-1] + phi2 * acf[-2])
    return np.linalg.inv(linalg.toeplitz(acf))


def scaled(R):
    """Generalized variance one: geometric mean of the diagonal of the Moore-Penrose inverse (Sorbye & Rue 2014)."""
    return R * np.exp(np.mean(np.log(np.diag(np.linalg.pinv(R, rcond=1e-10, hermitian=True)))))


def rw(m, order):
    D = np.diff(np.eye(m), order, axis=0)
    return D.T @ D


def cyclic_rw(m, order):
    D = np.eye(m) - np.roll(np.eye(m), 1, axis=1)
    R = D.T @ D
    return R if order == 1 else R @ R


def laplacian(W):
    return np.diag(W.sum(axis=0)) - W


def precision(n, Q_group, tau, *, replicates=1, diagonal=0.0):
    """Precision matrix of the whole effect in C order of (replicate, group, level)."""
    one = np.kron(tau * Q_group, np.eye(n)) + diagonal * np.eye(n * len(Q_group))
    return np.kron(np.eye(replicates), one)


def constraints(A, e, blocks):
    return np.kron(np.eye(blocks), A), np.tile(e, blocks)


def log_determinant(Q):
    """Of the nonzero eigenvalues, and their number."""
    values = np.linalg.eigvalsh(Q)
    values = values[values > 1e-9 * values.max()]
    return np.sum(np.log(values)), len(values)


def on_surface(Q, C, e):
    """Mean and a basis-coordinate description of N(0, Q^-1) given C u = e: (u_0, Z, mean of v, precision of v) for
    u = u_0 + Z v with an orthonormal Z, from the quadratic form alone, so that Q may be singular."""
    if len(e) == 0:
        n = len(Q)
        return np.zeros(n), np.eye(n), np.zeros(n), Q
    u_0 = np.linalg.pinv(C) @ e
    Z = linalg.null_space(C)
    V = Z.T @ Q @ Z
    mean = -np.linalg.lstsq(V, Z.T @ Q @ u_0, rcond=None)[0]
    return u_0, Z, mean, V


def posterior(Q, C, e, W, y, sigma, prior_sd):
    """Exact posterior of u and log p(y) for y = b + W u + N(0, sigma^2), b ~ N(0, prior_sd^2).

    Returns mean and covariance of u, and log p(y) with the generalized determinant of the precision of the prior.
    """
    u_0, Z, mean, V = on_surface(Q, C, e)
    n = len(V)
    design = np.column_stack([W @ Z, np.ones(len(y))])
    target = y - W @ (u_0 + Z @ mean)
    prior = linalg.block_diag(V, 1 / prior_sd**2)
    H = prior + design.T @ design / sigma**2
    mode = np.linalg.solve(H, design.T @ target / sigma**2)
    covariance = np.linalg.inv(H)
    log_det, rank = log_determinant(V)
    log_prior = 0.5 * log_det - 0.5 * rank * np.log(2 * np.pi) + stats.norm.logpdf(0, 0, prior_sd)
    log_joint = log_prior + np.sum(stats.norm.logpdf(target, design @ mode, sigma)) - 0.5 * mode @ prior @ mode
    log_ml = log_joint + 0.5 * (n + 1) * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    return u_0 + Z @ (mean + mode[:n]), Z @ covariance[:n, :n] @ Z.T, log_ml
