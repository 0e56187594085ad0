"""The feature file: an xarray Dataset in netCDF4/HDF5 that carries its clock, its kind and where it came from.

``<film>_desc-encodec24k_features.nc`` holds

======================  ============================  =======  ==================================================
variable                dimensions                    dtype    meaning
======================  ============================  =======  ==================================================
``codes``               (tr, codebook, frame)         int32    frames that every TR has
``spill``               (tr, codebook, extra)         int32    the odd frame that some TRs have more
``spill_mask``          (tr, extra)                   bool     which TRs have it
``mel``                 (tr, mel, frame), (tr, mel)   float32  legacy mode: power mel spectrogram, or its TR mean
``frame_mask``          (tr, frame)                   bool     which mel columns are the TR's own
``onset``               (tr)                          float64  seconds from the start of the film
``valid``               (tr)                          bool     the film lasts through this TR; False: padding
======================  ============================  =======  ==================================================

and a JSON sidecar in the manner of BIDS beside it. ``attrs["kind"]``, never a dtype, says whether the numbers are
``"codes"`` (categories) or ``"continuous"``.

Three times that are easily taken for each other have a name each, all in seconds:

``track_delay``
    Attribute of sound and picture: from the start of the film to the start of the track that was read.
``table_time_at_tr_0``
    In ``settings`` of words: the second of the table's own clock at which TR 0 was laid.
``first_onset``
    Attribute of what was decoded from a brain: the second of the film at which its first TR begins, as its ``onset``.

A simulated scan (``desc`` "truth") has ``stimulus_time_at_volume_0``, which is what alignment asks for. Files that were
written when all of these were called ``start_offset`` are read under today's names: see :func:`in_todays_words`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from giblet.errors import InputError, reading
from giblet.files import atomic_path, check_there, read_json, sha256_of, write_atomic
from giblet.renamed import now_called
from giblet.storage import taking_urls
from giblet.timing import TRGrid, exact, tail_of
from giblet.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from giblet.netcdf import Stored

F = TypeVar("F", "xr.Dataset", "Stored")
CODES: Final = "codes"
CONTINUOUS: Final = "continuous"
REPLACE = "use another output folder, or pass overwrite=True to replace it"
DECODED = (".wav", ".flac", ".mp4")
"""What decoded sounds and films end in."""
ENCODEC, MEL, VIDEO = "encodec24k", "mel", "video"
MEANS_OF = {"word_length": "word_rate"} | dict.fromkeys(
    ("frames", "luminance", "contrast", "luminance_change"), "shown"
)
"""Means by TR, and the variable that says how much each is of: where that is 0 there is none, and 0 is held."""
VARIABLES_RENAMED = {"motion_energy": "luminance_change"}
"""Today's names of variables of the picture by those that they had before: what is called motion energy elsewhere, and
by :mod:`giblet.data.motion`, is the answer of Gabor filters."""
SIMULATED = "truth"
"""``desc`` of what a simulated brain was made from."""
PREDICTED = "predicted"
"""How ``desc`` of what was decoded from a brain begins."""
TEXT_RENAMED = {
    "start_offset": "table_time_at_tr_0",
    "onset": "onset_column",
    "offset": "offset_column",
    "duration": "duration_column",
    "text": "text_column",
}
"""Today's names of the settings of words, by those that they had before."""
MODEL_OPTIONS = {
    (ENCODEC, "codec_fingerprint"): " (AudioSettings.codec)",
    ("text", "model_fingerprint"): " (TextSettings.model)",
    ("language", "model_fingerprint"): " (LanguageSettings.model)",
    ("video", "model_fingerprint"): " (VideoSettings.model)",
    ("speech", "model_fingerprint"): " (SpeechSettings.model)",
    ("clips", "model_fingerprint"): " (VideoClipSettings.model)",
}
"""Which option names what has a fingerprint, by ``desc``."""
NUMBERS = ("tr", "frame_rate", "film_duration", "duration", "codebook_size")
WORDS = ("variable", "desc", "kind")
JSON_TEXT: dict[str, type] = {"settings": dict, "affine": list, "volume_shape": list, "run_lengths": list}
"""Attributes that are numbers, words, or JSON, in files that have them."""
DAMAGED = "it is damaged: copy or extract it again"
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
    """Where the features of a film stand: ``<folder>/<film>_desc-<desc>_features.nc``.

    Parameters
    ----------
    source : str or Path
        The film.
    desc : str
        What the features are, such as ``"encodec24k"``.
    folder : str or Path

    Returns
    -------
    Path
    """
    return Path(folder) / f"{Path(source).stem}_desc-{desc}_features.nc"


