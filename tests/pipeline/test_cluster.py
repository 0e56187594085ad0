"""Workers: each task is done once, whatever becomes of a worker, and what comes of it is what one process makes."""

import ast
import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import xarray as xr

from giblet.data.audio import AudioSettings
from giblet.data.text import TextSettings
from giblet.encoding.settings import EncodeSettings
from giblet.errors import CodecError, GibletError, InputError
from giblet.features import load_features
from giblet.files import remove_unfinished
from giblet.pipeline import cluster, encode, extract_many, features
from giblet.pipeline.cluster import Workers, on_workers
from tests.encoding_study import make_encoding_study
from tests.words import words
from tests.worker_tasks import Work, dies_with_its_value, killed_now_and_then, slowly, worker_processes

pytest.importorskip("distributed", reason="the extra cluster is not installed")
dask_system = pytest.importorskip("dask.system", reason="the extra cluster is not installed")
dask_jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
TWO = Workers(2, None, 3)


def contents(folder: Path, but: str = "manifest|\\.lock") -> dict[str, bytes]:
    """Of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not re.search(but, path.name)
    }


@pytest.fixture
def visible(tmp_path) -> Path:
    path = tmp_path / "visible"
    path.touch()
    return path


@pytest.fixture
def texts(tmp_path) -> list[Path]:
    """Five tables of words, of which features are made at once."""
    found = []
    for number in range(5):
        folder = tmp_path / "texts" / str(number)
        folder.mkdir(parents=True)
        found.append(words(folder).rename(folder / f"words{number}.tsv"))
    return found


@pytest.fixture
def sounds(tmp_path, speech) -> list[Path]:
    paths = [tmp_path / f"talk{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, speech[number * 96_000 :][:96_000], 24_000)
    return paths


def test_tasks_are_done_beside_each_other_and_one_that_fails_stops_no_other(visible, monkeypatch, caplog):
    for name in cluster.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIBLET_TEST", "of the command")
    before = dict(os.environ)
    tasks = {"a": 1, "b": 2, "c": "odd", "d": "fault", "film.mp4": "warns", "f": 6, "g": 7, "h": "hungry"}
    found = dict(on_workers(Work(), tasks, TWO, visible=visible))
    assert set(found) == set(tasks) and dict(os.environ) == before
    assert isinstance(found["c"].error, InputError) and "odd is no number" in str(found["c"].error)
    assert isinstance(found["d"].error, ZeroDivisionError)
    assert isinstance(found["h"].error, MemoryError) and "Unable to allocate" in str(found["h"].error)
    done = {name: one.value for name, one in found.items() if one.error is None}
    assert {name: one["given"] for name, one in done.items()} == {k: v for k, v in tasks.items() if k not in "cdh"}
    assert {one["folder"] for one in done.values()} == {Path.cwd()}
    # What the first task of a worker loads is there for the next: counts go on within a process.
    by_process: dict[int, list[int]] = {}
    for one in done.values():
        by_process.setdefault(one["process"], []).append(one["n_done"])
    assert len(by_process) <= 2 and os.getpid() not in by_process
    assert all(sorted(counts) == list(range(1, len(counts) + 1)) for counts in by_process.values())
    threads = max(1, dask_system.CPU_COUNT // 2)
    assert {(one["OMP_NUM_THREADS"], one["GIBLET_TEST"], one["MALLOC_TRIM_THRESHOLD_"]) for one in done.values()} == {
        (str(threads), "of the command", None)
    }
    warned = [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "giblet.tests"]
    assert warned == [(logging.WARNING, "film.mp4: half of it is silent")]
    assert not worker_processes()


@pytest.mark.slow
def test_a_task_that_kills_its_workers_fails_and_the_others_are_done(visible):
    tasks = {"a": 1, "b": "deadly", "c": 3}
    found = dict(on_workers(Work(), tasks, Workers(1, None, 1), visible=visible))
    assert isinstance(found["b"].error, GibletError)
    assert "b: its worker died 2 times while at work on it" in str(found["b"].error)
    assert [found[name].value["given"] for name in "ac"] == [1, 3]


def test_a_task_whose_value_is_lost_again_and_again_is_not_blamed_for_it(visible):
    """A worker that dies at another task takes with it what it had computed before."""
    common = cluster._Common("run", Work(), Path.cwd(), visible, logging.WARNING, retries=1)
    with cluster._local(1, 1) as crew:
        for _ in range(4):
            attempt = crew.client.submit(cluster._attempt, common, "a", 1, pure=False).result()
            assert attempt.error is None and attempt.value["given"] == 1


@pytest.mark.slow
def test_a_value_that_is_lost_with_its_worker_is_computed_again(visible, tmp_path):
    """By the one worker that is started in place of the other."""
    tasks = {str(number): tmp_path / f"was_here{number}" for number in range(4)}
    found = dict(on_workers(dies_with_its_value, tasks, Workers(1, None, 3), visible=visible))
    assert {name: one.value for name, one in found.items()} == dict.fromkeys(tasks, 1)


@pytest.mark.slow
@pytest.mark.parametrize("every", [0.2, 1.0])
def test_workers_that_are_killed_while_they_start_or_work_do_all(visible, every):
    tasks = {str(number): number for number in range(30)}
    with killed_now_and_then(every, 10) as killed:
        found = list(on_workers(slowly, tasks, Workers(2, None, 100), visible=visible))
    assert len(killed) >= 3
    assert sorted((name, one.value) for name, one in found) == sorted((name, 2 * n) for name, n in tasks.items())
    assert not worker_processes()


@pytest.mark.slow
def test_films_on_workers_that_are_killed_are_those_of_one_process(sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = {result.film: result for result in extract_many(sounds, out_dir=tmp_path / "alone")}
    told = []
    with killed_now_and_then(3.0, 5) as killed:
        found = list(
            extract_many(
                sounds, out_dir=tmp_path / "many", workers=2, retries=100, progress=lambda *done: told.append(done)
            )
        )
    assert killed and len(found) == 3 and {one.film for one in found} == set(alone)
    assert all(one.error is None for one in found), found
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_a_batch_is_written_down_and_goes_on(texts, tmp_path, monkeypatch):
    settings = TextSettings.make(tr=2.0, model=None)
    list(extract_many(texts, settings, tmp_path / "alone"))
    bad, missing, out = tmp_path / "bad.tsv", tmp_path / "missing.tsv", tmp_path / "out"
    bad.write_text("no\ttable\n")
    films = [*texts[:4], bad, missing]
    found = {one.film: one for one in extract_many(films, settings, out, workers=2)}
    assert {film: one.status for film, one in found.items()} == {
        **dict.fromkeys(texts[:4], "written"), bad: "failed", missing: "failed",
    }  # fmt: skip
    written = json.loads((out / "desc-text_manifest.json").read_text())
    assert written["settings"]["tr"] == 2.0
    about = {film: entry["status"] for film, entry in written["films"].items()}
    assert about == {str(film): one.status for film, one in found.items()}
    assert "bad.tsv" in written["films"][str(bad)]["error"]
    # What failed is tried again, and what is new is added.
    bad.write_text(texts[0].read_text())
    again = {one.film: one.status for one in extract_many([*films[:5], texts[4]], settings, out, workers=1)}
    assert again == {**dict.fromkeys(texts[:4], "up to date"), bad: "written", texts[4]: "written"}
    here, alone = contents(out, "manifest|bad_"), contents(tmp_path / "alone")
    assert here == alone
    about = json.loads((out / "desc-text_manifest.json").read_text())["films"]
    assert about[str(bad)]["status"] == "written" and about[str(missing)]["status"] == "failed"


def test_films_that_have_not_changed_need_no_worker_and_are_not_read(sounds, tmp_path, monkeypatch):
    settings, out = AudioSettings.make(use_encodec=False, n_mels=32), tmp_path / "out"
    assert [one.status for one in extract_many(sounds, settings, out)] == ["written"] * 3
    asked: list[list[str]] = []

    def none_comes(work, tasks, *_, **__):
        asked.append(sorted(tasks))
        yield from ()

    monkeypatch.setattr(features, "on_workers", none_comes)
    assert [*extract_many(sounds, settings, out, workers=2)] == []  # nothing is known of them yet
    manifest = features.Manifest(out / "desc-mel_manifest.json", settings.model_dump(mode="json"))
    for one in extract_many(sounds, settings, out):
        manifest.done(one.film, one.as_dict())
    with monkeypatch.context() as patch:
        patch.setattr(features, "sha256_of", lambda path: pytest.fail(f"{path} was read"))
        again = [*extract_many(sounds, settings, out, workers=2)]
    assert [one.status for one in again] == ["up to date"] * 3
    soundfile.write(sounds[0], np.zeros(24_000), 24_000)
    assert len([*extract_many(sounds, settings, out, workers=2)]) == 2
    assert asked == [["talk0.wav", "talk1.wav", "talk2.wav"], [], ["talk0.wav"]]


def test_a_codec_that_cannot_be_loaded_is_an_error_of_all_films(sounds, tmp_path):
    (tmp_path / "codec").mkdir()
    settings = AudioSettings.make(codec=str(tmp_path / "codec"))
    with pytest.raises(CodecError, match="codec"):
        list(extract_many(sounds, settings, tmp_path / "out", workers=1))


@pytest.mark.slow
def test_subjects_on_workers_are_those_of_one_process(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    study = make_encoding_study(tmp_path / "study")
    data = {"subjects": [{"name": f"0{n}", "runs": [study.run(n)]} for n in (1, 2)]}
    data["subjects"].append({"name": "03", "runs": [{"bold": str(tmp_path / "none.tsv"), "text": str(study.words)}]})
    options = {name: study.settings(tmp_path / name, data=data, group=True) for name in ("alone", "many")}
    alone = encode(EncodeSettings.make(**options["alone"]))
    told = []
    many = encode(EncodeSettings.make(**options["many"]), workers=2, progress=lambda *done: told.append(done[1:]))
    assert many.failed == alone.failed and list(many.failed) == ["03"]
    assert [one.name for one in many.subjects] == ["01", "02"]
    here, there = (contents(tmp_path / name, r"\.lock|^summary.json") for name in ("many", "alone"))
    assert set(here) == set(there)
    assert [name for name in here if here[name] != there[name]] in ([], ["report.html"])
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_a_scheduler_is_used_whose_workers_are_fit(texts, tmp_path, monkeypatch, visible):
    from distributed import LocalCluster

    settings = TextSettings.make(tr=2.0, model=None)
    monkeypatch.chdir(tmp_path)
    relative = [path.relative_to(tmp_path) for path in texts[:2]]
    list(extract_many(relative, settings, "alone"))
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as there:  # fmt: skip
        found = list(extract_many(relative, settings, "out", scheduler=there.scheduler_address))
        assert [one.status for one in found] == ["written"] * 2 and {one.film for one in found} == set(relative)
        assert contents(tmp_path / "out", r"manifest|\.nc") == contents(tmp_path / "alone", r"\.nc")
        for one in found:
            xr.testing.assert_allclose(one.to_xarray(), load_features(tmp_path / "alone" / one.path.name))
        assert len(there.scheduler_info["workers"]) == 1, "workers of others go on"
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "__version__", "0.0.1")
            with pytest.raises(
                InputError, match=r"has giblet \S+, and this command is of giblet 0.0.1: install the same"
            ):
                list(extract_many(relative, settings, "other", scheduler=there.scheduler_address))
        where = Workers(None, there.scheduler_address, 3)
        unseen = dict(on_workers(Work(), {"a": 1}, where, visible=tmp_path / "none"))
        assert "does not see" in str(unseen["a"].error)
        monkeypatch.setattr(cluster, "ANSWER", 2.0)
        begun = on_workers(slowly, {str(number): number for number in range(50)}, where, visible=visible)
        next(begun)
        there.close()
        with pytest.raises(GibletError, match="scheduler went away"):
            list(begun)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, processes=False, silence_logs=logging.CRITICAL,
            scheduler_port=0, protocol="tcp", scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as there,
        pytest.raises(InputError, match="has 2 threads: workers with one"),
    ):  # fmt: skip
        list(on_workers(Work(), {"a": 1}, Workers(None, there.scheduler_address, 3), visible=visible))


def test_the_recipe_for_slurm_asks_for_workers_that_are_fit():
    page = (Path(__file__).parents[2] / "docs" / "howto_cluster.md").read_text(encoding="utf-8")
    block = next(
        text for text in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "SLURM" in text
    )
    call = next(
        node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call) and "SLURM" in ast.unparse(node.func)
    )
    options = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    local = {"scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}
    with dask_jobqueue.SLURMCluster(**options, **local) as there:
        script = there.job_script()
    assert "--nthreads 1 " in script and "#SBATCH --cpus-per-task=4\n" in script
    assert script.index("export OMP_NUM_THREADS=4") < script.index("dask_worker")


def test_what_cannot_be_is_told_before_anything_is_begun(texts, tmp_path, monkeypatch):
    def error(**options):
        with pytest.raises(InputError) as caught:
            list(extract_many(texts, TextSettings.make(model=None), tmp_path / "out", **options))
        return str(caught.value)

    assert error(workers=0) == "workers is 0: 1 or more are needed"
    assert error(workers=2, retries=-1) == "retries is -1: 0 or more are needed"
    assert "give one" in error(workers=2, scheduler="tcp://node1:8786")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert error(workers=2) == "Dask is not installed, which runs workers: pip install 'giblet[cluster]'"
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in error(scheduler="tcp://127.0.0.1:1")
    monkeypatch.setattr("distributed.Client", lambda *args, **options: pytest.fail("is not asked"))
    assert "no Dask scheduler answers at 'node 1'" in error(scheduler="node 1")
    assert "answers at 'node1' (missing port number in address 'node1'): the address" in error(scheduler="node1")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left = [".talk_desc-x_features.0123_abc.tmp.nc", ".talk_desc-x_features.abcdefgh.tmp.json"]
    stay = [".other_desc-x_features.0123_abc.tmp.nc", "talk_desc-x_features.nc", ".talk_desc-x_features.parts", ".lock"]
    for name in (*left, *stay):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "none")
    remove_unfinished(tmp_path, {"talk_desc-x_features"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay[1:])


@pytest.mark.slow
def test_an_interrupted_batch_leaves_nothing_half_written_and_goes_on(sounds, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "giblet", "extract", *map(str, sounds), "--workers", "2", "-o", str(out)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not any("spawn_main" in " ".join(one.cmdline()) for one in worker_processes(process.pid)):
            time.sleep(0.2)
        while process.poll() is None and not list(out.glob("*.nc")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        said = process.stderr.read()
    assert (process.returncode, said) in (
        (130, "giblet: error: interrupted; nothing half-written was left\n"), (0, ""),
    ), said  # fmt: skip
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert {one.status for one in extract_many(sounds, out_dir=out)} <= {"up to date", "written"}
