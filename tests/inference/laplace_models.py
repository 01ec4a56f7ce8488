"""Latent Gaussian models written by hand in NumPy. Only values and first and second derivatives are typed in; every
further derivative is a complex step, exact to rounding and independent of the package.
"""

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from pymc_inla.lgm import Design, LGMFunctions, Likelihood, Pattern, Prior

STEP = 1e-30
LOG_2PI = np.log(2 * np.pi)


def complex_gradient(f, theta):
    """Gradient of a complex-safe scalar function."""
    return np.array([np.imag(f(theta + 1j * STEP * unit)) / STEP for unit in np.eye(len(theta))])


def gaussian_noise(y, precision_index):
    """N(eta, exp(-theta)), gaussian."""

    def derivatives(eta, theta):
        tau = np.exp(theta[precision_index])
        r = y - eta
        value = 0.5 * (theta[precision_index] - LOG_2PI) - 0.5 * tau * r * r
        return value, tau * r, tau + 0 * r

    return derivatives


def poisson(y):
    def derivatives(eta, theta):
        rate = np.exp(eta)
        return y * eta - rate - gammaln(y + 1), y - rate, rate

    return derivatives


def binomial(y, trials):
    """Logit link; works on both signs of eta without overflow."""
    constant = gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1)

    def derivatives(eta, theta):
        sign = np.where(np.real(eta) > 0, 1.0, -1.0)
        small = np.exp(-sign * eta)
        p = np.where(sign > 0, 1 / (1 + small), small / (1 + small))
        log_one_minus_p = -np.log1p(small) - np.where(sign > 0, eta, 0)
        return constant + y * eta + trials * log_one_minus_p, y - trials * p, trials * p * (1 - p)

    return derivatives


def student_t(y, nu, scale):
    """Heavy tails: W is negative for outliers."""

    def derivatives(eta, theta):
        r = (y - eta) / scale
        d = nu + r * r
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(scale)
        value = constant - (nu + 1) / 2 * np.log1p(r * r / nu)
        return value, (nu + 1) * r / (d * scale), (nu + 1) * (nu - r * r) / (d * d * scale * scale)

    return derivatives


def location_and_log_scale(y):
    """y ~ N(a, exp(b)^2); eta = (a, b). Returns the gradient (2n,) and W on (aa, bb, ab)."""
    n = len(y)

    def derivatives(eta, theta):
        a, b = eta[:n], eta[n:]
        r, e = y - a, np.exp(-2 * b)
        value = -0.5 * LOG_2PI - b - 0.5 * r * r * e
        gradient = np.concatenate([r * e, -1 + r * r * e])
        return value, gradient, np.concatenate([e, 2 * r * r * e, 2 * r * e])

    return derivatives


