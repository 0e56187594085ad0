"""Drawings of a page by matplotlib, as SVG whose colours the page chooses: they are right in light and in dark."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Callable
from typing import Any

INK, SOFT, LINE, PAPER = "#1d2733", "#56626f", "#d8dee5", "#ffffff"
ACCENT, NULL, TEST, VALIDATION = "#1f6f8b", "#b8c1ca", "#d9822b", "#6a51a3"
PALETTE = {
    INK: "ink", SOFT: "soft", LINE: "line", PAPER: "paper", ACCENT: "accent", NULL: "null", TEST: "test",
    VALIDATION: "validation",
}  # fmt: skip
"""Colours that drawings may have, and what the style sheet calls them."""
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "giblet", "font.family": "sans-serif", "font.size": 9,
    "text.parse_math": False, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none", "legend.frameon": False,
    "hatch.color": NULL,
}  # fmt: skip
"""Text stays text, and what users typed is no formula."""


def can_draw() -> bool:
    """Whether matplotlib is installed.

    Returns
    -------
    bool
    """
    return importlib.util.find_spec("matplotlib") is not None


def svg_of(draw: Callable[[Any, Any], None], width: float, height: float, rows: int = 1, columns: int = 1) -> str:
    """A drawing as SVG, whose colours are those of the page's style sheet.

    Parameters
    ----------
    draw : callable
        Is given the matplotlib figure and its axes: one, or with several `rows` or `columns` an array of them. It
        draws with the colours of this module alone.
    width, height : float
        In inches of 96 pixels, in which text of 9 points is as large as that of the page's captions.
    rows, columns : int
        Of axes.

    Returns
    -------
    str
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure, figure.subplots(rows, columns))
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _of_page(file.getvalue(), width)


def _of_page(svg: str, width: float) -> str:
    """The drawing alone, without what stands before it, in the colours of the style sheet."""
    svg = svg[svg.index("<svg ") :]
    own = (r"<metadata>.*?</metadata>\s*", r"<!--.*?-->\s*", r"<style .*?</style>\s*", r"font-family: [^;\"]*; ?")
    for pattern in own:
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*" height="[^"]*"', rf'\1 style="width: {width * 96:.0f}px"', svg, count=1)
    for colour, name in PALETTE.items():
        svg = svg.replace(f'fill="{colour}"', f'style="fill: {colour}"')
        svg = re.sub(rf"(fill|stroke): {colour}\b", rf"\1: var(--{name})", svg)
    return svg
