"""An output folder as a BIDS derivative: what describes it, and which of its files BIDS has no names for."""

from __future__ import annotations

import json
import re
from pathlib import Path

from giblet.errors import InputError, reading
from giblet.files import write_atomic
from giblet.version import __version__

DESCRIPTION, IGNORE = "dataset_description.json", ".bidsignore"
BIDS_VERSION = "1.10.0"
NO_BIDS_NAME = (
    "*_statmap.*", "*_stats.tsv", "*_summary.json", "*_model.safetensors", "*_heldout.npz", "*_bold.tsv",
    "*_responses.*", "group_*", "scores.tsv", "summary.json", "report.html",
)  # fmt: skip
"""Patterns, as gitignore has them, of files of a run that BIDS 1.10 does not name: maps of statistics among them."""


def bids_label(text: str) -> str:
    """A name as the label of a BIDS entity, which has letters and digits only.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it has none.

    Examples
    --------
    >>> bids_label("sintel_trailer-2")
    'sintelTrailer2'
    """
    first, *rest = re.findall("[0-9A-Za-z]+", text) or [""]
    if not first:
        raise InputError(f"{text!r} has no letter from a to z and no digit: BIDS needs one to name a file; rename it")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def describe_derivative(folder: Path, name: str, *, ignored: tuple[str, ...] = NO_BIDS_NAME) -> None:
    """Make a folder a BIDS derivative, whatever else is in it.

    A ``dataset_description.json`` that is there stays, and giblet joins those that ``GeneratedBy`` names; lines are
    added to a ``.bidsignore``, and none is taken out.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    name : str
        Of the data set, if it has none yet.
    ignored : tuple of str
        Patterns of files that validators shall pass over.

    Raises
    ------
    InputError
        If the folder is the root of raw data, or its description cannot be read.

    See Also
    --------
    check_derivative : refuses such a folder before any work is done.
    """
    path = folder / DESCRIPTION
    found = check_derivative(folder)
    about = found or {"Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative"}
    by = [one for one in about.get("GeneratedBy", []) if one.get("Name") != "giblet"]
    about = {**about, "GeneratedBy": [*by, {"Name": "giblet", "Version": __version__}]}
    if about != found:
        write_atomic(path, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    here = folder / IGNORE
    lines = here.read_text(encoding="utf-8").splitlines() if here.is_file() else []
    if missing := [one for one in ignored if one not in lines]:
        write_atomic(here, "\n".join([*lines, *missing]) + "\n")


def check_derivative(folder: Path) -> dict:
    """What a folder says of itself, if results may stand in it.

    Parameters
    ----------
    folder : Path
        It need not exist.

    Returns
    -------
    dict
        The content of its ``dataset_description.json``; empty where there is none.

    Raises
    ------
    InputError
        If the folder is the root of raw data, or its description cannot be read.

    See Also
    --------
    describe_derivative : writes it.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return {}
    with reading(path, "mend it, or choose another output folder"):
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object; expected names and values in braces")
    if found.get("DatasetType", "raw") != "derivative":
        raise InputError(
            f"{folder} holds a BIDS data set of type {found.get('DatasetType', 'raw')!r}, to which results do not "
            "belong: name a folder of their own, such as derivatives/giblet in it"
        )
    return found
