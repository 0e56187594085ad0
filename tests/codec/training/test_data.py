"""What is trained on: balanced crops that follow from seed and step, and never what is held out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from giblet.codec.training.data import CropSampler, balance, find_audio
from giblet.errors import InputError
from giblet.sound_metrics import si_sdr
from tests.codec.training.runs import RATE, speech_like, write_audio


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    return write_audio(tmp_path_factory.mktemp("audio"))


def test_batches_depend_on_seed_and_step_alone(audio):
    clips, _ = find_audio(audio, [])
    cached = CropSampler(clips, RATE, 4800, seed=3)
    assert np.array_equal(cached.batch(5, 4), CropSampler(clips, RATE, 4800, seed=3).batch(5, 4))
    assert not np.array_equal(cached.batch(5, 4), cached.batch(6, 4))
    peaks = np.abs(cached.batch(0, 64)).max((1, 2))
    assert peaks.min() > 0.05 and peaks.max() <= 1 and peaks.std() > 0.1


def test_gains_lie_in_the_range_asked_for_and_change_nothing_else(audio):
    clips, _ = find_audio(audio, [])
    for as_recorded in (0.0, 1.0):
        by_default, asked = (
            CropSampler(clips, RATE, 4800, seed=3, as_recorded=as_recorded, gain_range_db=gains).batch(0, 64)[:, 0]
            for gains in (None, (-30.0, 2.0))
        )
        again = CropSampler(clips, RATE, 4800, seed=3, as_recorded=as_recorded, gain_range_db=(0.0, 0.0)).batch(0, 64)
        gains = 20 * np.log10(np.abs(asked).max(1) / np.abs(again[:, 0]).max(1))
        assert gains.min() >= -30.001 and gains.max() <= 2.001
        assert gains.min() < -25 and gains.max() > -3
        for one, other in zip(asked, by_default, strict=True):
            assert np.corrcoef(one, other)[0, 1] > 0.9999


def test_sound_past_the_cache_is_read_from_disk(audio):
    clips, _ = find_audio(audio, ["1-*.flac"])  # the rest needs no resampling, whose edges would differ
    cached, streamed = CropSampler(clips, RATE, 4800), CropSampler(clips, RATE, 4800, cache_mb=0)
    assert not streamed._cache
    for ours, theirs in zip(streamed.batch(0, 8), cached.batch(0, 8), strict=True):
        assert (
            np.abs(ours - theirs).max() < 1e-3
            or si_sdr(theirs[0], np.roll(ours[0], 1)) > 30
            or si_sdr(theirs[0], np.roll(ours[0], -1)) > 30
        )


def test_held_out_files_are_never_among_those_trained_on(audio):
    training, kept = find_audio(audio, ["3-*.flac", "song.wav"])
    assert [c.path.name for c in kept] == ["song.wav", "3-a.flac"]
    assert [(c.path.name, c.dataset) for c in training] == [("1-a.flac", "reading"), ("2-a.flac", "reading")]


def test_a_pattern_that_matches_nothing_is_an_error(audio):
    with pytest.raises(InputError, match=r"4-\*"):
        find_audio(audio, ["4-*.flac"])
    with pytest.raises(InputError, match="nothing to train on"):
        find_audio(audio, ["*"])
    with pytest.raises(InputError, match="no folder"):
        find_audio(audio / "absent", [])


def test_no_data_set_takes_more_than_its_cap():
    shares = balance({"one speaker": 900, "a": 60, "b": 40}, 1 / 3, {})
    assert shares == pytest.approx({"one speaker": 1 / 3, "a": 1 / 3, "b": 1 / 3})
    assert balance({"big": 500, "a": 300, "b": 200}, 0.4, {}) == pytest.approx({"big": 0.4, "a": 0.36, "b": 0.24})
    assert balance({"a": 100, "b": 100}, 1, {"a": 3}) == pytest.approx({"a": 0.75, "b": 0.25})
    with pytest.raises(InputError, match="typo"):
        balance({"a": 1}, 1, {"typo": 2})
    # what is not wanted neither counts nor crashes
    assert balance({"a": 100, "b": 100, "c": 50}, 1 / 3, {"c": 0}) == pytest.approx({"a": 0.5, "b": 0.5})
    assert balance({"a": 100, "empty": 0}, 1 / 3, {}) == {"a": 1}
    with pytest.raises(InputError, match="leave nothing"):
        balance({"a": 1}, 1, {"a": 0})


def test_a_data_set_of_weight_zero_is_never_drawn_from(audio):
    clips, _ = find_audio(audio, ["3-*.flac"])
    sampler = CropSampler(clips, RATE, 4800, weights={"music": 0})
    assert sampler.shares == {"reading": 1}
    assert {path.name for path in sampler._cache} == {"1-a.flac", "2-a.flac"}
    assert sampler.batch(0, 4).any(axis=(1, 2)).all()


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_a_file_that_cannot_be_trained_on_is_named_in_one_line(tmp_path, cache_mb):
    def sampled():
        clips, _ = find_audio(tmp_path, [])
        CropSampler(clips, RATE, 4800, cache_mb=cache_mb).batch(0, 4)

    sound = speech_like(1, 0)
    sf.write(tmp_path / "good.wav", sound, RATE)
    sampled()
    (tmp_path / "bad.flac").write_bytes(b"not sound")
    with pytest.raises(InputError, match=r"bad\.flac cannot be read as sound"):
        sampled()
    (tmp_path / "bad.flac").unlink()
    for name in ("bad.wav", "good.wav"):
        sf.write(tmp_path / name, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=r"(bad|good)\.wav holds samples that are not finite"):
        sampled()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("name,seconds\na.wav,3\n", "needs the columns file, dataset and seconds"),
        ("file,dataset,seconds\na.wav,x,long\n", "needs the columns file, dataset and seconds"),
        ("file,dataset,seconds\na.wav,x,nan\n", "gives a.wav nan seconds"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_one_line(tmp_path, manifest, message):
    sf.write(tmp_path / "a.wav", speech_like(1, 0), RATE)
    (tmp_path / "manifest.csv").write_text(manifest)
    with pytest.raises(InputError, match=message) as caught:
        find_audio(tmp_path, [])
    assert "\n" not in str(caught.value)


def test_files_that_training_cannot_read_are_left_out_with_a_warning(audio, tmp_path, caplog):
    shutil.copytree(audio, tmp_path / "audio")
    (tmp_path / "audio" / "music" / "other.mp3").write_bytes(b"")
    training, _ = find_audio(tmp_path / "audio", [])
    assert {clip.path.suffix for clip in training} == {".flac", ".wav"}
    assert ".mp3 files are left out, convert them to .flac" in caplog.text
