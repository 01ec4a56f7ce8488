"""Linear predictors: where a likelihood is cut, and its log density as a function of one value per observation.

The graph of an observed variable is cut at its last affine nodes. The log density is then pulled back, observation by
observation: starting from the elements of the log density, every elementwise operation is applied to vectors over
observations, and every indexing or reshaping operation only moves the index. What remains is elementwise by
construction; an operation that mixes elements (a sum, a matrix product) on the way from a predictor is a coupling of
observations.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import Alloc, Join, MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.linalg.solvers.triangular import SolveTriangular
from pytensor.tensor.math import Dot
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.special import LogSoftmax, LogSumExp, Softmax
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor

from pymc_inla.analysis import loops
from pymc_inla.analysis.shapes import static_shape, take
from pymc_inla.errors import UnsupportedModelError

_REDUCTIONS = {"Add": pt.add, "Mul": pt.mul, "Maximum": pt.maximum, "Minimum": pt.minimum}

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
            return Elemwise(op.scalar_op)(
                *(self.pull(v, _unbroadcast(static_shape(v), shape, index)) for v in node.inputs)
            )
        if isinstance(op, CheckAndRaise | ScalarFromTensor | TensorFromScalar | SpecifyShape):
            return self.pull(node.inputs[0], index)
        if isinstance(op, DimShuffle | Reshape | Subtensor | AdvancedSubtensor | Alloc | JoinDims | SplitDims):
            moved = self._move(node, variable)
            return self.pull(node.inputs[0], moved[index])
        if isinstance(op, CAReduce | LogSumExp):
            return self._reduce(node, variable, index)
        if isinstance(op, Join):
            return self._join(node, variable, index)
        if isinstance(op, Softmax | LogSoftmax):
            return self._softmax(node, index)
        if isinstance(op, Dot):
            return self._dot(node, variable, index)
        if self._is_small_solve(node):
            return self._solve(node, variable, index)
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
        if isinstance(op, LogSumExp):
            return _logsumexp(parts)
        combine = _REDUCTIONS.get(type(op.scalar_op).__name__)
        if combine is None:
            raise self._coupled(op)
        return functools.reduce(combine, parts)

    def _join(self, node, variable, index):
        """A concatenation. An observation that looks into one part is given the nearest element of every other, which
        belongs to the same row and therefore to the same predictors, and does not use it."""
        axis, shape = node.op.axis, static_shape(variable)
        at = list(np.unravel_index(index, shape))
        lengths = [static_shape(v)[axis] for v in node.inputs]
        stops = np.cumsum(lengths)
        owner = np.searchsorted(stops, at[axis], side="right")
        used, parts = np.unique(owner), []
        for k in used:
            within = np.clip(at[axis] - (stops[k] - lengths[k]), 0, lengths[k] - 1)
            position = np.ravel_multi_index([*at[:axis], within, *at[axis + 1 :]], static_shape(node.inputs[k]))
            parts.append(self.pull(node.inputs[k], np.ascontiguousarray(position)))
        return _choose(parts, np.searchsorted(used, owner))

    def _softmax(self, node, index):
        """Softmax over the few classes of one observation."""
        shape, axes = static_shape(node.inputs[0]), node.op.axis
        axes = tuple(range(len(shape))) if axes is None else tuple(np.atleast_1d(axes) % len(shape))
        parts, own = self._along(node.inputs[0], axes, index, node.op)
        log_probability = _choose(parts, own) - _logsumexp(parts)
        return log_probability if isinstance(node.op, LogSoftmax) else pt.exp(log_probability)

    def _dot(self, node, variable, index):
        """A matrix product over few elements, as the outer product of two vectors is."""
        shapes = [static_shape(v) for v in node.inputs]
        length = shapes[0][1]
        if length > MAX_COMPONENTS:
            raise self._coupled(node.op)
        row, column = np.unravel_index(index, static_shape(variable))
        return sum(
            self.pull(node.inputs[0], row * length + k) * self.pull(node.inputs[1], k * shapes[1][1] + column)
            for k in range(length)
        )

    def _solve(self, node, variable, index):
        """L^-1 b for the short vector b of every observation and its triangular matrix L, or one that all of them
        share, as a covariance between the responses of one observation has it."""
        L, b = node.inputs
        core = node.op.core_op
        shape, (*of_b, size), of_L = static_shape(variable), static_shape(b), static_shape(L)
        if size > MAX_PREDICTORS:
            raise self._coupled(node.op)
        row, own = np.divmod(index, size)
        vector = _unbroadcast(tuple(of_b), shape[:-1], row)
        matrix = _unbroadcast(of_L[:-2], shape[:-1], row)
        L = L.reshape(of_L)
        solved = {}
        for i in range(size) if core.lower else range(size)[::-1]:
            rest = self.pull(b, vector * size + i)
            rest = rest - sum(self.pull(L[..., i, j], matrix) * solved[j] for j in solved)
            solved[i] = rest if core.unit_diagonal else rest / self.pull(L[..., i, i], matrix)
        return _choose(solved, own)

    def _along(self, source, axes, index, op):
        """The elements that share the other axes with each observation's own: (one vector per position along the axes,
        the position of the observation's own element)."""
        shape = static_shape(source)
        length = int(np.prod([shape[a] for a in axes], dtype=int))
        if length > MAX_COMPONENTS:
            raise self._coupled(op)
        positions = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        kept = [a for a in range(len(shape)) if a not in axes]
        lines = positions.transpose(*kept, *axes).reshape(-1, length)
        line, own = np.empty(lines.size, int), np.empty(lines.size, int)
        line[lines.ravel()], own[lines.ravel()] = np.divmod(np.arange(lines.size), length)
        columns = lines[line[index]]
        return [self.pull(source, np.ascontiguousarray(columns[:, k])) for k in range(length)], own[index]

    def _is_small_solve(self, node) -> bool:
        op = node.op
        if not (isinstance(op, Blockwise) and isinstance(op.core_op, SolveTriangular) and op.core_op.b_ndim == 1):
            return False
        return not self.depends(node.inputs[0])

    def _coupled(self, op):
        if loops.is_loop(op):
            return UnsupportedModelError(self.name, f"a latent variable enters it through {loops.REASON}", loops.ADVICE)
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
                "Merge rare classes, or write the counts of a multinomial as independent Poisson counts with a free "
                "intercept per trial, which give the same posterior, or sample this model with pm.sample.",
            )
        return placeholder


def _logsumexp(parts):
    """Elementwise, so that it takes any number of linear predictors at once."""
    largest = functools.reduce(pt.maximum, parts)
    # where every part is log(0) the difference would be none
    largest = pt.switch(pt.isinf(largest), 0.0, largest)
    return largest + pt.log(sum(pt.exp(p - largest) for p in parts))


def _unbroadcast(shape: tuple[int, ...], broadcast: tuple[int, ...], index: np.ndarray) -> np.ndarray:
    """Flat positions in an array of this shape of the elements `index` of what it is broadcast to"""
    if shape == broadcast:
        return index
    at = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), broadcast)
    return np.ascontiguousarray(at).ravel()[index]


def _choose(parts, which: np.ndarray):
    """Element `which` of the parts for every observation."""
    chosen = parts[which[0]]
    for k in np.unique(which):
        if k != which[0]:
            chosen = pt.switch(pt.constant(which == k), parts[k], chosen)
    return chosen
