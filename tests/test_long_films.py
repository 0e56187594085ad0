"""A film of 23 minutes: complete, on the clock to its last TR, in memory that does not grow with it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from giblet.features import load_features

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"),
]

RATE, SECONDS = 24_000, 1380
GIBLET = [sys.executable, "-m", "giblet"]


def write_long(path: Path, seconds: int, speech: np.ndarray, click: float | None = None) -> Path:
    """Speech over and over, block by block, with a click (5 ms, full scale) in silence at `click` seconds."""
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for second in range(seconds):
            start = second * RATE % (len(speech) - RATE)
            block = speech[start : start + RATE].copy()
            if click is not None and abs(second - click) < 2.5:
                block[:] = 0
            if click is not None and second == int(click):
                at = round((click - second) * RATE)
                block[at : at + 120] = 0.9
            file.write(block)
    return path


def run(*argv: object) -> tuple[str, int]:
    """Output of a giblet command, and the peak of its memory in bytes.

    VmHWM begins anew with the program; getrusage's ru_maxrss would count what this process held when it started it.
    """
    code = (
        "import pathlib, sys; from giblet.cli import main\n"
        "def peak(): return pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "try: main()\n"
        "finally: print(int(peak()) * 1024, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("tr", "n_trs", "frames"),
    [
        (1.5, None, 112),
        (1.5, 920, 112),
        (0.72, None, 54),
        (2.0, None, 150),
        (1.49, None, 111),
        (1.5, 930, 112),
        (1.5, 900, 112),
    ],
)
def test_a_click_in_the_last_tr_of_a_long_film_comes_back_within_20_ms(tmp_path, speech, tr, n_trs, frames):
    expected = n_trs or int(np.ceil(SECONDS / tr))
    last = min(expected, int(SECONDS / tr)) - 1  # the last TR that the film covers whole
    click = round((last + 0.4) * tr, 4)
    film = write_long(tmp_path / "long.flac", SECONDS, speech, click)
    options = ["--tr", tr, *(["--n-trs", n_trs] if n_trs else []), "-o", tmp_path]
    run("extract", film, *options)
    features = load_features(tmp_path / "long_desc-encodec24k_features.nc")
    assert features.codes.shape == (expected, 8, frames)
    assert features.codes.dtype == np.int32
    assert features.codes.min() >= 0
    assert features.codes.max() <= 1023
    assert features.valid.sum() == last + 1
    run("decode", tmp_path / "long_desc-encodec24k_features.nc", "-o", tmp_path / "back.wav")
    sound, rate = soundfile.read(tmp_path / "back.wav", dtype="float32")
    assert rate == RATE
    assert len(sound) == (round(n_trs * tr * RATE) if n_trs else SECONDS * RATE)
    start = int((click - 1) * RATE)
    energy = np.convolve(sound[start : start + 2 * RATE] ** 2, np.ones(120), "same")
    assert (start + np.argmax(energy)) / RATE == pytest.approx(click + 0.0025, abs=0.02)


def imports() -> int:
    """Peak of a process that has imported what extraction imports, in bytes."""
    code = (
        "import importlib.util, pathlib, giblet.cli, giblet.pipeline.features, giblet.codec, giblet.codec.encodec\n"
        "if importlib.util.find_spec('openvino'): import openvino\n"
        "print(int(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024)"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_memory_stays_600_mb_over_the_imports_and_does_not_grow_with_the_film(tmp_path, speech, official_folder):
    """The official configuration; transformers' own encode would take some 23 GB for 1380 s."""
    peaks = {}
    for seconds in (300, SECONDS):
        film = write_long(tmp_path / f"film{seconds}.flac", seconds, speech)
        said, peaks[seconds] = run("extract", film, "--codec", official_folder, "--json", "-o", tmp_path)
        assert json.loads(said)[0]["about"]["n_trs"] == seconds / 1.5
    assert peaks[SECONDS] - imports() < 0.6e9
    assert peaks[SECONDS] < 1.1 * peaks[300]
