"""Exact sparse form of an expression that is affine in the latent variables.

`AffineExpression` walks the graph from the latents to the output and carries a pair (A, offset) for every variable that
depends on them: indexing operations are replayed on positions, sums and products act on the sparse matrices, and
everything that does not depend on the latents is evaluated numerically. An Op without a rule is applied to unit
vectors.
"""

from dataclasses import dataclass

import numpy as np
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, toposort
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import Alloc, Join, MakeVector, ScalarFromTensor, Split, TensorFromScalar
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import Dot
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
    indices_from_subtensor,
)
from scipy import sparse

from pymc_inla.compile.mode import compile_function, split_theta
from pymc_inla.errors import InvalidDataError

_MOVES = (DimShuffle, Reshape, Subtensor, AdvancedSubtensor, Alloc, JoinDims, SplitDims)
_IDENTITIES = (CheckAndRaise, ScalarFromTensor, TensorFromScalar, SpecifyShape)
_PIECEWISE = {
    *("Abs", "Sign", "Maximum", "Minimum", "Clip", "Switch", "LT", "LE", "GT", "GE", "EQ", "NEQ"),
    *("Floor", "Ceil", "Trunc", "RoundHalfToEven", "RoundHalfAwayFromZero", "Mod"),
}
"""Elementwise operations of hyperparameters whose result may be zero in a region, and not in another"""


@dataclass(frozen=True)
class Affine:
    """offset + A x, flattened in C order."""

    A: sparse.csr_array
    """(size, n_x)"""
    offset: np.ndarray
    """array of the variable's shape"""

    @property
    def shape(self):
        return self.offset.shape

    def rows(self, positions: np.ndarray) -> "Affine":
        """The elements at these flat positions, in the shape of `positions`."""
        flat = positions.ravel()
        if len(flat) == self.A.shape[0] and np.array_equal(flat, np.arange(len(flat))):
            return Affine(self.A, self.offset.reshape(positions.shape))
        return Affine(self.A[flat], self.offset.ravel()[flat].reshape(positions.shape))


class AffineExpression:
    """An affine expression, ready to be evaluated at any theta.

    Parameters
    ----------
    output : vector that is affine in the latents
    latents, hyperparameters : of the LatentGaussianModel
    """

    def __init__(self, output: Variable, latents, hyperparameters):
        self.output = output
        self.latents, self.hyperparameters = latents, hyperparameters
        self.n_x = sum(v.size for v in latents)
        symbols = {v.variable for v in latents}
        self.nodes, dependent = [], set(symbols)
        reached = _reached_by_value(output)
        for node in toposort([output], blockers=symbols):
            if node in reached and any(v in dependent for v in _values(node)):
                self.nodes.append(node)
                dependent.update(node.outputs)
        self.dependent = dependent
        needed = {v for node in self.nodes for v in node.inputs if v not in dependent}
        if output not in dependent:
            needed.add(output)
        # shapes of dependent variables are inputs of some nodes; they are evaluated like any other value
        needed = [v for v in needed if not hasattr(v.type, "is_rng")]
        self.constants = {v: v.data for v in needed if isinstance(v, Constant)}
        self.computed = [v for v in needed if not isinstance(v, Constant) and _numeric(v)]
        theta = [h.variable for h in hyperparameters]
        self.piecewise = {v for v in self.computed if _is_piecewise(v, set(theta))}
        zeros = {v.variable: np.zeros(v.shape) for v in latents}
        self._zeros = list(zeros.values())
        self._evaluate = compile_function([*theta, *zeros], self.computed) if self.computed else None

    def pattern(self, theta: np.ndarray) -> sparse.csr_array:
        """A matrix whose entries are those that A has at one theta, or where values given by pieces of hyperparameters
        (a hinge at an unknown knot) come from other pieces."""
        return self(theta, np.random.default_rng(2)).A

    def __call__(self, theta: np.ndarray, any_piece: np.random.Generator | None = None) -> Affine:
        """(A, offset) at one theta; with a generator, values given by pieces are random numbers, which neither vanish
        nor cancel."""
        value = dict(self.constants)
        if self._evaluate is not None:
            value.update(
                zip(self.computed, self._evaluate(*split_theta(theta, self.hyperparameters), *self._zeros), strict=True)
            )
        for v in self.piecewise if any_piece is not None else ():
            if v.type.dtype == "bool":
                value[v] = None
            elif v.type.dtype.startswith("float"):
                value[v] = any_piece.uniform(0.5, 1.0, np.shape(value[v]))
        affine: dict[Variable, Affine] = {}
        for v in self.latents:
            columns = np.arange(v.start, v.stop)
            A = sparse.csr_array((np.ones(v.size), columns, np.arange(v.size + 1)), shape=(v.size, self.n_x))
            affine[v.variable] = Affine(A, np.zeros(v.shape))
        if self.output not in self.dependent:
            constant = np.asarray(value[self.output], float)
            return Affine(sparse.csr_array((constant.size, self.n_x)), constant)
        for node in self.nodes:
            if isinstance(node.op, Split):
                affine.update(_split(node, affine[node.inputs[0]], value))
            else:
                affine[node.outputs[0]] = _apply(node, affine, value, self.n_x)
        return affine[self.output]


