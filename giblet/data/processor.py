"""What all extractors have in common: the options that each takes, and what each can do."""

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

    Another extractor takes three files:

    1. ``giblet/data/<name>.py``, with its settings, a subclass of :class:`ExtractionSettings`, and a class that has
       what is listed here. ``giblet/data/video.py`` is one to follow: :func:`giblet.features.new_features` makes the
       Dataset.
    2. ``giblet/pipeline/features.py``, where ``PROCESSORS`` lists the class: :func:`giblet.pipeline.extract` takes its
       settings then.
    3. ``giblet/cli/features.py``, for its options on the command line.

    See Also
    --------
    giblet.data.audio.AudioProcessor : of sound.
    giblet.data.video.VideoProcessor : of pictures.
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
