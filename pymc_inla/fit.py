"""The one entry point: a PyMC model in, a DataTree out. No mathematics happens here."""

from __future__ import annotations

import importlib.util
import inspect
import math
import multiprocessing
import os
import time
import warnings

import numpy as np
from pymc.pytensorf import resolve_backend_compile_kwargs
from xarray import DataTree

from pymc_inla.errors import ConvergenceError, InvalidOptionError, ReliabilityWarning, UnsupportedModelError
from pymc_inla.lgm import LatentGaussianModel
from pymc_inla.linalg.heap import keep_temporaries
from pymc_inla.options import FitOptions, check_names, did_you_mean, draws_within, seed_sequence

DEFAULT_DRAWS = 1000
GRAPH_ARGUMENTS = ("inputs", "outputs", "updates", "givens")
"""Arguments of `pytensor.function` that say what is computed, not how"""
MAX_HYPERPARAMETERS = 20


def fit(
    model=None,
    *,
    draws=None,
    chains=None,
    like=None,
    random_seed=None,
    strategy="auto",
    integration="auto",
    progressbar=True,
    progressbar_theme=None,
    backend=None,
    compile_kwargs=None,
    include_transformed=False,
    start=None,
    var_names=None,
    log_likelihood=False,
    log_prior=False,
    criteria=True,
    predictors=False,
    vb_correct=None,
    cores=None,
    **unknown,
) -> DataTree:
    """Posterior of a latent Gaussian model by integrated nested Laplace approximations and local quadrature.

    Parameters
    ----------
    model : pymc.Model, optional
        The model; the one of the surrounding `with` block when left out.
    draws, chains : int, optional
        Shape of the posterior draws. The default is what `pm.sample` gives on this machine, or fewer draws (with a
        warning) when they would take more than 0.5 GB.
    like : DataTree, optional
        Take the numbers of chains and draws from this result, so that ArviZ can lay both over each other.
    random_seed : int, sequence of int or numpy.random.Generator, optional
        The same seed gives the same result, bit for bit.
    strategy : {"auto", "quadrature", "laplace", "simplified_laplace", "gaussian"}
        How the latent field is integrated.
    integration : {"auto", "grid", "ccd", "importance", "eb"}
        How the hyperparameters are integrated; "eb" fixes them at their posterior mode.
    progressbar : bool
        Whether to show progress when the fit takes more than a second.
    progressbar_theme : rich.theme.Theme, optional
        Colors of the progress bar.
    backend : str, optional
        Computational backend of PyTensor, as in `pm.sample`.
    compile_kwargs : dict, optional
        Arguments of `pytensor.function`, as in `pm.sample`.
    include_transformed : bool
        Also return the unconstrained hyperparameters, as PyMC names them.
    start : dict, optional
        Start values of hyperparameters on the scale on which the model declares them. Latent variables need none:
        their conditional mode is found from anywhere.
    var_names : sequence of str, optional
        Variables of the posterior group; all by default.
    log_likelihood, log_prior : bool or sequence of str
        Also compute the groups of these names for every draw.
    criteria : bool
        Whether to compute DIC, WAIC, CPO and PIT.
    predictors : bool
        Whether to compute marginals of the linear predictors of all observations (`inla/predictor_marginals`).
    vb_correct : bool or sequence of int, optional
        Variational correction of the latent means, of all or of these positions in the stacked latent field.
    cores : int, optional
        Threads that large models use; default all cores of this machine, at most 4. The result does not depend on it.

    Returns
    -------
    xarray.DataTree
        The groups of `pm.sample`, and under `inla` the deterministic results (:mod:`pymc_inla.output.datatree`).

    Raises
    ------
    UnsupportedModelError
        The model is not a latent Gaussian model; the message names the variable, the reason and what to do.
    InvalidOptionError
        An option is unknown or its value is not allowed.
    InvalidDataError
        The data cannot be fitted: not finite, of the wrong shape, or outside the support of their distribution.

    Notes
    -----
    H. Rue, S. Martino, N. Chopin (2009), Approximate Bayesian inference for latent Gaussian models by using integrated
    nested Laplace approximations, JRSS B 71, 319-392.
    """
    check_names(unknown)
    options = FitOptions(
        draws=draws,
        chains=chains,
        like=like,
        random_seed=random_seed,
        strategy=strategy,
        integration=integration,
        progressbar=progressbar,
        progressbar_theme=progressbar_theme,
        backend=backend,
        compile_kwargs=compile_kwargs,
        include_transformed=include_transformed,
        start=start,
        var_names=var_names,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        criteria=criteria,
        predictors=predictors,
        vb_correct=vb_correct,
        cores=cores,
    )
    from pymc_inla.analysis.context import model_meant

    return fit_model(model_meant(model), options)


