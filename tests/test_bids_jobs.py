"""Training, encoding, the check of alignment and reconstruction of scans that a BIDS query finds."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import xarray as xr
import yaml
from scipy import optimize, stats

import giblet as gb
from giblet.alignment import convolve_hrf
from giblet.alignment.kernels import OVERSAMPLING
from giblet.encoding.settings import EncodeSettings
from giblet.features import save_features
from giblet.pipeline.encoding_data import read_subject, tr_of
from giblet.pipeline.encoding_features import BandReader
from giblet.pipeline.encoding_subject import model_of
from giblet.training.films import Films
from tests.bids_tree import MNI, RUNS, TR, Tree, make_tree
from tests.encoding_study import words_file
from tests.sounds import at_24k

pytest.importorskip("bids2table")
N_TRS = 24


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Tree, Path]:
    """A dataset whose brains answer to speech, and the folder of the features of its three runs."""
    folder = tmp_path_factory.mktemp("jobs")
    soundfile.write(folder / "talk.wav", at_24k("speech.flac")[: N_TRS * 36_000], 24_000)
    made = gb.extract(folder / "talk.wav", gb.AudioSettings.make(tr=TR, bandwidth=1.5, device="cpu"), folder).path
    features = xr.load_dataset(made, engine="h5netcdf")
    for run in (1, 2, 3):  # films are known by the SHA-256 of their file
        save_features(features.assign_attrs(title=f"film {run}"), folder / f"film_run-{run}_audio.nc")
    answers = gb.simulate(made, folder, table=True, n_voxels=12, snr=8.0).simulation.bold
    rng = np.random.default_rng(0)
    bold = {labels: answers + 0.1 * rng.standard_normal(answers.shape) for labels in RUNS}
    return make_tree(folder / "study", bold, N_TRS), folder


def configured(study, path: Path, *, data=None, **more) -> Path:
    tree, folder = study
    bids = tree.query(each_run={"audio": str(folder / "{task}_run-{run:d}_audio.nc")}, **more.pop("bids", {}))
    options = {"data": {"bids": bids, **(data or {})}, "output": str(path.parent / "out"), **more}
    path.write_text(yaml.safe_dump(options))
    return path


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = configured(
        study, folder / "train.yaml", data={"fractions": [0.4, 0.3, 0.3], "whole_runs": True},
        model={"n_codebooks": 2, "embedding_dim": 8, "features": 16, "bottleneck": 8, "rank": 8}, window=12,
        batch_size=4, epochs=1, device="cpu", bids={"session": 1},
    )  # fmt: skip
    gb.train(config)
    return folder / "out"


def test_a_model_is_trained_on_the_runs_that_were_found(trained, study):
    tree, _ = study
    saved = yaml.safe_load((trained / "config.yaml").read_text())["data"]
    assert [one["slice_time_ref"] for one in saved["subjects"]] == [0.0, 0.5]
    wanted = [labels for labels in RUNS if labels[1] in ("1", "01")]
    assert [run["bold"] for one in saved["subjects"] for run in one["runs"]] == [str(tree.scan(*o)) for o in wanted]
    state = json.loads((trained / "checkpoints" / "last.json").read_text())
    masks = [path for path in state["sources"] if "desc-brain_mask" in path]
    assert len(masks) == len(wanted) and len({Path(path).parent for path in masks}) == 2


def test_what_was_trained_on_a_dataset_is_reconstructed(giblet, trained, tmp_path):
    status, said, err = giblet("reconstruct", trained, "--subject", "02", "-o", tmp_path, "--json")
    assert status == 0, err
    assert all(Path(path).is_file() for path in json.loads(said)["files"])


def test_an_encoding_model_finds_what_the_brains_answer_to(giblet, study, tmp_path):
    config = configured(
        study, tmp_path / "encode.yaml", data={"folds": "runs", "gap": 3}, n_iter=3, penalty_folds=2,
        bands={"sound": {"of": "audio", "take": "latents_mean", "n_components": 4}},
        bids={"each_subject": {"confound_columns": ["trans_x"]}},
    )  # fmt: skip
    status, said, err = giblet("encode", config, "--json")
    assert status == 0, err
    subjects = json.loads(said)["subjects"]
    assert set(subjects) == {"01", "02"} and all(one["mean_r"] > 0.2 for one in subjects.values())
    assert "has no ses-2 task-film run-03" in err


def test_the_check_of_alignment_reads_runs_as_the_configuration_does(giblet, study, tmp_path):
    config = configured(study, tmp_path / "c.yaml")
    argv = ["check-alignment", config, "--surrogates", 19, "--lags", "-3..3"]
    status, said, err = giblet(*argv, "--subject", "sub-02", "--json")
    assert status == 0, err
    runs = json.loads(said)["runs"]
    assert [(one["subject"], one["run"]) for one in runs] == [("02", n) for n in range(1, 6)]
    assert {one["regressors"][0]["slice_time_ref"] for one in runs} == {0.5}
    status, said, _ = giblet(*argv, "--run", 2)
    assert status == 0 and said.count("subject 0") == 2 and "run 2 (sub-01_ses-1_task-film_run-02" in said
    mask = tmp_path / "m.nii"
    mask.touch()
    for more, message in (
        (["--subject", "3"], "no subject '3': it has 01, 02"),
        (["--subject", "2", "--run", "1"], "no subject '2'"),
        (["--subject", "02", "--run", "6"], "runs 1 to 5"),
        (["--mask", mask], f"--mask ({mask}) is for files named one by one"),
    ):
        status, _, err = giblet(*argv, *more)
        assert status == 2 and message in err and len(err.splitlines()) <= 2


def test_the_table_and_json_of_what_would_be_used(giblet, study, tmp_path):
    tree, _ = study
    config = configured(study, tmp_path / "c.yaml", bids={"each_subject": {"confound_strategy": "simple"}})
    status, said, err = giblet("bids", config, "--json")
    runs = json.loads(said)["runs"]
    assert status == 0 and len(err.splitlines()) == 1 and len(runs) == len(RUNS)
    last = runs[-1]
    assert last["entities"] == {
        "subject": "02", "session": "02", "task": "film", "run": "2", "space": MNI, "resolution": "2",
        "description": "preproc",
    }  # fmt: skip
    labels = ("02", "02", "2")
    assert last["bold"] == str(tree.scan(*labels)) and last["confounds"] == str(tree.table(*labels))
    assert (last["tr"], last["slice_time_ref"], last["dummy_scans"], last["scrubbed"]) == (TR, 0.5, 1, 0)
    assert Path(last["tr_source"]).parent == tree.func("02", "02", raw=True)
    status, said, _ = giblet("bids", config)
    lines = said.splitlines()
    assert status == 0 and len(lines) == len(RUNS) + 2 and lines[-1] == "11 runs of 2 subjects"
    assert lines[1].startswith("sub-01 ses-1 task-film run-01  space-MNI") and "1 first, 0 scrubbed" in lines[1]
    for option, message in (
        ({"confound_strategy": "simpel"}, "confound_strategy is 'simpel'"),
        ({"maks": "m.nii"}, "there is no option maks"),
    ):
        status, _, err = giblet("bids", configured(study, tmp_path / "wrong.yaml", bids={"each_subject": option}))
        assert status == 2 and message in err.splitlines()[-1] and "error" not in err.splitlines()[0]
    config.write_text("data: {bids: {root: /nowhere, subjet: 1}}")
    status, _, err = giblet("bids", config)
    assert status == 2 and "data.bids: there is no option subjet; did you mean subject?" in err
    config.write_text("data: {subjects: []}")
    status, _, err = giblet("bids", config)
    assert status == 2 and "has no section data.bids" in err


def glover(t: np.ndarray) -> np.ndarray:
    """Integral of Glover's response from 0 to t, in seconds; its own formula, of two gamma distributions."""
    rise, undershoot = (stats.gamma.cdf(t, delay / 0.9, scale=0.9) for delay in (6, 12))
    return (rise - 0.48 * undershoot) / 0.52


