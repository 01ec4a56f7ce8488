"""Hyperpriors that are not smooth in theta: Laplace densities, truncations, switches.

Values between the design points of theta are interpolated, which presumes a smooth function. The likelihood with x
integrated out is smooth in theta; the prior need not be, but it is known everywhere. Where it has a kink or a jump only
the rest is interpolated, and the prior is added exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pymc_inla.inference.hyper_mode import ThetaMode

REACH, STEPS = 5.0, 51
"""Lines through theta* from -5 to 5 sd along every axis, in this many points"""
JUMP = 0.2
"""Change of the slope of the prior, per sd, between neighboring points that counts as a kink..."""
CONTRAST = 4.0
"""...when it is this many times the larger of the changes next to it."""


def is_rough(log_prior_theta: Callable, mode: ThetaMode, lower: np.ndarray, upper: np.ndarray) -> bool:
    """Whether the log prior of theta is not smooth around the mode.

    Parameters
    ----------
    log_prior_theta : callable
        theta (d,) -> (value, gradient (d,))
    mode : ThetaMode
    lower, upper : array (d,)
    """
    d = len(mode.theta_star)
    for j in range(d):
        z = np.linspace(-REACH, REACH, STEPS)[:, None] * (np.arange(d) == j)
        theta = np.clip(mode.to_theta(z), lower, upper)
        found = [log_prior_theta(t) for t in theta]
        values = np.array([value for value, _ in found])
        slopes = np.array([gradient @ mode.root[:, j] for _, gradient in found])
        if _has_kink(values, slopes):
            return True
    return False


def _has_kink(values: np.ndarray, slopes: np.ndarray) -> bool:
    usable = np.isfinite(values) & np.isfinite(slopes)
    if not usable.all():
        return bool(usable.any())
    step = 2 * REACH / (STEPS - 1)
    change = np.abs(np.diff(slopes))
    # a jump of the value that the slopes at its sides do not explain
    unexplained = np.abs(np.diff(values) - 0.5 * step * (slopes[1:] + slopes[:-1]))
    around = np.maximum(np.r_[change[1:], 0.0], np.r_[0.0, change[:-1]])
    # a kink that lies on a point shows in two neighboring changes
    wider = np.maximum(np.r_[change[2:], 0.0, 0.0], np.r_[0.0, 0.0, change[:-2]])
    kink = (change > JUMP) & ((change > CONTRAST * around) | (change > CONTRAST * wider))
    return bool(np.any(kink) or np.any(unexplained > JUMP + change * step))
