"""How results look where a notebook shows them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any


def html_table(title: str, rows: Mapping[str, Any]) -> str:
    """Names and values below a title, for ``_repr_html_``.

    Parameters
    ----------
    title : str
    rows : mapping of str to object
        Values are shown by ``str``.

    Returns
    -------
    str
        HTML, in which the texts cannot be markup.

    Examples
    --------
    >>> html_table("film.nc", {"tr": 1.5})
    '<table><caption>film.nc</caption><tr><th>tr</th><td>1.5</td></tr></table>'
    """
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table><caption>{escape(title)}</caption>{body}</table>"
