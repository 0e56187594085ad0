"""The page of an encoding run over clips: what was found, in which subject, against which chance."""

from __future__ import annotations

from typing import Any

from giblet.encoding.clip_settings import ClipBandSettings, ClipSettings
from giblet.pages import Report, Section, Table
from giblet.pages.cells import count, number, p_value
from giblet.pages.drawings import can_draw
from giblet.pipeline import encoding_figures as figures
from giblet.pipeline.encoding_files import SubjectEncoding
from giblet.pipeline.encoding_found import MOST_PICTURED, headlines, made_with
from giblet.pipeline.encoding_report import (
    ABOUT_BANDS,
    ABOUT_PENALTIES,
    MOST_ROWS,
    bands_table,
    excluded,
    pictures_of,
    regions_table,
)
from giblet.pipeline.encoding_result import EncodingResult

HOW_TO_READ = (
    "r is the correlation, over clips, of responses with their prediction by a model that did not learn from these "
    "clips{together}; both sides are taken about the mean of each fold. Chance lies where the line of the histogram "
    "does, at 0 or somewhat below it. A perfect model would not reach 1 either, as responses are noisy.",
    "p compares r with what the same procedure gives where responses change places among {exchanged}: all folds and "
    "penalties are fitted anew for each of {n_orders} orders, that of the clips as they are included. p is read from "
    "the gamma law with mean, spread and skewness of Fisher's z over the orders; p_rank, in the tables, is the share "
    "of orders that do as well. q is p corrected for all {unit}s by the false discovery rate: of the {unit}s with q <= "
    ".05, 5 % are false on average. p_fwe <= .05: in 5 % of studies in which nothing answers, a {unit} has it. The "
    "dashed line in a histogram is the r that the best {unit} reaches by chance in 5 % of orders.",
    ABOUT_BANDS,
    ABOUT_PENALTIES,
)


def clips_page(result: EncodingResult, settings: ClipSettings) -> Report:
    """The page of an encoding run over clips.

    Parameters
    ----------
    result : EncodingResult
    settings : ClipSettings

    Returns
    -------
    Report
    """
    grouped = settings.group_column is not None
    by_group = (settings.exchange or ("groups" if grouped else "clips")) == "groups"
    words = {
        "together": f", nor from others of their {settings.group_column}" if grouped else "",
        "exchanged": "groups of one size, and among the clips of a group" if by_group else "the clips",
        "n_orders": f"{settings.n_permutations:,}",
        "unit": result.subjects[0].summary["unit"],
    }
    sections = [_found(result.subjects)]
    sections += [_of_subject(one, draw=k < MOST_PICTURED) for k, one in enumerate(result.subjects)]
    sections.append(excluded(result.subjects, result.failed, result.notes))
    sections.append(Section("How to read this", [text.format(**words) for text in HOW_TO_READ]))
    sections.append(made_with(settings, result.subjects))
    n_subjects = len(result.subjects)
    bands = ", ".join(f"{name} ({_of_band(band)})" for name, band in settings.bands.items())
    level = "at the levels they have" if settings.level is None else f"at {settings.level:g} dB"
    told = f"{n_subjects} subject{'s' if n_subjects > 1 else ''}; clips {level}; bands: {bands}."
    return Report("Encoding models of clips", sections, told)


def _of_band(band: ClipBandSettings) -> str:
    found = " and ".join(band.of) if isinstance(band.of, tuple) else band.of.name
    return f"{found}, {band.n_components:g} components" if band.n_components else found


def _found(subjects: tuple[SubjectEncoding, ...]) -> Section:
    headers = ["subject", "columns", "clips", "mean r", "best r", "p of the mean", "q <= .05", "p_fwe <= .05"]
    rows = []
    for one in subjects:
        s = one.summary
        rows.append([
            one.name, f"{s['n_tested']:,} of {s['n_columns']:,} {s['unit']}s", count(s["n_clips"]), number(s["mean_r"]),
            number(s["best_r"]), p_value(s["mean_p"]), count(s["n_q"]), count(s["n_fwe"]),
        ])  # fmt: skip
    cards, warnings = headlines(subjects)
    return Section("What was found", parts=[*cards, Table(headers, rows)], warnings=warnings)


def _of_subject(one: SubjectEncoding, *, draw: bool) -> Section:
    stats, summary = one.stats, one.summary
    folds = summary["n_clips_test"]
    size = str(folds[0]) if len(set(folds)) == 1 else f"{min(folds)} to {max(folds)}"
    groups = "" if summary["n_groups"] is None else f" in {summary['n_groups']:,} groups"
    text = [f"{summary['n_clips']:,} clips{groups}, in {len(folds)} folds of {size}, each predicted from the others."]
    parts: list[Any] = []
    if draw and can_draw():
        caption = (
            "Filled: held-out r of all columns. Line: what fits of responses in other orders give. Where the two agree "
            "there is no answer; what lies to the right of the line is more than chance gives."
        )
        pictures, notes = pictures_of(one, caption, figures.OF_CLIPS)
        parts += pictures
        text += notes
    bands = list(summary["bands"])
    if len(bands) > 1:
        parts.append(bands_table(stats, bands, summary))
    if "region" in stats and len(stats) <= MOST_ROWS:
        names = ["r", "p", "q", "p_fwe", "r2", *(f"split_{band}" for band in bands if f"split_{band}" in stats)]
        parts.append(regions_table(stats, names))
    return Section(f"Subject {one.name}", text, parts)
