"""What giblet writes, Octave and R read in full: every variable and every attribute, text and all."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from giblet import netcdf
from giblet.data.fmri import FMRIProcessor
from giblet.data.simulate import simulate_bold
from giblet.data.text import TextProcessor
from giblet.data.video import VideoProcessor
from giblet.errors import InputError
from giblet.features import load_features, load_outline, save_features, sidecar_path
from giblet.files import atomic_path
from giblet.netcdf import OnDisk, read_netcdf, read_stored, write_netcdf
from tests.feature_files import up_to_date
from tests.films import write_film
from tests.test_features import made

# One line for each attribute and each variable; text as hexadecimal digits of its bytes, numbers with all their digits.
OCTAVE = r"""
pkg load netcdf
function text = hex(value), text = sprintf("%02x", uint8(value)); end
function line(kind, owner, name, value)
  if ischar(value), fprintf("%s %s %s T%s\n", kind, owner, hex(name), hex(value(:)'));
  else fprintf("%s %s %s N%s\n", kind, owner, hex(name), sprintf(" %.17g", double(value(:)))); end
end
file = argv(){1};
about = ncinfo(file);
for a = about.Attributes, line("A", "-", a.Name, a.Value); end
for v = about.Variables
  value = ncread(file, v.Name);
  if ischar(value)
    words = value';
    fprintf("S %s", v.Name); for k = 1:rows(words), fprintf(" T%s", hex(deblank(words(k, :)))); end; fprintf("\n");
  else line("V", v.Name, v.Name, value); end
  for a = v.Attributes, line("A", v.Name, a.Name, a.Value); end
end
"""
R = r"""
library(ncdf4)
hex <- function(text) paste(format(charToRaw(text)), collapse = "")
line <- function(kind, owner, name, value) {
  if (is.character(value)) cat(kind, " ", owner, " ", hex(name), " T", hex(value), "\n", sep = "")
  else cat(kind, " ", owner, " ", hex(name), " N", sprintf(" %.17g", as.numeric(value)), "\n", sep = "")
}
nc <- nc_open(commandArgs(trailingOnly = TRUE)[1])
all <- ncatt_get(nc, 0)
for (name in names(all)) line("A", "-", name, all[[name]])
stored <- c(names(nc$var), Filter(function(d) nc$dim[[d]]$dimvarid$id >= 0, names(nc$dim)))
for (v in stored) {
  value <- ncvar_get(nc, v)
  if (is.character(value)) cat("S ", v, paste0(" T", sapply(value, hex)), "\n", sep = "")
  else line("V", v, v, value)
  own <- ncatt_get(nc, v)
  for (name in names(own)) line("A", v, name, own[[name]])
}
"""


def ncdf4_is_there() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(ncdf4)"], capture_output=True).returncode == 0


def octave_netcdf_is_there() -> bool:
    if shutil.which("octave") is None:
        return False
    return subprocess.run(["octave", "--no-gui", "--eval", "pkg load netcdf"], capture_output=True).returncode == 0


READERS = {
    "octave": (
        OCTAVE,
        ["octave", "--no-gui", "--quiet"],
        octave_netcdf_is_there,
        "needs octave with its package netcdf",
    ),
    "R": (R, ["Rscript"], ncdf4_is_there, "needs R with ncdf4"),
}


def codes(_: Path) -> xr.Dataset:
    return made(source="Der Fuchs über dem Zaun — 映画.mp4")[0]


def text(folder: Path) -> xr.Dataset:
    (folder / "words.tsv").write_text("onset\toffset\ttext\n0.5\t1\tonce\n1.5\t2.5\tupon a time\n6\t7\tthere\n")
    return TextProcessor(tr=2.0, model=None).extract(folder / "words.tsv")


def picture(folder: Path) -> xr.Dataset:
    return VideoProcessor(tr=1.5, size=(4, 6)).extract(write_film(folder / "grey.mp4", picture=4.0))


def regions(folder: Path) -> xr.Dataset:
    values = np.random.default_rng(0).standard_normal((12, 3)) + 100
    pd.DataFrame(values, columns=["V1", "Heschl's gyrus (links)", "Größe"]).to_csv(
        folder / "sub-7_bold.csv", index=False
    )
    return FMRIProcessor(tr=1.5).load(folder / "sub-7_bold.csv")


def truth(folder: Path) -> xr.Dataset:
    return simulate_bold(text(folder), n_voxels=4).truth


FILES = [codes, text, picture, regions, truth]
REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Coordinates", "_Netcdf4Dimid"}
"""Attributes by which variables and their dimensions find each other."""


def read_by(reader: str, path: Path) -> tuple[dict, dict]:
    """What another program reads: attributes by (variable or "-", name), and variables in C order."""
    code, argv, _, _ = READERS[reader]
    script = path.with_suffix(f".{reader}")
    script.write_text(code)
    done = subprocess.run([*argv, script, path], capture_output=True, text=True, check=False)
    attrs, variables = {}, {}
    for line in done.stdout.splitlines():
        kind, owner, *rest = line.split(" ")
        if kind == "S":
            variables[owner] = [bytes.fromhex(cell[1:]).decode() for cell in rest]
        elif kind in ("A", "V"):
            name, values = bytes.fromhex(rest[0]).decode(), rest[1:]
            if values[0][0] == "T":
                value = bytes.fromhex(values[0][1:]).decode()
            else:
                value = [float(v.replace("NA", "nan")) for v in values[1:]]
            if kind == "A":
                attrs[owner, name] = value
            else:
                variables[owner] = value
    assert variables, done.stderr
    return attrs, variables


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch) -> str:
    """Whether variables are written at once, or some rows at a time, two here."""
    if request.param == "large":
        monkeypatch.setattr(netcdf, "LARGE", 0)
        monkeypatch.setattr(netcdf, "PIECE", 200)
    return str(request.param)


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_octave_and_r_read_every_variable_and_every_attribute(reader, kind, size, tmp_path):
    _, _, there, reason = READERS[reader]
    if not there():
        pytest.skip(reason)
    features = kind(tmp_path)
    path = save_features(features, tmp_path / "a_features.nc")
    attrs, variables = read_by(reader, path)
    assert variables.keys() == set(map(str, features.variables))
    for name, variable in features.variables.items():
        if variable.dtype.kind in "US":
            assert variables[name] == variable.values.ravel().tolist()
        else:
            np.testing.assert_array_equal(variables[name], variable.values.ravel().astype(np.float64))
        for key, value in variable.attrs.items():
            assert attrs[name, key] == value
    mine = {name: value for (owner, name), value in attrs.items() if owner == "-"}
    mine.pop("coordinates", None)  # how netCDF says which variables are coordinates
    assert mine.keys() == features.attrs.keys()
    for name, value in features.attrs.items():
        assert mine[name] == (value if isinstance(value, str) else [float(value)]), name


def test_no_text_of_variable_length_and_no_type_beyond_the_classic_ones_is_stored(size, tmp_path):
    """MATLAB cannot be run here: this is the set of types that all its versions since netCDF4 read."""
    known = {"int8", "uint8", "int32", "int64", "float32", "float64"}
    for kind in FILES:
        path = save_features(kind(tmp_path), tmp_path / "a_features.nc")
        with h5py.File(path) as file:
            items = [file, *file.values()]
            assert all(isinstance(item, h5py.Dataset) for item in items[1:]), "one group"
            for item in items:
                stored = [item.attrs.get_id(name).dtype for name in item.attrs if name != "REFERENCE_LIST"]
                stored = [
                    dtype
                    for dtype in stored
                    if dtype.metadata is None or "vlen" not in dtype.metadata or dtype.metadata["vlen"] is str
                ]  # the references of dimensions, which no program shows
                if isinstance(item, h5py.Dataset):
                    stored.append(item.dtype)
                    assert all(n is not None for n in item.maxshape), "no unlimited dimension"
                for dtype in stored:
                    text = h5py.check_string_dtype(dtype)
                    assert (text is not None and text.length is not None) or dtype.name in known, (item.name, dtype)


def everything() -> xr.Dataset:
    return xr.Dataset(
        {
            "small": ("x", np.arange(4, dtype="i1")),
            "picture": (("x", "y"), np.full((4, 3), 200, "u1")),
            "yes": ("x", np.array([True, False, True, True])),
            "gaps": ("x", np.array([1.5, np.nan, 3, 4])),
            "nothing": (("x", "none"), np.zeros((4, 0), "i4")),
            "alone": ((), 3.5),
            "word": ((), "Zaun"),
            "blank": ("x", ["", "", "", ""]),
        },
        {"region": ("x", ["a", "bb", "", "Größe 映"]), "i": ("x", np.arange(4) * 2**40), "y": ["q", "r", "s"]},
        {"long": "a" * 100_000, "empty": "", "one": "x", "lines": 'a\nb\t{"x": 1}', "film": "映画", "n": 5,
         "large": 2**40, "tr": 0.72, "three": np.arange(3.0)},
    )  # fmt: skip


def test_a_dataset_comes_back_as_it_was_types_text_and_all(size, tmp_path):
    write_netcdf(everything(), tmp_path / "a.nc")
    back = read_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(back, everything())
    for name, variable in everything().variables.items():
        assert back[name].dtype == variable.dtype, name
    assert {name: type(value) for name, value in back.attrs.items() if name in ("n", "large", "tr", "film")} == {
        "n": int, "large": int, "tr": float, "film": str,
    }  # fmt: skip
    write_netcdf(back, tmp_path / "b.nc")  # what has been read can be written again


def test_truth_values_are_attributes_too(tmp_path):
    write_netcdf(made(detrended=True, scaled=np.False_)[0], tmp_path / "a.nc")
    back = read_netcdf(tmp_path / "a.nc")
    assert (back.attrs["detrended"], back.attrs["scaled"]) == (1, 0)


def test_files_of_earlier_versions_are_read_and_are_up_to_date(tmp_path):
    """As version 0.1.0 wrote them before: text of variable length."""
    features, _ = made(source="Füchse.mp4")
    features = features.assign_coords(region=("codebook", [f"Gyrus {k} ü" for k in range(8)]))
    path = tmp_path / "a_features.nc"
    packed = {name: {"zlib": True, "complevel": 4} for name, v in features.data_vars.items() if v.ndim > 1}
    save_features(features, path)  # for the sidecar
    path.write_bytes(features.to_netcdf(engine="h5netcdf", encoding=packed))
    xr.testing.assert_identical(load_features(path), features)
    assert up_to_date(path, source_sha256="0" * 64, settings={"n_trs": None, "tr": 1.5})
    newer = {"n_trs": None, "tr": 1.5, "gain": None}
    assert not up_to_date(path, settings=newer | {"gain": 2.0}, defaults={"gain": None})
    assert up_to_date(path, settings=newer, defaults={"gain": None}), "an option that did not exist had its default"
    assert json.loads(sidecar_path(path).read_text())["giblet"]["source"] == "Füchse.mp4"


def test_a_locked_file_is_said_to_be_locked_not_damaged(tmp_path):
    path = save_features(made()[0], tmp_path / "a_features.nc")
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as HDF5 does that writes to it
        with pytest.raises(InputError, match="is locked: another program has it open") as caught:
            load_features(path)
    assert "damaged" not in str(caught.value)
    load_features(path)


def test_a_file_without_permission_is_said_to_be_that(tmp_path, monkeypatch):
    """Root may read everything, so that the refusal is made up."""
    path = save_features(made()[0], tmp_path / "a_features.nc")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"Permission denied.*check its permissions"):
        load_features(path)


def test_a_file_with_damaged_bytes_is_refused_or_is_what_it_was(size, tmp_path):
    features, _ = made(n_trs=12)
    features = features.assign_coords(region=("codebook", [f"Gyrus {k}" for k in range(8)]))
    path = save_features(features, tmp_path / "a_features.nc")
    whole, refused = path.read_bytes(), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        start = int(rng.integers(0, len(whole) - 64))
        path.write_bytes(whole[:start] + rng.bytes(64) + whole[start + 64 :])
        try:
            loaded = load_features(path)
            outline = load_outline(path)
        except InputError as exc:
            assert "\n" not in str(exc)
            refused += 1
        else:
            xr.testing.assert_identical(loaded, features)
            np.testing.assert_array_equal(outline["codes"].values, features.codes)
    assert refused > 20


def test_large_variables_are_as_xarray_writes_them(tmp_path, monkeypatch):
    write_netcdf(everything(), tmp_path / "a.nc")
    monkeypatch.setattr(netcdf, "LARGE", 0)
    write_netcdf(everything(), tmp_path / "b.nc")
    with h5py.File(tmp_path / "a.nc") as one, h5py.File(tmp_path / "b.nc") as other:
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype and one[name].shape == other[name].shape
            assert np.array_equal(one[name].fillvalue, other[name].fillvalue, equal_nan=one[name].dtype.kind == "f")
            for key in (one[name].attrs.keys() | other[name].attrs.keys()) - REFERENCES:
                np.testing.assert_array_equal(one[name].attrs[key], other[name].attrs[key])


def test_a_large_variable_stays_on_disk_until_it_is_asked_for(tmp_path, monkeypatch):
    table = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
    data = xr.Dataset({"mel": (("tr", "band", "frame"), table), "own": (("tr", "frame"), table[:, 0] > 20)})
    monkeypatch.setattr(netcdf, "LARGE", 10)
    write_netcdf(data, tmp_path / "a.nc")
    stored = read_stored(tmp_path / "a.nc")
    for name in ("mel", "own"):
        assert isinstance(stored[name].held, OnDisk)
        assert (stored[name].shape, stored[name].dtype, len(stored[name])) == (data[name].shape, data[name].dtype, 10)
        np.testing.assert_array_equal(stored[name][2:5], data[name][2:5])
        np.testing.assert_array_equal(stored[name][3], data[name][3])
        np.testing.assert_array_equal(np.asarray(stored[name]), data[name])
    write_netcdf(data + 1, tmp_path / "b.nc")
    os.replace(tmp_path / "b.nc", tmp_path / "a.nc")
    with pytest.raises(InputError, match="was written anew while it was read"):
        stored["mel"][0:2]


@pytest.mark.parametrize("n_bytes", [0, 4000, 30_000, 90_000])
def test_a_disk_that_fills_up_while_a_large_variable_is_written_is_told(tmp_path, n_bytes):
    """By a limit on the size of files, in a process of its own: HDF5 writes late, some of it when it closes."""
    code = (
        "import resource, signal, sys; import numpy as np, xarray as xr\n"
        "from giblet import netcdf; from giblet.errors import InputError; from giblet.files import atomic_path\n"
        "netcdf.LARGE = netcdf.PIECE = 10_000\n"
        "noise = np.random.default_rng(0).random((40, 800))\n"
        "data = xr.Dataset({'a': (('x', 'y'), noise), 'b': ('x', np.arange(40.))})\n"
        "netcdf.write_netcdf(data, __import__('pathlib').Path(sys.argv[1]) / 'before.nc')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try:\n"
        "    with atomic_path(sys.argv[1] + '/a.nc') as path: netcdf.write_netcdf(data, path)\n"
        "except InputError as exc: print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path, str(n_bytes)], capture_output=True, text=True)
    assert "File too large; choose another output folder" in done.stdout and not done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["before.nc"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 5, 12])
def test_a_signal_while_hdf5_writes_is_obeyed_and_nothing_is_published(tmp_path, monkeypatch, at, number):
    """HDF5 writes through methods of Python, and loses what is raised in them."""
    monkeypatch.setattr(netcdf, "LARGE", 10_000)
    monkeypatch.setattr(netcdf, "PIECE", 10_000)
    plain, calls = netcdf._Remembering.write, []

    def write(self, content):
        calls.append(len(content))
        if len(calls) == at:
            os.kill(os.getpid(), number)
            time.sleep(0.2)
        return plain(self, content)

    def left(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(netcdf._Remembering, "write", write)
    before = signal.signal(number, left)
    noise = np.random.default_rng(0).random((400, 800))
    try:
        with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.nc") as path:
            write_netcdf(xr.Dataset({"a": (("x", "y"), noise)}), path)
    finally:
        signal.signal(number, before)
    assert at <= len(calls) < 100 and not list(tmp_path.iterdir())


def test_a_large_variable_leaves_nothing_behind_in_the_attributes_of_the_whole(tmp_path, monkeypatch):
    """As xarray notes there the coordinates that no variable has."""
    data = xr.Dataset({"mel": (("tr", "band"), np.ones((20, 3)))}, {"onset": ("tr", np.arange(20.0))}, {"tr": 1.5})
    monkeypatch.setattr(netcdf, "LARGE", 200)
    write_netcdf(data, tmp_path / "a.nc")
    with h5py.File(tmp_path / "a.nc") as file:
        assert file.attrs.keys() - {"_NCProperties"} == {"tr"} and file["mel"].attrs["coordinates"]
    assert read_netcdf(tmp_path / "a.nc").identical(data)
