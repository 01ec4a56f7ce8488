"""The options of a fit, checked before anything is computed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_inla.errors import InvalidOptionError

STRATEGIES = ("auto", "quadrature", "laplace", "simplified_laplace", "gaussian")
INTEGRATIONS = ("auto", "grid", "ccd", "importance", "eb")

REFUSED = {
    "n": "INLA does not iterate a stochastic gradient; the number of posterior draws is set with `draws`",
    "callbacks": "there are no stochastic iterations to call back from",
    "score": "there is no loss per iteration; see idata['inla'].attrs['log_marginal_likelihood']",
    "obj_n_mc": "no gradient is estimated by Monte Carlo",
    "start_sigma": "there is no variational standard deviation to start from; `start` sets hyperparameters",
    "inf_kwargs": "pass the options of pymc_inla.fit directly",
    **dict.fromkeys(
        (
            "tf_n_mc",
            "obj_optimizer",
            "test_optimizer",
            "more_obj_params",
            "more_tf_params",
            "more_updates",
            "total_grad_norm_constraint",
            "more_replacements",
        ),
        "it belongs to the stochastic optimization of variational methods",
    ),
    "tune": "nothing is tuned; drop the argument",
    "seed": "the seed is called `random_seed`",
    "data": "the data belong to the model; see observed= of its distributions",
    "trace": "there are no MCMC chains to continue",
    **dict.fromkeys(
        ("target_accept", "nuts_sampler", "nuts", "init", "step", "max_treedepth", "discard_tuned_samples"),
        "it belongs to NUTS; drop the argument",
    ),
}


@dataclass(frozen=True)
class FitOptions:
    """Options of :func:`pymc_inla.fit`, documented there. Creating one checks every value.

    Raises
    ------
    InvalidOptionError
        The value of an option is not allowed; the message says what is.
    """

    draws: int | None = None
    chains: int | None = None
    like: Any = None
    random_seed: Any = None
    strategy: str = "auto"
    integration: str = "auto"
    progressbar: bool = True
    progressbar_theme: Any = None
    backend: str | None = None
    compile_kwargs: Mapping[str, Any] | None = None
    include_transformed: bool = False
    start: Mapping[str, Any] | None = None
    var_names: tuple[str, ...] | None = None
    log_likelihood: bool | Iterable[str] = False
    log_prior: bool | Iterable[str] = False
    criteria: bool = True
    predictors: bool = False
    vb_correct: Any = None
    cores: int | None = None

    def __post_init__(self):
        check_choice("strategy", self.strategy, STRATEGIES)
        check_choice("integration", self.integration, INTEGRATIONS)
        for name in ("draws", "chains", "cores"):
            check_count(name, getattr(self, name))
        if self.like is not None:
            check_like(self.like, self.draws, self.chains)
        for name in ("include_transformed", "criteria", "predictors", "progressbar"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOptionError(f"{name}={getattr(self, name)!r}: give True or False.")
        check_random_seed(self.random_seed)
        if self.progressbar_theme is not None and not hasattr(self.progressbar_theme, "styles"):
            raise InvalidOptionError(f"progressbar_theme={self.progressbar_theme!r}: give a rich.theme.Theme.")
        check_start(self.start)
        if self.backend is not None and not isinstance(self.backend, str):
            raise InvalidOptionError(
                f"backend={self.backend!r}: give the name of a backend of PyTensor, such as 'numba', or leave it out."
            )
        if self.compile_kwargs is not None and not isinstance(self.compile_kwargs, Mapping):
            raise InvalidOptionError(
                f"compile_kwargs={self.compile_kwargs!r}: give a dict of arguments of pytensor.function."
            )
        check_elements("vb_correct", self.vb_correct)
        for name in ("log_likelihood", "log_prior"):
            if not isinstance(getattr(self, name), bool):
                check_sequence_of_names(name, getattr(self, name), "True, False, ")
        if self.var_names is not None:
            check_sequence_of_names("var_names", self.var_names)
            names = (self.var_names,) if isinstance(self.var_names, str) else tuple(self.var_names)
            object.__setattr__(self, "var_names", names)


OPTION_NAMES = tuple(FitOptions.__dataclass_fields__)


def check_names(names: Iterable[str], allowed: Iterable[str] = OPTION_NAMES) -> None:
    """Refuse option names that do not exist, with the reason or the nearest match.

    Raises
    ------
    InvalidOptionError
        A name is not in `allowed`.
    """
    allowed = tuple(allowed)
    for name in names:
        if name in allowed:
            continue
        if name in REFUSED:
            raise InvalidOptionError(f"`{name}` has no meaning for method='inla': {REFUSED[name]}.")
        raise InvalidOptionError(
            f"Unknown option `{name}`.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}."
        )


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """A sentence that proposes the nearest allowed name, or an empty string."""
    near = difflib.get_close_matches(str(name), [str(a) for a in allowed], n=1)
    return f" Did you mean `{near[0]}`?" if near else ""


def chosen_names(wanted, known: Iterable[str], problem: str, listing: str = "There are") -> list[str]:
    """Names given as one string or as several, each of them one of `known`; all of those for None.

    Parameters
    ----------
    wanted : str, sequence of str or None
    known : iterable of str
    problem : str
        What to say of a name that is not known, with `{name}` where it stands.
    listing : str
        What introduces the known names.

    Raises
    ------
    InvalidOptionError
        A name is not in `known`.
    """
    known = list(known)
    names = known if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in known:
            raise InvalidOptionError(
                f"{problem.format(name=repr(name))}{did_you_mean(name, known)} {listing} {', '.join(known)}."
            )
    return names


def check_choice(name: str, value, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not one of `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidOptionError(f"{name}={value!r}: allowed are {', '.join(allowed)}.{did_you_mean(value, allowed)}")


def check_count(name: str, value) -> None:
    """Refuse anything but None and integers of at least 1."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidOptionError(f"{name}={value!r}: give an integer of at least 1.")


