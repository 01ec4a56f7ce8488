"""The integrated nested approximation, start to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference.criteria import criteria_by_draws, criteria_by_quadrature
from pymc_inla.inference.density import theta_marginals
from pymc_inla.inference.draws import Draws, draw_joint
from pymc_inla.inference.effort import LARGE, Effort
from pymc_inla.inference.hyper_mode import ThetaMode, at_its_width, find_theta_mode, without_ties
from pymc_inla.inference.inner import Shape
from pymc_inla.inference.integral import ThetaIntegral
from pymc_inla.inference.integration import check_integration, integrate_theta
from pymc_inla.inference.kinks import is_rough
from pymc_inla.inference.latent_marginals import KEEP_DENSITIES, mixture_marginals
from pymc_inla.inference.multistart import mass_elsewhere
from pymc_inla.inference.observation_order import Arrangement, arrange, one_predictor_each
from pymc_inla.inference.parallel import map_in_order, suit_cores
from pymc_inla.inference.reliability import InnerChange, cumulant_correction, draws_gap, inner_change, judge, undefined
from pymc_inla.inference.strategy import Choice, check_strategy, choose_inner, compare
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.lgm import INLAResult, Integration, LGMFunctions, Marginals
from pymc_inla.linalg.heap import release_temporaries
from pymc_inla.status import Status


def run_inference(
    functions: LGMFunctions,
    *,
    strategy: str = "auto",
    integration: str = "auto",
    n_draws: int = 2000,
    random_seed=None,
    criteria: bool = True,
    predictors: bool = False,
    theta_start: np.ndarray | None = None,
    progress: Callable[[str, float], None] | None = None,
    vb_correct: np.ndarray | None = None,
    choice: Choice | None = None,
) -> INLAResult:
    """Posterior of a latent Gaussian model.

    Parameters
    ----------
    functions : LGMFunctions
    strategy : {"auto", "quadrature", "laplace", "simplified_laplace", "gaussian"}
        How the latent field is integrated, given theta.
    integration : {"auto", "grid", "ccd", "importance", "eb"}
        How theta is integrated.
    n_draws : int
        Joint draws of (theta, x).
    random_seed : int, sequence of int or None
        Seed of the draws. Nothing else depends on it.
    criteria : bool
        Whether DIC, WAIC, CPO and PIT are computed.
    predictors : bool
        Whether marginals of the linear predictors are computed.
    theta_start : array (n_theta,), optional
        Start of the search for theta*, unconstrained; default `functions.theta_initial`.
    progress : callable, optional
        Called with the stage and the fraction done.
    vb_correct : int array, optional
        Elements of x whose joint mean is corrected variationally.
    choice : Choice, optional
        An inner approximation to use instead of the one that `strategy` selects.

    Raises
    ------
    InvalidOptionError
        Unknown options, or more than 20 hyperparameters without integration="eb".
    ConvergenceError
        If no finite posterior density was found.
    ImproperPosteriorError
        If the density of theta does not decay.
    """
    check_strategy(strategy)
    check_integration(integration, functions.n_theta)
    if n_draws < 1:
        raise InvalidOptionError(f"n_draws={n_draws}: at least 1 draw is needed.")
    size = functions.n_x + functions.n_eta
    large = size > LARGE
    suit_cores(size)
    space, lower, upper = functions.space, functions.space.lower, functions.space.upper
    start = without_ties(_checked_start(functions, theta_start), space)
    clock = _Clock(progress)

    clock.stage("mode", 0.0)
    if choice is None:
        arranged = arrange(functions)
        functions = arranged.functions
        choice, posterior, mode = choose_inner(
            functions, strategy, start, partition=arranged.partition, vb_correct=vb_correct
        )
    else:
        arranged = Arrangement(functions)
        posterior = ThetaPosterior.of(choice.inner)
        mode = find_theta_mode(posterior, start, lower, upper)
    posterior.prepare_design(mode.theta_star, mode.root)
    effort = Effort.for_model(functions.n_theta, size, slow=posterior.near is not None)
    if integration != "eb":
        mode = at_its_width(posterior, mode, lower, upper, effort.first_look)
    if is_rough(functions.log_prior_theta, mode, lower, upper):
        posterior.rough = functions.log_prior_theta.values

    clock.stage("integration", 0.2)
    if large:
        release_temporaries()
    integral = integrate_theta(posterior, mode, space, method=integration, effort=effort)
    mode = integral.mode
    counts = {"n_theta_evaluations_design": posterior.n_evaluations}

    clock.stage("marginals", 0.6)
    theta_summary = theta_marginals(integral.density) if integral.method != "eb" else _gaussian_marginals(integral.mode)
    latent_summary = latent_marginals(posterior, integral)
    predictor_summary = arranged.marginals_of_data(predictor_marginals(posterior, integral)) if predictors else None
    cancellation = posterior.point(integral.highest).cancellation

    computed = None
    if criteria and one_predictor_each(functions):
        # before the draws, which take as much memory as all the rest and are not needed
        clock.stage("criteria", 0.7)
        if large:
            release_temporaries()
        n_nodes, max_points = criteria_budget(functions.n_obs)
        computed = criteria_by_quadrature(functions, posterior, integral, n_nodes=n_nodes, max_points=max_points)

    clock.stage("draws", 0.8)
    if large:
        release_temporaries()
    seed = random_seed if isinstance(random_seed, np.random.SeedSequence) else np.random.SeedSequence(random_seed)
    draws = draw_joint(posterior, integral, n_draws, seed, size=size)
    if criteria and computed is None:
        clock.stage("criteria", 0.9)
        computed = criteria_by_draws(functions, draws.theta, draws.x, integral.highest)
    if computed is not None:
        computed = arranged.criteria_of_data(computed)

    clock.stage("reliability", 0.95)
    change = _inner_change(functions, posterior, choice, mode, lower, upper)
    failed = sum(e.status is not Status.CONVERGED for e in integral.nodes)
    verdict = judge(
        change=change,
        outer_change=integral.outer_change,
        k_hat=draws.k_hat,
        efficiency=draws.efficiency,
        mode_status=mode.status,
        integral_messages=integral.messages,
        failed_nodes=failed,
        failures=integral.failures,
        left_out=len(integral.left_out),
        elsewhere=mass_elsewhere(choice.inner, integral.highest),
        n_nodes=len(integral.nodes),
        method=integral.method,
        quadrature_fits=choice.quadrature_fits and choice.strategy != "quadrature",
        gap=draws_gap(draws, latent_summary, None if integral.method in ("eb", "none") else theta_summary),
        resampled=draws.resampled,
        off=draws.off,
        n_undefined=undefined(latent_summary, theta_summary, predictor_summary),
        theta_k_hat=integral.k_hat,
        cancellation=cancellation,
        not_normal=choice.not_normal,
        missed=choice.missed,
        farther=getattr(choice.inner, "wide", False),
    )
    counts |= {
        "n_theta_evaluations": posterior.n_evaluations,
        "n_passes": posterior.n_passes,
        "n_newton": posterior.n_newton,
        "n_design_points": len(integral.nodes),
        "n_mode_iterations": mode.n_iterations,
    }
    return INLAResult(
        strategy=choice.strategy,
        strategy_reason=choice.reason,
        integration=Integration(
            method=integral.method,
            points=np.array([e.theta for e in integral.nodes]).reshape(len(integral.nodes), functions.n_theta),
            weights=integral.weights,
            log_density=integral.log_density,
            status=tuple(e.status.value for e in integral.nodes),
        ),
        theta_star=integral.highest,
        theta_covariance=mode.covariance,
        x_star=posterior(integral.highest).x_star,
        theta_marginals=theta_summary,
        latent_marginals=latent_summary,
        predictor_marginals=predictor_summary,
        draws_theta=draws.theta,
        draws_x=draws.x,
        log_p=draws.log_p,
        log_q=draws.log_q,
        log_marginal_likelihood=integral.log_marginal_likelihood,
        log_marginal_likelihood_error=_log_marginal_likelihood_error(integral, change, draws),
        criteria=computed,
        reliability=verdict,
        counts=counts,
        timings=clock.finish(),
        details={"mode_status": mode.status.value, "resampled": int(draws.resampled)},
    )


def criteria_budget(n_obs: int) -> tuple[int, int]:
    """Gauss-Hermite nodes of every linear predictor and design points of theta for the criteria: theta adds the less to
    the uncertainty of the predictors, the more of them there are."""
    for limit, n_nodes, max_points in ((50_000, 15, 60), (300_000, 5, 3)):
        if n_obs <= limit:
            return n_nodes, max_points
    return 5, 1


def latent_marginals(posterior: ThetaPosterior, integral: ThetaIntegral) -> Marginals:
    """Mixtures of the conditional moments of x at the design points."""
    # backwards: the points evaluated last are still kept
    moments = map_in_order(lambda e: posterior.moments(e.theta), reversed(integral.nodes))
    moments = list(moments)[::-1]
    return _mix(moments, integral, [m.shapes for m in moments])


def predictor_marginals(posterior: ThetaPosterior, integral: ThetaIntegral) -> Marginals:
    """Mixtures of the conditional moments of eta at the design points; of many predictors, skew normals with the
    moments of the mixtures."""
    moments = list(map_in_order(lambda e: posterior.point(e.theta).predictor_marginals(), integral.nodes))
    if len(moments[0].mean) <= KEEP_DENSITIES:
        return _mix(moments, integral)
    w = integral.weights
    mean = sum(p * m.mean for p, m in zip(w, moments, strict=True))
    second = sum(p * (m.sd**2 + (m.mean - mean) ** 2) for p, m in zip(w, moments, strict=True))
    third = sum(
        p * (m.skewness * m.sd**3 + 3 * (m.mean - mean) * m.sd**2 + (m.mean - mean) ** 3)
        for p, m in zip(w, moments, strict=True)
    )
    sd = np.sqrt(second)
    skewness = np.where(sd > 0, third / np.where(sd > 0, sd, 1.0) ** 3, 0.0)
    return mixture_marginals(mean[None], sd[None], skewness[None], np.ones(1))


def _mix(moments, integral: ThetaIntegral, shapes: Sequence[dict[int, Shape]] = ()) -> Marginals:
    mean, sd, skewness = (np.array([getattr(m, name) for m in moments]) for name in ("mean", "sd", "skewness"))
    return mixture_marginals(
        mean,
        sd,
        skewness,
        integral.weights,
        fine_weights=integral.fine_weights,
        fine_matrix=integral.fine_matrix,
        fine_slopes=integral.fine_slopes,
        shapes=shapes,
    )


def _inner_change(functions, posterior, choice: Choice, mode: ThetaMode, lower, upper) -> InnerChange:
    """Compare with the finer inner approximation of the choice, or by importance ratios of draws of x."""
    if functions.gaussian:
        return InnerChange(0.0, 0.0, 0.0, "nothing (the inner approximation is exact)")
    if choice.change is not None:
        return choice.change
    if choice.finer is not None:
        return compare(posterior, ThetaPosterior(choice.finer), mode, lower, upper, choice.finer_name)
    m = 200
    if (functions.n_x + functions.n_eta) * m > 5e6:
        return InnerChange.unknown("importance ratios (too large)")
    return inner_change(
        mode,
        lower,
        upper,
        lambda thetas: np.array(list(map_in_order(lambda t: cumulant_correction(posterior.point(t), 1, m), thetas))),
        "importance weighting of x",
    )


def _checked_start(functions: LGMFunctions, theta_start) -> np.ndarray:
    start = np.asarray(functions.theta_initial if theta_start is None else theta_start, dtype=float).reshape(-1)
    if start.shape != (functions.n_theta,):
        raise InvalidOptionError(
            f"theta_start has {len(start)} elements; the model has {functions.n_theta} hyperparameters."
        )
    if not np.all(np.isfinite(start)):
        raise InvalidOptionError(
            f"the start values of the hyperparameters are not finite: {start.tolist()}. Set `start`."
        )
    return start


def _gaussian_marginals(mode: ThetaMode) -> Marginals:
    """With "eb", theta is fixed; what is reported is the Gaussian approximation at its mode."""
    sd = np.sqrt(np.diag(mode.covariance))
    return mixture_marginals(mode.theta_star[None], sd[None], np.zeros((1, len(sd))), np.ones(1))


class _Clock:
    """Seconds per stage, and the calls of `progress`."""

    def __init__(self, progress):
        self.progress, self.timings = progress, {}
        self.name, self.since = None, time.perf_counter()

    def stage(self, name: str, fraction: float) -> None:
        self._close()
        self.name = name
        if self.progress is not None:
            self.progress(name, fraction)

    def _close(self) -> None:
        now = time.perf_counter()
        if self.name is not None:
            self.timings[self.name] = self.timings.get(self.name, 0.0) + now - self.since
        self.since = now

    def finish(self) -> dict[str, float]:
        self._close()
        if self.progress is not None:
            self.progress("done", 1.0)
        return self.timings


def _log_marginal_likelihood_error(integral: ThetaIntegral, change: InnerChange, draws: Draws) -> float:
    """Errors of the integral over theta, of the inner approximation that a finer one shows at theta*, and of all that
    importance sampling shows, with its Monte Carlo error; of the last two the larger counts, where they are known."""
    sampled = abs(draws.log_evidence - integral.log_marginal_likelihood) + draws.log_evidence_error
    inner = [e for e in (abs(change.log_marginal_likelihood), sampled) if np.isfinite(e)]
    return float(np.hypot(integral.log_marginal_likelihood_error, max(inner, default=0.0)))
