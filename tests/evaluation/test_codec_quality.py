"""What a codec keeps of sound, against the packages' own scores, known answers, and mel spectrograms."""

import importlib.util
import json
from fnmatch import fnmatch
from functools import cache
from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy
import soundfile

from giblet.codec import load_codec
from giblet.codec.training.settings import CodecTrainingSettings
from giblet.data.audio import AudioProcessor
from giblet.errors import InputError
from giblet.evaluation import sound_scores
from giblet.evaluation.codec_quality import (
    MEL_FULL,
    MEL_MEAN,
    Clip,
    CodecQuality,
    mels_of_as_many_numbers,
    score_codec,
)  # fmt: skip
from giblet.evaluation.mel_baseline import MelBaseline
from giblet.evaluation.sound_scores import score
from giblet.pipeline.codec import evaluate_codec as run
from tests.sounds import at_24k

ROOT = Path(__file__).parents[2]
SPEECH = ROOT.parent / "shared" / "audio" / "librispeech"
CONFIG = ROOT / "configs" / "codec" / "5-final-balance.yaml"
TR = 1.5

MEL_FINE_TIME, MEL_FINE_PITCH = mels_of_as_many_numbers(896)
HAS_PESQ = importlib.util.find_spec("pesq") is not None
needs_stoi = pytest.mark.skipif(
    importlib.util.find_spec("pystoi") is None, reason="pystoi is not installed: giblet[quality]"
)


def needs_pesq(test):
    """Skipped where pesq is not installed; `make test-slow` installs it and runs what is marked so."""
    return pytest.mark.pesq(pytest.mark.skipif(not HAS_PESQ, reason="pesq is not installed: giblet[quality]")(test))


