"""Regenerate the nested cases of exact.json, with an effective size above 40 000 and every effect.

Run from the repository: `python tests/references/make_nested.py [case ...]`; a few minutes each. The general
`exact._integrate_v` is too slow for more than an effective size of 2500. Here, for binary responses y = 0, 1
(s = 2y - 1) in small groups g of larger groups h, both levels are trapezoidal sums with fixed nodes t, r:

    p(y | b, sigma, sigma_v) = prod_h sum_r phi(r) prod_{g in h} sum_t phi(t) / prod_{i in g} (1 + exp(-s_i eta_irt)),
    eta_irt = x_i'b + sigma_v r + sigma t,

whose exponentials factorize. Spacings are 0.2 in t and 0.3 in r (0.05 for the marginals of v): relative errors
exp(-2 pi^2 / (spacing sigma)), from the poles of the logistic function, 1e-5 at sigma 8. The shared parameters are
sampled by importance sampling, v given those from its discrete density, and the marginals of u are averages of their
exact conditional distribution functions.
"""

import json
import pathlib
import sys
import time

import numba
import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import exact  # noqa: E402
import exact_models  # noqa: E402

PATH = HERE / "exact.json"
POINTS, DRAWS = 131_072, 60_000
CONDITIONED = 10_000
"""Draws whose conditional distributions of u are averaged"""
T = np.arange(-36, 37) * 0.2
LOG_PHI_T = np.log(0.2) - 0.5 * T**2 - 0.5 * np.log(2 * np.pi)


@numba.njit(error_model="numpy")
def _log_densities(z, sign, size, of_group, sigma, v, t, phi, out):
    """Add to out (nodes, J) the log probabilities of the responses of every small group at every v, z (n,)."""
    stretch = np.exp(sigma * t)
    product = np.empty(len(t))
    for g in range(len(of_group)):
        for r in range(len(v)):
            product[:] = 1.0
            for i in range(g * size, (g + 1) * size):
                a = np.exp(-sign[i] * (z[i] + v[r]))
                if sign[i] > 0:
                    for k in range(len(t)):
                        product[k] *= 1.0 + a / stretch[k]
                else:
                    for k in range(len(t)):
                        product[k] *= 1.0 + a * stretch[k]
            total = 0.0
            for k in range(len(t)):
                total += phi[k] / product[k]
            out[r, of_group[g]] += np.log(total)


def log_densities(problem, z, sigma, sigma_v, spacing):
    """Nodes r, and log p(y_h, r_h | z, sigma, sigma_v) with the weights of the sum for all h, (nodes, J)."""
    r = np.arange(-round(6.6 / spacing), round(6.6 / spacing) + 1) * spacing
    out = np.repeat((np.log(spacing) - 0.5 * r**2 - 0.5 * np.log(2 * np.pi))[:, None], problem.J, axis=1)
    size = len(problem.y) // problem.G
    of_group = problem.other[problem.starts]
    _log_densities(z, 2.0 * problem.y - 1.0, size, of_group, sigma, sigma_v * r, T, np.exp(LOG_PHI_T), out)
    return r, out


def log_target(problem, psi):
    """log p(y, psi), (S,); nothing where a scale is above 20, which the half-normal priors make e^-50 at most and where
    products overflow."""
    b, sigma, sigma_v, _, _, log_prior = exact._unpack(problem, psi)
    value = log_prior.copy()
    for s, z in enumerate(b @ problem.X.T):
        if max(sigma[s, 0], sigma_v[s, 0]) > 20.0:
            value[s] = -1e6
            continue
        f = log_densities(problem, z, sigma[s, 0], sigma_v[s, 0], 0.3)[1]
        top = f.max(0)
        value[s] += np.sum(top + np.log(np.exp(f - top).sum(0)))
    return value


def draw_v(problem, z, sigma, sigma_v, rng):
    """One draw of v, (J,), by its nodes; within half a spacing of a node the density is taken as constant."""
    r, f = log_densities(problem, z, sigma, sigma_v, 0.05)
    cumulative = np.cumsum(np.exp(f - f.max(0)), axis=0)
    node = np.sum(cumulative < rng.random(problem.J) * cumulative[-1], axis=0)
    return sigma_v * (r[node] + 0.05 * (rng.random(problem.J) - 0.5))


def reference(problem):
    psi, w, ess, evidence = exact.sample_shared(problem, POINTS, 2048, target=lambda psi: log_target(problem, psi))
    b, sigma, sigma_v, *_ = exact._unpack(problem, psi)
    scalars = {}
    for name, values in [
        *((f"b[{j}]", x) for j, x in enumerate(b.T)),
        ("sigma", sigma[:, 0]),
        ("sigma_v", sigma_v[:, 0]),
    ]:
        mean = w @ values
        sd = np.sqrt(w @ (values - mean) ** 2)
        scalars[name] = {"quantiles": exact.weighted_quantiles(values, w), "mean": mean, "sd": sd}
    rng = np.random.default_rng(1)
    # every point stands for its weight; points are in random order before every sixth is used for u
    picked = np.searchsorted(np.cumsum(w), (np.arange(DRAWS) + rng.random()) / DRAWS)
    picked = rng.permutation(np.minimum(picked, POINTS - 1))
    z = b[picked] @ problem.X.T
    v = np.array([draw_v(problem, z[s], sigma[k, 0], sigma_v[k, 0], rng) for s, k in enumerate(picked)])
    scalars |= {f"v[{j}]": exact._of_draws(v[:, j]) for j in range(problem.J)}
    z = (z + v[:, problem.other])[:CONDITIONED]
    scalars |= exact._effects(problem, z, sigma[picked[:CONDITIONED]], np.ones((CONDITIONED, 1)))
    return {"scalars": scalars, "ess": ess, "log_evidence": evidence}


def main(names):
    stored = json.loads(PATH.read_text())
    for name in names or [name for name in exact_models.CASES if exact_models.CASES[name]().nested]:
        start = time.perf_counter()
        found = reference(exact_models.CASES[name]())
        scalars = {
            key: {
                "quantiles": [float(f"{q:.5g}") for q in scalar["quantiles"]],
                "mean": float(f"{scalar['mean']:.6g}"),
                "sd": float(f"{scalar['sd']:.6g}"),
            }
            for key, scalar in found["scalars"].items()
        }
        stored[name] = {"ess": round(found["ess"]), "log_evidence": round(found["log_evidence"], 4), "scalars": scalars}
        PATH.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        print(f"{name}: ess {found['ess']:.0f}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
