"""Nothing of the user's is replaced: what is of other origin stays, and the error says what differs and what to do."""

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from giblet.errors import InputError
from giblet.features import load_features, save_features, sidecar_path, standing
from giblet.pipeline import decode, extract, extract_many, simulate
from tests.words import BARE, words

MEL = ["--mel", "--n-mels", 8, "--mel-average"]
DECODED = "talk_desc-encodec24k_decoded.wav"


def talk(folder: Path, seed: int = 0, name: str = "talk.wav", seconds: float = 4.0) -> Path:
    folder.mkdir(exist_ok=True)
    sound = 0.1 * np.random.default_rng(seed).standard_normal(round(24_000 * seconds))
    soundfile.write(folder / name, sound, 24_000)
    return folder / name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(giblet, *argv: object) -> str:
    """The one line of a command that ends with status 2 and says nothing else."""
    status, said, err = giblet(*argv)
    assert (status, said, len(err.splitlines())) == (2, "", 1), err
    return err


@pytest.fixture
def made(giblet, tmp_path) -> Path:
    """A feature file of a sound's codes."""
    assert giblet("extract", talk(tmp_path / "a"), "-o", tmp_path / "out")[0] == 0
    return tmp_path / "out" / "talk_desc-encodec24k_features.nc"


def test_a_film_of_the_same_name_in_another_folder_does_not_replace_the_first(giblet, tmp_path):
    first, second, out = talk(tmp_path / "a", 0), talk(tmp_path / "b", 1), tmp_path / "out"
    assert giblet("extract", first, *MEL, "-o", out)[0] == 0
    before = contents(out)
    err = refused(giblet, "extract", second, *MEL, "-o", out)
    assert "talk_desc-mel_features.nc already exists and holds other features (another talk.wav" in err
    assert "another output folder, or pass --overwrite to replace it" in err
    assert contents(out) == before
    assert giblet("extract", second, *MEL, "-o", out, "--overwrite")[0] == 0
    assert contents(out) != before


def test_another_codec_does_not_replace_the_features_of_the_first(giblet, made, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(Path(str(resources.files("giblet.codec"))) / "assets" / "bundled", other)
    weights = load_file(other / "model.safetensors")
    bias = next(name for name in weights if name.startswith("encoder.") and name.endswith("bias"))
    save_file({**weights, bias: weights[bias] + np.float16(0.01)}, other / "model.safetensors", {"format": "pt"})
    config = json.loads((other / "config.json").read_text())
    del config["codes_of"]  # they are others now
    (other / "config.json").write_text(json.dumps(config))
    before = contents(made.parent)
    err = refused(giblet, "extract", tmp_path / "a" / "talk.wav", "--codec", other, "-o", made.parent)
    assert "(codec fingerprint (--codec), " in err
    assert contents(made.parent) == before


@pytest.mark.parametrize(
    ("kind", "option", "setting"),
    [("text", "--text-model", "TextSettings.model"), ("video", "--image-model", "VideoSettings.model")],
)
def test_features_with_vectors_of_a_model_and_without_do_not_replace_each_other(
    giblet, tmp_path, kind, option, setting
):
    from tests.films import write_film

    source = words(tmp_path) if kind == "text" else write_film(tmp_path / "grey.mp4", picture=3.0)
    argv = ["extract", source, f"--{kind}", *(["--text-model", "none"] if kind == "text" else ["--video-size", "6x8"])]
    assert giblet(*argv, "-o", tmp_path / "out")[0] == 0
    path = next((tmp_path / "out").glob("*.nc"))
    plain = load_features(path)
    save_features(plain.assign_attrs(model="a/model", model_fingerprint="f" * 64), path)
    err = refused(giblet, *argv, "-o", tmp_path / "out")
    assert f"holds other features (model fingerprint ({option}), ffffffffffff -> none)" in err
    assert load_features(path).attrs["model"] == "a/model"

    save_features(plain, path)
    expected = {**plain.attrs, "settings": json.loads(plain.attrs["settings"]), "model_fingerprint": "f" * 64}
    with pytest.raises(InputError, match=rf"\(model fingerprint \({setting}\), none -> ffffffffffff\)"):
        standing(path, **expected)
    assert "up to date" in giblet(*argv, "-o", tmp_path / "out")[1]


def test_what_would_be_refused_is_refused_before_the_work(tmp_path, monkeypatch):
    source, out = words(tmp_path), tmp_path / "out"
    from giblet.data.text import TextProcessor, TextSettings

    extract(source, TextSettings.make(tr=2, model=None), out)

    def work(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr(TextProcessor, "extract", work)
    with pytest.raises(InputError, match=r"tr 2\.0 -> 1\.5"):
        extract(source, TextSettings.make(tr=1.5, model=None), out)


def test_one_of_many_that_is_refused_leaves_the_others_to_be_written(giblet, tmp_path):
    out = tmp_path / "out"
    giblet("extract", talk(tmp_path / "a", 0), *MEL, "-o", out)
    status, said, err = giblet("extract", talk(tmp_path / "b", 1), talk(tmp_path / "b", 2, "song.wav"), *MEL, "-o", out)
    assert (status, len(said.splitlines()), len(err.splitlines())) == (2, 1, 1)
    assert (out / "song_desc-mel_features.nc").is_file()


def test_bids_entities_of_the_film_tell_runs_and_sessions_apart(giblet, tmp_path):
    names = [f"sub-01_ses-0{s}_task-film_run-{r}.wav" for s in (1, 2) for r in (1, 2)]
    films = [talk(tmp_path / "in", k, name) for k, name in enumerate(names)]
    assert giblet("extract", *films, *MEL, "-o", tmp_path / "out")[0] == 0
    found = sorted(path.name for path in (tmp_path / "out").glob("*.nc"))
    assert found == [f"{name.removesuffix('.wav')}_desc-mel_features.nc" for name in names]


def test_files_that_giblet_did_not_write_are_left_alone(giblet, tmp_path):
    source, out = talk(tmp_path / "a"), tmp_path / "out"
    out.mkdir()
    for name, message in (
        ("talk_desc-mel_features.nc", "not a feature file"),
        ("talk_desc-mel_features.json", "was not made by giblet"),
    ):
        (out / name).write_text('{"my": "notes"}')
        assert message in refused(giblet, "extract", source, *MEL, "-o", out)
        assert contents(out) == {name: b'{"my": "notes"}'}
        (out / name).unlink()


def test_a_sidecar_that_was_added_to_is_kept(giblet, made, tmp_path):
    sidecar = sidecar_path(made)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "TaskName": "film"}))
    before = contents(made.parent)
    assert "up to date" in giblet("extract", tmp_path / "a" / "talk.wav", "-o", made.parent)[1]
    assert contents(made.parent) == before


