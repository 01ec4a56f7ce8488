"""pc.mgamma, pc.alphaw and pc.dof against their definitions: exponential in the distance from the simpler model."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import digamma

from pymc_inla.errors import InvalidOptionError
from pymc_inla.formula.family_priors import FAMILY_PRIORS, check_param

PARAM = {"pc.mgamma": (7.0,), "pc.alphaw": (5.0,), "pc.dof": (15.0, 0.5)}


@pytest.fixture(scope="module", params=PARAM)
def prior(request):
    theta = pt.dscalar("theta")
    density = FAMILY_PRIORS[request.param](theta, *PARAM[request.param])
    function = pytensor.function([theta], [density, pytensor.grad(density, theta)], mode="FAST_COMPILE")
    return request.param, function


def divergence(name, theta):
    """Kullback-Leibler divergence from the simpler model, by numerical integration where it is not the definition."""
    if name == "pc.mgamma":
        n = np.exp(theta)
        return np.log(n) - digamma(n)
    if name == "pc.alphaw":
        f = stats.weibull_min(np.exp(0.1 * theta))
        return -entropy(f) + f.mean()
    nu = 2 + np.exp(theta)
    f = stats.t(nu, scale=np.sqrt((nu - 2) / nu))
    # the variance is one
    return -entropy(f) + 0.5 * np.log(2 * np.pi) + 0.5


def entropy(f):
    low, high = f.ppf([1e-14, 1 - 1e-14])
    points = f.ppf([1e-6, 0.01, 0.5, 0.99, 1 - 1e-6])
    return quad(lambda y: -f.pdf(y) * f.logpdf(y), low, high, points=points, limit=400, epsabs=1e-13)[0]


def test_normalized(prior):
    _, function = prior
    total = quad(lambda t: np.exp(function(t)[0]), -60, 80, points=[-5, -0.1, 0, 0.1, 5, 9], limit=500)[0]
    # pc.dof has mass 1e-11 beyond -60, the kink of pc.alphaw limits the quadrature
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("theta", [-1.5, 1.0, 3.0])
def test_tail_probability_is_exponential_in_the_distance(prior, theta):
    """P(further from the simpler model than theta) = exp(-lambda d), on its own side of it."""
    name, function = prior
    d = np.sqrt(2 * divergence(name, theta))
    lam = PARAM[name][0]
    if name == "pc.dof":
        lam = -np.log(0.5) / np.sqrt(2 * divergence(name, np.log(13.0)))
    side = (theta, 60) if name == "pc.alphaw" and theta > 0 else (-60, theta)
    tail = quad(lambda t: np.exp(function(t)[0]), *side, limit=500, epsabs=1e-14)[0]
    half = 0.5 if name == "pc.alphaw" else 1.0
    # the numerical entropy is good to 1e-12, the square of the smallest distance is 3e-3
    assert tail == pytest.approx(half * np.exp(-lam * d), rel=1e-6)


@pytest.mark.parametrize("theta", [-3.0, -0.1, 0.1, 5.7004, np.log(1e4)])
def test_no_jump_where_the_series_takes_over(prior, theta):
    _, function = prior
    low, high = function(theta - 1e-6), function(theta + 1e-6)
    # the step of a smooth function is its slope times the width
    assert high[0] - low[0] == pytest.approx(2e-6 * low[1], abs=2e-7)
    assert high[1] == pytest.approx(low[1], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "param"), [("pc.mgamma", (1, 2)), ("pc.alphaw", (0.0,)), ("pc.dof", (1.0, 0.5)), ("pc.dof", (15, 1.0))]
)
def test_bad_parameters(name, param):
    with pytest.raises(InvalidOptionError, match=f"prior '{name}': param="):
        check_param(name, param)
