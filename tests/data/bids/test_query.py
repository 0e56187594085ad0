"""Which scans a query finds, what belongs to them, and what is said where it finds none or too many."""

import json
import shutil

import pytest

from giblet.data.bids.query import find_runs
from giblet.errors import InputError
from tests.bids_tree import MNI, MNI_FILE, NATIVE, RUNS, SURFACE, Tree, make_tree, stem, write_json

pytest.importorskip("bids2table")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Tree:
    return make_tree(tmp_path_factory.mktemp("bids") / "study", n_trs=6)


@pytest.fixture
def tree(whole, tmp_path) -> Tree:
    """One that a test may change."""
    return Tree(shutil.copytree(whole.root, tmp_path / "study"))


def found(tree, **wanted):
    wanted = {"space": MNI, **wanted}
    return find_runs(tree.root, "fmriprep-23.2", {name: given.split() for name, given in wanted.items() if given})


def labels(runs):
    return [tuple(run.entities[key] for key in ("sub", "ses", "run")) for some in runs.values() for run in some]


def test_all_runs_are_found_in_order_with_mask_and_confounds_of_their_own(whole):
    runs = found(whole)
    assert labels(runs) == RUNS
    for some in runs.values():
        for run in some:
            names = [run.entities[key] for key in ("sub", "ses", "run")]
            assert run.bold == whole.scan(*names)
            assert run.mask == run.bold.with_name(f"{stem(*names)}_{MNI_FILE}_desc-brain_mask.nii.gz")
            assert run.confounds == whole.table(*names) and run.dummy_scans == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"run": "2"}, [one for one in RUNS if one[2] in ("2", "02")]),
        ({"run": "02"}, [one for one in RUNS if one[2] in ("2", "02")]),
        ({"run": "run-2", "subject": "sub-2"}, [("02", "01", "2"), ("02", "02", "2")]),
        ({"session": "2", "run": "1"}, [("01", "2", "01"), ("02", "02", "1")]),
        ({"session": "02", "subject": "1", "run": "3"}, [("01", "2", "03")]),
        ({"subject": "1 02", "session": "1", "run": "1 3"},
         [("01", "1", "01"), ("01", "1", "03"), ("02", "01", "1"), ("02", "01", "3")]),
        ({"subject": "*2", "task": "f*", "session": "0[1]", "run": "2"}, [("02", "01", "2")]),
    ],
)  # fmt: skip
def test_labels_are_compared_as_text_as_numbers_and_as_patterns(whole, wanted, expected):
    assert labels(found(whole, **wanted)) == expected


def test_a_pair_of_hemispheres_is_one_run(whole):
    (run,) = found(whole, space=SURFACE, subject="1", session="1", run="1")["01"]
    assert run.bold.name.endswith(f"hemi-L_space-{SURFACE}_bold.func.gii") and run.mask is None
    assert run.right == run.bold.with_name(run.bold.name.replace("hemi-L", "hemi-R"))
    assert run.clock.tr == 1.5 and "hemi-L" in run.clock.tr_source.name


def test_grayordinates_are_found_by_their_density(tree):
    for density in ("91k", "170k"):
        name = f"{stem('01', '1', '01')}_space-fsLR_den-{density}_bold.dtseries.nii"
        (tree.func("01", "1") / name).touch()
        # as fMRIPrep 21 wrote beside it, and no scan
        write_json(tree.func("01", "1") / name.replace(".nii", ".json"), grayordinates=density)
    (run,) = found(tree, space="fsLR", density="91k")["01"]
    assert run.bold.name.endswith("den-91k_bold.dtseries.nii") and run.clock.tr_source.parent == tree.func(
        "01", "1", raw=True
    )
    with pytest.raises(InputError, match=r"sub-01 ses-1 task-film run-01 has 2 files.*density is 91k or 170k"):
        found(tree, space="fsLR")


@pytest.mark.parametrize("name", ["fmriprep-23.2", "study[2]", ".hidden", "plain"])
def test_folders_whose_names_look_like_files_or_patterns_are_read(whole, tmp_path, name):
    shutil.copytree(whole.derivatives, tmp_path / name)
    runs = find_runs(tmp_path / name, None, {"space": (NATIVE,), "subject": ("1",), "run": ("1",)})
    assert [run.bold.parent.parent.parent.parent for run in runs["01"]] == [tmp_path / name] * 2


