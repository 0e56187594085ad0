"""Whether the files of a folder are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import soundfile
import yaml
from safetensors.numpy import load_file

from giblet.features import load_features


def _page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path


def _table(path: Path) -> None:
    pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    assert path.read_bytes().endswith(b"\n"), path


READERS: dict[str, Callable[[Path], Any]] = {
    ".nc": load_features,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".safetensors": load_file,
    ".tsv": _table,
    ".csv": _table,
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".html": _page,
    ".gz": lambda path: np.asarray(nib.load(path).dataobj),
    ".npz": lambda path: dict(np.load(path)),
    ".wav": soundfile.read,
    ".flac": soundfile.read,
    ".md": lambda path: path.read_text(encoding="utf-8"),
    "": lambda path: path.read_bytes(),
}
"""By suffix; a file of another kind is an error, so that none goes unread."""


def finished(folder: Path) -> dict[str, Path]:
    """The files that stand by their final names, by path in the folder; hidden ones are work in progress."""
    if folder.is_file():
        return {folder.name: folder}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def read_all(folder: Path) -> None:
    """Read each file that stands by its final name.

    Raises
    ------
    Exception
        What the reader raises, if one is not whole.
    """
    for path in finished(folder).values():
        READERS[path.suffix](path)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that stands by its final name."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in finished(folder).items()}