def sidecar_path(path: str | Path) -> Path:
    """The JSON file that stands beside a feature file.

    Parameters
    ----------
    path : str or Path
        The feature file.

    Returns
    -------
    Path
    """
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
        What the file shall say of itself; dictionaries become JSON text, None is left out. A file that
        :func:`load_features` shall read needs ``kind`` (``"codes"`` or ``"continuous"``), ``desc`` (what the features
        are, in the file's name), ``source`` (name of what they were made from), ``source_sha256``, ``duration``
        (seconds that they last) and ``settings`` (a dict); codes also ``codebook_size``. ``variable``, ``tr``,
        ``frame_rate``, ``film_duration`` and ``giblet_version`` are added here.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InputError
        If `film_duration` is not a finite number.
    """
    import xarray as xr

    tr = exact(grid.tr)
    covered = int((exact(film_duration) + tail_of(tr)) // tr)
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


def in_todays_words(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a feature file under the names that they have now.

    The rule: an attribute ``start_offset`` is ``stimulus_time_at_volume_0`` in the truth of a simulation,
    ``first_onset`` in what was decoded from a brain, and ``track_delay`` in every other file. In the ``settings`` of
    words (``desc`` "text") ``start_offset`` is ``table_time_at_tr_0``, and names of columns end in ``_column``. No
    value changes.

    Parameters
    ----------
    attrs : mapping
        As a file or its sidecar has them: ``settings`` JSON text or a mapping.

    Returns
    -------
    dict of str to object
        ``settings`` stays text or mapping as it was.

    Examples
    --------
    >>> in_todays_words({"desc": "encodec24k", "start_offset": 0.52})
    {'desc': 'encodec24k', 'track_delay': 0.52}
    """
    desc = str(attrs.get("desc", ""))
    begins = "first_onset" if desc.startswith(PREDICTED) else "track_delay"
    if desc == SIMULATED:
        begins = "stimulus_time_at_volume_0"
    today = {begins if name == "start_offset" else name: value for name, value in attrs.items()}
    settings = today.get("settings")
    if desc == "text" and settings:
        plain = json.loads(settings) if isinstance(settings, str) else settings
        if TEXT_RENAMED.keys() & plain.keys():
            plain = {TEXT_RENAMED.get(name, name): value for name, value in plain.items()}
            today["settings"] = json.dumps(plain, sort_keys=True) if isinstance(settings, str) else plain
    return today


def present_in(features: xr.Dataset, variable: str) -> np.ndarray:
    """Which TRs a variable says anything of, whatever number stands in the others.

    Parameters
    ----------
    features : xarray.Dataset
    variable : str

    Returns
    -------
    ndarray of bool, shape (n_trs,)
        False where ``<variable>_mask`` says so, and for means of nothing: the length of words where none begins
        (``word_rate`` is 0), the picture where none is ``shown``.
    """
    here = np.ones(features.sizes["tr"], bool)
    for beside in (f"{variable}_mask", MEANS_OF.get(variable)):
        if beside in features and features[beside].dims == ("tr",):
            here &= features[beside].values > 0
    return here


def grid_of(features: xr.Dataset | Stored) -> TRGrid:
    """The clock that a feature file is on.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`new_features` makes it.

    Returns
    -------
    TRGrid

    Raises
    ------
    InputError
        If its attributes are those of no clock.
    """
    return TRGrid(float(features.attrs["tr"]), int(features.sizes["tr"]), float(features.attrs["frame_rate"]))


@taking_urls(into=("path",))
def save_features(features: xr.Dataset, path: str | Path, *, options: Mapping[str, Any] | None = None) -> Path:
    """Write a feature file and its sidecar, each whole or not at all.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`new_features` makes it.
    path : str or Path
        Ending in ``.nc``; what stands there is replaced (see :func:`standing`).
    options : mapping, optional
        All that was asked for, for the sidecar: also what does not change the numbers, such as the device.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the folder cannot be written to or the disk is full; nothing stands by the final name then.

    See Also
    --------
    load_features : reads it again.
    """
    from giblet.netcdf import write_netcdf  # here, as h5py takes a while to import

    path = Path(path)
    with atomic_path(path) as temporary:
        write_netcdf(features, temporary)
    write_atomic(sidecar_path(path), sidecar_text(features, options))
    return path


@taking_urls("path")
def load_features(path: str | Path) -> xr.Dataset:
    """Read a feature file into memory and check that it is one.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    xarray.Dataset
        As :func:`new_features` makes it.

    Raises
    ------
    InputError
        If there is no such file, it is not a giblet feature file, it is damaged, or its codes are out of range.

    See Also
    --------
    giblet.pipeline.features.extract : Make a feature file from a film.
    giblet.pipeline.decoding.decode : Turn a feature file back into sound or a film.
    save_features : writes one.
    """
    path = _named(path)
    from giblet.netcdf import read_netcdf  # here, as xarray takes a second to import

    return _checked(read_netcdf(path), path)


@taking_urls("path")
def load_outline(path: str | Path) -> xr.Dataset | Stored:
    """As :func:`load_features`, if possible without xarray, and in memory that does not grow with the file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Stored or xarray.Dataset
        With the same attributes, sizes and numbers, large variables on disk. A Dataset where the file's main variable
        is no number.

    Raises
    ------
    InputError
        As :func:`load_features`.
    """
    path = _named(path)
    from giblet.netcdf import read_stored

    stored = read_stored(path)
    if stored is None or str(stored.attrs.get("variable")) not in stored:
        return load_features(path)
    return _checked(stored, path)


def _named(path: str | Path) -> Path:
    """The path of a file that is there."""
    path = Path(path)
    check_there(path, "feature file")
    return path


def _checked(features: F, path: Path) -> F:
    """What a file holds, found to be features, under today's names."""
    _check_attributes(features.attrs, path)
    features.attrs = in_todays_words(features.attrs)
    missing = [name for name in REQUIRED if name not in features.attrs]
    if missing or "tr" not in features.sizes or features.attrs["variable"] not in features:
        raise InputError(f"{path} is netCDF but not a giblet feature file: it lacks {', '.join(missing) or 'its data'}")
    for old, new in VARIABLES_RENAMED.items():
        if features.attrs["desc"] == VIDEO and old in features:
            raise InputError(f"{path}: its {now_called(old, new)}; extract the picture again, with overwrite=True")
    _check(features, path)
    return features


def _check_attributes(attrs: Mapping[str, Any], path: Path) -> None:
    """Raise if an attribute is not of the type that all who read features expect."""
    for name, value in attrs.items():
        if name in NUMBERS:
            usable = isinstance(value, (int, float, np.number)) and math.isfinite(value)
        elif name in WORDS:
            usable = isinstance(value, str)
        elif name in JSON_TEXT:
            with reading(f"{path}, {name}", DAMAGED):
                usable = isinstance(json.loads(value), JSON_TEXT[name])
        else:
            continue
        if not usable:
            raise InputError(f"{path}: its {name} is {str(value)[:60]!r}: {DAMAGED}")


def _check(features: xr.Dataset | Stored, path: Path) -> None:
    """The shapes that the clock asks for, and codes that are codes."""
    grid = grid_of(features)
    for name in ("onset", "valid", features.attrs["variable"]):
        if name not in features or features[name].dims[:1] != ("tr",):
            raise InputError(f"{path}: {name} is not there, or not by TR: {DAMAGED}")
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


def standing(
    path: str | Path, *, defaults: Mapping[str, Any] | None = None, **expected: Any
) -> xr.Dataset | Stored | None:
    """The feature file that stands where one with these attributes shall be written, if it is of the same work.

    Parameters
    ----------
    path : str or Path
    defaults : mapping, optional
        Settings that a file does not name had these values: it was written before there was such an option.
    **expected
        Attributes that decide what the features are: source hash, settings, fingerprints of codec or model.

    Returns
    -------
    Stored, xarray.Dataset or None
        As :func:`load_outline` reads it; None where nothing stands.

    Raises
    ------
    InputError
        If something else stands there, which a write would replace: the features of another film or of other
        settings (each is named, with both values), a damaged file, or a JSON file that is not giblet's.
    """
    path = Path(path)
    check_sidecar(path)
    if not path.exists():
        return None
    try:
        features = load_outline(path)
    except InputError as exc:
        raise InputError(f"{path} already exists and is not a complete feature file ({exc}): {REPLACE}") from exc
    if found := _differences(features, defaults or {}, expected):
        what = "is of another simulation" if features.attrs["desc"] == SIMULATED else "holds other features"
        raise InputError(f"{path} already exists and {what} ({'; '.join(found)}): {REPLACE}")
    return features


def is_current(features: xr.Dataset | Stored, path: str | Path) -> bool:
    """Whether features that were read from `path` were made by this version and have their own sidecar there.

    Parameters
    ----------
    features : xarray.Dataset
    path : str or Path
        The feature file.

    Returns
    -------
    bool
    """
    return features.attrs["giblet_version"] == __version__ and read_sidecar(path) == own_attributes(features)


def _differences(features: xr.Dataset | Stored, defaults: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """In which of the expected attributes features differ, in words: each with its old and its new value."""
    attrs, found = features.attrs, []
    for name, value in expected.items():
        if name == "settings":
            old = {**defaults, **json.loads(attrs["settings"])}
            new = {**defaults, **json.loads(json.dumps(value))}
            found += [
                f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}"
                for key in dict.fromkeys([*new, *old])
                if old.get(key) != new.get(key)
            ]
        elif attrs.get(name) != value:
            what = f"another {attrs['source']}" if name == "source_sha256" else name.replace("_", " ")
            option = MODEL_OPTIONS.get((attrs["desc"], name), "")
            found.append(f"{what}{option}, {str(attrs.get(name, 'none'))[:12]} -> {str(value or 'none')[:12]}")
    return found


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value).strip('"')


