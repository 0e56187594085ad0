"""What real brains add to the demonstration: lines to print, sections of the page, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from giblet.errors import InputError
from giblet.evaluation.score import SIGNIFICANT
from giblet.pages import Section


class RealBrains(Protocol):
    """The result of one data set of real brains."""

    @property
    def name(self) -> str:
        """Of the data set, as the command line calls it."""

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is printed: a few words, and what was found."""

    def sections(self) -> list[Section]:
        """What stands on the page.

        Returns
        -------
        list of Section
        """

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict of str to object
        """


def folder_with(data: str | Path, name: str, file: str) -> Path:
    """The folder of a data set: the one that was given, or the one of its name in it.

    Parameters
    ----------
    data : str or Path
    name : str
        Of the data set.
    file : str
        A file that it holds.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If neither holds the file.
    """
    for folder in (Path(data), Path(data) / name):
        if (folder / file).is_file():
            return folder
    raise InputError(f"{data} holds no {file}, and no folder {name} with one; name the folder of the {name} data")


def verdict(p: float | None) -> str:
    """Whether a result is above chance, in words.

    Parameters
    ----------
    p : float or None

    Returns
    -------
    str
    """
    if p is None:
        return "too short for a test against chance"
    return f"p = {p:.2g}, above chance" if p <= SIGNIFICANT else f"p = {p:.2g}, not above chance"
