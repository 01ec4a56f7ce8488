"""Which free variables are latent, as a fixed point.

Every Gaussian variable is a candidate. A candidate that enters a scale, a hyperprior, a product with another candidate
or a response function in a way that is not affine becomes a hyperparameter, if it is small enough; otherwise the model
is refused by name.
"""

from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import SymbolicRandomVariable
from pymc.distributions.multivariate import CARRV
from pymc.distributions.timeseries import AutoRegressiveRV, RandomWalkRV
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, applys_between, toposort
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.op import RandomVariable

from pymc_inla.analysis import loops
from pymc_inla.analysis.affine import Label, is_move, label_graph, value_inputs
from pymc_inla.analysis.latent_priors import has_gaussian_density
from pymc_inla.analysis.merge import merge_predictors
from pymc_inla.analysis.shapes import static_shape
from pymc_inla.errors import UnsupportedModelError

MAX_DEMOTED = 20
"""Elements of a latent variable that may still be treated as hyperparameters"""


@dataclass
class Roles:
    """Which free variables are latent, and what every random variable is replaced by."""

    model: pm.Model
    point: dict
    """Initial values by name"""
    latents: list = field(default_factory=list)
    predicted: list = field(default_factory=list)
    variable: dict = field(default_factory=dict)
    """random variable -> symbolic input (latents) or value variable (hyperparameters)"""
    replacement: dict = field(default_factory=dict)
    """random variable -> expression in the symbolic inputs, on the natural scale"""
    reasons: dict = field(default_factory=dict)

    def value_of(self, graphs):
        return clone_replace(list(graphs), self.replacement, rebuild_strict=False)

    def initial(self) -> dict:
        """Value variable -> initial value of the free variables that are not latent."""
        return {v: self.point[v.name] for rv, v in self.variable.items() if rv not in self.latents}

    def given_parents(self, rv):
        """An observed variable itself, with everything that its parameters depend on replaced."""
        parents = {v: to for v, to in self.replacement.items() if v is not rv}
        (observed,) = clone_replace([rv], parents, rebuild_strict=False)
        return self._with_each_predictor_once(observed)

    def value_of_potential(self, potential):
        """A potential with everything that it depends on replaced."""
        (value,) = self.value_of([potential])
        return self._with_each_predictor_once(value)

    def _with_each_predictor_once(self, output):
        return merge_predictors(output, [self.variable[rv] for rv in self.latents], self.initial())


def build_roles(model, latents, predicted, point) -> Roles:
    """What every free variable is replaced by, for one choice of latents; `point` has the shapes of the values."""
    roles = Roles(model, point, list(latents), list(predicted))
    for rv in model.observed_RVs:
        # where another variable depends on it, as on a mediator or a covariate with missing values
        roles.replacement[rv] = model.rvs_to_values[rv].astype(rv.dtype)
    for rv in model.free_RVs:
        if rv in predicted:
            continue
        value, transform = model.rvs_to_values[rv], model.rvs_to_transforms[rv]
        if rv in latents:
            # a transform here is that of a constraint: the latent is the full vector, not its free coordinates
            shape = np.shape(point[value.name]) if transform is None else static_shape(rv)
            variable = pt.TensorType("float64", shape)(rv.name)
            roles.variable[rv] = roles.replacement[rv] = variable
        else:
            roles.variable[rv] = value
            if transform is None:
                roles.replacement[rv] = value
            else:
                inputs = clone_replace(list(rv.owner.inputs), roles.replacement, rebuild_strict=False)
                roles.replacement[rv] = transform.backward(value, *inputs)
    return roles


GAUSSIAN = {"NormalRV", "MvNormalRV", "MultivariateNormalRV", "FlatRV", "PrecisionMvNormalRV"}
GAUSSIAN |= {"KroneckerNormalRV", "MatrixNormalRV"}


def is_candidate(model, rv) -> bool:
    op = rv.owner.op
    if rv.type.dtype not in ("float64", "float32"):
        return False
    if has_gaussian_density(op):
        return True
    if model.rvs_to_transforms[rv] is not None:
        return False
    return type(op).__name__ in GAUSSIAN or isinstance(op, RandomWalkRV | AutoRegressiveRV | CARRV)


def split_parameters(model, rv):
    """(location parameters, other parameters) of a free variable: latents may enter the first affinely."""
    op, inputs = rv.owner.op, list(rv.owner.inputs)
    if isinstance(op, RandomVariable):
        parameters = list(op.dist_params(rv.owner))
        if type(op).__name__ in GAUSSIAN - {"FlatRV"} or isinstance(op, CARRV):
            return parameters[:1], parameters[1:]
        return [], parameters
    return [], inputs


