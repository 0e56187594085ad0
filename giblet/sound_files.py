"""Which files hold sound, where they lie in a folder, and how one is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from giblet.errors import InputError
from giblet.files import atomic_path

if TYPE_CHECKING:
    from soundfile import SoundFile

PROBE = 1 << 20
"""Bytes that are written to find out why no more can be."""
SEEKABLE = (".aif", ".aiff", ".flac", ".ogg", ".wav")
"""Sound files that libsndfile reads a piece at a time from anywhere, as codec training needs it."""
SUFFIXES = (*SEEKABLE, ".aac", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".opus", ".webm")
"""All sound and film files that are looked for in folders; a file that is named itself may be anything FFmpeg reads."""


def find_sound_files(folder: Path) -> list[Path]:
    """Sound and film files in a folder and in all folders below it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        Sorted; whatever the case of their endings.
    """
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


@contextmanager
def new_sound_file(path: Path, sample_rate: int) -> Iterator[SoundFile]:
    """A sound file that takes its name when the block ends without an error, mono and 16 bit.

    It is written by its path: soundfile calls Python to write to anything else, and an interrupt that comes within such
    a call is lost.

    Parameters
    ----------
    path : Path
        Ending in ``.wav`` or ``.flac``.
    sample_rate : int
        In Hz.

    Yields
    ------
    soundfile.SoundFile
        To write samples to, of floats from -1 to 1.

    Raises
    ------
    InputError
        If the folder cannot be written to, or the disk is full.
    """
    import soundfile

    with atomic_path(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", sample_rate, 1, subtype="PCM_16") as file:
                yield file
        except soundfile.LibsndfileError as exc:
            # It says "System error"; whoever writes on learns which.
            with temporary.open("ab") as more:
                more.write(bytes(PROBE))
                os.fsync(more.fileno())
            raise InputError(
                f"cannot write {path}: {exc.error_string}; free some space or choose another folder"
            ) from exc
