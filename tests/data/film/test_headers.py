"""WAV and Ogg files are what their bytes say, where FFmpeg takes them for something else; oracle: libsndfile."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from giblet.data.film.headers import OggEnd, ogg_end
from giblet.data.media import AudioReader
from giblet.errors import InputError
from tests.films import Track, noise, write_film

RATE = 8_000
INTEGERS, FLOATS = bytes.fromhex("0100000000001000800000aa00389b71"), bytes.fromhex("0300000000001000800000aa00389b71")
LIST = b"LIST" + struct.pack("<I", 18) + b"INFOISFT" + struct.pack("<I", 6) + b"maker\0"


def read(path: Path, rate: int = RATE) -> np.ndarray:
    return np.concatenate(list(AudioReader(path, rate)))


def refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def left_justified(sound: np.ndarray, bits: int, width: int, order: str = "<") -> bytes:
    """Samples of so many bits in so many bytes each, the lower bits of which are 0."""
    values = np.round(sound * (2 ** (bits - 1) - 1)).astype(np.int64) << (8 * width - bits)
    by_byte = values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    return np.ascontiguousarray(by_byte if order == "<" else by_byte[:, ::-1]).tobytes()


def form(
    bits: int, width: int, n_channels: int = 1, valid: int | None = None, kind: bytes = INTEGERS, order: str = "<"
):
    """The content of a format chunk; with `valid` bits that of a WAVE_FORMAT_EXTENSIBLE."""
    block = width * n_channels
    tag = kind[0] if valid is None else 0xFFFE
    fields = struct.pack(order + "HHIIHH", tag, n_channels, RATE, RATE * block, block, bits)
    if valid is None:
        return fields
    kind = kind if order == "<" else struct.pack(">IHH", kind[0], 0, 16) + kind[8:]
    return fields + struct.pack(order + "HHI", 22, valid, 3 if n_channels == 2 else 4) + kind


def riff(
    path: Path, fields: bytes, data: bytes, *, size: int | None = None, whole: int | None = None, after: bytes = b"",
    name: bytes = b"RIFF",
) -> Path:  # fmt: skip
    """A WAV file; `size` and `whole` stand in the header for the sizes of sound and file."""
    order = ">" if name == b"RIFX" else "<"
    body = b"WAVEfmt " + struct.pack(order + "I", len(fields)) + fields
    body += b"data" + struct.pack(order + "I", len(data) if size is None else size) + data + after
    path.write_bytes(name + struct.pack(order + "I", len(body) if whole is None else whole) + body)
    return path


# How samples are stored ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(
    ("valid", "width"), [(8, 2), (12, 2), (16, 3), (20, 3), (8, 4), (16, 4), (20, 4), (24, 4), (31, 4), (32, 4)]
)
def test_samples_are_as_wide_as_their_blocks_not_as_their_valid_bits(tmp_path, valid, width, n_channels):
    sound = noise(0.5, RATE, n_channels)
    path = riff(
        tmp_path / "s.wav", form(8 * width, width, n_channels, valid), left_justified(sound.T.reshape(-1), valid, width)
    )
    expected, _ = soundfile.read(path, always_2d=True)
    reader = AudioReader(path, RATE)
    np.testing.assert_allclose(np.concatenate(list(reader)), expected.mean(1), atol=2e-7)
    assert reader.duration == reader.duration_hint == reader.film_duration == 0.5
    assert reader.info.audio is not None
    assert reader.info.audio.codec == f"pcm_s{8 * width}le"


def rf64(path: Path, fields: bytes, data: bytes) -> Path:
    body = b"WAVEds64" + struct.pack("<IQQQI", 28, 60 + len(fields) + len(data), len(data), 0, 0)
    body += b"fmt " + struct.pack("<I", len(fields)) + fields + b"data" + b"\xff" * 4 + data
    path.write_bytes(b"RF64" + b"\xff" * 4 + body)
    return path


def wave64(path: Path, fields: bytes, data: bytes) -> Path:
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    body = b"wave" + tail
    for name, content in ((b"fmt ", fields), (b"data", data)):
        body += name + tail + struct.pack("<Q", 24 + len(content)) + content
    path.write_bytes(b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000") + struct.pack("<Q", 24 + len(body)) + body)
    return path


@pytest.mark.parametrize("write", [rf64, wave64])
def test_the_long_forms_of_wav_are_read_alike(tmp_path, write):
    path = write(tmp_path / "s.wav", form(32, 4, valid=24), left_justified(noise(0.5, RATE)[0], 24, 4))
    np.testing.assert_allclose(read(path), soundfile.read(path)[0], atol=2e-7)


def test_the_big_endian_form_of_wav_is_no_noise(tmp_path):
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        path = tmp_path / f"{subtype}.wav"
        soundfile.write(path, noise(0.5, RATE)[0], RATE, format="WAV", subtype=subtype, endian="BIG")
        assert path.read_bytes()[:4] == b"RIFX"
        np.testing.assert_allclose(read(path), soundfile.read(path)[0], atol=1e-7)


def test_the_sound_of_an_avi_is_as_wide_as_its_blocks_too(tmp_path):
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    data, block = left_justified(noise(0.5, RATE)[0], 24, 4), 4 * RATE // 10
    packets = [chunk(b"00wb", data[at : at + block]) for at in range(0, len(data), block)]
    stream = b"auds" + bytes(16) + struct.pack("<IIIIIII", 4, 4 * RATE, 0, len(data) // 4, 0, 2**32 - 1, 4) + bytes(8)
    header = chunk(b"strh", stream) + chunk(b"strf", form(32, 4, valid=24))
    body = b"AVI " + chunk(
        b"LIST", b"hdrl" + chunk(b"avih", struct.pack("<14I", 40_000, 0, 0, 0, 0, 0, 1, *[0] * 7))
        + chunk(b"LIST", b"strl" + header)
    ) + chunk(b"LIST", b"movi" + b"".join(packets))  # fmt: skip
    (tmp_path / "s.avi").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_allclose(read(tmp_path / "s.avi"), noise(0.5, RATE)[0], atol=2e-7)


@pytest.mark.parametrize("valid", [None, 64])
def test_integers_of_64_bits_are_read(tmp_path, valid):
    sound = noise(0.5, RATE)[0].astype(np.float64)
    path = riff(tmp_path / "s.wav", form(64, 8, valid=valid), (sound * 2**62).astype("<i8").tobytes())
    np.testing.assert_allclose(read(path), sound / 2, atol=1e-7)


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("valid", [False, True])
def test_floats_stay_floats(tmp_path, width, valid):
    sound = noise(0.5, RATE)[0]
    fields = form(8 * width, width, valid=8 * width if valid else None, kind=FLOATS)
    np.testing.assert_array_equal(read(riff(tmp_path / "s.wav", fields, sound.astype(f"<f{width}").tobytes())), sound)


@pytest.mark.parametrize(("bits", "width"), [(24, 4), (16, 4), (16, 3), (8, 2)])
def test_bytes_that_nobody_says_how_to_fill_are_refused(tmp_path, bits, width):
    """Without WAVE_FORMAT_EXTENSIBLE 24 bits in 4 bytes may be integers, at either end, or Cool Edit's floats."""
    path = riff(tmp_path / "s.wav", form(bits, width), left_justified(noise(0.1, RATE)[0], bits, width))
    refused(path, rf"gives {width} bytes to samples of {bits} bits .* export it as")


