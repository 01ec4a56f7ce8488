"""Data that cannot be fitted, found before anything is compiled."""

from contextlib import suppress

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.distributions.distribution import PartialObservedRV
from pymc.logprob.basic import logp
from pymc.logprob.utils import CheckParameterValue
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, applys_between
from pytensor.scalar.basic import Add, Mul, Sub, TrueDiv
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable

from pymc_inla.analysis.interpreter import interpreter
from pymc_inla.errors import InvalidDataError, UnsupportedModelError

ARITHMETIC = Add, Sub, Mul, TrueDiv


def refuse_without_data(model) -> None:
    """Refuse models in which nothing is free or nothing is observed.

    Raises
    ------
    UnsupportedModelError
    """
    if not model.free_RVs:
        raise UnsupportedModelError(
            "the model", "it has no free variables, so there is no posterior", "Give its parameters priors."
        )
    if not model.observed_RVs and not model.potentials:
        raise UnsupportedModelError(
            "the model",
            f"nothing is observed; all of {', '.join(rv.name for rv in model.free_RVs)} are free",
            "Pass the data to a distribution with observed=, or draw from the prior with pm.sample_prior_predictive.",
        )


def check_responses(model) -> None:
    """Refuse infinite responses. (NaN are predicted: PyMC has split them off already.)

    Raises
    ------
    InvalidDataError
    """
    for rv in model.observed_RVs:
        for variable in ancestors([model.rvs_to_values[rv]]):
            data = getattr(variable, "data", None) if isinstance(variable, Constant) else None
            if data is None and hasattr(variable, "get_value"):
                data = variable.get_value(borrow=True)
            data = np.asarray(data) if data is not None else np.zeros(0)
            if data.dtype.kind == "f" and np.any(np.isinf(data)):
                where = np.flatnonzero(np.isinf(data))
                raise InvalidDataError(
                    f"{rv.name}: {len(where)} observed value{'s are' if len(where) > 1 else ' is'} infinite (position "
                    f"{', '.join(map(str, where[:5]))}). Drop these rows, or set them to NaN to have them predicted."
                )


def check_coordinates(model) -> None:
    """Refuse labels that are sequences themselves, of which no coordinate of the result can be made.

    Raises
    ------
    InvalidDataError
    """
    for name in dict.fromkeys(dim for dims in model.named_vars_to_dims.values() for dim in dims):
        labels = model.coords.get(name) or ()
        wrong = next((label for label in labels if np.ndim(label) or isinstance(label, tuple | list)), None)
        if wrong is not None:
            raise InvalidDataError(
                f"coords[{name!r}] has the label {wrong!r}, and a label is one string, number or date. Join its parts, "
                "as in [f'{a}, {b}' for a, b in labels]."
            )


def check_response_shapes(model) -> None:
    """Refuse responses that do not have the shape of their parameters. PyMC would broadcast a column of n values
    against n parameters to n x n terms.

    Raises
    ------
    InvalidDataError
    """
    for rv in model.observed_RVs:
        op = rv.owner.op
        if not isinstance(op, RandomVariable) or op.ndim_supp != 0:
            continue
        parameters = zip(op.dist_params(rv.owner), op.ndims_params, strict=True)
        shapes = [p.type.shape[: p.type.ndim - own] for p, own in parameters]
        observed = model.rvs_to_values[rv].type.shape
        if any(None in shape for shape in [observed, *shapes]):
            continue
        widest = max(shapes, key=np.prod, default=())
        aligned = zip(observed[::-1], widest[::-1], strict=False)
        if len(widest) > len(observed) or any(n != own and n != 1 for own, n in aligned):
            raise InvalidDataError(
                f"{rv.name}: its observed values have shape {observed} and its parameters {widest}, so that they do "
                "not belong to each other one to one. Give both the same shape (for example observed=y.ravel()); data "
                "that pm.set_data has replaced for predictions have to be set back."
            )


def refuse_partly_missing(model) -> None:
    """Refuse observations of several components of which only some are missing, which PyMC holds in a distribution of
    its own.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.observed_RVs:
        if isinstance(rv.owner.op, PartialObservedRV):
            name = rv.name.removesuffix("_observed")
            (mask,) = constant_fold((rv.owner.inputs[1],))
            missing = np.asarray(mask).reshape(-1, mask.shape[-1])
            rows = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
            raise UnsupportedModelError(
                name,
                f"some components of {len(rows)} of its observations are missing and others are not (position "
                f"{', '.join(map(str, rows[:5]))})",
                "Give these observations an observed variable of their own, with the means and covariances of the "
                "components that were observed.",
            )


def refuse_minibatch(model) -> None:
    """Refuse models on minibatches of the data: their likelihood is a random one.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.observed_RVs:
        for variable in ancestors([rv, model.rvs_to_values[rv]]):
            if variable.owner is not None and "Minibatch" in type(variable.owner.op).__name__:
                raise UnsupportedModelError(
                    rv.name,
                    "it is observed through a Minibatch",
                    "Use all of the data: a fit takes about a hundred passes over them.",
                )


