"""Configuration of the documentation site: `make docs`."""

import importlib.util
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import pymc_inla  # noqa: E402

project = "pymc-inla"
author = "the pymc-inla developers"
version = release = pymc_inla.__version__

extensions = [
    "executed_pages",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build", "_ext", "notebooks/.ipynb_checkpoints", "jupyter_execute"]

# every cross reference inside the project must resolve
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|pymc|pytensor|xarray|pandas|scipy|arviz\w*|rich|matplotlib|ndarray)\b.*")]
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

# notebooks and pages are executed once; the cache holds their outputs until they change
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_merge_streams = True
nb_execution_show_tb = True

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "pymc-inla"
# the site ships MathJax, from the package that holds it: no page needs a network
MATHJAX = pathlib.Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
html_static_path = ["_static", str(MATHJAX / "static")]
mathjax_path = "mathjax/tex-chtml.js"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_center": [],  # the sidebar lists every page
    "icon_links": [],
    "logo": {"text": "pymc-inla"},
}
html_sidebars = {"**": ["globaltoc.html"]}


def copy_notebooks(app):
    """The notebooks live at the top of the repository; Sphinx reads below docs/ only."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    for notebook in (HERE.parent / "notebooks").glob("*.ipynb"):
        copy = target / notebook.name
        if not copy.exists() or copy.read_bytes() != notebook.read_bytes():
            shutil.copy(notebook, copy)


def setup(app):
    app.connect("builder-inited", copy_notebooks)
