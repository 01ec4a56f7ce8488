"""The latent Gaussian model as frozen data, first symbolic, then as functions of NumPy arrays.

A latent Gaussian model is

    theta ~ p(theta)                                  hyperparameters, unconstrained, shape (n_theta,)
    x | theta ~ N, log p(x | theta) = c + b'x - x'Qx/2    latent field, shape (n_x,), with C x = e
    eta = offset + A x                                linear predictors, shape (n_eta,)
    log p(y | eta, theta) = sum_i l_i(eta_[i], theta)    one term per observation, shape (n_obs,)

where every observation i sees only its own few entries of eta (one in most models, two or more in distributional
models), so that W = -d2 log p(y | eta, theta) / deta2 is diagonal or consists of small blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from pymc_inla.theta_space import ThetaSpace

if TYPE_CHECKING:
    import pymc as pm
    from pytensor.tensor import TensorVariable

# ---------------------------------------------------------------------------------------------------------------------
# Symbolic: what the analysis of a pm.Model returns
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Latent:
    """One variable of the model that is part of the latent field x."""

    name: str
    shape: tuple[int, ...]
    start: int
    """Position of its first element in x; elements are stacked in C order."""
    variable: TensorVariable
    """Symbolic input of shape `shape`, in the coordinates that the posterior group shows."""
    rule: str
    """The rule that recognized it, for people (for example "Normal with precision from sigma_u")."""
    null_space: sparse.csr_array | None = None
    """(size, q) directions that a flat or intrinsic prior leaves free; None: none"""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Hyperparameter:
    """One variable of the model that is part of theta, on its unconstrained scale."""

    name: str
    """Name of the random variable as the user wrote it."""
    shape: tuple[int, ...]
    """Shape of the unconstrained value."""
    start: int
    variable: TensorVariable
    """The value variable (unconstrained)."""
    initial: np.ndarray
    """Start value, unconstrained, shape `shape`."""
    prior: str
    """The prior in INLA's words where it has one, otherwise as PyMC writes it."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class LikelihoodTerm:
    """Elementwise log-likelihood of one observed variable or potential, all arrays flattened to (n_obs,) in C order."""

    name: str
    shape: tuple[int, ...]
    """Shape of the observed variable (the elements of its log-likelihood)."""
    predictors: tuple[TensorVariable, ...]
    """Placeholders, one float64 vector of shape (n_obs,) per linear predictor."""
    eta: tuple[TensorVariable, ...]
    """What each placeholder stands for: vectors (n_obs,), affine in the latents, in latent and theta variables."""
    logp: TensorVariable
    """Log-likelihood of each observation, (n_obs,), in the placeholders and theta variables."""
    distribution: TensorVariable | None = None
    """The observed random variable with its linear predictors replaced by the placeholders (reshaped), where it is a
    plain random variable: closed forms are recognized from it."""
    observed: np.ndarray | None = None
    """The data, shape `shape`."""


@dataclass(frozen=True)
class Explanation:
    """One row of `pmi.explain`."""

    variable: str
    role: str
    """latent, hyperparameter, linear predictor, likelihood, deterministic or data"""
    rule: str
    size: int
    prior: str = ""


