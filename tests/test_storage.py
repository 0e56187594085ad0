"""Files at URLs: in memory, on a web server, and on servers of this computer that play S3 and Google Cloud."""

import http.server
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

import giblet as gb
from giblet import storage
from giblet.encoding.settings import EncodeSettings
from giblet.errors import InputError
from giblet.files import atomic_path, check_writable, sha256_of, write_atomic
from giblet.pipeline.manifest import Manifest
from giblet.training.settings import TrainSettings
from giblet.urls import MIRROR
from tests.commands import free_port, giblet
from tests.encoding_study import make_encoding_study
from tests.words import words

fsspec = pytest.importorskip("fsspec")
BUCKET = "lab"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(storage, "_cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[object]:
    """The storage of fsspec that lives in this process."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[dict[str, str]]:
    """What the environment must say for S3 to be played by a server of this computer."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'giblet[s3]'")
    server_module = pytest.importorskip("moto.server", reason="moto, which plays S3, is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch) -> Iterator[object]:
    """S3 with one bucket, empty."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.mkdir(BUCKET)
    yield system
    system.rm(BUCKET, recursive=True)


@pytest.fixture(scope="module")
def gs_server() -> Iterator[tuple[object, int]]:
    """A server of this computer that plays Google Cloud Storage, and its port."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install 'giblet[gs]'")
    emulator = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator, which plays Google Cloud, is not installed"
    )
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True)
    server.start()
    yield server, port
    server.stop()


@pytest.fixture
def gs(gs_server, monkeypatch) -> Iterator[object]:
    """Google Cloud Storage with one bucket, empty."""
    server, port = gs_server
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    system = fsspec.filesystem("gs", use_listings_cache=False)
    system.mkdir(BUCKET)
    yield system
    server.wipe()


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """Names of the files that are copied here from now on."""
    found: list[str] = []
    copied = storage._Store._copied

    def noted(self, path, *others):
        found.append(path.name)
        return copied(self, path, *others)

    monkeypatch.setattr(storage._Store, "_copied", noted)
    return found


def sound(path: Path, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).standard_normal(3 * 24_000)
    soundfile.write(path, 0.1 * noise, 24_000)
    return path


def stored(system, below: str) -> dict[str, bytes]:
    return {name.rpartition("/")[2]: system.cat_file(name) for name in system.find(below)}


def extract(film: object, out_dir: object, *more: object) -> tuple[int, str, str]:
    """Of words, for which no model is loaded."""
    return giblet("extract", film, "--text", "--text-model", "none", "--tr", 2, "-o", out_dir, *more)


# ---- the same for every storage


@pytest.fixture(params=["memory", "s3", "gs"])
def bucket(request) -> tuple[object, str]:
    """A storage, and the URL of a folder in it."""
    system = request.getfixturevalue(request.param)
    return system, f"{request.param}://{BUCKET}"


def test_what_is_made_at_urls_is_what_is_made_in_folders(bucket, tmp_path, fetched):
    system, url = bucket
    film = sound(tmp_path / "talk.wav")
    system.put_file(str(film), f"{BUCKET}/films/talk.wav")
    gb.extract(film, gb.AudioSettings.make(tr=1.5), tmp_path / "features")
    done = giblet("extract", f"{url}/films/talk.wav", "--tr", 1.5, "-o", f"{url}/features")
    assert done[0] == 0, done
    there = stored(system, f"{BUCKET}/features")
    here = {path.name: path.read_bytes() for path in (tmp_path / "features").iterdir()}
    card = "talk_desc-encodec24k_features.json"
    about, local = json.loads(there.pop(card)), json.loads(here.pop(card))
    assert there == here
    assert about["giblet"] == local["giblet"]
    assert f"{url}/films/talk.wav" in json.dumps(about) and MIRROR not in json.dumps(about)

    features = f"{url}/features/talk_desc-encodec24k_features.nc"
    assert f"{features}: codes" in done[1]
    status, said, _ = giblet("info", features)
    assert status == 0 and said.startswith(f"{features}: codes")
    assert gb.load_features(features).identical(gb.load_features(next((tmp_path / "features").glob("*.nc"))))
    assert gb.decode(features, f"{url}/sound/talk.flac").duration == 3.0
    assert set(stored(system, f"{BUCKET}/sound")) == {"talk.flac", "talk.json"}
    with pytest.raises(InputError, match=rf"{url}/sound/talk.flac already exists and was not made from"):
        gb.decode(gb.extract(sound(tmp_path / "b.wav", 1), out_dir=tmp_path / "b").path, f"{url}/sound/talk.flac")
    assert not any(MIRROR.encode() in content for content in stored(system, BUCKET).values())

    fetched.clear()
    status, said, _ = giblet("extract", f"{url}/films/talk.wav", "--tr", 1.5, "-o", f"{url}/features")
    assert (status, said) == (0, f"{features}: up to date\n")
    assert bucket[1].startswith("memory") or fetched == [card]  # neither the film nor its features


