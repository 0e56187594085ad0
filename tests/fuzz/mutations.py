"""Damage done to files, each time the same for the same seed, format and number."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
"""What a field of a length, a count or a size is set to."""
NUMBERS = (
    "0", "-1", "NaN", "inf", "-inf", "1e308", "1e999", "-0.0", "99999999999999999999", "1e-320", "0x10", "1_000", "٣",
    "1,5", "1/2", "", "n/a", "true", "null", "2147483648", "00:00:99,999", "99999:59:59,999", "[]", "{}",
)  # fmt: skip
"""What a number in a text is replaced by."""
ODD = (
    "\x00", "\x1b[31m", "\u202e", "\u200b", "\ufeff", "\r", "\x0b", "\x85", "\u2028", "\ud7ff", "\U0010ffff", '"', "'",
    "\\", "\t", ",", ";", "<b>", "&amp;", "-->", "../", "%s", "{", "}", "[", "]", "&a", "*a", "!!python/name:x ", "~",
)  # fmt: skip
"""What is put into a text."""
UNITS = (
    b"a", b"9", b" ", b"-", b"\n", b"x ", b"<a", b"(", b">", b"#", b"\n- ", b"A: ", "♪a".encode(), b"9\n", b"{\\",
    b"&#", b'"', b"\t", b"\\", b"#a", b"a\n\n", b"(a)\n",
)  # fmt: skip
"""What is written over and over: readers whose time grows with the square of such a run take minutes."""

Damage = Callable[[bytes, random.Random, bytes], bytes]


def damaged(content: bytes, rng: random.Random, other: bytes, *, text: bool = False) -> bytes:
    """The content of a file after one to four kinds of damage.

    `other` is another file of the format, from which pieces are taken.
    """
    kinds = TEXT * 2 + BYTES if text else BYTES
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        content = rng.choice(kinds)(content, rng, other)
    return content


def _span(content: bytes, rng: random.Random, longest: int) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + rng.randint(1, longest))


def _place(content: bytes, rng: random.Random) -> int:
    """Anywhere, but half of the time near the head, where headers stand."""
    return rng.randrange(min(len(content), 512) if rng.random() < 0.5 else len(content)) if content else 0


def _bits(content: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if changed else 0):
        changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bytes(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, stop = _span(content, rng, 16)
    return content[:start] + rng.randbytes(stop - start) + content[stop:]


def _field(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """A field of 1 to 8 bytes holds an extreme."""
    size = rng.choice((1, 2, 4, 4, 8))
    value = rng.choice(EXTREMES) & (1 << 8 * size) - 1
    start = _place(content, rng)
    return content[:start] + value.to_bytes(size, rng.choice(("little", "big"))) + content[start + size :]


def _cut(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _twice(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, stop = _span(content, rng, 512)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 3)) + content[stop:]


def _gone(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, stop = _span(content, rng, 512)
    return content[:start] + content[stop:]


def _swapped(content: bytes, rng: random.Random, other: bytes) -> bytes:
    a, b, c = sorted(_place(content, rng) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _spliced(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """The head of this file, and the end of the other."""
    return content[: _place(content, rng)] + other[_place(other, rng) :]


def _zeroed(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, stop = _span(content, rng, 256)
    return content[:start] + bytes(stop - start) + content[stop:]


def _number(content: bytes, rng: random.Random, other: bytes) -> bytes:
    found = list(re.finditer(rb"[-+]?\d[\d.,:eE+-]*", content))
    if not found:
        return content
    start, stop = rng.choice(found).span()
    return content[:start] + rng.choice(NUMBERS).encode() + content[stop:]


def _odd(content: bytes, rng: random.Random, other: bytes) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.choice(ODD).encode("utf-8", "surrogatepass") * rng.choice((1, 1, 1, 40)) + content[at:]


def _long(content: bytes, rng: random.Random, other: bytes) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.choice(UNITS) * rng.choice((300, 5000, 20_000)) + content[at:]


def _deep(content: bytes, rng: random.Random, other: bytes) -> bytes:
    at, depth = _place(content, rng), rng.choice((20, 1500))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"<b>", b"</b>"), (b"- ", b""), (b"(", b")")))
    return content[:at] + opened * depth + closed * rng.choice((0, depth)) + content[at:]


def _lines(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """Lines in another order, one of them twice, or without one."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    how = rng.randrange(3)
    if how == 0:
        rng.shuffle(lines)
    elif how == 1:
        lines[at:at] = [lines[at]] * rng.choice((1, 300))
    else:
        del lines[at]
    return b"\n".join(lines)


def _separated(content: bytes, rng: random.Random, other: bytes) -> bytes:
    old, new = rng.sample((b"\t", b",", b";", b" ", b"\n", b":", b'"', b"."), 2)
    return content.replace(old, new, rng.choice((1, -1)))


def _encoded(content: bytes, rng: random.Random, other: bytes) -> bytes:
    written = content.decode("utf-8", "replace")
    return written.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252")), "replace")


BYTES: tuple[Damage, ...] = (_bits, _bytes, _field, _field, _cut, _twice, _gone, _swapped, _spliced, _zeroed)
TEXT: tuple[Damage, ...] = (_number, _number, _odd, _long, _deep, _lines, _separated, _encoded)
