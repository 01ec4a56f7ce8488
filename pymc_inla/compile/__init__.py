"""LatentGaussianModel to NumPy callables."""

from pymc_inla.compile.functions import compile_model
from pymc_inla.compile.hyperprior import LogPriorTheta
from pymc_inla.compile.outputs import compile_outputs
from pymc_inla.compile.support import check_support

__all__ = ["LogPriorTheta", "compile_model", "compile_outputs", "check_support"]
