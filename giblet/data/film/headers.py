"""What the bytes of WAV, AVI and Ogg files say where FFmpeg does not: types of samples, and where files should end.

FFmpeg takes samples for as wide as the bits that are valid in them, a number of bytes that wrapped at 4 GB for the
truth, and what is there of an Ogg file for the whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

LARGEST_OGG_PAGE, OGG_END = 65_307, 4
"""Bytes of header and body; the bit in a page's header that says that it is the last of its stream."""

TWO_GB, FOUR_GB, NEVER_FILLED_IN = 2**31, 2**32, 2**16
"""Programs that could not go back to fill in a size have left 0, or a number no further than this from 2**31 or
2**32."""

EXTENSIBLE, INTEGERS, FLOATS = 0xFFFE, 1, 3
MEDIA_SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the tag in the identifier of a WAVE_FORMAT_EXTENSIBLE."""

TAGS = (b"ID3", b"TAG", b"APE")
"""How titles and pictures begin that programs have hung behind the end of a file."""

Chunk = tuple[bytes, int, int]
"""Name, and the place and size of the content in bytes."""
Order = Literal["little", "big"]


@dataclass(frozen=True)
class SampleFormat:
    """How a WAVEFORMATEX says that samples are stored."""

    tag: int
    n_channels: int
    sample_rate: int
    """In Hz."""
    block: int
    """Bytes of one sample of all channels."""
    bits: int
    """Of a sample; those that are valid, unless the format is `extensible`."""
    extensible: bool
    order: Order

    @property
    def width(self) -> int:
        """Bytes of a sample of one channel."""
        return self.block // max(1, self.n_channels)

    @property
    def unclear(self) -> bool:
        """Whether samples have more bytes than bits and nothing says how they fill them: integers, or 24.0 floats."""
        return self.tag == INTEGERS and not self.extensible and 0 < self.bits <= 8 * (self.width - 1)

    @property
    def codec(self) -> str | None:
        """FFmpeg's decoder of samples stored so; None where the header speaks of something other than plain samples."""
        kind = {INTEGERS: "s", FLOATS: "f"}.get(self.tag)
        if kind is None or self.width not in {"s": (1, 2, 3, 4, 8), "f": (4, 8)}[kind]:
            return None
        return "pcm_u8" if self.width == 1 else f"pcm_{kind}{8 * self.width}{self.order[0]}e"


@dataclass
class RiffHeader:
    """What the chunks of a WAV (RIFF, RIFX, RF64, BW64), Wave64, AVI or Core Audio file declare."""

    declared: int | None
    """Bytes of the file; None where that was never filled in."""
    formats: list[SampleFormat] = field(default_factory=list)
    """Of the sound tracks, in their order."""
    sound: int | None = None
    """Bytes of sound in a WAV file; None where that was never filled in."""
    missing: int = 0
    """Bytes of sound that a WAV file lacks."""
    unread: int = 0
    """Bytes behind the sound of a WAV file that by its header are no part of it."""
    wrapped: bool = False
    """Whether those are so many that the number of bytes did not fit into the header's 32 bits."""

    def seconds(self, n_bytes: int) -> Fraction:
        """How long so many bytes of a WAV file sound.

        Parameters
        ----------
        n_bytes : int

        Returns
        -------
        Fraction
        """
        return Fraction(n_bytes, max(1, self.formats[0].block * self.formats[0].sample_rate))


def riff_header(path: Path) -> RiffHeader | None:
    """What the header of a WAV, Wave64, AVI or Core Audio file says.

    Parameters
    ----------
    path : Path

    Returns
    -------
    RiffHeader or None
        None for other files.

    Raises
    ------
    OSError, struct.error
        If the file cannot be read, or a part of its header is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(40)
        name, kind = start[:4], start[8:12]
        order: Order = "big" if name == b"RIFX" else "little"
        declared = int.from_bytes(start[4:8], order) + 8
        if name == b"riff" and start[24:28] == b"wave":
            declared = int.from_bytes(start[16:24], order)
            return _wave(file, size, RiffHeader(_filled_in(declared)), _wave64_chunks(file, size), order)
        if name in (b"RIFF", b"RIFX") and kind == b"WAVE":
            return _wave(file, size, RiffHeader(_filled_in(declared)), _chunks(file, 12, size, order), order)
        if name in (b"RF64", b"BW64") and kind == b"WAVE":
            declared, sound = struct.unpack("<QQ", start[20:36])  # of the chunk ds64, which is the first
            chunks = _chunks(file, 12, size, order, sound)
            return _wave(file, size, RiffHeader(_filled_in(declared + 8)), chunks, order)
        if name == b"RIFF" and kind == b"AVI ":
            return RiffHeader(_filled_in(declared), list(_avi_formats(file, 12, size)))
        if name == b"caff":
            return RiffHeader(None, list(_caf_formats(start + file.read(12))))
    return None


def _filled_in(size: int) -> int | None:
    """A size as declared; None for a number that stands for "not known"."""
    near = min(abs(size - TWO_GB), abs(size - FOUR_GB)) < NEVER_FILLED_IN
    return None if size <= 8 or near or size >= 2**62 else size


def _chunks(file: BinaryIO, at: int, end: int, order: Order, sound: int = 0) -> Iterator[Chunk]:
    """The chunks of a RIFF file as long as there are some; `sound` is the size of that named data, if not 0."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(8)
        name, size = head[:4], int.from_bytes(head[4:], order)
        if not all(32 <= byte < 127 for byte in name):
            return
        size = sound if sound and name == b"data" else size
        yield name, at + 8, size
        at += 8 + size + size % 2


