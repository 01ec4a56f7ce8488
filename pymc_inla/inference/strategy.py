"""Which inner approximation integrates the latent field, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from pymc_inla.errors import ConvergenceError, InvalidOptionError
from pymc_inla.inference.around_mode import UNLIKELY, between, design, thetas_around
from pymc_inla.inference.conditional import BUDGET, is_affordable, work
from pymc_inla.inference.effort import LARGE
from pymc_inla.inference.hyper_mode import ThetaMode, find_theta_mode
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.laplace_importance import corrected
from pymc_inla.inference.local_tails import LocalTails, enough_nodes
from pymc_inla.inference.marginals_of_theta import MarginalsOfTheta
from pymc_inla.inference.reliability import InnerChange, has_spread, inner_change
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import LGMFunctions
from pymc_inla.linalg import Partition, build_system, choose_local

STRATEGIES = ("auto", "quadrature", "laplace", "simplified_laplace", "gaussian")

FIRST_K, FIRST_K_SMALL, SMALL = 5, 11, 5_000
"""Nodes per local latent: 5, 11, 23, 47 are tried, fewer for blocks of two and three. Up to SMALL latents and
predictors the first rule costs next to nothing and may as well be one of negligible error."""
TOLERANCE = 0.02
"""Shift of the mean of a hyperparameter in sd, and relative change of its sd, below which nodes are enough."""
LARGE_TOLERANCE = 0.05
"""The same for models of more latents and predictors than this, where sd are small and passes over the data dear."""

LATENT_TOLERANCE = 0.05
"""The same for latents at theta*, in models of up to SMALL latents and predictors"""
LATENTS_OF_DEAR = 0.1
"""The same in larger models and for blocks of two and three, whose nodes are many, where tails are missed: there
is a word in the verdict from here on"""
TOO_FAR = 0.1
"""Error of log p(theta | y) up to which marginals are interpolated"""
BUDGET_EVERYWHERE, EVALUATIONS = 10.0, (120, 250, 500)
"""Seconds for following them at every theta instead, and how many values there are, by the number of hyperparameters"""
BUDGET_OF_COPULA = 3.0
"""Seconds for following Laplace marginals at the design of `marginals_of_theta`"""
BUDGET_OF_SCREEN = 1.0
"""Seconds for the marginals that are looked at to choose them"""
CANCELLED = 1e-6
"""Relative error of the curvature beyond which nothing is asked"""
FAR, SKEWED = 2.0, 0.1
"""Where the shape of the shared latents is looked at, in sd of theta; skewness, or distance of mean and mode in sd, up
to which they pass for normal"""
HEAVY = 0.05
"""Log density FAR sd from the mode against a normal's, on average of both sides, up to which they pass for normal: a
fourth cumulant that does as much changes the sd by 2 %"""

NO_VALUE = (
    "quadrature has no finite value at the mode of the Laplace approximation: the log-likelihood or a derivative of it "
    "is not finite at some of its nodes"
)
NEARBY = 2.0
"""Distance in sd between two modes around which the same number of nodes is enough"""


@dataclass(frozen=True)
class Choice:
    """An inner approximation with the reason for it."""

    inner: object
    """InnerApproximation"""
    strategy: str
    reason: str
    finer: object | None = None
    """A better inner approximation to judge this one by"""
    finer_name: str = ""
    quadrature_fits: bool = True
    change: InnerChange | None = None
    """What `finer` changes in theta, where it has been measured at theta* already"""
    not_normal: float = 0.0
    """What Laplace marginals in a copula would change in latents that are left without, as in `NotNormal`"""
    missed: float = 0.0
    """Error of a mean, in sd, or a sd, relative, of local latents at theta* by nodes that do not reach their tails"""


def check_strategy(strategy: str) -> None:
    """Refuse unknown strategies.

    Raises
    ------
    InvalidOptionError
    """
    if strategy not in STRATEGIES:
        close = get_close_matches(str(strategy), STRATEGIES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InvalidOptionError(f"strategy={strategy!r} is unknown; allowed are {', '.join(STRATEGIES)}.{hint}")


def laplace_choice(functions: LGMFunctions, strategy: str, *, partition: Partition | None = None, **options) -> Choice:
    """The Laplace approximation, as asked for or as the one that everything starts from."""
    f = functions
    system = build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e, partition=partition)
    if functions.gaussian:
        reason = "the likelihood is Gaussian: the Laplace approximation is exact given theta"
    else:
        reason = "asked for"
    if strategy in ("auto", "quadrature"):
        # kept only where it is accurate: first-order corrections of the marginals are, too, and cost next to nothing
        return Choice(LaplaceInner(functions, system, strategy="simplified_laplace", **options), "laplace", reason)
    if strategy == "laplace" and not functions.gaussian and not options and not is_affordable(functions):
        strategy = "simplified_laplace"
        reason = (
            "laplace was asked for; the model is too large for a Laplace approximation of every marginal of x "
            f"({work(functions):.0e} multiplications each time, at most {BUDGET:.0e}), which get first-order "
            "corrections instead. The density of the hyperparameters is the same"
        )
    return Choice(LaplaceInner(functions, system, strategy=strategy, **options), strategy, reason)


def choose_inner(
    functions: LGMFunctions,
    strategy: str,
    start: np.ndarray,
    *,
    partition: Partition | None = None,
    vb_correct: np.ndarray | None = None,
) -> tuple[Choice, ThetaPosterior, ThetaMode]:
    """The inner approximation for this model, its evaluations so far, and theta*.

    Parameters
    ----------
    strategy : str
        One of `STRATEGIES`.
    start : array (n_theta,)
    partition : Partition, optional
        The local latents, where they are known.
    vb_correct : int array, optional

    Raises
    ------
    InvalidOptionError
        If quadrature is asked for and the model has no local latents to integrate one block at a time.
    ConvergenceError
        If quadrature is asked for and has no finite value.
    """
    options = {} if vb_correct is None else {"vb_correct": vb_correct}
    laplace = laplace_choice(functions, strategy, partition=partition, **options)
    lower, upper = functions.space.lower, functions.space.upper
    posterior = ThetaPosterior.of(laplace.inner)
    mode = find_theta_mode(posterior, start, lower, upper)
    if strategy not in ("auto", "quadrature") or (strategy == "auto" and functions.gaussian):
        return laplace, posterior, mode
    if strategy == "auto" and vb_correct is not None:
        return replace(laplace, reason="vb_correct corrects the Laplace approximation"), posterior, mode
    inner, obstacle = _local_quadrature(functions, partition)
    if inner is None:
        if strategy == "quadrature":
            raise InvalidOptionError(f"strategy='quadrature' does not fit this model: {obstacle} Use strategy='auto'.")
        reason = f"quadrature does not fit this model: {obstacle}"
        left = 0.0
        if strategy == "auto":
            posterior, mode, how, left = _with_copula(posterior, mode, lower, upper)
            posterior, mode, more = corrected(posterior, mode, lower, upper)
            reason = reason.removesuffix(".") + how + more if how or more else reason
        chosen = replace(laplace, inner=posterior.inner, reason=reason, quadrature_fits=False, not_normal=left)
        return chosen, posterior, mode
    quadrature = ThetaPosterior.of(inner)
    quadrature.center = posterior.center
    if strategy == "auto":
        how = f"quadrature with {inner.k} nodes"
        change = compare(posterior, quadrature, mode, lower, upper, how)
        small = functions.n_x + functions.n_eta <= SMALL
        agree = not small or _moments_agree(posterior, quadrature, mode.theta_star, LATENT_TOLERANCE)
        agree = agree and _not_normal(quadrature, mode, lower, upper) == NotNormal()
        agree = agree and (not small or _missed(quadrature, mode.theta_star) < LATENT_TOLERANCE)
        if agree and change.shift < TOLERANCE and change.sd < TOLERANCE:
            reason = f"quadrature with {inner.k} nodes moves no hyperparameter by more than {TOLERANCE} sd"
            chosen = replace(laplace, reason=reason, finer=inner, finer_name=change.how, change=change)
            return chosen, posterior, mode
    large = functions.n_x + functions.n_eta > LARGE
    tolerance = LARGE_TOLERANCE if large else TOLERANCE
    refined = refine_k(quadrature, mode, lower, upper, tolerance)
    if refined is None:
        if strategy == "quadrature":
            raise ConvergenceError(f"strategy='quadrature': {NO_VALUE}. Use strategy='laplace', and compare with NUTS.")
        return replace(laplace, reason=NO_VALUE, quadrature_fits=False), posterior, mode
    inner, posterior, mode, change, reason, missed = refined
    posterior, mode, how, left = _with_copula(posterior, mode, lower, upper)
    posterior, mode, more = corrected(posterior, mode, lower, upper)
    inner = posterior.inner
    finer = inner.finer()
    name = f"quadrature with {finer.k} nodes"
    reason += how + more
    chosen = Choice(inner, "quadrature", reason, finer, name, change=change, not_normal=left, missed=missed)
    return chosen, posterior, mode


def _local_quadrature(functions: LGMFunctions, partition: Partition | None):
    """(QuadratureInner with few nodes, "") or (None, why not)."""
    from pymc_inla.inference.quadrature import QuadratureInner

    f = functions
    partition = partition or choose_local(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C)
    if partition.local_blocks.size == 0:
        return None, "no latents are conditionally independent given the rest."
    try:
        inner = QuadratureInner(functions, partition, k=FIRST_K)
        small = inner.blocks.b == 1 and functions.n_x + functions.n_eta <= SMALL
        return inner.with_k(FIRST_K_SMALL) if small else inner, ""
    except ValueError as error:
        return None, str(error)


def compare(posterior: ThetaPosterior, other: ThetaPosterior, mode: ThetaMode, lower, upper, how: str) -> InnerChange:
    """What replacing the inner approximation of `posterior` by that of `other` would change in theta."""

    def corrections(thetas: np.ndarray) -> np.ndarray:
        values = posterior.evaluate_all(thetas, keep=False)
        better = other.evaluate_all(thetas, keep=False, starts=values)  # the same theta is nearer than any other
        found = np.array([[e.log_posterior for e in evaluations] for evaluations in (better, values)])
        found[~np.isfinite(found)] = np.nan
        return found[0] - found[1]

    return inner_change(mode, lower, upper, corrections, how)


def _moments_agree(posterior: ThetaPosterior, other: ThetaPosterior, theta: np.ndarray, tolerance: float) -> bool:
    """Whether means and sds of the latents at one theta are nearly the same. The density of theta need not show where
    they are not: without hyperparameters it never does."""
    if not np.isfinite(other(theta).log_posterior):
        return True
    a, b = posterior.moments(theta), other.moments(theta)
    spread = has_spread(b.mean, b.sd)
    shift = np.abs(a.mean - b.mean)[spread] / b.sd[spread]
    change = np.abs(a.sd[spread] / b.sd[spread] - 1.0)
    return bool(max(np.max(shift, initial=0.0), np.max(change, initial=0.0)) < tolerance)


def _missed(posterior: ThetaPosterior, theta: np.ndarray) -> float:
    """Error in moments of local latents at one theta by nodes that do not reach their tails"""
    if not np.isfinite(posterior(theta).log_posterior):
        return 0.0
    return LocalTails(posterior.point(theta), posterior.moments(theta).sd).missed(posterior.inner.rule)


@dataclass(frozen=True)
class NotNormal:
    """Latents that are not integrated by quadrature and are far enough from normal, at theta* or FAR sd from it, that
    Laplace marginals in a copula change a mean or sd of them, or the density of theta."""

    elements: tuple[int, ...] = ()
    """Those that the budget allows, the most important ones first"""
    changes: tuple[float, ...] = ()
    """How much a mean, in sd, or a sd, relative, of each changes"""
    left: float = 0.0
    """The largest of these among the others"""

    def first(self, most: int) -> NotNormal:
        """So many of them"""
        left = max((self.left, *self.changes[most:]))
        return NotNormal(self.elements[:most], self.changes[:most], left)


def _not_normal(posterior: ThetaPosterior, mode: ThetaMode, lower, upper) -> NotNormal:
    """Find them among those whose skewness or distance of mean and mode say so to first order, or whose Laplace
    marginals at theta* fall otherwise than a normal on both sides together."""
    inner, d = posterior.inner, len(mode.theta_star)
    f = inner.functions
    if f.gaussian or f.n_x + f.n_eta > SMALL:
        return NotNormal()
    thetas = thetas_around(mode, lower, upper, FAR * np.vstack([np.zeros((1, d)), np.eye(d), -np.eye(d)]))
    known = [e for e in posterior.evaluate_all(thetas) if np.isfinite(e.log_posterior)]
    points = [posterior.point(e.theta) for e in known]
    if not known or max(point.cancellation for point in points) > CANCELLED:
        return NotNormal()  # third derivatives are rounding
    first = [point.shared for point in points]
    skewed = np.max([np.maximum(_in_sd(c.mean_shift, c.sd), np.abs(c.skewness)) for c in first], axis=0)
    elements = np.argsort(-skewed, kind="stable")
    elements = elements[first[0].sd[elements] > 0][: _affordable(inner, BUDGET_OF_SCREEN, len(thetas))]
    if not len(elements):
        return NotNormal()
    fall = points[0].falls(elements, FAR)
    heavy = np.nan_to_num(np.abs(0.5 * fall.sum(0) + 0.5 * FAR**2), nan=np.inf)
    elements = elements[(skewed[elements] > SKEWED) | (heavy > HEAVY)]  # the most skewed one first
    if not len(elements):
        return NotNormal()
    copula, changes, densities = inner.with_copula(tuple(elements.tolist())), [], []
    for normal, c in zip(known, first, strict=True):
        other = copula.evaluate(normal.theta, normal, gradient=False)
        if np.isfinite(other.log_posterior):
            better = other.shared
            shift = _in_sd(c.mean_shift - better.mean_shift, c.sd)
            changes.append(np.maximum(shift, _in_sd(better.sd - c.sd, c.sd))[elements])
            densities.append(other.log_posterior - normal.log_posterior)
    if not changes:
        return NotNormal()
    change = np.max(changes, axis=0)
    if np.any(change > TOLERANCE):
        elements, change = elements[change > TOLERANCE], change[change > TOLERANCE]
    elif np.ptp(densities) <= TOLERANCE:
        return NotNormal()
    most = _affordable(inner, BUDGET_OF_COPULA, len(design(d)))
    order = np.argsort(-change, kind="stable") if len(elements) > most else np.arange(len(elements))
    return NotNormal(tuple(elements[order].tolist()), tuple(change[order].tolist())).first(most)


def _affordable(inner, seconds: float, evaluations: int) -> int:
    """How many marginals can be followed so many times"""
    return int(seconds / (inner.work_of_marginal * evaluations))


def _in_sd(values: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return np.where(sd > 0, np.abs(values) / np.where(sd > 0, sd, 1.0), 0.0)


def _with_copula(
    posterior: ThetaPosterior, mode: ThetaMode, lower, upper
) -> tuple[ThetaPosterior, ThetaMode, str, float]:
    """The same with a copula for latents that are not normal, what to say of it, and what it would change in those that
    are left.

    Where an interpolation of their marginals in theta changes log p(theta | y) by more than TOO_FAR, as many as the
    budget allows are followed at every theta.
    """
    found = _not_normal(posterior, mode, lower, upper)
    if not found.elements:
        return posterior, mode, "", found.left
    inner, d = posterior.inner.with_copula(found.elements), len(mode.theta_star)
    interpolated = _interpolated(posterior, inner, mode, lower, upper) if d else inner
    if interpolated is None:
        evaluations = EVALUATIONS[min(d, len(EVALUATIONS)) - 1]
        found = found.first(_affordable(inner, BUDGET_EVERYWHERE, evaluations))
        if not found.elements:
            return posterior, mode, "", found.left
        interpolated = inner.with_copula(found.elements)
    better = ThetaPosterior.of(interpolated)
    better.near, better.center = posterior, posterior.center
    mode = replace(mode, log_posterior=better(mode.theta_star).log_posterior)
    how = f"; Laplace marginals in a copula for {len(found.elements)} latents, not normal given theta"
    return better, mode, how, found.left


def _interpolated(posterior: ThetaPosterior, inner, mode: ThetaMode, lower, upper):
    """An inner approximation with a copula whose marginals are interpolated in theta, None where that changes
    log p(theta | y) by more than TOO_FAR."""
    points = [thetas_around(mode, lower, upper, z(len(mode.theta_star))) for z in (design, between)]
    lowest = posterior(mode.theta_star).log_posterior - UNLIKELY
    known, compared = (
        [e for e in posterior.evaluate_all(thetas, keep=False) if e.log_posterior > lowest] for thetas in points
    )
    sides = [inner.evaluate(e.theta, e, gradient=False).shared.sides for e in known]
    marginals = MarginalsOfTheta.of(mode, np.array([e.theta for e in known]), sides)
    interpolated = inner.with_copula(inner.copula, marginals)
    both = [
        [each.evaluate(e.theta, e, gradient=False).log_posterior for e in compared] for each in (inner, interpolated)
    ]
    return interpolated if np.all(np.abs(np.subtract(*both)) < TOO_FAR) else None


def refine_k(current: ThetaPosterior, mode: ThetaMode, lower, upper, tolerance: float):
    """Raise the number of nodes until theta stops moving, at the mode that these nodes give.

    With too few nodes the mode is not worth a search: nodes are first refined around the mode that is known. What was
    measured there still holds when the search ends nearby.

    Returns
    -------
    (QuadratureInner, ThetaPosterior, ThetaMode, InnerChange, reason, missed), or None where the largest rule has no
    value at the mode that was known before; missed is the error in moments of local latents at theta*.
    """
    inner, searched, change = current.inner, False, None
    f = inner.functions
    cheap = inner.blocks.b == 1 and f.n_x + f.n_eta <= SMALL
    tolerance_of_latents = LATENT_TOLERANCE if cheap else LATENTS_OF_DEAR
    while True:
        refined = inner.finer()
        k = refined.k
        if change is None:
            before = current.n_refined if searched else 0  # a search may have been where too few nodes do no harm
            change = compare(
                current, ThetaPosterior(refined.roughly()), mode, lower, upper, f"quadrature with {k} nodes"
            )
            enough = current.n_refined == before
        stable = enough and change.shift < tolerance and change.sd < tolerance
        if stable and not len(mode.theta_star):
            stable = _moments_agree(current, ThetaPosterior(refined), mode.theta_star, tolerance)
        if searched and (stable or inner.k >= inner.finest_k):
            point, sd = current.point(mode.theta_star), current.moments(mode.theta_star).sd
            better, missed = enough_nodes(point, sd, tolerance_of_latents)
            if better == inner:
                nodes = f"{inner.k} nodes that reach far into the tails" if inner.wide else f"{inner.k} nodes"
                reason = f"{nodes}: {k} would move no hyperparameter by more than {tolerance} sd"
                if not stable:
                    reason = f"{nodes}; {k}, the largest rule, would move a hyperparameter by {change.shift:.2f} sd"
                return inner, current, mode, change, reason, missed
            center = current.center
            inner, current, searched, change = better, ThetaPosterior.of(better), False, None
            current.center = center
            continue
        if stable or inner.k >= inner.finest_k:
            first = mode
            if not np.isfinite(current(mode.theta_star, keep=False).log_posterior):
                return None
            mode = find_theta_mode(current, mode.theta_star, lower, upper, covariance=mode.covariance)
            if np.max(np.abs(first.to_z(mode.theta_star)), initial=0.0) > NEARBY:
                change = None
            searched = True
            continue
        center = current.center
        inner = inner.next()
        current, searched, change = ThetaPosterior.of(inner), False, None
        current.center = center
