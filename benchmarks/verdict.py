"""How often the verdict of a fit is right, against exact answers.

    python benchmarks/verdict.py [--strategies auto laplace] [--draws 20000] [--every 1] [--beyond]

Data are simulated over a grid of families, group sizes, numbers of groups and sigma; `tests/exact.py` gives the exact
means and standard deviations of b, sigma and every group effect. A fit is *off* when one mean differs by more than
0.1 posterior sd or one sd by more than 10 %, in the draws or in the summary from deterministic marginals; it is
*flagged* when the verdict is not "good". Printed: one line per fit, then the confusion table. A quarter of an hour on
one core with --every 3. With --beyond the problems are others: unbalanced groups, rare events, many trials, crossed
effects.
"""

import argparse
import itertools
import pathlib
import sys
import time
import warnings

import numpy as np

import pymc_inla as pmi
from pymc_inla.errors import ReliabilityWarning

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))

import exact
import exact_models

SHAPES = ((1, 100), (2, 40), (2, 1000), (3, 200), (5, 20), (10, 5), (20, 50), (100, 8))
"""(size of a group, number of groups)"""
SIGMAS = (0.1, 0.5, 1.5, 5.0)
FAMILIES = ("bernoulli", "poisson", "normal")
NAMES = "b", "sigma", "u"
"""Variables of the grid; `sigma_v` and `v` join them where there is a second effect."""
MEAN_OFF, SD_OFF = 0.1, 0.1
LOWEST_ESS = 500
"""Effective size of the exact answer, below which it decides nothing"""


def problems():
    """(label, Problem) over the grid."""
    seed = 100
    for family in FAMILIES:
        for size, n_groups in SHAPES:
            for sigma in SIGMAS:
                seed += 1
                label = f"{family:9s} {size:3d} x {n_groups:4d} sigma {sigma:3.1f}"
                yield (
                    label,
                    exact_models.simulate(family, n_groups, size, sigma, seed=seed, b=(0.3, 0.5), scale_sigma=3.0),
                )


def unbalanced(family, n_groups, sigma, seed, b=(0.3, 0.5), trials=None):
    """Group sizes from a geometric distribution of mean 4; up to `trials` trials a row."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), rng.geometric(0.25, n_groups))
    n = len(group)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    eta = X @ np.array(b) + rng.normal(0, sigma, n_groups)[group]
    trials = rng.integers(1, trials + 1, n) if trials else None
    if family == "poisson":
        y = rng.poisson(np.exp(eta))
    else:
        y = rng.binomial(1 if trials is None else trials, 1 / (1 + np.exp(-eta)))
    return exact_models.Problem(family, y, X, group, trials, scale_sigma=3.0, scale_b=5.0)


def problems_beyond():
    """(label, Problem) of other kinds than the grid's."""
    for k, sigma in enumerate((0.3, 1.0, 3.0)):
        yield f"bernoulli unbalanced 60 sigma {sigma}", unbalanced("bernoulli", 60, sigma, 500 + k)
        yield f"poisson   unbalanced 60 sigma {sigma}", unbalanced("poisson", 60, sigma, 510 + k)
        yield f"binomial  unbalanced 30 sigma {sigma}", unbalanced("binomial", 30, sigma, 520 + k, trials=20)
        yield f"bernoulli 2 % ones 150 sigma {sigma}", unbalanced("bernoulli", 150, sigma, 530 + k, b=(-4.5, 0.5))
        yield f"poisson   mean 0.05 150 sigma {sigma}", unbalanced("poisson", 150, sigma, 540 + k, b=(-3.5, 0.5))
    for k, (family, n_groups, size, sigma) in enumerate(
        (("bernoulli", 30, 5, 1.5), ("bernoulli", 60, 3, 2.0), ("poisson", 30, 3, 0.8), ("poisson", 20, 5, 0.3))
    ):
        crossed = {"seed": 550 + k, "n_other": 5, "crossed": True, "sigma_v": 0.8, "scale_sigma": 3.0}
        label = f"{family:9s} crossed {n_groups} x 5, {size} a group, sigma {sigma}"
        yield label, exact_models.simulate(family, n_groups, size, sigma, b=(0.3, 0.5), **crossed)


