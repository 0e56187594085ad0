"""Configuration of Sphinx, which builds the site: ``make docs``.

The source folder is the repository, not ``docs``, so that pages may link to notebooks, the README and files of the
package by the same relative paths that a code host follows. The order of pages stands in ``_toc.yml``.
"""

import importlib
import os
import sys
from pathlib import Path

from pydantic import BaseModel
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click
from typer.main import get_command

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import giblet  # noqa: E402
from giblet.cli import app  # noqa: E402

project = "giblet"
author = "the authors of giblet"
project_copyright = author
release = version = giblet.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_external_toc",
]
external_toc_path = "docs/_toc.yml"
# A notebook is taken as Markdown, which has no outputs, where there is such a pair of it.
_notebooks = {path.stem: f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
_notebooks |= {path.stem: f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.md"))}
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/*.rst",
    "docs/_api/*",
    "samples/README.md",
    "giblet/codec/assets/bundled/README.md",
    *_notebooks.values(),
]
exclude_patterns = [".*", "build", "dist", "runs", "demo_output", "docs/_build", "docs/_root"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
templates_path = [str(ROOT / "docs" / "_templates")]  # autosummary looks in the source folder, Sphinx beside this file
suppress_warnings = ["config.cache", "etoc.toctree"]  # the pages of a package are listed by autosummary

myst_heading_anchors = 4
# `make docs RUN=cache` runs the notebooks, and shows what they draw and play.
nb_execution_mode = "off"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_excludepatterns = [] if "GIBLET_ALICE" in os.environ else ["notebooks/04_*"]  # its data are not shipped

autosummary_generate = True
autosummary_ignore_module_all = False  # what a package offers is in its __all__
autodoc_typehints = "none"  # numpydoc has types, shapes and units
numpydoc_show_class_members = False  # the template lists them; `python -m tests.docstrings` validates them
# Packages of the reference, in its order. What several offer is described with the first.
PACKAGES = (
    "giblet",
    "giblet.alignment",
    "giblet.codec",
    "giblet.encoding",
    "giblet.models",
    "giblet.pipeline",
    "giblet.statistics",
    "giblet.data.splits",
    "giblet.data.dataset.windows",
    "giblet.evaluation.identification",
    "giblet.features",
    "giblet.timing",
)


def first_here(package: str, names: list[str]) -> list[str]:
    """Those of a package's names that no package before it in the reference offers.

    Parameters
    ----------
    package : str
        One of :data:`PACKAGES`.
    names : list of str
        What it offers.

    Returns
    -------
    list of str
        In the order given.
    """
    before = [importlib.import_module(name) for name in PACKAGES[: PACKAGES.index(package)]]
    known = {id(getattr(module, name)) for module in before for name in getattr(module, "__all__", ())}
    return [name for name in names if id(getattr(importlib.import_module(package), name)) not in known]


autosummary_context = {"first_here": first_here}

html_theme = "pydata_sphinx_theme"
html_title = f"giblet {release}"
html_extra_path = ["_root"]  # index.html, which leads to docs/index.html
html_static_path = ["_static"]
html_css_files = ["giblet.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "giblet"},
    "header_links_before_dropdown": 7,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "show_prev_next": True,
}


def write_commands(_: Sphinx) -> None:
    """Page of all commands and their options, from what ``--help`` shows."""
    command = get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=command.make_context("giblet", [], resilient_parsing=True), name="giblet"
    )
    folder = ROOT / "docs" / "_api"
    folder.mkdir(exist_ok=True)
    (folder / "commands.md").write_text(text, encoding="utf-8")


def list_options(_: Sphinx, what: str, name: str, documented: object, options: object, lines: list[str]) -> None:
    """Under a class of settings: its options, with what ``giblet`` itself says of them."""
    if not (isinstance(documented, type) and issubclass(documented, BaseModel)):
        return
    lines += ["", ".. rubric:: Options", ""]
    for option, field in documented.model_fields.items():
        default = "required" if field.is_required() else f"default ``{field.get_default(call_default_factory=True)!r}``"
        lines += [f"``{option}``, {default}", f"    {field.description or ''}", ""]


def without_defaults(_: Sphinx, what: str, name: str, documented: object, *about: object) -> tuple[str, None] | None:
    """Settings show no signature: it would list all defaults, which their options have."""
    return ("", None) if isinstance(documented, type) and issubclass(documented, BaseModel) else None


def is_inherited_machinery(_: Sphinx, what: str, name: str, *about: object) -> bool | None:
    """True of what scikit-learn and pydantic add to each class: None leaves the rest as it is."""
    return True if name.endswith("_request") or name.startswith("model_") else None


def setup(sphinx: Sphinx) -> None:
    """What Sphinx calls first."""
    sphinx.connect("builder-inited", write_commands, priority=1)
    sphinx.connect("autodoc-process-docstring", list_options, priority=900)  # after numpydoc
    sphinx.connect("autodoc-process-signature", without_defaults)
    sphinx.connect("autodoc-skip-member", is_inherited_machinery)
