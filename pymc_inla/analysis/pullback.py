"""Linear predictors: where a likelihood is cut, and its log density as a function of one value per observation.

The graph of an observed variable is cut at its last affine nodes. The log density is then pulled back, observation by
observation: starting from the elements of the log density, every elementwise operation is applied to vectors over
observations, and every indexing or reshaping operation only moves the index. What remains is elementwise by
construction; an operation that mixes elements (a sum, a matrix product) on the way from a predictor is a coupling of
observations.
"""

from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import Alloc, Join, MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.special import LogSumExp
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor

from pymc_inla.analysis.shapes import static_shape, take
from pymc_inla.errors import UnsupportedModelError

_REDUCTIONS = {"Add": pt.sum, "Mul": pt.prod, "Maximum": pt.max, "Minimum": pt.min}

MAX_COMPONENTS = 32
"""Elements of a reduction that may belong to one observation"""

MAX_PREDICTORS = 4
"""Linear predictors an observation may see; blocks of W grow with the square"""


@dataclass
class Pullback:
    """Expressions over observations for one likelihood term.

    Parameters
    ----------
    cuts : dict
        Stand-in for each predictor (the type of the predictor) to the predictor itself.
    name : str
        Of the likelihood, for the refusal.
    """

    cuts: dict[Variable, Variable]
    name: str

    def __post_init__(self):
        self.placeholders: list[Variable] = []
        self.eta: list[Variable] = []
        self._known: dict = {}
        self._dependent: dict[Variable, bool] = {}

    def depends(self, variable: Variable) -> bool:
        if variable not in self._dependent:
            self._dependent[variable] = any(a in self.cuts for a in ancestors([variable]))
        return self._dependent[variable]

    def pull(self, variable: Variable, index: np.ndarray) -> Variable:
        """The elements `index` (flat positions, one per observation) of a variable, as a vector over observations."""
        key = (variable, index.tobytes())
        if key not in self._known:
            self._known[key] = self._pull(variable, index)
        return self._known[key]

    def _pull(self, variable, index):
        if variable in self.cuts:
            return self._placeholder(variable, index)
        if not self.depends(variable):
            if all(variable.type.broadcastable):
                return variable.reshape(()) if variable.ndim else variable
            return take(variable, index)
        node = variable.owner
        op = node.op
        if isinstance(op, Elemwise):
            shape = static_shape(variable)
            pulled = []
            for v in node.inputs:
                at = np.broadcast_to(np.arange(int(np.prod(static_shape(v)))).reshape(static_shape(v)), shape)
                pulled.append(self.pull(v, np.ascontiguousarray(at).ravel()[index]))
            return Elemwise(op.scalar_op)(*pulled)
        if isinstance(op, CheckAndRaise | ScalarFromTensor | TensorFromScalar | SpecifyShape):
            return self.pull(node.inputs[0], index)
        if isinstance(op, DimShuffle | Reshape | Subtensor | AdvancedSubtensor | Alloc | JoinDims | SplitDims):
            moved = self._move(node, variable)
            return self.pull(node.inputs[0], moved[index])
        if isinstance(op, CAReduce | LogSumExp):
            return self._reduce(node, variable, index)
        if isinstance(op, Join):
            return self._join(node, variable, index)
        if isinstance(op, MakeVector) and len(set(index.tolist())) == 1:
            return self.pull(node.inputs[int(index[0])], np.zeros_like(index))
        raise self._coupled(op)

    def _reduce(self, node, variable, index):
        """A reduction over few elements that belong to one observation, as over the components of a mixture."""
        source, op = node.inputs[0], node.op
        shape = static_shape(source)
        axes = tuple(range(len(shape))) if op.axis is None else tuple(np.atleast_1d(op.axis))
        length = int(np.prod([shape[a] for a in axes], dtype=int))
        if length > MAX_COMPONENTS:
            raise self._coupled(op)
        positions = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        kept = [a for a in range(len(shape)) if a not in axes]
        columns = positions.transpose(*kept, *axes).reshape(-1, length)[index]
        parts = [self.pull(source, np.ascontiguousarray(columns[:, k])) for k in range(length)]
        reduce = pt.logsumexp if isinstance(op, LogSumExp) else _REDUCTIONS.get(type(op.scalar_op).__name__)
        if reduce is None:
            raise self._coupled(op)
        return reduce(pt.stack([pt.broadcast_to(p, (len(index),)) for p in parts]), axis=0)

    def _join(self, node, variable, index):
        """A concatenation, when all observations look into the same part of it."""
        axis = node.op.axis
        parts = node.inputs
        owner = np.concatenate([np.full(static_shape(v), k) for k, v in enumerate(parts)], axis).ravel()[index]
        within = [np.arange(int(np.prod(static_shape(v), dtype=int))).reshape(static_shape(v)) for v in parts]
        within = np.concatenate(within, axis).ravel()[index]
        if len(np.unique(owner)) > 1:
            raise self._coupled(node.op)
        return self.pull(parts[owner[0]], within)

    def _coupled(self, op):
        return UnsupportedModelError(
            self.name,
            f"its log density couples observations through a latent variable (operation {op})",
            "The engine needs likelihoods in which every observation depends on its own linear predictors. "
            "Rewrite the likelihood elementwise, or sample this model with pm.sample.",
        )

    def _move(self, node, variable) -> np.ndarray:
        """Flat positions in the first input that the elements of the output come from."""
        source = node.inputs[0]
        shape = static_shape(source)
        positions = pt.constant(np.arange(int(np.prod(shape)), dtype="int64").reshape(shape))
        others = constant_fold(tuple(node.inputs[1:]), raise_not_constant=False)
        if not all(isinstance(v, Constant | np.ndarray | np.generic | int) for v in others):
            raise self._coupled(node.op)
        moved = [[None]]
        typed = node.clone_with_new_inputs([positions, *node.inputs[1:]], strict=False)
        values = [getattr(v, "data", v) if isinstance(v, Constant) else v for v in others]
        typed.op.perform(typed, [positions.data, *values], moved)
        return np.asarray(moved[0][0]).ravel()

    def _placeholder(self, variable, index):
        placeholder = pt.vector(f"eta{len(self.eta)}_{self.name}", shape=(len(index),), dtype="float64")
        self.placeholders.append(placeholder)
        self.eta.append(take(self.cuts[variable], index))
        if len(self.eta) > MAX_PREDICTORS:
            raise UnsupportedModelError(
                self.name,
                f"an observation depends on more than {MAX_PREDICTORS} linear predictors",
                "Sample this model with pm.sample.",
            )
        return placeholder