def fit_model(model, options: FitOptions) -> DataTree:
    """Read, compile, infer, return: the four steps of a fit.

    Parameters
    ----------
    model : pymc.Model
    options : FitOptions
    """
    # Imported here so that `import pymc_inla` stays light.
    from pymc_inla.analysis import analyze_model
    from pymc_inla.compile import check_support, compile_model, compile_outputs
    from pymc_inla.inference import run_inference
    from pymc_inla.inference.parallel import available_cores, on_cores
    from pymc_inla.output.datatree import to_datatree
    from pymc_inla.output.progress import FitProgress
    from pymc_inla.output.start import find_theta_start
    from pymc_inla.output.verdict import reliability

    clock = time.perf_counter()
    keep_temporaries()
    check_group_names("log_likelihood", options.log_likelihood, [rv.name for rv in model.observed_RVs])
    check_group_names("log_prior", options.log_prior, [rv.name for rv in model.free_RVs])
    compile_kwargs = None
    if options.backend is not None or options.compile_kwargs is not None:
        compile_kwargs = resolve_backend(options.backend, options.compile_kwargs)
    inference_seed, prediction_seed = seed_sequence(options.random_seed).generate_state(2)
    timings = {}
    cores = on_cores(options.cores or available_cores())
    with FitProgress(options.progressbar, options.progressbar_theme) as progress, cores:
        progress("Reading the model", 0.0)
        lgm = analyze_model(model)
        check_hyperparameters(lgm, options.integration)
        names = posterior_names(lgm, options.var_names)
        chains, draws = choose_sizes(lgm, names, options)
        theta_start = None if options.start is None else find_theta_start(lgm, options.start)
        corrected = corrected_elements(lgm, options.vb_correct)
        timings["analysis"] = time.perf_counter() - clock

        progress("Compiling", 0.0)
        # handed over, not kept: a large model is put in another order, and need not be there twice
        functions = [compile_model(lgm, compile_kwargs=compile_kwargs)]
        impossible = check_support(lgm, functions[0], theta_start)
        timings["compile"] = time.perf_counter() - clock - timings["analysis"]

        try:
            result = run_inference(
                functions.pop(),
                strategy=options.strategy,
                integration=options.integration,
                n_draws=chains * draws,
                random_seed=int(inference_seed),
                criteria=options.criteria,
                predictors=options.predictors,
                theta_start=theta_start,
                progress=progress,
                vb_correct=corrected,
            )
        except ConvergenceError as error:
            raise ConvergenceError(f"{impossible} ({error})" if impossible else str(error)) from error

        progress("Collecting the result", 0.0)
        idata = to_datatree(
            lgm,
            compile_outputs(lgm),
            result,
            chains=chains,
            draws=draws,
            names=names,
            random_seed=int(prediction_seed),
            include_transformed=options.include_transformed,
            log_likelihood=options.log_likelihood,
            log_prior=options.log_prior,
            timings=timings,
            start_time=clock,
        )
    stored = reliability(idata)
    if stored.verdict != "good":
        text = " ".join(message.rstrip(".") + "." for message in stored.messages)
        warnings.warn(f"{text} See pymc_inla.reliability(idata).", ReliabilityWarning, stacklevel=3)
    return idata


def check_group_names(option: str, wanted, known: list[str]) -> None:
    """Refuse names that the groups of pointwise log densities cannot have.

    Raises
    ------
    InvalidOptionError
    """
    for name in [] if isinstance(wanted, bool) else np.atleast_1d(wanted):
        if name not in known:
            near = did_you_mean(name, known)
            raise InvalidOptionError(f"{option}: {str(name)!r} is not allowed.{near} Allowed: {', '.join(known)}.")


def resolve_backend(backend: str | None, compile_kwargs) -> dict:
    """Arguments of `pytensor.function` for a backend, as `pm.sample` resolves them.

    Raises
    ------
    InvalidOptionError
        PyTensor has no such backend, mode or argument, or the package of the backend is not installed.
    """
    from pytensor import function
    from pytensor.compile.mode import Mode, get_mode, predefined_modes

    allowed = [name for name in inspect.signature(function).parameters if name not in GRAPH_ARGUMENTS]
    for name in compile_kwargs or {}:
        if name not in allowed:
            raise InvalidOptionError(
                f"compile_kwargs has the key {name!r}.{did_you_mean(name, allowed)} Arguments of pytensor.function are "
                f"{', '.join(allowed)}."
            )
    mode = (compile_kwargs or {}).get("mode")
    given = f"backend={backend!r}" if mode is None else f"compile_kwargs['mode']={mode!r}"
    try:
        resolved = resolve_backend_compile_kwargs(backend, compile_kwargs)
        if not isinstance(get_mode(resolved.get("mode")), Mode):
            raise ValueError("it is neither the name of a mode nor a pytensor.compile.mode.Mode")
    except ValueError as error:
        names = ", ".join(sorted(name.lower() for name in predefined_modes))
        raise InvalidOptionError(f"{given}: {error}. PyTensor has {names}; leave it out for the default.") from error
    package = {"jax": "jax", "pytorch": "torch", "mlx": "mlx", "numba": "numba"}.get(str(backend).lower())
    if package is not None and importlib.util.find_spec(package) is None:
        raise InvalidOptionError(
            f"backend={backend!r} needs the package {package}, which is not installed; leave it out for the default."
        )
    return resolved


