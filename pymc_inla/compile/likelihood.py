"""The log-likelihood of all terms with its derivatives in eta and theta.

Each term is elementwise in its predictors, so the gradient of the sum is the vector of first derivatives, and the
gradient of its sum the vector of second derivatives. Closed forms (`families`) replace the differentiated graph where
they exist.
"""

from contextlib import contextmanager
from threading import Lock

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import NullTypeGradError
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.utils import MethodNotDefined

from pymc_inla.compile.branches import leave_out_branches
from pymc_inla.compile.families import ClosedForm
from pymc_inla.compile.mode import compile_function, split_theta, stabilize
from pymc_inla.compile.recognize import recognize_family
from pymc_inla.errors import UnsupportedModelError
from pymc_inla.lgm import LatentGaussianModel, Likelihood


def compile_likelihood(lgm: LatentGaussianModel, *, compile_kwargs=None, families: bool = True) -> "StackedLikelihood":
    """The log-likelihood terms of a model, stacked."""
    terms = []
    for term in lgm.terms:
        closed = recognize_family(term, lgm.hyperparameters, compile_kwargs) if families else None
        if closed is None:
            closed = GenericTerm(term, lgm.hyperparameters, compile_kwargs)
            refuse_without_curvature(term.name, closed, lgm.hyperparameters)
        terms.append(closed)
    return StackedLikelihood(terms, lgm.n_theta)


def refuse_without_curvature(name, term, hyperparameters) -> None:
    """Refuse a log density made of straight lines with kinks between them, as that of the Laplace distribution.

    Its second derivative is zero wherever there is one, so that no Gaussian approximation describes it. A density that
    is one straight line, and adds a constant to the gradient, is none of these.

    Raises
    ------
    UnsupportedModelError
    """
    theta = np.concatenate([np.zeros(0), *(np.ravel(h.initial) for h in hyperparameters)])
    rng = np.random.default_rng(2)
    gradients = []
    # the kinks are where the data are
    for scale in (0.3, 1.0, 3.0, *10.0 ** np.arange(1, 9)):
        _, gradient, W = term.evaluate(scale * rng.normal(size=term.n * term.m), theta)
        if np.any(W != 0) or not np.all(np.isfinite(gradient)):
            return
        gradients.append(gradient)
    if np.ptp(gradients, axis=0).any():
        raise UnsupportedModelError(
            name,
            "its log density has kinks and no curvature in the linear predictor",
            "Use a smooth likelihood with heavy tails, such as pm.StudentT or pm.Logistic, or sample this model with "
            "pm.sample.",
        )


