"""Drawings of a training run: losses by step, what each TR was used for, r by lag, scores beside their nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from giblet.evaluation.score import SHIFTED
from giblet.pages.drawings import ACCENT, INK, LINE, PAPER, SOFT, TEST, VALIDATION, svg_of

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 7.0
PARTS = {"train": ("training", ACCENT), "val": ("validation", VALIDATION), "test": ("test", TEST)}
MOST_SUBJECTS = 12
"""Subjects that have a line of their own."""


def losses_in(log: pd.DataFrame) -> list[str]:
    """What has losses in a log.

    Parameters
    ----------
    log : pandas.DataFrame

    Returns
    -------
    list of str
        Such as ``["audio", "bold"]``; BOLD last.
    """
    names = {str(c).partition("_")[2] for c in log.columns if str(c).startswith(("train_", "val_"))}
    return sorted(names, key=lambda name: (name == "bold", name))


def curves(log: pd.DataFrame, best_steps: Mapping[str, int]) -> str:
    """Losses of training and validation by step, one panel for each modality.

    Parameters
    ----------
    log : pandas.DataFrame
        As ``log.csv`` holds it.
    best_steps : mapping of str to int
        Of ``"encoding"`` and ``"decoding"``; may be empty.

    Returns
    -------
    str
        SVG.
    """
    names = losses_in(log)

    def draw(figure: Any, axes: Any) -> None:
        for name, axis in zip(names, np.atleast_1d(axes), strict=True):
            axis.axhline(1, color=SOFT, linewidth=0.9, linestyle=":", label="training mean: nothing learned")
            for part, colour in (("train", ACCENT), ("val", VALIDATION)):
                column = f"{part}_{name}"
                if column in log and log[column].notna().any():
                    own = log[log[column].notna()]
                    few = len(own) < 3
                    axis.plot(own["step"], own[column], color=colour, linewidth=1.6, marker="o" if few else None,
                              markersize=4, label=PARTS[part][0])  # fmt: skip
            way = "encoding" if name == "bold" else "decoding"
            if way in best_steps:
                axis.axvline(best_steps[way], color=TEST, linewidth=1.2, linestyle="--", label="best of its direction")
            axis.set_title(f"{name} ({way})", fontsize=9.5, loc="left")
            axis.set_ylabel("loss")
            axis.set_xlim(left=min(0, float(log["step"].min())) - 0.02 * max(float(log["step"].max()), 1))
        np.atleast_1d(axes)[-1].set_xlabel("step")
        handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8.5)

    return svg_of(draw, WIDTH, 0.5 + 1.7 * len(names), rows=len(names))


def stretches(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Row numbers as stretches of successive ones.

    Parameters
    ----------
    rows : sequence of int

    Returns
    -------
    list of (int, int)
        First, and how many.

    Examples
    --------
    >>> stretches([0, 1, 2, 7, 8])
    [(0, 3), (7, 2)]
    """
    given = np.unique(np.asarray(rows, np.int64))
    if not len(given):
        return []
    groups = np.split(given, np.flatnonzero(np.diff(given) != 1) + 1)
    return [(int(group[0]), len(group)) for group in groups]


def used_for(splits: Mapping[str, Any]) -> str:
    """What each TR of each subject was used for, with the runs and the gaps.

    Parameters
    ----------
    splits : mapping
        As ``splits.json`` holds it.

    Returns
    -------
    str
        SVG.
    """
    names = list(splits)[:MOST_SUBJECTS]

    def draw(figure: Any, axis: Any) -> None:
        from matplotlib.patches import Patch

        longest = 0.0
        for line, name in enumerate(names):
            own = splits[name]
            minutes = float(own["tr"]) / 60
            longest = max(longest, own["n_trs"] * minutes)
            axis.broken_barh([(0, own["n_trs"] * minutes)], (line - 0.3, 0.6), facecolor=PAPER, edgecolor=SOFT,
                             linewidth=0.6)  # fmt: skip
            for part, (_, colour) in PARTS.items():
                bars = [(first * minutes, n * minutes) for first, n in stretches(own.get(part, []))]
                axis.broken_barh(bars, (line - 0.3, 0.6), facecolor=colour)
            starts = np.flatnonzero(np.diff(np.asarray(own["run"]))) + 1
            axis.vlines(starts * minutes, line - 0.42, line + 0.42, color=INK, linewidth=1)
        handles = [Patch(facecolor=colour, label=label) for label, colour in PARTS.values()]
        handles.append(Patch(facecolor=PAPER, edgecolor=SOFT, label="gap, or unused"))
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlim(0, longest)
        axis.set_xlabel("minutes of all runs, end to end (lines: where a run begins)")
        figure.legend(handles=handles, ncols=4, fontsize=8.5, loc="outside upper left")

    return svg_of(draw, WIDTH, 1.0 + 0.34 * len(names))


