"""One brain in every format gives the same training, encoding, lag scan, lesions and maps, in its own space."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import giblet as gb
from giblet.encoding.settings import EncodeSettings
from giblet.errors import CheckpointError, InputError
from giblet.files import sha256_of
from giblet.pipeline import check_alignment, encode, predict_film
from giblet.pipeline.brain_files import default_folder, lesion_of, replacement_bold, training_columns
from giblet.pipeline.run_checks import located
from giblet.pipeline.training import train
from giblet.training.settings import SubjectSettings, TrainSettings
from giblet.training.study import files_of
from tests.brains import LEFT, RIGHT, SURFACES, N, bold, on_steps, write_all, write_gifti, write_labels, write_nifti
from tests.encoding_study import TR, words_file
from tests.pipeline.conftest import features_file

N_TRS = 200
FORMATS = ["NIfTI, s", "NIfTI, ms", "NIfTI, big-endian", "CIFTI", "CIFTI, int16, big-endian", "GIFTI, frames",
           "GIFTI, one array", "TSV"]  # fmt: skip
RESPOND = np.arange(N) % 2 == 0


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Words, and in each format a brain of which every second row answers to their rate."""
    folder = tmp_path_factory.mktemp("spaces")
    words = words_file(folder / "words.nc", N_TRS, 0)
    options = {"table": True, "regressor": "word_rate", "n_voxels": N, "noise_seed": 3}
    loud, silent = (gb.simulate(words, folder / f"snr-{snr}", snr=snr, **options).simulation.bold for snr in (1.0, 0.0))
    values = on_steps(1000 + 60 * np.where(RESPOND, loud, silent))
    return folder, words, values, write_all(folder, values, TR)


@pytest.fixture(scope="module")
def encoded(study):
    folder, words, _, files = study
    assert list(files) == FORMATS
    return {name: encode(settings(folder / "encode" / str(k), words, files[name])) for k, name in enumerate(FORMATS)}


def settings(output, words, given, **more):
    given = dict(given)
    run = {"bold": given.pop("bold"), "text": str(words)}
    bands = {"rate": {"of": "text", "take": "word_rate"}, "length": {"of": "text", "take": "word_length"}}
    data = {"subjects": [{"name": "1", "runs": [run], **given}]}
    return EncodeSettings.make(**{"data": data, "output": str(output), "n_iter": 5, "tr": TR, "bands": bands, **more})


def values_in(file: Path) -> np.ndarray:
    """The values of a map in the order of the rows, both hemispheres."""
    if file.name.endswith(".gii"):
        right = file.with_name(file.name.replace("hemi-L", "hemi-R"))
        return np.concatenate([nib.load(one).darrays[0].data for one in (file, right)])
    return nib.load(file).get_fdata().ravel()


def test_scores_are_the_same_in_every_format(encoded):
    scores = {name: result.subjects[0].stats for name, result in encoded.items()}
    first = scores["TSV"]
    assert (first["r"][RESPOND] > 0.3).all()
    for name, stats in scores.items():
        for column in ("r", "p", "q", "r2", "split_rate", "unique_length"):
            assert np.allclose(stats[column], first[column], atol=1e-6), (name, column)
    told = {name: result.subjects[0].summary["unit"] for name, result in encoded.items()}
    assert told["TSV"] == "region" and told["CIFTI"] == told["GIFTI, frames"] == "grayordinate"
    assert list(scores["CIFTI"].columns[:3]) == ["grayordinate", "structure", "vertex"]
    assert scores["GIFTI, frames"]["structure"].tolist() == ["CORTEX_LEFT"] * LEFT + ["CORTEX_RIGHT"] * RIGHT


ENDINGS = {
    "NIfTI": "stat-{}_statmap.nii.gz",
    "CIFTI": "stat-{}_statmap.dscalar.nii",
    "GIFTI": "stat-{}_statmap.func.gii",
}