def test_a_film_that_has_changed_is_fetched_again(bucket, tmp_path):
    system, url = bucket
    table = words(tmp_path)
    system.put_file(str(table), f"{BUCKET}/film.tsv")
    assert extract(f"{url}/film.tsv", f"{url}/out")[0] == 0
    first = stored(system, f"{BUCKET}/out")
    system.pipe_file(f"{BUCKET}/film.tsv", table.read_bytes().replace(b"1", b"2"))
    status, _, said = extract(f"{url}/film.tsv", f"{url}/out")
    assert status == 2 and f"{url}/out/film_desc-text_features.nc already exists and holds other features" in said
    assert stored(system, f"{BUCKET}/out") == first
    assert extract(f"{url}/film.tsv", f"{url}/out", "--overwrite")[0] == 0
    assert stored(system, f"{BUCKET}/out") != first


def test_each_film_is_published_as_it_is_done_and_the_others_go_on(bucket, tmp_path):
    system, url = bucket
    for name in ("a", "c"):
        system.put_file(str(words(tmp_path)), f"{BUCKET}/{name}.tsv")
    films = [f"{url}/{name}.tsv" for name in "abc"]
    done = gb.extract_many(films, gb.TextSettings.make(tr=2.0, model=None), f"{url}/out")
    assert next(done).status == "written"
    assert "a_desc-text_features.nc" in stored(system, f"{BUCKET}/out")
    assert next(done).error == f"no such file: {url}/b.tsv; correct its name, and see that it was uploaded"
    assert next(done).status == "written"


@pytest.mark.slow
def test_an_encoding_run_reads_and_writes_urls(bucket, tmp_path):
    system, url = bucket
    study = make_encoding_study(tmp_path / "study")
    for path in study.folder.iterdir():
        system.put_file(str(path), f"{BUCKET}/study/{path.name}")
    options = study.settings(tmp_path / "local", 1, n_rotations=20, weights=False)
    local = gb.encode(study.config(tmp_path / "local.yaml", options))
    there = json.loads(json.dumps(options).replace(str(study.folder), f"{url}/study"))
    config = study.config(tmp_path / "encode.yaml", {**there, "output": f"{url}/run"})
    system.put_file(str(config), f"{BUCKET}/encode.yaml")
    status, said, wrong = giblet("encode", f"{url}/encode.yaml")
    assert status == 0, wrong
    assert f"{url}/run/report.html" in said
    found = stored(system, f"{BUCKET}/run")
    assert found["scores.tsv"] == local.scores.read_bytes()
    assert json.loads(found["summary.json"])["settings"]["output"] == f"{url}/run"
    assert not any(MIRROR.encode() in content for content in found.values())
    assert "unchanged" in giblet("encode", f"{url}/encode.yaml")[1]
    assert giblet("report", f"{url}/run", "-o", tmp_path / "page.html")[0] == 0


def test_batches_of_one_folder_keep_each_others_films(bucket, tmp_path):
    _, url = bucket
    film = sound(tmp_path / "x.wav")
    path = storage.local_path(f"{url}/out") / "manifest.json"
    first, second = (Manifest(path, {"tr": 1.5}) for _ in range(2))
    first.ask([film])
    second.ask([tmp_path / "y.wav"])
    about = {"source_sha256": "a"}
    first.done(film, {"status": "written", "error": None, "seconds": 1.0, "path": film, "about": about})
    second.done(
        tmp_path / "y.wav", {"status": "failed", "error": "no such file", "seconds": 0.0, "path": None, "about": None}
    )
    found = {name: entry["status"] for name, entry in json.loads(path.read_bytes())["films"].items()}
    assert found == {str(film): "written", str(tmp_path / "y.wav"): "failed"}
    again = Manifest(path, {"tr": 1.5})
    again.ask([film])
    assert again.known_sha256(film) == "a"


