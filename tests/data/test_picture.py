"""Frames are shown when the film says, upright, whatever FFmpeg guesses; what is repaired is counted."""

import logging
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.reformatter import ColorRange

from giblet.data.media import AudioReader, film_zero, media_info
from giblet.data.picture import PictureReader, ShownFrame
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from tests.films import Track, click_times, click_track, cut_file, noise, write_film

F = Fraction


def grey(value: int | np.ndarray, size: tuple[int, int] = (48, 64)) -> av.VideoFrame:
    image = np.full((*size, 3), value, np.uint8) if np.isscalar(value) else value
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")


def write(
    path: Path, times: list[F], white: set[int] = frozenset(), *, fps: int = 25, codec: str = "mpeg4",
    b_frames: int = 0, change=lambda packets: packets, sound: Track | None = None, images: list | None = None,
    options: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """A film whose frame i begins at ``times[i]`` and is white if named, or an image; `change` is done to packets."""
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = F(1, fps)
        video.codec_context.max_b_frames, video.codec_context.gop_size = b_frames, 50
        heard = None
        if sound is not None:
            heard = container.add_stream(sound.codec, rate=sound.sample_rate, layout="mono")
        packets: list[Packet] = []
        for i, time in enumerate(times):
            frame = grey(images[i] if images else 255 if i in white else 64)
            frame.pts, frame.time_base = round(time / video.codec_context.time_base), video.codec_context.time_base
            packets += video.encode(frame)
        packets = change(packets + video.encode(None))
        if sound is not None and heard is not None:
            block = av.AudioFrame.from_ndarray(
                np.ascontiguousarray((sound.waveform * 32767).astype(np.int16)), format="s16", layout="mono"
            )
            block.sample_rate, block.pts, block.time_base = sound.sample_rate, 0, F(1, sound.sample_rate)
            packets += heard.encode(block) + heard.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def steady(n: int, fps: int = 25) -> list[F]:
    return [F(k, fps) for k in range(n)]


def shown(path: Path) -> tuple[PictureReader, list[ShownFrame]]:
    reader = PictureReader(path)
    return reader, list(reader)


def flashes(frames: list[ShownFrame]) -> list[float]:
    return [float(item.start) for item in frames if item.pixels((4, 4)).mean() > 200]


def counts(reader: PictureReader) -> tuple[int, int, int]:
    return reader.damaged, reader.overlapping, reader.mended


# Containers that store when frames are decoded, not when they are shown ----------------------------------------------


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
@pytest.mark.parametrize("b_frames", [0, 1, 2])
@pytest.mark.parametrize("suffix", ["avi", "asf"])
def test_frames_out_of_order_in_a_film_without_presentation_times_are_all_shown_in_time(
    tmp_path, suffix, b_frames, codec, caplog
):
    white = {26, 51, 77}
    path = write(tmp_path / f"b.{suffix}", steady(100), white, b_frames=b_frames, codec=codec)
    with caplog.at_level(logging.WARNING):
        reader, frames = shown(path)
    assert len(frames) == 100
    assert frames[0].start == 0
    assert all(before.end == after.start for before, after in pairwise(frames))
    np.testing.assert_allclose(flashes(frames), [k / 25 for k in sorted(white)], atol=0.002)
    assert float(reader.film_duration) == pytest.approx(4, abs=0.05)
    assert (counts(reader), reader.info.video_offset, caplog.text) == ((0, 0, 0), 0, "")


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", ["avi", "mkv", "mov", "asf"])
def test_flash_and_click_stay_together_without_presentation_times(tmp_path, suffix, b_frames):
    sound = Track(click_track([0.6, 1.4, 2.2], 4, 48_000), 48_000, "pcm_s16le")
    path = write(tmp_path / f"s.{suffix}", steady(100), {15, 35, 55}, b_frames=b_frames, sound=sound)
    _, frames = shown(path)
    heard = click_times(np.concatenate(list(AudioReader(path, 48_000))), 48_000)
    np.testing.assert_allclose(flashes(frames), heard, atol=0.021)


def test_times_of_decoding_that_pass_for_those_of_showing_are_put_in_order(tmp_path, caplog):
    """As FFmpeg's wrapper of Xvid writes them: frames in the order of decoding, each with the next time."""

    def in_order_of_decoding(packets):
        for packet, time in zip(packets, sorted(packet.pts for packet in packets), strict=True):
            packet.pts = packet.dts = time
        return packets

    path = write(tmp_path / "x.mkv", steady(80), {30}, b_frames=2, change=in_order_of_decoding)
    with av.open(str(path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times != sorted(times)
    with caplog.at_level(logging.WARNING):
        reader, frames = shown(path)
    assert [item.start for item in frames] == [F(k, 25) for k in range(80)]
    np.testing.assert_allclose(flashes(frames), [1.2], atol=0.001)
    assert (counts(reader), caplog.text) == ((0, 0, 0), "")


# Timestamps that those around them contradict ------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.09, 5.0, 700.0, -0.09, -5.0])
def test_a_timestamp_that_the_next_frames_take_back_moves_one_frame_at_most(tmp_path, seconds, caplog):
    def moved(packets):
        for packet in packets:
            packet.dts -= round(6 / packet.time_base)  # muxers refuse times of showing before those of decoding
        packets[140].pts += round(seconds / packets[140].time_base)
        return packets

    path = write(tmp_path / "jump.mkv", steady(200), {150}, change=moved)
    with caplog.at_level(logging.WARNING):
        reader, frames = shown(path)
    starts = np.array([float(item.start) for item in frames])
    assert len(frames) == 200
    assert np.abs(starts - np.arange(200) / 25).max() < 0.041
    assert float(reader.film_duration) == pytest.approx(8, abs=0.05)
    np.testing.assert_allclose(flashes(frames), [6], atol=0.001)
    assert reader.damaged == reader.overlapping == 0
    assert reader.mended <= 1
    assert ("1 timestamps" in caplog.text) == (reader.mended == 1)


def test_frames_that_go_back_to_what_was_shown_are_left_out_and_told_as_such(tmp_path, caplog):
    first = write_film(tmp_path / "a.ts", picture=2.0, codec="mpeg2video", fps=25)
    second = write_film(tmp_path / "b.ts", picture=2.0, picture_start=1.6, codec="mpeg2video", fps=25)
    (tmp_path / "ab.ts").write_bytes(first.read_bytes() + second.read_bytes())
    with caplog.at_level(logging.WARNING):
        reader, frames = shown(tmp_path / "ab.ts")
    assert all(before.end == after.start for before, after in pairwise(frames))
    assert 8 <= reader.overlapping <= 12
    assert reader.damaged == 0
    assert f"{reader.overlapping} frames of the picture that go back in time" in caplog.text


# Packets that are no frames, and the end -----------------------------------------------------------------------------


def test_an_empty_packet_is_the_picture_before_once_more_not_damage(tmp_path, caplog):
    """VP8 and Theora write a packet of no bytes where nothing has changed."""

    def emptied(packets):
        for packet in packets[11:20]:
            empty = Packet(b"")
            empty.pts, empty.dts, empty.time_base, empty.stream = (
                packet.pts,
                packet.dts,
                packet.time_base,
                packet.stream,
            )
            empty.duration = packet.duration
            packets[packets.index(packet)] = empty
        return packets

    path = write(tmp_path / "still.nut", steady(40), codec="mpeg4", change=emptied)
    with av.open(str(path)) as container:
        assert sum(packet.size == 0 and packet.pts is not None for packet in container.demux()) == 9
    with caplog.at_level(logging.WARNING):
        reader, frames = shown(path)
    assert len(frames) == 31
    assert frames[10].end - frames[10].start == F(10, 25)
    assert (counts(reader), caplog.text) == ((0, 0, 0), "")


@pytest.mark.skipif("libx264" not in av.codecs_available, reason="needs an encoder that looks far ahead")
@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_hole_long_before_does_not_lengthen_the_end(tmp_path, suffix, b_frames):
    """A frame behind the hole is decoded before those ahead of it, and its length in an MP4 is that of the hole."""
    times = [F(k, 25) for k in (*range(47), *range(200, 250))]
    path = write(tmp_path / f"vfr.{suffix}", times, b_frames=b_frames, codec="libx264")
    if b_frames and suffix != "mkv":
        with av.open(str(path)) as container:
            assert max(((p.pts or 0) + (p.duration or 0)) * p.time_base for p in container.demux()) > 14
    reader, frames = shown(path)
    assert float(frames[-1].end) == pytest.approx(10, abs=0.05)
    assert float(reader.film_duration) == pytest.approx(10, abs=0.05)
    assert (frames[46].start, frames[46].end) == (F(46, 25), 8)
    assert VideoProcessor(tr=1.5, size=(4, 6)).extract(path).sizes["tr"] == 7


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_last_picture_that_stays_is_shown_until_the_end_that_the_header_gives(tmp_path, b_frames):
    def longer(packets):
        packets[-1].duration = round(F(3) / packets[-1].time_base)
        return packets

    path = write(tmp_path / "still.mp4", steady(50), b_frames=b_frames, change=longer)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        declared = stream.duration * stream.time_base
    assert declared > 4
    reader, frames = shown(path)
    assert frames[-1].end == reader.film_duration == declared


@pytest.mark.parametrize("suffix", ["avi", "asf", "mkv", "mov"])
def test_sound_and_picture_agree_on_the_length_of_the_film(tmp_path, suffix):
    times = [time for time in steady(100) if time < 1 or time >= 3]
    path = write(tmp_path / f"s.{suffix}", times, b_frames=2, sound=Track(noise(1, 48_000), 48_000, "pcm_s16le"))
    heard = AudioReader(path)
    heard.measure()
    reader, _ = shown(path)
    assert heard.film_duration == float(reader.film_duration) == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {"movflags": "faststart"}), ("mkv", {}), ("avi", {})])
