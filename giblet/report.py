"""One-page reports: tables, players and pictures in a single HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import soundfile
from markupsafe import Markup

from giblet.compiled import import_librosa
from giblet.errors import InputError
from giblet.files import write_atomic
from giblet.version import __version__

SPECTROGRAM_WINDOW, SPECTROGRAM_HOP = 1024, 256
FLOOR_DB = -80.0
"""Of pictures of spectrograms, below the loudest of the first one."""


@dataclass(frozen=True)
class Table:
    """A table. The first column stands to the left, the others, which hold numbers, to the right.

    Parameters
    ----------
    headers : sequence of str
    rows : sequence of sequences of str
        As they shall be read: numbers already formatted, as wide as `headers`.
    caption : str
    words : bool
        All columns hold text, and stand to the left.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: bool = False
    kind = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise InputError(f"a row has {len(row)} cells, the table {len(self.headers)} columns: {list(row)}")


@dataclass(frozen=True)
class Player:
    """A sound to listen to, in the page itself as FLAC (16 bit, lossless, so that no second codec is heard).

    Parameters
    ----------
    label : str
    sound : ndarray of float, shape (n_samples,)
        Full scale at 1; a louder one is turned down as a whole, and `label` says by how much.
    sample_rate : int
        In Hz.
    """

    label: str
    sound: np.ndarray
    sample_rate: int
    kind = "player"

    @property
    def gain(self) -> float:
        """What the sound is multiplied by, at most 1."""
        return 1 / max(1.0, float(np.abs(self.sound).max(initial=0)))

    @property
    def note(self) -> str:
        """How much it was turned down, if it was."""
        return "" if self.gain == 1 else f"turned down by {-20 * np.log10(self.gain):.1f} dB to fit full scale"

    @property
    def uri(self) -> Markup:
        """The sound as a data URI."""
        file = io.BytesIO()
        sound = np.asarray(self.sound, np.float32) * np.float32(self.gain)
        soundfile.write(file, sound, self.sample_rate, format="FLAC", subtype="PCM_16")
        return _data_uri(file.getvalue(), "audio/flac")


@dataclass(frozen=True)
class Picture:
    """A PNG picture, in the page itself.

    Parameters
    ----------
    png : bytes
    alt : str
        What it shows, for those who cannot see it.
    caption : str
    """

    png: bytes
    alt: str
    caption: str = ""
    kind = "picture"

    @property
    def uri(self) -> Markup:
        """The picture as a data URI."""
        return _data_uri(self.png, "image/png")


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, paragraphs of plain text, then tables, players and pictures in their order."""

    title: str
    text: Sequence[str] = ()
    parts: Sequence[Table | Player | Picture] = field(default_factory=tuple)

    @property
    def groups(self) -> list[tuple[str, list[Table | Player | Picture]]]:
        """The parts, neighbours of one kind together."""
        found: list[tuple[str, list[Table | Player | Picture]]] = []
        for part in self.parts:
            if not found or found[-1][0] != part.kind:
                found.append((part.kind, []))
            found[-1][1].append(part)
        return found


def render(title: str, sections: Sequence[Section], *, summary: str = "") -> str:
    """A page as HTML.

    All text is escaped; styles, sounds and pictures are in the page; there are no scripts, and nothing is loaded.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    summary : str
        A sentence or two below the title.

    Returns
    -------
    str
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("giblet", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html")
    return page.render(title=title, sections=sections, summary=summary, version=__version__)


def write_report(path: str | Path, title: str, sections: Sequence[Section], *, summary: str = "") -> Path:
    """Write a page (see :func:`render`) whole or not at all.

    Parameters
    ----------
    path : str or Path
    title : str
    sections : sequence of Section
    summary : str
        A sentence or two below the title.

    Returns
    -------
    Path
        The `path` that was given.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_atomic(path, render(title, sections, summary=summary))
    return Path(path)


def spectrograms(sounds: dict[str, np.ndarray], sample_rate: int) -> bytes | None:
    """Pictures of sounds, one above the other, on one scale of loudness.

    Parameters
    ----------
    sounds : dict of str to ndarray of float, shape (n_samples,)
    sample_rate : int
        In Hz.

    Returns
    -------
    bytes or None
        PNG; None where matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    librosa = import_librosa()
    from matplotlib.figure import Figure

    powers = [
        np.abs(librosa.stft(np.asarray(sound, np.float32), n_fft=SPECTROGRAM_WINDOW, hop_length=SPECTROGRAM_HOP)) ** 2
        for sound in sounds.values()
    ]
    loudest = max(float(powers[0].max()), float(np.finfo(np.float32).tiny))
    figure = Figure(figsize=(8, 1.5 * len(sounds) + 0.4), layout="constrained")
    axes = figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0]
    for axis, label, power in zip(axes, sounds, powers, strict=True):
        level = 10 * np.log10(np.maximum(power / loudest, 10 ** (FLOOR_DB / 10)))
        # A column's middle is the middle of its window, and the first window stands at 0 s.
        half = SPECTROGRAM_HOP / sample_rate / 2
        end = (power.shape[1] - 1) * SPECTROGRAM_HOP / sample_rate
        shown = axis.imshow(
            level, origin="lower", aspect="auto", cmap="magma", vmin=FLOOR_DB, vmax=0, interpolation="nearest",
            extent=(-half, end + half, 0, sample_rate / 2000),
        )  # fmt: skip
        axis.set_title(label, fontsize=9, loc="left")
        axis.set_ylabel("kHz", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("s", fontsize=8)
    figure.colorbar(shown, ax=list(axes), label="dB below the loudest of the first", aspect=50)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _data_uri(content: bytes, kind: str) -> Markup:
    # Base64 has no character that HTML gives a meaning to; marked safe so that megabytes are not searched for one.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")
