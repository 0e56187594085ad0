"""The page of a training run: what it found, what can be heard of it, and how it came to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from giblet.errors import InputError, reading
from giblet.pages import Details, Drawing, Report, Section, Table
from giblet.pages.drawings import can_draw
from giblet.pipeline import run_figures as figures
from giblet.pipeline.encoding_brains import map_pictures
from giblet.pipeline.encoding_files import ENCODED
from giblet.pipeline.encoding_found import MOST_PICTURED
from giblet.pipeline.run_files import CARD, LOG, Card, RunFiles
from giblet.pipeline.run_found import NAMES, found
from giblet.pipeline.run_sounds import listens
from giblet.pipeline.score_tables import notes_of, number, p_value, score_section

MOST_TEXTS = 12
"""Rows of decoded words that are shown."""
NO_DRAWINGS = "Drawings need matplotlib: pip install 'giblet[plot]'."
ALIGNMENT = "alignment.json"


def run_report(folder: Path, originals: Sequence[Path] = (), alignment: Path | None = None) -> Report:
    """The page of a training run.

    Parameters
    ----------
    folder : Path
        Of the run, however far it came.
    originals : sequence of Path
        Films or sounds that its features were made from.
    alignment : Path, optional
        What `giblet check-alignment --json` printed; by default ``alignment.json`` in the run, if it is there.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If a file of it is damaged, or an original or `alignment` cannot be used.
    """
    files = RunFiles(folder)
    cards = files.results
    single = [card for card in cards if not card.is_group]
    heard, notes = listens(files, single, originals)
    sections = [found(files, cards)]
    if cards:
        sections.append(Section("Listen", notes, heard))
    sections += [score_section(card.content, card.whose) for card in cards]
    sections += _maps(single)
    sections += _words(single)
    sections.append(_training(files))
    sections.append(_alignment(folder, alignment))
    sections.append(_splits(files))
    sections.append(_left_out(files, cards))
    sections.append(_made(files, cards))
    shown = ", ".join(NAMES[name] for name in files.modalities) or "nothing"
    n = len(files.subjects)
    told = f"{n} subject{'s' if n != 1 else ''} ({_listed(files.subjects)}); shown: {shown}."
    if files.simulated:
        told += " The brain is simulated: these figures say nothing about people."
    return Report(f"Training run {folder.absolute().name}", sections, told)


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _maps(cards: Sequence[Card]) -> list[Section]:
    """Where the BOLD of a part was predicted, for scans that are images."""
    pictured = [card for card in cards if card.content.get("space")]
    if pictured and not can_draw():
        return [Section("Where the BOLD was predicted", [NO_DRAWINGS])]
    pictures, notes = list[Any](), list[str]()
    for card in pictured[:MOST_PICTURED]:
        label = card.path.name.removesuffix(CARD) + ENCODED
        own, told = map_pictures(card.path.parent, label, card.content["space"], card.whose)
        pictures += own
        notes += [one for one in told if one not in notes]
    if len(pictured) > MOST_PICTURED:
        notes.append(
            f"The maps of the first {MOST_PICTURED} of {len(pictured)} scorecards are here; those of all are files."
        )
    return [Section("Where the BOLD was predicted", notes, pictures)] if pictures or notes else []


def _words(cards: Sequence[Card]) -> list[Section]:
    """Texts that are nearest to what was decoded."""
    parts = []
    for card in cards:
        for _, stem in card.stretches:
            path = card.file(f"{stem}_desc-predicted_text.tsv")
            if path is None:
                continue
            with reading(path, "reconstruct again (overwrite=True)"):
                table = pd.read_csv(path, sep="\t", keep_default_na=False)
                best = table[table["rank"] == 1]
                columns = best.head(MOST_TEXTS)[["onset", "text", "cosine", "mean_cosine"]].values.tolist()
                rows = [[f"{at:g}", str(said), number(own), number(usual)] for at, said, own, usual in columns]
            headers = ["second of the film", "nearest text", "cosine", "its mean cosine"]
            parts.append(Table(headers, rows, f"{card.whose}: the first {len(rows)} of {len(best)} TRs", words=True))
    if not parts:
        return []
    text = "A text whose cosine is not well above its mean cosine over all TRs is near to whatever is decoded."
    return [Section("Words that are nearest", [text], parts)]


def _training(files: RunFiles) -> Section:
    if files.log is None:
        return Section(
            "Training", [f"There is no {LOG} with a validation: the run failed or was stopped before the first."]
        )
    text, parts = [], list[Any]()
    steps = files.best_steps
    best = " and ".join(f"step {step} ({way})" for way, step in steps.items()) or "not known"
    summary = files.summary or {}
    text.append(
        f"{len(files.log)} validations up to step {int(files.log['step'].iloc[-1])}; how the run ended: "
        f"{summary.get('status', 'not by itself')}. Best validation: {best}. Encoding and decoding share no "
        "weights, and each keeps its best."
    )
    if not can_draw():
        text.append(NO_DRAWINGS)
    elif figures.losses_in(files.log):
        last = files.log.iloc[-1]
        alt = "; ".join(
            f"{name}: last validation loss {number(float(last[f'val_{name}']))}"
            for name in figures.losses_in(files.log)
            if f"val_{name}" in last and pd.notna(last[f"val_{name}"])
        )
        caption = (
            "Loss by step: 1 is no better than the training mean, 0 is perfect. If validation stays as it began while "
            "training falls, the network adds nothing to ridge regression (the linear path). If training falls while "
            "validation rises, the data are too few; best/ holds the best of each direction (dashed). Training losses "
            "include dropout."
        )
        parts.append(Drawing(figures.curves(files.log, steps), f"Training curves; {alt}", caption))
    val, linear = summary.get("val") or {}, summary.get("linear_val") or {}
    if val:
        rows = [[name, number(loss), number(linear.get(name))] for name, loss in val.items()]
        parts.append(
            Table(
                ["loss", "best validation", "ridge (linear path) alone"], rows, "1 is no better than the training mean."
            )
        )
    return Section("Training", text, parts)


def _alignment(folder: Path, path: Path | None) -> Section:
    given = path is not None
    path = path or folder / ALIGNMENT
    if not path.is_file():
        if given:
            raise InputError(f"no such file: {path}; giblet check-alignment --json prints it, or leave it out")
        text = (
            "Nothing here says whether scan and film are on one clock. giblet check-alignment CONFIG.yaml --json tests "
            f"it; put what it prints into {ALIGNMENT} in the run, and make this page again."
        )
        return Section("Alignment", [text])
    with reading(path, "it is not what giblet check-alignment --json prints"):
        content = json.loads(path.read_text(encoding="utf-8"))
        checks = list(content["regressors"]) if "regressors" in content else [
            {**one, "regressor": f"{one['regressor']}, subject {run['subject']}, run {run['run']}"}
            for run in content["runs"]
            for one in run["regressors"]
        ]  # fmt: skip
        rows = [
            [
                str(one["regressor"]), f"{one['best_lag']:+g}", number(one["r"]), number(one["null_95"]),
                p_value(one["p"]), str(one["verdict"]),
            ]
            for one in checks
        ]  # fmt: skip
    headers = ["regressor", "best lag, s", "r", "95 % null", "p", "verdict"]
    parts: list[Any] = [Table(headers, rows)]
    drawn = [one for one in checks if one.get("lags") and one.get("r_by_lag")][:6]
    if drawn and can_draw():
        alt = "; ".join(f"{row[0]}: best lag {row[1]} s, r {row[2]}" for row in rows[: len(drawn)])
        caption = (
            "Mean correlation of BOLD with what was shown, by lag. A peak at 0 s above the dashed line: scan and film "
            "are on one clock. A peak elsewhere: the film began earlier or later than the configuration says."
        )
        parts.insert(0, Drawing(figures.lag_scan(drawn), f"Correlation by lag; {alt}", caption))
    advice = [str(one["advice"]) for one in checks if one.get("verdict") != "aligned"]
    return Section("Alignment", parts=parts, warnings=advice[:6])


def _splits(files: RunFiles) -> Section:
    if not files.splits:
        return Section(
            "What each TR was used for", ["There is no splits.json: the run failed before its data were read."]
        )
    rows = [
        [
            name,
            str(own["n_trs"]),
            str(len(set(own["run"]))),
            *(str(len(own.get(part, []))) for part in ("train", "val", "test", "gap")),
        ]
        for name, own in files.splits.items()
    ]
    parts: list[Any] = [Table(["subject", "TRs", "runs", "training", "validation", "test", "gap"], rows)]
    split = (files.settings.get("data") or {}).get("split", "stimulus")
    text = [
        "Training TRs are learned from, validation TRs choose the best model, test TRs are scored. Gaps are in no "
        "part, because the response to the part before is still present in them.",
        "The stimulus is split, once for all subjects: no second of film is in two parts."
        if split == "stimulus"
        else "The scan of each subject is split by itself: others may have been trained on the film of its test part.",
    ]
    if can_draw():
        alt = "; ".join(
            f"{row[0]}: {row[3]} training, {row[4]} validation, {row[5]} test and {row[6]} gap TRs of {row[1]}"
            for row in rows[:6]
        )
        more = (
            ""
            if len(rows) <= figures.MOST_SUBJECTS
            else f" The first {figures.MOST_SUBJECTS} of {len(rows)} subjects are drawn."
        )
        caption = f"Time line of all runs, one line for each subject.{more}"
        parts.insert(0, Drawing(figures.used_for(files.splits), f"Time line of runs, splits and gaps; {alt}", caption))
    return Section("What each TR was used for", text, parts)


def _left_out(files: RunFiles, cards: Sequence[Card]) -> Section:
    rows = []
    for card in cards:
        about, encoding = card.content, card.content.get("encoding")
        unit, n_trs = about.get("unit", "voxels"), about.get("n_trs", 0)
        what = [
            f"{name}: {n_trs - scored} of {n_trs} TRs are not scored: they are missing, or not all of their BOLD is in "
            "the part"
            for name, scored in (about.get("n_trs_scored") or {}).items()
            if scored < n_trs
        ]
        if encoding is None:
            what.append("BOLD is not scored: too few volumes have all of their stimulus in the part")
        elif encoding.get("n_undefined"):
            undefined, n_voxels = encoding["n_undefined"], encoding["n_voxels"]
            what.append(f"{undefined} of {n_voxels} {unit} have no r: their BOLD never changes")
        rows += [[card.whose, one] for one in what]
    rows += notes_of([(card.whose, card.content) for card in cards])
    for name, own in (files.splits or {}).items():
        if own.get("gap"):
            rows.append([f"subject {name}", f"{len(own['gap'])} TRs lie in gaps between parts"])
    if not rows:
        return Section("What was left out, and what is off", ["Nothing that the run has written down."])
    return Section("What was left out, and what is off", parts=[Table(["whose", "what"], rows, words=True)])


def _made(files: RunFiles, cards: Sequence[Card]) -> Section:
    settings, state, summary = files.settings, files.state or {}, files.summary or {}
    fingerprints = state.get("codec_fingerprint") or {}
    codec = fingerprints.get("codec") if isinstance(fingerprints, Mapping) else fingerprints
    facts = {
        "giblet, training": summary.get("giblet_version") or state.get("giblet_version"),
        "giblet, reconstruction": ", ".join(
            sorted({str(c.content["giblet_version"]) for c in cards if "giblet_version" in c.content})
        ),
        "seed": settings.get("seed", 0),
        "device": summary.get("device") or settings.get("device"),
        "parameters": None if "parameters" not in summary else f"{summary['parameters']:,}",
        "seconds of training": None if "seconds" not in summary else f"{summary['seconds']:,.0f}",
        "head": (settings.get("model") or {}).get("head", "latent"),
        "codec": settings.get("codec", "bundled"),
        "codec fingerprint": codec,
        "SHA-256 of the best model": files.model_sha256,
    }
    rows = [[name, str(value)] for name, value in facts.items() if value not in (None, "")]
    parts: list[Any] = [Table(["what", "value"], rows, words=True)]
    sources = state.get("sources") or {}
    if sources:
        lines = "\n".join(f"{sha256}  {path}" for path, sha256 in sources.items())
        parts.append(Details(f"Files that were learned from, with their SHA-256 ({len(sources)})", lines))
    parts.append(Details("Configuration", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)))
    return Section("How it was made", parts=parts)
