"""Small grouped models written by hand as LGMFunctions, with data, for tests of the inference."""

import numpy as np
from scipy import sparse, special

from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Pattern, Prior
from pymc_inla.linalg.partition import Partition


class Binomial:
    gaussian = False

    def __init__(self, y, trials=1.0):
        self.y, self.trials = np.asarray(y, float), np.broadcast_to(np.asarray(trials, float), np.shape(y))

    def __call__(self, eta, theta):
        p = special.expit(eta)
        constant = special.gammaln(self.trials + 1) - special.gammaln(self.y + 1)
        constant = constant - special.gammaln(self.trials - self.y + 1)
        value = self.y * eta - self.trials * np.logaddexp(0, eta) + constant
        return Likelihood(value, self.y - self.trials * p, self.trials * p * (1 - p))

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        p = special.expit(eta)
        W = self.trials * p * (1 - p)
        return value_bar * (self.y - self.trials * p) - gradient_bar * W + W_bar * W * (1 - 2 * p), 0.0 * theta


class Poisson:
    gaussian = False

    def __init__(self, y):
        self.y = np.asarray(y, float)

    def __call__(self, eta, theta):
        mean = np.exp(eta)
        return Likelihood(self.y * eta - mean - special.gammaln(self.y + 1), self.y - mean, mean)

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        mean = np.exp(eta)
        return value_bar * (self.y - mean) + (W_bar - gradient_bar) * mean, 0.0 * theta


class Normal:
    """The last hyperparameter is log sigma of the noise."""

    gaussian = True

    def __init__(self, y):
        self.y = np.asarray(y, float)

    def __call__(self, eta, theta):
        w = np.exp(-2 * theta[-1])
        r = self.y - eta
        value = -0.5 * np.log(2 * np.pi) - theta[-1] - 0.5 * w * r**2
        return Likelihood(value, w * r, np.full(len(r), w))

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        w = np.exp(-2 * theta[-1])
        r = self.y - eta
        bar = np.zeros(len(theta))
        bar[-1] = np.sum(value_bar * (w * r**2 - 1) - 2 * gradient_bar * w * r - 2 * W_bar * w)
        return value_bar * w * r - gradient_bar * w, bar


class TwoPredictors:
    """Normal with mean eta_1 and log sd eta_2; eta holds all eta_1, then all eta_2."""

    gaussian = False

    def __init__(self, y):
        self.y, self.n = np.asarray(y, float), len(y)

    def __call__(self, eta, theta):
        mean, log_sd = np.split(eta, 2)
        w, r = np.exp(-2 * log_sd), self.y - mean
        value = -0.5 * np.log(2 * np.pi) - log_sd - 0.5 * w * r**2
        return Likelihood(value, np.r_[w * r, w * r**2 - 1], np.r_[w, 2 * w * r**2, 2 * w * r])

    def vjp(self, eta, theta, value_bar, gradient_bar, W_bar):
        mean, log_sd = np.split(eta, 2)
        w, r = np.exp(-2 * log_sd), self.y - mean
        g1, g2 = np.split(gradient_bar, 2)
        W1, W2, W12 = np.split(W_bar, 3)
        first = value_bar * w * r - g1 * w - 2 * g2 * w * r - 4 * W2 * w * r - 2 * W12 * w
        second = value_bar * (w * r**2 - 1) - 2 * g1 * w * r - 2 * g2 * w * r**2
        second = second - 2 * W1 * w - 4 * W2 * w * r**2 - 4 * W12 * w * r
        return np.r_[first, second], 0.0 * theta


