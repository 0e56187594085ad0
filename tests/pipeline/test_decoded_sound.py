"""The sound of a later part of a film: where its sidecar says it belongs is where the film sounds like that."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import correlate

from giblet.data.audio import AudioSettings
from giblet.features import load_features
from giblet.pipeline import extract
from giblet.pipeline.reconstruction import reconstruct
from giblet.pipeline.trained_run import TrainedRun
from giblet.pipeline.training import train
from giblet.training.settings import TrainSettings
from tests.sounds import at_24k

SPEECH = Path(__file__).parents[2] / "samples" / "speech.flac"
TR, OFFSET, N = 1.5, 4.5, 32


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Two scans of 32 volumes, of which the second began 4.5 s into the speech; it is cut within."""
    folder = tmp_path_factory.mktemp("heard")
    codes = extract(SPEECH, AudioSettings.make(tr=TR, bandwidth=1.5, device="cpu"), folder).path
    bold = pd.DataFrame(np.random.default_rng(0).standard_normal((N, 5)), columns=list("abcde"))
    bold.to_csv(folder / "bold.tsv", sep="\t", index=False)
    run = {"bold": str(folder / "bold.tsv"), "audio": str(codes), "on_short_bold": "trim"}
    settings = TrainSettings.make(
        data={"subjects": [{"name": "01", "runs": [run, {**run, "stimulus_time_at_volume_0": OFFSET}]}],
              "fractions": (0.55, 0.2, 0.25), "gap": 3, "split": "subject"},
        model={"tr": TR, "n_codebooks": 2, "embedding_dim": 8, "features": 8, "bottleneck": 4, "rank": 4,
               "decode_seconds": 3},
        output=str(folder / "run"), window=6, batch_size=2, epochs=1, device="cpu",
    )  # fmt: skip
    train(settings)
    return folder


def test_sound_of_a_later_part_lies_in_the_film_where_its_sidecar_says(heard, tmp_path):
    reconstruct(TrainedRun.open(heard / "run"), out_dir=tmp_path, device="cpu")
    splits = json.loads((heard / "run" / "splits.json").read_text())["01"]
    rows = splits["test"]
    begins = OFFSET + splits["volume"][rows[0]] * TR
    assert splits["run"][rows[0]] == 2 and begins > 20
    for desc in ("true", "predicted"):
        beside = json.loads((tmp_path / f"sub-01_split-test_desc-{desc}_decoded.json").read_text())
        assert (beside["StartTime"], beside["Duration"]) == (begins, len(rows) * TR)
    sound, rate = soundfile.read(tmp_path / "sub-01_split-test_desc-true_decoded.wav")
    assert rate == 24_000 and len(sound) == len(rows) * TR * rate
    film = at_24k("speech.flac")
    around = film[round((begins - 1) * rate) : round((begins - 1) * rate) + len(sound) + 2 * rate]
    lag = int(np.argmax(correlate(around, sound, mode="valid", method="fft"))) - rate
    assert abs(lag) <= 24  # 1 ms
    features = load_features(tmp_path / "sub-01_split-test_desc-predicted_features.nc")
    np.testing.assert_allclose(features["onset"], begins + np.arange(len(rows)) * TR)
    sidecar = json.loads((tmp_path / "sub-01_split-test_desc-predicted_features.json").read_text())
    assert sidecar["StartTime"] == features.attrs["first_onset"] == begins


def test_a_comparison_with_the_original_does_not_take_the_place_of_a_plain_one(heard, tmp_path, giblet):
    run = heard / "run"
    assert giblet("reconstruct", run, "-o", tmp_path)[0] == 0
    card = tmp_path / "sub-01_split-test_scorecard.json"
    plain = card.read_bytes()
    status, said, err = giblet("reconstruct", run, "-o", tmp_path, "--original", SPEECH)
    assert (status, said) == (2, "") and card.read_bytes() == plain
    assert "Traceback" not in err and "original was none, is speech.flac" in err.splitlines()[-1]
    assert "choose another --out-dir, or pass --overwrite" in err.splitlines()[-1]
    status, said, err = giblet("reconstruct", run, "-o", tmp_path, "--original", SPEECH, "--overwrite", "--json")
    assert status == 0, err
    options = json.loads(card.read_text())["options"]
    assert options["original"]["name"] == "speech.flac" and json.loads(said)["options"] == options
    assert giblet("reconstruct", run, "-o", tmp_path, "--original", SPEECH)[0] == 0  # the same again
    status, _, err = giblet("reconstruct", run, "-o", tmp_path)
    assert status == 2 and "original was speech.flac, is none" in err
