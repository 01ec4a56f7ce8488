"""Deterministic marginals as named arrays: latents, unconstrained and natural hyperparameters.

Each variable keeps its own dimensions and gets a last one, `statistic`; densities get two, `density_axis` (x, pdf) and
`point`. Readers find these by their position: their names depend on those of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from pytensor.graph.traversal import ancestors

from pymc_inla.lgm import QUANTILES, Hyperparameter, LatentGaussianModel, Marginals
from pymc_inla.output.density import GridDensity, find_mode

QUANTILE_NAMES = tuple(f"q{100 * q:g}" for q in QUANTILES)
STATISTICS = ("mean", "sd", "mode", *QUANTILE_NAMES)
FAR_OUT = -60.0, -40.0, 40.0, 60.0
"""Values of theta at which a bounded function is at its bounds to all digits, and no exponential overflows"""


@dataclass(frozen=True)
class NamedMarginals:
    """Statistics (*shape, len(STATISTICS)) and densities (*shape, 2, G) per variable; densities may be missing.

    `sources` says of each element, in C order, whether its statistics are those of a "marginal" or of "draws"; what it
    does not hold has marginals throughout.
    """

    statistics: Mapping[str, np.ndarray]
    densities: Mapping[str, np.ndarray]
    sources: Mapping[str, np.ndarray] = field(default_factory=dict)


def split_marginals(marginals: Marginals, blocks) -> NamedMarginals:
    """Marginals of a stacked vector, cut into its named blocks.

    Parameters
    ----------
    marginals : Marginals
        of m scalars
    blocks : sequence of (name, shape, start)
    """
    table = np.column_stack([marginals.mean, marginals.sd, marginals.mode, marginals.quantiles])
    statistics, densities = {}, {}
    for name, shape, start in blocks:
        part = slice(start, start + int(np.prod(shape, dtype=int)))
        statistics[name] = table[part].reshape(*shape, len(STATISTICS))
        if marginals.grid is not None and marginals.density is not None:
            pair = np.stack([marginals.grid[part], marginals.density[part]], axis=1)
            densities[name] = pair.reshape(*shape, 2, marginals.grid.shape[1])
    return NamedMarginals(statistics, densities)


def latent_marginals(lgm: LatentGaussianModel, marginals: Marginals) -> NamedMarginals:
    """Marginals of the latent variables, named and shaped as in the posterior group."""
    return split_marginals(marginals, [(latent.name, latent.shape, latent.start) for latent in lgm.latents])


def predictor_marginals(lgm: LatentGaussianModel, marginals: Marginals) -> NamedMarginals:
    """Marginals of the linear predictors, named and shaped as the observed variables; where one of these has several,
    `y_0`, `y_1`, ..."""
    blocks, start = [], 0
    for term in lgm.terms:
        size = int(np.prod(term.shape, dtype=int))
        several = len(term.eta) > 1
        for k in range(len(term.eta)):
            blocks.append((f"{term.name}_{k}" if several else term.name, term.shape, start))
            start += size
    return split_marginals(marginals, blocks)


def unconstrained_marginals(lgm: LatentGaussianModel, marginals: Marginals) -> NamedMarginals:
    """Marginals of theta, named as PyMC names the unconstrained values (`sigma_log__`), except those of
    covariances, which have coordinates of their own."""
    return split_marginals(marginals, [(unconstrained_name(h), h.shape, h.start) for h in lgm.hyperparameters])


def unconstrained_name(hyperparameter: Hyperparameter) -> str:
    """Name of the value variable, or of the random variable when it has none of its own."""
    return hyperparameter.variable.name or hyperparameter.name


def natural_marginals(
    lgm: LatentGaussianModel,
    marginals: Marginals,
    evaluate: Callable[[np.ndarray, tuple[str, ...]], Mapping[str, np.ndarray]],
    draws: Mapping[str, np.ndarray],
) -> NamedMarginals:
    """Marginals of the hyperparameters on the scale of the model.

    An element that is a function of one element of theta, by change of variable; others (of a simplex, of a Cholesky
    factor, all but the first of an ordered vector, those whose bounds are hyperparameters) from the draws.

    Parameters
    ----------
    lgm : LatentGaussianModel
    marginals : Marginals
        of theta
    evaluate : callable
        (theta (S, n_theta), names) -> values (S, *shape) of the named variables
    draws : dict
        values (S, *shape) of every hyperparameter, natural scale
    """
    statistics, densities, sources = {}, {}, {}
    names = [h.name for h in lgm.hyperparameters]
    columns = own_columns(names, marginals, evaluate) if names and marginals.grid is not None else {}
    tables = evaluate_grids(list(columns.items()), marginals, evaluate)
    for name in names:
        shape = draws[name].shape[1:]
        pieces = [None] * int(np.prod(shape, dtype=int))
        if name in tables:
            pieces = exact_elements(tables[name], columns[name], marginals)
        exact = np.array([piece is not None for piece in pieces], dtype=bool)
        if np.all(exact):
            rows = np.array([row for row, _ in pieces])
            densities[name] = np.reshape([pair for _, pair in pieces], (*shape, 2, -1))
        else:
            rows = draw_statistics(draws[name]).reshape(-1, len(STATISTICS))
            for j in np.flatnonzero(exact):
                rows[j] = pieces[j][0]
        statistics[name] = rows.reshape(*shape, len(STATISTICS))
        sources[name] = np.where(exact, "marginal", "draws")
    return NamedMarginals(statistics, densities, sources)


def own_columns(names, marginals: Marginals, evaluate: Callable) -> dict[str, np.ndarray]:
    """Per variable (size,) the one element of theta that each of its elements depends on; -1 where that is not one.

    Found by moving one element of theta at a time between its quartiles: what does not depend on it stays the same to
    the last bit.
    """
    low, middle, high = (marginals.quantiles[:, QUANTILES.index(q)] for q in (0.25, 0.5, 0.75))
    n = len(middle)
    moved = np.tile(middle, (2 * n, 1))
    moved[range(n), range(n)], moved[range(n, 2 * n), range(n)] = low, high
    found = evaluate(np.concatenate([middle[None], moved]), tuple(names))
    columns = {}
    for name in names:
        values = np.asarray(found[name]).reshape(2 * n + 1, -1)
        changes = (values[1:] != values[0]).reshape(2, n, -1).any(axis=0)
        columns[name] = np.where(changes.sum(axis=0) == 1, changes.argmax(axis=0), -1)
    return columns


def exact_elements(table: GridValues, columns: np.ndarray, marginals: Marginals) -> list:
    """(statistics, density) of each element that is a monotone function of its own element of theta, None of others."""
    pieces = []
    for j, column in enumerate(columns):
        values, slopes, quantiles, bounded = table.element(j)
        steps = np.diff(values)
        monotone = not (np.any(steps < 0) and np.any(steps > 0))
        pieces.append(
            change_variable(marginals, column, values, slopes, quantiles, bounded) if column >= 0 and monotone else None
        )
    return pieces


def derived_marginals(
    lgm: LatentGaussianModel,
    marginals: Marginals,
    evaluate: Callable[[np.ndarray, tuple[str, ...]], Mapping[str, np.ndarray]],
) -> NamedMarginals:
    """Marginals of the scalars of the model that are monotone functions of one scalar hyperparameter.

    A precision that the model computes from a standard deviation is one.

    Parameters
    ----------
    lgm, marginals, evaluate
        As for :func:`natural_marginals`.
    """
    sources = [(name, np.array([h.start])) for name in lgm.outputs if (h := source_of(lgm, name)) is not None]
    if marginals.grid is None:
        return NamedMarginals({}, {})
    statistics, densities = {}, {}
    for name, table in evaluate_grids(sources, marginals, evaluate).items():
        values, slopes, quantiles, bounded = table.element(0)
        steps = np.diff(values)
        if not np.all(np.isfinite(values)) or not (np.all(steps > 0) or np.all(steps < 0)):
            continue
        (j,) = dict(sources)[name]
        row, densities[name] = change_variable(marginals, j, values, slopes, quantiles, bounded)
        statistics[name] = row
    return NamedMarginals(statistics, densities)


def source_of(lgm: LatentGaussianModel, name: str) -> Hyperparameter | None:
    """The hyperparameter of one element that a scalar is computed from.

    None for what is no scalar, for latents and hyperparameters themselves, and for what depends on several variables
    or on none.
    """
    expression = lgm.outputs[name]
    own = {v.name for v in (*lgm.latents, *lgm.hyperparameters)}
    if name in own or expression.type.ndim:
        return None
    found = set(ancestors([expression]))
    if any(latent.variable in found for latent in lgm.latents):
        return None
    sources = [h for h in lgm.hyperparameters if h.variable in found]
    return sources[0] if len(sources) == 1 and sources[0].size == 1 else None


def without_moments(marginals: NamedMarginals) -> list[str]:
    """Names of the variables with an element whose mean or sd is NaN."""
    return [name for name, table in marginals.statistics.items() if not np.all(np.isfinite(table[..., :2]))]


def moments_on_grid(values: np.ndarray, density: np.ndarray) -> tuple[bool, bool]:
    """Whether the integrands of the first and of the second moment have decayed at both ends of the grid, to a tenth of
    their maximum."""
    decayed = []
    for power in (1, 2):
        integrand = np.abs(values) ** power * density
        decayed.append(bool(max(integrand[0], integrand[-1]) < 0.1 * integrand.max()))
    return decayed[0], decayed[0] and decayed[1]


@dataclass(frozen=True)
class GridValues:
    """A variable of `size` elements, each a function of one element of theta, on the grid of that element."""

    values: np.ndarray
    """(G, size)"""
    slopes: np.ndarray
    """(G, size) derivatives"""
    quantiles: np.ndarray
    """(len(QUANTILES), size) values at the quantiles of theta"""
    bounded: np.ndarray
    """(size,) whether the function is"""

    def element(self, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        return self.values[:, j], self.slopes[:, j], self.quantiles[:, j], bool(self.bounded[j])


def evaluate_grids(sources, marginals: Marginals, evaluate: Callable) -> dict[str, GridValues]:
    """Variables on the grids of the elements of theta that they are functions of, in one evaluation.

    Row g of the evaluated theta holds the g-th grid point of every element: an element of the result depends on its
    own column only.

    Parameters
    ----------
    sources : sequence of (name, columns)
        Per element of the variable, (size,), the position in theta that it is a function of.
    """
    if not sources:
        return {}
    points = marginals.grid.T
    # step of central differences that balances truncation (step^2) and rounding (eps / step)
    step = 6e-6 * np.maximum(np.ptp(points, axis=0), 1e-3)
    theta = np.concatenate([points, points + step, points - step, marginals.quantiles.T])
    names = tuple(name for name, _ in sources)
    found = evaluate(theta, names)
    with np.errstate(all="ignore"):
        ends = evaluate(np.repeat(np.array(FAR_OUT)[:, None], theta.shape[1], axis=1), names)
    tables = {}
    for name, columns in sources:
        values, above, below, quantiles = np.split(
            np.asarray(found[name], float).reshape(len(theta), -1), [len(points) * k for k in (1, 2, 3)]
        )
        tables[name] = GridValues(values, (above - below) / (2 * step[columns]), quantiles, _bounded(ends[name]))
    return tables


def _bounded(ends: np.ndarray) -> np.ndarray:
    """Which elements of a variable, at FAR_OUT, change no more"""
    lowest, low, high, highest = np.asarray(ends, float).reshape(len(FAR_OUT), -1)
    with np.errstate(all="ignore"):
        steps, whole = np.maximum(np.abs(low - lowest), np.abs(highest - high)), np.abs(highest - lowest)
        return np.isfinite(whole) & (steps < 1e-9 * whole)


def change_variable(
    marginals: Marginals,
    j: int,
    values: np.ndarray,
    slopes: np.ndarray,
    quantiles: np.ndarray,
    bounded: bool,
):
    """Statistics and density of g(theta_j), for a monotone g, from those of theta_j.

    Moments are integrals over theta (trapezoidal rule, which converges fast for densities that vanish at both ends);
    quantiles are mapped. Moments of which the grid holds only a part are NaN: a precision may have none, nor need a
    scale under a flat prior.

    Parameters
    ----------
    marginals : Marginals
        of theta
    j : int
    values, slopes : ndarray (G,)
        g and its derivative on the grid of theta_j
    quantiles : ndarray (len(QUANTILES),)
        g at the quantiles of theta_j
    bounded : bool
        Whether g is: then it has all moments, and little of them is outside of the grid, as little of the mass is.
    """
    theta, density = marginals.grid[j], marginals.density[j]
    mass = np.trapezoid(density, theta)
    mean = np.trapezoid(values * density, theta) / mass
    sd = np.sqrt(np.trapezoid((values - mean) ** 2 * density, theta) / mass)
    first, second = (True, True) if bounded else moments_on_grid(values, density)
    mean, sd = mean if first else np.nan, sd if second else np.nan
    slopes = np.abs(slopes)
    natural_density = np.divide(density, slopes * mass, out=np.zeros_like(density), where=slopes > 0)
    if values[-1] < values[0]:
        # QUANTILES are symmetric, so the quantiles of a decreasing g are those of theta in reverse
        values, natural_density, quantiles = values[::-1], natural_density[::-1], quantiles[::-1]
    row = np.concatenate([[mean, sd, find_mode(values, natural_density)], quantiles])
    return row, np.stack([values, natural_density])


def draw_statistics(draws: np.ndarray) -> np.ndarray:
    """Statistics (*shape, len(STATISTICS)) of draws (S, *shape); the mode is that of a kernel density estimate."""
    flat = np.asarray(draws, float).reshape(len(draws), -1)
    quantiles = np.quantile(flat, QUANTILES, axis=0)
    modes = [draw_density(column).mode if np.ptp(column) > 0 else column[0] for column in flat.T]
    sd = flat.std(axis=0, ddof=1) if len(flat) > 1 else np.zeros(flat.shape[1])
    table = np.column_stack([flat.mean(axis=0), sd, modes, quantiles.T])
    return table.reshape(*draws.shape[1:], len(STATISTICS))


def draw_density(draws: np.ndarray, name: str = "") -> GridDensity:
    """Kernel density estimate of scalar draws (Gaussian kernel, Scott's bandwidth) on a grid of 200 points."""
    from scipy.stats import gaussian_kde

    kernel = gaussian_kde(draws)
    margin = 4 * np.sqrt(kernel.covariance[0, 0])
    x = np.linspace(draws.min() - margin, draws.max() + margin, 200)
    return GridDensity(x, kernel(x), name)
