"""AudioProcessor: the sound of a film on the clock of a scan, and back, by independent oracles."""

import json
from fractions import Fraction

import librosa
import numpy as np
import pytest
import soundfile
import soxr
import torch
from pystoi import stoi

from giblet.codec import load_codec
from giblet.data.audio import AudioProcessor
from giblet.errors import CodecError, InputError
from giblet.evaluation.reconstruction import si_sdr
from giblet.timing import TRGrid


@pytest.fixture(scope="module")
def speech_file(tmp_path_factory, speech):
    """20.3 s of speech as a 24 kHz WAV: what the codec reads is what stands in the file."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, speech[: int(20.3 * 24_000)], 24_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def audio():
    return AudioProcessor(tr=1.5, device="cpu")


@pytest.fixture(scope="module")
def extracted(audio, speech_file):
    return audio.audio_to_features(speech_file)


def samples_of(path):
    return soundfile.read(path, dtype="float32")[0]


def place_of_click(sound, near, width=0.5):
    """Seconds at which the energy around `near` is greatest."""
    start = max(0, int((near - width) * 24_000))
    window = sound[start : int((near + width) * 24_000)] ** 2
    return (start + np.argmax(np.convolve(window, np.ones(120), "same"))) / 24_000


def test_audio_to_features(audio, speech_file, extracted, bundled_model):
    """Each code is the one that transformers gives for the same samples, at the TR in which it sounds.

    Where two entries are equally near the last bit of a float decides, as in the silence after the end, for which the
    codebook has many; and what follows in the residual. One frame of a thousand may differ otherwise.
    """
    codes, metadata = extracted
    assert codes.shape == (14, 8, 112)  # 20.3 s are 13.53 TRs
    assert codes.dtype == np.int32
    assert codes.min() >= 0
    assert codes.max() <= 1023
    assert len(np.unique(codes)) > 300, "speech uses many codes"
    wave = samples_of(speech_file)
    padded = np.pad(wave, (0, TRGrid(1.5, 14, 75).n_frames * 320 - len(wave)))
    with torch.inference_mode():
        whole = (
            bundled_model.encode(torch.from_numpy(padded)[None, None], None, bandwidth=6.0).audio_codes[0, 0].numpy()
        )
        latents = bundled_model.encoder(torch.from_numpy(padded)[None, None])[0].T.double().numpy()
    books = bundled_model.quantizer.layers
    entries = [layer.codebook.embed.double().numpy() for layer in books]

    def as_near(frame, ours, theirs):
        """Whether two entries are equally near, to what float32 keeps of a distance that is a difference of squares."""
        k = int(np.argmax(ours != theirs))
        target = latents[frame] - sum(entries[i][ours[i]] for i in range(k))
        near, far = (np.sum((target - entries[k][codes[k]]) ** 2) for codes in (ours, theirs))
        return near - far < 4 * np.finfo(np.float32).eps * (target @ target)

    differs = []
    for k in range(14):
        first = int(Fraction(k * 225, 2) + Fraction(1, 2))  # floor(112.5 k + 1/2)
        found = np.concatenate([codes[k], metadata["spill"][k]], axis=1)[:, : 113 - k % 2]
        for at in range(found.shape[1]):
            ours, theirs = found[:, at], whole[:, first + at]
            differs.append((ours != theirs).any() and not as_near(first + at, ours, theirs))
        sounds = slice(0, max(0, int(20.3 * 75) - first))  # the silence after the end may be all ties
        assert (found[:, sounds] == whole[:, first : first + 113 - k % 2][:, sounds]).mean() > 0.98, f"TR {k}"
    assert np.mean(differs) <= 1e-3
    assert metadata["spill_mask"][:, 0].tolist() == [k % 2 == 0 for k in range(14)]
    assert metadata["valid"].tolist() == [True] * 13 + [False]
    assert metadata["duration"] == pytest.approx(20.3)
    assert metadata["codec_fingerprint"] == audio.codec.codes_fingerprint
    np.testing.assert_allclose(metadata["onset"], np.arange(14) * 1.5)


def test_features_to_audio(audio, extracted, bundled_model, tmp_path):
    """The sound is transformers' own decoding of all frames, spill included, as long as the film."""
    codes, metadata = extracted
    path = audio.features_to_audio(codes, tmp_path / "back.wav", metadata=metadata)
    sound = samples_of(path)
    assert soundfile.info(path).samplerate == 24_000
    assert len(sound) == round(20.3 * 24_000)
    frames = np.concatenate(
        [np.concatenate([codes[k], metadata["spill"][k]], axis=1)[:, : 113 - k % 2] for k in range(14)], axis=1
    )
    with torch.inference_mode():
        whole = bundled_model.decode(torch.from_numpy(frames)[None, None].long(), [None])[0][0, 0].numpy()
    np.testing.assert_allclose(sound, np.clip(whole[: len(sound)], -1, 1), atol=1e-4)  # 16 bits: 3e-5


