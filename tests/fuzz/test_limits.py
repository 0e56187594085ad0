"""What files declare is held against limits that can be raised; nothing in them is executed, or leads elsewhere."""

import ast
import gzip
import json
import pickle
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

import giblet
from giblet.cells import decoded
from giblet.cli.shared import main
from giblet.codec import load_codec
from giblet.config import MOST_VALUES, options_in
from giblet.data.bold.volumes import check_rest, open_image, read_values
from giblet.data.fmri import FMRIProcessor
from giblet.data.media import media_info
from giblet.data.speech_models import SpeechModel
from giblet.encoding.clips import read_array
from giblet.encoding.responses import read_responses
from giblet.errors import GibletError, InputError
from giblet.features import load_features
from giblet.files import read_npz
from giblet.limits import LIMITS, check_limit, limit, limits_in
from giblet.pipeline.encoding_files import predicted_path
from giblet.training.settings import TrainSettings
from tests.films import Track, noise, write_film
from tests.fuzz import seeds
from tests.fuzz.formats import FORMATS
from tests.speech_folders import speech_folder

ZEROS = 50 * 10**6
"""Bytes that what expands here expands to: no harm to anybody."""


def lowered(monkeypatch, **limits: float) -> None:
    monkeypatch.setenv("GIBLET_LIMITS", ",".join(f"{name}={value}" for name, value in limits.items()))


# What expands --------------------------------------------------------------------------------------------------------


def test_a_packed_table_that_expands_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bold.tsv.gz"
    path.write_bytes(gzip.compress(b" " * ZEROS))
    assert path.stat().st_size < ZEROS / 900
    lowered(monkeypatch, table_mb=10)
    with pytest.raises(
        InputError, match=r"bold.tsv.gz: 10 MB of text.*over the limit of 10.*GIBLET_LIMITS=table_mb=1\d"
    ):
        decoded(path)
    lowered(monkeypatch, table_mb=60)
    assert len(decoded(path)) == ZEROS


def test_a_workbook_that_expands_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = seeds.workbook(tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/media/zeros", bytes(ZEROS))
    FORMATS["XLSX"].read(path)
    lowered(monkeypatch, workbook_mb=10)
    with pytest.raises(InputError, match=r"words.xlsx: 50.* MB when unpacked, over the limit of 10.*workbook_mb=51"):
        FORMATS["XLSX"].read(path)


def test_a_workbook_with_a_cell_far_from_the_others_is_refused(tmp_path, monkeypatch):
    from openpyxl import Workbook

    book, path = Workbook(), tmp_path / "words.xlsx"
    for row in (["onset", "duration", "text"], [0.5, 0.4, "the"], [1.0, 0.4, "fox"]):
        book.active.append(row)
    book.save(path)
    FORMATS["XLSX"].read(path)
    book.active.cell(400, 100, "far")
    book.save(path)
    lowered(monkeypatch, megacells=0.001)
    with pytest.raises(
        InputError, match=r"words.xlsx: 0.001\d* million cells in its first sheet.*GIBLET_LIMITS=megacells=1"
    ):
        FORMATS["XLSX"].read(path)


def test_an_archive_of_arrays_that_expands_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "part.npz"
    np.savez_compressed(path, zeros=np.zeros(ZEROS, np.uint8))
    assert read_npz(path, "make it again")["zeros"].size == ZEROS
    lowered(monkeypatch, unpacked_gb=0.01)
    with pytest.raises(InputError, match=r"part.npz: 0.05.* GB when unpacked, over the limit of 0.01"):
        read_npz(path, "make it again")


def test_an_image_that_expands_beyond_the_limit_is_refused_by_its_header_and_behind_its_data(tmp_path, monkeypatch):
    path = seeds.nifti_gz(tmp_path)
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole + bytes(ZEROS)))
    read_values(open_image(path), path)
    lowered(monkeypatch, unpacked_gb=0.01)
    with pytest.raises(InputError, match=r"GB when unpacked, and more, over the limit of 0.01"):
        check_rest(open_image(path))
    lowered(monkeypatch, unpacked_gb=1e-7)
    with pytest.raises(InputError, match=r"GB when unpacked, over the limit of 1e-07"):
        open_image(path)


