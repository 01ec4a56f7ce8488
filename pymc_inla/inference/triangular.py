"""A density of theta as an increasing triangular map from independent standard normal scores.

    theta_1 = T_1(s_1),   theta_2 = T_2(s_1, s_2),   theta_3 = T_3(s_1, s_2, s_3)

Each component, given the scores before it, is a conditional quantile (the inverse of the transformation of Rosenblatt
1952, Annals of Mathematical Statistics 23). The components are tabulated on a regular grid of scores and are linear
between. log p is the log density of the scores minus the logarithms of the slopes along the diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtri

from pymc_inla.inference.density import normalize
from pymc_inla.inference.lattice import LatticeMarginal

FARTHEST = 4.5
SIZES = {2: 361, 3: 91}
"""Scores from -FARTHEST to FARTHEST, by the number of hyperparameters"""
JUMP = 1.5
"""Ratio of slopes from segment to segment from which on they say that there is a gap"""
CLOUD = 2**15
SPREAD = 1.3
"""Sd of the scores of the cloud: a rare arm of the density may hold much of a variance"""
MIXED = 256
"""Conditional densities of which a marginal is the mean, for each component before it"""
PORTION = 4096


def scores_of(d: int) -> np.ndarray:
    """Equally spaced scores of the tables of d components."""
    return np.linspace(-FARTHEST, FARTHEST, SIZES[d])


def tabulate(quantiles: np.ndarray, places: np.ndarray, below: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Tables of a component and of those after it.

    Parameters
    ----------
    quantiles : array (S,)
        Of the component, at the scores.
    places : array (K,)
        Values of the component at which the tables of those after it are known.
    below : K lists of arrays (S,), (S, S), ...

    Returns
    -------
    list of arrays (S,), (S, S), ...
    """
    order = np.argsort(places)
    inside = np.clip(quantiles, places.min(), places.max())
    components = zip(*(below[k] for k in order), strict=True) if below else ()
    curves = [PchipInterpolator(places[order], np.array(tables), axis=0) for tables in components]
    # interpolated one by one, extreme quantiles may cross
    return [quantiles, *(np.sort(curve(inside), axis=-1) for curve in curves)]


