"""``giblet codec evaluate``: what it prints and writes, what it leaves out by name, and what it says of bad input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from giblet.errors import InputError
from giblet.evaluation import sound_scores
from giblet.pipeline.report import report
from tests.chromium import CHROMIUM, Browser

LABELS = [
    "codes, 1.5 kbps", "codes, 3 kbps", "codes, 6 kbps", "mel, mean of each TR", "mel, 16 bands x 56 per TR",
    "mel, 32 bands x 28 per TR", "mel, every frame",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, speech) -> Path:
    """Two readers, and three files that cannot be used."""
    path = tmp_path_factory.mktemp("sounds")
    (path / "more").mkdir()
    soundfile.write(path / "one.flac", speech[: 24_000 * 3], 24_000)
    soundfile.write(path / "more" / "two & three.wav", speech[24_000 * 20 : 24_000 * 24], 24_000)
    soundfile.write(path / "short.wav", speech[:12_000], 24_000)
    soundfile.write(path / "silent.wav", np.zeros(48_000, np.float32), 24_000)
    (path / "broken.wav").write_bytes(b"no sound at all")
    (path / "notes.txt").write_text("not looked at")
    return path


@pytest.fixture(scope="module")
def evaluated(folder, tmp_path_factory) -> tuple[Path, str]:
    """One run for all who read its results."""
    out = tmp_path_factory.mktemp("out")
    argv = [
        sys.executable,
        "-m",
        "giblet",
        "codec",
        "evaluate",
        folder,
        "--seconds",
        "2.5",
        "-o",
        out,
        "--players",
        "1",
    ]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return out, done.stdout


def test_the_table_has_every_row_with_numbers_and_bits(evaluated):
    _, said = evaluated
    lines = {label: next(line for line in said.splitlines() if line.strip().startswith(label)) for label in LABELS}
    assert "means over 2 clips" in said
    assert lines["codes, 6 kbps"].split()[3:7] == ["896", "10-bit", "integer", "6.0"]
    assert "133,120" in lines["mel, every frame"] and "2,822.4" in lines["mel, every frame"]
    assert "896" in lines["mel, 16 bands x 56 per TR"] and "19.1" in lines["mel, 16 bands x 56 per TR"]


def test_files_that_cannot_be_scored_are_named_with_the_reason(evaluated):
    out, said = evaluated
    data = json.loads((out / "codec_report.json").read_text())
    assert set(data["skipped"]) == {"broken.wav", "short.wav", "silent.wav"}
    assert data["skipped"]["short.wav"] == "0.50 s long, expected at least 1 s"
    assert data["skipped"]["silent.wav"].startswith("silent")
    page = (out / "codec_report.html").read_text()
    for name, why in data["skipped"].items():
        assert f"left out: {name}: {why}" in said
        assert f"left out: {name}" in page


def test_the_json_holds_the_scores_of_each_clip_and_their_means(evaluated):
    out, _ = evaluated
    data = json.loads((out / "codec_report.json").read_text())
    assert [row["label"] for row in data["rows"]] == LABELS
    assert (data["clips"], data["seconds"], data["seconds_per_file"]) == (2, 5.0, 2.5)
    for row in data["rows"]:
        assert set(row["per_clip"]) == {"one.flac", "more/two & three.wav"}
        each = [scores["si_sdr"] for scores in row["per_clip"].values()]
        assert row["si_sdr"]["mean"] == pytest.approx(np.mean(each))
        assert row["si_sdr"]["n"] == 2
    six = data["rows"][2]
    assert (six["numbers_per_tr"], six["bits_per_second"], len(six["perplexity"])) == (896, 6000, 8)
    assert data["frames"] == 2 * 188


def test_the_page_plays_the_original_and_every_row(evaluated):
    out, _ = evaluated
    page = (out / "codec_report.html").read_text()
    assert page.count("<audio") == 1 + len(LABELS)
    assert page.count("data:audio/flac;base64,") == 1 + len(LABELS)
    assert "two &amp; three.wav" in page
    assert sorted(p.name for p in out.iterdir()) == ["codec_report.html", "codec_report.json"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_axe_finds_nothing_on_the_page_that_keeps_readers_out(evaluated):
    out, _ = evaluated
    with Browser((out / "codec_report.html").as_uri()) as browser:
        assert browser.violations() == []


def test_the_page_is_made_again_from_scores_and_sounds_and_without_sounds_where_the_page_is_gone(
    giblet, evaluated, tmp_path
):
    def without_pictures(text):  # of 16-bit sounds, which differ from the floats by rounding
        return re.sub(r"data:image/png[^\"]*", "", text)

    out, _ = evaluated
    page = (out / "codec_report.html").read_text()
    assert without_pictures(report(out).html) == without_pictures(page)
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    status, said, _ = giblet("report", copy, "--json")
    assert status == 0 and json.loads(said)["page"] == str(copy / "codec_report.html")
    assert without_pictures((copy / "codec_report.html").read_text()) == without_pictures(page)
    (copy / "codec_report.html").unlink()
    assert "<audio" not in report(copy).html
    (copy / "codec_report.json").write_text("{}")
    with pytest.raises(InputError, match=r"codec_report\.json"):
        report(copy)


def test_a_limit_spreads_over_the_files_and_json_goes_to_stdout(giblet, folder, tmp_path):
    files = [folder / "one.flac", folder / "one.flac", folder / "more" / "two & three.wav"]
    status, said, err = giblet(
        "codec", "evaluate", *files, "--seconds", 1.2, "--limit", 1, "--players", 0, "--json", "-o", tmp_path
    )
    assert (status, err) == (0, "")
    data = json.loads(said)
    assert list(data["rows"][0]["per_clip"]) == ["one.flac"]
    assert Path(data["page"]).is_file()


def test_only_what_a_training_held_out_is_used(giblet, folder, tmp_path):
    (tmp_path / "train.yaml").write_text("audio: a\noutput: b\nheld_out: ['one.*']\n")
    argv = ["codec", "evaluate", folder, "--seconds", 1.2, "--players", 0, "--json", "-o", tmp_path / "out"]
    status, said, _ = giblet(*argv, "--held-out", tmp_path / "train.yaml")
    assert status == 0
    assert list(json.loads(said)["rows"][0]["per_clip"]) == ["one.flac"]


def test_the_old_option_for_the_folder_names_the_new_one(giblet, folder, tmp_path):
    status, _, err = giblet("codec", "evaluate", folder, "--out", tmp_path)
    assert status == 2
    assert "--out-dir" in err


def test_without_pesq_the_table_says_so_and_how_to_get_it(giblet, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sound_scores, "missing", lambda: ["pesq"])
    status, said, _ = giblet("codec", "evaluate", folder / "one.flac", "--seconds", 1.2, "--players", 0, "-o", tmp_path)
    assert status == 0
    assert "n/a" in said
    assert "PESQ-wb is not measured: the package pesq is not installed; pip install 'giblet[quality]'" in said


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nowhere", "no such file or folder"),
        ("empty", "there are no sound files in"),
        ("useless", "none of 1 files can be scored (silent.wav: silent"),
        ("not held out", "holds out in"),
        ("seconds", "seconds is 0"),
        ("limit", "limit is 0"),
        ("players", "players is -1"),
        ("tr", "TR is 0"),
        ("codec", "no such folder of a codec"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(giblet, folder, tmp_path, what, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "train.yaml").write_text("audio: a\noutput: b\nheld_out: ['nobody-*']\n")
    sound = folder / "one.flac"
    argv = {
        "nowhere": [tmp_path / "nowhere"],
        "empty": [tmp_path / "empty"],
        "useless": [folder / "silent.wav"],
        "not held out": [folder, "--held-out", tmp_path / "train.yaml"],
        "seconds": [sound, "--seconds", 0],
        "limit": [sound, "--limit", 0],
        "players": [sound, "--players", -1],
        "tr": [sound, "--tr", 0],
        "codec": [sound, "--codec", "./nowhere"],
    }[what]
    status, said, err = giblet("codec", "evaluate", *argv, "-o", tmp_path / "out")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("giblet: error: ") and message in err
    assert not (tmp_path / "out").exists()
