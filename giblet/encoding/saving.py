"""A fit on disk: arrays as safetensors, all else as JSON in the header of the same file; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from giblet.encoding.folds import BlockedFolds
from giblet.encoding.preparation import Band
from giblet.errors import CheckpointError, InputError, reading
from giblet.files import atomic_path
from giblet.version import __version__

if TYPE_CHECKING:
    from giblet.encoding.model import EncodingModel

FORMAT = "giblet-encoding-1"
ENTRY = "giblet"
ARRAYS = (
    "weights_", "offset_", "level_", "best_alphas_", "cv_scores_", "band_weights_", "bold_spread_", "fitted_voxels_",
)  # fmt: skip


def save_fit(model: EncodingModel, path: Path) -> Path:
    """Write a fit.

    Parameters
    ----------
    model : EncodingModel
    path : Path
        Ends in ``.safetensors``.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If an option cannot be written, or the file cannot.
    """
    if callable(model.hrf):
        raise InputError("hrf is a function, which is not saved: convolve the features first, and fit with hrf=None")
    about = {
        "bands": {name: band.n_features for name, band in model.bands_.items()},
        "one_array": model.one_array_,
        "by_run": model.by_run_,
        "dtype": model.dtype_.name,
        "notes": model.notes_,
    }
    arrays = {name: np.ascontiguousarray(getattr(model, name)) for name in ARRAYS}
    for number, band in enumerate(model.bands_.values()):
        arrays |= {f"band.{number}.{name}": own for name, own in band.arrays().items()}
    return write_fit(model, path, FORMAT, about, arrays)


def write_fit(model: Any, path: Path, kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays of a fit, its options, and what else there is to say of it.

    Parameters
    ----------
    model : EncodingModel or DecodingModel
        Its options are written.
    path : Path
        Ends in ``.safetensors``.
    kind : str
        The format, with its version.
    about : mapping of str to object
    arrays : mapping of str to ndarray

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the name, or an option, cannot be written, or the file cannot.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path.name} does not end in .safetensors: a saved fit does")
    options = model.get_params(deep=False)
    if isinstance(model.cv, BlockedFolds):
        options["cv"] = {"n_splits": model.cv.n_splits, "gap": float(model.cv.gap), "tr": float(model.cv.tr)}
    elif not isinstance(model.cv, (int, str)):
        options["cv"] = {"not saved": repr(type(model.cv).__name__)}
    told = {"format": kind, "giblet_version": __version__, "options": options, **about}
    whole = {name: np.ascontiguousarray(own) for name, own in arrays.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(whole, metadata={ENTRY: json.dumps(told, default=_plain)}))
    return path


def read_arrays(path: Path, kind: str, remedy: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What :func:`write_fit` wrote.

    Parameters
    ----------
    path : Path
    kind : str
        The format, with its version.
    remedy : str
        What is said of a file that cannot be read.

    Returns
    -------
    about : dict
        With the options as the estimator takes them.
    arrays : dict of str to ndarray

    Raises
    ------
    CheckpointError
        If the file is damaged, no fit, or of another version.
    """
    with reading(path, remedy, CheckpointError), safe_open(str(path), framework="np") as file:
        about = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
        said = about.get("format")
        arrays = {name: file.get_tensor(name) for name in file.keys()} if said == kind else {}  # noqa: SIM118
    if said != kind:
        raise CheckpointError(f"{path} has format {said!r}: this version reads {kind!r}; fit anew")
    options = about.get("options")
    if isinstance(options, dict) and isinstance(options.get("cv"), dict):
        options["cv"] = 5 if "not saved" in options["cv"] else BlockedFolds(**options["cv"])
    return about, arrays


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as JSON has them."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (Sequence, Mapping)):
        return list(value)
    raise InputError(f"{value!r} cannot be saved with a fit: give plain numbers, words and lists as options")


def read_fit(kind: type[EncodingModel], path: Path) -> EncodingModel:
    """Read a fit.

    Parameters
    ----------
    kind : type
        What to make.
    path : Path

    Returns
    -------
    EncodingModel

    Raises
    ------
    CheckpointError
        If the file is damaged, no fit, or of another version.
    """
    remedy = "it is no encoding model, or damaged: a file of EncodingModel.save is needed"
    about, arrays = read_arrays(path, FORMAT, remedy)
    try:
        model = kind(**about["options"])
        for name in ARRAYS:
            setattr(model, name, arrays[name])
        model.bands_ = {}
        for number, name in enumerate(about["bands"]):
            own = {field: arrays[f"band.{number}.{field}"] for field in Band.__dataclass_fields__}
            model.bands_[name] = Band(**own)
        model.one_array_, model.by_run_ = bool(about["one_array"]), bool(about["by_run"])
        model.dtype_, model.notes_ = np.dtype(about["dtype"]), list(about["notes"])
    except (KeyError, TypeError, InputError) as exc:
        raise CheckpointError(f"{path} holds no encoding model ({type(exc).__name__}: {exc}); fit anew") from exc
    return model