def check_elements(name: str, value) -> None:
    """Refuse anything but None, booleans and sequences of non-negative integers."""
    if value is None or isinstance(value, bool):
        return
    elements = np.asarray(value)
    if elements.ndim != 1 or elements.dtype.kind not in "iu" or np.any(elements < 0):
        raise InvalidOptionError(f"{name}={value!r}: give True, False or a sequence of non-negative integers.")


def check_sequence_of_names(name: str, value, also: str = "") -> None:
    """Refuse anything but one string or a sequence of strings."""
    sequence = isinstance(value, Iterable) and not isinstance(value, Mapping)
    if not sequence or not all(isinstance(element, str) for element in value):
        raise InvalidOptionError(f"{name}={value!r}: give {also}a name or a sequence of names.")


def check_like(like, draws, chains) -> None:
    """`like` must hold posterior draws and excludes `draws` and `chains`."""
    if draws is not None or chains is not None:
        raise InvalidOptionError("`like` sets the numbers of chains and draws: leave out `draws` and `chains`.")
    posterior = getattr(like, "posterior", None)
    sizes = getattr(posterior, "sizes", {})
    if "chain" not in sizes or "draw" not in sizes:
        raise InvalidOptionError(
            f"like={type(like).__name__}: give a DataTree whose posterior has the dimensions chain and draw."
        )


def check_random_seed(seed) -> None:
    """Seeds are None, integers, sequences of integers or NumPy generators, as in pm.sample."""
    if seed is None or (isinstance(seed, (int, np.integer, np.random.Generator)) and not isinstance(seed, bool)):
        return
    if isinstance(seed, (list, tuple, np.ndarray)):
        elements = list(np.ravel(np.asarray(seed, dtype=object)))
        whole = all(isinstance(s, (int, np.integer)) and not isinstance(s, bool) for s in elements)
        if elements and whole and np.ndim(seed) < 2:
            return
    raise InvalidOptionError(
        f"random_seed={seed!r}: give None, an integer, a sequence of one or more integers or a numpy.random.Generator."
    )


def check_start(start) -> None:
    """Start values are a dict of finite numbers."""
    if start is None:
        return
    if not isinstance(start, Mapping):
        raise InvalidOptionError(f"start={start!r}: give a dict from the names of hyperparameters to values.")
    for name, value in start.items():
        try:
            finite = bool(np.all(np.isfinite(np.asarray(value, dtype=float))))
        except (TypeError, ValueError):
            finite = False
        if not finite:
            raise InvalidOptionError(f"start[{name!r}]={value!r} is not finite. Give finite numbers.")


def seed_sequence(seed) -> np.random.SeedSequence:
    """One seed sequence out of any accepted `random_seed`; a generator is advanced by one draw."""
    if isinstance(seed, np.random.Generator):
        return np.random.SeedSequence(int(seed.integers(2**63)))
    if seed is None:
        return np.random.SeedSequence()
    # SeedSequence takes no negative integers; pm.sample does not either for chains, but a plain seed may be any integer
    entropy = [abs(int(s)) for s in np.atleast_1d(seed)]
    return np.random.SeedSequence(entropy[0] if len(entropy) == 1 else entropy)


def draws_within(bytes_per_draw: int, chains: int, draws: int, budget: float = 5e8, least: int = 25) -> int:
    """The largest number of draws per chain, at most `draws`, whose posterior fits into `budget` bytes."""
    return max(min(draws, math.floor(budget / max(bytes_per_draw * chains, 1))), min(draws, least))