def test_the_tr_is_that_of_the_raw_run_and_never_that_of_the_root(tree):
    (run,) = found(tree, subject="1", session="1", run="1")["01"]
    assert run.clock.tr == 1.5
    assert run.clock.tr_source == tree.func("01", "1", raw=True) / f"{stem('01', '1', '01')}_bold.json"
    # A raw run without a sidecar of its own inherits; where there is no raw run, the top says nothing of anybody.
    run.clock.tr_source.unlink()
    (run,) = found(tree, subject="1", session="1", run="1")["01"]
    assert run.clock.tr == 3.0 and run.clock.tr_source == tree.root / "task-film_bold.json"
    (tree.func("01", "1", raw=True) / f"{stem('01', '1', '01')}_bold.nii.gz").unlink()
    with pytest.raises(InputError, match=r"sub-01 ses-1 task-film run-01 space-|run-01: no sidecar") as told:
        found(tree, subject="1", session="1", run="1")
    assert "sub-01 ses-1 task-film run-01" in str(told.value) and "RepetitionTime" in str(told.value)


def test_the_sidecar_that_names_more_labels_holds_over_one_in_the_same_folder_that_names_fewer(tree):
    folder = tree.func("01", "1")
    write_json(folder / "sub-01_ses-1_task-film_bold.json", RepetitionTime=9.0, StartTime=0.1)
    write_json(folder / f"{stem('01', '1', '01')}_desc-preproc_bold.json", RepetitionTime=2.5)
    write_json(tree.derivatives / "bold.json", RepetitionTime=7.0, StartTime=0.5)
    (first,) = found(tree, subject="1", session="1", run="1")["01"]
    (second,) = found(tree, subject="1", session="1", run="2")["01"]
    assert (first.clock.tr, first.clock.slice_time_ref) == (2.5, 0.04)
    assert (second.clock.tr, second.clock.slice_time_source.name) == (9.0, "sub-01_ses-1_task-film_bold.json")
    write_json(folder / "ses-1_task-film_run-01_bold.json", RepetitionTime=2.4)
    (first,) = found(tree, subject="1", session="1", run="1")["01"]
    assert first.clock.tr == 2.5
    write_json(folder / "sub-01_task-film_run-02_bold.json", RepetitionTime=8.0)
    with pytest.raises(InputError, match=r"both hold .* say RepetitionTime 9.0 and 8.0"):
        found(tree, subject="1", session="1", run="2")


def test_slices_that_were_moved_set_the_reference_and_must_say_to_when(tree):
    run = found(tree, subject="2", run="1")["02"][0]
    assert run.clock.slice_time_ref == 0.5 and run.clock.slice_time_source.parent == tree.func("02", "01")
    sidecar = run.clock.slice_time_source
    for said, message in (
        ({"StartTime": 1.6}, "StartTime 1.6 s, the TR is 1.5 s"),
        ({"StartTime": -0.2}, "StartTime -0.2 s"),
        ({"StartTime": "soon"}, "'soon'"),
        ({"SliceTimingCorrected": True}, "to which moment"),
        ({"StartTime": 0.75, "SliceTimingRef": 0.4}, "StartTime is 0.5 of the TR, and SliceTimingRef 0.4"),
        ({"SliceTimingRef": 1.2}, "SliceTimingRef 1.2"),
        ({"RepetitionTime": "1.5"}, "RepetitionTime '1.5'"),
        ({"RepetitionTime": 1500}, "says RepetitionTime 1500"),
        ({"NumberOfVolumesDiscardedByUser": 1.5}, "whole number"),
    ):
        sidecar.write_text(json.dumps(said))
        with pytest.raises(InputError, match=r"sub-02 ses-01 task-film run-1|says") as told:
            found(tree, subject="2", run="1")
        assert message in str(told.value)
    sidecar.write_text(json.dumps({"SliceTimingRef": 0.25}))
    assert found(tree, subject="2", run="1")["02"][0].clock.slice_time_ref == 0.25
    sidecar.write_text("{")
    with pytest.raises(InputError, match=r"cannot read"):
        found(tree, subject="2", run="1")


