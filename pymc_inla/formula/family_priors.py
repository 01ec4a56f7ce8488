"""Penalized-complexity priors of likelihood hyperparameters: pc.mgamma, pc.alphaw, pc.dof.

Each is exponential in the distance d from a simpler model, as a density of the internal scale theta:

    log pi(theta) = log lambda - lambda d + log |d'(theta)|      (half of it on each side of alpha = 1 for pc.alphaw)

    pc.mgamma(lambda)   n = exp(theta), Gamma(n, n) from the constant 1:    d^2 = 2 (log n - psi(n))
    pc.alphaw(lambda)   alpha = exp(theta / 10), Weibull from the exponential alpha = 1
    pc.dof(u, alpha)    nu = 2 + exp(theta), t of variance one from the normal; P(nu < u) = alpha

Simpson, Rue, Riebler, Martins, Sorbye (2017), Penalising model component complexity, Statistical Science 32, 1-28.
Where the exact expressions cancel, their series in the distance from the simpler model replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytensor.tensor as pt
from scipy import special

from pymc_inla.errors import InvalidOptionError

MGAMMA_LARGE = 1e4
DOF_LARGE = 300.0
ALPHAW_NEAR = 1e-2
"""Where the series take over; both branches are accurate to about 1e-8 there."""


def log_mgamma(theta, lam: float):
    """Log density of theta = log n under pc.mgamma(lam)."""
    n = pt.exp(theta)
    small, large = pt.minimum(n, MGAMMA_LARGE), pt.maximum(n, MGAMMA_LARGE)
    square = pt.switch(
        n < MGAMMA_LARGE,
        2 * (pt.log(small) - pt.digamma(small)),
        1 / large + 1 / (6 * large**2) - 1 / (60 * large**4),
    )
    # n psi'(n) - 1 = -d d'(theta)
    slope = pt.switch(
        n < MGAMMA_LARGE,
        small * pt.tri_gamma(small) - 1,
        1 / (2 * large) + 1 / (6 * large**2) - 1 / (30 * large**4),
    )
    d = pt.sqrt(square)
    return np.log(lam) - lam * d + pt.log(slope) - pt.log(d)


def log_alphaw(theta, lam: float):
    """Log density of theta = 10 log(alpha) under pc.alphaw(lam).

    With b = log alpha and r = exp(-b) the divergence of the Weibull from the exponential of the same scale is
    K = Gamma(1 + r) + b - g (1 - r) - 1, g Euler's constant; d^2 = 2 K.
    """
    # Gamma(1 + r) overflows; the density is zero to all digits long before
    b = pt.maximum(0.1 * theta, -np.log(100.0))
    near = pt.abs(b) < ALPHAW_NEAR
    away = pt.switch(near, ALPHAW_NEAR, b)
    r = pt.exp(-away)
    gamma = pt.exp(pt.gammaln(1 + r))
    d_away = pt.sqrt(2 * (gamma + away - np.euler_gamma * (1 - r) - 1))
    slope_away = pt.abs(1 - np.euler_gamma * r - r * gamma * pt.digamma(1 + r)) / d_away
    c2, c3, c4, c5 = alphaw_series()
    root = pt.sqrt(2 * (c2 + b * (c3 + b * (c4 + b * c5))))
    slope_near = root + b * (c3 + b * (2 * c4 + 3 * c5 * b)) / root
    d = pt.switch(near, pt.abs(b) * root, d_away)
    slope = pt.switch(near, slope_near, slope_away)
    return np.log(0.05 * lam) - lam * d + pt.log(slope)


def alphaw_series() -> tuple[float, ...]:
    """Coefficients of b^2 to b^5 in K: the cumulant-like expansion of Gamma(1 + exp(-b)) at b = 0.

    Gamma(1 + r) = sum g_k s^k / k! with s = r - 1 = exp(-b) - 1 and g_k the derivatives of Gamma at 2, which follow
    from Gamma' = Gamma psi.
    """
    p = [1 - np.euler_gamma, *(float(special.polygamma(k, 2.0)) for k in range(1, 5))]
    g = [1.0]
    for k in range(5):
        g.append(sum(special.comb(k, j) * g[k - j] * p[j] for j in range(k + 1)))
    exponential = np.array([(-1.0) ** k / special.factorial(k) for k in range(6)])
    s = exponential.copy()
    s[0] = 0.0
    total, power = np.euler_gamma * exponential, np.array([1.0, 0, 0, 0, 0, 0])
    for k in range(1, 6):
        power = np.convolve(power, s)[:6]
        total = total + g[k] / special.factorial(k) * power
    return tuple(total[2:6])


def log_dof(theta, u: float, alpha: float):
    """Log density of theta = log(nu - 2) under pc.dof(u, alpha).

    d^2 = log(2 pi e) - 2 entropy, where the entropy of the t distribution scaled to variance one is
    (nu + 1)/2 (psi((nu + 1)/2) - psi(nu/2)) + log B(nu/2, 1/2) + log(nu - 2)/2.
    """
    excess = pt.exp(theta)
    square, slope = dof_distance(excess)
    lam = -np.log(alpha) / np.sqrt(float(dof_distance(pt.constant(np.float64(u - 2.0), dtype="float64"))[0].eval()))
    d = pt.sqrt(square)
    return np.log(lam) - lam * d + pt.log(-slope) - pt.log(2 * d) + theta


def dof_distance(excess):
    """d^2 and its derivative in nu, from nu - 2."""
    nu = 2 + excess
    small, large = pt.minimum(nu, DOF_LARGE), pt.maximum(nu, DOF_LARGE)
    half, more = small / 2, (small + 1) / 2
    near = pt.minimum(excess, DOF_LARGE)  # keeps its digits where nu rounds to 2
    entropy = (
        more * (pt.digamma(more) - pt.digamma(half))
        + pt.gammaln(half)
        - pt.gammaln(more)
        + 0.5 * np.log(np.pi)
        + 0.5 * pt.log(near)
    )
    # psi((nu + 1)/2) - psi(nu/2) from the first product cancels that of the logarithm of the beta function
    slope = -more * (pt.tri_gamma(more) - pt.tri_gamma(half)) - 1 / near
    square_large = 1.5 / large**2 + 3 / large**3 + 4.25 / large**4 + 5.8 / large**5
    slope_large = -3 / large**3 - 9 / large**4 - 17 / large**5 - 29 / large**6
    return (
        pt.switch(nu < DOF_LARGE, np.log(2 * np.pi) + 1 - 2 * entropy, square_large),
        pt.switch(nu < DOF_LARGE, slope, slope_large),
    )


def check_param(name: str, param: tuple[float, ...]) -> None:
    """Refuse parameters that these priors do not have.

    Raises
    ------
    InvalidOptionError
    """
    if name == "pc.dof":
        allowed = len(param) == 2 and param[0] > 2 and 0 < param[1] < 1
        words = "two, u > 2 and alpha in (0, 1)"
    else:
        allowed = len(param) == 1 and param[0] > 0
        words = "one, lambda > 0"
    if not allowed:
        raise InvalidOptionError(f"prior {name!r}: param={list(param)} is not allowed; give {words}.")


FAMILY_PRIORS: Mapping[str, Callable] = {
    "pc.mgamma": log_mgamma,
    "pc.alphaw": log_alphaw,
    "pc.dof": log_dof,
}
