"""From a `pm.Model` to a `LatentGaussianModel`; symbolic only."""

from pymc_inla.analysis.analyze import analyze_model

__all__ = ["analyze_model"]
