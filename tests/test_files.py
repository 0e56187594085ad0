"""Files are written whole or not at all."""

import ast
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from giblet import files
from giblet.errors import CodecError, InputError
from giblet.files import atomic_path, check_there, check_writable, sha256_of


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.nc"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.nc"]


def test_a_block_that_succeeds_replaces_the_file_and_makes_the_folder(tmp_path):
    target = tmp_path / "deep" / "er" / "a.nc"
    with atomic_path(target) as temporary:
        assert temporary.suffix == ".nc"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["a.nc"]


def test_a_process_killed_while_writing_leaves_no_file_by_the_final_name(tmp_path):
    code = (
        "import sys, time; from giblet.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t: t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.nc"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "a.nc").exists()


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"cannot write.*choose another"):
            check_writable(folder)
    with pytest.raises(InputError, match="cannot write"), atomic_path(tmp_path / "file" / "a.nc"):
        pass
    check_writable(tmp_path / "not" / "yet" / "there")
    assert not (tmp_path / "not").exists()


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path):
    """A file-size limit stands in for the full disk: the write fails the same way, with an OSError."""
    code = (
        "import resource, signal, sys; from giblet.files import atomic_path; from giblet.errors import InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with atomic_path(sys.argv[1]) as t: t.write_bytes(b'x' * 5000)\n"
        "except InputError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.nc"], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert os.listdir(tmp_path) == []


def test_sha256_is_the_standard_one(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_written_files_have_the_users_ordinary_permissions(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
    assert time.time() - (tmp_path / "a").stat().st_mtime < 60


@pytest.mark.parametrize("mask", [0o022, 0o007])
def test_a_file_that_a_library_put_there_itself_has_ordinary_permissions_too(tmp_path, mask):
    """As safetensors does: it writes beside the file, for its owner alone, and renames."""
    before = os.umask(mask)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            handle = os.open(tmp_path / "own", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(handle, b"content")
            os.close(handle)
            os.replace(tmp_path / "own", temporary)
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"content"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


ROOT = Path(files.__file__).parent
WRITERS = {
    "to_csv", "savefig", "to_netcdf", "write_text", "write_bytes", "save_file", "tofile", "savez", "save_image",
    "TemporaryFile",
}  # fmt: skip
"""What libraries call writing. A module that calls one gives it a temporary path, or memory."""


def calls(tree: ast.AST) -> dict[str, list[ast.Call]]:
    """The calls in a file, by the last part of the name of what is called."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.setdefault(ast.unparse(node.func).rpartition(".")[2], []).append(node)
    return found


def for_writing(call: ast.Call) -> bool:
    """Whether it opens a file for writing: an argument is a mode such as "w", "ab" or "r+"."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(isinstance(a, ast.Constant) and re.fullmatch(r"[wax]b?\+?|r\+b?|rb\+", str(a.value)) for a in given)


def test_the_list_of_what_writes_files_is_whole():
    listed = set(re.findall(r"^``([\w.]+)`` ", files.__doc__, re.MULTILINE))
    written, opened = set(), {}
    for path in ROOT.rglob("*.py"):
        module, own = (
            path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."),
            calls(ast.parse(path.read_text())),
        )
        if module == "files":
            continue
        if own.keys() & {"atomic_path", "write_atomic"}:
            written.add(module)
        writing = own.keys() & WRITERS
        writing |= {name for name in own.keys() & {"open", "SoundFile"} if any(map(for_writing, own[name]))}
        if writing:
            opened[module] = writing
    assert listed == written
    # To a path that features gives; pictures into a page; rows have no name.
    assert opened.keys() - written == {"netcdf", "data.rows", "pages.drawings", "pipeline.encoding_brains"}
    assert opened["netcdf"] == {"to_netcdf", "write_bytes"} and opened["data.rows"] == {"TemporaryFile"}
    assert opened["pages.drawings"] == {"savefig"}
    assert {"sound_files", "data.picture", "data.simulate"} <= opened.keys()


def test_what_is_not_there_is_told_with_what_it_was_to_be_and_what_to_do(tmp_path):
    file = tmp_path / "a.nc"
    file.write_text("")
    check_there(file, "feature file")
    check_there(tmp_path, "run", folder=True)
    for path in (file, tmp_path):
        check_there(path, folder=None)
    with pytest.raises(InputError, match=r"^no such scan: none\.nii; check its name, and the folder that it is in$"):
        check_there("none.nii", "scan")
    with pytest.raises(CodecError, match=r"^no such run: none; giblet train makes one from a configuration$"):
        check_there(Path("none"), "run", folder=True, error=CodecError)
    with pytest.raises(InputError, match="is a folder: name the feature file itself"):
        check_there(tmp_path, "feature file")
    with pytest.raises(InputError, match="is a file: name the run itself"):
        check_there(file, "run", folder=True)
    with pytest.raises(InputError, match=r"no such file: a{300} \(File name too long\); check its name"):
        check_there("a" * 300)
