"""One split of what was shown, for all who saw it: a second of film is in one part, whoever saw it, when and how often.

Subjects share the weights that say what a film is, so that film which one subject is tested on must not be the training
film of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from giblet.data.splits import Splits
from giblet.docs import fill_doc
from giblet.errors import InputError

GAP, TRAIN, VAL, TEST = 8, 1, 2, 4
"""Parts as bits, so that the film of a TR can be in several."""
PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
ROUNDING = 1e-3
"""TRs by which the clocks of two presentations may differ and are the same."""


@dataclass(frozen=True)
class ShownRun:
    """What one run showed: successive TRs of a film."""

    starts: Mapping[str, float]
    """The second at which row 0 began, by file (its SHA-256), each on the file's own clock."""
    n_trs: int

    @fill_doc
    def rows_before(self, other: ShownRun, tr: float) -> float | None:
        """By how many TRs this one begins later in the film than `other`.

        Parameters
        ----------
        other : ShownRun
        tr : float
            %(tr)s

        Returns
        -------
        float or None
            Negative where it begins earlier; None if they have no file in common.
        """
        common = sorted(set(self.starts) & set(other.starts))
        return (self.starts[common[0]] - other.starts[common[0]]) / tr if common else None


@dataclass(frozen=True)
class StimulusSplit:
    """Splits of all subjects that follow one split of the stimulus."""

    splits: dict[str, Splits]
    """By subject."""
    moved: dict[str, int]
    """By part, TRs of the stimulus that it lost, as their film is in an earlier part too."""
    left_out: dict[str, int]
    """By subject, TRs of film of a part that are in none: their BOLD answers to film of another part too."""


@fill_doc
def split_stimulus(
    shown: Mapping[str, Sequence[ShownRun]],
    tr: float,
    split: Callable[[np.ndarray], Splits],
    *,
    min_trs: int = 1,
) -> StimulusSplit:
    """Cut what was shown, and give each TR of each subject the part of its second of film.

    The stimulus is what the subject who saw most was shown, and behind it what only others saw. It is cut as one scan.
    Film that comes in several parts belongs to the first of training, validation and test. TRs within a gap behind film
    of another part belong to none.

    Parameters
    ----------
    shown : mapping of str to sequence of ShownRun
        The runs of each subject, in order.
    tr : float
        %(tr)s
    split : callable
        :func:`giblet.data.splits.make_splits` for the run of each TR of the whole stimulus, int64 (n_trs,).
    min_trs : int
        The least length of each subject's training, and of validation and test in at least one subject.

    Returns
    -------
    StimulusSplit
        One subject who saw each film once has what `split` gives.

    Raises
    ------
    InputError
        If subjects have no film in common, or too little is left of a part.

    See Also
    --------
    giblet.data.splits.make_splits : One split of one scan.
    leaked : What a split of each subject's own lets through.
    """
    check_common(shown)
    pieces = _stimulus(shown, tr)
    lengths = [piece.n_trs for piece in pieces]
    cut = split(np.repeat(np.arange(1, len(pieces) + 1), lengths))
    labels = _labels(cut, sum(lengths))
    of_pieces = np.split(labels, np.cumsum(lengths)[:-1])
    splits, left_out = {}, {}
    for name, own in shown.items():
        parts, film = zip(*(_parts_of(run, pieces, of_pieces, tr, cut.gap_trs) for run in own), strict=True)
        splits[name] = _splits_of(np.concatenate(parts), cut.gap_trs)
        left_out[name] = int(((np.concatenate(parts) == GAP) & (np.concatenate(film) > 0)).sum())
    film = np.concatenate([_parts_of(piece, pieces, of_pieces, tr, 0)[1] for piece in pieces])
    moved = {part: int(((labels == bit) & (film & (bit - 1) > 0)).sum()) for part, bit in PARTS.items()}
    _check_lengths(splits, cut, moved, min_trs)
    return StimulusSplit(splits, {k: n for k, n in moved.items() if n}, {k: n for k, n in left_out.items() if n})


