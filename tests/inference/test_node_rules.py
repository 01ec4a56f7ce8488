"""Rules for the local integrals against scipy's adaptive quadrature."""

import numpy as np
import pytest
from scipy import integrate, optimize, special

from pymc_inla.inference.node_rules import MANY, node_rule, wide_nodes, wide_rule


def log_integral(h, k):
    """As the engine takes it: centered at the mode, scaled by the curvature there."""
    found = optimize.minimize_scalar(lambda u: -h(u), bracket=(-1.0, 1.0), options={"xtol": 1e-10})
    mode, step = found.x, 1e-3
    root = step / np.sqrt(2 * h(mode) - h(mode + step) - h(mode - step))
    rule = node_rule(k)
    return special.logsumexp(rule.log_weights + h(mode + root * rule.t[:, 0])) + np.log(root)


@pytest.mark.parametrize("k", [1, 3, 11])
def test_few_nodes_are_exact_for_polynomials(k):
    rule = node_rule(k)
    weight = np.exp(rule.log_weights - 0.5 * rule.t[:, 0] ** 2) / np.sqrt(2 * np.pi)
    for degree in range(0, 2 * k, 2):
        assert weight @ rule.t[:, 0] ** degree == pytest.approx(np.prod(np.arange(degree - 1, 0, -2.0)), rel=1e-12)


@pytest.mark.parametrize(("k", "tolerance"), [(23, 1e-12), (MANY, 1e-12), (95, 1e-12)])
def test_a_normal_density(k, tolerance):
    assert log_integral(lambda u: -0.5 * u**2 / 4.0, k) == pytest.approx(np.log(2 * np.sqrt(2 * np.pi)), abs=tolerance)


@pytest.mark.parametrize("events", [0, 1, 5])
@pytest.mark.parametrize(
    ("k", "sigma", "tolerance"), [(23, 1.0, 1e-5), (47, 3.0, 1e-4), (47, 8.0, 4e-3), (95, 8.0, 2e-4)]
)
def test_binary_data_of_a_group(k, sigma, tolerance, events):
    """Ten observations all alike are a step on the scale of a wide prior."""

    def h(u):
        return (
            events * special.log_expit(u - sigma)
            + (10 - events) * special.log_expit(sigma - u)
            - 0.5 * (u / sigma) ** 2
        )

    top = h(0.0)
    exact, _ = integrate.quad(lambda u: np.exp(h(u) - top), -12 * sigma, 12 * sigma, points=[0.0, sigma], limit=500)
    assert log_integral(h, k) == pytest.approx(np.log(exact) + top, abs=tolerance)


def test_products():
    rule = node_rule(3, 2)
    assert rule.t.shape == (9, 2)
    np.testing.assert_array_equal(rule.t[0], 0.0)
    with pytest.raises(ValueError, match="an odd number is needed"):
        node_rule(4)


@pytest.mark.parametrize(("k", "b", "tolerance"), [(63, 1, 1e-8), (31, 2, 2e-3), (15, 3, 3e-2)])
def test_wide_rules_and_the_normal_density(k, b, tolerance):
    rule = wide_rule(k, b)
    p = np.exp(rule.log_weights - 0.5 * np.sum(rule.t**2, axis=1)) / (2 * np.pi) ** (b / 2)
    assert abs(p.sum() - 1) < tolerance
    np.testing.assert_allclose(p @ rule.t**2, 1, atol=tolerance)


@pytest.mark.parametrize("spread", [3.0, 30.0, 100.0])
def test_wide_rules_reach_the_tails(spread):
    """Variance of a Cauchy density under a normal prior of so many times its scale."""

    def density(t):
        return np.exp(-0.5 * (t / spread) ** 2) / (1 + t**2)

    x = np.linspace(-20 * spread, 20 * spread, 2_000_001)
    exact = np.sum(density(x) * x**2) / np.sum(density(x))
    rule = wide_rule(63)
    p = density(rule.t[:, 0] / np.sqrt(2)) * np.exp(rule.log_weights)
    assert abs(p @ rule.t[:, 0] ** 2 / 2 / p.sum() / exact - 1) < 3e-3


def test_wide_nodes_are_nested():
    np.testing.assert_allclose(wide_nodes(8 * 30 + 1, 2)[::8], wide_nodes(31, 2), atol=1e-9)