def test_maps_are_in_the_scans_own_space_and_on_its_rows(encoded):
    for name, result in encoded.items():
        subject = result.subjects[0]
        if name == "TSV":
            assert not list(result.folder.rglob("*statmap*"))
            continue
        hemisphere = "_hemi-L" if name.startswith("GIFTI") else ""
        for score, column in (("r", "r"), ("pfwe", "p_fwe"), ("alpha", "alpha")):
            file = subject.folder / f"sub-1{hemisphere}_desc-encoding_{ENDINGS[name[:5].strip(',')].format(score)}"
            assert file in subject.files and np.allclose(values_in(file), subject.stats[column], rtol=1e-6), (
                name,
                file,
            )
        if name.startswith("CIFTI"):
            image = nib.load(file)
            assert image.nifti_header.get_intent()[0] == "ConnDenseScalar" and image.get_data_dtype() == np.float32
            assert image.header.get_axis(0).name[0] == "alpha" and image.header.get_axis(1) == SURFACES
        if hemisphere:
            right = file.with_name(file.name.replace("hemi-L", "hemi-R"))
            assert right in subject.files and nib.load(right).darrays[0].meta["Name"] == "alpha"
        assert all(one.is_file() for one in subject.files)


def test_bold_for_a_film_is_a_series_in_the_same_space(study, encoded, tmp_path):
    folder, words, _, files = study
    predicted = {}
    for k, name in enumerate(FORMATS):
        own = settings(folder / "encode" / str(k), words, files[name])
        (scan,) = predict_film(own, words, tmp_path / str(k))
        given = {**files[name], "bold": scan.path}
        fmri = gb.FMRIProcessor(given.get("mask"), tr=TR if name == "TSV" else None, bad="zero")
        read = fmri.load(given["bold"])
        assert read.attrs["tr"] == TR and np.allclose(read.bold, scan.bold, rtol=1e-5, atol=1e-6), name
        predicted[name] = scan.bold
        with pytest.raises(InputError, match="is there"):
            predict_film(own, words, tmp_path / str(k))
    assert np.allclose(predicted["CIFTI"], predicted["TSV"], atol=1e-4)


def test_the_page_says_what_the_columns_are(encoded):
    page = (encoded["GIFTI, frames"].folder / "report.html").read_text()
    assert f"{N} of {N} grayordinates" in page


def test_lag_scans_are_the_same_in_every_format(study):
    _, words, _, files = study
    found = {}
    for name, given in files.items():
        checks = check_alignment(
            [words], given["bold"], mask=given.get("mask"), lags=(-8, 8), n_surrogates=19, stimulus_time_at_volume_0=0
        )
        found[name] = {one.name: one for one in checks}["word_rate"]
    assert found["CIFTI"].targets[0] == "CORTEX_LEFT 0" and found["GIFTI, frames"].targets[-1] == "CORTEX_RIGHT 9"
    for name, one in found.items():
        assert np.allclose(one.scan.r, found["TSV"].scan.r, atol=1e-6), name
        assert one.scan.mean_best_lag == 0 and abs(one.r - found["TSV"].r) < 1e-6


def training(folder, output, given, words, **more):
    given = dict(given)
    run = {"bold": given.pop("bold"), "text": str(words)}
    model = {"tr": TR, "n_codebooks": 2, "features": 8, "bottleneck": 4, "rank": 4, "decode_seconds": 6}
    data = {"subjects": [{"name": "1", "runs": [run], **given}], "fractions": [0.5, 0.25, 0.25], "gap": 4}
    return TrainSettings.make(
        data=data, model=model, output=str(folder / output), window=12, batch_size=8, epochs=2, device="cpu", **more
    )


@pytest.fixture(scope="module")
def vectors(study):
    rng = np.random.default_rng(0)
    return features_file(
        study[0] / "vectors.nc", "embedding", rng.standard_normal((N_TRS, 4)).astype(np.float32), model="none"
    )


@pytest.fixture(scope="module")
def runs(study, vectors) -> dict[str, Path]:
    folder, _, _, files = study
    return {
        name: train(training(folder, f"train-{k}", given, vectors)).folder
        for k, (name, given) in enumerate(files.items())
    }


def test_two_epochs_of_training_lose_the_same_in_every_format(runs):
    losses = {name: pd.read_csv(folder / "log.csv").drop(columns="seconds") for name, folder in runs.items()}
    first = losses["TSV"]
    assert first["epoch"].iloc[-1] == 2 and first[["train_bold", "val_bold"]].iloc[1:].notna().all().all()
    for name, own in losses.items():
        assert np.allclose(own, first, atol=1e-6, rtol=0, equal_nan=True), name