def test_a_core_audio_file_that_does_not_say_it_is_refused_too(tmp_path):
    data = left_justified(noise(0.1, RATE)[0], 24, 4)
    about = struct.pack(">d4s5I", RATE, b"lpcm", 2, 4, 1, 1, 24)
    (tmp_path / "s.caf").write_bytes(
        b"caff\0\1\0\0desc" + struct.pack(">q", 32) + about + b"data" + struct.pack(">qI", len(data) + 4, 0) + data
    )
    refused(tmp_path / "s.caf", "4 bytes to samples of 24 bits")


# Where files end -----------------------------------------------------------------------------------------------------


def said_of(path: Path, caplog) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read(path)
    return caplog.text


@pytest.mark.parametrize("after", [b"", LIST])
def test_a_size_that_wrapped_at_4_gb_is_refused_with_both_lengths(tmp_path, after):
    """A recorder's file of 2**32 bytes and 1 s, sparse on the disk."""
    block, length = 32, 2**32 + 32 * RATE
    fields = struct.pack("<HHIIHH", 1, 16, RATE, RATE * block, block, 16)
    path = riff(tmp_path / "s.wav", fields, b"", size=length % 2**32, whole=(length + 36) % 2**32)
    with path.open("r+b") as file:
        file.seek(44 + length)
        file.write(after)
        file.truncate()
    refused(path, r"declares 1\.0 s, but the file has bytes for 16778\.2 s: .* 4 GB, .* convert it")
    path.unlink()


def test_a_header_that_was_not_brought_up_to_date_is_told_with_what_lies_behind(tmp_path, caplog):
    data = left_justified(noise(3, RATE)[0], 16, 2)
    for whole in (36 + len(data), 36 + 2 * RATE):
        path = riff(tmp_path / f"{whole}.wav", form(16, 2), data, size=2 * RATE, whole=whole)
        said = said_of(path, caplog)
        assert "declares 1.00 s of sound; 32000 bytes behind it, enough for 2.00 s, were not read" in said


@pytest.mark.parametrize(
    "after",
    [
        LIST,
        b"bext" + struct.pack("<I", 602) + bytes(602) + LIST,
        b"id3 " + struct.pack("<I", 30_000) + b"ID3" + bytes(29_997),
        b"ID3" + bytes(30_000),
        b"TAG" + bytes(125),
        bytes(60),
    ],
)
def test_titles_and_pictures_behind_the_sound_are_no_sound(tmp_path, after, caplog):
    path = riff(tmp_path / "s.wav", form(16, 2), left_justified(noise(1, RATE)[0], 16, 2), after=after)
    assert said_of(path, caplog) == ""
    assert len(read(path)) == RATE


