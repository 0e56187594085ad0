"""Runs of several films and subjects become one recording each, with nothing moved, and nothing taken for data."""

import json
import tracemalloc

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from giblet.errors import AlignmentError, CheckpointError, CodecError, InputError
from giblet.features import new_features, save_features
from giblet.timing import TRGrid
from giblet.training.build import model_of, windows_of
from giblet.training.run_folder import read_normalisers, write_normalisers
from giblet.training.settings import TrainSettings
from giblet.training.study import build_study, with_tr
from giblet.training.trainer import Trainer


def codes(path, n_trs, first, fingerprint="f" * 64, tr=1.5):
    """Code k of each TR says which TR it is."""
    grid = TRGrid(tr, n_trs, 75)
    width = grid.frames_per_tr
    table = np.broadcast_to((first + np.arange(n_trs))[:, None, None], (n_trs, 2, width)).astype(np.int32)
    variables = {
        "codes": (("tr", "codebook", "frame"), table),
        "spill": (("tr", "codebook", "extra"), table[:, :, :1]),
        "spill_mask": (("tr", "extra"), (grid.counts > width)[:, None]),
    }
    attrs = {"codec_fingerprint": fingerprint, "bandwidth": 1.5, "codebook_size": 1024, **ABOUT}
    film = new_features(variables, grid, film_duration=n_trs * tr, kind="codes", desc="encodec24k", **attrs)
    return save_features(film, path)


ABOUT = {"source": "film.mp4", "source_sha256": "0", "duration": 1.0, "settings": {}}


def words(path, n_trs, there, tr=1.5):
    variables = {
        "embedding": (("tr", "dim"), np.arange(n_trs)[:, None] * np.ones((1, 3))),
        "embedding_mask": (("tr",), np.asarray(there)),
    }
    grid = TRGrid(tr, n_trs, 1 / tr + 1e-9)
    film = new_features(variables, grid, film_duration=n_trs * tr, kind="continuous", desc="text", **ABOUT)
    return save_features(film, path)


def table(path, n_volumes, first=0, tr=1.5):
    """BOLD of volume v is 1000 + v in one region, and noise in another."""
    noise = np.random.default_rng(0).standard_normal(n_volumes)
    pd.DataFrame({"a": 1000.0 + first + np.arange(n_volumes), "b": noise}).to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": tr}))
    return path


def settings(runs, subjects=None, **changes):
    data = {"subjects": subjects or [{"name": "01", "runs": runs}], "whole_runs": True, "fractions": (0.5, 0.25, 0.25),
            "split": "subject"}  # fmt: skip
    model = {"n_codebooks": 2, **changes.pop("model", {})}
    return TrainSettings.make(data={**data, **changes.pop("data", {})}, output="unused", model=model, **changes)


@pytest.fixture
def four(tmp_path):
    """Four runs of 30 volumes: the second began 6 s into its film, the third 4.5 s before it, the last has no sound."""
    runs = []
    for number in range(4):
        run = {"bold": str(table(tmp_path / f"{number}.tsv", 30, 100 * number)),
               "text": str(words(tmp_path / f"{number}_words.nc", 40, np.arange(40) % 5 > 0))}  # fmt: skip
        if number < 3:
            run["audio"] = str(codes(tmp_path / f"{number}.nc", 40, 100 * number))
        runs.append({**run, "on_short_bold": "trim"})
    runs[1]["stimulus_time_at_volume_0"] = 6.0
    runs[2]["stimulus_time_at_volume_0"] = -4.5
    return runs


def test_runs_are_laid_end_to_end_each_on_its_own_clock(four):
    study = build_study(settings(four))
    (recording,) = study.recordings
    # The third run began three volumes before its film: they are cut.
    assert [int((recording.run == r).sum()) for r in (1, 2, 3, 4)] == [30, 30, 27, 30]
    bold = recording.series["bold"].read(0, 117)[:, 0] - 1000
    audio = recording.series["audio"].read(0, 117)[:, 0, 0]
    for run, lag in ((1, 0), (2, 4), (3, -3)):  # TRs of the film before volume 0
        rows = recording.run == run
        np.testing.assert_array_equal(audio[rows], bold[rows] + lag)
    assert not recording.series["audio"].valid[recording.run == 4].any()
    assert study.stimulus_trs["01"][[0, 30, 60, 87]].tolist() == [0, 4, 0, 0]
    assert study.volumes["01"][[0, 30, 60, 87]].tolist() == [0, 0, 3, 0]
    spoken = recording.series["text"].read(0, 117)[:, 0]
    np.testing.assert_array_equal(recording.series["text"].valid, spoken % 5 > 0)


