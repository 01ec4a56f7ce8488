"""Tables and densities in R-INLA's format, out of the deterministic marginals of a fit.

Columns: mean, sd, 0.025quant, 0.5quant, 0.975quant, mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymc_inla.formula.build import Reported
from pymc_inla.inference import skew_normal
from pymc_inla.output.density import GridDensity
from pymc_inla.output.groups import has_variable
from pymc_inla.output.marginals import STATISTICS, draw_density
from pymc_inla.priors.parse import to_prior

COLUMNS = ("mean", "sd", "0.025quant", "0.5quant", "0.975quant", "mode")
STORED = [STATISTICS.index(name) for name in ("mean", "sd", "q2.5", "q50", "q97.5", "mode")]
NORMAL_975 = 1.959963984540054


def latent_table(idata, name: str) -> np.ndarray:
    """Statistics (size, 6) of a latent variable, elements in C order."""
    stored = idata["inla/latent_marginals"][name]
    return stored.values[..., STORED].reshape(-1, len(STORED))


def latent_densities(idata, name: str) -> np.ndarray | None:
    """Densities (size, 2, G) of a latent variable, where they were kept."""
    if not has_variable(idata, "inla/latent_densities", name):
        return None
    values = idata["inla/latent_densities"][name].values
    return values.reshape(-1, *values.shape[-2:])


def predictor_marginals(idata) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics (n, 6), abscissae and densities (n, G) of the linear predictors of the observed rows.

    Where densities were not kept, those of skew normals with the mean, sd and quantiles.
    """
    group = idata["inla/predictor_marginals"]
    (name,) = group.data_vars
    table = group[name].values[:, STORED]
    if has_variable(idata, "inla/predictor_densities", name):
        x, density = np.moveaxis(idata["inla/predictor_densities"][name].values, 1, 0)
        return table, x, density
    mean, sd, low, middle, high = table[:, :5].T
    # Cornish-Fisher: the quantiles of a standardized variable of skewness g are z + g (z^2 - 1) / 6
    skewness = 3 * (low + high - 2 * middle) / (np.where(sd > 0, sd, 1.0) * NORMAL_975**2)
    t = np.linspace(-5, 5, 41)
    x = mean[:, None] + np.maximum(sd, 1e-300)[:, None] * t
    column = (part[:, None] for part in skew_normal.parameters(mean, np.maximum(sd, 1e-300), skewness))
    return table, x, np.exp(skew_normal.log_pdf(x, *column))


