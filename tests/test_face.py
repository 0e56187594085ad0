"""``import giblet`` offers every job by the name of its command, and loads nothing until it is asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import giblet

COMMANDS = {"extract", "decode", "demo", "simulate", "check_alignment", "train", "reconstruct", "encode", "align_words"}


def test_every_name_is_there_documented_and_known_to_type_checkers():
    assert set(giblet.__all__) >= COMMANDS | {"align", "load_features", "load_codec", "make_splits", "open_run"}
    known = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(Path(giblet.__file__).read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in giblet.__all__:
        assert (getattr(giblet, name).__doc__ or "").strip(), name
        assert name in dir(giblet) and name in known, name
    assert getattr(giblet, "align").__name__ == "align_all_modalities"  # noqa: B009
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        giblet.extrct  # noqa: B018


def test_the_users_script_that_mypy_reads_uses_every_name():
    used = (Path(__file__).parent / "typed_user.py").read_text()
    assert [name for name in giblet.__all__ if f"gb.{name}" not in used] == []


def test_importing_giblet_loads_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import giblet; new = set(sys.modules) - before\n"
        "print(sorted({name.partition('.')[0] for name in new} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['giblet']"


@pytest.mark.parametrize(
    ("old", "new"), [("extract_film", "extract"), ("extract_features", "extract_many"), ("decode_features", "decode")]
)
def test_a_name_of_before_says_what_it_is_called_now(old, new):
    import giblet.pipeline

    with pytest.raises(ImportError, match=f"{old} is now called giblet.pipeline.{new}$"):
        getattr(giblet.pipeline, old)
    with pytest.raises(ImportError, match=f"is now called giblet.pipeline.{new}$"):
        exec(f"from giblet.pipeline import {old}")
