"""The picture of films as features on the clock of a scan, and features back into a film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.embeddings import ImageModel
from giblet.data.frames import scaled
from giblet.data.parts import Parts
from giblet.data.picture import PictureReader, ShownFrame, write_pictures
from giblet.data.processor import ExtractionSettings, MadeOfSettings
from giblet.data.sources import FromPicture
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import CONTINUOUS, VIDEO, main_variable, metadata_of, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import shares, tr_of, volume_grid
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

    from giblet.data.rows import Rows

_CODED = np.arange(256) / 255
LINEAR = np.where(_CODED <= 0.04045, _CODED / 12.92, ((_CODED + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""Light of each 8-bit sRGB value, 0 to 1 (IEC 61966-2-1)."""
FRAMES_AT_ONCE = 32
"""Frames by TR that are read at a time to be shown again."""


class VideoSettings(ExtractionSettings):
    """Options of picture feature extraction. Same film, same settings, same model: same file."""

    size: tuple[int, int] = Field((90, 160), description="height and width of the frames kept")
    frame: Literal["mean", "middle"] = Field("mean", description="what stands for a TR")
    track: int | None = Field(None, ge=0, description="the sound track used; film zero depends on it")
    model: str | None = Field(None, description="image model for embeddings: a folder or a hub name")
    image_fit: Literal["crop", "squash", "pad"] = Field(
        "crop", description="how pictures come into the image model's shape"
    )
    device: str = Field("auto", description="of the model: 'auto', 'cpu', 'cuda' or 'mps'")


def luminance_of(pixels: np.ndarray) -> np.ndarray:
    """Relative luminance, ``0.2126 R + 0.7152 G + 0.0722 B`` of linearised sRGB, 0 to 1.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (..., 3)

    Returns
    -------
    ndarray of float32, shape (...)

    References
    ----------
    IEC 61966-2-1 (the sRGB curve) and ITU-R BT.709 (the weights).
    """
    return LINEAR[pixels] @ np.array([0.2126, 0.7152, 0.0722], np.float32)


