"""Measures of sound: right against other implementations, at the right time, and the same however the sound comes."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile
from scipy import signal

import giblet as gb
from giblet.data import acoustic_kinds
from giblet.data.acoustic_kinds import (
    FRAME_RATE,
    MODULATION_RATES,
    Envelope,
    Gammatone,
    Kind,
    Loudness,
    Modulation,
    OnsetStrength,
    Pitch,
    erb_spaced,
    gammatone_filters,
)
from giblet.data.acoustics import CAUSAL_KINDS, KINDS, AcousticsProcessor, AcousticsSettings, MeansByTR
from giblet.encoding.settings import BandSettings
from giblet.errors import InputError
from giblet.evaluation.regressors import envelope
from giblet.features import load_features
from giblet.pipeline.encoding_features import BandReader
from giblet.training.films import Films

SPEECH = Path(__file__).parents[2] / "samples" / "speech.flac"
CLICKS = (1.003, 4.25, 5.0405, 7.5, 13.001, 20.05)


def written(path: Path, sound: np.ndarray, rate: int) -> Path:
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return path


def speech(rate: int, seconds: float = 20.0) -> np.ndarray:
    read, own = soundfile.read(SPEECH, dtype="float32")
    return librosa.resample(np.tile(read, 5)[: round(own * seconds)], orig_sr=own, target_sr=rate)


def clicks(rate: int, seconds: float = 24.0) -> np.ndarray:
    sound = np.zeros(round(rate * seconds), np.float32)
    for time in CLICKS:
        sound[round(time * rate) :][:24] = 0.5
    return sound


def frames_of(kind: Kind, sound: np.ndarray, n_parts: int = 1) -> np.ndarray:
    cuts = np.linspace(0, len(sound) // kind.hop_length, n_parts + 1).astype(int) * kind.hop_length
    parts = [kind.add(sound[a:b]) for a, b in pairwise(cuts)]
    return np.concatenate([*parts, kind.end()])


@pytest.mark.parametrize("tr", [0.72, 1.5, 2.0])
def test_clicks_land_in_their_tr_in_every_kind(tr, tmp_path):
    # At 24 kHz and 48 kHz alike: where sound is resampled, the filter rings before a click.
    quiet = AcousticsProcessor(CAUSAL_KINDS, tr=tr).extract(written(tmp_path / "q.wav", 0 * clicks(24_000), 24_000))
    found = AcousticsProcessor(CAUSAL_KINDS, tr=tr).extract(written(tmp_path / "c.wav", clicks(24_000), 24_000))
    wanted = sorted({int(time // tr) for time in CLICKS})
    for name, share in (("envelope", 0.01), ("gammatone", 0.1), ("onset_strength", 0.01)):
        rise = (found[name] - quiet[name]).values.reshape(found.sizes["tr"], -1).mean(axis=1)
        assert np.flatnonzero(rise > share * rise.max()).tolist() == wanted, name
    for name in ("loudness", "modulation"):  # which ring on: the first TR of each click is where they rise
        rise = (found[name] - quiet[name]).values.reshape(found.sizes["tr"], -1).mean(axis=1)
        before = [k - 1 for k in wanted if k - 1 not in wanted and not any(0 < k - 1 - w <= 2 for w in wanted)]
        assert (rise[wanted] > 0.01 * rise.max()).all() and (rise[before] < 0.01 * rise.max()).all(), name


@pytest.mark.parametrize("name", CAUSAL_KINDS)
def test_a_click_is_seen_within_10_ms(name):
    kind = KINDS[name]()
    sound, quiet = clicks(kind.sample_rate), clicks(kind.sample_rate) * 0
    rise = (frames_of(kind, sound) - frames_of(KINDS[name](), quiet)).mean(axis=1)
    for time in CLICKS:
        first = int(time * FRAME_RATE)  # the frame that holds it
        after = rise[first : first + 3] - rise[first - 1]
        assert rise[first - 1] < 1e-3 * rise.max() or name in ("loudness", "modulation")
        assert (after[:2] > 0.05 * np.abs(after).max()).any(), (time, after)


def test_onset_strength_peaks_in_the_frame_of_the_click_or_the_next():
    strength = frames_of(OnsetStrength(), clicks(24_000))[:, 0]
    peaks = np.sort(np.argsort(strength)[-len(CLICKS) :]) / FRAME_RATE
    late = peaks - np.array(CLICKS)
    assert (late > -0.01).all() and (late < 0.01).all()


def test_the_envelope_is_what_giblet_calls_so():
    sound = speech(24_000)
    theirs = envelope(sound, 24_000, 1 / FRAME_RATE).values
    np.testing.assert_allclose(frames_of(Envelope(), sound)[:, 0], theirs, rtol=1e-12)


def test_gammatone_filters_are_those_of_scipy():
    centres = erb_spaced(400, 8000, 12)  # below, scipy's own is inexact, and unstable at 50 Hz
    frequencies = np.linspace(50, 11_000, 400)
    for centre, own in zip(centres, gammatone_filters(centres, 24_000), strict=True):
        _, wanted = signal.freqz(*signal.gammatone(centre, "iir", fs=24_000), frequencies, fs=24_000)
        _, found = signal.sosfreqz(own, frequencies, fs=24_000)
        np.testing.assert_allclose(abs(found), abs(wanted), rtol=2e-3, atol=1e-6)


def test_a_low_gammatone_filter_has_the_impulse_response_of_the_definition():
    own = gammatone_filters(np.array([50.0]), 24_000)[0]
    time = np.arange(4800) / 24_000
    width = 2 * np.pi * 1.019 * (24.7 + 50 / 9.26449)
    wanted = time**3 * np.exp(-width * time) * np.cos(2 * np.pi * 50 * time)
    found = signal.sosfilt(own, np.r_[1, np.zeros(4799)])
    assert np.corrcoef(found, wanted)[0, 1] > 0.999


def test_rows_of_gammatone_go_with_their_frequencies(tmp_path):
    centres = Gammatone().centres
    assert (np.diff(centres) > 0).all() and centres[[0, -1]].round(6).tolist() == [50, 8000]
    tones = [0.1 * np.sin(2 * np.pi * centre * np.arange(24_000) / 24_000) for centre in centres[::5]]
    found = AcousticsProcessor(("gammatone",), tr=1.0).extract(
        written(tmp_path / "t.wav", np.concatenate(tones).astype(np.float32), 24_000)
    )
    loudest = found.gammatone.values.argmax(axis=1)
    np.testing.assert_array_equal(found.gammatone_frequency.values[loudest], centres[::5])
    # A tone at the middle of a band keeps its level, to the power 0.6.
    np.testing.assert_allclose(found.gammatone.values.max(axis=1)[1:], (0.1 / 2**0.5) ** 0.6, rtol=0.05)


@pytest.mark.parametrize("index", range(len(MODULATION_RATES)))
def test_modulation_finds_the_rate_of_a_sound_that_comes_and_goes(index):
    time = np.arange(24_000 * 6) / 24_000
    carrier = np.random.default_rng(0).standard_normal(len(time)) * 0.1
    sound = carrier * (1 + np.sin(2 * np.pi * MODULATION_RATES[index] * time))
    steady = frames_of(Modulation(), carrier)[200:].mean(axis=0)
    assert (frames_of(Modulation(), sound)[200:].mean(axis=0) / steady).argmax() == index


def momentary(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Momentary loudness by FFmpeg's ebur128, each 100 ms: seconds at which its windows end, and LUFS."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=48_000, format="flt", layout="mono", time_base="1/48000")
    measure, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(measure)
    measure.link_to(sink)
    graph.configure()
    found = []
    for start in range(0, len(sound) - 4799, 4800):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + 4800].astype(np.float32), "flt", "mono")
        frame.sample_rate, frame.pts = 48_000, start
        graph.push(frame)
        while True:
            try:
                out = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            found.append((out.pts + out.samples, float(out.metadata["lavfi.r128.M"])))
    ends, lufs = np.array(found).T
    return ends / 48_000, lufs


def test_loudness_is_that_of_ebur128():
    sound = speech(48_000, 10) * 0.5
    ends, theirs = momentary(sound)
    own = frames_of(Loudness(), sound)[:, 0]
    loud = (theirs > -60) & (ends >= 0.4)
    frames = np.round(ends[loud] * FRAME_RATE).astype(int) - 1
    assert loud.sum() > 50
    np.testing.assert_allclose(own[frames], theirs[loud], atol=0.11)


def test_a_full_scale_tone_has_the_loudness_of_the_recommendation():
    tone = np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000)
    own = frames_of(Loudness(), tone)[:, 0]
    np.testing.assert_allclose(own[60:], -3.01, atol=0.01)
    assert (frames_of(Loudness(), np.zeros(48_000)) == -70).all()


def test_onset_strength_is_the_flux_of_librosa_without_its_shift():
    sound = speech(24_000, 5)
    heard = np.concatenate([np.zeros(512 - 240, np.float32), sound])
    power = librosa.feature.melspectrogram(
        y=heard, sr=24_000, n_fft=512, hop_length=240, center=False, n_mels=40, fmax=8000, norm=None
    )
    levels = librosa.power_to_db(power / 128**2, amin=1e-7, top_db=None)
    theirs = librosa.onset.onset_strength(S=levels, center=False)
    np.testing.assert_allclose(frames_of(OnsetStrength(), sound)[1:, 0], theirs[1:], atol=1e-4)


@pytest.mark.parametrize("hertz", [80, 120, 210, 400])
def test_pitch_is_that_of_a_voice_like_sound(hertz, tmp_path):
    time = np.arange(16_000 * 4) / 16_000
    sound = 0.2 * signal.sawtooth(2 * np.pi * hertz * time) * ((time >= 1) & (time < 2.5))
    processor = AcousticsProcessor(("pitch",), tr=0.5, causal=False)
    found = processor.extract(written(tmp_path / "s.wav", sound.astype(np.float32), 16_000))
    assert found.pitch_mask.values[2:5].all() and found.pitch.values[~found.pitch_mask.values].sum() == 0
    np.testing.assert_allclose(found.pitch[2:5], hertz, rtol=0.01)
    np.testing.assert_allclose(found.voicing, [0, 0, 1, 1, 1, 0, 0, 0], atol=0.11)


def test_pitch_in_blocks_is_that_of_the_whole_sound(monkeypatch):
    sound = speech(16_000, 8)
    whole = frames_of(Pitch(), sound)  # shorter than a block
    theirs = librosa.pyin(sound[80:], fmin=65, fmax=500, sr=16_000, frame_length=1024, hop_length=160)
    np.testing.assert_array_equal(whole[:, 0], np.where(theirs[1], theirs[0], np.nan))
    monkeypatch.setattr(acoustic_kinds, "PITCH_BLOCK", 200)
    parts = frames_of(Pitch(), sound, 9)
    assert parts.shape == whole.shape == (800, 2) and whole[:, 1].mean() > 0.2
    same = np.isclose(parts, whole, equal_nan=True).all(axis=1)
    assert same.mean() > 0.99


@pytest.mark.parametrize("name", CAUSAL_KINDS)
def test_the_parts_in_which_sound_comes_make_no_difference(name):
    sound = speech(KINDS[name].sample_rate, 4)
    whole = frames_of(KINDS[name](), sound)
    parts = frames_of(KINDS[name](), sound, 61)
    assert len(whole) == 400
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4 if name == "onset_strength" else 1e-12)


def test_means_by_tr_take_each_frame_once_for_a_whole_scan():
    frames = np.random.default_rng(0).random((72 * 1000, 2))
    frames[5, 1] = np.nan
    means = MeansByTR(0.72, FRAME_RATE, 2)
    for part in np.array_split(frames, 97):
        means.add(part)
    wanted = frames.reshape(1000, 72, 2)
    np.testing.assert_allclose(means.table(1000), np.nanmean(wanted, axis=1))


def test_memory_does_not_grow_with_the_film():
    def peak(minutes: int) -> int:
        kind, means = Envelope(), MeansByTR(2.0, FRAME_RATE, 1)
        tracemalloc.start()
        for second in range(60 * minutes):
            means.add(kind.add(np.full(24_000, 1e-3 * second, np.float32)))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak(1)
    assert peak(120) < peak(10) + 2_000_000


def test_what_cannot_be_causal_is_refused_and_said_in_the_file(tmp_path):
    with pytest.raises(
        InputError, match=r"pitch can't be causal: pYIN .*; leave it out, or allow it with causal=False"
    ):
        AcousticsProcessor(("envelope", "pitch"))
    path = written(tmp_path / "s.wav", speech(16_000, 2), 16_000)
    with pytest.raises(InputError, match="pitch can't be causal"):
        gb.extract(path, AcousticsSettings.make(kinds=("pitch",)), tmp_path)
    done = gb.extract(path, AcousticsSettings.make(kinds=("loudness", "pitch"), causal=False, tr=1.0), tmp_path)
    about = load_features(done.path)
    assert about.attrs["causal"].startswith("no: pYIN") and about.attrs["variable"] == "loudness"
    assert set(about.data_vars) >= {"loudness", "pitch", "pitch_mask", "voicing"}


def test_a_gain_that_goes_by_the_whole_film_is_not_causal(tmp_path):
    """What comes later changes it, and with it every TR."""
    path = written(tmp_path / "s.wav", speech(24_000, 2), 24_000)
    with pytest.raises(InputError, match=r"acoustic features can't be causal: gain='peak' .*; give a number of dB, or"):
        gb.extract(path, AcousticsSettings.make(kinds=("loudness",), gain="peak"), tmp_path)
    with pytest.raises(InputError, match=r"can't be causal: gain='peak' goes by the loudest sample of the whole film"):
        gb.extract(path, gb.AudioSettings.make(gain="peak", causal=True), tmp_path)
    done = gb.extract(path, AcousticsSettings.make(kinds=("loudness",), gain="peak", causal=False), tmp_path)
    assert load_features(done.path).attrs["causal"].startswith("no: gain='peak'")


def test_a_file_is_up_to_date_by_what_decides_it(tmp_path):
    path = written(tmp_path / "s.wav", speech(24_000, 2), 24_000)
    settings = AcousticsSettings.make(kinds=("envelope", "loudness"), tr=1.0)
    assert gb.extract(path, settings, tmp_path).status == "written"
    # Neither of them is compressed.
    other = settings.model_copy(update={"compression": 1.0, "causal": False})
    assert gb.extract(path, other, tmp_path).status == "up to date"
    with pytest.raises(InputError, match=r"kinds \[\"envelope\", \"loudness\"\] -> \[\"envelope\"\]"):
        gb.extract(path, settings.model_copy(update={"kinds": ("envelope",)}), tmp_path)


def test_encoding_models_take_each_kind_as_a_band(tmp_path):
    path = written(tmp_path / "s.wav", speech(24_000, 6), 24_000)
    done = gb.extract(path, AcousticsSettings.make(kinds=tuple(KINDS), causal=False, tr=1.5), tmp_path)
    names = {**{name: name for name in KINDS}, "main": None, "voicing": "voicing"}
    bands = {name: BandSettings(of="x", take=take) for name, take in names.items()}
    found = BandReader(bands, codec="bundled", films=Films()).of_run({"x": done.path}, 1.5)
    shapes = {name: made.band.shape for name, (_, made) in found.items()}
    assert shapes == dict.fromkeys(names, (4, 1)) | {"gammatone": (4, 32), "modulation": (4, 6)}
    np.testing.assert_array_equal(found["main"][1].band, found["envelope"][1].band)
    np.testing.assert_array_equal(found["pitch"][1].band_mask, load_features(done.path).pitch_mask)
    aligned = gb.align({"sound": load_features(done.path)}, np.zeros((4, 2), np.float32), tr=1.5)
    np.testing.assert_array_equal(aligned.features["sound"].values.ravel(), found["envelope"][1].band.values.ravel())


@pytest.mark.parametrize(("options", "match"), [({"kinds": ("pich",)}, "pich"), ({"kinds": ("envelope",) * 2}, "once")])
def test_kinds_that_are_none_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        AcousticsProcessor(**options)