@pytest.mark.parametrize("centre_runs", [True, False])
def test_normalisers_know_the_training_part_alone_and_come_back_from_disk(four, tmp_path, centre_runs):
    study = build_study(settings(four, data={"centre_runs": centre_runs}))
    train = study.splits["01"].train
    assert train.tolist() == list(range(60)) and study.part("train")["01"] is train
    bold = study.recordings[0].series["bold"].read(0, 60)
    normaliser = study.normalisers["01"]["bold"]
    np.testing.assert_allclose(normaliser.mean, bold.mean(0), rtol=1e-5)
    runs = [bold[:30], bold[30:]] if centre_runs else [bold]
    within = np.concatenate([run - run.mean(0) for run in runs])
    np.testing.assert_allclose(normaliser.scale, within.std(0), rtol=1e-5)
    assert list(normaliser.levels) == ([1, 2] if centre_runs else [])
    assert set(study.normalisers["01"]) == {"bold", "text"}  # codes have no mean
    write_normalisers(study.normalisers, tmp_path)
    again = read_normalisers(tmp_path)["01"]["bold"]
    assert np.array_equal(again.mean, normaliser.mean) and np.array_equal(again.scale, normaliser.scale)
    assert list(again.levels) == list(normaliser.levels)
    assert all(np.array_equal(again.levels[run], level) for run, level in normaliser.levels.items())
    (tmp_path / "normalisers.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="changed or are damaged"):
        read_normalisers(tmp_path)
    (tmp_path / "normalisers.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot read the normalisers"):
        read_normalisers(tmp_path)


def test_a_hole_in_a_film_keeps_its_place(tmp_path):
    """Windows close up over nothing: TRs behind a hole stay as far from those before it as they were."""
    path = codes(tmp_path / "a.nc", 30, 0)
    features = xr.load_dataset(path, engine="h5netcdf")
    features["valid"].values[10:13] = False
    save_features(features, path)
    runs = [{"bold": str(table(tmp_path / "a.tsv", 30)), "audio": str(path)}] * 3
    study = build_study(settings(runs, data={"fractions": (0.34, 0.33, 0.33)}))
    audio, bold = (study.recordings[0].series[name] for name in ("audio", "bold"))
    assert np.flatnonzero(~audio.valid[:30]).tolist() == [10, 11, 12] and len(audio) == 90
    assert not bold.valid[10:13].any() and bold.read(13, 14)[0, 0] == 1013 and audio.read(13, 14)[0, 0, 0] == 13


def test_what_does_not_fit_is_refused(four, tmp_path):
    other = codes(tmp_path / "other.nc", 40, 0, fingerprint="e" * 64)
    slow = codes(tmp_path / "slow.nc", 40, 0, tr=2.0)
    confounds = pd.DataFrame({"trans_x": np.arange(30.0)})
    confounds.to_csv(tmp_path / "confounds.tsv", sep="\t", index=False)
    for made, error, message in [
        (settings([{"bold": four[0]["bold"]}]), InputError, "subject 01, run 1 has no features"),
        (settings(four, model={"use_encodec": False}), InputError, "holds codes values.*use_encodec is False"),
        (settings(four, model={"n_codebooks": 8}), InputError, "has n_codebooks 2, model.n_codebooks is 8"),
        (settings([four[0], {**four[0], "audio": str(other)}, four[0]]), CodecError, "differ in codec_fingerprint"),
        (settings([{**four[0], "audio": str(slow)}], model={"tr": 1.5}), AlignmentError, "has TR 2 s, the BOLD 1.5 s"),
        (settings([{**four[0], "audio": str(slow)}]), InputError, "slow.nc has TR 2 s, 0_words.nc 1.5 s"),
        (settings([four[0], {**four[0], "confounds": str(tmp_path / "confounds.tsv")}]), InputError, "some none"),
        (settings([{**four[0], "bold": "absent.tsv"}]), InputError, "subject 01: no such scan"),
        (settings([{**four[0], "on_short_bold": "error"}]), AlignmentError, "its last 15 s were not scanned"),
    ]:
        with pytest.raises(error, match=message):
            build_study(made)


def test_cleaning_that_would_see_test_volumes_is_refused(four, tmp_path, monkeypatch):
    monkeypatch.setattr("giblet.data.fmri.clean_run", lambda *_args, **_kwargs: None)
    subjects = [{"name": "01", "runs": four, "detrend": True}]
    build_study(settings(four, subjects))
    within = {"whole_runs": False, "gap": 3.0}
    with pytest.raises(InputError, match=r"subject 01: run 2 is cut into train, gap and val.*whole_runs: true"):
        build_study(settings(four, subjects, data=within))
    confounds = tmp_path / "confounds.tsv"
    pd.DataFrame({"trans_x": np.arange(30.0)}).to_csv(confounds, sep="\t", index=False)
    confounded = [{**run, "confounds": str(confounds)} for run in four]
    for runs, cleaning in ((four, {"high_pass": 0.01}), (confounded, {"confound_columns": ["trans_x"]})):
        with pytest.raises(InputError, match="run 2 is cut"):
            build_study(settings(runs, [{"name": "01", "runs": runs, **cleaning}], data=within))
    build_study(settings(four, data=within))


def test_the_tr_is_the_features_where_it_is_not_given_and_the_scan_must_say_the_same(four, tmp_path):
    slow = [
        {
            "bold": str(table(tmp_path / "slow.tsv", 30, tr=2.0)),
            "text": str(words(tmp_path / "s.nc", 30, [1] * 30, 2.0)),
        }
    ]
    asked = settings(slow * 4)
    assert with_tr(asked).model.tr == 2.0 and with_tr(asked).model.decode_trs == 6
    study = build_study(asked)
    assert study.recordings[0].tr == 2.0
    small = settings(slow * 4, model={"head": "regression", "features": 4, "bottleneck": 4, "rank": 4})
    model, _ = model_of(small, study)
    assert model.tr == 2.0 and windows_of(small, study, "train").lead == 5
    given = settings(four, model={"tr": 1.5})
    assert with_tr(given) is given
    (tmp_path / "slow.json").write_text(json.dumps({"RepetitionTime": 1.5}))
    with pytest.raises(AlignmentError, match=r"subject 01: the scans have TR 1.5 s, the features 2 s.*tr=1.5"):
        build_study(asked)
    (tmp_path / "slow.json").write_text(json.dumps({"RepetitionTime": 1.9999999}))
    assert build_study(asked).recordings[0].tr == 2.0
    (tmp_path / "slow.json").unlink()
    with pytest.raises(InputError, match=r"subject 01: slow.tsv is a table, which carries no TR"):
        build_study(asked)
    assert build_study(settings(slow * 4, model={"tr": 2.0})).recordings[0].tr == 2.0


def test_a_run_remembers_the_tr_that_it_took_from_the_features(tmp_path):
    spoken = np.random.default_rng(0).random(60) < 0.8
    text = str(words(tmp_path / "a.nc", 60, spoken, 2.0))
    runs = [{"bold": str(table(tmp_path / f"{k}.tsv", 60, tr=2.0)), "text": text} for k in range(4)]
    small = {"head": "regression", "features": 4, "bottleneck": 4, "rank": 4}
    asked = settings(runs, model=small, window=20, epochs=1, device="cpu").model_copy(
        update={"output": tmp_path / "run"}
    )
    result = Trainer(asked).fit()
    assert (result.tr, result.slice_time_ref) == (2.0, {"01": 0.0})
    assert TrainSettings.from_yaml(tmp_path / "run" / "config.yaml").model.tr == 2.0
    assert Trainer(asked).fit().status == "up to date"


def test_each_subject_is_read_when_its_sidecars_or_its_option_say(four, tmp_path):
    late = []
    for number, run in enumerate(four):
        path = table(tmp_path / f"late_{number}.tsv", 30, 100 * number)
        path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": 1.5, "StartTime": 0.72}))
        late.append({**run, "bold": str(path)})
    subjects = [{"name": "plain", "runs": four}, {"name": "late", "runs": late},
                {"name": "told", "runs": late, "slice_time_ref": 0.9}]  # fmt: skip
    study = build_study(settings(four, subjects))
    assert study.slice_time_ref == {"plain": 0.0, "late": 0.48, "told": 0.9}
    with pytest.raises(InputError, match=r"subject 01: the slices of 0.tsv are brought to 0 of the TR.*0.48"):
        build_study(settings([*four[:3], late[3]]))
    with pytest.raises(InputError, match=r"slice_time_ref is 1.44"):
        settings(four, [{"name": "01", "runs": four, "slice_time_ref": 1.44}])


def test_the_bold_of_censored_volumes_is_absent_and_what_was_on_is_not(four, tmp_path):
    marked, runs = {0: [0, 7], 2: [3, 4]}, []
    for number, run in enumerate(four):
        columns = {"trans_x": np.random.default_rng(number).standard_normal(30)}
        for k, volume in enumerate(marked.get(number, [])):
            columns[f"motion_outlier{k:02d}"] = np.eye(30)[volume]
        pd.DataFrame(columns).to_csv(tmp_path / f"c{number}.tsv", sep="\t", index=False)
        runs.append({**run, "confounds": str(tmp_path / f"c{number}.tsv")})
    subject = {"name": "01", "runs": runs, "confound_columns": ["motion_outlier*"]}
    study, plain = build_study(settings(runs, [subject])), build_study(settings(four))
    censored, whole = (one.recordings[0].series for one in (study, plain))
    # The third run begins three volumes late: its rows 0 and 1 are volumes 3 and 4.
    assert np.flatnonzero(~censored["bold"].valid).tolist() == [0, 7, 60, 61]
    for name in ("audio", "text"):
        np.testing.assert_array_equal(censored[name].valid, whole[name].valid)
        np.testing.assert_array_equal(censored[name].read(0, 117), whole[name].read(0, 117))
    np.testing.assert_array_equal(study.stimulus_trs["01"], plain.stimulus_trs["01"])
    train = np.setdiff1d(np.arange(60), [0, 7])
    np.testing.assert_allclose(
        study.normalisers["01"]["bold"].mean[0], whole["bold"].read(0, 60)[train, 0].mean(), rtol=1e-6
    )


@pytest.mark.parametrize("offset", [0.3, 0.75, -0.6])
def test_words_that_are_absent_are_not_averaged_in_at_any_offset(tmp_path, offset):
    there = np.random.default_rng(1).random(90) < 0.5
    path = words(tmp_path / "w.nc", 90, there)
    features = xr.load_dataset(path, engine="h5netcdf")
    features["embedding"].values[:] = np.where(there[:, None], 4.0, 0.0)
    save_features(features, path)
    run = {
        "bold": str(table(tmp_path / "a.tsv", 88)),
        "text": str(path),
        "stimulus_time_at_volume_0": offset,
        "on_short_bold": "trim",
    }
    study = build_study(settings([run] * 3, data={"fractions": (0.34, 0.33, 0.33)}))
    text = study.recordings[0].series["text"]
    np.testing.assert_allclose(text.read(0, len(text))[text.valid], 4, rtol=1e-6)
    assert 0 < (~text.valid).sum() < len(text) / 2
    np.testing.assert_allclose(study.normalisers["01"]["text"].mean, 4, rtol=1e-6)


def test_an_offset_that_the_words_were_extracted_with_is_not_given_again(four):
    path = four[1]["text"]
    features = xr.load_dataset(path, engine="h5netcdf")
    features.attrs["settings"] = json.dumps({"table_time_at_tr_0": 6.0})
    save_features(features, path)
    with pytest.raises(InputError, match=r"subject 01, run 2: text: film.mp4 was extracted with table_time_at_tr_0=6"):
        build_study(settings(four))


def test_scan_much_longer_than_its_film_is_warned_of(tmp_path, caplog):
    """As a table of TR 2 s does that is read at 3 s."""
    runs = [
        {"bold": str(table(tmp_path / "a.tsv", 90, tr=3.0)), "text": str(words(tmp_path / "a.nc", 60, [1] * 60, 3.0))}
    ]
    build_study(settings(runs * 3, data={"fractions": (0.34, 0.33, 0.33)}))
    assert "subject 01, run 1: the last 30 of 90 volumes (90 s) have no stimulus" in caplog.text


def film_of(path, n_trs, width=3, tr=1.5, seed=0, **attrs):
    """Vectors that are others in each TR."""
    values = np.random.default_rng(seed).standard_normal((n_trs, width)).astype(np.float32)
    film = new_features(
        {"embedding": (("tr", "dim"), values)}, TRGrid(tr, n_trs, 1 / tr + 1e-9), film_duration=n_trs * tr,
        kind="continuous", desc="text", **{**ABOUT, **attrs},
    )  # fmt: skip
    return save_features(film, path), values


def blocks(study):
    """By subject, the arrays that its text is read from."""
    return {r.subject: [b for b in r.series["text"]._blocks if not isinstance(b, int)] for r in study.recordings}


def test_subjects_who_saw_the_same_films_share_them_in_any_order_and_length(tmp_path):
    """The first saw films 1 and 2, the second 2 and 1, the third stopped early, the fourth began 6 s into each."""
    paths, values = zip(*(film_of(tmp_path / f"{k}.nc", 40, seed=k) for k in (1, 2)), strict=True)
    subjects = []
    for name, order, n, offset in (
        ("a", (0, 1), 40, 0),
        ("b", (1, 0), 40, 0),
        ("c", (0, 1), 35, 0),
        ("d", (0, 1), 36, 6),
    ):
        for k in order:
            table(tmp_path / f"{name}{k}.tsv", n)
        runs = [{"bold": str(tmp_path / f"{name}{k}.tsv"), "text": str(paths[k]), "on_short_bold": "trim",
                 "stimulus_time_at_volume_0": offset} for k in order]  # fmt: skip
        subjects.append({"name": name, "runs": [*runs, runs[-1]]})
    study = build_study(settings(None, subjects, data={"fractions": (0.34, 0.33, 0.33)}))
    held = blocks(study)
    for one in held["a"]:
        for other in ("b", "c", "d"):
            assert sum(np.shares_memory(one, block) for block in held[other]) >= 1, other
    for recording, order, (start, stop) in zip(
        study.recordings, ((0, 1), (1, 0), (0, 1), (0, 1)), ((0, 40), (0, 40), (0, 35), (4, 40)), strict=True
    ):
        shown = np.concatenate([values[k][start:stop] for k in (*order, order[-1])])
        np.testing.assert_array_equal(recording.series["text"].read(0, len(shown)), shown)
        np.testing.assert_array_equal(recording.series["text"].read(30, 45), shown[30:45])  # across two runs


def test_films_between_whole_trs_are_shared_by_those_who_began_alike(tmp_path):
    path, _ = film_of(tmp_path / "film.nc", 40)
    subjects = []
    for name, n, offset in (("a", 38, 0.5), ("b", 30, 0.5), ("c", 38, 0.25)):
        run = {"bold": str(table(tmp_path / f"{name}.tsv", n)), "text": str(path), "stimulus_time_at_volume_0": offset}
        subjects.append({"name": name, "runs": [{**run, "on_short_bold": "trim"}] * 3})
    study = build_study(settings(None, subjects, data={"fractions": (0.34, 0.33, 0.33)}))
    held = blocks(study)
    assert all(np.shares_memory(held["a"][0], block) for block in (*held["a"], *held["b"]))
    assert not np.shares_memory(held["a"][0], held["c"][0])
    # Each alone has the same numbers.
    for number, subject in enumerate(subjects):
        alone = build_study(settings(None, [subject], data={"fractions": (0.34, 0.33, 0.33)})).recordings[0]
        n = len(alone.run)
        np.testing.assert_array_equal(
            alone.series["text"].read(0, n), study.recordings[number].series["text"].read(0, n)
        )


def test_films_seen_by_several_subjects_are_held_once(tmp_path):
    path, values = film_of(tmp_path / "film.nc", 300, width=20_000)  # 24 MB
    peaks = []
    for n in (1, 4):
        subjects = [
            {"name": f"{k}", "runs": [{"bold": str(table(tmp_path / f"{n}-{k}.tsv", 100, k)), "text": str(path),
                                       "stimulus_time_at_volume_0": 150.0 * r} for r in range(3)]} for k in range(n)
        ]  # fmt: skip
        for subject in subjects:
            for run in subject["runs"]:
                run["on_short_bold"] = "trim"
        tracemalloc.start()
        study = build_study(settings(None, subjects, data={"fractions": (0.34, 0.33, 0.33)}))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peaks.append(peak)
        assert held < 2 * values.nbytes
        del study
    assert peaks[1] < 1.2 * peaks[0]


def test_rows_hold_their_second_of_the_film(four):
    """Runs began 0 and 6 s into their films, and 4.5 s before; what a table was cut by at extraction counts too."""
    study = build_study(settings(four))
    seconds, runs = study.film_seconds["01"], study.recordings[0].run
    for run, offset in ((1, 0.0), (2, 6.0), (3, -4.5), (4, 0.0)):
        np.testing.assert_allclose(seconds[runs == run], study.volumes["01"][runs == run] * 1.5 + offset, atol=1e-9)
    assert seconds[runs == 3][0] == 0


def test_a_table_that_was_cut_at_extraction_keeps_the_seconds_of_its_film(tmp_path):
    path, _ = film_of(tmp_path / "film.nc", 40, settings={"table_time_at_tr_0": 558.0})
    run = {"bold": str(table(tmp_path / "a.tsv", 40)), "text": str(path)}
    study = build_study(settings([run] * 3, data={"fractions": (0.34, 0.33, 0.33)}))
    assert study.film_seconds["01"][[0, 1, 37]].tolist() == [558.0, 559.5, 613.5]
    # What was said before is not in the file, and its response is in the first volumes: they lack context.
    assert study.stimulus_trs["01"][[0, 1]].tolist() == [372, 373]


def test_one_dimensional_features_become_vectors_of_length_one(tmp_path):
    """What extract --text-model none writes: how many words begin in each TR, no vector."""
    rate = np.arange(40, dtype=np.float32)
    film = new_features(
        {"word_rate": (("tr",), rate), "speech_fraction": (("tr",), rate / 40)}, TRGrid(1.5, 40, 1 / 1.5 + 1e-9),
        film_duration=60, kind="continuous", desc="text", **ABOUT,
    )  # fmt: skip
    run = {"bold": str(table(tmp_path / "a.tsv", 40)), "text": str(save_features(film, tmp_path / "film.nc"))}
    study = build_study(settings([run] * 3, data={"fractions": (0.34, 0.33, 0.33)}))
    assert study.stimuli["text"] == ("continuous", (1,))
    np.testing.assert_array_equal(study.recordings[0].series["text"].read(0, 40)[:, 0], rate)


def test_a_voxel_is_named_by_its_place_in_the_image(tmp_path):
    """Dead in the training part alone, as at the edge of a brain that moves later."""
    path, _ = film_of(tmp_path / "film.nc", 90)
    scan = np.random.default_rng(0).normal(500, 10, (4, 3, 2, 90)).astype(np.float32)
    scan[3, 1, 0, :50] = 7
    for data, name in ((scan, "bold"), (np.ones((4, 3, 2), np.float32), "mask")):
        image = nib.Nifti1Image(data, np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        if data.ndim == 4:
            image.header.set_zooms((1, 1, 1, 1.5))
        image.to_filename(tmp_path / f"{name}.nii")
    run = {"bold": str(tmp_path / "bold.nii"), "text": str(path)}
    subjects = [{"name": "01", "runs": [run], "mask": str(tmp_path / "mask.nii")}]
    cut = {"fractions": (0.5, 0.25, 0.25), "gap": 3.0, "whole_runs": False}
    study = build_study(settings(None, subjects, data=cut))
    assert study.unlearnable == {"01": "1 of 24 voxels without any change over the training TRs: (3, 1, 0)"}
    assert np.flatnonzero(~study.normalisers["01"]["bold"].varies).tolist() == [3 * 6 + 1 * 2]


def test_sub_prefix_does_not_make_a_second_subject(four):
    with pytest.raises(InputError, match="subject 22 is listed twice"):
        settings(None, [{"name": "22", "runs": four}, {"name": "sub-22", "runs": four}])


def damaged(tmp_path, row, what=np.nan):
    """Three runs of 30 volumes, each of its own film; in volume `row` of all, region b is no number."""
    tables = np.random.default_rng(0).normal(500, 10, (90, 3))
    if row is not None:
        tables[row, 1] = what
    runs = []
    for k in range(3):
        path = tmp_path / f"{row}_{k}.tsv"
        pd.DataFrame(tables[30 * k : 30 * k + 30], columns=list("abc")).to_csv(
            path, sep="\t", index=False, na_rep="n/a"
        )
        path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": 1.5}))
        runs.append({"bold": str(path), "text": str(film_of(tmp_path / f"{row}_{k}.nc", 30, seed=k)[0])})
    subjects = [{"name": "01", "runs": runs, "bad": "mask"}]
    return build_study(settings(None, subjects, data={"fractions": (0.34, 0.33, 0.33)}))


def test_nan_in_a_test_tr_does_not_exclude_its_region_from_training(tmp_path, caplog):
    clean, study = damaged(tmp_path, None), damaged(tmp_path, 71)
    assert study.n_voxels == {"01": 3} and study.columns["01"]["region"].tolist() == list("abc")
    for part in ("train", "val"):
        windows = [windows_of(TrainSettings.make(
            data={"subjects": [{"name": "01", "runs": [{"bold": "x"}]}]}, output="x", window=8,
            model={"decode_seconds": 3}), one, part) for one in (clean, study)]  # fmt: skip
        for one, other in zip(*windows, strict=True):
            assert torch.equal(one["data"]["bold"], other["data"]["bold"])
    assert "1 of these are kept, as no TR of training or validation is bad in them" in caplog.text
    holes = study.holes["01"]
    assert holes.where.tolist() == [[71, 1]]
    assert holes.columns(study.splits["01"].test, 3).tolist() == [False, True, False]
    assert not holes.columns(study.splits["01"].val, 3).any()
    for row in (3, 40):  # training and validation are not to be guessed
        assert damaged(tmp_path, row).columns["01"]["region"].tolist() == ["a", "c"]


def test_subjects_who_saw_other_films_are_refused_where_one_split_is_asked_for(tmp_path):
    subjects = []
    for who in "ab":
        runs = [
            {"bold": str(table(tmp_path / f"{who}{k}.tsv", 30)),
             "text": str(film_of(tmp_path / f"{who}{k}.nc", 30, seed=k + 10 * (who == "b"))[0])}
            for k in range(3)
        ]  # fmt: skip
        subjects.append({"name": who, "runs": runs})
    thirds = {"fractions": (0.34, 0.33, 0.33), "split": "stimulus"}
    with pytest.raises(InputError, match=r"1 of 2 subjects have no feature file in common with subject a.*SHA-256"):
        build_study(settings(None, subjects, data=thirds))
    study = build_study(settings(None, subjects, data={**thirds, "split": "subject"}))
    assert study.splits["b"].train.tolist() == list(range(30)) and not study.split_notes
    # One file under two names is one film.
    for k in range(3):
        (tmp_path / f"b{k}.nc").write_bytes((tmp_path / f"a{k}.nc").read_bytes())
    study = build_study(settings(None, [subjects[0], {**subjects[1], "runs": subjects[1]["runs"][::-1]}], data=thirds))
    assert study.splits["b"].train.tolist() == list(range(60, 90)) and not study.split_notes


def test_split_by_subject_reports_how_many_trs_leak(tmp_path):
    path, _ = film_of(tmp_path / "film.nc", 30)
    run = {"bold": str(table(tmp_path / "a.tsv", 30)), "text": str(path)}
    thirds = {"fractions": (0.34, 0.33, 0.33)}
    study = build_study(settings([run] * 3, data={**thirds, "split": "subject"}))
    assert "60 of 60 validation and test TRs show film of training" in study.split_notes["01"][0]
    with pytest.raises(InputError, match=r"subject 01: val would have 0 TRs.*of 30 TRs of the stimulus 30 show film"):
        build_study(settings([run] * 3, data={**thirds, "split": "stimulus"}))