def test_features_of_an_earlier_version_are_made_anew_with_a_word(giblet, made, tmp_path):
    save_features(load_features(made).assign_attrs(giblet_version="0.0.1"), made)
    status, said, err = giblet("extract", tmp_path / "a" / "talk.wav", "-o", made.parent)
    assert (status, len(said.splitlines())) == (0, 1)
    assert err == f"giblet: warning: {made} was made by giblet 0.0.1: it is replaced\n"
    assert load_features(made).attrs["giblet_version"] != "0.0.1"


def test_the_sidecar_records_every_option(giblet, tmp_path):
    source = talk(tmp_path / "a")
    given = ["--n-trs", 2, "--track", 0, "--tr", 1.5, "--device", "cpu", "--bandwidth", 3]
    assert giblet("extract", source, *given, "-o", tmp_path)[0] == 0
    sidecar = json.loads((tmp_path / "talk_desc-encodec24k_features.json").read_text())
    assert sidecar["Options"] == {
        "source": str(source), "tr": 1.5, "n_trs": 2, "use_encodec": True, "codec": "bundled", "bandwidth": 3.0,
        "track": 0, "n_mels": 2048, "mel_average": False, "gain": 0.0, "device": "cpu",
    }  # fmt: skip
    assert sidecar["giblet"]["codec"] == "bundled"
    assert len(sidecar["giblet"]["codec_fingerprint"]) == 64

    assert giblet("extract", "--text", words(tmp_path), *BARE, "--table-time-at-tr-0", 0.5, "-o", tmp_path)[0] == 0
    options = json.loads((tmp_path / "words_desc-text_features.json").read_text())["Options"]
    from giblet.data.text import TextSettings

    assert options.keys() == {"source", *TextSettings.model_fields} - {"causal"}  # it refuses, and changes nothing
    assert (options["table_time_at_tr_0"], options["model"]) == (0.5, None)


def test_a_sound_is_decoded_again_from_the_same_features_and_kept_from_others(giblet, made):
    sound = made.parent / DECODED
    assert giblet("decode", made)[0] == 0
    first = sound.read_bytes()
    about = json.loads(sidecar_path(sound).read_text())
    assert about["Sources"] == [made.name]
    assert (about["SamplingFrequency"], about["StartTime"], about["Duration"]) == (24_000, 0, 4)
    assert giblet("decode", made)[0] == 0
    assert sound.read_bytes() == first

    features = load_features(made)
    features["codes"] = (features["codes"] + 1) % 1024
    save_features(features, made)
    assert f"was not made from {made.name} as it is now" in refused(giblet, "decode", made)
    assert sound.read_bytes() == first
    assert giblet("decode", made, "--overwrite")[0] == 0
    assert sound.read_bytes() != first


