"""Models that NUTS finds hard, against exact answers: the default fit beside a well-tuned NUTS run.

    python benchmarks/hard_for_nuts.py [CASE ...]

NUTS runs on the non-centered model with target_accept=0.95. Printed for the shared parameters: the Kolmogorov distance
of the draws of each to the exact posterior, CPU seconds of both, divergences and the smallest effective size.
"""

import argparse
import pathlib
import sys
import time
import warnings

import arviz as az
import numba
import numpy as np
import pymc as pm
from scipy import special

import pymc_inla as pmi

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))

import exact
import exact_models

DRAWS = 20_000
T = np.arange(-72, 73) * 0.1
R = np.arange(-22, 23) * 0.3


def no_variance():
    """Binary responses without any variance between the groups."""
    return exact_models.CASES["variance_near_zero"]()


def observation_level(sigma=0.5, seed=41):
    """Counts in 10 groups of 6, with an effect of every observation and one of the groups."""
    return exact_models.simulate(
        "poisson", 60, 1, sigma, seed=seed, b=(1.0, 0.3), n_other=10, sigma_v=0.6, scale_sigma=1.0
    )


CASES = {
    "variance zero": no_variance,
    "observations and groups": observation_level,
    "observations without variance": lambda: observation_level(0.0, 42),
}


@numba.njit(error_model="numpy")
def _log_poisson(z, y, group, v, stretch, t, log_phi, out):
    """Add log integral phi(t) Poisson(y_i | exp(z_i + v_r + sigma t)) dt, without the factorial, to out (nodes, J).

    `stretch` is exp(sigma t), `t` is sigma t.
    """
    for i in range(len(y)):
        for r in range(len(v)):
            eta = z[i] + v[r]
            rate, top = np.exp(eta), -np.inf
            for k in range(len(t)):
                top = max(top, log_phi[k] + y[i] * t[k] - rate * stretch[k])
            total = 0.0
            for k in range(len(t)):
                total += np.exp(log_phi[k] + y[i] * t[k] - rate * stretch[k] - top)
            out[r, group[i]] += y[i] * eta + top + np.log(total)


def nested_counts(problem, psi):
    """log p(y, psi), (S,), up to a constant, for counts with an effect u of every row and one, v, of its group: both
    are trapezoidal sums over fixed nodes."""
    b, sigma, sigma_v, _, _, value = exact._unpack(problem, psi)
    log_phi = -0.5 * T**2
    for s, z in enumerate(b @ problem.X.T):
        out = np.repeat(-0.5 * R[:, None] ** 2, problem.J, axis=1)
        along = sigma[s, 0] * T
        stretch = np.exp(np.minimum(along, 300.0))
        _log_poisson(z, problem.y.astype(float), problem.other, sigma_v[s, 0] * R, stretch, along, log_phi, out)
        value[s] += np.sum(special.logsumexp(out, axis=0))
    return np.where(np.isfinite(value), value, -1e6)


def non_centered(problem):
    """The model that NUTS does better with."""
    with pm.Model() as model:
        b = pm.Normal("b", 0, problem.scale_b, shape=problem.X.shape[1])
        sigma = pm.HalfNormal("sigma", problem.scale_sigma)
        eta = problem.X @ b + sigma * pm.Normal("u_z", 0, 1, shape=problem.G)[problem.group]
        if problem.J:
            sigma_v = pm.HalfNormal("sigma_v", problem.scale_v)
            eta = eta + sigma_v * pm.Normal("v_z", 0, 1, shape=problem.J)[problem.other]
        if problem.family == "poisson":
            pm.Poisson("y", pm.math.exp(eta), observed=problem.y)
        else:
            pm.Bernoulli("y", logit_p=eta, observed=problem.y)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--nuts", type=int, default=5000, help="draws of each of four chains")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for case in arguments.cases or CASES:
        problem = CASES[case]()
        target = (lambda psi, problem=problem: nested_counts(problem, psi)) if problem.nested else None
        psi, w, ess, _ = exact.sample_shared(problem, 16384, target=target)
        b, sigma, sigma_v, *_ = exact._unpack(problem, psi)
        truth = {f"b[{j}]": x for j, x in enumerate(b.T)} | {"sigma": sigma[:, 0]}
        truth |= {"sigma_v": sigma_v[:, 0]} if problem.J else {}
        truth = {key: exact.weighted_quantiles(x, w) for key, x in truth.items()}

        def show(what, idata, seconds, truth=truth):
            distances = []
            for key, quantiles in truth.items():
                name, _, index = key.rstrip("]").partition("[")
                values = idata.posterior[name].values
                values = values.reshape(values.shape[0] * values.shape[1], -1)[:, int(index or 0)]
                distances.append(f"{key} {exact.kolmogorov_distance(values, quantiles):.3f}")
            print(f"  {what:22s} {seconds:6.1f} s CPU  {', '.join(distances)}", flush=True)

        print(f"{case}: exact, effective size {ess:.0f}")
        start = time.process_time()
        idata = pmi.fit(exact_models.build(problem), draws=DRAWS, chains=1, random_seed=1, progressbar=False)
        show(f"default ({pmi.reliability(idata).verdict})", idata, time.process_time() - start)
        start = time.process_time()
        with non_centered(problem):
            idata = pm.sample(
                arguments.nuts, tune=1500, chains=4, cores=1, target_accept=0.95, random_seed=1, progressbar=False
            )
        show("NUTS", idata, time.process_time() - start)
        smallest = min(float(az.ess(idata, var_names=[name])[name].min()) for name in ("b", "sigma"))
        print(f"  divergences {int(idata.sample_stats.diverging.sum())}, smallest effective size {smallest:.0f}")


if __name__ == "__main__":
    main()
