"""Exact posteriors of models with one local effect per group, by brute force and with nothing from the package.

    y_i ~ family(eta_i),  eta_i = x_i'b + u_{g(i)} [+ v_{h(i)}],  u ~ N(0, sigma^2), v ~ N(0, sigma_v^2),
    b_j ~ N(0, scale_b^2),  sigma, sigma_v, noise ~ half-normal

Every u_g is integrated by adaptive Gauss-Hermite with 61 nodes; what is left (b, the logarithms of the scales, a
crossed v) is sampled by importance sampling with quasi-random points from a mixture of Student t densities fitted to
the exact target. Marginals of the effects are mixtures of their exact conditional distribution functions, so that only
the few shared parameters carry Monte Carlo error (about 0.5 / sqrt(ess)). Where groups lie in larger groups,
`references/make_nested.py` integrates both.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, special, stats

PROBABILITIES = np.concatenate([[0.001, 0.0025], np.arange(1, 200) / 200, [0.9975, 0.999]])
MAX_CELLS = 4_000_000


@dataclass(frozen=True)
class Problem:
    """Data and prior scales. Levels of `group` and `other` are 0, 1, ... without gaps; rows are sorted by group."""

    family: str
    y: np.ndarray
    X: np.ndarray
    group: np.ndarray
    trials: np.ndarray | None = None
    other: np.ndarray | None = None
    """larger groups: nested when every group lies in one of them, crossed otherwise"""
    scale_b: float = 2.0
    scale_sigma: float = 2.0
    scale_v: float = 1.0
    scale_noise: float = 1.0
    starts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self):
        if np.any(np.diff(self.group) < 0):
            raise ValueError("sort the rows by group")
        object.__setattr__(self, "starts", np.flatnonzero(np.diff(self.group, prepend=-1)))

    @property
    def G(self):
        return int(self.group.max()) + 1

    @property
    def J(self):
        return 0 if self.other is None else int(self.other.max()) + 1

    @property
    def nested(self):
        return self.other is not None and np.all(self.other == self.other[self.starts][self.group])

    def log_likelihood(self, eta, noise):
        """Value and first two derivatives in eta (..., n); noise (..., 1)."""
        y = self.y
        if self.family in ("bernoulli", "binomial"):
            m = 1.0 if self.trials is None else self.trials
            p = special.expit(eta)
            constant = 0.0 if self.trials is None else np.log(special.comb(m, y))
            # log(1 - p) = -max(eta, 0) - log(1 + exp(-|eta|))
            value = y * eta - m * (np.maximum(eta, 0.0) + np.log1p(np.exp(-np.abs(eta)))) + constant
            return value, y - m * p, -m * p * (1 - p)
        if self.family == "poisson":
            mean = np.exp(np.minimum(eta, 300.0))
            return y * eta - mean - special.gammaln(y + 1), y - mean, -mean
        r = (y - eta) / noise
        return -0.5 * r**2 - np.log(noise) - 0.5 * np.log(2 * np.pi), r / noise, -1 / noise**2 + 0 * eta


def _sum(problem, rows):
    """Sums over the rows of each group along the last axis."""
    return np.add.reduceat(rows, problem.starts, axis=-1)


def conditional_moments(problem, z, sigma, noise, k=61):
    """log I_g, mean and sd of u_g given eta without u. z (S, n), sigma and noise (S, 1); each result (S, G)."""
    t, w = np.polynomial.hermite_e.hermegauss(k)
    log_w = np.log(w) + 0.5 * t**2
    parts = []
    for rows in np.array_split(np.arange(len(z)), max(1, z.size * k // MAX_CELLS)):
        parts.append(_conditional_moments(problem, z[rows], sigma[rows], noise[rows], t, log_w))
    return tuple(np.concatenate(p) for p in zip(*parts, strict=True))


def _conditional_moments(problem, z, sigma, noise, t, log_w):
    g = problem.group
    u = np.zeros((len(z), problem.G))
    for _ in range(60):
        _, d1, d2 = problem.log_likelihood(z + u[:, g], noise)
        curvature = 1 / sigma**2 - _sum(problem, d2)
        step = (_sum(problem, d1) - u / sigma**2) / curvature
        u = u + np.clip(step, -1.5, 1.5)
        if np.max(np.abs(step) * np.sqrt(curvature)) < 1e-6:
            break
    root = 1 / np.sqrt(curvature)
    nodes = u + root * t[:, None, None]
    value = np.empty_like(nodes)
    for k in range(len(t)):
        value[k] = _sum(problem, problem.log_likelihood(z + nodes[k][:, g], noise)[0])
    value += -0.5 * (nodes / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi) + log_w[:, None, None]
    top = value.max(0)
    weight = np.exp(value - top)
    total = weight.sum(0)
    mean = (weight * nodes).sum(0) / total
    sd = np.sqrt((weight * (nodes - mean) ** 2).sum(0) / total)
    return top + np.log(total) + np.log(root), mean, sd


def _unpack(problem, psi):
    """b, sigma, sigma_v, noise (each (S, .)), crossed v, and the log prior with the Jacobians of the logarithms."""
    p = problem.X.shape[1]
    b, at = psi[:, :p], p
    log_prior = stats.norm.logpdf(b, 0, problem.scale_b).sum(1)

    def scale(prior_scale):
        nonlocal at, log_prior
        logs = psi[:, at : at + 1]
        log_prior = log_prior + (stats.halfnorm.logpdf(np.exp(logs), scale=prior_scale) + logs)[:, 0]
        at += 1
        return np.exp(logs)

    ones = np.ones((len(psi), 1))
    sigma = scale(problem.scale_sigma)
    sigma_v = scale(problem.scale_v) if problem.J else ones
    noise = scale(problem.scale_noise) if problem.family == "normal" else ones
    v = None
    if problem.J and not problem.nested:
        v = psi[:, at:] * sigma_v
        log_prior = log_prior + stats.norm.logpdf(psi[:, at:]).sum(1)
    return b, sigma, sigma_v, noise, v, log_prior


def dimension(problem):
    """Number of parameters that are sampled."""
    crossed = problem.J if problem.J and not problem.nested else 0
    return problem.X.shape[1] + 1 + (problem.J > 0) + (problem.family == "normal") + crossed


def log_target(problem, psi):
    """log p(y, psi), (S,)

    Raises
    ------
    ValueError
        If groups lie in larger groups: `references/make_nested.py` integrates those.
    """
    if problem.nested:
        raise ValueError("references/make_nested.py has the target of nested groups")
    b, sigma, _, noise, v, log_prior = _unpack(problem, psi)
    z = b @ problem.X.T
    if v is not None:
        z = z + v[:, problem.other]
    return log_prior + conditional_moments(problem, z, sigma, noise)[0].sum(1)


@dataclass(frozen=True)
class Mixture:
    """Equally weighted Student t densities (5 degrees of freedom) of one shape, and a wide one with weight 0.3."""

    centers: np.ndarray
    root: np.ndarray
    mean: np.ndarray
    wide: np.ndarray

    def sample(self, m, seed):
        d = len(self.mean)
        u = stats.qmc.Sobol(d + 2, scramble=True, rng=np.random.default_rng(seed)).random(m)
        u = np.clip(u, 1e-12, 1 - 1e-12)
        normal = special.ndtri(u[:, :d]) / np.sqrt(stats.chi2.ppf(u[:, d : d + 1], 5) / 5)
        which = u[:, d + 1]
        picked = np.minimum((which - 0.3) / 0.7 * len(self.centers), len(self.centers) - 1).astype(int)
        narrow = self.centers[np.maximum(picked, 0)] + normal @ self.root.T
        return np.where((which < 0.3)[:, None], self.mean + normal @ self.wide.T, narrow)

    def log_density(self, x):
        wide = stats.multivariate_t(self.mean, self.wide @ self.wide.T, df=5)
        narrow = stats.multivariate_t(np.zeros(len(self.mean)), self.root @ self.root.T, df=5)
        parts = np.array([narrow.logpdf(x - c).reshape(-1) for c in self.centers])
        log_narrow = special.logsumexp(parts, axis=0) - np.log(len(self.centers))
        return np.logaddexp(np.log(0.3) + wide.logpdf(x).reshape(-1), np.log(0.7) + log_narrow)


def _weights(log_ratio):
    w = np.exp(log_ratio - log_ratio.max())
    return w / w.sum()


def _mode_and_root(target, d):
    """Mode of the target and a root of its inverse negative Hessian, searched in coordinates of unit scale."""
    center, root = np.zeros(d), np.eye(d)

    def along(z):
        return target(center + np.atleast_2d(z) @ root.T)

    for _ in range(4):
        step = optimize.minimize(lambda z: -along(z)[0], np.zeros(d), method="BFGS", options={"gtol": 1e-3}).x
        center = center + root @ step
        scale = np.ones(d)
        for j, axis in enumerate(np.eye(d)):
            for _ in range(40):
                drop = along(0 * axis)[0] - along(np.array([axis, -axis]) * scale[j]).mean()
                if 0.2 < drop < 2.0:
                    break
                scale[j] *= 0.5 if drop >= 2.0 else 1.7
        root = root * scale
        e = np.eye(d)
        top = along(np.zeros(d))[0]
        H = np.empty((d, d))
        for i in range(d):
            for j in range(d):
                f = along(np.array([e[i] + e[j], e[i] - e[j], e[j] - e[i], -e[i] - e[j]]) * 0.5)
                H[i, j] = -(f[0] - f[1] - f[2] + f[3]) if i != j else -(f[0] - 2 * top + f[3])
        values, vectors = np.linalg.eigh(0.5 * (H + H.T))
        root = root @ vectors / np.sqrt(np.maximum(values, 0.05))
    return center, root


def sample_shared(problem, n=16384, pilot=1024, seed=1, target=None):
    """Weighted sample of the shared parameters: psi (n, d), weights (n,), ess, log evidence.

    `target` stands for `log_target`, where it can be computed faster.
    """
    d = dimension(problem)
    target = target or (lambda psi: log_target(problem, psi))
    center, root = _mode_and_root(target, d)
    proposal = Mixture(center[None], root, center, 2.0 * root)
    for r in range(5):
        m = pilot if r < 4 else n
        psi = proposal.sample(m, seed + r)
        log_ratio = target(psi) - proposal.log_density(psi)
        w = _weights(log_ratio)
        if r == 4:
            break
        mean = w @ psi
        covariance = ((psi - mean) * w[:, None]).T @ (psi - mean) + 1e-6 * np.eye(d)
        u = (np.arange(100) + 0.5) / 100
        centers = psi[np.searchsorted(np.cumsum(w), u)]
        root = np.linalg.cholesky(covariance)
        proposal = Mixture(centers, 0.6 * root, mean, 1.2 * root)
    evidence = float(special.logsumexp(log_ratio) - np.log(len(log_ratio)))
    return psi, w, float(1 / np.sum(w**2)), evidence


def weighted_quantiles(values, weights):
    """Quantiles at PROBABILITIES."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(PROBABILITIES, cumulative, values[order])


