"""Elementwise operations that PyTensor runs through a Python function per number, in terms of those that are ufuncs.

Only for graphs that run through NumPy: compiled code has its own form of each.
"""

import numpy as np
import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.scalar.math import Log1mexp, Softplus, TriGamma
from pytensor.tensor.elemwise import Elemwise

from pymc_inla.compile import complement, normal_tail


def _softplus(x):
    return pt.maximum(x, 0.0) + pt.log1p(pt.exp(-pt.abs(x)))


def _log1mexp(x):
    # Maechler (2012): each branch where it does not cancel
    near_zero = x > -np.log(2.0)
    inner = pt.log(-pt.expm1(pt.switch(near_zero, x, -1.0)))
    outer = pt.log1p(-pt.exp(pt.switch(near_zero, -1.0, x)))
    return pt.switch(near_zero, inner, outer)


FORMS = {
    Softplus: _softplus,
    Log1mexp: _log1mexp,
    TriGamma: lambda x: pt.polygamma(1, x),
    ps.Second: lambda shape, value: pt.switch(np.True_, value, shape),
    ps.Clip: lambda x, low, high: pt.minimum(pt.maximum(x, low), high),
    ps.Identity: lambda x: x,
    ps.Cast: lambda x: x * np.float64(1.0),
    **normal_tail.FORMS,
    **complement.FORMS,
    complement.LogComplement: _log1mexp,
}


@node_rewriter([Elemwise])
def use_ufuncs(fgraph, node):
    """The same values of the same type, or no change."""
    form = FORMS.get(type(node.op.scalar_op))
    (out,) = node.outputs if len(node.outputs) == 1 else (None,)
    if form is None or out.dtype != "float64":
        return None
    new = form(*node.inputs)
    return [new] if new.dtype == "float64" and new.type.broadcastable == out.type.broadcastable else None
