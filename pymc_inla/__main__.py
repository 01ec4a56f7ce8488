"""`python -m pymc_inla`: versions, caches and the demonstration; `python -m pymc_inla versions`: without it."""

import argparse
import importlib.metadata
import os
import pathlib
import platform

PACKAGES = ("pymc-inla", "pymc", "pytensor", "arviz-base", "numpy", "scipy", "numba", "xarray")


def print_environment() -> None:
    """Versions of what takes part in a fit, and where compiled code is cached."""
    import numba
    import pytensor

    print(f"Python {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        print(f"{package} {importlib.metadata.version(package)}")
    print(f"PyTensor cache: {pytensor.config.compiledir}")
    numba_cache = numba.config.CACHE_DIR or os.environ.get("NUMBA_CACHE_DIR")
    print(f"Numba cache: {numba_cache or pathlib.Path(__file__).parent / '__pycache__'}")


def main(arguments=None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m pymc_inla", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["versions", "demo"], default="demo")
    parser.add_argument("--figure", default="demo.png", help="file that the demonstration draws (default: demo.png)")
    chosen = parser.parse_args(arguments)
    print_environment()
    if chosen.command == "demo":
        from pymc_inla.demo import run_demo

        run_demo(chosen.figure)


if __name__ == "__main__":
    main()
