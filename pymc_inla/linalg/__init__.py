"""Linear algebra of H = Q + A'WA on fixed patterns: build a System, factorize it, read the Factor.

Importing this package does not import Numba; the elimination and sparse solvers import it when they are built.
"""

from pymc_inla.linalg.build import build_system
from pymc_inla.linalg.partition import Partition, choose_local
from pymc_inla.linalg.system import Factor, SelectedInverse, System

__all__ = ["Factor", "Partition", "SelectedInverse", "System", "build_system", "choose_local"]