def grouped(likelihood, group, X, *, n_groups=None, Z=None, outer=None, hierarchical=False, noncentered=False, A2=None):
    """eta = X beta + Z u_g + v_outer(g), u_gc ~ N(0, exp(theta_c)^2), v ~ N(0, exp(theta_b)^2), beta ~ N(0, 10^2).

    theta_j ~ N(0, 1). x = (u by group, v, beta). `hierarchical`: the mean of u_g0 is the first element of beta.
    `noncentered`: u is standard normal and A depends on theta. A2: further rows of the design on beta for a second
    predictor of each observation.

    Returns
    -------
    LGMFunctions, Partition
    """
    n, p = X.shape
    Z = np.ones((n, 1)) if Z is None else Z
    b = Z.shape[1]
    G = int(group.max()) + 1 if n_groups is None else n_groups
    n_outer = 0 if outer is None else int(outer.max()) + 1
    n_x = G * b + n_outer + p
    n_scales = b + (n_outer > 0)
    n_theta = n_scales + likelihood.gaussian
    beta = G * b + n_outer + np.arange(p)

    A = np.zeros((n, n_x))
    A[np.arange(n)[:, None], group[:, None] * b + np.arange(b)] = Z
    if n_outer:
        A[np.arange(n), G * b + outer] = 1.0
    A[:, beta] = X
    scale_of = np.full(n_x, -1)
    scale_of[: G * b] = np.tile(np.arange(b), G)
    scale_of[G * b : G * b + n_outer] = b
    if A2 is not None:
        A = np.vstack([A, np.hstack([np.zeros((n, n_x - p)), A2])])
    n_eta = len(A)
    stored = np.argwhere(A != 0)
    A_pattern = Pattern.from_matrix(sparse.csr_array((np.ones(len(stored)), stored.T), shape=A.shape))
    cols = A_pattern.indices
    A_data = A[A_pattern.rows, cols]

    # D x are independent: D = I, or u minus its mean
    D = np.eye(n_x)
    if hierarchical:
        D[np.arange(0, G * b, b), beta[0]] = -1.0
    structure = (np.abs(D.T) @ np.abs(D)) > 0
    Q_pattern = Pattern.from_matrix(sparse.csr_array(structure.astype(float)))

    def precision(theta):
        tau = np.full(n_x, 0.01)
        free = scale_of >= 0
        tau[free] = 1.0 if noncentered else np.exp(-2 * theta[scale_of[free]])
        return tau

    def prior(theta):
        tau = precision(theta)
        Q = (D.T * tau) @ D
        c = 0.5 * np.sum(np.log(tau)) - 0.5 * n_x * np.log(2 * np.pi)
        return Prior(Q[Q_pattern.rows, Q_pattern.indices], np.zeros(n_x), c)

    def prior_vjp(theta, Q_bar, b_bar, c_bar):
        tau, out = precision(theta), np.zeros(n_theta)
        if noncentered:
            return out
        dense = np.zeros((n_x, n_x))
        dense[Q_pattern.rows, Q_pattern.indices] = Q_bar
        tau_bar = np.einsum("ij,jk,ik->i", D, dense, D) + 0.5 * c_bar / tau
        free = scale_of >= 0
        np.add.at(out, scale_of[free], (-2 * tau * tau_bar)[free])
        return out

    moving = scale_of[cols] >= 0

    def design(theta):
        values = A_data.copy()
        if noncentered:
            values[moving] *= np.exp(theta[scale_of[cols[moving]]])
        return Design(values, np.zeros(n_eta))

    def design_vjp(theta, A_bar, offset_bar):
        out = np.zeros(n_theta)
        s = scale_of[cols[moving]]
        np.add.at(out, s, (A_bar * A_data)[moving] * np.exp(theta[s]))
        return out

    diagonal = np.arange(n_eta)
    pairs = A2 is not None
    functions = LGMFunctions(
        n_theta=n_theta,
        theta_initial=np.zeros(n_theta),
        log_prior_theta=lambda theta: (float(-0.5 * theta @ theta - 0.5 * n_theta * np.log(2 * np.pi)), -theta),
        Q_pattern=Q_pattern,
        prior=prior,
        prior_vjp=prior_vjp,
        A_pattern=A_pattern,
        design=design,
        design_vjp=design_vjp if noncentered else None,
        n_obs=n,
        observation=np.tile(np.arange(n), 2) if pairs else np.arange(n),
        W_rows=np.r_[diagonal, np.arange(n)] if pairs else diagonal,
        W_cols=np.r_[diagonal, n + np.arange(n)] if pairs else diagonal,
        log_likelihood=likelihood,
        log_likelihood_vjp=likelihood.vjp,
        gaussian=likelihood.gaussian,
        C=sparse.csr_array((0, n_x)),
        e=np.zeros(0),
    )
    blocks = np.arange(G * b).reshape(G, b)
    return functions, Partition(blocks, np.arange(G * b, n_x))
