"""Pictures of one fit: the posterior of the hyperparameters with the points of its integral, and group effects."""

from __future__ import annotations

import numpy as np
from xarray import DataArray, DataTree

from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import chosen_names
from pymc_inla.output.groups import has_group, has_variable, require_posterior
from pymc_inla.output.summary import element_labels, summary

COLUMNS = 3
MOST_LABELS = 60
"""Effects that get a label each; more are drawn as a curve of intervals"""


def plot_hyperparameters(idata: DataTree, var_names=None, axes=None):
    """Marginal of each hyperparameter, with the design points at which the integral over them was computed.

    The height of the bar at a point is the posterior mass that the point stands for. Hyperparameters that the model
    declares on a scale of their own (`sigma`) are drawn on that scale; those without a density there (Cholesky
    factors, simplexes) on the unconstrained one.

    Parameters
    ----------
    idata : DataTree
        Result of :func:`pymc_inla.fit`.
    var_names : str or sequence of str, optional
        Hyperparameters, by the names of the model or of the unconstrained values (`sigma_log__`); all by default.
    axes : sequence of matplotlib axes, optional
        One per scalar.

    Returns
    -------
    ndarray of matplotlib axes

    Raises
    ------
    InvalidOptionError
        The model has no hyperparameters, or a name is not that of one.
    """
    from matplotlib import pyplot

    require_posterior(idata, "plot_hyperparameters", deterministic=True)
    if not has_group(idata, "inla/unconstrained_densities"):
        raise InvalidOptionError("The model has no hyperparameters: there is no integral over them to draw.")
    panels = hyperparameter_panels(idata, var_names)
    if axes is None:
        columns = min(COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        size = (3.2 * columns, 2.4 * rows)
        grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1].ravel()
        for ax in grid[len(panels) :]:
            ax.set_visible(False)
        axes = grid[: len(panels)]
    weights = idata["inla/integration"]["weights"].values
    for ax, (label, x, density, points) in zip(axes, panels, strict=True):
        draw_density_with_points(ax, x, density, points, weights)
        ax.set_xlabel(label)
        ax.set_yticks([])
    return np.asarray(axes)


def hyperparameter_panels(idata: DataTree, var_names) -> list:
    """(label, abscissae, density, design points) of each scalar, on the scale of the model where it has one."""
    unconstrained = idata["inla/unconstrained_densities"]
    points = idata["inla/integration"]["points"].values
    natural_names = [str(name) for name in idata["inla/hyperparameter_marginals"].data_vars]
    panels, names, start = [], {}, 0
    for value_name in map(str, unconstrained.data_vars):
        labels, pairs = labeled_densities(value_name, unconstrained[value_name])
        # `sigma_a_log__` belongs to sigma_a, also where there is a sigma
        natural = max((n for n in natural_names if value_name.startswith(f"{n}_")), key=len, default=value_name)
        shown = pairs
        if has_variable(idata, "inla/hyperparameter_densities", natural):
            labels, shown = labeled_densities(natural, idata["inla/hyperparameter_densities"][natural])
        for j, (label, pair, other) in enumerate(zip(labels, pairs, shown, strict=True)):
            panels.append((label, *other, map_points(points[:, start + j], pair, other)))
            names.setdefault(natural, []).append(len(panels) - 1)
            names.setdefault(value_name, []).append(len(panels) - 1)
        start += len(pairs)
    if var_names is None:
        return panels
    wanted = chosen_names(var_names, names, "plot_hyperparameters: {name} is no hyperparameter.")
    return [panels[k] for name in wanted for k in dict.fromkeys(names[name])]


def labeled_densities(name: str, array: DataArray) -> tuple[list[str], np.ndarray]:
    """A label per element of a variable, and its (abscissae, density), (elements, 2, points)."""
    return element_labels(name, array, array.dims[:-2]), array.values.reshape(-1, *array.shape[-2:])


def map_points(points: np.ndarray, pair: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Design points on the drawn scale; NaN for those beyond its grid.

    The two grids are images of each other point by point. A decreasing change of variable has reversed its grid: then
    the cumulative mass over the two disagrees.
    """
    mass, image_mass = (np.diff(x) * (density[1:] + density[:-1]) for x, density in (pair, other))
    decreasing = np.abs(mass - image_mass[::-1]).sum() < np.abs(mass - image_mass).sum()
    return np.interp(points, pair[0], other[0][::-1] if decreasing else other[0], left=np.nan, right=np.nan)


def draw_density_with_points(ax, x, density, points, weights) -> None:
    """The density, and below it a bar per design point whose height is its weight."""
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(x) * (density[1:] + density[:-1]) / 2)])
    inside = (cumulative > 5e-4 * cumulative[-1]) & (cumulative < (1 - 5e-4) * cumulative[-1])
    ax.plot(x[inside], density[inside], color="C0")
    shown = np.isfinite(points) & (points >= x[inside][0]) & (points <= x[inside][-1])
    height = 0.45 * density.max() * weights[shown] / max(weights.max(), 1e-300)
    ax.vlines(points[shown], 0.0, height, color="C1", lw=1.5)
    ax.plot(points[shown], np.zeros(shown.sum()), "|", color="C1", ms=6)
    ax.set_ylim(bottom=0.0)


def plot_effects(idata: DataTree, var_name: str, *, order: bool = True, ax=None):
    """Caterpillar plot: mean, 50 % and 95 % interval of every element of a variable.

    Parameters
    ----------
    idata : DataTree
        Result of :func:`pymc_inla.fit`.
    var_name : str
        A variable of the posterior, most often a group effect.
    order : bool
        Whether the elements are ordered by their mean.
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes

    Raises
    ------
    InvalidOptionError
        The variable does not exist.
    """
    from matplotlib import pyplot

    table = summary(idata, var_name)
    if order:
        table = table.sort_values("mean")
    n = len(table)
    mean, low, high = (table[c].to_numpy(float) for c in ("mean", "q2.5", "q97.5"))
    inner_low, inner_high = table["q25"].to_numpy(float), table["q75"].to_numpy(float)
    rank = np.arange(n)
    labeled = n <= MOST_LABELS
    if ax is None:
        size = (4.5, 0.6 + 0.2 * n) if labeled else (7.0, 3.0)
        ax = pyplot.subplots(figsize=size, layout="constrained")[1]
    if labeled:
        ax.hlines(rank, low, high, color="C0", lw=1)
        ax.hlines(rank, inner_low, inner_high, color="C0", lw=3)
        ax.plot(mean, rank, "o", color="C0", ms=4)
        ax.axvline(0.0, color="0.7", lw=0.8, zorder=0)
        ax.set_yticks(rank, list(table.index), fontsize="small")
        ax.set_ylim(-0.7, n - 0.3)
        ax.set_xlabel(var_name)
    else:
        ax.fill_between(rank, low, high, color="C0", alpha=0.2, lw=0, label="95 %")
        ax.fill_between(rank, inner_low, inner_high, color="C0", alpha=0.35, lw=0, label="50 %")
        ax.plot(rank, mean, color="C0", lw=1, label="mean")
        ax.axhline(0.0, color="0.7", lw=0.8, zorder=0)
        ax.set_xlabel(f"rank of {n} elements" if order else "element")
        ax.set_ylabel(var_name)
        ax.legend(frameon=False)
    return ax
