"""The comparison of a codec with mel spectrograms as a table, and as the sections of a page to listen to."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from giblet.errors import reading

if TYPE_CHECKING:
    from giblet.evaluation.codec_quality import CodecQuality, Row
    from giblet.pages import Report, Section

PAGE, DATA = "codec_report.html", "codec_report.json"


def quality_page(quality: CodecQuality) -> Report:
    """The page of a comparison, with sounds to listen to.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    Report

    See Also
    --------
    read_quality : what a page was made from.
    """
    from giblet.pages import Report

    return Report(f"Sound quality of codec {quality.codec}", quality_sections(quality), summary(quality))


def read_quality(folder: Path) -> CodecQuality:
    """The comparison that `giblet codec evaluate` wrote: scores from its JSON, sounds from its page.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    CodecQuality
        Without sounds where the page is gone.

    Raises
    ------
    InputError
        If a file is damaged.

    See Also
    --------
    quality_page : the page of it.
    """
    from giblet.evaluation.codec_quality import CodecQuality, Row

    path = folder / DATA
    with reading(path, "evaluate the codec again (overwrite=True)"):
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            Row(
                one["label"], one["numbers_per_tr"], one["number"], one["bits_per_second"],
                {clip: _numbers(scores) for clip, scores in one["per_clip"].items()},
                one["perplexity"],
            )
            for one in told["rows"]
        ]  # fmt: skip
        kept, rate = _sounds_in(folder / PAGE)
        return CodecQuality(
            told["codec"], told["fingerprint"], told["tr"], rate or told.get("sample_rate", 24_000), rows,
            told["seconds"], told["frames"], kept, told["skipped"],
        )  # fmt: skip


def _numbers(scores: dict[str, Any]) -> dict[str, float | None]:
    """Scores of a clip, of which the JSON has infinities as text."""
    return {name: None if value is None else float(value) for name, value in scores.items()}


class _Sounds(HTMLParser):
    """Where the sounds of a page are, by what is heard and by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        """Take note of a group of sounds, or of a sound."""
        given = dict(attrs)
        if "data-listen" in given:
            self.found[given["data-name"]] = {}
        elif tag == "audio" and self.found:
            [*self.found.values()][-1][given["aria-label"]] = given["src"]


def _sounds_in(page: Path) -> tuple[dict[str, dict[str, np.ndarray]], int | None]:
    """Sounds of a page that stands there, and their rate; none where there is no page."""
    import soundfile

    kept, rate = dict[str, dict[str, np.ndarray]](), None
    if not page.is_file():
        return kept, rate
    with reading(page, "evaluate the codec again (overwrite=True)"):
        parser = _Sounds()
        parser.feed(page.read_text(encoding="utf-8"))
        for name, sounds in parser.found.items():
            kept[name] = {}
            for label, source in sounds.items():
                head, _, content = source.partition(";base64,")
                file = (
                    io.BytesIO(base64.b64decode(content)) if head.startswith("data:") else page.parent / unquote(source)
                )
                kept[name][label], rate = soundfile.read(file, dtype="float32")
    return kept, rate


def quality_table(quality: CodecQuality) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the comparison, as text: means over the clips.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    headers : list of str
    rows : list of list of str
        One for each row of `quality`.
    """
    from giblet.evaluation.sound_scores import SCORES

    headers = ["kept", "numbers per TR", "a number is", "kbit/s", *SCORES.values(), "perplexity, lowest (mean)"]
    return headers, [
        [
            row.label,
            f"{row.numbers_per_tr:,}",
            row.number,
            f"{row.bits_per_second / 1000:,.1f}",
            *_scores([row.mean(score) for score in SCORES]),
            "" if row.perplexity is None else f"{min(row.perplexity):.0f} ({np.mean(row.perplexity):.0f})",
        ]
        for row in quality.rows
    ]


def quality_sections(quality: CodecQuality) -> list[Section]:
    """The sections of the page: scores, clips to listen to, codebooks, and the scores of every clip.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    list of Section

    See Also
    --------
    quality_table : the table of the first.
    """
    from giblet.pages import Listen, Player, Section, Table

    parts = [Table(*quality_table(quality), caption=f"Means over {quality.n_clips} clips.")]
    sections = [Section("Scores", [*READING, *quality.notes], parts)]
    listens = [
        Listen(name, [Player(label, sound, quality.sample_rate) for label, sound in sounds.items()], LISTENING)
        for name, sounds in quality.kept.items()
    ]
    if listens:
        sections.append(Section("Listen", (), listens))
    sections.append(_codebooks([row for row in quality.rows if row.perplexity is not None], quality.frames))
    sections.append(_each_clip(quality))
    return sections


READING = (
    "PESQ-wb runs from 1.0 (bad) to 4.64 (the same sound), STOI from 0 to 1 (intelligible), SI-SDR counts every "
    "departure of the waveform, in dB. For all three more is better. SI-SDR does not see the level: how much louder or "
    "quieter the sound came back stands beside it, and 0 dB is best. For the mel distance, between log10 mel spectra "
    "at several scales, less is.",
    "The mel rows keep the numbers named, as float32, and Griffin-Lim finds phases for them. No phase is kept, so "
    "their SI-SDR is low even where they sound well.",
)


LISTENING = (
    "All sounds of a clip share one playhead: choose another row while one plays, and it goes on from there. The "
    "pictures go from 0 to 8 kHz, brighter is louder, on the scale of the original: what is bright there and dark in a "
    "row was not kept."
)


def summary(quality: CodecQuality) -> str:
    """One line on what was scored, for the head of the page.

    Parameters
    ----------
    quality : CodecQuality

    Returns
    -------
    str
    """
    return (
        f"{quality.n_clips} clips, {quality.seconds:.0f} s of sound at {quality.sample_rate} Hz, TR {quality.tr:g} s; "
        f"codec fingerprint {quality.fingerprint[:12]}."
    )


def _scores(values: Sequence[float | None]) -> list[str]:
    from giblet.evaluation.sound_scores import SCORES

    digits = {"pesq": 2, "stoi": 3, "si_sdr": 1, "level": 1, "mel": 3}
    return ["n/a" if v is None else f"{v:.{digits[score]}f}" for score, v in zip(SCORES, values, strict=True)]


def _codebooks(rows: list[Row], frames: int) -> Section:
    from giblet.pages import Section, Table

    most = max(len(row.perplexity or ()) for row in rows)
    table = Table(
        ["codebook", *(row.label for row in rows)],
        [
            [str(k + 1), *(f"{row.perplexity[k]:.0f}" if k < len(row.perplexity or ()) else "" for row in rows)]  # type: ignore[index]
            for k in range(most)
        ],
    )
    text = (
        f"Perplexity: how many entries of each codebook are in effective use, over {frames:,} frames. Few frames "
        "cannot show many entries: below some ten thousand the figures come out low."
    )
    return Section("Codebooks", [text], [table])


def _each_clip(quality: CodecQuality) -> Section:
    from giblet.evaluation.sound_scores import SCORES
    from giblet.pages import Section, Table

    rows = [
        [name, row.label, *_scores([row.per_clip[name][score] for score in SCORES])]
        for name in quality.rows[0].per_clip
        for row in quality.rows
    ]
    return Section("Every clip", (), [Table(["clip", "kept", *SCORES.values()], rows)])