def build_model(
    derivatives,
    n_obs,
    prior,
    design,
    log_prior_theta,
    theta_initial,
    *,
    n_predictors=1,
    C=None,
    e=None,
    gaussian=False,
    design_depends_on_theta=False,
) -> LGMFunctions:
    """LGMFunctions from complex-safe functions.

    Parameters
    ----------
    derivatives : (eta, theta) -> (value (n_obs,), gradient (n_eta,), W (n_W,))
    prior : theta -> (Q dense, b, c);   design : theta -> (A dense, offset);   log_prior_theta : theta -> scalar
    n_predictors : 1 or 2 per observation; eta is stacked predictor by predictor
    """
    theta_initial = np.asarray(theta_initial, float)
    probe = theta_initial + 0.37
    Q, _, _ = prior(probe)
    A, _ = design(probe)
    Q_pattern = Pattern.from_matrix((Q != 0) | np.eye(len(Q), dtype=bool))
    A_pattern = Pattern.from_matrix(A != 0)
    n_x, n_eta = len(Q), n_predictors * n_obs
    at_Q = Q_pattern.rows, Q_pattern.indices
    at_A = A_pattern.rows, A_pattern.indices
    diagonal = np.arange(n_eta)
    if n_predictors == 2:
        W_rows = np.concatenate([diagonal, np.arange(n_obs)])
        W_cols = np.concatenate([diagonal, np.arange(n_obs, 2 * n_obs)])
    else:
        W_rows = W_cols = diagonal

    def prior_values(theta):
        Q, b, c = prior(theta)
        return Prior(Q[at_Q], b, float(c))

    def prior_vjp(theta, Q_bar, b_bar, c_bar):
        def paired(t):
            Q, b, c = prior(t)
            return Q_bar @ Q[at_Q] + b_bar @ b + c_bar * c

        return complex_gradient(paired, theta)

    def design_values(theta):
        A, offset = design(theta)
        return Design(A[at_A], offset)

    def design_vjp(theta, A_bar, offset_bar):
        def paired(t):
            A, offset = design(t)
            return A_bar @ A[at_A] + offset_bar @ offset

        return complex_gradient(paired, theta)

    def log_likelihood(eta, theta):
        return Likelihood(*derivatives(eta, theta))

    def log_likelihood_vjp(eta, theta, value_bar, gradient_bar, W_bar):
        def paired(eta, theta):
            value, gradient, W = derivatives(eta, theta)
            per_observation = value_bar * value + (gradient_bar * gradient).reshape(n_predictors, n_obs).sum(0)
            return per_observation + (W_bar * W).reshape(-1, n_obs).sum(0)

        eta_bar = []
        for k in range(n_predictors):
            step = np.zeros((n_predictors, n_obs), complex)
            step[k] = 1j * STEP
            eta_bar.append(np.imag(paired(eta + step.ravel(), theta)) / STEP)
        return np.concatenate(eta_bar), complex_gradient(lambda t: np.sum(paired(eta, t)), theta)

    return LGMFunctions(
        n_theta=len(theta_initial),
        theta_initial=theta_initial,
        log_prior_theta=lambda t: (float(log_prior_theta(t)), complex_gradient(log_prior_theta, t)),
        Q_pattern=Q_pattern,
        prior=prior_values,
        prior_vjp=prior_vjp,
        A_pattern=A_pattern,
        design=design_values,
        design_vjp=design_vjp if design_depends_on_theta else None,
        n_obs=n_obs,
        observation=np.tile(np.arange(n_obs), n_predictors),
        W_rows=W_rows,
        W_cols=W_cols,
        log_likelihood=log_likelihood,
        log_likelihood_vjp=log_likelihood_vjp,
        gaussian=gaussian,
        C=sparse.csr_array((0, n_x)) if C is None else sparse.csr_array(np.asarray(C, float)),
        e=np.zeros(0) if e is None else np.asarray(e, float),
    )


def indicator(group, n_groups):
    """(n, n_groups) membership."""
    return (np.asarray(group)[:, None] == np.arange(n_groups)).astype(float)


def iid_prior(n_groups, n_fixed, fixed_precision=0.1, fixed_mean=0.0, index=0):
    """Groups N(0, exp(-theta)), then fixed effects N(fixed_mean, 1/fixed_precision), as a function of theta."""

    def prior(theta):
        q = np.concatenate([np.exp(theta[index]) * np.ones(n_groups), np.full(n_fixed, fixed_precision)])
        mean = np.concatenate([np.zeros(n_groups), np.full(n_fixed, fixed_mean)])
        log_determinant = n_groups * theta[index] + n_fixed * np.log(fixed_precision)
        c = 0.5 * log_determinant - 0.5 * len(q) * LOG_2PI - 0.5 * np.sum(q * mean**2)
        return np.diag(q), q * mean, c

    return prior


def standard_log_prior(theta):
    """Independent N(0, 1.5^2)."""
    return np.sum(-0.5 * (theta / 1.5) ** 2 - 0.5 * LOG_2PI - np.log(1.5))


