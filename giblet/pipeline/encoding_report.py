"""The page of an encoding run: what was found, in which subject, against which chance, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from giblet.encoding.settings import EncodeSettings
from giblet.pages import Drawing, Picture, Report, Section, Table
from giblet.pages.cells import count, number, p_value
from giblet.pages.drawings import can_draw
from giblet.pipeline import encoding_figures as figures
from giblet.pipeline.encoding_brains import map_pictures
from giblet.pipeline.encoding_files import SubjectEncoding
from giblet.pipeline.encoding_found import MOST_PICTURED, headlines, made_with
from giblet.pipeline.encoding_group import LABEL, GroupEncoding

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 60
"""Regions up to which a table lists them."""
ABOUT_BANDS = (
    "Split scores share r out among the bands and sum to it; bands that go together share arbitrarily. Unique variance "
    "is what R2 loses if a band is left out: about 0, on either side, for a band that adds nothing to the others."
)
ABOUT_PENALTIES = (
    "Penalties were chosen within what was learned from. A penalty at the end of its grid is told among what is off."
)
HOW_TO_READ = (
    "r is the correlation of BOLD with its prediction by a model that did not see these TRs, after drifts were taken "
    "from both: mean, line, parabola{high_pass}. 0 is chance; what a perfect model could reach depends on the noise, "
    "which a ceiling tells, where one was asked for.",
    "p compares r with the same prediction rotated in time by every number of TRs (of several stretches by 2,000 joint "
    "draws), so that slow signals get no credit for being slow. Where folds are predicted from each other, the BOLD is "
    "rotated instead, and all folds are fitted anew for each rotation. q is p corrected for all {unit}s by the false "
    "discovery rate: of the {unit}s with q <= .05, 5 % are false on average. p_fwe <= .05: in 5 % of studies in which "
    "nothing answers, a {unit} has it. The dashed line in a histogram is the r that the best {unit} reaches by chance "
    "in 5 % of rotations.",
    ABOUT_BANDS,
    ABOUT_PENALTIES,
)

READ_HISTOGRAM = (
    "Filled: held-out r of all columns. Line: what the same predictions score when they are rotated in time. Where the "
    "two agree there is no answer; what lies to the right of the line is more than chance gives."
)
READ_REGIONS = "A dot is the r of a region, filled where q <= .05; a bar is its ceiling, where one was asked for."
READ_TIME_LINE = (
    "One line for each fold: its TRs were predicted by a model of the TRs that were learned from; hatched ones are in "
    "neither, as the response to one part is still present in the next."
)


def encoding_page(
    settings: EncodeSettings, subjects: Sequence[SubjectEncoding], group: GroupEncoding | None,
    failed: Mapping[str, str], notes: Sequence[str],
) -> Report:  # fmt: skip
    """The page of an encoding run.

    Parameters
    ----------
    settings : EncodeSettings
    subjects : sequence of SubjectEncoding
    group : GroupEncoding or None
    failed : mapping of str to str
        By subject that was left out, why.
    notes : sequence of str

    Returns
    -------
    Report
    """
    sections = [_found(subjects)]
    if group is not None:
        sections.append(_of_group(group, subjects[0].summary["space"]))
    sections += [_of_subject(one, draw=k < MOST_PICTURED) for k, one in enumerate(subjects)]
    sections.append(excluded(subjects, failed, [*notes, *(group.summary["notes"] if group else [])]))
    high_pass = "" if settings.high_pass is None else f", and cosines slower than 1/{1 / settings.high_pass:g} Hz"
    words = {"high_pass": high_pass, "unit": subjects[0].summary["unit"]}
    sections.append(Section("How to read this", [text.format(**words) for text in HOW_TO_READ]))
    sections.append(made_with(settings, subjects))
    bands = ", ".join(f"{name} ({_of_band(band)})" for name, band in settings.bands.items())
    response = "as they are, without a response" if settings.hrf is None else f"response {settings.hrf}"
    told = f"{len(subjects)} subject{'s' if len(subjects) > 1 else ''}; bands: {bands}; {response}."
    return Report("Encoding models", sections, told)


def _of_band(band: Any) -> str:
    found = f"{band.take} of {band.of}" if band.take else band.of
    if band.times is not None:
        found += f" at its own times, {band.sampling}"
    return f"{found}, {band.n_components:g} components" if band.n_components else found


def _found(subjects: Sequence[SubjectEncoding]) -> Section:
    headers = ["subject", "columns", "TRs learned from", "TRs predicted", "mean r", "best r", "p of the mean",
               "q <= .05", "p_fwe <= .05"]  # fmt: skip
    rows = []
    for one in subjects:
        s = one.summary
        trained = s["n_trs_train"]
        learned = f"{min(trained)} to {max(trained)}" if len(set(trained)) > 1 else str(trained[0])
        rows.append([
            one.name, f"{s['n_tested']:,} of {s['n_columns']:,} {s['unit']}s", learned, str(s["n_trs_test"]),
            number(s["mean_r"]), number(one.stats["r"].max()), p_value(s["mean_p"]), count(s["n_q"]), count(s["n_fwe"]),
        ])  # fmt: skip
    cards, warnings = headlines(subjects)
    return Section("What was found", parts=[*cards, Table(headers, rows)], warnings=warnings)


def _of_group(group: GroupEncoding, space: Mapping[str, Any]) -> Section:
    summary, stats = group.summary, group.stats
    text = [f"{summary['n_subjects']} subjects, {summary['n_trs']} TRs that all of them were tested on."]
    parts: list[Any] = []
    if "r" in stats:
        text.append(
            f"Mean over subjects of Fisher's z: mean r {number(summary['mean_r'])}; there is no test."
            if summary["n_q"] is None
            else f"Mean over subjects of Fisher's z, under rotations made for all at once: mean r "
            f"{number(summary['mean_r'])}, p = {p_value(summary['mean_p'])}; {summary['n_q']} of "
            f"{int(stats['r'].notna().sum())} columns have q <= .05, {summary['n_fwe']} p_fwe <= .05."
        )
        if can_draw() and "region" in stats and len(stats) <= figures.FEW:
            parts.append(Drawing(figures.by_region(stats), "r of each region, mean over subjects", READ_REGIONS))
        if can_draw():
            pictures, notes = map_pictures(group.folder, LABEL, space, "the mean over subjects")
            parts += pictures
            text += notes
    if "region" in stats and len(stats) <= MOST_ROWS:
        names = [n for n in ("r", "p", "q", "p_fwe", "ceiling", "ceiling_upper", "ratio", "agreement_t") if n in stats]
        parts.append(regions_table(stats, names))
    if "agreement_table" in summary:
        lines = summary["agreement_table"].splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if "---" not in line]
        text.append(f"agreement_t tests {summary['agreement_tests']}. The last table says how often noise passes it.")
        parts.append(Table(cells[0], cells[1:], "Noise that passes the t-test over subjects"))
    if "ceiling" in stats:
        text.append(
            "ceiling is the lower bound of inter-subject correlation, each with the mean of the others; ceiling_upper "
            "the upper bound. ratio is r / ceiling where the ceiling has p <= .05; it may be above 1, as the mean "
            "of the others is noisy too, the more the fewer they are, and a subject's own fit knows more than what is "
            "shared."
        )
    return Section("All subjects", text, parts)


def regions_table(stats: pd.DataFrame, names: Sequence[str]) -> Table:
    """Scores of each region.

    Parameters
    ----------
    stats : pandas.DataFrame
    names : sequence of str
        Columns of it that are shown.

    Returns
    -------
    Table
    """
    rows = [
        [str(row["region"]), *(p_value(row[n]) if n in ("p", "q", "p_fwe") else number(row[n]) for n in names)]
        for _, row in stats.iterrows()
    ]
    return Table(["region", *names], rows)


def pictures_of(
    one: SubjectEncoding, caption: str, words: figures.Words = figures.OF_FILMS
) -> tuple[list[Drawing | Picture], list[str]]:
    """The histogram of r beside its null, r of each region where there are few, and maps where there are any.

    Parameters
    ----------
    one : SubjectEncoding
    caption : str
        Of the histogram.
    words : figures.Words
        What the pictures call r and its chance.

    Returns
    -------
    pictures : list of Drawing or Picture
    notes : list of str
        What is not drawn, and why.
    """
    stats = one.stats
    r = stats["r"].dropna()
    spread = f"{len(r):,} {one.summary['unit']}s from {r.min():.2f} to {r.max():.2f}"
    alt = f"histogram of held-out r of {spread}, and of its null"
    found: list[Drawing | Picture] = [Drawing(figures.histogram(stats, one.summary, words), alt, caption)]
    if "region" in stats and len(stats) <= figures.FEW:
        found.append(Drawing(figures.by_region(stats, words), f"r of each region of {one.name}", READ_REGIONS))
    maps, notes = map_pictures(one.folder, one.label, one.summary["space"], one.name)
    return found + maps, notes


def _of_subject(one: SubjectEncoding, *, draw: bool) -> Section:
    stats, summary = one.stats, one.summary
    parts: list[Any] = []
    text = [f"Runs: {', '.join(summary['run_names'])}."]
    if draw and not can_draw():
        text.append("Drawings and maps need matplotlib: pip install 'giblet[plot]'.")
    if draw and can_draw() and stats["r"].notna().any():
        pictures, notes = pictures_of(one, READ_HISTOGRAM)
        parts += pictures
        text += notes
        alt = f"time line of {len(summary['timeline'])} folds and their gaps over {summary['n_trs']} TRs"
        parts.append(Drawing(figures.time_line(summary), alt, READ_TIME_LINE))
    if bands := list(summary["bands"]):
        parts.append(bands_table(stats, bands, summary))
    if "ceiling" in stats and stats["ceiling"].notna().any():
        own = stats[stats["ratio"].notna()]
        row = [f"{len(own)} of {len(stats)}", number(own["ceiling"].median()), number(own["ratio"].median())]
        parts.append(Table(["columns whose ceiling is above chance", "median ceiling", "median r / ceiling"], [row]))
    return Section(f"Subject {one.name}", text, parts)


def bands_table(stats: pd.DataFrame, bands: Sequence[str], summary: Mapping[str, Any]) -> Table:
    """Scores by band: means over all columns, and over those that are found.

    Parameters
    ----------
    stats : pandas.DataFrame
    bands : sequence of str
    summary : mapping
        Of the subject.

    Returns
    -------
    Table
    """
    found = stats[stats["q"] <= figures.FOUND]
    headers = ["band", "columns", "split of r: all", "found", "unique R2: all", "found"]
    rows = []
    for name in bands:
        cells = [
            number(part[f"{kind}_{name}"].mean()) if f"{kind}_{name}" in stats and len(part) else "-"
            for kind in ("split", "unique")
            for part in (stats, found)
        ]
        rows.append([name, str(summary["bands"][name]), *cells])
    r2 = [number(part["r2"].mean()) if len(part) else "-" for part in (stats, found)]
    r = [number(part["r"].mean()) if len(part) else "-" for part in (stats, found)]
    rows.append(["all together (r, R2)", str(sum(summary["bands"].values())), *r, *r2])
    return Table(
        headers, rows, f"Scores by band, means over all {summary['unit']}s and over the {len(found)} found (q <= .05)"
    )


def excluded(subjects: Sequence[SubjectEncoding], failed: Mapping[str, str], notes: Sequence[str]) -> Section:
    """What was left out, and what is off.

    Parameters
    ----------
    subjects : sequence of SubjectEncoding
    failed : mapping of str to str
        By subject that was left out, why.
    notes : sequence of str
        Of all subjects.

    Returns
    -------
    Section
    """
    rows = [[name, f"left out: {why}"] for name, why in failed.items()]
    rows += [["all", note] for note in notes]
    rows += [[one.name, note] for one in subjects for note in one.summary["notes"]]
    parts = [Table(["subject", "what"], rows, words=True)] if rows else []
    text = [] if rows else ["Nothing was left out, and nothing is off."]
    return Section("What was left out, and what is off", text, parts)
