"""Integrated nested Laplace approximations and local quadrature for PyMC models.

Importing the package registers the method with PyMC: `pm.fit(method="inla")`. Everything heavy is imported on first
use, so that the import itself costs next to nothing beyond `import pymc`.
"""

import importlib
import importlib.metadata

from pymc_inla.fit import fit
from pymc_inla.hook import INLA, register

__version__ = importlib.metadata.version("pymc-inla")

_LAZY = {
    "IID": "pymc_inla.effects.iid",
    "compare_mcmc": "pymc_inla.output.compare",
    "copy": "pymc_inla.effects.copy",
    "explain": "pymc_inla.output.explain",
    "inla": "pymc_inla.formula",
    "marginal": "pymc_inla.output.marginal",
    "plot_comparison": "pymc_inla.output.plots",
    "plot_effects": "pymc_inla.output.fit_plots",
    "plot_hyperparameters": "pymc_inla.output.fit_plots",
    "prior_sensitivity": "pymc_inla.output.sensitivity",
    "project": "pymc_inla.effects.project",
    "reliability": "pymc_inla.output.verdict",
    "summary": "pymc_inla.output.summary",
}
_MODULES = ("effects", "priors")

__all__ = ["fit", "INLA", *sorted(_LAZY), *_MODULES]


def __getattr__(name):
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"pymc_inla.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


register()