def test_encodec_roundtrip(audio, extracted, speech_file, tmp_path):
    """What comes back is the same speech at the same time: intelligible, in phase, aligned to the sample."""
    codes, metadata = extracted
    original = samples_of(speech_file)
    sound = samples_of(audio.features_to_audio(codes, tmp_path / "back.wav", metadata=metadata))
    assert stoi(original, sound, 24_000) > 0.7
    aligned = si_sdr(original, sound)
    assert aligned > 0
    assert si_sdr(original[:-24], sound[24:]) < aligned - 3, "a millisecond off is heard in the score"
    assert si_sdr(np.roll(original, len(original) // 2), sound) < aligned - 8, "and other speech is no match"


@pytest.mark.parametrize(("tr", "n_trs"), [(1.5, 41), (0.72, 84), (1.49, 41), (2.0, 30)])
def test_a_click_in_any_tr_comes_back_where_it_was(tmp_path, tr, n_trs):
    wave = np.random.default_rng(0).normal(0, 1e-3, int(61.5 * 24_000)).astype(np.float32)
    places = [0.3, (n_trs // 2 + 0.5) * tr, (n_trs - 0.5) * tr]
    for place in places:
        wave[int(place * 24_000) : int(place * 24_000) + 120] = 0.9
    soundfile.write(tmp_path / "clicks.wav", wave, 24_000)
    audio = AudioProcessor(tr=tr, device="cpu")
    codes, metadata = audio.audio_to_features(tmp_path / "clicks.wav", n_trs=n_trs)
    for name, about in (("exact", metadata), ("predicted", None)):
        sound = samples_of(audio.features_to_audio(codes, tmp_path / f"{name}.wav", metadata=about))
        assert len(sound) == round(n_trs * tr * 24_000)
        for place in places:
            assert place_of_click(sound, place) == pytest.approx(place + 0.0025, abs=0.02), (name, place)


@pytest.mark.parametrize("n_trs", [5, 20])
def test_a_film_is_cut_or_padded_to_the_trs_asked_for(audio, speech_file, extracted, n_trs, tmp_path):
    codes, metadata = audio.audio_to_features(speech_file, n_trs=n_trs)
    assert codes.shape == (n_trs, 8, 112)
    same = min(n_trs, 13)
    np.testing.assert_array_equal(codes[:same], extracted[0][:same])
    assert metadata["valid"].sum() == same
    sound = samples_of(audio.features_to_audio(codes, tmp_path / "back.wav", metadata=metadata))
    assert len(sound) == n_trs * 36_000, "whoever asks for n_trs gets all of them as sound"
    if n_trs == 20:
        assert np.abs(sound[24_000 * 22 :]).max() < 0.02, "padding is silence"


@pytest.mark.parametrize("fill", ["repeat", "interpolate"])
def test_filled_odd_frames_lie_near_the_true_ones(audio, extracted, fill, tmp_path):
    """Either way of filling keeps the clock, and beats a frame taken from elsewhere."""
    codes, metadata = extracted
    exact = samples_of(audio.features_to_audio(codes, tmp_path / "exact.wav", metadata=metadata))
    about = {k: v for k, v in metadata.items() if k != "spill"}
    filled = samples_of(audio.features_to_audio(codes, tmp_path / "filled.wav", metadata=about, fill=fill))
    wrong = {**metadata, "spill": np.roll(metadata["spill"], 5, axis=0)}
    shuffled = samples_of(audio.features_to_audio(codes, tmp_path / "wrong.wav", metadata=wrong))
    assert len(filled) == len(exact)
    assert si_sdr(exact, filled) > 8
    assert si_sdr(exact, filled) > si_sdr(exact, shuffled)


def test_bandwidth_is_a_prefix_of_the_codebooks(speech_file, extracted):
    codes, metadata = AudioProcessor(bandwidth=1.5, device="cpu").audio_to_features(speech_file)
    assert metadata["bandwidth"] == 1.5
    np.testing.assert_array_equal(codes, extracted[0][:, :2])


def test_backward_compatibility(speech_file, tmp_path):
    """use_encodec=False is librosa's mel spectrogram, cut by the same clock, and turns back into speech."""
    legacy = AudioProcessor(use_encodec=False, n_mels=128)
    mel, metadata = legacy.audio_to_features(speech_file)
    assert mel.shape == (14, 128, 65)
    assert mel.dtype == np.float32
    assert metadata["kind"] == "continuous"
    wave = soxr.resample(samples_of(speech_file), 24_000, 22_050)
    grid = TRGrid(1.5, 14, Fraction(22_050, 512))
    padded = np.pad(wave, (0, grid.n_frames * 512 - len(wave)))
    expected = librosa.feature.melspectrogram(
        y=padded, sr=22_050, n_fft=2048, hop_length=512, n_mels=128, pad_mode="constant"
    )
    for k in range(14):
        first, count = grid.edges[k], grid.counts[k]
        np.testing.assert_allclose(mel[k, :, :count], expected[:, first : first + count], rtol=1e-3, atol=1e-4)
        assert metadata["frame_mask"][k].sum() == count
        assert not mel[k, :, count:].any()
    back = samples_of(legacy.features_to_audio(mel, tmp_path / "mel.wav", metadata=metadata))
    assert len(back) == round(20.3 * 22_050)
    n = min(len(back), len(wave))
    assert stoi(wave[:n], back[:n], 22_050) > 0.8

    mean, _ = AudioProcessor(use_encodec=False, n_mels=128, mel_average=True).audio_to_features(speech_file)
    assert mean.shape == (14, 128)
    own = metadata["frame_mask"][:, None, :]
    np.testing.assert_allclose(mean, (mel * own).sum(-1) / own.sum(-1), rtol=1e-4)


def test_legacy_default_is_2048_bands(speech_file):
    mel, _ = AudioProcessor(use_encodec=False, mel_average=True).audio_to_features(speech_file, n_trs=3)
    assert mel.shape == (3, 2048)


def test_codes_that_are_none_are_refused_with_their_place(audio, extracted, tmp_path):
    codes = extracted[0].copy()
    codes[2, 3, 4] = 1024
    with pytest.raises(InputError, match=r"code 1024 at \(tr, codebook, frame\) = \(2, 3, 4\) is outside \[0, 1023\]"):
        audio.features_to_audio(codes, tmp_path / "a.wav")
    with pytest.raises(InputError, match="round and clip"):
        audio.features_to_audio(extracted[0] + 0.5, tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"must end in \.wav"):
        audio.features_to_audio(extracted[0], tmp_path / "a.mp3")
    with pytest.raises(InputError, match="fill is"):
        audio.features_to_audio(extracted[0], tmp_path / "a.wav", fill="guess")
    with pytest.raises(InputError, match="expected 112"):
        audio.features_to_audio(extracted[0][:, :, :100], tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"TR 2 s"):
        audio.features_to_audio(extracted[0], tmp_path / "a.wav", metadata={"tr": 2.0})
    assert not list(tmp_path.iterdir())


def test_codes_of_another_codec_are_refused(audio, extracted, tmp_path):
    with pytest.raises(CodecError, match="decode with the codec that made them"):
        audio.features_to_audio(
            extracted[0], tmp_path / "a.wav", metadata={**extracted[1], "codec_fingerprint": "0" * 64}
        )


def test_rounded_predictions_may_be_floats(audio, extracted, tmp_path):
    a = samples_of(audio.features_to_audio(extracted[0], tmp_path / "a.wav"))
    b = samples_of(audio.features_to_audio(extracted[0].astype(np.float32), tmp_path / "b.wav"))
    np.testing.assert_array_equal(a, b)


def test_gain_makes_the_features_of_a_film_that_is_as_much_louder(speech_file, extracted, tmp_path):
    wave = samples_of(speech_file)
    soundfile.write(tmp_path / "quiet.wav", wave / 4, 24_000, subtype="FLOAT")
    gained, metadata = AudioProcessor(device="cpu", gain=20 * np.log10(4)).audio_to_features(tmp_path / "quiet.wav")
    np.testing.assert_array_equal(gained[:13], extracted[0][:13])
    assert metadata["gain_db"] == pytest.approx(12.04, abs=0.01)
    assert metadata["peak"] == pytest.approx(np.abs(wave).max() / 4)
    assert metadata["settings"]["gain"] == metadata["gain_db"]
    assert (extracted[1]["gain_db"], extracted[1]["peak"]) == (0, np.abs(wave).max())


def test_a_film_in_units_of_integers_is_told_and_brought_to_full_scale_if_asked(speech_file, tmp_path, giblet):
    soundfile.write(tmp_path / "units.wav", samples_of(speech_file) * 32_768, 24_000, subtype="FLOAT")
    peak = np.abs(samples_of(speech_file)).max() * 32_768
    command = ["extract", tmp_path / "units.wav", "--mel", "--n-mels", 16, "--mel-average", "-o", tmp_path, "--json"]
    status, _, err = giblet(*command)
    assert status == 0
    assert err.startswith("giblet: warning: ")
    assert f"goes up to {peak:.5g}" in " ".join(err.split())
    status, said, err = giblet(*command, "--gain", "peak", "--overwrite")
    about = json.loads(said)[0]["about"]
    assert (status, err) == (0, "")
    assert about["gain_db"] == pytest.approx(-20 * np.log10(peak))
    assert about["settings"]["gain"] == "peak"
    status, _, err = giblet(*command, "--gain", "loud")
    assert status == 2
    assert "gain is 'loud'" in err


def test_a_loaded_codec_can_be_given(speech_file, extracted):
    codec = load_codec("bundled", bandwidth=6.0, device="cpu")
    codes, _ = AudioProcessor(codec=codec).audio_to_features(speech_file)
    np.testing.assert_array_equal(codes, extracted[0])


@pytest.mark.parametrize("options", [{"tr": 0}, {"tr": -1}, {"tr": 0.01}, {"bandwidth": 7}, {"bandwidth": 24.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        AudioProcessor(device="cpu", **options)
