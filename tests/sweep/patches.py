"""Changes to the bytes of made files, for what neither ffmpeg nor libsndfile will write."""

from __future__ import annotations

import struct
from collections.abc import Iterator

OGG_END = 4
"""The bit in the header of an Ogg page that says that it is the last of its stream."""
TS_PACKET, PTS_RATE = 188, 90_000
SOUND_PID, PICTURE_PID = 0x101, 0x100
"""Of a transport stream that ffmpeg writes with picture and sound."""


def cut_in_a_gop(content: bytes) -> bytes:
    """A transport stream from 28 % of its bytes on, at a whole packet of 188: it begins between key frames."""
    return content[len(content) * 28 // 100 // TS_PACKET * TS_PACKET :]


def cut_in_a_packet(content: bytes) -> bytes:
    """A stream of packets from 12 % of its bytes on, in the middle of a packet."""
    return content[len(content) * 12 // 100 :]


def forget_sizes(content: bytes) -> bytes:
    """A WAV as a pipe writes it: the sizes of file and data are not known."""
    at = content.index(b"data") + 4
    return content[:4] + b"\xff" * 4 + content[8:at] + b"\xff" * 4 + content[at + 4 :]


def forget_length(content: bytes) -> bytes:
    """A FLAC as a pipe writes it: the number of samples, 36 bits of the first block, is not known."""
    at = 4 + 4 + 13
    return content[:at] + bytes((content[at] & 0xF0,)) + bytes(4) + content[at + 5 :]


def take_the_end_mark(content: bytes) -> bytes:
    """An Ogg file none of whose pages says that it is the last: a recorder was switched off after a whole page."""
    pages, at = bytearray(content), 0
    while at < len(pages):
        n_segments = pages[at + 26]
        end = at + 27 + n_segments + sum(pages[at + 27 : at + 27 + n_segments])
        pages[at + 5] &= ~OGG_END
        pages[at + 22 : at + 26] = bytes(4)
        check = 0
        for byte in pages[at:end]:
            check ^= byte << 24
            for _ in range(8):
                check = (check << 1 ^ 0x104C11DB7 if check & 1 << 31 else check << 1) & 0xFFFFFFFF
        pages[at + 22 : at + 26] = struct.pack("<I", check)
        at = end
    return bytes(pages)


def turn_down(content: bytes) -> bytes:
    """An Opus header in Matroska, which asks for 6 dB less."""
    at = content.index(b"OpusHead") + 16
    return content[:at] + struct.pack("<h", -6 * 256) + content[at + 2 :]


def lose_sound(content: bytes) -> bytes:
    """A transport stream without the two packets of sound (PES) that begin 1.2 s after the first or later."""
    return _without(content, SOUND_PID, after=1.2, n=2)


def lose_picture(content: bytes) -> bytes:
    """A transport stream without the three packets of picture (PES) that come after those of the first 0.8 s."""
    return _without(content, PICTURE_PID, after=0.8, n=3)


def step_back(content: bytes) -> bytes:
    """The sound's timestamps in a transport stream lie 0.2 s earlier from 1.4 s after the first on."""
    changed, first = bytearray(content), None
    for _, pid, pes in _ts_packets(content):
        if pid == SOUND_PID and pes:
            pts = _pts(content, pes)
            first = pts if first is None else first
            if pts >= first + 1.4 * PTS_RATE:
                pts -= PTS_RATE // 5
                low = (pts >> 22 & 0xFF, pts >> 14 & 0xFE | 1, pts >> 7 & 0xFF, pts << 1 & 0xFE | 1)
                changed[pes + 9 : pes + 14] = bytes((content[pes + 9] & 0xF1 | pts >> 29 & 0x0E, *low))
    return bytes(changed)


def _ts_packets(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each packet begins, its stream, and where in it a PES packet with a timestamp begins, or 0."""
    for start in range(0, len(content), TS_PACKET):
        head = content[start : start + 4]
        pes = start + 4 + (1 + content[start + 4] if head[3] & 0x20 else 0)
        begins = head[1] & 0x40 and content[pes : pes + 3] == b"\0\0\1" and content[pes + 7] & 0x80
        yield start, (head[1] & 0x1F) << 8 | head[2], pes if begins else 0


def _pts(content: bytes, pes: int) -> int:
    a, b, c, d, e = content[pes + 9 : pes + 14]
    return (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1


def _without(content: bytes, lost: int, after: float, n: int) -> bytes:
    kept, first, n_lost, losing = [], None, 0, False
    for start, pid, pes in _ts_packets(content):
        if pid == lost and pes:
            pts = _pts(content, pes)
            first = pts if first is None else first
            losing = pts >= first + after * PTS_RATE and n_lost < n
            n_lost += losing
        if pid != lost or not losing:
            kept.append(content[start : start + TS_PACKET])
    assert n_lost == n, f"{n_lost} packets, not {n}"
    return b"".join(kept)


def turn_by_90(content: bytes) -> bytes:
    """The display matrix of the first track of an MP4 turns it clockwise by 90 degrees, as phones write it."""
    return _turned(content, (0, 1, -1, 0))


def turn_by_180(content: bytes) -> bytes:
    """The display matrix of the first track of an MP4 turns it by 180 degrees."""
    return _turned(content, (-1, 0, 0, -1))


def turn_by_270(content: bytes) -> bytes:
    """The display matrix of the first track of an MP4 turns it clockwise by 270 degrees."""
    return _turned(content, (0, -1, 1, 0))


def _turned(content: bytes, turn: tuple[int, int, int, int]) -> bytes:
    at = content.index(b"tkhd") + 44
    width, height = (value >> 16 for value in struct.unpack(">II", content[at + 36 : at + 44]))
    a, b, c, d = turn
    x, y = -min(0, a * width + c * height), -min(0, b * width + d * height)
    numbers = [value << 16 for value in (a, b, 0, c, d, 0, x, y)]
    numbers[2] = numbers[5] = 0
    return content[:at] + struct.pack(">8iI", *numbers, 1 << 30) + content[at + 36 :]


def call_24_bits_valid(content: bytes) -> bytes:
    """A WAVEFORMATEXTENSIBLE header of 32-bit integers says that 24 of them are valid."""
    return _valid(content, 24)


def call_20_bits_valid(content: bytes) -> bytes:
    """A WAVEFORMATEXTENSIBLE header of 24-bit integers says that 20 of them are valid."""
    return _valid(content, 20)


def _valid(content: bytes, n_bits: int) -> bytes:
    at = content.index(b"fmt ") + 8
    assert struct.unpack("<H", content[at : at + 2]) == (0xFFFE,)
    return content[: at + 18] + struct.pack("<H", n_bits) + content[at + 20 :]


def unset_mask(content: bytes) -> bytes:
    """A WAVEFORMATEXTENSIBLE header that names no loudspeakers."""
    at = content.index(b"fmt ") + 8
    return content[: at + 20] + bytes(4) + content[at + 24 :]
