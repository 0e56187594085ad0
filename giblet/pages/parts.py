"""What a page is made of: sections, and the tables, pictures, drawings and sounds in them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from markupsafe import Markup

from giblet.errors import InputError
from giblet.pages.sounds import Player, strips


@dataclass(frozen=True)
class Table:
    """A table. The first column is aligned to the left, the others, which hold numbers, to the right.

    Parameters
    ----------
    headers : sequence of str
    rows : sequence of sequences of str
        As they shall be read: numbers already formatted, as wide as `headers`.
    caption : str
    words : bool
        All columns hold text and are aligned to the left.
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
class Figure:
    """A figure that matters, in large type, with what it has to be compared with below it.

    Parameters
    ----------
    name : str
        What was measured.
    value : str
        Formatted.
    beside : sequence of str
        Interval, chance, ceiling: one line each.
    above : bool or None
        Whether it is above its null; None where that cannot be told.
    """

    name: str
    value: str
    beside: Sequence[str] = ()
    above: bool | None = None
    kind = "figure"


@dataclass(frozen=True)
class Picture:
    """A PNG picture, in the page itself.

    Parameters
    ----------
    png : bytes
    alt : str
        What it shows, for those who cannot see it.
    caption : str
        How to read it.
    """

    png: bytes
    alt: str
    caption: str = ""
    kind = "picture"

    @property
    def uri(self) -> Markup:
        """The picture as a data URI."""
        return data_uri(self.png, "image/png")


@dataclass(frozen=True)
class Drawing:
    """An SVG drawing, in the page itself, whose colours follow the page: light, dark or printed.

    Parameters
    ----------
    svg : str
        As :func:`giblet.pages.drawings.svg_of` gives it: it is put into the page as it is.
    alt : str
        What it shows, for those who cannot see it.
    caption : str
        How to read it.
    """

    svg: str
    alt: str
    caption: str = ""
    kind = "drawing"

    def markup(self, number: int) -> Markup:
        """The drawing as part of a page.

        Parameters
        ----------
        number : int
            Of the drawing in the page: two drawings would otherwise share identifiers.

        Returns
        -------
        Markup
        """
        own = f"d{number}-"
        text = self.svg
        for before in ('id="', "url(#", 'href="#'):
            text = text.replace(before, before + own)
        head = Markup('<svg role="img" aria-label="{}" ').format(self.alt)
        return Markup(text.replace("<svg ", head, 1))


@dataclass(frozen=True)
class Details:
    """Long text, such as a configuration, that is folded away until it is asked for.

    Parameters
    ----------
    title : str
    text : str
        Shown as it is, spaces and all.
    """

    title: str
    text: str
    kind = "details"


@dataclass(frozen=True)
class Listen:
    """Sounds of the same seconds, heard in turns at one playhead, each with its spectrogram.

    Parameters
    ----------
    name : str
        What is heard.
    players : sequence of Player
        At least one; the first sets the scale of the spectrograms.
    caption : str
        How to listen.
    """

    name: str
    players: Sequence[Player]
    caption: str = ""
    kind = "listen"

    def __post_init__(self) -> None:
        if not self.players:
            raise InputError(f"there is nothing to hear of {self.name!r}; pass at least one player")

    @cached_property
    def strips(self) -> list[Markup | None]:
        """A spectrogram of each sound as a data URI; None where matplotlib is not installed."""
        return [None if png is None else data_uri(png, "image/png") for png in strips(self.players)]

    @property
    def seconds(self) -> float:
        """Length of the longest sound."""
        return max(one.seconds for one in self.players)


Part = Table | Figure | Picture | Drawing | Details | Listen


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, figures, warnings, plain text, then tables, pictures and sounds in their order.

    Parameters
    ----------
    title : str
    text : sequence of str
    parts : sequence of Table, Figure, Picture, Drawing, Details or Listen
    warnings : sequence of str
        What a reader must not overlook, set apart below the figures and above the text.
    """

    title: str
    text: Sequence[str] = ()
    parts: Sequence[Part] = field(default_factory=tuple)
    warnings: Sequence[str] = ()

    @property
    def groups(self) -> list[tuple[str, list[Part]]]:
        """The parts, neighbours of one kind together."""
        found: list[tuple[str, list[Part]]] = []
        for part in self.parts:
            if not found or found[-1][0] != part.kind:
                found.append((part.kind, []))
            found[-1][1].append(part)
        return found


def data_uri(content: bytes, kind: str) -> Markup:
    """A file as part of a page.

    Parameters
    ----------
    content : bytes
    kind : str
        Its media type, such as ``"image/png"``.

    Returns
    -------
    Markup
    """
    # Base64 has no character that HTML gives a meaning to; marked safe so that megabytes are not searched for one.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")
