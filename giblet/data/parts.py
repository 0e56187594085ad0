"""What a long extraction has made so far, kept beside its file, so that one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from giblet.errors import InputError, reading
from giblet.files import claimed, read_npz, write_atomic
from giblet.version import __version__

log = logging.getLogger(__name__)

EVERY = 10.0
"""Seconds of work after which what was made is written: work that takes less is not kept."""
DECIDE = ("numpy", "torch", "transformers", "pymoten")
"""Packages whose version may change the numbers."""
KEY = "key"

Part = dict[str, np.ndarray]
"""Arrays by name that one call made."""


class Parts:
    """Results in the order in which they are made, in a hidden folder that is removed when all is done.

    Used with ``with``. Where the block ends with an error, or the process with no word at all, the folder stays, and
    the next extraction of the same key is given what it holds instead of making it again: the film is read from its
    beginning, but nothing is computed twice, and the bytes that come of it are those of a run that was not stopped.

    Parameters
    ----------
    path : Path or None
        The file that all this is for, which decides the name of the folder. None keeps nothing.
    key : mapping, optional
        What decides the results; results of another key are removed.

    Raises
    ------
    InputError
        On entering, or when something is first written, if another process makes the same file.

    Examples
    --------
    >>> parts = Parts()
    >>> float(parts.take(lambda: {"loudness": np.array(0.5)})["loudness"])
    0.5
    """

    def __init__(self, path: Path | None = None, key: Mapping[str, Any] | None = None) -> None:
        self._folder = None if path is None else path.with_name(f".{path.stem}.parts")
        made_with = {"giblet": __version__, **{name: _version(name) for name in DECIDE}}
        told = json.dumps({"key": dict(key or {}), "made_with": made_with}, sort_keys=True, default=str)
        self._key = hashlib.sha256(told.encode()).hexdigest()
        self._open = ExitStack()
        self._claimed = False
        self._files: list[Path] = []
        self._pending: list[Part] = []
        self._written = time.monotonic()
        self._again: Iterator[Part] = iter(())

    def __enter__(self) -> Self:
        self._written = time.monotonic()
        if self._folder is not None and self._folder.is_dir():
            self._claim(self._folder)
            whole = True
            for file in sorted(self._folder.glob("*.npz")):
                whole = whole and _key_of(file) == self._key
                if whole:
                    self._files.append(file)
                else:
                    file.unlink()
        if self._files:
            log.info("%s: going on where it was stopped, with %d parts", self._folder, len(self._files))
        self._again = self._read(tuple(self._files))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._open:
            if kind is None:
                for file in self._files:
                    file.unlink(missing_ok=True)
            elif self._files or time.monotonic() - self._written >= EVERY:
                with suppress(InputError):  # the disk is full: that is what is being told
                    self._write()
        if kind is None and self._claimed and self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()

    def kept(self) -> Iterator[Part]:
        """What was kept of the run that was stopped, each once, in its order.

        Yields
        ------
        dict of str to ndarray
        """
        yield from self._again

    def keep(self, part: Mapping[str, np.ndarray]) -> None:
        """Keep what was made, behind all before it.

        Parameters
        ----------
        part : mapping of str to ndarray
            Of numbers or truth values; at least one.
        """
        if self._folder is None:
            return
        self._pending.append(dict(part))
        if time.monotonic() - self._written >= EVERY:
            self._write()

    def take(self, make: Callable[[], Mapping[str, np.ndarray]]) -> Part:
        """The next result: the one that was kept, or else one that is made now, and kept.

        Parameters
        ----------
        make : callable
            Returns arrays by name. It is called in the same order each time.

        Returns
        -------
        dict of str to ndarray
        """
        part = next(self._again, None)
        if part is None:
            part = dict(make())
            self.keep(part)
        return part

    def _claim(self, folder: Path) -> None:
        if not self._claimed:
            self._open.enter_context(claimed(folder))
            self._claimed = True

    def _write(self) -> None:
        if self._folder is None or not self._pending:
            return
        self._claim(self._folder)
        memory = io.BytesIO()
        arrays: dict[str, Any] = {KEY: np.array(self._key)}
        for number, part in enumerate(self._pending):
            arrays |= {f"{number}/{name}": one for name, one in part.items()}
        np.savez(memory, **arrays)
        file = self._folder / f"{len(self._files):06d}.npz"
        write_atomic(file, memory.getvalue())
        self._files.append(file)
        self._pending, self._written = [], time.monotonic()

    @staticmethod
    def _read(files: tuple[Path, ...]) -> Iterator[Part]:
        for file in files:
            remedy = f"it is damaged: remove the folder {file.parent}, and extract again"
            packed, parts = read_npz(file, remedy), dict[int, Part]()
            with reading(file, remedy):
                for name, array in packed.items():
                    if name != KEY:
                        number, _, own = name.partition("/")
                        parts.setdefault(int(number), {})[own] = array
            yield from (parts[number] for number in sorted(parts))


def _key_of(file: Path) -> str | None:
    """For what a file was made; None if it cannot be read."""
    try:
        with reading(file), np.load(file, allow_pickle=False) as packed:
            return str(packed[KEY])
    except InputError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
