"""One-page reports: a single HTML file with tables, pictures and sounds that needs nothing beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from giblet.lazy import lazily as _lazily

if TYPE_CHECKING:
    from giblet.pages.page import Report as Report
    from giblet.pages.parts import Details as Details
    from giblet.pages.parts import Drawing as Drawing
    from giblet.pages.parts import Figure as Figure
    from giblet.pages.parts import Listen as Listen
    from giblet.pages.parts import Picture as Picture
    from giblet.pages.parts import Player as Player
    from giblet.pages.parts import Section as Section
    from giblet.pages.parts import Table as Table

__getattr__, __dir__, __all__ = _lazily(
    __name__,
    {
        "giblet.pages.page": ("Report",),
        "giblet.pages.parts": ("Details", "Drawing", "Figure", "Listen", "Picture", "Player", "Section", "Table"),
    },
)
