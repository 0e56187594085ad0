"""Causality of all extractors: what changes after a moment changes nothing in the TRs that end before it.

A row of ``EXTRACTORS`` for each: how it is made, and which kind of stimulus it reads. Those that depend on what comes
after a TR must say so (``looks_ahead``), must be refused with ``causal=True``, and must be seen to depend on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import xarray as xr

from giblet.data.acoustics import CAUSAL_KINDS, AcousticsProcessor
from giblet.data.audio import AudioProcessor
from giblet.data.clips import ClipProcessor
from giblet.data.cuts import CutProcessor
from giblet.data.language import LanguageProcessor
from giblet.data.motion import MotionProcessor
from giblet.data.processor import Processor
from giblet.data.speech import SpeechProcessor
from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from giblet.pipeline import features
from tests.data.test_clips import saved as video_folder
from tests.data.video_films import steady, write_picture
from tests.language_folders import saved
from tests.speech_folders import FAMILIES, speech_folder

TR, SECONDS = 2.0, 12.0
CHANGE = 6.0
"""Second from which on the stimulus is another one."""
RATES = (24_000, 48_000)
"""Of sounds: as the extractors read it, and one that they resample."""


PICTURE_RATE = 25
"""Frames per second."""


@dataclass(frozen=True)
class Row:
    """An extractor that is tested."""

    name: str
    stimulus: str
    """``"sound"``, ``"picture"`` or ``"words"``."""
    kind: type
    """The extractor's class."""
    make: Callable[[Path], Processor]
    """Of a folder for models."""
    causal: bool = True
    margin: float = 0.0
    """Seconds from the end of a TR up to which it may look ahead, as its frames do not end with the TR."""


def speech(family: str) -> Callable[[Path], Processor]:
    return lambda folder: SpeechProcessor(
        str(speech_folder(folder / family, family)), tr=TR, context=3.0, layers=(0, 1, 3), device="cpu"
    )


def motion(causal: bool) -> Callable[[Path], Processor]:
    def make(folder: Path) -> Processor:
        pytest.importorskip("moten", reason="pymoten is not installed: pip install 'giblet[motion]'")
        frequencies: dict[str, Any] = {"spatial_frequencies": (0, 2), "temporal_frequencies": (2, 4)}
        return MotionProcessor(tr=TR, size=(12, 16), causal=causal, **frequencies)

    return make


def cuts(folder: Path) -> Processor:
    pytest.importorskip("scenedetect", reason="scenedetect is not installed: pip install 'giblet[cuts]'")
    return CutProcessor(tr=TR)


def clips(causal: bool) -> Callable[[Path], Processor]:
    def make(folder: Path) -> Processor:
        model = str(video_folder(folder / "videomae", "videomae"))
        return ClipProcessor(tr=TR, model=model, causal=causal, seconds=3.0, device="cpu")

    return make


def language(**options: Any) -> Callable[[Path], Processor]:
    return lambda folder: LanguageProcessor(
        model=str(saved(folder / "gpt2", "gpt2")), tr=TR, statistics=(), device="cpu", **options
    )


EXTRACTORS = (
    # A TR at 75 frames/s ends up to half a frame late.
    Row("codes", "sound", AudioProcessor, lambda folder: AudioProcessor(tr=TR, device="cpu"), margin=1 / 150),
    Row(
        "mel", "sound", AudioProcessor, lambda folder: AudioProcessor(use_encodec=False, n_mels=64, tr=TR), causal=False
    ),
    *(
        Row(kind, "sound", AcousticsProcessor, lambda folder, kind=kind: AcousticsProcessor((kind,), tr=TR))
        for kind in CAUSAL_KINDS
    ),
    Row(
        "pitch",
        "sound",
        AcousticsProcessor,
        lambda folder: AcousticsProcessor(("pitch",), tr=TR, causal=False),
        causal=False,
    ),
    *(Row(f"speech-{family}", "sound", SpeechProcessor, speech(family)) for family in FAMILIES),
    Row("picture", "picture", VideoProcessor, lambda folder: VideoProcessor(tr=TR, size=(18, 32))),
    Row("motion", "picture", MotionProcessor, motion(causal=True)),
    Row("motion-centred", "picture", MotionProcessor, motion(causal=False), causal=False),
    Row("cuts", "picture", CutProcessor, cuts),
    Row("clips", "picture", ClipProcessor, clips(causal=True)),
    Row("clips-centred", "picture", ClipProcessor, clips(causal=False), causal=False),
    Row("words", "words", TextProcessor, lambda folder: TextProcessor(model=None, tr=TR)),
    Row("language", "words", LanguageProcessor, language()),
    Row("language-permuted", "words", LanguageProcessor, language(control="permuted_words"), causal=False),
)


