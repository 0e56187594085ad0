"""URLs of files, and where they stand on this computer while giblet works with them.

FFmpeg, HDF5 and readers of brains take paths. So a file at a URL has a path too, in a *mirror*, a temporary folder:
``s3://bucket/films/a.mp4`` is ``/tmp/giblet-urls-k3xq0a1b/s3/bucket/films/a.mp4``. Its last part is the file's own
name, its folder is the URL's folder, and from the path alone the URL is known, in another process too. What is printed
or written names the URL (:func:`in_urls`). :mod:`giblet.storage` moves files between the two.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MIRROR = "giblet-urls-"
"""How names of mirrors begin."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.:-]+):/+(.*)", re.DOTALL)
"""Protocol and the rest; one slash, too, as :mod:`pathlib` makes one of two. A single letter is a drive of Windows."""
_PLACE = re.compile(rf"(.*/{MIRROR}[a-z0-9_]+)/([a-z0-9]+)/(.*)", re.DOTALL)
"""A path in a mirror: the mirror, the protocol, and what follows it in the URL."""
_MENTIONED = re.compile(rf"(?:/[^\s'\"()=,;:/]+)*/{MIRROR}[a-z0-9_]+/([a-z0-9]+)/")
"""The beginning of one within a text, up to the protocol."""
_USER = re.compile(r"(?<=:/)(/?)[^/\s'\"@]*@")
"""Within a text, user and password of a URL."""
_QUERY = re.compile(r"(:/[^\s'\"?]*)\?[^\s'\"]*")
"""Within a text, a URL up to its question mark, and what follows it: a signature perhaps."""


def is_url(given: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL; what exists on this computer by that name is none.

    Parameters
    ----------
    given : str or path-like

    Returns
    -------
    bool

    Examples
    --------
    >>> is_url("s3://bucket/film.mp4"), is_url(Path("s3://bucket/film.mp4")), is_url("C:/film.mp4"), is_url("a: b.mp4")
    (True, True, False, False)
    """
    text = os.fspath(given)
    return ":/" in text and _URL.fullmatch(text) is not None and not Path(text).exists()


def parts_of(url: str | os.PathLike[str]) -> tuple[str, str]:
    """Protocol of a URL, and what follows its slashes.

    Parameters
    ----------
    url : str or path-like
        For which :func:`is_url` holds.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> parts_of(Path("s3://bucket/film.mp4"))
    ('s3', 'bucket/film.mp4')
    """
    found = _URL.fullmatch(os.fspath(url))
    assert found is not None
    return found[1].lower(), found[2]


def mirror_of(path: str | os.PathLike[str]) -> tuple[Path, str, str] | None:
    """The mirror in which a path lies, the protocol, and what follows it in the URL; None if it lies in none.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    tuple of Path, str and str, or None

    Examples
    --------
    >>> mirror_of("/tmp/giblet-urls-k3xq0a1b/s3/bucket/a.nc")
    (PosixPath('/tmp/giblet-urls-k3xq0a1b'), 's3', 'bucket/a.nc')
    """
    text = os.fspath(path)
    found = _PLACE.fullmatch(text) if MIRROR in text else None
    return None if found is None else (Path(found[1]), found[2], found[3])


def in_urls(text: str) -> str:
    """A text with URLs in place of paths in a mirror.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> in_urls("no such file: /tmp/giblet-urls-k3xq0a1b/s3/bucket/a.nc")
    'no such file: s3://bucket/a.nc'
    """
    return _MENTIONED.sub(r"\1://", text) if MIRROR in text else text


def without_secrets(text: str) -> str:
    """A text with URLs without user, password and query.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> without_secrets("403, url='https://me:pw@host/a.mp4?signature=x'")
    "403, url='https://host/a.mp4'"
    """
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))
