"""Every number of a table stands under its own name, however the table was written, or the table is refused."""

import gzip
import logging
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from giblet.data.bold.tables import column_names, read_table
from giblet.data.fmri import FMRIProcessor
from giblet.errors import InputError

NAMES = ["left V1", "right V1", "A1"]
VALUES = np.random.default_rng(5).normal(500, 20, (12, 3)).round(4)
FRAME = pd.DataFrame(VALUES, columns=NAMES)


@pytest.fixture
def written(tmp_path):
    def write(content, name="sub-1_bold.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def check(path, **options):
    found = read_table(path, **options)
    assert list(found.columns) == NAMES
    np.testing.assert_array_equal(found, VALUES)


def tsv(**options):
    return FRAME.to_csv(sep="\t", index=False, **options)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R")
@pytest.mark.parametrize(
    ("call", "name", "decimal"),
    [
        ("write.table(x, f, sep='\\t')", "r.tsv", "."),
        ("write.table(x, f, sep='\\t', quote=FALSE)", "r.tsv", "."),
        ("write.table(x, f, sep='\\t', row.names=FALSE)", "r.tsv", "."),
        ("{rownames(x) <- paste0('vol', 1:12); write.table(x, f, sep='\\t')}", "r.tsv", "."),
        ("write.table(x, f)", "r.tsv", "."),
        ("write.csv(x, f)", "r.csv", "."),
        ("write.csv2(x, f)", "r.csv", ","),
        ("write.csv2(x, f, row.names=FALSE)", "r.csv", ","),
    ],
)
def test_what_r_writes_keeps_its_columns(tmp_path, call, name, decimal):
    FRAME.to_csv(tmp_path / "plain.csv", index=False)
    script = f"x <- read.csv('plain.csv', check.names=FALSE); f <- '{name}'; {call}"
    subprocess.run(["Rscript", "-e", script], check=True, cwd=tmp_path, capture_output=True)
    check(tmp_path / name, decimal=decimal)
    if decimal == ",":
        with pytest.raises(InputError, match="if its comma is a decimal comma, pass decimal=','"):
            read_table(tmp_path / name)


def test_r_row_names_are_not_a_region(written):
    rows = "\n".join(f'"{k}"\t' + "\t".join(map(str, row)) for k, row in enumerate(VALUES, 1))
    header = "\t".join(f'"{name}"' for name in NAMES)
    check(written(f"{header}\n{rows}\n"))
    found = read_table(written(f"{header}\n{rows}\n"), ["A1"])
    np.testing.assert_array_equal(found["A1"], VALUES[:, 2])


@pytest.mark.parametrize("label", ["", "Unnamed: 0", "rownames"])
def test_an_index_that_pandas_wrote_is_not_a_region(written, label):
    check(written(FRAME.to_csv(index_label=label), "a.csv"))
    check(written(FRAME.set_index(pd.Index([f"t{k}" for k in range(12)])).to_csv(index_label=label), "b.csv"))
    assert column_names(written(FRAME.to_csv(index_label=label), "a.csv")) == NAMES
    bold = FMRIProcessor(tr=2.0).load(written(FRAME.to_csv(index_label=label), "a.csv"))
    assert bold.region.values.tolist() == NAMES


def test_first_cells_without_a_name_that_may_be_data_are_asked_about(written):
    late = FRAME.iloc[4:].to_csv()  # an index of 4 to 11 may be an index
    with pytest.raises(InputError, match="column 1 has no name, and neither counts nor names the rows"):
        read_table(written(late, "a.csv"))
    np.testing.assert_array_equal(read_table(written(late, "a.csv"), ["A1"])["A1"], VALUES[4:, 2])
    longer = "a\tb\n" + "".join(f"{k}\t{k + 1}\t{k + 2}\n" for k in (7, 9, 11))
    for columns in (None, ["a"]):
        with pytest.raises(InputError, match=r"each row has 3 cells, the header 2, .* \(7, 9, 11, ...\) neither count"):
            read_table(written(longer), columns)
    with pytest.raises(InputError, match="column 2 has no name"):
        read_table(written("a\t\tb\n1\t2\t3\n"))


INDEX = {
    "a count": pd.Index(range(12), name="volume"),
    "a count from 7 on": pd.Index(range(7, 19), name="TR"),
    "times": pd.Index(np.arange(12) * 0.72, name="time"),
    "times in few digits": pd.Index((np.arange(12) * 2 / 3).round(3), name="onset"),
    "runs and their volumes": pd.MultiIndex.from_product([[1, 2, 3], range(4)], names=["run", "volume"]),
    "one run and its volumes": pd.MultiIndex.from_product([[2], range(12)], names=["run", "volume"]),
    "runs and times": pd.MultiIndex.from_arrays([[1] * 5 + [2] * 7, np.arange(12) * 1.5], names=["run", "time"]),
}


@pytest.mark.parametrize("index", INDEX.values(), ids=INDEX)
def test_an_index_that_has_a_name_is_no_region_and_the_regions_are_asked_for(written, index):
    named = written(FRAME.set_index(index).to_csv(sep="\t"))
    first = index.names[0]
    with pytest.raises(
        InputError, match=f"column {first!r} .*: name the columns .* columns=.'left V1', 'right V1', 'A1'"
    ):
        read_table(named)
    check(named, columns=NAMES)


def test_a_count_that_stands_last_is_no_region_either(written):
    frame = FRAME.assign(volume=range(1, 13))
    with pytest.raises(InputError, match="column 'volume' goes on in equal steps, as if it counted volumes"):
        read_table(written(frame.to_csv(index=False), "a.csv"))
    with pytest.raises(InputError, match="column 'volume' goes on in equal steps"):
        FMRIProcessor(tr=2.0).load(written(frame.to_csv(index=False), "a.csv"))


def test_a_straight_line_that_may_be_data_is_told_of(written, caplog):
    for frame, name in [
        (FRAME.assign(ramp=900.0 + np.arange(12)), "ramp"),  # an index begins at its zero, or near it
        (FRAME[["A1"]].assign(A1=range(12)), "A1"),  # there is no region beside it
        (FRAME.iloc[:4].assign(short=range(4)), "short"),
    ]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "giblet"):
            np.testing.assert_array_equal(read_table(written(frame.to_csv(index=False), "a.csv")), frame)
        assert f"column {name!r} goes on in equal steps" in caplog.text
        caplog.clear()
        assert read_table(written(frame.to_csv(index=False), "a.csv"), [name]).shape == (len(frame), 1)
        assert not caplog.text