@fill_doc
class VideoProcessor(MadeOfSettings, FromPicture):
    """Turns the picture of a film into features by TR, and pictures by TR into a film.

    A frame belongs to every TR in which it is on the screen, by as many seconds as it is there.

    Parameters
    ----------
    tr : float
        %(tr)s
    size : tuple of int
        Height and width of the frames kept; the picture, turned and mirrored as the film says, is scaled to it,
        whatever its shape.
    frame : {"mean", "middle"}
        What stands for a TR: the mean of the frames shown in it, weighted by how long each is shown, so that no flash
        is missed; or the sharp frame on the screen at mid-TR, which misses what is not there just then.
    track : int, optional
        The sound track used, from 0: sound and picture share film zero.
    model : str, optional
        Image model for an embedding of the frame at mid-TR: a folder or a hub name
        (``"facebook/dinov2-small"``).
    image_fit : {"crop", "squash", "pad"}
        How a picture comes into the shape that the model wants: as the model's own processor does it, which for most
        cuts off the sides; or whole, squashed or with black bars (see :class:`giblet.data.embeddings.ImageModel`).
    device : str
        Of the model: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Raises
    ------
    InputError
        If an option is out of range or the model cannot be loaded.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = VideoSettings
    padding: ClassVar[str] = "black"
    resumable: ClassVar[bool] = True
    by_rows: ClassVar[bool] = True
    desc = VIDEO
    looks_ahead: ClassVar[str] = ""

    def __init__(
        self,
        *,
        tr: float = 1.5,
        size: tuple[int, int] = (90, 160),
        frame: str = "mean",
        track: int | None = None,
        model: str | None = None,
        image_fit: str = "crop",
        device: str = "auto",
    ) -> None:
        self.settings = VideoSettings.make(
            tr=tr, size=size, frame=frame, track=track, model=model, image_fit=image_fit, device=device
        )
        if min(self.settings.size) < 1:
            raise InputError(f"size is {size}; expected height and width of at least 1 pixel")
        self.model = None if model is None else ImageModel(model, device=device, fit=image_fit)

    def provenance(self, path: str | Path, n_trs: int | None = None) -> dict[str, Any]:
        """The attributes that decide what the features of a film are; equal ones mean an equal file.

        Parameters
        ----------
        path : str or Path
            The film.
        n_trs : int, optional
            As for :meth:`extract`.

        Returns
        -------
        dict
            ``source_sha256``, ``settings`` and ``model_fingerprint``, which is None without a model.

        Raises
        ------
        InputError
            If `n_trs` is below 1.
        """
        settings = VideoSettings.make(**{**self.settings.model_dump(), "n_trs": n_trs})
        fingerprint = None if self.model is None else self.model.fingerprint  # None: a file that has vectors is another
        of_the_model = set() if self.model is not None else {"image_fit"}
        return {
            "source_sha256": sha256_of(path),
            "settings": settings.model_dump(mode="json", exclude={"model", "device", *of_the_model}),
            "model_fingerprint": fingerprint,
        }

    @fill_doc
    def video_to_features(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        progress: Progress | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Frames of a film by TR, and what :meth:`extract` puts beside them.

        Parameters
        ----------
        path : str or Path
            Any film that FFmpeg reads.
        n_trs : int, optional
            As for :meth:`extract`.
        progress : callable, optional
            %(progress)s

        Returns
        -------
        features : ndarray of uint8, shape (n_trs, height, width, 3)
            sRGB.
        metadata : dict
            All else that the feature file holds: its other variables and its attributes.

        Raises
        ------
        InputError
            If the film cannot be read or has no picture.

        See Also
        --------
        VideoProcessor.extract : The same as the Dataset of a feature file.
        VideoProcessor.features_to_video : The way back.
        """
        dataset = self.extract(path, n_trs, progress=progress)
        return dataset[main_variable(dataset)].values, metadata_of(dataset)

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        parts: Parts | None = None,
        rows: Rows | None = None,
    ) -> xr.Dataset:
        """Features of a film's picture as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            Any film that FFmpeg reads.
        n_trs : int, optional
            Volumes of the scan: a longer film is cut, a shorter one padded with black; ``valid`` says which TRs the
            film covers. By default as many as the film fills, sound included.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s
        parts : Parts, optional
            %(parts)s
        rows : Rows, optional
            %(rows)s

        Returns
        -------
        xarray.Dataset
            ``frames`` uint8 (tr, row, column, rgb). Float32 (tr): ``luminance``, mean over pixels and time of the
            relative luminance, 0 to 1; ``contrast``, the RMS contrast: standard deviation of the luminance over
            pixels, mean over time; ``luminance_change``, the absolute change of luminance, mean over pixels, from frame
            to frame, summed over the changes in the TR and divided by its seconds of picture: 25 and 50 frames/s agree
            as far as the picture moves the same; ``shown``, share of the TR with a picture. Where ``shown`` is 0
            the frame is black and the series are 0. With a model also ``embedding`` float32 (tr, dim) and
            ``embedding_mask`` bool (tr): whether a frame is shown at mid-TR.

        Raises
        ------
        InputError
            If the film cannot be read or has no picture.

        References
        ----------
        RMS contrast: E. Peli (1990), Contrast in complex images, J. Opt. Soc. Am. A 7, 2032-2040.
        """
        from giblet.data.rows import Rows  # here, as xarray takes a second to import

        reader = PictureReader(path, self.settings.track)
        tr = exact(self.settings.tr, "TR")
        end = None if n_trs is None else volume_grid(self.settings.tr, n_trs, 0).duration
        by_tr = _ByTR(tr, self.settings.size, self.settings.frame, rows or Rows(), self.model, parts)
        for shown, pixels in scaled(reader, self.settings.size, until=end):
            if pixels is not None:  # the film is read to its end: what is cut must be known, too
                by_tr.add(shown if end is None else replace(shown, end=min(shown.end, end)), pixels)
            if progress is not None:
                progress(float(shown.end), reader.info.duration_hint)
        grid = volume_grid(self.settings.tr, n_trs, reader.film_duration)
        about_model = {} if self.model is None else {"model": self.model.name}
        return new_features(
            by_tr.variables(grid.n_trs),
            grid,
            film_duration=reader.film_duration,
            kind=CONTINUOUS,
            desc=VIDEO,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            **about_model,
            track_delay=reader.info.video_offset,
            duration=float(grid.duration if n_trs else min(reader.film_duration, grid.duration)),
            damaged_frames=reader.damaged,
            overlapping_frames=reader.overlapping,
            mended_frames=reader.mended,
        )

    def features_to_video(self, features: np.ndarray, path: str | Path) -> Path:
        """Write frames by TR as an mp4 that shows each for exactly one TR.

        Parameters
        ----------
        features : ndarray of uint8 or float, shape (n_trs, height, width, 3)
            Floats must lie in [0, 255]; they are rounded. Height and width must be even. What is no ndarray but has a
            shape, as a variable on disk, is read row by row.
        path : str or Path
            ``.mp4``.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        InputError
            If the frames have another shape or are out of range, the ending is another, or the file cannot be written.
        """
        if not hasattr(features, "shape"):
            features = np.asarray(features)
        if len(features.shape) != 4 or features.shape[-1] != 3 or not all(features.shape):
            raise InputError(f"frames have shape {features.shape}; expected (n_trs, height, width, 3)")
        return write_pictures(path, _pictures(features), exact(self.settings.tr))