def test_a_reconstruction_has_maps_of_encoding_in_the_scans_own_space_and_its_page_shows_them(runs, tmp_path):
    stats = {}
    for name in ("NIfTI, s", "CIFTI", "GIFTI, frames", "TSV"):
        folder = tmp_path / name
        made = gb.reconstruct(gb.open_run(runs[name]), out_dir=folder, device="cpu")
        stats[name] = pd.read_csv(folder / "sub-1_split-test_desc-encoding_stats.tsv", sep="\t", na_values=["n/a"])
        assert stats[name]["r"].mean() == pytest.approx(made.scorecard.encoding.mean.value, abs=1e-6)
        assert np.allclose(stats[name][["r", "p", "q"]], stats["NIfTI, s"][["r", "p", "q"]], atol=1e-5, equal_nan=True)
        maps = [one for one in made.files if "statmap" in one.name and "hemi-R" not in one.name]
        if name == "TSV":
            assert not maps
            continue
        r = next(one for one in maps if "stat-r_" in one.name)
        assert np.allclose(values_in(r), stats[name]["r"], atol=1e-6) and len(maps) == 3
    place = shutil.copytree(runs["NIfTI, s"], tmp_path / "run")
    shutil.copytree(tmp_path / "NIfTI, s", place / "reconstruction")
    (section,) = [one for one in gb.report(place).sections if one.title == "Where the BOLD was predicted"]
    assert [type(one).__name__ for one in section.parts] == ["Picture"]
    assert section.parts[0].alt.startswith("brain map of subject 1, test part: axial slices")


def subject(given, **more) -> SubjectSettings:
    given = {**given, **more}
    return SubjectSettings.make(name="1", runs=[{"bold": given.pop("bold")}], **given)


def lesion_files(folder: Path, marked: np.ndarray) -> dict[str, Path]:
    write_labels(folder / "lesion.dlabel.nii", marked.astype(int), {1: "lesion"})
    write_labels(folder / "lesion_hemi-L.label.gii", marked.astype(int), {1: "lesion"})
    write_gifti(folder / "lesion_hemi-L.shape.gii", marked[None].astype(np.float32), None)
    nib.Nifti1Image(marked.reshape(2, 4, 3).astype(np.uint8), nib.load(folder / "mask.nii").affine).to_filename(
        folder / "lesion.nii"
    )
    return {one.name: one for one in folder.glob("lesion*")}


def test_a_lesion_silences_its_rows_in_every_space(study, tmp_path):
    files = study[3]
    marked = np.isin(np.arange(N), [3, 17])
    write_nifti(tmp_path / "b.nii", bold(4), TR)
    lesions = lesion_files(tmp_path, marked)
    for name in FORMATS:
        own = subject(files[name])
        if name == "TSV":
            assert np.array_equal(lesion_of("r3,r17", own, TR, N), marked)
            continue
        fitting = ["lesion.nii"] if name.startswith("NIfTI") else [
            "lesion.dlabel.nii", "lesion_hemi-L.label.gii", "lesion_hemi-R.label.gii", "lesion_hemi-L.shape.gii"
        ]  # fmt: skip
        for one in fitting:
            assert np.array_equal(lesion_of(lesions[one], own, TR, N), marked), (name, one)
        other = "lesion.dlabel.nii" if name.startswith("NIfTI") else "lesion.nii"
        with pytest.raises(InputError, match=r"lesion\.(dlabel\.)?nii is"):
            lesion_of(lesions[other], own, TR, N)
    before = default_folder([], lesions["lesion_hemi-L.shape.gii"])
    write_gifti(tmp_path / "lesion_hemi-L.shape.gii", np.isin(np.arange(N), [3, 18])[None].astype(np.float32), None)
    assert default_folder([], lesions["lesion_hemi-L.shape.gii"]) != before  # only the right hemisphere changed


