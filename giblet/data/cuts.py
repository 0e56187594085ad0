"""The cuts of films as features on the clock of a scan: where PySceneDetect sees a new shot begin."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from giblet.data.frames import scaled
from giblet.data.picture import PictureReader
from giblet.data.pretrained import library
from giblet.data.processor import ExtractionSettings, MadeOfSettings
from giblet.data.sources import FromPicture
from giblet.docs import fill_doc
from giblet.features import CONTINUOUS, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import tr_of, volume_grid
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

CUTS = "cuts"

SIZE = (144, 256)
"""Height and width at which frames are compared, about what PySceneDetect itself scales them to."""

TICKS = 1_000_000
"""Per second, of the times that PySceneDetect is told."""


class CutSettings(ExtractionSettings):
    """Options of the detection of cuts. Same film, same settings: same file."""

    threshold: float = Field(27.0, gt=0, le=255, description="change from frame to frame that is a cut, 0 to 255")
    shortest: float = Field(0.6, ge=0, allow_inf_nan=False, description="seconds from one cut to the next")
    track: int | None = Field(None, ge=0, description="the sound track used; film zero depends on it")


@fill_doc
class CutProcessor(MadeOfSettings, FromPicture):
    """Turns the picture of a film into cuts by TR.

    A cut is a frame whose hue, saturation and brightness differ from those of the frame before by `threshold` or more,
    mean over pixels and over the three (PySceneDetect's ``ContentDetector``). Only frames before and at a cut decide on
    it, so that what comes later changes nothing. Times are those of the frames, however uneven their rate; dissolves
    and fades are not found.

    Parameters
    ----------
    tr : float
        %(tr)s
    threshold : float
        Of 255. 27 is PySceneDetect's own.
    shortest : float
        Seconds from one cut to the next; what changes as much within them, such as a flash, is no cut. They count from
        the beginning of the film, too.
    track : int, optional
        The sound track used, from 0: sound and picture share film zero.

    Raises
    ------
    InputError
        If an option is out of range, or PySceneDetect is not installed.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = CutSettings
    padding: ClassVar[str] = "no cuts"
    desc = CUTS
    looks_ahead: ClassVar[str] = ""

    def __init__(
        self, *, tr: float = 1.5, threshold: float = 27.0, shortest: float = 0.6, track: int | None = None
    ) -> None:
        self.settings = CutSettings.make(tr=tr, threshold=threshold, shortest=shortest, track=track)
        self._detector()

    def _detector(self) -> Any:
        """A detector that has seen nothing."""
        scenedetect = library("scenedetect", "cuts")
        # Merging, its default, would take a cut back by what comes after it.
        suppress = importlib.import_module("scenedetect.detector").FlashFilter.Mode.SUPPRESS
        own = self.settings
        return scenedetect.ContentDetector(own.threshold, min_scene_len=float(own.shortest), filter_mode=suppress)

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
            ``source_sha256`` and ``settings``.

        Raises
        ------
        InputError
            If `n_trs` is below 1.
        """
        settings = CutSettings.make(**{**self.settings.model_dump(), "n_trs": n_trs})
        return {"source_sha256": sha256_of(path), "settings": settings.model_dump(mode="json")}

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Cuts of a film as the Dataset of a feature file (see :mod:`giblet.features`).

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

        Returns
        -------
        xarray.Dataset
            ``cut_rate`` float32 (tr): cuts per second in the TR. ``cut_onset`` float64 (cut): seconds from film zero
            to the first frame of each new shot, of those in these TRs.

        Raises
        ------
        InputError
            If the film cannot be read or has no picture.
        """
        reader, tr = PictureReader(path, self.settings.track), exact(self.settings.tr, "TR")
        end = None if n_trs is None else volume_grid(self.settings.tr, n_trs, 0).duration
        found: list[Fraction] = []
        detector, about = self._detector(), importlib.import_module("scenedetect.common")
        for shown, pixels in scaled(reader, SIZE, until=end):
            if pixels is not None:
                ticks = about.Timecode(round(shown.start * TICKS), Fraction(1, TICKS))
                bgr = np.ascontiguousarray(pixels[..., ::-1])
                # The rate is only for frame numbers, which nobody asks for.
                if detector.process_frame(about.FrameTimecode(ticks, fps=25.0), bgr):
                    found.append(shown.start)
            if progress is not None:
                progress(float(shown.end), reader.info.duration_hint)
        grid = volume_grid(self.settings.tr, n_trs, reader.film_duration)
        inside = [time for time in found if time < grid.duration]
        counts = np.bincount([tr_of(time, tr) for time in inside], minlength=grid.n_trs)
        onsets = np.array([float(time) for time in inside], np.float64)
        return new_features(
            {"cut_rate": (("tr",), (counts / float(tr)).astype(np.float32)), "cut_onset": (("cut",), onsets)},
            grid,
            film_duration=reader.film_duration,
            kind=CONTINUOUS,
            desc=CUTS,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            duration=float(grid.duration if n_trs else min(reader.film_duration, grid.duration)),
            made_by=f"scenedetect {version('scenedetect')}",
            track_delay=reader.info.video_offset,
            damaged_frames=reader.damaged,
            overlapping_frames=reader.overlapping,
            mended_frames=reader.mended,
        )
