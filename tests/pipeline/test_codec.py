"""The jobs of ``giblet codec``, called as functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from transformers import EncodecModel

from giblet import pipeline
from giblet.codec import load_codec
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.errors import InputError
from giblet.pipeline.codec import CodecEvaluation, describe_codec, evaluate_codec
from giblet.pipeline.codec_training import step_to_go_on_from, train_codec
from tests.codec.training.runs import tiny, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


def test_a_codec_is_trained_from_a_file_or_from_settings_to_where_the_result_says(audio, tmp_path):
    settings = tiny(audio, tmp_path / "run", steps=4, validation_clips=0)
    assert step_to_go_on_from(settings) is None
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    seen = []
    trained = train_codec(tmp_path / "c.yaml", progress=seen.append)
    assert (trained.codec, trained.output, trained.steps) == (tmp_path / "run" / "final", tmp_path / "run", 4)
    assert [at.step for at in seen] == [1, 2, 3, 4]
    assert step_to_go_on_from(settings) == 4
    assert EncodecModel.from_pretrained(trained.codec).config.hidden_size == 16
    assert train_codec(settings) == trained


def test_an_output_folder_that_cannot_be_written_to_is_refused_before_the_sound_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    settings = CodecTrainingSettings.make(audio=tmp_path / "absent", output=tmp_path / "file" / "run")
    with pytest.raises(InputError, match="cannot write"):
        train_codec(settings)


def test_a_description_says_what_the_loaded_codec_is():
    codec = load_codec("bundled", bandwidth=3.0, device="cpu")
    described = describe_codec("bundled", bandwidth=3.0, device="cpu")
    assert described.codec == "bundled"
    for name in (
        "sample_rate", "frame_rate", "hop_length", "bandwidth", "n_codebooks", "codebook_size", "fingerprint",
        "codes_fingerprint",
    ):  # fmt: skip
        assert getattr(described, name) == getattr(codec, name), name
    assert described.runtime in ("torch", "openvino")


def test_an_evaluation_shows_its_table_and_where_it_is_written(audio, tmp_path):
    evaluation = evaluate_codec(audio / "speech" / "1-a.flac", out_dir=tmp_path, seconds=1.2, players=0, device="cpu")
    assert isinstance(evaluation, CodecEvaluation)
    assert (evaluation.page, evaluation.data) == (tmp_path / "codec_report.html", tmp_path / "codec_report.json")
    assert repr(evaluation) == f"<CodecEvaluation of bundled: 1 clips, 1 s; {tmp_path}/codec_report.html>"
    shown = evaluation._repr_html_()
    assert shown.count("<tr>") == 1 + len(evaluation.quality.rows)
    assert "<td>codes, 6 kbps</td>" in shown


def test_the_old_name_of_the_evaluation_gives_the_new_one():
    with pytest.raises(ImportError, match=r"Evaluated is now called .*CodecEvaluation"):
        from giblet.pipeline.codec import Evaluated  # noqa: F401
    with pytest.raises(ImportError, match=r"Evaluated is now called giblet\.pipeline\.CodecEvaluation"):
        pipeline.Evaluated  # noqa: B018
