"""Benchmarks of speed: all are known to the one command, and a ratio that is worse than the stored one is told of."""

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
NOW = {"processor": "A", "cores": "2"}


@pytest.fixture(scope="module")
def on_path():
    """Benchmarks import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield


@pytest.fixture(scope="module")
def ratios(on_path):
    return importlib.import_module("ratios")


@pytest.fixture(scope="module")
def speed(on_path):
    return importlib.import_module("speed")


@pytest.fixture
def two(ratios):
    """Of one benchmark: ten times as fast (8 to 12), and twice."""
    ten = ratios.Ratio("encode", "a loop", (0.1, 1.0), 10.0, 8.0, 12.0, 5, "processor")
    return [ten, replace(ten, what="decode", ratio=2.0, low=2.0, high=2.0)]


def stored(speed, found):
    """As a file would hold it."""
    return json.loads(speed.stored_text({"a": found}, NOW))


def runs_a_benchmark(path):
    return "sys.exit(run(measure, parser()))" in path.read_text(encoding="utf-8")


def test_every_benchmark_of_speed_is_in_the_list(speed):
    own = {path.stem for path in BENCHMARKS.glob("*.py") if path.stem.endswith("_speed") or runs_a_benchmark(path)}
    assert own == set(speed.SHORT)
    assert set(speed.QUICK) <= set(speed.SHORT)
    assert all(runs_a_benchmark(BENCHMARKS / f"{name}.py") for name in own)


def test_no_benchmark_of_speed_has_a_clock_or_a_median_of_its_own(speed):
    """But for steps of a training, whose clock is read as they pass, and the time after which a worker is killed."""
    for path in BENCHMARKS.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.stem in speed.SHORT or path.stem.startswith("features_"):
            assert "perf_counter" not in text and "median(" not in text and "ru_maxrss" not in text, path.name


def test_what_makes_a_benchmark_short_are_options_that_it_has(speed):
    """Read from the files: importing them all would take as long as running some."""
    for name, arguments in speed.SHORT.items():
        text = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
        for option in (word for word in arguments.split() if word.startswith("--")):
            assert f'"{option}"' in text, f"{name} has no {option}"


def test_contenders_take_turns_after_one_that_does_not_count(ratios):
    order = []
    turns = ratios.in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert {name: len(runs) for name, runs in turns.runs.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_those_of_the_turns(ratios):
    times = {"fast": iter([1.0, 2.0, 1.0]), "slow": iter([2.0, 6.0, 10.0])}
    jobs = {name: lambda own=own: ratios.Measured(next(own), 0.5) for name, own in times.items()}
    turns = ratios.in_turns(jobs, 3, warm_up=False)
    one = turns.ratio("fast", "slow", time="clock")
    assert (one.ratio, one.low, one.high, one.turns) == (3.0, 2.0, 10.0, 3)
    assert one.seconds == (1.0, 6.0)
    # The other did a quarter of the work, and would have taken four times as long.
    assert turns.ratio("fast", "slow", time="clock", share=0.25).ratio == 12.0
    assert turns.ratio("fast", "slow").ratio == 1.0  # the processor's time


def test_a_process_of_its_own_gives_what_it_measured_there(ratios, tmp_path, monkeypatch):
    (tmp_path / "a_child.py").write_text(
        "import os\nfrom ratios import Measured\n"
        "def f(a, b=0):\n    print('said')\n    return Measured(1.5, 2.5, [a, b, os.environ['OMP_NUM_THREADS']])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = importlib.import_module("a_child")
    found = ratios.in_own_process(child.f, 1, b=2, environment=ratios.threads(3))
    assert found == ratios.Measured(1.5, 2.5, [1, 2, "3"])


def test_contenders_that_differ_are_an_error(ratios, capsys):
    ratios.agree("codes", 1e-5, 1e-4)
    assert capsys.readouterr().out == "codes: 1.0e-05 apart\n"
    for far in (2e-4, float("nan")):
        with pytest.raises(ValueError, match=r"codes: what is compared differs by \S+, more than 0\.0001"):
            ratios.agree("codes", far, 1e-4)


def test_a_ratio_or_a_time_that_is_not_what_is_wanted_is_bold_and_fails(ratios, two, monkeypatch, tmp_path, capsys):
    one = two[0]
    assert one.met and replace(one, at_least=10, within=0.1).met
    assert not replace(one, at_least=11).met and not replace(one, within=0.09).met
    assert replace(one, at_least=11, within=0.3).cells() == [
        "encode", "a loop", "**10**", "8 to 12", "0.1 / 1", "processor, 5", "at least 11 times, within 0.3 s"
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["a", "--save", str(tmp_path / "a.json")])
    assert ratios.run(lambda options: two, argparse.ArgumentParser()) == 0
    assert [ratios.Ratio(**fields).name for fields in json.loads((tmp_path / "a.json").read_text())] == [
        "encode, beside a loop", "decode, beside a loop"
    ]  # fmt: skip
    assert ratios.run(lambda options: [replace(one, at_least=11)], argparse.ArgumentParser()) == 1
    assert "| encode | a loop | **10** | 8 to 12 | 0.1 / 1 |" in capsys.readouterr().out


def test_a_ratio_below_the_spread_by_more_than_is_tolerated_is_warned_of(speed, two):
    worse = [replace(two[0], ratio=5.9), two[1]]
    warnings, notes = speed.compare(stored(speed, two), {"a": worse}, NOW)
    assert warnings == ["a, encode, beside a loop: 5.9 times as fast, was 10 (8 to 12)"]
    assert notes == []


@pytest.mark.parametrize("ratio", [6.1, 8.0, 10.0, 100.0])
def test_a_ratio_within_the_tolerance_or_better_is_not(speed, two, ratio):
    assert speed.compare(stored(speed, two), {"a": [replace(two[0], ratio=ratio), two[1]]}, NOW) == ([], [])


def test_what_is_not_stored_and_what_is_no_longer_measured_is_said(speed, two):
    warnings, notes = speed.compare(stored(speed, two[:1]), {"a": two[1:], "b": two[:1]}, NOW)
    assert warnings == []
    assert notes == [
        "a, decode, beside a loop: is not stored; make bench stores it",
        "a, encode, beside a loop: is stored and no longer measured; make bench stores what is",
        "b, encode, beside a loop: is not stored; make bench stores it",
    ]


def test_a_benchmark_that_was_not_run_is_not_missed(speed, two):
    kept = json.loads(speed.stored_text({"a": two, "b": two}, NOW))
    assert speed.compare(kept, {"a": two}, NOW) == ([], [])


def test_another_machine_is_said(speed, two):
    notes = speed.compare(stored(speed, two), {"a": two}, {"processor": "B", "cores": "2", "torch": "3"})[1]
    assert notes == [
        "the stored ratios are of another machine or other versions: processor A, now B; torch unknown, now 3"
    ]


def test_warnings_have_the_form_of_github_there_alone(speed, monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    speed.tell(["slow"], ["new"])
    assert capsys.readouterr().out.splitlines()[:2] == ["note: new", "warning: slow"]
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    speed.tell(["slow"], [])
    assert capsys.readouterr().out.splitlines()[0] == "::warning::slow"


@pytest.fixture
def pretended(speed, two, monkeypatch, tmp_path):
    """The command with benchmarks that are not run; by name what each gives, None if it fails."""
    page = tmp_path / "page.md"
    page.write_text("# Speed\n\n<!-- benchmarks: start -->\nold\n<!-- benchmarks: end -->\n\nMore.\n")
    monkeypatch.setattr(speed, "PAGE", page)
    monkeypatch.setattr(speed, "STORED", tmp_path / "ratios.json")
    monkeypatch.setattr(speed, "SHORT", {"a": "--n 1", "b": ""})
    monkeypatch.setattr(speed, "QUICK", ("a",))
    given = {"a": two, "b": two[:1]}
    monkeypatch.setattr(speed, "measured", lambda name, arguments: given[name])

    def command(*options):
        monkeypatch.setattr(sys, "argv", ["speed.py", *options])
        return speed.main()

    return command, given, page


def test_the_command_writes_the_page_between_its_marks_and_the_ratios(speed, two, pretended):
    command, _, page = pretended
    assert command() == 0
    text = page.read_text()
    assert text.startswith("# Speed\n\n<!-- benchmarks: start -->\nMachine: processor ") and text.endswith(
        "\n\nMore.\n"
    )
    assert "old" not in text
    assert "### a\n\n| what |" in text and "| encode | a loop | 10 | 8 to 12 | 0.1 / 1 | processor, 5 |  |" in text
    assert "Other programs used " in text and "torch " in text
    kept = json.loads(speed.STORED.read_text())
    assert speed.compare(kept, {"a": two, "b": two[:1]}, speed.machine()) == ([], [])
    assert command("--compare") == 0


def test_nothing_is_written_of_some_or_when_comparing_or_after_a_failure(speed, pretended, capsys):
    command, given, page = pretended
    before = page.read_text()
    assert command("--only", "a") == 0
    assert command("--quick") == 0
    assert command("--compare") == 0
    assert "there is no ratios.json to compare with" in capsys.readouterr().out
    given["b"] = None
    assert command() == 1
    assert command("--compare", "--quick") == 0  # b is not among them
    assert command("--compare") == 1
    assert "error: failed: b" in capsys.readouterr().out
    assert page.read_text() == before and not speed.STORED.exists()


def test_a_worse_ratio_is_no_failure(speed, two, pretended, capsys):
    command, given, _ = pretended
    command()
    given["a"] = [replace(two[0], ratio=1.0), two[1]]
    assert command("--compare") == 0
    assert "a, encode, beside a loop: 1 times as fast, was 10 (8 to 12)" in capsys.readouterr().out


def test_a_name_that_no_benchmark_has_is_refused(pretended, capsys):
    command, *_ = pretended
    with pytest.raises(SystemExit):
        command("--only", "c")
    assert "there is no benchmark c: --list shows their names" in capsys.readouterr().err


def test_a_benchmark_that_raises_has_failed(speed, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    (tmp_path / "raises.py").write_text("raise ValueError('what is compared differs')")
    assert speed.measured("raises", "") is None
    assert "error: raises failed, exit status 1" in capfd.readouterr().out


def test_the_machine_has_no_name_and_no_path(speed):
    import platform

    found = speed.machine()
    assert {"processor", "cores", "memory", "Python", "torch", "giblet"} <= set(found)
    text = " ".join(found.values())
    assert "/" not in text and platform.node() not in text.split()


def test_what_is_stored_and_the_page_are_of_the_same_run(speed):
    """Whoever stores ratios writes the page with them; before that it holds none."""
    if not speed.STORED.exists():
        assert "No machine has run these benchmarks" in speed.PAGE.read_text()
        return
    kept, page = json.loads(speed.STORED.read_text()), speed.PAGE.read_text()
    assert set(kept["ratios"]) == set(speed.SHORT)
    ratio = importlib.import_module("ratios").Ratio
    for name, ones in kept["ratios"].items():
        shown = page.partition(f"\n### {name}\n")[2].partition("\n###")[0]
        for one in (ratio(**fields) for fields in ones):
            assert f"| {one.what} | {one.beside} |" in shown
    assert all(f"{name} {value}" in page for name, value in kept["machine"].items())