def gaussian_moments(problem, n=240):
    """The same for a Gaussian response and groups of equal size, where all but (sigma, noise) has a closed form.

    With one row per group the two trade against each other, which importance sampling follows poorly.
    """
    y, X, group = problem.y, problem.X, problem.group
    k = len(y) // problem.G
    y_bar, X_bar = y.reshape(-1, k).mean(1), X.reshape(problem.G, k, -1).mean(1)
    y_in, X_in = y - y_bar[group], X - X_bar[group]
    between_XX, between_Xy, between_yy = X_bar.T @ X_bar, X_bar.T @ y_bar, y_bar @ y_bar
    within_XX, within_Xy, within_yy = X_in.T @ X_in, X_in.T @ y_in, y_in @ y_in

    def evaluate(log_sigma, log_noise):
        s2, e2 = np.exp(2 * log_sigma), np.exp(2 * log_noise)
        between = e2 / k + s2
        A = between_XX / between + within_XX / e2 + np.eye(X.shape[1]) / problem.scale_b**2
        v = between_Xy / between + within_Xy / e2
        m = np.linalg.solve(A, v)
        value = -0.5 * (problem.G * np.log(between) + (len(y) - problem.G) * np.log(e2) + np.linalg.slogdet(A)[1])
        value -= 0.5 * (between_yy / between + within_yy / e2 - v @ m)
        value += log_sigma + log_noise - 0.5 * (s2 / problem.scale_sigma**2 + e2 / problem.scale_noise**2)
        return value, (np.sqrt(s2), s2 / between, m, np.linalg.inv(A))

    ranges = [(-9.0, 2.5), (-9.0, 2.5)]
    for _ in range(3):
        axes = [np.linspace(low, high, n) for low, high in ranges]
        log_w, kept = zip(*(evaluate(*point) for point in itertools.product(*axes)), strict=True)
        w = np.exp(np.array(log_w) - max(log_w))
        w /= w.sum()
        alone = w.reshape(n, n).sum(1), w.reshape(n, n).sum(0)
        ends = [
            (axis[p > 1e-9].min(), axis[p > 1e-9].max(), axis[1] - axis[0]) for axis, p in zip(axes, alone, strict=True)
        ]
        ranges = [(low - step, high + step) for low, high, step in ends]
    first, second = ({name: 0.0 for name in NAMES} for _ in range(2))
    for weight, (sigma, share, m, C) in zip(w, kept, strict=True):
        if weight < 1e-9:
            continue
        u = share * (y_bar - X_bar @ m)
        spread = np.einsum("gi,ij,gj->g", X_bar, C, X_bar)
        variance = {"b": np.diag(C), "sigma": 0.0, "u": sigma**2 * (1 - share) + share**2 * spread}
        for name, mean in (("b", m), ("sigma", np.array([sigma])), ("u", u)):
            first[name] = first[name] + weight * mean
            second[name] = second[name] + weight * (mean**2 + variance[name])
    return {name: (first[name], np.sqrt(second[name] - first[name] ** 2)) for name in NAMES}, np.inf