def sounds(folder: Path, rate: int, change: float) -> tuple[Path, Path]:
    """Two sounds that differ from `change` on."""
    time = np.arange(round(SECONDS * rate)) / rate
    rng = np.random.default_rng(0)
    voice = 0.1 * np.sign(np.sin(2 * np.pi * 140 * time)) * (0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * time))
    one = voice + 0.02 * rng.standard_normal(len(time))
    other = np.where(time < change, one, 0.2 * rng.standard_normal(len(time)))
    paths = folder / "one.wav", folder / "other.wav"
    for path, sound in zip(paths, (one, other), strict=True):
        soundfile.write(path, sound.astype(np.float32), rate, subtype="FLOAT")
    return paths


def pictures(folder: Path, rate: int, change: float) -> tuple[Path, Path]:
    """Two films of shots of still noise, which have other lengths after the change.

    They are compressed without loss: otherwise a later picture may change an earlier one.
    """
    n = round(SECONDS * PICTURE_RATE)
    paths = folder / "one.mkv", folder / "other.mkv"
    for seed, path in enumerate(paths):
        rng, later = np.random.default_rng(0), np.random.default_rng(seed)
        images: list[np.ndarray] = []
        for k in range(n):
            before = k < change * PICTURE_RATE
            own, shot = (rng, 30) if before else (later, 30 - 10 * seed)
            if k % shot == 0:
                blocks = own.integers(0, 100 + 155 * (k // shot % 2), (9, 12, 3)).astype(np.uint8)
            images.append(blocks.repeat(4, 0).repeat(4, 1))
        write_picture(
            path, steady(Fraction(PICTURE_RATE), SECONDS), images, time_base=Fraction(1, PICTURE_RATE),
            last=Fraction(1, PICTURE_RATE), size=(36, 48), codec="ffv1",
        )  # fmt: skip
    return paths


def texts(folder: Path, rate: int, change: float) -> tuple[Path, Path]:
    onsets = np.arange(0.2, SECONDS - 0.5, 0.4)
    words = [f"word{index}" for index in range(len(onsets))]
    others = [
        word if onset < change else f"another{index}"
        for index, (word, onset) in enumerate(zip(words, onsets, strict=True))
    ]
    paths = folder / "one.tsv", folder / "other.tsv"
    for path, said in zip(paths, (words, others), strict=True):
        rows = "".join(f"{onset:.1f}\t0.3\t{word}\n" for onset, word in zip(onsets, said, strict=True))
        path.write_text("onset\tduration\ttext\n" + rows)
    return paths


STIMULI = {"sound": sounds, "picture": pictures, "words": texts}


def differences(one: xr.Dataset, other: xr.Dataset) -> np.ndarray:
    """The largest difference of any variable in each TR."""
    found = np.zeros(one.sizes["tr"])
    for name, variable in one.variables.items():
        if variable.dims[:1] == ("tr",) and variable.dtype.kind in "fiub":
            apart = variable.values.astype(np.float64) - other[name].values
            found = np.maximum(found, np.abs(apart).reshape(len(found), -1).max(axis=1))
    return found


@pytest.mark.parametrize("row", EXTRACTORS, ids=lambda row: row.name)
def test_what_comes_after_a_moment_changes_nothing_before_it(row, tmp_path):
    processor = row.make(tmp_path)
    assert type(processor) is row.kind
    assert (processor.looks_ahead == "") == row.causal
    n_before = round(CHANGE / TR)
    for rate in RATES if row.stimulus == "sound" and row.causal else RATES[:1]:
        # The filters that resample sound ring for some milliseconds to both sides.
        ringing = 0.05 if rate != RATES[0] or row.name.startswith("speech") or row.name == "loudness" else 0.0
        one, other = STIMULI[row.stimulus](tmp_path, rate, CHANGE + max(row.margin, ringing) * row.causal)
        found = differences(processor.extract(one, 6), processor.extract(other, 6))
        if row.causal:
            np.testing.assert_array_equal(found[:n_before], 0)
        else:
            assert found[:n_before].max() > 0
        assert (found[n_before:] > 0).any(), "the change is not seen at all"


@pytest.mark.parametrize("row", EXTRACTORS, ids=lambda row: row.name)
def test_what_is_not_causal_refuses_to_be(row, tmp_path, monkeypatch):
    processor = row.make(tmp_path)
    monkeypatch.setattr(type(processor), "from_settings", classmethod(lambda cls, settings: processor))
    settings = processor.settings.model_copy(update={"causal": True})
    if row.causal:
        assert features.processor_for(settings) is processor
    else:
        with pytest.raises(InputError, match=r"can't be causal: .*; allow it with causal=False"):
            features.processor_for(settings)


def test_every_extractor_has_a_row():
    assert {row.kind for row in EXTRACTORS} == set(features.processor_types())
