"""Which files hold sound, and where they lie in a folder."""

from __future__ import annotations

from pathlib import Path

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
