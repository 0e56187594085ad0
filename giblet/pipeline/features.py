"""Films and texts to feature files."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from giblet.data.parts import Parts
from giblet.data.processor import ByRows, ExtractionSettings, KnownUnloaded, Processor, Resumable, check_causal
from giblet.docs import fill_doc
from giblet.errors import GibletError, InputError, one_line, postponed
from giblet.features import (
    ENCODEC,
    MEL,
    describe,
    feature_path,
    is_current,
    save_features,
    standing,
)
from giblet.files import check_there, check_writable, remove_unfinished, sha256_of
from giblet.pipeline.cluster import Attempt, Workers, on_workers
from giblet.pipeline.extracted import FailedExtraction, FeatureFile
from giblet.pipeline.manifest import Manifest
from giblet.progress import Progress
from giblet.storage import bring, exists, local_path, taking_urls
from giblet.timing import check_tr, shown
from giblet.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from giblet.netcdf import Stored

log = logging.getLogger(__name__)
T = TypeVar("T")

PROCESSORS = (
    "giblet.data.audio.AudioProcessor",
    "giblet.data.acoustics.AcousticsProcessor",
    "giblet.data.speech.SpeechProcessor",
    "giblet.data.video.VideoProcessor",
    "giblet.data.text.TextProcessor",
    "giblet.data.language.LanguageProcessor",
    "giblet.data.motion.MotionProcessor",
    "giblet.data.cuts.CutProcessor",
    "giblet.data.clips.ClipProcessor",
)
"""Where all extractors are; the type of the settings says which one is asked for, and only that is imported."""


def processor_types() -> tuple[type[Processor], ...]:
    """All extractors.

    Returns
    -------
    tuple of type
        Those that :data:`PROCESSORS` names, in that order.
    """
    places = (place.rpartition(".") for place in PROCESSORS)
    return tuple(getattr(import_module(module), name) for module, _, name in places)


def processor_type(settings: ExtractionSettings) -> type[Processor]:
    """Type of the processor that these settings belong to.

    Parameters
    ----------
    settings : ExtractionSettings

    Returns
    -------
    type
        Of :func:`processor_types`.

    Raises
    ------
    TypeError
        If they are settings of something else.
    """
    for place in PROCESSORS:
        module, _, name = place.rpartition(".")
        # Settings come from the extractor's own module: what is not imported is not what they are of.
        kind: type[Processor] | None = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(settings, kind.settings_type):
            return kind
    known = ", ".join(kind.settings_type.__name__ for kind in processor_types())
    raise TypeError(f"settings are {type(settings).__name__}: {known} say what is extracted")


def _of_sound() -> ExtractionSettings:
    """Settings where none are given."""
    from giblet.data.audio import AudioSettings

    return AudioSettings.make()


def processor_for(settings: ExtractionSettings) -> Processor:
    """Make the processor for `settings`, with its codec or model loaded.

    Parameters
    ----------
    settings : ExtractionSettings
        Their type says what is extracted: sound, picture or words.

    Returns
    -------
    Processor

    Raises
    ------
    InputError
        If an option is out of range, a model or the device is not there, or features shall be causal that can't be.
    CodecError
        If the codec cannot be loaded.
    """
    processor = processor_type(settings).from_settings(settings)
    if settings.causal:
        check_causal(processor.looks_ahead, f"{processor.desc} features")
    return processor


def _check_padding(source: Path, settings: ExtractionSettings, seconds: float | None) -> None:
    """Warn before the work where most of the features would be padding: that is another film's number of volumes."""
    if settings.n_trs is None or seconds is None:
        return
    whole = float(settings.n_trs * check_tr(settings.tr))
    if seconds < whole / 2:
        kind = processor_type(settings)
        log.warning(
            "%s lasts %s s, but %d TRs of %s s are %s s: the other %s s will be %s; is n_trs that of this %s?",
            source.name, shown(round(seconds, 3)), settings.n_trs, shown(settings.tr), shown(round(whole, 3)),
            shown(round(whole - seconds, 3)), kind.padding, kind.source_noun,
        )  # fmt: skip


