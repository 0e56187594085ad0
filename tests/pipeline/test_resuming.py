"""An extraction that was stopped goes on where it was, and the file is that of one that was not stopped, bit by bit."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import giblet as gb
from giblet.data import motion, parts, speech
from giblet.data.clips import ClipProcessor
from giblet.data.embeddings import ImageModel
from giblet.data.gabors import GaborPyramid
from giblet.data.language import LanguageProcessor
from giblet.data.language_models import LanguageModel
from giblet.data.motion import MotionProcessor
from giblet.data.parts import Parts
from giblet.data.processor import Resumable
from giblet.data.speech import SpeechProcessor
from giblet.data.speech_models import SpeechModel
from giblet.data.video import VideoProcessor
from giblet.data.video_models import VideoModel
from giblet.errors import InputError
from giblet.files import claimed
from giblet.pipeline.features import processor_types
from tests.data.test_causality import STIMULI
from tests.data.test_clips import saved as video_folder
from tests.language_folders import saved as language_folder
from tests.speech_folders import speech_folder


@dataclass(frozen=True)
class Row:
    """An extractor that can be stopped."""

    kind: type
    stimulus: str
    make: Callable[[Path], Any]
    """The extractor, of a folder for models."""
    slow: tuple[type, str]
    """The call that takes long, and is not made again."""


def images(folder: Path) -> VideoProcessor:
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    transformers.ViTModel(config).save_pretrained(folder / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "vit")
    return VideoProcessor(tr=2.0, size=(18, 32), model=str(folder / "vit"), device="cpu")


def filters(folder: Path) -> MotionProcessor:
    pytest.importorskip("moten", reason="pymoten is not installed: pip install 'giblet[motion]'")
    return MotionProcessor(tr=0.5, size=(12, 16), spatial_frequencies=(0, 2), temporal_frequencies=(2, 4))


ROWS = {
    "speech": Row(
        SpeechProcessor,
        "sound",
        lambda folder: SpeechProcessor(
            str(speech_folder(folder / "speech", "wav2vec2-group")), tr=1.0, context=2.0, layers=(0, 3), device="cpu"
        ),
        (SpeechModel, "states"),
    ),
    "language": Row(
        LanguageProcessor,
        "words",
        lambda folder: LanguageProcessor(
            model=str(language_folder(folder / "gpt2", "gpt2")), tr=2.0, context=6, statistics=(), device="cpu"
        ),
        (LanguageModel, "_read"),
    ),
    "motion": Row(MotionProcessor, "picture", filters, (GaborPyramid, "_energy")),
    "picture": Row(VideoProcessor, "picture", images, (ImageModel, "embed")),
    "clips": Row(
        ClipProcessor,
        "picture",
        lambda folder: ClipProcessor(
            tr=1.5, model=str(video_folder(folder / "videomae", "videomae")), seconds=2.0, device="cpu"
        ),
        (VideoModel, "embed"),
    ),
}


class Counted:
    """A method that counts its calls, and stops the process at one of them as Ctrl-C does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.n, self.stop_at = 0, 0
        whole = getattr(owner, name)

        def method(one: Any, *args: Any, **options: Any) -> Any:
            self.n += 1
            if self.n == self.stop_at:
                raise KeyboardInterrupt
            return whole(one, *args, **options)

        monkeypatch.setattr(owner, name, method)