def test_a_sound_that_was_edited_or_is_not_of_giblet_is_not_decoded_over(giblet, made, tmp_path):
    sound = made.parent / DECODED
    giblet("decode", made)
    talk(made.parent, name=DECODED)
    assert "was changed since it was made" in refused(giblet, "decode", made)
    mine = talk(tmp_path / "mine", name="mine.wav")
    before = mine.read_bytes()
    assert "already exists and was not made from" in refused(giblet, "decode", made, "--out-file", mine)
    assert mine.read_bytes() == before
    (tmp_path / "mine" / "new.json").write_text("[]")
    assert "was not made by giblet" in refused(giblet, "decode", made, "--out-file", tmp_path / "mine" / "new.wav")
    assert sound.is_file()


def test_a_sound_does_not_take_the_sidecar_of_another_file(giblet, made, tmp_path):
    """x.wav and x.flac, and features x.nc, would all have x.json."""
    giblet("extract", talk(tmp_path / "b", 1, "song.wav"), "-o", made.parent)
    song = made.parent / "song_desc-encodec24k_features.nc"
    assert giblet("decode", made, "--out-file", tmp_path / "x.wav")[0] == 0
    before = contents(tmp_path)
    err = refused(giblet, "decode", song, "--out-file", tmp_path / "x.flac")
    assert "x.json, which would be that of x.flac, is the sidecar of x.wav" in err and "--overwrite" in err
    assert contents(tmp_path) == before
    assert giblet("decode", song, "--out-file", tmp_path / "x.flac", "--overwrite")[0] == 0
    assert "is the sidecar of x.flac" in refused(giblet, "decode", made, "--out-file", tmp_path / "x.wav")
    (tmp_path / "x.flac").unlink()
    assert giblet("decode", made, "--out-file", tmp_path / "x.wav", "--overwrite")[0] == 0
    assert giblet("decode", made, "--out-file", tmp_path / "x.wav")[0] == 0

    sidecar = sidecar_path(made)
    about = sidecar.read_bytes()
    assert f"is the sidecar of {made.name}" in refused(giblet, "decode", made, "--out-file", made.with_suffix(".wav"))
    assert sidecar.read_bytes() == about


def test_a_sidecar_that_does_not_name_its_sound_is_known_by_its_content(giblet, made, tmp_path):
    giblet("decode", made, "--out-file", tmp_path / "x.wav")
    sidecar = tmp_path / "x.json"
    about = json.loads(sidecar.read_text())
    del about["giblet"]["file"]
    sidecar.write_text(json.dumps(about))
    assert "is the sidecar of x.wav" in refused(giblet, "decode", made, "--out-file", tmp_path / "x.flac")
    assert giblet("decode", made, "--out-file", tmp_path / "x.wav")[0] == 0


def test_what_is_neither_sound_nor_picture_is_not_decoded(giblet, made, tmp_path):
    features = load_features(made)
    vectors = features[["onset", "valid"]].assign(text=(("tr", "axis_0"), np.zeros((features.sizes["tr"], 4))))
    for desc, message in (("predictedtext", "holds words as numbers"), ("predictedvideo", "(tr 3, axis_0 4)")):
        attrs = {k: v for k, v in features.attrs.items() if k not in ("sample_rate", "codec")}
        path = save_features(vectors.assign_attrs({**attrs, "desc": desc, "variable": "text"}), tmp_path / "vectors.nc")
        assert message in refused(giblet, "decode", path, "--out-file", tmp_path / "w.wav")
    giblet("simulate", made, "-o", tmp_path, "--n-voxels", 2, "--table")
    err = refused(
        giblet, "decode", tmp_path / "talk_desc-encodec24k_simulated_bold_truth.nc", "--out-file", tmp_path / "w.wav"
    )
    assert "holds 'truth', signal (tr 3, voxel 2), and only sound (codes, mel) and pictures" in err
    assert not (tmp_path / "w.wav").exists()


def test_pictures_are_not_decoded_over_another_film_either(tmp_path):
    from giblet.data.video import VideoSettings
    from tests.films import write_film

    film = write_film(tmp_path / "grey.mp4", picture=3.0)
    features = extract(film, VideoSettings.make(size=(10, 10)), tmp_path).path
    before = film.read_bytes()
    with pytest.raises(InputError, match=r"grey\.mp4 already exists and was not made from"):
        decode(features, film)
    assert film.read_bytes() == before
    decode(features)
    decode(features)


