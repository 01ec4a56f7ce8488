"""Every `python` block of the documentation runs: all blocks of a page in order, in one namespace.

The info string of a block may say what it must raise or warn, by the name of a class of pymc_inla, PyMC or Python:

    ```python raises=UnsupportedModelError
    ```python warns=ReliabilityWarning

Warnings that are not announced are errors, as in every test.
"""

import builtins
import contextlib
import pathlib
import re

import pymc.exceptions
import pytest
from matplotlib import pyplot, rc_context

import pymc_inla.errors

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md")) + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)
NOT_RUN = ("py", "python3", "pycon", "ipython", "{code-block}", "{code}", "{literalinclude}")
"""Other ways to write Python, which would escape this test"""


def blocks(text):
    """(line, info string, code) of each fenced block."""
    for match in FENCE.finditer(text):
        yield text[: match.start()].count("\n") + 1, match["info"].strip(), match["code"]


def python_blocks(text):
    """(line, {"raises" or "warns": class name}, code) of the blocks that run."""
    for line, info, code in blocks(text):
        language, *options = info.split() or [""]
        if language == "python":
            yield line, dict(option.split("=", 1) for option in options), code


def expectation(options):
    """Context in which a block runs."""
    unknown = set(options) - {"raises", "warns"}
    assert not unknown, f"unknown options {unknown}"
    stack = contextlib.ExitStack()
    for verb, name in options.items():
        kind = next(getattr(m, name) for m in (pymc_inla.errors, pymc.exceptions, builtins) if hasattr(m, name))
        stack.enter_context({"raises": pytest.raises, "warns": pytest.warns}[verb](kind))
    return stack


def run_page(path, namespace):
    """Run the blocks of a page, with file names and lines that a traceback can show."""
    for line, options, code in python_blocks(path.read_text()):
        compiled = compile("\n" * line + code, str(path), "exec")
        with expectation(options):
            exec(compiled, namespace)


@pytest.fixture(autouse=True)
def quiet_figures(monkeypatch, tmp_path):
    """Pages draw without a display and write into a directory of their own."""
    monkeypatch.chdir(tmp_path)
    with rc_context({"backend": "Agg"}):
        yield
        pyplot.close("all")


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_page_runs(path):
    namespace = {"__name__": "__main__"}
    if path.name == "README.md":
        from pymc_inla.demo import seeds_model

        namespace["model"] = seeds_model()  # its first block is about any model
    run_page(path, namespace)


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_no_python_escapes(path):
    """Python is written in `python` blocks only, which start at the margin; fences are closed."""
    text = path.read_text()
    assert not re.search(r"^[ \t>]+(?:`{3,}|~{3,})", text, re.MULTILINE), f"{path.name}: a fence is indented"
    found = list(blocks(text))
    for line, info, _ in found:
        language = info.split()[0] if info else ""
        assert language not in NOT_RUN, f"{path.name}:{line}: write ```python instead of ```{language}"
    fences = re.findall(r"^(?:`{3,}|~{3,})", text, re.MULTILINE)
    assert len(fences) == 2 * len(found), f"{path.name}: a fence is not closed"


# --- the runner itself ------------------------------------------------------------------------------------------------


def page(tmp_path, *parts):
    path = tmp_path / "page.md"
    path.write_text("".join(f"text\n```{info}\n{code}\n```\n" for info, code in parts))
    return path


def test_blocks_of_a_page_share_names(tmp_path):
    namespace = {}
    run_page(page(tmp_path, ("python", "a = 1"), ("text", "a = 5"), ("python", "b = a + 1")), namespace)
    assert namespace["b"] == 2


def test_errors_of_a_page_are_errors_of_the_test(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run_page(page(tmp_path, ("python", "1 / 0")), {})
    with pytest.raises(DeprecationWarning):
        run_page(page(tmp_path, ("python", "import warnings\nwarnings.warn('old', DeprecationWarning)")), {})


def test_announced_errors_and_warnings_must_come(tmp_path):
    warn = "import warnings, pymc_inla.errors\nwarnings.warn('look', pymc_inla.errors.ReliabilityWarning)"
    raise_ = "from pymc_inla.errors import *\nraise InvalidOptionError('no')"
    run_page(
        page(tmp_path, ("python warns=ReliabilityWarning", warn), ("python raises=InvalidOptionError", raise_)), {}
    )
    for announced in ("python raises=InvalidOptionError", "python warns=ReliabilityWarning"):
        with pytest.raises(pytest.fail.Exception, match="DID NOT"):
            run_page(page(tmp_path, (announced, "pass")), {})