def test_a_column_of_the_numbers_of_runs_is_told_of(written, caplog):
    with caplog.at_level(logging.WARNING, "giblet"):
        read_table(written(FRAME.assign(run=[1] * 6 + [2] * 6).to_csv(index=False), "a.csv"))
    assert "column 'run' holds the same number for many rows" in caplog.text


def test_numbers_and_signs_of_missing_ones_are_no_names(written):
    """A first row that may be data is neither lost nor doubled: both readings have their remedy in the message."""
    rows = "\n".join("\t".join(map(str, row)) for row in VALUES)
    both = "if it is data, put the names .* above it; if it holds the names, rename them .* no numbers, such as r"
    for first in ("501.25\t.\t498.5", "501\t-\t498", "501\tNone\t498", "501\t#N/A\t498", "501\tleft\t498.5",
                  "1001\t1002\t1003", "0\t1\t2", "501,25\t499,75\t498,5"):  # fmt: skip
        with pytest.raises(InputError, match=rf"its first row is {first.split(chr(9))[0]}, .*{both}"):
            read_table(written(f"{first}\n{rows}\n"))
    with pytest.raises(InputError, match=r"such as r1001$"):
        read_table(written(f"1001\t1002\t1003\n{rows}\n"))


@pytest.mark.parametrize("decimal", [".", ","])
def test_a_first_row_with_decimal_commas_is_no_header_whoever_says_so(written, decimal):
    plain = {"index": False, "header": False, "decimal": ","}
    for content, name in [
        (FRAME.to_csv(sep=";", **plain), "a.csv"),
        (FRAME.to_csv(sep="\t", **plain), "a.tsv"),
        (FRAME.to_csv(**plain), "quoted.csv"),
        (FRAME[["A1"]].to_csv(sep=";", **plain), "one.csv"),
    ]:
        with pytest.raises(InputError, match="has no header, or one of numbers"):
            read_table(written(content, name), decimal=decimal)


def test_numbers_over_an_index_column_are_names_for_certain(written):
    names = ["1001", "1002", "2001.5"]
    for content in (
        FRAME.set_axis(names, axis=1).to_csv(),
        "".join(FRAME.set_axis(names, axis=1).to_csv(index_label="rownames")),
        ",".join(names) + "\n" + "".join(f"{k},{a},{b},{c}\n" for k, (a, b, c) in enumerate(VALUES, 1)),
    ):
        found = read_table(written(content, "a.csv"))
        assert list(found.columns) == names
        np.testing.assert_array_equal(found, VALUES)


def test_whole_numbers_beside_a_name_are_names(written):
    found = read_table(written(FRAME.set_axis(["1001", "A1", "CSF 3"], axis=1).to_csv(index=False), "a.csv"))
    assert list(found.columns) == ["1001", "A1", "CSF 3"] and len(found) == 12