@dataclass(frozen=True)
class LatentGaussianModel:
    """A PyMC model taken apart into the pieces of a latent Gaussian model. All expressions are in the variables of
    `latents` and `hyperparameters` only."""

    model: pm.Model
    """The user's model, unchanged."""
    latents: tuple[Latent, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    terms: tuple[LikelihoodTerm, ...]
    log_prior_x: TensorVariable
    """log p(x | theta), a scalar, quadratic in x. Under constraints: the density on the subspace C x = e, in
    orthonormal coordinates of it."""
    log_prior_theta: TensorVariable
    """log p(theta) with the Jacobians of the transforms, a scalar."""
    outputs: Mapping[str, TensorVariable]
    """Every variable of the posterior group (latents, hyperparameters on their natural scale, deterministics)."""
    C: sparse.csr_array
    """(k, n_x) hard constraints; k may be 0."""
    e: np.ndarray
    """(k,)"""
    explanations: tuple[Explanation, ...] = ()
    warnings: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    """Missing responses (free variables of the model that are neither latent nor hyperparameters), predicted after
    the fit."""

    @property
    def n_x(self) -> int:
        return sum(latent.size for latent in self.latents)

    @property
    def n_theta(self) -> int:
        return sum(h.size for h in self.hyperparameters)


# ---------------------------------------------------------------------------------------------------------------------
# Numerical: what the inference works on. It can be written by hand.
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """Sparsity pattern in CSR form with sorted, unique column indices. Values live in arrays of shape (nnz,)."""

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray

    @classmethod
    def from_matrix(cls, matrix) -> Pattern:
        """Pattern of the stored entries of a SciPy sparse matrix (explicit zeros count)."""
        csr = sparse.csr_array(matrix)
        csr.sort_indices()
        return cls(csr.shape, csr.indptr.astype(np.int64), csr.indices.astype(np.int64))

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @property
    def rows(self) -> np.ndarray:
        """Row of each stored entry, (nnz,)."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def to_matrix(self, data: np.ndarray) -> sparse.csr_array:
        """CSR matrix with these values."""
        return sparse.csr_array((data, self.indices, self.indptr), shape=self.shape)


@dataclass(frozen=True)
class Prior:
    """log p(x | theta) = c + b'x - x'Qx/2 at one theta."""

    Q: np.ndarray
    """(Q_pattern.nnz,)"""
    b: np.ndarray
    """(n_x,), equal to Q mu"""
    c: float


@dataclass(frozen=True)
class Design:
    """eta = offset + A x at one theta."""

    A: np.ndarray
    """(A_pattern.nnz,)"""
    offset: np.ndarray
    """(n_eta,)"""


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood at one (eta, theta) with derivatives in eta."""

    value: np.ndarray
    """(n_obs,)"""
    gradient: np.ndarray
    """(n_eta,), d/deta of the sum of `value`"""
    W: np.ndarray
    """(n_W,), negative second derivatives on (W_rows, W_cols)"""


@dataclass(frozen=True)
class LGMFunctions:
    """The latent Gaussian model as callables on fixed sparsity patterns.

    Functions ending in `_vjp` take cotangents shaped like the outputs of the function they belong to and return the
    gradient of <cotangent, output>.
    """

    n_theta: int
    theta_initial: np.ndarray
    log_prior_theta: Callable[[np.ndarray], tuple[float, np.ndarray]]
    """theta -> (log p(theta), gradient (n_theta,)); `values` of it takes many theta (m, n_theta) to (m,)"""

    Q_pattern: Pattern
    """(n_x, n_x), symmetric, both triangles, full diagonal stored"""
    prior: Callable[[np.ndarray], Prior]
    prior_vjp: Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]
    """(theta, Q_bar, b_bar, c_bar) -> (n_theta,)"""

    A_pattern: Pattern
    """(n_eta, n_x)"""
    design: Callable[[np.ndarray], Design]
    design_vjp: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None
    """(theta, A_bar, offset_bar) -> (n_theta,); None when neither A nor offset depends on theta"""

    n_obs: int
    observation: np.ndarray
    """(n_eta,) observation that each entry of eta belongs to"""
    W_rows: np.ndarray
    """(n_W,) the first n_eta entries are the diagonal; then pairs W_rows < W_cols within an observation"""
    W_cols: np.ndarray
    log_likelihood: Callable[[np.ndarray, np.ndarray], Likelihood]
    """(eta, theta) -> Likelihood"""
    log_likelihood_vjp: Callable[..., tuple[np.ndarray, np.ndarray]]
    """(eta, theta, value_bar (n_obs,), gradient_bar (n_eta,), W_bar (n_W,)) -> (eta_bar (n_eta,),
    theta_bar (n_theta,)). An off-diagonal entry of W counts once in <W_bar, W>."""
    gaussian: bool
    """Whether the log-likelihood is quadratic in eta, so that the Laplace approximation is exact given theta."""

    C: sparse.csr_array
    """(k, n_x) hard constraints C x = e; k may be 0"""
    e: np.ndarray
    log_likelihood_batch: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """(eta (m, n_eta), theta) -> (m, n_obs), values only; None: one row at a time"""
    many: bool = False
    """Whether `log_likelihood` and `log_likelihood_vjp` also take m linear predictors at once: eta, the cotangents and
    the results with a leading axis of m, except theta_bar, which is the sum over them"""
    space: ThetaSpace = field(default=None)
    """What the elements of theta and x are; None: theta may be anywhere"""
    cdf: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    """(eta, theta) -> (n_obs,) P(Y_i <= y_i | eta, theta), where it is known in closed form: gives the PIT"""
    likelihood_varies: bool = True
    """Whether the log-likelihood depends on theta other than through eta"""
    only: Callable[..., Any] | None = None
    """index (int array or slice) -> the likelihood of some observations in that order: an object called like
    `log_likelihood`, with vjp, values, cdf and only. None where the likelihood is one piece, or an observation has
    several predictors"""

    def __post_init__(self):
        if self.space is None:
            anywhere = np.full(self.n_theta, np.inf)
            object.__setattr__(self, "space", ThetaSpace(-anywhere, anywhere))

    def log_likelihood_values(self, eta: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Log-likelihood of many linear predictors: (m, n_eta) -> (m, n_obs)."""
        if self.log_likelihood_batch is not None:
            return self.log_likelihood_batch(eta, theta)
        return np.array([self.log_likelihood(row, theta).value for row in eta])

    def log_likelihood_many(self, eta: np.ndarray, theta: np.ndarray) -> Likelihood:
        """Log-likelihood with derivatives at many linear predictors (m, n_eta); every array has a leading axis of m."""
        if self.many:
            return self.log_likelihood(eta, theta)
        rows = [self.log_likelihood(row, theta) for row in eta]
        return Likelihood(*(np.array([getattr(r, name) for r in rows]) for name in ("value", "gradient", "W")))

    def log_likelihood_vjp_many(self, eta, theta, value_bar, gradient_bar, W_bar) -> tuple[np.ndarray, np.ndarray]:
        """Gradient of the sum over many linear predictors: eta_bar (m, n_eta) and theta_bar (n_theta,)."""
        if self.many:
            return self.log_likelihood_vjp(eta, theta, value_bar, gradient_bar, W_bar)
        bars = zip(eta, value_bar, gradient_bar, W_bar, strict=True)
        eta_bars, theta_bars = zip(*(self.log_likelihood_vjp(e, theta, *rest) for e, *rest in bars), strict=True)
        return np.array(eta_bars), np.sum(theta_bars, axis=0)

    @property
    def n_x(self) -> int:
        return self.A_pattern.shape[1]

    @property
    def n_eta(self) -> int:
        return self.A_pattern.shape[0]


# ---------------------------------------------------------------------------------------------------------------------
# What the inference returns
# ---------------------------------------------------------------------------------------------------------------------

QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)


@dataclass(frozen=True)
class Marginals:
    """Univariate posterior marginals of m scalars."""

    mean: np.ndarray
    """(m,)"""
    sd: np.ndarray
    quantiles: np.ndarray
    """(m, len(QUANTILES))"""
    mode: np.ndarray
    grid: np.ndarray | None
    """(m, G) increasing abscissae; None where m is too large for densities to be kept"""
    density: np.ndarray | None
    """(m, G)"""


@dataclass(frozen=True)
class Integration:
    """Nodes of the integral over theta."""

    method: str
    """"grid", "ccd", "importance", "eb" or "none" (no hyperparameters)"""
    points: np.ndarray
    """(K, n_theta), unconstrained"""
    weights: np.ndarray
    """(K,), sum to one: posterior mass that each point stands for"""
    log_density: np.ndarray
    """(K,), log of the normalized posterior density of theta at the points"""
    status: tuple[str, ...]
    """(K,) sentence for the inner optimization at each point"""


@dataclass(frozen=True)
class Criteria:
    """Model criteria as DESIGN 8.5 defines them; per-observation arrays are (n_obs,)."""

    dic: float
    dic_p_eff: float
    deviance_mean: float
    deviance_at_mean: float
    waic: float
    waic_p_eff: float
    log_cpo: np.ndarray
    pit: np.ndarray | None
    failure: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """How far the fit can be trusted, in numbers and words."""

    verdict: str
    """"good", "check" or "bad" """
    messages: tuple[str, ...]
    """What is wrong and what to do; empty when good"""
    numbers: Mapping[str, float]
    """For example inner_change, outer_change, k_hat"""


@dataclass(frozen=True)
class INLAResult:
    """Posterior of one latent Gaussian model."""

    strategy: str
    strategy_reason: str
    integration: Integration
    theta_star: np.ndarray
    theta_covariance: np.ndarray
    x_star: np.ndarray
    theta_marginals: Marginals
    """of unconstrained theta"""
    latent_marginals: Marginals
    """of x"""
    draws_theta: np.ndarray
    """(S, n_theta)"""
    draws_x: np.ndarray
    """(S, n_x)"""
    log_p: np.ndarray
    """(S,) log joint density log p(y, x, theta) of each draw"""
    log_q: np.ndarray
    """(S,) log density of each draw under the approximation it was drawn from"""
    log_marginal_likelihood: float
    log_marginal_likelihood_error: float
    criteria: Criteria | None
    reliability: Reliability
    counts: Mapping[str, int]
    """For example passes over the data, Newton iterations, evaluations of log p(theta | y)"""
    timings: Mapping[str, float]
    """Seconds per stage"""
    predictor_marginals: Marginals | None = None
    """of eta, where they were asked for"""
    details: Mapping[str, Any] = field(default_factory=dict)
