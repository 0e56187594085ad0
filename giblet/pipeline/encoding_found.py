"""The first and the last of the page of an encoding run: what was found, and what it was made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from giblet.config import Settings
from giblet.pages import Details, Figure, Section, Table
from giblet.pages.cells import number, p_value
from giblet.pipeline.encoding_figures import FOUND
from giblet.pipeline.encoding_files import SubjectEncoding

MOST_PICTURED = 6
"""Subjects that are drawn one by one; of more, these, and all in tables."""


def headlines(subjects: Sequence[SubjectEncoding]) -> tuple[list[Figure], list[str]]:
    """The mean r of each subject beside its chance, and what is not above it.

    Parameters
    ----------
    subjects : sequence of SubjectEncoding

    Returns
    -------
    figures : list of Figure
        Of the first subjects.
    warnings : list of str
    """
    found, nothing, below = list[Figure](), list[str](), list[str]()
    for one in subjects:
        s = one.summary
        tested = s["mean_p"] is not None
        above = bool(s["mean_p"] <= FOUND) if tested else None
        beside = [f"p {p_value(s['mean_p'])}", f"best {s['unit']}: r {number(one.stats['r'].max())}"]
        if s["n_q"] is not None:
            beside.append(f"{s['n_q']:,} of {s['n_tested']:,} {s['unit']}s have q <= .05")
            nothing += [one.name] if s["n_q"] == 0 else []
        if "ceiling" in one.stats and one.stats["ratio"].notna().any():
            beside.append(f"median r / ceiling {number(one.stats['ratio'].median())}")
        below += [one.name] if above is False else []
        found.append(Figure(f"mean held-out r, subject {one.name}", number(s["mean_r"]), beside, above))
    warnings = []
    if below:
        warnings.append(
            f"The mean r is not above its null in {', '.join(below)}: it is no evidence of an answer there."
        )
    if nothing:
        warnings.append(
            f"Nothing has q <= .05 in {', '.join(nothing)}: the maps and the best r there are what chance gives too."
        )
    if len(subjects) == 1:
        warnings.append("One subject: nothing here says whether it holds for other people.")
    return found[:MOST_PICTURED], warnings


def made_with(settings: Settings, subjects: Sequence[SubjectEncoding]) -> Section:
    """Versions, files with their hashes, and the configuration.

    Parameters
    ----------
    settings : EncodeSettings or ClipSettings
    subjects : sequence of SubjectEncoding

    Returns
    -------
    Section
    """
    plain = settings.model_dump(mode="json")
    versions = sorted({str(one.summary["giblet_version"]) for one in subjects if "giblet_version" in one.summary})
    rows = [["giblet", ", ".join(versions) or "not written down"], ["seed", str(plain.get("seed", "none"))]]
    options = {one.name: one.summary["options"] for one in subjects if "options" in one.summary}
    parts: list[Any] = [Table(["what", "value"], rows, words=True)]
    if options:
        title = "Options and files of each subject, with their SHA-256"
        parts.append(Details(title, yaml.safe_dump(options, sort_keys=False, allow_unicode=True)))
    parts.append(Details("Configuration", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)))
    return Section("How it was made", parts=parts)