class StackedLikelihood:
    """Terms one after the other: eta holds term by term, and within a term predictor by predictor. Every array may
    have a leading axis of m linear predictors; theta_bar is summed over it."""

    def __init__(self, terms, n_theta):
        self.terms, self.n_theta = terms, n_theta
        self.n_obs = sum(t.n for t in terms)
        self.n_eta = sum(t.n * t.m for t in terms)
        observation, rows, cols = [], [], []
        obs_start = eta_start = 0
        self._slices = []
        for t in terms:
            index = np.arange(t.n)
            observation.append(np.tile(obs_start + index, t.m))
            for a in range(t.m):
                for b in range(a + 1, t.m):
                    rows.append(eta_start + a * t.n + index)
                    cols.append(eta_start + b * t.n + index)
            self._slices.append((slice(obs_start, obs_start + t.n), slice(eta_start, eta_start + t.n * t.m)))
            obs_start += t.n
            eta_start += t.n * t.m
        self.observation = np.concatenate(observation)
        diagonal = np.arange(self.n_eta)
        self.W_rows = np.concatenate([diagonal, *rows]).astype(np.int64)
        self.W_cols = np.concatenate([diagonal, *cols]).astype(np.int64)
        self.gaussian = all(t.gaussian for t in terms)

    @property
    def varies(self) -> bool:
        """Whether a term has parameters that may depend on theta"""
        return not all(isinstance(t, ClosedForm) and t.parameters is None for t in self.terms)

    @property
    def divisible(self) -> bool:
        """Whether `only` is available: one term, in closed form"""
        return len(self.terms) == 1 and isinstance(self.terms[0], ClosedForm)

    def only(self, index) -> "StackedLikelihood":
        """The likelihood of some observations, in the order of `index` (int array or slice)."""
        return StackedLikelihood([self.terms[0].only(index)], self.n_theta)

    def __call__(self, eta, theta) -> Likelihood:
        if len(self.terms) == 1 and self.terms[0].m == 1:
            return Likelihood(*self.terms[0].evaluate(eta, theta))
        values, gradients, diagonals, others = [], [], [], []
        for t, (_, at) in zip(self.terms, self._slices, strict=True):
            value, gradient, W = t.evaluate(eta[..., at], theta)
            values.append(value)
            gradients.append(gradient)
            diagonals.append(W[..., : t.n * t.m])
            others.append(W[..., t.n * t.m :])
        return Likelihood(*(np.concatenate(parts, axis=-1) for parts in (values, gradients, diagonals + others)))

    @property
    def has_cdf(self) -> bool:
        """Whether the distribution function of every term is known in closed form"""
        return all(hasattr(t, "cdf") for t in self.terms)

    def cdf(self, eta, theta) -> np.ndarray:
        """P(Y_i <= y_i | eta, theta), (n_obs,)"""
        return np.concatenate([t.cdf(eta[at], theta) for t, (_, at) in zip(self.terms, self._slices, strict=True)])

    def values(self, eta, theta) -> np.ndarray:
        """(m, n_eta) linear predictors -> (m, n_obs) log-likelihoods."""
        return np.concatenate(
            [t.values(eta[:, at], theta) for t, (_, at) in zip(self.terms, self._slices, strict=True)], 1
        )

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        eta_bar, theta_bar = np.empty(eta.shape), np.zeros(self.n_theta)
        extra = self.n_eta
        for t, (obs, at) in zip(self.terms, self._slices, strict=True):
            n_other = t.n * (t.m * (t.m - 1)) // 2
            W_part = W_bar[..., at]
            if n_other:
                W_part = np.concatenate([W_part, W_bar[..., extra : extra + n_other]], axis=-1)
            extra += n_other
            bars = value_bar[..., obs], gradient_bar[..., at], W_part
            eta_bar[..., at], theta_part = t.vjp(eta[..., at], theta, *bars)
            theta_bar += theta_part
        return eta_bar, theta_bar