@pytest.mark.parametrize("size", [0, 2**31, 2**31 - 4096, 2**32 - 1])
def test_a_size_that_was_never_filled_in_is_no_size(tmp_path, size, caplog):
    fields, data = form(32, 4, valid=24), left_justified(noise(1, RATE)[0], 24, 4)
    for whole in (size, None):
        path = riff(tmp_path / f"{whole}.wav", fields, data, size=size, whole=whole)
        assert said_of(path, caplog) == ""
        assert len(read(path)) == RATE


def test_sound_that_goes_on_behind_the_end_of_the_file_is_refused(tmp_path):
    data = left_justified(noise(1, RATE)[0], 16, 2)
    path = riff(tmp_path / "s.wav", form(16, 2), data, size=3 * len(data))
    refused(path, r"is cut off: it holds 1\.00 s of the 3\.00 s")


@pytest.mark.parametrize("kind", ["wav", "rf64", "w64", "rifx"])
def test_whole_files_end_where_they_say(tmp_path, kind, caplog):
    path, sound = tmp_path / f"s.{kind}", noise(1, RATE)[0]
    if kind == "rifx":
        soundfile.write(path, sound, RATE, format="WAV", subtype="PCM_16", endian="BIG")
    else:
        soundfile.write(path, sound, RATE, format=kind.upper(), subtype="PCM_16")
    assert said_of(path, caplog) == ""


# Ogg -----------------------------------------------------------------------------------------------------------------


def check_sum(page: bytes) -> int:
    """CRC-32 of an Ogg page: polynomial 0x04c11db7, from 0, bits as they come."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = ((value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def pages_of(path: Path) -> list[bytes]:
    content, found = path.read_bytes(), []
    while content:
        lengths = content[27 : 27 + content[26]]
        end = 27 + len(lengths) + sum(lengths)
        found.append(content[:end])
        content = content[end:]
    return found


def unmarked(page: bytes) -> bytes:
    """The page without the mark that it is the last."""
    without = page[:5] + bytes([page[5] & ~4]) + page[6:22] + bytes(4) + page[26:]
    return without[:22] + struct.pack("<I", check_sum(without)) + without[26:]


@pytest.fixture(params=["VORBIS", "OPUS"])
def ogg(request, tmp_path) -> Path:
    """4.3 s: not a whole number of frames, nor of pages."""
    path = tmp_path / f"{request.param}.ogg"
    soundfile.write(path, noise(4.3, 48_000)[0], 48_000, format="OGG", subtype=request.param)
    return path


def test_an_ogg_file_without_its_end_mark_is_read_whole_and_told(ogg, caplog):
    expected, _ = soundfile.read(ogg)
    *pages, last = pages_of(ogg)
    ogg.write_bytes(b"".join([*pages, unmarked(last)]))
    assert ogg_end(ogg) is OggEnd.UNMARKED
    reader = AudioReader(ogg, 48_000)
    with caplog.at_level(logging.WARNING):
        sound = np.concatenate(list(reader))
    assert abs(len(sound) / 48_000 - 4.3) < 0.001
    np.testing.assert_allclose(sound[: len(expected)], expected, atol=1e-5)
    assert (reader.gaps, reader.overlaps, reader.damaged_packets) == (0, 0, 0)
    assert [record.message.count("mark that ends an Ogg stream") for record in caplog.records] == [1]


def test_an_ogg_file_that_breaks_off_within_a_page_is_refused(ogg):
    *pages, last = pages_of(ogg)
    whole = b"".join(pages)
    for rest in (last[:-1], last[: len(last) // 2], last[:30], last[:20], last[:4], last[:2]):
        ogg.write_bytes(whole + rest)
        refused(ogg, "is cut off: its last Ogg page is not whole")


def test_a_title_behind_an_ogg_file_is_no_page(ogg, caplog):
    ogg.write_bytes(ogg.read_bytes() + b"TAG" + bytes(125))
    assert said_of(ogg, caplog) == ""


def test_a_page_that_is_missing_is_a_hole_of_its_length(ogg, caplog):
    pages = pages_of(ogg)
    assert len(pages) > 5
    ogg.write_bytes(b"".join(pages[:3] + pages[4:]))
    reader = AudioReader(ogg, 48_000)
    assert len(np.concatenate(list(reader))) == pytest.approx(4.3 * 48_000, abs=500)
    assert (reader.gaps, reader.overlaps) == (1, 0)
    assert reader.gap_seconds > 0.2


def test_ogg_streams_joined_end_to_end_are_refused_not_cut(ogg):
    again = [page[:14] + b"next" + page[18:22] + bytes(4) + page[26:] for page in pages_of(ogg)]
    again = [page[:22] + struct.pack("<I", check_sum(page)) + page[26:] for page in again]
    ogg.write_bytes(ogg.read_bytes() + b"".join(again))
    refused(ogg, "jump by -4.3")


def test_opus_written_by_ffmpeg_ends_as_it_is_heard(tmp_path):
    path = write_film(tmp_path / "s.ogg", Track(noise(2.3, 48_000), 48_000, "libopus"))
    *pages, last = pages_of(path)
    path.write_bytes(b"".join([*pages, unmarked(last)]))
    assert abs(len(read(path, 48_000)) / 48_000 - 2.3) < 0.001
