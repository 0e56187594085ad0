"""The feature file: an xarray Dataset in netCDF4/HDF5 that carries its clock, its kind and where it came from.

``<film>_desc-encodec24k_features.nc`` holds

======================  ===========================  =======  ==================================================
variable                dimensions                   dtype    meaning
======================  ===========================  =======  ==================================================
``codes``               (tr, codebook, frame)        int32    frames that every TR has
``spill``               (tr, codebook, extra)        int32    the odd frame that some TRs have more
``spill_mask``          (tr, extra)                  bool     which TRs have it
``mel``                 (tr, mel, frame) or (tr, mel) float32  legacy mode: power mel spectrogram, or its TR mean
``frame_mask``          (tr, frame)                  bool     which mel columns are the TR's own
``onset``               (tr)                         float64  seconds from the start of the film
``valid``               (tr)                         bool     the film lasts through this TR; False: padding
======================  ===========================  =======  ==================================================

and a JSON sidecar in the manner of BIDS beside it. ``attrs["kind"]``, never a dtype, says whether the numbers are
``"codes"`` (categories) or ``"continuous"``.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet import __version__
from giblet.errors import InputError
from giblet.files import atomic_path
from giblet.timing import TAIL, TRGrid, exact

CODES, CONTINUOUS = "codes", "continuous"
ENCODEC, MEL = "encodec24k", "mel"
REQUIRED = (
    "variable",
    "tr",
    "frame_rate",
    "kind",
    "desc",
    "source",
    "source_sha256",
    "film_duration",
    "duration",
    "settings",
    "giblet_version",
)


def feature_path(source: str | Path, desc: str, folder: str | Path = ".") -> Path:
    """Where the features of a film stand: ``<folder>/<film>_desc-<desc>_features.nc``."""
    return Path(folder) / f"{Path(source).stem}_desc-{desc}_features.nc"


def sidecar_path(path: str | Path) -> Path:
    """The JSON file that stands beside a feature file."""
    return Path(path).with_suffix(".json")


def new_features(
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]],
    grid: TRGrid,
    *,
    film_duration: float | Fraction,
    **attrs: Any,
) -> xr.Dataset:
    """A Dataset on the clock of `grid`.

    Parameters
    ----------
    variables : dict
        Name to (dimensions, array); the first is what the file is about.
    grid : TRGrid
    film_duration : float or Fraction
        Seconds of film there were; TRs that it does not cover to within 50 ms are not ``valid``.
    **attrs
        What the file shall say of itself; dictionaries become JSON text, None is left out.

    Returns
    -------
    xarray.Dataset
    """
    tr = exact(grid.tr)
    covered = int((exact(film_duration) + TAIL) // tr)
    data: dict[str, Any] = dict(variables)
    data["onset"] = (("tr",), grid.onset, {"units": "s", "long_name": "onset of the TR from the start of the film"})
    data["valid"] = (("tr",), np.arange(grid.n_trs) < covered, {"long_name": "the film lasts through this TR"})
    own: dict[str, Any] = {
        "variable": next(iter(variables)),
        "tr": float(tr),
        "frame_rate": float(exact(grid.frame_rate)),
        **attrs,
    }
    own["film_duration"] = float(film_duration)
    own["giblet_version"] = __version__
    own = {k: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for k, v in own.items() if v is not None}
    return xr.Dataset(data, attrs=own)


def grid_of(features: xr.Dataset) -> TRGrid:
    """The clock that a feature file is on."""
    return TRGrid(float(features.attrs["tr"]), int(features.sizes["tr"]), float(features.attrs["frame_rate"]))


def save_features(features: xr.Dataset, path: str | Path) -> Path:
    """Write a feature file and its sidecar, each whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written to or the disk is full; nothing stands by the final name then.
    """
    path = Path(path)
    packed = {name: {"zlib": True, "complevel": 4} for name, v in features.data_vars.items() if v.ndim > 1 and v.size}
    # Into memory first: HDF5 on a full disk can lose its own error, a plain write cannot.
    content = features.to_netcdf(engine="h5netcdf", encoding=packed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    with atomic_path(sidecar_path(path)) as temporary:
        temporary.write_text(sidecar_text(features), encoding="utf-8")
    return path


def load_features(path: str | Path) -> xr.Dataset:
    """Read a feature file into memory and check that it is one.

    Raises
    ------
    InputError
        If there is no such file, it is not a giblet feature file, it is damaged, or its codes are out of range.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such feature file: {path}; giblet extract makes one from a film")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name one feature file (*_features.nc)")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            features = opened.load()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as exc:
        raise InputError(f"{path} is not a feature file, or is damaged ({' '.join(str(exc).split())[:120]})") from exc
    missing = [name for name in REQUIRED if name not in features.attrs]
    if missing or "tr" not in features.sizes or features.attrs["variable"] not in features:
        raise InputError(f"{path} is netCDF but not a giblet feature file: it lacks {', '.join(missing) or 'its data'}")
    features.attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in features.attrs.items()}
    _check(features, path)
    return features


