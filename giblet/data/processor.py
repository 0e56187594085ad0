"""The contract of all extractors: what turns a film, a sound or a timed text into features on the clock of a scan.

=============================  ========================================================================================
what an extractor states       where
=============================  ========================================================================================
its name                       ``desc``, which stands in the names of its files
its settings                   ``settings_type``: pydantic, unknown options are errors; a model by name
its frame rate                 one value per TR, or ``frame_rate`` of the file for several
window and context             settings of the extractor, in seconds or words, kept in the file
whether it is causal           ``looks_ahead``; ``causal=True`` refuses what is not, before any work
where features come from       ``provenance``: source, settings and weights, by which a file is found to be up to date
stimulus to feature file       ``extract``, which :func:`giblet.extract` calls; memory does not grow with the film
that it can be stopped         ``resumable``, of those that take long: see :class:`Resumable`
that its table is large        ``by_rows``, of those that hold more than memory may: see :class:`ByRows`
=============================  ========================================================================================

Another extractor takes three files; ``docs/extractors.md`` adds one, whole, and a test runs that page:

1. a module of ``giblet/data``: its settings, and a class that has what :class:`Processor` lists;
2. ``giblet/pipeline/features.py``: where the class is, in ``PROCESSORS``;
3. ``giblet/cli/features.py``: a row in ``EXTRACTORS``, and its options among the parameters of ``extract``.

If it loads a model, ``MODEL_OPTIONS`` in ``giblet/features.py`` says which setting names it; if ``import giblet`` shall
offer it, ``giblet/__init__.py`` lists it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import Field

from giblet.config import Settings
from giblet.data.parts import Parts
from giblet.docs import fill_doc
from giblet.errors import InputError
from giblet.progress import Progress

if TYPE_CHECKING:
    import xarray as xr

    from giblet.data.rows import Rows


class ExtractionSettings(Settings):
    """What every extractor must be told; each adds its own options."""

    tr: float = Field(1.5, gt=0, allow_inf_nan=False, description="repetition time of the scan, s")
    n_trs: int | None = Field(None, ge=1, description="volumes of the scan; default: as many as the film fills")
    causal: bool | None = Field(
        None, exclude=True, description="true: refuse an extractor whose features depend on what comes after their TR"
    )


def check_causal(looks_ahead: str, what: str, remedy: str = "") -> None:
    """Refuse features that depend on what comes after them, where causal ones are asked for.

    Parameters
    ----------
    looks_ahead : str
        Why they do; empty where they do not.
    what : str
        Which features, for the message.
    remedy : str
        What else can be done than allowing them, before ``allow it with causal=False``.

    Raises
    ------
    InputError
        If they do.
    """
    if looks_ahead:
        raise InputError(f"{what} can't be causal: {looks_ahead}; {remedy}allow it with causal=False")


def causality_of(looks_ahead: str) -> str:
    """The attribute ``causal`` of a feature file.

    Parameters
    ----------
    looks_ahead : str
        As :attr:`Processor.looks_ahead`.

    Returns
    -------
    str
        ``"yes"``, or ``"no: "`` and why not.
    """
    return f"no: {looks_ahead}" if looks_ahead else "yes"


class MadeOfSettings:
    """An extractor whose constructor takes its settings one by one, but for ``n_trs``, an argument of its calls."""

    @classmethod
    def from_settings(cls, settings: Any) -> Self:
        """Make the extractor for `settings`.

        Parameters
        ----------
        settings : ExtractionSettings
            Of the extractor's `settings_type`. Its ``n_trs`` is left out, as that is an argument of the call.

        Returns
        -------
        Processor

        Raises
        ------
        InputError
            If an option is out of range or a model cannot be loaded.
        CodecError
            If the codec cannot be loaded.
        """
        return cls(**settings.model_dump(exclude={"n_trs"}))


class Processor(Protocol):
    """What turns a film, or a timed text, into features on the clock of a scan.

    The module's own text is the contract in short, and says how to add one.

    See Also
    --------
    giblet.data.audio.AudioProcessor : of sound.
    giblet.data.video.VideoProcessor : of pictures.
    giblet.data.motion.MotionProcessor : of motion, by Gabor filters.
    giblet.data.cuts.CutProcessor : of cuts.
    giblet.data.clips.ClipProcessor : of clips, by a video model.
    giblet.data.text.TextProcessor : of words.
    giblet.data.acoustics.AcousticsProcessor : measures of sound.
    giblet.data.speech.SpeechProcessor : of sound, as a speech model hears it.
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

    @property
    def looks_ahead(self) -> str:
        """Why features depend on what comes after their TR; empty where they do not: the extractor is causal."""
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


@runtime_checkable
class KnownUnloaded(Protocol):
    """An extractor of which it may be known, without its codec or model, what its features would be.

    See Also
    --------
    giblet.data.audio.AudioProcessor : an example.
    """

    @classmethod
    def known(cls, settings: Any) -> tuple[str, dict[str, Any]] | None:
        """What the extractor that `settings` ask for is called, and what decides its features beside the source.

        Parameters
        ----------
        settings : ExtractionSettings
            Of the extractor's `settings_type`.

        Returns
        -------
        desc : str
        provenance : dict of str to object
            As :meth:`Processor.provenance`, without ``source_sha256``. In place of both None, where it is not known.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """An extractor that goes on where it was stopped: what takes long goes through :meth:`Parts.take`, call by call.

    See Also
    --------
    giblet.data.parts.Parts : keeps what was made.
    giblet.data.speech.SpeechProcessor : an example.
    """

    resumable: ClassVar[bool]
    """True: :func:`giblet.extract` gives `extract` a place for its parts."""

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
        """As :meth:`Processor.extract`.

        Parameters
        ----------
        path : str or Path
        n_trs : int, optional
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s
        parts : Parts, optional
            %(parts)s

        Returns
        -------
        xarray.Dataset
            The same, bit by bit, whether there were parts of a run that was stopped or not.
        """
        ...


@runtime_checkable
class ByRows(Protocol):
    """An extractor of which the largest table goes to disk as it is made, row by row, in TRs of any order.

    See Also
    --------
    giblet.data.rows.Rows : where it goes.
    giblet.data.video.VideoProcessor : an example.
    """

    by_rows: ClassVar[bool]
    """True: :func:`giblet.extract` gives `extract` a place for its rows."""

    @fill_doc
    def extract(
        self,
        path: str | Path,
        n_trs: int | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        rows: Rows | None = None,
    ) -> xr.Dataset:
        """As :meth:`Processor.extract`.

        Parameters
        ----------
        path : str or Path
        n_trs : int, optional
        provenance : mapping, optional
            %(provenance)s
        progress : callable, optional
            %(progress)s
        rows : Rows, optional
            %(rows)s

        Returns
        -------
        xarray.Dataset
            The same in memory and on disk, where it can be used as long as `rows` is open.
        """
        ...
