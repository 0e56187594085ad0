"""What an extractor must have, by the example in the docstring that says so."""

import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
from pydantic import Field

import giblet as gb
from giblet.cli.features import EXTRACTORS, Extractor, Option
from giblet.data import processor
from giblet.data.picture import PictureReader
from giblet.data.processor import ExtractionSettings
from giblet.data.video import VideoProcessor, luminance_of
from giblet.features import CONTINUOUS, load_features, new_features
from giblet.files import sha256_of
from giblet.pipeline import features
from giblet.spans import tr_of, volume_grid
from giblet.timing import exact
from tests.films import write_film

NAMES = {
    one.__name__: one
    for one in (
        ExtractionSettings, Field, PictureReader, luminance_of, new_features, sha256_of, tr_of, volume_grid, exact,
        Counter, Path,
    )
}  # fmt: skip


def example() -> dict:
    """The classes of the docstring's example."""
    block = (processor.__doc__ or "").split("::\n\n", 1)[1].split("\nThe names that it uses")[0]
    found = {**NAMES, "np": np, "CONTINUOUS": CONTINUOUS, "__name__": __name__}
    exec(textwrap.dedent(block), found)
    return found


def test_the_example_of_an_extractor_makes_a_feature_file(tmp_path, monkeypatch):
    made = example()
    settings, kind = made["FlowSettings"], made["FlowProcessor"]
    monkeypatch.setattr(features, "PROCESSORS", (*features.PROCESSORS, kind))
    film = write_film(tmp_path / "grey.mp4", picture=6.0)
    done = gb.extract(film, settings.make(tr=2.0), tmp_path)
    assert done.path == tmp_path / "grey_desc-flow_features.nc" and done.status == "written"
    read = load_features(done.path)
    assert read.flow.shape == (3,) and read.attrs["kind"] == CONTINUOUS
    motion = VideoProcessor(tr=2.0, size=(18, 32)).extract(film)
    np.testing.assert_allclose(read.flow, motion.luminance_change * motion.shown * 2, rtol=1e-5, atol=1e-7)
    assert gb.extract(film, settings.make(tr=2.0), tmp_path).status == "up to date"


def test_a_row_of_the_command_makes_settings_and_says_them_again(monkeypatch):
    made = example()
    row = Extractor(
        "flow", f"{__name__}.FlowSettings", (Option("flow_size", "size", read=lambda given: (given, given)),),
        "film", "s of stillness added", "picture",
    )  # fmt: skip
    monkeypatch.setitem(globals(), "FlowSettings", made["FlowSettings"])
    settings = row.settings_of({"tr": 2.0, "n_trs": 3, "device": "cpu", "flow_size": 9})
    assert settings == made["FlowSettings"](tr=2.0, n_trs=3, size=(9, 9))
    assert row.options_of(settings) == {"tr": 2.0, "n_trs": 3, "flow_size": (9, 9)}
    assert row.called == "--flow"


def test_the_command_knows_every_extractor():
    assert {one.settings_type() for one in EXTRACTORS} == {kind.settings_type for kind in features.PROCESSORS}
