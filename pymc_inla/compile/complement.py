"""log(1 - exp(x)), x < 0, with derivatives that are finite everywhere.

With r = exp(x) / (1 - exp(x)), the odds of a probability exp(x),

    d log(1 - exp(x)) / dx = -r,    dr / dx = r (1 + r),

so that all further ones are products of what is known already. PyTensor's are infinite over infinite far out.
"""

import pytensor.scalar as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.scalar.math import Log1mexp
from pytensor.tensor.elemwise import Elemwise
from scipy import special

from pymc_inla.compile.graph import is_elementwise


class LogComplement(Log1mexp):
    """log(1 - exp(x))"""

    def pullback(self, inputs, outputs, output_gradients):
        return [-output_gradients[0] * odds_of_scalar(*inputs)]


class Odds(ps.UnaryScalarOp):
    """exp(x) / (1 - exp(x))"""

    def impl(self, x):
        return 1.0 / special.expm1(-x)

    def pullback(self, inputs, outputs, output_gradients):
        (r,) = outputs
        return [output_gradients[0] * r * (1.0 + r)]


odds_of_scalar = Odds(ps.upgrade_to_float, name="odds")
log_complement = Elemwise(LogComplement(ps.upgrade_to_float, name="log_complement"))

FORMS = {LogComplement: pt.log1mexp, Odds: lambda x: 1.0 / pt.expm1(-x)}


def written_out(node) -> Variable | None:
    """The result of an operation of this file in functions that every backend has."""
    return FORMS[type(node.op.scalar_op)](*node.inputs) if is_elementwise(node, (LogComplement, Odds)) else None
