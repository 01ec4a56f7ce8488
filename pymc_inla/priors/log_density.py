"""Priors given by their log density in theta: an R expression, or a table."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode

from pymc_inla.errors import InvalidOptionError
from pymc_inla.priors.base import InternalPrior, store
from pymc_inla.priors.expression import parse_expression

SEARCHED = (-200.0, 200.0)
"""theta between which the mass of a prior is looked for, to draw from it"""
NEGLIGIBLE = 40.0
"""Draws leave out where the log density is this much below its maximum"""
TAIL = (300.0, 600.0)
"""theta between which the slope of the tail is read; exp overflows beyond"""
FAR = (50.0, 400.0)
"""theta between which theta p(theta) must fall"""


class LogDensityPrior(InternalPrior):
    """A prior of which subclasses write `log_density`, symbolic in theta, as the user gave it: not normalized."""

    def log_density(self, theta):
        """log pi(theta), of the shape of theta."""
        raise InvalidOptionError(f"{self.words} has no log density.")

    def evaluate(self, theta) -> np.ndarray:
        """log pi at an array of theta; NaN where it is not defined."""
        with np.errstate(all="ignore"):
            values = _compiled(self)(np.ravel(np.asarray(theta, float)))
        return np.broadcast_to(values, (np.size(theta),)).reshape(np.shape(theta)).copy()

    @property
    def tail_slope(self):
        near, far = self.evaluate(TAIL)
        # three digits: what is left of the terms that fade is no slope
        return -np.inf if np.isneginf(far) else round(float((far - near) / (TAIL[1] - TAIL[0])), 3)

    @property
    def vanishes(self):
        # 1/theta is the border between an integral that converges and one that does not
        near, far = self.evaluate(FAR) + np.log(FAR)
        return not far >= near

    def internal(self, name, initial):
        at_start = float(self.evaluate(initial))
        if not np.isfinite(at_start):
            raise InvalidOptionError(
                f"{name}: {self.words} is {at_start} at theta = {initial:.4g}, where the search starts. Choose another "
                "initial=, or a density that is finite there."
            )

        def random(rng=None, size=None):
            grid, cdf = _cumulative(self)
            return np.interp(rng.uniform(size=size), cdf, grid)

        return self.written(pm.CustomDist(name, logp=self.log_density, random=random, initval=initial))


@dataclass(frozen=True)
class Expression(LogDensityPrior):
    """log pi(theta) as an R expression in theta: "expression: -theta^2 / 2".

    Numbers, + - * / ^, parentheses, functions such as exp, log, pow, lgamma, assignments, return(...). It is parsed,
    never evaluated as code. Its normalizing constant is the user's: without it the marginal likelihood is off by a
    constant.

    Parameters
    ----------
    text : str
        With or without the prefix "expression:".
    """

    text: str
    word = "expression"

    def __post_init__(self):
        if not isinstance(self.text, str):
            raise InvalidOptionError(
                f"Prior expression: found {self.text!r}; it is a string, the log density in theta: '-theta^2 / 2'."
            )
        self.log_density(pt.dscalar("theta"))

    @property
    def words(self):
        return "expression: " + " ".join(re.sub(r"^\s*expression\s*:", "", self.text).split())

    def log_density(self, theta):
        return parse_expression(self.text, theta)


@dataclass(frozen=True)
class Table(LogDensityPrior):
    """log pi(theta) at knots, linear in between and on with the slope of the first and the last interval.

    So the default start theta = 4 may lie beyond the knots; the last interval has to fall.

    Parameters
    ----------
    knots : str or sequence of float
        "table: x1 ... xn | l1 ... ln" (the prefix and the separator, any token that is not a number, may be left out),
        or theta at the knots, ascending.
    values : sequence of float, optional
        log pi at the knots, where `knots` is a sequence.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...] | None = None
    word = "table"

    def __post_init__(self):
        knots, values = _read_table(self.knots) if isinstance(self.knots, str) else (self.knots, self.values)
        if isinstance(self.knots, str) and self.values is not None:
            raise _table_error("values are given twice, in the string and as an argument")
        if values is None:
            raise _table_error("values are missing: Table(knots, values)")
        try:
            x, y = np.array(knots, float), np.array(values, float)
        except (TypeError, ValueError):
            raise _table_error(f"knots and values must be numbers; found {knots!r}, {values!r}") from None
        if x.ndim != 1 or x.shape != y.shape:
            raise _table_error(f"there must be one value per knot; found shapes {x.shape} and {y.shape}")
        if len(x) < 2:
            raise _table_error(f"at least 2 knots are needed; found {len(x)}")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise _table_error("knots and values must be finite")
        if np.any(np.diff(x) <= 0):
            raise _table_error(f"the knots must ascend; found {x.tolist()}")
        store(self, knots=tuple(x.tolist()), values=tuple(y.tolist()))

    @property
    def words(self):
        return "table: " + " | ".join(" ".join(f"{v:.4g}" for v in part) for part in (self.knots, self.values))

    def log_density(self, theta):
        x, slopes = np.array(self.knots), np.diff(self.values) / np.diff(self.knots)
        theta = pt.as_tensor(theta)
        # a sum of hinges: each inner knot changes the slope
        hinges = pt.maximum(theta[..., None] - x[1:-1], 0.0) * np.diff(slopes)
        return self.values[0] + slopes[0] * (theta - x[0]) + hinges.sum(axis=-1)


def _table_error(problem) -> InvalidOptionError:
    return InvalidOptionError(
        f"Prior table: {problem}. It is 'table: x1 ... xn | l1 ... ln': theta at n ascending knots, then the log "
        "density there."
    )


def _read_table(text) -> tuple[list[float], list[float]]:
    tokens = re.sub(r"^\s*table\s*:", "", text).replace(",", " ").split()
    numbers, separator = [], None
    for token in tokens:
        try:
            numbers.append(float(token))
        except ValueError:
            separator = len(numbers)
    if len(numbers) % 2 or separator not in (None, len(numbers) // 2):
        found = f"{len(numbers)} numbers" + ("" if separator is None else f", {separator} before the separator")
        raise _table_error(f"there must be as many values as knots; found {found} in {text.strip()!r}")
    half = len(numbers) // 2
    return numbers[:half], numbers[half:]


@functools.lru_cache(maxsize=64)
def _compiled(prior: LogDensityPrior):
    theta = pt.dvector("theta")
    mode = Mode(linker="py", optimizer=None)
    return pytensor.function([theta], prior.log_density(theta), mode=mode, on_unused_input="ignore")


@functools.lru_cache(maxsize=64)
def _cumulative(prior: LogDensityPrior) -> tuple[np.ndarray, np.ndarray]:
    """(theta, distribution function there)."""
    grid = np.linspace(*SEARCHED, 4001)
    log_density = np.nan_to_num(prior.evaluate(grid), nan=-np.inf, posinf=np.inf)
    high = log_density.max()
    kept = np.flatnonzero(log_density > high - NEGLIGIBLE)
    if not np.isfinite(high) or kept[0] == 0 or kept[-1] == len(grid) - 1:
        raise InvalidOptionError(
            f"Prior {prior.words} cannot be drawn from: it has no finite integral over theta, or mass beyond "
            f"{SEARCHED}. Fits do not need draws of the prior."
        )
    grid = np.linspace(grid[kept[0] - 1], grid[kept[-1] + 1], 20_001)
    density = np.exp(np.nan_to_num(prior.evaluate(grid), nan=-np.inf) - high)
    cdf = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return grid, cdf / cdf[-1]
