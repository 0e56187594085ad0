"""Pictures of an encoding run: the histogram of r beside its null, and the time line of folds and gaps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from giblet.pages.drawings import ACCENT, INK, NULL, PAPER, SOFT, TEST, svg_of

WIDTH = 7.5
"""Of a drawing, in inches of the page."""
FEW = 40
"""Columns up to which each is drawn by its name."""
BIN = 0.01
FOUND = 0.05
"""q, up to which a voxel counts as found."""


class Words(NamedTuple):
    """What pictures call r, and its chance."""

    score: str
    null: str


OF_FILMS = Words("held-out r, drifts removed", "the same, rotated in time: chance")
OF_CLIPS = Words("held-out r over clips", "the same, responses in other orders: chance")


def histogram(stats: pd.DataFrame, summary: dict[str, Any], words: Words = OF_FILMS) -> str:
    """How often r comes in the voxels, and how often by chance: by rotation, or in other orders of the clips.

    Parameters
    ----------
    stats : pandas.DataFrame
    summary : dict
        Of the subject.
    words : Words

    Returns
    -------
    str
        SVG.
    """
    r = stats["r"].dropna().to_numpy()
    null = np.asarray(summary["null"])
    centres = np.linspace(-1, 1, len(null) + 1)[:-1] + BIN / 2
    occupied = centres[null > 1e-4]
    low, high = min([r.min(), *occupied[:1]]) - 0.03, max([r.max(), *occupied[-1:]]) + 0.03
    n_bins = 1 if len(r) < 3 else int(np.clip(np.sqrt(len(r)) * 2, 12, 80))
    edges = np.linspace(low, high, n_bins + 1)
    share = np.histogram(r, edges)[0] / len(r)

    def draw(figure: Any, axis: Any) -> None:
        axis.stairs(share, edges, fill=True, color=ACCENT, alpha=0.85, label=f"r of {len(r):,} {summary['unit']}s")
        if null.any():
            # The null in the same bins, so that both areas are 1.
            cumulative = np.r_[0, np.cumsum(null)]
            by_bin = np.diff(np.interp(edges, np.linspace(-1, 1, len(null) + 1), cumulative))
            axis.stairs(by_bin, edges, color=INK, linewidth=1.4, label=words.null)
        if summary["threshold_fwe"] is not None and summary["threshold_fwe"] < high:
            axis.axvline(summary["threshold_fwe"], color=TEST, linestyle="--", linewidth=1.3)
            axis.annotate(
                "family-wise\nthreshold", (summary["threshold_fwe"], axis.get_ylim()[1]), xytext=(4, -4),
                textcoords="offset points", fontsize=7.5, color=TEST, va="top",
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
            )  # fmt: skip
        axis.set_xlabel(words.score, fontsize=8)
        axis.set_ylabel(f"share of {summary['unit']}s", fontsize=8)
        axis.legend(fontsize=8, frameon=False, loc="upper left")
        axis.set_xlim(low, high)
        axis.set_ylim(0, axis.get_ylim()[1] * 1.15)

    return svg_of(draw, WIDTH, 2.8)


def by_region(stats: pd.DataFrame, words: Words = OF_FILMS) -> str:
    """r of each region, filled where it is found, with its ceiling.

    Parameters
    ----------
    stats : pandas.DataFrame
    words : Words

    Returns
    -------
    str
        SVG.
    """
    ordered = stats.sort_values("r", na_position="first").reset_index(drop=True)
    at = np.arange(len(ordered))
    found = (ordered["q"] <= FOUND) if "q" in ordered else pd.Series(False, index=ordered.index)

    def draw(figure: Any, axis: Any) -> None:
        axis.axvline(0, color=NULL, linewidth=1)
        axis.hlines(at, 0, ordered["r"], color=NULL, linewidth=1.5)
        axis.scatter(ordered["r"][found], at[found], s=28, color=ACCENT, label="q <= .05", zorder=3)
        axis.scatter(
            ordered["r"][~found],
            at[~found],
            s=28,
            facecolor=PAPER,
            edgecolor=SOFT,
            label="q > .05, or no test",
            zorder=3,
        )
        if "ceiling" in ordered and ordered["ceiling"].notna().any():
            axis.scatter(ordered["ceiling"], at, s=70, marker="|", color=TEST, label="ceiling", zorder=2)
        axis.set_yticks(at, ordered["region"], fontsize=8)
        axis.set_xlabel(words.score, fontsize=8)
        axis.set_ylim(-0.8, len(ordered) - 0.2)
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return svg_of(draw, WIDTH, 0.9 + 0.22 * len(ordered))


def time_line(summary: dict[str, Any]) -> str:
    """Which TRs are learned from, predicted, and left out, fold by fold.

    Parameters
    ----------
    summary : dict
        Of the subject.

    Returns
    -------
    str
        SVG.
    """
    folds, n_trs, tr = summary["timeline"], summary["n_trs"], summary["tr"]
    minutes = tr / 60

    def draw(figure: Any, axis: Any) -> None:
        from matplotlib.patches import Patch

        for row, (_, train, test) in enumerate(folds):
            axis.broken_barh([(0, n_trs * minutes)], (row - 0.32, 0.64), facecolor=PAPER, edgecolor=NULL, hatch="////",
                             linewidth=0.6)  # fmt: skip
            for stretches, colour in ((train, ACCENT), (test, TEST)):
                axis.broken_barh(
                    [(start * minutes, (stop - start) * minutes) for start, stop in stretches], (row - 0.32, 0.64),
                    facecolor=colour,
                )  # fmt: skip
        for start in summary["run_starts"][1:]:
            axis.axvline(start * minutes, color=INK, linewidth=0.8)
        handles = [
            Patch(facecolor=ACCENT, label="learned from"), Patch(facecolor=TEST, label="predicted"),
            Patch(facecolor=PAPER, edgecolor=NULL, hatch="////", label="left out (gap, censored)"),
        ]  # fmt: skip
        axis.set_yticks(range(len(folds)), [name for name, *_ in folds], fontsize=8)
        axis.set_ylim(len(folds) - 0.5, -0.5)
        axis.set_xlim(0, n_trs * minutes)
        runs = "; lines: where a run begins" if len(summary["run_starts"]) > 1 else ""
        axis.set_xlabel(f"minutes of all runs, end to end{runs}", fontsize=8)
        figure.legend(handles=handles, ncols=3, fontsize=8, frameon=False, loc="outside upper left")

    return svg_of(draw, WIDTH, 1.15 + 0.26 * len(folds))
