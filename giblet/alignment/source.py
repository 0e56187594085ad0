"""One modality on its way to the scan's clock: where volumes lie on its own, and its values there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from giblet.alignment.aligned import SourceReport
from giblet.alignment.checks import LatentCodec, array_of_kind, check_applied_once, first_onset, recorded_table_time
from giblet.alignment.hrf import response_at
from giblet.alignment.kernels import HRF
from giblet.alignment.resample import Method, Resampling, resampled
from giblet.alignment.scan import Scan
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES, CONTINUOUS, load_features, present_in
from giblet.timing import TRGrid, exact, first_frame, same_tr, shown, ungroup_codes, ungroup_frames


def _dataset(name: str, given: Any) -> xr.Dataset:
    if isinstance(given, xr.Dataset):
        return given
    if isinstance(given, (str, Path)):
        return load_features(given)
    raise InputError(
        f"{name} is a {type(given).__name__}; expected a feature file or its Dataset, which knows its TR and "
        "whether its numbers are codes (giblet.features.new_features makes one)"
    )


@dataclass(frozen=True)
class Placement:
    """Where the volumes of a run lie on the clock of one modality."""

    tr: Fraction
    """Repetition time of the scan, in seconds."""
    stimulus_time: Fraction
    """Second of the modality's own clock that is paired with the onset of volume 0."""
    first: np.ndarray
    """int64 (n_volumes,): the TR of the modality in which each volume begins; beyond its ends where there is none."""
    last: np.ndarray
    """int64 (n_volumes,): the TR of the modality in which each volume ends."""
    inside: np.ndarray
    """bool (n_volumes,): the modality has all those TRs."""
    covered: np.ndarray
    """bool (n_volumes,): and the film covers them all."""
    by_rows: bool
    """Volumes are TRs of the modality: a shift of rows, and no value changes."""
    unpaired: Fraction
    """Seconds at the end of the stimulus that no volume is paired with."""
    unscanned: Fraction
    """Seconds at the end of the stimulus that were not scanned, whatever the lag."""

    def times(self, volumes: np.ndarray) -> np.ndarray:
        """Second of the modality's own clock at which each volume begins.

        Parameters
        ----------
        volumes : ndarray of int, shape (n,)

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        return np.array([float(k * self.tr + self.stimulus_time) for k in volumes.tolist()])


class Moved(NamedTuple):
    """A modality's values at some volumes."""

    values: np.ndarray
    """(n_kept, ...)"""
    present: np.ndarray
    """bool (n_kept,): False where nothing is present in the volume."""
    how: str
    """How they came onto the scan's clock, in words."""


