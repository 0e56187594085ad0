"""What all commands share: errors that name options, and options that had another name."""

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import giblet as gb
from giblet.cli.shared import in_options
from giblet.errors import GibletError
from giblet.renamed import now_called
from tests.words import words

OPTIONS = {
    "decimal": "--decimal", "time_unit": "--time-unit", "tr": "--tr", "overrule_tr": "--overrule-tr", "bad": "--bad",
    "columns": "--columns", "onset_column": "--onset-column", "text_column": "--text-column",
    "table_time_at_tr_0": "--table-time-at-tr-0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("if that is a decimal comma, set decimal=','", "if that is a decimal comma, set --decimal ','"),
        ("Set time_unit='ms', or time_unit='s'", "Set --time-unit ms, or --time-unit s"),
        ("name them, as in columns=['V1', 'left A1']", "name them, as in --columns 'V1,left A1'"),
        ("columns=['V1', 'A1', ...]", "--columns V1,A1,..."),
        ("name the one to use, onset_column=...", "name the one to use, --onset-column ..."),
        ("give tr=2.5, or tr in seconds and overrule_tr", "give --tr 2.5, or --tr in seconds and --overrule-tr"),
        ("or overrule_tr=True", "or --overrule-tr"),
        ("tr is -1.0: too small; decimal is ';'", "--tr is -1.0: too small; --decimal is ';'"),
        ("table_time_at_tr_0 is 3 s; correct it.", "--table-time-at-tr-0 is 3 s; correct it."),
        ("correct table_time_at_tr_0", "correct --table-time-at-tr-0"),
        (
            "holds others (bad 0.0 -> 1.5; columns none -> a; time_unit s -> ms)",
            "holds others (--bad 0.0 -> 1.5; --columns none -> a; --time-unit s -> ms)",
        ),
    ],
)
def test_parameters_are_named_as_the_options_of_the_command(said, shown):
    assert in_options(said, OPTIONS) == shown


@pytest.mark.parametrize(
    "text",
    [
        "the text is empty; the columns, their onset and a bad decimal sign",  # English
        "no such file: /data/time_unit/table_time_at_tr_0.tsv, table_time_at_tr_0-2.nc, my.table_time_at_tr_0",
        "column 'table_time_at_tr_0' and \"time_unit\" of the table",
        "words.tsv, row 1: onset is 'n/a'",
        "model.tr is for YAML; bold.attrs['tr']",
        "choose another (decimal=',')",
        "use --table-time-at-tr-0 3, or hrf='glover'",
        "turntable_time_at_tr_0 and table_time_at_tr_0s",
        "a.nc is not a feature file: it lacks variable, tr, time_unit, table_time_at_tr_0",
        "there is no option data.x; known are tr, time_unit",
    ],
)
def test_what_is_no_parameter_stays_as_it_is(text):
    assert in_options(text, OPTIONS) == text
    assert in_options("set time_unit='ms'", {}) == "set time_unit='ms'"


def test_what_is_of_a_yaml_file_is_named_as_it_has_it():
    said = in_options("a.tsv is a table: pass tr in seconds, or tr=2.5", {"tr": "model.tr"})
    assert said == "a.tsv is a table: pass model.tr in seconds, or model.tr: 2.5"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("leave out `columns`", "leave out --columns"),
        (
            "name another `table_time_at_tr_0`, or pass `overrule_tr=True`",
            "name another --table-time-at-tr-0, or pass --overrule-tr",
        ),
        ("(`decimal=','`)", "(--decimal ',')"),
        ("the `window` of a training", "the `window` of a training"),
    ],
)
def test_what_is_in_backticks_is_an_option_if_the_command_has_it(said, shown):
    assert in_options(said, OPTIONS) == shown


