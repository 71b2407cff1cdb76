"""Sphinx: the pages of docs/, the README and the records of the benchmarks, and the reference.

The source folder is the repository, so that relative links mean the same here and on a forge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes

from particle_transformer import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "AnalysisObjectTransformer"
author = "The AnalysisObjectTransformer developers"
project_copyright = author
version = release = __version__

root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "*/README.md",
    "src/**/README.md",
    "benchmarks/*.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "dist", "htmlcov", "tests", "docs/_extra"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

myst_heading_anchors = 4

default_role = "code"  # `name` in a docstring: of an argument as often as of a function
nitpicky = True
# Types of other projects have no page here, and nothing is downloaded. A class of the analysis file
# and one of the losses may share a name.
suppress_warnings = ["ref.python"]
nitpick_ignore_regex = [(r"py:(class|obj|data)", r".*")]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"Analysis\u00adObject\u00adTransformer {release}"
html_extra_path = ["_extra"]  # the address of the folder leads to docs/index.html
html_show_sphinx = False
html_copy_source = False

_ANCHOR = re.compile(r'<a id="([\w-]+)">')
_FOLDER = re.compile(r"\]\(([\w./-]+/)\)")
_CODE = re.compile(r"(`+[^`]*`+)")
_MARKUP = re.compile(r"\||(?<=\w)_(?!\w)")


def _register_html_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Let ``page.md#name`` find ``<a id="name"></a>``, as on a forge."""
    metadata = app.env.metadata[app.env.docname]
    for raw in doctree.findall(nodes.raw):
        for name in _ANCHOR.findall(raw.astext()):
            metadata.setdefault("myst_slugs", {})[name] = (raw.line or 0, name, "")


def _link_readmes(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let a link to a folder lead to its README, as on a forge."""
    del app, docname
    source[0] = _FOLDER.sub(r"](\1README.md)", source[0])


def _keep_mathematics(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Let |x| and bool_ in a docstring be themselves, not substitutions and references."""
    del app, what, name, thing, options
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = _CODE.split(line)
            parts[::2] = [_MARKUP.sub(lambda found: f"\\{found[0]}", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("doctree-read", _register_html_anchors)
    app.connect("source-read", _link_readmes)
    app.connect("autodoc-process-docstring", _keep_mathematics, priority=900)  # after napoleon
