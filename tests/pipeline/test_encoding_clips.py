"""The job over clips: from a configuration to scores that are those of the functions, and files that say them."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from giblet.cli import app
from giblet.codec import load_codec
from giblet.encoding import EncodingModel, permutation_test_cv, score_clips
from giblet.encoding.clip_settings import ClipSettings
from giblet.encoding.clips import clip_features
from giblet.errors import CheckpointError, InputError
from giblet.pipeline import encode, predict_clips, predict_film
from giblet.pipeline.encoding_clips import encode_clips
from giblet.pipeline.report import report
from tests.bids import problems_in
from tests.encoding.clip_sounds import RATE, sounds

N = 40


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with 40 sounds of 20 speakers, and responses of two listeners."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for number, sound in enumerate(sounds(N, seconds=0.2)):
        soundfile.write(folder / f"{number:02}.wav", sound, RATE, subtype="FLOAT")
    rows = [f"{number:02}.wav\tspeaker{number // 2}" for number in range(N)]
    (folder / "clips.tsv").write_text("\n".join(["file\tspeaker", *rows]) + "\n")
    files = [folder / f"{number:02}.wav" for number in range(N)]
    latents = clip_features(files, ["latents"], load_codec("bundled"), level=-26)["latents"]
    signal = (latents - latents.mean(0)) @ rng.standard_normal((latents.shape[1], 4))
    np.save(folder / "ann.npy", signal / signal.std(0) + 0.5 * rng.standard_normal((N, 4)))
    np.save(folder / "bob.npy", np.c_[rng.standard_normal((N, 3)), np.ones(N)])
    return folder


def settings(study, output, **other):
    return ClipSettings.make(**{
        "clips": study / "clips.tsv", "group_column": "speaker", "output": output, "n_permutations": 100,
        "responses": {"ann": study / "ann.npy", "bob": study / "bob.npy"}, "n_iter": 5, "folds": 4, "penalty_folds": 3,
        "bands": {"sound": {"of": "latents"}, "words": {"of": "first_counts"}}, **other,
    })  # fmt: skip


@pytest.fixture(scope="module")
def result(study, tmp_path_factory):
    return encode_clips(settings(study, tmp_path_factory.mktemp("out")))


def test_the_jobs_scores_are_those_of_the_functions(study, result):
    files = [study / f"{number:02}.wav" for number in range(N)]
    bands = {"sound": "latents", "words": "first_counts"}
    x = clip_features(files, bands, load_codec("bundled"), level=-26)
    model = EncodingModel(cv=3, n_iter=5, scale={"words": "band"})
    common = {"cv": 4, "group": np.array([f"speaker{number // 2}" for number in range(N)])}
    y = np.load(study / "ann.npy")
    scores, test = score_clips(model, x, y, **common), permutation_test_cv(model, x, y, n_permutations=100, **common)
    stats = result.subjects[0].stats
    for name, expected in {
        "r": scores.r, "p": test.p, "q": test.q, "p_fwe": test.p_fwe, "split_sound": scores.split["sound"],
        "unique_words": scores.unique["words"],
    }.items():  # fmt: skip
        np.testing.assert_allclose(stats[name], expected, atol=1e-9, err_msg=name)
    assert scores.r.mean() > 0.4


def test_files_say_what_was_found(result):
    assert {path for path in result.folder.rglob("*") if path.is_file()} >= set(result.files)
    table = pd.read_csv(result.scores, sep="\t", keep_default_na=False, na_values="n/a")
    assert table.columns.tolist() == ["subject", "region", "band", "score", "value"]
    parts = table[(table.subject == "ann") & (table.region == 0)].set_index(["score", "band"])["value"]
    assert parts["split", "sound"] + parts["split", "words"] == pytest.approx(parts["r", ""], abs=2e-9)
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["subjects"]["bob"]["n_tested"] == 3
    assert summary["subjects"]["ann"]["mean_r"] == pytest.approx(result.subjects[0].stats["r"].mean())
    assert summary["subjects"]["ann"]["n_clips"] == N
    constant = table[(table.subject == "bob") & (table.region == 3) & table.score.isin(["r", "p", "q"])]
    assert len(constant) == 3
    assert constant["value"].isna().all()


def test_the_saved_fit_predicts_other_sounds(study, result):
    path = next(path for path in result.files if path.name == "sub-ann_desc-encoding_model.safetensors")
    model = EncodingModel.load(path)
    x = clip_features(
        sounds(5, seed=9), {"sound": "latents", "words": "first_counts"}, load_codec("bundled"), level=-26
    )
    np.testing.assert_allclose(model.predict(x), result.subjects[0].model.predict(x), atol=1e-6)


def test_a_result_of_other_settings_is_kept(study, tmp_path):
    options = {"bands": {"sound": {"of": "latents"}}, "responses": {"ann": study / "ann.npy"}}
    first = encode_clips(settings(study, tmp_path, **options))
    assert "split_sound" not in first.subjects[0].stats
    again = encode_clips(settings(study, tmp_path, **options))
    pd.testing.assert_frame_equal(first.to_pandas(), again.to_pandas())
    with pytest.raises(InputError, match="seed was 0, is 1"):
        encode_clips(settings(study, tmp_path, seed=1, **options))
    encode_clips(settings(study, tmp_path, seed=1, weights=False, **options), overwrite=True)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_subject_that_stands_is_read_back_and_another_is_computed(study, tmp_path):
    """As after an interruption: ann is done, bob is not."""
    options = {"bands": {"sound": {"of": "latents"}}}
    first = encode(settings(study, tmp_path, responses={"ann": study / "ann.npy"}, **options))
    before = {path: path.stat().st_mtime_ns for path in first.subjects[0].files}
    both = encode(settings(study, tmp_path, **options))
    assert [(one.name, one.status) for one in both.subjects] == [("ann", "unchanged"), ("bob", "written")]
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 3
    assert set(pd.read_csv(both.scores, sep="\t")["subject"]) == {"ann", "bob"}
    again = encode(settings(study, tmp_path, **options))
    assert [one.status for one in again.subjects] == ["unchanged", "unchanged"]
    pd.testing.assert_frame_equal(again.to_pandas(), both.to_pandas())
    both.subjects[1].path("stats.tsv").unlink()
    assert [one.status for one in encode(settings(study, tmp_path, **options)).subjects] == ["unchanged", "written"]


def test_other_responses_under_one_name_are_refused_and_replaced_if_asked(study, tmp_path):
    np.save(tmp_path / "r.npy", np.load(study / "ann.npy"))
    options = {"bands": {"sound": {"of": "latents"}}, "responses": {"ann": tmp_path / "r.npy"}}
    first = encode(settings(study, tmp_path / "out", **options))
    np.save(tmp_path / "r.npy", np.load(study / "ann.npy")[::-1])
    with pytest.raises(InputError, match="holds another result"):
        encode(settings(study, tmp_path / "out", **options))
    second = encode(settings(study, tmp_path / "out", **options), overwrite=True)
    assert second.subjects[0].status == "written"
    assert not np.allclose(first.to_pandas()["value"], second.to_pandas()["value"], equal_nan=True)


def test_a_run_has_the_face_of_a_run_over_films(result):
    assert (result.rows, result.group, result.failed) == ("clips", None, {})
    assert "2 subjects" in repr(result) and "<td>40</td>" in result._repr_html_()
    assert result.as_dict()["subjects"]["ann"]["n_clips"] == N
    assert all(path.is_file() for path in result.files)
    assert [one.path("stats.tsv").name for one in result.subjects] == [
        "sub-ann_desc-encoding_stats.tsv", "sub-bob_desc-encoding_stats.tsv",
    ]  # fmt: skip


def test_the_page_says_chance_bands_what_was_left_out_and_how_to_read_it(result):
    page = result.report.read_text()
    for said in (
        "How to read this", "histogram of held-out r", "40 clips in 20 groups, in 4 folds of 10", "Scores by band",
        "1 of 4 voxels hold NaN or never change over the clips", "nor from others of their speaker", "100 orders",
        "at 0 or somewhat below it", "of the voxels with q",
    ):  # fmt: skip
        assert said in page, said
    assert "<script" not in page and 'src="http' not in page and "TRs" not in page


def test_the_page_is_made_again_from_its_folder(result):
    assert report(result.folder).html == result.report.read_text()


def test_the_null_of_the_page_is_that_of_the_permutations(study, result):
    """Its mean is the mean over permutations, to the width of a bin."""
    one = result.subjects[0].summary
    null = np.array(one["null"])
    assert null.sum() == pytest.approx(1, abs=1e-5)
    files = [study / f"{number:02}.wav" for number in range(N)]
    x = clip_features(files, {"sound": "latents", "words": "first_counts"}, load_codec("bundled"), level=-26)
    model = EncodingModel(cv=3, n_iter=5, scale={"words": "band"})
    group = np.array([f"speaker{number // 2}" for number in range(N)])
    test = permutation_test_cv(model, x, np.load(study / "ann.npy"), n_permutations=100, cv=4, group=group)
    centres = np.linspace(-1, 1, 201)[:-1] + 0.005
    assert null @ centres == pytest.approx(test.mean_by_permutation[1:].mean(), abs=0.005)
    assert centres[np.flatnonzero(null)[-1]] + 0.005 >= test.highest_by_permutation[1:].max()


SHAPE, AFFINE = (3, 4, 5), np.diag([3.0, 3.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def images(study, tmp_path_factory):
    """Betas of 8 voxels within a mask: 4 as ann's, 2 noise, one constant, one with NaN in one clip; noise outside."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(3)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3, 1:3, 2:4] = 1
    values = np.c_[np.load(study / "ann.npy"), rng.standard_normal((N, 2)), np.ones(N), rng.standard_normal(N)]
    values[7, 7] = np.nan
    betas = rng.standard_normal((*SHAPE, N))
    betas[mask == 1] = values.T
    atlas = np.where(mask == 1, 1 + (np.arange(SHAPE[2]) == 3), 0).astype(np.int16)
    for name, data in {"betas": betas.astype(np.float32), "mask": mask, "atlas": atlas}.items():
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
    return folder