def test_demo_runs_again_but_does_not_replace_features_of_other_settings(giblet, tmp_path):
    source, out = talk(tmp_path / "a"), tmp_path / "out"
    assert giblet("demo", "--quick", source, "-o", out)[0] == 0
    assert giblet("demo", "--quick", source, "-o", out)[0] == 0
    other = tmp_path / "other"
    giblet("extract", source, "--tr", 2, "-o", other)
    before = contents(other)
    assert "tr 2.0 -> 1.5" in refused(giblet, "demo", "--quick", source, "-o", other)
    assert contents(other) == before
    assert giblet("demo", "--quick", source, "-o", other, "--overwrite")[0] == 0
    assert contents(other) != before


@pytest.mark.parametrize("table", [[], ["--table"]])
def test_a_simulation_of_other_options_does_not_replace_the_first(giblet, made, table):
    argv = ["simulate", made, "-o", made.parent, "--n-voxels", 5, *table]
    assert giblet(*argv)[0] == 0
    before = contents(made.parent)
    assert giblet(*argv)[0] == 0, "the same simulation again"
    assert contents(made.parent) == before
    err = refused(giblet, *argv, "--lag", 1.5, "--seed", 1, "--n-voxels", 6)
    assert "is of another simulation (" in err and "other features" not in err
    for one in ("--lag 0.0 -> 1.5", "; --seed 0 -> 1", "--n-voxels 5 -> 6"):
        assert one in err
    assert "was made from other features" in refused(giblet, *argv, "--regressor", "envelope")
    assert contents(made.parent) == before
    assert giblet(*argv, "--lag", 1.5, "--overwrite")[0] == 0
    assert contents(made.parent) != before


def test_a_scan_by_the_name_of_a_simulation_is_left_alone(made, tmp_path):
    scan = made.parent / "talk_desc-encodec24k_simulated_bold.tsv"
    scan.write_text("V1\n1\n2\n")
    with pytest.raises(InputError, match=r"simulated_bold\.tsv already exists, without"):
        simulate(made, made.parent, table=True, n_voxels=2)
    assert scan.read_text() == "V1\n1\n2\n"


def test_the_report_of_another_codec_evaluation_is_not_replaced(giblet, speech, tmp_path):
    soundfile.write(tmp_path / "one.flac", speech[: 24_000 * 2], 24_000)
    soundfile.write(tmp_path / "two.flac", speech[24_000 * 8 : 24_000 * 10], 24_000)
    out = tmp_path / "out"
    argv = ["codec", "evaluate", "-o", out, "--players", 0, "--seconds", 1.5]
    assert giblet(*argv, tmp_path / "one.flac")[0] == 0
    before = contents(out)
    assert "seconds_per_file 1.5 -> 1.0" in refused(giblet, *argv[:-1], 1.0, tmp_path / "one.flac")
    assert "files ['one.flac'] -> ['two.flac']" in refused(giblet, *argv, tmp_path / "two.flac")
    assert contents(out) == before
    (out / "codec_report.json").write_text("{}")
    assert "does not tell whose" in refused(giblet, *argv, tmp_path / "one.flac")
    assert giblet(*argv, tmp_path / "two.flac", "--overwrite")[0] == 0


def test_a_batch_goes_on_after_a_fault_that_nobody_thought_of_and_shows_it_in_the_end(tmp_path, monkeypatch):
    """A traceback is what a fault of giblet shall be, but not before the other films are done."""
    from giblet.data.audio import AudioProcessor, AudioSettings

    films = [talk(tmp_path / "a", k, f"{k}.wav") for k in range(3)]
    extract = AudioProcessor.extract

    def faulty(self, path, *args, **options):
        if Path(path).stem == "1":
            raise ZeroDivisionError("division by zero")
        return extract(self, path, *args, **options)

    monkeypatch.setattr(AudioProcessor, "extract", faulty)
    settings = AudioSettings.make(use_encodec=False, n_mels=8)
    told = {}
    with pytest.raises(ZeroDivisionError):
        for result in extract_many(films, settings, tmp_path / "out"):
            told[result.film.name] = (result.status, result.error)
    assert [status for status, _ in told.values()] == ["written", "failed", "written"]
    assert told["1.wav"][1] == f"{films[1]}: division by zero"
    assert len(list((tmp_path / "out").glob("*.nc"))) == 2