def test_what_is_said_of_extracting_again_has_the_options_of_extract():
    here, there = {"tr": "model.tr", "lags": "--lags"}, {"tr": "--tr", "gap_words": "--gap-words"}
    said = in_options("extract it again with tr=2 and gap_words=3; correct tr, or widen `lags`", here, there)
    assert said == "extract it again with --tr 2 and --gap-words 3; correct model.tr, or widen --lags"
    assert in_options("extract it with use_encodec=True", here, there) == "extract it without --mel"
    assert in_options("extract them with a model (TextSettings.model)", here, there).endswith("(--text-model)")


def test_the_same_error_names_the_parameter_in_python_and_the_option_at_the_command_line(giblet, tmp_path):
    gb.extract(words(tmp_path), gb.TextSettings.make(tr=2.0, model=None, film_duration=120), tmp_path)
    features = tmp_path / "words_desc-text_features.nc"
    bold = tmp_path / "bold.tsv"
    pd.DataFrame({"V1": np.random.default_rng(0).standard_normal(60)}).to_csv(bold, sep="\t", index=False)
    for arguments, options, parameter, option in (
        ({}, [], "pass tr in seconds, or", "pass --tr in seconds, or"),
        ({"tr": 1.0}, ["--tr", 1], "or pass trim=True if", "or pass --trim if"),
        ({"tr": 2.0, "lags": (1, 2)}, ["--tr", 2, "--lags=1..2"], "widen `lags`", "widen --lags"),
    ):
        with pytest.raises(GibletError) as error:
            gb.check_alignment([features], bold, **arguments)
        assert parameter in str(error.value) and "--" not in str(error.value)
        status, said, err = giblet("check-alignment", features, bold, *options)
        assert (status, said, len(err.splitlines())) == (2, "", 1) and option in err


def test_no_message_of_the_library_names_an_option():
    """Options are the command line's: whoever calls a function from a notebook has none."""
    others = (
        "--nodes=", "--ntasks-per-node=", "--job-name", "--rdzv-backend", "pip install --no-deps",
        "pip install --force-reinstall",
    )  # fmt: skip
    pages = ("giblet report RUN --original", "giblet check-alignment")  # whole commands, for readers of a page
    package = Path(gb.__file__).parent
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "cli"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                named = re.search(r"(^|[\s(\"])--[a-z]", node.value)
                assert not named or any(known in node.value for known in (*others, *pages)), (
                    path.name,
                    node.lineno,
                    node.value,
                )


@pytest.mark.parametrize(
    ("argv", "old", "new"),
    [
        (["decode", "a.nc"], "-o", "--out-file"),
        (["decode", "a.nc"], "--out", "--out-file"),
        (["check-alignment", "a.nc", "b.tsv"], "-o", "--plot"),
        (["check-alignment", "a.nc", "b.tsv"], "--out", "--plot"),
        (["codec", "evaluate", "a.wav"], "--out", "--out-dir"),
    ],
)
def test_options_that_were_renamed_name_their_successor(giblet, tmp_path, argv, old, new):
    status, said, err = giblet(*argv, old, tmp_path / "x")
    assert (status, said) == (2, "")
    assert err == f"giblet: error: {now_called(old, new)}\n" and new in err


def test_a_sound_without_pictures_is_named_with_the_option_that_extracts_them(giblet, tmp_path):
    soundfile.write(tmp_path / "loud.wav", np.full(24_000, 3.0), 24_000, subtype="FLOAT")
    status, _, err = giblet("extract", tmp_path / "loud.wav", "--mel", "--n-mels", 8, "-o", tmp_path)
    assert status == 0 and "(--gain -9.6, or --gain peak)" in err


def test_too_little_memory_is_one_line(giblet, monkeypatch, tmp_path):
    def hungry(*_given, **_options):
        np.ones(2**55)

    monkeypatch.setattr("giblet.features.load_outline", hungry)
    (tmp_path / "film_desc-encodec24k_features.nc").touch()
    status, said, told = giblet("info", tmp_path / "film_desc-encodec24k_features.nc")
    assert (status, said) == (2, ""), told
    assert told.startswith("giblet: error: not enough memory (Unable to allocate") and told.count("\n") == 1