def refuse_labeled(model) -> None:
    """Refuse variables of `pymc.dims`, whose graphs the analysis does not read.

    Raises
    ------
    UnsupportedModelError
    """
    for rv in model.basic_RVs:
        if hasattr(rv.type, "dims"):
            raise UnsupportedModelError(
                rv.name,
                "it is a variable of pymc.dims, which cannot be read yet",
                "Write the model with the distributions of pymc itself (dims= and coords work there too), or sample it "
                "with pm.sample.",
            )


def check_initial_point(model, point) -> None:
    """Refuse priors whose own center is not finite, as a scale computed from data with gaps gives them.

    Parameters
    ----------
    model : pm.Model
    point : dict, its initial point

    Raises
    ------
    InvalidDataError
    """
    bad = [rv for rv in model.free_RVs if not np.all(np.isfinite(point[model.rvs_to_values[rv].name]))]
    if bad:
        parents = [rv for rv in bad if set(bad).isdisjoint(set(ancestors([rv])) - {rv})]
        raise InvalidDataError(
            f"{', '.join(rv.name for rv in parents)}: the initial value is not finite, because a parameter of its "
            "prior (or initval=) is NaN, infinite or outside its range. Check the numbers that the prior is given, for "
            "example a standard deviation of a column with missing values, or a negative scale."
        )


def check_constant_parameters(model) -> None:
    """Refuse numbers that a distribution does not take, as a scale of zero.

    Parameters
    ----------
    model : pm.Model with frozen data

    Raises
    ------
    InvalidDataError
    """
    checks, variables = [], set(model.basic_RVs)
    for rv in model.basic_RVs:
        if not any(isinstance(v, Constant) for v in ancestors(rv.owner.inputs)):
            continue
        with suppress(NotImplementedError):
            parents = [v for v in ancestors(rv.owner.inputs) if v in variables]
            (alone,) = clone_replace([rv], {v: v.type() for v in parents}, rebuild_strict=False)
            density = logp(alone, rv.type())
            nodes = [node for node in applys_between([], [density]) if isinstance(node.op, CheckParameterValue)]
            checks += [(rv.name, node.op.msg, pt.all(condition)) for node in nodes for condition in node.inputs[1:]]
    fixed = [check for check in checks if all(v.owner or isinstance(v, Constant) for v in ancestors([check[2]]))]
    if not fixed:
        return
    hold = pytensor.function([], [check[2] for check in fixed], mode=interpreter("merge"))()
    for (name, message, _), holds in zip(fixed, hold, strict=True):
        if not holds:
            raise InvalidDataError(
                f"{name}: a parameter that is given as a number does not fulfil {message}. Give it a value that does, "
                "or leave the variable out if it is meant to be a constant."
            )


def check_covariates(term_name: str, predictors) -> None:
    """Refuse NaN and infinite numbers in the data that make up linear predictors.

    Parameters
    ----------
    term_name : str
        The likelihood, named when the data have no name of their own.
    predictors : expressions of the linear predictors

    Raises
    ------
    InvalidDataError
    """
    operands = _operands(predictors)
    for variable in ancestors(predictors):
        if not isinstance(variable, Constant) or not hasattr(variable.type, "dtype"):
            continue
        if variable.type.ndim == 0 and variable not in operands:
            continue
        data = np.asarray(getattr(variable.data, "data", variable.data))
        if data.dtype.kind != "f" or np.all(np.isfinite(data)):
            continue
        if data.ndim == 0:
            name = variable.name or f"a number in a linear predictor of {term_name}"
            raise InvalidDataError(f"{name}: it is {data}. Linear predictors need finite numbers.")
        where = np.argwhere(~np.isfinite(data))
        first = ", ".join(str(tuple(int(i) for i in w) if len(w) > 1 else int(w[0])) for w in where[:5])
        name = variable.name or f"a covariate of {term_name} (an array of shape {data.shape})"
        raise InvalidDataError(
            f"{name}: {len(where)} value{'s are' if len(where) > 1 else ' is'} not finite (position {first}). "
            "Linear predictors need finite covariates: drop or impute these rows. A NaN is allowed in the response, "
            "where it asks for a prediction."
        )


def _operands(outputs) -> set:
    """Scalars that are added, subtracted, multiplied or divided. Others may well be infinite: bounds of a clip or of an
    interval, as in the graphs of PyMC's own transforms and covariance functions."""
    found = set()
    for variable in ancestors(outputs):
        node = variable.owner
        if node is None or not (isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, ARITHMETIC)):
            continue
        for operand in node.inputs:
            while operand.owner is not None and isinstance(operand.owner.op, DimShuffle):
                operand = operand.owner.inputs[0]
            if operand.type.ndim == 0:
                found.add(operand)
    return found
