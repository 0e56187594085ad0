"""The files that commands and code in the documentation name: small films, scans, words and models."""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile
import transformers
import yaml
from praatio import textgrid

import giblet as gb
from tests.alice_clip import CLIP, sound
from tests.alice_clip import RATE as CLIP_RATE
from tests.alice_clip import spoken as words_of_the_clip
from tests.bids_tree import make_tree
from tests.brains import bold, write_cifti, write_nifti, write_table
from tests.data.test_clips import saved as save_video_model
from tests.films import Track, write_film
from tests.sounds import at_24k
from tests.speech_folders import speech_folder
from tests.test_docs import ROOT

RATE = 24_000
SENTENCE = "Alice was beginning to get very tired of sitting by her sister on the bank".split()  # noqa: SIM905
LONG = 150
"""TRs of 1.5 s of the film: enough for folds with gaps of 32 s between them."""


def film(path: Path, seconds: float) -> Path:
    """Read speech, and a flash every seven seconds; a longer film begins again."""
    sound = np.resize(at_24k("speech.flac"), round(seconds * RATE))
    return write_film(path, Track(sound[None], RATE), picture=seconds, flashes=list(np.arange(2, seconds, 7)))


def words(folder: Path, seconds: float) -> None:
    """``words.tsv``, and ``words.csv``, which calls its columns otherwise."""
    onsets = np.arange(0.5, seconds - 1, 0.75)
    table = pd.DataFrame({"onset": onsets, "duration": 0.4, "text": np.resize(SENTENCE, len(onsets))})
    table.to_csv(folder / "words.tsv", sep="\t", index=False)
    other = pd.DataFrame({"start": onsets, "end": onsets + 0.4, "word": table.text})
    other.to_csv(folder / "words.csv", index=False)


def scan(folder: Path, n_trs: int, tr: float, stem: str = "") -> None:
    """An image with its mask, and a table."""
    write_nifti(folder / "scan.nii", bold(n_trs), tr)
    nib.save(nib.load(folder / "scan.nii"), folder / f"{stem}bold.nii.gz")
    nib.save(nib.load(folder / "mask.nii"), folder / f"{stem}mask.nii.gz")
    write_table(folder / f"{stem}bold.tsv", bold(n_trs)[:, :6], tr)


def make_long(folder: Path) -> Path:
    """A film of :data:`LONG` TRs, the features of its sound and those of its words, which several pages share."""
    film(folder / "film.mp4", LONG * 1.5)
    words(folder, LONG * 1.5)
    gb.extract(folder / "film.mp4", gb.AudioSettings.make(tr=1.5), folder / "features")
    made = gb.extract(folder / "words.tsv", gb.TextSettings.make(tr=1.5, model=None), folder / "features").path
    made.rename(made.with_name("film_desc-text_features.nc"))
    return folder


def readme(folder: Path, long: Path) -> None:
    """A long film with its scan, and configurations to encode and to train."""
    shutil.copy(long / "film.mp4", folder)
    scan(folder, LONG, 1.5)


def encode_config(folder: Path) -> None:
    """``config.yaml`` of an encoding run."""
    run = {"bold": "bold.tsv", "audio": "features/film_desc-encodec24k_features.nc"}
    bands = {"sound": {"of": "audio", "take": "latents", "n_components": 4}}
    data = {"subjects": [{"name": "01", "runs": [run]}]}
    write_yaml(folder / "config.yaml", {"data": data, "bands": bands, "output": "results", "n_rotations": 20})


def train_config(folder: Path) -> None:
    """``config.yaml`` of a small training run, into ``runs/example``."""
    run = {"bold": "bold.tsv", "audio": "features/film_desc-encodec24k_features.nc"}
    small = {"features": 16, "bottleneck": 8, "rank": 8, "embedding_dim": 8}
    data = {"subjects": [{"name": "01", "runs": [run]}], "fractions": [0.5, 0.2, 0.3]}
    options = {"data": data, "model": small, "output": "runs/example", "epochs": 1, "device": "cpu", "window": 20}
    write_yaml(folder / "config.yaml", options)


