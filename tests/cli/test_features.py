"""The giblet command as a user meets it: what it says, what it writes, and what it does with bad input."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
import torch
from transformers import EncodecModel

from giblet.features import load_features, save_features
from tests import commands
from tests.films import Track, click_track, replaced, write_film


@pytest.fixture(scope="session")
def sound(tmp_path_factory, speech) -> Path:
    path = tmp_path_factory.mktemp("cli") / "talk.wav"
    soundfile.write(path, speech[: 24_000 * 7], 24_000)
    return path


@pytest.fixture(scope="session")
def features(tmp_path_factory, sound) -> Path:
    folder = tmp_path_factory.mktemp("features")
    assert commands.giblet("extract", sound, "-o", folder)[0] == 0
    return folder / "talk_desc-encodec24k_features.nc"


def test_extract_info_decode_give_the_film_back(giblet, film, tmp_path):
    status, said, err = giblet("extract", film, "--tr", 1.5, "-o", tmp_path)
    assert (status, err) == (0, "")
    path = tmp_path / "sintel_trailer_desc-encodec24k_features.nc"
    assert "(35, 8, 112) int32 at TR 1.5 s, 34 of 35 TRs covered" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.with_suffix(".json").name, path.name]

    status, said, _ = giblet("info", path, "--json")
    about = json.loads(said)
    assert (about["shape"], about["n_trs"], about["valid_trs"], about["codec"]) == ([35, 8, 112], 35, 34, "bundled")
    assert about["source"] == "sintel_trailer.mp4"
    status, said, _ = giblet("info", path)
    assert re.search(r"codec_fingerprint\s+[0-9a-f]{64}", said)
    facts = dict(re.findall(r"^  (\w+) +(.*)$", said, re.MULTILINE))
    assert (facts["tr"], facts["film_duration"], facts["padded"]) == ("1.5 s", "52.1667 s", "0.333333 s")
    assert (facts["bandwidth"], facts["sample_rate"], facts["hop_length"]) == ("6 kbps", "24000 Hz", "320 samples")
    assert facts["gaps"] == "0", "a count has no unit"

    status, said, _ = giblet("decode", path, "--out-file", tmp_path / "back.wav")
    assert status == 0
    assert soundfile.info(tmp_path / "back.wav").duration == pytest.approx(about["film_duration"], abs=1e-3)
    assert soundfile.info(tmp_path / "back.wav").samplerate == 24_000


def test_a_second_run_does_nothing_and_any_change_is_asked_about(giblet, sound, tmp_path):
    def extract(*more):
        status, said, err = giblet("extract", sound, "-o", tmp_path, "--json", *more)
        done = json.loads(said)[0]
        assert (status, len(err.splitlines())) == ((2, 1) if done["status"] == "failed" else (0, 0))
        return done["error"] or done["status"]

    path = tmp_path / "talk_desc-encodec24k_features.nc"
    assert extract() == "written"
    written = path.stat().st_mtime_ns
    assert extract() == "up to date"
    assert "up to date" in giblet("extract", sound, "-o", tmp_path)[1]
    assert path.stat().st_mtime_ns == written
    held = path.read_bytes()
    for change, named in (
        (["--tr", "2"], "--tr 1.5 -> 2.0"),
        (["--n-trs", "3"], "--n-trs none -> 3"),
        (["--bandwidth", "3"], "--bandwidth 6.0 -> 3.0"),
        (["--track", "0"], "--track none -> 0"),
    ):
        refused = extract(*change)
        assert f"{path} already exists" in refused
        assert f"({named})" in refused
        assert "--overwrite" in refused
    assert path.read_bytes() == held
    assert extract("--tr", "2", "--n-trs", "3", "--bandwidth", "3", "--overwrite") == "written"
    assert extract("--tr", "2", "--n-trs", "3", "--bandwidth", "3", "--device", "cpu") == "up to date"
    assert extract("--tr", "2", "--n-trs", "3", "--bandwidth", "3", "--overwrite") == "written"
    path.write_bytes(path.read_bytes()[:5000])
    assert "not a feature file" in extract("--tr", "2", "--n-trs", "3", "--bandwidth", "3")
    assert extract("--tr", "2", "--n-trs", "3", "--bandwidth", "3", "--overwrite") == "written"


def stopped_while_writing(film: Path, folder: Path, by: signal.Signals) -> tuple[int, str]:
    """Extract, send a signal when half of the feature file is on disk: (exit status, stderr)."""
    code = (
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells start background jobs without it
        "def half(path, content):\n"
        "    path.open('wb').write(content[: len(content) // 2]); print('writing', flush=True); time.sleep(60)\n"
        "pathlib.Path.write_bytes = half\n"
        "from giblet.cli import main; main()"
    )
    argv = [sys.executable, "-c", code, "extract", film, "-o", folder]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(by)
        err = process.communicate()[1]
    return process.returncode, err


def test_an_extract_that_is_killed_leaves_no_file_and_the_next_one_works(giblet, film, tmp_path):
    status, _ = stopped_while_writing(film, tmp_path / "out", signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not list(tmp_path.glob("out/sintel*"))
    for said in ("(35, 8, 112)", "up to date"):
        assert said in giblet("extract", film, "-o", tmp_path / "out")[1]


def test_interrupting_is_one_line_and_leaves_nothing(film, tmp_path):
    status, err = stopped_while_writing(film, tmp_path, signal.SIGINT)
    assert (status, err) == (130, "giblet: error: interrupted; nothing half-written was left\n")
    assert not list(tmp_path.iterdir())


def test_many_films_go_on_after_one_that_fails(giblet, sound, film, tmp_path):
    (tmp_path / "broken.mp4").write_text("no film")
    status, said, err = giblet("extract", sound, tmp_path / "broken.mp4", film, "--n-trs", 4, "-o", tmp_path / "out")
    assert status == 2
    assert len(said.splitlines()) == 2
    assert len(err.splitlines()) == 1
    assert "broken.mp4" in err
    assert len(list((tmp_path / "out").glob("*.nc"))) == 2


def test_two_films_of_one_name_are_refused_before_anything_is_done(giblet, sound, tmp_path):
    (tmp_path / "talk.flac").write_bytes(sound.read_bytes())
    status, _, err = giblet("extract", sound, tmp_path / "talk.flac", "-o", tmp_path / "out")
    assert status == 2
    assert "would both write" in err
    assert not (tmp_path / "out").exists()


def test_the_script_does_what_the_command_does(sound, features, tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "extract_features.py"
    (tmp_path / "s.yaml").write_text("tr: 2.0\nbandwidth: 6.0\n")
    argv = [sys.executable, script, sound, "--settings", tmp_path / "s.yaml", "--tr", "1.5", "--out-dir", tmp_path]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    mine = load_features(tmp_path / features.name)
    np.testing.assert_array_equal(mine.codes, load_features(features).codes)
    assert mine.attrs == load_features(features).attrs
    failed = subprocess.run([*argv[:2], tmp_path / "none.mp4"], capture_output=True, text=True)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1


def test_legacy_mode_writes_mel_features(giblet, sound, tmp_path):
    status, said, _ = giblet("extract", sound, "--mel", "--n-mels", 64, "-o", tmp_path)
    assert status == 0
    assert "mel (5, 64, 65) float32" in said
    status, _, _ = giblet("decode", tmp_path / "talk_desc-mel_features.nc", "--out-file", tmp_path / "mel.wav")
    assert status == 0
    assert soundfile.info(tmp_path / "mel.wav").frames == 7 * 22_050


# ---- bad input: one line on stderr, exit status 2, nothing written ----


def bad_files(folder: Path, film: Path) -> dict[str, tuple[Path, str]]:
    """Name to (path, what the message must say)."""
    rate = 24_000
    tone = np.sin(np.arange(rate, dtype=np.float32) / 20)
    nan, inf = tone.copy(), tone.copy()
    nan[rate // 2], inf[rate // 2] = np.nan, np.inf
    soundfile.write(folder / "nan.wav", nan, rate, subtype="FLOAT")
    soundfile.write(folder / "inf.wav", inf, rate, subtype="FLOAT")
    soundfile.write(folder / "empty.wav", tone[:0], rate)
    (folder / "text.mp4").write_text("this is no film\n" * 100)
    whole = film.read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "folder.mp4").mkdir()
    write_film(folder / "silent.mp4", picture=2.0)
    return {
        "no such file": (folder / "none.mp4", "no such film"),
        "a folder": (folder / "folder.mp4", "directory"),
        "a text file named mp4": (folder / "text.mp4", "cannot read"),
        "a truncated mp4": (folder / "truncated.mp4", "cut off"),
        "no audio track": (
            folder / "silent.mp4",
            "no sound track; pass a film with sound, or extract its picture",
        ),
        "zero-length audio": (folder / "empty.wav", "empty.wav"),
        "NaN samples": (folder / "nan.wav", "0.500 s is nan"),
        "infinite samples": (folder / "inf.wav", "0.500 s is inf"),
    }


BAD_FILES = [
    "no such file", "a folder", "a text file named mp4", "a truncated mp4", "no audio track", "zero-length audio",
    "NaN samples", "infinite samples",
]  # fmt: skip


@pytest.mark.parametrize("mode", [[], ["--mel", "--n-mels", "64"]])
@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_films_are_one_line_and_write_nothing(giblet, film, tmp_path, what, mode):
    path, message = bad_files(tmp_path, film)[what]
    status, said, err = giblet("extract", path, *mode, "-o", tmp_path / "out")
    assert (status, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("giblet: error: ")
    assert message in err
    assert path.name in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tr", 0], "tr is 0"),
        (["--tr", -1.5], "tr is -1.5"),
        (["--tr", "nan"], "tr is nan"),
        (["--tr", "fast"], "--tr"),
        (["--tr", 0.01], "shorter than one frame"),
        (["--tr", 1500], "TR is 1500 s, over 60 s: was it written in milliseconds? Give it in seconds, such as 1.5"),
        (["--n-trs", 0], "--n-trs is 0"),
        (["--n-trs", -3], "--n-trs is -3"),
        (["--bandwidth", 5], "bandwidth"),
        (["--bandwidth", 12], "bandwidth"),
        (["--codec", "nobody/no-such-model"], "bundled"),
        (["--codec", "facebook/encodec_24khz"], "bundled"),
        (["--device", "abacus"], "device"),
        (["--track", 7], "no sound track 7"),
        (["--n-mels", 0, "--mel"], "--n-mels is 0"),
        (["--mel", "--tr", 0.01], "shorter than one frame"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(giblet, sound, tmp_path, options, message):
    status, said, err = giblet("extract", sound, *options, "-o", tmp_path / "out")
    assert (status, said) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("giblet: error: ")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_reached_names_both_remedies(giblet, sound, tmp_path):
    _, _, err = giblet("extract", sound, "--codec", "facebook/encodec_24khz", "-o", tmp_path)
    assert "facebook/encodec_24khz" in err
    assert "folder" in err
    assert "bundled" in err


def test_bad_feature_files_are_one_line_and_write_nothing(giblet, features, tmp_path):
    out_of_range = load_features(features)
    out_of_range.codes.values[0, 0, 0] = 5000
    save_features(out_of_range, tmp_path / "range_features.nc")
    (tmp_path / "text_features.nc").write_text("text")
    for path, message in (
        (tmp_path / "none.nc", "no such feature file"),
        (tmp_path, "is a folder"),
        (tmp_path / "text_features.nc", "not a feature file"),
        (tmp_path / "range_features.nc", "5000, outside [0, 1023]"),
    ):
        for verb in ("decode", "info"):
            status, said, err = giblet(verb, path)
            assert (status, said) == (2, "")
            assert len(err.splitlines()) == 1
            assert message in err
    assert not list(tmp_path.glob("*.wav"))


def test_a_feature_file_made_by_another_codec_is_refused(giblet, features, bundled_model, tmp_path, capsys):
    other = EncodecModel.from_pretrained(bundled_model.config._name_or_path)
    with torch.no_grad():
        other.encoder.layers[0].conv.bias += 1e-3
    del other.config.codes_of  # they are others now
    other.save_pretrained(tmp_path / "other")
    capsys.readouterr()
    status, _, err = giblet("decode", features, "--codec", tmp_path / "other", "--out-file", tmp_path / "a.wav")
    assert status == 2
    assert len(err.splitlines()) == 1
    assert "made by codec bundled" in err
    assert not (tmp_path / "a.wav").exists()


def test_an_output_folder_that_cannot_be_written_to_is_one_line(giblet, sound, features, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = giblet("extract", sound, "-o", tmp_path / "file")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "cannot write" in err
    status, _, err = giblet("decode", features, "--out-file", tmp_path / "file" / "a.wav")
    assert (status, len(err.splitlines())) == (2, 1)


def test_a_read_only_folder_is_one_line(giblet, sound, tmp_path):
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path  # root may write into folders without the write bit
    tmp_path.chmod(0o555)
    status, _, err = giblet("extract", sound, "-o", folder)
    tmp_path.chmod(0o755)
    assert (status, len(err.splitlines())) == (2, 1)
    assert f"cannot write to {folder}" in err


@pytest.mark.parametrize("verb", ["extract", "decode"])
def test_a_full_disk_is_one_line_and_leaves_nothing(sound, features, tmp_path, verb):
    """A file-size limit stands in for the disk: writes fail with an OSError in the middle of the file."""
    argv = {
        "extract": ["extract", sound, "-o", tmp_path],
        "decode": ["decode", features, "--out-file", tmp_path / "a.wav"],
    }
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)); from giblet.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv[verb]], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_warning_is_one_line_too_and_the_log_is_left_as_it_was(giblet, tmp_path):
    damage = Track(
        click_track([0.5], 3.0, 44_100), 44_100, "aac", change=lambda packets: replaced(packets, 40, b"\xff" * 300)
    )
    film = write_film(tmp_path / "damaged.mp4", damage)
    handlers = logging.getLogger("giblet").handlers[:], logging.getLogger().handlers[:]
    status, _, err = giblet("extract", film, "-o", tmp_path)
    assert status == 0
    assert len(err.splitlines()) == 1
    assert err.startswith("giblet: warning: ")
    assert "1 damaged packets" in err
    assert (logging.getLogger("giblet").handlers, logging.getLogger().handlers) == handlers


# ---- what would be padding for the most part is said before the work ----


def test_a_number_of_volumes_far_beyond_the_film_is_said_before_the_work(giblet, sound, tmp_path, monkeypatch):
    monkeypatch.setattr("giblet.data.audio.AudioProcessor.extract", interrupted)
    status, _, err = giblet("extract", sound, "--n-trs", 920, "-o", tmp_path)
    assert status == 130
    assert err.splitlines()[0] == (
        "giblet: warning: talk.wav lasts 7 s, but 920 TRs of 1.5 s are 1380 s: the other 1373 s will be silence; "
        "is --n-trs that of this film?"
    )


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("n_trs", "warned"), [(9, 0), (10, 1)])
def test_a_film_that_fills_half_of_the_scan_is_not_warned_of(giblet, sound, tmp_path, n_trs, warned):
    """7 s of sound are more than half of 9 TRs of 1.5 s, and less than half of 10."""
    status, said, err = giblet("extract", sound, "--mel", "--n-mels", 8, "--n-trs", n_trs, "-o", tmp_path)
    assert (status, len(err.splitlines())) == (0, warned)
    assert f"4 of {n_trs} TRs covered by the film" in said


def test_words_and_pictures_that_end_early_are_told_too(giblet, tmp_path):
    (tmp_path / "words.tsv").write_text("onset\toffset\ttext\n1\t2\thello\n")
    argv = ["extract", "--text", tmp_path / "words.tsv", "--text-model", "none", "--n-trs", 100, "-o", tmp_path]
    assert (
        "words.tsv lasts 2 s, but 100 TRs of 1.5 s are 150 s: the other 148 s will be without words" in giblet(*argv)[2]
    )
    assert giblet(*argv[:-3], 1, *argv[-2:], "--overwrite")[2] == ""
    film = write_film(tmp_path / "grey.mp4", picture=3.0)
    argv = ["extract", "--video", film, "--video-size", "4x4", "--n-trs", 100, "-o", tmp_path]
    assert "grey.mp4 lasts 3 s, but 100 TRs of 1.5 s are 150 s: the other 147 s will be black" in giblet(*argv)[2]


def test_words_of_more_than_a_day_ask_for_the_number_of_volumes(giblet, tmp_path):
    (tmp_path / "words.tsv").write_text("onset\toffset\ttext\n1000\t1001\thello\n99000000\t99000001\tyou\n")
    argv = ["extract", "--text", tmp_path / "words.tsv", "--text-model", "none", "--time-unit", "s", "-o", tmp_path]
    status, said, err = giblet(*argv)
    assert (status, said, len(err.splitlines())) == (2, "", 1)
    assert "hours: are its times in milliseconds? If it is really that long, pass --n-trs" in err
    assert not list(tmp_path.glob("*.nc"))
    assert giblet(*argv, "--n-trs", 1000, "--film-duration", 1500)[0] == 0


def test_foreign_hdf5_is_a_one_line_error_that_names_no_options(giblet, tmp_path):
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file.create_dataset("a", data=[[1, 2], [3, 4]])
    (tmp_path / "bold.tsv").write_text("a\n1\n2\n")
    for argv in (["info", tmp_path / "x.nc"], ["check-alignment", tmp_path / "x.nc", tmp_path / "bold.tsv"]):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            status, said, err = giblet(*argv)
        assert (status, said, len(err.splitlines()), warned) == (2, "", 1, [])
        assert "x.nc is netCDF but not a giblet feature file: it lacks variable, tr, frame_rate" in err


def test_messages_name_the_options_of_the_command_that_runs_and_of_no_other(giblet, tmp_path):
    (tmp_path / "a.csv").write_text("start;end;word\n1,5;1,75;two\n2,5;3;words\n")
    argv = ["extract", tmp_path / "a.csv", "--text", "--text-model", "none", "-o", tmp_path]
    assert "it has start, end, word; name the one to use, --onset-column ..." in giblet(*argv)[2]
    argv += ["--onset-column", "start", "--offset-column", "end", "--text-column", "word"]
    assert "if that is a decimal comma, set --decimal ','" in giblet(*argv)[2]
    assert giblet(*argv, "--decimal", ",")[0] == 0
    assert giblet("extract", tmp_path / "a.csv", "--text", "--tr", 0, "--gaps", "x")[2].startswith(
        "giblet: error: --tr is 0.0: input should be greater than 0; --gaps is 'x'"
    )
    (tmp_path / "config.yaml").write_text("window: 0")
    said = giblet("train", tmp_path / "config.yaml")[2]
    assert "window is 0" in said and "--" not in said


def test_files_of_another_kind_are_told_how_they_are_read(giblet, sound, tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nDown the\n")
    for options in ([], ["--video"]):
        status, _, err = giblet("extract", tmp_path / "a.srt", *options, "-o", tmp_path)
        assert status == 2 and err.rstrip().endswith(
            "; tables, subtitles and annotations are read as words with --text or --language"
        )
    status, _, err = giblet("extract", sound, "--text", "--text-model", "none", "-o", tmp_path)
    assert status == 2 and "films are read without --text: for their sound, or with --video" in err
    (tmp_path / "b.wav").write_bytes(b"nothing")
    assert "--text" not in giblet("extract", tmp_path / "b.wav", "-o", tmp_path)[2]
    (tmp_path / "b.tsv").write_text("onset\toffset\tword\n1\t2\tone\n")
    assert "without --text" not in giblet("extract", tmp_path / "b.tsv", "--text", "--text-model", "none")[2]


@pytest.mark.parametrize(
    ("command", "new"),
    [("extract", "--table-time-at-tr-0"), ("check-alignment", "--stimulus-time-at-volume-0")],
)
def test_an_old_name_of_an_option_is_one_line_that_says_the_new_one(giblet, command, new):
    for given in (["--start-offset", 3], ["--start-offset=3"]):
        status, said, err = giblet(command, "a.tsv", "b.tsv", *given)
        assert (status, said) == (2, "")
        assert err.strip().endswith(f"--start-offset is now called {new}")


def test_features_are_exported_as_bids_recordings(giblet, features, tmp_path):
    root = tmp_path / "bids"
    command = ["export-bids", features, "--root", root, "--subject", "01", "--task", "film", "--run", "2"]
    status, said, _ = giblet(*command, "--stimulus-time-at-volume-0", "3")
    path = root / "sub-01" / "func" / "sub-01_task-film_run-2_recording-encodec24k_stim.tsv.gz"
    assert status == 0 and said.strip() == f"{path}: 563 rows of 8 columns, 75 Hz from -3 s on (written)"
    status, said, _ = giblet(*command, "--take", "latents_mean", "--take", "envelope", "--recording", "sound", "--json")
    (found,) = json.loads(said)
    assert status == 0 and found["n_rows"] == 5 and found["columns"][-1] == "envelope" and found["start_time"] == 0
    assert json.loads(Path(found["sidecar"]).read_text())["Columns"] == found["columns"]
    status, said, err = giblet(*command)
    assert status == 2 and "is another recording: name a --recording, or use another output folder" in err
    assert "--overwrite" in err