def test_names_that_were_put_above_a_header_of_numbers_leave_a_row_that_is_told_of(written, caplog):
    content = "left V1,right V1,A1\n" + FRAME.set_axis([1001, 1002, 2001], axis=1).to_csv(index=False)
    with caplog.at_level(logging.WARNING, "giblet"):
        assert len(read_table(written(content, "a.csv"))) == 13
    assert "its first row holds whole numbers, 1001, 1002, 2001, and no other row one" in caplog.text
    caplog.clear()
    check(written(FRAME.to_csv(index=False), "b.csv"))
    whole = FRAME.round()
    np.testing.assert_array_equal(read_table(written(whole.to_csv(index=False), "c.csv")), whole)
    assert not caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1\t2\n3\n5\t6\n", "row 2: 1 cell, expected 2"),
        ("1\t2\n3\t4\t5\n5\t6\n", "row 2: 3 cells, expected 2"),
        ("9\t1\t2\n8\t3\t4\n7\t5\n", "row 3: 2 cells, expected 3"),
        ("1\t2\n\n5\t6\n", "row 2 is an empty line: write n/a into each cell"),
        ("1\n2\n", "row 1: 1 cell, expected 2"),
        ("1,2\n2,3\n", "row 1: 1 cell, expected 2"),
        ('1\t2\n3\t"4\n5\t6\n', "is there a quotation mark too many"),
    ],
)
def test_a_row_that_does_not_fit_the_header_is_named(written, rows, message):
    for columns in (None, ["a"]):
        with pytest.raises(InputError, match=message) as caught:
            read_table(written("a\tb\n" + rows), columns)
        assert "\n" not in str(caught.value)


def test_what_ends_a_table_is_no_row(tmp_path, written):
    for end in ("\n", "\n\n\n", "\n \n", ""):
        check(written(tsv().rstrip("\n") + end))
        assert FMRIProcessor(tr=2.0).load(tmp_path / "sub-1_bold.tsv").sizes["tr"] == len(FRAME)
    trailing = "\n".join(line + "\t" for line in tsv().splitlines())
    check(written(trailing))
    header, rest = tsv().split("\n", 1)
    check(written(header + "\n" + trailing.split("\n", 1)[1]))
    check(written(header + "\t\n" + rest))


def test_a_comment_that_names_the_columns_is_the_header(tmp_path, written):
    for separator, name in (("\t", "a.tsv"), (",", "a.csv"), (";", "a.csv")):
        np.savetxt(tmp_path / name, VALUES, fmt="%.4f", delimiter=separator, header=separator.join(NAMES))
        check(tmp_path / name)
    check(written("# by hand\n\n# " + tsv()))
    check(written("# by hand\n# twice\n" + tsv()))
    for comment in ("# three words only", "# one\ttwo", ""):
        np.savetxt(tmp_path / "b.tsv", VALUES, delimiter="\t", header=comment, comments="")
        with pytest.raises(InputError, match="has no header, or one of numbers: its first row is"):
            read_table(tmp_path / "b.tsv")


def test_the_header_of_savetxt_names_as_many_columns_as_it_has_words(tmp_path):
    names = ["V1", "V2", "A1"]
    for name in ("a.csv", "a.tsv"):
        np.savetxt(tmp_path / name, VALUES, header=" ".join(names))
        found = read_table(tmp_path / name)
        assert list(found.columns) == names
        np.testing.assert_array_equal(found, VALUES)
    for header, options in [
        ("V1 V2", {}),
        ("V1 V2 A1 left", {}),
        ("V1 V2 3", {}),
        ("V1 V2 A1", {"delimiter": ","}),  # spaces are no separator there
    ]:
        np.savetxt(tmp_path / "b.csv", VALUES, header=header, **options)
        with pytest.raises(InputError, match=r"has no header, .* above it does not name its columns"):
            read_table(tmp_path / "b.csv")


def test_the_header_shows_what_separates_the_cells(written):
    check(written(FRAME.to_csv(index=False), "commas.tsv"))
    check(written(tsv(), "tabs.csv"))
    check(written(FRAME.to_csv(index=False, sep=";"), "semicolons.csv"))
    check(written("sep=;\n" + FRAME.to_csv(index=False, sep=";"), "excel.csv"))
    check(written(FRAME.to_csv(index=False, sep=" "), "spaces.tsv"))
    check(written(FRAME.to_string(index=False).replace("left V1", "'l").replace("'l", '"left V1"').replace(
        "right V1", '"right V1"'), "aligned.tsv"))  # fmt: skip
    one = read_table(written("left, anterior\n1.5\n2.5\n"))
    assert list(one.columns) == ["left, anterior"] and one.iloc[:, 0].tolist() == [1.5, 2.5]


