"""librosa's compiled functions: several processes may begin at once, and none is ended by what another wrote."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from giblet import compiled
from giblet.errors import InputError

PITCH = """
import numpy, sys
from giblet.compiled import import_librosa
librosa = import_librosa()
sine = numpy.sin(2 * numpy.pi * 120 * numpy.arange(16_000) / 16_000).astype(numpy.float32)
hertz = librosa.pyin(sine, fmin=65, fmax=500, sr=16_000)[0]
print(round(float(numpy.nanmedian(hertz))))
"""
QUICK = "import os, pathlib; folder = pathlib.Path(os.environ['NUMBA_CACHE_DIR']); (folder / 'one.nbc').write_text('')"


@pytest.mark.long
def test_processes_that_begin_at_once_leave_one_whole_cache(tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != compiled.VARIABLE}
    kept["XDG_CACHE_HOME"] = str(tmp_path)

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PITCH], env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    for process in [started() for _ in range(2)]:
        said, error = process.communicate()
        assert (process.returncode, said.strip()) == (0, "120"), error
    (folder,) = (tmp_path / "giblet").iterdir()
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}
    assert any("_localmin" in path.name for path in files) and any("_viterbi" in path.name for path in files)

    later = started()
    assert later.communicate()[0].strip() == "120" and later.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")} == files


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The user's cache folder, where compiling takes no time."""
    monkeypatch.setattr(compiled, "COMPILE", QUICK)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "home")
    return tmp_path / "home"


def test_the_cache_is_made_once_and_takes_its_name_when_it_is_complete(home):
    folder = compiled._compiled()
    assert folder.parent == home and [path.name for path in folder.iterdir()] == ["one.nbc"]
    (folder / "later.nbc").write_text("")
    assert compiled._compiled() == folder and (folder / "later.nbc").exists()
    assert list(home.iterdir()) == [folder]


def test_who_comes_second_uses_what_the_first_has_made(home, monkeypatch):
    monkeypatch.setattr(
        compiled, "COMPILE", f"{QUICK}; other = folder.parent / {'librosa-' + compiled._key()!r}; other.mkdir();"
        " (other / 'first.nbc').write_text('')",
    )  # fmt: skip
    folder = compiled._compiled()
    assert [path.name for path in folder.iterdir()] == ["first.nbc"] and list(home.iterdir()) == [folder]


def test_what_cannot_be_compiled_says_why_and_leaves_nothing(home, monkeypatch):
    monkeypatch.setattr(compiled, "COMPILE", "raise OSError('no space left')")
    with pytest.raises(InputError, match="could not be compiled: OSError: no space left; install"):
        compiled._compiled()
    assert not list(home.iterdir())


def test_a_home_that_cannot_be_written_costs_time_alone(home, tmp_path, monkeypatch):
    home.write_text("a file where the folder would be")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = compiled._compiled()
    assert folder.parent.name.startswith("giblet-") and (folder / "one.nbc").exists()


def test_a_cache_that_the_user_names_is_used(home, monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, "elsewhere")
    monkeypatch.setattr(compiled, "_compiled", lambda: pytest.fail("another folder was made"))
    assert compiled.import_librosa.__wrapped__().__name__ == "librosa"
    assert os.environ[compiled.VARIABLE] == "elsewhere"
