"""Encoding runs: what responds is found, results are read back, bad input is told, another film predicted."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from giblet.encoding import EncodingModel
from giblet.encoding.settings import EncodeSettings
from giblet.errors import AlignmentError, CheckpointError, GibletError, InputError
from giblet.features import load_features
from giblet.files import sha256_of
from giblet.pipeline import encode, predict_film
from giblet.pipeline.encoding_subject import SUMMARY
from giblet.pipeline.report import report
from tests.encoding_study import N_TRS, RESPOND, TR, make_encoding_study, words_file


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_encoding_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def result(study):
    options = study.settings(study.folder / "out", 1, 2, group=True, ceiling="intersubject")
    return encode(EncodeSettings.make(**options))


def run(study, output, *subjects, **more):
    return encode(EncodeSettings.make(**study.settings(output, *subjects, **more)))


def test_columns_that_respond_are_found_and_silent_ones_are_not(result):
    for subject in result.subjects:
        q = subject.stats["q"].to_numpy()
        assert (q[RESPOND] <= 0.05).all(), subject.name
        assert (q[~RESPOND] > 0.05).sum() >= (~RESPOND).sum() - 1, subject.name
        assert (subject.stats["r"][RESPOND] > 0.4).all()
    assert (result.group.stats["q"][RESPOND] <= 0.05).all() and result.group.summary["n_subjects"] == 2


def test_split_scores_sum_to_r_and_the_band_of_no_part_has_no_unique_variance(result):
    stats = result.subjects[0].stats
    assert np.allclose(stats["split_rate"] + stats["split_length"], stats["r"], atol=1e-6)
    assert (stats["unique_rate"][RESPOND] > 0.1).all()
    assert np.abs(stats["unique_length"].mean()) < 0.02


def test_the_ceiling_is_that_of_what_subjects_share(result):
    stats = result.group.stats
    assert (stats["ceiling"][RESPOND] > 0.2).all() and (stats["ceiling"] <= stats["ceiling_upper"]).all()
    own = result.subjects[0].stats
    assert np.allclose(own["ceiling"], stats["ceiling"], equal_nan=True)
    assert own["ratio"][own["ceiling_p"] > 0.05].isna().all()


def test_tables_open_in_pandas_and_the_page_stands_alone(result):
    scores = pd.read_csv(result.scores, sep="\t", keep_default_na=False, dtype=str)
    assert list(scores.columns) == ["subject", "region", "band", "score", "value"]
    assert set(scores["subject"]) == {"01", "02", "group"}
    assert set(scores[scores["score"] == "split"]["band"]) == {"rate", "length"}
    pd.testing.assert_frame_equal(
        result.to_pandas()[["subject", "region", "band", "score"]], scores.drop(columns="value"), check_dtype=False
    )
    page = result.report.read_text()
    assert "How to read this" in page and "<script" not in page and 'src="http' not in page
    assert "of the regions with q" in page and "voxel" not in page
    assert report(result.folder).html == page
    with pytest.raises(InputError, match="go with a training run"):
        report(result.folder, original="film.mp4")
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["subjects"]["01"]["n_trs_test"] + summary["subjects"]["01"]["n_trs_train"][0] < N_TRS
    assert all(path.is_file() for path in result.files)
    assert "2 subjects" in repr(result) and "<th>regions</th>" in result._repr_html_()


@pytest.mark.parametrize("begins", [0, 6.0, 5.3, -4.0])
def test_a_table_of_volumes_says_of_each_volume_what_its_row_says_wherever_the_film_begins(study, tmp_path, begins):
    """Its rows are volumes: a time of the film shifts what is on the clock of the film, and not them."""
    rate = load_features(study.words)["word_rate"].to_pandas()
    rate.to_csv(tmp_path / "rate.tsv", sep="\t", index=False)
    runs = [{"bold": str(study.table(1)), "features": {"x": str(tmp_path / "rate.tsv")},
             "stimulus_time_at_volume_0": begins}]  # fmt: skip
    options = {"data": {"subjects": [{"name": "01", "runs": runs}]}, "bands": {"rate": {"of": "x"}}}
    found = run(study, tmp_path / "out", **options).subjects[0]
    film = run(study, tmp_path / "film", bands={"rate": {"of": "text", "take": "word_rate"}}).subjects[0]
    np.testing.assert_allclose(found.stats["r"], film.stats["r"], atol=1e-6)


def test_an_image_gives_maps_on_its_voxels(study, tmp_path):
    data = {"subjects": [{"name": "3", "mask": str(study.mask),
                          "runs": [{"bold": str(study.image), "text": str(study.words)}]}]}  # fmt: skip
    found = encode(EncodeSettings.make(**study.settings(tmp_path / "out", data=data)))
    stats = found.subjects[0].stats
    names = ("r", "p", "q", "pfwe", "alpha", "split_band-rate", "split_band-length", "unique_band-rate")
    for name in names:
        image = nib.load(tmp_path / "out" / "sub-3" / "func" / f"sub-3_desc-encoding_stat-{name}_statmap.nii.gz")
        assert image.shape == (2, 2, 4) and np.allclose(image.affine, np.diag([3, 3, 3, 1]))
        column = name.replace("_band-", "_").replace("pfwe", "p_fwe")
        values = image.get_fdata()[stats["i"], stats["j"], stats["k"]]
        assert np.allclose(values, stats[column], rtol=1e-5)
        assert (image.get_fdata()[0, 0] == (1 if name in ("p", "q", "pfwe") else 0)).all()


def test_the_same_again_is_read_back_and_another_is_refused(study, result, tmp_path):
    options = study.settings(study.folder / "out", 1, 2, group=True, ceiling="intersubject")
    before = {path: path.stat().st_mtime_ns for path in result.subjects[0].files if path.suffix == ".safetensors"}
    again = encode(EncodeSettings.make(**options))
    assert [one.status for one in again.subjects] == ["unchanged", "unchanged"]
    assert {path: path.stat().st_mtime_ns for path in before} == before and before
    assert np.array_equal(again.subjects[0].stats["p"], result.subjects[0].stats["p"])
    with pytest.raises(InputError, match="holds another result"):
        encode(EncodeSettings.make(**{**options, "seed": 1}))


def test_a_result_of_a_giblet_that_wrote_less_is_computed_again(study, tmp_path):
    settings = EncodeSettings.make(**study.settings(tmp_path / "out", 1, 2, ceiling="intersubject"))
    first = encode(settings)
    for one in first.subjects:
        assert set(one.summary) == SUMMARY, "what a result must hold to be read back is what is written"
    card = first.subjects[0].path("summary.json")
    before = json.loads(card.read_text())
    card.write_text(json.dumps({name: value for name, value in before.items() if name != "space"}))
    again = encode(settings)
    assert [one.status for one in again.subjects] == ["written", "unchanged"]
    assert json.loads(card.read_text()) == before


def test_a_result_from_before_a_setting_was_made_is_refused_with_its_name(study, tmp_path):
    settings = EncodeSettings.make(**study.settings(tmp_path / "out"))
    card = encode(settings).subjects[0].path("summary.json")
    before = json.loads(card.read_text())
    del before["options"]["n_rotations"], before["space"]
    card.write_text(json.dumps(before))
    with pytest.raises(InputError, match=r"another result \(n_rotations was none, is 200\): choose another `output`"):
        encode(settings)
    assert encode(settings, overwrite=True).subjects[0].status == "written"


def test_a_subject_whose_files_changed_is_computed_again_if_asked(study, tmp_path):
    table = tmp_path / "b.tsv"
    shutil.copy(study.table(1), table)
    data = {"subjects": [{"name": "1", "runs": [{"bold": str(table), "text": str(study.words)}]}]}
    first = encode(EncodeSettings.make(**study.settings(tmp_path / "out", data=data)))
    shutil.copy(study.table(2), table)
    settings = EncodeSettings.make(**study.settings(tmp_path / "out", data=data))
    with pytest.raises(InputError, match="holds another result"):
        encode(settings)
    second = encode(settings, overwrite=True)
    assert second.subjects[0].status == "written"
    assert not np.allclose(first.subjects[0].stats["r"], second.subjects[0].stats["r"])


def test_bold_for_another_film_is_what_the_saved_model_says(study, result, tmp_path):
    scans = predict_film(EncodeSettings.make(**study.settings(study.folder / "out", 1, 2)), study.other, tmp_path)
    film = load_features(study.other)
    x = {"rate": film["word_rate"].values[:, None], "length": film["word_length"].values[:, None]}
    model = EncodingModel.load(result.subjects[0].model_path)
    expected = model.predict(x, run=np.zeros(120, int))
    assert np.allclose(scans[0].bold, expected, atol=1e-4) and scans[0].bold.shape == (120, 12)
    table = pd.read_csv(scans[0].path, sep="\t")
    assert np.allclose(table, expected, atol=1e-3) and list(table.columns)[:2] == ["area0", "area1"]
    assert (model.score(x, expected) > 0.999).all()


def test_held_out_predictions_come_from_training_rows_alone(study, tmp_path):
    """BOLD of the test part, turned around, gives other scores and the same weights."""
    table = pd.read_csv(study.table(1), sep="\t")
    first = run(study, tmp_path / "a", 1)
    n_test = first.subjects[0].summary["n_trs_test"]
    table.iloc[-n_test:] = table.iloc[-n_test:].to_numpy()[::-1]
    table.to_csv(tmp_path / "b.tsv", sep="\t", index=False)
    data = {"subjects": [{"name": "01", "runs": [{"bold": str(tmp_path / "b.tsv"), "text": str(study.words)}]}]}
    second = encode(EncodeSettings.make(**study.settings(tmp_path / "b", data=data)))
    one, other = (EncodingModel.load(each.subjects[0].model_path) for each in (first, second))
    assert np.array_equal(one.weights_, other.weights_)
    assert (second.subjects[0].stats["r"][RESPOND] < first.subjects[0].stats["r"][RESPOND]).all()


def test_folds_predict_every_tr(study, tmp_path):
    data = {**study.settings(tmp_path)["data"], "folds": 4}
    found = run(study, tmp_path / "out", data=data)
    summary = found.subjects[0].summary
    assert summary["n_trs_test"] == N_TRS and len(summary["timeline"]) == 4
    assert (found.subjects[0].stats["q"][RESPOND] <= 0.05).all()
    assert any("folds are predicted from each other" in note for note in summary["notes"])
    starts = [stretches[0][0] for _, _, stretches in summary["timeline"]]
    assert starts == sorted(starts) and starts[0] == 0


def test_whole_runs_that_are_named_train_and_test(study, tmp_path):
    runs = [study.run(1, 1, part="train"), study.run(1, 2, part="test")]
    found = run(study, tmp_path / "out", data={"subjects": [{"name": "1", "runs": runs}]})
    summary = found.subjects[0].summary
    assert (summary["n_trs_train"], summary["n_trs_test"]) == ([N_TRS], N_TRS)
    assert any("film that is learned from too" in note for note in summary["notes"])


def test_repeats_in_the_test_give_a_ceiling(study, tmp_path):
    words_file(tmp_path / "train.nc", N_TRS, 7)
    runs = [study.run(1, 1, part="test"), study.run(1, 2, part="test"), study.run(2, 1, part="train")]
    found = run(study, tmp_path / "out", data={"subjects": [{"name": "1", "runs": runs}]}, ceiling="repeats")
    stats = found.subjects[0].stats
    assert (stats["ceiling"][RESPOND].between(0.4, 0.95)).all()
    assert (stats["ratio"][RESPOND] > 0.5).all()
    with pytest.raises(InputError, match="show the same film again"):
        run(study, tmp_path / "none", ceiling="repeats")


def own_table(study, path, number):
    """A table of features that comes before the film, if files are put in order by their content."""
    for seed in range(1000):
        values = np.random.default_rng([number, seed]).standard_normal(N_TRS)
        pd.DataFrame({"pupil": values}).to_csv(path, sep="\t", index=False)
        if sha256_of(path) < sha256_of(study.words):
            return str(path)
    raise AssertionError("no such table was found")


def test_subjects_with_features_of_their_own_beside_the_film_are_compared(study, tmp_path):
    """By the film, and not by whichever file of a run has the least checksum."""
    bands = {"rate": {"of": "text", "take": "word_rate"}, "pupil": {"of": "pupil"}}
    for more in ({}, {"folds": 3}):
        options = study.settings(
            tmp_path / f"out{len(more)}", 1, 2, group=True, ceiling="intersubject", bands=bands, unique=False
        )
        for number, subject in enumerate(options["data"]["subjects"]):
            table = own_table(study, tmp_path / f"pupil{number}.tsv", number)
            subject["runs"][0]["features"] = {"pupil": table}
        options["data"] |= more
        found = encode(EncodeSettings.make(**options))
        assert found.group.summary["n_trs"] == found.subjects[0].summary["n_trs_test"]
        assert found.group.stats["p"].notna().all() and found.group.stats["ceiling"].notna().all()


def test_runs_that_show_a_film_again_are_repeats_whatever_else_they_have(study, tmp_path):
    runs = [study.run(1, n, part=part) for n, part in ((1, "test"), (2, "test"))]
    runs += [{**study.run(2), "part": "train"}]
    for number, run in enumerate(runs):
        run["features"] = {"pupil": own_table(study, tmp_path / f"pupil{number}.tsv", number)}
    bands = {"rate": {"of": "text", "take": "word_rate"}, "pupil": {"of": "pupil"}}
    options = study.settings(tmp_path / "out", ceiling="repeats", bands=bands, unique=False)
    options["data"] = {"subjects": [{"name": "1", "runs": runs}]}
    found = encode(EncodeSettings.make(**options)).subjects[0]
    assert f"from 2 repeats of {N_TRS} TRs" in " ".join(found.summary["notes"])


def test_a_training_configuration_gives_the_data(study, tmp_path):
    options = study.settings(tmp_path / "out")
    training = study.config(tmp_path / "train.yaml", {"data": {**options["data"], "fractions": [0.7, 0.1, 0.2]},
                                                      "output": "runs/x", "epochs": 3})  # fmt: skip
    settings = EncodeSettings.make(**{**options, "data": str(training)})
    assert settings.data.fractions == (0.7, 0.1, 0.2)
    config = study.config(tmp_path / "encode.yaml", {**options, "data": str(training)})
    assert encode(config).subjects[0].summary["n_trs_train"][0] > 0.7 * N_TRS


# What is off in one voxel, run or subject.


def test_one_bad_column_is_left_out_and_said(study, tmp_path):
    table = pd.read_csv(study.table(1), sep="\t")
    table.loc[100, "area2"] = np.nan
    table["area7"] = 5.0
    table.to_csv(tmp_path / "b.tsv", sep="\t", index=False, na_rep="n/a")
    (tmp_path / "b.json").write_text(json.dumps({"RepetitionTime": TR}))
    data = {"subjects": [{"name": "1", "runs": [{"bold": str(tmp_path / "b.tsv"), "text": str(study.words)}]}]}
    found = run(study, tmp_path / "out", data=data).subjects[0]
    assert found.stats["r"].isna().tolist() == [k in (2, 7) for k in range(12)]
    assert found.summary["n_tested"] == 10
    assert any("2 of 12 regions" in note for note in found.summary["notes"])


def test_a_run_without_bold_or_with_bold_that_never_changes_is_left_out_and_said(study, tmp_path):
    silent = pd.read_csv(study.table(1), sep="\t") * 0 + 4
    silent.to_csv(tmp_path / "silent.tsv", sep="\t", index=False)
    runs = [study.run(1, 1), {**study.run(), "bold": str(tmp_path / "silent.tsv")}, {**study.run(), "bold": None},
            {**study.run(), "bold": str(tmp_path / "nowhere.tsv")}]  # fmt: skip
    found = run(study, tmp_path / "out", data={"subjects": [{"name": "1", "runs": runs}]}).subjects[0]
    assert found.summary["n_trs"] == N_TRS
    said = " ".join(found.summary["notes"])
    assert "silent.tsv is left out: its BOLD never changes" in said
    assert "run 3 is left out: no BOLD is named" in said and "run 4 is left out: there is no file" in said


def test_a_subject_that_cannot_be_used_does_not_stop_the_others(study, tmp_path):
    data = study.settings(tmp_path)["data"]
    data["subjects"].append({"name": "09", "runs": [{"bold": str(tmp_path / "no.tsv"), "text": str(study.words)}]})
    found = run(study, tmp_path / "out", data=data)
    assert [one.name for one in found.subjects] == ["01"]
    assert "no run with BOLD" in found.failed["09"]
    assert "no run with BOLD" in found.report.read_text()
    with pytest.raises(InputError, match="no run with BOLD"):
        run(study, tmp_path / "none", data={"subjects": data["subjects"][1:]})


def test_censored_volumes_are_neither_learned_from_nor_predicted(study, tmp_path):
    table = pd.read_csv(study.table(1), sep="\t")
    table.iloc[[50, 51, 300]] = np.nan
    table.to_csv(tmp_path / "b.tsv", sep="\t", index=False, na_rep="n/a")
    data = {"subjects": [{"name": "1", "runs": [{"bold": str(tmp_path / "b.tsv"), "text": str(study.words)}]}]}
    found = run(study, tmp_path / "out", data=data).subjects[0]
    whole = run(study, tmp_path / "whole", 1).subjects[0]
    assert found.summary["n_trs_train"][0] == whole.summary["n_trs_train"][0] - 2
    assert found.summary["n_trs_test"] == whole.summary["n_trs_test"] - 1
    assert any("3 of 330 TRs have no BOLD" in note for note in found.summary["notes"])


def test_a_test_too_short_to_be_rotated_has_r_and_says_why_no_p(study, tmp_path):
    data = {**study.settings(tmp_path)["data"], "fractions": [0.93, 0, 0.07]}
    found = run(study, tmp_path / "out", data=data).subjects[0]
    assert found.stats["r"].notna().all() and found.stats["p"].isna().all()
    assert any("there is no p" in note and "too short" in note for note in found.summary["notes"])


# Bad input: one clear error.


def bad(study, tmp_path, message, kind=GibletError, *, data=None, **more):
    with pytest.raises(kind, match=message) as told:
        run(study, tmp_path / "bad", **({} if data is None else {"data": data}), **more)
    assert "\n" not in str(told.value)


def test_features_of_another_tr_are_refused(study, tmp_path):
    words_file(tmp_path / "fast.nc", N_TRS, 0, tr=1.5)
    runs = [{"bold": str(study.table(1)), "text": str(tmp_path / "fast.nc")}]
    bad(study, tmp_path, "rate has TR 1.5 s, the BOLD 2 s", AlignmentError,
        data={"subjects": [{"name": "1", "runs": runs}]})  # fmt: skip
    bad(study, tmp_path, "the scans have TR 2 s, .* give the subject its tr and overrule_tr", AlignmentError,
        data={"subjects": [{"name": "1", "runs": runs}]}, tr=None)  # fmt: skip


def test_features_longer_than_bold_and_tables_of_another_length_are_refused(study, tmp_path):
    words_file(tmp_path / "long.nc", N_TRS + 40, 0)
    subject = {"name": "1", "runs": [{"bold": str(study.table(1)), "text": str(tmp_path / "long.nc")}]}
    bad(study, tmp_path, "were not scanned", AlignmentError, data={"subjects": [subject]})
    pd.DataFrame({"x": np.random.default_rng(0).random(N_TRS - 1)}).to_csv(tmp_path / "x.tsv", sep="\t", index=False)
    subject = {"name": "1", "runs": [study.run(features={"x": str(tmp_path / "x.tsv")})]}
    bad(study, tmp_path, "x.tsv has 329 rows and the scan 330 volumes", data={"subjects": [subject]},
        bands={"x": {"of": "x"}})  # fmt: skip


def test_codes_as_numbers_are_refused_with_the_ways_to_give_them(study, tmp_path):
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 1024, (N_TRS, 8)))
    subject = {"name": "1", "runs": [study.run(features={"x": str(tmp_path / "codes.npy")})]}
    bad(study, tmp_path, "take: latents.*take: counts.*embedding", data={"subjects": [subject]},
        bands={"x": {"of": "x"}})  # fmt: skip


def test_two_bands_of_one_name_are_refused(study, tmp_path):
    text = study.config(tmp_path / "a.yaml", study.settings(tmp_path / "out")).read_text()
    doubled = text.replace("bands:\n", "bands:\n  rate:\n    of: text\n")
    (tmp_path / "a.yaml").write_text(doubled)
    with pytest.raises(InputError, match="rate stands twice"):
        encode(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"alphas": [1.0, 0.0]}, "alphas.1 is 0"),
        ({"alphas": [1.0, -3.0]}, "alphas.1 is -3"),
        ({"bands": {"x": {"of": "audio"}}}, "bands.x is of 'audio', which run 1 of subject 01 lacks: it has text"),
        ({"bands": {"x": {"of": "text", "take": "embedding"}}}, "words.nc has no 'embedding'"),
        ({"bands": {"x": {"of": "text", "take": "motion_energy"}}}, "motion_energy is now called luminance_change"),
        ({"bands": {"x": {"of": "text", "take": "latents"}}}, "take: latents is of codes, and words.nc holds none"),
        ({"bands": {"x": {"of": "text", "scale": "all"}}}, "bands.x.scale is 'all'"),
        ({"hrf": "glover", "delays": [2.0]}, "delays belong to hrf: fir"),
        ({"penalty_folds": 200}, "at least 2 folds of 2 TRs are needed"),
        (
            {"penalty_folds": "runs"},
            "penalty_folds: runs leaves one run out .* 01 has 1 to learn from: give at least 2",
        ),
        ({"group": True}, "group: true compares subjects, and there is one"),
    ],
)
def test_options_that_cannot_work_are_refused(study, tmp_path, more, message):
    bad(study, tmp_path, message, InputError, **more)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"folds": "runs"}, "folds: runs predicts each run from the others, and subject 01 has one run"),
        ({"folds": 3, "gap": 260.0}, "gap"),
        ({"folds": 1}, "data.folds"),
        ({"centre_runs": False}, "data.centre_runs is False"),
    ],
)
def test_splits_that_cannot_work_are_refused(study, tmp_path, data, message):
    bad(study, tmp_path, message, InputError, data={**study.settings(tmp_path)["data"], **data})


def test_a_mask_of_another_space_is_refused(study, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    runs = [{"bold": str(study.image), "text": str(study.words)}]
    subject = {"name": "3", "mask": str(tmp_path / "mask.nii.gz"), "runs": runs}
    bad(study, tmp_path, "mask", InputError, data={"subjects": [subject]})


def test_an_image_without_a_mask_is_refused(study, tmp_path):
    runs = [{"bold": str(study.image), "text": str(study.words)}]
    bad(study, tmp_path, "subject 3: images need a mask or an atlas", InputError,
        data={"subjects": [{"name": "3", "runs": runs}]})  # fmt: skip


def test_nan_in_features_is_refused_with_its_place(study, tmp_path):
    x = np.random.default_rng(0).random((N_TRS, 2))
    x[17, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    subject = {"name": "1", "runs": [study.run(features={"x": str(tmp_path / "x.npy")})]}
    bad(study, tmp_path, "1 NaN or infinite values, the first in row 18, column 2", InputError,
        data={"subjects": [subject]}, bands={"x": {"of": "x"}})  # fmt: skip


def test_a_saved_fit_of_other_features_or_another_version_is_refused(study, result, tmp_path):
    options = study.settings(study.folder / "out", 1, 2)
    other = {**options, "bands": {"rate": {"of": "text", "take": "word_rate", "scale": "band"}}}
    with pytest.raises(CheckpointError, match="is of other features: band 'rate'"):
        predict_film(EncodeSettings.make(**other), study.other, tmp_path)
    with pytest.raises(CheckpointError, match="holds no fit of subject 01"):
        predict_film(EncodeSettings.make(**study.settings(tmp_path / "empty")), study.other, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(result.folder, copy)
    path = copy / "sub-01" / "func" / "sub-01_desc-encoding_model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"giblet-encoding-1", b"giblet-encoding-0"))
    with pytest.raises(CheckpointError, match="giblet-encoding-0"):
        predict_film(EncodeSettings.make(**{**options, "output": str(copy)}), study.other, tmp_path)


def test_subjects_with_other_regions_are_not_compared(study, tmp_path):
    table = pd.read_csv(study.table(2), sep="\t").rename(columns={"area0": "elsewhere"})
    table.to_csv(tmp_path / "b.tsv", sep="\t", index=False)
    data = study.settings(tmp_path)["data"]
    data["subjects"].append({"name": "2", "runs": [{"bold": str(tmp_path / "b.tsv"), "text": str(study.words)}]})
    bad(study, tmp_path, "subjects have other voxels or regions", InputError, data=data, group=True)