def lag_scan(checks: Sequence[Mapping[str, Any]]) -> str:
    """Correlation of BOLD with what was shown, by lag.

    Parameters
    ----------
    checks : sequence of mapping
        Rows of `giblet check-alignment --json` that hold ``lags`` and ``r_by_lag``.

    Returns
    -------
    str
        SVG.
    """

    def draw(figure: Any, axes: Any) -> None:
        for one, axis in zip(checks, np.atleast_1d(axes), strict=True):
            axis.axhline(0, color=LINE, linewidth=0.9)
            axis.axvline(0, color=SOFT, linewidth=0.9)
            axis.axhline(
                one["null_95"], color=TEST, linestyle="--", linewidth=1.2, label="95 % of surrogates stay below"
            )
            axis.plot(one["lags"], one["r_by_lag"], color=ACCENT, linewidth=1.8, label="mean r")
            axis.plot([one["best_lag"]], [one["r"]], "o", color=ACCENT, markersize=6, label="best lag")
            axis.set_title(str(one["regressor"]).replace("_", " "), fontsize=9.5, loc="left")
            axis.set_ylabel("correlation")
        np.atleast_1d(axes)[-1].set_xlabel("lag, s (positive: BOLD comes later than the clock says)")
        handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8.5)

    return svg_of(draw, WIDTH, 0.5 + 1.9 * len(checks), rows=len(checks))


def scores_drawing(rows: Sequence[Mapping[str, Any]]) -> str:
    """Scores on one axis, each beside its ceiling, its nulls and ridge.

    Parameters
    ----------
    rows : sequence of mapping
        As :func:`giblet.pipeline.score_tables.rows_of` gives them, with a value each.

    Returns
    -------
    str
        SVG.
    """

    def draw(figure: Any, axis: Any) -> None:
        axis.axvline(0, color=LINE, linewidth=1)
        for at, one in enumerate(rows):
            own, nulls = one["reconstruction"], one.get("nulls") or {}
            colour = SOFT if one.get("above_nulls") is False else ACCENT
            if own.get("low") is not None:
                axis.hlines(at, own["low"], own["high"], color=colour, linewidth=2.2)
            for name, null in nulls.items():
                if null.get("value") is not None:
                    axis.plot([null["value"]], [at], "x" if name == SHIFTED else "^", color=SOFT, markersize=6)
            if one.get("ceiling") is not None:
                axis.plot([one["ceiling"]], [at], "|", color=TEST, markersize=15, markeredgewidth=2)
            if one.get("ridge") and one["ridge"].get("value") is not None:
                axis.plot([one["ridge"]["value"]], [at], "D", markerfacecolor=PAPER, color=VALIDATION, markersize=6)
            axis.plot([own["value"]], [at], "o", color=colour, markersize=6.5)
        axis.set_yticks(range(len(rows)), [str(one["name"]) for one in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.grid(axis="x", color=LINE, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_xlabel("score")
        axis.plot([], [], "o", color=ACCENT, label="reconstruction")
        axis.plot([], [], "|", color=TEST, markersize=12, markeredgewidth=2, label="codec alone")
        axis.plot([], [], "x", color=SOFT, label=SHIFTED)
        axis.plot([], [], "^", color=SOFT, label="other nulls")
        axis.plot([], [], "D", markerfacecolor=PAPER, color=VALIDATION, label="ridge")
        figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)

    return svg_of(draw, WIDTH, 0.95 + 0.27 * len(rows))
