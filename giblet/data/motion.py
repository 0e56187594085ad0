"""The motion energy of films as features on the clock of a scan: what the Gabor filters of pymoten answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from giblet.data.frames import at_constant_rate, scaled
from giblet.data.gabors import OFFSET, Answers, Carried, GaborPyramid
from giblet.data.parts import Parts
from giblet.data.picture import PictureReader, ShownFrame
from giblet.data.processor import ExtractionSettings
from giblet.data.sources import FromPicture
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.features import CONTINUOUS, load_features, new_features
from giblet.files import sha256_of
from giblet.progress import Progress
from giblet.spans import shares, volume_grid
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

MOTION = "motion"

SAME_SHAPE, SAME_RATE = 0.02, 0.01
"""Relative differences up to which two pictures have one shape, and two films one frame rate (23.976 and 24)."""

KEPT_EVERY = 16
"""Batches of pictures from one part to the next that a film which is stopped may go on with."""

FIRST = 50
"""Frames by which the rate of a film is told."""

OF_THE_PYRAMID = ("size", "rate", "spatial_frequencies", "temporal_frequencies", "mean", "compress", "causal", "fit")
"""Settings that a saved pyramid brings."""


class MotionSettings(ExtractionSettings):
    """Options of motion-energy extraction. Same film, same settings: same file."""

    size: tuple[int, int] = Field((72, 128), description="height and width of the pictures that the filters see")
    rate: int = Field(24, ge=3, le=240, description="pictures per second that the filters see")
    spatial_frequencies: tuple[float, ...] = Field((0, 2, 4, 8, 16), description="cycles per height of the picture")
    temporal_frequencies: tuple[float, ...] = Field((0, 2, 4), description="Hz")
    fit: Literal["squash", "crop", "pad"] = Field("squash", description="how pictures come into that size")
    mean: Literal["window", "keep"] = Field("window", description="the mean luminance that is taken off")
    compress: Literal["log", "none"] = Field("log", description="log(energy + 1e-5), or the energy itself")
    causal: bool = Field(False, description="an answer stands after its window, not around its middle")
    pyramid: str | None = Field(None, description="a motion feature file whose filters are used")
    track: int | None = Field(None, ge=0, description="the sound track used; film zero depends on it")


@fill_doc
class MotionProcessor(FromPicture):
    """Turns the picture of a film into motion energy by TR.

    The film is brought to a constant rate first (:func:`giblet.data.frames.at_constant_rate`), made grey (its luma, 0
    to 1) and scaled. Directions are those in which things move, 0 right and 90 up, where pymoten names the opposite
    ones. An answer stands at the middle of its window, where pymoten's is a picture late.

    Parameters
    ----------
    tr : float
        %(tr)s
    size : tuple of int
        Height and width of the pictures that the filters see.
    rate : int
        Pictures per second that they see.
    spatial_frequencies, temporal_frequencies : sequence of float
        In cycles per height of the picture, and in Hz.
    fit : {"squash", "crop", "pad"}
        How pictures of another shape come into that size: squashed (with a warning), their middle, or whole with black
        bars.
    mean : {"window", "keep"}
        ``"window"``: from each window of a filter the mean over its pixels and pictures is taken off, so that a grey
        that does not change has no energy. ``"keep"``: as pymoten does it; there it has energy at 2 and 4 Hz too.
    compress : {"log", "none"}
        ``"log"``: ``log(energy + 1e-5)``, as pymoten does it.
    causal : bool
        An answer stands for the time after its window: what happens later changes no TR before. It comes
        ``rate * 2 / 3 / 2 + 1`` pictures later than by default, 375 ms at 24 per second (attribute ``delay``).
    pyramid : str, optional
        A motion feature file: its filters, and an error if the film has another shape or frame rate than its own.
    track : int, optional
        The sound track used, from 0: sound and picture share film zero.

    Raises
    ------
    InputError
        If an option is out of range, contradicts the pyramid, or pymoten is not installed.

    See Also
    --------
    giblet.data.video.VideoProcessor : its ``luminance_change`` is one number per TR, without filters.
    """

    settings_type: ClassVar[type[ExtractionSettings]] = MotionSettings
    padding: ClassVar[str] = "stillness"
    resumable: ClassVar[bool] = True
    desc = MOTION

    # 11 parameters: the options of MotionSettings, as an editor shows them.
    def __init__(
        self,
        *,
        tr: float = 1.5,
        size: tuple[int, int] = (72, 128),
        rate: int = 24,
        spatial_frequencies: tuple[float, ...] = (0, 2, 4, 8, 16),
        temporal_frequencies: tuple[float, ...] = (0, 2, 4),
        fit: str = "squash",
        mean: str = "window",
        compress: str = "log",
        causal: bool = False,
        pyramid: str | None = None,
        track: int | None = None,
    ) -> None:
        self._use(
            MotionSettings.make(
                tr=tr, size=size, rate=rate, spatial_frequencies=spatial_frequencies, fit=fit, mean=mean,
                temporal_frequencies=temporal_frequencies, compress=compress, causal=causal, pyramid=pyramid,
                track=track,
            )
        )  # fmt: skip

    def _use(self, settings: MotionSettings) -> None:
        self.saved = None if settings.pyramid is None else _Saved.of(settings.pyramid, settings)
        self.settings = settings if self.saved is None else self.saved.merged(settings)
        own = self.settings
        self.pyramid = GaborPyramid(
            own.size, own.rate, spatial_frequencies=own.spatial_frequencies,
            temporal_frequencies=own.temporal_frequencies, keep_mean=own.mean == "keep",
        )  # fmt: skip

    @classmethod
    def from_settings(cls, settings: MotionSettings) -> MotionProcessor:
        """Make the processor for `settings`.

        Parameters
        ----------
        settings : MotionSettings
            Its ``n_trs`` is left out, as that is an argument of the call.

        Returns
        -------
        MotionProcessor

        Raises
        ------
        InputError
            If an option is out of range, contradicts the pyramid, or pymoten is not installed.
        """
        made = cls.__new__(cls)
        made._use(settings.model_copy(update={"n_trs": None}))
        return made

    @classmethod
    def check_source(cls, path: Path, settings: MotionSettings) -> float | None:
        """Raise if a film's picture cannot be read, or does not fit the pyramid that it shall be put through.

        Parameters
        ----------
        path : Path
            The film.
        settings : MotionSettings

        Returns
        -------
        float or None
            Seconds of film; None where it does not say.

        Raises
        ------
        InputError
            If the film cannot be read, has no picture, or not the shape or frame rate of the pyramid's.
        """
        reader = PictureReader(path, settings.track)
        if settings.pyramid is not None:
            _Saved.of(settings.pyramid, settings).check(path, *_look_of(reader))
        return reader.info.duration_hint

    @property
    def looks_ahead(self) -> str:
        """Why features depend on pictures after their TR; empty where they do not."""
        return "" if self.settings.causal else "the filters are centred, and reach half of their length ahead"

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
        settings = MotionSettings.make(**{**self.settings.model_dump(), "n_trs": n_trs})
        # The filters are the same whether they were asked for one by one or by a file that has them.
        return {"source_sha256": sha256_of(path), "settings": settings.model_dump(mode="json", exclude={"pyramid"})}

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
        """Motion energy of a film as the Dataset of a feature file (see :mod:`giblet.features`).

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
            ``motion_energy`` float32 (tr, filter): the mean over the TR of each filter's answers, by how long each
            stands in it, after the logarithm. ``motion_energy_mask`` bool (tr): whether any does; where not, 0 is held.
            What the filters are, float64 (filter): ``direction`` in degrees, 0 right and 90 up, NaN at a spatial
            frequency of 0; ``spatial_frequency`` in cycles per height of the picture; ``temporal_frequency`` in Hz;
            ``across`` and ``down``, their middles in heights of the picture from the top left. Attributes: ``window``
            and ``delay`` in seconds; height and width of the film's pictures (``picture_shape``) and its frames per
            second (``picture_rate``), by which another film is compared to the pyramid.

        Raises
        ------
        InputError
            If the film cannot be read, has no picture, or not the shape or frame rate of the pyramid's.
        """
        reader, own = PictureReader(path, self.settings.track), self.settings
        shape, rate = _look_of(reader)
        if self.saved is not None:
            self.saved.check(Path(path), shape, rate)
        elif own.fit == "squash" and _differ(shape[1] / shape[0], own.size[1] / own.size[0], SAME_SHAPE):
            log.warning(
                "%s: pictures of %d x %d are squashed to %d x %d, and directions and frequencies with them; name a "
                "size of their shape, or fit='crop' or 'pad'", Path(path).name, *shape[::-1], *own.size[::-1],
            )  # fmt: skip
        tr, window = exact(own.tr, "TR"), self.pyramid.width / Fraction(own.rate)
        until = None if n_trs is None else volume_grid(own.tr, n_trs, 0).duration + window
        pooled, parts = _Pooled(tr, self.pyramid, own), parts or Parts()
        carried = None
        for part in parts.kept():
            carried = pooled.go_on(part)
        pictures = _grey(reader, own, until, progress, 0 if carried is None else carried.first)
        for number, answers in enumerate(self.pyramid.answers(pictures, carried), 1):
            pooled.add(answers)
            if number % KEPT_EVERY == 0:
                parts.keep(pooled.part(answers.carried))
        grid = volume_grid(own.tr, n_trs, reader.film_duration)
        filters = {name: (("filter",), values) for name, values in self.pyramid.filters._asdict().items()}
        return new_features(
            {**pooled.variables(grid.n_trs, reader.film_duration), **filters},
            grid,
            film_duration=reader.film_duration,
            kind=CONTINUOUS,
            desc=MOTION,
            source=Path(path).name,
            **(self.provenance(path, n_trs) if provenance is None else provenance),
            duration=float(grid.duration if n_trs else min(reader.film_duration, grid.duration)),
            made_by=f"pymoten {version('pymoten')}",
            window=float(window),
            delay=self.pyramid.delay if own.causal else 0.0,
            picture_shape=np.array(shape),
            picture_rate=rate,
            track_delay=reader.info.video_offset,
            damaged_frames=reader.damaged,
            overlapping_frames=reader.overlapping,
            mended_frames=reader.mended,
        )


def _grey(
    reader: PictureReader, own: MotionSettings, until: Fraction | None, progress: Progress | None, first: int = 0
) -> Iterator[np.ndarray | None]:
    """The pictures that the filters see, 0 to 1, from number `first` on; the film is read from beginning to end."""
    since = Fraction(first, own.rate)

    def told() -> Iterator[tuple[ShownFrame, np.ndarray | None]]:
        for shown, pixels in scaled(reader, own.size, grey=True, fit=own.fit, since=since, until=until):
            if shown.end > since:
                yield shown, pixels
            if progress is not None:
                progress(float(shown.end), reader.info.duration_hint)

    frames = told()
    for picture in at_constant_rate(frames, own.rate, first):
        yield None if picture is None else picture / 255
    for _ in frames:
        pass


class _Pooled:
    """The mean of the answers over each TR, by how long each stands in it."""

    def __init__(self, tr: Fraction, pyramid: GaborPyramid, own: MotionSettings) -> None:
        self.tr, self.pyramid, self.own = tr, pyramid, own
        self.means: dict[int, np.ndarray] = {}
        self._sum, self._seconds, self._at = np.zeros(len(pyramid)), 0.0, -1
        self._kept = -1  # the TR from which on means are in no part yet

    def add(self, answers: Answers) -> None:
        values = np.log(answers.energy + OFFSET) if self.own.compress == "log" else answers.energy
        for newest, value in zip(answers.newest.tolist(), values, strict=True):
            start, end = self.pyramid.interval(newest, causal=self.own.causal)
            if end <= 0:
                continue
            for k, seconds in shares(max(start, Fraction(0)), end, self.tr):
                if k != self._at:
                    self._close()
                    self._at = k
                self._sum += value * float(seconds)
                self._seconds += float(seconds)

    def part(self, carried: Carried) -> dict[str, np.ndarray]:
        """What there is since the last part, and what is needed to go on."""
        new = {k: mean for k, mean in self.means.items() if k >= self._kept}
        self._kept = self._at
        return {
            "trs": np.array(list(new), np.int64),
            "means": np.array(list(new.values()), np.float32).reshape(len(new), len(self.pyramid)),
            "sum": self._sum.copy(),
            "seconds": np.array(self._seconds),
            "at": np.array(self._at),
            **{name: np.array(value) for name, value in carried._asdict().items()},
        }

    def go_on(self, part: Mapping[str, np.ndarray]) -> Carried:
        """Take what :meth:`part` gave, one after the other; with the last of what is returned the filters go on."""
        self.means |= dict(zip(part["trs"].tolist(), part["means"], strict=True))
        self._sum, self._seconds, self._at = part["sum"].copy(), float(part["seconds"]), int(part["at"])
        self._kept = self._at
        return Carried(int(part["first"]), part["found"], part["level"], part["there"])

    def _close(self) -> None:
        if self._seconds:
            self.means[self._at] = (self._sum / self._seconds).astype(np.float32)
        self._sum[:], self._seconds = 0, 0.0

    def variables(self, n_trs: int, film_duration: Fraction) -> dict[str, Any]:
        self._close()
        energy, mask = np.zeros((n_trs, len(self.pyramid)), np.float32), np.zeros(n_trs, bool)
        for k, values in self.means.items():
            if k < n_trs and k * self.tr < film_duration:  # windows reach beyond the film's end
                energy[k], mask[k] = values, True
        return {"motion_energy": (("tr", "filter"), energy), "motion_energy_mask": (("tr",), mask)}


def _look_of(reader: PictureReader) -> tuple[tuple[int, int], float]:
    """Height and width of a film's pictures as they are shown, and how many there are per second at its beginning."""
    spans = [(shown.shape, shown.start, shown.end) for shown in islice(reader, FIRST)]
    return spans[0][0], round(float(len(spans) / (spans[-1][2] - spans[0][1])), 2)