def exact_moments(problem, n=8192):
    """Mean and sd of every scalar: {"b": (p,), "sigma": (1,), "u": (G,)} (and sigma_v, v) each a pair; and the
    effective size.

    Large problems, whose shared parameters are well determined, get fewer points, crossed ones more.
    """
    if problem.family == "normal":
        return gaussian_moments(problem)
    large = len(problem.y) > 500
    if problem.J:
        psi, w, ess, _ = exact.sample_shared(problem, 8 * n, 4096)
    else:
        psi, w, ess, _ = exact.sample_shared(problem, n // 4 if large else n, 512 if large else 1024)
    kept = w > 1e-8 * w.max()
    psi, w = psi[kept], w[kept] / w[kept].sum()
    b, sigma, sigma_v, noise, v, _ = exact._unpack(problem, psi)
    shared = {"b": b, "sigma": sigma} | ({"sigma_v": sigma_v, "v": v} if problem.J else {})
    z = b @ problem.X.T if v is None else b @ problem.X.T + v[:, problem.other]
    found = {}
    for name, values in shared.items():
        mean = w @ values
        found[name] = mean, np.sqrt(w @ (values - mean) ** 2)
    first = second = 0.0
    for rows in np.array_split(np.arange(len(psi)), max(1, len(psi) * problem.G // 500_000)):
        _, mean, sd = exact.conditional_moments(problem, z[rows], sigma[rows], noise[rows])
        first, second = first + w[rows] @ mean, second + w[rows] @ (sd**2 + mean**2)
    found["u"] = first, np.sqrt(second - first**2)
    return found, ess


def fitted_moments(idata):
    """The same from the draws, and from the summary."""
    posterior = idata.posterior
    names = [name for name in (*NAMES, "sigma_v", "v") if name in posterior]
    draws = {name: posterior[name].values.reshape(-1, posterior[name].values[0, 0].size) for name in names}
    of_draws = {name: (x.mean(0), x.std(0)) for name, x in draws.items()}
    of_marginals = {}
    for name in names:
        table = pmi.summary(idata, var_names=[name])
        of_marginals[name] = table["mean"].to_numpy(float), table["sd"].to_numpy(float)
    return of_draws, of_marginals


def error(found, truth):
    """Largest distance of a mean in sd, and largest relative difference of an sd."""
    means = [np.max(np.abs(found[k][0] - truth[k][0]) / truth[k][1]) for k in found]
    sds = [np.max(np.abs(found[k][1] / truth[k][1] - 1)) for k in found]
    return max(means), max(sds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="*", default=["auto", "laplace"])
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=1, help="take every k-th problem of the grid")
    parser.add_argument("--beyond", action="store_true", help="problems of other kinds")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ReliabilityWarning)
    counts = {s: np.zeros((2, 2), dtype=int) for s in arguments.strategies}
    for label, problem in list(problems_beyond() if arguments.beyond else problems())[:: arguments.every]:
        start = time.perf_counter()
        truth, ess = exact_moments(problem)
        seconds = time.perf_counter() - start
        if ess < LOWEST_ESS:
            print(f"{label} left out: the exact answer has an effective size of {ess:.0f}", flush=True)
            continue
        for strategy in arguments.strategies:
            start = time.perf_counter()
            idata = pmi.fit(
                exact_models.build(problem),
                strategy=strategy,
                draws=arguments.draws,
                chains=1,
                random_seed=1,
                progressbar=False,
                criteria=False,
            )
            verdict = pmi.reliability(idata)
            of_draws, of_marginals = fitted_moments(idata)
            (m, s), (mm, ms) = error(of_draws, truth), error(of_marginals, truth)
            off, flagged = max(m, mm) > MEAN_OFF or max(s, ms) > SD_OFF, verdict.verdict != "good"
            counts[strategy][int(off), int(flagged)] += 1
            print(
                f"{label} {strategy:8s} draws {m:5.3f} {s:5.3f} marginals {mm:5.3f} {ms:5.3f} "
                f"{'off ' if off else 'fine'} {verdict.verdict:5s} shift {verdict.numbers['inner_mean_shift']:5.3f} "
                f"sd {verdict.numbers['inner_sd_change']:5.3f} outer {verdict.numbers['outer_change']:5.3f} "
                f"k {verdict.numbers['k_hat']:5.2f} eff {verdict.numbers['importance_efficiency']:4.2f} "
                f"gap {verdict.numbers['draws_gap']:4.2f} exact ess {ess:.0f} {seconds:.0f} s fit "
                f"{time.perf_counter() - start:.1f} s",
                flush=True,
            )
    for strategy, table in counts.items():
        print(f"{strategy}: off and flagged {table[1, 1]}, off and not flagged {table[1, 0]}, ", end="")
        print(f"fine and flagged {table[0, 1]}, fine and not flagged {table[0, 0]}")


if __name__ == "__main__":
    main()
