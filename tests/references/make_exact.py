"""Regenerate exact.json: exact marginals of the problems in `exact_models.CASES`, kept as quantiles.

Run from the repository: `python tests/references/make_exact.py [case ...]`; a minute or less each. Nested cases are
made by `make_nested.py`. All shared parameters and the first ten and last two effects of each kind are kept.
"""

import json
import pathlib
import re
import sys
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import exact  # noqa: E402
import exact_models  # noqa: E402

PATH = HERE / "exact.json"


def main(names):
    stored = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in names or [name for name in exact_models.CASES if name not in stored]:
        problem = exact_models.CASES[name]()
        start = time.perf_counter()
        size = {"n": 16384, "n_effects": 2000}
        if len(problem.y) > 1000:
            size = {"n": 8192, "n_effects": 1000}
        found = exact.exact_posterior(problem, **size)
        kept = {}
        for key, scalar in found["scalars"].items():
            index = int(re.search(r"\[(\d+)\]", key).group(1)) if "[" in key else 0
            last = {"u": problem.G, "v": problem.J}.get(key[0], 0) if "[" in key else 0
            if key[0] in "uv" and last and 10 <= index < last - 2:
                continue
            kept[key] = {
                "quantiles": [float(f"{q:.6g}") for q in scalar["quantiles"]],
                "mean": float(f"{scalar['mean']:.6g}"),
                "sd": float(f"{scalar['sd']:.6g}"),
            }
        stored[name] = {"ess": round(found["ess"]), "log_evidence": round(found["log_evidence"], 4), "scalars": kept}
        PATH.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
        print(f"{name}: ess {found['ess']:.0f}, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
