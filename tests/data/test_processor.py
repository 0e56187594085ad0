"""What an extractor must have, by the page of the documentation that adds one."""

import re
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

import giblet as gb
from giblet.cli.features import EXTRACTORS, Extractor, Option
from giblet.data import processor
from giblet.data.processor import causality_of, check_causal
from giblet.errors import InputError
from giblet.features import CONTINUOUS, load_features
from giblet.pipeline import features

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extractors.md"
FILM = ROOT / "samples" / "sintel_trailer.mp4"
SPEECH = ROOT / "samples" / "speech.flac"


def blocks() -> list[str]:
    """The Python of the page: the module, what is extracted, and the row of the command."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    return found


@pytest.fixture
def made(monkeypatch) -> dict:
    """What the page's module defines, with its class among the extractors."""
    names: dict = {"__name__": __name__}
    exec(blocks()[0], names)
    monkeypatch.setattr(features, "PROCESSORS", (*features.PROCESSORS, f"{__name__}.CrossingsProcessor"))
    for name in ("CrossingsProcessor", "CrossingsSettings"):
        monkeypatch.setitem(globals(), name, names[name])
    return names


@pytest.mark.parametrize("source", [FILM, SPEECH])
def test_the_page_extracts_from_a_film_and_a_sound(source, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = blocks()[1].replace('"film.mp4"', repr(str(source)))
    names = {"gb": gb, **made}
    exec(run, names)
    done = names["done"]
    assert done.path == Path(f"features/{source.stem}_desc-crossings_features.nc") and done.status == "written"
    read = load_features(done.path)
    assert read.attrs["kind"] == CONTINUOUS and read.attrs["causal"] == "yes" and read.crossings.max() > 100
    exec(run, names)
    assert names["done"].status == "up to date"


def test_the_page_counts_as_librosa_does(made, tmp_path):
    sound = np.random.default_rng(0).standard_normal(16_000 * 6).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    found = load_features(gb.extract(tmp_path / "a.wav", made["CrossingsSettings"].make(tr=1.5), tmp_path).path)
    theirs = [librosa.zero_crossings(part, pad=False).sum() / 1.5 for part in sound.reshape(4, -1)]
    np.testing.assert_allclose(found.crossings, theirs, rtol=1e-6)


def test_the_row_of_the_page_makes_settings_and_says_them_again(made):
    names: dict = {"Extractor": Extractor, "Option": Option}
    exec("row = " + blocks()[2].replace("giblet.data.crossings", __name__), names)
    row = names["row"]
    settings = row.settings_of({"tr": 2.0, "n_trs": 3, "device": "cpu", "silence": 0.25})
    assert settings == made["CrossingsSettings"](tr=2.0, n_trs=3, silence=0.25)
    assert row.options_of(settings) == {"tr": 2.0, "n_trs": 3, "silence": 0.25}
    assert row.called == "--crossings"


def test_the_class_of_the_page_takes_thirty_lines():
    body = blocks()[0].split("class CrossingsProcessor:")[1].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 30


def test_the_page_names_all_that_the_contract_lists(made):
    listed = [name for name in vars(processor.Processor) if not name.startswith("_")]
    listed += list(processor.Processor.__annotations__)
    assert {"settings_type", "looks_ahead", "provenance", "extract"} <= set(listed)
    assert all(hasattr(made["CrossingsProcessor"], name) for name in listed), listed


def test_causal_features_are_refused_only_where_they_look_ahead():
    check_causal("", "codes")
    assert causality_of("") == "yes" and causality_of("it hears 1 s ahead") == "no: it hears 1 s ahead"
    with pytest.raises(InputError, match="speech can't be causal: it hears 1 s ahead; use less, or allow it with"):
        check_causal("it hears 1 s ahead", "speech", "use less, or ")


def test_the_command_knows_every_extractor():
    assert {one.settings_type() for one in EXTRACTORS} == {kind.settings_type for kind in features.processor_types()}
