"""
How Sphinx builds this documentation.

``sphinx-build -W docs docs/_build`` writes it, with Thing installed and
Graphviz's ``dot`` on the path. Nothing is fetched from the network.
"""

import importlib
from typing import Any

from sphinx.application import Sphinx

from thing import __version__


def publicNames(package: str) -> list[str]:
    """
    The public names of a package, each as the module that defines it calls it.

    :param package: the package's full name.
    :return: full names, in the order of the package's ``__all__``.
    """
    module = importlib.import_module(package)
    offered = [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]
    return [f"{getattr(value, '__module__', package)}.{name}" for name, value in offered]


project = "Thing"
author = "Thing contributors"
project_copyright = "2026, Thing contributors"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.graphviz",
    "sphinxcontrib.zopeext.autointerface",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

# One page per module, from its docstrings; a package's page lists its public names.
autosummary_context = {"publicNames": publicNames}
suppress_warnings = [
    "config.cache",  # A function among the settings cannot be cached.
    "autosummary.import_cycle",  # A package's page names what it offers in full.
    "ref.python",  # Rooms may call two things alike, as both adapters do; a link finds the first.
]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
add_module_names = False

# Python is marked, and so is what a terminal shows.
highlight_language = "text"

# Messages stand as programs say them, with their own quotation marks.
smartquotes = False

graphviz_output_format = "svg"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["thing.css"]
html_title = f"Thing {release}"


def setup(app: Sphinx) -> None:
    """
    Have the navigation beside a page open where the page is, and closed elsewhere.

    Furo asks for all of it, hundreds of modules on each of their pages: most of a build's time, and
    of a page's size.

    :param app: what builds the pages.
    """
    app.connect("html-page-context", _closeElsewhere, priority=400)  # Before Furo asks.


def _closeElsewhere(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    whole = context.get("toctree")
    if whole is not None:
        context["toctree"] = lambda **asked: whole(**{**asked, "collapse": True})
