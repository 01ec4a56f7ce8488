"""Straight lines of NumPy calls against PyTensor's own interpreter on the same graphs."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from pymc_inla.compile.straight_line import StraightLine, as_straight_line

x, y, s, n = pt.vector("x"), pt.vector("y"), pt.scalar("s"), pt.lvector("n")
rng = np.random.default_rng(4)
VALUES = {x: rng.normal(size=5), y: rng.uniform(0.1, 2, size=5), s: np.array(0.7), n: np.array([0, 2, 1, 4, 3])}
GRAPHS = {
    "elementwise": [pt.exp(x) * y - pt.log(y) / s, x + y + x * 2 + s],
    "overflow": [pt.exp(1000 * pt.abs(x)), pt.log(x)],
    "special functions": [pt.gammaln(y), pt.psi(y), pt.erf(x), pt.sigmoid(x), pt.log1mexp(-y), pt.softplus(x)],
    "integers and comparisons": [n / 2, n // 2, n + 1, x > 0, pt.switch(n > 1, x, -y), pt.eq(n, 2) & (x < 1), n**2],
    "dimensions": [
        x[:, None] * y[None, :],
        x.dimshuffle("x", 0),
        s.dimshuffle("x"),
        x.reshape((5, 1)),
        (x[:, None] * y).T,
    ],
    "parts": [x[1:3], x[n], pt.join(0, x, y[:2]), pt.stack([x, y]), pt.set_subtensor(x[1], s), pt.zeros(3) + s],
    "sums": [x.sum(), pt.max(y), pt.cumsum(x), pt.outer(x, y).sum(axis=0), pt.dot(x, y)],
    "scalars": [pt.exp(s), s * 2, s > 0, pt.switch(s > 0, 1.0, s)],
    "inputs and constants": [x, pt.constant(3.0), pt.as_tensor(np.arange(3.0)), x * 1],
    "gradients": pt.grad(pt.sum(pt.gammaln(y) * pt.exp(-x) + pt.log1p(s * y)), [x, y, s]),
}


def interpreted(outputs):
    inputs = list(VALUES)
    return pytensor.function(inputs, outputs, mode=Mode(linker="py", optimizer="merge"), on_unused_input="ignore")


@pytest.mark.parametrize("name", GRAPHS)
def test_values_and_types_are_the_same(name):
    function = interpreted(GRAPHS[name])
    line = as_straight_line(function)
    assert isinstance(line, StraightLine)
    for _ in range(2):  # a second call sees nothing of the first
        expected, found = function(*VALUES.values()), line(*VALUES.values())
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_array_equal(a, b)


def test_a_single_output_is_not_a_list():
    line = as_straight_line(interpreted(x * s))
    np.testing.assert_array_equal(line(*VALUES.values()), VALUES[x] * 0.7)


def test_results_are_not_overwritten_by_the_next_call():
    line = as_straight_line(interpreted([x * s, x]))
    first = line(*VALUES.values())
    kept = [value.copy() for value in first]
    line(VALUES[x] + 1, *list(VALUES.values())[1:])
    for value, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_inner_graphs_stay_with_pytensor():
    function = interpreted([pt.logsumexp(x)])
    assert as_straight_line(function) is function


def test_state_stays_with_pytensor():
    counter = pytensor.shared(1.0)
    function = pytensor.function([x], x * counter, mode=Mode(linker="py", optimizer="merge"))
    line = as_straight_line(function)
    assert line is function
    counter.set_value(3.0)
    np.testing.assert_array_equal(line(VALUES[x]), 3 * VALUES[x])
