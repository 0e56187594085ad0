"""Feature files back to sound, or to a film of one picture per TR."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from giblet.codec import load_codec
from giblet.data.audio import AudioProcessor
from giblet.data.text import TEXT
from giblet.data.video import VIDEO, VideoProcessor
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import check_sidecar, load_outline, main_variable, metadata_of, read_sidecar, sidecar_path
from giblet.files import check_writable, sha256_of, write_atomic
from giblet.progress import Progress
from giblet.renamed import renamed
from giblet.storage import bring, taking_urls
from giblet.timing import exact
from giblet.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from giblet.netcdf import Stored


@dataclass(frozen=True, repr=False)
class DecodedFile:
    """A sound file, or a film without sound, made from features."""

    path: Path
    duration: float
    """Seconds of sound or picture."""
    sample_rate: int | None
    """In Hz; None for a picture."""
    seconds: float
    """Wall-clock time spent."""

    def __repr__(self) -> str:
        rate = "picture" if self.sample_rate is None else f"{self.sample_rate} Hz"
        return f"<DecodedFile {self.path}: {self.duration:.3f} s, {rate}>"


@renamed(out="out_file")
@fill_doc
@taking_urls("features", into=("out_file",))
def decode(
    features: str | Path,
    out_file: str | Path | None = None,
    *,
    codec: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DecodedFile:
    """Turn a feature file back into sound, or into a film of one picture per TR.

    Parameters
    ----------
    features : str or Path
        As :func:`giblet.pipeline.extract` writes it, of sound or picture.
    out_file : str or Path, optional
        ``.wav`` or ``.flac``, for pictures ``.mp4``; by default ``<film>_desc-..._decoded.wav`` (``.mp4``) beside the
        features. A JSON sidecar beside it says what it was made from.
    codec : str, optional
        %(codec_now)s
    device : str
        %(device)s
    overwrite : bool
        Replace a file that was not made from these features, or that was changed since.
    progress : callable, optional
        Called with seconds done and seconds in all. It is not called for pictures.

    Returns
    -------
    DecodedFile

    Raises
    ------
    InputError
        If the file is not a feature file, is damaged, holds neither sound nor pictures, or the sound or film cannot be
        written or would replace a file of other origin or its sidecar.
    CodecError
        If the codec cannot be loaded or is not the one that made the codes.

    See Also
    --------
    giblet.pipeline.features.extract : Make a feature file from a film.
    giblet.features.load_features : Read a feature file.
    """
    start = time.perf_counter()
    dataset = load_outline(features)
    attrs = dataset.attrs
    picture = _is_picture(dataset, Path(features).name)
    if picture and codec is not None:
        raise InputError(f"{Path(features).name} holds pictures, which need no codec: leave out `codec`")
    name = str(features).removesuffix("_features.nc") + f"_decoded{'.mp4' if picture else '.wav'}"
    out_file = Path(name if out_file is None else out_file)
    check_writable(out_file.parent)
    bring(out_file, needed=False)
    made_from = sha256_of(features)
    if not overwrite:
        _check_decoded(out_file, Path(features).name, made_from)
    array: Any = dataset[main_variable(dataset)]  # read as it is decoded, where it is large
    if picture:
        rate, duration = None, float(exact(attrs["tr"]) * len(array))
        path = VideoProcessor(tr=attrs["tr"]).features_to_video(array, out_file)
    else:
        rate, duration = (
            int(attrs["sample_rate"]),
            min(float(attrs["duration"]), float(exact(attrs["tr"]) * len(array))),
        )
        processor = sound_decoder(dataset, codec=codec, device=device)
        path = processor.features_to_audio(array, out_file, metadata=metadata_of(dataset), progress=progress)
    about = _sidecar(dataset, Path(features).name, made_from, path, duration, rate)
    write_atomic(sidecar_path(path), json.dumps(about, indent=2) + "\n")
    return DecodedFile(path, duration, rate, time.perf_counter() - start)


def _sidecar(
    features: xr.Dataset | Stored, source: str, made_from: str, path: Path, duration: float, rate: int | None
) -> dict[str, Any]:
    """What stands beside a decoded file: of what it is, when it begins, and what it was made from."""
    attrs = features.attrs
    return {
        "Description": f"{'Picture' if rate is None else 'Sound'} decoded from {source}",
        "StartTime": float(features["onset"].values[0]),
        "Duration": duration,
        **({} if rate is None else {"SamplingFrequency": rate}),
        "Sources": [source],
        "GeneratedBy": [{"Name": "giblet", "Version": __version__}],
        "giblet": {
            "features_sha256": made_from,
            "file": path.name,
            "sha256": sha256_of(path),
            **{name: attrs[name] for name in ("codec", "codec_fingerprint", "bandwidth", "tr") if name in attrs},
        },
    }


def sound_decoder(features: xr.Dataset | Stored, *, codec: str | None = None, device: str = "auto") -> AudioProcessor:
    """Decoder that turns the codes or mel spectrogram of a feature file back into sound.

    Parameters
    ----------
    features : xarray.Dataset
        Of sound, as :func:`giblet.features.load_features` reads it.
    codec, device
        As for :func:`decode`.

    Returns
    -------
    AudioProcessor

    Raises
    ------
    CodecError
        If the codec cannot be loaded.
    """
    attrs = features.attrs
    if "codec" not in attrs:
        return AudioProcessor(use_encodec=False, tr=attrs["tr"], n_mels=features.sizes.get("mel", 2048))
    loaded = load_codec(codec or attrs["codec"], bandwidth=attrs["bandwidth"], device=device)
    return AudioProcessor(codec=loaded, tr=attrs["tr"])


def _is_picture(features: xr.Dataset | Stored, name: str) -> bool:
    """Whether a feature file holds pictures; if not, it holds sound, or cannot be decoded: an error says so."""
    attrs, variable = features.attrs, main_variable(features)
    if attrs["desc"] == VIDEO:
        return True
    if "sample_rate" in attrs and (variable == "mel" or (variable == "codes" and "codec" in attrs)):
        return False
    if attrs["desc"] in (TEXT, f"predicted{TEXT}"):
        raise InputError(
            f"{name} holds words as numbers, which are neither sound nor picture: "
            "giblet.data.text.nearest_segments finds the texts nearest to them"
        )
    shape = ", ".join(f"{dim} {n}" for dim, n in features[variable].sizes.items())
    raise InputError(
        f"{name} holds {attrs['desc']!r}, {variable} ({shape}), and only sound (codes, mel) and pictures of giblet "
        "extract, and the sound that giblet reconstruct predicts, can be decoded: name such a file"
    )


def _check_decoded(path: Path, source: str, made_from: str) -> None:
    """An error if a file of other origin stands where `source` shall be decoded to."""
    check_sidecar(path)
    if not path.exists():
        return
    replace = "name another `out_file`, or pass overwrite=True to replace it"
    about = read_sidecar(path) or {}
    if about.get("features_sha256") != made_from:
        raise InputError(f"{path} already exists and was not made from {source} as it is now: {replace}")
    if about.get("sha256") != sha256_of(path):
        raise InputError(f"{path} was changed since it was made from {source}: {replace}")
