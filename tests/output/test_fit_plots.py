"""Pictures of one fit: what is drawn is what the marginals say."""

import numpy as np
import pymc as pm
import pytest
from matplotlib import pyplot

import pymc_inla as pmi
from pymc_inla.errors import InvalidOptionError
from pymc_inla.output.fit_plots import map_points

rng = np.random.default_rng(5)
G = np.repeat(np.arange(10), 6)
Y = rng.normal(rng.normal(0, 1.0, 10)[G], 0.8)


@pytest.fixture(scope="module")
def idata():
    with pm.Model(coords={"g": list("jihgfedcba")}) as model:
        s = pm.HalfNormal("s", 1, shape=2)
        tau = pm.Gamma("s_u", 2, 2)
        u = pm.Normal("u", 0, tau=tau, dims="g")
        pm.Normal("y", u[G], s[(G > 4).astype(int)], observed=Y)
    return pmi.fit(model, draws=100, chains=1, random_seed=1, progressbar=False)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_hyperparameters_with_their_points(idata):
    axes = pmi.plot_hyperparameters(idata)
    assert [ax.get_xlabel() for ax in axes] == ["s[0]", "s[1]", "s_u"]
    theta = idata["inla/integration"]["points"].values
    for j, ax in enumerate(axes):
        curve = ax.lines[0].get_xdata()
        name, indexers = ("s_u", {}) if j == 2 else ("s", {"s_dim_0": j})
        density = pmi.marginal(idata, name, **indexers)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), density.pdf(curve), rtol=0.02, atol=0.01)
        # all three live on the log scale; linear interpolation of exp on the grid of 200 points
        drawn, natural = np.sort(ax.lines[1].get_xdata()), np.sort(np.exp(theta[:, j]))
        natural = natural[(natural >= curve[0] * 1.01) & (natural <= curve[-1] * 0.99)]
        gaps = np.abs(drawn[:, None] - natural).min(axis=0)
        assert len(drawn) > 10 and np.max(gaps / natural) < 2e-3
    one = pmi.plot_hyperparameters(idata, "s_u_log__")
    assert [ax.get_xlabel() for ax in one] == ["s_u"]


def test_points_of_a_decreasing_change_of_variable():
    theta = np.linspace(-5, 5, 201)
    density = np.exp(-0.5 * (theta - 0.3) ** 2)
    sigma = np.exp(-theta / 2)
    image = np.stack([sigma[::-1], (density / (0.5 * sigma))[::-1]])
    mapped = map_points(np.array([-1.0, 0.0, 2.0, 7.0]), np.stack([theta, density]), image)
    np.testing.assert_allclose(mapped[:3], np.exp([0.5, 0.0, -1.0]), rtol=1e-3)
    assert np.isnan(mapped[3])


def test_effects_are_ordered_and_labeled(idata):
    ax = pmi.plot_effects(idata, "u")
    means = pmi.summary(idata, "u")["mean"].sort_values()
    assert [text.get_text() for text in ax.get_yticklabels()] == list(means.index)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), means.to_numpy(float))
    unordered = pmi.plot_effects(idata, "u", order=False)
    assert [text.get_text() for text in unordered.get_yticklabels()] == [f"u[{c}]" for c in "jihgfedcba"]


def test_many_effects_are_a_curve():
    groups = np.repeat(np.arange(100), 2)
    with pm.Model() as model:
        u = pm.Normal("u", 0, 1, shape=100)
        pm.Normal("y", u[groups], 1.0, observed=np.random.default_rng(0).normal(size=200))
    idata = pmi.fit(model, draws=20, chains=1, random_seed=1, progressbar=False)
    ax = pmi.plot_effects(idata, "u")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.sort(pmi.summary(idata, "u")["mean"].to_numpy(float)))
    assert ax.get_xlabel() == "rank of 100 elements"
    with pytest.raises(InvalidOptionError, match="no hyperparameters"):
        pmi.plot_hyperparameters(idata)


def test_unknown_names(idata):
    with pytest.raises(InvalidOptionError, match=r"'s_v' is no hyperparameter. Did you mean `s_u`"):
        pmi.plot_hyperparameters(idata, "s_v")
    with pytest.raises(InvalidOptionError, match="no variable 'v'"):
        pmi.plot_effects(idata, "v")
