"""How far a fit can be trusted: what refinement would change, in numbers and words.

Inner error: at theta* and one sd to each side along every axis, the log density of theta is recomputed by a finer inner
approximation, or, where there is none, corrected by the first two cumulants of the log importance ratios of draws of x.
What the correction changes from side to side shifts theta, its curvature changes the sd.

Outer error: what further design points of theta would change.

Draws: the Pareto shape k of the importance ratios of the joint draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pymc_inla.inference.draws import NEARLY_EQUAL
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.lgm import Marginals, Reliability
from pymc_inla.status import Status

SHIFT_CHECK, SHIFT_BAD = 0.1, 0.5
"""Posterior sd by which a mean of theta would move."""
SD_CHECK, SD_BAD = 0.1, 0.4
"""Relative change of a sd of theta."""
OUTER_CHECK, OUTER_BAD = 0.03, 0.2
ELSEWHERE_CHECK, ELSEWHERE_BAD = 0.01, 0.1
"""Share of the posterior of the latents in other modes"""
NONE_LEFT = 0.002
"""Efficiency of importance ratios without a finite Pareto shape below which the draws miss the posterior"""
FEW_LEFT = 0.3
"""Efficiency below which a large Pareto shape is a cause for concern even where finer rules move no hyperparameter"""
K_CHECK = 0.7
"""Pareto shape of the importance ratios"""
CANCELLATION_CHECK, CANCELLATION_BAD = 0.003, 0.01
"""Relative error of the information on shared latents by rounding. Above 30 groups sds were off by 0.7 % at 0.004 and
by 20 % at 0.02."""
GAP_CHECK = 0.05
"""Posterior sd by which draws and deterministic marginals may differ beyond Monte Carlo error. Marginals that
are off by 0.1 are seen from about 6000 effective draws on."""
LEFT_OUT = 0.1
"""Design points without a value, per point with one, from which on too much is interpolated"""
OFF_CHECK, OFF_BAD = 0.4, 1.0
"""Sd given the hyperparameters by which linear predictors of the draws may be off: sds grow by 8 % and by 40 %"""
APART_CHECK = 0.1
"""The same for draws that were not resampled"""
COMPARED = 1_000_000
"""Elements of draws that are compared: in larger models evenly spaced latents"""


@dataclass(frozen=True)
class InnerChange:
    """Effect of a better inner approximation on theta; NaN where it was not measured."""

    shift: float
    """Largest shift of the mean along an axis, in sd"""
    sd: float
    """Largest relative change of the sd along an axis"""
    log_marginal_likelihood: float
    """Change of log p~(theta | y) at theta*"""
    how: str

    @classmethod
    def unknown(cls, how: str) -> InnerChange:
        return cls(np.nan, np.nan, np.nan, how)


def inner_change(
    mode: ThetaMode, lower: np.ndarray, upper: np.ndarray, corrections: Callable[[np.ndarray], np.ndarray], how: str
) -> InnerChange:
    """Effect on theta of adding a correction to the log density, from its values at theta* and at +-1 sd.

    Parameters
    ----------
    corrections : callable
        (m, d) values of theta -> (m,) better minus used log p~(theta | y); NaN where it cannot be computed.
    """
    steps = mode.root.T
    theta = mode.theta_star + np.vstack([np.zeros(len(steps)), steps, -steps])
    at_mode, *changed = corrections(np.clip(theta, lower, upper))
    shifts, changes = [0.0], [0.0]
    for up, down in np.reshape(changed, (2, -1)).T - at_mode:
        curvature = np.clip(-(up + down), -0.9, 100.0)
        # log density -(1 + c) z^2 / 2 + s z: mean s / (1 + c), sd (1 + c)^(-1/2)
        shifts.append(abs(0.5 * (up - down)) / (1.0 + curvature))
        changes.append(abs(1.0 / np.sqrt(1.0 + curvature) - 1.0))
    return InnerChange(float(np.max(shifts)), float(np.max(changes)), float(at_mode), how)


def cumulant_correction(point, seed: int, m: int) -> float:
    """log E_q[p/q] of draws of x at one theta as if log p/q were normal, with p~(theta | y) taken off.

    What counts is its upper tail, so its variance is that of the upper half around the median: a target with lighter
    tails than the draws makes a few ratios vanish, which says nothing of their mean. The same normals at every theta
    make differences between values of theta far more precise than the values.
    """
    sample = point.sample(np.random.default_rng(seed), m)
    r = sample.log_joint - sample.log_q - point.log_posterior
    r = r[np.isfinite(r)]
    if len(r) <= m // 2:
        return np.nan
    middle = np.median(r)
    return float(middle + 0.5 * np.mean((r[r >= middle] - middle) ** 2))


FEW_DRAWS = 400
"""Effective draws below which sds are not compared: one of a thousand latents with long tails is off by half then"""


def draws_gap(draws, marginals_x: Marginals, marginals_theta: Marginals | None) -> float:
    """Largest distance of the means and sds of the draws from the deterministic marginals, in sd, beyond four Monte
    Carlo errors. Draws that were not resampled are compared as they are and with their weights: these are unreliable,
    but an error that they do show is there.

    Hyperparameters are the more telling: their marginals know the inner approximation, their draws what they should be.

    Parameters
    ----------
    draws : Draws
    marginals_x, marginals_theta : Marginals
        None for hyperparameters that are fixed.
    """
    effective = len(draws.x) * min(draws.efficiency, 1.0) if draws.resampled else len(draws.x)
    every = 1 + draws.x.size // COMPARED
    compared = [(draws.x[:, ::every], marginals_x.mean[::every], marginals_x.sd[::every])]
    if marginals_theta is not None:
        compared.append((draws.theta, marginals_theta.mean, marginals_theta.sd))
    even = np.full(len(draws.x), 1.0 / len(draws.x))
    gap = max(_gap(*each, even, effective) for each in compared)
    if draws.weights is None:
        return gap
    weighted = 1.0 / np.sum(draws.weights**2)
    return max(gap, *(_gap(*each, draws.weights, weighted) for each in compared))


def _gap(values: np.ndarray, mean: np.ndarray, sd: np.ndarray, weights: np.ndarray, effective: float) -> float:
    """Largest difference in a mean, in sd, or in a sd, relative, beyond four Monte Carlo errors of so many draws."""
    free = has_spread(mean, sd) & np.isfinite(mean)
    values, mean, sd = values[:, free], mean[free], sd[free]
    z = (values - mean) / sd
    gap = np.max(np.abs(weights @ z) - 4.0 / np.sqrt(effective), initial=0.0)
    if effective >= FEW_DRAWS:
        z -= weights @ z
        second, fourth = weights @ z**2, weights @ z**4
        kurtosis = fourth / np.where(second > 0, second, 1.0) ** 2
        # the relative error of a sd has the variance (kurtosis - 1) / 4 n: large for a mixture over scales
        error = 4.0 * np.sqrt(np.maximum(kurtosis - 1, 4.0) / (4 * effective))
        gap = np.max(np.abs(np.sqrt(second) - 1) - error, initial=gap)
    return float(gap)


def has_spread(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Which elements vary by more than rounding, as those that constraints fix do not."""
    return (sd > 1e-9 * np.abs(mean)) & (sd > 1e-12 * np.max(sd, initial=0.0))


