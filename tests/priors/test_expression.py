"""R arithmetic against the same formula in Python, and every message of the parser."""

import numpy as np
import pytest
from scipy.special import gammaln

import pymc_inla as pmi
from pymc_inla.errors import InvalidOptionError
from pymc_inla.priors.log_density import Expression

THETA = np.array([-2.0, 0.5, 1.0, 3.0])
FORMULAS = {
    "-theta * theta / 2": lambda t: -t * t / 2,
    "expression: -theta^2/2": lambda t: -(t**2) / 2,
    "expression:-theta**2": lambda t: -(t**2),
    "2^3^2 * theta": lambda t: 512 * t,
    "-2^2 + theta": lambda t: -4 + t,
    "2^-1 - theta": lambda t: 0.5 - t,
    "2^-theta^2": lambda t: 2 ** -(t**2),
    "-theta^-2": lambda t: -(t**-2.0),
    "- - theta - -1": lambda t: t + 1,
    "8 / 4 / 2 - 1 - 1 + theta": lambda t: -1 + t,
    "8 / 4 * 2 * theta": lambda t: 4 * t,
    "(1 + theta) * 1e-3 + .5 - 5. - 1.5E+2": lambda t: (1 + t) * 1e-3 + 0.5 - 5 - 150,
    "log(exp(theta)) - log10(100) - log(8, 2) + log1p(expm1(0.1))": lambda t: t - 2 - 3 + 0.1,
    "pow(theta, 2) - sqrt(4) + abs(-theta)": lambda t: t**2 - 2 + np.abs(t),
    "sin(theta) + cos(theta) + tan(0.3) + tanh(theta) + atan(theta)": lambda t: (
        np.sin(t) + np.cos(t) + np.tan(0.3) + np.tanh(t) + np.arctan(t)
    ),
    "lgamma(2.5) - gamma(4) + pi * theta": lambda t: gammaln(2.5) - 6 + np.pi * t,
    "min(theta, 1, 0) + max(theta, 1)": lambda t: np.minimum(np.minimum(t, 1), 0) + np.maximum(t, 1),
    "a = 1; b = a + 1; -b * theta": lambda t: -2 * t,
    "a <- 1\n  b <- 2\n\n return(-b * theta / a);": lambda t: -2 * t,
    "prec.x = exp(theta);\n logdens = 2*theta\n   - prec.x;\n return(logdens + theta);": lambda t: 3 * t - np.exp(t),
    "a = 1; a = a + theta": lambda t: 1 + t,
    "(theta\n + 1)": lambda t: t + 1,
    "3": lambda t: 3 + 0 * t,
    ";; -theta ;": lambda t: -t,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_value(text):
    np.testing.assert_allclose(Expression(text).evaluate(THETA), FORMULAS[text](THETA), rtol=1e-14)


MISTAKES = {
    "-thta^2": r"name 'thta' is unknown, at column 2\. Did you mean `theta`",
    "-tau": "name 'tau' is unknown, at column 2",
    "lgama(theta)": "function 'lgama' is unknown, at column 1. Did you mean `lgamma`",
    "__import__('os')": r"character \"'\" is not part of R arithmetic",
    "open(theta)": "function 'open' is unknown",
    "theta.__class__": "name 'theta.__class__' is unknown",
    "exp": "function 'exp' needs arguments",
    "pow(theta)": r"'pow' takes 2 argument\(s\), found 1",
    "log(1, 2, 3)": r"'log' takes 1 or 2 argument\(s\), found 3",
    "max()": r"'\)' is not expected",
    "(theta": r"'\)' is missing, the expression ends",
    "theta)": r"'\)' is not expected, at column 6",
    "theta +": "ends too early",
    "theta theta": "'theta' is not expected, at column 7",
    "2 theta": "'theta' is not expected",
    "": "the expression is empty",
    "expression: ;": "the expression is empty",
    "theta = 3": "'theta' cannot be assigned to",
    "pi = 3; theta": "'pi' cannot be assigned to",
    "a = 2; a * theta; theta": "this statement has no effect.* column 8",
    "return(theta); 3": "nothing may follow return",
    "return theta": r"'\(' is missing",
    "a = b; b = 2; a": "name 'b' is unknown",
    "theta\n $": r"character '\$' is not part of R arithmetic, at line 2, column 2",
    "theta % 2": "character '%'",
    "ifelse(theta > 0, 1, 2)": "character '>'",
    "a = = 2": "'=' is not expected",
    "1.2.3": "'.3' is not expected",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistake(text):
    with pytest.raises(InvalidOptionError, match=MISTAKES[text]):
        pmi.priors.expression.dist(text)


def test_not_a_string():
    with pytest.raises(InvalidOptionError, match="found 3; it is a string"):
        pmi.priors.expression.dist(3)
