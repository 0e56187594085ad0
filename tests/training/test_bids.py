"""The section ``bids`` of a configuration becomes subjects and runs with paths and a clock."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from giblet.encoding.settings import EncodeDataSettings
from giblet.errors import InputError
from giblet.training.recordings import read_bold
from giblet.training.settings import DataSettings, SubjectSettings, TrainSettings
from tests.bids_tree import RUNS, TR, Tree, confounds, make_tree, stem, write_confounds, write_image, write_json

pytest.importorskip("bids2table")
N_TRS = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Tree:
    return make_tree(tmp_path_factory.mktemp("bids") / "study", n_trs=N_TRS)


@pytest.fixture
def tree(whole, tmp_path) -> Tree:
    return Tree(shutil.copytree(whole.root, tmp_path / "study"))


def subjects(tree, **more):
    each_run = {"audio": "stimuli/{task}_run-{run:02d}.nc", **more.pop("each_run", {})}
    return DataSettings.make(bids=tree.query(each_run=each_run, **more)).subjects


def test_subjects_and_runs_have_the_files_and_the_clock_of_the_dataset(whole):
    first, second = subjects(whole, each_subject={"bad": "mask"})
    assert (first.name, second.name, first.bad) == ("01", "02", "mask")
    assert (first.tr, first.slice_time_ref, second.tr, second.slice_time_ref) == (TR, 0.0, TR, 0.5)
    assert [run.bold for one in (first, second) for run in one.runs] == [whole.scan(*labels) for labels in RUNS]
    assert [run.audio for run in second.runs] == [Path(f"stimuli/film_run-0{n}.nc") for n in (1, 2, 3, 1, 2)]
    assert all(run.confounds is None and run.dummy_scans == 1 for run in first.runs)
    assert all(run.stimulus_time_at_volume_0 == 0 for run in first.runs)


def test_what_is_written_down_is_read_back_without_the_dataset(whole, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"data": {"bids": whole.query(subject=1)}, "output": "o"}))
    settings = TrainSettings.from_yaml(path)
    again = tmp_path / "again.yaml"
    again.write_text(settings.to_yaml())
    assert "bids" not in yaml.safe_load(again.read_text())["data"]
    assert TrainSettings.from_yaml(again) == settings


@pytest.mark.parametrize("written", ["010", "'010'", "sub-010"])
def test_a_label_with_a_zero_before_it_is_no_octal_number(tmp_path, written):
    tree = make_tree(tmp_path / "study", n_trs=4)
    for folder in (tree.derivatives, tree.root):
        for path in sorted((folder / "sub-01").rglob("*")):
            if path.is_file():
                new = Path(str(path).replace("sub-01", "sub-010"))
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, new)
    path = tmp_path / "c.yaml"
    options = yaml.safe_dump({"data": {"bids": tree.query(subject="HERE")}, "output": "o"}).replace("HERE", written)
    path.write_text(options)
    assert [one.name for one in TrainSettings.from_yaml(path).data.subjects] == ["010"]


def test_confounds_are_those_of_the_run_and_only_where_they_are_asked_for(whole):
    (one,) = subjects(whole, subject="1", each_subject={"confound_strategy": "simple"})
    assert [run.confounds for run in one.runs] == [whole.table(*labels) for labels in RUNS[:6]]
    (one,) = subjects(whole, subject="1", each_subject={"confound_columns": ["trans_?"]})
    assert one.runs[0].confounds == whole.table(*RUNS[0])
    bold = read_bold(one, None)
    assert bold.attrs["n_confounds"] == 3
    assert np.flatnonzero(~bold["sample_mask"].values).tolist() == [N_TRS * k for k in range(6)]


def test_discarded_volumes_put_volume_0_later_in_the_stimulus_unless_it_is_said_otherwise(tree, caplog):
    write_json(
        tree.func("01", "1", raw=True) / f"{stem('01', '1', '01')}_bold.json", RepetitionTime=TR,
        NumberOfVolumesDiscardedByScanner=3, NumberOfVolumesDiscardedByUser=1,
    )  # fmt: skip

    def times(**more):
        return [run.stimulus_time_at_volume_0 for run in subjects(tree, subject="1", session="1", **more)[0].runs]

    assert times() == [6.0, 0, 0]
    assert "4 volumes were discarded before volume 0, which is taken to be at second 6" in caplog.text
    caplog.clear()
    assert times(stimulus_begins_with="volume_0") == [0, 0, 0]
    assert times(each_run={"stimulus_time_at_volume_0": 2.5}) == [2.5] * 3
    assert "discarded" not in caplog.text


def test_dummy_scans_are_left_out_and_keep_their_place(tree):
    for number in ("01", "02", "03"):
        write_confounds(tree.table("01", "1", number), confounds(N_TRS, dummies=3))
    for more, expected in (({}, 3), ({"each_run": {"dummy_scans": 0}}, 0), ({"each_run": {"dummy_scans": 5}}, 5)):
        (one,) = subjects(tree, subject="1", session="1", **more)
        bold = read_bold(one, None)
        keep = bold["sample_mask"].values if "sample_mask" in bold else np.ones(3 * N_TRS, bool)
        assert np.flatnonzero(~keep).tolist() == [N_TRS * run + k for run in range(3) for k in range(expected)]
        assert len(bold["bold"]) == 3 * N_TRS and np.isnan(bold["bold"].values[~keep]).all()
    strategy = {"confound_strategy": "scrubbing", "confound_options": {"scrub": 0, "motion": "basic"}}
    (one,) = subjects(tree, subject="1", session="1", each_run={"dummy_scans": 5}, each_subject=strategy)
    assert np.flatnonzero(~read_bold(one, None)["sample_mask"].values)[:5].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"dummy_scans is 1, and fMRIPrep marks 3 volumes"):
        subjects(tree, subject="1", session="1", each_run={"dummy_scans": 1}, each_subject=strategy)


def test_what_lies_in_the_masks_of_all_runs_is_read(tree):
    for number, voxel in (("01", (0, 0, 0)), ("02", (0, 1, 1))):
        inside = np.zeros((3, 4, 2), np.uint8)
        inside.flat[:12] = 1
        inside[voxel] = 0
        scan = tree.scan("01", "1", number)
        write_image(scan.with_name(scan.name.replace("desc-preproc_bold", "desc-brain_mask")), inside)
    (one,) = subjects(tree, subject="1", session="1")
    bold = read_bold(one, None)
    places = set(zip(*(bold[axis].values.tolist() for axis in "ijk"), strict=True))
    assert len(places) == 10 and not places & {(0, 0, 0), (0, 1, 1)}


def test_a_tr_that_the_header_contradicts_is_refused(tree):
    for number in ("01", "02", "03"):
        sidecar = tree.func("01", "1", raw=True) / f"{stem('01', '1', number)}_bold.json"
        write_json(sidecar, RepetitionTime=2.0)
    (one,) = subjects(tree, subject="1", session="1")
    assert one.tr == 2.0
    with pytest.raises(InputError, match=r"header .* TR 1.5 s .*but tr is 2 s"):
        read_bold(one, None)
    with pytest.raises(InputError, match=r"have TR 2 s, and 1.5 s is asked for"):
        one.processor(1.5)
    with pytest.raises(InputError, match=r"says RepetitionTime 2 s, and tr is 1.5 s"):
        subjects(tree, subject="1", session="1", each_subject={"tr": 1.5})
    (one,) = subjects(tree, subject="1", session="1", each_subject={"tr": 1.5, "overrule_tr": True})
    assert read_bold(one, None).attrs["tr"] == 1.5


def test_runs_of_two_clocks_are_refused_for_one_subject_and_can_be_overridden(tree):
    scan = tree.scan("02", "01", "2")
    write_json(scan.with_name(scan.name.replace(".nii.gz", ".json")), StartTime=0.3)
    with pytest.raises(InputError, match=r"run-1 has slice-time reference 0.5, sub-02 ses-01 task-film run-2 0.2"):
        subjects(tree, subject="2")
    (one,) = subjects(tree, subject="2", each_subject={"slice_time_ref": 0.25})
    assert one.slice_time_ref == 0.25


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"subjet": "1"}, "no option subjet; did you mean subject?"),
        ({"run": True}, "run.*True is no label"),
        ({"run": 1.5}, "labels are expected"),
        ({"run": []}, "at least 1"),
        ({"each_run": {"audio": "{film}.nc"}}, "'{film}.nc' names 'film', which sub-01"),
        ({"each_run": {"audio": "{space:d}.nc"}}, "cannot be filled in"),
        ({"each_run": {"bold": "x.nii"}}, "bold comes from the dataset"),
        ({"each_subject": {"name": "x"}}, "name comes from the dataset"),
        ({"each_subject": {"confound_strategy": "simpel"}}, "confound_strategy.*'simpel'"),
        ({"each_subject": {"confound_strategy": "simple", "confound_columns": ["csf"]}}, "leave out one"),
        ({"each_subject": {"confound_options": {"scrub": 0}}}, "there is none"),
        ({"derivatives": "nilearn"}, "has fmriprep-23.2"),
        (
            {"each_run": {"stimulus_time_at_volume_0": "{run}"}},
            r"stimulus_time_at_volume_0 is '\{run\}': a number of sec",
        ),
        ({"each_run": {"stimulus_time_at_volume_0": None}}, "stimulus_time_at_volume_0 is None: a number of seconds"),
        ({"each_run": {"dummy_scans": 2.5}}, "dummy_scans is 2.5: a whole number is expected"),
        ({"each_subject": {"slice_time_ref": 2}}, "slice_time_ref is 2: a part of the TR, 0 to 1, is expected"),
        ({"each_subject": {"slice_time_ref": "late"}}, "slice_time_ref is 'late'"),
    ],
)
def test_bad_options_are_one_clear_error(whole, more, message):
    with pytest.raises(InputError, match=message) as told:
        subjects(whole, **more)
    assert "\n" not in str(told.value)


def test_bids_and_subjects_exclude_each_other(whole):
    listed = [{"name": "1", "runs": [{"bold": "b.tsv"}]}]
    with pytest.raises(InputError, match=r"bids and subjects both say"):
        DataSettings.make(bids=whole.query(), subjects=listed)
    found = EncodeDataSettings.make(bids=whole.query(each_run={"features": {"words": "w_{run}.nc"}}), folds="runs")
    assert found.subjects[1].runs[0].features == {"words": Path("w_1.nc")}
    with pytest.raises(InputError, match=r"has no confounds"):
        SubjectSettings.make(**{**listed[0], "confound_strategy": "simple"})