def test_names_may_hold_separators_in_quotes(written):
    frame = FRAME.set_axis(["V1, left", "V1; right", "A1\t(core)"], axis=1)
    for separator, name in ((",", "a.csv"), ("\t", "a.tsv"), (";", "b.csv")):
        found = read_table(written(frame.to_csv(index=False, sep=separator), name))
        assert list(found.columns) == list(frame.columns)
        np.testing.assert_array_equal(found, VALUES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends_do_not_change_a_table(written, encoding, ending):
    content = tsv().replace("\n", ending).encode(encoding)
    check(written(content))
    check(written(gzip.compress(content), "a.tsv.gz"))


def test_decimal_commas_are_read_when_asked_for_and_never_cut(written):
    german = FRAME.to_csv(index=False, sep=";", decimal=",")
    check(written(german, "a.csv"), decimal=",")
    check(written(tsv(decimal=",")), decimal=",")
    check(written(FRAME.to_csv(index=False, decimal=","), "quoted.csv"), decimal=",")
    with pytest.raises(InputError, match="not a number; if its comma is a decimal comma, pass decimal=','"):
        read_table(written(german, "a.csv"))
    with pytest.raises(InputError, match=r"holds '\d+\.\d+', not a number; decimals are set off by ','"):
        read_table(written(tsv()), decimal=",")
    with pytest.raises(InputError, match=r"row 1: 6 cells, expected 3; .* decimal commas"):
        read_table(written(german.replace(";", ","), "a.csv"), decimal=",")
    with pytest.raises(InputError, match=r"each row has 2 cells, the header 1, .* decimal commas"):
        read_table(written("A1\n512,25\n498,5\n", "a.csv"))
    with pytest.raises(InputError, match=r"'1\.024,5', not a number; .* thousands by nothing"):
        read_table(written("a;b\n1.024,5;2\n", "a.csv"), decimal=",")
    with pytest.raises(InputError, match="'1,024', not a number"):
        read_table(written("a\tb\n1,024\t2\n"))
    with pytest.raises(InputError, match="decimal is ';'"):
        read_table(written(tsv()), decimal=";")


def test_missing_values_stay_missing_and_first_rows_may_be_empty(written):
    found = read_table(written("# a\tb\nn/a\tn/a\n1\tn/a\n2\t\n"))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [1, np.nan], [2, np.nan]])
    assert list(found.columns) == ["a", "b"]


@given(
    values=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=2, max_size=6),
    separator=st.sampled_from("\t,;"),
    index=st.booleans(),
    name=st.sampled_from(["a.tsv", "a.csv"]),
)
def test_pandas_tables_come_back_whatever_their_form(tmp_path_factory, values, separator, index, name):
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    path = tmp_path_factory.mktemp("t") / name
    frame.to_csv(path, sep=separator, index=index)
    pd.testing.assert_frame_equal(read_table(path), frame, rtol=1e-14)


def test_whatever_a_library_raises_is_one_line(written, monkeypatch):
    for content, name in [
        (b"\x1f\x8b\x08\x00damaged", "a.tsv.gz"),
        (gzip.compress(tsv().encode())[:-4], "b.tsv.gz"),
        (tsv().encode("utf-16-le"), "c.tsv"),
        ("großhirn\tb\n1\t2\n".encode("latin-1"), "d.tsv"),
        (b"", "e.tsv"),
        (b"\n\n", "f.tsv"),
        (b"a\tb\n" + b"1" * 400 + b"\t2\n3\t4\n", "h.tsv"),
    ]:
        with pytest.raises(InputError) as caught:
            read_table(written(content, name))
        assert "\n" not in str(caught.value) and name in str(caught.value)

    def broken(*args, **options):
        raise pd.errors.ParserError("Error tokenizing data.\nC error")

    monkeypatch.setattr(pd, "read_csv", broken)
    with pytest.raises(InputError, match=r"cannot read g\.tsv \(Error tokenizing data\. C error\)"):
        read_table(written(tsv(), "g.tsv"))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a\n1,5\n2,5\n", ["a"]),
        ('a,b\n"1,5","3,5"\n"2,5","4,5"\n', ["a", "b"]),
        ("a;b\n1,5;3,5\n2,5;4,5\n", ["a", "b"]),
    ],
)
def test_a_decimal_comma_separates_cells_only_between_quotation_marks(tmp_path, text, columns):
    path = tmp_path / "table.csv"
    path.write_text(text)
    found = read_table(path, decimal=",")
    assert found.columns.tolist() == columns
    assert found.to_numpy().tolist() == [[1.5, 3.5][: len(columns)], [2.5, 4.5][: len(columns)]]