def grouped_data(seed, n=40, n_groups=6):
    """group (n,), covariates X (n, 2), linear predictor (n,)"""
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n - n_groups)])
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    return rng, group, X, X @ [0.4, 0.6] + rng.normal(0, 0.8, n_groups)[group]


def gaussian_model(*, constraint=False, non_centered=False):
    """Groups and fixed effects with Gaussian noise; theta = (log tau, log noise precision)."""
    rng, group, X, eta = grouped_data(1)
    y = eta + rng.normal(0, 0.7, len(eta))
    Z = indicator(group, 6)
    return mixed_model(gaussian_noise(y, 1), Z, X, 2, constraint, non_centered, gaussian=True), y


def mixed_model(derivatives, Z, X, n_theta, constraint=False, non_centered=False, **options):
    """eta = Z u + X beta (centered) or 0.3 theta + exp(-theta / 2) Z u + X beta."""
    J, p = Z.shape[1], X.shape[1]
    centered = iid_prior(J, p, fixed_mean=0.3)

    def prior(theta):
        Q, b, c = centered(0 * theta if non_centered else theta)
        if constraint:
            # on the subspace sum(u) = 1.2 the density has J - 1 free coordinates, and its exponent is at most
            # -tau 1.2^2 / (2 J) there, which belongs to the norm
            t = 0 * theta[0] if non_centered else theta[0]
            c = c - 0.5 * (t - LOG_2PI) + 0.5 * np.exp(t) * 1.2**2 / J
        return Q, b, c

    def design(theta):
        if not non_centered:
            return np.hstack([Z, X]), np.zeros(len(Z))
        return np.hstack([np.exp(-theta[0] / 2) * Z, X]), 0.3 * theta[0] * np.ones(len(Z))

    C = np.concatenate([np.ones(J), np.zeros(p)])[None] if constraint else None
    return build_model(
        derivatives,
        len(Z),
        prior,
        design,
        standard_log_prior,
        np.zeros(n_theta),
        C=C,
        e=[1.2] if constraint else None,
        design_depends_on_theta=non_centered,
        **options,
    )


def poisson_model(*, constraint=False, non_centered=False):
    rng, group, X, eta = grouped_data(2)
    y = rng.poisson(np.exp(eta)).astype(float)
    return mixed_model(poisson(y), indicator(group, 6), X, 1, constraint, non_centered)


def bernoulli_model(*, non_centered=False):
    rng, group, X, eta = grouped_data(3)
    y = rng.binomial(1, 1 / (1 + np.exp(-eta))).astype(float)
    return mixed_model(binomial(y, np.ones(len(y))), indicator(group, 6), X, 1, False, non_centered)


def student_model():
    rng, group, X, eta = grouped_data(4)
    y = eta + 0.5 * rng.standard_t(3, len(eta))
    y[3] += 15.0
    return mixed_model(student_t(y, 3.0, 0.5), indicator(group, 6), X, 1)


def two_predictor_model(*, non_centered=False):
    """Mean and log scale: groups in the mean, an intercept in each."""
    rng, group, X, eta = grouped_data(5)
    y = eta + np.exp(-0.5 + 0.3 * X[:, 1]) * rng.normal(size=len(eta))
    Z, n = indicator(group, 6), len(eta)
    nothing = np.zeros((n, 2))
    J = 6
    centered = iid_prior(J, 4)

    def design(theta):
        scale = np.exp(-theta[0] / 2) if non_centered else 1.0
        A = np.vstack([np.hstack([scale * Z, X, nothing]), np.hstack([0.2 * scale * Z, nothing, X])])
        offset = np.concatenate([0.1 * theta[0] * np.ones(n), np.zeros(n)])
        return A, offset if non_centered else np.zeros(2 * n)

    def prior(theta):
        return centered(0 * theta if non_centered else theta)

    return build_model(
        location_and_log_scale(y),
        n,
        prior,
        design,
        standard_log_prior,
        np.zeros(1),
        n_predictors=2,
        design_depends_on_theta=non_centered,
    )
