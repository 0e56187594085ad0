"""The check that a scan and its stimulus are on one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from giblet.alignment.checks import check_applied_once, first_onset
from giblet.alignment.lags import HIGH_PASS
from giblet.alignment.scan import Scan
from giblet.data.bold.brain_rows import PLACES, column_name, format_of
from giblet.data.bold.tables import is_table
from giblet.data.sound import of_length, samples_in
from giblet.errors import InputError
from giblet.evaluation.alignment import (
    AlignmentCheck,
    Regressor,
    check,
    check_extent,
    envelope,
    regressors_of,
    what_is_checked,
)
from giblet.evaluation.lag_plot import check_plotting, plot_checks
from giblet.evaluation.regressors import envelope_edges
from giblet.features import load_features, main_variable, metadata_of
from giblet.files import check_writable
from giblet.pipeline.decoding import sound_decoder
from giblet.renamed import renamed
from giblet.storage import bring, taking_urls
from giblet.timing import exact

if TYPE_CHECKING:
    import xarray as xr

ORDER = "feature files come first, and the BOLD last"
ONE_THREAD: dict[str, Any] = {"limits": 1, "user_api": "blas"}
"""For sums on a scan: their products are so small that NumPy's threads would wait for each other longer than they
compute, on cores that the decoding of the sound can use."""


def regressors_from(path: str | Path, *, codec: str | None = None, device: str = "auto") -> list[Regressor]:
    """Regressors in a feature file: the envelope of its sound, or the series that it holds.

    Parameters
    ----------
    path : str or Path
        Codes (or mel) are decoded to sound for the envelope, which begins at the file's first ``onset``.
    codec : str, optional
        Where the codec that made the codes is now; by default where it was then.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Returns
    -------
    list of Regressor

    Raises
    ------
    GibletError
        If the file or its codec cannot be used, or it holds nothing of the kind.
    """
    return regressors_in(load_features(path), Path(path).name, codec=codec, device=device)


def regressors_in(
    features: xr.Dataset, name: str, *, codec: str | None = None, device: str = "auto"
) -> list[Regressor]:
    """Regressors in features that are already read.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`giblet.features.load_features` reads it.
    name : str
        Of their file, for messages.
    codec, device
        As for :func:`regressors_from`.

    Returns
    -------
    list of Regressor

    Raises
    ------
    GibletError
        If the codec cannot be used, or the features hold nothing of the kind.

    See Also
    --------
    regressors_from : reads the file too.
    """
    return _maker(features, name, codec=codec, device=device, given_up=Event())()


def edges_in(features: xr.Dataset, name: str) -> list[tuple[str, np.ndarray]]:
    """Names of the regressors in features, and their edges, without decoding a sound.

    Parameters
    ----------
    features : xarray.Dataset
        As :func:`giblet.features.load_features` reads it.
    name : str
        Of their file, for messages.

    Returns
    -------
    list of (str, ndarray of float64, shape (n_samples + 1,))
        As of :func:`regressors_in`.

    Raises
    ------
    AlignmentError
        If TRs are missing between others.
    """
    if not _is_sound(features):
        return [(one.name, one.edges) for one in regressors_of(features)]
    begins, rate = float(first_onset(features, name)), int(features.attrs["sample_rate"])
    whole = exact(features.attrs["tr"]) * features.sizes["tr"]
    seconds = min(exact(features.attrs.get("duration", whole)), whole)
    return [("envelope", envelope_edges(samples_in(seconds, rate), rate, begins=begins))]


def expecting(
    edges: Sequence[tuple[str, np.ndarray]], stimulus_time_at_volume_0: float, *, trim: bool
) -> Callable[[int, float], None]:
    """What refuses a scan of another length than its stimulus has, before the scan is read and the sound decoded.

    Parameters
    ----------
    edges : sequence of (str, ndarray of float64, shape (n_samples + 1,))
        As of :func:`edges_in`.
    stimulus_time_at_volume_0, trim
        As for :func:`giblet.evaluation.alignment.check_extent`.

    Returns
    -------
    callable
        For `expect` of :meth:`giblet.data.fmri.FMRIProcessor.load`.
    """

    def expect(n_volumes: int, tr: float) -> None:
        outline = Scan(np.zeros(n_volumes, np.float32), tr, None, None, None, None)
        for name, known in edges:
            check_extent(name, known, outline, stimulus_time_at_volume_0, trim=trim)

    return expect


def _is_sound(features: xr.Dataset) -> bool:
    return "codec" in features.attrs or "mel" in features


def _maker(
    features: xr.Dataset, name: str, *, codec: str | None, device: str, given_up: Event
) -> Callable[[], list[Regressor]]:
    """What makes the regressors in features, the codec being loaded; it ends in `CancelledError` if told to give up.

    Of a sound, one block at a time is in memory.
    """
    if not _is_sound(features):
        regressors = regressors_of(features)
        if not regressors:
            raise InputError(
                f"{name} holds {', '.join(map(str, features.data_vars))}; what is held against a brain is sound, of "
                "audio codes or mel, word_rate, luminance or luminance_change: name a file that has one of them"
            )
        return lambda: regressors
    begins, rate = float(first_onset(features, name)), int(features.attrs["sample_rate"])
    processor = sound_decoder(features, codec=codec, device=device)

    def make() -> list[Regressor]:
        values = features[main_variable(features)].values
        blocks, seconds = processor.features_to_sound(values, metadata=metadata_of(features))
        # Clipped as in the sound file that `giblet decode` writes.
        clipped = (np.clip(block, -1, 1) for block in of_length(_unless(given_up, blocks), rate, seconds))
        return [envelope(clipped, rate, begins=begins)]

    return make


def _unless(given_up: Event, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, as long as somebody wants them."""
    for block in blocks:
        if given_up.is_set():
            raise CancelledError
        yield block


