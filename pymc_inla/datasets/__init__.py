"""Small data sets for the demonstration and the documentation; README.md in this folder names their sources."""

from importlib import resources

import pandas as pd


def load(name: str) -> pd.DataFrame:
    """A data set by name: `load("seeds")`.

    Raises
    ------
    FileNotFoundError
        There is no data set of this name.
    """
    with resources.files("pymc_inla.datasets").joinpath(f"{name}.csv").open() as file:
        return pd.read_csv(file)
