"""What all extractors have in common, and how to add one.

Another extractor, say of the motion in the picture, takes three files:

1. ``giblet/data/flow.py``: its settings, and a class that has what :class:`Processor` lists.
2. ``giblet/pipeline/features.py``: the class in ``PROCESSORS``. :func:`giblet.extract` takes its settings then.
3. ``giblet/cli/features.py``: a row in ``EXTRACTORS``, and among the parameters of ``extract`` the flag ``--flow`` and
   the options that no other extractor has.

The first of them, whole; ``giblet/data/video.py`` is one of full size, documented as all of giblet is::

    class FlowSettings(ExtractionSettings):
        size: tuple[int, int] = Field((18, 32), description="height and width at which motion is looked for")

    class FlowProcessor:
        settings_type, source_noun, padding, desc = FlowSettings, "film", "stillness", "flow"

        def __init__(self, settings):
            self.settings = settings

        @classmethod
        def from_settings(cls, settings):
            return cls(settings)

        @classmethod
        def check_source(cls, path, settings):
            return PictureReader(path).info.duration_hint

        def provenance(self, path, n_trs=None):
            settings = self.settings.model_dump(mode="json") | {"n_trs": n_trs}
            return {"source_sha256": sha256_of(path), "settings": settings}

        def extract(self, path, n_trs=None, *, provenance=None, progress=None):
            reader, tr, before, sums = PictureReader(path), exact(self.settings.tr), None, Counter()
            for shown in reader:
                light = luminance_of(shown.pixels(self.settings.size))
                if before is not None:
                    sums[tr_of(shown.start, tr)] += np.abs(light - before).mean()  # your measure here
                before = light
                if progress is not None:
                    progress(float(shown.end), reader.info.duration_hint)
            grid = volume_grid(self.settings.tr, n_trs, reader.film_duration)
            flow = np.array([sums[k] for k in range(grid.n_trs)], np.float32)
            return new_features(
                {"flow": (("tr",), flow)}, grid, kind=CONTINUOUS, desc=self.desc, source=Path(path).name,
                film_duration=reader.film_duration, duration=float(min(reader.film_duration, grid.duration)),
                **(self.provenance(path, n_trs) if provenance is None else provenance),
            )

The names that it uses are those of ``video.py``. If it loads a model, ``MODEL_OPTIONS`` in ``giblet/features.py`` says
which setting names it; if ``import giblet`` shall offer it, ``giblet/__init__.py`` lists it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import xarray as xr
from pydantic import Field

from giblet.config import Settings
from giblet.docs import fill_doc
from giblet.progress import Progress


class ExtractionSettings(Settings):
    """What every extractor must be told; each adds its own options."""

    tr: float = Field(1.5, gt=0, allow_inf_nan=False, description="repetition time of the scan, s")
    n_trs: int | None = Field(None, ge=1, description="volumes of the scan; default: as many as the film fills")


class Processor(Protocol):
    """What turns a film, or a timed text, into features on the clock of a scan.

    The module says how to add one.

    See Also
    --------
    giblet.data.audio.AudioProcessor : of sound.
    giblet.data.video.VideoProcessor : of pictures.
    giblet.data.motion.MotionProcessor : of motion, by Gabor filters.
    giblet.data.cuts.CutProcessor : of cuts.
    giblet.data.clips.ClipProcessor : of clips, by a video model.
    giblet.data.text.TextProcessor : of words.
    """

    settings_type: ClassVar[type[ExtractionSettings]]
    """Settings of this type ask for this extractor."""
    source_noun: ClassVar[str]
    """What messages call what it reads: ``"film"``, ``"text"``."""
    padding: ClassVar[str]
    """What stands in TRs that the source does not cover: ``"silence"``."""

    @property
    def desc(self) -> str:
        """What the features are, in the names of their files: ``film_desc-<desc>_features.nc``."""
        ...

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """The extractor that `settings`, of its `settings_type`, ask for, with its codec or model loaded.

        Parameters
        ----------
        settings : ExtractionSettings
            Of the extractor's `settings_type`.

        Returns
        -------
        Processor
        """
        ...

    @classmethod
    def check_source(cls, path: Path, settings: Any) -> float | None:
        """What is wrong with a source, as an error, before a codec or a model is loaded for it.

        Parameters
        ----------
        path : Path
        settings : ExtractionSettings
            Of the extractor's `settings_type`.

        Returns
        -------
        float or None
            Seconds from TR 0 to the end of the source; None where that is not known yet.
        """
        ...

    def provenance(self, path: str | Path, n_trs: int | None = None) -> dict[str, Any]:
        """The attributes that decide what the features of a source are: equal ones mean an equal file.

        Parameters
        ----------
        path : str or Path
        n_trs : int, optional
            As for :meth:`extract`.

        Returns
        -------
        dict of str to object
        """
        ...

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Features of a source, as :func:`giblet.features.new_features` makes a Dataset of them.

        Parameters
        ----------
        path : str or Path
        n_trs : int, optional
            Volumes of the scan; by default as many as the source fills.
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s

        Returns
        -------
        xarray.Dataset
        """
        ...
