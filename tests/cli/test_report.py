"""``giblet report``: where the page goes, and what it says of a folder that is no run."""

import json
from pathlib import Path

import pytest
import yaml

from giblet.cli import report as command
from tests.test_pages import Page


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A run that came no further than its splits."""
    run = tmp_path / "<b>run"
    run.mkdir()
    subjects = [{"name": "01", "runs": [{"bold": "a.tsv", "audio": "a.nc"}]}]
    (run / "config.yaml").write_text(yaml.safe_dump({"data": {"subjects": subjects}, "output": str(run)}))
    parts = {"train": [0, 1, 2], "val": [4], "test": [6, 7], "gap": [3, 5]}
    splits = {"01": {"tr": 1.5, "n_trs": 8, **parts, "run": [1] * 8, "volume": list(range(8))}}
    (run / "splits.json").write_text(json.dumps(splits))
    return run


def test_the_page_is_written_into_the_run_and_made_again(giblet, stopped):
    assert giblet("report", stopped) == (0, f"{stopped / 'report.html'}\n", "")
    found = Page((stopped / "report.html").read_text())
    assert "Training run <b>run" in found.text and "b" not in found.tags
    status, said, _ = giblet("report", stopped, "--json")
    assert status == 0 and json.loads(said)["sections"][0] == "What was found"


def test_the_page_goes_where_it_is_asked_to_and_opens(giblet, stopped, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(command.typer, "launch", opened.append)
    assert giblet("report", stopped, "-o", tmp_path / "new" / "a page.html", "--open")[0] == 0
    assert opened == [(tmp_path / "new" / "a page.html").as_uri()]


def test_a_file_that_is_no_page_is_replaced_only_if_asked(giblet, stopped):
    (stopped / "report.html").write_text("mine")
    status, _, err = giblet("report", stopped)
    assert status == 2 and "is no page of giblet's" in err and "--overwrite" in err
    assert (stopped / "report.html").read_text() == "mine"
    assert giblet("report", stopped, "--overwrite")[0] == 0


def test_a_folder_that_is_no_run_and_an_original_that_is_not_there_are_one_line(giblet, stopped, tmp_path):
    for argv, said in (((tmp_path,), "is no run"), ((tmp_path / "none",), "no such folder")):
        status, out, err = giblet("report", *argv)
        assert (status, out, err.count("\n")) == (2, "", 1) and said in err
    assert not (tmp_path / "none").exists() and not (tmp_path / "report.html").exists()
