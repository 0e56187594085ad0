"""The tables of docs/codec_quality.md: a codec beside mel spectrograms, and how the 896-number ones were chosen.

On a folder of speech and the training settings that say which of it the codec never saw; prints both tables, and with
``--write`` puts them into the page:

    python benchmarks/codec_quality.py ../shared/audio/librispeech --write
"""

import argparse
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from page_tables import markdown, write_table

from giblet.codec.training.settings import CodecTrainingSettings
from giblet.data.media import AudioReader
from giblet.evaluation.codec_quality import CodecQuality
from giblet.evaluation.mel_baseline import MelBaseline
from giblet.evaluation.sound_scores import score
from giblet.pipeline.codec import evaluate_codec
from giblet.pipeline.codec_report import quality_table

ROOT = Path(__file__).parents[1]
LAST_STAGE = ROOT / "configs/codec/5-final-balance.yaml"
PAGE = ROOT / "docs/codec_quality.md"
TR, RATE, SECONDS = 1.5, 24_000, 8.0
SPEAKERS, FIRST, EVERY, SEARCH_SECONDS = 8, 7, 28, 6.0
"""Of those the codec was trained on: what a layout is chosen by is not what it is compared on."""
LAYOUTS = [(14, 64), (16, 56), (28, 32), (32, 28), (56, 16), (64, 14), (112, 8), (128, 7)]
WINDOWS = [(256, 64), (512, 128), (1024, 256), (2048, 512)]


def layouts(folder: Path, held_out: list[str]) -> str:
    """Every layout of 896 numbers per TR with every window, on speakers that are not held out."""
    files = [p for p in sorted(folder.glob("*.flac")) if not any(fnmatch(p.name, pattern) for pattern in held_out)]
    files = files[FIRST::EVERY][:SPEAKERS]
    clips = [next(iter(AudioReader(path, RATE, chunk_seconds=SEARCH_SECONDS))) for path in files]
    rows = []
    for bands, frames in LAYOUTS:
        for n_fft, hop in WINDOWS:
            if n_fft // 2 < 4 * bands or MelBaseline("", bands, None, n_fft, hop).numbers_per_tr(TR) < bands * frames:
                continue  # fewer than four bins for a band, or fewer frames than stretches
            one = MelBaseline("", bands, frames, n_fft, hop)
            found = [score(clip, one.round_trip(clip, RATE, TR), RATE) for clip in clips]
            formats = {"pesq": ".3f", "stoi": ".3f", "si_sdr": ".1f", "level": "+.1f"}
            scores = [format(np.mean([s[name] for s in found]), digits) for name, digits in formats.items()]
            rows.append([f"{bands} x {frames}", f"{n_fft} / {hop}", *scores])
            print(*rows[-1], sep="\t", flush=True)
    heads = ["bands x stretches of a TR", "window / hop, samples", "PESQ-wb", "STOI", "SI-SDR, dB", "level error, dB"]
    table = markdown(heads, rows)
    return f"Means over the first {SEARCH_SECONDS:g} s of {len(clips)} speakers that are not held out.\n\n{table}"


def quality(folder: Path, config: Path, codec: str) -> str:
    """The comparison on what was held out."""
    with tempfile.TemporaryDirectory() as out:
        found = evaluate_codec(folder, codec, out, seconds=SECONDS, held_out=config, tr=TR, players=0).quality
    text = described(found)
    print(text)
    return text


def described(found: CodecQuality) -> str:
    headers, rows = quality_table(found)
    medians = [row.median("pesq") for row in found.rows]
    headers.insert(5, "(median)")
    for cells, median in zip(rows, medians, strict=True):
        cells.insert(5, "n/a" if median is None else f"({median:.2f})")
    books = ", ".join(f"{value:.0f}" for value in found.rows[2].perplexity or [])
    lines = [
        f"Codec {found.fingerprint[:8]}, the first {SECONDS:g} s of {found.n_clips} held-out speakers "
        f"({found.seconds:.0f} s), means.",
        "",
        markdown(headers, rows),
        "",
        f"Perplexity of each codebook at {found.rows[2].label}, over {found.frames:,} frames: {books}.",
        *(f"\n{note}." for note in found.notes),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="FLAC files, one speaker each")
    parser.add_argument(
        "--config", type=Path, default=ROOT / "configs/codec/5-final-balance.yaml", help="training settings"
    )
    parser.add_argument("--codec", default="bundled")
    parser.add_argument("--only", choices=["quality", "layouts"], help="one of the two tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/codec_quality.md")
    args = parser.parse_args()
    tables = {
        "layouts": lambda: layouts(args.folder, CodecTrainingSettings.from_yaml(args.config).held_out),
        "quality": lambda: quality(args.folder, args.config, args.codec),
    }
    for name, make in tables.items():
        if args.only in (None, name):
            text = make()
            if args.write:
                write_table(text, f"codec_{name}", PAGE)


if __name__ == "__main__":
    main()
