"""A film tells its tracks and its duration before it is read; what cannot be read whole is refused in one line."""

import logging
import os
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile

from giblet.data.audio import AudioSettings
from giblet.data.film import packets
from giblet.data.media import AudioReader, media_info
from giblet.errors import InputError
from giblet.pipeline import extract_many
from tests.films import Track, click_times, click_track, cut_file, noise, replaced, write_film

DATA = Path(__file__).parents[3] / "samples"


def read(path: Path, sample_rate: int = 24_000, **options) -> np.ndarray:
    return np.concatenate(list(AudioReader(path, sample_rate, **options)))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("films")


# What is told --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def two_tracks(folder) -> Path:
    tracks = [
        Track(click_track([0.5], 1.0, 48_000, 2), 48_000, "libopus", "stereo", language="eng"),
        Track(click_track([0.7], 1.0, 44_100), 44_100, "flac", language="deu"),
    ]
    return write_film(folder / "two.mkv", *tracks, picture=1.0)


def test_the_first_track_is_read_and_another_can_be_chosen(two_tracks):
    for track, when in ((None, 0.5), (0, 0.5), (1, 0.7)):
        reader = AudioReader(two_tracks, track=track)
        np.testing.assert_allclose(click_times(np.concatenate(list(reader)), 24_000), [when], atol=0.001)
        assert reader.info.audio is not None
        assert reader.info.audio.index == (track or 0)
    info = media_info(two_tracks)
    assert info.audio == info.tracks[0]
    assert (info.audio.codec, info.audio.layout, info.audio.sample_rate) == ("opus", "stereo", 48_000)
    assert [track.language for track in info.tracks] == ["eng", "deu"]


def test_the_track_that_is_marked_as_default_is_read(folder):
    tracks = [Track(click_track([when], 1.0, 48_000), 48_000, "flac") for when in (0.5, 0.7)]
    path = write_film(folder / "marked.mkv", *tracks, options={"default_mode": "passthrough"}, default=1)
    np.testing.assert_allclose(click_times(read(path), 24_000), [0.7], atol=0.001)


@pytest.mark.parametrize("track", [2, -1, True, "deu"])
def test_a_track_that_is_not_there_is_refused_with_the_list_of_those_that_are(two_tracks, track):
    with pytest.raises(InputError, match=r"no sound track .*0 \(opus, stereo, 48000 Hz, eng\), 1 \(flac.*deu\)"):
        AudioReader(two_tracks, track=track)


@pytest.mark.parametrize("name", ["hint.flac", "hint.mp3", "hint.mkv", "hint.mp4"])
def test_the_duration_to_expect_is_known_before_reading(folder, name):
    codec = {"flac": "flac", "mp3": "libmp3lame", "mkv": "libopus", "mp4": "aac"}[name.split(".")[1]]
    reader = AudioReader(write_film(folder / name, Track(noise(3, 48_000), 48_000, codec)))
    assert reader.duration_hint == pytest.approx(3.0, abs=0.03)
    for _ in reader:
        pass
    assert reader.duration == pytest.approx(3.0, abs=0.03)


def test_a_film_that_outlasts_its_sound_is_whole(folder):
    path = write_film(folder / "silent_end.mp4", Track(noise(1, 44_100), 44_100), picture=4.0)
    reader = AudioReader(path)
    assert len(np.concatenate(list(reader))) < 1.1 * 24_000
    assert reader.film_duration == pytest.approx(4.0, abs=0.01)


def test_a_film_whose_last_packet_is_said_to_last_longer_is_whole(folder):
    def stretched(packets):
        packets[-1].duration += 44_100
        return packets

    path = write_film(folder / "stretched.mp4", Track(noise(2, 44_100), 44_100, "aac", change=stretched))
    assert media_info(path).duration_hint == pytest.approx(3.0, abs=0.05)
    assert len(read(path)) == pytest.approx(2 * 24_000, abs=0.05 * 24_000)


def test_a_film_without_sound_still_has_a_zero(folder):
    path = write_film(folder / "silent.mp4", picture=1.0, picture_start=0.5)
    assert media_info(path).audio is None
    assert media_info(path).zero == Fraction(1, 2)
    with pytest.raises(InputError, match=r"has no sound track; .* \(VideoSettings\)"):
        AudioReader(path)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(capfd):
    """FFmpeg says nothing on its own: errors are ours to tell."""
    yield
    out = capfd.readouterr()
    assert (out.out, out.err) == ("", "")


