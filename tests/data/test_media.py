"""Sound is heard where the medium's timestamps say, in every container, and its samples are the decoder's."""

import itertools
import logging
import re
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from giblet.data.media import AudioReader, media_info
from giblet.errors import InputError
from tests.films import CHANNELS, Track, click_times, click_track, noise, replaced, shifted, write_film

DATA = Path(__file__).parents[2] / "samples"
TIMES = [0.25, 1.0003, 1.73]


def read(path: Path, sample_rate: int = 24_000, **options) -> np.ndarray:
    return np.concatenate(list(AudioReader(path, sample_rate, **options)))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


# Where sound is -----------------------------------------------------------------------------------------------------

RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
CODECS = {"wav": "pcm_s16le", "flac": "flac", "mp4": "aac", "mkv": "libopus", "mp3": "libmp3lame", "ogg": "vorbis"}


@pytest.mark.parametrize("layout", CHANNELS)
@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("suffix", CODECS)
def test_clicks_come_back_when_they_were(folder, suffix, sample_rate, layout):
    codec = CODECS[suffix]
    if (codec == "libopus" and sample_rate in (22_050, 44_100)) or (codec == "libmp3lame" and layout == "5.1"):
        pytest.skip("the codec does not have it")
    path = folder / f"clicks_{sample_rate}_{layout}.{suffix}"
    clicks = click_track(TIMES, 2.0, sample_rate, CHANNELS[layout])
    if codec == "vorbis":  # FFmpeg's own encoder is stereo only
        soundfile.write(path, clicks.T, sample_rate, format="OGG", subtype="VORBIS")
    else:
        write_film(path, Track(clicks, sample_rate, codec, layout))
    reader = AudioReader(path)
    sound = np.concatenate(list(reader))
    found = click_times(sound, 24_000)
    assert len(found) == len(TIMES)
    # Sample-exact where nothing is lost; the peak of a click that a lossy codec has coded may sit a little aside.
    np.testing.assert_allclose(found, TIMES, atol=0.5 / 24_000 + 1e-9 if suffix in ("wav", "flac") else 0.001)
    assert len(sound) == round(reader.duration * 24_000)
    assert reader.info.audio is not None
    assert reader.info.audio.n_channels == CHANNELS[layout]
    assert (reader.gaps, reader.overlaps, reader.damaged_packets, reader.track_delay) == (0, 0, 0, 0.0)


LATE = {"mp4": "aac", "mov": "pcm_s16le", "mkv": "flac", "webm": "libopus", "ts": "aac"}


@pytest.mark.parametrize("suffix", LATE)
def test_sound_that_starts_after_the_picture_is_heard_when_it_should(folder, suffix):
    path = folder / f"late.{suffix}"
    track = Track(click_track(TIMES, 2.0, 48_000), 48_000, LATE[suffix], start=0.52)
    write_film(path, track, picture=3.0, codec="libvpx" if suffix == "webm" else "mpeg4")
    reader = AudioReader(path)
    sound = np.concatenate(list(reader))
    np.testing.assert_allclose(click_times(sound, 24_000), np.add(TIMES, 0.52), atol=0.0011)  # Matroska counts in ms
    # AAC's 1,024 samples of priming stand before the sound where the container does not take them out.
    assert reader.track_delay == pytest.approx(0.52, abs=0.023)
    assert not sound[: int((reader.track_delay - 0.01) * 24_000)].any()
    assert reader.gaps == 0
    assert reader.info.video_offset == 0
    assert reader.film_duration == pytest.approx(3.0, abs=0.03)


@pytest.mark.parametrize("suffix", LATE)
def test_picture_that_starts_after_the_sound_does_not_move_the_sound(folder, suffix):
    path = folder / f"early.{suffix}"
    track = Track(click_track(TIMES, 2.0, 48_000), 48_000, LATE[suffix])
    write_film(path, track, picture=3.0, picture_start=0.5, codec="libvpx" if suffix == "webm" else "mpeg4")
    reader = AudioReader(path)
    shift = 1024 / 48_000 if suffix == "ts" else 0  # MPEG-TS cannot take priming out: sound and picture come later
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), np.add(TIMES, shift), atol=0.001)
    assert reader.track_delay == 0
    assert reader.info.video_offset == pytest.approx(0.5 + shift, abs=0.001)
    assert reader.film_duration == pytest.approx(3.5 + shift, abs=0.001)


