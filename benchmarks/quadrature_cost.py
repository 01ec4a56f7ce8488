"""What quadrature with nine nodes costs beside the Laplace approximation of the same model, as one table.

    python benchmarks/quadrature_cost.py [--nodes 9] [CASE ...]

Both integrate the hyperparameters, draw and compute the criteria; both read and compile the model. Every fit runs in a
process of its own, in which one fit has filled the caches. CPU seconds (user and system, all threads) do not depend on
what else the machine does, as far as it can be had; MB is the peak of the resident memory above that before the fit.
"""

import argparse
import json
import resource
import subprocess
import sys

from fits import resident_megabytes

SMALL = ("seeds", "poisson 1e3", "poisson 1e4", "poisson 1e5", "binary small groups")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fit(model, method, nodes):
    """The result of the engine, with this inner approximation and no search for a better one."""
    from pymc_inla.analysis import analyze_model
    from pymc_inla.compile import compile_model
    from pymc_inla.inference import run_inference
    from pymc_inla.inference.parallel import on_cores
    from pymc_inla.inference.quadrature import QuadratureInner
    from pymc_inla.inference.strategy import Choice, laplace_choice
    from pymc_inla.linalg import choose_local

    functions = compile_model(analyze_model(model))
    choice = laplace_choice(functions, "simplified_laplace")
    if method == "quadrature":
        pattern = functions.W_rows, functions.W_cols, functions.C
        partition = choose_local(functions.Q_pattern, functions.A_pattern, *pattern)
        choice = Choice(QuadratureInner(functions, partition, nodes), "quadrature", f"{nodes} nodes")
    with on_cores(1):  # threads of BLAS that wait count as CPU time
        return run_inference(functions, choice=choice, random_seed=1)


def measure(case, method, nodes):
    """Runs inside the child process."""
    from cases import CASES

    fit(CASES["seeds"](), method, nodes)
    model, before, start = CASES[case](), resident_megabytes(), cpu_seconds()
    result = fit(model, method, nodes)
    seconds, peak = cpu_seconds() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print("RESULT " + json.dumps({"seconds": seconds, "MB": peak - before, "counts": result.counts}))


def child(case, method, nodes):
    command = [sys.executable, "-W", "ignore", __file__, "--child", method, "--nodes", str(nodes), case]
    run = subprocess.run(command, capture_output=True, text=True)
    for line in run.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    sys.exit(f"{case} ({method}) failed:\n{run.stdout}\n{run.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--nodes", type=int, default=9)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.cases[0], arguments.child, arguments.nodes)
        return
    print(f"{'case':24s} {'laplace s':>10s} {'quadrature s':>13s}  ratio  laplace MB     MB  ratio")
    for case in arguments.cases or SMALL:
        laplace, quadrature = (child(case, method, arguments.nodes) for method in ("laplace", "quadrature"))
        print(
            f"{case:24s} {laplace['seconds']:10.2f} {quadrature['seconds']:13.2f} "
            f"{quadrature['seconds'] / laplace['seconds']:6.1f} {laplace['MB']:11.0f} {quadrature['MB']:6.0f} "
            f"{quadrature['MB'] / laplace['MB']:6.1f}   evaluations of theta "
            f"{laplace['counts']['n_theta_evaluations']} {quadrature['counts']['n_theta_evaluations']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
