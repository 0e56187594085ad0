"""Captions that show a line again, with a new one below or another word marked: each word read once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise

from giblet.data.words.cues import Cue

FLASH = Fraction("0.02")
"""Seconds: nobody reads a cue as short as this. Captions that roll up stand still for 10 ms between two lines."""
PAUSE = Fraction("0.05")
"""Seconds, about a frame: without a longer pause a line that comes again has stayed on the screen."""
PHRASE = 3
"""Words from which a line that comes again above a new one is the old line, and not spoken again."""
LINES = 100
"""More than a screen holds: of a longer cue only as many lines are looked for in the next one."""


def spoken_once(cues: Sequence[Cue]) -> tuple[list[Cue], int, int]:
    """Cues without the words that are on the screen still from the cue before.

    Live and automatic captions show the last line again above the new one, or the whole line again with another word
    marked. Words are taken for such where the markup alone differs; where a line comes again for 20 ms only; where
    three words or more come again at once above a new line, or as the beginning of a line whose words had times of
    their own; and, however few they are, in a file in which at least half of the cues begin with what the cue before
    ended with.

    Parameters
    ----------
    cues : sequence of Cue

    Returns
    -------
    list of Cue
        Those that hold new words (or never held any), each with spaces in place of the old words.
    n_repeated : int
        Words left out.
    n_doubtful : int
        Cues that are the one before again, without a pause or a sign that the text stands still: they are kept.
    """
    merged = _without_highlights(cues)
    n_repeated = _n_words(cues) - _n_words(merged)
    steps = {step.after.number: step for step in map(_step, *_neighbours(merged))}
    rolls = sum(step.near and (step.kind == "roll" or step.still) for step in steps.values())
    grows = sum(step.near and step.kind == "grow" for step in steps.values())
    rolling, growing = rolls > 0 and 2 * rolls >= len(steps), grows > 1 and 2 * grows >= len(steps)
    kept, n_doubtful = [], 0
    for cue in merged:
        step = steps.get(cue.number)
        if step is None or not step.is_old(rolling, growing):
            n_doubtful += step is not None and step.near and step.kind == "hold" and step.n_old > 1
            if cue.text.split() or not rolling:  # captions that roll up have empty cues
                kept.append(cue)
            continue
        n_repeated += step.n_old
        if step.kind != "hold":
            end = list(re.finditer(r"\S+", cue.text))[step.n_old - 1].end()
            kept.append(replace(cue, text=re.sub(r"\S", " ", cue.text[:end]) + cue.text[end:]))
    return kept, n_repeated, n_doubtful


def _n_words(cues: Sequence[Cue]) -> int:
    return sum(len(cue.text.split()) for cue in cues)


def _neighbours(cues: Sequence[Cue]) -> tuple[list[Cue], list[Cue]]:
    """The cues with text, all but the last and all but the first."""
    filled = [cue for cue in cues if cue.text.split()]
    return filled[:-1], filled[1:]


@dataclass(frozen=True)
class _Step:
    """What a cue shows of the one before."""

    before: Cue
    after: Cue
    n_old: int
    """Words at its beginning that are the last lines of the one before."""
    kind: str
    """``"hold"``: nothing else is in the cue; ``"roll"``: new lines follow; ``"grow"``: the line goes on; or ``""``."""

    @property
    def near(self) -> bool:
        return self.after.onset - self.before.offset <= PAUSE

    @property
    def still(self) -> bool:
        """Whether the cue is the last lines of the one before for certain."""
        seconds = min(cue.offset - cue.onset for cue in (self.before, self.after))
        return self.kind == "hold" and (seconds <= FLASH or (bool(self.before.stamps) and self.n_old >= PHRASE))

    def is_old(self, rolling: bool, growing: bool) -> bool:
        """Whether those words are still on the screen, and not spoken again."""
        if self.kind == "roll":
            return rolling or (self.near and self.n_old >= PHRASE)
        if self.kind == "hold":
            return self.near and (rolling or self.still)
        sure = (rolling or bool(self.before.stamps)) and self.n_old >= PHRASE
        return self.kind == "grow" and self.near and (growing or sure)


def _step(before: Cue, after: Cue) -> _Step:
    shown, now = before.text.split(), after.text.split()
    lines = [line.split() for line in before.text.split("\n")]
    starts = [start for start, line in zip(accumulate(map(len, lines), initial=0), lines, strict=False) if line]
    n_untimed, ends = _untimed(after)
    for start in starts[-LINES:]:
        n = len(shown) - start
        if n <= n_untimed and now[:n] == shown[start:]:
            return _Step(before, after, n, "hold" if n == len(now) else "roll" if n in ends else "grow")
    return _Step(before, after, 0, "")


def _untimed(cue: Cue) -> tuple[int, set[int]]:
    """Words in the lines above the first that has times of its own, which is new, and in how many they end a line."""
    place, n, ends = 0, 0, set()
    for line in cue.text.split("\n"):
        if any(place <= stamp <= place + len(line) for stamp, _ in cue.stamps):
            break
        n += len(line.split())
        ends.add(n)
        place += len(line) + 1
    return n, ends


def _without_highlights(cues: Sequence[Cue]) -> list[Cue]:
    """Cues of which each run that differs in its marked word only is one cue, whose words have the runs' times."""
    groups: list[list[Cue]] = []
    for cue in cues:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and cue.text.split()
            and cue.text.split() == last.text.split()
            and cue.marked != last.marked
            and not (cue.stamps or last.stamps)
            and cue.onset - last.offset <= PAUSE
        ):
            groups[-1].append(cue)
        else:
            groups.append([cue])
    return [_merged(group) for group in groups]


def _merged(group: Sequence[Cue]) -> Cue:
    if len(group) == 1:
        return group[0]
    first, last = group[0], group[-1]
    stamps = [(cue.marked, cue.onset) for cue in group if cue.marked is not None]
    ordered = all(before[0] < after[0] for before, after in pairwise(stamps))
    return replace(first, offset=last.offset, stamps=tuple(stamps) if ordered else ())