def test_a_film_of_pictures_only_that_is_cut_off_is_refused(tmp_path, suffix, options):
    images = list(np.random.default_rng(0).integers(0, 256, (200, 48, 64, 3), np.uint8))
    path = write(tmp_path / f"p.{suffix}", steady(200), images=images, options=options)
    shown(path)
    with pytest.raises(InputError, match=r"is cut off: it holds [3456]\.\d\d s of the [78]\.\d\d s"):
        shown(cut_file(path, 0.6))


def test_the_last_frame_is_shown_for_one_where_nothing_says_how_long(tmp_path):
    reader, frames = shown(write(tmp_path / "s.flv", steady(30), codec="flv"))
    assert len(frames) == 30
    assert float(frames[-1].end - frames[-1].start) == pytest.approx(0.04, abs=0.001)
    assert float(reader.film_duration) == pytest.approx(1.2, abs=0.001)


# When the picture begins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "flac"), ("ts", "mp2"), ("mov", "pcm_s16le"), ("avi", "pcm_s16le")]
)
def test_a_picture_that_begins_after_ffmpegs_first_look_begins_when_it_does(tmp_path, suffix, codec):
    track = Track(noise(16, 48_000), 48_000, codec)
    path = write_film(tmp_path / f"late.{suffix}", track, picture=2.0, picture_start=13.0, codec="mpeg2video", fps=25)
    features = VideoProcessor(tr=1.0, size=(4, 6)).extract(path)
    priming = 481 / 48_000 if codec == "mp2" else 0
    assert media_info(path).video_offset == pytest.approx(13 + priming, abs=0.041)
    assert features.attrs["track_delay"] == media_info(path).video_offset
    np.testing.assert_allclose(features.shown[:12], 0)
    np.testing.assert_allclose(features.shown[14], 1, atol=0.041)


