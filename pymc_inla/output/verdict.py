"""`pymc_inla.reliability`: how far a fit can be trusted, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from xarray import DataTree

from pymc_inla.output.groups import require_posterior

MEANING = {
    "good": "The checks found nothing wrong.",
    "check": "Something needs a look before the numbers are used.",
    "bad": "Do not use these numbers as they are.",
}


@dataclass(frozen=True)
class Verdict:
    """The stored verdict of a fit.

    Parameters
    ----------
    verdict : str
        "good", "check" or "bad".
    messages : tuple of str
        What is wrong and what to do.
    numbers : dict of str to float
        What the verdict rests on.
    method : str
        How the fit was computed, and why that way.
    """

    verdict: str
    messages: tuple[str, ...]
    numbers: Mapping[str, float]
    method: str = ""

    def to_frame(self) -> pd.DataFrame:
        """The numbers, one row each."""
        return pd.DataFrame({"value": dict(self.numbers)})

    def __str__(self):
        lines = [f"{self.verdict}: {MEANING.get(self.verdict, '')}", *(f"- {m}" for m in self.messages), self.method]
        return "\n".join([*lines, *(f"{name} = {value:.3g}" for name, value in self.numbers.items())])

    __repr__ = __str__


def reliability(idata: DataTree) -> Verdict:
    """Read the verdict stored with a fit.

    Parameters
    ----------
    idata : DataTree
        Result of :func:`pymc_inla.fit`, also after a round trip through a file.
    """
    require_posterior(idata, "reliability", deterministic=True)
    group = idata["inla/reliability"]
    messages = tuple(m for m in str(group.attrs["messages"]).split("\n") if m)
    numbers = {str(name): float(value) for name, value in group.data_vars.items()}
    fit = idata["inla"].attrs
    method = f"strategy {fit['strategy']} ({fit['strategy_reason']}), integration {fit['integration']}"
    return Verdict(str(group.attrs["verdict"]), messages, numbers, method)
