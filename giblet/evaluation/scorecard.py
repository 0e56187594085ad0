"""The scorecard of a reconstruction: every score beside the codec's ceiling and null predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from giblet.errors import InputError
from giblet.evaluation.encoding import EncodingScore
from giblet.evaluation.score import Null, Score
from giblet.evaluation.scorecard_tables import ENCODING, Table, passage_table, score_table
from giblet.notebook import html_table

if TYPE_CHECKING:
    import pandas as pd

    from giblet.evaluation.identification import Identification


@dataclass(frozen=True, repr=False)
class Scorecard:
    """Scores of a reconstruction, on TRs outside the training data."""

    about: Mapping[str, Any]
    """Subject, split, TRs, codec: plain values."""
    scores: tuple[Score, ...]
    encoding: EncodingScore | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know of the figures."""
    passages: tuple[Identification, ...] = ()
    """How often decoded passages are told apart, by modality and length; their p are not among those of `q`."""

    def __repr__(self) -> str:
        """Whose scores these are, and how many are above chance."""
        above = sum(one.above_nulls is True for one in self.scores)
        return f"<Scorecard of {self._whose}: {above} of {len(self.scores)} scores above all nulls>"

    def _repr_html_(self) -> str:
        """The tables, for notebooks."""
        return "".join(html_table(one.caption, one.head, one.rows) for one in self.tables())

    def to_pandas(self) -> pd.DataFrame:
        """The scores as numbers, one row each.

        Returns
        -------
        pandas.DataFrame
            By ``score``: ``reconstruction`` with the ends ``low`` and ``high`` of its 95 % interval, ``ceiling``, a
            column for each null by its name, ``rotated`` (mean over rotations in time), ``p``, ``q``, ``ridge`` and
            ``above_ridge`` (the difference, with ``above_ridge_low`` and ``above_ridge_high``), and ``above_nulls``.
            NaN or NA where a score has none. The last row is ``encoding r``, if BOLD was predicted.
        """
        import pandas as pd

        rows = list(self.all_scores)
        nulls = dict.fromkeys(name for one in rows for name in one.nulls)
        table = pd.DataFrame(
            [
                {
                    "score": one.name,
                    "reconstruction": one.reconstruction.value,
                    "low": one.reconstruction.low,
                    "high": one.reconstruction.high,
                    "ceiling": one.ceiling,
                    **{name: one.nulls[name].score.value if name in one.nulls else None for name in nulls},
                    "rotated": None if one.shifted is None else one.shifted.mean,
                    "p": None if one.shifted is None else one.shifted.p,
                    "q": None if one.shifted is None else one.shifted.q,
                    **_ridge_of(one),
                }
                for one in rows
            ]
        ).set_index("score")
        return table.astype(np.float64).assign(above_nulls=pd.array([one.above_nulls for one in rows], dtype="boolean"))

    @property
    def all_scores(self) -> tuple[Score, ...]:
        """The scores, and that of encoding as one of them."""
        if self.encoding is None:
            return self.scores
        one = self.encoding
        ridge = None if one.ridge is None else Null(one.ridge, one.above_ridge)
        return (*self.scores, Score(ENCODING, one.mean, shifted=one.chance, ridge=ridge))

    @property
    def _whose(self) -> str:
        if "subjects" in self.about:
            return f"{len(self.about['subjects'])} subjects: {', '.join(self.about['subjects'])}"
        return str(self.about.get("subject") or "one subject")

    @classmethod
    def of(
        cls,
        about: Mapping[str, Any],
        scores: Sequence[Score],
        encoding: EncodingScore | None = None,
        notes: Sequence[str] = (),
        passages: Sequence[Identification] = (),
    ) -> Scorecard:
        """A scorecard whose p-values are corrected for the number of tests on it (Benjamini and Hochberg, 1995).

        Parameters
        ----------
        about, scores, encoding, notes, passages
            As the attributes. Notes are added of scores that are below those of ridge regression.

        Returns
        -------
        Scorecard
        """
        tests = [one.shifted for one in scores] + [None if encoding is None else encoding.chance]
        tested = [test for test in tests if test is not None and test.p is not None]
        corrected = iter(false_discovery_control([test.p for test in tested]) if tested else [])
        told = [test if test is None or test.p is None else replace(test, q=float(next(corrected))) for test in tests]
        if encoding is not None and told[-1] is not None:
            encoding = replace(encoding, chance=told[-1])
        kept = tuple(replace(one, shifted=test) for one, test in zip(scores, told[:-1], strict=True))
        if len(tested) > 1:
            notes = [*notes, f"q: p corrected for the {len(tested)} tests of this card (Benjamini and Hochberg)"]
        card = cls(about, kept, encoding, passages=tuple(passages))
        return replace(card, notes=tuple(dict.fromkeys([*card.below_ridge, *notes])))

    @property
    def below_ridge(self) -> tuple[str, ...]:
        """Sentences on scores that are below those of ridge regression, by an interval that holds no 0."""
        return tuple(
            f"below ridge: {one.name} is {one.reconstruction}, that of ridge regression on the same TRs "
            f"{one.ridge.score.value:.3f}: the difference is {one.ridge.margin}"
            for one in self.all_scores
            if one.ridge is not None and one.ridge.wins
        )

    def score(self, name: str) -> Score:
        """The score of that name.

        Parameters
        ----------
        name : str
            Such as ``"mel r over time"``.

        Returns
        -------
        Score

        Raises
        ------
        InputError
            If there is none of that name.
        """
        for one in self.scores:
            if one.name == name:
                return one
        raise InputError(f"there is no score {name!r}: there are {', '.join(one.name for one in self.scores)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            What `about` holds, and ``scores``, ``encoding``, ``passages``, ``notes``.
        """
        return {
            **self.about,
            "scores": [one.as_dict() for one in self.scores],
            "encoding": None if self.encoding is None else self.encoding.as_dict(),
            "passages": [one.as_dict() for one in self.passages],
            "notes": list(self.notes),
        }

    def markdown(self) -> str:
        """A page of Markdown: whose scores these are, the table, and notes for the reader.

        Returns
        -------
        str

        See Also
        --------
        table : the table alone.
        """
        about = self.about
        lines = [f"# {about.get('split', 'scored')} part, {self._whose}", ""]
        for table in self.tables():
            lines += [table.markdown(), ""]
        told = {
            "scan": about.get("bold") or "those of the configuration",
            "TRs": f"{about['n_trs']} of {about['tr']:g} s" if "n_trs" in about else None,
            "drifts": f"slower than {1 / about['high_pass']:.4g} s taken out of both sides before r and p"
            if about.get("high_pass")
            else None,
            "r": "within stretches of TRs, weighted by their TRs; mean of columns or voxels whose truth changes",
            "p": f"by {self._n_rotations} rotations of the prediction in time, both sides prewhitened"
            if self._n_rotations
            else None,
            "ridge": "ridge regression on the same TRs, learned from training TRs alone; in brackets the score less its"
            if any(one.ridge is not None for one in self.all_scores)
            else None,
            "passages": "by the correlation of all values of a passage, both sides without drifts; p by rotations"
            if self.passages
            else None,
        }
        lines += [f"- {name}: {text}" for name, text in told.items() if text]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)]) + "\n"

    @property
    def _n_rotations(self) -> int:
        tests = [one.shifted for one in self.scores] + [None if self.encoding is None else self.encoding.chance]
        return max((test.n for test in tests if test is not None), default=0)

    def table(self) -> str:
        """The scores as a table in Markdown, one line each.

        Returns
        -------
        str

        See Also
        --------
        tables : all tables, by their cells.
        """
        return self.tables()[0].markdown()

    def tables(self) -> tuple[Table, ...]:
        """All tables of the card, whose cells are text.

        Returns
        -------
        tuple of Table
            The scores and, if there are any, the passages told apart.
        """
        caption = f"{self.about.get('split', 'scored')} part, {self._whose}"
        found = [score_table(caption, self.all_scores, self.about.get("unit", "voxels"))]
        if self.passages:
            found.append(passage_table(f"passages told apart, {self._whose}", self.passages))
        return tuple(found)


def _ridge_of(one: Score) -> dict[str, float | None]:
    """Columns of the table of numbers."""
    ridge, margin = (None, None) if one.ridge is None else (one.ridge.score, one.ridge.margin)
    return {
        "ridge": None if ridge is None else ridge.value,
        "above_ridge": None if margin is None else margin.value,
        "above_ridge_low": None if margin is None else margin.low,
        "above_ridge_high": None if margin is None else margin.high,
    }
