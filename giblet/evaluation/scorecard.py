"""The scorecard of a reconstruction: every score beside the codec's ceiling and null predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import false_discovery_control

from giblet.errors import InputError
from giblet.evaluation.encoding import EncodingScore
from giblet.notebook import html_table
from giblet.statistics.correction import fisher_z, spread_reach
from giblet.statistics.estimates import Chance, Estimate, ScoredTRs

if TYPE_CHECKING:
    import pandas as pd

    from giblet.evaluation.identification import Identification

ENCODING = "encoding r"
MEAN, FREQUENT, SHIFTED = "training mean", "most frequent code", "rotated in time"
SIGNIFICANT = 0.05
ROUNDING = 1e-6
"""Difference of two scores that is none: a model may be its ridge, but for the order of sums."""


@dataclass(frozen=True)
class Null:
    """A prediction that knows nothing of the brain, and by how much the reconstruction is better."""

    score: Estimate
    margin: Estimate | None = None
    """Score of the reconstruction less that of the null, on the same draws of TRs."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            Those of the score, and ``margin``.
        """
        return {**self.score.as_dict(), "margin": self.margin.as_dict() if self.margin else None}

    @property
    def wins(self) -> bool:
        """Whether the interval of the margin lies below 0: this is better than the reconstruction."""
        return self.margin is not None and self.margin.high is not None and self.margin.high < -ROUNDING


@dataclass(frozen=True)
class Score:
    """One measure of the reconstruction, of the codec alone, and of the nulls."""

    name: str
    reconstruction: Estimate
    ceiling: float | None = None
    """Of the true codes, decoded: what a perfect prediction would score. None where that is 1, or not known."""
    nulls: Mapping[str, Null] = field(default_factory=dict)
    shifted: Chance | None = None
    influence: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (n_trs,): what each TR has to do with it, from which the interval of a difference comes."""
    ridge: Null | None = None
    """The same measure of what ridge regression decodes of the same TRs, and the reconstruction less that."""

    def beside(self, ridge: Score, trs: ScoredTRs) -> Score:
        """The score with that of ridge regression beside it.

        Parameters
        ----------
        ridge : Score
            The same measure of the same TRs.
        trs : ScoredTRs

        Returns
        -------
        Score
        """
        return replace(self, ridge=beside(self.reconstruction, self.influence, ridge, trs))

    @property
    def above_nulls(self) -> bool | None:
        """Whether it is above each null that has a score, by more than chance; None where that cannot be told."""
        if self.reconstruction.value is None:
            return None
        verdicts = [null.margin.low > 0 for null in self.nulls.values() if null.margin and null.margin.low is not None]
        if self.shifted is not None:
            if self.shifted.p is None:
                return None if all(verdicts) else False
            verdicts.append((self.shifted.p if self.shifted.q is None else self.shifted.q) <= SIGNIFICANT)
        return all(verdicts) if verdicts else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Returns
        -------
        dict
            ``name``, ``reconstruction``, ``ceiling``, ``nulls`` by name, ``above_nulls``, ``ridge``.
        """
        nulls = {name: null.as_dict() for name, null in self.nulls.items()}
        if self.shifted is not None:
            nulls[SHIFTED] = {
                "value": self.shifted.mean, "p": self.shifted.p, "q": self.shifted.q, "n": self.shifted.n
            }  # fmt: skip
        return {
            "name": self.name,
            "reconstruction": self.reconstruction.as_dict(),
            "ceiling": self.ceiling,
            "nulls": nulls,
            "above_nulls": self.above_nulls,
            "ridge": None if self.ridge is None else self.ridge.as_dict(),
        }


def beside(own: Estimate, influence: np.ndarray | None, ridge: Score, trs: ScoredTRs) -> Null:
    """The figure of ridge regression, and by how much another one is above it, with the interval of the difference.

    Parameters
    ----------
    own : Estimate
    influence : ndarray of float64, shape (n_trs,), optional
        Of the same TRs as that of `ridge`.
    ridge : Score
    trs : ScoredTRs

    Returns
    -------
    Null
    """
    theirs = ridge.reconstruction
    if own.value is None or theirs.value is None:
        return Null(theirs)
    gap = own.value - theirs.value
    if influence is None or ridge.influence is None:
        return Null(theirs, Estimate(gap))
    return Null(theirs, trs.estimate(gap, influence - ridge.influence))


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
        """The table, for notebooks."""
        return html_table(f"{self.about.get('split', 'scored')} part, {self._whose}", *self._cells())

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

        rows = list(self._all)
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
    def _all(self) -> tuple[Score, ...]:
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
            for one in self._all
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
        lines = [f"# {about.get('split', 'scored')} part, {self._whose}", "", self.table(), ""]
        if self.passages:
            lines += [self.passage_table(), ""]
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
            if any(one.ridge is not None for one in self._all)
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
        """
        head, rows = self._cells()
        lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 2) + "|---|"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows of the table, as they are read."""
        names = [MEAN, FREQUENT]
        with_ridge = any(one.ridge is not None for one in self._all)
        head = ["score", "reconstruction (95 %)", "codec alone", *names, f"{SHIFTED} (p, q)"]
        head += [*(["ridge (difference, 95 %)"] if with_ridge else []), "above all"]
        rows = []
        for one in self._all:
            encoding = one.name == ENCODING
            nulls = ["" if encoding or n not in one.nulls else _number(one.nulls[n].score.value) for n in names]
            ridge = "" if one.ridge is None else f"{_number(one.ridge.score.value)} ({_signed(one.ridge.margin)})"
            rows.append(
                [
                    f"{ENCODING}, mean of {self.about.get('unit', 'voxels')}" if encoding else one.name,
                    str(one.reconstruction),
                    "" if encoding else _number(one.ceiling),
                    *nulls,
                    "" if one.shifted is None else _chance(one.shifted),
                    *([ridge] if with_ridge else []),
                    self._verdict(one),
                ]
            )
        return head, rows

    @staticmethod
    def _verdict(one: Score) -> str:
        if one.name == ENCODING:
            q = None if one.shifted is None else one.shifted.q
            return "-" if q is None else "yes" if q <= SIGNIFICANT else "no"
        return {True: "yes", False: "no", None: "-"}[one.above_nulls]

    def passage_table(self) -> str:
        """How often passages are told apart, as a table in Markdown.

        Returns
        -------
        str
        """
        head = ["told apart", "passages", "pairwise (95 %)", "rotated (p)"]
        for k in self.passages[0].top:
            head += [f"top-{k} (95 %)", "chance", "rotated (p)"]
        with_ridge = any(one.ridge is not None for one in self.passages)
        head += ["ridge: pairwise", *(f"top-{k}" for k in self.passages[0].top)] if with_ridge else []
        rows = []
        for one in self.passages:
            row = [
                f"{one.name}, {one.seconds:g} s",
                str(one.n_passages),
                str(one.pairwise),
                _told(one.pairwise_rotated),
            ]
            for k, share in one.top.items():
                row += [str(share), f"{one.chance[k]:.3f}", _told(one.top_rotated[k])]
            if one.ridge is not None:
                row += [_number(own.value) for own in (one.ridge.pairwise, *one.ridge.top.values())]
            rows.append(row + [""] * (len(head) - len(row)))
        lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def group_scorecard(cards: Sequence[Scorecard]) -> Scorecard:
    """Scores of several subjects as one: their mean, tested by rotations made jointly for all of them.

    People who saw one film share a response, so that a t-test over subjects takes noise for signal: it asks whether
    people agree. Here the prediction of every subject is rotated by the same TRs, and the mean over subjects of
    Fisher's z (or of shares of right codes) is compared with that of all rotations.

    Parameters
    ----------
    cards : sequence of Scorecard
        One per subject, of the same TRs of the same stimulus.

    Returns
    -------
    Scorecard
        Of the scores that all have. Where subjects were scored on other numbers of TRs there is no p, and a note.

    Raises
    ------
    InputError
        If there are fewer than two cards.
    """
    if len(cards) < 2:
        raise InputError(f"{len(cards)} scorecard: a group needs at least two subjects")
    names = [one.name for one in cards[0].scores if all(one.name in {s.name for s in card.scores} for card in cards)]
    notes, scores = list[str](), list[Score]()
    for name in names:
        scores.append(_mean_score([card.score(name) for card in cards], notes))
    encoding = None
    if all(card.encoding is not None for card in cards):
        own = [card._all[-1] for card in cards]
        mean = _mean_score(own, notes)
        first = cards[0].encoding
        assert first is not None and mean.shifted is not None
        encoding = replace(
            first, mean=mean.reconstruction, chance=mean.shifted, test=None, ridge=None, above_ridge=None
        )
        if mean.ridge is not None:
            encoding = replace(encoding, ridge=mean.ridge.score, above_ridge=mean.ridge.margin)
    about = {
        **{k: v for k, v in cards[0].about.items() if all(card.about.get(k) == v for card in cards) and k != "subject"},
        "subjects": [str(card.about.get("subject")) for card in cards],
    }
    notes.append(f"means of {len(cards)} subjects; p by rotations made jointly for all of them")
    return Scorecard.of(about, scores, encoding, notes, _mean_passages([card.passages for card in cards], notes))


def _mean_passages(passages: Sequence[Sequence[Identification]], notes: list[str]) -> list[Identification]:
    """Means over subjects of how often passages are told apart, of the modalities and lengths that all have."""
    found = []
    for first in passages[0]:
        all_of_it = [[p for p in own if (p.name, p.seconds) == (first.name, first.seconds)] for own in passages]
        if not all(all_of_it):
            continue
        own = [one for (one,) in all_of_it]

        def mean(values: Sequence[Estimate], chances: Sequence[Chance]) -> tuple[Estimate, Chance]:
            scores = [Score("", value, shifted=chance) for value, chance in zip(values, chances, strict=True)]
            joint = _mean_score(scores, notes)
            assert joint.shifted is not None  # each has one
            return joint.reconstruction, joint.shifted

        pairwise, rotated = mean([one.pairwise for one in own], [one.pairwise_rotated for one in own])
        tops = {k: mean([one.top[k] for one in own], [one.top_rotated[k] for one in own]) for k in first.top}
        ridge = [one.ridge for one in own if one.ridge is not None]
        beside_it = _mean_passages([[one] for one in ridge], notes) if len(ridge) == len(own) else []
        found.append(
            replace(
                first,
                n_passages=sum(one.n_passages for one in own),
                pairwise=pairwise,
                pairwise_rotated=rotated,
                top={k: value for k, (value, _) in tops.items()},
                top_rotated={k: chance for k, (_, chance) in tops.items()},
                chance={k: float(np.mean([one.chance[k] for one in own])) for k in first.top},
                ridge=beside_it[0] if beside_it else None,
            )
        )
    return found


def _mean_score(scores: Sequence[Score], notes: list[str]) -> Score:
    """The mean over subjects of one score, with its nulls and its chance."""
    values = [one.reconstruction.value for one in scores]
    chances = [one.shifted for one in scores]
    nulls = {name: Null(_mean_of([one.nulls[name].score.value for one in scores])) for name in scores[0].nulls}
    ceilings = [one.ceiling for one in scores]
    ceiling = None if None in ceilings else float(np.mean([c for c in ceilings if c is not None]))
    mean, ridge = _mean_of(values), _mean_ridge(scores)
    if any(chance is None for chance in chances):
        return Score(scores[0].name, mean, ceiling, nulls, None, ridge=ridge)
    rotated = [chance.by_rotation for chance in chances if chance is not None and chance.by_rotation is not None]
    if len(rotated) < len(scores) or len({len(one) for one in rotated}) > 1:
        if len(rotated) == len(scores):
            notes.append("no p of the mean: subjects were scored on other numbers of TRs, which no rotation joins")
        return Score(scores[0].name, mean, ceiling, nulls, Chance(None, None, 0), ridge=ridge)
    together = np.stack(rotated)
    ranked = any(chance.ranked for chance in chances if chance is not None)
    joint = together.mean(axis=0) if ranked else np.tanh(fisher_z(together).mean(axis=0))
    shifted = [chance.mean for chance in chances if chance is not None]
    usual = None if None in shifted else float(np.mean([m for m in shifted if m is not None]))
    chance = Chance.of(joint, usual, ranked=ranked)
    if mean.value is not None and not ranked:
        reach = spread_reach(joint)
        at = float(fisher_z(np.array(mean.value)))
        mean = Estimate(mean.value, float(np.tanh(at - reach)), float(np.tanh(at + reach)))
    return Score(scores[0].name, mean, ceiling, nulls, chance, ridge=ridge)


def _mean_ridge(scores: Sequence[Score]) -> Null | None:
    """The mean over subjects, without an interval: they share what they were shown."""
    beside_them = [one.ridge for one in scores if one.ridge is not None]
    if len(beside_them) < len(scores):
        return None
    margins = [None if one.margin is None else one.margin.value for one in beside_them]
    return Null(_mean_of([one.score.value for one in beside_them]), _mean_of(margins))


def _mean_of(values: Sequence[float | None]) -> Estimate:
    if any(value is None for value in values):
        return Estimate(None, why="not every subject has it")
    return Estimate(float(np.mean([value for value in values if value is not None])))


def _chance(chance: Chance) -> str:
    return f"{_number(chance.mean)} ({_p(chance.p)}, {_p(chance.q)})"


def _told(chance: Chance) -> str:
    return f"{_number(chance.mean)} ({_p(chance.p)})"


def _signed(margin: Estimate | None) -> str:
    if margin is None or margin.value is None:
        return "-"
    # A zero has no sign of its own.
    value, *ends = (f"{round(one, 3) + 0.0:+.3f}" for one in (margin.value, margin.low, margin.high) if one is not None)
    return value + (f", {' to '.join(ends)}" if ends else "")


def _ridge_of(one: Score) -> dict[str, float | None]:
    """Columns of the table of numbers."""
    ridge, margin = (None, None) if one.ridge is None else (one.ridge.score, one.ridge.margin)
    return {
        "ridge": None if ridge is None else ridge.value,
        "above_ridge": None if margin is None else margin.value,
        "above_ridge_low": None if margin is None else margin.low,
        "above_ridge_high": None if margin is None else margin.high,
    }


def _p(value: float | None) -> str:
    return "-" if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
