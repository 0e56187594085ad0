"""Whatever a library raises while it reads a file becomes one line of giblet's, and a batch goes on."""

import ast
import contextlib
import csv
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from nibabel.spatialimages import HeaderDataError
from safetensors import SafetensorError
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    EncodecConfig,
    EncodecModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from giblet.codec import load_codec
from giblet.codec.training.checkpoints import load_checkpoint, save_checkpoint
from giblet.data.audio import AudioSettings
from giblet.data.dataset.series import Series
from giblet.data.embeddings import ImageModel, SentenceModel
from giblet.data.fmri import FMRIProcessor
from giblet.data.media import AudioReader
from giblet.data.picture import PictureReader
from giblet.data.words.subtitles import read_segments
from giblet.errors import CodecError, GibletError, InputError, one_line, postponed, reading
from giblet.features import load_features, save_features
from giblet.models import Modality, ModelSettings, MultimodalAutoencoder
from giblet.pipeline.brain_files import lesion_of
from tests.films import Track, click_track, write_film
from tests.test_features import made

PACKAGE = Path(__file__).parents[1] / "giblet"
SHAPE = (4, 5, 3)
CUE = "00:00:0{},000 --> 00:00:0{},500"


# ---- a whole file of each kind ----


def _image(path: Path, values: np.ndarray) -> Path:
    image = nib.Nifti1Image(values, np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 4:
        image.header.set_zooms((1, 1, 1, 1.5))
    image.to_filename(path)
    return path


def scan(folder: Path, name: str = "sub-1_bold.nii") -> Path:
    rng = np.random.default_rng(0)
    mask = np.ones(SHAPE, np.uint8)
    _image(folder / "mask.nii", mask)
    return _image(folder / name, (100 + rng.standard_normal((*SHAPE, 30))).astype(np.float32))


def packed_scan(folder: Path) -> Path:
    return scan(folder, "sub-1_bold.nii.gz")


def mask(folder: Path) -> Path:
    scan(folder)
    return folder / "mask.nii"


def atlas(folder: Path) -> Path:
    scan(folder)
    return _image(folder / "atlas.nii", np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) % 5)


def table(folder: Path, name: str = "sub-1_bold.tsv") -> Path:
    values = np.random.default_rng(0).standard_normal((30, 3)) + 100
    separator = "," if ".csv" in name else "\t"
    pd.DataFrame(values, columns=["a", "b", "c"]).to_csv(folder / name, sep=separator, index=False)
    return folder / name


def packed_table(folder: Path) -> Path:
    return table(folder, "sub-1_bold.csv.gz")


def confounds(folder: Path) -> Path:
    scan(folder)
    return table(folder, "sub-1_desc-confounds_timeseries.tsv")


def features(folder: Path) -> Path:
    return save_features(made(n_trs=12)[0], folder / "talk_features.nc")


def subrip(folder: Path) -> Path:
    cues = "".join(f"{k}\n{CUE.format(k, k)}\nwords number {k}\n\n" for k in range(1, 6))
    (folder / "talk.srt").write_text(cues)
    return folder / "talk.srt"


def webvtt(folder: Path) -> Path:
    cues = "".join(f"{CUE.format(k, k).replace(',', '.')}\nwords number {k}\n\n" for k in range(1, 6))
    (folder / "talk.vtt").write_text(f"WEBVTT\n\n{cues}")
    return folder / "talk.vtt"


def words(folder: Path) -> Path:
    rows = "".join(f"{k}\t{k + 0.5}\tword{k}\n" for k in range(9))
    (folder / "talk.tsv").write_text(f"onset\toffset\ttext\n{rows}")
    return folder / "talk.tsv"


def workbook(folder: Path) -> Path:
    pytest.importorskip("openpyxl", reason="the extra text is not installed")
    rows = {"onset": range(9), "offset": [k + 0.5 for k in range(9)], "text": [f"word{k}" for k in range(9)]}
    pd.DataFrame(rows).to_excel(folder / "talk.xlsx", index=False)
    return folder / "talk.xlsx"


def array(folder: Path) -> Path:
    np.save(folder / "vectors.npy", np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32))
    return folder / "vectors.npy"


def lesion(folder: Path) -> Path:
    np.save(folder / "lesion.npy", np.arange(60) % 2 == 0)
    return folder / "lesion.npy"


def settings(folder: Path) -> Path:
    (folder / "settings.yaml").write_text("tr: 1.5\nn_trs: 12\nbandwidth: 6.0\ncodec: bundled\n")
    return folder / "settings.yaml"


def wav(folder: Path, name: str = "talk.wav") -> Path:
    soundfile.write(folder / name, 0.1 * np.random.default_rng(0).standard_normal(24_000 * 3), 24_000)
    return folder / name


