"""Scores of a scorecard's JSON as tables and figures of a page, whatever rows it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from giblet.evaluation.score import SHIFTED, SIGNIFICANT
from giblet.evaluation.scorecard_tables import ENCODING, signed
from giblet.pages import Drawing, Section, Table
from giblet.pages.cells import number, p_value
from giblet.pages.drawings import can_draw
from giblet.pipeline.run_figures import scores_drawing
from giblet.statistics.estimates import Estimate

READ_SCORES = (
    "Each row is one measure on TRs that the model never learned from, in brackets its 95 % interval. Codec alone is "
    "what the true codes score once they are decoded: no prediction can be expected above it. The training mean and "
    "the most frequent code know nothing of the brain. Rotated in time is the mean over rotations of the same "
    "prediction against the truth, with p, and q for all tests of this table. Ridge is ridge regression on the same "
    "TRs. A score is above its nulls if the interval of its difference from each lies above 0 (the difference itself, "
    "where the part is too short for intervals), and q <= .05."
)
READ_PASSAGES = (
    "The part is cut into passages. Each decoded one is compared with the true features of all passages of its run: "
    "pairwise is the share of others that it is less like than its own (chance .5), top-k the share of passages whose "
    "own is among the k most alike. Rotated is the same with the prediction rotated in time, and p the share of "
    "rotations that do as well. Few passages make wide intervals."
)
PASSAGES = "passages"
TITLES = {PASSAGES: "Passages told apart"}
BESIDE = {"ridge": "ridge", "ceiling": "codec alone"}
"""Entries of an entry that are the same of another prediction, and what their columns are called."""


def estimate(one: Mapping[str, Any] | None) -> str:
    """A number with its interval.

    Parameters
    ----------
    one : mapping or None
        ``value``, ``low``, ``high``, ``why``.

    Returns
    -------
    str
    """
    if one is None or one.get("value") is None:
        return "-"
    low, high = one.get("low"), one.get("high")
    return number(one["value"]) + ("" if low is None else f" ({number(low)} to {number(high)})")


def rows_of(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All scores of a card in one form, with that of encoding as the first.

    Parameters
    ----------
    card : mapping
        As ``scorecard.json`` holds it.

    Returns
    -------
    list of dict
        ``name``, ``reconstruction``, ``ceiling``, ``nulls``, ``above_nulls``, ``ridge``.
    """
    rows = [dict(one) for one in card.get("scores") or []]
    encoding = card.get("encoding")
    if encoding is not None:
        ridge = encoding.get("ridge")
        q = encoding.get("q")
        rows.insert(0, {
            "name": f"{ENCODING}, mean of {card.get('unit', 'voxels')}", "reconstruction": encoding["r"],
            "ceiling": None, "above_nulls": None if q is None else q <= SIGNIFICANT,
            "nulls": {SHIFTED: {"value": encoding.get("rotated"), "p": encoding.get("p"), "q": q}},
            "ridge": None if ridge is None else {**ridge, "margin": encoding.get("above_ridge")},
        })  # fmt: skip
    return rows


def score_table(card: Mapping[str, Any]) -> Table:
    """All scores of a card beside ceiling, nulls and ridge.

    Parameters
    ----------
    card : mapping

    Returns
    -------
    Table
    """
    rows = rows_of(card)
    nulls = list(dict.fromkeys(name for one in rows for name in one.get("nulls") or {} if name != SHIFTED))
    headers = ["score", "reconstruction (95 %)", "above its nulls", "codec alone", SHIFTED, "p", "q", *nulls]
    headers += ["ridge", "difference (95 %)"]
    cells = []
    for one in rows:
        beside, ridge = one.get("nulls") or {}, one.get("ridge")
        shifted = beside.get(SHIFTED)
        cells.append([
            str(one["name"]), estimate(one["reconstruction"]),
            {True: "yes", False: "no", None: "not tested"}[one.get("above_nulls")], number(one.get("ceiling")),
            *(["", "", ""] if shifted is None else [
                number(shifted.get("value")), p_value(shifted.get("p")), p_value(shifted.get("q"))
            ]),
            *(number(beside[name].get("value")) if name in beside else "" for name in nulls),
            *(["", ""] if ridge is None else [number(ridge.get("value")), margin_of(ridge.get("margin"))]),
        ])  # fmt: skip
    return Table(headers, cells)