@pytest.mark.parametrize("name", ["NIfTI, s", "CIFTI", "GIFTI, one array"])
def test_other_scans_are_read_on_the_rows_of_the_training(study, tmp_path, name):
    given = study[3][name]
    own = subject(given, bad="mask")
    values = study[2]
    found = replacement_bold(given["bold"], None, own, TR, np.arange(5), np.ones(5, int), np.arange(5))
    assert np.array_equal(found, values[:5])
    labels = write_labels(tmp_path / "l.dlabel.nii", np.arange(N) // 2 + 1, {k: f"P{k}" for k in range(1, 13)})
    if name == "CIFTI":
        regions = subject(given, atlas=str(labels))
        assert training_columns(regions, TR).region.values.tolist() == [f"P{k}" for k in range(1, 13)]
        assert np.array_equal(lesion_of("P3", regions, TR, 12), np.arange(12) == 2)


def test_files_of_a_study_hold_both_hemispheres(study, vectors):
    folder, _, _, files = study
    given = {"bold": files["GIFTI, frames"]["bold"]}
    found = files_of(training(folder, "x", given, vectors))
    right = Path(given["bold"].replace("hemi-L", "hemi-R"))
    assert right in found and Path(given["bold"]) in found


def test_a_run_that_moved_finds_both_hemispheres_beside_each_other(study, vectors, tmp_path):
    _, _, _, files = study
    before, now = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    for side in "LR":
        shutil.copy(
            files["GIFTI, frames"]["bold"].replace("hemi-L", f"hemi-{side}"), before / f"hemi-{side}_b.func.gii"
        )
    own = training(tmp_path, "run", {"bold": str(before / "hemi-R_b.func.gii")}, vectors)
    sources = {str(path): sha256_of(path) for path in files_of(own)}
    shutil.move(before, now)
    found = located(own, sources, tmp_path / "run", now)
    assert found.data.subjects[0].runs[0].bold == now / "hemi-R_b.func.gii"
    (now / "hemi-L_b.func.gii").unlink()
    with pytest.raises(CheckpointError, match=r"hemi-L_b\.func\.gii.* as it is its other hemisphere"):
        located(own, sources, tmp_path / "run", now)


def test_a_changed_right_hemisphere_makes_another_result(study, tmp_path):
    _, words, _, files = study
    for side in "LR":
        shutil.copy(
            files["GIFTI, frames"]["bold"].replace("hemi-L", f"hemi-{side}"), tmp_path / f"hemi-{side}_b.func.gii"
        )
    own = settings(tmp_path / "out", words, {"bold": str(tmp_path / "hemi-L_b.func.gii")})
    assert encode(own).subjects[0].status == "written" and encode(own).subjects[0].status == "unchanged"
    write_gifti(tmp_path / "hemi-L_c.func.gii", bold(N_TRS), TR)
    shutil.move(tmp_path / "hemi-R_c.func.gii", tmp_path / "hemi-R_b.func.gii")
    with pytest.raises(InputError, match="holds another result"):
        encode(own)


def test_maps_of_an_atlas_fill_its_parcels_and_a_tr_may_be_overruled(study, tmp_path):
    _, words, _, files = study
    labels = np.where(np.arange(N) == 5, 300, np.arange(N) // 2 + 1)
    atlas = write_labels(tmp_path / "l.dlabel.nii", labels, {int(k): f"P{k}" for k in np.unique(labels)})
    given = {**files["CIFTI"], "atlas": str(atlas), "overrule_tr": True}
    (one,) = encode(settings(tmp_path / "out", words, given)).subjects
    r = dict(zip(one.stats["label"], one.stats["r"], strict=True))
    found = values_in(tmp_path / "out" / "sub-1" / "func" / "sub-1_desc-encoding_stat-r_statmap.dscalar.nii")
    assert np.allclose(found, [r[label] for label in labels], rtol=1e-6) and one.summary["unit"] == "region"
    given = {**files["NIfTI, s"], "overrule_tr": True}
    assert encode(settings(tmp_path / "nifti", words, given)).subjects[0].status == "written"


def test_subjects_of_two_surfaces_are_no_group(study, tmp_path):
    _, words, values, files = study
    write_gifti(tmp_path / "hemi-L_b.func.gii", values, TR, left=LEFT - 1)
    own = settings(tmp_path / "out", words, files["GIFTI, frames"])
    other = settings(tmp_path / "out", words, {"bold": str(tmp_path / "hemi-L_b.func.gii")})
    two = own.data.subjects[0], other.data.subjects[0].model_copy(update={"name": "2"})
    data = own.data.model_copy(update={"subjects": two})
    both = own.model_copy(update={"data": data, "group": True})
    with pytest.raises(InputError, match="subjects have other voxels or regions"):
        encode(both)
    summary = json.loads((tmp_path / "out" / "sub-1" / "func" / "sub-1_desc-encoding_summary.json").read_text())
    assert summary["space"]["brain_rows"]
