"""Small whole files of each format, the same bytes each time, from which damaged ones are made."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml

from giblet.features import new_features, save_features
from giblet.timing import TRGrid
from tests.brains import SURFACES, N, bold, write_cifti, write_gifti, write_labels, write_nifti
from tests.films import Track, noise, write_film
from tests.sounds import at_24k

WORDS = ["the", "quick", "fox", "jumps", "over", "it"]
SHEET = "xl/worksheets/sheet1.xml"
SAME = {"fflags": "+bitexact"}
"""Without it, Matroska and Ogg draw numbers for their tracks."""


def sounds(folder: Path, suffix: str, codec: str, layout: str = "stereo") -> Path:
    """Half a second of the speech that comes with giblet."""
    voice = at_24k("speech.flac")[24_000:36_000]
    track = Track(np.stack([voice] * (1 if layout == "mono" else 2)), 24_000, codec, layout, block=4096)
    return write_film(folder / f"sound.{suffix}", track, options=SAME)


def film(folder: Path, suffix: str, audio: str, video: str) -> Path:
    """Half a second of noise and six pictures of 64 x 48 pixels."""
    track = Track(noise(0.5, 24_000), 24_000, audio)
    return write_film(folder / f"film.{suffix}", track, picture=0.5, fps=12, codec=video, flashes=[0.2], options=SAME)


def nifti(folder: Path) -> Path:
    return write_nifti(folder / "sub-1_bold.nii", bold(6), 1.5, int16=True)


def nifti_gz(folder: Path) -> Path:
    return _gzipped(nifti(folder))


def cifti(folder: Path) -> Path:
    return write_cifti(folder / "sub-1_bold.dtseries.nii", bold(6), 1.5)


def cifti_labels(folder: Path) -> Path:
    return write_labels(folder / "atlas.dlabel.nii", np.arange(N) % 3, {1: "V1", 2: "A1"}, SURFACES)


def gifti(folder: Path) -> Path:
    return write_gifti(folder / "sub-1_hemi-L_bold.func.gii", bold(6), 1.5)


def features(folder: Path) -> Path:
    rng, grid = np.random.default_rng(0), TRGrid(1.5, 4, 75)
    about = {
        "source": "film.mp4", "source_sha256": "0" * 64, "duration": 6.0, "settings": {"tr": 1.5, "n_trs": None},
        "codec_fingerprint": "1" * 64,
    }  # fmt: skip
    codes = rng.integers(0, 1024, (4, 2, 112)).astype(np.int32)
    spill = rng.integers(0, 1024, (4, 2, 1)).astype(np.int32)
    made = new_features(
        {
            "codes": (("tr", "codebook", "frame"), codes),
            "spill": (("tr", "codebook", "extra"), spill),
            "spill_mask": (("tr", "extra"), np.array([[False], [True], [False], [True]])),
        },
        grid, film_duration=6.0, kind="codes", desc="encodec24k", codebook_size=1024, **about,
    )  # fmt: skip
    return save_features(made, folder / "film_desc-encodec24k_features.nc")


def means(folder: Path) -> Path:
    about = {"source": "words.tsv", "source_sha256": "0" * 64, "duration": 6.0, "settings": {"tr": 1.5}}
    rate = np.array([2.0, 1.0, 0.0, 3.0])
    made = new_features(
        {"word_rate": (("tr",), rate)}, TRGrid(1.5, 4, 75), film_duration=6.0, kind="continuous", desc="text", **about
    )
    return save_features(made, folder / "film_desc-text_features.nc")


def words_tsv(folder: Path) -> Path:
    rows = [f"{0.5 * k + 0.1:.2f}\t{0.5 * k + 0.45:.2f}\t{word}" for k, word in enumerate(WORDS)]
    return _text(folder / "words.tsv", "\n".join(["onset\toffset\ttext", *rows]) + "\n")


def regions_tsv(folder: Path) -> Path:
    rows = ["\t".join(f"{value:.3f}" for value in row) for row in bold(8, n=4)]
    _text(folder / "sub-1_bold.json", json.dumps({"RepetitionTime": 1.5}))
    return _text(folder / "sub-1_bold.tsv", "\n".join(["V1\tA1\tM1\tS1", *rows]) + "\n")


def regions_gz(folder: Path) -> Path:
    return _gzipped(regions_tsv(folder))


def workbook(folder: Path) -> Path:
    """Packed again without the time of day."""
    from openpyxl import Workbook

    book = Workbook()
    book.properties.created = book.properties.modified = datetime(2020, 1, 1)
    book.active.append(["onset", "duration", "text"])
    for k, word in enumerate(WORDS):
        book.active.append([0.5 * k, 0.4, word])
    whole, path = io.BytesIO(), folder / "words.xlsx"
    book.save(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "docProps/core.xml":
                content = content[: content.index(b"<dcterms:modified")] + b"</cp:coreProperties>"
            new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def sheet(folder: Path) -> Path:
    """The XML of the cells beside the workbook that it is of."""
    with zipfile.ZipFile(workbook(folder)) as book:
        (folder / SHEET).parent.mkdir(parents=True)
        (folder / SHEET).write_bytes(book.read(SHEET))
    return folder / SHEET


def with_sheet(folder: Path) -> Path:
    """The workbook with the XML that lies beside it."""
    path = folder / "own.xlsx"
    with zipfile.ZipFile(folder / "words.xlsx") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, (folder / SHEET).read_bytes() if name == SHEET else old.read(name))
    return path


def srt(folder: Path) -> Path:
    cues = [f"{k + 1}\n00:00:0{k},100 --> 00:00:0{k},900\n<i>{word}</i> and\n" for k, word in enumerate(WORDS)]
    return _text(folder / "film.srt", "\n".join(cues))


def vtt(folder: Path) -> Path:
    cues = [f"00:0{k}.100 --> 00:0{k}.900\n{word} <00:0{k}.500><c>and</c>\n" for k, word in enumerate(WORDS)]
    return _text(folder / "film.vtt", "WEBVTT\n\nNOTE made by hand\n\n" + "\n".join(cues))


def textgrid(folder: Path) -> Path:
    parts = [
        f"        intervals [{k + 1}]:\n            xmin = {0.5 * k}\n            xmax = {0.5 * k + 0.5}\n"
        f'            text = "{word}"\n'
        for k, word in enumerate(WORDS)
    ]
    head = (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 3\ntiers? <exists>\nsize = 1\n'
        'item []:\n    item [1]:\n        class = "IntervalTier"\n        name = "words"\n        xmin = 0\n'
        "        xmax = 3\n        intervals: size = 6\n"
    )
    return _text(folder / "film.TextGrid", head + "".join(parts))


def aligned(folder: Path) -> Path:
    said = [{"word": word, "case": "success", "start": 0.5 * k, "end": 0.5 * k + 0.4} for k, word in enumerate(WORDS)]
    return _text(folder / "film.json", json.dumps({"transcript": " ".join(WORDS), "words": said}))


def sidecar(folder: Path) -> Path:
    path = regions_tsv(folder)
    content = {"RepetitionTime": 1.5, "StartTime": 0.75, "SliceTiming": [0, 0.5, 1.0], "TaskName": "film"}
    return _text(path.with_suffix(".json"), json.dumps(content))


def training(folder: Path) -> Path:
    run = {"bold": "bold.nii.gz", "audio": "film.nc", "confounds": "confounds.tsv", "stimulus_time_at_volume_0": 1.5}
    subject = {"name": "01", "mask": "mask.nii.gz", "runs": [run], "labels": {1: "V1"}, "confound_columns": ["rot_?"]}
    subject.pop("labels")
    content = {"data": {"subjects": [subject], "gap": 12}, "output": "runs/one", "epochs": 3, "learning_rate": 0.001}
    return _text(folder / "train.yaml", yaml.safe_dump(content, sort_keys=False))


def encoding(folder: Path) -> Path:
    run = {"bold": "bold.nii.gz", "audio": "film.nc"}
    subject = {"name": "01", "mask": "mask.nii.gz", "runs": [run]}
    bands = {"sound": {"of": "audio", "take": "latents"}}
    content = {"data": {"subjects": [subject]}, "bands": bands, "output": "encoded", "delays": [2, 4], "seed": 1}
    return _text(folder / "encode.yaml", yaml.safe_dump(content, sort_keys=False))


def array(folder: Path) -> Path:
    np.save(folder / "responses.npy", bold(8, n=4))
    return folder / "responses.npy"


def matlab(folder: Path) -> Path:
    from scipy.io import savemat

    path = folder / "responses.mat"
    savemat(path, {"R": bold(8, n=4).astype(np.float64), "names": np.array(["a", "bc"], object)}, do_compression=True)
    content = path.read_bytes()  # its head says when it was written
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + content[116:])
    return path


def _text(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def _gzipped(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
    return packed
