"""Jobs that are killed at random points; ``python -m tests.faults`` tries more of them."""

import re
import shutil
import signal
from collections import Counter

import pytest

from tests.faults.__main__ import PAGE, table, written
from tests.faults.jobs import JOBS
from tests.faults.killed import completed, stops, survives
from tests.faults.processes import Stop, run
from tests.faults.whole import READERS, read_all

POINTS = 2
"""Of each job."""
SEEN_ELSEWHERE = {"extract", "train", "codec train"}
"""Jobs of which other tests stop the command by Ctrl-C."""


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_killed_job_leaves_whole_files_and_is_completed_by_the_same_command(job, inputs, place_of, whole_of):
    whole = whole_of(job)
    assert len(whole.stable) > 0
    stopped = [survives(job, inputs, place_of(job) / "out", whole, stop) for stop in stops(whole, POINTS, seed=0)]
    assert any(stopped)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "by"),
    [
        *((job, signal.SIGTERM) for job in JOBS),
        *((job, signal.SIGINT) for job in JOBS if job.name not in SEEN_ELSEWHERE),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_a_job_that_is_stopped_says_so_in_a_line_and_is_completed(job, by, inputs, place_of, whole_of):
    whole, out = whole_of(job), place_of(job) / "out"
    stop = Stop(change=max(whole.changes // 2, 1), by=by)
    shutil.rmtree(out, ignore_errors=True)
    ended = run(job.argv(inputs, out), out, stop)
    assert ended.status in ((128 + by, -by) if by == signal.SIGTERM else (128 + by,)), ended.told
    assert "Traceback" not in ended.told
    read_all(out)
    completed(job, inputs, out, whole)


def test_a_file_that_is_half_would_be_seen(trained_run, tmp_path):
    folder = shutil.copytree(trained_run.run, tmp_path / "run")
    read_all(folder)
    path = folder / "best" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Exception, match=r"(?i)header|incomplete|invalid"):
        read_all(folder)
    assert set(READERS) >= {".nc", ".json", ".safetensors", ".tsv", ".html"}


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_shows_thirty_points_of_every_job_and_no_loss():
    text = PAGE.read_text(encoding="utf-8")
    names = "|".join(job.name for job in JOBS)
    rows = re.findall(rf"^\| ({names}) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [job.name for job in JOBS]
    for _, killed, terminated, interrupted, at_work, losses in rows:
        assert int(killed) >= 30 and min(int(terminated), int(interrupted)) > 0
        assert int(at_work) > 0 and int(losses) == 0


def test_rows_of_the_table_are_replaced():
    counts = {"extract": Counter({"SIGKILL": 30, "SIGTERM": 6, "SIGINT": 6, "at work": 40})}
    row = "| extract | 30 | 6 | 6 | 40 | 0 |\n"
    assert table(counts).endswith(row)
    page = f"# Page\n\n{table({'train': Counter({'losses': 1})})}\nMore.\n\n| format |\n"
    assert written(page, counts) == page.replace("| train |", f"{row}| train |")
    assert written(page, {"train": Counter()}) == page.replace("| 1 |\n", "| 0 |\n")