def read_sidecar(path: str | Path) -> dict[str, Any] | None:
    """What giblet says of a file in the JSON beside it; None where there is none, or none of giblet.

    Parameters
    ----------
    path : str or Path
        The file beside which the sidecar stands: features, or a decoded sound or film.

    Returns
    -------
    dict of str to object, or None
    """
    try:
        about = read_json(sidecar_path(path)).get("giblet")
        with reading(sidecar_path(path)):
            return in_todays_words(about) if isinstance(about, dict) else None
    except InputError:
        return None


def check_sidecar(path: str | Path) -> None:
    """An error if a JSON file that giblet did not write, or that is of another file, stands where that of `path` would.

    Parameters
    ----------
    path : str or Path
        The file that shall be written with a sidecar beside it; it need not exist yet.

    Raises
    ------
    InputError
        If such a JSON file stands there.
    """
    if sidecar_path(path).exists() and read_sidecar(path) is None:
        raise InputError(f"{sidecar_path(path)} already exists and was not made by giblet: {REPLACE}")
    if (other := _other_owner(Path(path))) is not None:
        raise InputError(
            f"{sidecar_path(path)}, which would be that of {Path(path).name}, is the sidecar of {other.name}, which "
            "would lose it: choose another name or output folder, or pass overwrite=True to replace it"
        )


