"""Loops of scalars on arrays, against PyTensor's own of one element at a time and against differences of SciPy's
functions."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.scalar import constant, float64, int64
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise
from scipy import special

import pymc_inla
from pymc_inla.compile.mode import compile_function
from pymc_inla.compile.scalar_loops import ArrayLoop
from pymc_inla.compile.straight_line import StraightLine

a, b, x = pt.dvectors("a", "b", "x")
rng = np.random.default_rng(7)
# shapes near zero and in the hundreds, x on both sides of the mean and at the ends
SHAPES = 10.0 ** rng.uniform(-3, 2.5, size=(2, 40))
GAMMA = np.concatenate([SHAPES[0] * 10.0 ** rng.uniform(-2, 1, size=40), [0.0, np.inf, 1e-300, 700.0, np.nan, -1.0]])
BETA = np.concatenate([special.expit(rng.normal(size=40) * 4), [0.0, 1.0, 1e-300, 1 - 1e-12, np.nan, 2.0]])
A, B = (np.concatenate([s, [1.0, 2.5, 0.3, 20.0, 1.0, 1.0]]) for s in SHAPES)
GRAPHS = {
    "betainc in a": (pt.betainc(a, b, x), a, (A, B, BETA)),
    "betainc in b": (pt.betainc(a, b, x), b, (A, B, BETA)),
    "gammainc": (pt.gammainc(a, x), a, (A, B, GAMMA)),
    "gammaincc": (pt.gammaincc(a, x), a, (A, B, GAMMA)),
}


def element_by_element(inputs, outputs):
    mode = Mode(linker="py", optimizer="merge")
    return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")


def looped(scalar_loop, *inputs):
    """Functions of the inputs: ours, PyTensor's."""
    outputs = Elemwise(scalar_loop)(*inputs, return_list=True)
    ours = compile_function(list(inputs), outputs)
    assert any(isinstance(node.op, ArrayLoop) for node in ours.nodes)
    return ours, element_by_element(list(inputs), outputs)


@pytest.mark.parametrize("name", GRAPHS)
def test_derivatives_are_those_of_pytensor(name):
    value, shape, points = GRAPHS[name]
    gradient = pt.grad(value.sum(), shape)
    ours = compile_function([a, b, x], gradient)
    assert isinstance(ours, StraightLine)
    assert any(isinstance(node.op, ArrayLoop) for node in ours.nodes)
    kept = ~np.isnan(points[2])  # element by element these take 100 000 terms
    found = ours(*points)
    # the operations are the same, but for the last digit of powers
    expected = element_by_element([a, b, x], gradient)(*(p[kept] for p in points))
    np.testing.assert_allclose(found[kept], expected, rtol=1e-10, atol=1e-300)
    assert np.isnan(found[~kept]).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_derivatives_are_those_of_the_function(name):
    value, shape, points = GRAPHS[name]
    gradient = compile_function([a, b, x], pt.grad(value.sum(), shape))
    function = compile_function([a, b, x], value)
    points = dict(zip((a, b, x), (p[:40] for p in points), strict=True))
    step = 1e-4 * points[shape]
    moved = [function(*(points | {shape: points[shape] + k * step}).values()) for k in (-2, -1, 1, 2)]
    expected = np.array([1, -8, 8, -1]) @ moved / (12 * step)
    # PyTensor's continued fraction of betainc has 6 digits where a shape is below 0.01, by mpmath, and 9 elsewhere; the
    # differences have rounding of values near one, divided by a relative step of 1e-4
    found = gradient(*points.values())
    np.testing.assert_allclose(found * points[shape], expected * points[shape], rtol=2e-6, atol=1e-11)


def test_many_rows_at_once():
    row, column, shape = pt.drow("row"), pt.dcol("column"), pt.dscalar("shape")
    gradient = pt.grad(pt.betainc(row, shape, column).sum(), [row, shape])
    points = A[None, :7].copy(), B[0], BETA[:5, None].copy()
    ours = compile_function([row, shape, column], gradient)
    slow = element_by_element([row, shape, column], gradient)
    for found, expected in zip(ours(*points), slow(*points), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_no_elements():
    gradient = compile_function([a, x], pt.grad(pt.gammainc(a, x).sum(), a))
    assert gradient(np.zeros(0), np.zeros(0)).shape == (0,)


def halving():
    """Halve y and count, until it is below a bound."""
    y, count, bound = float64("y"), int64("count"), float64("bound")
    return ScalarLoop(init=[y, count], update=[y / 2, count + 1], constant=[bound], until=y / 2 < bound)


def test_each_element_stops_by_itself():
    inputs = pt.lvector("n"), pt.dvector("y"), pt.lvector("count"), pt.dvector("bound")
    ours, slow = looped(halving(), *inputs)
    # none, one and all steps; stopped before and exactly at the last; never
    n = np.array([0, 1, 7, 7, 3, 3, 50, -2])
    y = np.array([8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 1e5, 4.0])
    bound = np.array([9.0, 9.0, 9.0, 1.5, 1.5, 0.5, 1e-3, 9.0])
    found, expected = (f(n, y, np.arange(8), bound) for f in (ours, slow))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[1] - np.arange(8), [0, 1, 1, 3, 3, 3, 27, 0])
    np.testing.assert_array_equal(found[2], [False, True, True, True, True, False, True, False])