@renamed(start_offset="stimulus_time_at_volume_0")
@taking_urls("features", "bold", "mask", "atlas", "confounds", into=("plot",))
# 24 parameters: one for each option of `giblet check-alignment`, so that an editor knows them and a typo is an error.
def check_alignment(
    features: Sequence[str | Path],
    bold: str | Path,
    *,
    mask: str | Path | None = None,
    atlas: str | Path | None = None,
    background_label: int | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
    tr: float | None = None,
    overrule_tr: bool = False,
    slice_time_ref: float | None = None,
    confounds: str | Path | None = None,
    confound_columns: Sequence[str] | None = None,
    bad: str = "error",
    stimulus_time_at_volume_0: float = 0.0,
    lags: tuple[float, float] = (-15.0, 15.0),
    plot: str | Path | None = None,
    overwrite: bool = False,
    codec: str | None = None,
    device: str = "auto",
    hrf: str = "glover",
    n_surrogates: int = 1000,
    high_pass: float | None = HIGH_PASS,
    trim: bool = False,
    seed: int = 0,
) -> list[AlignmentCheck]:
    """Test whether one run of BOLD follows its stimulus, by correlating the two at many lags.

    Parameters
    ----------
    features : sequence of path
        Feature files of the same stimulus.
    bold : path
        NIfTI with `mask` or `atlas`, CIFTI, one of a pair of GIFTI, or a table of regions.
    mask, atlas, background_label, columns, decimal
        As for :class:`giblet.data.fmri.FMRIProcessor`.
    tr : float, optional
        Repetition time in seconds; by default the sidecar's or the image's. A table without a sidecar needs it.
    overrule_tr : bool
        As for :class:`giblet.data.fmri.FMRIProcessor`.
    slice_time_ref : float, optional
        When in its TR a volume is read, 0 (its onset) to 1; by default the sidecar's ``StartTime`` over the TR, else 0.
    confounds : str or Path, optional
        As for :meth:`giblet.data.fmri.FMRIProcessor.load`. Volumes that confounds censor count nowhere.
    confound_columns, bad
        As for :class:`giblet.data.fmri.FMRIProcessor`.
    stimulus_time_at_volume_0 : float
        Second of the stimulus at the onset of volume 0. A feature file that was cut from a longer one begins at its own
        ``onset``. It is refused for words that were extracted with one.
    lags : tuple of float
        First and last, in seconds; whole TRs between them are scanned.
    plot : path, optional
        Also draw it.
    overwrite : bool
        Replace a file that stands where `plot` shall be.
    codec, device : str
        As for :func:`regressors_from`.
    hrf, n_surrogates, high_pass, trim, seed
        As for :func:`giblet.evaluation.alignment.check`.

    Returns
    -------
    list of AlignmentCheck
        One per regressor.

    Raises
    ------
    GibletError
        If a file or an option cannot be used; nothing is written then.

    See Also
    --------
    giblet.alignment.lags.lag_scan : The scan itself, of one regressor given as an array.
    giblet.statistics.rotation.rotation_test : Test a prediction by rotating it in time.
    """
    _check_plot(plot, overwrite)
    _check_order(features, bold)
    opened = [(Path(path).name, load_features(path)) for path in features]
    for name, dataset in opened:
        check_applied_once(dataset, stimulus_time_at_volume_0, name)

    edges = [known for name, dataset in opened for known in edges_in(dataset, name)]
    expect = expecting(edges, stimulus_time_at_volume_0, trim=trim)

    from giblet.data.fmri import FMRIProcessor  # here, as it takes a while to import
    from giblet.data.study_settings import bring_companions

    bring_companions([bold, mask, atlas])
    processor = FMRIProcessor(
        mask, atlas, tr=tr, overrule_tr=overrule_tr, slice_time_ref=slice_time_ref, background_label=background_label,
        columns=columns, decimal=decimal, confound_columns=confound_columns, bad=bad,
    )  # fmt: skip
    load = partial(processor.load, bold, confounds=confounds)
    scan, made = read_with_regressors(load, expect, opened, codec=codec, device=device)
    regressors = [regressor for one in made for regressor in one]
    checks = checks_of(
        scan, regressors, stimulus_time_at_volume_0=stimulus_time_at_volume_0, lags=lags, hrf=hrf,
        n_surrogates=n_surrogates, high_pass=high_pass, trim=trim, seed=seed,
    )  # fmt: skip
    if plot is not None:
        plot_checks(checks, plot)
    return checks