def test_every_extractor_that_can_be_stopped_has_a_row():
    assert {row.kind for row in ROWS.values()} == {
        kind for kind in processor_types() if getattr(kind, "resumable", False)
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_stopped_extraction_goes_on_and_gives_the_bytes_of_a_whole_one(name, tmp_path, monkeypatch):
    row = ROWS[name]
    monkeypatch.setattr(parts, "EVERY", 0.0)
    monkeypatch.setattr(speech, "BATCH", 2)
    monkeypatch.setattr(motion, "KEPT_EVERY", 1)
    monkeypatch.setattr("giblet.data.language_models.BATCH_TOKENS", 64)
    source = STIMULI[row.stimulus](tmp_path, 24_000, 6.0)[0]
    processor = row.make(tmp_path)
    assert isinstance(processor, Resumable) and type(processor) is row.kind
    counted = Counted(monkeypatch, *row.slow)
    whole = gb.extract(source, processor.settings, tmp_path / "whole", processor=processor)
    n_whole, counted.n, counted.stop_at = counted.n, 0, 4
    assert n_whole >= 5
    with pytest.raises(KeyboardInterrupt):
        gb.extract(source, processor.settings, tmp_path / "stopped", processor=processor)
    (folder,) = (tmp_path / "stopped").iterdir()
    assert folder.name == f".{whole.path.stem}.parts" and len(list(folder.iterdir())) >= 3
    counted.n, counted.stop_at = 0, 0
    done = gb.extract(source, processor.settings, tmp_path / "stopped", processor=processor)
    assert counted.n == n_whole - 3
    assert done.path.read_bytes() == whole.path.read_bytes()
    assert sorted(path.name for path in done.path.parent.iterdir()) == sorted(
        path.name for path in whole.path.parent.iterdir()
    )


def test_parts_of_other_settings_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "EVERY", 0.0)
    source = STIMULI["sound"](tmp_path, 24_000, 6.0)[0]
    one = ROWS["speech"].make(tmp_path)
    other = SpeechProcessor(one.model, tr=1.0, context=1.0, layers=(0, 3), device="cpu")
    counted = Counted(monkeypatch, *ROWS["speech"].slow)
    counted.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        gb.extract(source, one.settings, tmp_path / "out", processor=one)
    counted.n, counted.stop_at = 0, 0
    found = gb.extract(source, other.settings, tmp_path / "out", processor=other)
    expected = gb.extract(source, other.settings, tmp_path / "anew", processor=other)
    assert found.path.read_bytes() == expected.path.read_bytes()


def test_work_that_takes_little_time_is_not_kept(tmp_path, monkeypatch):
    source = STIMULI["sound"](tmp_path, 24_000, 6.0)[0]
    processor = ROWS["speech"].make(tmp_path)
    counted = Counted(monkeypatch, *ROWS["speech"].slow)
    counted.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        gb.extract(source, processor.settings, tmp_path / "out", processor=processor)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def stopped(path: Path, n: int, key: str = "a") -> None:
    with pytest.raises(KeyboardInterrupt), Parts(path, {"of": key}) as kept:
        for k in range(n):
            kept.take(lambda k=k: {"x": np.arange(k, dtype=np.float32), "y": np.array(k > 1)})
        raise KeyboardInterrupt


def test_what_was_kept_comes_back_in_its_order_with_its_types(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "EVERY", 0.0)
    stopped(tmp_path / "a.nc", 12)
    with Parts(tmp_path / "a.nc", {"of": "a"}) as again:
        found = list(again.kept())
        assert [one["x"].tolist() for one in found] == [list(range(k)) for k in range(12)]
        assert all(one["x"].dtype == np.float32 and one["y"].dtype == bool for one in found)
        assert again.take(lambda: {"x": np.array(7)})["x"] == 7
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_ends_what_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "EVERY", 0.0)
    stopped(tmp_path / "a.nc", 5)
    third = sorted((tmp_path / ".a.parts").glob("*.npz"))[2]
    os.truncate(third, third.stat().st_size // 2)
    with Parts(tmp_path / "a.nc", {"of": "a"}) as again:
        assert [len(one["x"]) for one in again.kept()] == [0, 1]
        assert len(list((tmp_path / ".a.parts").glob("*.npz"))) == 2


def test_two_processes_do_not_make_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "EVERY", 0.0)
    with (
        claimed(tmp_path / ".a.parts"),
        pytest.raises(InputError, match="another process is at work"),
        Parts(tmp_path / "a.nc", {"of": "a"}),
    ):
        pass
