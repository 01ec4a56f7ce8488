"""Groups of a result by path."""

from xarray import DataTree


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
