"""Marginals of the latent field: mixtures over the design points of theta,

    p(x_j | y) ~ sum_k w_k p~(x_j | theta_k, y),

of skew normals that match the mean, sd and skewness of p~(x_j | theta_k, y). Where theta has one or two dimensions the
three moments are first interpolated to a finer design, so that the mixture is smooth in theta as the integral is. A
component of it stands for a neighborhood of theta, within which log sd and mean are linear: its variance is that of the
neighborhood as a whole. Where p~(x_j | theta_k, y) is tabulated (see `copula`), components have its shape instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from pymc_inla.inference import skew_normal
from pymc_inla.inference.inner import Shape
from pymc_inla.lgm import QUANTILES, Marginals

KEEP_DENSITIES = 20000
"""Density grids are kept for at most this many scalars."""
FINE_SCALARS = 2000
"""The finer design is used for at most this many scalars: in larger models theta is known well enough without."""
EXACT_CELLS, MAX_EXACT_CELLS = 50_000, 500_000
"""Scalars times components up to which the exact skew normal distribution function (Owen's T) is used; up to the second
number only where skewness exceeds 0.35. Otherwise an Edgeworth expansion, whose error is 7e-4 at 0.2, 3e-3 at 0.4."""
GRID_SIZE, TABLE = 101, 4001
CHUNK_CELLS = 400_000


def mixture_marginals(
    mean: np.ndarray,
    sd: np.ndarray,
    skewness: np.ndarray,
    weights: np.ndarray,
    *,
    fine_weights: np.ndarray | None = None,
    fine_matrix: np.ndarray | None = None,
    fine_slopes: np.ndarray | None = None,
    shapes: Sequence[dict[int, Shape]] = (),
) -> Marginals:
    """Marginals of m scalars from their conditional moments at K design points.

    Parameters
    ----------
    mean, sd, skewness : arrays (K, m)
    weights : array (K,)
    fine_weights, fine_matrix, fine_slopes : arrays (F,), (F, K), (d, F, K), optional
        A finer design, the interpolation to it, and the change of the interpolant over one sd within a component.
    shapes : sequence of K dicts, optional
        Distributions at the design points of some of the scalars: these are mixtures of them, not of skew normals.
    """
    K, m = mean.shape
    if fine_matrix is not None and (K == 1 or m > FINE_SCALARS):
        fine_weights = fine_matrix = None
    w = weights if fine_matrix is None else fine_weights
    keep = m <= KEEP_DENSITIES
    limit = MAX_EXACT_CELLS if np.max(np.abs(skewness), initial=0.0) > 0.35 else EXACT_CELLS
    exact = len(w) * m <= limit
    out = {
        "mean": np.empty(m),
        "sd": np.empty(m),
        "quantiles": np.empty((m, len(QUANTILES))),
        "mode": np.empty(m),
        "grid": np.empty((m, GRID_SIZE)) if keep else None,
        "density": np.empty((m, GRID_SIZE)) if keep else None,
    }
    chunk = max(1, CHUNK_CELLS // len(w))
    for start in range(0, m, chunk):
        part = slice(start, min(start + chunk, m))
        components = _components(mean[:, part], sd[:, part], skewness[:, part], fine_matrix, fine_slopes)
        mixture = Mixture(*components, w[:, None], exact)
        out["mean"][part], out["sd"][part] = mixture.mean, mixture.sd
        quantiles = mixture.quantiles(QUANTILES)
        out["quantiles"][part] = quantiles.T
        if keep:
            out["grid"][part], out["density"][part], out["mode"][part] = _density(mixture, quantiles)
        else:
            out["mode"][part] = mixture.nearest_mode(quantiles[2])
    for j in set.intersection(*map(set, shapes)) if len(shapes) else ():
        m_j, s_j, _ = _components(mean[:, [j]], sd[:, [j]], skewness[:, [j]], fine_matrix, fine_slopes)
        nearest = np.arange(K) if fine_matrix is None else np.argmax(np.abs(fine_matrix), axis=1)
        mixture = ShapeMixture(m_j[:, 0], s_j[:, 0], w, nearest, [at_point[j] for at_point in shapes])
        out["quantiles"][j] = mixture.quantiles(QUANTILES)
        x = np.linspace(mixture.x[0], mixture.x[-1], len(mixture.x)) if not keep else out["grid"][j]
        density = mixture.pdf(x)
        out["mode"][j] = _highest(x[None], density[None])[0]
        if keep:
            out["density"][j] = density
    return Marginals(**out)


def _components(mean, sd, skewness, matrix, slopes):
    # what constraints fix has no spread: a spike as narrow as its grid can resolve in double precision
    sd = np.maximum(sd, np.maximum(1e-10 * np.abs(mean), 1e-90))
    if matrix is None:
        return mean, sd, skewness
    # The interpolant of sd and mean may overshoot only where the design carries almost no mass: keep it in range.
    log_sd = np.log(sd)
    lowest, highest = log_sd.min(0) - 0.5, log_sd.max(0) + 0.5
    low, high = mean.min(0), mean.max(0)
    margin = 0.25 * (high - low)
    fine_mean = np.clip(matrix @ mean, low - margin, high + margin)
    # E[s^2] = s^2 exp(2 Var log s) for normal log s; together with the variance of the mean
    log_variance = np.sum((slopes @ log_sd) ** 2, axis=0)
    log_root = np.minimum(np.clip(matrix @ log_sd, lowest, highest) + log_variance, highest)
    fine_sd = np.sqrt(np.exp(2 * log_root) + np.sum((slopes @ mean) ** 2, axis=0))
    return fine_mean, fine_sd, np.clip(matrix @ skewness, skewness.min(0), skewness.max(0))


class ShapeMixture:
    """A mixture of tabulated distributions.

    Parameters
    ----------
    m, s, w : arrays (F,)
        Mean, sd and weight of the components.
    shape : int array (F,)
        Which of `shapes` a component has, moved and scaled.
    shapes : sequence of Shape
    """

    def __init__(self, m, s, w, shape, shapes: Sequence[Shape]):
        self.components = [(k, m[shape == k], s[shape == k], w[shape == k]) for k in np.unique(shape)]
        self.shapes = shapes
        low, high = (np.array([(each.t[end] - each.mean) / each.sd for each in shapes])[shape] for end in (0, -1))
        self.x = np.linspace(np.min(m + s * low), np.max(m + s * high), TABLE)

    def _sum(self, x: np.ndarray, values: str, *, scaled: bool) -> np.ndarray:
        total = np.zeros(len(x))
        for k, m, s, w in self.components:
            each = self.shapes[k]
            t = each.mean + each.sd * (x - m[:, None]) / s[:, None]
            outside = (0.0, 0.0) if scaled else (0.0, 1.0)
            found = np.interp(t, each.t, getattr(each, values), *outside)
            total += (w * each.sd / s if scaled else w) @ found
        return total

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """Density at x (n,)."""
        return self._sum(x, "density", scaled=True)

    def quantiles(self, probabilities) -> np.ndarray:
        """(len(probabilities),)"""
        F = self._sum(self.x, "F", scaled=False)
        return np.interp(probabilities, F / F[-1], self.x)


class Mixture:
    """Mixtures of skew normals, one per column.

    Parameters
    ----------
    m, s, g : arrays (F, c)
        Mean, sd and skewness of the components.
    w : array (F, 1)
    exact : bool
        Whether the exact distribution function is used.
    """

    def __init__(self, m, s, g, w, exact: bool):
        self.m, self.s, self.g, self.w = m, s, g, w
        self.gaussian = not np.any(np.abs(g) > 1e-9)
        self.exact = exact
        self.mean = np.sum(w * m, axis=0)
        self.sd = np.sqrt(np.sum(w * (s**2 + (m - self.mean) ** 2), axis=0))
        if not self.gaussian and exact:
            self.skew = skew_normal.parameters(m, s, g)
        elif not self.gaussian:
            bounded = np.clip(g, -0.8, 0.8)
            ratio = (np.abs(bounded) / ((4 - np.pi) / 2)) ** (2.0 / 3.0)
            self.g3, self.g4 = bounded / 6.0, 2 * (np.pi - 3) * ratio**2 / 24.0

    def cdf_pdf(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distribution function and density at x (c,)."""
        if not self.gaussian and self.exact:
            return np.sum(self.w * skew_normal.cdf(x, *self.skew), axis=0), self.pdf(x)
        t = (x - self.m) / self.s
        phi = np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
        F = ndtr(t)
        if self.gaussian:
            return np.sum(self.w * F, axis=0), self._expanded_pdf(t, phi)
        t2 = t * t
        he2, he3 = t2 - 1, t * (t2 - 3)
        he5 = t * (t2 * (t2 - 10) + 15)
        F -= phi * (self.g3 * he2 + self.g4 * he3 + self.g3**2 / 2.0 * he5)
        return np.clip(np.sum(self.w * F, axis=0), 0, 1), self._expanded_pdf(t, phi)

    def pdf(self, x: np.ndarray) -> np.ndarray:
        """Density at x (c,)."""
        if self.gaussian or not self.exact:
            t = (x - self.m) / self.s
            return self._expanded_pdf(t, np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi))
        xi, omega, alpha = self.skew
        t = (x - xi) / omega
        return np.sum(self.w / omega * np.exp(-0.5 * t * t) * ndtr(alpha * t), axis=0) * np.sqrt(2 / np.pi)

    def _expanded_pdf(self, t, phi) -> np.ndarray:
        """Density (c,) by Edgeworth expansions, from standardized abscissas and normal densities there, (F, c)."""
        if self.gaussian:
            return np.sum(self.w * phi / self.s, axis=0)
        t2 = t * t
        he3 = t * (t2 - 3)
        he4, he6 = t2 * (t2 - 6) + 3, t2 * (t2 * (t2 - 15) + 45) - 15
        f = phi * np.maximum(1 + self.g3 * he3 + self.g4 * he4 + self.g3**2 / 2.0 * he6, 0.0) / self.s
        return np.sum(self.w * f, axis=0)

    def quantiles(self, probabilities) -> np.ndarray:
        """(len(probabilities), c), by Newton steps on the normal score of the distribution function, bracketed."""
        tolerance, limit = (1e-7, 40) if self.exact else (1e-4, 6)
        rows = []
        reach = 12.0 * self.s
        gap = self.m - self.mean
        third = np.sum(self.w * (self.g * self.s**3 + 3 * gap * self.s**2 + gap**3), axis=0)
        skewness = np.clip(third / self.sd**3, -1.0, 1.0)
        lowest, highest = np.min(self.m - reach, axis=0), np.max(self.m + reach, axis=0)
        for p in probabilities:
            target = ndtri(p)
            x = self.mean + self.sd * (target + skewness * (target**2 - 1) / 6)  # Cornish-Fisher
            low, high = lowest.copy(), highest.copy()
            for _ in range(limit):
                F, f = self.cdf_pdf(x)
                low, high = np.where(p > F, x, low), np.where(p > F, high, x)
                score = ndtri(np.clip(F, 1e-15, 1 - 1e-15))
                slope = np.maximum(f, 1e-300) * np.sqrt(2 * np.pi) * np.exp(0.5 * score**2)
                step = (score - target) / slope
                # a step below the tolerance ends on the bracket's own end point: bisecting would throw it off again
                kept = ((x - step > low) & (x - step < high)) | (np.abs(step) < tolerance * self.sd)
                new = np.where(kept, x - step, 0.5 * (low + high))
                moved = np.max(np.abs(new - x) / self.sd)
                x = new
                if moved < tolerance:
                    break
            rows.append(x)
        return np.array(rows)

    def nearest_mode(self, x: np.ndarray) -> np.ndarray:
        """Mode reached from x by mean-shift steps, each component entering with its own mode."""
        peak = self.m if self.gaussian else self.m - 0.5 * self.s * np.clip(self.g, -0.8, 0.8)
        for _ in range(12):
            pull = self.w * np.exp(-0.5 * ((x - peak) / self.s) ** 2) / self.s**3
            x = np.sum(pull * peak, axis=0) / np.maximum(np.sum(pull, axis=0), 1e-300)
        return x


