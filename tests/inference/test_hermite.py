"""The emulator of log densities from values and gradients."""

import numpy as np
import pytest
from outer_models import KnownDensity

from pymc_inla.inference import importance, theta_design
from pymc_inla.inference.emulator import Emulator
from pymc_inla.inference.hermite import HermiteEmulator
from pymc_inla.inference.hyper_mode import find_theta_mode
from pymc_inla.inference.integration import integrate_theta
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.theta_space import ThetaSpace


def bent(z):
    """Neither additive nor a polynomial, with its gradient"""
    s = np.sin(z).sum(axis=1)
    return s**2 + np.exp(0.3 * z[:, 0]), 2 * s[:, None] * np.cos(z) + 0.3 * np.exp(0.3 * z[:, :1]) * np.eye(z.shape[1])[
        0
    ]


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("known", [30, 8])
def test_quadratics_are_exact(d, known):
    rng = np.random.default_rng(1)
    z, Q, b = rng.normal(size=(30, d)), rng.normal(size=(d, d)), rng.normal(size=d)
    gradients = z @ (Q + Q.T) + b
    gradients[known:] = np.nan
    emulator = HermiteEmulator.of(z, np.einsum("mi,ij,mj->m", z, Q, z) + z @ b - 2.0, gradients)
    far = 4.0 * rng.normal(size=(2500, d))
    np.testing.assert_allclose(emulator(far), np.einsum("mi,ij,mj->m", far, Q, far) + far @ b - 2.0, atol=1e-8)


def test_values_and_gradients_are_met():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(25, 3))
    values, gradients = bent(z)
    gradients[::3] = np.nan
    emulator = HermiteEmulator.of(z, values, gradients)
    np.testing.assert_allclose(emulator(z), values, atol=1e-9)
    h = 1e-5
    slopes = np.column_stack([(emulator(z + h * e) - emulator(z - h * e)) / (2 * h) for e in np.eye(3)])
    known = np.isfinite(gradients[:, 0])
    np.testing.assert_allclose(slopes[known], gradients[known], atol=1e-6)
    assert np.max(np.abs(slopes[~known] - bent(z)[1][~known])) > 1e-3


def test_gradients_are_worth_as_many_values():
    """A fifth of the evaluations, a smaller error."""
    rng = np.random.default_rng(3)
    z, new = rng.normal(size=(300, 4)), rng.normal(size=(500, 4))
    by_values = Emulator.at(z, degree=1)
    error = np.std(by_values.predict(by_values.coefficients(bent(z)[0]), new) - bent(new)[0])
    assert np.std(HermiteEmulator.of(z[:60], *bent(z[:60]))(new) - bent(new)[0]) < error


def test_every_round_has_points_of_its_own(monkeypatch):
    """Points that were chosen again told that their values were remembered, and ended the search for a better emulator
    with quantiles that were off by up to a tenth of a sd."""
    posterior = ThetaPosterior(
        KnownDensity(lambda t: -0.5 * t @ t - 0.1 * (t[0] * t[1] - t[2]) ** 2 - 0.05 * t[3] ** 4)
    )
    bound = np.full(4, 60.0)
    mode = find_theta_mode(posterior, np.zeros(4), -bound, bound)
    posterior.prepare_design(mode.theta_star, mode.root)
    monkeypatch.setattr(importance, "SETTLED", -1.0)
    monkeypatch.setattr(theta_design, "WITH_GRADIENTS", 0)
    before = posterior.n_evaluations
    integral = integrate_theta(posterior, mode, ThetaSpace(-bound, bound), method="importance")
    assert len(integral.nodes) == 64
    assert posterior.n_evaluations - before >= 6 * 64