def _is_piecewise(variable, theta: set) -> bool:
    above = set(ancestors([variable]))
    names = {type(v.owner.op.scalar_op).__name__ for v in above if v.owner and isinstance(v.owner.op, Elemwise)}
    return bool(above & theta) and not names.isdisjoint(_PIECEWISE)


def _reached_by_value(output) -> set:
    """Nodes whose values matter for the output; the others give it a shape at most."""
    reached, stack = set(), [output]
    while stack:
        node = stack.pop().owner
        if node is not None and node not in reached:
            reached.add(node)
            stack.extend(_values(node))
    return reached


def _numeric(variable) -> bool:
    return hasattr(variable.type, "dtype")


def _values(node):
    """Inputs whose values matter."""
    if type(node.op).__name__ in {"Shape", "Shape_i", "MakeSlice"}:
        return []
    if isinstance(node.op, Elemwise) and type(node.op.scalar_op).__name__ == "Second":
        return node.inputs[1:]
    if isinstance(node.op, _MOVES + _IDENTITIES):
        return node.inputs[:1]
    return node.inputs


def _apply(node, affine, value, n_x) -> Affine:
    op = node.op
    if isinstance(op, _IDENTITIES):
        return affine[node.inputs[0]]
    if isinstance(op, _MOVES):
        source = affine[node.inputs[0]]
        positions = np.arange(source.offset.size).reshape(source.shape)
        try:
            kept = _perform(node, [positions, *(value[v] for v in node.inputs[1:])])
        except IndexError as error:
            raise InvalidDataError(
                f"An index into a latent variable is out of bounds: {error}. Indices count from 0 to the number of "
                "levels less 1; pandas.factorize makes such indices out of labels."
            ) from error
        return source.rows(kept)
    if isinstance(op, Elemwise):
        result = _elementwise(node, affine, value, n_x)
    elif isinstance(op, Join | MakeVector):
        result = _concatenate(node, affine, value, n_x)
    elif isinstance(op, IncSubtensor | AdvancedIncSubtensor) and op.set_instead_of_inc:
        result = _concatenate(node, affine, value, n_x, n_values=2)
    elif isinstance(op, IncSubtensor | AdvancedIncSubtensor):
        result = _increment(node, affine, value, n_x)
    elif isinstance(op, CAReduce):
        result = _sum(node, affine)
    elif isinstance(op, Dot) or (
        isinstance(op, Blockwise) and isinstance(op.core_op, Dot) and node.outputs[0].ndim == 2
    ):
        result = _dot(node, affine, value)
    else:
        result = None
    return _by_unit_vectors(node, affine, value, n_x) if result is None else result


def _perform(node, inputs):
    """The output of a node on positions (integers) instead of its first input."""
    storage = [[None] for _ in node.outputs]
    first = node.inputs[0]
    typed = node.clone_with_new_inputs([first.type.clone(dtype="int64")(), *node.inputs[1:]], strict=False)
    typed.op.perform(typed, inputs, storage)
    return np.asarray(storage[0][0])


