"""Correlations of group models: their priors against the formulas, their ranges and starts."""

import numpy as np
import pymc as pm
import pytensor
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, stats

import pymc_inla as pmi

MODE = Mode(linker="py", optimizer=None)


def build(control_group, ngroup=4):
    with pm.Model() as model:
        pmi.IID("u", 3, ngroup=ngroup, control_group=control_group, initial=0.0, fixed=True)
    return model


def log_density_of_rho(model, name):
    """rho -> log density of the correlation `name`, by the change of variables, numerically."""
    internal = model[f"{name}_internal"]
    rho = model[name]
    value = internal.clone()
    f = pytensor.function([internal], rho, mode=MODE)
    logp = pytensor.function([value], pm.logp(internal, value), mode=MODE)

    def at(t, step=1e-5):
        slope = (f(t + step) - f(t - step)) / (2 * step)
        return float(f(t)), float(logp(t)) - np.log(slope)

    return at


def pc_cor0(rho, u, alpha):
    """DESIGN of the prior: log(lambda/2) - lambda mu + log(|rho| / (mu (1 - rho^2))), density in rho on (-1, 1)."""
    mu = np.sqrt(-np.log(1 - rho**2))
    rate = -np.log(alpha) / np.sqrt(-np.log(1 - u**2))
    return np.log(rate / 2) - rate * mu + np.log(np.abs(rho) / (mu * (1 - rho**2)))


@pytest.mark.parametrize(
    "model, to_t, precision",
    [
        ("exchangeable", lambda rho: np.log((1 + 3 * rho) / (1 - rho)), 0.2),
        ("ar1", lambda rho: np.log((1 + rho) / (1 - rho)), 0.15),
    ],
)
def test_normal_priors_of_the_internal_parameter(model, to_t, precision):
    at = log_density_of_rho(build({"model": model}), "u_rho")
    for t in (-0.9, 0.4, 1.7):
        rho, log_density = at(t)
        assert to_t(rho) == pytest.approx(t, rel=1e-10)
        step = 1e-6
        slope = (to_t(rho + step) - to_t(rho - step)) / (2 * step)
        expected = stats.norm.logpdf(t, 0, precision**-0.5) + np.log(slope)
        # two central differences
        assert log_density == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    "control, name, u, alpha, factor",
    [
        ({"model": "exchangeablepos"}, "u_rho", 0.5, 0.5, 2.0),
        ({"model": "ar", "order": 3}, "u_pacf1", 0.5, 0.5, 1.0),
        ({"model": "ar", "order": 3}, "u_pacf2", 0.5, 0.4, 1.0),
        ({"model": "ar", "order": 3}, "u_pacf3", 0.5, 0.3, 1.0),
        ({"model": "ar1", "hyper": {"prior": "pc.cor0", "param": [0.7, 0.2]}}, "u_rho", 0.7, 0.2, 1.0),
    ],
)
def test_penalized_complexity_priors(control, name, u, alpha, factor):
    """On (0, 1) the density is that of (-1, 1), folded."""
    at = log_density_of_rho(build(control), name)
    signs = (1,) if factor == 2 else (-1, 1)
    for size in (0.05, 0.3, 1.4):
        for sign in signs:
            rho, log_density = at(sign * size)
            assert np.sign(rho) == sign
            assert log_density == pytest.approx(pc_cor0(rho, u, alpha) + np.log(factor), abs=1e-6)
    center = integrate.quad(lambda rho: np.exp(pc_cor0(rho, u, alpha)), 1e-9, u)[0]
    assert 1 - 2 * center == pytest.approx(alpha, abs=1e-6)


def test_the_map_to_a_signed_correlation_has_a_continuous_derivative_at_zero():
    model = build({"model": "ar1", "hyper": {"prior": "pc.cor0", "param": [0.5, 0.5]}})
    z = model["u_rho_internal"]
    slope = pytensor.function([z], pytensor.grad(model["u_rho"], z), mode=MODE)
    # d mu / dz = scale * 2 phi(0) at zero
    expected = np.sqrt(-np.log(1 - 0.25)) / np.log(2) * 2 * stats.norm.pdf(0)
    for value in (0.0, -1e-9, 1e-9, -1e-5, 1e-5):
        assert float(slope(value)) == pytest.approx(expected, rel=1e-4)


def test_starts_and_fixed_values():
    t = 1.3
    for model, rho in (
        ("exchangeable", np.expm1(t) / (np.expm1(t) + 4)),
        ("exchangeablepos", 1 / (1 + np.exp(-t))),
        ("ar1", 2 / (1 + np.exp(-t)) - 1),
    ):
        started = build({"model": model, "hyper": {"initial": t}})
        point = started.initial_point()
        (name,) = [k for k in point if k.startswith("u_rho")]
        value = np.exp(point[name]) if name.endswith("log__") else point[name]
        f = pytensor.function([started["u_rho_internal"]], started["u_rho"], mode=MODE)
        assert float(f(value)) == pytest.approx(rho, rel=1e-10)
        fixed = build({"model": model, "hyper": {"initial": t, "fixed": True}})
        assert "u_rho_internal" not in fixed.named_vars
        assert float(pytensor.function([], fixed["u_rho"], mode=MODE)()) == pytest.approx(rho, rel=1e-10)


def test_the_precision_of_an_intrinsic_group_model_can_be_freed():
    with pm.Model() as model:
        hyper = {"fixed": False, "prior": "loggamma", "param": [2, 3], "initial": 0.5}
        pmi.IID("u", 3, ngroup=4, control_group={"model": "rw1", "hyper": hyper})
    assert {rv.name for rv in model.free_RVs} == {"u", "u_tau", "u_group_tau"}
    assert model.initial_point()["u_group_tau_log__"] == pytest.approx(0.5)