def margin_of(margin: Mapping[str, Any] | None) -> str:
    """A difference with its interval.

    Parameters
    ----------
    margin : mapping or None
        ``value``, ``low``, ``high``.

    Returns
    -------
    str
    """
    return signed(None if margin is None else Estimate(*(margin.get(name) for name in ("value", "low", "high"))))


def other_tables(card: Mapping[str, Any]) -> list[Table]:
    """What else a card lists by name, such as passages told apart: a table for each list.

    Parameters
    ----------
    card : mapping

    Returns
    -------
    list of Table
    """
    found = []
    for key, listed in card.items():
        if key == "scores" or not isinstance(listed, list):
            continue
        rows = [one for one in listed if isinstance(one, Mapping) and "name" in one]
        if not rows:
            continue
        flat = [_flat(one) for one in rows]
        headers = list(dict.fromkeys(name for one in flat for name in one))
        title = TITLES.get(key, key.replace("_", " ").capitalize())
        found.append(Table(headers, [[one.get(name, "") for name in headers] for one in flat], title))
    return found


def _flat(one: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The values of one entry by column: estimates with their interval, chance and rotations."""
    cells: dict[str, str] = {}
    for key, value in one.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping) and "value" in value:
            cells[name] = estimate(value)
            if value.get("chance") is not None:
                cells[f"{name}: chance"] = number(value["chance"])
            if "rotated" in value:
                cells[f"{name}: rotated (p)"] = f"{number(value['rotated'])} ({p_value(value.get('p'))})"
        elif key in BESIDE and isinstance(value, Mapping):
            own = {k: v for k, v in _flat(value).items() if k in _estimates(value)}
            cells |= {f"{BESIDE[key]}: {k}": v for k, v in own.items()}
        elif isinstance(value, Mapping):
            cells |= _flat(value, f"{name}-")
        elif isinstance(value, float):
            cells[name] = f"{value:g}"
        elif isinstance(value, (str, int)):
            cells[name] = str(value)
    return cells


def _estimates(one: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Names of the columns of an entry that hold estimates."""
    found = set()
    for key, value in one.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found |= {name} if "value" in value else _estimates(value, f"{name}-")
    return found


def score_section(card: Mapping[str, Any], whose: str) -> Section:
    """The scores of a card: a drawing, and all tables.

    Parameters
    ----------
    card : mapping
    whose : str

    Returns
    -------
    Section
    """
    rows = [one for one in rows_of(card) if one["reconstruction"].get("value") is not None]
    parts: list[Any] = []
    rows = [one for one in rows if _is_share(one)]
    if rows and can_draw():
        alt = "; ".join(f"{one['name']} {estimate(one['reconstruction'])}" for one in rows)
        caption = (
            "Dots: the reconstruction, with its 95 % interval. Bars: the codec alone. Crosses: rotated in time; "
            "triangles: other nulls; diamonds: ridge. A dot that its nulls touch says nothing."
        )
        parts.append(Drawing(scores_drawing(rows), f"Scores beside ceiling and nulls: {alt}", caption))
    parts.append(score_table(card))
    text = [READ_SCORES]
    tables = other_tables(card)
    if tables:
        text.append(READ_PASSAGES)
    return Section(f"Scores: {whose}", text, [*parts, *tables])


def _is_share(one: Mapping[str, Any]) -> bool:
    """Whether a score and all beside it lie between -1 and 1: decibels would leave no room on one axis."""
    beside = [
        one["reconstruction"],
        one.get("ridge"),
        {"value": one.get("ceiling")},
        *(one.get("nulls") or {}).values(),
    ]
    return all(abs(found["value"]) <= 1 for found in beside if found and found.get("value") is not None)


def notes_of(cards: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[str]]:
    """What must be known of the figures: rows of whose and what.

    Parameters
    ----------
    cards : sequence of (str, mapping)

    Returns
    -------
    list of list of str
    """
    return [[whose, str(note)] for whose, card in cards for note in card.get("notes") or []]