def check_common(shown: Mapping[str, Sequence[ShownRun]]) -> None:
    """Refuse subjects of whom nobody knows whether they saw the same film.

    Parameters
    ----------
    shown : mapping of str to sequence of ShownRun
        The runs of each subject, in order.

    Raises
    ------
    InputError
        If subjects have no feature file in common, neither directly nor by way of others.
    """
    films = {name: {key for run in own for key in run.starts} for name, own in shown.items()}
    first, *rest = films
    seen = set(films[first])
    while joined := [name for name in rest if films[name] & seen]:
        seen = seen.union(*(films[name] for name in joined))
        rest = [name for name in rest if name not in joined]
    if rest:
        told = ", ".join(f"{name} (SHA-256 {min(films[name])[:8]}...)" for name in (first, rest[0]))
        raise InputError(
            f"one split of the stimulus is asked for, and {len(rest)} of {len(films)} subjects have no feature file in "
            f"common with subject {first}: {told}; give those who saw the same film the same feature files, or set "
            "data.split: subject if they saw other films"
        )


def alone(shown: Mapping[str, Sequence[ShownRun]]) -> list[str]:
    """Subjects who saw runs of which nobody else has a file, and have no file of some runs of others.

    Parameters
    ----------
    shown : mapping of str to sequence of ShownRun
        The runs of each subject, in order.

    Returns
    -------
    list of str
    """
    keys = {name: set().union(*(run.starts for run in own)) for name, own in shown.items()}
    found = []
    for name, own in shown.items():
        others = set().union(*(keys[other] for other in shown if other != name))
        lacks = any(keys[name].isdisjoint(run.starts) for other in shown if other != name for run in shown[other])
        if lacks and others and any(others.isdisjoint(run.starts) for run in own):
            found.append(name)
    return found


@fill_doc
def leaked(shown: Mapping[str, Sequence[ShownRun]], tr: float, splits: Mapping[str, Splits]) -> dict[str, int]:
    """By subject, how many validation and test TRs show film that any subject is trained on.

    Parameters
    ----------
    shown : mapping of str to sequence of ShownRun
        The runs of each subject, in order.
    tr : float
        %(tr)s
    splits : mapping of str to Splits
        By subject.

    Returns
    -------
    dict of str to int
        Subjects with none are left out.
    """
    pieces = [run for own in shown.values() for run in own]
    whole = {name: _labels(splits[name], sum(run.n_trs for run in own)) for name, own in shown.items()}
    labels = [part for n, own in shown.items() for part in np.split(whole[n], np.cumsum([r.n_trs for r in own])[:-1])]
    found = {}
    for name, own in shown.items():
        film = np.concatenate([_parts_of(run, pieces, labels, tr, 0)[1] for run in own])
        found[name] = int((np.isin(whole[name], (VAL, TEST)) & (film & TRAIN > 0)).sum())
    return {name: n for name, n in found.items() if n}


def _stimulus(shown: Mapping[str, Sequence[ShownRun]], tr: float) -> list[ShownRun]:
    """What was shown to anyone, in the order of the subject who saw most; what that one saw twice is there twice."""
    widest = max(shown, key=lambda name: sum(run.n_trs for run in shown[name]))
    pieces, left = list(shown[widest]), [run for name, own in shown.items() if name != widest for run in own]
    while left:
        # Those that are known to be of a film of the stimulus first: they may tell which film others are of.
        run = next((run for run in left if any(run.rows_before(piece, tr) is not None for piece in pieces)), left[0])
        left.remove(run)
        _add(run, pieces, tr)
    return pieces


