"""Each format, a whole file of it, and how giblet reads it for a user."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import KFold
from transformers import EncodecConfig

from giblet.alignment import checks  # noqa: F401  (what a child process needs is imported before it is forked)
from giblet.codec.loading import find_codec
from giblet.codec.loading import read_model as read_codec
from giblet.codec.network import build_model
from giblet.codec.training.checkpoints import export_model
from giblet.data.acoustics import AcousticsProcessor, AcousticsSettings
from giblet.data.bold.atlas import Atlas
from giblet.data.fmri import FMRIProcessor
from giblet.data.timed_text import TimedTextSettings, check_timed_text, rows_on_scan
from giblet.data.video import VideoProcessor, VideoSettings
from giblet.encoding.clips import read_array
from giblet.encoding.model import EncodingModel
from giblet.encoding.responses import read_responses
from giblet.encoding.settings import EncodeSettings
from giblet.features import describe, load_features, load_outline, metadata_of, own_attributes, table_of
from giblet.files import sha256_of
from giblet.models.autoencoder import MultimodalAutoencoder
from giblet.models.checkpoint import ABOUT, WEIGHTS, _digest
from giblet.models.settings import Modality, ModelSettings
from giblet.training.checkpoint import load_state
from giblet.training.settings import TrainSettings
from tests.fuzz import seeds

torch.set_num_threads(1)


@dataclass(frozen=True)
class Format:
    """What is damaged, and who reads it."""

    name: str
    """As the page has it."""
    make: Callable[[Path], Path]
    """Writes a whole file, perhaps with others beside it, and says which one is damaged."""
    read: Callable[[Path], object]
    """Raises a GibletError, or reads."""
    text: bool = False
    share: float = 1.0
    """How many files are tried of it, beside others."""


def _sound(path: Path) -> None:
    settings = AcousticsSettings.make(kinds=("envelope",), tr=0.5)
    AcousticsProcessor.check_source(path, settings)
    AcousticsProcessor(kinds=("envelope",), tr=0.5).extract(path)


def _film(path: Path) -> None:
    _sound(path)
    settings = VideoSettings.make(tr=0.5)
    VideoProcessor.check_source(path, settings)
    VideoProcessor(tr=0.5).extract(path)


def _masked(path: Path) -> None:
    FMRIProcessor(mask=path.with_name("mask.nii"), bad="mask").load(path)


def _scan(path: Path) -> None:
    FMRIProcessor(bad="mask").load(path)


def _features(path: Path) -> None:
    describe(load_outline(path))
    features = load_features(path)
    own_attributes(features)
    metadata_of(features)
    table_of(features)


def _words(path: Path) -> None:
    settings = TimedTextSettings.make(tr=1.5)
    check_timed_text(path, settings)
    rows_on_scan(path, settings)


def _cells(path: Path) -> None:
    _words(seeds.with_sheet(path.parents[2]))


def _model(path: Path) -> None:
    """The digest is set right, as otherwise nothing else of a damaged model would be looked at."""
    folder = path.parent
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        about["sha256"] = _digest((folder / WEIGHTS).read_bytes(), about)
        (folder / ABOUT).write_text(json.dumps(about))
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    MultimodalAutoencoder.from_pretrained(folder)


def _made_model(folder: Path, damaged: str) -> Path:
    settings = ModelSettings.make(tr=1.5, features=4, bottleneck=4, rank=2)
    torch.manual_seed(0)
    MultimodalAutoencoder(settings, {"text": Modality("vector", (3,))}, {"01": 4}).save(folder)
    return folder / damaged


def _made_codec(folder: Path, damaged: str) -> Path:
    config = EncodecConfig(
        num_filters=2, hidden_size=4, codebook_size=4, codebook_dim=4, num_lstm_layers=1, target_bandwidths=[1.5]
    )
    torch.manual_seed(0)
    export_model(build_model(config), folder)
    return folder / damaged


def _codec(path: Path) -> None:
    read_codec(*find_codec(str(path.parent)), str(path.parent))


def _made_fit(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    return EncodingModel((1.0, 10.0), KFold(2)).fit(x, y).save(folder / "fit.safetensors")


def _state(path: Path) -> None:
    load_state(path.parent)


def _made_state(folder: Path) -> Path:
    from giblet.training.checkpoint import FORMAT

    (folder / "step-3.safetensors").write_bytes(b"")
    state = {
        "format": FORMAT,
        "step": 3,
        "sha256": sha256_of(folder / "step-3.safetensors"),
        "tensors": "step-3.safetensors",
        "settings": {},
    }
    (folder / "last.json").write_text(json.dumps(state))
    return folder / "last.json"


def _labels(path: Path) -> None:
    Atlas.read(path)


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("wav", lambda folder: seeds.sounds(folder, "wav", "pcm_s16le"), _sound),
        Format("flac", lambda folder: seeds.sounds(folder, "flac", "flac"), _sound),
        Format("ogg", lambda folder: seeds.sounds(folder, "ogg", "libopus"), _sound),
        Format("mp4", lambda folder: seeds.film(folder, "mp4", "aac", "mpeg4"), _film),
        Format("mkv", lambda folder: seeds.film(folder, "mkv", "libopus", "libx264"), _film),
        Format("NIfTI", seeds.nifti, _masked),
        Format("NIfTI, gzipped", seeds.nifti_gz, _masked),
        Format("CIFTI", seeds.cifti, _scan),
        Format("CIFTI labels", seeds.cifti_labels, _labels),
        Format("GIFTI", seeds.gifti, _scan, text=True),
        Format("netCDF, codes", seeds.features, _features, share=0.3),
        Format("netCDF, words", seeds.means, _features, share=0.5),
        Format("TSV of words", seeds.words_tsv, _words, text=True),
        Format("TSV of regions", seeds.regions_tsv, _scan, text=True),
        Format("TSV, gzipped", seeds.regions_gz, _scan),
        Format("XLSX", seeds.workbook, _words),
        Format("XLSX, its cells", seeds.sheet, _cells, text=True),
        Format("SRT", seeds.srt, _words, text=True),
        Format("VTT", seeds.vtt, _words, text=True),
        Format("TextGrid", seeds.textgrid, _words, text=True),
        Format("JSON of an aligner", seeds.aligned, _words, text=True),
        Format("JSON beside a scan", seeds.sidecar, lambda path: _scan(path.with_suffix(".tsv")), text=True),
        Format("JSON of a model", lambda folder: _made_model(folder, ABOUT), _model, text=True),
        Format("JSON of a codec", lambda folder: _made_codec(folder, "config.json"), _codec, text=True),
        Format("JSON of a training", _made_state, _state, text=True),
        Format("safetensors of a model", lambda folder: _made_model(folder, WEIGHTS), _model),
        Format("safetensors of a codec", lambda folder: _made_codec(folder, "model.safetensors"), _codec),
        Format("safetensors of a fit", _made_fit, EncodingModel.load),
        Format("YAML of train", seeds.training, TrainSettings.from_yaml, text=True),
        Format("YAML of encode", seeds.encoding, EncodeSettings.from_yaml, text=True),
        Format("NPY", seeds.array, read_array),
        Format("MAT", seeds.matlab, lambda path: read_responses(path, list("abcdefgh"), variable="R")),
    )
}
