"""Whether the nodes of a fit reach the tails of the local latents.

Nodes are scaled by the curvature at the mode. A conditional posterior that falls like a Student t has variance where
none of them are, which shows neither in the density of theta nor in a rule of the same kind with more nodes. At theta*
and x_S* means and variances of the local latents are therefore compared with those by a rule that is finer and reaches
hundreds or thousands of modal sd (see `node_rules.reference_rule`); of large models in some of the blocks.
"""

from __future__ import annotations

import numpy as np

from pymc_inla.inference.local_posterior import joined, portions
from pymc_inla.inference.node_rules import Rule, reference_rule
from pymc_inla.inference.observation_order import select_observations
from pymc_inla.linalg import node_sums

REFERENCE = {1: 255, 2: 63, 3: 21}
"""Nodes per dimension of what is compared with, by the dimension of the blocks"""
WORK = 2e6
"""Nodes times linear predictors up to which all blocks are looked at; beyond that evenly spaced ones"""
WORK_OF_ALL = 2e7
"""The same where observations cannot be picked; beyond that nothing is looked at"""
WORK_OF_FIT = 3e5
"""The same up to which a whole fit with nodes that reach far is affordable"""


class LocalTails:
    """Moments of local latents given x_S* and theta* by several rules.

    Parameters
    ----------
    point : QuadraturePoint
    sd : (n_x,) array
        Of the latents given theta, x_S integrated out: the unit of all differences.
    """

    def __init__(self, point, sd: np.ndarray):
        integral, B, f = point.integral, point.approximation.blocks, point.approximation.functions
        c, K, part = integral.conditional, REFERENCE[B.b] ** B.b, B.whole
        self.theta, self.functions, self.b = point.theta, f, B.b
        rows, blocks, row_block, obs_block = slice(None), np.arange(B.G), part.row_block, part.obs_block
        work, whole = K * f.n_eta, f.only is None
        if work > WORK and not whole:
            blocks = blocks[:: int(np.ceil(work / WORK))]
            number = np.full(B.G + 1, -1)
            number[blocks] = np.arange(len(blocks))
            rows = np.flatnonzero(number[row_block] >= 0)
            row_block = obs_block = number[row_block[rows]]
            self.functions = select_observations(f, rows)
        elif work > WORK_OF_ALL:
            blocks = blocks[:0]
        self.G, self.row_block, self.obs_block = len(blocks), row_block, obs_block
        self.a, self.z = c.whole.a[rows], c.whole.of_shared(integral.x_S)[rows]
        self.Q, self.linear = c.Q_gg[blocks], c.b_L.reshape(B.G, B.b)[blocks]
        self.mode = integral.mode_u[blocks]
        self.root = joined(integral.parts, lambda part: part.mode.root)[blocks]
        self.variance = sd[B.local[blocks]] ** 2
        self.rule = point.approximation.rule
        if self.G:
            self.reference = self._moments(reference_rule(REFERENCE[B.b], B.b))
            self.own = self._moments(self.rule)

    def missed(self, rule: Rule) -> float:
        """Largest error of a mean, in sd, or of a sd, relative, by this rule."""
        if not self.G:
            return 0.0
        mean, variance = self.own if rule is self.rule else self._moments(rule)
        exact_mean, exact_variance = self.reference
        of_shared = self.variance - self.own[1]  # what x_S adds, by any rule
        total = of_shared + exact_variance
        with np.errstate(all="ignore"):
            shift = np.abs(exact_mean - mean) / np.sqrt(total)
            change = np.abs(np.sqrt((of_shared + variance) / total) - 1.0)
        return float(np.max(np.nan_to_num(np.maximum(shift, change), nan=0.0), initial=0.0))

    def _moments(self, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
        """Means and variances, (G, b)"""
        height = np.concatenate([self._heights(rule.t[at]) for at in portions(0, len(rule.t), len(self.z))])
        height += rule.log_weights[:, None]
        p = np.exp(height - height.max(axis=0))
        p /= p.sum(axis=0)
        # moments of t first: far nodes without weight are many
        mean = p.T @ rule.t
        second = np.einsum("kg,kc,kd->gcd", p, rule.t, rule.t, optimize=True) - mean[:, :, None] * mean[:, None, :]
        covariance = self.root @ second @ np.swapaxes(self.root, 1, 2)
        return self.mode + np.einsum("gcd,gd->gc", self.root, mean), np.einsum("gcc->gc", covariance)

    def _heights(self, t: np.ndarray) -> np.ndarray:
        """Log joint density of the blocks at nodes (K, b), (K, G)"""
        u = self.mode + np.einsum("gcd,kd->kgc", self.root, t)
        inside = np.minimum(self.row_block, self.G - 1)  # a is zero in rows of no block
        eta = self.z + np.einsum("rc,krc->kr", self.a, u[:, inside])
        height = np.einsum("kgc,kgc->kg", u, self.linear - 0.5 * np.einsum("gcd,kgd->kgc", self.Q, u))
        with np.errstate(all="ignore"):
            values = self.functions.log_likelihood_values(eta, self.theta)
        with np.errstate(invalid="ignore"):
            node_sums.add_rows(self.obs_block, values, height)
        # far nodes may lie where a density cannot be computed, and divides by zero
        height[~(height < np.inf)] = -np.inf
        return height


def enough_nodes(point, sd: np.ndarray, tolerance: float):
    """The approximation of a point, or the first one with more nodes or with nodes that reach farther whose moments of
    the local latents are right to the tolerance, as far as that is affordable; and what is missed by it.

    Parameters
    ----------
    point : QuadraturePoint
    sd : (n_x,) array
        Of the latents given theta

    Returns
    -------
    (QuadratureInner, float)
    """
    tails, inner = LocalTails(point, sd), point.approximation
    missed = tails.missed(inner.rule)
    best = inner, missed
    for other in _others(inner):
        if best[1] < tolerance:
            break
        missed = tails.missed(other.rule)
        if missed < min(tolerance, best[1]) or missed < 0.5 * best[1]:
            best = other, missed
    return best


def _others(inner):
    """More nodes, then wider ones"""
    while not inner.wide and inner.k < inner.max_k:
        inner = inner.next()
        yield inner
    while (wider := inner.wider()) is not None and wider.k**wider.blocks.b * wider.functions.n_eta <= WORK_OF_FIT:
        inner = wider
        yield inner
