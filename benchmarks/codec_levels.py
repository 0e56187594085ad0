"""The table of levels of docs/codec_quality.md: by how much held-out sound comes back too loud or too quiet.

On a folder of sound and the training settings that say which of it the codec never saw. Each codec named fills columns
of its own, so that one can be compared with the one before; with ``--write`` the table goes into the page:

    python benchmarks/codec_levels.py ../shared/audio --codec before=FOLDER --codec after=bundled --write
"""

import argparse
from pathlib import Path

import numpy as np
from codec_quality import LAST_STAGE, PAGE, RATE, SECONDS
from page_tables import markdown, write_table

from giblet.codec import load_codec
from giblet.codec.training.data import find_audio, read_mono
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.evaluation.codec_levels import GAINS, level_errors

PIECES = 8
"""Stretches of each piece of music, of `SECONDS`, from its beginning on."""
SPEECH = "librispeech"


def clips(folder: Path, held_out: list[str]) -> dict[str, list[np.ndarray]]:
    """The beginning of every held-out reading, and the first stretches of every held-out piece of music."""
    found: dict[str, list[np.ndarray]] = {"speech": [], "music": []}
    for file in find_audio(folder, held_out)[1]:
        if file.path.parent.name == SPEECH:
            found["speech"].append(read_mono(file.path, RATE, 0, SECONDS))
        else:
            starts = np.arange(PIECES) * SECONDS
            found["music"] += [read_mono(file.path, RATE, at, SECONDS) for at in starts if at < file.seconds - 1]
    return found


def table(sounds: dict[str, list[np.ndarray]], codecs: dict[str, str]) -> str:
    heads = ["sound", "gain"]
    rows = [[name, f"{gain:g}"] for name in sounds for gain in GAINS]
    notes = []
    for label, name in codecs.items():
        codec = load_codec(name, bandwidth=6.0, device="cpu")
        heads += [f"{label}: median, dB", "size, median", "size, 90th percentile"]
        found = [errors for some in sounds.values() for errors in level_errors(codec, some)]
        for row, errors in zip(rows, found, strict=True):
            row += [f"{errors.median:+.1f}", f"{errors.median_size:.1f}", f"{errors.largest_tenth:.1f}"]
        silence = codec.decode(codec.encode(np.zeros(2 * RATE, np.float32)))
        level = 10 * np.log10(np.mean(np.square(silence, dtype=np.float64)) + 1e-12)
        notes.append(f"{label} (codec {codec.fingerprint[:8]}) it comes back at {level:.0f} dB full scale")
    counts = " and ".join(f"{len(some)} clips of {name}" for name, some in sounds.items())
    return f"At 6 kbps, {counts}.\n\n{markdown(heads, rows)}\n\nSilence: {'; '.join(notes)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the sound that codecs are trained on")
    parser.add_argument("--config", type=Path, default=LAST_STAGE, help="training settings")
    parser.add_argument("--codec", action="append", help="LABEL=CODEC, once for each codec (after=bundled)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/codec_quality.md")
    args = parser.parse_args()
    codecs = dict(one.split("=", 1) for one in args.codec or ["after=bundled"])
    text = table(clips(args.folder, CodecTrainingSettings.from_yaml(args.config).held_out), codecs)
    print(text)
    if args.write:
        write_table(text, "codec_levels", PAGE)


if __name__ == "__main__":
    main()
