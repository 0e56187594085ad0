"""What a training run found: the figures that matter at the top of its page, and what they cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from giblet.evaluation.score import SHIFTED, SIGNIFICANT
from giblet.evaluation.scorecard import ENCODING
from giblet.pages import Figure, Section
from giblet.pages.cells import number, p_value
from giblet.pipeline.run_files import CONFIG, Card, RunFiles
from giblet.pipeline.score_tables import PASSAGES, margin_of, rows_of

MOST_HEADLINES = 6
"""Subjects whose figures stand at the top; of more, their mean does."""
NAMES = {"audio": "sound", "video": "picture", "text": "words"}
"""What users call the modalities."""
ENOUGH = 10
"""Passages from which on a length is told at the top: of these the longest."""
RIDGE_ALONE = "In {ways} the best model is ridge regression alone: no validation of the network was better."
UNTRAINED = "In {ways} the best model is the untrained one (step 0): nothing that carries over was learned."
READ_FIGURES = (
    "The large number is the score on TRs that the model never learned from. Below it stand its 95 % interval, the "
    "score of the same prediction rotated in time (chance), and that of ridge regression on the same TRs, which a "
    "network has to beat."
)


def found(files: RunFiles, cards: Sequence[Card]) -> Section:
    """The figures that matter, and what they cannot show.

    Parameters
    ----------
    files : RunFiles
    cards : sequence of Card

    Returns
    -------
    Section
    """
    warnings = _state(files)
    if not cards:
        text = [
            "Nothing was reconstructed yet, so there are no scores: run giblet reconstruct on the run, and make this "
            "page again."
        ]
        return Section("What was found", text, warnings=warnings)
    main = [card for card in cards if card.path.parent.name == "reconstruction"] or list(cards)
    groups = [card for card in main if card.is_group]
    shown = groups if groups and len(main) > MOST_HEADLINES else main[:MOST_HEADLINES]
    now = files.model_sha256
    for card in main:
        if not card.is_group:
            made = (card.content.get("options") or {}).get("model_sha256")
            if made and now and made != now:
                warnings.append(
                    f"{card.whose}: it was reconstructed with another model than best/ holds now. Reconstruct again."
                )
    warnings += [sentence for card in main for sentence in verdict(card.content, card.whose)]
    text = [READ_FIGURES]
    if not groups and len(files.subjects) == 1:
        text.append("One subject: nothing here says whether it holds for other people.")
    absent = [NAMES[name] for name in NAMES if name not in files.modalities]
    if absent:
        text.append(
            f"The run has no {' and no '.join(absent)}: nothing is said of {'it' if len(absent) == 1 else 'them'}."
        )
    return Section(
        "What was found", text, [one for card in shown for one in headline(card.content, card.whose)], warnings
    )


def _state(files: RunFiles) -> list[str]:
    """What is off about the run itself."""
    found = []
    if files.simulated:
        found.append(
            "The brain is simulated with known truth. These figures test the method and say nothing about people."
        )
    if files.summary is None:
        how = "has not validated yet" if files.log is None else f"came to step {int(files.log['step'].iloc[-1])}"
        found.append(
            f"The run did not end: it failed, was stopped, or is still training; it {how}. Go on with it: giblet train "
            f"{CONFIG} of the run."
        )
    elif files.summary.get("status") == "paused":
        found.append(
            f"The run was stopped at step {files.summary.get('step')}. Go on with it: giblet train {CONFIG} of the run."
        )
    if files.model_sha256 is None:
        found.append("There is no best model (best/): nothing can be reconstructed from this run.")
    linear = (files.summary or {}).get("linear_val") or {}
    val = (files.summary or {}).get("val") or {}
    by_sentence: dict[str, list[str]] = {}
    for way, step in files.best_steps.items():
        own = [name for name in val if (name == "bold") == (way == "encoding")]
        if step == 0 and files.model_sha256 is not None:
            is_ridge = own and all(linear.get(name, 1.0) < 1 for name in own)
            by_sentence.setdefault(RIDGE_ALONE if is_ridge else UNTRAINED, []).append(way)
    found += [sentence.format(ways=" and ".join(ways)) for sentence, ways in by_sentence.items()]
    poor = (files.summary or {}).get("no_better_than_mean") or []
    if poor:
        found.append(f"The best validation is no better than the training mean in {', '.join(poor)}.")
    return found


def headline(card: Mapping[str, Any], whose: str) -> list[Figure]:
    """The three figures that matter of a card: encoding, the sound or what else is decoded first, identification.

    Parameters
    ----------
    card : mapping
    whose : str
        Whose figures they are.

    Returns
    -------
    list of Figure
    """
    rows = rows_of(card)
    encoding = [one for one in rows if str(one["name"]).startswith(ENCODING)]
    decoded = [one for one in rows if one not in encoding and one["reconstruction"].get("value") is not None]
    over_time = [one for one in decoded if "over time" in str(one["name"])]
    over_time = over_time or [one for one in decoded if str(one["name"]).endswith(" r")]
    found = [_headline(one, whose) for one in [*encoding, *(over_time or decoded)[:1]]]
    passages = [one for one in card.get(PASSAGES) or [] if _pairwise(one).get("value") is not None]
    if passages:
        enough = [one for one in passages if one.get("n_passages", 0) >= ENOUGH]
        longest = (
            max(enough, key=lambda one: one.get("seconds", 0))
            if enough
            else max(passages, key=lambda one: one.get("n_passages", 0))
        )
        told = _pairwise(longest)
        p, n, seconds = told.get("p"), longest.get("n_passages", "?"), longest.get("seconds", 0)
        beside = [
            f"pairwise, {longest['name']}, {n} passages of {seconds:g} s",
            whose,
            *_interval(told), f"chance {number(told.get('chance'))}, rotated {number(told.get('rotated'))}, "
            f"p {p_value(p)}",
        ]  # fmt: skip
        ridge = longest.get("ridge")
        if ridge:
            beside.append(f"ridge {number(_pairwise(ridge).get('value'))}")
        above = None if p is None else bool(p <= SIGNIFICANT)
        found.append(Figure("identification of passages", number(told["value"]), beside, above))
    return found


def _pairwise(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return one.get("pairwise") or {}


def _interval(one: Mapping[str, Any]) -> list[str]:
    if one.get("low") is None:
        return ["no interval: too few TRs"]
    return [f"95 %: {number(one['low'])} to {number(one['high'])}"]


def _headline(one: Mapping[str, Any], whose: str) -> Figure:
    value, nulls = one["reconstruction"], one.get("nulls") or {}
    beside = [whose, *(_interval(value) if value.get("value") is not None else [str(value.get("why", "no value"))])]
    shifted = nulls.get(SHIFTED)
    if shifted is not None:
        beside.append(
            f"{SHIFTED} {number(shifted.get('value'))}, p {p_value(shifted.get('p'))}, q {p_value(shifted.get('q'))}"
        )
    others = {name: null for name, null in nulls.items() if name != SHIFTED and null.get("value") is not None}
    beside += [f"{name} {number(null['value'])}" for name, null in others.items()]
    if one.get("ceiling") is not None:
        beside.append(f"codec alone {number(one['ceiling'])}")
    if one.get("ridge"):
        beside.append(f"ridge {number(one['ridge'].get('value'))} (difference {margin_of(one['ridge'].get('margin'))})")
    return Figure(str(one["name"]), number(value.get("value")), beside, one.get("above_nulls"))


def verdict(card: Mapping[str, Any], whose: str) -> list[str]:
    """Sentences on what is not above its null; none where all is.

    Parameters
    ----------
    card : mapping
    whose : str

    Returns
    -------
    list of str
    """
    rows = [one for one in rows_of(card) if one["reconstruction"].get("value") is not None]
    below = [str(one["name"]) for one in rows if one.get("above_nulls") is False]
    apart = [one for one in card.get(PASSAGES) or [] if _pairwise(one).get("p") is not None]
    confused = [one for one in apart if _pairwise(one)["p"] > SIGNIFICANT]
    untested = [str(one["name"]) for one in rows if one.get("above_nulls") is None]
    found = []
    if card.get("split") not in (None, "test"):
        found.append(f"{whose}: TRs of {card['split']} were used in training. These scores are no evidence.")
    below += [f"{one['name']}, passages of {one.get('seconds', 0):g} s told apart" for one in confused]
    n_tested = len(rows) - len(untested) + len(apart)
    if n_tested and len(below) == n_tested:
        found.append(
            f"{whose}: no score is above its null. Nothing here shows that the model knows anything of the brain; what "
            "is heard below would be decoded from noise as well."
        )
    elif below:
        found.append(f"{whose}: not above its null, and so no evidence: {'; '.join(below)}.")
    if untested:
        found.append(f"{whose}: not tested, as the part is too short or a null is missing: {'; '.join(untested)}.")
    return found