def _what_decides(provenance: dict[str, Any], settings: ExtractionSettings) -> dict[str, Any]:
    """What decides features down to the last bit, for which parts of them are kept."""
    from giblet.device import pick_device

    told = {**provenance, "options": settings.model_dump(mode="json")}
    if device := getattr(settings, "device", None):
        told["device"] = str(pick_device(device))
    return told


@fill_doc
@taking_urls(into=("film", "out_dir"))
def extract(
    film: str | Path,
    settings: ExtractionSettings | None = None,
    out_dir: str | Path = ".",
    *,
    processor: Processor | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FeatureFile:
    """Turn the sound or the picture of one film, or one timed text, into a feature file.

    Parameters
    ----------
    film : str or Path
        Any film or sound file that FFmpeg reads; for words a table or subtitles
        (see :func:`giblet.data.words.subtitles.read_segments`).
    settings : ExtractionSettings, optional
        Their type says what is extracted; the sound by default.
    out_dir : str or Path
        Where ``<film>_desc-encodec24k_features.nc`` (or ``desc-mel``, ``desc-video``, ``desc-text``,
        ``desc-language``, ``desc-motion``, ``desc-cuts``, ``desc-clips``) and its JSON sidecar go.
    processor : Processor, optional
        :func:`processor_for` the same settings, to load the codec or model once for many films.
    overwrite : bool
        Extract again even if the file is up to date, and replace what stands by its name.
    progress : callable, optional
        %(progress)s

    Returns
    -------
    FeatureFile

    Raises
    ------
    GibletError
        If the film, the settings, the codec, the model or the folder cannot be used, or features of another film, of
        other settings or of another codec stand by that name and `overwrite` is False; nothing is written then.

    See Also
    --------
    extract_many : Extract many films or texts.
    giblet.features.load_features : Read a feature file.
    giblet.pipeline.decoding.decode : Turn a feature file back into sound or a film.
    """
    job = _Job(settings or _of_sound(), Path(out_dir), overwrite, overwrite, progress)
    source = job.checked(Path(film))
    return (job.current(source) if processor is None else None) or job.extract(source, processor)


@fill_doc
@taking_urls(into=("film", "out_dir"))
def extract_anew(
    film: str | Path, out_dir: str | Path, *, replace: bool = False, progress: Progress | None = None
) -> FeatureFile:
    """As :func:`extract` with its default settings, of a film whose features may be up to date already.

    Parameters
    ----------
    film : str or Path
    out_dir : str or Path
    replace : bool
        Replace features of another film, or of other settings, that stand there.
    progress : callable, optional
        %(progress)s

    Returns
    -------
    FeatureFile

    Raises
    ------
    GibletError
        As :func:`extract`.
    """
    job = _Job(_of_sound(), Path(out_dir), replace, True, progress)
    return job.extract(job.checked(Path(film)), None)


@dataclass(frozen=True)
class _Source:
    """A film or text that can be used."""

    path: Path
    seconds: float | None
    """How long it lasts, as far as that is known."""
    began: float
    """When the work on it began, by `time.perf_counter`."""


@dataclass(frozen=True)
class _Job:
    """What is done with each film."""

    settings: ExtractionSettings
    out_dir: Path
    replace: bool
    """Other features that stand there."""
    again: bool
    """Extract what is up to date."""
    progress: Progress | None

    def checked(self, film: Path) -> _Source:
        """The film, found to be one, before a codec or a model is loaded for it."""
        began = time.perf_counter()
        check_tr(self.settings.tr)
        bring(film)
        kind = processor_type(self.settings)
        check_there(film, kind.source_noun, folder=None)
        return _Source(film, kind.check_source(film, self.settings), began)

    @cached_property
    def known(self) -> tuple[str, dict[str, Any]] | None:
        """What is known of features before a codec or a model is loaded, see :class:`KnownUnloaded`."""
        kind = processor_type(self.settings)
        if self.replace or self.again or self.settings.causal or not isinstance(kind, KnownUnloaded):
            return None
        return kind.known(self.settings)

    def current(self, source: _Source, sha256: str | None = None) -> FeatureFile | None:
        """The features that stand there, if it is known without a codec or a model that they are up to date.

        The film's SHA-256 is computed, unless it is known.
        """
        if self.known is None:
            return None
        desc, about = self.known
        path = feature_path(source.path, desc, self.out_dir)
        check_writable(self.out_dir)
        if not bring(path, needed=False).exists():
            return None
        old = self._standing(path, {"source_sha256": sha256 or sha256_of(source.path), **about})
        if old is None or not is_current(old, path):
            return None
        return FeatureFile(source.path, "up to date", path, describe(old))

    def _standing(self, path: Path, provenance: dict[str, Any]) -> xr.Dataset | Stored | None:
        defaults = type(self.settings).model_construct().model_dump(mode="json")
        return standing(path, defaults=defaults, **provenance)

    def extract(self, source: _Source, processor: Processor | None) -> FeatureFile:
        """Write the features, unless they stand there."""
        film, settings = source.path, self.settings
        check_writable(self.out_dir)
        processor = processor or processor_for(settings)
        path = feature_path(film, processor.desc, self.out_dir)
        provenance = processor.provenance(film, settings.n_trs)
        if not self.replace:
            bring(path, needed=False)
            old = self._standing(path, provenance)
            if old is not None and not self.again and is_current(old, path):
                return FeatureFile(film, "up to date", path, describe(old))
            if old is not None and old.attrs["giblet_version"] != __version__:
                log.warning("%s was made by giblet %s: it is replaced", path, old.attrs["giblet_version"])
        _check_padding(film, settings, source.seconds)
        from giblet.data.rows import Rows  # here, as xarray takes a second to import

        options: dict[str, Any] = {"provenance": provenance, "progress": self.progress}
        with ExitStack() as beside:
            if isinstance(processor, Resumable):
                options["parts"] = beside.enter_context(Parts(path, _what_decides(provenance, settings)))
            if isinstance(processor, ByRows):
                options["rows"] = beside.enter_context(Rows(path.parent))
            features = processor.extract(film, settings.n_trs, **options)
            save_features(features, path, options={"source": str(film), **settings.model_dump(mode="json")})
        return FeatureFile(film, "written", path, describe(features), time.perf_counter() - source.began)


@fill_doc
@taking_urls(into=("out_dir",))
def extract_many(
    films: Iterable[str | Path],
    settings: ExtractionSettings | None = None,
    out_dir: str | Path = ".",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    retries: int = 3,
) -> Iterator[FeatureFile | FailedExtraction]:
    """As :func:`extract` for many films or texts: one that fails is reported, and the others go on.

    With `workers` or `scheduler` several films are done at a time, and ``desc-<desc>_manifest.json`` in `out_dir` says
    which were asked for and what came of each. After a stop the same call goes on; films that failed are tried again.

    Parameters
    ----------
    films : iterable of str or Path
        As for :func:`extract`.
    settings : ExtractionSettings, optional
        For all of them; the sound by default.
    out_dir : str or Path
        Gets a feature file and its sidecar for each.
    overwrite : bool
        As for :func:`extract`.
    progress : callable, optional
        Called with seconds done and seconds in all, of each film from its beginning; on workers with films done and
        films in all.
    workers : int, optional
        %(workers)s
    scheduler : str, optional
        %(scheduler)s
    retries : int
        %(retries)s

    Yields
    ------
    FeatureFile or FailedExtraction
        One for each film, as soon as it is done; in their order, but on workers in that in which they are done.

    Raises
    ------
    InputError
        Before anything is written, if two films would write the same file, or the TR, the model or the workers cannot
        be used.
    CodecError
        Before anything is written, if the codec cannot be loaded.
    Exception
        Of a film that failed in a way that giblet does not know, when the others are done: that is a fault of giblet.

    See Also
    --------
    extract : Extract one film or text.
    """
    where = Workers.asked(workers, scheduler, retries)
    paths = [local_path(film) for film in films]
    settings = settings or _of_sound()
    check_tr(settings.tr)
    by_stem: dict[str, Path] = {}
    for film in paths:
        if by_stem.setdefault(film.stem, film) != film:
            raise InputError(
                f"{by_stem[film.stem]} and {film} would both write {film.stem}_desc-*: use two output folders"
            )
    job = _Job(settings, Path(out_dir), overwrite, overwrite, progress if where is None else None)
    unknown: list[Exception] = []
    attempts = _in_turn(job, paths) if where is None else _at_a_time(job, paths, where, progress)
    with closing(attempts):
        for film, attempt in attempts:
            if attempt.error is not None and not isinstance(attempt.error, GibletError):
                unknown.append(attempt.error)
            yield _result(film, attempt)
    if unknown:
        raise unknown[0]


class _CannotLoad(GibletError):
    """The codec or the model can't be used, which all films need; it holds why."""


class _Extraction:
    """Extracts films one after another. The codec or model is loaded for the first that needs it, and kept."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.processor: Processor | None = None

    def __call__(self, film: Path) -> FeatureFile:
        source = self.job.checked(film)
        if self.processor is None:
            if self._needed(lambda: self.job.known) is not None and (done := self.job.current(source)) is not None:
                return done
            self.processor = self._needed(lambda: processor_for(self.job.settings))
        return self.job.extract(source, self.processor)

    def attempt(self, film: Path) -> Attempt[FeatureFile]:
        """The film's features, or what is wrong with it."""
        errors: list[Exception] = []
        with postponed(errors):
            return Attempt(self(film))
        return Attempt(None, errors[0])

    @staticmethod
    def _needed(load: Callable[[], T]) -> T:
        errors: list[Exception] = []
        with postponed(errors):
            return load()
        raise _CannotLoad(errors[0]) from errors[0]


def _in_turn(job: _Job, films: Sequence[Path]) -> Generator[tuple[Path, Attempt[FeatureFile]]]:
    """Films one after another, in this process."""
    extraction = _Extraction(job)
    for film in films:
        attempt = extraction.attempt(film)
        if isinstance(attempt.error, _CannotLoad):
            raise attempt.error.args[0]
        yield film, attempt


def _at_a_time(
    job: _Job, films: Sequence[Path], where: Workers, progress: Progress | None
) -> Generator[tuple[Path, Attempt[FeatureFile]]]:
    """Films on workers, those that can be told without one first."""
    desc = _desc_of(job.settings)
    check_writable(job.out_dir)
    manifest = Manifest(job.out_dir / f"desc-{desc}_manifest.json", job.settings.model_dump(mode="json"))
    manifest.ask(films)
    told = {film: attempt for film in films if (attempt := _told_at_once(job, film, manifest)) is not None}
    waiting = {film.name: film for film in films if film not in told}
    n_done, is_loaded = 0, False
    began: set[Path] = set(waiting.values()) if where.n is not None else set()
    try:
        with closing(on_workers(_Extraction(job), waiting, where, visible=manifest.path)) as attempts:
            for film, attempt in chain(told.items(), ((waiting[name], attempt) for name, attempt in attempts)):
                began.add(film)
                is_loaded = is_loaded or (attempt.value is not None and attempt.value.status == "written")
                if isinstance(attempt.error, _CannotLoad) and not is_loaded:
                    raise attempt.error.args[0]
                n_done += 1
                manifest.done(film, _result(film, attempt).as_dict())
                if progress:
                    progress(n_done, len(told) + len(waiting))
                yield film, attempt
    finally:
        # Left by workers that were killed. Those of a cluster may still be at work on films that are not done.
        remove_unfinished(job.out_dir, {manifest.path.stem, *(feature_path(film, desc).stem for film in began)})


def _told_at_once(job: _Job, film: Path, manifest: Manifest) -> Attempt[FeatureFile] | None:
    """What comes of a film that is not there, or that is done and has not changed since."""
    if not exists(film):
        return _Extraction(job).attempt(film)
    sha256 = manifest.known_sha256(film)
    if sha256 is None or job.known is None:
        return None
    errors: list[Exception] = []
    with postponed(errors):
        done = job.current(_Source(film, None, time.perf_counter()), sha256)
        return None if done is None else Attempt(done)
    return Attempt(None, errors[0])


def _desc_of(settings: ExtractionSettings) -> str:
    """What names of feature files call these features, without a codec or a model."""
    from giblet.data.audio import AudioSettings

    if isinstance(settings, AudioSettings):
        return ENCODEC if settings.use_encodec else MEL
    return str(processor_type(settings).desc)


def _result(film: Path, attempt: Attempt[FeatureFile]) -> FeatureFile | FailedExtraction:
    if attempt.value is not None:
        return attempt.value
    known = isinstance(attempt.error, GibletError)
    return FailedExtraction(film, str(attempt.error) if known else f"{film}: {one_line(attempt.error or EOFError())}")
