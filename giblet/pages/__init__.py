"""One-page reports: a single HTML file with tables, pictures and sounds that needs nothing beside it."""

from giblet.pages.page import Report
from giblet.pages.parts import Details, Drawing, Figure, Listen, Picture, Player, Section, Table

__all__ = ["Details", "Drawing", "Figure", "Listen", "Picture", "Player", "Report", "Section", "Table"]
