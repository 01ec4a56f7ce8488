"""Sphinx extension: formulas become MathML when the site is built, so that pages need no script and no network."""

from docutils import nodes
from latex2mathml.converter import convert


def visit_math(translator, node):
    """Inline formula"""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """Displayed formula"""
    translator.body.append(f'<div class="math-block">{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