def test_a_feature_file_that_declares_more_than_it_can_hold_is_refused(tmp_path):
    import h5py

    path = seeds.means(tmp_path)
    with h5py.File(path, "r+") as file:  # nothing is written of it but its shape
        file.create_dataset("more", (10**5, 10**5), "f4", chunks=(1000, 1000))
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match=r"it declares 40000000.* bytes of numbers"):
        load_features(path)


def test_aliases_of_aliases_are_counted_before_they_are_written_out(tmp_path):
    path, deep = tmp_path / "train.yaml", 12
    lines = ["a0: &a0 [x, x]", *(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, deep))]
    path.write_text("\n".join(lines))
    assert len(options_in(path)) == deep
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(deep, deep + 9)]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=rf"train.yaml \(aliases .* stand for over {MOST_VALUES} values"):
        options_in(path)
    path.write_text("a: &a [*a]")
    with pytest.raises(InputError, match="stand for over"):
        options_in(path)


# What is declared ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field", "value"), [("NIfTI", 42, 30_000), ("NIfTI", 48, 30_000), ("CIFTI", 64, 10**9)]
)
def test_a_header_that_declares_more_than_the_file_holds_is_refused_before_memory_is_taken(
    name, field, value, tmp_path
):
    path = FORMATS[name].make(tmp_path)
    content = bytearray(path.read_bytes())
    content[field : field + (2 if name == "NIfTI" else 8)] = value.to_bytes(2 if name == "NIfTI" else 8, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name}.*(for which its \d+ are too few|expected CIFTI-2)"):
        FORMATS[name].read(path)


def test_an_array_of_a_surface_with_more_dimensions_than_there_are_is_refused(tmp_path):
    path = seeds.gifti(tmp_path)
    head, _, end = path.read_text().rpartition('Dimensionality="1"')
    path.write_text(f'{head}Dimensionality="{10**9}"{end}')
    with pytest.raises(InputError, match=r"an array of 1000000000 dimensions.*cut short or damaged"):
        FORMATS["GIFTI"].read(path)


def test_an_array_that_is_shorter_than_its_header_says_is_refused(tmp_path):
    path = tmp_path / "responses.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**3)})
    with pytest.raises(InputError, match=r"responses.npy .*an array of numpy.save is needed"):
        read_array(path)


@pytest.mark.parametrize(
    ("name", "option", "told"),
    [
        ("JSON of a model", "features", r"describes a model of \d{8,} numbers or more"),
        ("JSON of a codec", "num_filters", "weights are of another shape"),
        ("JSON of a codec", "num_lstm_layers", "weights are missing"),
        ("JSON of a codec", "num_residual_layers", "weights are missing"),
    ],
)
def test_a_model_far_larger_than_its_weights_is_refused_before_it_is_built(name, option, told, tmp_path):
    path = FORMATS[name].make(tmp_path)
    text = path.read_text()
    path.write_text(re.sub(rf'"{option}": \d+', f'"{option}": 200000', text))
    assert path.read_text() != text
    with pytest.raises(GibletError, match=rf"{told}.*copy (both|or download both) again"):
        FORMATS[name].read(path)


def test_volumes_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    path = seeds.nifti(tmp_path)
    lowered(monkeypatch, megavoxels=1e-6)
    with pytest.raises(InputError, match=r"2.4e-05 million voxels in a volume, over the limit of 1e-06"):
        FMRIProcessor(mask=tmp_path / "mask.nii").load(path)


