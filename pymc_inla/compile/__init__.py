"""LatentGaussianModel to NumPy callables."""

from pymc_inla.compile.functions import compile_log_prior_theta, compile_model
from pymc_inla.compile.outputs import compile_outputs
from pymc_inla.compile.support import check_support

__all__ = ["compile_log_prior_theta", "compile_model", "compile_outputs", "check_support"]
