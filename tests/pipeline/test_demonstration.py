"""``giblet demo``: refusals, stages, real brains of known truth in small, and, slowly, the whole way."""

import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from giblet.alignment import convolve_hrf
from giblet.data.language_models import LanguageModel
from giblet.pages import Report
from giblet.pipeline.demonstration.alice import find_alice, show_alice
from giblet.pipeline.demonstration.stages import Stages
from giblet.pipeline.demonstration.stories import show_stories
from tests.language_folders import WORDS, saved

ROOT = Path(__file__).parents[2]
ALICE = ROOT.parent / "shared" / "fmri" / "alice"
REGIONS = ("words", "sound", "silent")
N_VOLUMES, N_ROWS = 170, 120
STAGES = ["extract", "round trip", "simulate", "train", "reconstruct", "encode", "report"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["film.mp4"], "the whole demo has a film of its own, and film.mp4 is another: add --quick, or leave it out"),
        (["--real", "bob", "--data", "."], "--real is 'bob'; expected alice or lebel"),
        (["--real", "alice"], "--real and --data belong together: give --data FOLDER too"),
        (["--data", "."], "--real and --data belong together: give --real alice or lebel too"),
        (["--quick", "--real", "alice", "--data", "."], "--real and --data are for the whole demo"),
        (["--real", "alice", "--data", "empty"], "empty holds no words.tsv, and no folder alice with one"),
        (["--real", "lebel", "--data", "empty"], "empty holds no stories.json.gz, and no folder lebel with one"),
    ],
)
def test_what_cannot_be_shown_is_one_line_before_anything_is_written(giblet, tmp_path, monkeypatch, argv, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    (tmp_path / "empty").mkdir()
    status, out, err = giblet("demo", *argv)
    assert (status, out) == (2, "")
    assert said in err and len(err.splitlines()) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"film.mp4", "empty"}


def test_without_the_language_model_the_stories_are_refused_at_once(giblet, made_up_stories, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if "smollm2" in name else found(name, *more)
    )
    status, out, err = giblet("demo", "--real", "lebel", "--data", made_up_stories[0], "-o", tmp_path / "out")
    assert (status, out) == (2, "") and "language model smollm2 is not installed: make language-model" in err
    assert not (tmp_path / "out").exists()


def test_stages_are_told_as_they_begin_go_on_and_end_and_one_that_fails_never_ends():
    told = []
    stages = Stages(2, told.append)
    with stages.stage("one", "the first") as tell:
        tell(0.5)
    with pytest.raises(ZeroDivisionError), stages.stage("two", "the second"):
        1 / 0  # noqa: B018
    assert [(s.name, s.number, s.of, s.done, s.seconds is not None) for s in told] == [
        ("one", 1, 2, None, False), ("one", 1, 2, 0.5, False), ("one", 1, 2, 1.0, True), ("two", 2, 2, None, False)
    ]  # fmt: skip
    assert [one.name for one in stages.ended] == ["one"]


