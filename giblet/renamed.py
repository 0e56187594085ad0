"""Names that changed: each old one is an error that says what it is called now, and never a second name for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from giblet.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def now_called(old: str, new: str) -> str:
    """What to say of an old name, as a sentence without a full stop.

    Parameters
    ----------
    old, new : str
        As the user wrote it, and as it must be written.

    Returns
    -------
    str

    Examples
    --------
    >>> now_called("--start-offset", "--table-time-at-tr-0")
    '--start-offset is now called --table-time-at-tr-0'
    """
    return f"{old} is now called {new}"


def refuse_old_names(given: dict[str, object], names: dict[str, str], where: str) -> None:
    """An error if a keyword is an old name.

    Parameters
    ----------
    given : dict
        Keywords of a call.
    names : dict of str to str
        New names by old ones.
    where : str
        What was called, for the message.

    Raises
    ------
    InputError
        Naming the new name.

    See Also
    --------
    renamed : the same as a decorator.
    """
    for old, new in names.items():
        if old in given:
            raise InputError(f"{where}: {now_called(old, new)}")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a function whose parameters had other names: those are errors that name the new ones.

    Parameters
    ----------
    **names
        New names by old ones: ``window="averaging"``.

    Returns
    -------
    callable
        To be called with the function; what it returns has the function's signature.

    See Also
    --------
    giblet.config.Settings.renamed : the same for settings.

    Examples
    --------
    >>> @renamed(window="averaging")
    ... def mean(averaging=1.5): ...
    >>> mean(window=2.0)
    Traceback (most recent call last):
    giblet.errors.InputError: mean: window is now called averaging
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            refuse_old_names(kwargs, names, function.__qualname__)
            return function(*args, **kwargs)

        return checked

    return decorate
