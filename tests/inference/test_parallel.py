"""Work on several cores: same results, same order, same errors."""

import threading

import numpy as np
import pymc as pm
import pytest
from threadpoolctl import threadpool_info

import pymc_inla as pmi
from pymc_inla.errors import InvalidOptionError
from pymc_inla.inference import local_posterior, parallel, theta_posterior
from pymc_inla.inference.parallel import available_cores, map_in_order, on_cores, suit_cores


def test_results_come_in_order_and_nested_work_stays_in_its_thread():
    started = threading.Barrier(2, timeout=30)

    def outer(k):
        if k < 2:
            started.wait()  # passes only if two of them run at the same time
        here = threading.get_ident()
        inner = list(map_in_order(lambda i: (k, i, threading.get_ident() == here), range(3)))
        return inner

    with on_cores(2):
        found = list(map_in_order(outer, range(5)))
    assert found == [[(k, i, True) for i in range(3)] for k in range(5)]


def test_outside_of_a_fit_nothing_runs_in_threads():
    here = threading.get_ident()
    assert all(map_in_order(lambda k: threading.get_ident() == here, range(3)))


def test_small_models_stay_in_one_thread():
    here = threading.get_ident()
    with on_cores(2):
        suit_cores(100)
        assert all(map_in_order(lambda k: threading.get_ident() == here, range(3)))
    with on_cores(2):
        suit_cores(10**6)
        assert not any(map_in_order(lambda k: threading.get_ident() == here, range(3)))


def test_settings_and_errors_pass_between_threads():
    with on_cores(2), np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(map_in_order(lambda k: np.float64(k) / 0.0, [1, 2]))


def test_blas_has_one_thread_meanwhile():
    with on_cores(2):
        assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {1}
    assert 1 <= available_cores() <= 4


def overdispersed(mean):
    pm.NegativeBinomial("y", mu=mean, alpha=pm.Exponential("alpha", 0.2), observed=np.arange(48) % 5)


def zero_inflated(mean):
    """Without a closed form, so that compiled graphs are shared by the threads"""
    pm.ZeroInflatedPoisson("y", pm.Beta("psi", 8, 1), mean, observed=np.arange(48) % 5)


@pytest.mark.parametrize(
    ("strategy", "likelihood"), [("simplified_laplace", zero_inflated), ("quadrature", overdispersed)]
)
def test_the_number_of_cores_changes_nothing(strategy, likelihood, monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_THREADS", 0)
    monkeypatch.setattr(theta_posterior, "LARGE_POINT", 0.0)
    monkeypatch.setattr(local_posterior, "AT_ONCE", 100)  # two nodes, 48 rows each
    with pm.Model() as model:
        a, sigma = pm.Normal("a", 0, 2), pm.HalfNormal("sigma", 1)
        u = pm.Normal("u", 0, sigma, shape=12)
        likelihood(pm.math.exp(a + u[np.repeat(np.arange(12), 4)]))
    one, three = (
        pmi.fit(model, strategy=strategy, draws=200, chains=2, random_seed=1, progressbar=False, cores=cores)
        for cores in (1, 3)
    )
    assert one.posterior.dataset.equals(three.posterior.dataset)
    assert one["inla/latent_marginals"].dataset.equals(three["inla/latent_marginals"].dataset)
    for name in ("log_marginal_likelihood", "count_theta_evaluations", "count_passes"):
        assert one["inla"].attrs[name] == three["inla"].attrs[name]


def test_cores_are_counted():
    with pm.Model(), pytest.raises(InvalidOptionError, match="cores=0: give an integer of at least 1"):
        pmi.fit(cores=0)
