"""Sphinx extension: `python` blocks of Markdown pages are executed, and their output is shown below them.

The pages stay plain Markdown, readable anywhere and run by tests/test_docs.py. When Sphinx reads one that has such
blocks, it is handed to MyST-NB as a notebook. A block announced as `python raises=Error` or `python warns=Warning` may
do so.
"""

import re

HEADER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
BLOCK = re.compile(r"^```python(?P<options>[^\n]*)$", re.MULTILINE)


def to_cell(match):
    """The opening fence of a code cell."""
    tags = "\n:tags: [raises-exception]" if "raises=" in match["options"] else ""
    return "```{code-cell} ipython3" + tags


def to_notebook(app, docname, source):
    """Turn a Markdown page with `python` blocks into a MyST notebook."""
    if str(app.env.doc2path(docname)).endswith(".md") and BLOCK.search(source[0]):
        source[0] = HEADER + BLOCK.sub(to_cell, source[0])


def setup(app):
    app.connect("source-read", to_notebook)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
