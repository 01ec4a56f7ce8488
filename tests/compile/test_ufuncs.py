"""The forms in terms of ufuncs against PyTensor's own functions, one number at a time."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.tensor.elemwise import Elemwise

from pymc_inla.compile.mode import compile_function

X = np.concatenate([-np.logspace(2.9, -18, 60), [0.0], np.logspace(-18, 2.9, 60)])
FUNCTIONS = {
    "softplus": (pt.softplus, X),
    "log1mexp": (pt.log1mexp, X[X < 0]),
    "trigamma": (pt.tri_gamma, X[X > 1e-3]),
    "clip": (lambda x: pt.clip(x, -1.5, 2.5), X),
    "second": (lambda x: pt.second(x, pt.constant(np.float64(2.5))), X),
    "cast": (lambda x: pt.cast(x > 0, "float64") + pt.cast(pt.cast(x, "float32"), "float64"), X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name):
    function, points = FUNCTIONS[name]
    x = pt.dvector("x")
    ours = compile_function([x], function(x))
    slow = pytensor.function([x], function(x), mode=Mode(linker="py", optimizer=None))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(ours(points), slow(points), rtol=1e-14, atol=1e-300)
    left = [node.op.scalar_op for node in ours.nodes if isinstance(node.op, Elemwise)]
    # a cast to another type than float64 stays
    assert all(getattr(op, "nfunc_spec", None) or "float32" in str(op) for op in left)


def test_integers_keep_their_type():
    i = pt.lvector("i")
    function = compile_function([i], pt.second(i, pt.constant(np.int64(3))))
    found = function(np.arange(4))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, 3)
