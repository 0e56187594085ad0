"""Public functions whose docstrings lack Parameters or Returns, by numpydoc's validation; ``make lint`` runs this.

python -m tests.docstrings [giblet/data ...]     exit status 1 if there are any
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

import giblet

CHECKS = {
    "PR01",  # a parameter is not documented
    "PR02",  # a documented parameter does not exist
    "PR03",  # parameters are documented in another order
    "RT01",  # no Returns
    "YD01",  # no Yields
}


def public(package: str) -> Iterator[str]:
    """Import paths of the functions, and of the methods of classes, that a module defines and does not hide."""
    for found in pkgutil.walk_packages(giblet.__path__, "giblet."):
        # What typer makes commands of says its parameters in the options: the docstring is what --help shows.
        if not found.name.startswith(package) or found.name.startswith(("giblet.cli", "giblet.__main__")):
            continue
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != found.name:
                continue
            if inspect.isfunction(value):
                yield f"{found.name}.{name}"
            elif inspect.isclass(value):
                for method, of in vars(value).items():
                    if inspect.isfunction(getattr(of, "__func__", of)) and not method.startswith("_"):
                        yield f"{found.name}.{name}.{method}"


def lacking(package: str = "giblet") -> Iterator[str]:
    """One line for each thing that a docstring lacks."""
    for path in public(package):
        for code, message in validate(path)["errors"]:
            if code in CHECKS:
                yield f"{path}: {code} {message}"


if __name__ == "__main__":
    wanted = [name.strip("/").replace("/", ".") for name in sys.argv[1:]] or ["giblet"]
    lines = [line for package in wanted for line in lacking(package)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.exit(bool(lines))
