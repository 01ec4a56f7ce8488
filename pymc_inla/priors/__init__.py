"""Priors of precisions and correlations by R-INLA's names, as PyMC variables.

`tau = pc_prec("tau", 1, 0.01)` inside a model makes the variable, on the scale of the precision, and what it depends
on; `pc_prec.dist(1, 0.01)` makes the prior alone, for `pymc_inla.IID(prior=...)`. Formulas are those of the internal
parameter theta = log tau.
"""

from pymc_inla.priors.base import Constructor
from pymc_inla.priors.correlation import CorrelationConstructor, PenalizedCorrelation
from pymc_inla.priors.log_density import Expression, Table
from pymc_inla.priors.precision import (
    Flat,
    Laplace,
    LogFlat,
    LogGamma,
    LogIFlat,
    Normal,
    PenalizedComplexity,
    TruncatedNormal,
)

loggamma = Constructor(LogGamma)
pc_prec = Constructor(PenalizedComplexity)
normal = gaussian = Constructor(Normal)
logtnormal = logtgaussian = Constructor(TruncatedNormal)
laplace = Constructor(Laplace)
flat = Constructor(Flat)
logiflat = Constructor(LogIFlat)
logflat = Constructor(LogFlat)
expression = Constructor(Expression)
table = Constructor(Table)
pc_cor0 = CorrelationConstructor(PenalizedCorrelation)

__all__ = [
    "expression",
    "flat",
    "gaussian",
    "laplace",
    "logflat",
    "loggamma",
    "logiflat",
    "logtgaussian",
    "logtnormal",
    "normal",
    "pc_cor0",
    "pc_prec",
    "table",
]
