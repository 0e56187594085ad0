"""From sound to a trained model and back to sound, with codes and with the legacy spectrogram."""

import json

import numpy as np
import pytest
import soundfile

from giblet.features import load_features
from tests.trained import N_REGIONS, N_TRS, TR, Trained, own_copy, train_tiny


def reconstructed(giblet, trained: Trained, *options) -> dict:
    status, said, err = giblet("reconstruct", trained.run, "--json", *options)
    assert status == 0, err
    return json.loads(said)


def check_scorecard(card: dict, names: list[str]) -> None:
    """What holds of every scorecard: the clock, the split, the scores, and nothing that is not a number."""
    assert (card["subject"], card["split"], card["tr"], card["n_trs"]) == ("01", "test", TR, N_TRS)
    assert [one["name"] for one in card["scores"]] == names
    assert card["n_trs_scored"]["audio"] == N_TRS - 7  # the last TRs' answer lies behind the end of the scan
    assert card["encoding"]["n_voxels"] == N_REGIONS
    assert -1 <= card["encoding"]["r"]["value"] <= 1
    assert all(one["nulls"] for one in card["scores"])
    json.dumps(card, allow_nan=False)


def test_full_pipeline(giblet, trained_run, tmp_path):
    trained = own_copy(trained_run, tmp_path)
    card = reconstructed(giblet, trained, "--original", trained.sound)
    check_scorecard(
        card,
        ["accuracy, codebook 1", "accuracy, codebook 2", "latent r", "latent r over time", "mel r", "mel r over time",
         "envelope r", "envelope r over time", "spectral r", "spectral shape r",
         "STOI", "SI-SDR, dB", "level error, dB"],
    )  # fmt: skip
    out = trained.run / "reconstruction"
    predicted, truth = (
        load_features(out / "sub-01_split-test_desc-predicted_features.nc"),
        load_features(trained.features),
    )
    assert predicted.codes.shape == (N_TRS, 2, 112)
    assert predicted.codes.dtype == np.int32
    assert predicted.attrs["codec_fingerprint"] == truth.attrs["codec_fingerprint"]
    # The scores are those of the files: nothing else was compared.
    right = (predicted.codes.values == truth.codes.values)[: N_TRS - 7, 0].mean()
    assert card["scores"][0]["reconstruction"]["value"] == pytest.approx(right)
    for desc in ("predicted", "true"):
        sound, rate = soundfile.read(out / f"sub-01_split-test_desc-{desc}_decoded.wav")
        assert (len(sound), rate) == (N_TRS * 36_000, 24_000)
    # A user decodes the feature file by the command for any feature file, and hears the same.
    assert (
        giblet("decode", out / "sub-01_split-test_desc-predicted_features.nc", "--out-file", tmp_path / "again.wav")[0]
        == 0
    )
    assert np.array_equal(
        soundfile.read(tmp_path / "again.wav")[0],
        soundfile.read(out / "sub-01_split-test_desc-predicted_decoded.wav")[0],
    )
    mel = next(one for one in card["scores"] if one["name"] == "mel r")
    assert 0.5 < mel["ceiling"] < 1
    table = (out / "sub-01_split-test_scorecard.md").read_text()
    assert "| accuracy, codebook 1 |" in table and "most frequent code" in table


def test_backward_compatibility(giblet, tmp_path):
    """``use_encodec=False``: the mel spectrogram goes through the whole pipeline as codes do."""
    trained = train_tiny(giblet, tmp_path, use_encodec=False)
    card = reconstructed(giblet, trained)
    check_scorecard(card, ["mel r", "mel r over time"])
    assert card["codec"] is None
    out = trained.run / "reconstruction"
    predicted = load_features(out / "sub-01_split-test_desc-predicted_features.nc")
    assert predicted.mel.shape == load_features(trained.features).mel.shape == (N_TRS, 24)
    assert float(predicted.mel.min()) >= 0
    sound, rate = soundfile.read(out / "sub-01_split-test_desc-predicted_decoded.wav")
    assert (len(sound), rate) == (N_TRS * 33_075, 22_050)
