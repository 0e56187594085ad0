"""The scorecard of a reconstruction: every score beside the ceiling of the codec and beside predictions of nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scipy.stats import false_discovery_control

from giblet.errors import InputError
from giblet.evaluation.encoding import EncodingScore
from giblet.evaluation.statistics import Chance, Estimate

MEAN, FREQUENT, SHIFTED = "training mean", "most frequent code", "rotated in time"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Null:
    """A prediction that knows nothing of the brain, and by how much the reconstruction is better."""

    score: Estimate
    margin: Estimate | None = None
    """Score of the reconstruction less that of the null, on the same draws of TRs."""


@dataclass(frozen=True)
class Score:
    """One measure of the reconstruction, of the codec alone, and of the nulls."""

    name: str
    reconstruction: Estimate
    ceiling: float | None = None
    """Of the true codes, decoded: what a perfect prediction would score. None where that is 1, or not known."""
    nulls: Mapping[str, Null] = field(default_factory=dict)
    shifted: Chance | None = None

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
        """Plain values for JSON."""
        nulls = {
            name: {**null.score.as_dict(), "margin": null.margin.as_dict() if null.margin else None}
            for name, null in self.nulls.items()
        }
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
        }


@dataclass(frozen=True)
class Scorecard:
    """What a reconstruction is worth, on TRs that were not trained on."""

    about: Mapping[str, Any]
    """Subject, split, TRs, codec: plain values."""
    scores: tuple[Score, ...]
    encoding: EncodingScore | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know of the figures."""

    @classmethod
    def of(
        cls,
        about: Mapping[str, Any],
        scores: Sequence[Score],
        encoding: EncodingScore | None = None,
        notes: Sequence[str] = (),
    ) -> Scorecard:
        """A scorecard whose p-values are corrected for the number of tests on it (Benjamini and Hochberg, 1995).

        Parameters
        ----------
        about, scores, encoding, notes
            As the attributes.
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
        return cls(about, kept, encoding, tuple(dict.fromkeys(notes)))

    def score(self, name: str) -> Score:
        """The score of that name."""
        for one in self.scores:
            if one.name == name:
                return one
        raise InputError(f"there is no score {name!r}: there are {', '.join(one.name for one in self.scores)}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **self.about,
            "scores": [one.as_dict() for one in self.scores],
            "encoding": None if self.encoding is None else self.encoding.as_dict(),
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """The scores as a table in Markdown, one line each."""
        names = [MEAN, FREQUENT]
        head = ["score", "reconstruction (95 %)", "codec alone", *names, f"{SHIFTED} (p, q)", "above all"]
        rows = [
            [
                one.name,
                _interval(one.reconstruction),
                _number(one.ceiling),
                *(_number(one.nulls[n].score.value) if n in one.nulls else "" for n in names),
                "" if one.shifted is None else _chance(one.shifted),
                {True: "yes", False: "no", None: "-"}[one.above_nulls],
            ]
            for one in self.scores
        ]
        if self.encoding is not None:
            q = self.encoding.chance.q
            above = "-" if q is None else "yes" if q <= SIGNIFICANT else "no"
            unit = self.about.get("unit", "voxels")
            mean = _interval(self.encoding.mean)
            rows.append([f"encoding r, mean of {unit}", mean, "", "", "", _chance(self.encoding.chance), above])
        lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 2) + "|---|"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _chance(chance: Chance) -> str:
    return f"{_number(chance.mean)} ({_p(chance.p)}, {_p(chance.q)})"


def _p(value: float | None) -> str:
    return "-" if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(estimate: Estimate) -> str:
    text = _number(estimate.value)
    return text if estimate.low is None else f"{text} ({estimate.low:.3f} to {estimate.high:.3f})"
