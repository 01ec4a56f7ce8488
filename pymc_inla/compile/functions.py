"""LatentGaussianModel to LGMFunctions: priors, design and likelihood as callables on fixed sparsity patterns.

Patterns come from the exact interpretation of the graphs (`affine`) at a generic theta. Entries at other values of
theta come from products with seed vectors (`coloring`), and their gradients from automatic differentiation of those
products.
"""

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.transforms import IntervalTransform, LogOddsTransform, LogTransform
from pytensor.graph.traversal import ancestors
from scipy import sparse

from pymc_inla.compile.affine import AffineExpression
from pymc_inla.compile.coloring import color_matrix, color_symmetric
from pymc_inla.compile.hyperprior import LogPriorTheta, stacked_gradient
from pymc_inla.compile.identifiability import check_identified
from pymc_inla.compile.likelihood import compile_likelihood
from pymc_inla.compile.mode import compile_function, split_theta, split_x, stabilize
from pymc_inla.errors import UnsupportedModelError
from pymc_inla.lgm import Design, LatentGaussianModel, LGMFunctions, Pattern, Prior
from pymc_inla.theta_space import ThetaSpace

THETA_RANGE = 20.0
"""Search range of a transformed hyperparameter around its start: exp(20) spans every scale that double precision can
tell from zero or infinity in a variance"""
WIDTH, DEPTH, WIDEST = 0.5, 30.0, 1e9
"""Falls of the log prior from the start of a hyperparameter on the real line, which has units: it is searched up to
THETA_RANGE times as far as the first one is, and at least as far as the second; and where a flat prior ends that"""
LOOKED_AT, INTERVALS = 5.0, 32
"""Where jumps are looked for: so far on both sides of the start, and between so many points"""


def compile_model(lgm: LatentGaussianModel, *, compile_kwargs=None, families: bool = True) -> LGMFunctions:
    """Callables for one latent Gaussian model.

    Parameters
    ----------
    compile_kwargs : dict, optional
        Passed to `pytensor.function`.
    families : bool
        Use closed forms of common likelihoods; they agree with the generic path.

    Returns
    -------
    LGMFunctions
        The entries of eta are ordered by likelihood term, then by observation within the first predictor, then the
        second predictor, and so on.
    """
    theta_initial = (
        np.concatenate([np.ravel(h.initial) for h in lgm.hyperparameters]) if lgm.hyperparameters else (np.zeros(0))
    )
    # at generic values no entry vanishes by coincidence; two of them, for entries that are zero in a region
    rng = np.random.default_rng(0)
    generic = [theta_initial + scale * rng.uniform(0.5, 1.0, len(theta_initial)) for scale in (0.1, -0.5)]
    prior = _LatentPrior(lgm, generic, compile_kwargs)
    design = _LinearPredictors(lgm, generic, compile_kwargs)
    likelihood = compile_likelihood(lgm, compile_kwargs=compile_kwargs, families=families)
    log_prior_theta = LogPriorTheta(lgm, lgm.log_prior_theta, compile_kwargs)
    reach = _search_range(lgm, log_prior_theta, theta_initial)
    functions = LGMFunctions(
        n_theta=len(theta_initial),
        theta_initial=theta_initial,
        log_prior_theta=log_prior_theta,
        Q_pattern=prior.pattern,
        prior=prior,
        prior_vjp=prior.vjp,
        A_pattern=design.pattern,
        design=design,
        design_vjp=design.vjp if design.varies else None,
        n_obs=likelihood.n_obs,
        observation=likelihood.observation,
        W_rows=likelihood.W_rows,
        W_cols=likelihood.W_cols,
        log_likelihood=likelihood,
        log_likelihood_vjp=likelihood.vjp,
        log_likelihood_batch=likelihood.values,
        many=True,
        gaussian=likelihood.gaussian,
        C=lgm.C,
        e=lgm.e,
        space=ThetaSpace(
            theta_initial - reach,
            theta_initial + reach,
            names=tuple(element_name(h, i) for h in lgm.hyperparameters for i in np.ndindex(h.shape)),
            links=tuple(link for h in lgm.hyperparameters for link in [_link(lgm, h)] * h.size),
            x_shapes=tuple(latent.shape for latent in lgm.latents),
        ),
        cdf=likelihood.cdf if likelihood.has_cdf else None,
        likelihood_varies=likelihood.varies,
        only=likelihood.only if likelihood.divisible else None,
    )
    check_identified(lgm, functions)
    return functions


