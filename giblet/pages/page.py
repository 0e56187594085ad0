"""The page itself: one object, shown in a notebook, saved as a file, opened in a browser."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import itertools
import re
import tempfile
import webbrowser
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from giblet.files import remove, write_atomic
from giblet.pages.parts import Listen, Section, data_uri
from giblet.pages.sounds import Player
from giblet.storage import local_path
from giblet.version import __version__

LONG, LONG_TOGETHER = 600.0, 2400.0
"""Seconds of the longest sound, and of all sounds together, beyond which they are written beside the page."""
SOUND_FILE = re.compile(r"\d{3}_.*\.flac")


@dataclass(frozen=True, repr=False)
class Report:
    """A page: a title, and sections of text, tables, pictures and sounds.

    All text is escaped. Styles, pictures and the one script, which switches sounds, are in the page, and its content
    security policy keeps it from loading anything. It follows the reader's choice of light or dark, and prints.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    summary : str
        A sentence or two below the title.

    Examples
    --------
    >>> page = Report("My run", [Section("Scores", ["All went well."])])
    >>> page
    <Report 'My run': 1 section>
    >>> page.save_as_html("my_run.html")  # doctest: +SKIP
    """

    title: str
    sections: Sequence[Section]
    summary: str = ""

    def __repr__(self) -> str:
        return f"<Report {self.title!r}: {len(self.sections)} section{'s' if len(self.sections) != 1 else ''}>"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, for notebooks."""
        source = _without_sound if self.sounds_beside else _within
        frame = '<iframe title="{}" srcdoc="{}" width="100%" height="800" style="border: 0"></iframe>'
        return str(Markup(frame).format(self.title, self._html(source)))

    @property
    def listens(self) -> list[Listen]:
        """All that can be listened to, in its order."""
        return [part for section in self.sections for part in section.parts if isinstance(part, Listen)]

    @property
    def sounds_beside(self) -> bool:
        """Whether the sounds are too long for the page: they are written beside it."""
        seconds = [player.seconds for one in self.listens for player in one.players]
        return max(seconds, default=0) > LONG or sum(seconds) > LONG_TOGETHER

    @property
    def html(self) -> str:
        """The page as one text, with the sounds in it, however long they are."""
        return self._html(_within)

    def save_as_html(self, path: str | Path) -> Path:
        """Write the page, whole or not at all.

        Sounds of more than ten minutes, or of more than 40 minutes together, are written as FLAC to a folder beside
        it, ``<name of the page>_sounds``, to which the page points.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Path
            The `path` that was given.

        Raises
        ------
        InputError
            If it cannot be written, or a sound cannot be read.
        """
        path = local_path(path)
        if not self.sounds_beside:
            write_atomic(path, self.html)
            return path
        folder, written = path.with_name(f"{path.stem}_sounds"), list[str]()

        def beside(player: Player) -> str:
            label = re.sub(r"[^\w.-]+", "-", player.label).strip("-")[:60]
            name = f"{len(written):03d}_{label}.flac"
            player.write_flac(folder / name)
            written.append(name)
            return quote(f"{folder.name}/{name}")

        write_atomic(path, self._html(beside, folder.name))
        for old in folder.iterdir():
            if SOUND_FILE.fullmatch(old.name) and old.name not in written:
                remove(old)  # of the page that was replaced
        return path

    def open_in_browser(self) -> Path:
        """Write the page to a temporary folder and open it in the browser.

        Returns
        -------
        Path
            Of the page; the folder stays until the system clears it.
        """
        path = self.save_as_html(Path(tempfile.mkdtemp(prefix="giblet-report-")) / "report.html")
        webbrowser.open(path.absolute().as_uri())
        return path

    def _html(self, source: Callable[[Player], str | None], folder: str | None = None) -> str:
        """The page, whose sounds are where `source` says: None where they are nowhere."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("giblet", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        numbers = itertools.count(1)
        style, script = (Markup(_template(f"report.{kind}")) for kind in ("css", "js"))
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return environment.get_template("report.html").render(
            page=self, style=style, script=script if self.listens else None, script_hash=Markup(digest), source=source,
            number=lambda: next(numbers), folder=folder, version=__version__, clock=_clock,
            anchors=_anchors(one.title for one in self.sections),
        )  # fmt: skip


def _template(name: str) -> str:
    return (importlib.resources.files("giblet") / "templates" / name).read_text(encoding="utf-8")


def _within(player: Player) -> str:
    return data_uri(player.flac, "audio/flac")


def _without_sound(player: Player) -> None:
    return None


def _anchors(titles: Iterable[str]) -> list[str]:
    return [f"s{number}" for number, _ in enumerate(titles, start=1)]


def _clock(seconds: float) -> str:
    """Seconds as they are read on a clock.

    >>> _clock(75.24), _clock(3725), _clock(7.04)
    ('1:15.2', '1:02:05.0', '0:07.0')
    """
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest:04.1f}"
