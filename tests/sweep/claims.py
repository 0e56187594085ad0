"""What is claimed of a file that was read in two ways, and what of it does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.sweep.films import Film
from tests.sweep.measure import TR, Measured
from tests.sweep.oracle import Stretch
from tests.sweep.sources import MARKS

SOUND, LEVEL = 0.001, 0.1
"""Seconds and dB by which sound may differ."""
RESIDUE = 0.01
"""Share of the RMS of the sound by which any 20 ms of it may differ: 40 dB."""
IMAGE = 3.0
"""Mean difference of pixel values, of 255, that is only rounding."""


def problems(film: Film, found: Measured) -> list[str]:
    """What is further from the other decoding, or from how the film was made, than the claim allows."""
    of_sound = _of_sound(film, found) if film.audio else []
    of_picture = _of_picture(film, found) if film.video else []
    late, allowed = made_errors(film, found), _frame(film)
    beside = "sound is late beside the picture" if film.audio and film.video else "marks are late after the beginning"
    of_both = [f"by how it was made, {beside} by {_ms(late)}"] if _largest(late) > allowed else []
    return [*of_sound, *of_picture, *of_both]


def _of_sound(film: Film, found: Measured) -> list[str]:
    reader, other = found.reader, found.other
    assert reader is not None
    steps = _steps(other.stretches)
    holes, overlaps = [step for step in steps if step > 0], [-step for step in steps if step < 0]
    built = [seconds for _, seconds in film.jumps] + [film.lost] * bool(film.lost)
    begin, end = other.stretches[0].start, other.sound_end
    levels = [round(float(error), 3) for error in found.level_errors]
    there_are_as_made = film.muxer_holes or (len(built) == len(steps) and abs(sum(built) - sum(steps)) < 2 * SOUND)
    said = {
        f"{len(found.sound_errors)} bursts, not {len(MARKS)}": _wrong_number(found.sound_errors, film),
        f"bursts late by {_ms(found.sound_errors)}": _largest(found.sound_errors) > SOUND,
        f"sound late by {_ms(found.shifts)}": _largest(found.shifts) > SOUND,
        f"levels off by {levels} dB": _largest(found.level_errors) > LEVEL,
        f"20 ms of it differ by {found.residue:.4f} of the sound's RMS": found.residue > RESIDUE,
        f"the hole is not silent: {found.silence:.4f} of the sound's RMS": found.silence > RESIDUE,
        f"the sound begins at {reader.track_delay:.4f} s, not {begin:.4f} s": abs(reader.track_delay - begin) > SOUND,
        f"the sound ends at {reader.duration:.4f} s, not {end:.4f} s": abs(reader.duration - end) > SOUND,
        f"{found.n_native} samples for {reader.duration:.6f} s": (
            found.n_native != round(reader.duration * other.stretches[0].rate)
        ),
        f"it was made with steps of {built} s, the other decoder sees {steps}": not there_are_as_made,
        f"gaps {reader.gaps}, not {len(holes)}": reader.gaps != len(holes),
        f"gaps of {reader.gap_seconds:.4f} s, not {holes}": abs(reader.gap_seconds - sum(holes)) > SOUND,
        f"overlaps {reader.overlaps}, not {len(overlaps)}": reader.overlaps != len(overlaps),
        f"overlaps of {reader.overlap_seconds:.4f} s, not {overlaps}": (
            abs(reader.overlap_seconds - sum(overlaps)) > SOUND
        ),
        f"damaged packets {reader.damaged_packets}, not {film.damaged_packets}": (
            reader.damaged_packets != film.damaged_packets
        ),
        f"the film ends at {reader.film_duration:.4f} s, not {other.end:.4f} s": (
            abs(reader.film_duration - other.end) > _frame(film)
        ),
    }
    return [words for words, wrong in said.items() if wrong]


def _of_picture(film: Film, found: Measured) -> list[str]:
    reader, other, frame = found.pictures, found.other, _frame(film)
    assert reader is not None
    begin, end = float(reader.info.video_offset or 0), float(reader.film_duration)
    known = film.damaged is not None
    said = {
        f"{len(found.flashes)} flashes, not {len(MARKS)}": _wrong_number(found.flashes, film),
        "other flashes than the other decoder has": len(found.picture_errors) != 2 * len(found.flashes),
        f"flashes begin or end late by {_ms(found.picture_errors)}": _largest(found.picture_errors) > frame,
        f"the picture is said to begin at {begin:.4f} s, not {other.frame_starts[0]:.4f} s": (
            abs(begin - other.frame_starts[0]) > frame
        ),
        f"{found.n_shown} frames and {reader.damaged} damaged, not {found.n_other}": (
            found.n_shown + reader.damaged < found.n_other
        ),
        f"{found.n_shown} frames, not {found.n_other}": known and found.n_shown != found.n_other,
        f"damaged {reader.damaged}, not {film.damaged}": known and reader.damaged != film.damaged,
        f"a frame begins {1000 * found.frame_error:.1f} ms early or late": (known and found.frame_error > frame),
        f"a frame differs by {found.image_error:.1f} of 255": known and found.image_error > IMAGE,
        f"luminance of a TR differs by {found.luminance_error:.3f}": (known and found.luminance_error > frame / TR),
        f"the film ends at {end:.4f} s, not {other.end:.4f} s": abs(end - other.end) > frame,
    }
    return [words for words, wrong in said.items() if wrong]


def made_errors(film: Film, found: Measured) -> list[float]:
    """Seconds by which marks are later than the film was made to have them, the last mark first.

    Of a film with both, by which the sound is late beside the picture; else after the first sample or frame.
    """
    heard, bursts = found.sound_truth[::-1], film.bursts()[::-1]  # from the end, as the beginning may be cut off
    shown, flashes = ([end for _, end in marks][::-1] for marks in (found.flashes, film.flashes()))
    if film.video and film.audio:
        pairs = zip(heard, shown, bursts, flashes, strict=False)
        return [(a - b) - (burst - flash) for a, b, burst, flash in pairs]
    mine, made = (heard, bursts) if film.audio else (shown, flashes)
    errors = [a - b for a, b in zip(mine, made, strict=False)]
    return [error - errors[0] for error in errors] if film.cut else errors


def _frame(film: Film) -> float:
    """Seconds of a frame, and of a film without picture what sound is allowed."""
    return float(1 / film.fps) + 1e-6 if film.video else SOUND


def _steps(stretches: Sequence[Stretch]) -> list[float]:
    """Seconds between stretches, negative where they overlap."""
    return [round(after.start - before.end, 6) for before, after in pairwise(stretches)]


def _wrong_number(marks: Sequence, film: Film) -> bool:
    return not len(MARKS) - film.cut <= len(marks) <= len(MARKS)


def _largest(values: Sequence[float]) -> float:
    return max(map(abs, values), default=0.0)


def _ms(values: Sequence[float]) -> str:
    return f"{[round(1000 * float(value), 2) for value in values]} ms"
