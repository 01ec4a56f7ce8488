"""A latent Gaussian model and a result built by hand: known normal posteriors of everything, nothing inferred."""

import numpy as np
import pymc as pm
from pytensor.compile.mode import Mode
from scipy import sparse, stats

from pymc_inla.lgm import (
    QUANTILES,
    Criteria,
    Explanation,
    Hyperparameter,
    INLAResult,
    Integration,
    Latent,
    LatentGaussianModel,
    LikelihoodTerm,
    Marginals,
    Reliability,
)

MEAN_X = np.array([0.5, -1.0, 0.1, 0.2, 0.3])
SD_X = np.array([0.2, 0.3, 0.4, 0.5, 0.6])
MEAN_THETA, SD_THETA = np.array([-0.7]), np.array([0.4])


def build_model(plate="plate"):
    with pm.Model(coords={plate: ["p", "q", "r"]}) as model:
        x = pm.Data("x", [0.0, 1.0, 2.0], dims=plate)
        b = pm.Normal("b", 0, 2, shape=2)
        sigma = pm.Exponential("sigma", 1.0)
        u = pm.Normal("u", 0, sigma, dims=plate)
        eta = pm.Deterministic("eta", b[0] + b[1] * x + u, dims=plate)
        pm.Poisson("y", pm.math.exp(eta), observed=[1, 0, 3], dims=plate)
    return model


def build_lgm(model=None):
    """The contract of lgm.py for `build_model`, without the analysis."""
    model = build_model() if model is None else model
    value = {rv.name: model.rvs_to_values[rv] for rv in model.free_RVs}
    log_sigma = value["sigma"]
    natural = {"sigma": log_sigma.exp()}
    eta = value["b"][0] + value["b"][1] * np.array([0.0, 1.0, 2.0]) + value["u"]
    zero = log_sigma * 0
    return LatentGaussianModel(
        model=model,
        latents=(Latent("b", (2,), 0, value["b"], "Normal"), Latent("u", (3,), 2, value["u"], "Normal, sd sigma")),
        hyperparameters=(Hyperparameter("sigma", (), 0, log_sigma, np.array(0.0), "pc.prec(1, 0.3679)"),),
        terms=(LikelihoodTerm("y", (3,), (), (), zero, None, np.array([1, 0, 3])),),
        log_prior_x=zero,
        log_prior_theta=zero,
        outputs={"b": value["b"], "sigma": natural["sigma"], "u": value["u"], "eta": eta},
        C=sparse.csr_array((0, 5)),
        e=np.zeros(0),
        explanations=(
            Explanation("b", "latent", "Normal", 2),
            Explanation("sigma", "hyperparameter", "", 1, "pc.prec"),
        ),
    )


def outputs(theta, x, names):
    """What compile_outputs returns for `build_lgm`, in NumPy."""
    values = {"b": x[:, :2], "u": x[:, 2:], "sigma": np.exp(theta[:, 0])}
    values["eta"] = x[:, :1] + x[:, 1:2] * np.array([0.0, 1.0, 2.0]) + x[:, 2:]
    return {name: values[name] for name in names}


def normal_marginals(mean, sd, points=201):
    z = np.linspace(-6, 6, points)
    grid = mean[:, None] + sd[:, None] * z
    return Marginals(
        mean=mean,
        sd=sd,
        quantiles=mean[:, None] + sd[:, None] * stats.norm.ppf(QUANTILES),
        mode=mean,
        grid=grid,
        density=stats.norm.pdf(z) / sd[:, None],
    )


def build_result(n_draws, seed=0, verdict="good"):
    rng = np.random.default_rng(seed)
    criteria = Criteria(10.0, 2.0, 8.0, 6.0, 10.5, 2.1, np.log([0.3, 0.2, 0.1]), None, np.array([False, True, False]))
    messages = () if verdict == "good" else ("The integral over sigma is rough. Use integration='grid'.",)
    return INLAResult(
        strategy="laplace",
        strategy_reason="by hand",
        integration=Integration(
            "grid",
            np.array([[-1.0], [-0.5], [0.0]]),
            np.array([0.25, 0.5, 0.25]),
            np.log([0.2, 0.4, 0.2]),
            ("converged", "converged", "the iteration limit was reached before convergence"),
        ),
        theta_star=MEAN_THETA,
        theta_covariance=np.diag(SD_THETA**2),
        x_star=MEAN_X,
        theta_marginals=normal_marginals(MEAN_THETA, SD_THETA),
        latent_marginals=normal_marginals(MEAN_X, SD_X),
        draws_theta=MEAN_THETA + SD_THETA * rng.standard_normal((n_draws, 1)),
        draws_x=MEAN_X + SD_X * rng.standard_normal((n_draws, 5)),
        log_p=rng.standard_normal(n_draws),
        log_q=rng.standard_normal(n_draws),
        log_marginal_likelihood=-12.5,
        log_marginal_likelihood_error=0.001,
        criteria=criteria,
        reliability=Reliability(verdict, messages, {"k_hat": 0.1, "outer_change": 0.003}),
        counts={"evaluations": 31, "passes": 90},
        timings={"mode": 0.01, "integration": 0.02},
    )


FAST = {"mode": Mode(linker="py", optimizer="fast_compile")}
