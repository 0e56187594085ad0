"""Disks that are full, folders that cannot be written to, two writers, and a clock that was set back."""

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.jobs import JOBS
from tests.faults.killed import completed
from tests.faults.processes import run
from tests.faults.whole import digests, read_all

pytestmark = pytest.mark.slow
BY_NAME = {job.name: job for job in JOBS}
every_job = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


@pytest.fixture
def small_disk(request, place_of):
    """A file system in memory over the folder of a job, and a function that mounts it again with other options."""
    place = place_of(request.getfixturevalue("job"))

    def mount(*options: str) -> int:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", place], check=False).returncode

    if mount("size=100M"):
        pytest.skip("mounting a file system takes rights that this user lacks")
    yield place, lambda *options: mount("remount", *options)
    subprocess.run(["umount", "--lazy", place], check=True)


@every_job
def test_a_full_disk_is_one_line_and_the_same_command_completes_the_job_when_there_is_room(
    job, inputs, whole_of, small_disk
):
    whole, (place, again) = whole_of(job), small_disk
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    argv = job.argv(inputs, out)
    assert again(f"size={whole.size // 2 // 4096 * 4096}") == 0
    ended = run(argv, out)
    assert (ended.status, ended.said) == (2, ""), ended.told
    assert "No space left on device" in ended.told.splitlines()[-1] and "Traceback" not in ended.told
    read_all(out)
    assert again("size=100M") == 0
    completed(job, inputs, out, whole)


@every_job
def test_a_folder_that_cannot_be_written_to_is_one_line(job, inputs, small_disk):
    place, again = small_disk
    argv = job.argv(inputs, place / "out")
    assert again("ro") == 0
    ended = run(argv, place / "out")
    assert (ended.status, ended.said) == (2, "")
    assert len(ended.told.splitlines()) == 1 and "Read-only file system" in ended.told
    assert not (place / "out").exists()


@every_job
def test_two_processes_that_write_the_same_leave_one_whole_result(job, inputs, place_of, whole_of):
    whole, out = whole_of(job), place_of(job) / "out"
    shutil.rmtree(out, ignore_errors=True)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: run(job.argv(inputs, out), out), range(2)))
    assert 0 in {one.status for one in ended}, [one.told for one in ended]
    for one in ended:
        assert one.status == 0 or "another process is at work" in one.told, one.told
    now = digests(out)
    assert now.keys() == whole.files.keys() and all(now[name] == whole.files[name] for name in whole.stable)


def two_days_earlier() -> None:
    """Set the clock back, as the process that calls this reads it."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() - 2 * 86_400
    time.time_ns = lambda: real_ns() - 2 * 86_400 * 10**9


@every_job
def test_a_clock_that_was_set_back_changes_nothing(job, inputs, place_of, whole_of):
    """Files are newer than now: what stands is known by its content."""
    whole, out = whole_of(job), place_of(job) / "out"
    shutil.rmtree(out, ignore_errors=True)
    assert run(job.argv(inputs, out), out, before=two_days_earlier).status == 0
    ended = run(job.argv(inputs, out), out, before=two_days_earlier)
    assert ended.status == 0, ended.told
    now = digests(out)
    assert now.keys() == whole.files.keys() and all(now[name] == whole.files[name] for name in whole.stable)


def test_another_film_by_the_same_name_size_and_time_is_seen(inputs, tmp_path):
    film, out = Path(shutil.copy(inputs / "talk.wav", tmp_path)), tmp_path / "out"
    argv = ["extract", film, "-o", out, "--bandwidth", 1.5]
    assert run(argv, out).status == 0
    before, content = film.stat(), bytearray(film.read_bytes())
    content[-2000:] = content[-4000:-2000]
    film.write_bytes(content)
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    ended = run(argv, out)
    assert ended.status == 2 and "another" in ended.told
