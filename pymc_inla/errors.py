"""The errors a user can meet. Each message says what was found, what is allowed and what to do."""


class INLAError(Exception):
    """Base class of every error raised by pymc_inla."""


class UnsupportedModelError(INLAError, NotImplementedError):
    """The model is outside the class of latent Gaussian models that the engine fits.

    Parameters
    ----------
    variable : str
        Name of the model variable that is the reason.
    found : str
        What was found, as a clause.
    advice : str
        What the user can do about it.
    """

    def __init__(self, variable: str, found: str, advice: str):
        self.variable, self.found, self.advice = variable, found, advice
        super().__init__(f"{variable}: {found}. {advice}")


class InvalidOptionError(INLAError, ValueError):
    """An argument is unknown, or its value is not allowed."""


class InvalidDataError(INLAError, ValueError):
    """The data hold something that cannot be fitted (NaN or inf in covariates, wrong shapes, negative counts, ...)."""


class ImproperPosteriorError(INLAError, ValueError):
    """The posterior is recognizably improper: it has no finite integral."""


class ConvergenceError(INLAError, RuntimeError):
    """The numerics failed in a way that leaves no answer to report."""


class ReliabilityWarning(UserWarning):
    """A finished fit that should not be trusted without a look at `pymc_inla.reliability(idata)`."""