class Perfect:
    """A codec that gives back what it was given, and whose codes go round the first entries of its books."""

    name, fingerprint = "perfect", "0" * 64
    sample_rate, hop_length, frame_rate = 24_000, 320, 75.0
    n_codebooks, codebook_size, bandwidth = 2, 1024, 1.5

    def encode(self, waveform):
        self.given = waveform
        frames = np.arange(-(-len(waveform) // 320))
        return np.stack([frames % 4, frames * 0]).astype(np.int32)

    def decode(self, codes):
        return np.pad(self.given, (0, codes.shape[1] * 320 - len(self.given)))


@pytest.fixture(scope="module")
def noisy(speech) -> tuple[np.ndarray, np.ndarray]:
    """4 s of speech, and the same in noise, at 16 kHz so that nothing is resampled."""
    clean = librosa.resample(speech[: 4 * 24_000], orig_sr=24_000, target_sr=16_000).astype(np.float32)
    return clean, clean + 0.02 * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)


@needs_pesq
@needs_stoi
def test_scores_are_those_of_the_packages(noisy):
    from pesq import pesq
    from pystoi import stoi

    found = score(*noisy, 16_000)
    assert found["pesq"] == pytest.approx(pesq(16_000, *noisy, "wb"), abs=1e-6)
    assert found["stoi"] == pytest.approx(stoi(*noisy, 16_000), abs=1e-6)
    assert 1.0 < found["pesq"] < 3.0 and 0.5 < found["stoi"] < 0.99  # and not the ends of their scales
    swapped = score(*noisy[::-1], 16_000)
    assert swapped["pesq"] != pytest.approx(found["pesq"], abs=1e-3)


@needs_pesq
@needs_stoi
def test_a_codec_that_returns_its_input_is_perfect(speech):
    clips = [Clip("a", speech[: 24_000 * 3 + 7]), Clip("b", speech[24_000 * 20 : 24_000 * 23])]
    quality = score_codec([Perfect()], clips, baselines=())
    (row,) = quality.rows
    assert row.mean("pesq") == pytest.approx(4.64, abs=0.01)
    assert row.mean("stoi") == pytest.approx(1, abs=1e-6)
    assert (row.mean("si_sdr"), row.mean("level"), row.mean("mel")) == (np.inf, 0, 0)
    assert row.perplexity == pytest.approx([4, 1], rel=1e-3)
    assert (quality.frames, quality.notes) == (226 + 225, [])
    text = json.dumps(quality.as_dict(), allow_nan=False)
    assert json.loads(text)["rows"][0]["si_sdr"] == {"mean": "inf", "median": "inf", "n": 2}


def test_silence_for_speech_is_the_worst_answer_and_never_nan(speech):
    clip = speech[: 24_000 * 2]
    found = score(clip, np.zeros_like(clip), 24_000)
    assert found["si_sdr"] == -np.inf
    assert found["pesq"] is None
    assert found["mel"] > 0.5
    assert not any(np.isnan(value) for value in found.values() if value is not None)


def test_a_score_without_its_package_is_named_with_the_remedy(speech, monkeypatch):
    monkeypatch.setattr(sound_scores, "missing", lambda: ["pesq", "stoi"])
    quality = score_codec([Perfect()], [Clip("a", speech[:48_000])], baselines=())
    assert quality.rows[0].mean("pesq") is None and quality.rows[0].n("stoi") == 0
    assert [note.split()[0] for note in quality.notes] == ["PESQ-wb", "STOI"]
    assert all("pip install 'giblet[quality]'" in note for note in quality.notes)


@needs_stoi
def test_clips_on_which_a_score_is_not_defined_are_counted_and_named(speech):
    click = np.zeros(24_000, np.float32)
    click[:1200] = 0.5  # 50 ms of sound, of which STOI finds no 30 frames
    quality = score_codec([Perfect()], [Clip("a", speech[:48_000]), Clip("click", click)], baselines=())
    assert quality.rows[0].per_clip["click"]["stoi"] is None
    assert (quality.rows[0].n("stoi"), quality.rows[0].n("si_sdr")) == (1, 2)
    assert quality.rows[0].mean("stoi") == quality.rows[0].per_clip["a"]["stoi"]
    assert any(note.startswith("STOI") and "codes, 1.5 kbps (1 of 2)" in note for note in quality.notes)


def test_numbers_and_bits_are_those_of_the_feature_files(speech):
    codecs = [load_codec("bundled", bandwidth=kbps, device="cpu") for kbps in (1.5, 6)]
    quality = score_codec(codecs, [Clip("a", speech[:24_000])], tr=TR)
    found = {row.label: (row.numbers_per_tr, row.bits_per_second) for row in quality.rows}
    assert found["codes, 1.5 kbps"] == (224, 1500)
    assert found["codes, 6 kbps"] == (896, 6000)
    assert found[MEL_MEAN.label] == (2048, pytest.approx(2048 * 32 / 1.5))
    assert found[MEL_FINE_TIME.label] == found[MEL_FINE_PITCH.label] == (896, pytest.approx(896 * 32 / 1.5))
    assert found[MEL_FULL.label] == (133_120, pytest.approx(2048 * 32 * 22_050 / 512))


@pytest.mark.parametrize(("tr", "kbps", "numbers"), [(2.0, 6, 1200), (0.72, 6, 432), (1.5, 3, 448)])
def test_mels_beside_codes_keep_as_many_numbers_at_any_tr_and_bandwidth(speech, tr, kbps, numbers):
    codec = load_codec("bundled", bandwidth=kbps, device="cpu")
    quality = score_codec([codec], [Clip("a", speech[:24_000])], tr=tr)
    assert quality.rows[0].numbers_per_tr == numbers
    for row in quality.rows[2:4]:
        assert numbers <= row.numbers_per_tr < numbers + 32, row.label


def test_the_mean_of_each_tr_is_what_the_legacy_mode_extracts(speech, tmp_path):
    sound = librosa.resample(speech[: 24_000 * 6], orig_sr=24_000, target_sr=22_050).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 22_050, subtype="FLOAT")
    legacy, _ = AudioProcessor(use_encodec=False, tr=TR, mel_average=True).audio_to_features(tmp_path / "a.wav")
    kept = MEL_MEAN.keep(sound, TR)
    np.testing.assert_allclose(kept[:, : len(legacy)], legacy.T[:, : kept.shape[1]], rtol=1e-3, atol=1e-7)