def _wave64_chunks(file: BinaryIO, end: int) -> Iterator[Chunk]:
    """The chunks of a Wave64 file; their names are the first letters of their identifiers."""
    at = 40
    while at + 24 <= end:
        file.seek(at)
        head = file.read(24)
        size = int.from_bytes(head[16:], "little")
        if size < 24:
            return
        yield head[:4], at + 24, size - 24
        at += -(-size // 8) * 8


def _wave(file: BinaryIO, size: int, header: RiffHeader, chunks: Iterator[Chunk], order: Order) -> RiffHeader:
    """Fill in the header of a WAV file of `size` bytes."""
    behind, whole = size, size
    for name, at, length in chunks:
        if name == b"fmt ":
            file.seek(at)
            header.formats.append(_sample_format(file.read(min(length, 40)), order))
        elif name == b"data":
            # A number that stands for "not known" is larger than what is there.
            header.sound = length if 0 < length <= size - at and length != FOUR_GB - 1 else _filled_in(length)
            if header.sound is None or at + length > size:
                header.missing = 0 if header.sound is None else at + length - size
                return header
            behind = at + length
        whole = at + length
    file.seek(whole)
    if behind < size and file.read(3) not in TAGS:
        # Chunks reach to the end of the file or are none: sound may happen to look like one.
        header.wrapped = size - behind >= FOUR_GB - NEVER_FILLED_IN
        header.unread = size - behind if header.wrapped or size - whole > 1 else 0
    return header


def _avi_formats(file: BinaryIO, at: int, end: int) -> Iterator[SampleFormat]:
    """The formats of the sound tracks that an AVI file declares before its packets begin."""
    kind = b""
    for name, content, length in _chunks(file, at, end, "little"):
        file.seek(content)
        inside = file.read(min(length, 40))
        if name == b"LIST" and inside[:4] == b"movi":
            return
        if name == b"LIST" and inside[:4] in (b"hdrl", b"strl"):
            yield from _avi_formats(file, content + 4, min(end, content + length))
        elif name == b"strh":
            kind = inside[:4]
        elif name == b"strf" and kind == b"auds":
            yield _sample_format(inside, "little")


def _caf_formats(start: bytes) -> Iterator[SampleFormat]:
    """The format of plain samples in a Core Audio file, if it is unclear: FFmpeg reads the others as they are."""
    sample_rate, kind, flags, block, in_packet, n_channels, bits = struct.unpack(">d4s5I", start[20:52])
    tag = FLOATS if flags & 1 else INTEGERS
    stored = SampleFormat(tag, n_channels, int(sample_rate), block, bits, False, "little" if flags & 2 else "big")
    if start[8:12] == b"desc" and kind == b"lpcm" and in_packet == 1 and stored.unclear:
        yield stored


def _sample_format(content: bytes, order: Order) -> SampleFormat:
    sign = "<" if order == "little" else ">"
    tag, n_channels, rate, _, block, bits = struct.unpack(f"{sign}HHIIHH", content[:16])
    extensible = tag == EXTENSIBLE and content[26:40] == MEDIA_SUBTYPE
    if extensible:
        (tag,) = struct.unpack(f"{sign}H", content[24:26])
    return SampleFormat(tag, n_channels, rate, block, bits, extensible, order)


class OggEnd(Enum):
    """What stands at the end of an Ogg file."""

    MARKED = "a whole page that is marked as the last"
    UNMARKED = "a whole page that is not marked as the last"
    CUT = "part of a page, or of a packet"


def ogg_end(path: Path) -> OggEnd | None:
    """What stands at the end of an Ogg file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    OggEnd or None
        None for other files.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return None
        file.seek(max(0, size - 2 * LARGEST_OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    end = 27 + len(lengths) + sum(lengths)
    if len(page) < max(28, end) or lengths[-1] == 255 or b"OggS".startswith(page[end : end + 4] or b"-"):
        return OggEnd.CUT
    return OggEnd.MARKED if page[5] & OGG_END else OggEnd.UNMARKED
