"""The method: mode, integration of the latent field and of theta, marginals, draws, criteria, reliability.

Works on `pymc_inla.lgm.LGMFunctions`; knows nothing of PyMC, PyTensor or xarray.
"""

from pymc_inla.inference.run import run_inference

__all__ = ["run_inference"]
