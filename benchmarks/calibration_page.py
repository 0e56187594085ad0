"""docs/calibration.md, from the results of `benchmarks/calibration.py`: tables, goals, and why a figure is outside.

The words are in calibration.md.jinja, and the reasons here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from calibration_parts import COVERED, LENGTHS, POWER_NOISES, SETTLED, SURROGATES, VOXELS
from calibration_series import FASTEST, LEVEL, LEVELS, LISTENERS, NOISES, REAL, SETTLING, SLOWEST, STRENGTH
from jinja2 import Environment, StrictUndefined

Result = dict[str, Any]

TEMPLATE = Path(__file__).with_suffix("").with_name("calibration.md.jinja")
WIDTH = 128
BEFORE = "189995b"
"""The commit whose power stands beside today's."""
LOW, HIGH, HIGH_01 = 0.03, 0.07, 0.016
"""Goals of rates at .05, and at .01."""
HELD, HELD_FROM = (0.92, 0.97), 100
"""Goal of intervals, and from how many TRs on."""
SURE = 1.96
"""Standard errors by which a figure must be outside of its goal to be outside for a cause."""
KEPT, GAINED, SLOW = 0.9, 1.5, ("ar .9", "cosine", "walk")
"""Of the power before: how much of it is kept at r .2, and by what it grows at r .1 in slow noise."""
TITLES = {
    "rotation": "rotation test", "rotation mean": "rotation test, voxels together", "accuracy": "accuracy",
    "lag": "check-alignment", "coverage": "interval of r", "share coverage": "interval of the share of right codes",
    "lag interval": "interval of the best lag", "collapsed codes": "collapsed codes",
    "collapsed latents": "collapsed latents", "group": "several subjects",
}  # fmt: skip
"""Of the parts that have goals."""
RATED = ("rotation", "rotation mean", "accuracy", "lag")
"""Parts whose rates have a goal in every cell."""


@dataclass(frozen=True)
class Reason:
    """Why figures of a kind are outside of their goal, on one side of it."""

    part: str
    side: str
    applies: Callable[[Result], bool]
    text: str


REASONS = (
    Reason(
        "accuracy",
        "above",
        lambda one: one["noise"] in ("linear", "quadratic") and one["n_trs"] < 100,
        "Codes that drift, in short parts. A code changes in steps while what it stands for drifts, and what is left "
        "of the steps when lines and parabolas are out still goes together. Give the BOLD that is decoded a "
        "high-pass, so that predictions do not drift, or test longer parts.",
    ),
    Reason(
        "coverage",
        "above",
        lambda one: one["r"] > 0 or one["test"] == "all values",
        "Intervals that are wider than they need be, so that more than 97 % hold the truth. Those of one voxel "
        "and of a mean come from the spread of all rotations, and those by a few TRs still hold part of the "
        "response: the stronger it is, the wider they are. The spread of what the prediction leaves over would be "
        "narrower, and hold too little where noise is slow. Those of all values are the wider one of two "
        "readings.",
    ),
    Reason(
        "share coverage",
        "below",
        lambda one: one["noise"] == "ar .9",
        "Shares of right codes where noise is slow and the part short. A few stretches of half a minute do not "
        "say how slow a series is, and what differs from frame to frame hides it: intervals are too narrow.",
    ),
    Reason(
        "share coverage",
        "above",
        lambda one: one["noise"] in ("white", "ar .3"),
        "Shares of right codes where noise is fast: the interval is the wider one of two readings, and more than "
        "97 % hold the truth.",
    ),
    Reason(
        "lag interval",
        "above",
        lambda one: True,
        "Best lags that hardly vary, so that nearly all fall on the same TR, or that vary over all lags: more "
        "than 97 % of intervals hold the truth.",
    ),
)


def judged(one: Result) -> bool:
    """Whether a figure has a goal."""
    if "held" in one:
        return bool(one["n_trs"] >= HELD_FROM)
    return "rate_05" in one and (one["part"] in RATED or "least_p" in one or one["test"] == "joint rotations")