def increasing_table(function, table: np.ndarray, x: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Statistics (n, 6) of an increasing function from those and the densities of its arguments.

    Quantiles are mapped, moments are trapezoidal sums, the mode is that of the density of the function.
    """
    out = np.empty_like(table)
    y = np.asarray(function(x))
    step = np.diff(x, axis=1)
    mass = density.copy()
    mass[:, 1:-1] *= step[:, 1:] + step[:, :-1]
    mass[:, 0], mass[:, -1] = mass[:, 0] * step[:, 0], mass[:, -1] * step[:, -1]
    mass /= mass.sum(axis=1, keepdims=True)
    out[:, 0] = np.sum(mass * y, axis=1)
    out[:, 1] = np.sqrt(np.sum(mass * (y - out[:, :1]) ** 2, axis=1))
    out[:, 2:5] = np.asarray(function(table[:, 2:5]))
    slope = (y[:, 2:] - y[:, :-2]) / (x[:, 2:] - x[:, :-2])
    natural = np.where(slope > 0, density[:, 1:-1] / np.where(slope > 0, slope, 1.0), 0.0)
    top = np.clip(natural.argmax(axis=1), 1, natural.shape[1] - 2)
    rows = np.arange(len(y))
    left, middle, right = (np.log(np.maximum(natural[rows, top + k], 1e-300)) for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.clip(np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0), -1, 1)
    at = x[rows, top + 1] + np.where(shift < 0, shift * step[rows, top], shift * step[rows, top + 1])
    out[:, 5] = np.asarray(function(at[:, None]))[:, 0]
    return out


def scaled_table(table: np.ndarray, factor: float) -> np.ndarray:
    """Statistics of factor * u from those of u."""
    scaled = table * factor
    scaled[:, 1] = table[:, 1] * abs(factor)
    if factor < 0:
        scaled[:, [2, 4]] = scaled[:, [4, 2]]
    return scaled


def draws_table(draws: np.ndarray) -> np.ndarray:
    """Statistics (m, 6) of draws (S, m); the mode is that of a kernel density estimate."""
    quantiles = np.quantile(draws, (0.025, 0.5, 0.975), axis=0)
    return np.column_stack([draws.mean(axis=0), draws.std(axis=0, ddof=1), *quantiles, kernel_modes(draws)])


def kernel_modes(draws: np.ndarray, bins: int = 512) -> np.ndarray:
    """Modes (m,) of kernel density estimates of the columns of draws (S, m): Gaussian kernel, Scott's bandwidth.

    The draws are counted in bins and the counts smoothed by a Fourier transform, all columns at once.
    """
    S, m = draws.shape
    low, width = draws.min(axis=0), np.ptp(draws, axis=0)
    step = np.where(width > 0, width, 1.0) / (bins - 1)
    position = np.rint((draws - low) / step).astype(np.int64) + bins * np.arange(m)
    counts = np.bincount(position.ravel(), minlength=bins * m).reshape(m, bins)
    bandwidth = draws.std(axis=0, ddof=1) * S**-0.2 / step
    frequency = np.fft.rfftfreq(2 * bins)  # padded, so that the ends do not meet
    kernel = np.exp(-2 * (np.pi * frequency * bandwidth[:, None]) ** 2)
    density = np.fft.irfft(np.fft.rfft(counts, 2 * bins, axis=1) * kernel, axis=1)[:, :bins]
    return np.where(width > 0, low + step * density.argmax(axis=1), draws[0])


@dataclass(frozen=True)
class HyperMarginal:
    """Posterior of one hyperparameter.

    Parameters
    ----------
    row : tuple of float
        In the order of COLUMNS.
    density : GridDensity
        On the reported scale.
    internal : GridDensity
        Of the logarithm for positive hyperparameters, else the same as `density`.
    source : str
        "marginal" or "draws".
    note : str
        Why a moment is NaN; empty otherwise.
    """

    row: tuple[float, ...]
    density: GridDensity
    internal: GridDensity
    source: str
    note: str


def hyper_marginal(idata, reported: Reported) -> HyperMarginal:
    """Posterior of a hyperparameter from its deterministic marginal.

    Positive ones are handled as logarithms, so that a standard deviation as the variable of the model gives the same
    density. What depends on several hyperparameters is summarized from the draws.
    """
    found = stored_density(idata, reported)
    if found is None:
        draws = np.ravel(idata["posterior"][reported.variable].values).astype(float)
        internal = draw_density(np.log(draws) if reported.positive else draws, reported.label)
        source = "draws"
    else:
        internal, source = found, "marginal"
    if not reported.positive:
        row = [internal.mean, internal.sd, *internal.ppf([0.025, 0.5, 0.975]), internal.mode]
        return HyperMarginal(tuple(map(float, row)), internal, internal, source, "")
    order = existing_moments(reported)
    first = internal.expectation(np.exp) if order >= 1 else np.nan
    sd = np.sqrt(max(internal.expectation(lambda w: np.exp(2 * w)) - first**2, 0.0)) if order >= 2 else np.nan
    # the density of exp(w) is p(w) exp(-w); far tails under- or overflow and carry no mass
    inside = np.abs(internal.x) < 300
    density = GridDensity(
        np.exp(internal.x[inside]), internal.pdf(internal.x[inside]) * np.exp(-internal.x[inside]), reported.label
    )
    row = [first, sd, *np.exp(internal.ppf([0.025, 0.5, 0.975])), density.mode]
    return HyperMarginal(tuple(map(float, row)), density, internal, source, moment_note(reported, order))


def stored_density(idata, reported: Reported) -> GridDensity | None:
    """Density of the hyperparameter, of its logarithm if positive.

    None when it is a vector or depends on several hyperparameters.
    """
    for group in ("inla/hyperparameter_densities", "inla/derived_densities"):
        if has_variable(idata, group, reported.variable) and idata[group][reported.variable].ndim == 2:
            x, density = idata[group][reported.variable].values
            return GridDensity(np.log(x), density * x, reported.label) if reported.positive else GridDensity(x, density)
    return None


def existing_moments(reported: Reported) -> int:
    """How many moments (0, 1 or 2) of a positive hyperparameter exist, where that depends on the prior alone.

    For the precision tau of a latent effect p(y | tau) tends to a positive constant as tau grows, so that the moment of
    order k exists exactly when that of the prior does: when log pi(theta) falls faster than -k theta, theta = log tau.
    For hyperparameters of a likelihood the data bound the tail.
    """
    if not reported.effect_precision:
        return 2
    return to_prior(reported.prior, reported.param).moments


def moment_note(reported: Reported, order: int) -> str:
    if order == 2:
        return ""
    missing = "mean and sd do not exist" if order == 0 else "sd does not exist"
    return (
        f"{reported.label}: {missing}. As the precision grows the likelihood tends to a positive constant, and the "
        f"prior {reported.prior} has no such moment of the precision. Use the quantiles, or sigma = 1/sqrt(tau)."
    )


def frame(rows, index, columns=COLUMNS) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(rows, float).reshape(-1, len(columns)), index=index, columns=list(columns))


def density_frame(density: GridDensity) -> pd.DataFrame:
    """A marginal as R-INLA stores it: columns x and y."""
    return pd.DataFrame({"x": density.x, "y": density.pdf(density.x)})