def test_a_file_that_could_not_be_published_is_one_line(bucket, monkeypatch):
    system, url = bucket

    def denied(*_, **__):
        raise PermissionError("denied")

    monkeypatch.setattr(storage._Store(storage.local_path(f"{url}/a.txt")).system, "put_file", denied, raising=False)
    with pytest.raises(InputError, match=rf"^cannot write {url}/a.txt: no permission \(denied\); check the cred"):
        write_atomic(f"{url}/a.txt", "a")
    assert not system.exists(f"{BUCKET}/a.txt")


# ---- S3


def test_a_bucket_that_is_not_there_is_told_before_the_film_is_read(s3, tmp_path, fetched):
    s3.put_file(str(words(tmp_path)), f"{BUCKET}/film.tsv")
    status, _, said = extract(f"s3://{BUCKET}/film.tsv", "s3://elsewhere/out")
    assert status == 2 and "there is no bucket 'elsewhere'; make it, or correct the name" in said
    status, _, said = giblet("info", "s3://elsewhere/a.nc")
    assert status == 2 and "there is no bucket 'elsewhere'" in said


def test_a_server_that_does_not_answer_is_one_line(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    type(s3).clear_instance_cache()
    status, _, said = giblet("info", f"s3://{BUCKET}/a.nc")
    assert status == 2 and "check network, endpoint and credentials" in said and said.count("\n") == 1


def test_what_is_kept_of_a_file_is_whole_even_if_it_changes_while_it_is_read(s3, own_cache, monkeypatch):
    s3.pipe_file(f"{BUCKET}/a.txt", b"first")
    path = storage.local_path(f"s3://{BUCKET}/a.txt")
    system = storage._Store(path).system
    get, times = system.get_file, iter([b"second", None])

    def late(*given, **options):
        get(*given, **options)
        if (content := next(times)) is not None:
            s3.pipe_file(f"{BUCKET}/a.txt", content * 2)

    monkeypatch.setattr(system, "get_file", late)
    storage.bring(path)
    assert path.read_bytes() == b"secondsecond"
    assert [file.read_bytes() for file in own_cache.rglob("a.txt")] == [b"secondsecond"]


def test_a_small_file_that_another_job_writes_longer_while_it_is_asked_for_is_read_whole(bucket):
    system, url = bucket
    system.pipe_file(f"{BUCKET}/manifest.json", b"{}")
    path = storage.local_path(f"{url}/manifest.json")
    store = storage._Store(path)
    before = store.about(path)
    system.pipe_file(f"{BUCKET}/manifest.json", b'{"films": {}}')
    store.fetch(path, before)
    assert path.read_bytes() == b'{"films": {}}'


def test_a_file_that_changes_at_each_read_is_refused(s3, monkeypatch):
    s3.pipe_file(f"{BUCKET}/a.json", b"{}")
    path = storage.local_path(f"s3://{BUCKET}/a.json")
    system = storage._Store(path).system
    get, n_read = system.get_file, iter(range(2, 100))

    def changed(*given, **options):
        get(*given, **options)
        s3.pipe_file(f"{BUCKET}/a.json", b"{" + b" " * next(n_read) + b"}")

    monkeypatch.setattr(system, "get_file", changed)
    with pytest.raises(InputError, match="changed each time that it was read"):
        storage.bring(path)


def test_the_sha256_of_what_was_fetched_is_computed_once(s3, own_cache):
    s3.pipe_file(f"{BUCKET}/a.txt", b"first")
    path = storage.bring(storage.local_path(f"s3://{BUCKET}/a.txt"))
    assert sha256_of(path) == sha256_of(path)
    (kept,) = own_cache.rglob("*.sha256")
    kept.write_text("0" * 64)
    assert sha256_of(path) == "0" * 64
    s3.pipe_file(f"{BUCKET}/a.txt", b"other")
    assert sha256_of(storage.bring(path)) != "0" * 64


@pytest.mark.slow
@pytest.mark.parametrize("where", ["s3", "folder"])
def test_two_jobs_for_one_film_end_well_and_one_that_is_killed_leaves_whole_files(where, s3, s3_server, tmp_path):
    """Three at a time, of which one is killed; then all films are known as done."""
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    films = [sound(tmp_path / f"{name}.wav", seed) for seed, name in enumerate("abc")]
    out_dir = f"s3://{BUCKET}/out" if where == "s3" else str(tmp_path / "out")
    environment = {**os.environ, **s3_server, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}

    def begun(*names: str) -> subprocess.Popen[str]:
        own = [str(film) for film in films if film.stem in names]
        command = [sys.executable, "-m", "giblet", "extract", *own, "--workers", "1", "-o", out_dir]
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    jobs = [begun("a", "b"), begun("a", "c"), begun("b", "c")]
    time.sleep(5)
    os.killpg(jobs[2].pid, signal.SIGKILL)
    jobs[2].communicate()
    for job in jobs[:2]:
        _, said = job.communicate(timeout=600)
        assert job.returncode == 0, said
    again = begun("a", "b", "c")  # at a URL, what two jobs write of their films in one moment may cross
    told, said = again.communicate(timeout=600)
    assert again.returncode == 0 and "3 films: 3 up to date" in told, (told, said)
    if where == "s3":
        found = stored(s3, f"{BUCKET}/out")
    else:
        found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    expected = {f"{name}_desc-encodec24k_features.{ending}" for name in "abc" for ending in ("nc", "json")}
    assert set(found) == {*expected, "desc-encodec24k_manifest.json"}
    for film in films:
        alone = gb.extract(film, gb.AudioSettings.make(tr=1.5), tmp_path / "alone").path
        assert found[alone.name] == alone.read_bytes()
    entries = json.loads(found["desc-encodec24k_manifest.json"])["films"]
    assert {Path(name).stem: entry["status"] in ("written", "up to date") for name, entry in entries.items()} == {
        "a": True, "b": True, "c": True
    }  # fmt: skip


def test_what_a_process_is_at_work_on_is_not_taken_for_what_was_left(tmp_path):
    from giblet.files import remove_unfinished

    (tmp_path / ".a.12345678.tmp.nc").touch()
    with atomic_path(tmp_path / "a.nc") as temporary:
        temporary.write_text("whole")
        code = f"from giblet.files import remove_unfinished; remove_unfinished({str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        remove_unfinished(tmp_path)
        assert [path for path in tmp_path.iterdir() if path.suffix == ".nc"] == [temporary]
    assert (tmp_path / "a.nc").read_text() == "whole"


# ---- files, web, and what is refused


def test_file_urls_are_paths(tmp_path):
    words(tmp_path)
    status, said, _ = extract(f"file://{tmp_path}/words.tsv", f"file://{tmp_path}/out")
    assert status == 0 and said.startswith(f"{tmp_path}/out/words_desc-text_features.nc")


class Site(http.server.SimpleHTTPRequestHandler):
    """Files to who has the right query, and nothing to others."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if query != "signature=abc":
            self.send_error(403)
            return
        self.path = path
        super().do_GET()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'giblet[http]'")
    (tmp_path / "site").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_web_addresses_are_read_and_what_is_secret_in_them_is_written_nowhere(site, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    words(tmp_path).rename(tmp_path / "site" / "film.tsv")
    out = tmp_path / "out"
    status, said, wrong = extract(f"{site}/film.tsv?signature=abc", out)
    assert status == 0, wrong
    assert json.loads((out / "film_desc-text_features.json").read_text())
    written = b"".join(path.read_bytes() for path in out.iterdir())
    assert f"{site}/film.tsv".encode() in written
    for status, told in ((2, "no permission"), (2, "no permission")):
        found = extract(f"{site.replace('http://', 'http://me:password@')}/film.tsv?signature=wrong", out)
        assert found[0] == status and told in found[2]
        said += found[2]
    for secret in ("signature", "abc", "wrong", "password"):
        assert secret.encode() not in written and secret not in said + caplog.text, secret


def test_nothing_is_written_to_the_web(site, tmp_path):
    status, _, said = extract(words(tmp_path), f"{site}/out")
    assert status == 2 and "http:// is for reading; name s3://, gs:// or a folder" in said


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host/a.nc", r"ftp:/?/host/a.nc begins with ftp://: s3://, gs://, .* are read"),
        ("simplecache::s3://lab/a.nc", "is a chain of URLs, which are not read"),
        ("zip://a.nc::s3://lab/a.zip", "is a chain of URLs, which are not read"),
        ("s3://key:secret@lab/a.nc", r"^s3://lab/a.nc came with a user or a password"),
        ("s3://", r"names no file: expected s3://bucket/file"),
        ("memory://a/../../b", "names no file"),
        ("memory://lab/none.nc", "no such file: memory://lab/none.nc; correct its name"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_do(url, told):
    with pytest.raises(InputError, match=told):
        gb.load_features(url)


def test_a_package_that_is_missing_is_named_by_its_extra(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Install gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(InputError, match=r"gs:// needs a package that is not installed: pip install 'giblet\[gs\]'"):
        gb.load_features("gs://lab/a.nc")


def test_folders_that_must_be_of_this_computer_are_refused_as_urls(tmp_path):
    study = make_encoding_study(tmp_path)
    data = study.settings(tmp_path, 1)["data"]
    for job in (
        lambda: gb.train(TrainSettings.make(data=data, output="memory://lab/run")),
        lambda: gb.demo("memory://lab/demo"),
        lambda: gb.evaluate_codec(tmp_path, out_dir="memory://lab/report"),
        lambda: gb.export_bids(study.words, "memory://lab/bids", subject="1", task="a"),
        lambda: TrainSettings.make(data={"bids": {"root": "memory://lab/bids"}}, output=tmp_path),
    ):
        with pytest.raises(InputError, match=r"is a URL, and .* must lie in a folder of this computer"):
            job()


def test_settings_say_urls(tmp_path):
    study = make_encoding_study(tmp_path)
    options = study.settings(tmp_path, 1)
    options["output"] = "memory://lab/run"
    settings = EncodeSettings.make(**options)
    assert MIRROR in str(settings.output) and MIRROR not in settings.to_yaml()
    assert settings.model_dump(mode="json")["output"] == "memory://lab/run"
    assert EncodeSettings.make(**settings.model_dump(mode="json")).output == settings.output


def test_no_url_within_a_file_is_fetched(tmp_path, monkeypatch, memory):
    """As what a manifest or a table of somebody else names."""
    monkeypatch.setattr(storage._Store, "__init__", lambda *_: pytest.fail("a storage is asked"))
    path = tmp_path / "manifest.json"
    entry = {"status": "written", "source": None, "path": "memory://lab/a.nc"}
    path.write_text(json.dumps({"settings": {}, "films": {"memory://lab/film.mp4": entry}}))
    Manifest(path, {}).ask([])
    table = tmp_path / "clips.tsv"
    table.write_text("file\tgroup\nmemory://lab/a.wav\t1\n")
    from giblet.encoding.clips import read_clips

    with pytest.raises(InputError):
        read_clips(table, file_column="file", group_column="group", folder=None)


def test_a_local_path_imports_nothing_of_storages(tmp_path):
    code = f"""
import sys
from giblet.cli import main
try:
    main(["info", {str(tmp_path / "none.nc")!r}])
except SystemExit as left:
    assert left.code == 2
print([name for name in sys.modules if name.partition(".")[0] in ("fsspec", "s3fs", "aiohttp", "torch")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


def test_a_folder_that_can_be_written_to_is_not_asked_for_more(memory):
    check_writable("memory://lab/anything")
    write_atomic("memory://lab/anything/a.txt", "a")
    assert memory.cat_file("/lab/anything/a.txt") == b"a"


def test_what_lies_in_hidden_folders_stays_here(memory):
    path = storage.local_path("memory://lab/out")
    write_atomic(path / ".a.parts" / "000.npz", b"part")
    write_atomic(path / ".bidsignore", "*")
    assert list(stored(memory, "lab/out")) == [".bidsignore"]


def test_mirrors_end_with_their_process(tmp_path):
    code = "from giblet.storage import local_path; print(local_path('s3://lab/a.nc'))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path)) and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_is_trained_on_urls_is_that_of_files_and_is_opened_again(memory, trained_run, tmp_path):
    for path in trained_run.folder.iterdir():
        if path.is_file():
            memory.put_file(str(path), f"/lab/data/{path.name}")
    told = yaml.safe_load((trained_run.folder / "config.yaml").read_text())
    there = json.loads(json.dumps(told).replace(str(trained_run.folder), "memory://lab/data"))
    gb.train(TrainSettings.make(**{**there, "output": tmp_path / "run"}))
    weights = Path("best") / "model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (trained_run.run / weights).read_bytes()
    assert not any(MIRROR.encode() in path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    status, said, wrong = giblet("reconstruct", tmp_path / "run", "-o", "memory://lab/reconstruction")
    assert status == 0, wrong
    assert "memory://lab/reconstruction/" in said and MIRROR not in said
    assert any(name.endswith("_scorecard.json") for name in stored(memory, "lab/reconstruction"))