def side_of(one: Result) -> str | None:
    """``"above"`` or ``"below"`` its goal, by more than the error of the draws; None where it is not, or has none."""
    if not judged(one):
        return None
    if "least_p" in one:
        return "above" if one["least_p"] < 1 or one["above_all"] > 0 else None
    if "held" in one:
        if one["held"] + SURE * one["error"] < HELD[0]:
            return "below"
        return "above" if one["held"] - SURE * one["error"] > HELD[1] else None
    at_05, at_01 = (SURE * one[f"error_{level}"] for level in ("05", "01"))
    if one["rate_05"] - at_05 > HIGH or one["rate_01"] - at_01 > HIGH_01:
        return "above"
    return "below" if one["rate_05"] + at_05 < LOW else None


def near(one: Result) -> bool:
    """Whether it is outside of its goal by no more than the error of the draws."""
    if not judged(one) or side_of(one) or "least_p" in one:
        return False
    if "held" in one:
        return not HELD[0] <= one["held"] <= HELD[1]
    return not LOW <= one["rate_05"] <= HIGH or one["rate_01"] > HIGH_01


def reason_of(one: Result) -> Reason | None:
    """The reason that the page has for a figure outside of its goal."""
    side = side_of(one)
    own = (reason for reason in REASONS if reason.part == one["part"] and reason.side == side)
    return next((reason for reason in own if reason.applies(one)), None)


def unexplained(results: Iterable[Result]) -> list[str]:
    """Figures outside of their goal by more than the error of the draws, for which there is no reason; in words."""
    results = list(results)
    found = [_told(one) for one in results if side_of(one) and reason_of(one) is None]
    return found + [line for line, right in power_goals(results) if not right]


def power_goals(results: list[Result]) -> Iterator[tuple[str, bool]]:
    """What was asked of the power of check-alignment, and whether it is so but for the error of the draws."""
    for r, factor, noises in ((0.1, GAINED, SLOW), (0.2, KEPT, POWER_NOISES)):
        for noise in noises:
            now, was = (_one(results, "lag power", noise=noise, r=r, giblet=whose) for whose in (None, BEFORE))
            if now is None or was is None:
                continue
            slack = SURE * (now["error_05"] ** 2 + (factor * was["error_05"]) ** 2) ** 0.5
            right = now["rate_05"] + slack >= factor * was["rate_05"]
            ratio = now["rate_05"] / max(was["rate_05"], 1e-9)
            words = f"`{noise}`, r {r:g}: {ratio:.2f} times the power before; at least {factor:g} times was asked for"
            yield words + ("" if right else ", which it is not"), right


def _told(one: Result) -> str:
    runs = f"{one['runs']} runs of " if one.get("runs", 1) > 1 else ""
    return f"{_kind(one)}: {runs}{one['n_trs']} TRs {_figure(one)} %"


def _kind(one: Result) -> str:
    """What a figure is of, but for the number of TRs."""
    title = TITLES[one["part"]]
    what = [title] if one["test"] in title else [title, one["test"]]
    what += [one["noise"]] if "noise" in one else []
    what += ["no high-pass"] if one.get("high_pass") is False else []
    return ", ".join([*what, *(f"{name} {one[name]:g}" for name in ("r", "subjects", "shared") if name in one)])


def _figure(one: Result) -> str:
    return _percent(one["held"]) if "held" in one else f"{_percent(one['rate_05'])} / {_percent(one['rate_01'])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _one(results: list[Result], part: str, **wanted: Any) -> Result | None:
    own = (one for one in results if one["part"] == part)
    return next((one for one in own if all(one.get(name) == value for name, value in wanted.items())), None)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(one: Result | None) -> str:
    """A figure; bold where it is outside of its goal, with a dagger where the error of the draws may be all of it."""
    if one is None or one.get("too_short"):
        return "-"
    figure = f"{_figure(one)} ({one['width']:.2f})" if "held" in one else _figure(one)
    return f"**{figure}**" if side_of(one) else f"{figure}†" if near(one) else figure


