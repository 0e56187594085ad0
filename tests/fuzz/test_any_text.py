"""Texts and values of any kind at all, where only their types are known, are read or refused in words."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from giblet.config import options_in
from giblet.errors import GibletError
from giblet.features import check_sidecar, describe, load_features, load_outline, read_sidecar, table_of
from giblet.netcdf import write_netcdf
from giblet.pipeline.derivative import check_derivative
from giblet.pipeline.results import files_of_result
from giblet.timing import exact
from giblet.training.settings import TrainSettings
from tests.fuzz.formats import FORMATS
from tests.fuzz.seeds import means

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *"\t,;\n\"'{}[]:#\x00\ufeff\ré", "\n\n", "onset", "text", "duration", "0", "1.5", "-1", "nan", "1e400",
        "-->", "<i>", "</", "<00:00:01.0>", "- ", "&a", "*a", "!!int", "words", "xmin = ", "WEBVTT",
        "00:00:01,000", "00:00:02.5", "intervals [1]:", "size = 3", 'File type = "ooTextFile"',
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)
OF_TEXT = ("TSV of words", "TSV of regions", "SRT", "VTT", "TextGrid", "JSON of an aligner", "YAML of train")


@pytest.mark.parametrize("name", OF_TEXT)
@settings(max_examples=25)
@given(text=TEXTS)
def test_any_text(name, text):
    with tempfile.TemporaryDirectory() as folder:
        path = FORMATS[name].make(Path(folder))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with suppress(GibletError):
            FORMATS[name].read(path)


@settings(max_examples=25)
@given(value=VALUES)
def test_any_json_beside_results_features_and_scans(value):
    with tempfile.TemporaryDirectory() as folder:
        for name in ("JSON beside a scan", "JSON of an aligner", "JSON of a training"):
            path = FORMATS[name].make(Path(folder) / name) if (Path(folder) / name).mkdir() is None else None
            path.write_text(json.dumps(value))
            with suppress(GibletError):
                FORMATS[name].read(path)
        card = Path(folder) / "dataset_description.json"
        for content in (
            value,
            {"giblet": value},
            {"giblet": {"file": value, "settings": value, "features_sha256": ""}},
        ):
            card.write_text(json.dumps(content))
            read_sidecar(card.with_suffix(".nc"))
            for read in (check_sidecar, lambda path: check_derivative(path.parent)):
                with suppress(GibletError):
                    read(card.with_suffix(".nc"))
        for content in (value, {"options": value, "files": value}):
            card.write_text(json.dumps(content))
            with suppress(GibletError):
                files_of_result(card, {"tr": 1.5}, overwrite=False)
            assert all(Path(name).name == name for name in files_of_result(card, {"tr": 1.5}, overwrite=True))


@settings(max_examples=25)
@given(value=VALUES, place=st.sampled_from(["data", "output", "model", "seed", "subjects", "runs", "name"]))
def test_any_value_of_a_configuration(value, place):
    with tempfile.TemporaryDirectory() as folder:
        path = FORMATS["YAML of train"].make(Path(folder))
        options = options_in(path)
        subject = options["data"]["subjects"][0]
        where = {"subjects": options["data"], "runs": subject, "name": subject}.get(place, options)
        where[place] = value
        path.write_text(json.dumps(options))
        with suppress(GibletError):
            TrainSettings.from_yaml(path).to_yaml()


ATTRIBUTES = st.none() | st.integers(-(2**31), 2**31) | st.floats() | st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=20)
@given(
    name=st.sampled_from(
        ["variable", "tr", "frame_rate", "kind", "desc", "film_duration", "settings", "giblet_version"]
    ),
    value=ATTRIBUTES.filter(lambda value: value is None or "\0" not in str(value)),
)
def test_any_attribute_of_a_feature_file(name, value):
    with tempfile.TemporaryDirectory() as folder:
        path = means(Path(folder))
        features = load_features(path)
        del features.attrs[name]
        if value is not None:
            features.attrs[name] = value
        write_netcdf(features, path)
        for read in (lambda path: describe(load_outline(path)), lambda path: table_of(load_features(path))):
            with suppress(GibletError):
                read(path)


@pytest.mark.parametrize(
    "value",
    ["1e999999999", "-1e-999999999", "9" * 5000, "1e400", "nan", "1/0", "inf", np.float64("nan"), "\x00", "٣/0"],
)
def test_what_is_no_finite_number_is_refused_at_once(value):
    with pytest.raises(GibletError, match="expected a finite number") as told:
        exact(value)
    assert len(str(told.value)) < 200