def of_images(study, images, output, **other):
    options = {"responses": {"ann": images / "betas.nii.gz"}, "mask": images / "mask.nii.gz", **other}
    return settings(study, output, **{"bands": {"sound": {"of": "latents"}, "mel": {"of": "mel"}}, **options})


@pytest.fixture(scope="module")
def of_betas(study, images, tmp_path_factory):
    return encode(of_images(study, images, tmp_path_factory.mktemp("maps")))


def test_images_give_maps_on_their_voxels(study, images, of_betas):
    one = of_betas.subjects[0]
    names = ("r", "p", "prank", "q", "pfwe", "r2", "alpha", "split_band-sound", "unique_band-mel")
    inside = nib.load(images / "mask.nii.gz").get_fdata() == 1
    for name in names:
        image = nib.load(of_betas.folder / "sub-ann" / "func" / f"sub-ann_desc-encoding_stat-{name}_statmap.nii.gz")
        assert image.shape == SHAPE and np.array_equal(image.affine, AFFINE)
        column = name.replace("_band-", "_").replace("pfwe", "p_fwe").replace("prank", "p_rank")
        np.testing.assert_allclose(image.get_fdata()[inside], one.stats[column], rtol=1e-5)
        assert (image.get_fdata()[~inside] == (1 if name in ("p", "prank", "q", "pfwe") else 0)).all()
    betas = nib.load(images / "betas.nii.gz").get_fdata(dtype=np.float32)[inside].T
    files = [study / f"{number:02}.wav" for number in range(N)]
    x = clip_features(files, {"sound": "latents", "mel": "mel"}, load_codec("bundled"), level=-26)
    group = np.array([f"speaker{number // 2}" for number in range(N)])
    expected = score_clips(EncodingModel(cv=3, n_iter=5), x, betas, cv=4, group=group).r
    np.testing.assert_allclose(one.stats["r"], expected, atol=1e-6)
    assert np.isfinite(expected).tolist() == [True] * 6 + [False] * 2
    assert one.stats[["i", "j", "k"]].to_numpy().tolist() == np.argwhere(inside).tolist()