def flac(folder: Path) -> Path:
    return wav(folder, "talk.flac")


def film(folder: Path) -> Path:
    return write_film(folder / "talk.mp4", Track(click_track([0.5], 3.0, 44_100), 44_100, "aac"), picture=3.0)


def codec_folder(folder: Path) -> Path:
    torch.manual_seed(0)
    EncodecModel(EncodecConfig(num_filters=2, hidden_size=8, codebook_dim=8, codebook_size=16)).save_pretrained(folder)
    return folder / "model.safetensors"


def codec_text(folder: Path) -> Path:
    codec_folder(folder)
    return folder / "config.json"


def codec_training(folder: Path) -> Path:
    return save_checkpoint(folder, 3, {"a": torch.arange(200.0)}, {"minutes": 1, "rows": [], "config": {}}).with_suffix(
        ".safetensors"
    )


def image_model(folder: Path) -> Path:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**small, image_size=32, patch_size=16)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder / "model.safetensors"


def image_processor(folder: Path) -> Path:
    image_model(folder)
    return folder / "preprocessor_config.json"


def sentence_model(folder: Path) -> Path:
    library = pytest.importorskip("sentence_transformers", reason="the extra text is not installed")
    torch.manual_seed(0)
    bare = folder / "bare"
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(**small, vocab_size=6, max_position_embeddings=16)).save_pretrained(bare)
    (bare / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n")
    BertTokenizer(str(bare / "vocab.txt")).save_pretrained(bare)
    library.SentenceTransformer(str(bare), device="cpu").save(str(folder))  # with mean pooling added
    shutil.rmtree(bare)
    return folder / "model.safetensors"


def brain_model(folder: Path) -> Path:
    torch.manual_seed(0)
    model = MultimodalAutoencoder(
        ModelSettings.make(tr=1.5), {"text": Modality("vector", (4,))}, {"01": 6}, codec_fingerprint=None
    )
    model.save(folder)
    return folder / "model.safetensors"


# ---- how each is read ----


def _scan(path: Path) -> object:
    return FMRIProcessor(path.parent / "mask.nii").load(path)


def _segments(path: Path) -> object:
    return read_segments(path)


@dataclass(frozen=True)
class Reader:
    """One kind of file, what reads it, and the call of a library that it depends on."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    call: str
    extract: tuple[str, ...] | None = None
    """Options with which giblet extract reads such a file."""
    raises: tuple[Exception, ...] = ()
    """All that the library can raise, where that is known."""


NO_MODEL = ("--text", "--text-model", "none")
SMALL = ("--mel", "--n-mels", "8")
READERS = {
    "NIfTI": Reader(scan, _scan, "nibabel.load"),
    "packed NIfTI": Reader(packed_scan, _scan, "nibabel.load"),
    "mask": Reader(mask, lambda path: FMRIProcessor(path).load(path.parent / "sub-1_bold.nii"), "nibabel.load"),
    "atlas": Reader(atlas, lambda path: FMRIProcessor(atlas=path).load(path.parent / "sub-1_bold.nii"), "nibabel.load"),
    "BOLD table": Reader(table, lambda path: FMRIProcessor(tr=1.5).load(path), "pandas.read_csv"),
    "packed BOLD table": Reader(packed_table, lambda path: FMRIProcessor(tr=1.5).load(path), "pandas.read_csv"),
    "confounds": Reader(
        confounds,
        lambda path: FMRIProcessor(path.parent / "mask.nii", confound_columns=["a"]).load(
            path.parent / "sub-1_bold.nii", confounds=path
        ),
        "pandas.read_csv",
    ),
    "feature file": Reader(features, load_features, "xarray.open_dataset"),
    "feature file by TR": Reader(features, lambda path: Series(path).read(0, 5), "xarray.open_dataset"),
    "array": Reader(array, lambda path: Series(path).read(0, 5), "numpy.load"),
    "lesion": Reader(lesion, lambda path: lesion_of(path, None, 1.5, 60), "numpy.load"),
    "SubRip": Reader(subrip, _segments, "srt.parse", NO_MODEL),
    "WebVTT": Reader(webvtt, _segments, "webvtt.from_buffer", NO_MODEL),
    "words": Reader(words, _segments, "csv.reader", NO_MODEL, (csv.Error("line contains NUL"),)),
    "workbook": Reader(workbook, _segments, "pandas.read_excel", NO_MODEL),
    "settings": Reader(settings, AudioSettings.from_yaml, "yaml.load"),
    "WAV": Reader(wav, lambda path: list(AudioReader(path)), "av.open", SMALL),
    "FLAC": Reader(flac, lambda path: list(AudioReader(path)), "av.open", SMALL),
    "sound of MP4": Reader(film, lambda path: list(AudioReader(path)), "av.open", SMALL),
    "picture of MP4": Reader(
        film, lambda path: list(PictureReader(path)), "av.open", ("--video", "--video-size", "6x8")
    ),
    "codec": Reader(codec_folder, lambda path: load_codec(path.parent, device="cpu"), "safetensors.torch.load_file"),
    "codec's configuration": Reader(codec_text, lambda path: load_codec(path.parent, device="cpu"), "json.loads"),
    "codec training": Reader(codec_training, lambda path: load_checkpoint(path.parent), "giblet.checkpoints.load_file"),
    "image model": Reader(
        image_model, lambda path: ImageModel(str(path.parent), device="cpu"), "transformers.AutoModel.from_pretrained"
    ),
    "image processor": Reader(
        image_processor,
        lambda path: ImageModel(str(path.parent), device="cpu"),
        "transformers.AutoImageProcessor.from_pretrained",
    ),
    "sentence model": Reader(
        sentence_model,
        lambda path: SentenceModel(str(path.parent), device="cpu"),
        "sentence_transformers.SentenceTransformer",
    ),
    "model": Reader(
        brain_model, lambda path: MultimodalAutoencoder.from_pretrained(path.parent), "giblet.models.checkpoint.load"
    ),
}
RAISED = [
    struct.error("unpack requires a buffer of 4 bytes"), KeyError(255), ValueError("two\nlines"), TypeError("no"),
    zlib.error("Error -3 while decompressing"), EOFError(), RuntimeError("a library's own"), IndexError(3),
    AttributeError("'NoneType' object has no attribute 'x'"), OverflowError("too large"), HeaderDataError("code 0"),
    SafetensorError("header too large"), zipfile.BadZipFile("not a zip"), OSError(5, "Input/output error"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), AssertionError(), NotImplementedError("later"),
    pd.errors.ParserError("Expected 3 fields"), ZeroDivisionError("division by zero"), StopIteration(),
]  # fmt: skip
readers = pytest.mark.parametrize("name", READERS)


def one_line_of(exc: GibletError) -> str:
    text = str(exc)
    assert text and "\n" not in text, repr(text)
    return text


@readers
def test_a_whole_file_is_read(name, tmp_path):
    """Else the tests below would prove nothing."""
    assert READERS[name].read(READERS[name].make(tmp_path)) is not None


@readers
def test_what_a_library_raises_becomes_one_line(name, tmp_path, monkeypatch):
    reader = READERS[name]
    path = reader.make(tmp_path)
    for raised in reader.raises or RAISED:
        with monkeypatch.context() as patched, pytest.raises(GibletError) as caught:
            patched.setattr(reader.call, fails_with(raised))
            reader.read(path)
        one_line_of(caught.value)


def fails_with(raised: Exception) -> Callable:
    def fails(*_, **__):
        raise raised

    return fails


@readers
@pytest.mark.parametrize("left", [0.02, 0.3, 0.7, 0.9])
def test_a_file_that_was_cut_short_is_one_line_or_is_read(name, left, tmp_path):
    """Text may be whole at the cut, and the sound of a film whose picture is not; the others say so."""
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    must_fail = name not in ("SubRip", "WebVTT", "words", "BOLD table", "confounds", "settings", "sound of MP4")
    with pytest.raises(GibletError) if must_fail else contextlib.suppress(GibletError) as caught:
        reader.read(path)
    if must_fail:
        one_line_of(caught.value)


@readers
def test_damaged_bytes_are_one_line_or_are_read(name, tmp_path):
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    for seed in range(4 if len(whole) > 1_000_000 else 25):
        rng = np.random.default_rng(seed)
        start, n = int(rng.integers(0, max(1, len(whole) - 40))), int(rng.integers(1, 40))
        path.write_bytes(whole[:start] + rng.bytes(n) + whole[start + n :])
        try:
            reader.read(path)
        except GibletError as exc:
            one_line_of(exc)


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.extract and not reader.raises])
@pytest.mark.parametrize("raised", [struct.error("unpack"), KeyError(255)], ids=["struct.error", "KeyError"])
def test_a_batch_goes_on_after_a_file_on_which_a_library_fails(giblet, name, raised, tmp_path, monkeypatch):
    """The exception comes where the library is called for the first file only."""
    reader = READERS[name]
    (tmp_path / "good").mkdir()
    bad = reader.make(tmp_path)
    good = shutil.copy(bad, tmp_path / "good" / f"good{bad.suffix}")
    module, _, attribute = reader.call.rpartition(".")
    original = getattr(__import__(module), attribute)
    calls = []

    def fails(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise raised
        return original(*args, **options)

    monkeypatch.setattr(reader.call, fails)
    status, said, err = giblet("extract", bad, good, *reader.extract, "-o", tmp_path / "out")
    assert status == 2
    assert err.startswith("giblet: error: ") and len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert len(said.splitlines()) == 1 and "good_desc-" in said
    assert len(list((tmp_path / "out").glob("good_desc-*.nc"))) == 1


COMMANDS = {
    "feature file": ["info", "{}"],
    "NIfTI": ["check-alignment", "{features}", "{}", "--mask", "{folder}/mask.nii"],
    "mask": ["check-alignment", "{features}", "{folder}/sub-1_bold.nii", "--mask", "{}"],
    "packed BOLD table": ["check-alignment", "{features}", "{}"],
    "workbook": ["extract", "--text", "--text-model", "none", "{}"],
    "WAV": ["extract", "{}"],
    "picture of MP4": ["extract", "--video", "{}"],
    "codec": ["codec", "info", "{folder}"],
    "codec's configuration": ["extract", "{sound}", "--codec", "{folder}"],
    "image model": ["extract", "--video", "{film}", "--image-model", "{folder}"],
    "sentence model": ["extract", "--text", "{words}", "--text-model", "{folder}"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_was_cut_short_is_one_line_of_the_command_and_status_2(giblet, name, tmp_path, capsys):
    folder, others = tmp_path / "cut", tmp_path / "others"
    folder.mkdir()
    others.mkdir()
    path = READERS[name].make(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    texts = {"folder": folder}
    makers = {"features": features, "sound": wav, "film": film, "words": words}
    argv = [
        word.format(path, **texts, **{key: make(others) for key, make in makers.items() if f"{{{key}}}" in word})
        for word in COMMANDS[name]
    ]
    capsys.readouterr()
    status, said, err = giblet(*argv)
    assert (status, said) == (2, "")
    assert err.startswith("giblet: error: ") and len(err.splitlines()) == 1, err


# ---- the one place ----


def test_a_text_of_several_lines_becomes_one_and_a_bare_type_has_a_name():
    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert one_line(EOFError()) == "EOFError"
    assert one_line(KeyError("tr")) == "KeyError: 'tr'"
    assert one_line(OSError(28, "No space left on device")) == "No space left on device"
    assert len(one_line(ValueError("x" * 1000))) == 160


def test_what_is_ours_goes_through_and_a_stop_is_no_error():
    with pytest.raises(InputError, match=r"^ours$"), reading("a.nc"):
        raise InputError("ours")
    told = r"^cannot read a\.nc \(KeyError: 255\): copy it again$"
    with pytest.raises(CodecError, match=told), reading("a.nc", "copy it again", CodecError):
        raise KeyError(255)
    for stop in (KeyboardInterrupt, SystemExit):
        with pytest.raises(stop), reading("a.nc"):
            raise stop
        with pytest.raises(stop), postponed([]):
            raise stop


def test_a_fault_of_giblet_stays_a_traceback(giblet, tmp_path, monkeypatch):
    """What is not known to come of a file must be seen, not dressed up as bad input."""

    def fault(*_):
        raise ZeroDivisionError

    path = features(tmp_path)
    monkeypatch.setattr("giblet.features.describe", fault)
    with pytest.raises(ZeroDivisionError):
        giblet("info", path)


def raised_texts() -> list[tuple[str, str]]:
    """Where giblet raises InputError or another of its errors with a text written there, and the text."""
    found = []
    for path in sorted((Path(__file__).parents[1] / "giblet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            text = node.exc.args[0]
            if ast.unparse(node.exc.func).endswith("Error") and isinstance(text, (ast.JoinedStr, ast.Constant)):
                parts = text.values if isinstance(text, ast.JoinedStr) else [text]
                written = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
                found.append((f"{path.name}:{node.lineno} {ast.unparse(node.exc.func)}", written))
    return found


def test_each_error_says_what_is_wrong_and_then_what_is_allowed_or_what_to_do():
    texts = [(where, text) for where, text in raised_texts() if text.strip("{}") and "InputError" in where]
    assert len(texts) > 500
    renamed = {"regressor {}"}  # giblet.renamed says the rest
    assert [one for one in texts if not re.search(r"[;:(]", one[1]) and one[1] not in renamed] == []


def messages(tree: ast.Module) -> list[str]:
    """Texts of a module that are not docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
    return [node.value for node in texts if isinstance(node.value, str)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_message_names_a_file_that_only_the_repository_has(path):
    """Whoever installed a wheel has no docs/training.md."""
    said = messages(ast.parse(path.read_text(encoding="utf-8")))
    assert [text for text in said if re.search(r"\b(docs|notebooks|samples|configs|scripts|benchmarks)/\w", text)] == []


def test_a_message_that_names_such_a_file_would_be_found():
    tree = ast.parse('"""See docs/a.md."""\nlog.warning(f"{note}; see docs/training.md")\n')
    assert messages(tree) == ["; see docs/training.md"]
