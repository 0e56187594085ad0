"""Descriptions of parameters that many functions share, written once."""

from __future__ import annotations

import re
from typing import Any, TypeVar

Documented = TypeVar("Documented", bound=Any)

DESCRIPTIONS = {
    "tr": "Repetition time in seconds.",
    "device": '``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.',
    "codec": "The one that made the codes; None for mel spectrograms.",
    "codec_now": "Where the codec that made the codes is now; by default where it was then.",
    "film": "Any film or sound file that FFmpeg reads.",
    "progress": "Called with seconds done and seconds in all (None while unknown).",
    "parts": "Of a run that was stopped, and where those of this one go; by default nothing is kept.",
    "rows": "Where the largest table goes while it is made, row by row; by default into memory.",
    "workers": "Worker processes on this machine, which divide its processors between them (``giblet[cluster]``).",
    "scheduler": 'In place of them the address of a Dask scheduler with workers of its own, as ``"tcp://node1:8786"``.',
    "retries": "With either: how often what a worker died of, or with, is begun again.",
    "provenance": "What :meth:`provenance` returned, if it was called already: a long film is not hashed again then.",
}
"""By the name that stands for it in a docstring, as ``%(tr)s``."""

WIDTH = 120


def fill_doc(documented: Documented) -> Documented:
    """Put the shared descriptions into a docstring, in the manner of nilearn: a decorator.

    Name and type stay in the docstring itself, where those who read the source see them, and the description is one
    line, ``%(name)s``, which stands for :data:`DESCRIPTIONS` of that name::

        tr : float
            %(tr)s

    Parameters
    ----------
    documented : function or class

    Returns
    -------
    function or class
        The same, with its docstring filled.

    Raises
    ------
    KeyError
        If there is no description of that name.

    Examples
    --------
    >>> @fill_doc
    ... def scan(tr):
    ...     '''Scan.
    ...
    ...     Parameters
    ...     ----------
    ...     tr : float
    ...         %(tr)s
    ...     '''
    >>> scan.__doc__.splitlines()[5].strip()
    'Repetition time in seconds.'
    """
    if documented.__doc__:  # python -OO leaves none
        documented.__doc__ = re.sub(r"^( *)%\((\w+)\)s", _described, documented.__doc__, flags=re.MULTILINE)
    return documented


def _described(found: re.Match[str]) -> str:
    """A description on lines that begin where the placeholder did."""
    indent, name = found.groups()
    lines = [indent]
    for word in DESCRIPTIONS[name].split():
        if len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(indent)
        lines[-1] += word if lines[-1] == indent else f" {word}"
    return "\n".join(lines)