def element_name(hyperparameter, index: tuple[int, ...]) -> str:
    """ "sigma" or "sigma[1, 2]", in the positions of the unconstrained value."""
    return f"{hyperparameter.name}[{', '.join(map(str, index))}]" if index else hyperparameter.name


def _transform(lgm, hyperparameter):
    return {rv.name: transform for rv, transform in lgm.model.rvs_to_transforms.items()}.get(hyperparameter.name)


def _link(lgm, hyperparameter) -> str:
    """Which function of what is reported every element of a hyperparameter is, see `ThetaSpace`."""
    transform = _transform(lgm, hyperparameter)
    if isinstance(transform, LogTransform):
        return "log"
    if isinstance(transform, LogOddsTransform):
        return "logit"
    if isinstance(transform, IntervalTransform):
        (rv,) = [rv for rv in lgm.model.rvs_to_transforms if rv.name == hyperparameter.name]
        return ("identity", "log", "logit")[sum(bound is not None for bound in transform.args_fn(*rv.owner.inputs))]
    return "identity"


def _search_range(lgm, log_prior_theta, start) -> np.ndarray:
    """Distance from the start up to which every element of theta is searched, (n_theta,)."""
    reach = np.full(len(start), THETA_RANGE)
    on_real_line = np.concatenate(
        [np.full(h.size, _transform(lgm, h) is None) for h in lgm.hyperparameters] or [np.zeros(0, bool)]
    )
    if not on_real_line.any():
        return reach
    at_start = log_prior_theta(start)[0]

    def distance(axis, fall: float) -> float:
        """At which the log prior has fallen by so much on both sides, up to a factor of two"""
        t = 1.0
        while t < WIDEST and any(log_prior_theta(start + side * t * axis)[0] > at_start - fall for side in (1, -1)):
            t *= 2.0
        return t

    for j in np.flatnonzero(on_real_line):
        axis = (np.arange(len(start)) == j).astype(float)
        reach[j] = max(THETA_RANGE * min(distance(axis, WIDTH), WIDEST / THETA_RANGE), distance(axis, DEPTH))
    return reach


def _theta(lgm):
    return [h.variable for h in lgm.hyperparameters]


def depends_on_values(expression, variables) -> bool:
    """Whether an expression depends on variables other than through their shapes."""
    return not set(variables).isdisjoint(ancestors([expression]))


def _patterns_union(expression: AffineExpression, points, *, symmetric=False) -> Pattern:
    """Entries that A(theta) may have, as told at some points; `symmetric` adds their mirror and the diagonal."""
    total = 0
    for theta in points:
        A = expression.pattern(theta)
        ones = sparse.csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)
        total = total + (ones + ones.T if symmetric else ones)
    return Pattern.from_matrix(total + sparse.eye_array(total.shape[0], format="csr") if symmetric else total)


def _check_affine(what, pattern, entries, at_zero, f) -> None:
    """Refuse when f(x) is not f(0) + M x for the entries of M on the pattern.

    Raises
    ------
    UnsupportedModelError
    """
    x = np.random.default_rng(1).normal(size=pattern.shape[1])
    matrix, found = pattern.to_matrix(entries), f(x)
    scale = 1 + np.abs(at_zero) + abs(matrix) @ np.abs(x)
    gap = np.abs(at_zero + matrix @ x - found) / scale
    # rounding alone gives 1e-15 times the number of terms; where theta is extreme nothing is compared
    if np.any(gap[np.isfinite(gap)] > 1e-7):
        raise UnsupportedModelError(
            what,
            "it is not linear in the latent variables in the same way at every value of the hyperparameters "
            "(entries of its matrix come and go)",
            "Write it without switch, clip or maximum on the hyperparameters that multiply a latent variable.",
        )


