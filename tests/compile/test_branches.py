"""Derivatives of expressions with branches."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode

from pymc_inla.compile.branches import leave_out_branches
from pymc_inla.compile.mode import stabilize

PLAIN = Mode(linker="py", optimizer=None)
"""Without rewrites of PyTensor's own"""
X = np.array([-800.0, -2.0, 0.5, 3.0, 800.0])


def derivatives(expression, x, order, clean=True):
    """Derivatives of the sum, one of the other."""
    found, expression = [], stabilize(expression)
    for _ in range(order):
        (expression,) = pt.grad(expression.sum(), [x])
        if clean:
            (expression,) = leave_out_branches([expression])
        found.append(expression)
    return pytensor.function([x], found, mode=PLAIN)(X)


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        # log(1 + exp(x)), whose exponential overflows where it is not used
        (
            lambda x: pt.switch(x > 30, x, pt.log(1 + pt.exp(x))),
            lambda x: (1 / (1 + np.exp(-x)), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2),
        ),
        # a square root of a negative number
        (
            lambda x: pt.switch(x < 0, 0.0, pt.sqrt(x) ** 3),
            lambda x: (1.5 * np.sqrt(np.maximum(x, 0)), np.where(x < 0, 0.0, 0.75 / np.sqrt(np.abs(x)))),
        ),
        # two switches, one in the other
        (
            lambda x: pt.switch(x < 0, x**2, pt.switch(x > 30, 3 * x, pt.log(x) * 2)),
            lambda x: (
                np.where(x < 0, 2 * x, np.where(x > 30, 3.0, 2 / x)),
                np.where(x < 0, 2.0, np.where(x > 30, 0.0, -2 / x**2)),
            ),
        ),
    ],
    ids=["overflow", "root", "nested"],
)
def test_no_nan_from_branches_not_taken(written, exact):
    x = pt.vector("x", dtype="float64")
    with np.errstate(all="ignore"):
        first, second = derivatives(written(x), x, 2)
        expected = exact(X)
    np.testing.assert_allclose(first, expected[0], rtol=1e-12, atol=1e-300)
    # the constant 30 is where exp(-30) is taken for zero
    np.testing.assert_allclose(second, expected[1], rtol=1e-10, atol=1e-13)


def test_shared_and_scalar_conditions():
    """A condition of another shape than what it chooses, and factors with several switches."""
    x = pt.matrix("x", dtype="float64")
    row, whole = pt.switch(x[0] > 0, pt.sqrt(x[0]), 0.0), pt.switch(x.sum() > 0, pt.exp(x), pt.exp(-x))
    value = (row * whole).sum()
    (plain,) = pt.grad(value, [x])
    (clean,) = leave_out_branches([plain])
    at = np.array([[0.5, 0.3, 2.0], [1.0, -0.7, 0.2]])
    a, b = pytensor.function([x], [plain, clean], mode=PLAIN)(at)
    np.testing.assert_allclose(b, a, rtol=1e-14)
    at[0, 1] = -0.3  # the root of a negative number in the branch not taken
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = pytensor.function([x], [plain, clean], mode=PLAIN)(at)
    assert np.isnan(a).any() and np.isfinite(b).all()
