"""Latent effects written as PyMC variables: the iid effect, its rows and its copies."""

from pymc_inla.effects.copy import copy
from pymc_inla.effects.iid import IID
from pymc_inla.effects.project import project

__all__ = ["IID", "copy", "project"]