def test_film_zero_is_the_first_thing_presented_on_the_clock_of_the_medium(folder):
    path = write_film(
        folder / "not_from_zero.ts", Track(noise(1, 48_000), 48_000, "mp2", start=5.4), picture=1.0, picture_start=5.0
    )
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
    info = media_info(path)
    assert info.zero == first.pts * first.time_base > 0
    assert info.track_delay == pytest.approx(0.4, abs=0.012)  # less 481 samples of priming
    assert info.video_offset == 0


def test_a_frame_that_the_decoder_keeps_back_leaves_its_place_silent(folder):
    """Big Buck Bunny's first AAC packet holds no sound: the first frame decoded has PTS 1024, and belongs there."""

    def without_first(packets):
        for packet in packets:
            packet.pts, packet.dts = packet.pts + 1024, packet.dts + 1024
        return replaced(packets, 0, b"\xc1\xc0")  # an AAC frame of an empty fill element and the end element

    clicks = Track(click_track([0.5, 1.5], 2.0, 48_000), 48_000, "aac", change=without_first)
    path = write_film(folder / "kept_back.mp4", clicks, picture=2.0)
    with av.open(str(path)) as container:
        assert next(container.decode(audio=0)).pts == 1024
    reader = AudioReader(path)
    sound = np.concatenate(list(reader))
    assert reader.track_delay == 1024 / 48_000
    assert not sound[:500].any()
    np.testing.assert_allclose(click_times(sound, 24_000), np.add([0.5, 1.5], 1024 / 48_000), atol=0.001)
    assert reader.damaged_packets == 0


def test_an_album_cover_is_no_picture_and_sets_no_zero(folder):
    track = Track(click_track(TIMES, 2.0, 44_100), 44_100, "libmp3lame")
    path = write_film(folder / "album.mp3", track, picture=0.1, cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    reader = AudioReader(path)
    assert (reader.info.video_offset, reader.track_delay) == (None, 0.0)
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), TIMES, atol=0.001)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_hole_in_the_timestamps_is_silence_and_is_told(folder, suffix, caplog):
    clicks = Track(click_track(TIMES, 2.0, 48_000), 48_000, "flac", change=lambda p: shifted(p, 0.6, 0.8))
    reader = AudioReader(write_film(folder / f"hole.{suffix}", clicks))
    with caplog.at_level(logging.WARNING):
        sound = np.concatenate(list(reader))
    np.testing.assert_allclose(click_times(sound, 24_000), [0.25, 1.8003, 2.53], atol=0.001)
    assert (reader.gaps, reader.overlaps) == (1, 0)
    assert reader.gap_seconds == pytest.approx(0.8, abs=0.001)
    assert reader.duration == pytest.approx(2.8, abs=0.001)
    assert [record.message.count("1 gaps") for record in caplog.records] == [1]


def test_a_hole_of_minutes_is_not_built_in_memory(folder):
    clicks = Track(click_track(TIMES, 2.0, 8_000), 8_000, "flac", change=lambda p: shifted(p, 0.6, 500))
    path = write_film(folder / "long_hole.mkv", clicks)
    tracemalloc.start()
    for _ in AudioReader(path, chunk_seconds=2):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6


def test_an_overlap_is_cut_once_and_the_sound_after_it_is_in_time(folder):
    clicks = Track(
        click_track(TIMES, 2.0, 48_000), 48_000, "pcm_s16le", block=24_000, change=lambda p: shifted(p, 1.4, -0.2)
    )
    reader = AudioReader(write_film(folder / "overlap.mkv", clicks))
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), [0.25, 1.0003, 1.53], atol=1e-4)
    assert (reader.gaps, reader.overlaps) == (0, 1)
    assert reader.overlap_seconds == pytest.approx(0.2)