def _pictures(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Frames one by one, as uint8."""
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        some = np.asarray(frames[start : start + FRAMES_AT_ONCE])
        if some.dtype != np.uint8:
            if not (np.isfinite(some).all() and some.min() >= 0 and some.max() <= 255):
                raise InputError(f"frames are {some.dtype} outside [0, 255] or not finite: clip predictions first")
            some = np.rint(some).astype(np.uint8)
        yield from some


def _embedded(model: ImageModel, shown: ShownFrame) -> dict[str, np.ndarray]:
    return {"vector": model.embed([shown.pixels()])[0]}


class _ByTR:
    """Sums over the TRs of a film, one frame after the other."""

    def __init__(
        self,
        tr: Fraction,
        size: tuple[int, int],
        frame: str,
        rows: Rows,
        model: ImageModel | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._parts = parts or Parts()
        self.tr, self.size, self.frame, self.model = tr, size, frame, model
        self.frames = rows
        self.sums: dict[int, np.ndarray] = {}  # seconds shown, luminance x s, contrast x s, motion
        self.embeddings: dict[int, np.ndarray] = {}
        self._mean, self._at = np.zeros((*size, 3)), -1  # the TR that is still being summed
        self._before: np.ndarray | None = None

    def add(self, shown: ShownFrame, pixels: np.ndarray) -> None:
        light = luminance_of(pixels)
        values = np.array([1, light.mean(dtype=np.float64), light.std(dtype=np.float64), 0])
        for k, seconds in shares(shown.start, shown.end, self.tr):
            self.sums[k] = self.sums.get(k, 0) + values * float(seconds)
            if self.frame == "mean":
                if k != self._at:
                    self._close()
                    self._at = k
                self._mean += pixels * float(seconds)
        if self._before is not None:
            self.sums[tr_of(shown.start, self.tr)][3] += np.abs(light - self._before).mean(dtype=np.float64)
        self._before = light
        # Mid-TR moments (k + 1/2) tr in [start, end).
        half = Fraction(1, 2)
        for k in range(ceil(shown.start / self.tr - half), ceil(shown.end / self.tr - half)):
            if self.frame == "middle":
                self.frames[k] = pixels
            if self.model is not None:
                self.embeddings[k] = self._parts.take(partial(_embedded, self.model, shown))["vector"]

    def _close(self) -> None:
        if self._at >= 0:
            self.frames[self._at] = np.rint(self._mean / self.sums[self._at][0]).astype(np.uint8)
            self._mean[:] = 0

    def variables(self, n_trs: int) -> dict[str, Any]:
        if self.frame == "mean":
            self._close()
        frames = self.frames.table(n_trs, (*self.size, 3), np.uint8)
        sums = np.zeros((n_trs, 4))
        for k, value in self.sums.items():
            if k < n_trs:  # grid_for opens no TR for a tail of 50 ms
                sums[k] = value
        seconds = sums[:, :1]
        series = np.divide(sums[:, 1:], seconds, out=np.zeros((n_trs, 3)), where=seconds > 0).astype(np.float32)
        variables: dict[str, Any] = {"frames": (("tr", "row", "column", "rgb"), frames)}
        for column, name in enumerate(("luminance", "contrast", "luminance_change")):
            variables[name] = (("tr",), series[:, column])
        variables["shown"] = (("tr",), (sums[:, 0] / float(self.tr)).astype(np.float32))
        if self.model is not None:
            embedding = np.zeros((n_trs, self.model.dim), np.float32)
            there = [k for k in self.embeddings if k < n_trs]
            for k in there:
                embedding[k] = self.embeddings[k]
            variables["embedding"] = (("tr", "dim"), embedding)
            variables["embedding_mask"] = (("tr",), np.isin(np.arange(n_trs), there))
        return variables