def write_yaml(path: Path, options: dict) -> None:
    """Options of a run."""
    path.write_text(yaml.safe_dump(options), encoding="utf-8")


def alignment(folder: Path) -> None:
    """Features at a TR of 2 s; a scan that began 20 s into the film, with its confounds."""
    film(folder / "film.mp4", 150)
    words(folder, 150)
    gb.extract(folder / "film.mp4", gb.AudioSettings.make(tr=2.0), folder / "features")
    gb.extract(folder / "film.mp4", gb.VideoSettings.make(tr=2.0), folder / "features")
    gb.extract(folder / "words.tsv", gb.TextSettings.make(tr=2.0, model=None), folder / "features")
    scan(folder, 65, 2.0)
    scan(folder, 75, 2.0, "sub-01_")
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    table = pd.DataFrame(np.random.default_rng(0).standard_normal((75, 6)), columns=names)
    table.to_csv(folder / "sub-01_confounds.tsv", sep="\t", index=False)


def data(folder: Path) -> None:
    """A short film with its words and features, and models of random weights where hub names are looked for."""
    film(folder / "film.mp4", 24)
    words(folder, 24)
    speech_folder(folder / "openai" / "whisper-small", "whisper", encoder_layers=12)
    speech_folder(folder / "facebook" / "wav2vec2-base", "wav2vec2-layer")
    gb.extract(folder / "film.mp4", gb.AudioSettings.make(tr=1.5), folder)
    gb.extract(folder / "words.tsv", gb.TextSettings.make(tr=1.5, model=None), folder)
    scan(folder, 16, 1.5)
    for run in (1, 2):
        shutil.copy(folder / "bold.nii.gz", folder / f"sub-01_run-{run}_bold.nii.gz")
    shutil.copy(folder / "mask.nii.gz", folder / "sub-01_desc-brain_mask.nii.gz")
    gb.extract(folder / "film.mp4", gb.AudioSettings.make(tr=1.5), folder / "features")


def picture(folder: Path) -> None:
    """A short film, and models of random weights."""
    film(folder / "film.mp4", 12)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(folder / "facebook" / "dinov2-small")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "facebook" / "dinov2-small")
    save_video_model(folder / "MCG-NJU", "videomae", num_hidden_layers=12).rename(folder / "MCG-NJU" / "videomae-base")