def _other_owner(path: Path) -> Path | None:
    """The file that the sidecar which `path` would have was written for, if that is another one, and there."""
    about = read_sidecar(path)
    if about is None:
        return None
    if "features_sha256" not in about:
        owners = [path.with_suffix(".nc")]
    elif "file" in about:
        # No path is made of what a file says.
        owners = [one for one in path.parent.iterdir() if one.name == about["file"]]
    else:  # written before sidecars of sounds and films named them
        beside = [path.with_suffix(suffix) for suffix in DECODED]
        owners = [one for one in beside if one.is_file() and sha256_of(one) == about.get("sha256")]
    return next((one for one in owners if one != path and one.is_file()), None)


def metadata_of(features: xr.Dataset | Stored) -> dict[str, Any]:
    """What a feature file holds beside its main array: attributes, clock, masks, spill.

    Parameters
    ----------
    features : xarray.Dataset or Stored
        As :func:`load_features` or :func:`load_outline` reads it.

    Returns
    -------
    dict of str to object
        The attributes, ``settings`` as a dict, and the other variables as arrays, all by name.
    """
    beside = {str(name): v.values for name, v in features.data_vars.items() if name != main_variable(features)}
    return {**features.attrs, "settings": json.loads(features.attrs["settings"]), **beside}


