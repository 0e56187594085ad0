"""What docs/neighbours.md says that Octave and R do, they do: its lines are run, and give what giblet wrote."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from giblet.encoding.settings import EncodeSettings
from giblet.features import load_features, save_features
from giblet.pipeline import encode, export_bids
from tests.encoding_study import make_encoding_study
from tests.test_docs import ROOT, blocks
from tests.test_features import made
from tests.test_netcdf import READERS

PAGE = ROOT / "docs" / "neighbours.md"
REGIONS = ["Heschl's gyrus", "NA", "007", 'a "b"', "a # b", "a, b", "Größe", *(f"area{k}" for k in range(7, 12))]
SAY = {
    "octave": r"""
function say(name, value)
  if ischar(value), printf("%s T%s\n", name, sprintf("%02x", uint8(value(:)')));
  elseif iscell(value), for k = 1:numel(value), say(name, value{k}); end
  else printf("%s N%s\n", name, sprintf(" %.17g", double(value(:)))); end
end
""",
    "R": r"""
say <- function(name, value) {
  if (is.character(value)) {
    for (one in value) cat(name, " T", paste(format(charToRaw(one)), collapse = ""), "\n", sep = "")
  } else cat(name, " N", sprintf(" %.17g", as.numeric(value)), "\n", sep = "")
}
""",
}
SAID = {
    "octave": """
say("codes", size(codes)); say("codes", codes); say("tr", tr); say("value", value); say("names", scores(1, :));
say("subject", scores(2:end, 1)); say("region", scores(2:end, 2)); say("n_test", summary.subjects.x01.n_trs_test);
""",
    "R": """
say("codes", dim(codes)); say("codes", codes); say("tr", tr); say("value", scores$value); say("names", names(scores))
say("subject", scores$subject); say("region", scores$region); say("n_test", summary$subjects$`01`$n_trs_test)
""",
}
WEIGHTS = 'say("shape", size(weights)); say("weights", weights);', 'say("shape", dim(weights)); say("weights", weights)'


def needed(reader: str) -> None:
    _, _, there, reason = READERS[reader]
    if not there():
        pytest.skip(reason)
    if reader == "R" and subprocess.run(["Rscript", "-e", "library(jsonlite)"], capture_output=True).returncode:
        pytest.skip("needs R with jsonlite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A feature file, an encoding run and a recording, by the names that the page has."""
    folder = tmp_path_factory.mktemp("neighbours")
    study = make_encoding_study(tmp_path_factory.mktemp("study"))
    bold = pd.read_csv(study.table(1), sep="\t").set_axis(REGIONS, axis=1)
    bold["007"] = 3.0  # constant: its scores are n/a
    bold.to_csv(folder / "bold.tsv", sep="\t", index=False)
    shutil.copy(study.table(1).with_suffix(".json"), folder / "bold.json")
    run = {"bold": str(folder / "bold.tsv"), "text": str(study.words)}
    data = {"subjects": [{"name": "01", "runs": [run], "bad": "mask"}]}
    encode(EncodeSettings.make(**study.settings(folder / "encoded", data=data)))
    source = save_features(made()[0], folder / "film_desc-encodec24k_features.nc")
    export_bids(source, folder / "bids", subject="01", task="film", stimulus_time_at_volume_0=2.5)
    return folder


def answers(reader: str, code: str, folder: Path, tmp_path: Path) -> dict:
    """What a program says: numbers, or texts, by name."""
    script = tmp_path / f"lines.{reader}"
    script.write_text(SAY[reader] + code, encoding="utf-8")
    done = subprocess.run([*READERS[reader][1], script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict = {}
    for line in done.stdout.splitlines():
        name, kind, values = line.split(" ", 1)[0], line.split(" ", 1)[1][:1], line.split(" ", 1)[1][1:]
        if kind == "T":
            found.setdefault(name, []).append(bytes.fromhex(values).decode())
        else:
            found.setdefault(name, []).append([float(one.replace("NA", "nan")) for one in values.split()])
    return found


def page(reader: str) -> list[str]:
    return blocks(PAGE, "r" if reader == "R" else reader)


@pytest.mark.parametrize("reader", READERS)
def test_features_scores_and_summaries_are_read_in_full(reader, folder, tmp_path):
    needed(reader)
    said = answers(reader, page(reader)[0] + SAID[reader], folder, tmp_path)
    codes = load_features(folder / "film_desc-encodec24k_features.nc")["codes"].values
    assert said["codes"] == [[112, 8, 6], codes.ravel().tolist()] and said["tr"] == [[1.5]]
    scores = pd.read_csv(folder / "encoded" / "scores.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert said["names"] == list(scores) and said["subject"] == ["01"] * len(scores)
    regions = said["region"]
    if reader == "octave":  # its lines know nothing of quotation marks around a name that has some
        regions = [one[1:-1].replace('""', '"') if one.startswith('"') else one for one in regions]
    assert regions == scores["region"].tolist() and set(regions) == set(REGIONS)
    value = scores["value"].replace("n/a", "nan").astype(float)
    assert np.array_equal(said["value"][0], value, equal_nan=True) and value.isna().any()
    summary = json.loads((folder / "encoded" / "summary.json").read_text())
    assert said["n_test"] == [[summary["subjects"]["01"]["n_trs_test"]]]


@pytest.mark.parametrize("reader", READERS)
def test_weights_are_read_in_full(reader, folder, tmp_path):
    needed(reader)
    said = answers(reader, page(reader)[1] + WEIGHTS[reader == "R"], folder, tmp_path)
    with safe_open(folder / "encoded/sub-01/func/sub-01_desc-encoding_model.safetensors", "np") as file:
        weights = file.get_tensor("weights_")
    assert said["shape"] == [list(weights.shape)]
    assert np.array_equal(said["weights"][0], weights.T.ravel(), equal_nan=True) and np.isfinite(weights).any()


def test_a_recording_is_read_by_r(folder, tmp_path):
    needed("R")
    code = page("R")[2] + 'say("names", names(stim)); say("seconds", seconds); say("codes", stim$codebook_7)'
    said = answers("R", code, folder, tmp_path)
    assert said["names"] == [f"codebook_{k}" for k in range(8)]
    assert np.allclose(said["seconds"][0], np.arange(675) / 75 - 2.5, atol=1e-12, rtol=0)
    codes = made()[1][7]
    assert np.array_equal(said["codes"][0][:600], codes[:600]) and np.isnan(said["codes"][0][600:]).all()


@pytest.mark.parametrize("name", ["encoded/summary.json", "encoded/sub-01/func/sub-01_desc-encoding_summary.json"])
def test_summaries_are_json_that_every_reader_takes(name, folder):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((folder / name).read_text(), parse_constant=refuse)


def test_the_page_says_what_the_weights_are(folder):
    """Bands behind each other, of each its delays behind each other: as ``coef_`` has them apart."""
    from giblet.encoding import EncodingModel

    model = EncodingModel.load(folder / "encoded/sub-01/func/sub-01_desc-encoding_model.safetensors")
    together = np.concatenate([one.reshape(-1, one.shape[-1]) for one in model.coef_.values()])
    with safe_open(folder / "encoded/sub-01/func/sub-01_desc-encoding_model.safetensors", "np") as file:
        assert np.array_equal(together, file.get_tensor("weights_"), equal_nan=True)
        intercept = file.get_tensor("offset_") + file.get_tensor("level_")
    assert np.array_equal(intercept, model.intercept_, equal_nan=True)
