"""How large what a file declares may be before giblet refuses the file: far beyond any study, and each can be raised.

A file of a few bytes may say that it holds a million channels, or unpack to terabytes. Whatever a damaged or foreign
file says is held against these limits before memory is taken for it:

==================  =======  =============================================================
limit               default  what it is of
==================  =======  =============================================================
``channels``             64  channels of a sound track
``megapixels``          150  pixels of a picture, in millions
``megavoxels``          200  voxels of a volume, or vertices of a surface, in millions
``table_mb``           2000  MB of text: tables, subtitles, configurations; unpacked
``workbook_mb``         200  MB of an Excel workbook, unpacked
``megacells``             5  cells of the first sheet of a workbook, empty ones between them too, in millions
``unpacked_gb``         100  GB of a packed image or of an archive of arrays, unpacked
==================  =======  =============================================================

They are raised by ``giblet --limit channels=128 extract ...``, or by the environment variable ``GIBLET_LIMITS``, which
holds as many as needed, separated by commas: ``GIBLET_LIMITS=channels=128,table_mb=4000``. How long a film may be is
said by `n_trs`: see :data:`giblet.timing.LONGEST_FILM`.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

from giblet.errors import InputError

VARIABLE = "GIBLET_LIMITS"
LIMITS: dict[str, float] = {
    "channels": 64,
    "megapixels": 150,
    "megavoxels": 200,
    "table_mb": 2000,
    "workbook_mb": 200,
    "megacells": 5,
    "unpacked_gb": 100,
}
"""By name, as long as nobody raises them."""
DEFLATED = 1032
"""How many times smaller the packing of gzip and zip can make something, at most."""


def limit(name: str) -> float:
    """A limit as it is now.

    Parameters
    ----------
    name : str
        One of :data:`LIMITS`.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If ``GIBLET_LIMITS`` cannot be understood.
    """
    return {**LIMITS, **limits_in(os.environ.get(VARIABLE, ""))}[name]


def limits_in(text: str) -> dict[str, float]:
    """Limits that are written as ``name=number``, with commas between them.

    Parameters
    ----------
    text : str

    Returns
    -------
    dict of str to float

    Raises
    ------
    InputError
        If a limit does not exist, or its value is no positive number.

    Examples
    --------
    >>> limits_in("channels=128, table_mb=4000")
    {'channels': 128.0, 'table_mb': 4000.0}
    """
    found = {}
    for one in filter(None, map(str.strip, text.split(","))):
        name, _, value = one.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in LIMITS or not number > 0:
            raise InputError(
                f"{one!r} is no limit: expected a name and a positive number, such as channels=128; names are "
                f"{', '.join(LIMITS)}"
            )
        found[name] = number
    return found


def check_limit(name: str, value: float, what: str, of: str) -> None:
    """Refuse what goes beyond a limit.

    Parameters
    ----------
    name : str
        Of the limit.
    value : float
        In its unit.
    what : str
        The file.
    of : str
        What there is too much of, after the number: ``"channels"``.

    Raises
    ------
    InputError
        The message says how the limit is raised; on the command line, by which option.
    """
    most = limit(name)
    if value > most:
        raise InputError(
            f"{what}: {value:.6g} {of}, over the limit of {most:g}; if that is no damage, raise the limit "
            f"with {VARIABLE}={name}={math.ceil(value)}"
        )


def check_archive(path: Path, name: str, what: str) -> None:
    """Refuse a zip archive whose files say that together they unpack to more than a limit.

    Parameters
    ----------
    path : Path
    name : str
        Of the limit, which is one of MB or GB.
    what : str
        The file, for the message.

    Raises
    ------
    InputError
        If they do.
    OSError, zipfile.BadZipFile
        If it is no archive that can be read.
    """
    size, unit = {"mb": (1e6, "MB"), "gb": (1e9, "GB")}[name.rpartition("_")[2]]
    with zipfile.ZipFile(path) as packed:
        unpacked = sum(part.file_size for part in packed.infolist())
    check_limit(name, unpacked / size, what, f"{unit} when unpacked")


def check_declared(path: Path, needed: int, said: str, *, packed: bool) -> None:
    """Refuse a file that is too small for what its header says that it holds.

    Parameters
    ----------
    path : Path
    needed : int
        Bytes that it must have, or unpack to.
    said : str
        What the header says, for the message.
    packed : bool
        By gzip, zip or bzip2.

    Raises
    ------
    InputError
        If the file is too small, or unpacks to more than is allowed.
    """
    size = path.stat().st_size
    if packed:
        check_limit("unpacked_gb", needed / 1e9, path.name, "GB when unpacked")
        size = DEFLATED * size if path.suffix.lower() != ".bz2" else needed
    if needed > size:
        raise InputError(
            f"cannot read {path}: {said}, {needed} bytes, for which its {path.stat().st_size} are too few; "
            "is the file cut short or damaged?"
        )
