"""Times of the linear algebra: one factorization with solve, log determinant and selected inverse, structure fixed.

Usage: OMP_NUM_THREADS=1 python benchmarks/linalg.py
"""

import time

import numpy as np
from scipy import sparse

from pymc_inla.lgm import Pattern
from pymc_inla.linalg import build_system


def one_hot(index, n):
    return sparse.csr_array((np.ones(len(index)), index, np.arange(len(index) + 1)), shape=(len(index), n))


def iid(rng, n=1_000_000, groups=100_000, p=5, sort=True):
    index = rng.integers(groups, size=n)
    X = sparse.csr_array(rng.normal(size=(n, p)))
    return sparse.eye_array(groups + p), [X, one_hot(np.sort(index) if sort else index, groups)]


def effects(rng, n, sizes, p=2):
    X = sparse.csr_array(rng.normal(size=(n, p)))
    return sparse.eye_array(sum(sizes) + p), [X, *(one_hot(rng.integers(size, size=n), size) for size in sizes)]


def nested(rng, n=1_000_000, sizes=(200, 5_000, 100_000), p=2):
    low = rng.integers(sizes[-1], size=n)
    X = sparse.csr_array(rng.normal(size=(n, p)))
    parents = [one_hot(low * size // sizes[-1], size) for size in sizes]
    return sparse.eye_array(sum(sizes) + p), [X, *parents]


def ar1_kron(rng, n=100_000, steps=100, areas=200):
    r = 0.9
    diagonal = np.r_[1, np.full(steps - 2, 1 + r * r), 1]
    Q = sparse.kron(
        sparse.diags_array([diagonal, -r, -r], offsets=[0, 1, -1], shape=(steps, steps)), sparse.eye_array(areas)
    )
    index = rng.integers(steps * areas, size=n)
    return sparse.block_diag([sparse.eye_array(1), Q]), [np.ones((n, 1)), one_hot(index, steps * areas)]


def grid(rng, n=20_000, side=70):
    path = sparse.diags_array([2.0, -1.0, -1.0], offsets=[0, 1, -1], shape=(side, side))
    Q = sparse.kron(path, sparse.eye_array(side)) + sparse.kron(sparse.eye_array(side), path)
    return sparse.block_diag([sparse.eye_array(1), Q]), [
        np.ones((n, 1)),
        one_hot(rng.integers(side**2, size=n), side**2),
    ]


CASES = {
    "iid: 1e5 groups, n = 1e6, p = 5": iid,
    "iid, rows not sorted": lambda rng: iid(rng, sort=False),
    "iid: 1e4 groups, n = 1e5, p = 5": lambda rng: iid(rng, 100_000, 10_000),
    "crossed 3000 x 1000, n = 7.5e4": lambda rng: effects(rng, 75_000, (3000, 1000)),
    "crossed 1e4 x 1e3 x 50, n = 1e5": lambda rng: effects(rng, 100_000, (10_000, 1000, 50)),
    "nested 1e5/5e3/200, n = 1e6": nested,
    "AR(1) 100 x 200 areas, n = 1e5": ar1_kron,
    "lattice 70 x 70, n = 2e4": grid,
}


def main():
    print(
        f"{'case':36s} {'solver':18s} {'build s':>8s} {'factor ms':>10s} {'solve ms':>9s} {'selected ms':>12s} "
        f"{'sum ms':>8s}"
    )
    for name, make in CASES.items():
        Q, blocks = make(np.random.default_rng(1))
        Q, A = sparse.csr_array(Q), sparse.csr_array(sparse.hstack(blocks))
        n, n_x = A.shape
        W, rows = np.random.default_rng(2).uniform(0.5, 1.5, n), np.arange(n)
        patterns = Pattern.from_matrix(Q), Pattern.from_matrix(A)
        start = time.perf_counter()
        system = build_system(*patterns, rows, rows, sparse.csr_array((0, n_x)), np.empty(0))
        build = time.perf_counter() - start
        times = []
        for _ in range(4):  # the first pass compiles
            marks = [time.perf_counter()]
            factor = system.factorize(Q.data, A.data, W)
            marks.append(time.perf_counter())
            factor.solve(np.ones(n_x))
            marks.append(time.perf_counter())
            factor.selected_inverse()
            marks.append(time.perf_counter())
            times.append(np.diff(marks) * 1e3)
        best = np.min(times[1:], axis=0)
        print(
            f"{name:36s} {type(system).__name__:18s} {build:8.2f} {best[0]:10.1f} {best[1]:9.1f} {best[2]:12.1f} "
            f"{best.sum():8.1f}"
        )


if __name__ == "__main__":
    main()