@dataclass(frozen=True, eq=False)
class CheckedScan:
    """What of a scan is checked."""

    bold: np.ndarray
    """(n_volumes, n): some columns, or the mean of many."""
    targets: Sequence[str]
    """Names of its columns."""
    sample_mask: np.ndarray | None
    """Volumes that count (n_volumes,), bool; None where all do."""
    tr: float
    """In seconds."""
    slice_time_ref: float

    @classmethod
    def of(cls, scan: xr.Dataset) -> CheckedScan:
        """What is checked of one run.

        Parameters
        ----------
        scan : xarray.Dataset
            As :meth:`giblet.data.fmri.FMRIProcessor.load` gives it.

        Returns
        -------
        CheckedScan

        Raises
        ------
        InputError
            If a column does not vary.
        """
        tr, good = float(scan.attrs["tr"]), scan["good"].values.astype(bool)
        targets = [column for column, usable in zip(_column_names(scan), good, strict=True) if usable]
        sample_mask = scan["sample_mask"].values.astype(bool) if "sample_mask" in scan else None
        values = scan["bold"].values
        bold, targets_seen = what_is_checked(values if good.all() else values[:, good], targets, tr, sample_mask)
        return cls(bold, targets_seen, sample_mask, tr, float(scan.attrs["slice_time_ref"]))


