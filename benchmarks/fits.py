"""Wall clock and memory of whole `pm.fit(method="inla")` calls beside `pm.sample`, as one table.

    python benchmarks/fits.py [--nuts CASE ...] [CASE ...]

Every case runs in processes of its own in which PyMC is imported before the clock starts:
cold      first process ever (empty PyTensor and numba caches)
warm      a later process
again     a second data set through the same model, in the same process
MB        peak resident memory above that before the fit
passes    passes over the data; units: warm time over one evaluation of PyMC's compiled log density and gradient
NUTS      `pm.sample()` with its defaults on the same model, warm caches
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(case, what):
    """Runs inside the child process."""
    import numpy as np
    import pymc as pm
    from cases import CASES

    import pymc_inla  # noqa: F401

    model = CASES[case]()
    result = {}
    if what == "nuts":
        start = time.perf_counter()
        with model:
            pm.sample(progressbar=False, random_seed=1)
        result["seconds"] = time.perf_counter() - start
    elif what == "unit":
        function = model.logp_dlogp_function(ravel_inputs=True)
        point = function.dict_to_array(model.initial_point()) if hasattr(function, "dict_to_array") else None
        if point is None:
            from pymc.blocking import DictToArrayBijection

            point = DictToArrayBijection.map(model.initial_point()).data
        function(point)
        times = []
        for _ in range(7):
            start = time.perf_counter()
            function(point)
            times.append(time.perf_counter() - start)
        result["seconds"] = float(np.median(times))
    else:
        before = resident_megabytes()
        start = time.perf_counter()
        with model:
            idata = pm.fit(method="inla", random_seed=1, progressbar=False)
        result["seconds"] = time.perf_counter() - start
        result["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before
        inla = idata["inla"]
        result["passes"] = int(inla.attrs.get("count_passes", -1))
        result["evaluations"] = int(inla.attrs.get("count_theta_evaluations", -1))
        result["strategy"] = str(inla.attrs.get("strategy", ""))
        del idata
        if what == "warm":
            model = CASES[case](seed=7)
            start = time.perf_counter()
            with model:
                pm.fit(method="inla", random_seed=1, progressbar=False)
            result["again"] = time.perf_counter() - start
    print("RESULT " + json.dumps(result))


def child(case, what, environment=None):
    command = [sys.executable, "-W", "ignore", __file__, "--child", what, case]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    for line in run.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    sys.exit(f"{case} ({what}) failed:\n{run.stdout}\n{run.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--nuts", nargs="*", default=["seeds", "poisson 1e3"], help="cases that pm.sample runs too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.cases[0], arguments.child)
        return

    from cases import CASES
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in (
        "case",
        "strategy",
        "cold s",
        "warm s",
        "again s",
        "MB",
        "passes",
        "evaluations",
        "units",
        "NUTS s",
        "NUTS / warm",
    ):
        table.add_column(column, justify="left" if column in ("case", "strategy") else "right")
    for case in arguments.cases or CASES:
        with tempfile.TemporaryDirectory() as caches:
            empty = {"PYTENSOR_FLAGS": f"base_compiledir={caches}/pytensor", "NUMBA_CACHE_DIR": f"{caches}/numba"}
            cold = child(case, "cold", empty)
        child(case, "cold")
        warm = child(case, "warm")
        unit = child(case, "unit")["seconds"]
        nuts = None
        if case in arguments.nuts:
            child(case, "nuts")
            nuts = child(case, "nuts")["seconds"]
        table.add_row(
            case,
            warm["strategy"],
            f"{cold['seconds']:.2f}",
            f"{warm['seconds']:.2f}",
            f"{warm['again']:.2f}",
            f"{warm['megabytes']:.0f}",
            str(warm["passes"]),
            str(warm["evaluations"]),
            f"{warm['seconds'] / unit:.0f}",
            f"{nuts:.1f}" if nuts else "",
            f"{nuts / warm['seconds']:.0f}" if nuts else "",
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