def test_without_until():
    y, z = float64("y"), float64("z")
    inputs = pt.lvector("n"), pt.dvector("y"), pt.dvector("z")
    ours, slow = looped(ScalarLoop(init=[y, z], update=[z * y, y + z]), *inputs)
    points = np.array([0, 1, 5]), np.array([2.0, 3.0, np.nan]), np.array([0.5, 1.5, 2.0])
    for one, other in zip(ours(*points), slow(*points), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="termination"):
        ours(np.array([0, -1, 5]), *points[1:])


def test_a_state_that_becomes_a_constant():
    y, z = float64("y"), float64("z")
    loop = ScalarLoop(init=[y, z], update=[y + z, constant(3.0, dtype="float64")], until=y + z > 4)
    ours, slow = looped(loop, pt.lvector("n"), pt.dvector("y"), pt.dvector("z"))
    points = np.array([0, 1, 5]), np.array([2.0, 3.0, -7.0]), np.array([0.5, 1.5, 2.0])
    for one, other in zip(ours(*points), slow(*points), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loops_in_loops():
    y, z, bound, n = float64("y"), float64("z"), float64("bound"), int64("n")
    inner, count, _ = halving()(n, z, constant(np.int64(0)), bound)
    loop = ScalarLoop(init=[y], update=[y + inner + count], constant=[z, bound, n])
    steps, *vectors = pt.lvector("steps"), pt.dvector("y"), pt.dvector("z"), pt.dvector("bound"), pt.lvector("n")
    ours, _ = looped(loop, steps, *vectors)  # PyTensor mixes up the outputs of the inner loop
    (found,) = ours(
        np.array([1, 3]), np.array([0.1, 0.2]), np.array([8.0, 9.0]), np.array([1.0, 2.0]), np.array([9, 9])
    )
    np.testing.assert_allclose(found, [0.1 + (0.5 + 4), 0.2 + 3 * (1.125 + 3)])


def test_functions_that_are_no_straight_line():
    """Loops run on arrays where the rest of the graph is left to PyTensor's interpreter."""
    last = pytensor.scan(lambda total: total + 1.0, outputs_info=pt.zeros(()), n_steps=3, return_updates=False)[-1]
    gradient = pt.grad((last * pt.gammainc(a, x)).sum(), a)
    ours = compile_function([a, x], gradient)
    assert not isinstance(ours, StraightLine)
    kept = np.isfinite(GAMMA) & (GAMMA >= 0)
    expected = 3 * compile_function([a, x], pt.grad(pt.gammainc(a, x).sum(), a))(A[kept], GAMMA[kept])
    np.testing.assert_allclose(ours(A[kept], GAMMA[kept]), expected, rtol=1e-14)


COUNTS, TIMES = np.array([1, 2, 2, 3, 5, 8, 1, 1, 4, 13]), np.array([0.3, 1.2, 2.0, 2.0, 0.7, 2.0, 1.9, 0.1])


def truncated(mean, alpha):
    pm.Truncated("y", pm.NegativeBinomial.dist(mu=mean, alpha=alpha), lower=1, observed=COUNTS)


def censored(mean, alpha):
    pm.Censored("y", pm.Gamma.dist(alpha=alpha, beta=alpha / mean), lower=None, upper=2.0, observed=TIMES)


@pytest.mark.parametrize("likelihood", [truncated, censored])
def test_posteriors_of_shape_parameters(likelihood):
    """Means and sds against sums over a grid of both parameters; element by element a fit takes a minute."""
    with pm.Model() as model:
        likelihood(pm.math.exp(pm.Normal("a", 1, 1)), pm.Gamma("alpha", 2, 1))
    result = pymc_inla.fit(model, random_seed=1, progressbar=False)
    log_posterior = model.compile_logp()
    grid_a, grid_alpha = np.linspace(-4, 5, 61), np.linspace(-5, 4, 61)
    heights = np.array([[log_posterior({"a": i, "alpha_log__": j}) for j in grid_alpha] for i in grid_a])
    weights = np.exp(heights - heights.max())
    weights /= weights.sum()
    for variable, values in (("a", grid_a[:, None]), ("alpha", np.exp(grid_alpha))):
        mean = np.sum(weights * values)
        sd = np.sqrt(np.sum(weights * (values - mean) ** 2))
        draws = result.posterior[variable]
        # 4000 draws: the mean of an sd of one has an error of 0.016, the sd of a skew variable one of 3 %
        assert abs(draws.mean() - mean) < 0.06 * sd
        np.testing.assert_allclose(draws.std(), sd, rtol=0.1)