class Page:
    """What the template asks for."""

    def __init__(self, results: list[Result]) -> None:
        self.results = results

    def rates(self, part: str, test: str, runs: int | None = None, **more: Any) -> str:
        """Rates of false positives, noise by length."""
        kinds = {"accuracy": NOISES, "lag": (*NOISES, REAL)}.get(part, (*NOISES, LEVELS, REAL))
        kinds = tuple(kind for kind in kinds if runs is None or kind != REAL)
        lengths = LENGTHS[1:] if part == "accuracy" else LENGTHS
        rows = []
        for noise in kinds:
            if part.startswith("rotation"):
                more["runs"] = runs or (2 if noise == LEVELS else 1)
            found = (_one(self.results, part, test=test, noise=noise, n_trs=n, **more) for n in lengths)
            rows.append([noise, *map(_cell, found)])
        return _table(["% at .05 / .01", *(f"{n} TRs" for n in lengths)], rows)

    def draws(self, part: str) -> str:
        """From how many draws the cells of a part come."""
        own = [one for one in self.results if one["part"] == part and "draws" in one]
        if not own:
            return "not measured"
        least, most = min(one["draws"] for one in own), max(one["draws"] for one in own)
        number = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        errors = [one["error_05"] if "error_05" in one else one["error"] for one in own]
        return f"{number} draws per cell; standard errors up to {_percent(max(errors))} %"

    def coverage(self, test: str) -> str:
        """Shares of intervals that hold the truth, noise and r by length."""
        lengths = (64, 100, 150, 300, 900)
        rows = []
        for noise in COVERED:
            for r in (0.0, 0.3, 0.6):
                found = (_one(self.results, "coverage", test=test, noise=noise, n_trs=n, r=r) for n in lengths)
                rows.append([f"{noise}, r {r:g}", *map(_cell, found)])
        return _table(["% (width)", *(f"{n} TRs" for n in lengths)], rows)

    def share_coverage(self) -> str:
        lengths = (64, 100, 150, 300, 900)
        found = {n: [_one(self.results, "share coverage", noise=one, n_trs=n) for one in COVERED] for n in lengths}
        rows = [[noise, *(_cell(found[n][k]) for n in lengths)] for k, noise in enumerate(COVERED)]
        return _table(["% (width)", *(f"{n} TRs" for n in lengths)], rows)

    def lag_interval(self) -> str:
        strengths = (0.1, 0.2, 0.3, 0.5)
        rows = (
            [noise, *(_cell(_one(self.results, "lag interval", noise=noise, r=r)) for r in strengths)]
            for noise in ("white", "ar .6", "ar .9")
        )
        return _table(["% (width, s)", *(f"r {r:g}" for r in strengths)], rows)

    def lag_power(self) -> str:
        rows = []
        for noise in POWER_NOISES:
            pairs = [(r, whose) for r in (0.1, 0.2) for whose in (BEFORE, None)]
            found = [_one(self.results, "lag power", noise=noise, r=r, giblet=whose) for r, whose in pairs]
            rows.append([noise, *map(_share, found)])
        return _table(["% with p <= .05", "r .1, before", "r .1, now", "r .2, before", "r .2, now"], rows)

    def rotation_power(self) -> str:
        columns, rows = [(r, n) for r in (0.1, 0.2) for n in LENGTHS[1:]], []
        for noise in POWER_NOISES:
            found = [_one(self.results, "rotation power", noise=noise, n_trs=n, r=r) for r, n in columns]
            rows.append([noise, *map(_share, found)])
        return _table(["% with p <= .05", *(f"r {r:g}, {n}" for r, n in columns)], rows)

    def group(self) -> str:
        shares, rows = (0.0, 0.05, 0.15, 0.3), []
        for subjects in (8, 17):
            for n in (150, 300):
                for test in ("joint rotations", "t-test over subjects"):
                    wanted = {"subjects": subjects, "n_trs": n, "test": test}
                    found = [_one(self.results, "group", shared=share, **wanted) for share in shares]
                    rows.append([f"{subjects} subjects, {n} TRs, {test}", *map(_cell, found)])
        return _table(["% at .05 / .01", *(f"{100 * share:.0f} % shared" for share in shares)], rows)

    def collapsed(self) -> str:
        rows = []
        for part, what in (("collapsed codes", "one code, 8 codebooks"), ("collapsed latents", "one latent")):
            for n in (64, 300):
                one = _one(self.results, part, n_trs=n)
                if one is not None:
                    figures = [f"{one['least_p']:g}", _percent(one["rate_05"]), _percent(one["above_all"])]
                    rows.append([f"{what}, {n} TRs", *figures])
        return _table(["what it says", "least p", "p <= .05, %", '"above all", % of cards'], rows)

    def settling(self) -> str:
        names = {
            ("settling lag", "default"): "check-alignment",
            ("settling lag", "no high-pass"): "check-alignment `--no-high-pass`",
            ("settling rotation", "p"): "rotation test, `p`",
        }
        columns = [(seconds, n) for seconds in SETTLED for n in (150, 300)]
        rows = [
            [name, *(_cell(_one(self.results, part, test=test, seconds=t, n_trs=n)) for t, n in columns)]
            for (part, test), name in names.items()
        ]
        return _table(["% at .05 / .01", *(f"{t:g} s, {n} TRs" for t, n in columns)], rows)

    def summary(self) -> str:
        """How many figures are where they should be."""
        n_judged = sum(map(judged, self.results))
        n_outside, n_near = (sum(map(bool, map(each, self.results))) for each in (side_of, near))
        return (
            f"{n_judged} figures here have a goal. {n_judged - n_outside - n_near} meet it, {n_near} are outside "
            f"by less than 1.96 standard errors, and {n_outside} by more."
        )

    def outside(self) -> str:
        """Figures outside of their goals, by reason."""
        groups: dict[str, dict[str, list[str]]] = {}
        for one in filter(side_of, self.results):
            reason, kind = reason_of(one), _kind(one)
            figures = groups.setdefault(reason.text if reason else "No reason is known.", {}).setdefault(kind, [])
            figures.append(_told(one).removeprefix(f"{kind}: "))
        paragraphs = []
        for text, kinds in groups.items():
            paragraphs += [text, "\n".join(f"- {kind}: {'; '.join(figures)}" for kind, figures in kinds.items())]
        return "\n\n".join(paragraphs) or "Nothing."


