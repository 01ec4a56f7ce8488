"""The dict specification of pyINLA: `inla(formula={...}, family=..., data=df)`.

spec       dict -> frozen dataclasses, every key and shorthand checked, nothing read from the data
columns    specification + data -> aligned arrays, lengths and labels checked
families   likelihoods in the parametrizations of R-INLA
build      both -> pm.Model
entry      the function that does all of it and fits the model
result     the tables of R-INLA read from the fit
"""

from pymc_inla.formula.entry import inla

__all__ = ["inla"]