def exact_posterior(problem, n=16384, n_effects=2000, seed=1):
    """Quantiles, mean and sd of every scalar.

    Returns
    -------
    dict
        "scalars": name -> {"quantiles", "mean", "sd"}; "ess" of the shared parameters; "log_evidence".
    """
    psi, w, ess, evidence = sample_shared(problem, n, seed=seed)
    p = problem.X.shape[1]
    b, sigma, sigma_v, noise, v, _ = _unpack(problem, psi)
    columns = {f"b[{j}]": b[:, j] for j in range(p)} | {"sigma": sigma[:, 0]}
    if problem.J:
        columns["sigma_v"] = sigma_v[:, 0]
    if problem.family == "normal":
        columns["noise"] = noise[:, 0]
    if v is not None:
        columns |= {f"v[{j}]": v[:, j] for j in range(problem.J)}
    scalars = {}
    for name, values in columns.items():
        mean = w @ values
        scalars[name] = {
            "quantiles": weighted_quantiles(values, w),
            "mean": mean,
            "sd": np.sqrt(w @ (values - mean) ** 2),
        }
    # effects: resampled shared parameters, each with the exact conditional distribution of the effects
    picked = np.searchsorted(np.cumsum(w), (np.arange(n_effects) + 0.5) / n_effects)
    picked = np.minimum(picked, n - 1)
    b, sigma, sigma_v, noise, v, _ = _unpack(problem, psi[picked])
    z = b @ problem.X.T
    if v is not None:
        z = z + v[:, problem.other]
    return {"scalars": scalars | _effects(problem, z, sigma, noise), "ess": ess, "log_evidence": evidence}