def _add(run: ShownRun, pieces: list[ShownRun], tr: float) -> None:
    """Make room in the stimulus for what is not yet in it."""
    for k, piece in enumerate(pieces):
        if (late := run.rows_before(piece, tr)) is not None:
            more = {key: start - late * tr for key, start in run.starts.items()}
            pieces[k] = ShownRun({**more, **piece.starts}, piece.n_trs)
    for start, stop in _not_in(run, pieces, tr):
        for k, piece in enumerate(pieces):
            late = run.rows_before(piece, tr)
            if late is None:
                continue
            if abs(late + start - piece.n_trs) < ROUNDING:
                pieces[k] = ShownRun(piece.starts, piece.n_trs + ceil(stop - start - ROUNDING))
                break
            if abs(late + stop) < ROUNDING:
                more_trs = ceil(stop - start - ROUNDING)
                earlier = {key: begin - more_trs * tr for key, begin in piece.starts.items()}
                pieces[k] = ShownRun(earlier, piece.n_trs + more_trs)
                break
        else:
            begins = {key: begin + start * tr for key, begin in run.starts.items()}
            pieces.append(ShownRun(begins, ceil(stop - start - ROUNDING)))


def _not_in(run: ShownRun, pieces: Sequence[ShownRun], tr: float) -> list[tuple[float, float]]:
    """Stretches of a run, in its TRs, that no piece shows."""
    left = [(0.0, float(run.n_trs))]
    for piece in pieces:
        late = run.rows_before(piece, tr)
        if late is not None:
            begin, end = -late, piece.n_trs - late
            left = [part for low, high in left for part in ((low, min(high, begin)), (max(low, end), high))]
            left = [(low, high) for low, high in left if high - low > ROUNDING]
    return left


def _labels(splits: Splits, n_trs: int) -> np.ndarray:
    labels = np.full(n_trs, GAP)
    for part, bit in PARTS.items():
        labels[getattr(splits, part)] = bit
    return labels


def _splits_of(labels: np.ndarray, gap_trs: int) -> Splits:
    parts = {part: np.flatnonzero(labels == bit) for part, bit in {**PARTS, "gap": GAP}.items()}
    return Splits(**parts, gap_trs=gap_trs)


def _parts_of(
    run: ShownRun, pieces: Sequence[ShownRun], labels: Sequence[np.ndarray], tr: float, gap_trs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each TR of a run the part that it belongs to, and all parts that any of its film is in, as bits."""
    whole, film = np.zeros(run.n_trs, np.int64), np.zeros(run.n_trs, np.int64)
    for piece, own in zip(pieces, labels, strict=True):
        late = run.rows_before(piece, tr)
        if late is None:
            continue
        first = floor(late + ROUNDING)
        at = first + np.arange(run.n_trs)
        padded = np.concatenate([[0], own, [0]])  # nothing is known of what a piece does not show
        begins, ends = (padded[np.clip(rows + 1, 0, len(own) + 1)] for rows in (at, at + (late - first > ROUNDING)))
        film |= (begins | ends) & ~GAP
        whole |= np.where(begins == ends, begins, 0)
    part = np.where(whole > 0, whole & -whole, GAP)  # the lowest bit: of several parts the first
    part[(part != GAP) & (film & (part - 1) > 0)] = GAP  # some of it is film of an earlier part
    answered, before = np.zeros_like(part), np.where(part == GAP, film, part)
    for late_by in range(1, min(gap_trs, run.n_trs - 1) + 1):
        answered[late_by:] |= before[:-late_by]
    return np.where(answered & ~part > 0, GAP, part), film


def _check_lengths(splits: Mapping[str, Splits], cut: Splits, moved: Mapping[str, int], min_trs: int) -> None:
    for name, own in splits.items():
        if len(own.train) < min_trs:
            raise InputError(
                f"subject {name} has {len(own.train)} training TRs in the one split of the stimulus for all subjects, "
                f"expected at least {min_trs}; leave this subject out, or set data.split: subject"
            )
    for part in ("val", "test"):
        planned, longest = len(getattr(cut, part)), max(len(getattr(own, part)) for own in splits.values())
        if planned and longest < min_trs:
            raise InputError(
                f"{part} would have {longest} TRs, expected at least {min_trs}: of {planned} TRs of the stimulus "
                f"{moved[part]} show film of an earlier part too; bring all presentations of a film into one part (by "
                "the order of runs, or fractions), or set data.split: subject, which scores film that was trained on"
            )