def read_with_regressors(
    load: Callable[..., xr.Dataset],
    expect: Callable[[int, float], None],
    features: Sequence[tuple[str, xr.Dataset]],
    *,
    codec: str | None = None,
    device: str = "auto",
) -> tuple[CheckedScan, list[list[Regressor]]]:
    """A scan and the regressors of its stimulus; sounds are decoded while it is read, once its length is right.

    Parameters
    ----------
    load : callable
        Reads the scan; called with `expect`.
    expect : callable
        As :func:`expecting` gives it.
    features : sequence of (str, xarray.Dataset)
        Name of its file, for messages, and the features in it.
    codec, device
        As for :func:`regressors_from`.

    Returns
    -------
    scan : CheckedScan
    regressors : list of list of Regressor
        Of each of `features`.

    Raises
    ------
    GibletError
        If the scan or a codec cannot be used, or features hold nothing of the kind. Of a sound, no more is decoded
        then.
    """
    given_up = Event()
    making: list[Future[list[list[Regressor]]]] = []
    with ThreadPoolExecutor(max_workers=1) as aside:

        def begin(n_volumes: int, tr: float) -> None:
            expect(n_volumes, tr)
            if not making:
                # Codecs are loaded here: modules that two threads import at a time may see each other half made.
                makers = [
                    _maker(dataset, name, codec=codec, device=device, given_up=given_up) for name, dataset in features
                ]
                making.append(aside.submit(lambda: [make() for make in makers]))

        try:
            with threadpool_limits(**ONE_THREAD):
                scan = CheckedScan.of(load(expect=begin))
            return scan, making[0].result()
        finally:
            given_up.set()


def checks_of(
    scan: CheckedScan, regressors: Sequence[Regressor], *, lags: tuple[float, float], **options: Any
) -> list[AlignmentCheck]:
    """Test whether a scan that is read follows its stimulus.

    Parameters
    ----------
    scan : CheckedScan
        One run, as :func:`read_with_regressors` gives it.
    regressors : sequence of Regressor
    lags : tuple of float
        First and last, in seconds; whole TRs between them are scanned.
    **options
        As for :func:`giblet.evaluation.alignment.check`.

    Returns
    -------
    list of AlignmentCheck
        One per regressor.

    Raises
    ------
    GibletError
        If an option cannot be used, or the two do not overlap.

    See Also
    --------
    check_alignment : reads scan and features too.
    """
    lags_scanned = _whole_trs(lags, scan.tr)
    with threadpool_limits(**ONE_THREAD):
        return [
            check(
                regressor, scan.bold, scan.tr, targets=scan.targets, lags=lags_scanned, sample_mask=scan.sample_mask,
                slice_time_ref=scan.slice_time_ref, **options,
            )
            for regressor in regressors
        ]  # fmt: skip


def _check_plot(plot: str | Path | None, overwrite: bool) -> None:
    """Refuse a plot that could not be drawn, or would replace a file, before anything is computed."""
    if plot is None:
        return
    check_plotting()
    check_writable(Path(plot).parent)
    if bring(Path(plot), needed=False).exists() and not overwrite:
        raise InputError(f"{plot} already exists: name another file for `plot`, or replace it (`overwrite=True`)")


def _whole_trs(lags: tuple[float, float], tr: float) -> np.ndarray:
    """The whole numbers of TRs between two lags, in seconds."""
    low, high = lags
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"lags go from {low:g} to {high:g} s: the first must be below the last, as in -15..15")
    scanned = np.arange(np.ceil(low / tr - 1e-6), np.floor(high / tr + 1e-6) + 1) * tr
    if len(scanned) < 2:
        raise InputError(f"there is no room for two lags between {low:g} and {high:g} s at TR {tr:g} s: widen `lags`")
    return scanned


def _column_names(scan: xr.Dataset) -> list[str]:
    """Names of the columns of BOLD: those of its regions or grayordinates, or numbers of voxels."""
    if (unit := str(scan["bold"].dims[1])) == "voxel":
        return [f"voxel {number}" for number in range(scan.sizes["voxel"])]
    known = {name: scan[name].values for name in PLACES if name in scan.coords}
    return [column_name(known, number) for number in range(scan.sizes[unit])]


def _check_order(features: Sequence[str | Path], bold: str | Path) -> None:
    """Say it in one line if files stand in each other's place."""
    for path in features:
        if is_table(path) or format_of(path):
            raise InputError(f"{Path(path).name} is a scan or a table, in the place of features: {ORDER}")
    if Path(bold).suffix.lower() == ".nc":
        raise InputError(f"{Path(bold).name} is a feature file, in the place of the BOLD: {ORDER}")