def _elementwise(node, affine, value, n_x):
    name = type(node.op.scalar_op).__name__
    dependent = [v in affine for v in node.inputs]
    if name == "Second":
        shape = np.broadcast_shapes(*(affine[v].shape if v in affine else np.shape(value[v]) for v in node.inputs))
        return _broadcast(affine[node.inputs[1]], shape)
    shape = np.broadcast_shapes(*(affine[v].shape if v in affine else np.shape(value[v]) for v in node.inputs))
    parts = [
        _broadcast(affine[v], shape) if d else np.broadcast_to(value[v], shape)
        for v, d in zip(node.inputs, dependent, strict=True)
    ]
    if name in {"Identity", "Cast"}:
        return parts[0]
    if name == "Neg":
        return Affine(-parts[0].A, -parts[0].offset)
    if name in {"Add", "Sub"}:
        total, offset = None, np.zeros(shape)
        for k, (p, d) in enumerate(zip(parts, dependent, strict=True)):
            sign = -1.0 if name == "Sub" and k == 1 else 1.0
            offset = offset + sign * (p.offset if d else p)
            if d:
                total = sign * p.A if total is None else total + sign * p.A
        return Affine(sparse.csr_array(total), offset)
    if name == "Mul" and sum(dependent) == 1:
        factor = np.ones(shape)
        for p, d in zip(parts, dependent, strict=True):
            factor = factor if d else factor * p
        return _scale(parts[dependent.index(True)], factor)
    if name == "Pow" and dependent == [True, False] and np.all(np.asarray(value[node.inputs[1]]) == 1):
        return parts[0]  # what differentiating a square leaves
    if name == "TrueDiv" and dependent == [True, False]:
        return _scale(parts[0], 1.0 / np.asarray(parts[1], float))
    if name == "Switch" and dependent[0] is False:
        chosen = [
            Affine(sparse.csr_array((p.size, n_x)), p) if not d else p
            for p, d in zip(parts[1:], dependent[1:], strict=True)
        ]
        if value[node.inputs[0]] is None:  # any piece
            return Affine(sparse.csr_array(chosen[0].A + chosen[1].A), chosen[0].offset + chosen[1].offset)
        positions = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        return _stack(chosen).rows(np.where(parts[0], positions, positions + positions.size))
    return None


def _scale(a: Affine, factor) -> Affine:
    """Row scaling that keeps entries whose factor is zero: the pattern must not depend on values."""
    factor = np.asarray(factor, float)
    A = sparse.csr_array(a.A, copy=True)
    A.data = A.data * np.repeat(factor.ravel(), np.diff(A.indptr))
    return Affine(A, a.offset * factor)


def _broadcast(a: Affine, shape) -> Affine:
    if a.shape == tuple(shape):
        return a
    return a.rows(np.broadcast_to(np.arange(a.offset.size).reshape(a.shape), shape))


def _stack(parts) -> Affine:
    return Affine(
        sparse.csr_array(sparse.vstack([p.A for p in parts], format="csr")),
        np.concatenate([p.offset.ravel() for p in parts]),
    )


def _concatenate(node, affine, value, n_x, n_values=None):
    inputs = node.inputs[:n_values]
    parts = []
    for v in inputs:
        known = affine.get(v)
        if known is None:
            known = _constant(np.asarray(value[v], float), n_x)
        parts.append(known)
    starts = np.concatenate([[0], np.cumsum([p.offset.size for p in parts])])
    positions = [np.arange(p.offset.size).reshape(p.shape) + s for p, s in zip(parts, starts, strict=False)]
    if isinstance(node.op, Join):
        moved = np.concatenate(positions, axis=node.op.axis)
    elif isinstance(node.op, MakeVector):
        moved = np.array([int(p) for p in positions])
    else:
        storage = [[None]]
        types = [v.type.clone(dtype="int64")() for v in inputs]
        typed = node.clone_with_new_inputs([*types, *node.inputs[2:]], strict=False)
        typed.op.perform(typed, [*positions, *(value[v] for v in node.inputs[2:])], storage)
        moved = storage[0][0]
    return _stack(parts).rows(moved)


def _increment(node, affine, value, n_x):
    """x with y added at an index, as the gradient of an indexing operation has it; repeated positions add up."""
    base, added = (affine[v] if v in affine else _constant(np.asarray(value[v], float), n_x) for v in node.inputs[:2])
    index = indices_from_subtensor([value[v] for v in node.inputs[2:]], node.op.idx_list)
    target = np.arange(base.offset.size).reshape(base.shape)[index]
    added = _broadcast(added, np.shape(target))
    shape = (base.offset.size, target.size)
    scatter = sparse.csr_array((np.ones(target.size), (target.ravel(), np.arange(target.size))), shape=shape)
    offset = base.offset + (scatter @ added.offset.ravel()).reshape(base.shape)
    return Affine(sparse.csr_array(base.A + scatter @ added.A), offset)


def _constant(offset: np.ndarray, n_x: int) -> Affine:
    return Affine(sparse.csr_array((offset.size, n_x)), offset)


