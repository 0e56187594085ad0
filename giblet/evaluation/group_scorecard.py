"""Scorecards of several subjects as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from giblet.errors import InputError
from giblet.evaluation.identification import Identification
from giblet.evaluation.score import Null, Score
from giblet.evaluation.scorecard import Scorecard
from giblet.statistics.correction import fisher_z, spread_reach
from giblet.statistics.estimates import Chance, Estimate


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
        own = [card.all_scores[-1] for card in cards]
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
        best = [one.ceiling for one in own if one.ceiling is not None]
        above_it = _mean_passages([[one] for one in best], notes) if len(best) == len(own) else []
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
                ceiling=above_it[0] if above_it else None,
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