def test_stretches_are_means_of_librosas_frames(speech):
    sound = librosa.resample(speech[: 24_000 * 3], orig_sr=24_000, target_sr=22_050).astype(np.float32)
    mel = librosa.feature.melspectrogram(
        y=sound, sr=22_050, n_fft=512, hop_length=128, n_mels=16, pad_mode="constant"
    )  # fmt: skip
    kept = MEL_FINE_TIME.keep(sound, TR)
    assert kept.shape in {(16, 112), (16, 113)}  # two TRs; the frame centred on the end may open a stretch of its own
    edges = [int(k * 1.5 / 56 * 22_050 / 128 + 0.5) for k in range(113)]
    for k in (0, 1, 55, 56, 111):
        np.testing.assert_allclose(kept[:, k], mel[:, edges[k] : edges[k + 1]].mean(axis=1), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("baseline", [MEL_FINE_TIME, MEL_FINE_PITCH], ids=lambda one: one.label)
def test_a_click_is_kept_in_its_own_stretch_however_late(baseline):
    sound = np.zeros(22_050 * 900, np.float32)
    at = 888.88
    sound[round(at * 22_050)] = 1
    loudness = baseline.keep(sound, TR).sum(axis=0)
    # in its own stretch, and, as windows are as long as a stretch, partly in the next ones
    centre = (np.arange(len(loudness)) + 0.5) @ loudness / loudness.sum()
    assert centre * TR / baseline.frames_per_tr == pytest.approx(at, abs=TR / baseline.frames_per_tr)
    assert np.count_nonzero(loudness) <= 3


@pytest.mark.parametrize("baseline", [MEL_FINE_TIME, MEL_FINE_PITCH, MEL_FULL], ids=lambda one: one.label)
def test_a_click_comes_back_where_it_was(baseline):
    sound = np.zeros(24_000 * 3, np.float32)
    sound[round(2.37 * 24_000) :][:240] = 0.5
    back = baseline.round_trip(sound, 24_000, TR)
    assert len(back) == len(sound)
    power = back.astype(np.float64) ** 2
    assert np.arange(len(back)) @ power / power.sum() / 24_000 == pytest.approx(2.375, abs=0.03)


def test_a_steady_sound_survives_any_averaging():
    tone = np.sin(2 * np.pi * 440 * np.arange(24_000 * 2) / 24_000).astype(np.float32) / 2
    for baseline in (MEL_MEAN, MEL_FINE_TIME, MEL_FINE_PITCH, MEL_FULL):
        back = baseline.round_trip(tone, 24_000, TR)[6_000:-6_000]
        spectrum = np.abs(np.fft.rfft(back * np.hanning(len(back))))
        found = np.argmax(spectrum) * 24_000 / len(back)
        # as far as the bands can tell: a sixteenth of the mel scale is 220 Hz wide here
        assert found == pytest.approx(440, abs={16: 150, 32: 100}.get(baseline.bands, 10))
        assert np.sqrt(np.mean(back**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.3)


def test_a_sound_of_one_stretch_can_be_restored(speech):
    assert MelBaseline("", 16, 1, 512, 128).round_trip(speech[:12_000], 24_000, TR).shape == (12_000,)


def test_two_clips_of_one_name_are_refused(speech):
    with pytest.raises(InputError, match="two clips are called a"):
        score_codec([Perfect()], [Clip("a", speech[:24_000])] * 2, baselines=())


@pytest.mark.parametrize(("codecs", "message"), [([], "no codec"), ([Perfect()], "no sound")])
def test_nothing_to_score_is_an_error(codecs, message):
    with pytest.raises(InputError, match=message):
        score_codec(codecs, [])


@cache
def held_out() -> tuple[Path, ...]:
    """One file of each speaker that the bundled codec was not trained on."""
    if not SPEECH.is_dir():
        pytest.skip("the LibriSpeech clips that the bundled codec was trained beside are not here (../shared/audio)")
    patterns = CodecTrainingSettings.from_yaml(CONFIG).held_out
    found = tuple(p for p in sorted(SPEECH.glob("*.flac")) if any(fnmatch(p.name, pattern) for pattern in patterns))
    assert len(found) == 26
    return found


def unheard() -> list[Clip]:
    """3 s of each of the four readers in samples/speech.flac, all of whom the codec's training held out."""
    sound = at_24k("speech.flac")
    joined = np.cumsum([0, 225_360, 244_720, 248_240]) * 24_000 // 16_000
    return [Clip(str(n), sound[start + 48_000 : start + 120_000]) for n, start in enumerate(joined)]


def check_comparison(quality: CodecQuality) -> None:
    """Codes against the mean of each TR, mels of as many numbers, and the full mel; bandwidths against each other.

    PESQ by medians: of a hum without words, as the mean of each TR is, it says 3.3 where the median is 1.1.
    """
    six = quality.row("codes, 6 kbps")
    for other in (MEL_MEAN, MEL_FINE_TIME, MEL_FINE_PITCH, MEL_FULL):
        assert six.mean("si_sdr") > quality.row(other.label).mean("si_sdr") + 15, other.label
    for other in (MEL_MEAN, MEL_FINE_TIME, MEL_FINE_PITCH) if HAS_PESQ else ():
        assert six.median("pesq") > quality.row(other.label).median("pesq") + 0.1, other.label
    assert six.mean("stoi") > quality.row(MEL_MEAN.label).mean("stoi") + 0.3
    for other in (MEL_FINE_TIME, MEL_FINE_PITCH):
        assert six.mean("stoi") > quality.row(other.label).mean("stoi") + 0.03, other.label
    codes = [quality.row(f"codes, {kbps} kbps") for kbps in ("1.5", "3", "6")]
    for less, more in pairwise(codes):
        for name in ("pesq", "stoi", "si_sdr") if HAS_PESQ else ("stoi", "si_sdr"):
            assert more.mean(name) >= less.mean(name), (name, more.label)
        assert more.mean("mel") <= less.mean("mel")


@pytest.mark.pesq
@needs_stoi
def test_quality_comparison():
    codecs = [load_codec("bundled", bandwidth=kbps, device="cpu") for kbps in (1.5, 3, 6)]
    check_comparison(score_codec(codecs, unheard()))


@pytest.fixture(scope="module")
def all_held_out(tmp_path_factory) -> CodecQuality:
    """The bundled codec on the first 4 s of each of 26 speakers."""
    return run(held_out(), "bundled", tmp_path_factory.mktemp("quality"), seconds=4.0, players=0, device="cpu").quality


@pytest.mark.slow
@needs_pesq
@needs_stoi
def test_quality_comparison_on_every_held_out_speaker(all_held_out):
    assert all_held_out.n_clips == 26
    check_comparison(all_held_out)
    for other in (MEL_MEAN, MEL_FINE_TIME, MEL_FINE_PITCH):  # and by means, where one clip in 26 decides nothing
        assert all_held_out.row("codes, 6 kbps").mean("pesq") > all_held_out.row(other.label).mean("pesq") + 0.1


@pytest.mark.slow
@needs_pesq
@needs_stoi
@pytest.mark.parametrize("name", ["stoi", "pesq", "si_sdr"])
@pytest.mark.parametrize("other", [MEL_MEAN, MEL_FINE_TIME, MEL_FINE_PITCH], ids=["mean", "16 bands", "32 bands"])
def test_codes_clearly_beat_mels_of_as_many_numbers_speaker_by_speaker(all_held_out, other, name):
    """The 99 % interval of the median difference lies above 0: medians, as PESQ now and then praises a hum."""
    six, mel = all_held_out.row("codes, 6 kbps"), all_held_out.row(other.label)
    better = [six.per_clip[clip][name] - mel.per_clip[clip][name] for clip in six.per_clip]
    found = scipy.stats.bootstrap((better,), np.median, confidence_level=0.99, rng=np.random.default_rng(0))
    assert found.confidence_interval.low > 0


@pytest.mark.slow
@needs_pesq
@needs_stoi
@pytest.mark.parametrize(("name", "floor"), [("stoi", 0.80), ("pesq", 1.5), ("si_sdr", 3.0)])
def test_unseen_speech_at_6_kbps_is_above_the_floor(all_held_out, name, floor):
    assert all_held_out.row("codes, 6 kbps").mean(name) >= floor


@pytest.mark.slow
def test_all_codebooks_are_alive_on_unseen_speech(all_held_out):
    books = all_held_out.row("codes, 6 kbps").perplexity
    assert len(books) == 8
    assert min(books) >= 300