def _of_draws(x):
    return {"quantiles": np.quantile(x, PROBABILITIES), "mean": x.mean(), "sd": x.std()}


def _effects(problem, z, sigma, noise, m=241):
    """Marginals of u: averages of the conditional distribution functions."""
    _, mean, sd = conditional_moments(problem, z, sigma, noise)
    overall = mean.mean(0)
    spread = np.sqrt((sd**2 + (mean - overall) ** 2).mean(0))
    grid = overall + spread * np.linspace(-10, 10, 1001)[:, None]
    cdf = np.zeros_like(grid)
    t = np.linspace(-9, 9, m)
    for s in range(len(z)):
        u = mean[s] + sd[s] * t[:, None]
        f = _sum(problem, problem.log_likelihood(z[s] + u[:, problem.group], noise[s])[0]) - 0.5 * (u / sigma[s]) ** 2
        f = np.exp(f - f.max(0))
        # trapezoidal: exact to all digits for smooth densities that vanish at both ends
        part = np.vstack([np.zeros(problem.G), np.cumsum(0.5 * (f[1:] + f[:-1]), axis=0)])
        for g in range(problem.G):
            cdf[:, g] += np.interp(grid[:, g], u[:, g], part[:, g] / part[-1, g])
    cdf /= len(z)
    out = {}
    for g in range(problem.G):
        rising = np.concatenate([[True], np.diff(cdf[:, g]) > 0])
        out[f"u[{g}]"] = {
            "quantiles": np.interp(PROBABILITIES, cdf[rising, g], grid[rising, g]),
            "mean": overall[g],
            "sd": spread[g],
        }
    return out


def kolmogorov_distance(draws, quantiles):
    """Distance of draws to a distribution known by its quantiles at PROBABILITIES (which hides at most 0.005)."""
    draws = np.sort(np.ravel(draws))
    cdf = np.searchsorted(draws, quantiles, side="right") / len(draws)
    return float(np.max(np.abs(cdf - PROBABILITIES)))