@pytest.fixture
def made_up_alice(tmp_path):
    """Three listeners of whom one region follows the words, one the sound and one nothing; a fourth is constant."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "alice"
    (folder / "bold").mkdir(parents=True)
    per_volume = rng.integers(0, 8, N_VOLUMES)
    onsets = np.concatenate([20 + 2 * k + np.arange(n) * 0.2 for k, n in enumerate(per_volume)])
    pd.DataFrame({"onset": onsets, "duration": 0.15, "text": "dum"}).to_csv(folder / "words.tsv", sep="\t", index=False)
    response = convolve_hrf(rng.standard_normal(N_VOLUMES), tr=2.0, kind="continuous")
    np.savetxt(folder / "sound_power_regressor.txt", [*response, 0.0, 0.0])
    words = convolve_hrf(per_volume.astype(float), tr=2.0, kind="continuous")
    signal = np.stack([one / one.std() for one in (words, response)] + [np.zeros(N_VOLUMES)], axis=1)
    for who in range(1, 5):
        noise = rng.standard_normal(signal.shape)
        bold = 100 + (np.zeros_like(signal) if who == 4 else signal + noise)
        pd.DataFrame(bold, columns=REGIONS).to_csv(folder / f"bold/sub-{who:02d}_bold.tsv", sep="\t", index=False)
    return folder


@pytest.mark.slow
def test_each_region_of_listeners_is_found_to_follow_what_it_follows(made_up_alice, tmp_path):
    done = []
    shown = show_alice(find_alice(made_up_alice.parent), tmp_path / "out", progress=done.append)
    assert list(shown.left_out) == ["04"] and shown.n_listeners == 3 and done == [0.0, 0.5]
    found = shown.group.set_index(["band", "region"])
    assert (found.loc[[("word_rate", "words"), ("sound_power", "sound")], "q"] < 0.01).all()
    assert (found.loc[[("word_rate", "words"), ("sound_power", "sound")], "r"] > 0.4).all()
    others = [key for key in found.index if key not in {("word_rate", "words"), ("sound_power", "sound")}]
    assert (found.loc[others, "q"] > 0.05).all()
    assert [text.split(" in ")[1] for _, text in shown.lines] == [
        f"1 of 3 regions ({region} {found.loc[key, 'r']:.3f})"
        for key, region in ((("word_rate", "words"), "words"), (("sound_power", "sound"), "sound"))
    ]
    page = Report("page", shown.sections()).html
    assert "3 people listened" in page and "Listener 04 is left out: " in page and page.count("<svg") == 1
    assert json.loads(json.dumps(shown.as_dict(), allow_nan=False))["regions"][0]["region"] == "words"


@pytest.fixture
def made_up_stories(tmp_path):
    """Four stories that a tiny language model reads; listener 1 answers to its layer 3, listener 2 to nothing."""
    rng = np.random.default_rng(0)
    folder, names = tmp_path / "lebel", ("one", "two", "three", "last")
    folder.mkdir()
    model = saved(tmp_path / "model", "gpt2", n_positions=2048)
    texts = {name: [" ".join(rng.choice(WORDS, n)) for n in rng.integers(1, 5, N_ROWS)] for name in names}
    told = {"text_per_row": texts, "split": dict.fromkeys(names, "train") | {"last": "test"}}
    (folder / "stories.json.gz").write_bytes(gzip.compress(json.dumps(told).encode()))
    labels = {name: np.packbits(np.zeros((N_ROWS, 86), np.uint8), axis=0) for name in names}
    np.savez(folder / "labels.npz", questions=np.array([f"q{number}" for number in range(86)]), **labels)
    (folder / "train25.txt").write_text("one\ntwo\nthree\n")
    reader, weights, answers = LanguageModel(str(model)), rng.standard_normal((32, 12)), []
    for rows in texts.values():
        by_row = [row.split() for row in rows]
        states = reader.states([word for row in by_row for word in row], layers=(3,), context=2000).vectors[:, 0]
        sums = np.zeros((N_ROWS, 32))
        np.add.at(sums, np.repeat(np.arange(N_ROWS), list(map(len, by_row))), np.nan_to_num(states))
        signal = np.zeros((N_ROWS, 12))
        signal[2:] = ((sums - sums.mean(0)) @ weights)[:-2]
        answers.append(signal / signal.std(0))
    for listener, signal in ((1, np.concatenate(answers)), (2, 0 * np.concatenate(answers))):
        values = signal + 0.7 * rng.standard_normal(signal.shape)
        np.savez(
            folder / f"uts{listener:02d}_bold.npz", bold_z100=(100 * values).round().astype(np.int16),
            stories=np.array(names), n_rows=np.full(4, N_ROWS), split=np.array(list(told["split"].values())),
        )  # fmt: skip
    return folder, model


@pytest.mark.slow
def test_the_layer_that_listeners_answer_to_is_found_and_what_they_heard_and_nothing_of_one_who_does_not(
    made_up_stories, tmp_path
):
    folder, model = made_up_stories
    shown = show_stories(
        folder, tmp_path / "out", model=str(model), layers=(0, 3), decoded=3, n_components=20, n_decoded=10
    )
    r = {(one["who"], one["band"]): one["r"] for one in shown.bands}
    assert r["01", "layer_3"] > max(r["01", "layer_0"], r["01", "word_rate"]) + 0.05
    assert max(abs(r["02", band]) for band in ("layer_0", "layer_3", "word_rate")) < 0.1
    one, two = shown.passages
    assert (one["who"], one["seconds"], one["passages"]) == ("01", 20.0, 11)
    assert one["top-1"] > 0.8 and one["p 1"] <= 0.05 and one["chance 1"] == pytest.approx(1 / 11)
    assert two["pairwise p"] > 0.05 and two["top-1"] <= 0.3
    told = dict(shown.lines[2:])
    assert (
        "of 11 passages of 20 s are recognised from the scan alone (chance 1.0; in each story p = "
        in told["listener 01"]
    )
    assert told["listener 02"].endswith("not above chance)")
    page = Report("page", shown.sections()).html
    assert "not above chance" in page and page.count("<svg") == 1
    told = json.loads(gzip.decompress((folder / "stories.json.gz").read_bytes()))["text_per_row"]
    assert not any(row in page for rows in told.values() for row in rows if row.count(" ") > 1)
    json.dumps(shown.as_dict(), allow_nan=False)


def labels(block: str) -> list[str]:
    """What stands at the beginning of each line that is indented."""
    return [re.split(r"  +", line.strip())[0] for line in block.splitlines() if line.startswith("  ")]


def shown_in_the_readme(first_line: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block for _, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return next(block for block in blocks if first_line in block.splitlines())


def test_the_quick_demo_prints_what_the_readme_shows(giblet, speech, tmp_path):
    soundfile.write(tmp_path / "talk.wav", speech[:72_000], 24_000)
    status, out, _ = giblet("demo", "--quick", tmp_path / "talk.wav", "-o", tmp_path / "out")
    assert status == 0 and out.splitlines()[0] == "giblet demo"
    assert labels(out) == labels(shown_in_the_readme("giblet demo"))


@pytest.mark.slow
def test_the_whole_way(tmp_path):
    """What `make demo` runs, as the command line prints it for programs; its page; and once more in the same folder."""
    made = subprocess.run(["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "/giblet demo --out-dir demo_output\n" in made.stdout

    def run(*options):
        command = [sys.executable, "-m", "giblet", "demo", "-o", str(tmp_path / "out"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    done = run("--json")
    shown = json.loads(done.stdout)
    ends_below_the_ceiling_and_above_chance(shown)
    tells_each_stage(done.stderr)
    page_says_that_the_brain_is_simulated(shown)
    files = {path: path.stat().st_mtime_ns for path in Path(shown["folder"], "simulated_run").rglob("best/*")}
    says_the_same_again(run().stdout, shown)
    assert files and {path: path.stat().st_mtime_ns for path in files} == files


def ends_below_the_ceiling_and_above_chance(shown):
    assert shown["simulated"]["circular"] == "no"
    encoding, pairs = shown["encoding"], shown["identification"]["pairwise"]
    assert 0.25 < encoding["r"] < encoding["ceiling"] < 0.8 and encoding["p"] < 0.001
    assert pairs["value"] > 0.6 and pairs["p"] <= 0.05 and pairs["chance"] == 0.5
    assert shown["codec_identification"]["pairwise"]["value"] > 0.95
    assert shown["round_trip"]["si_sdr"] == pytest.approx(5.05, abs=0.05)


def tells_each_stage(stderr):
    lines = [line for line in stderr.splitlines() if re.match(r"\d/7", line)]
    stages = [re.fullmatch(r"\d/7 (\w+(?: \w+)*)  +\S.* \(\d+ s\)", line) for line in lines]
    assert [found and found[1] for found in stages] == STAGES


def page_says_that_the_brain_is_simulated(shown):
    page = Path(shown["page"]).read_text(encoding="utf-8")
    assert "<h1>giblet demo: a simulated brain</h1>" in page
    assert (
        f"r = {shown['encoding']['r']:.3f}" in page
        and f"{100 * shown['identification']['pairwise']['value']:.0f} %" in page
    )
    headings = [re.sub(r"<.*?>", "", found) for found in re.findall(r"<h2.*?</h2>", page)]
    assert headings[0] == "What matters"
    assert {heading.partition(":")[0] for heading in headings[1:]} == {"Model", "Encoding"}
    assert "no person was scanned" in page and page.count("<audio") >= 3
    assert not re.search(r"(src|href)=\"(https?:|/)", page)


def says_the_same_again(stdout, before):
    lines = stdout.splitlines()
    assert lines[0] == "giblet demo: a simulated brain"
    assert labels("\n".join(lines)) == labels(shown_in_the_readme(lines[0]))
    said, pairs = " ".join(lines), before["identification"]["pairwise"]["value"]
    assert f"mean r {before['encoding']['r']:.3f} in" in said and f"{100 * pairs:.0f} % of pairs" in said


@pytest.mark.skipif(not ALICE.is_dir(), reason="the Alice data are not at ../shared/fmri/alice")
@pytest.mark.slow
def test_real_listeners_follow_words_where_language_is(tmp_path):
    """Five of the 27 listeners, and the one whose table never changes."""
    cut = tmp_path / "alice"
    (cut / "bold").mkdir(parents=True)
    for name in ("words.tsv", "sound_power_regressor.txt"):
        shutil.copy(ALICE / name, cut)
    for who in (18, 22, 23, 24, 26, 33):
        shutil.copy(ALICE / "bold" / f"sub-{who}_roi-10mm_bold.tsv", cut / "bold")
    shown = show_alice(find_alice(cut), tmp_path / "out")
    assert (shown.n_listeners, list(shown.left_out)) == (5, ["33"])
    rate = shown.group[shown.group["band"] == "word_rate"].set_index("region")
    assert (rate.loc[["LPTL", "LIPL"], "q"] <= 0.05).all() and rate.loc["RATL", "q"] > 0.05
    assert (shown.group["r"] < 0.3).all()