def clips(folder: Path, long: Path) -> None:
    """Forty short sounds, responses to them of two listeners, other sounds; and a film for the first configuration."""
    rng = np.random.default_rng(0)
    (folder / "sounds").mkdir()
    speech = at_24k("speech.flac")
    for name, n in (("clips", 40), ("other_sounds", 6)):
        files = [f"{name}{k}.wav" for k in range(n)]
        where = folder / ("sounds" if name == "clips" else "")
        for k, file in enumerate(files):
            soundfile.write(where / file, speech[k * RATE :][: RATE // 2], RATE)
        table = pd.DataFrame({"file": files, "speaker": [f"s{k % 8}" for k in range(n)]})
        table.to_csv(where / f"{name}.tsv", sep="\t", index=False)
        rate = pd.DataFrame({"words": rng.standard_normal(n)})
        rate.to_csv(folder / f"{'words' if name == 'clips' else 'other_words'}.tsv", sep="\t", index=False)
    np.save(folder / "ann.npy", rng.standard_normal((40, 3)).astype(np.float32))
    write_nifti(folder / "bob.nii", bold(40), 2.0)
    nib.save(nib.load(folder / "bob.nii"), folder / "bob_betas.nii.gz")
    nib.save(nib.load(folder / "mask.nii"), folder / "bob_mask.nii.gz")
    readme(folder, long)
    shutil.copytree(long / "features", folder / "features")
    shutil.copy(folder / "bold.nii.gz", folder / "sub-01_bold.nii.gz")
    shutil.copy(folder / "mask.nii.gz", folder / "sub-01_desc-brain_mask.nii.gz")
    pd.DataFrame(rng.standard_normal((LONG, 2)), columns=["a", "b"]).to_csv(
        folder / "speakers.tsv", sep="\t", index=False
    )


def howto_film(folder: Path, long: Path) -> None:
    """A long film with words and scan."""
    readme(folder, long)
    words(folder, LONG * 1.5)


def cifti(folder: Path, long: Path) -> None:
    """A dense series, and features of the film."""
    shutil.copytree(long / "features", folder / "features")
    write_cifti(folder / "sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii", bold(LONG), 1.5)


def bundled(path: Path) -> None:
    """The bundled codec as a folder of its own, in place of one that is fetched or trained."""
    shutil.copytree(resources.files("giblet.codec") / "assets" / "bundled", path)


def offline(folder: Path) -> None:
    """A short film, and a codec in a folder."""
    film(folder / "film.mp4", 6)
    bundled(folder / "encodec_24khz")


def slurm(folder: Path, long: Path) -> None:
    """Films and their list; programs ``giblet`` and ``srun``, the second of which only runs what follows it."""
    readme(folder, long)
    shutil.copytree(long / "features", folder / "features")
    (folder / "films.txt").write_text("film.mp4\n")
    train_config(folder)
    (folder / "config.yaml").rename(folder / "train.yaml")
    encode_config(folder)
    (folder / "config.yaml").rename(folder / "encode.yaml")
    (folder / "train.yaml").rename(folder / "config.yaml")
    (folder / "bin").mkdir()
    for name, line in (("giblet", f'exec {sys.executable} -m giblet "$@"'), ("srun", 'exec "$@"')):
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)


def cluster(folder: Path, long: Path) -> None:
    """Two films, and a run of encoding models."""
    slurm(folder, long)
    soundfile.write(folder / "talk.wav", at_24k("speech.flac")[: 6 * RATE], RATE)


def bids(folder: Path) -> None:
    """A dataset with what fMRIPrep makes of it, and features of its runs."""
    tree = make_tree(folder / "study")
    shutil.move(tree.derivatives, folder / "study" / "derivatives" / "fmriprep")
    (folder / "features").mkdir()
    film(folder / "film.mp4", 36)
    made = gb.extract(folder / "film.mp4", gb.AudioSettings.make(tr=1.5), folder).path
    for run in ("01", "1"):
        shutil.copy(made, folder / "features" / f"film_run-{run}_audio.nc")


def codec(folder: Path) -> None:
    """Sounds to score, and a codec where a published and a trained one are looked for."""
    (folder / "FOLDER").mkdir()
    soundfile.write(folder / "FOLDER" / "speech.wav", at_24k("speech.flac")[: 4 * RATE], RATE)
    bundled(folder / "facebook" / "encodec_24khz")
    bundled(folder / "runs" / "codec" / "1-transform-start" / "final")


def language(folder: Path) -> None:
    """Words."""
    words(folder, 24)


def spoken(folder: Path) -> None:
    """A story with its transcript, and words that others aligned."""
    if not CLIP.exists():
        pytest.skip("the shared Alice data are not beside the repository")
    write_film(folder / "film.mkv", Track(sound()[None], CLIP_RATE, "flac"))
    (folder / "story.txt").write_text(" ".join(words_of_the_clip()[0]), encoding="utf-8")
    grid = textgrid.Textgrid()
    rows = [(float(k), k + 1.0, word) for k, word in enumerate(SENTENCE)]
    grid.addTier(textgrid.IntervalTier("anna - words", rows, 0, len(rows)))
    grid.save(str(folder / "sub-01_words.TextGrid"), "long_textgrid", includeBlankSpaces=True)


def repository(folder: Path) -> None:
    """Links to what the repository has."""
    for name in ("samples", "configs", "scripts", "docs"):
        (folder / name).symlink_to(ROOT / name)
