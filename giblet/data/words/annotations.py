"""Words with their times as aligners and annotators leave them: TextGrid of Praat, and JSON of Gentle and Whisper."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from giblet.cells import decoded
from giblet.data.words.cues import Cue
from giblet.errors import InputError, reading
from giblet.files import atomic_path
from giblet.timing import exact

TEXTGRID, JSON = ".textgrid", ".json"

_SIZE = re.compile(
    r"(?:intervals|points): size = (\d{1,18})\b|"
    r'"(?:IntervalTier|TextTier)"\s+"(?:[^"]|"")*"\s+[-+.\deE]+\s+[-+.\deE]+\s+(\d{1,18})\s'
)
"""How many intervals or points a tier says it has: in the long form, in the short one."""

WORD_TIERS = ("words", "word")
"""What aligners call the tier of words, behind the speaker's name where there are several (``anna - words``)."""

SILENCES = frozenset(
    ["sp", "sil", "<sil>", "<eps>", "<p:>", "#", "{sl}", "{sp}", "{ns}", "{br}", "{lg}", "{ls}", "{cg}"]
)
"""Labels of intervals in which nobody says a word: Praat by hand, MFA, MAUS, and Penn's noises in braces."""


def read_textgrid(
    path: Path, *, tier: str | None = None, encoding: str | None = None, silent: bool = True
) -> list[Cue]:
    """The intervals of one tier of a TextGrid that hold a word.

    Parameters
    ----------
    path : Path
        Long or short, UTF-8 or UTF-16.
    tier : str, optional
        Its name. By default the only tier, or the only one that is called "words" or "word".
    encoding : str, optional
        By default UTF-8, or UTF-16 if the file begins with its byte-order mark.
    silent : bool
        Leave out intervals whose label stands for silence or noise (:data:`SILENCES`).

    Returns
    -------
    list of Cue
        Each with the number of its interval; points of a point tier are events of length 0.

    Raises
    ------
    InputError
        If praatio is not installed, the file is no TextGrid, its intervals overlap, the tier is not there or holds no
        words.

    See Also
    --------
    read_aligner_json : The same of JSON.
    giblet.data.words.subtitles.read_timed_text : Timed text of any kind, from its file.
    """
    textgrid = _praatio()
    content = decoded(path, encoding)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.TextGrid"
        plain.write_text(content, encoding="utf-8")
        with reading(path.name, "correct these intervals in Praat, or save it from Praat as a text file again"):
            # Not "error": a total time that is shorter than its intervals, as in a clip, says nothing of the words.
            grid = textgrid.openTextgrid(str(plain), includeEmptyIntervals=True, reportingMode="silence")
    _check_whole(content, [len(one.entries) for one in grid.tiers], path.name)
    name = _tier_of(grid.tierNames, tier, path.name)
    cues = []
    for number, (*times, label) in enumerate(grid.getTier(name).entries, 1):
        onset, offset = exact(times[0]), exact(times[-1])
        if label.strip() and not (silent and label.strip().lower() in SILENCES):
            cues.append(Cue(number, onset, offset, label))
    if not cues:
        n = len(grid.getTier(name).entries)
        raise InputError(
            f"{path.name}: tier {name!r} is empty: none of its {n} intervals holds a word; "
            f"{_others(grid.tierNames, name)}"
        )
    return cues


def _praatio() -> ModuleType:
    try:
        from praatio import textgrid
    except ModuleNotFoundError as exc:
        raise InputError(
            "praatio is not installed, which reads and writes TextGrids: pip install 'giblet[words]'"
        ) from exc
    return textgrid


def _check_whole(content: str, found: Sequence[int], name: str) -> None:
    """Raise if tiers have fewer intervals than they say: praatio reads a file that was cut as a shorter one."""
    said = [int(long or short) for long, short in _SIZE.findall(content)]
    for number, (n_said, n_found) in enumerate(zip_longest(said, found, fillvalue=0), 1):
        if n_found < n_said:
            raise InputError(
                f"cannot read {name}: its tier {number} says that it has {n_said} intervals, but {n_found} are there: "
                "it is cut short; copy it again, or save it from Praat again"
            )


def _tier_of(names: Sequence[str], asked: str | None, source: str) -> str:
    """The tier to read."""
    if not names:
        raise InputError(f"{source} holds no tiers; save the one of the words in it")
    if asked is not None:
        if asked not in names:
            raise InputError(f"{source} has no tier {asked!r}: it has {', '.join(names)}; name one of these, tier=...")
        return asked
    found = [name for name in names if name.lower().rpartition(" - ")[2].strip() in WORD_TIERS]
    if len(found) == 1 or (len(names) == 1 and not found):
        return (found or names)[0]
    which = f"{len(found)} tiers of words" if found else f"{len(names)} tiers, none of them called words"
    raise InputError(f"{source} has {which} ({', '.join(found or names)}): name the one to read, tier=...")


