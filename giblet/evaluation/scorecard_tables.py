"""The tables of a scorecard, as they are read: of scores, and of passages told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from giblet.evaluation.score import FREQUENT, MEAN, SHIFTED, SIGNIFICANT, Score
from giblet.statistics.estimates import Chance, Estimate

if TYPE_CHECKING:
    from giblet.evaluation.identification import Identification

ENCODING = "encoding r"


@dataclass(frozen=True)
class Table:
    """A table whose cells are text: what pages, notebooks and Markdown show of a scorecard."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Each as wide as `head`; an empty cell where a row has no such figure."""
    words: tuple[int, ...] = (0,)
    """Columns of words; all others hold numbers."""

    def markdown(self) -> str:
        """The table in Markdown, one line per row, without its caption.

        Returns
        -------
        str
        """
        lines = [self.head, *self.rows]
        rule = "|".join("---" if column in self.words else "--:" for column in range(len(self.head)))
        first, *others = (f"| {' | '.join(line)} |" for line in lines)
        return "\n".join([first, f"|{rule}|", *others])


def score_table(caption: str, scores: Sequence[Score], unit: str) -> Table:
    """Scores, one row each.

    Parameters
    ----------
    caption : str
    scores : sequence of Score
        That of encoding among them.
    unit : str
        What BOLD is predicted of: ``"voxels"``, ``"regions"``.

    Returns
    -------
    Table
        The columns of ridge stand there if any score has one.
    """
    names = [MEAN, FREQUENT]
    with_ridge = any(one.ridge is not None for one in scores)
    head = ["score", "reconstruction (95 %)", "codec alone", *names, f"{SHIFTED} (p, q)"]
    head += [*(["ridge (difference, 95 %)"] if with_ridge else []), "above all"]
    rows = []
    for one in scores:
        encoding = one.name == ENCODING
        nulls = ["" if encoding or n not in one.nulls else _number(one.nulls[n].score.value) for n in names]
        ridge = "" if one.ridge is None else f"{_number(one.ridge.score.value)} ({signed(one.ridge.margin)})"
        rows.append(
            (
                f"{ENCODING}, mean of {unit}" if encoding else one.name,
                str(one.reconstruction),
                "" if encoding else _number(one.ceiling),
                *nulls,
                "" if one.shifted is None else _chance(one.shifted),
                *([ridge] if with_ridge else []),
                _verdict(one),
            )
        )
    return Table(caption, tuple(head), tuple(rows), (0, len(head) - 1))


def passage_table(caption: str, passages: Sequence[Identification]) -> Table:
    """How often passages are told apart, one row per modality and length; below it that of the codec alone.

    Parameters
    ----------
    caption : str
    passages : sequence of Identification
        At least one.

    Returns
    -------
    Table
    """
    head = ["told apart", "passages", "pairwise (95 %)", "rotated (p)"]
    for k in passages[0].top:
        head += [f"top-{k} (95 %)", "chance", "rotated (p)"]
    with_ridge = any(one.ridge is not None for one in passages)
    head += ["ridge: pairwise", *(f"top-{k}" for k in passages[0].top)] if with_ridge else []
    rows = []
    for label, one in _with_ceilings(passages):
        row = [label, str(one.n_passages), str(one.pairwise), _told(one.pairwise_rotated)]
        for k, share in one.top.items():
            row += [str(share), f"{one.chance[k]:.3f}", _told(one.top_rotated[k])]
        if one.ridge is not None:
            row += [_number(own.value) for own in (one.ridge.pairwise, *one.ridge.top.values())]
        rows.append((*row, *[""] * (len(head) - len(row))))
    return Table(caption, tuple(head), tuple(rows))


def _with_ceilings(passages: Sequence[Identification]) -> Iterator[tuple[str, Identification]]:
    for one in passages:
        label = f"{one.name}, {one.seconds:g} s"
        yield label, one
        if one.ceiling is not None:
            yield f"{label}, codec alone", one.ceiling


def _verdict(one: Score) -> str:
    if one.name == ENCODING:
        q = None if one.shifted is None else one.shifted.q
        return "-" if q is None else "yes" if q <= SIGNIFICANT else "no"
    return {True: "yes", False: "no", None: "-"}[one.above_nulls]


def _chance(chance: Chance) -> str:
    return f"{_number(chance.mean)} ({_p(chance.p)}, {_p(chance.q)})"


def _told(chance: Chance) -> str:
    return f"{_number(chance.mean)} ({_p(chance.p)})"


def signed(margin: Estimate | None) -> str:
    """A difference with its sign and its interval; a dash where there is none.

    Parameters
    ----------
    margin : Estimate or None

    Returns
    -------
    str
    """
    if margin is None or margin.value is None:
        return "-"
    # A zero has no sign of its own.
    value, *ends = (f"{round(one, 3) + 0.0:+.3f}" for one in (margin.value, margin.low, margin.high) if one is not None)
    return value + (f", {' to '.join(ends)}" if ends else "")


def _p(value: float | None) -> str:
    return "-" if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
