"""Timed text laid on the clock of a scan: what every extractor of words reads, and how."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from giblet.data.processor import ExtractionSettings
from giblet.data.words.subtitles import Segment, read_segments, read_timed_text
from giblet.errors import InputError
from giblet.spans import tr_of, volume_grid
from giblet.timing import TRGrid, exact

log = logging.getLogger(__name__)


class TimedTextSettings(ExtractionSettings):
    """How timed text is read, and where it lies on the scan."""

    n_trs: int | None = Field(None, ge=1, description="volumes of the scan; default: as many as the text fills")
    table_time_at_tr_0: float = Field(0.0, allow_inf_nan=False, description="second of the table's clock at TR 0")
    onset_column: str = Field("onset", description="column of onsets, s")
    offset_column: str | None = Field(None, description="column of offsets, s")
    duration_column: str | None = Field(None, description="column of durations, s, instead of offsets")
    text_column: str = Field("text", description="column of the text")
    encoding: str | None = Field(None, description="of the file; default UTF-8")
    decimal: Literal[".", ","] = Field(".", description="decimal sign of the times")
    time_unit: Literal["s", "ms"] | None = Field(None, description="of a table's times; default: s, if they can be")
    order: Literal["error", "sort"] = Field("error", description="rows that are not in the order of onsets")
    overlaps: Literal["error", "allow"] = Field("error", description="rows that run into each other")
    empty: Literal["error", "drop"] = Field("error", description="rows without text")
    untimed: Literal["error", "drop", "instant"] = Field(
        "error", description="rows without onset or end; instant: those without end are events at their onset"
    )
    nonspeech: Literal["drop", "keep"] = Field("drop", description="[sounds], songs and NAMES: that nobody says")
    film_duration: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds from TR 0 to the end of the film; default: of the text"
    )

    def reading(self) -> dict[str, Any]:
        """The options of :func:`giblet.data.words.subtitles.read_timed_text`.

        Returns
        -------
        dict
        """
        columns = {"onset_column", "offset_column", "duration_column", "text_column"}
        return self.model_dump(
            include={*columns, "encoding", "decimal", "time_unit", "order", "overlaps", "empty", "untimed", "nonspeech"}
        )


def check_timed_text(path: Path, settings: TimedTextSettings) -> float:
    """Raise if a timed text cannot be read.

    Parameters
    ----------
    path : Path
        The timed text.
    settings : TimedTextSettings

    Returns
    -------
    float
        Seconds from TR 0 to the end of the film, or else of the text.

    Raises
    ------
    InputError
        If the text cannot be read or used.

    See Also
    --------
    rows_on_scan : Reads it.
    """
    last = max(segment.offset for segment in read_segments(path, **settings.reading()))
    return settings.film_duration or max(0.0, float(last) - settings.table_time_at_tr_0)


@dataclass(frozen=True)
class RowsOnScan:
    """The rows of a timed text on the clock of a scan."""

    rows: list[Segment]
    """All, by onset, in seconds from TR 0."""
    inside: list[Segment]
    """Those that the scan overlaps."""
    grid: TRGrid
    end: Fraction
    """Seconds from TR 0 to the end of the last row."""
    whole: Fraction
    """Seconds from TR 0 to the end of the film, or else of the last row."""
    counts: dict[str, int]
    """What was left out: ``cut_rows``, ``nonspeech_words``, ``repeated_words``, ``untimed_rows``."""


def rows_on_scan(path: str | Path, settings: TimedTextSettings, n_trs: int | None = None) -> RowsOnScan:
    """Read a timed text and lay it on the volumes of a scan.

    Parameters
    ----------
    path : str or Path
        As for :func:`giblet.data.words.subtitles.read_timed_text`.
    settings : TimedTextSettings
    n_trs : int, optional
        Volumes of the scan. By default as many as the film, or else the text, fills.

    Returns
    -------
    RowsOnScan

    Raises
    ------
    InputError
        If the text cannot be read or used, or none of it falls on the scan.

    See Also
    --------
    check_timed_text : Whether it can be read.
    """
    read = read_timed_text(path, **settings.reading())
    for doubt in read.doubts:
        log.warning("%s: %s", Path(path).name, doubt)
    start = exact(settings.table_time_at_tr_0, "table_time_at_tr_0")
    placed = [Segment(row.onset - start, row.offset - start, row.text) for row in read.segments]
    end = max(row.offset for row in placed)
    if end < 0 or (end == 0 and all(row.onset < 0 for row in placed)):
        raise InputError(
            f"{Path(path).name} ends {float(-end):g} s before TR 0: table_time_at_tr_0 is {float(start):g} s; "
            "correct it"
        )
    duration = settings.film_duration
    whole = end if duration is None else exact(duration, "film_duration")
    grid = _grid(placed, whole, settings, n_trs)
    inside = [row for row in placed if row.onset < grid.duration and (row.offset > 0 or row.onset >= 0)]
    if not inside:
        raise InputError(f"no row of {Path(path).name} falls on the {grid.n_trs} TRs: correct table_time_at_tr_0")
    n_cut = len(placed) - len(inside)
    if n_cut:
        hint = "" if 2 * n_cut <= len(placed) else "; are its times in milliseconds, or is table_time_at_tr_0 wrong?"
        log.warning("%s: %d of %d rows lie outside the scan and are cut%s", Path(path).name, n_cut, len(placed), hint)
    counts = {
        "cut_rows": n_cut,
        "nonspeech_words": read.nonspeech_words,
        "repeated_words": read.repeated_words,
        "untimed_rows": read.untimed_rows,
    }
    return RowsOnScan(placed, inside, grid, end, whole, counts)


def _grid(rows: Sequence[Segment], whole: Fraction, settings: TimedTextSettings, n_trs: int | None) -> TRGrid:
    """As many TRs as are asked for, or as film and text fill; the last is opened for a word that begins in it."""
    grid = volume_grid(settings.tr, n_trs, whole)
    if n_trs is not None or settings.film_duration is not None:
        return grid
    last = tr_of(max(row.onset for row in rows), exact(grid.tr))
    return TRGrid(grid.tr, max(grid.n_trs, last + 1), grid.frame_rate)