def test_voxels_that_cannot_be_tested_are_counted(of_betas):
    summary = of_betas.subjects[0].summary
    assert (summary["n_columns"], summary["n_tested"], summary["unit"]) == (8, 6, "voxel")
    assert any(note.startswith("2 of 8 voxels hold NaN or never change over the clips") for note in summary["notes"])
    assert "2 of 8 voxels hold NaN" in of_betas.report.read_text()


def test_an_atlas_gives_regions_and_their_maps(study, images, tmp_path):
    found = encode(of_images(study, images, tmp_path, atlas={"ann": images / "atlas.nii.gz"}))
    stats = found.subjects[0].stats
    assert stats["region"].tolist() == ["label-1", "label-2"]
    labels = nib.load(images / "atlas.nii.gz").get_fdata()
    image = nib.load(tmp_path / "sub-ann" / "func" / "sub-ann_desc-encoding_stat-r_statmap.nii.gz").get_fdata()
    for label, r in zip((1, 2), stats["r"], strict=True):
        np.testing.assert_allclose(image[labels == label], r, rtol=1e-5)
    assert (image[labels == 0] == 0).all()


def changed(images, path, change, affine=AFFINE):
    values = nib.load(images / "betas.nii.gz").get_fdata(dtype=np.float32)
    nib.save(nib.Nifti1Image(change(values), affine), path)
    return path


