"""The log-likelihood of all terms with its derivatives in eta and theta.

Each term is elementwise in its predictors, so the gradient of the sum is the vector of first derivatives, and the
gradient of its sum the vector of second derivatives. Closed forms (`families`) replace the differentiated graph where
they exist.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.replace import vectorize_graph

from pymc_inla.compile.mode import compile_function, split_theta, stabilize
from pymc_inla.compile.recognize import recognize_family
from pymc_inla.lgm import LatentGaussianModel, Likelihood


def compile_likelihood(lgm: LatentGaussianModel, *, compile_kwargs=None, families: bool = True) -> "StackedLikelihood":
    """The log-likelihood terms of a model, stacked."""
    terms = []
    for term in lgm.terms:
        closed = recognize_family(term, lgm.hyperparameters, compile_kwargs) if families else None
        terms.append(closed if closed is not None else GenericTerm(term, lgm.hyperparameters, compile_kwargs))
    return StackedLikelihood(terms, lgm.n_theta)


class StackedLikelihood:
    """Terms one after the other: eta holds term by term, and within a term predictor by predictor."""

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

    def __call__(self, eta, theta) -> Likelihood:
        if len(self.terms) == 1 and self.terms[0].m == 1:
            return Likelihood(*self.terms[0].evaluate(eta, theta))
        values, gradients, diagonals, others = [], [], [], []
        for t, (_, at) in zip(self.terms, self._slices, strict=True):
            value, gradient, W = t.evaluate(eta[at], theta)
            values.append(value)
            gradients.append(gradient)
            diagonals.append(W[: t.n * t.m])
            others.append(W[t.n * t.m :])
        return Likelihood(np.concatenate(values), np.concatenate(gradients), np.concatenate(diagonals + others))

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
        eta_bar, theta_bar = np.empty(self.n_eta), np.zeros(self.n_theta)
        extra = self.n_eta
        for t, (obs, at) in zip(self.terms, self._slices, strict=True):
            n_other = t.n * (t.m * (t.m - 1)) // 2
            W_part = np.concatenate([W_bar[at], W_bar[extra : extra + n_other]]) if n_other else W_bar[at]
            extra += n_other
            eta_part, theta_part = t.vjp(eta[at], theta, value_bar[obs], gradient_bar[at], W_part)
            eta_bar[at] = eta_part
            theta_bar += theta_part
        return eta_bar, theta_bar


class GenericTerm:
    """One term through automatic differentiation."""

    def __init__(self, term, hyperparameters, compile_kwargs):
        self.hyperparameters = hyperparameters
        self.n = int(np.prod(term.shape, dtype=int))
        self.m = len(term.predictors)
        theta = [h.variable for h in hyperparameters]
        predictors = list(term.predictors)
        value = stabilize(term.logp)
        gradient = pt.grad(value.sum(), predictors, disconnected_inputs="ignore", return_disconnected="zero")
        second = {}
        for a in range(self.m):
            row = pt.grad(gradient[a].sum(), predictors, disconnected_inputs="ignore", return_disconnected="zero")
            for b in range(a, self.m):
                second[a, b] = -row[b]
        pairs = [(a, b) for a in range(self.m) for b in range(a + 1, self.m)]
        W = pt.concatenate([second[a, a] for a in range(self.m)] + [second[p] for p in pairs])
        gradient = pt.concatenate(list(gradient))
        self._evaluate = compile_function(
            [*predictors, *theta], [value, gradient, W], size=self.n, compile_kwargs=compile_kwargs
        )
        value_bar, gradient_bar, W_bar = (pt.vector(k, dtype="float64") for k in ("value_bar", "gradient_bar", "W_bar"))
        product = pt.dot(value_bar, value) + pt.dot(gradient_bar, gradient) + pt.dot(W_bar, W)
        bars = pt.grad(product, [*predictors, *theta], disconnected_inputs="ignore", return_disconnected="zero")
        eta_bar = pt.concatenate(bars[: self.m])
        theta_bar = pt.concatenate([b.flatten() for b in bars[self.m :]]) if theta else pt.zeros((0,))
        self._vjp = compile_function(
            [*predictors, *theta, value_bar, gradient_bar, W_bar],
            [eta_bar, theta_bar.astype("float64")],
            size=self.n,
            compile_kwargs=compile_kwargs,
        )
        self.gaussian = False
        self._batched = None
        self._batched_of = (predictors, theta, value, compile_kwargs)

    def values(self, eta, theta) -> np.ndarray:
        if self._batched is None:
            predictors, symbols, value, compile_kwargs = self._batched_of
            matrices = [pt.matrix(dtype="float64", shape=(None, self.n)) for _ in predictors]
            rows = vectorize_graph(value, dict(zip(predictors, matrices, strict=True)))
            self._batched = compile_function([*matrices, *symbols], rows, size=self.n, compile_kwargs=compile_kwargs)
        parts = [np.ascontiguousarray(part) for part in np.split(eta, self.m, axis=1)]
        with np.errstate(all="ignore"):
            return np.asarray(self._batched(*parts, *split_theta(theta, self.hyperparameters)))

    def _inputs(self, eta, theta):
        return [*np.split(np.ascontiguousarray(eta), self.m), *split_theta(theta, self.hyperparameters)]

    def evaluate(self, eta, theta):
        with np.errstate(all="ignore"):
            value, gradient, W = self._evaluate(*self._inputs(eta, theta))
        return np.asarray(value), np.asarray(gradient), np.asarray(W)

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        with np.errstate(all="ignore"):
            eta_bar, theta_bar = self._vjp(*self._inputs(eta, theta), value_bar, gradient_bar, W_bar)
        return np.asarray(eta_bar), np.asarray(theta_bar)
