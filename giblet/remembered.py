"""Fingerprints of models whose files are as they were when it was computed: to tell one, no model need be loaded.

They stand in the user's cache, a file for each model. What cannot be read there counts as absent, and where nothing can
be written nothing is remembered.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from giblet.errors import InputError
from giblet.files import sha256_of, write_atomic
from giblet.storage import user_cache

FORMAT = 1
"""Of what is kept, and of how fingerprints are computed."""
Stamps = dict[str, dict[str, Any]]
"""By path of a file, its size in bytes and its times in ns."""


def stamps_of(files: Sequence[Path]) -> Stamps:
    """What tells without reading files that they have not changed.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    dict of str to dict
        By absolute path ``size``, ``mtime_ns`` and ``ctime_ns``; empty if one cannot be asked.
    """
    found: Stamps = {}
    try:
        for path in map(Path.resolve, files):
            now = path.stat()
            found[str(path)] = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "ctime_ns": now.st_ctime_ns}
    except OSError:
        return {}
    return found


def known_fingerprint(files: Sequence[Path]) -> str | None:
    """The fingerprint of a model, if its files are those of which it was computed.

    A file is the same if its size and times are, and else, as after a copy in its place, if its SHA-256 is.

    Parameters
    ----------
    files : sequence of Path
        All that decides the fingerprint.

    Returns
    -------
    str or None
        None where it is not known.

    See Also
    --------
    remember_fingerprint : keeps what was computed.
    """
    stamps = stamps_of(files)
    place = _place(stamps)
    if place is None:
        return None
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        known, fingerprint = kept["files"], kept["fingerprint"]
        if kept["format"] != FORMAT or not re.fullmatch("[0-9a-f]{64}", fingerprint):
            return None
        same = all(_is_same(path, stamp, known[path]) for path, stamp in stamps.items())
    except (OSError, ValueError, LookupError, TypeError):  # nothing is kept, or it is damaged
        return None
    return str(fingerprint) if same else None


def remember_fingerprint(files: Sequence[Path], fingerprint: str, stamps: Stamps) -> None:
    """Keep the fingerprint of a model that was read from files, if they have not changed since.

    Parameters
    ----------
    files : sequence of Path
        All that decides it.
    fingerprint : str
        64 lower-case hexadecimal digits.
    stamps : dict
        What `stamps_of` said before the files were read.

    See Also
    --------
    known_fingerprint : asks for it.
    """
    place = _place(stamps)
    if place is None or known_fingerprint(files) == fingerprint:
        return
    with suppress(OSError, InputError):
        about = {path: {**stamp, "sha256": sha256_of(path)} for path, stamp in stamps.items()}
        if stamps_of(files) == stamps:
            write_atomic(place, json.dumps({"format": FORMAT, "fingerprint": fingerprint, "files": about}))


def _place(stamps: Stamps) -> Path | None:
    """Where the fingerprint of these files is kept; None where there is no place, or there are no files."""
    root = user_cache() if stamps else None
    if root is None:
        return None
    return root / "fingerprints" / f"{hashlib.sha256(chr(0).join(stamps).encode()).hexdigest()[:16]}.json"


def _is_same(path: str, now: dict[str, Any], then: dict[str, Any]) -> bool:
    if {**then, **now} == then:
        return True
    return bool(now["size"] == then["size"] and sha256_of(path) == then["sha256"])
