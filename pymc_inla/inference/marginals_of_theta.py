"""Laplace marginals of latents as functions of theta.

Following them takes longer than all else at one theta. In units of the mode and sd at each theta the shape of a
marginal changes slowly with theta: log p~_j(t) - log p~_j(0) at the distances of `copula` is followed at points of a
design around theta* and interpolated in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference.around_mode import FunctionsOfTheta
from pymc_inla.inference.copula import DEPTH, FEWEST, LEAST_SLOPE
from pymc_inla.inference.hyper_mode import ThetaMode


@dataclass(frozen=True)
class MarginalsOfTheta:
    """Points of Laplace marginals, interpolated in theta."""

    points: FunctionsOfTheta
    """One for each point of a marginal"""
    distances: dict[tuple[int, ...], tuple[tuple[float, ...], tuple[float, ...]]]
    """By the keys of `copula.chain`, where points are below and above the mode"""

    @classmethod
    def of(cls, mode: ThetaMode, thetas: np.ndarray, sides: list[dict[tuple[int, ...], tuple[list, list]]]):
        """From what was followed at some thetas (K, d), the first of them theta*: of each, `sides` of `copula.Copula`.

        A theta at which a side ends early that does not end early at theta* is left out.
        """
        known = {key: both for key, both in sides[0].items() if min(map(len, both)) >= FEWEST}
        whole = {key: [_is_whole(side) for side in both] for key, both in known.items()}
        usable = [
            all(
                len(at.get(key, ((), ()))[side]) >= FEWEST and _is_whole(at[key][side]) >= whole[key][side]
                for key in known
                for side in (0, 1)
            )
            for at in sides
        ]
        sides = [at for at, ok in zip(sides, usable, strict=True) if ok]
        distances, columns = {}, [np.zeros((len(sides), 0))]
        for key in known:
            farthest = [max((at[key][side] for at in sides), key=len) for side in (0, 1)]
            distances[key] = tuple(tuple(t for t, _ in points) for points in farthest)
            columns += [np.array([_extended(at[key][side], distances[key][side]) for at in sides]) for side in (0, 1)]
        return cls(FunctionsOfTheta.of(mode, thetas[usable], np.concatenate(columns, axis=1)), distances)

    def at(self, theta: np.ndarray) -> dict[tuple[int, ...], tuple[list, list]]:
        """`sides` of `copula.Copula` at one theta (d,); outside of the design those at its border."""
        values = iter(self.points.at(theta))
        sides = {key: [[(t, next(values)) for t in side] for side in both] for key, both in self.distances.items()}
        return {key: tuple(_until_negligible(side) for side in both) for key, both in sides.items()}


def _is_whole(points: list[tuple[float, float]]) -> bool:
    """Whether a side has been followed until little is left of it"""
    return bool(points) and points[-1][1] < -0.5 * DEPTH


def _extended(points: list[tuple[float, float]], distances: tuple[float, ...]) -> list[float]:
    """Values at all distances: those of the points, and beyond them, where next to nothing is left, on a line."""
    (t0, f0), (t1, f1) = [(0.0, 0.0), *points][-2:]
    slope = min((f1 - f0) / abs(t1 - t0), -LEAST_SLOPE)
    return [f for _, f in points] + [f1 + slope * abs(t - t1) for t in distances[len(points) :]]


def _until_negligible(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points up to the first one that a marginal is not followed beyond"""
    last = next((k for k, (_, f) in enumerate(points) if f < -DEPTH), len(points) - 1)
    return points[: last + 1]