def _share(one: Result | None) -> str:
    return "-" if one is None else f"{100 * one['rate_05']:.0f}"


def page(about: dict[str, Any]) -> str:
    """The page in Markdown.

    Parameters
    ----------
    about : dict
        ``versions``, and ``results`` as :func:`calibration_parts.measure` gives them.
    """
    own = Page(about["results"])
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(
        TEMPLATE.read_text(encoding="utf-8")
    )
    tables = ("summary", "settling", "lag_power", "rotation_power", "share_coverage", "lag_interval", "collapsed")
    text = template.render(
        versions=", ".join(f"{name} {number}" for name, number in about["versions"].items()),
        **{name: getattr(own, name)() for name in (*tables, "group", "outside")},
        rates=own.rates, draws=own.draws, coverage=own.coverage,
        power_goals=[line for line, _ in power_goals(own.results)],
        strength=f"{STRENGTH:g}", level=f"{LEVEL:g}", fastest=f"{FASTEST:g}", slowest=f"{SLOWEST:g}",
        settling_by=f"{SETTLING:g}", listeners=LISTENERS, voxels=VOXELS, surrogates=SURROGATES["null"],
    )  # fmt: skip
    blocks = text.split("\n\n")
    return "\n\n".join(one if one.startswith(("|", "#", "-", "`")) else _filled(one) for one in blocks) + "\n"


def _filled(paragraph: str) -> str:
    """A paragraph in lines of equal width, as tables and numbers of draws are put into it."""
    return fill(" ".join(paragraph.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