def table_of(features: xr.Dataset) -> pd.DataFrame:
    """A feature file as a table of one row per TR.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`load_features` reads it.

    Returns
    -------
    pandas.DataFrame
        The index is ``onset``, seconds from the start of the film. A variable of one number per TR is a column of its
        name; of several each is a column, as ``codes_3_17`` for codebook 3 and frame 17, counted from 0.

    Examples
    --------
    >>> rates = {"word_rate": (("tr",), np.array([2.0, 0.5]))}
    >>> about = {"kind": "continuous", "desc": "text", "source": "a.tsv", "source_sha256": "", "settings": {}}
    >>> features = new_features(rates, TRGrid(2.0, 2, 0.5), film_duration=4.0, duration=4.0, **about)
    >>> table_of(features)  # doctest: +NORMALIZE_WHITESPACE
           word_rate  valid
    onset
    0.0          2.0   True
    2.0          0.5   True
    """
    import pandas as pd

    columns = []
    for name, variable in features.data_vars.items():
        if variable.dims[:1] != ("tr",) or name == "onset":
            continue
        numbers = [f"{name}{''.join(f'_{k}' for k in place)}" for place in np.ndindex(variable.shape[1:])]
        columns.append(pd.DataFrame(variable.values.reshape(len(variable), -1), columns=numbers))
    return pd.concat(columns, axis=1).set_index(pd.Index(features["onset"].values, name="onset"))


def main_variable(features: xr.Dataset | Stored) -> str:
    """The variable that a feature file is about.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`load_features` reads it.

    Returns
    -------
    str
        Of sound ``"codes"`` or ``"mel"``; of a picture ``"frames"``; of words ``"embedding"`` or ``"layer_16"``, or
        ``"word_rate"`` where there was no model; of a scan ``"bold"``; of a simulation's truth ``"signal"``; of what
        was decoded from a brain ``"codes"``, ``"mel"``, ``"video"`` or ``"text"``.
    """
    return str(features.attrs["variable"])


def sidecar_text(features: xr.Dataset, options: Mapping[str, Any] | None = None) -> str:
    """The sidecar's JSON: BIDS names where BIDS has one, all options, and the file's own attributes below them.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`new_features` makes it.
    options : mapping, optional
        All that was asked for, such as the device; left out by default.

    Returns
    -------
    str
    """
    attrs, name = own_attributes(features), main_variable(features)
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
        **({} if options is None else {"Options": dict(options)}),
        "giblet": attrs,
    }
    return json.dumps(content, indent=2, sort_keys=False) + "\n"


def own_attributes(features: xr.Dataset | Stored) -> dict[str, Any]:
    """The attributes of a feature file as JSON holds them.

    Parameters
    ----------
    features : xarray.Dataset

    Returns
    -------
    dict of str to object
        ``settings`` as a dict, arrays as lists.
    """
    attrs = {**features.attrs, "settings": json.loads(features.attrs["settings"])}
    return dict(json.loads(json.dumps(attrs, default=lambda v: v.tolist())))


def describe(features: xr.Dataset | Stored) -> dict[str, Any]:
    """What a user wants to know of a feature file, as plain values for a table or JSON.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`load_features` reads it.

    Returns
    -------
    dict of str to object
        ``variable``, ``kind``, ``shape``, ``dims`` and ``dtype`` of the main variable; ``tr``, ``grid_duration``,
        ``film_duration``, ``cut`` (film beyond the grid) and ``padded`` (grid beyond the film) in seconds; ``n_trs``,
        and ``valid_trs``, how many of them the film lasts through; ``settings`` as a dict; and all other attributes.
    """
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
        "valid_trs": int(features["valid"].values.sum()),
        "grid_duration": whole,
        "film_duration": film,
        "cut": max(0.0, film - whole),
        "padded": max(0.0, whole - film),
        **{k: attrs[k] for k in sorted(attrs) if k not in ("variable", "tr", "kind", "film_duration", "settings")},
        "settings": json.loads(attrs["settings"]),
    }
