"""The comparison of a codec with mel spectrograms as a table, and as the sections of a page to listen to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from giblet.evaluation.codec_quality import CodecQuality, Row
from giblet.evaluation.sound_scores import SCORES
from giblet.report import Picture, Player, Section, Table, spectrograms


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
    parts = [Table(*quality_table(quality), caption=f"Means over {quality.n_clips} clips.")]
    sections = [Section("Scores", [*READING, *quality.notes], parts)]
    for number, (name, sounds) in enumerate(quality.kept.items()):
        shown: list[Table | Player | Picture] = [
            Player(label, sound, quality.sample_rate) for label, sound in sounds.items()
        ]
        text = []
        if number == 0:
            png = spectrograms(sounds, quality.sample_rate)
            if png is None:
                text.append("Pictures of the sounds need matplotlib: pip install 'giblet[plot]'.")
            else:
                shown.append(Picture(png, f"Spectrograms of {name}, as recorded and as each row brings it back"))
        sections.append(Section(f"Listen: {name}", text, shown))
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
    digits = {"pesq": 2, "stoi": 3, "si_sdr": 1, "level": 1, "mel": 3}
    return ["n/a" if v is None else f"{v:.{digits[score]}f}" for score, v in zip(SCORES, values, strict=True)]


def _codebooks(rows: list[Row], frames: int) -> Section:
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
    rows = [
        [name, row.label, *_scores([row.per_clip[name][score] for score in SCORES])]
        for name in quality.rows[0].per_clip
        for row in quality.rows
    ]
    return Section("Every clip", (), [Table(["clip", "kept", *SCORES.values()], rows)])
