"""Write the page of what is swept and how well it was read: ``python -m tests.sweep.table docs/media.md``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import av
import soundfile

from tests.sweep.claims import problems
from tests.sweep.films import Film, make
from tests.sweep.measure import Measured, measured
from tests.sweep.rows import ROWS

PAGE = """\
# What giblet was tried on

{n} small files (2.4 s as a rule, 64 x 48 pixels), made by ffmpeg and libsndfile, are read by giblet and by an
independent decoder. That decoder is libsndfile for the sound files it supports, and the ffmpeg and ffprobe commands
for all others. Each file holds chirps and white flashes at known times, with sharp attacks and a quiet tone in
between, at another level in each channel. So a hole, a cut or swapped loudspeakers are found wherever they are.

A file passes if

- each chirp is within 1 ms of where the other decoder has it, at 24 kHz, and within 0.1 dB of its level, in mono by the
  weights that the [README](../README.md#good-to-know) gives;
- no 20 ms of the sound, at the file's own rate, differ from it by more than 1 % of the sound's RMS;
- each flash begins and ends within a frame of where the other decoder has it;
- all frames are there, in their place and the same way up, and the luminance of TRs of 0.4 s agrees (where packets of
  the picture are lost, only the flashes are checked);
- sound and picture begin and end when they should, and are in time with each other as they were made;
- gaps, overlaps, damaged packets and damaged frames are counted as they were built in, and 0 where there were none.

| container | files | picture | sound | Hz | frames/s | sound: ms | level: dB | picture: frames |
|---|---|---|---|---|---|---|---|---|
{table}

ms, dB and frames are the largest deviations from the other decoder in any file of the row. The dB are those of two
resamplers. AVI deviates by a frame because it stores no times, and two decoders hold back different numbers of frames.

| special about the timing, the samples or the picture | in |
|---|---|
{timing}

## What a format cannot tell

Encoders put some sound before the first sample. Where the container says how much, giblet removes it. Where it does
not, every player plays the sound late by that much:

| | ms |
|---|---|
{leads}

In a film this moves sound and picture alike. AVI is the exception, because it stores no times. There the sound lags
the picture by that much, and a picture with B-frames lags by the frames that its decoder holds back. In a WMA file
the first packet, 46 ms at 44.1 kHz, is lost. Its sound begins early by that much; in a film it is in time.

Not in the sweep, because the ffmpeg used cannot write them: HE-AAC, AMR, field-coded pictures, pulldown flags.

{wrong}## Run it

```sh
python -m pytest -m slow tests/test_media_sweep.py     # one test per file
python -m tests.sweep.table docs/media.md              # writes this page again
```

Both need ffmpeg on the PATH. The figures are those of ffmpeg {ffmpeg} and libsndfile {sndfile} beside PyAV {pyav} with
FFmpeg's libavcodec {avcodec}.
"""

WRONG = """\
## What is not right

| file | what is said of it |
|---|---|"""


def rows_of_table(found: Mapping[str, Measured]) -> list[str]:
    """One line per container; without figures where nothing was measured."""
    lines = []
    for suffix in dict.fromkeys(film.suffix for film in ROWS):
        films = [film for film in ROWS if film.suffix == suffix]
        rates = sorted({film.rate for film in films if film.audio})
        speeds = sorted({film.fps for film in films if film.video})
        here = [(film, found[film.name]) for film in films if film.name in found]
        cells = [
            f"`{suffix}`",
            str(len(films)),
            _listed(film.video for film in films),
            _listed(film.audio and film.audio.replace("sndfile ", "") for film in films),
            _listed(f"{rate:,}" for rate in rates),
            _listed(f"{float(fps):.5g}" for fps in speeds),
            _largest([*_sound(here)], 1000),
            _largest([error for _, one in here for error in one.level_errors], 1),
            _largest([error * float(film.fps) for film, one in here for error in one.picture_errors], 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _sound(here: Iterable[tuple[Film, Measured]]) -> list[float]:
    return [error for _, one in here for error in (*one.sound_errors, *one.shifts)]


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name)) or "–"


def _largest(values: list[float], unit: float) -> str:
    return f"{max(abs(value) for value in values) * unit:.2f}" if values else "–"


def _timings() -> list[str]:
    kinds = dict.fromkeys(film.timing for film in ROWS)
    kinds.pop("plain")
    return [f"| {kind} | {_listed(f'{film.suffix}' for film in ROWS if film.timing == kind)} |" for kind in kinds]


def _leads() -> list[str]:
    late = [film for film in ROWS if film.lead > 0]
    return [f"| {film.audio} in `{film.suffix}`, {film.rate:,} Hz | {1000 * film.lead:.1f} |" for film in late]


def main(path: Path) -> None:
    """Make, read and measure all files, and write the page."""
    found: dict[str, Measured] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for film in ROWS:
            made, _ = make(film, Path(folder))
            found[film.name] = measured(film, made)
            if said := problems(film, found[film.name]):
                wrong.append(f"| {film.name} | {'; '.join(said)} |")
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    page = PAGE.format(
        n=len(ROWS),
        table="\n".join(rows_of_table(found)),
        timing="\n".join(_timings()),
        leads="\n".join(_leads()),
        wrong="\n".join([WRONG, *wrong, "", ""]) if wrong else "",
        ffmpeg=version.partition("-")[0],
        sndfile=soundfile.__libsndfile_version__,
        pyav=av.__version__,
        avcodec=".".join(map(str, av.library_versions["libavcodec"])),
    )
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
