"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazily(
    package: str, names: Mapping[str, Iterable[str]], renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package that offers names of modules which it has not imported.

    Parameters
    ----------
    package : str
        Import path of the package, its ``__name__``.
    names : mapping of str to iterable of str
        By import path of each module, the names that it gives, as ``"name"`` or ``"name=name_in_the_module"``.
    renamed : mapping of str to str, optional
        Old names, and what they are called now, in this package or, with dots, anywhere: using one raises an
        ImportError that says so.

    Returns
    -------
    find : callable
        ``__getattr__``, from a name to what it stands for.
    listed : callable
        ``__dir__``, without arguments; what the package has already, and the offered names.
    offered : list of str
        ``__all__``, in alphabetical order.
    """
    places = {}
    for module, offered in names.items():
        for name in offered:
            here, _, there = name.partition("=")
            places[here] = (module, there or here)

    def find(name: str) -> Any:
        if name in places:
            module, there = places[name]
            value = getattr(importlib.import_module(module), there)
            setattr(sys.modules[package], name, value)
            return value
        if renamed and name in renamed:
            # An AttributeError would become "cannot import name" in a from-import, without the new name.
            new = renamed[name] if "." in renamed[name] else f"{package}.{renamed[name]}"
            raise ImportError(f"{package}.{name} is now called {new}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: sorted({*vars(sys.modules[package]), *places}), sorted(places)
