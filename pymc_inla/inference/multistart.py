"""Modes of p(x | theta, y) away from the one that the inner approximation is made around, found from scattered starts.

Where a log-likelihood is not concave (Student t, mixtures, a mean that is cut off at a bound) the posterior of few
latents can have several modes, two lines through crossing data for example, of which Newton's method finds one and no
importance weight sees the others.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

REACHES, EACH = (3.0, 10.0, 30.0, 100.0), 4
"""Spreads of the starts around the mode, in posterior sd of every latent, and how many starts there are of each"""
APART = 0.5
"""Posterior sd between two modes, in one latent at least"""
LARGEST = 5000
"""Latents and linear predictors together up to which modes are looked for"""


def mass_elsewhere(inner, theta: np.ndarray) -> float:
    """Share of p(x | theta, y) in other modes than that of the inner approximation at one theta, by their heights and
    widths (Laplace). Local latents integrated by quadrature count as integrated."""
    f = inner.functions
    if f.gaussian or f.n_x == 0 or f.n_x + f.n_eta > LARGEST:
        return 0.0
    inner = inner.with_copula(())
    point = inner.evaluate(theta, gradient=False)
    if not np.isfinite(point.log_posterior):
        return 0.0
    x, sd = point.x_star, point.moments().sd
    moved = np.zeros(f.n_x)
    moved[inner.blocks.shared if hasattr(inner, "blocks") else slice(None)] = 1.0
    rng = np.random.default_rng(0)
    starts = [x + reach * sd * moved * rng.standard_normal(f.n_x) for reach in REACHES for _ in range(EACH)]
    if _is_concave(f, theta, [x, *starts]):
        return 0.0
    modes, heights = [x], [point.log_posterior]
    for start in starts:
        found = inner.evaluate(theta, SimpleNamespace(x_star=start), gradient=False)
        distance = [np.max(moved * np.abs(found.x_star - mode) / np.where(sd > 0, sd, np.inf)) for mode in modes]
        if found.status.ok and np.isfinite(found.log_posterior) and min(distance) > APART:
            modes.append(found.x_star)
            heights.append(found.log_posterior)
    heights = np.array(heights)
    return float(1.0 - np.exp(heights[0] - np.logaddexp.reduce(heights)))


def highest_start(inner, theta: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    """That of several starts (n_x,) of the inner search from which it ends highest; they are worth a search each only
    where they differ and the posterior of the latents is not normal."""
    starts = list({start.tobytes(): start for start in starts}.values())
    if len(starts) == 1 or inner.functions.gaussian or inner.functions.n_x > LARGEST:
        return starts[0]
    found = [inner.evaluate(theta, SimpleNamespace(x_star=start), gradient=False) for start in starts]
    return starts[int(np.argmax([point.log_posterior if point.status.ok else -np.inf for point in found]))]


def _is_concave(f, theta: np.ndarray, xs: list[np.ndarray]) -> bool:
    """Whether the log-likelihood seems to be: no negative curvature at any of several x, and no chord between two of
    them above the curve."""
    design = f.design(theta)
    A = f.A_pattern.to_matrix(design.A)
    etas = [design.offset + A @ x for x in xs]
    with np.errstate(all="ignore"):
        likelihoods = [f.log_likelihood(eta, theta) for eta in etas]
        for i, j in pairwise(range(len(xs))):
            middle = f.log_likelihood(0.5 * (etas[i] + etas[j]), theta).value
            chord = 0.5 * (likelihoods[i].value + likelihoods[j].value)
            if np.any(middle < chord - 1e-6 * (1.0 + np.abs(chord))):
                return False
        return all(likelihood.W.min(initial=0.0) >= 0 for likelihood in likelihoods)
