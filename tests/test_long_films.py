"""Long films: complete, on the clock to their last TR, in memory that does not grow with them, or little.

``make test-long`` adds the films of hours.
"""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import nibabel as nib
import numpy as np
import pytest
import soundfile
import yaml

from giblet.codec import load_codec
from giblet.features import load_features, new_features, save_features
from giblet.models import MultimodalAutoencoder
from giblet.netcdf import LARGE
from giblet.timing import TRGrid, group_codes_by_tr

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc"),
]

RATE, SECONDS, HOURS = 24_000, 1380, 10_800


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
    ("seconds", "tr", "n_trs", "frames"),
    [
        (SECONDS, 1.5, 920, 112),
        pytest.param(SECONDS, 0.72, None, 54, marks=pytest.mark.long),
        (138, 0.72, None, 54),
        (138, 1.5, None, 112),
        (138, 2.0, None, 150),
        (138, 1.49, None, 111),
        (138, 1.5, 102, 112),
        (138, 1.5, 82, 112),
    ],
)
def test_a_click_in_the_last_tr_of_a_film_comes_back_within_20_ms(giblet, tmp_path, speech, seconds, tr, n_trs, frames):
    expected = n_trs or int(np.ceil(seconds / tr))
    last = min(expected, int(seconds / tr)) - 1  # the last TR that the film covers whole
    click = round((last + 0.4) * tr, 4)
    film = write_long(tmp_path / "long.flac", seconds, speech, click)
    options = ["--tr", tr, *(["--n-trs", n_trs] if n_trs else []), "-o", tmp_path]
    assert giblet("extract", film, *options)[0] == 0
    features_file = tmp_path / "long_desc-encodec24k_features.nc"
    features = load_features(features_file)
    assert features.codes.shape == (expected, 8, frames)
    assert features.codes.dtype == np.int32
    assert features.codes.min() >= 0
    assert features.codes.max() <= 1023
    assert features.valid.sum() == last + 1
    assert giblet("decode", features_file, "--out-file", tmp_path / "back.wav")[0] == 0
    sound, rate = soundfile.read(tmp_path / "back.wav", dtype="float32")
    assert rate == RATE
    assert len(sound) == (round(n_trs * tr * RATE) if n_trs else seconds * RATE)
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


@pytest.mark.parametrize("seconds", [300, pytest.param(SECONDS, marks=pytest.mark.long)])
def test_memory_stays_600_mb_over_the_imports_and_does_not_grow_with_the_film(
    tmp_path, speech, official_folder, seconds
):
    """The official configuration; transformers' own encode would take some 23 GB for 1380 s."""
    peaks = {}
    for length in (60, seconds):
        film = write_long(tmp_path / f"film{length}.flac", length, speech)
        said, peaks[length] = run("extract", film, "--codec", official_folder, "--json", "-o", tmp_path)
        assert json.loads(said)[0]["about"]["n_trs"] == length / 1.5
    assert peaks[seconds] - imports() < 0.6e9
    assert peaks[seconds] < 1.1 * peaks[60]


@pytest.mark.parametrize("options", [[], ["--mel"]], ids=["codes", "mel"])
@pytest.mark.parametrize(
    ("short", "long"), [(60, 240), pytest.param(300, HOURS, marks=pytest.mark.long)], ids=["minutes", "hours"]
)
def test_a_long_sound_there_and_back_takes_the_memory_of_a_short_one(tmp_path, speech, options, short, long):
    peaks = {}
    for seconds in (short, long):
        film = write_long(tmp_path / f"film{seconds}.flac", seconds, speech)
        _, extracting = run("extract", film, *options, "-o", tmp_path)
        (features,) = tmp_path.glob(f"film{seconds}_desc-*_features.nc")
        _, decoding = run("decode", features, "--out-file", tmp_path / f"back{seconds}.wav")
        assert soundfile.info(tmp_path / f"back{seconds}.wav").duration == seconds
        peaks[seconds] = extracting, decoding
    for needed, least in zip(peaks[long], peaks[short], strict=True):
        assert needed < 1.1 * least