def _check_continuous(f, start, names) -> None:
    """Refuse linear predictors f(theta) that jump along an axis of theta through the start.

    Of every predictor the interval with the largest change is halved, towards the half with the larger one: what is
    left of the change at the end is a jump.

    Raises
    ------
    UnsupportedModelError
    """
    for j, axis in enumerate(np.eye(len(start))):
        ends = np.linspace(-LOOKED_AT, LOOKED_AT, INTERVALS + 1)
        values = np.array([f(start + t * axis) for t in ends])
        with np.errstate(all="ignore"):
            changes = np.abs(np.diff(values, axis=0))
        for k in np.unique(np.nanargmax(np.where(np.isfinite(changes), changes, -1.0), axis=0)):
            low, high, left, right = ends[k], ends[k + 1], values[k], values[k + 1]
            while low < (middle := 0.5 * (low + high)) < high:
                between = f(start + middle * axis)
                with np.errstate(all="ignore"):
                    lower, upper = (np.nanmax(np.abs(between - end), initial=0.0) for end in (left, right))
                if lower > upper:
                    high, right = middle, between
                else:
                    low, left = middle, between
            with np.errstate(all="ignore"):
                jump = np.abs(right - left) > 1e-6 * (1 + np.minimum(np.abs(left), np.abs(right)))
            if np.any(jump):
                raise UnsupportedModelError(
                    "linear predictors",
                    f"they jump where {names[j]} crosses a bound, as at an unknown time of a change, and so does the "
                    "posterior density of this hyperparameter, which no integration over it follows",
                    "Write a change that takes some time, pm.math.invlogit((t - change) / 0.1), or sample this model "
                    "with pm.sample.",
                )


class _SeededMatrix:
    """The entries of M(theta) on a fixed pattern, where f(x, theta) = f(0, theta) + M x."""

    def __init__(self, pattern: Pattern, latents, *, symmetric: bool = False):
        self.pattern = pattern
        coloring = (color_symmetric if symmetric else color_matrix)(pattern, [(v.start, v.stop) for v in latents])
        self.seeds, self.color_of_entry, self.rows = coloring.seeds, coloring.color, coloring.row

    def entries(self, f, origin):
        """(nnz,) from one evaluation of f per color."""
        values = np.empty(self.pattern.nnz)
        for c, seed in enumerate(self.seeds):
            at = self.color_of_entry == c
            values[at] = (f(seed) - origin)[self.rows[at]]
        return values

    def cotangents(self, bar):
        """Cotangent vector (m,) of M seed for each color."""
        for c, seed in enumerate(self.seeds):
            at = self.color_of_entry == c
            yield seed, np.bincount(self.rows[at], bar[at], self.pattern.shape[0])