def test_pictures_and_channels_beyond_the_limit_are_refused_and_the_error_says_how_to_raise_it(tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mkv", Track(noise(0.5, 24_000, 2), 24_000, "flac", "stereo"), picture=0.5)
    assert media_info(film).audio.n_channels == 2
    lowered(monkeypatch, channels=1)
    with pytest.raises(InputError, match=r"2 channels of sound, over the limit of 1.*with GIBLET_LIMITS=channels=2"):
        media_info(film)
    lowered(monkeypatch, megapixels=0.001)
    with pytest.raises(InputError, match=r"0.003072 million pixels, over the limit of 0.001"):
        media_info(film)


def test_limits_are_numbers_by_known_names():
    assert limits_in(" channels=2 ,table_mb=0.5") == {"channels": 2.0, "table_mb": 0.5}
    for wrong in ("channels", "channels=many", "channels=-1", "channels=nan", "colours=3"):
        with pytest.raises(InputError, match=f"{wrong!r} is no limit.*channels, megapixels"):
            limits_in(wrong)
    check_limit("channels", LIMITS["channels"], "a.wav", "channels")


def test_the_option_of_the_command_raises_the_limit_for_what_it_does(tmp_path, monkeypatch, capsys):
    film = write_film(tmp_path / "film.mkv", Track(noise(0.5, 24_000, 2), 24_000, "flac", "stereo"))
    lowered(monkeypatch, channels=1)
    asked = ["extract", str(film), "--tr", "0.5", "--acoustics", "envelope", "-o", str(tmp_path / "features")]
    for arguments, status in ((asked, 2), (["--limit", "channels=2", *asked], 0), (["--limit", "many=2", *asked], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = capsys.readouterr().err
        assert ended.value.code == status, told
        assert ("raise the limit with giblet --limit channels=2" in told) == (arguments == asked)
    assert limit("channels") == 2


# What is never executed ----------------------------------------------------------------------------------------------


FORBIDDEN = ("yaml.full_load", "yaml.unsafe_load", "torch.load", "pickle.load", "pickle.loads", "joblib.load")


class Marks:
    """Unpickled, it makes an empty file: all that is wanted here of code that should not run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_read(tmp_path):
    mark = tmp_path / "was_here"
    pickle.loads(pickle.dumps(Marks(mark)))  # noqa: S301 - it does what it is here for
    assert mark.exists()
    mark.unlink()
    held = np.array([Marks(mark)], object)
    np.save(tmp_path / "x.npy", held, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=held)
    for read in (lambda: read_array(tmp_path / "x.npy"), lambda: read_npz(tmp_path / "x.npz", "no")):
        with pytest.raises(InputError, match="cannot read"):
            read()
    for name in ("model.safetensors", "pytorch_model.bin", "config.json", "model.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Marks(mark)))
    for read in (load_codec, giblet.MultimodalAutoencoder.from_pretrained):
        with pytest.raises(GibletError):
            read(str(tmp_path))
    for name in ("x.mat", "x.nc"):
        (tmp_path / name).write_bytes(pickle.dumps(Marks(mark)))
    for read in (lambda: read_responses(tmp_path / "x.mat", ["a"]), lambda: load_features(tmp_path / "x.nc")):
        with pytest.raises(GibletError):
            read()
    assert not mark.exists()


def test_weights_that_are_a_pickle_of_code_are_refused(tmp_path):
    folder, mark = speech_folder(tmp_path / "model", "wav2vec2-group"), tmp_path / "was_here"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(mark)))
    with pytest.raises(GibletError):
        SpeechModel(str(folder))
    assert not mark.exists()


def test_code_in_the_folder_of_a_model_is_not_run_and_nobody_is_asked(tmp_path, monkeypatch):
    folder, mark = speech_folder(tmp_path / "model", "wav2vec2-group"), tmp_path / "was_here"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asks whether to run code"))
    with pytest.raises(GibletError):
        SpeechModel(str(folder))
    assert not mark.exists()


def test_yaml_makes_plain_values_only(tmp_path):
    path, mark = tmp_path / "train.yaml", tmp_path / "was_here"
    path.write_text(f"output: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]")
    with pytest.raises(InputError, match=r"train.yaml"):
        TrainSettings.from_yaml(path)
    assert not mark.exists()


def test_the_package_loads_nothing_in_a_way_that_could_execute_it():
    """By its source: models with NO_CODE, YAML by a safe loader, arrays without pickles, and none of FORBIDDEN."""
    found = []
    for path in Path(giblet.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called, said = ast.unparse(node.func), ast.unparse(node)
            if (
                called in FORBIDDEN
                or (".Auto" in called and called.endswith("from_pretrained") and not re.search("NO_CODE|options", said))
                or (called.endswith("SentenceTransformer") and "NO_CODE" not in said)
                or (called in ("yaml.load", "yaml.load_all") and "_EachOnce" not in said)
                or (called == "np.load" and "allow_pickle=False" not in said)
            ):
                found.append(f"{path.name}, line {node.lineno}: {said}")
    assert not found, "\n".join(found)


def test_json_of_files_is_read_where_what_goes_wrong_becomes_one_of_our_errors():
    """By its source: `json.loads` of a file's text stands in a block of `reading`, or in a try."""
    found = []
    for path in Path(giblet.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        guarded = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.Try) or (isinstance(node, ast.With) and "reading(" in ast.unparse(node.items[0]))
            for part in node.body
            for inner in ast.walk(part)
        }
        for node in ast.walk(tree):
            reads = isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads"
            if reads and "read_" in ast.unparse(node) and id(node) not in guarded:
                found.append(f"{path.name}, line {node.lineno}")
    assert not found, found


# Where results are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../01", "a/b", "..", "/etc", "01\n", "a\\b", "", "sub-01/../.."])
def test_names_of_subjects_cannot_lead_out_of_the_folder(name, tmp_path):
    for kind in ("YAML of train", "YAML of encode"):
        (tmp_path / kind).mkdir()
        path = FORMATS[kind].make(tmp_path / kind)
        options = options_in(path)
        options["data"]["subjects"][0]["name"] = name
        path.write_text(yaml.safe_dump(options))
        with pytest.raises(InputError, match="name"):
            FORMATS[kind].read(path)


@pytest.mark.parametrize("film", ["../film", "a/b.mp4", "..", "/etc/x", "fi\nlm", "films/../../film.mkv"])
def test_names_of_films_cannot_lead_out_of_the_folder(film, tmp_path):
    from giblet.features import feature_path

    for make in (
        lambda: predicted_path(tmp_path, "01", film, "bold.nii.gz"),
        lambda: feature_path(film, "x", tmp_path),
    ):
        with suppress(InputError):
            assert make().resolve().is_relative_to(tmp_path.resolve()), make()


@pytest.mark.parametrize("path", ["x" * 300, "folder/" + "x" * 300 + "/film.nc", "film\0.nc"])
def test_paths_that_no_file_can_have_are_refused_in_the_configuration(path, tmp_path):
    config = seeds.encoding(tmp_path)
    options = options_in(config)
    options["data"]["subjects"][0]["runs"][0]["audio"] = path
    config.write_text(yaml.safe_dump(options))
    with pytest.raises(InputError, match=r"audio is .*no file can be called so"):
        FORMATS["YAML of encode"].read(config)


def test_names_of_bands_cannot_lead_out_of_the_folder(tmp_path):
    path = seeds.encoding(tmp_path)
    options = options_in(path)
    options["bands"] = {"../sound": options["bands"]["sound"]}
    path.write_text(yaml.safe_dump(options))
    with pytest.raises(InputError, match=r"letters, digits and _"):
        FORMATS["YAML of encode"].read(path)


def test_what_a_file_says_does_not_reach_the_terminal_unescaped(tmp_path, capsys):
    table = tmp_path / "words.tsv"
    table.write_text("onset\tduration\t\x1b]0;title\x07\x1b[2J\n0\t1\tword\n")
    with pytest.raises(SystemExit) as ended:
        main(["extract", str(table), "--text", "--tr", "1.5", "-o", str(tmp_path / "features")])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "\x1b" not in told and "\x07" not in told, told
    assert "\\x1b[2J" in told