def test_an_overlap_of_many_packets_is_one(folder):
    """Transport streams joined end to end, the second of which goes back by 0.3 s."""
    first = write_film(folder / "first.ts", Track(click_track([0.5], 2.0, 48_000), 48_000, "mp2"))
    again = write_film(folder / "second.ts", Track(click_track([1.0], 2.0, 48_000), 48_000, "mp2", start=1.7))
    joined = folder / "joined.ts"
    joined.write_bytes(first.read_bytes() + again.read_bytes())
    reader = AudioReader(joined)
    lead = 481 / 48_000  # priming, which moves a stream that would start before 0
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), [0.5 + lead, 2.7], atol=0.001)
    assert reader.overlaps == 1
    assert reader.overlap_seconds == pytest.approx(84 * 0.024 - 1.7 + lead, abs=0.001)


def test_rounding_of_timestamps_is_ignored_and_does_not_add_up(folder):
    """Matroska rounds PTS to 1 ms; the 4,608 samples of a FLAC packet at 44,100 Hz are 104.49 ms."""
    times = [0.5, 59.5]
    reader = AudioReader(write_film(folder / "ms.mkv", Track(click_track(times, 60.0, 44_100), 44_100, "flac")), 8_000)
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 8_000), times, atol=0.001)
    assert (reader.gaps, reader.overlaps) == (0, 0)


@pytest.mark.parametrize("speed", [0.999, 1.001])
def test_a_sound_clock_that_drifts_is_held_within_ten_milliseconds(folder, speed):
    def stretched(packets):
        for packet in packets:
            packet.pts = packet.dts = round(packet.pts * speed)
        return packets

    times = np.arange(1.0, 60, 2)
    clicks = Track(click_track(times, 60.0, 8_000), 8_000, "pcm_s16le", block=400, change=stretched)
    path = write_film(folder / f"drift_{speed}.mkv", clicks)
    reader = AudioReader(path, 8_000)
    found = click_times(np.concatenate(list(reader)), 8_000)
    assert np.abs(found - times * speed).max() < 0.0115  # 10 ms, and the rounding of Matroska's timestamps
    assert abs(found[-1] - times[-1]) > 0.045  # it does follow the timestamps
    assert reader.gaps + reader.overlaps in range(4, 8)