def _others(names: Sequence[str], name: str) -> str:
    others = [other for other in names if other != name]
    return f"read another, tier=... ({', '.join(others)})" if others else "there is no other tier"


def read_aligner_json(path: Path, *, encoding: str | None = None, untimed: str = "error") -> tuple[list[Cue], int]:
    """The words of a JSON file of Gentle, whisperX or Whisper.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8, or UTF-16 if the file begins with its byte-order mark.
    untimed : {"error", "drop", "instant"}
        What to do with words that the aligner did not find: they have no onset, so "instant" does not help.

    Returns
    -------
    cues : list of Cue
        Each with the number of its word in the file. Segments of Whisper without times of words are one each.
    n_untimed : int
        Words left out because they have no onset or no end.

    Raises
    ------
    InputError
        If it is no JSON, or of an aligner that is not known; a word has no times; or a time is no number.

    See Also
    --------
    read_textgrid : The same of a TextGrid.
    """
    with reading(path.name, "it is no JSON, or cut short"):
        content = json.loads(decoded(path, encoding))
    rows = _rows(content, path.name)
    cues, n_untimed = [], 0
    for number, (word, start, end) in enumerate(rows, 1):
        if start is None or end is None:
            if untimed != "drop":
                raise InputError(
                    f"{path.name}, word {number}: {word!r} was not found in the sound, so it has no times; correct the "
                    "file, or set untimed='drop' to leave such words out"
                )
            n_untimed += 1
            continue
        times = [_seconds(time, f"{path.name}, word {number}") for time in (start, end)]
        cues.append(Cue(number, times[0], times[1], word))
    if n_untimed and not cues:
        raise InputError(f"{path.name}: none of {n_untimed} words has times; align it again")
    return cues, n_untimed


Row = tuple[str, Any, Any]
"""A word, and its onset and end as the file has them, or None."""


def _rows(content: Any, name: str) -> list[Row]:
    """The words of a file, by the fields that its aligner writes."""
    if isinstance(content, Mapping):
        words, segments = content.get("words"), content.get("segments")
        if _all(words, "word", "case"):
            return [_of_gentle(word) for word in words]
        if _all(segments, "text", "start", "end"):
            return [row for segment in segments for row in _of_whisper(segment)]
        if _all(words := content.get("word_segments"), "word"):
            return [(w["word"], w.get("start"), w.get("end")) for w in words]
        fields = f"its fields are {', '.join(map(str, content))[:80]}" if content else "it is empty"
    else:
        fields = f"it holds {'a list' if isinstance(content, list) else type(content).__name__}"
    raise InputError(
        f"{name} is of an aligner that giblet does not know: {fields}; expected those of Gentle (words: word, case, "
        "start, end) or whisperX (segments: text, start, end, words); write a table of onset, offset and text instead"
    )


def _all(items: Any, *fields: str) -> TypeGuard[list[Mapping[str, Any]]]:
    """Whether these are objects of which each has these fields."""
    listed = isinstance(items, list) and len(items) > 0
    return listed and all(isinstance(item, Mapping) and all(field in item for field in fields) for item in items)


def _of_gentle(word: Mapping[str, Any]) -> Row:
    timed = word["case"] == "success"
    return word["word"], word.get("start") if timed else None, word.get("end") if timed else None


def _of_whisper(segment: Mapping[str, Any]) -> list[Row]:
    words = segment.get("words")
    if _all(words, "word"):
        return [(word["word"], word.get("start"), word.get("end")) for word in words]
    return [(segment["text"], segment["start"], segment["end"])] if str(segment["text"]).strip() else []


def _seconds(time: Any, where: str) -> Fraction:
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        raise InputError(f"{where}: its time is {time!r}; expected a number of seconds")
    return exact(time, f"{where}: its time")


def write_textgrid(path: Path, tiers: Mapping[str, Sequence[tuple[float, float, str]]], duration: float) -> None:
    """Write a TextGrid in Praat's long form, UTF-8.

    Parameters
    ----------
    path : Path
    tiers : mapping of str to sequence of tuple
        By name, its intervals: onset and offset in seconds, label. They are in order and do not overlap.
    duration : float
        Seconds at which the TextGrid ends, at least.

    Raises
    ------
    InputError
        If praatio is not installed, intervals overlap, or the file cannot be written.

    See Also
    --------
    read_textgrid : reads a tier of it.
    """
    textgrid = _praatio()
    end = max([duration, *(offset for intervals in tiers.values() for _, offset, _ in intervals)])
    with reading(f"the intervals of {path.name}", "they must be in order and not overlap"):
        grid = textgrid.Textgrid(0, end)
        for name, intervals in tiers.items():
            grid.addTier(textgrid.IntervalTier(name, list(intervals), 0, end))
    with atomic_path(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True)