def undefined(*marginals: Marginals | None) -> int:
    """How many marginals have no finite mean or sd."""
    return sum(int(np.sum(~np.isfinite(m.mean + m.sd))) for m in marginals if m is not None)


def judge(
    *,
    change: InnerChange,
    outer_change: float,
    k_hat: float,
    efficiency: float,
    mode_status: Status,
    integral_messages: tuple[str, ...],
    failed_nodes: int,
    failures: int = 0,
    left_out: int = 0,
    elsewhere: float = 0.0,
    n_nodes: int = 0,
    method: str,
    quadrature_fits: bool,
    gap: float = 0.0,
    resampled: bool = True,
    n_undefined: int = 0,
    theta_k_hat: float = np.nan,
    cancellation: float = 0.0,
    not_normal: float = 0.0,
    missed: float = 0.0,
    farther: bool = False,
    off: float = np.nan,
) -> Reliability:
    """Verdict "good", "check" or "bad" with its reasons.

    Parameters
    ----------
    left_out : int
        Modes of the hyperparameters that are not integrated.
    elsewhere : float
        Share of the posterior of the latents, given the hyperparameters, in other modes than theirs.
    farther : bool
        Whether nodes of the marginals reach far into the tails of local latents, where few or no draws are.
    off : float
        Root mean square distance of linear predictors of the draws from where their hyperparameters would have them, in
        sd given these.

    Returns
    -------
    Reliability
    """
    level = 0
    messages: list[str] = []

    def say(severity: int, text: str) -> None:
        nonlocal level
        level = max(level, severity)
        messages.append(text)

    if not np.isnan(change.shift) and (change.shift > SHIFT_CHECK or change.sd > SD_CHECK):
        severity = 2 if change.shift > SHIFT_BAD or change.sd > SD_BAD else 1
        advice = 'use strategy="quadrature", or compare with NUTS' if quadrature_fits else "compare with NUTS"
        say(
            severity,
            f"inner approximation: {change.how} would move a hyperparameter by {change.shift:.2f} sd and change its sd "
            f"by {100 * change.sd:.0f} %; {advice}",
        )
    if np.isfinite(outer_change) and outer_change > OUTER_CHECK:
        say(
            2 if outer_change > OUTER_BAD else 1,
            "integration over the hyperparameters: further points would move a quantile by about "
            f"{outer_change:.2f} sd; the posterior of the hyperparameters has an awkward shape, compare with NUTS",
        )
    if not_normal > SHIFT_CHECK:
        say(
            1,
            "inner approximation: more latents are far from normal given the hyperparameters than could be given other "
            f"marginals; a mean or sd of one that was not is off by about {not_normal:.2f} sd; compare with NUTS",
        )
    if missed > SHIFT_CHECK:
        say(
            1,
            "inner approximation: latents that are integrated by quadrature have longer tails than its nodes reach; a "
            f"mean or sd of one given the hyperparameters is off by about {missed:.2f} sd; compare with NUTS",
        )
    if n_undefined:
        say(2, f"deterministic marginals: {n_undefined} have no finite mean or sd; compare with NUTS")
    if gap > APART_CHECK and not resampled:
        say(
            1,
            "deterministic marginals and draws: importance weights, which are too uneven to correct them, would move "
            f"one by at least {gap:.2f} sd beyond Monte Carlo error; compare with NUTS",
        )
    if gap > GAP_CHECK and resampled:
        if outer_change > OUTER_BAD:
            # both come from the same density of theta, which draws do not leave
            text = "deterministic marginals and draws differ by {} sd beyond Monte Carlo error; compare both with NUTS"
        elif farther:
            text = (
                "draws: few or none are in the far tails of local latents; they differ from the marginals by {} sd "
                "beyond Monte Carlo error; believe the marginals"
            )
        else:
            text = (
                "deterministic marginals: the importance-corrected draws differ from them by {} sd beyond Monte Carlo "
                "error; believe the draws"
            )
        say(1, text.format(f"{gap:.2f}"))
    if method == "eb":
        messages.append("the hyperparameters are fixed at their mode (integration='eb'): their uncertainty is left out")
    if method == "ccd":
        messages.append("integration='ccd' gives coarse marginals of the hyperparameters")
    for text in integral_messages:
        say(1, text)
    if elsewhere > ELSEWHERE_CHECK:
        say(
            2 if elsewhere > ELSEWHERE_BAD else 1,
            f"given the hyperparameters the latents have several modes, and {100 * elsewhere:.0f} % of their posterior "
            "is not in the one that marginals and draws are around. Give priors that leave one (an order of the "
            "components of a mixture), or sample this model with pm.sample",
        )
    if left_out:
        say(
            2,
            "the posterior of the hyperparameters has another mode, as the mirror image of loadings or two of them "
            "exchanged, that was left out: marginals and draws are those around one mode only. Give priors that leave "
            "one (a positive loading, an order), or sample this model with pm.sample",
        )
    if failures:
        say(
            2 if failures > LEFT_OUT * n_nodes else 1,
            f"the inner optimization failed at {failures} design points of the hyperparameters; they were left out and "
            "the density there is interpolated",
        )
    if failed_nodes:
        say(1, f"{failed_nodes} design points of the hyperparameters did not converge; see the statuses")
    if mode_status not in (Status.CONVERGED, Status.NOT_POSITIVE_DEFINITE, Status.BOUNDARY) and method != "none":
        say(
            1,
            f"search for the mode of the hyperparameters: {mode_status.value}. The design covers the density around "
            "the best point found; check `start`",
        )
    if cancellation > CANCELLATION_CHECK:
        say(
            2 if cancellation > CANCELLATION_BAD else 1,
            "rounding: the data determine some group effects so much better than their prior does (counts of many "
            "millions) that double precision loses the information on what the groups share; give the counts in larger "
            'units, or use strategy="laplace" and compare with NUTS',
        )
    if off > OFF_CHECK:
        say(
            2 if off > OFF_BAD else 1,
            "draws: latents and hyperparameters of a draw do not fit each other: linear predictors, and all that is "
            f"computed from both, are off by about {off:.2f} sd; believe the marginals. The latents may be in units of "
            "a hyperparameter (u = sd * Normal(0, 1)): give them its scale instead (u = Normal(0, sd))",
        )
    if np.isposinf(k_hat) and efficiency < NONE_LEFT:
        say(2, "draws: nearly all of them have no importance weight: the approximation misses the posterior")
    unchecked = np.isnan(change.shift) or (method == "none" and efficiency < NEARLY_EQUAL)
    if np.isfinite(k_hat) and k_hat > K_CHECK and (unchecked or efficiency < FEW_LEFT):
        why = "the inner approximation could not be checked otherwise" if unchecked else "leave few draws"
        say(
            1,
            f"draws: the importance ratios have Pareto shape k = {k_hat:.2f} > {K_CHECK}, and {why}; compare with NUTS",
        )
    numbers = {
        "inner_mean_shift": change.shift,
        "inner_sd_change": change.sd,
        "inner_log_marginal_likelihood_change": change.log_marginal_likelihood,
        "outer_change": outer_change,
        "draws_gap": gap,
        "k_hat": k_hat,
        "importance_efficiency": efficiency,
        "draws_off": off,
        "theta_k_hat": theta_k_hat,
        "cancellation": cancellation,
    }
    return Reliability(("good", "check", "bad")[level], tuple(messages), {k: float(v) for k, v in numbers.items()})


def with_missing_moments(reliability: Reliability, own: list[str], others: list[str]) -> Reliability:
    """The same where means or sds are reported as NaN: at least "check" for hyperparameters of the model's `own`. Of
    `others`, computed from them or on a scale where moments are known not to exist, it is said."""
    names = [*own, *others]
    if not names:
        return reliability
    message = (
        f"no finite mean or sd: {', '.join(names)} (NaN in the summary). On this scale the posterior has tails in "
        "which such a moment does not exist, or lies where no value was computed; use its quantiles, or give the "
        "hyperparameter a prior with shorter tails"
    )
    verdict = "check" if own and reliability.verdict == "good" else reliability.verdict
    return replace(reliability, verdict=verdict, messages=(*reliability.messages, message))