def _check(features: xr.Dataset, path: Path) -> None:
    """The shapes that the clock asks for, and codes that are codes."""
    grid = grid_of(features)
    if "codes" not in features:
        return
    codes, size = features["codes"], int(features.attrs.get("codebook_size", 0))
    if features.attrs["kind"] != CODES or codes.dims != ("tr", "codebook", "frame") or codes.dtype.kind not in "iu":
        raise InputError(
            f"{path}: codes are {codes.dtype} over {codes.dims}, kind {features.attrs['kind']!r}; damaged?"
        )
    if codes.sizes["frame"] != grid.frames_per_tr:
        raise InputError(
            f"{path}: {codes.sizes['frame']} frames per TR, but its clock has {grid.frames_per_tr}; damaged?"
        )
    for name in ("codes", "spill"):
        values = features[name].values
        if values.size and (values.min() < 0 or values.max() >= size):
            bad = values.max() if values.max() >= size else values.min()
            raise InputError(f"{path}: {name} hold {bad}, outside [0, {size - 1}]; extract the film again")


def up_to_date(path: str | Path, **expected: Any) -> bool:
    """Whether a feature file stands at `path`, whole, with these attributes, made by this version.

    Parameters
    ----------
    path : str or Path
    **expected
        Attributes that decide what the features are: source hash, settings, codec fingerprint; dictionaries are
        compared as JSON text.
    """
    try:
        features = load_features(path)
    except InputError:
        return False
    sidecar = sidecar_path(path)
    if not sidecar.is_file() or sidecar.read_bytes() != sidecar_text(features).encode():
        return False
    expected["giblet_version"] = __version__
    wanted = {k: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for k, v in expected.items()}
    return all(features.attrs.get(name) == value for name, value in wanted.items())


def metadata_of(features: xr.Dataset) -> dict[str, Any]:
    """What a feature file holds beside its main array: attributes, clock, masks, spill."""
    beside = {str(name): v.values for name, v in features.data_vars.items() if name != main_variable(features)}
    return {**features.attrs, "settings": json.loads(features.attrs["settings"]), **beside}


def main_variable(features: xr.Dataset) -> str:
    """The variable that the file is about: ``codes`` or ``mel``."""
    return str(features.attrs["variable"])


def sidecar_text(features: xr.Dataset) -> str:
    """The sidecar's JSON: BIDS names where BIDS has one, the file's own attributes below them."""
    attrs = dict(features.attrs)
    attrs["settings"] = json.loads(attrs["settings"])
    name = main_variable(features)
    content = {
        "Description": f"{attrs['desc']} features of {attrs['source']}, grouped by volumes of the scan",
        "RepetitionTime": attrs["tr"],
        "SamplingFrequency": attrs["frame_rate"],
        "StartTime": float(features["onset"].values[0]),
        "NumberOfVolumes": int(features.sizes["tr"]),
        "NumberOfValidVolumes": int(features["valid"].sum()),
        "Dimensions": {name: dict(zip(map(str, features[name].dims), features[name].shape, strict=True))},
        "Sources": [attrs["source"]],
        "GeneratedBy": [{"Name": "giblet", "Version": attrs["giblet_version"]}],
        "giblet": attrs,
    }
    return json.dumps(content, indent=2, sort_keys=False, default=lambda v: v.item()) + "\n"


def describe(features: xr.Dataset) -> dict[str, Any]:
    """What a user wants to know of a feature file, as plain values for a table or JSON."""
    attrs, name = features.attrs, main_variable(features)
    grid = grid_of(features)
    film, whole = float(attrs["film_duration"]), float(grid.duration)
    return {
        "variable": name,
        "kind": attrs["kind"],
        "shape": list(features[name].shape),
        "dims": list(map(str, features[name].dims)),
        "dtype": str(features[name].dtype),
        "tr": attrs["tr"],
        "n_trs": grid.n_trs,
        "valid_trs": int(features["valid"].sum()),
        "grid_duration": whole,
        "film_duration": film,
        "cut": max(0.0, film - whole),
        "padded": max(0.0, whole - film),
        **{k: attrs[k] for k in sorted(attrs) if k not in ("variable", "tr", "kind", "film_duration", "settings")},
        "settings": json.loads(attrs["settings"]),
    }
