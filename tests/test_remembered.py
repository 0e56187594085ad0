"""The fingerprint of a model is told from memory as long as its files are those of which it was computed."""

import os
import shutil

import pytest

from giblet.codec import known_codes_fingerprint, load_codec
from giblet.codec.loading import find_codec
from giblet.data.audio import AudioProcessor, AudioSettings
from giblet.errors import CodecError
from giblet.remembered import known_fingerprint, remember_fingerprint, stamps_of

FINGERPRINT = "0a" * 32


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("giblet.remembered.user_cache", lambda: tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    found = [tmp_path / "config.json", tmp_path / "model.safetensors"]
    for path in found:
        path.write_bytes(b"weights")
    return found


def remember(model):
    remember_fingerprint(model, FINGERPRINT, stamps_of(model))


def test_it_is_known_until_a_file_changes(cache, model):
    assert known_fingerprint(model) is None
    remember(model)
    assert known_fingerprint(model) == FINGERPRINT
    before = model[1].stat()
    model[1].write_bytes(b"WEIGHTS")  # of the same size, and as old
    os.utime(model[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known_fingerprint(model) is None
    model[1].write_bytes(b"weights")  # written again: its bytes tell
    assert known_fingerprint(model) == FINGERPRINT
    model[1].write_bytes(b"more weights")
    assert known_fingerprint(model) is None
    model[1].unlink()
    assert known_fingerprint(model) is None


def test_files_that_changed_while_they_were_read_are_not_remembered(cache, model):
    stamps = stamps_of(model)
    model[0].write_bytes(b"another")
    remember_fingerprint(model, FINGERPRINT, stamps)
    assert known_fingerprint(model) is None


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"{}", b"null", b'{"format": 1, "fingerprint": 3, "files": 4}', b"\xff"]
)
def test_a_damaged_memory_is_made_again(cache, model, damage):
    remember(model)
    (kept,) = (cache / "fingerprints").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert known_fingerprint(model) is None
    remember(model)
    assert kept.read_bytes() == whole


def test_where_nothing_can_be_written_nothing_is_remembered(cache, model, monkeypatch):
    (cache / "fingerprints").write_text("a file in the place of the folder")
    remember(model)
    assert known_fingerprint(model) is None
    monkeypatch.setattr("giblet.remembered.user_cache", lambda: None)
    remember(model)
    assert known_fingerprint(model) is None


def test_a_codec_that_was_loaded_is_known_without_loading_it(cache, tmp_path):
    folder = shutil.copytree(find_codec("bundled")[0].parent, tmp_path / "codec")
    settings = AudioSettings.make(codec=str(folder), device="cpu")
    assert known_codes_fingerprint(folder) is None and AudioProcessor.known(settings) is None
    codec = load_codec(folder, device="cpu")
    assert known_codes_fingerprint(folder) == codec.codes_fingerprint
    desc, about = AudioProcessor.known(settings)
    processor = AudioProcessor.from_settings(settings)
    told = processor.provenance(folder / "config.json")
    assert (desc, about) == (processor.desc, {name: told[name] for name in about})
    assert told.keys() - about.keys() == {"source_sha256"}
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert known_codes_fingerprint(folder) is None
    with pytest.raises(CodecError, match="there is no such folder"):
        known_codes_fingerprint("./nowhere")