def _split(node, source, value):
    """The parts of a split, by output variable."""
    positions = np.arange(source.offset.size).reshape(source.shape)
    sizes = np.asarray(value[node.inputs[1]], int)
    parts = np.split(positions, np.cumsum(sizes)[:-1], axis=node.op.axis)
    return {v: source.rows(p) for v, p in zip(node.outputs, parts, strict=True)}


def _sum(node, affine):
    if type(node.op.scalar_op).__name__ != "Add":
        return None
    a = affine[node.inputs[0]]
    offset = np.asarray(a.offset.sum(axis=node.op.axis))
    target = np.broadcast_to(
        np.arange(offset.size).reshape(np.sum(a.offset, axis=node.op.axis, keepdims=True).shape), a.shape
    ).ravel()
    G = sparse.csr_array(
        (np.ones(a.offset.size), (target, np.arange(a.offset.size))), shape=(offset.size, a.offset.size)
    )
    return Affine(sparse.csr_array(G @ a.A), offset)


def _dot(node, affine, value):
    left, right = node.inputs
    if left in affine and right in affine:
        return None
    if right in affine:
        M, a = value[left], affine[right]
        if np.ndim(M) == 1:
            M = np.reshape(M, (1, -1))
        columns = a.shape[1] if a.offset.ndim == 2 else 1
        operator = _full(M) if columns == 1 else sparse.kron(_full(M), sparse.eye_array(columns), format="csr")
        offset = np.asarray(value[left] @ a.offset)
    else:
        M, a = value[right], affine[left]
        if np.ndim(M) == 1:
            M = np.reshape(M, (-1, 1))
        rows = a.shape[0] if a.offset.ndim == 2 else 1
        operator = _full(M.T) if rows == 1 else sparse.kron(sparse.eye_array(rows), _full(M.T), format="csr")
        offset = np.asarray(a.offset @ value[right])
    return Affine(sparse.csr_array(operator @ a.A), offset)


def _full(M) -> sparse.csr_array:
    """CSR with every entry of a dense matrix stored: zeros in data are part of the pattern of the next data set."""
    if sparse.issparse(M):
        return sparse.csr_array(M)
    M = np.asarray(M, float)
    rows, columns = M.shape
    # a dummy or indicator matrix is sparse for good; a dense covariate that happens to hold a zero is not
    if np.count_nonzero(M) < 0.3 * M.size:
        return sparse.csr_array(M)
    return sparse.csr_array(
        (M.ravel(), np.tile(np.arange(columns), rows), np.arange(0, M.size + 1, columns)), shape=M.shape
    )


def _by_unit_vectors(node, affine, value, n_x):
    """Any other linear Op: its matrix is what it does to unit vectors of its dependent inputs. An Op that works on
    every member of a batch by itself gets one unit vector of all members at once."""
    dependent = [v for v in dict.fromkeys(node.inputs) if v in affine]
    fixed = [v for v in dict.fromkeys(node.inputs) if v not in affine and not isinstance(v, Constant)]
    fresh = node.clone()
    function = compile_function(
        [*dict.fromkeys(v for v in node.inputs if not isinstance(v, Constant))], fresh.outputs[:1]
    )
    order = list(dict.fromkeys(v for v in node.inputs if not isinstance(v, Constant)))
    point = {v: affine[v].offset for v in dependent} | {v: value[v] for v in fixed}
    (offset,) = function(*(point[v] for v in order))
    offset = np.asarray(offset, float)
    zero = {v: np.zeros(affine[v].shape) if v in affine else value[v] for v in order}
    (origin,) = function(*(zero[v] for v in order))
    A = sparse.csr_array((offset.size, n_x))
    n_batch = node.op.batch_ndim(node) if isinstance(node.op, Blockwise) else 0
    for v in dependent:
        shape, size = affine[v].shape, affine[v].offset.size
        if size == 0:
            continue
        position, entries = np.arange(size).reshape(shape), []
        for k in np.ndindex(shape[n_batch:]):
            unit = np.zeros(shape)
            unit[..., *k] = 1.0
            (column,) = function(*(unit if w is v else zero[w] for w in order))
            change = np.asarray(column, float) - origin
            members = position[..., *k].reshape(shape[:n_batch] + (1,) * (offset.ndim - n_batch))
            rows = np.flatnonzero(change)
            entries.append((change.ravel()[rows], rows, np.broadcast_to(members, offset.shape).ravel()[rows]))
        values, rows, columns = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        A = A + sparse.csr_array((values, (rows, columns)), shape=(offset.size, size)) @ affine[v].A
    return Affine(sparse.csr_array(A), offset)
