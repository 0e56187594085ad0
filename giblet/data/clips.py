"""What a video model makes of the clips of a film, one for each volume of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.parts import Parts
from giblet.data.picture import PictureReader, ShownFrame
from giblet.data.processor import ExtractionSettings, MadeOfSettings
from giblet.data.sources import FromPicture
from giblet.data.video_models import VideoModel
from giblet.docs import fill_doc
from giblet.features import CONTINUOUS, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import volume_grid
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

CLIPS = "clips"


class VideoClipSettings(ExtractionSettings):
    """Options of the vectors of clips. Same film, same settings, same model: same file."""

    model: str = Field("MCG-NJU/videomae-base", description="video model: a folder or a hub name")
    layers: tuple[int, ...] | None = Field(None, description="hidden states kept; the last by default")
    seconds: float = Field(2.0, gt=0, le=60, description="length of a clip")
    causal: bool = Field(True, description="clips end with their TR; otherwise its middle is theirs")
    image_fit: Literal["crop", "squash", "pad"] = Field("crop", description="how frames come into the model's shape")
    track: int | None = Field(None, ge=0, description="the sound track used; film zero depends on it")
    device: str = Field("auto", description="of the model: 'auto', 'cpu', 'cuda' or 'mps'")


@fill_doc
class ClipProcessor(MadeOfSettings, FromPicture):
    """Turns the picture of a film into the vectors of a video model, one clip for each TR.

    Parameters
    ----------
    tr : float
        %(tr)s
    model : str
        A folder or a hub name (see :class:`giblet.data.video_models.VideoModel`).
    layers : sequence of int, optional
        Hidden states that are kept, 0 being what the first layer gets; by default the last.
    seconds : float
        Length of a clip, of which the model sees as many frames as it was made for, evenly spaced.
    causal : bool
        A clip ends with its TR, so that what happens later changes no TR before. If False, the middle of the clip is
        that of the TR.
    image_fit : {"crop", "squash", "pad"}
        How a frame comes into the shape that the model wants.
    track : int, optional
        The sound track used, from 0: sound and picture share film zero.
    device : str
        %(device)s

    Raises
    ------
    InputError
        If an option is out of range or the model cannot be loaded.

    See Also
    --------
    giblet.data.video.VideoProcessor : embeds single frames.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = VideoClipSettings
    padding: ClassVar[str] = "no clips"
    resumable: ClassVar[bool] = True
    desc = CLIPS

    def __init__(
        self,
        *,
        tr: float = 1.5,
        model: str = "MCG-NJU/videomae-base",
        layers: tuple[int, ...] | None = None,
        seconds: float = 2.0,
        causal: bool = True,
        image_fit: str = "crop",
        track: int | None = None,
        device: str = "auto",
    ) -> None:
        self.settings = VideoClipSettings.make(
            tr=tr, model=model, layers=layers, seconds=seconds, causal=causal, image_fit=image_fit, track=track,
            device=device,
        )  # fmt: skip
        self.model = VideoModel(model, device=device, fit=image_fit, layers=layers)

    @property
    def looks_ahead(self) -> str:
        """Why features depend on pictures after their TR; empty where they do not."""
        ahead = (exact(self.settings.seconds) - exact(self.settings.tr, "TR")) / 2
        return "" if self.settings.causal or ahead <= 0 else f"clips end {float(ahead):g} s after their TR"

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
            ``source_sha256``, ``settings`` and ``model_fingerprint``.

        Raises
        ------
        InputError
            If `n_trs` is below 1.
        """
        settings = VideoClipSettings.make(**{**self.settings.model_dump(), "n_trs": n_trs, "layers": self.model.layers})
        return {
            "source_sha256": sha256_of(path),
            "settings": settings.model_dump(mode="json", exclude={"model", "device"}),
            "model_fingerprint": self.model.fingerprint,
        }

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        parts: Parts | None = None,
    ) -> xr.Dataset:
        """Vectors of a film's clips as the Dataset of a feature file (see :mod:`giblet.features`).

        Parameters
        ----------
        path : str or Path
            Any film that FFmpeg reads.
        n_trs : int, optional
            Volumes of the scan. By default as many as the film fills, sound included.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s
        parts : Parts, optional
            %(parts)s

        Returns
        -------
        xarray.Dataset
            ``layer_<k>`` float32 (tr, dim) for each layer, and ``layer_<k>_mask`` bool (tr): whether the clip of the TR
            shows anything; where it does not, 0 is held. A clip that reaches beyond the picture's first or last frame
            holds that frame there.

        Raises
        ------
        InputError
            If the film cannot be read or has no picture.
        """
        reader, own = PictureReader(path, self.settings.track), self.settings
        parts = parts or Parts()
        found = {
            k: parts.take(partial(self._vectors, clip))["vectors"] for k, clip in self._clips(reader, n_trs, progress)
        }
        grid = volume_grid(own.tr, n_trs, reader.film_duration)
        there = np.isin(np.arange(grid.n_trs), list(found))
        vectors = np.zeros((grid.n_trs, len(self.model.layers or ()), self.model.dim), np.float32)
        for k in np.flatnonzero(there).tolist():
            vectors[k] = found[k]
        variables: dict[str, Any] = {}
        for number, layer in enumerate(self.model.layers or ()):
            variables[f"layer_{layer}"] = (("tr", "dim"), vectors[:, number].copy())
            variables[f"layer_{layer}_mask"] = (("tr",), there)
        return new_features(
            variables,
            grid,
            film_duration=reader.film_duration,
            kind=CONTINUOUS,
            desc=CLIPS,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            model=self.model.name,
            clip_frames=self.model.n_frames,
            duration=float(grid.duration if n_trs else min(reader.film_duration, grid.duration)),
            track_delay=reader.info.video_offset,
            damaged_frames=reader.damaged,
            overlapping_frames=reader.overlapping,
            mended_frames=reader.mended,
        )

    def _vectors(self, clip: np.ndarray) -> dict[str, np.ndarray]:
        return {"vectors": self.model.embed([clip])[0]}

    def _moments(self, k: int) -> list[Fraction]:
        """When the frames of the clip of TR `k` are on the screen."""
        tr, length, n = exact(self.settings.tr, "TR"), exact(self.settings.seconds), self.model.n_frames
        end = (k + 1) * tr if self.settings.causal else (k + Fraction(1, 2)) * tr + length / 2
        return [end - length + (i + Fraction(1, 2)) * length / n for i in range(n)]

    def _clips(
        self, reader: PictureReader, n_trs: int | None, progress: Progress | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """TRs and what is shown in them, (n_frames, height, width, 3); memory holds the frames of a few TRs."""
        open_ones: dict[int, tuple[list[Fraction], list[np.ndarray]]] = {}
        first, later = None, 0
        for shown in reader:
            pixels = _Pixels(shown)
            first = shown.start if first is None else first
            while (n_trs is None or later < n_trs) and (moments := self._moments(later))[0] < shown.end:
                if moments[-1] >= first:  # there is a picture in it
                    open_ones[later] = moments, []
                later += 1
            for k, (moments, frames) in list(open_ones.items()):
                while len(frames) < len(moments) and moments[len(frames)] < shown.end:
                    frames.append(pixels.get())
                if len(frames) == len(moments):
                    yield k, np.stack(open_ones.pop(k)[1])
            if progress is not None:
                progress(float(shown.end), reader.info.duration_hint)
        for k, (moments, frames) in open_ones.items():
            yield k, np.stack([*frames, *[frames[-1]] * (len(moments) - len(frames))])


class _Pixels:
    """The pixels of a frame as large as it is, made when they are first asked for."""

    def __init__(self, shown: ShownFrame) -> None:
        self.shown = shown
        self._made: np.ndarray | None = None

    def get(self) -> np.ndarray:
        if self._made is None:
            self._made = self.shown.pixels()
        return self._made