class Source:
    """One modality of a film, on its own clock: where volumes lie on it, and its values there.

    Parameters
    ----------
    name : str
        For messages and the report.
    given : Dataset, str or Path
        A feature file.
    variable : str or None
        Another variable of the file than the one it is about.
    tr : float
        Repetition time of the scan in seconds.
    resample : bool
        Allow features of another TR.

    Raises
    ------
    InputError
        If it is no feature file, or lacks the variable.
    AlignmentError
        If its TR is another one and `resample` is False.

    See Also
    --------
    giblet.alignment.align_all_modalities : places several, and the BOLD beside them.

    Examples
    --------
    In this order, each step from what the one before returned; nothing is kept in the object::

        source = Source("sound", "film_desc-encodec24k_features.nc", None, 2.0, False)
        placement = source.place(n_volumes=300, tr=2.0, stimulus_time_at_volume_0=Fraction(20), lag=Fraction(0))
        moved = source.values(placement, np.flatnonzero(placement.covered))
    """

    def __init__(self, name: str, given: Any, variable: str | None, tr: float, resample: bool) -> None:
        self.name, self.data = name, _dataset(name, given)
        attrs = self.data.attrs
        missing = [a for a in ("tr", "kind", "variable") if a not in attrs]
        main = variable or attrs.get("variable")
        if variable and variable not in self.data:
            raise InputError(f"{name} has no variable {variable!r}: it has {', '.join(self.others(None))}")
        if missing or main not in self.data or self.data[main].dims[:1] != ("tr",):
            raise InputError(f"{name} is not a feature file: it lacks {', '.join(missing) or 'its data by tr'}")
        self.kind, self.variable = str(attrs["kind"]), self.data[main]
        self.size = int(attrs.get("codebook_size", 1024))
        # The file's word counts, not the dtype: pictures are amounts in uint8, and stay so unless interpolated.
        pictures = self.kind == CONTINUOUS and self.variable.dtype.kind == "u"
        if pictures:
            self.table = self.variable.values
        elif main != attrs["variable"] and (self.kind == CONTINUOUS or self.variable.dtype.kind == "f"):
            # What stands beside the main variable is an amount, counts too, and beside codes as well.
            counts = self.variable.dtype.kind in "iu"
            self.kind, self.variable = CONTINUOUS, self.variable.astype(np.float32) if counts else self.variable
            self.table = array_of_kind(self.variable, CONTINUOUS, what=name)
        else:
            self.table = array_of_kind(self.variable, self.kind, self.size, name)
        self.file_tr, self.n_trs = exact(attrs["tr"], f"TR of {name}"), len(self.table)
        self.tr = self.file_tr
        if same_tr(self.tr, tr):
            self.tr = exact(tr)
        elif not resample:
            raise AlignmentError(
                f"{name} has TR {shown(self.tr)} s, the BOLD {shown(tr)} s: extract it again with tr={shown(tr)}, "
                "or resample it (align_all_modalities with resample=True)"
            )
        self.valid = self.data["valid"].values.astype(bool) if "valid" in self.data else np.ones(self.n_trs, bool)
        self.present = present_in(self.data, str(main))
        self.first_onset = first_onset(self.data, name)
        # Second of the film at the file's first TR: its onsets begin at 0 where a table was cut at extraction.
        self.begins = self.first_onset + exact(recorded_table_time(self.data))
        self.by_frame = "frame" in self.variable.dims and "frame_rate" in attrs and self.variable.ndim == 3

    def others(self, main: str | None) -> list[str]:
        """Variables of the file that are numbers by TR, beside `main`.

        Parameters
        ----------
        main : str or None
            Left out of the list, as are ``onset`` and ``spill``.

        Returns
        -------
        list of str
        """
        return [
            str(name)
            for name, variable in self.data.data_vars.items()
            if name not in (main, "onset", "spill") and variable.dims[:1] == ("tr",) and variable.dtype.kind in "iuf"
        ]

    def place(self, n_volumes: int, *, tr: float, stimulus_time_at_volume_0: Fraction, lag: Fraction) -> Placement:
        """Find which TRs each volume needs, and whether all of them are there.

        Parameters
        ----------
        n_volumes : int
            Volumes of the run, from its first on.
        tr : float
            Repetition time in seconds.
        stimulus_time_at_volume_0 : Fraction
            Second of the stimulus at the onset of volume 0.
        lag : Fraction
            Seconds by which BOLD follows the stimulus.

        Returns
        -------
        Placement

        Raises
        ------
        InputError
            If the features are words that were shifted when they were extracted, and would be shifted again.
        """
        check_applied_once(self.data, stimulus_time_at_volume_0, self.name)
        step, scan_starts = exact(tr), stimulus_time_at_volume_0 - self.first_onset
        stimulus_time = scan_starts - lag
        starts = [(k * step + stimulus_time) / self.tr for k in range(n_volumes)]
        first = np.array([floor(s) for s in starts], dtype=np.int64)
        last = np.array([-floor(-(s + step / self.tr)) - 1 for s in starts], dtype=np.int64)
        inside = (first >= 0) & (last < self.n_trs)
        n_valid = np.r_[0, np.cumsum(self.valid)]
        lo, hi = np.clip(first, 0, self.n_trs), np.clip(last + 1, 0, self.n_trs)
        end = int(np.flatnonzero(self.valid).max(initial=-1) + 1) * self.tr
        return Placement(
            step, stimulus_time, first, last, inside,
            covered=inside & (n_valid[hi] - n_valid[lo] == hi - lo),
            by_rows=all(s.denominator == 1 for s in starts) and self.tr == step,
            unpaired=max(end - (n_volumes * step + stimulus_time), Fraction(0)),
            unscanned=max(end - (n_volumes * step + scan_starts), Fraction(0)),
        )  # fmt: skip

    def reasons(self, placement: Placement, scan: Scan) -> list[str]:
        """Why volumes that are held, or stimulus, are cut for this modality.

        Parameters
        ----------
        placement : Placement
        scan : Scan

        Returns
        -------
        list of str
            One sentence for each cut.
        """
        out = []
        before = int((scan.held & (placement.first < 0)).sum())
        if before:
            out.append(f"{self.name} begins {float(-placement.stimulus_time):g} s after volume 0: {before} volumes cut")
        behind = int((scan.held & ~placement.inside & (placement.first >= 0)).sum())
        if behind:
            out.append(f"{self.name} ends before the scan does: {behind} volumes cut")
        padded = int((scan.held & placement.inside & ~placement.covered).sum())
        if padded:
            out.append(f"{self.name} has padding or gaps (valid is False) in {padded} volumes: cut")
        if placement.stimulus_time > 0:
            out.append(f"{self.name}: its first {float(placement.stimulus_time):g} s lie before volume 0: cut")
        if placement.unscanned > 0:
            out.append(self.short_bold(placement, scan))
        if placement.unpaired > placement.unscanned:
            left = float(placement.unpaired - placement.unscanned)
            out.append(f"{self.name}: the lag leaves no volume for {left:g} s at its end: cut")
        return out

    def short_bold(self, placement: Placement, scan: Scan) -> str:
        """Both lengths, and what was not scanned, in words.

        Parameters
        ----------
        placement : Placement
        scan : Scan

        Returns
        -------
        str
        """
        return (
            f"{scan.extent}, {self.name} has {self.n_trs} TRs "
            f"({float(self.n_trs * self.tr):g} s): its last {float(placement.unscanned):g} s were not scanned"
        )

    def values(
        self,
        placement: Placement,
        volumes: np.ndarray,
        method: Method | None = None,
        codec: LatentCodec | None = None,
    ) -> Moved:
        """The features at some volumes.

        Parameters
        ----------
        placement : Placement
        volumes : ndarray of int64, shape (n_kept,)
            Volumes of the run that are ``covered``.
        method : str or None
            As for :func:`giblet.alignment.resample_features`, where there must be resampling. None: ``"nearest"`` for
            codes; for amounts ``"mean"`` at another TR, ``"linear"`` at the same.
        codec : AudioCodec or None
            The one that made the codes; for ``"latent"``.

        Returns
        -------
        Moved
            Codes int32; amounts as in the file, but for pictures in uint8, which become float32 where they are
            resampled.

        Raises
        ------
        InputError, AlignmentError
            As :func:`giblet.alignment.resample_features`.

        See Also
        --------
        convolved : the response to the features, in their place.
        """
        if placement.by_rows:
            rows = placement.first[volumes]
            how = f"shifted by {int(placement.stimulus_time / self.tr):+d} TRs, values as they were"
            return Moved(self.table[rows], self.present[rows], how)
        if self.by_frame:
            return self._frames(placement, volumes)
        if method is None and self.kind != CODES and self.tr != placement.tr:
            method = "mean"
        method = method or ("nearest" if self.kind == CODES else "linear")
        averaging = float(placement.tr) if method == "mean" else None
        # "hold" reaches no further than into the last TR, which `covered` has found to be whole. Padding is absent.
        moved, present = resampled(
            self._numbers(), np.arange(self.n_trs) * float(self.tr), placement.times(volumes), self.kind,
            Resampling(method, self.size, codec, outside="hold", averaging=averaging), self.present & self.valid,
        )  # fmt: skip
        how = f"shifted by {float(placement.stimulus_time):g} s, {method} between TRs of {float(self.tr):g} s"
        return Moved(moved, present, how)

    def convolved(self, placement: Placement, volumes: np.ndarray, hrf: HRF, slice_time_ref: float) -> Moved:
        """The response to the whole of the modality, read at some volumes.

        Parameters
        ----------
        placement : Placement
        volumes : ndarray of int64, shape (n_kept,)
            Volumes of the run that are ``covered``.
        hrf : str or callable
            As for :func:`giblet.alignment.response_at`.
        slice_time_ref : float
            When in its TR a volume is read, 0 (onset) to 1.

        Returns
        -------
        Moved
            float64 if the features are, else float32. HRFs with derivatives add a trailing axis (response,
            derivatives). All are present.

        Raises
        ------
        InputError
            If the modality holds codes or several frames in each TR, or an option is out of range.
        AlignmentError
            If it begins later than its film.

        See Also
        --------
        values : the features themselves.
        """
        if self.kind == CODES or self.by_frame:
            what = "codes, which are categories" if self.kind == CODES else "several frames in a TR"
            raise InputError(
                f"{self.name} holds {what}; pass hrf by name, for features with one value per TR, or convolve its "
                "latents (convolve_hrf_latents)"
            )
        if self.begins > 0:
            raise AlignmentError(
                f"{self.name} begins at second {float(self.begins):g} of its film, and the response to what came "
                "before reaches into it; use features of the whole film (of words, extract with table_time_at_tr_0=0), "
                "and pass stimulus_time_at_volume_0 here"
            )
        table, tr = self._numbers(), float(placement.tr)
        present = (self.present & self.valid).reshape(-1, *[1] * (table.ndim - 1))
        edges = np.arange(self.n_trs + 1) * float(self.tr)
        times = placement.times(volumes) + slice_time_ref * tr
        at = "" if not slice_time_ref else f", read {slice_time_ref:g} TR after the onset of each volume"
        response = response_at(np.where(present, table, table.dtype.type(0)), edges, times, hrf, tr=tr)
        how = f"shifted by {float(placement.stimulus_time):g} s, convolved with {hrf} before it was cut{at}"
        return Moved(response, np.ones(len(volumes), bool), how)

    def onsets(self, placement: Placement, volumes: np.ndarray) -> np.ndarray:
        """Second of the film at which each volume begins.

        Parameters
        ----------
        placement : Placement
        volumes : ndarray of int, shape (n_kept,)

        Returns
        -------
        ndarray of float64, shape (n_kept,)
            In seconds.
        """
        return placement.times(volumes) + float(self.begins)

    def _numbers(self) -> np.ndarray:
        """The table as numbers that can be averaged: pictures as float32."""
        return self.table.astype(np.float32) if self.table.dtype.kind == "u" else self.table

    def _frames(self, placement: Placement, volumes: np.ndarray) -> Moved:
        """Whole frames of the modality, gathered where the volumes begin."""
        rate = exact(float(self.data.attrs["frame_rate"]))
        of_a_volume = TRGrid(float(placement.tr), 1, rate)
        if self.kind == CODES:
            spill = self.data["spill"].values if "spill" in self.data else None
            if spill is not None and "spill_mask" in self.data:
                # Of a file that was cut the clock, which counts from 0, may look for odd frames where there are none.
                spill = np.where(self.data["spill_mask"].values[:, None, :], spill, self.table[:, :, -1:])
            series = ungroup_codes(self.table, tr=float(self.file_tr), frame_rate=rate, spill=spill)
            width = of_a_volume.frames_per_tr
        else:
            series = ungroup_frames(self.table, TRGrid(float(self.file_tr), self.n_trs, rate))
            width = of_a_volume.max_frames_per_tr
        starts = [k * placement.tr + placement.stimulus_time for k in volumes.tolist()]
        first = np.array([first_frame(s, rate) for s in starts])
        behind = np.array([first_frame(s + placement.tr, rate) for s in starts])
        frames = first[:, None] + np.arange(width)
        moved = series[:, np.minimum(frames, series.shape[1] - 1)].transpose(1, 0, 2)
        own = frames < behind[:, None]  # mel files hold 0 in the column that not every TR has
        # Half of its frames are no TR.
        n_present = np.r_[0, np.cumsum(self.present)]
        lo, hi = placement.first[volumes], placement.last[volumes] + 1
        off, shift = placement.stimulus_time * rate, first_frame(placement.stimulus_time, rate)
        how = f"shifted by {shift} frames of {1000 / float(rate):.4g} ms, values as they were" + (
            "" if off.denominator == 1 else ", to the nearest frame"
        )
        return Moved(
            np.where(own[:, None, :], moved, moved.dtype.type(0)), n_present[hi] - n_present[lo] == hi - lo, how
        )

    def report(self, placement: Placement, volumes: np.ndarray, how: str) -> SourceReport:
        """What was done.

        Parameters
        ----------
        placement : Placement
        volumes : ndarray of int64, shape (n_kept,)
            Those that are kept.
        how : str
            As :meth:`values` or :meth:`convolved` said it.

        Returns
        -------
        SourceReport
        """
        used = placement.first[volumes]
        behind = self.n_trs - 1 - int(used[-1])
        return SourceReport(
            self.name, self.n_trs, float(self.tr), float(placement.stimulus_time), int(used[0]), behind,
            int((~self.valid).sum()), how, str(self.variable.name), tuple(self.others(str(self.variable.name))),
        )  # fmt: skip
