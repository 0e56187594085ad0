"""Files of every format, damaged in ways that follow from a seed, are read or refused in words: nothing else happens.

Many more are tried by hand: see :mod:`tests.fuzz.__main__`, and docs/robustness.md for how many were.
"""

import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from giblet.errors import InputError
from giblet.limits import LIMITS
from tests.fuzz.formats import FORMATS
from tests.fuzz.page import PAGE, counts_in, merged
from tests.fuzz.running import FAULT, OUTSIDE, READ, REFUSED, Case, Originals, cases_of, counted, run

SEED = 0
EACH = 72


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused_in_words(name, tmp_path):
    n_files = round(EACH * FORMATS[name].share)
    outcomes = list(run(cases_of([name], n_files, SEED), tmp_path))
    assert [outcome.case.number for outcome in outcomes] == list(range(n_files))
    faults = [f"{outcome.case}: {outcome.told}" for outcome in outcomes if outcome.kind == FAULT]
    assert not faults, "\n".join(["", *faults])
    assert counted(outcomes)[name][REFUSED] > 0


def test_over_two_thousand_files_are_tried():
    assert sum(round(EACH * one.share) for one in FORMATS.values()) >= 2000


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_follows_from_its_seed_and_number(name, tmp_path):
    made = []
    for place in ("one", "other"):
        originals = Originals(tmp_path / place / "whole")
        files = [originals.write(Case(name, 3, k), tmp_path / place / str(k)).read_bytes() for k in range(4)]
        made.append([originals.content(name), *files])
    assert made[0] == made[1]
    assert len({*made[0]}) > 2


# What would be found -------------------------------------------------------------------------------------------------


def raises_what_is_not_ours(path: Path) -> None:
    if "case" in str(path):
        raise KeyError("dim")


def ends_the_process(path: Path) -> None:
    os.abort()


def never_ends(path: Path) -> None:
    while time.monotonic():
        pass


def takes_too_much(path: Path) -> None:
    try:
        bytearray(3 * 2**30)
    except MemoryError as exc:
        raise InputError("too large") from exc


def fails_in_the_end(path: Path) -> None:
    class Left:
        def __del__(self):
            raise ValueError("left open")

    Left()


def refuses(path: Path) -> None:
    raise InputError("no")


@pytest.mark.parametrize(
    ("read", "kind", "told"),
    [
        (raises_what_is_not_ours, FAULT, "KeyError"),
        (ends_the_process, FAULT, "crash, SIGABRT"),
        (never_ends, FAULT, "hang"),
        (takes_too_much, FAULT, "memory"),
        (fails_in_the_end, FAULT, "left open"),
        (refuses, REFUSED, "no"),
        (str, READ, ""),
    ],
)
def test_what_happens_to_a_reader_is_seen_and_the_next_file_is_read(read, kind, told, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.running.CPU_SECONDS", 1)
    outcomes = list(run(cases_of(["SRT"], 2, SEED), tmp_path, read))
    assert [outcome.kind for outcome in outcomes] == [kind] * 2
    assert all(told in outcome.told for outcome in outcomes), outcomes


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_shows_every_format_and_no_fault():
    counts = counts_in(PAGE.read_text(encoding="utf-8"))
    assert [*counts] == [*FORMATS]
    assert not any(own[FAULT] for own in counts.values())


def test_the_page_says_the_limits_as_they_are():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: float(value.replace(",", "")) for name, value in rows} == LIMITS


def test_figures_of_the_page_are_added_to(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n| format | tried |\n|---|--:|\n| all | 0 | 0 | 0 | 0 | 0 |\n\nMore.\n")
    for _ in range(2):
        page.write_text(merged(page, {"SRT": Counter({READ: 600, REFUSED: 400, OUTSIDE: 1})}))
    text = page.read_text()
    assert "| SRT | 2,002 | 1,200 | 800 | 2 | 0 |\n| all | 2,002 | 1,200 | 800 | 2 | 0 |\n\nMore." in text