def test_film_zero_is_that_of_the_first_frame_not_of_the_header(tmp_path):
    """A transport stream that is entered between two key frames: what cannot be decoded is not shown."""
    whole = write(tmp_path / "w.ts", steady(120), codec="mpeg2video")
    content = whole.read_bytes()
    part = tmp_path / "part.ts"
    part.write_bytes(content[: 3 * 188] + content[len(content) // 3 // 188 * 188 :])
    reader, frames = shown(part)
    assert frames[0].start == 0
    with av.open(str(part)) as container:
        first = next(frame for frame in container.decode(video=0) if not frame.is_corrupt)
    assert film_zero(part) == first.pts * first.time_base
    assert reader.info.video_offset == 0


# Turned and mirrored -------------------------------------------------------------------------------------------------

TURNS = {
    "as stored": ((1, 0, 0, 1), lambda x: x),
    "to the left": ((0, -1, 1, 0), np.rot90),
    "upside down": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "to the right": ((0, 1, -1, 0), lambda x: np.rot90(x, 3)),
    "left to right": ((-1, 0, 0, 1), np.fliplr),
    "top to bottom": ((1, 0, 0, -1), np.flipud),
    "along the diagonal": ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    "along the other": ((0, -1, -1, 0), lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_frame_is_turned_and_mirrored_as_its_film_says(tmp_path, turn):
    matrix, expected = TURNS[turn]
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32] = 250, 120, 60
    path = write(tmp_path / "t.mov", steady(5), images=[image] * 5, codec="mpeg4")
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(content)
    pixels = shown(path)[1][0].pixels()
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels.astype(int), expected(image).astype(int), atol=40)
    inner = np.abs(pixels[4:-4:8, 4:-4:8].astype(int) - expected(image)[4:-4:8, 4:-4:8])
    assert np.median(inner) < 6
    for size in ((12, 16), (16, 12)):
        small = shown(path)[1][0].pixels(size)
        assert small.shape == (*size, 3)
        corner = expected(image)[3, 3, 0]
        assert abs(int(small[1, 1, 0]) - int(corner)) < 12
    features = VideoProcessor(tr=0.2, size=(12, 16)).extract(path)
    assert abs(int(features.frames.values[0, 1, 1, 0]) - int(expected(image)[3, 3, 0])) < 12


def test_pixels_that_are_wider_than_high_are_made_square_where_no_size_is_asked_for(tmp_path):
    with av.open(str(tmp_path / "sar.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.sample_aspect_ratio = F(3, 2)
        frame = grey(90)
        frame.pts, frame.time_base = 0, F(1, 25)
        container.mux(video.encode(frame) + video.encode(None))
    item = shown(tmp_path / "sar.mkv")[1][0]
    assert item.pixels().shape == (48, 96, 3)
    assert item.pixels((9, 16)).shape == (9, 16, 3)


@pytest.mark.parametrize(("in_full", "white"), [(True, 235), (False, 255)])
def test_grey_film_of_limited_range_is_white_where_it_is_white(tmp_path, in_full, white):
    with av.open(str(tmp_path / "grey.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "gray"
        video.codec_context.color_range = ColorRange.JPEG if in_full else ColorRange.MPEG
        frame = av.VideoFrame.from_ndarray(np.full((48, 64), 235, np.uint8), format="gray")
        frame.pts, frame.time_base, frame.color_range = 0, F(1, 25), video.codec_context.color_range
        container.mux(video.encode(frame) + video.encode(None))
    assert np.unique(shown(tmp_path / "grey.mkv")[1][0].pixels()) == white