class _LatentPrior:
    """log p(x | theta) = c + b'x - x'Qx/2."""

    def __init__(self, lgm, generic, compile_kwargs):
        self.lgm = lgm
        x = [v.variable for v in lgm.latents]
        theta = _theta(lgm)
        value = stabilize(lgm.log_prior_x)
        gradient = stacked_gradient(value, x)
        expression = AffineExpression(gradient, lgm.latents, lgm.hyperparameters)
        self.pattern = _patterns_union(expression, generic if theta else generic[:1], symmetric=True)
        n = self.pattern.shape[0]
        self._matrix = _SeededMatrix(self.pattern, lgm.latents, symmetric=True)
        self._function = compile_function([*theta, *x], [value, gradient], size=n, compile_kwargs=compile_kwargs)
        w = pt.vector("w", dtype="float64")
        s = pt.scalar("s", dtype="float64")
        product = pt.dot(w, gradient) + s * value
        self._vjp = compile_function(
            [*theta, *x, w, s], stacked_gradient(product, theta), size=n, compile_kwargs=compile_kwargs
        )
        if theta:
            third = 2 * generic[0] - generic[1]
            prior = self(third)
            _check_affine("log p(x | theta)", self.pattern, -prior.Q, prior.b, lambda x: self._at(third, x)[1])

    def _at(self, theta, x):
        with np.errstate(all="ignore"):
            value, gradient = self._function(
                *split_theta(theta, self.lgm.hyperparameters), *split_x(x, self.lgm.latents)
            )
        return float(value), np.asarray(gradient)

    def __call__(self, theta) -> Prior:
        zero = np.zeros(self.lgm.n_x)
        c, b = self._at(theta, zero)
        return Prior(-self._matrix.entries(lambda seed: self._at(theta, seed)[1], b), b, c)

    def vjp(self, theta, Q_bar, b_bar, c_bar) -> np.ndarray:
        values = split_theta(theta, self.lgm.hyperparameters)
        total = np.zeros(self.lgm.n_theta)
        at_origin = np.array(b_bar, float)

        def add(x, w, s):
            with np.errstate(all="ignore"):
                return self._vjp(*values, *split_x(x, self.lgm.latents), w, np.float64(s))

        for seed, cotangent in self._matrix.cotangents(Q_bar):
            total += add(seed, -cotangent, 0.0)
            at_origin += cotangent
        return total + add(np.zeros(self.lgm.n_x), at_origin, c_bar)


class _LinearPredictors:
    """eta = offset + A x."""

    def __init__(self, lgm, generic, compile_kwargs):
        self.lgm = lgm
        parts = [e.astype("float64") for term in lgm.terms for e in term.eta]
        eta = pt.concatenate(parts) if len(parts) > 1 else parts[0]
        theta, x = _theta(lgm), [v.variable for v in lgm.latents]
        expression = AffineExpression(eta, lgm.latents, lgm.hyperparameters)
        self.varies = bool(theta) and depends_on_values(eta, theta)
        if not self.varies:
            affine = expression(generic[0])
            A = affine.A
            A.sort_indices()
            self.pattern = Pattern.from_matrix(A)
            self._constant = Design(np.asarray(A.data, float), affine.offset.ravel())
            return
        self.pattern = _patterns_union(expression, generic)
        n = self.pattern.shape[0]
        self._matrix = _SeededMatrix(self.pattern, lgm.latents)
        self._function = compile_function([*theta, *x], eta, size=n, compile_kwargs=compile_kwargs)
        w = pt.vector("w", dtype="float64")
        self._vjp_function = compile_function(
            [*theta, *x, w], stacked_gradient(pt.dot(w, eta), theta), size=n, compile_kwargs=compile_kwargs
        )
        if expression.piecewise:
            x = np.random.default_rng(1).normal(size=lgm.n_x)
            names = [element_name(h, i) for h in lgm.hyperparameters for i in np.ndindex(h.shape)]
            _check_continuous(lambda theta: self._at(theta, x), generic[0], names)
        third = 2 * generic[0] - generic[1]
        design = self(third)
        _check_affine("linear predictors", self.pattern, design.A, design.offset, lambda x: self._at(third, x))

    def _at(self, theta, x):
        values = split_theta(theta, self.lgm.hyperparameters)
        return np.asarray(self._function(*values, *split_x(x, self.lgm.latents)))

    def __call__(self, theta) -> Design:
        if not self.varies:
            return self._constant
        offset = self._at(theta, np.zeros(self.lgm.n_x))
        return Design(self._matrix.entries(lambda seed: self._at(theta, seed), offset), offset)

    def vjp(self, theta, A_bar, offset_bar) -> np.ndarray:
        values = split_theta(theta, self.lgm.hyperparameters)
        total = np.zeros(self.lgm.n_theta)
        at_origin = np.array(offset_bar, float)
        for seed, cotangent in self._matrix.cotangents(A_bar):
            total += self._vjp_function(*values, *split_x(seed, self.lgm.latents), cotangent)
            at_origin -= cotangent
        return total + self._vjp_function(*values, *split_x(np.zeros(self.lgm.n_x), self.lgm.latents), at_origin)
