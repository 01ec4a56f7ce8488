"""The log-likelihood of one observed variable or potential, as a function of its linear predictors."""

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.basic import logp
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import applys_between
from pytensor.tensor.elemwise import CAReduce, DimShuffle
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape, Shape_i

from pymc_inla.analysis.affine import Label, label_graph
from pymc_inla.analysis.classify import find_cuts
from pymc_inla.analysis.differentiable import check_operations
from pymc_inla.analysis.inline import write_out
from pymc_inla.analysis.jumps import refuse_jumps
from pymc_inla.analysis.pullback import Pullback
from pymc_inla.analysis.shapes import static_shape
from pymc_inla.analysis.small_cholesky import write_out_small_factors
from pymc_inla.lgm import LikelihoodTerm


def likelihood_term(roles, frozen, rv, symbols):
    """(LikelihoodTerm or None, log density that depends on theta only or None) of one observed variable."""
    value = frozen.rvs_to_values[rv]
    observed = roles.given_parents(rv)
    labels = label_graph([observed], symbols)
    if labels.of(observed) is Label.INDEPENDENT:
        return None, logp(observed, value).sum()
    cuts = find_cuts([observed], labels, int(np.prod(static_shape(observed), dtype=int)))
    stand_ins = name_cuts(cuts)
    (cut,) = clone_replace([observed], {c: s for s, c in stand_ins.items()}, rebuild_strict=False)
    cut = with_plain_constants(cut)
    density = write_out_small_factors(write_out(logp(cut, value)))
    check_operations(rv.name, [density], [*stand_ins, *roles.initial()])
    refuse_jumps(rv.name, density, list(stand_ins), roles.initial())
    shape = static_shape(density)
    data = np.asarray(value.data) if hasattr(value, "data") else None
    term = pull_back(rv.name, density, stand_ins)
    term = LikelihoodTerm(
        rv.name, shape, *term, distribution=distribution_of(cut, stand_ins, term, shape), observed=data
    )
    return term, None


def name_cuts(cuts) -> dict:
    """Inputs that stand for the predictors, of the same type and with known shapes."""
    return {pt.TensorType(c.dtype, static_shape(c))(f"cut{k}"): c for k, c in enumerate(cuts)}


def pull_back(name, density, stand_ins):
    """(placeholders, predictors, log density of every observation) of one term."""
    pullback = Pullback(stand_ins, name)
    n = int(np.prod(static_shape(density), dtype=int))
    logp_vector = pullback.pull(with_known_shapes(density, stand_ins), np.arange(n))
    return tuple(pullback.placeholders), tuple(pullback.eta), pt.broadcast_to(logp_vector, (n,))


def with_plain_constants(rv):
    """The same random variable whose constant parameters are constants, not reshaped ones.

    PyMC's density of a one-sided truncation looks for a bound that is the constant infinity; past a bound that is
    reshaped its derivatives are NaN.
    """
    plain = {}
    for node in applys_between([], [rv]):
        for v in node.inputs if isinstance(node.op, RandomVariable) else []:
            if v.owner is not None and isinstance(v.owner.op, DimShuffle) and isinstance(v.owner.inputs[0], Constant):
                (value,) = constant_fold((v,))
                plain[v] = v.type.filter_variable(pt.constant(value, dtype=v.dtype))
    return clone_replace([rv], plain, rebuild_strict=False)[0] if plain else rv


def with_known_shapes(density, stand_ins):
    """The same graph with numbers in place of the shapes of everything that depends on a predictor."""
    known = {}
    for node in applys_between(list(stand_ins), [density]):
        if isinstance(node.op, Shape):
            known[node.outputs[0]] = pt.constant(np.array(static_shape(node.inputs[0]), dtype="int64"))
        elif isinstance(node.op, Shape_i):
            known[node.outputs[0]] = pt.constant(np.int64(static_shape(node.inputs[0])[node.op.i]))
    if not known:
        return density
    (density,) = clone_replace([density], known, rebuild_strict=False)
    return density


def distribution_of(cut, stand_ins, pulled, shape):
    """The observed variable over observations, (n_obs,), where its parameters can be pulled back; otherwise None."""
    op = cut.owner.op
    if not isinstance(op, RandomVariable) or op.ndim_supp or any(op.ndims_params):
        return None
    pullback = Pullback(stand_ins, "")
    pullback._placeholder = lambda variable, index: _same_placeholder(variable, index, stand_ins, pulled)
    parameters = []
    for p in op.dist_params(cut.owner):
        p_shape = static_shape(p)
        at = np.broadcast_to(np.arange(int(np.prod(p_shape))).reshape(p_shape), shape).ravel()
        try:
            parameters.append(pullback.pull(p, at))
        except LookupError:
            return None
    rng, *_ = cut.owner.inputs
    return op.make_node(rng, None, *parameters).outputs[1]


def _same_placeholder(variable, index, stand_ins, pulled):
    placeholders = pulled[0]
    k = list(stand_ins).index(variable)
    if len(placeholders) != len(stand_ins):
        raise LookupError("the predictors are indexed in more than one way")
    return placeholders[k]


def potential_term(roles, name, value, labels):
    while value.owner is not None and isinstance(value.owner.op, CAReduce) and value.ndim == 0:
        if type(value.owner.op.scalar_op).__name__ != "Add":
            break
        value = value.owner.inputs[0]
    cuts = find_cuts([value], labels, int(np.prod(static_shape(value), dtype=int)))
    stand_ins = name_cuts(cuts)
    (cut,) = clone_replace([value], {c: s for s, c in stand_ins.items()}, rebuild_strict=False)
    refuse_jumps(name, cut, list(stand_ins), roles.initial())
    return LikelihoodTerm(name, static_shape(value), *pull_back(name, cut, stand_ins))