class GenericTerm:
    """One term through automatic differentiation.

    Many linear predictors at once run through the same graphs, vectorized when they are first needed.
    """

    def __init__(self, term, hyperparameters, compile_kwargs):
        self.hyperparameters = hyperparameters
        self.n = int(np.prod(term.shape, dtype=int))
        self.m = len(term.predictors)
        theta = [h.variable for h in hyperparameters]
        predictors = list(term.predictors)
        value = stabilize(term.logp)
        with refuse_missing_derivatives(term.name):
            gradient = _gradient(value.sum(), predictors)
            rows = [_gradient(g.sum(), predictors) for g in gradient]
        second = {(a, b): -rows[a][b] for a in range(self.m) for b in range(a, self.m)}
        pairs = [(a, b) for a in range(self.m) for b in range(a + 1, self.m)]
        W = [second[a, a] for a in range(self.m)] + [second[p] for p in pairs]
        outputs = [value, pt.concatenate(list(gradient)), pt.concatenate(W)]
        self._evaluate = _Vectorized(predictors, theta, outputs, self.n, compile_kwargs)
        self._values = _Vectorized(predictors, theta, [value], self.n, compile_kwargs)
        # not of the concatenated vectors: what takes their cotangents apart would run once for every node
        parts = [value, *gradient, *W]
        bars = [pt.vector(dtype="float64", shape=(self.n,)) for _ in parts]
        product = sum((bar * part).sum() for bar, part in zip(bars, parts, strict=True))
        with refuse_missing_derivatives(term.name):
            found = _gradient(product, [*predictors, *theta])
        eta_bar = pt.concatenate(found[: self.m])
        theta_bar = pt.concatenate([b.flatten() for b in found[self.m :]]) if theta else pt.zeros((0,))
        outputs = [eta_bar, theta_bar.astype("float64")]
        self._vjp = _Vectorized([*predictors, *bars], theta, outputs, self.n, compile_kwargs)
        self.gaussian = False

    def _split(self, eta) -> list[np.ndarray]:
        return [np.ascontiguousarray(part) for part in np.split(eta, self.m, axis=-1)]

    def values(self, eta, theta) -> np.ndarray:
        (value,) = self._values(self._split(eta), split_theta(theta, self.hyperparameters))
        return value

    def evaluate(self, eta, theta):
        return self._evaluate(self._split(eta), split_theta(theta, self.hyperparameters))

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        bars = np.concatenate([value_bar, gradient_bar, W_bar], axis=-1)
        parts = [np.ascontiguousarray(bar) for bar in np.split(bars, bars.shape[-1] // self.n, axis=-1)]
        eta_bar, theta_bar = self._vjp([*self._split(eta), *parts], split_theta(theta, self.hyperparameters))
        return eta_bar, theta_bar if theta_bar.ndim == 1 else theta_bar.sum(axis=0)


@contextmanager
def refuse_missing_derivatives(name):
    """Refuse a log density with an operation that PyTensor cannot differentiate, or not often enough.

    Raises
    ------
    UnsupportedModelError
    """
    try:
        yield
    except (MethodNotDefined, NullTypeGradError) as error:
        raise UnsupportedModelError(
            name,
            f"three derivatives of its log density are needed, and PyTensor does not know those of {error.args[-1]}",
            "Write the density out of differentiable functions with pm.CustomDist(logp=...), or sample this model with "
            "a sampler that needs no gradient (pm.Slice, pm.DEMetropolisZ).",
        ) from error


def _gradient(scalar, variables):
    return leave_out_branches(pt.grad(scalar, variables, disconnected_inputs="ignore", return_disconnected="zero"))


class _Vectorized:
    """A graph of vectors as a function of vectors, and of matrices with one row per evaluation.

    Both are compiled when they are first called.

    Parameters
    ----------
    vectors : list of symbolic vectors
        Inputs that get the leading axis
    others : list of symbolic variables
        Inputs that do not
    outputs : list of symbolic vectors
        All get the leading axis.
    """

    def __init__(self, vectors, others, outputs, size, compile_kwargs):
        self.vectors, self.others, self.outputs = vectors, others, outputs
        self.options = {"size": size, "compile_kwargs": compile_kwargs}
        self._compiled, self._lock = {}, Lock()

    def __call__(self, vectors, others) -> list[np.ndarray]:
        ndim = vectors[0].ndim
        if ndim not in self._compiled:
            with self._lock:
                if ndim not in self._compiled:
                    self._compiled[ndim] = self._compile(ndim)
        with np.errstate(all="ignore"):
            found = self._compiled[ndim](*vectors, *others)
        if ndim == 1:
            return [np.asarray(out) for out in found]
        # what does not depend on the vectors has no leading axis
        m = len(vectors[0])
        return [out if out.ndim == 2 else np.broadcast_to(out, (m, *out.shape)) for out in map(np.asarray, found)]

    def _compile(self, ndim):
        if ndim == 1:
            return compile_function([*self.vectors, *self.others], self.outputs, **self.options)
        matrices = [pt.matrix(dtype=v.dtype, shape=(None, *v.type.shape)) for v in self.vectors]
        outputs = vectorize_graph(self.outputs, dict(zip(self.vectors, matrices, strict=True)))
        return compile_function([*matrices, *self.others], outputs, **self.options)