def find_demotions(roles: Roles) -> tuple[set, str]:
    """Latents that must be hyperparameters, with the reason; empty when the classification is consistent."""
    model = roles.model
    symbols = {roles.variable[rv]: rv for rv in roles.latents}

    def named(found):
        return {symbols[s] for s in found}

    for rv in model.free_RVs:
        if rv in roles.predicted:
            continue
        location, rest = ([], list(rv.owner.inputs)) if rv not in roles.latents else split_parameters(model, rv)
        n = len(location)
        parameters = roles.value_of(location + rest)
        labels = label_graph(parameters, symbols)
        for k, p in enumerate(parameters):
            if (k < n and labels.of(p) is Label.NONLINEAR) or (k >= n and labels.of(p) is not Label.INDEPENDENT):
                bad = _smallest(labels, p, n > k)
                return named(bad), f"enters a parameter of {rv.name}"
    for rv in model.observed_RVs:
        observed = roles.given_parents(rv)
        labels = label_graph([observed], symbols)
        demote, how = _response_conflicts(roles, rv, observed, labels)
        if demote:
            return named(demote), f"enters the likelihood of {rv.name} nonlinearly{how}"
    for potential in model.potentials:
        value = roles.value_of_potential(potential)
        labels = label_graph([value], symbols)
        for _, (a, b) in labels.products:
            left, right = labels.depends_on(a), labels.depends_on(b)
            if left.isdisjoint(right):
                return named(min(left, right, key=_size)), f"multiplies another latent variable in {potential.name}"
    return set(), ""


def _size(symbols) -> int:
    return sum(int(np.prod(s.type.shape, dtype=int)) for s in symbols)


def _smallest(labels, parameter, affine_allowed):
    """The latents to demote so that a parameter becomes admissible."""
    if affine_allowed:
        for _, (a, b) in labels.products:
            return min(labels.depends_on(a), labels.depends_on(b), key=_size)
    return labels.depends_on(parameter)


def _response_conflicts(roles, rv, observed, labels):
    """Latents that spoil the form response(linear predictor) of some parameter of an observed variable, and how."""
    for matrix in _matrices(observed):
        if labels.of(matrix) is not Label.INDEPENDENT:
            return labels.depends_on(matrix), ", through its covariance matrix"
    for _, (a, b) in labels.products:
        left, right = labels.depends_on(a), labels.depends_on(b)
        # exp(eta_1) / exp(eta_2) is a function of two predictors
        responses = labels.of(a) is Label.NONLINEAR and labels.of(b) is Label.NONLINEAR
        if left != right and not responses:
            return min(left - right or left, right - left or right, key=_size), ""
    for node in labels.bent:
        if _above_distribution(node, observed):
            name = type(node.op.scalar_op if isinstance(node.op, Elemwise) else node.op).__name__
            how = f", through a function that need not be monotone ({name}): the posterior may have several modes"
            return labels.depends_on(node.outputs[0]), how
    seen_vector, scalars = False, []
    for node in _distribution_nodes(observed):
        for parameter in node.inputs:
            if labels.of(parameter) is Label.INDEPENDENT:
                continue
            cuts = find_cuts([parameter], labels, _n_elements(observed))
            # alpha / (alpha + mu) is a function of two predictors of every observation
            of_rows = all(_n_elements(cut) == _n_elements(observed) for cut in cuts)
            if len(cuts) > 1 and not of_rows:
                inner = min(cuts, key=lambda c: _size(labels.depends_on(c)))
                return labels.depends_on(inner), ""
            varies = len(cuts) > 1 or not all(cuts[0].type.broadcastable)
            seen_vector |= varies
            if not varies:
                scalars.append(cuts[0])
    if seen_vector and scalars:
        return labels.depends_on(scalars[0]), ""
    return frozenset(), ""


def _matrices(observed) -> list:
    """The covariance matrices among the parameters of the distribution of vectors."""
    node = observed.owner
    if not isinstance(node.op, RandomVariable) or node.op.ndim_supp != 1:
        return []
    pairs = zip(node.op.dist_params(node), node.op.ndims_params, strict=True)
    return [parameter for parameter, ndim in pairs if ndim == 2]


def _distribution_nodes(observed):
    """The random variables (of the observed variable and of its components) whose parameters carry predictors."""
    nodes = [n for n in applys_between([], [observed]) if isinstance(n.op, RandomVariable | SymbolicRandomVariable)]
    return nodes or [observed.owner]


def _above_distribution(node, observed) -> bool:
    above = set()
    for n in _distribution_nodes(observed):
        above.update(ancestors(n.inputs))
    return node.outputs[0] in above


