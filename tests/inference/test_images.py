"""Images of a mode under exchanged labels and changed signs, and modes that only the integral meets."""

from dataclasses import replace

import numpy as np
import pytest
from outer_models import KnownDensity
from scipy.special import logsumexp
from test_outer_theta import integrate

from pymc_inla.inference.density import draw_theta
from pymc_inla.inference.draws import _spread
from pymc_inla.inference.hyper_mode import find_theta_mode, without_ties
from pymc_inla.inference.images import images
from pymc_inla.inference.integration import integrate_theta
from pymc_inla.inference.theta_posterior import ThetaPosterior
from pymc_inla.theta_space import ThetaSpace


def anywhere(names, links=(), x_shapes=()):
    bound = np.full(len(names), np.inf)
    return ThetaSpace(-bound, bound, names, links, x_shapes)


def as_rows(found):
    return {tuple(image.theta.tolist()): image.x.tolist() for image in reversed(found)}


def test_labels_change_places_in_all_variables_along_them():
    """Two components with means and scales, latents of each, and the logit of the weight of the first."""
    space = anywhere(
        ("mean[0]", "mean[1]", "scale[0]", "scale[1]", "weight", "noise"),
        ("identity", "identity", "log", "log", "logit", "log"),
        ((), (2, 2), (3,)),
    )
    theta, x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.arange(8.0)
    found = as_rows(images(space, theta, np.full(6, 0.1), x))
    moved = [0.0, 3.0, 4.0, 1.0, 2.0, 5.0, 6.0, 7.0]
    assert found[2.0, 1.0, 4.0, 3.0, 5.0, 6.0] == moved
    assert found[2.0, 1.0, 4.0, 3.0, -5.0, 6.0] == moved


def test_weights_of_three_labels_have_two_space():
    """Logarithms of three weights less their mean, the last of which is not an element."""
    space = anywhere(("mean[0]", "mean[1]", "mean[2]", "w[0]", "w[1]"))
    theta = np.array([1.0, 2.0, 3.0, 0.5, 0.25])
    found = as_rows(images(space, theta, np.full(5, 0.1), np.zeros(0)))
    assert (3.0, 2.0, 1.0, -0.75, 0.25) in found
    assert (2.0, 1.0, 3.0, 0.25, 0.5) in found


def test_latent_scalars_may_belong_to_scalars_that_are_exchanged():
    space = anywhere(("a", "b"), ("log", "log"), ((), (4,), ()))
    found = images(space, np.array([1.0, 2.0]), np.ones(2), np.arange(6.0))
    assert [image.theta.tolist() for image in found] == [[2.0, 1.0]] * 2
    assert [image.x.tolist() for image in found] == [[0, 1, 2, 3, 4, 5], [5, 1, 2, 3, 4, 0]]


def test_all_subsets_of_few_signs_change():
    """Logarithms have no sign, and one that is next to zero does not matter."""
    space = anywhere(("a", "b", "c", "s", "zero"), ("identity",) * 3 + ("log", "identity"))
    theta = np.array([1.0, 2.0, 3.0, 4.0, 0.01])
    found = [image.theta for image in images(space, theta, np.full(5, 0.1), np.zeros(0))]
    signs = {tuple(np.sign(other).tolist()) for other in found if np.array_equal(np.abs(other), theta)}
    assert len(signs) == 7
    assert all(sign[3:] == (1.0, 1.0) for sign in signs)


def test_many_signs_change_by_variable_and_together():
    names = tuple(f"u[{j}]" for j in range(4)) + ("a", "b", "c", "d")
    found = [image.theta for image in images(anywhere(names), np.ones(8), np.full(8, 0.1), np.zeros(0))]
    changed = sorted(int(np.sum(other < 0)) for other in found if np.any(other < 0))
    assert changed == [1, 1, 1, 1, 4, 8]


def test_equal_starts_of_a_variable_are_moved_apart():
    space = ThetaSpace(np.full(5, -20.0), np.full(5, 20.0), ("s", "k[0]", "k[1]", "m[0]", "m[1]"))
    start = without_ties(np.array([1.0, 1.0, 1.0, 2.0, 3.0]), space)
    assert start[[0, 3, 4]].tolist() == [1.0, 2.0, 3.0]
    assert start[1] < 1.0 < start[2]


def two_peaks(center, sd, ridge):
    """Peaks of equal mass at the center and where its elements have changed places; and a low one between, where the
    elements are equal."""
    ends, d = np.array([center, np.roll(center, len(center) // 2)]), len(center)

    def f(t):
        t = np.asarray(t)
        peaks = [-0.5 * np.sum((t - end) ** 2, -1) / sd**2 for end in ends]
        return logsumexp([*peaks, ridge - 0.5 * np.sum((t - ends.mean(0)) ** 2, -1)], axis=0)

    # the low peak adds less than 1e-3 of the mass
    return f, np.log(2.0) + 0.5 * d * np.log(2 * np.pi * sd**2)


def test_a_point_far_above_the_mode_is_searched_from():
    f, log_integral = two_peaks(np.array([4.0, -4.0]), 0.6, -8.0)
    _, integral = integrate(f, 2, start=[0.0, 0.0])
    assert np.abs(integral.mode.theta_star) == pytest.approx(4.0, abs=1e-3)
    assert integral.left_out == ()
    # the error of the grid between modes of equal shape
    assert integral.log_marginal_likelihood == pytest.approx(log_integral, abs=0.005)
    assert integral.density.mean == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("d", [4, 6])
def test_modes_that_lie_apart_are_integrated_each(d):
    center = np.concatenate([np.full(d // 2, 3.0), np.full(d // 2, -2.0)])
    f, log_integral = two_peaks(center, 0.5, -60.0)
    posterior = ThetaPosterior(KnownDensity(f))
    lower, upper = np.full(d, -30.0), np.full(d, 30.0)
    mode = find_theta_mode(posterior, center + 0.3, lower, upper)
    posterior.prepare_design(mode.theta_star, mode.root)
    names = tuple(f"{name}[{j}]" for j in range(2) for name in "abc"[: d // 2])
    integral = integrate_theta(posterior, mode, ThetaSpace(lower, upper, names))
    assert integral.left_out == ()
    # Gaussian peaks are emulated exactly
    assert integral.log_marginal_likelihood == pytest.approx(log_integral, abs=0.005)
    theta = draw_theta(integral.density, 1000, np.random.default_rng(1))
    assert integral.density.log_density_at(theta) == pytest.approx(f(theta) - log_integral, abs=0.05)
    moved = _spread(theta, integral.density, np.random.default_rng(2))
    # 7 sd of a peak; the middle of the trough is as far from both as 5 sd in every direction
    assert np.max(f(moved)) <= 1e-9 and np.min(f(moved)) > -0.5 * 7.0**2
    own = replace(integral.density, marginals=None)
    assert integral.density.mean == pytest.approx(own.mean)
    values = np.linspace(-6.0, 6.0, 2001)
    first = integral.density.marginals[0]
    truth = 0.5 * sum(np.exp(-0.5 * ((values - c) / 0.5) ** 2) for c in (3.0, -2.0)) / np.sqrt(2 * np.pi * 0.25)
    # of a kernel estimate
    assert first.pdf(values) == pytest.approx(truth, abs=0.03 * truth.max())
