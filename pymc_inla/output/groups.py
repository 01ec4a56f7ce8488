"""Groups of a result by path."""

from xarray import DataTree

from pymc_inla.errors import InvalidOptionError


def has_group(idata: DataTree, path: str) -> bool:
    """Whether a tree holds the group of this path below itself (`in` looks at direct children only)."""
    node = idata
    for part in path.split("/"):
        if part not in node.children:
            return False
        node = node.children[part]
    return True


def has_variable(idata: DataTree, path: str, name: str) -> bool:
    """Whether the group of this path exists and holds this variable."""
    return has_group(idata, path) and name in idata[path].data_vars


def require_posterior(idata, what: str, *, deterministic: bool = False) -> None:
    """Refuse what is no result with a posterior, or, if `deterministic`, no result of :func:`pymc_inla.fit`.

    Raises
    ------
    InvalidOptionError
    """
    if not isinstance(idata, DataTree) or "posterior" not in idata.children:
        raise InvalidOptionError(
            f"{what}: found {type(idata).__name__}{'' if not isinstance(idata, DataTree) else ' without a posterior'}. "
            "Give the DataTree that a fit returned."
        )
    if deterministic and "inla" not in idata.children:
        raise InvalidOptionError(
            f"{what}: found a DataTree without the group 'inla', so it is not a result of pymc_inla.fit. For MCMC use "
            "the functions of ArviZ, for example az.summary."
        )