def corrected_elements(lgm: LatentGaussianModel, vb_correct) -> np.ndarray | None:
    """Positions in x whose mean is corrected variationally: all for True, none for None and False."""
    from pymc_inla.inference.variational import check_indices

    return None if vb_correct is None or vb_correct is False else check_indices(vb_correct, lgm.n_x)


def check_hyperparameters(lgm: LatentGaussianModel, integration: str) -> None:
    """Refuse to integrate over many hyperparameters, naming the largest.

    Raises
    ------
    UnsupportedModelError
    """
    if lgm.n_theta <= MAX_HYPERPARAMETERS or integration == "eb":
        return
    largest = max(lgm.hyperparameters, key=lambda h: h.size)
    raise UnsupportedModelError(
        largest.name,
        f"its {largest.size} elements ({largest.prior}) are hyperparameters, because they are not Gaussian or do not "
        f"enter linearly; the model has {lgm.n_theta} hyperparameters in all and at most {MAX_HYPERPARAMETERS} can be "
        "integrated",
        'Make group effects Gaussian, fix some hyperparameters, or use integration="eb" to keep all of them at their '
        "posterior mode.",
    )


def posterior_names(lgm: LatentGaussianModel, var_names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Names of the posterior group in the order of the model, `var_names` checked against them."""
    ordered = [v.name for v in lgm.model.unobserved_RVs]
    allowed = {*lgm.outputs, *lgm.predicted}
    names = [name for name in ordered if name in allowed] + [name for name in lgm.outputs if name not in ordered]
    # deterministics of predicted responses exist in the model only, and are computed with the predictions
    names += [name for name in ordered if name not in names and lgm.predicted]
    if var_names is None:
        return tuple(names)
    for name in var_names:
        if name not in names:
            raise InvalidOptionError(
                f"var_names: the model has no posterior variable {name!r}.{did_you_mean(name, names)} "
                f"It has {', '.join(names)}."
            )
    return tuple(name for name in names if name in var_names)


def default_chains() -> int:
    """The number of chains `pm.sample` runs on this machine: one per core (half the CPUs counted), from 2 to 4."""
    return max(2, min(4, multiprocessing.cpu_count() // 2))


def choose_sizes(lgm: LatentGaussianModel, names: tuple[str, ...], options: FitOptions) -> tuple[int, int]:
    """Numbers of chains and of draws per chain.

    Raises
    ------
    InvalidOptionError
        This machine cannot hold the draws that were asked for.
    """
    bytes_per_draw = 8 * posterior_elements(lgm, names)
    if options.like is not None:
        sizes = options.like.posterior.sizes
        chains, draws = int(sizes["chain"]), int(sizes["draw"])
    else:
        chains, draws = int(options.chains or default_chains()), options.draws
    if draws is not None:
        check_memory(bytes_per_draw, chains, int(draws))
        return chains, int(draws)
    draws = draws_within(bytes_per_draw, chains, DEFAULT_DRAWS)
    if draws < DEFAULT_DRAWS:
        gigabytes = bytes_per_draw * chains * DEFAULT_DRAWS / 1e9
        warnings.warn(
            f"{DEFAULT_DRAWS} draws of {chains} chains would take {gigabytes:.1f} GB: {draws} draws per chain are "
            "returned. Set draws= or like= to choose, or var_names= to leave variables out. The marginals "
            "under idata['inla'] do not depend on the draws.",
            UserWarning,
            stacklevel=4,
        )
    return chains, draws


def check_memory(bytes_per_draw: int, chains: int, draws: int) -> None:
    """Refuse draws that take more than the memory of this machine.

    Raises
    ------
    InvalidOptionError
    """
    needed, memory = bytes_per_draw * chains * draws, memory_of_this_machine()
    if needed > memory:
        most = draws_within(bytes_per_draw, chains, draws, budget=memory / 4, least=1)
        raise InvalidOptionError(
            f"draws={draws} of {chains} chain{'s' if chains > 1 else ''} would take {needed / 1e9:.1f} GB, and this "
            f"machine has {memory / 1e9:.1f} GB. Give fewer, at most about {most}: the marginals under idata['inla'] "
            "do not depend on the draws."
        )


def memory_of_this_machine() -> float:
    """Bytes; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # no such function, name or answer
        return math.inf


def posterior_elements(lgm: LatentGaussianModel, names: tuple[str, ...]) -> int:
    """Numbers held per draw: the latent field and every other variable of the posterior."""
    largest = max((int(np.prod(term.shape, dtype=int)) for term in lgm.terms), default=1)
    latents = {latent.name for latent in lgm.latents}
    total = lgm.n_x
    for name in names:
        if name not in latents and name in lgm.outputs:
            # an axis of unknown length is taken to be as long as the data
            shape = [largest if length is None else length for length in lgm.outputs[name].type.shape]
            total += int(np.prod(shape, dtype=int))
    return total