def test_the_last_click_of_a_long_film_is_in_time(folder):
    last = 1379.5
    path = write_film(folder / "long.mka", Track(click_track([1.0, last], 1380.0, 8_000), 8_000, "flac"))
    reader = AudioReader(path, 8_000)
    n, tail = 0, np.zeros(0, np.float32)
    for chunk in reader:
        n, tail = n + len(chunk), np.concatenate([tail, chunk])[-16_000:]
    assert n == 1380 * 8_000
    assert abs(n / 8_000 - 2 + click_times(tail, 8_000)[0] - last) < 0.001


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000])
def test_attacks_in_vorbis_are_neither_cut_nor_filled(folder, rate, caplog):
    """At an attack FFmpeg's times run ahead by up to 448 samples, for one frame."""
    sound = 0.01 * np.random.default_rng(1).standard_normal(4 * rate)
    for second in (0.7, 1.41, 2.66, 3.2):
        at = int(second * rate)
        sound[at : at + rate // 200] += 0.7 * np.sin(np.arange(rate // 200) * 2 * np.pi * 1000 / rate)
    path = folder / f"attacks_{rate}.ogg"
    soundfile.write(path, sound, rate, format="OGG", subtype="VORBIS")
    with av.open(str(path)) as container:
        ends = [(frame.pts, frame.pts + frame.samples) for frame in container.decode(audio=0)]
    assert any(start > end for (_, end), (start, _) in itertools.pairwise(ends)), "FFmpeg's times do not stumble"
    reader = AudioReader(path, rate)
    with caplog.at_level(logging.WARNING):
        found = np.concatenate(list(reader))
    np.testing.assert_allclose(found, soundfile.read(path)[0], atol=1e-5)
    assert (reader.gaps, reader.overlaps, reader.damaged_packets, caplog.text) == (0, 0, 0, "")


def test_one_packet_with_another_time_moves_nothing(folder, caplog):
    def moved(packets):
        for packet in packets:
            packet.dts -= 96_000  # muxers refuse times of hearing before those of decoding
        packets[9].pts += 48_000
        packets[12].pts -= 36_000
        return packets

    clicks = Track(click_track(TIMES, 2.0, 48_000), 48_000, "flac", change=moved)
    reader = AudioReader(write_film(folder / "one.mkv", clicks), 48_000)
    with caplog.at_level(logging.WARNING):
        sound = np.concatenate(list(reader))
    np.testing.assert_allclose(click_times(sound, 48_000), TIMES, atol=0.001)
    assert (reader.gaps, reader.overlaps, len(sound), caplog.text) == (0, 0, 2 * 48_000, "")


def test_the_sound_of_an_avi_is_one_piece_however_long_its_packets_are(folder):
    """AVI stores no times: FFmpeg takes packets of Vorbis for equally long."""
    wave = folder / "avi.ogg"
    soundfile.write(wave, click_track(TIMES, 2.0, 44_100)[0], 44_100, format="OGG", subtype="VORBIS")
    with av.open(str(wave)) as source, av.open(str(folder / "vorbis.avi"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    reader = AudioReader(folder / "vorbis.avi")
    np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), TIMES, atol=0.004)
    assert (reader.gaps, reader.overlaps) == (0, 0)


@pytest.mark.parametrize(("subtype", "n_channels"), [("VORBIS", 10), ("OPUS", 12), ("VORBIS", 3)])
def test_any_number_of_channels_is_read(folder, subtype, n_channels):
    path = folder / f"{subtype}_{n_channels}.ogg"
    try:
        soundfile.write(path, noise(1, 48_000, n_channels).T, 48_000, format="OGG", subtype=subtype)
    except soundfile.LibsndfileError:
        pytest.skip("this libsndfile does not write it")
    expected, _ = soundfile.read(path)
    weights = [1, 1, 2**0.5] if n_channels == 3 else [1] * n_channels  # Vorbis stores left, centre, right
    expected = expected[:, [0, 2, 1]] if n_channels == 3 else expected
    np.testing.assert_allclose(read(path, 48_000), expected @ weights / sum(weights), atol=1e-4)


@pytest.mark.parametrize("n", [48_000, 50_000, 5_000])
def test_apple_lossless_in_a_core_audio_file_is_read_to_its_last_sample(folder, n):
    path = folder / f"{n}.caf"
    soundfile.write(path, noise(2, 48_000)[0, :n], 48_000, format="CAF", subtype="ALAC_16")
    np.testing.assert_allclose(read(path, 48_000), soundfile.read(path)[0], atol=1e-6)


def test_streams_that_begin_more_than_a_day_apart_are_refused(folder):
    path = write_film(folder / "far.mkv", Track(noise(1, 8_000), 8_000, "flac", start=90_000.0), picture=1.0)
    with pytest.raises(InputError, match=r"begin 90000 s apart, over 86400 s: .*re-encode it"):
        AudioReader(path)


# How loud it is -------------------------------------------------------------------------------------------------------


def loud(path: Path, peak: float, **options) -> tuple[AudioReader, np.ndarray]:
    soundfile.write(path, peak / 0.9 * click_track([0.3, 0.7], 1.0, 24_000)[0] * 1.8, 24_000, **options)
    reader = AudioReader(path)
    return reader, np.concatenate(list(reader))


@pytest.mark.parametrize("peak", [1.2, 7.3, 30_000.0])
def test_sound_beyond_full_scale_is_told_with_its_peak_and_left_as_it_is(folder, peak, caplog):
    with caplog.at_level(logging.WARNING):
        reader, sound = loud(folder / f"{peak}.wav", peak, subtype="FLOAT")
    assert sound.max() == pytest.approx(peak, rel=1e-6) == reader.peak
    decibels = 20 * np.log10(peak)
    assert [
        record.message
        for record in caplog.records
        if f"goes up to {reader.peak:.5g}, {decibels:.1f} dB" in record.message
    ]
    assert len(caplog.records) == 1
    advised = float(re.search(r"`gain=(-[\d.]+)`, or `gain='peak'`", caplog.text)[1])
    assert -decibels - 0.1 <= advised <= -decibels


@pytest.mark.parametrize("peak", [1.02, 2.0, 7.3, 10.0, 30_000.0])
@pytest.mark.parametrize("before", [0.0, 3.0])
def test_the_gain_that_is_advised_suffices(folder, peak, before, caplog):
    loud(folder / "loud.wav", peak, subtype="FLOAT")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        list(AudioReader(folder / "loud.wav", gain=before))
        advised = float(re.search(r"`gain=(-[\d.]+)`, or `gain='peak'`", caplog.text)[1])
        caplog.clear()
        list(AudioReader(folder / "loud.wav", gain=advised))
    assert caplog.text == ""


@pytest.mark.parametrize(("peak", "subtype"), [(1.0, "FLOAT"), (0.2, "DOUBLE"), (1.0, "PCM_16")])
def test_sound_within_full_scale_is_not_told(folder, peak, subtype, caplog):
    with caplog.at_level(logging.WARNING):
        loud(folder / f"{peak}_{subtype}.wav", peak, subtype=subtype)
    assert caplog.text == ""


def test_what_a_lossy_codec_adds_to_full_scale_is_not_told(caplog):
    with caplog.at_level(logging.WARNING):
        reader = AudioReader(DATA / "sintel_trailer.mp4")
        for _ in reader:
            pass
    assert reader.peak > 1
    assert caplog.text == ""


@pytest.mark.parametrize("gain", [-17.5, 6, "peak"])
def test_gain_changes_the_level_by_as_much_and_nothing_else(folder, gain, caplog):
    path = folder / "gain.wav"
    _, plain = loud(path, 5.0, subtype="FLOAT")
    caplog.clear()
    reader = AudioReader(path, gain=gain)
    with caplog.at_level(logging.WARNING):
        sound = np.concatenate(list(reader))
    factor = 1 / np.abs(plain).max() if gain == "peak" else 10 ** (gain / 20)
    np.testing.assert_allclose(sound, plain * factor, rtol=1e-5, atol=1e-7)
    assert reader.peak == pytest.approx(5)
    assert reader.gain_db == pytest.approx(20 * np.log10(factor))
    assert ("beyond full scale" in caplog.text) == (gain == 6)


def test_no_gain_is_no_change_to_the_last_bit_and_silence_has_no_peak(folder):
    path = DATA / "speech.flac"
    np.testing.assert_array_equal(read(path, gain=0), read(path))
    soundfile.write(folder / "silence.wav", np.zeros(8000), 8_000)
    reader = AudioReader(folder / "silence.wav", gain="peak")
    assert not np.concatenate(list(reader)).any()
    assert (reader.peak, reader.gain_db) == (0, 0)


@pytest.mark.parametrize("gain", ["loud", np.nan, None, True, 1000, -201.0, "1e400"])
def test_a_gain_that_is_none_is_refused(gain):
    with pytest.raises(InputError, match=r"gain is .*: expected a number of dB from -200 to 200, or 'peak'"):
        AudioReader(DATA / "speech.flac", gain=gain)


def test_sound_of_rounding_alone_is_not_brought_to_full_scale(folder):
    soundfile.write(folder / "faint.wav", np.full(8000, 1e-30), 8_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"goes up to 1e-30 of full scale 1, so that gain='peak' would be 600 dB"):
        list(AudioReader(folder / "faint.wav", gain="peak"))


def test_to_measure_is_to_read_without_the_samples(folder, caplog):
    clicks = Track(click_track(TIMES, 2.0, 48_000), 48_000, "flac", change=lambda p: shifted(p, 0.6, 0.8))
    path = write_film(folder / "measure.mkv", clicks, picture=3.0)
    read_whole, measured = AudioReader(path), AudioReader(path)
    for _ in read_whole:
        pass
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        measured.measure()
    for name in ("gaps", "gap_seconds", "overlaps", "damaged_packets", "duration", "film_duration", "peak"):
        assert getattr(measured, name) == getattr(read_whole, name)
    assert measured.gaps == 1
    assert caplog.text == ""


# What the samples are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_pcm_of_any_type_is_scaled_as_libsndfile_does(folder, subtype):
    path = folder / f"{subtype}.wav"
    soundfile.write(path, noise(0.5, 24_000)[0], 24_000, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(read(path), expected)


def test_the_speech_sample_is_resampled_as_soxr_does_in_one_go():
    whole, rate = soundfile.read(DATA / "speech.flac", dtype="float32")
    expected = soxr.resample(whole, rate, 24_000)
    sound = read(DATA / "speech.flac")
    assert len(sound) == len(expected) == len(whole) * 3 // 2
    np.testing.assert_allclose(sound, expected, atol=1e-6)


def test_the_trailer_sounds_as_a_plain_decode_of_it():
    with av.open(str(DATA / "sintel_trailer.mp4")) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].pts == 0
    expected = soxr.resample(np.concatenate([frame.to_ndarray() for frame in frames], axis=1).mean(0), 44_100, 24_000)
    reader = AudioReader(DATA / "sintel_trailer.mp4")
    sound = np.concatenate(list(reader))
    np.testing.assert_allclose(sound, expected[: len(sound)], atol=1e-6)
    assert abs(len(sound) - len(expected)) <= 1
    assert (reader.track_delay, reader.gaps, reader.overlaps, reader.damaged_packets) == (0.0, 0, 0, 0)
    assert reader.duration == pytest.approx(reader.duration_hint, abs=0.001)
    assert reader.film_duration == pytest.approx(1252 / 24)
    assert reader.peak == pytest.approx(1.045, abs=0.001)


@pytest.mark.parametrize("chunk_seconds", [0.01, 0.5, 1000])
def test_samples_do_not_depend_on_the_chunks(folder, chunk_seconds):
    path = folder / "chunks.flac"
    soundfile.write(path, noise(2, 44_100, 2).T, 44_100)
    chunks = list(AudioReader(path, chunk_seconds=chunk_seconds))
    size = round(chunk_seconds * 24_000)
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= size
    assert chunks[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(chunks), read(path))


def test_reading_again_reads_the_same(folder):
    path = write_film(
        folder / "again.mkv", Track(noise(1, 44_100), 44_100, "aac", change=lambda p: shifted(p, 0.5, 0.1))
    )
    reader = AudioReader(path)
    first = np.concatenate(list(reader))
    np.testing.assert_array_equal(first, np.concatenate(list(reader)))
    assert reader.gaps == 1


def test_memory_does_not_grow_with_the_film(folder):
    peaks = []
    for seconds in (30, 300):
        path = folder / f"memory_{seconds}.flac"
        soundfile.write(path, noise(seconds, 16_000)[0], 16_000)
        tracemalloc.start()
        for _ in AudioReader(path, chunk_seconds=5):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_a_change_of_rate_and_layout_on_the_way_keeps_the_clock(folder, layout):
    """Transport streams joined end to end, as a broadcast goes from a film to its advertisements."""
    n_channels = CHANNELS[layout]
    first = write_film(folder / f"a_{layout}.ts", Track(click_track([0.5], 1.0, 44_100, 2), 44_100, "mp2", "stereo"))
    then = Track(click_track([0.5], 1.0, 32_000, n_channels), 32_000, "mp2", layout, start=1.0)
    second = write_film(folder / f"b_{layout}.ts", then)
    path = folder / f"ab_{layout}.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    reader = AudioReader(path)
    sound = np.concatenate(list(reader))
    # FFmpeg gives the first frame after the change its old rate; what that shifts (2 ms) is below what is moved.
    np.testing.assert_allclose(click_times(sound, 24_000), [0.5 + 481 / 44_100, 1.5], atol=0.01)
    assert len(sound) == round(reader.duration * 24_000)