def find_cuts(outputs, labels, n_obs: int) -> list:
    """Last affine variables on the way to the outputs.

    Several that are made of one affine variable (its elements, or the variable less the cutpoints of ordered classes)
    are replaced by that variable, and one with more elements than there are observations by what it is expanded from.
    """
    cuts = [v for v in outputs if labels.of(v) is Label.AFFINE]
    for node in toposort(list(outputs)):
        if any(labels.of(o) is Label.NONLINEAR for o in node.outputs):
            for v in value_inputs(node):
                if labels.of(v) is Label.AFFINE and v not in cuts:
                    cuts.append(v)
    cuts = [c for c in cuts if not _elementwise_in(c, [other for other in cuts if other is not c], labels)]
    sources = [_sources(c, labels) for c in cuts]
    if len(cuts) > 1:
        shared = next((v for v in sources[0] if all(v in other for other in sources)), None)
        # the means of a mixture are shared by all observations: they are no predictor with an element for each
        if shared is None or _n_elements(shared) < n_obs:
            return cuts
        cuts, sources = [shared], [_sources(shared, labels)]
    if len(cuts) == 1 and _n_elements(cuts[0]) > n_obs:
        cuts = [next((v for v in sources[0] if _n_elements(v) == n_obs), cuts[0])]
    return cuts


def _n_elements(variable) -> int:
    return int(np.prod(static_shape(variable), dtype=int))


def _sources(cut, labels) -> list:
    """A cut and the affine variables above it of which it is a function, elementwise or by picking elements."""
    found = [cut]
    while (node := found[-1].owner) is not None:
        dependent = [v for v in value_inputs(node) if labels.of(v) is not Label.INDEPENDENT]
        if len(dependent) != 1 or not (isinstance(node.op, Elemwise) or is_move(node)):
            break
        found.append(dependent[0])
    return found


def _elementwise_in(cut, others, labels) -> bool:
    """Whether a cut is an elementwise function of the other cuts, as y * eta is of eta: then it is none of its own."""
    if cut in others:
        return True
    if labels.of(cut) is Label.INDEPENDENT:
        return True
    node = cut.owner
    return (
        node is not None
        and isinstance(node.op, Elemwise)
        and bool(others)
        and all(_elementwise_in(v, others, labels) for v in node.inputs)
    )


def classify(model, point) -> Roles:
    """Fixed point: start from every Gaussian variable, demote what enters nonlinearly.

    Parameters
    ----------
    model : pm.Model with frozen data and dims
    point : dict, its initial point
    """
    for rv in model.free_RVs:
        if "unobserved" not in rv.name and not str(rv.type.dtype).startswith("float"):
            raise UnsupportedModelError(
                rv.name,
                f"it is a free discrete variable ({distribution_name(rv)})",
                "Sum it out of the model (pm.Mixture, or pymc_extras.marginalize) or sample with pm.sample.",
            )
    predicted = predicted_responses(model)
    latents = [rv for rv in model.free_RVs if rv not in predicted and is_candidate(model, rv)]
    reasons = {}
    while True:
        roles = build_roles(model, latents, predicted, point)
        demoted, reason = find_demotions(roles)
        if not demoted:
            roles.reasons = reasons
            return roles
        for rv in demoted:
            size = int(np.prod(static_shape(rv), dtype=int))
            looped = loops.enters_loop(model, rv)
            why = f"enters {loops.REASON}" if looped else reason
            if size > MAX_DEMOTED:
                raise UnsupportedModelError(
                    rv.name,
                    f"it {why}, so it is not part of a linear predictor, and its {size} elements are too many to be "
                    f"hyperparameters (at most {MAX_DEMOTED})",
                    loops.ADVICE
                    if looped
                    else "Rewrite the model so that it enters through a linear predictor, or sample with pm.sample.",
                )
            reasons[rv] = why
        latents = [rv for rv in latents if rv not in demoted]


def predicted_responses(model) -> list:
    """The missing elements of observed variables on which nothing else depends: predicted once the rest is known.

    Those of a covariate with a prior enter another density and are unknowns like any other.
    """
    partners = {
        rv.name.replace("_observed", "_unobserved") for rv in model.observed_RVs if rv.name.endswith("_observed")
    }
    missing = [rv for rv in model.free_RVs if rv.name in partners]
    entering = set(ancestors([*(v for rv in model.basic_RVs for v in rv.owner.inputs), *model.potentials]))
    return [rv for rv in missing if rv not in entering]


def distribution_name(rv) -> str:
    return type(rv.owner.op).__name__.removesuffix("RV")
