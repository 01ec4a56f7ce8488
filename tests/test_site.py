"""The documentation as a whole: every public name, links, notebooks without output.

`make docs` executes the notebooks.
"""

import importlib
import json
import pathlib
import re

import pytest

import pymc_inla

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "docs").glob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
]
LINK = re.compile(r"!?\[[^\]\[]*\]\(([^)\s]+)\)")


def reference_text():
    return (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("name", [n for n in pymc_inla.__all__ if n not in pymc_inla._MODULES])
def test_every_public_name_is_in_the_reference(name):
    listed = re.findall(r"^\.\. auto(?:function|class):: (?:pymc_inla\.)?(\w+)$", reference_text(), re.MULTILINE)
    assert name in listed, f"docs/api.md lacks {name}"


def test_every_name_of_the_public_modules_is_in_the_reference():
    for module in pymc_inla._MODULES:
        names = importlib.import_module(f"pymc_inla.{module}").__all__
        assert f"pymc_inla.{module}" in reference_text()
        missing = [name for name in names if not re.search(rf"\b{re.escape(name)}\b", reference_text())]
        assert not missing, f"docs/api.md lacks {missing} of pymc_inla.{module}"


@pytest.mark.parametrize("name", pymc_inla.__all__)
def test_every_public_name_has_a_docstring(name):
    assert (getattr(pymc_inla, name).__doc__ or "").strip()


@pytest.mark.parametrize("path", PAGES, ids=[path.name for path in PAGES])
def test_links_between_files_resolve(path):
    """Only files are looked at: nothing is fetched."""
    for target in LINK.findall(path.read_text()):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        assert (path.parent / target.split("#")[0]).exists(), f"{path.name}: {target} does not exist"


def test_every_page_is_in_the_contents():
    """Named outright or by a pattern of a toctree in index.md."""
    index = (ROOT / "docs" / "index.md").read_text()
    entries = [line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.split()]
    for page in (ROOT / "docs").glob("*.md"):
        if page.stem != "index":
            assert any(pathlib.PurePath(page.stem).match(entry) for entry in entries), f"{page.name} is in no toctree"


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_are_stripped(path):
    """No outputs, no execution counts, no metadata of the machine: diffs stay readable."""
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert set(notebook["metadata"]["language_info"]) == {"name"}
    for cell in notebook["cells"]:
        assert not cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_ask_and_answer_one_question(path):
    text = "".join("".join(cell["source"]) + "\n" for cell in json.loads(path.read_text())["cells"])
    assert text.startswith("# ")
    assert "?" in text.split("\n# %")[0]
    assert re.search(r"\*\*Answer\.\*\*|^The answer:", text, re.MULTILINE)
