"""What a batch of films was asked for, and how far it is: one JSON file in the folder of the features."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from giblet.errors import reading
from giblet.files import one_at_a_time, read_json, write_atomic
from giblet.remembered import stamps_of
from giblet.storage import bring, version_of
from giblet.urls import in_urls, mirror_of
from giblet.version import __version__


class Manifest:
    """The record of a batch: by film what came of it, ``"asked"`` where nothing has come yet.

    It stands in for no other check. What it saves, when a batch goes on, is reading films that have not changed since
    they were done, to tell by their content that they have not.

    Several batches of the same settings may write it at a time: each keeps what the others say of their films. Where
    the file system has no locks, and at a URL, two of them may cross; the next that one of them writes puts it right.

    Parameters
    ----------
    path : Path
        What it says of other settings is forgotten.
    settings : mapping
        Of the extraction, plain values for JSON.

    Raises
    ------
    InputError
        If it cannot be read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(settings))
        self._films = self._stored()
        self._own: set[str] = set()

    def ask(self, films: Sequence[Path]) -> None:
        """Write down which films are to be done. What is known of them, and of others, stays.

        Parameters
        ----------
        films : sequence of Path
        """
        for film in films:
            name, stamp = _name(film), _stamp(film)
            entry = self._films.setdefault(name, {"status": "asked"})
            if entry["status"] == "failed" or entry.get("source") != stamp:
                self._films[name] = {"status": "asked", "source": stamp}
            self._own.add(name)
        self._write()

    def known_sha256(self, film: Path) -> str | None:
        """The SHA-256 of a film that is as it was when it was done.

        Parameters
        ----------
        film : Path

        Returns
        -------
        str or None
            None where it was not done, or has another size or time than then.
        """
        entry = self._films.get(_name(film), {})
        stamp = _stamp(film)
        return entry.get("source_sha256") if stamp is not None and stamp == entry.get("source") else None

    def done(self, film: Path, result: Mapping[str, Any]) -> None:
        """Write down what came of a film.

        Parameters
        ----------
        film : Path
        result : mapping
            ``status``, ``path``, ``seconds``, ``error`` and ``about``, of which the hash of the film is kept.
        """
        self._own.add(_name(film))
        entry = self._films[_name(film)]
        entry |= {name: result[name] for name in ("status", "error", "seconds")}
        entry["path"] = None if result["path"] is None else _name(result["path"])
        if result["about"] is not None:
            entry["source_sha256"] = result["about"]["source_sha256"]
        self._write()

    def _stored(self) -> dict[str, dict[str, Any]]:
        """By film what stands in the file."""
        if not bring(self.path, needed=False).exists():
            return {}
        remedy = "remove it: feature files that are done are found without it"
        found = read_json(self.path, remedy, needed=("settings", "films"))
        with reading(self.path, remedy):
            same = found["settings"] == self._settings
            return {str(film): dict(entry) for film, entry in found["films"].items()} if same else {}

    def _write(self) -> None:
        with one_at_a_time(self.path.parent):
            for film, entry in self._stored().items():
                mine = self._films.get(film)
                # Of a film of both batches, what is done counts.
                done_there = (
                    mine is not None and mine["status"] == "asked" and mine.get("source") == entry.get("source")
                )
                if film not in self._own or done_there:
                    self._films[film] = entry
            self._put()

    def _put(self) -> None:
        about = {"giblet_version": __version__, "settings": self._settings, "films": self._films}
        write_atomic(self.path, json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _name(film: Path) -> str:
    return in_urls(str(film))


def _stamp(film: Path) -> dict[str, Any] | None:
    """What tells without reading a film that it has not changed; None where it is not."""
    return version_of(film) if mirror_of(film) is not None else next(iter(stamps_of([film]).values()), None)