@dataclass(frozen=True)
class TriangularDensity:
    """The density of theta and its marginals."""

    tables: tuple[np.ndarray, ...]
    """d arrays (S,), (S, S), ...: values of a component at the scores of those before it and its own"""
    order: np.ndarray
    """(d,) the hyperparameter that each component is"""
    first: LatticeMarginal
    """The marginal of the first component, to many digits"""

    @property
    def step(self) -> float:
        return 2 * FARTHEST / (len(self.tables[0]) - 1)

    @cached_property
    def cloud(self) -> tuple[np.ndarray, np.ndarray]:
        """theta (CLOUD, d) and weights (CLOUD,)"""
        scores = SPREAD * _sobol_scores(CLOUD, len(self.tables))
        log_weights = 0.5 * np.sum((scores / SPREAD) ** 2 - scores**2, axis=1)
        theta = np.empty((CLOUD, len(self.tables)))
        for part in _portions(CLOUD):
            each = np.arange(len(part))
            for k in range(len(self.tables)):
                rows = self.rows_of(k, scores[part])
                at, share = self._segment(scores[part, k])
                theta[part, self.order[k]] = (1 - share) * rows[each, at] + share * rows[each, at + 1]
        return theta, normalize(log_weights)[0]

    @property
    def marginals(self) -> tuple[LatticeMarginal | TriangularMarginal, ...]:
        """One per hyperparameter."""
        components = [self.first, *(TriangularMarginal(self, k) for k in range(1, len(self.tables)))]
        return tuple(components[k] for k in np.argsort(self.order))

    def log_density(self, theta: np.ndarray) -> np.ndarray:
        """(m, d) to (m,)"""
        theta = np.atleast_2d(theta)[:, self.order]
        out = np.empty(len(theta))
        for part in _portions(len(theta)):
            scores, total = np.zeros((len(part), 0)), np.zeros(len(part))
            for k in range(len(self.tables)):
                log_p, score = self.log_conditional(theta[part, k], self.rows_of(k, scores))
                scores, total = np.column_stack([scores, score]), total + log_p
            out[part] = total
        return out

    def log_conditional(self, value: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density and score of values (m,) of a component whose quantiles at the scores are rows (m, S)."""
        each, h = np.arange(len(rows)), self.step
        last = rows.shape[1] - 1
        at = np.clip(np.sum(rows <= value[:, None], axis=1) - 1, 0, last - 1)
        low = rows[each, at]
        own = np.maximum(rows[each, at + 1] - low, 1e-300)
        share = np.clip((value - low) / own, -1e3, 1e3)
        # central differences at both ends of the segment, and linear between
        below, above = np.maximum(at - 1, 0), np.minimum(at + 2, last)
        left = (rows[each, at + 1] - rows[each, below]) / (at + 1 - below)
        right = (rows[each, above] - low) / (above - at)
        slope = left + np.clip(share, 0, 1) * (right - left)
        # beside a gap, which one segment spans, that of the segment: cloud and draws have this density
        slope = np.where(np.maximum(slope, own) > JUMP * np.minimum(slope, own), own, slope)
        score = -FARTHEST + h * (at + share)
        return -0.5 * score**2 - 0.5 * np.log(2 * np.pi) - np.log(np.maximum(slope, 1e-300) / h), score

    def rows_of(self, k: int, scores: np.ndarray) -> np.ndarray:
        """(m, S) quantiles of component k, given the scores (m, >= k) of those before it"""
        rows = np.broadcast_to(self.tables[k], (len(scores), *self.tables[k].shape))
        if not k:
            return rows
        corners = [self._segment(scores[:, j]) for j in range(k)]
        rows = 0.0
        for corner in np.ndindex(*(2,) * k):
            index = tuple(at + c for (at, _), c in zip(corners, corner, strict=True))
            weight = np.prod([share if c else 1 - share for (_, share), c in zip(corners, corner, strict=True)], axis=0)
            rows = rows + weight[:, None] * self.tables[k][index]
        return rows

    def _segment(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which two tabulated scores a score lies between, and its share of the upper one."""
        position = np.clip((score + FARTHEST) / self.step, 0, len(self.tables[0]) - 1)
        at = np.minimum(position.astype(np.int64), len(self.tables[0]) - 2)
        return at, position - at


@dataclass(frozen=True)
class TriangularMarginal:
    """The marginal of a component, mixed over those before it."""

    density: TriangularDensity
    component: int

    @cached_property
    def distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Values (CLOUD,), ascending, and the probability of less than each"""
        theta, weights = self.density.cloud
        values = theta[:, self.density.order[self.component]]
        order = np.argsort(values, kind="stable")
        return values[order], np.cumsum(weights[order]) - 0.5 * weights[order]

    def quantiles(self, probabilities) -> np.ndarray:
        """(k,) to (k,)"""
        values, below = self.distribution
        return np.interp(probabilities, below, values)

    def pdf(self, theta) -> np.ndarray:
        """(k,) to (k,)"""
        rows = self.density.rows_of(self.component, _sobol_scores(MIXED * self.component, self.component))
        found = [self.density.log_conditional(np.full(len(rows), t), rows)[0] for t in theta]
        return np.exp(found).mean(axis=1)


def _sobol_scores(m: int, d: int) -> np.ndarray:
    """(m, d) normal scores of evenly spread points"""
    from scipy.stats import qmc  # 0.4 s to import

    power = int(np.ceil(np.log2(m)))
    return ndtri(qmc.Sobol(d, scramble=False).random_base2(power) + 0.5 / 2**power)


def _portions(n: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n), max(1, n // PORTION))
