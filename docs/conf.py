"""How Sphinx builds the documentation: ``sphinx-build -W --keep-going -b html docs build/docs``."""

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.domains.python import PyObject

from ioto_async import __version__

project = "ioto_async"
author = "the ioto_async authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["__pycache__"]

html_theme = "furo"
html_title = f"ioto_async {release}"
html_copy_source = False
html_show_sphinx = False
# Pages that are read on disk or behind a firewall: no fonts, scripts or badges of other hosts.
html_theme_options: dict[str, object] = {"footer_icons": []}

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

default_role = "py:obj"
autodoc_default_options = {"members": True, "exclude-members": "any_type"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

_PICTURE = re.compile(r'<picture><source [^>]*srcset="([^"]+)"><img alt="([^"]*)" src="([^"]+)"></picture>')
_IMAGE = "```{{image}} {0}\n:class: only-{1}\n:alt: {2}\n```\n\n"
_SOURCE = re.compile(r"^Source: ")
_MADE_LATE = re.compile(r"'?_Attribute\[(\w+)\]'?")
_LONG = re.compile(r"collections\.abc\.|ioto_async\.(?:\w+\.)*")
_PRIVATE = re.compile(r", _\w+: [^=]* = None")


def _docstring(app: Any, what: str, name: str, object: Any, options: Any, lines: list[str]) -> None:
    """Drop what is of no use to readers: where in the vendor's documents something is from, and how it is made."""
    lines[:] = [_MADE_LATE.sub(r"\1", line) for line in lines]
    lines[:] = [_LONG.sub("", line) if line.startswith(":vartype ") else line for line in lines]
    while any(map(_SOURCE.match, lines)):
        begin = next(number for number, line in enumerate(lines) if _SOURCE.match(line))
        end = next((number for number, line in enumerate(lines[begin:], begin) if not line.strip()), len(lines))
        del lines[begin:end]


def _signature(
    app: Any, what: str, name: str, object: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Drop arguments that are not public, and those of what only clients make."""
    if arguments is None:
        return None
    if "Transport" in arguments:
        return "()", None
    return _PRIVATE.sub("", arguments).replace("= NOTHING", "= ..."), returned


def _skipped(app: Any, what: str, name: str, object: Any, skip: bool, options: Any) -> bool | None:
    """Skip the namespaces of clients, which are listed as attributes already."""
    return True if isinstance(object, type) and name.islower() else None


def _for_the_site(app: Any, name: str, content: list[str]) -> None:
    """Turn what GitHub needs into what the theme needs: pictures that follow its switch, links within the site."""
    content[0] = _PICTURE.sub(
        lambda found: _IMAGE.format(found[3], "light", found[2]) + _IMAGE.format(found[1], "dark", found[2]), content[0]
    ).replace("](../CHANGELOG.md", "](changelog.md")


def _without_guesses(app: Any, doctree: nodes.document) -> None:
    """Leave words of signatures such as ``type`` alone: they are Python's, and the names of many attributes."""
    for node in [*doctree.findall(pending_xref)]:
        if node["reftype"] == "class" and re.fullmatch("[a-z_]+", node["reftarget"]):
            node.replace_self(node.children)


def setup(app: Any) -> None:
    """Connect what is done to pages and docstrings."""
    app.connect("source-read", _for_the_site)
    app.connect("doctree-read", _without_guesses)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skipped)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