def _density(mixture: Mixture, quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid, density and mode; the grid is denser where the mass is (spikes of collapsed effects are resolved)."""
    center = quantiles[2]
    width = np.maximum((quantiles[3] - quantiles[1]) / 1.349, 1e-3 * mixture.sd)
    reach = 6.0 * mixture.sd
    stretch = np.arcsinh(reach / (2.0 * width))
    t = np.linspace(-1.0, 1.0, GRID_SIZE)
    grid = center[:, None] + 2.0 * width[:, None] * np.sinh(stretch[:, None] * t)
    density = np.column_stack([mixture.pdf(grid[:, i]) for i in range(GRID_SIZE)])
    return grid, density, _highest(grid, density)


def _highest(grid: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Where densities (c, n) on grids (c, n) are highest."""
    top = np.argmax(density, axis=1)
    inner = np.clip(top, 1, grid.shape[1] - 2)
    rows = np.arange(len(grid))
    x = np.stack([grid[rows, inner + k] for k in (-1, 0, 1)])
    y = np.stack([density[rows, inner + k] for k in (-1, 0, 1)])
    return _parabola_vertex(x, y)


def _parabola_vertex(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Abscissa of the maximum of the parabola through three points, kept between the outer two; x, y (3, c)."""
    left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    curvature = (right - left) / (x[2] - x[0])
    safe = np.where(curvature < 0, curvature, -1.0)
    vertex = 0.5 * (x[0] + x[1]) - left / (2 * safe)
    return np.clip(np.where(curvature < 0, vertex, x[1]), x[0], x[2])