def test_discarded_volumes_are_counted_in_scan_and_raw_sidecars(tree):
    raw = tree.func("01", "1", raw=True) / f"{stem('01', '1', '01')}_bold.json"
    raw.write_text(json.dumps({"RepetitionTime": 1.5, "NumberOfVolumesDiscardedByScanner": 3}))
    own = tree.scan("01", "1", "01")
    write_json(own.with_name(own.name.replace(".nii.gz", ".json")), NumberOfVolumesDiscardedByUser=2)
    runs = found(tree, subject="1", session="1")["01"]
    assert [run.clock.discarded for run in runs] == [5, 0, 0]


def test_what_is_not_there_is_told_with_the_nearest_that_is(whole):
    for wanted, message in (
        ({"subject": "3"}, "no BOLD of subject '3' in .*: there is sub-01, sub-02"),
        ({"run": "4"}, r"no BOLD of run '4'.*there is run-01, run-1, run-02"),
        ({"run": "1 4"}, "no BOLD of run '4'"),
        ({"space": "MNI152NLin6Asym"}, f"no BOLD of space 'MNI152NLin6Asym'.*there is space-{MNI}"),
        ({"task": "flim"}, "no BOLD of task 'flim'.*there is task-film"),
        ({"session": "3", "subject": "1"}, r"no BOLD of session '3' \(among subject 1\): there is ses-1, ses-2"),
        ({"resolution": "1"}, "no BOLD of resolution '1'.*there is res-2"),
        ({"space": ""}, "say which: space is MNI152NLin2009cAsym or T1w|has 4 files"),
    ):
        with pytest.raises(InputError, match=message):
            found(whole, **wanted)


def test_a_run_with_two_files_or_without_what_it_needs_is_named(tree):
    scan = tree.scan("01", "1", "01")
    shutil.copy(scan, scan.with_name(scan.name.removesuffix(".gz")))
    with pytest.raises(InputError, match=r"sub-01 ses-1 task-film run-01 has 2 files"):
        found(tree)
    scan.with_name(scan.name.removesuffix(".gz")).unlink()
    shutil.copy(scan, scan.with_name(scan.name.replace("run-01", "run-1")))
    with pytest.raises(InputError, match=r"two runs have the same numbers, sub-01 ses-1 task-film run-0?1 and sub-01"):
        found(tree)
    assert labels(found(tree, run="01", subject="1", session="1")) == [("01", "1", "01")]
    scan.with_name(scan.name.replace("run-01", "run-1")).unlink()
    tree.table("02", "01", "2").unlink()
    assert found(tree)["02"][1].confounds is None
    with pytest.raises(InputError, match=r"sub-02 ses-01 task-film run-2 has no confounds"):
        find_runs(tree.root, tree.derivatives, {"space": (MNI,)}, confounds=True)
    scan.with_name(scan.name.replace("desc-preproc_bold", "desc-brain_mask")).unlink()
    with pytest.raises(InputError, match=r"sub-01 ses-1 task-film run-01 has no brain mask"):
        found(tree)
    right = next(tree.func("01", "2").glob("*run-02*hemi-R*.gii"))
    right.unlink()
    with pytest.raises(InputError, match=r"sub-01 ses-2 task-film run-02 has hemi-L alone"):
        found(tree, space=SURFACE)


def test_a_missing_run_is_told(whole, caplog):
    found(whole)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("giblet")] == [
        "sub-02 has no ses-2 task-film run-03, which another subject has"
    ]


def test_a_folder_that_is_no_dataset_is_refused(tree, tmp_path):
    with pytest.raises(InputError, match=r"no folder fmriprepp in .* has fmriprep-23.2"):
        find_runs(tree.root, "fmriprepp", {})
    (tree.derivatives / "dataset_description.json").unlink()
    with pytest.raises(InputError, match=r"has no dataset_description.json, so it is no BIDS dataset"):
        found(tree)
    with pytest.raises(InputError, match=r"no such folder"):
        find_runs(tmp_path / "nowhere", "fmriprep", {})
