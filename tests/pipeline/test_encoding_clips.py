"""The job over clips: from a configuration to scores that are those of the functions, and files that say them."""

import json

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
from giblet.errors import InputError
from giblet.pipeline.encoding_clips import encode_clips
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
    assert {path.name for path in result.folder.iterdir() if path.suffix} >= {path.name for path in result.files}
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


def test_a_yaml_file_is_read(study, tmp_path):
    bands = {"sound": {"of": ["latents", "latent_changes"], "n_components": 0.9}}
    told = {
        "rows": "clips", "clips": str(study / "clips.tsv"), "responses": {"ann": str(study / "ann.npy")},
        "bands": bands, "output": str(tmp_path / "out"), "n_permutations": 100, "level": None,
    }  # fmt: skip
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(told))
    found = encode_clips(tmp_path / "clips.yaml")
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