def test_images_that_do_not_fit_are_one_error(study, images, tmp_path):
    def said(match, **other):
        with pytest.raises(InputError, match=match):
            encode(of_images(study, images, tmp_path / "out", **other))
        assert not list((tmp_path / "out").glob("sub-*"))

    short = changed(images, tmp_path / "short.nii.gz", lambda values: values[..., :-1])
    said("short.nii.gz has 39 volumes for 40 clips", responses={"ann": short})
    moved = changed(images, tmp_path / "moved.nii.gz", lambda values: values, np.diag([3.0, 3.0, 3.0, 1.0]))
    said("lies up to .* mm from the voxels of moved.nii.gz", responses={"ann": moved})
    said("images need a mask or an atlas", mask=None)
    said("2 of 8 voxels are bad", bad="error")

    def silent(values):
        values[..., 5] = np.nan
        return values

    empty = changed(images, tmp_path / "empty.nii.gz", silent)
    said("empty.nii.gz has no response to 1 of 40 clips, '05.wav' first", responses={"ann": empty})
    said("mask is for responses in images", responses={"ann": study / "ann.npy"})
    said("mask names subject 'eve'", mask={"eve": images / "mask.nii.gz"})


def test_arrays_with_nan_are_one_error_or_voxels_left_out(study, tmp_path):
    values = np.load(study / "ann.npy")
    values[3, 1] = np.nan
    np.save(tmp_path / "holes.npy", values)
    options = {"responses": {"ann": tmp_path / "holes.npy"}, "bands": {"sound": {"of": "latents"}}}
    with pytest.raises(InputError, match="1 of 4 voxels hold NaN or never change, 1 first"):
        encode(settings(study, tmp_path / "out", bad="error", **options))
    assert encode(settings(study, tmp_path / "out", **options)).subjects[0].summary["n_tested"] == 3
    values[3] = np.nan
    np.save(tmp_path / "holes.npy", values)
    with pytest.raises(InputError, match=r"no response to 1 of 40 clips, '03\.wav' first"):
        encode(settings(study, tmp_path / "other", **options))