def _differ(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) > tolerance * max(abs(one), abs(other))


@dataclass(frozen=True)
class _Saved:
    """The pyramid of a feature file, and the look of the film that it was made for."""

    path: str
    settings: dict[str, Any]
    shape: tuple[int, int]
    rate: float

    @classmethod
    def of(cls, path: str, asked: MotionSettings) -> _Saved:
        """Read it; an error where what is asked for beside it is something else."""
        features = load_features(path)
        if features.attrs["desc"] != MOTION:
            raise InputError(
                f"pyramid is {path}, which holds {features.attrs['desc']}: name the file of a motion energy"
            )
        saved = MotionSettings.make(**json.loads(features.attrs["settings"]))
        for name in OF_THE_PYRAMID:
            own = getattr(asked, name)
            if own not in (MotionSettings.model_fields[name].default, getattr(saved, name)):
                raise InputError(
                    f"{name} is {own}, but {getattr(saved, name)} in the pyramid of {path}: leave out one of both"
                )
        height, width = (int(n) for n in features.attrs["picture_shape"])
        kept = {name: getattr(saved, name) for name in OF_THE_PYRAMID}
        return cls(path, kept, (height, width), float(features.attrs["picture_rate"]))

    def merged(self, settings: MotionSettings) -> MotionSettings:
        """All settings, the pyramid's among them."""
        return settings.model_copy(update=self.settings)

    def check(self, film: Path, shape: tuple[int, int], rate: float) -> None:
        """An error if a film looks otherwise than the one that the pyramid was made for."""
        found = []
        if _differ(shape[1] / shape[0], self.shape[1] / self.shape[0], SAME_SHAPE):
            found.append(f"pictures of {shape[1]} x {shape[0]}, not {self.shape[1]} x {self.shape[0]}")
        if _differ(rate, self.rate, SAME_RATE):
            found.append(f"{rate:g} frames per second, not {self.rate:g}")
        if found:
            raise InputError(
                f"{film} has {' and '.join(found)} as the film of the pyramid {self.path}: name no pyramid, but its "
                "size and rate, to bring both films to one shape and rate"
            )