def write_long_picture(path: Path, seconds: int) -> Path:
    """Ten seconds of a moving texture, the packets of which are written over and over."""
    block = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.gop_size = Fraction(1, 24), 240
        packets = []
        for k in range(240):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(block, k, 1)), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 24)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for k in range(24 * seconds):
            packet = av.Packet(bytes(packets[k % 240]))
            packet.pts = packet.dts = k
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 24), stream
            packet.is_keyframe = k % 240 == 0
            film.mux(packet)
    return path


@pytest.mark.parametrize("whole", [480, pytest.param(HOURS, marks=pytest.mark.long)])
@pytest.mark.parametrize(("kind", "options"), [
    ("video", []), ("cuts", []), ("motion", ["--motion-spatial-frequencies", "0,2,4", "--motion-fit", "pad"]),
])  # fmt: skip
def test_memory_of_the_picture_grows_by_what_its_file_holds_and_no_more(tmp_path, kind, options, whole):
    pytest.importorskip({"motion": "moten", "cuts": "scenedetect"}.get(kind, "av"))
    peaks, held, decoding = {}, {}, {}
    for seconds in (120, whole):
        film = write_long_picture(tmp_path / f"film{seconds}.mkv", seconds)
        _, peaks[seconds] = run("extract", film, f"--{kind}", *options, "-o", tmp_path)
        path = tmp_path / f"film{seconds}_desc-{kind}_features.nc"
        held[seconds] = load_features(path).nbytes
        if kind == "video":
            _, decoding[seconds] = run("decode", path)
    if kind == "video":
        assert held[whole] - held[120] > 10e6
        assert peaks[whole] < 1.1 * peaks[120]
        assert decoding[whole] < 1.1 * decoding[120] + LARGE  # what is smaller is held
    # What is written is there twice, as numbers by TR and as a file; 10 MB are the allocator's.
    assert peaks[whole] - peaks[120] < 4 * (held[whole] - held[120]) + 10e6


def test_a_whole_scan_of_85810_voxels_and_920_trs_trains_in_8_gb(tmp_path, speech):
    """An image of a common size with the default model, from reading to the best checkpoint."""
    n_trs, n_voxels, shape = 920, 85_810, (64, 64, 36)
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, np.uint8)
    mask.reshape(-1)[rng.permutation(mask.size)[:n_voxels]] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "mask.nii.gz")
    scan = rng.integers(900, 1100, (*shape, n_trs), dtype=np.int16)
    image = nib.Nifti1Image(scan, np.eye(4))
    image.header.set_zooms((3.0, 3.0, 3.0, 1.5))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "bold.nii")
    del scan, image
    codec = load_codec("bundled", device="cpu")
    codes = codec.encode(speech)
    film = new_features(
        {"codes": (("tr", "codebook", "frame"), np.resize(group_codes_by_tr(codes, 1.5, 75), (n_trs, 8, 112))),
         "spill": (("tr", "codebook", "extra"), np.zeros((n_trs, 8, 1), np.int32)),
         "spill_mask": (("tr", "extra"), (TRGrid(1.5, n_trs, 75).counts > 112)[:, None])},
        TRGrid(1.5, n_trs, 75), film_duration=1.5 * n_trs, kind="codes", desc="encodec24k", source="film.mp4",
        source_sha256="0", duration=1.5 * n_trs, settings={}, bandwidth=6.0, codebook_size=1024,
        codec_fingerprint=codec.codes_fingerprint,
    )  # fmt: skip
    shown = {"bold": str(tmp_path / "bold.nii"), "audio": str(save_features(film, tmp_path / "film.nc"))}
    config = {
        "data": {"subjects": [{"name": "01", "mask": str(tmp_path / "mask.nii.gz"), "runs": [shown]}]},
        "output": str(tmp_path / "run"), "steps": 2, "device": "cpu",
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    _, peak = run("train", tmp_path / "train.yaml")
    about = MultimodalAutoencoder.from_pretrained(tmp_path / "run" / "best")
    assert about.n_voxels == {"01": n_voxels} and sum(p.numel() for p in about.parameters()) <= 50e6
    assert peak < 8e9