def test_responses_that_are_not_there_are_one_error(study, tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.npy \(No such file"):
        encode(settings(study, tmp_path / "out", responses={"ann": str(study / "none.npy")}))


def test_a_subject_that_cannot_be_used_is_left_out_and_told(study, tmp_path, caplog):
    np.save(tmp_path / "short.npy", np.load(study / "ann.npy")[1:])
    responses = {"cy": tmp_path / "short.npy", "ann": study / "ann.npy"}
    found = encode(settings(study, tmp_path / "out", responses=responses, bands={"sound": {"of": "latents"}}))
    assert [one.name for one in found.subjects] == ["ann"]
    assert "short.npy has 39 rows for 40 clips" in found.failed["cy"] and "cy is left out" in caplog.text
    assert "39 rows for 40 clips" in found.report.read_text()


def other_sounds(folder):
    for number, sound in enumerate(sounds(5, seed=9)):
        soundfile.write(folder / f"new{number}.wav", sound, RATE, subtype="FLOAT")
    table = folder / "new.tsv"
    table.write_text("\n".join(["file", *(f"new{number}.wav" for number in range(5))]) + "\n")
    return table


def test_responses_to_other_sounds_are_what_the_saved_fit_says(study, result, of_betas, images, tmp_path):
    table = other_sounds(tmp_path)
    found = predict_clips(settings(study, result.folder), table, out_dir=tmp_path / "tables")
    files = [tmp_path / f"new{number}.wav" for number in range(5)]
    x = clip_features(files, {"sound": "latents", "words": "first_counts"}, load_codec("bundled"), level=-26)
    expected = result.subjects[0].model.predict(x)
    written = pd.read_csv(
        tmp_path / "tables" / "sub-ann" / "func" / "sub-ann_task-new_desc-encoding_responses.tsv", sep="\t"
    )
    assert written["file"].tolist() == [f"new{number}.wav" for number in range(5)]
    np.testing.assert_allclose(written.drop(columns="file"), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[0].to_pandas(), expected, atol=1e-6)
    (image,) = predict_clips(of_images(study, images, of_betas.folder), table, out_dir=tmp_path / "images")
    volumes = nib.load(image.path)
    assert volumes.shape == (*SHAPE, 5)
    stats = of_betas.subjects[0].stats
    np.testing.assert_allclose(volumes.get_fdata()[stats["i"], stats["j"], stats["k"]].T, image.responses, rtol=1e-5)


def test_a_fit_of_other_features_or_none_is_refused(study, result, tmp_path):
    table = other_sounds(tmp_path)
    with pytest.raises(CheckpointError, match=r"level was -26\.0, is -30\.0"):
        predict_clips(settings(study, result.folder, level=-30), table)
    other = {"sound": {"of": "mel"}, "words": {"of": "first_counts"}}
    with pytest.raises(CheckpointError, match="other features: band 'sound' was"):
        predict_clips(settings(study, result.folder, bands=other), table)
    with pytest.raises(CheckpointError, match="no fit of subject ann"):
        predict_clips(settings(study, tmp_path / "none"), table)
    with pytest.raises(InputError, match="was not given as a file"):
        predict_clips(settings(study, result.folder), table, {"sound": tmp_path / "x.npy"})
    path = tmp_path / "clips.yaml"
    path.write_text(settings(study, result.folder).to_yaml())
    with pytest.raises(InputError, match="predict responses with predict_clips"):
        predict_film(path, "film.nc")


def test_a_yaml_file_is_read(study, tmp_path):
    bands = {"sound": {"of": ["latents", "latent_changes"], "n_components": 0.9}}
    told = {
        "rows": "clips", "clips": str(study / "clips.tsv"), "responses": {"ann": str(study / "ann.npy")},
        "bands": bands, "output": str(tmp_path / "out"), "n_permutations": 100, "level": None,
    }  # fmt: skip
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(told))
    found = encode(tmp_path / "clips.yaml")
    assert 1 < found.subjects[0].model.bands_["sound"].shape[1] < 30


def test_giblet_encode_reads_rows_clips(study, tmp_path):
    told = {
        "rows": "clips", "clips": str(study / "clips.tsv"), "responses": {"ann": str(study / "ann.npy")},
        "bands": {"sound": {"of": "latents"}}, "output": str(tmp_path / "out"), "n_permutations": 100,
    }  # fmt: skip
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(told))
    done = CliRunner().invoke(app, ["encode", str(tmp_path / "clips.yaml"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["subjects"]["ann"]["n_q"] >= 1
    again = CliRunner().invoke(app, ["encode", str(tmp_path / "clips.yaml")])
    assert "over 4 voxels and 40 clips" in " ".join(again.stdout.split())
    assert "(unchanged)" in again.stdout and "report.html" in again.stdout
    other = ["--features", str(other_sounds(tmp_path)), "--out-dir", str(tmp_path / "new")]
    done = CliRunner().invoke(app, ["encode", str(tmp_path / "clips.yaml"), *other, "--json"])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)
    assert one["n_clips"] == 5 and one["path"].endswith("sub-ann_task-new_desc-encoding_responses.tsv")


def test_rows_of_another_kind_are_one_error(tmp_path):
    (tmp_path / "words.yaml").write_text("rows: words\n")
    with pytest.raises(InputError, match=r"rows is 'words': 'volumes' .* or 'clips'"):
        encode(tmp_path / "words.yaml")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"bands": {"x": {"of": "codes"}}}, "counts of each entry"),
        ({"bands": {"x": {"of": "loudness"}}}, "'loudness' is none of latents"),
        ({"rows": "volumes"}, "rows"),
        ({"n_permutations": 20}, "n_permutations"),
        ({"hrf": "glover"}, "hrf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(study, tmp_path, other, said):
    with pytest.raises(InputError, match=said):
        settings(study, tmp_path, **other)


def test_the_bids_validator_accepts_what_clips_give(study, of_betas, images, tmp_path):
    predict_clips(of_images(study, images, of_betas.folder), other_sounds(tmp_path), out_dir=tmp_path / "images")
    assert problems_in(of_betas.folder) == []
    assert problems_in(tmp_path / "images") == []