def test_a_start_time_of_half_a_tr_moves_regressors_by_exactly_that(tmp_path):
    """Words in one TR: the regressor is the response to 1.5 s of them, read .75 s after the onset of each volume."""
    n_trs, began = 60, 20
    tree = make_tree(tmp_path / "study", n_trs=n_trs)
    words = xr.load_dataset(words_file(tmp_path / "words.nc", n_trs, 0, TR), engine="h5netcdf")
    words["word_rate"][:] = np.arange(n_trs) == began
    path = save_features(words, tmp_path / "one_word.nc")
    found = {}
    each_run = {"text": str(path), "dummy_scans": 0}
    for subject in (1, 2):  # the slices of sub-02 were brought to second .75
        settings = EncodeSettings.make(
            data={"bids": tree.query(subject=subject, session=1, run=1, each_run=each_run)},
            bands={"rate": {"of": "text", "take": "word_rate"}}, output=str(tmp_path), hrf="glover",
        )  # fmt: skip
        films = Films()
        (one,) = settings.data.subjects
        reader = BandReader(settings.bands, codec=settings.codec, films=films)
        data = read_subject(settings, one, reader, films, tr_of(settings, films))
        assert data.slice_time_ref == (0.0 if subject == 1 else 0.5)
        model = model_of(settings, data.tr, data.slice_time_ref)
        found[subject] = convolve_hrf(
            data.bands["rate"], tr=data.tr, hrf=model.hrf, slice_time_ref=model.slice_time_ref, run=data.run,
            kind="continuous",
        )[:, 0]  # fmt: skip
    volumes = TR * np.arange(n_trs)

    def response(late: float) -> np.ndarray:
        since = volumes + late - TR * began
        return glover(since) - glover(since - TR)

    def read_at(regressor: np.ndarray) -> float:
        return float(
            optimize.minimize_scalar(
                lambda late: np.abs(regressor - response(late)).sum(), bounds=(-1.5, 1.5), method="bounded",
                options={"xatol": 1e-5},
            ).x
        )  # fmt: skip

    for subject, late in ((1, 0.0), (2, 0.75)):
        # nilearn's own response begins half of one of its fine samples late.
        np.testing.assert_allclose(found[subject], response(late - TR / OVERSAMPLING / 2), atol=1e-3)
    assert read_at(found[2]) - read_at(found[1]) == pytest.approx(0.75, abs=1e-3)