def refused(path: Path, match: str, **options) -> None:
    with pytest.raises(InputError, match=match) as caught:
        read(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(folder, quiet):
    refused(folder / "nowhere.mp4", "No such file")
    refused(folder, "Is a directory")


def test_what_is_no_film_is_refused(folder, quiet):
    for name, content in (
        ("text.mp4", b"Dear all,\nfind enclosed\n" * 50),
        ("empty.mp4", b""),
        ("noise.wav", bytes(3000)),
    ):
        (folder / name).write_bytes(content)
        refused(folder / name, "cannot read .* as film or sound|holds neither")


def test_subtitles_alone_are_neither_sound_nor_picture(folder, quiet):
    path = folder / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    refused(path, r"neither sound nor picture \(srt\)")


def test_what_one_may_not_read_is_refused(folder):
    path = folder / "secret.wav"
    soundfile.write(path, noise(0.1, 8_000)[0], 8_000)
    path.chmod(0)
    as_root = os.geteuid() == 0
    try:
        if as_root:  # whom permissions do not stop
            os.seteuid(65534)
        refused(path, "Permission denied")
    finally:
        if as_root:
            os.seteuid(0)
        path.chmod(0o600)


CUT = {
    "cut.mp4": ("aac", {"movflags": "faststart"}),
    "cut.mkv": ("aac", {}),
    "cut.webm": ("libopus", {}),
    "cut.flac": ("flac", {}),
    "cut.wav": ("pcm_s16le", {}),
    "cut.aiff": ("pcm_s16be", {}),
    "cut.avi": ("libmp3lame", {}),
}


@pytest.mark.parametrize("name", CUT)
def test_a_film_that_is_cut_off_is_refused_with_the_seconds_that_are_there(folder, name, quiet):
    codec, options = CUT[name]
    picture = 6.0 if name.endswith(("mp4", "mkv", "webm", "avi")) else None
    video = "libvpx" if name.endswith("webm") else "mpeg4"
    whole = write_film(
        folder / name, Track(noise(6, 48_000), 48_000, codec), picture=picture, codec=video, options=options
    )
    read(whole)
    refused(cut_file(whole, 0.6), r"is cut off: it holds [34]\.\d\d s of the [56]\.\d\d s")


def test_an_ogg_file_that_is_cut_off_is_refused(folder, quiet):
    path = folder / "cut.ogg"
    soundfile.write(path, noise(6, 16_000)[0], 16_000, format="OGG", subtype="VORBIS")
    read(path)
    for share in (0.5, 0.999):
        refused(cut_file(path, share), "is cut off: its last Ogg page is not whole")


def test_an_mp4_without_its_index_is_refused(folder, quiet):
    whole = write_film(folder / "no_moov.mp4", Track(noise(2, 44_100), 44_100), picture=2.0)
    refused(cut_file(whole, 0.8), "cannot read .* as film or sound")


def test_an_mp3_that_is_shorter_than_its_estimate_is_read_with_a_warning(folder, caplog):
    path = cut_file(write_film(folder / "cut.mp3", Track(noise(6, 44_100), 44_100, "libmp3lame")), 0.5)
    with caplog.at_level(logging.WARNING):
        assert len(read(path)) == pytest.approx(3 * 24_000, rel=0.02)
    assert "s were expected" in caplog.text


def test_a_recording_whose_header_never_got_its_size_is_read(folder):
    """As written into a pipe: the sizes in the header stay at their largest value."""
    wav = folder / "pipe.wav"
    soundfile.write(wav, noise(2, 8_000)[0], 8_000)
    content = bytearray(wav.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    wav.write_bytes(content)
    live = write_film(
        folder / "live.mkv", Track(noise(2, 8_000), 8_000, "pcm_s16le"), picture=2.0, options={"live": "1"}
    )
    for path in (wav, live):
        assert len(read(path)) == 2 * 24_000


def test_sound_without_samples_is_refused(folder, quiet):
    path = folder / "nothing.wav"
    soundfile.write(path, np.zeros(0), 8_000)
    refused(path, "nothing can be heard on sound track 0")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused_with_their_second(folder, value, quiet):
    sound = noise(3, 8_000)[0]
    sound[20_000] = value
    path = folder / f"{value}.wav"
    soundfile.write(path, sound, 8_000, subtype="FLOAT")
    refused(path, rf"at 2\.500 s is {value}")


def test_a_codec_that_ffmpeg_does_not_have_is_refused(folder, quiet):
    path = write_film(folder / "unknown.mkv", Track(noise(1, 48_000), 48_000, "libopus"))
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_NONE"))
    refused(path, "no decoder")


class Raises:
    """Whatever it is asked for, it raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str):
        def raises(*args, **options):
            raise self.error

        return raises


@pytest.mark.parametrize("error", [ValueError("Conversion from 's64'\nis not supported"), struct.error("unpack"),
                                   UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "no"), RuntimeError(), KeyError("x"),
                                   MemoryError("out of it"), av.error.MemoryError(12, "Cannot allocate")])  # fmt: skip
@pytest.mark.parametrize("place", ["open", "decode", "demux", "resample"])
def test_whatever_ffmpeg_or_pyav_raises_becomes_one_line(folder, error, place, monkeypatch):
    path = folder / "raises.wav"
    soundfile.write(path, noise(1, 8_000)[0], 8_000)
    if place == "open":
        monkeypatch.setattr(av, "open", Raises(error).open)
    elif place == "decode":
        if isinstance(error, av.FFmpegError):
            pytest.skip("these are damaged packets")
        monkeypatch.setattr(packets.PacketReader, "_decoder", lambda self, stream: Raises(error))
    elif place == "demux":
        whole = packets.PacketReader.__init__

        def broken(self, *arguments):
            whole(self, *arguments)
            self.container = SimpleNamespace(
                demux=Raises(error).demux, format=self.container.format, streams=self.container.streams
            )

        monkeypatch.setattr(packets.PacketReader, "__init__", broken)
    else:
        monkeypatch.setattr(av.audio.frame, "format_dtypes", {})
        monkeypatch.setattr(av.audio.resampler, "AudioResampler", lambda **options: Raises(error))
    with pytest.raises(InputError, match="cannot read") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_cut_short_becomes_one_line(folder, quiet):
    path = folder / "short.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + struct.pack("<I", 16) + b"\1\0\1\0")
    refused(path, r"cannot read .*short\.wav")


def test_a_batch_goes_on_behind_a_film_that_cannot_be_read(folder, tmp_path):
    soundfile.write(tmp_path / "good.wav", noise(1, 8_000)[0], 8_000)
    bad = bytearray((tmp_path / "good.wav").read_bytes())
    bad[32:34] = struct.pack("<H", 4)  # 4 bytes for 16 bits
    (tmp_path / "bad.wav").write_bytes(bad)
    settings = AudioSettings.make(use_encodec=False, n_mels=16, tr=0.5)
    results = list(extract_many([tmp_path / "bad.wav", tmp_path / "good.wav"], settings, tmp_path))
    assert [result.status for result in results] == ["failed", "written"]
    assert "4 bytes to samples of 16 bits" in str(results[0].error)


def test_a_damaged_packet_becomes_silence_and_is_told(folder, quiet, caplog):
    def damaged(packets):
        return replaced(packets, 40, b"\xff" * 300)

    clicks = Track(click_track([0.25, 1.73], 2.0, 44_100), 44_100, "aac", change=damaged)
    path = write_film(folder / "damaged.mp4", clicks)
    reader = AudioReader(path)
    with caplog.at_level(logging.WARNING):
        sound = np.concatenate(list(reader))
    assert (reader.damaged_packets, reader.gaps) == (1, 1)
    assert reader.gap_seconds == pytest.approx(1024 / 44_100, abs=1e-4)
    assert "1 damaged packets" in caplog.text
    np.testing.assert_allclose(click_times(sound, 24_000), [0.25, 1.73], atol=0.001)


def test_streams_that_come_up_on_the_way_do_not_stop_the_reading(folder):
    first = write_film(folder / "sound.ts", Track(noise(1, 48_000), 48_000, "mp2"))
    more = [Track(noise(1, 48_000), 48_000, "mp2", start=1.0) for _ in range(3)]
    second = write_film(folder / "more.ts", *more, picture=1.0, picture_start=1.0)
    path = folder / "grows.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert len(read(path)) == pytest.approx(2 * 24_000, abs=0.05 * 24_000)


@pytest.mark.parametrize("jump", [700.0, -1.5])
def test_timestamps_that_jump_out_of_all_proportion_are_refused(folder, jump):
    first = write_film(folder / "jump_a.ts", Track(noise(2, 48_000), 48_000, "mp2"))
    second = write_film(folder / "jump_b.ts", Track(noise(2, 48_000), 48_000, "mp2", start=2 + jump))
    path = folder / f"jump_{jump}.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    refused(path, r"jump by [+-]\d+\.\d\d s at 2\.0")


def test_a_change_of_rate_without_timestamps_is_refused(folder):
    first = write_film(folder / "first.aac", Track(noise(1, 44_100), 44_100, "aac"))
    second = write_film(folder / "second.aac", Track(noise(1, 48_000), 48_000, "aac"))
    path = folder / "both.aac"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    refused(path, "changes from 44100 to 48000 Hz at 1.0")


@pytest.mark.parametrize(
    "options", [{"sample_rate": 0}, {"sample_rate": 24e3}, {"sample_rate": True}, {"chunk_seconds": 0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match="expected "):
        AudioReader(DATA / "speech.flac", **options)


def test_names_and_titles_in_any_spelling_are_read(folder):
    path = folder / "sub-01:run ö%03d.flac"
    with av.open(str(folder / "title.flac"), "w") as container:
        container.metadata["title"] = "Cafe"
        stream = container.add_stream("flac", rate=8_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8_000
        container.mux(stream.encode(frame) + stream.encode(None))
    path.write_bytes((folder / "title.flac").read_bytes().replace(b"Cafe", b"Caf\xe9"))
    assert len(read(path, 8_000)) == 8_000
