"""How results look in a notebook: a small table, whose text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup


def html_table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in HTML, for ``_repr_html_``.

    Parameters
    ----------
    caption : str
        What stands above the table.
    headers : sequence of str
    rows : iterable of sequence
        As wide as `headers`. Floats are shown with three significant digits, None as a dash.

    Returns
    -------
    str

    Examples
    --------
    >>> html_table("<scan>", ["r"], [[0.12345]])
    '<table><caption>&lt;scan&gt;</caption><thead><tr><th>r</th></tr></thead><tbody><tr><td>0.123</td></tr></tbody></table>'
    """
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in headers)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(_shown(cell)) for cell in row))
        for row in rows
    )
    page = "<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    return str(Markup(page).format(caption, head, body))


def html_facts(caption: str, facts: Mapping[str, object]) -> str:
    """Names and values below a caption, for ``_repr_html_`` of one thing.

    Parameters
    ----------
    caption : str
        What stands above the names.
    facts : mapping of str to object
        Values are shown by ``str``.

    Returns
    -------
    str

    Examples
    --------
    >>> html_facts("film.nc", {"tr": 1.5})
    '<table><caption>film.nc</caption><tbody><tr><th>tr</th><td>1.5</td></tr></tbody></table>'
    """
    row = Markup("<tr><th>{}</th><td>{}</td></tr>")
    body = Markup("").join(row.format(name, str(value)) for name, value in facts.items())
    return str(Markup("<table><caption>{}</caption><tbody>{}</tbody></table>").format(caption, body))


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
