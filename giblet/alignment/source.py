"""One modality on its way to the scan's clock."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.alignment.aligned import SourceReport
from giblet.alignment.checks import LatentCodec, array_of_kind, check_one_offset, first_onset, recorded_offset
from giblet.alignment.hrf import response_at
from giblet.alignment.kernels import HRF
from giblet.alignment.resample import Method, resampled
from giblet.alignment.scan import Scan
from giblet.errors import AlignmentError, InputError
from giblet.features import CODES, CONTINUOUS, load_features, present_in
from giblet.timing import TRGrid, exact, same_tr, shown, ungroup_codes, ungroup_frames


def _dataset(name: str, given: Any) -> xr.Dataset:
    if isinstance(given, xr.Dataset):
        return given
    if isinstance(given, (str, Path)):
        return load_features(given)
    raise InputError(
        f"{name} is a {type(given).__name__}: a feature file, or its Dataset, is needed, as it knows its TR and "
        "whether its numbers are codes (giblet.features.new_features makes one)"
    )


class Source:
    """One modality on its way to the scan's clock."""

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
                f"{name} has TR {shown(self.tr)} s, the BOLD {shown(tr)} s: extract it again with --tr {shown(tr)}, "
                "or say resample=True"
            )
        self.valid = self.data["valid"].values.astype(bool) if "valid" in self.data else np.ones(self.n_trs, bool)
        self.present = present_in(self.data, str(main))
        self.first_onset = first_onset(self.data, name)
        # Second of the film at the file's first TR: its onsets begin at 0 where a table was cut at extraction.
        self.begins = self.first_onset + exact(recorded_offset(self.data))
        self.by_frame = "frame" in self.variable.dims and "frame_rate" in attrs and self.variable.ndim == 3
        self.how = ""

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

    def place(self, n_volumes: int, tr: float, offset: Fraction, lag: Fraction) -> None:
        """Find which TR each volume begins in, and whether all that it needs is there.

        Parameters
        ----------
        n_volumes : int
            Volumes of the run, from its first on.
        tr : float
            Repetition time in seconds.
        offset : Fraction
            Second of the stimulus at the onset of volume 0.
        lag : Fraction
            Seconds by which BOLD follows the stimulus.

        Raises
        ------
        InputError
            If the features were extracted with a start offset and `offset` is not 0 either.
        """
        check_one_offset(self.data, offset, self.name)
        self.target_tr, self.shift = exact(tr), offset - lag
        self.stimulus_time = self.shift - self.first_onset
        starts = [(k * self.target_tr + self.stimulus_time) / self.tr for k in range(n_volumes)]
        self.whole = all(s.denominator == 1 for s in starts) and self.tr == self.target_tr
        self.tr_index = np.array([floor(s) for s in starts], dtype=np.int64)
        last = np.array([-floor(-(s + self.target_tr / self.tr)) - 1 for s in starts], dtype=np.int64)
        self.last_index = last
        self.inside = (self.tr_index >= 0) & (last < self.n_trs)
        good = np.r_[0, np.cumsum(self.valid)]
        lo, hi = np.clip(self.tr_index, 0, self.n_trs), np.clip(last + 1, 0, self.n_trs)
        self.covered = self.inside & (good[hi] - good[lo] == hi - lo)
        end = int(np.flatnonzero(self.valid).max(initial=-1) + 1) * self.tr
        # Of the stimulus: what no volume is paired with, and what was not scanned, whatever the lag.
        self.unpaired = max(end - (n_volumes * self.target_tr + self.stimulus_time), Fraction(0))
        self.unscanned = max(end - (n_volumes * self.target_tr + offset - self.first_onset), Fraction(0))

    def reasons(self, scan: Scan) -> list[str]:
        """Why volumes that are held, or stimulus, are cut for this modality; after :meth:`place`.

        Parameters
        ----------
        scan : Scan

        Returns
        -------
        list of str
            One sentence for each cut.
        """
        out = []
        before = int((scan.held & (self.tr_index < 0)).sum())
        if before:
            out.append(f"{self.name} begins {float(-self.stimulus_time):g} s after volume 0: {before} volumes cut")
        behind = int((scan.held & ~self.inside & (self.tr_index >= 0)).sum())
        if behind:
            out.append(f"{self.name} ends before the scan does: {behind} volumes cut")
        padded = int((scan.held & self.inside & ~self.covered).sum())
        if padded:
            out.append(f"{self.name} has padding or gaps (valid is False) in {padded} volumes: cut")
        if self.stimulus_time > 0:
            out.append(f"{self.name}: its first {float(self.stimulus_time):g} s lie before volume 0: cut")
        if self.unscanned > 0:
            out.append(self.short_bold(scan))
        if self.unpaired > self.unscanned:
            left = float(self.unpaired - self.unscanned)
            out.append(f"{self.name}: the lag leaves no volume for {left:g} s at its end: cut")
        return out

    def short_bold(self, scan: Scan) -> str:
        """Both lengths, and what was not scanned, in words; after :meth:`place`.

        Parameters
        ----------
        scan : Scan

        Returns
        -------
        str
        """
        return (
            f"{scan.extent}, {self.name} has {self.n_trs} TRs "
            f"({float(self.n_trs * self.tr):g} s): its last {float(self.unscanned):g} s were not scanned"
        )

    def values(
        self, volumes: np.ndarray, method: Method | None, codec: LatentCodec | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The kept volumes' features, and for which of them there are any; after :meth:`place`.

        Parameters
        ----------
        volumes : ndarray of int64, shape (n_kept,)
            Volumes of the run that are kept, of those that :meth:`place` found to be covered.
        method : str or None
            As for :func:`giblet.alignment.resample_features`, where there must be resampling. None: ``"round"`` for
            codes; for amounts ``"mean"`` at another TR, ``"linear"`` at the same.
        codec : AudioCodec or None
            The one that made the codes; for ``"latent"``.

        Returns
        -------
        values : ndarray, shape (n_kept, ...)
            Codes int32; amounts as in the file, but for pictures in uint8, which become float32 where they are
            resampled.
        there : ndarray of bool, shape (n_kept,)
            False: nothing is present in the volume.

        Raises
        ------
        InputError, AlignmentError
            As :func:`giblet.alignment.resample_features`.

        See Also
        --------
        convolved : the response to the features, in their place.
        """
        if self.whole:
            self.how = f"shifted by {int(self.stimulus_time / self.tr):+d} TRs, values as they were"
            rows = self.tr_index[volumes]
            return self.table[rows], self.present[rows]
        if self.by_frame:
            return self._frames(volumes), self._whole(volumes)
        if method is None and self.kind != CODES and self.tr != self.target_tr:
            method = "mean"
        method = method or ("round" if self.kind == CODES else "linear")
        self.how = f"shifted by {float(self.stimulus_time):g} s, {method} between TRs of {float(self.tr):g} s"
        window = float(self.target_tr) if method == "mean" else None
        # "hold" reaches no further than into the last TR, which `covered` has found to be whole. Padding is absent.
        table = self.table.astype(np.float32) if self.table.dtype.kind == "u" else self.table
        return resampled(
            table, np.arange(self.n_trs) * float(self.tr), self._times(volumes), self.kind, method,  # type: ignore[arg-type]
            codebook_size=self.size, codec=codec, window=window, outside="hold", mask=self.present & self.valid,
        )  # fmt: skip

    def convolved(self, volumes: np.ndarray, hrf: HRF, slice_time_ref: float) -> np.ndarray:
        """The response to the whole of the modality, read at the kept volumes; after :meth:`place`.

        Parameters
        ----------
        volumes : ndarray of int64, shape (n_kept,)
            Volumes of the run that are kept, of those that :meth:`place` found to be covered.
        hrf : str or callable
            As for :func:`giblet.alignment.response_at`.
        slice_time_ref : float
            When in its TR a volume is read, 0 (onset) to 1.

        Returns
        -------
        ndarray of float, shape (n_kept, ...)
            float64 if the features are, else float32. HRFs with derivatives add a trailing axis (response,
            derivatives).

        Raises
        ------
        InputError
            If the modality holds codes or several frames in each TR, or an option is out of range.
        AlignmentError
            If it begins later than its film.
        """
        if self.kind == CODES or self.by_frame:
            what = "codes, which are categories" if self.kind == CODES else "several frames in a TR"
            raise InputError(
                f"{self.name} holds {what}: give hrf by name, for features with one value per TR, or convolve its "
                "latents (convolve_hrf_latents)"
            )
        if self.begins > 0:
            raise AlignmentError(
                f"{self.name} begins at second {float(self.begins):g} of its film, and the response to what came "
                "before reaches into it; use features of the whole film (extract with --start-offset 0), and give "
                "start_offset here"
            )
        table = self.table.astype(np.float32) if self.table.dtype.kind == "u" else self.table
        there = (self.present & self.valid).reshape(-1, *[1] * (table.ndim - 1))
        edges = np.arange(self.n_trs + 1) * float(self.tr)
        times = self._times(volumes) + slice_time_ref * float(self.target_tr)
        at = "" if not slice_time_ref else f", read {slice_time_ref:g} TR after the onset of each volume"
        self.how = f"shifted by {float(self.stimulus_time):g} s, convolved with {hrf} before it was cut{at}"
        return response_at(np.where(there, table, table.dtype.type(0)), edges, times, hrf, tr=float(self.target_tr))

    def _times(self, volumes: np.ndarray) -> np.ndarray:
        """Second of the modality's own clock at which each volume begins."""
        return np.array([float(k * self.target_tr + self.stimulus_time) for k in volumes.tolist()])

    def onsets(self, volumes: np.ndarray) -> np.ndarray:
        """Second of the film at which each volume begins; after :meth:`place`.

        Parameters
        ----------
        volumes : ndarray of int, shape (n_kept,)

        Returns
        -------
        ndarray of float64, shape (n_kept,)
            In seconds.
        """
        return self._times(volumes) + float(self.begins)

    def _whole(self, volumes: np.ndarray) -> np.ndarray:
        """Which volumes have all of their frames: half of them are no TR."""
        good = np.r_[0, np.cumsum(self.present)]
        return good[self.last_index[volumes] + 1] - good[self.tr_index[volumes]] == (
            self.last_index[volumes] + 1 - self.tr_index[volumes]
        )

    def _frames(self, volumes: np.ndarray) -> np.ndarray:
        """Whole frames of the modality, gathered where the volumes begin."""
        rate = exact(float(self.data.attrs["frame_rate"]))
        grid = TRGrid(float(self.file_tr), self.n_trs, rate)
        if self.kind == CODES:
            spill = self.data["spill"].values if "spill" in self.data else None
            if spill is not None and "spill_mask" in self.data:
                # Of a file that was cut the clock, which counts from 0, may look for odd frames where there are none.
                spill = np.where(self.data["spill_mask"].values[:, None, :], spill, self.table[:, :, -1:])
            series = ungroup_codes(self.table, float(self.file_tr), rate, spill=spill)
            width = TRGrid(float(self.target_tr), 1, rate).frames_per_tr
        else:
            series = ungroup_frames(self.table, grid)
            width = TRGrid(float(self.target_tr), 1, rate).max_frames_per_tr
        starts = [k * self.target_tr + self.stimulus_time for k in volumes.tolist()]
        half = Fraction(1, 2)
        first = np.array([floor(s * rate + half) for s in starts])
        behind = np.array([floor((s + self.target_tr) * rate + half) for s in starts])
        off = self.stimulus_time * rate
        self.how = f"shifted by {floor(off + half)} frames of {1000 / float(rate):.4g} ms, values as they were" + (
            "" if off.denominator == 1 else ", to the nearest frame"
        )
        frames = first[:, None] + np.arange(width)
        moved = series[:, np.minimum(frames, series.shape[1] - 1)].transpose(1, 0, 2)
        own = frames < behind[:, None]  # mel files hold 0 in the column that not every TR has
        return np.where(own[:, None, :], moved, moved.dtype.type(0))

    def report(self, volumes: np.ndarray) -> SourceReport:
        """What was done, after :meth:`values` or :meth:`convolved`.

        Parameters
        ----------
        volumes : ndarray of int64, shape (n_kept,)
            Those that are kept.

        Returns
        -------
        SourceReport
        """
        used = self.tr_index[volumes]
        behind = self.n_trs - 1 - int(used[-1])
        return SourceReport(
            self.name, self.n_trs, float(self.tr), float(self.stimulus_time), int(used[0]), behind,
            int((~self.valid).sum()), self.how, str(self.variable.name), tuple(self.others(str(self.variable.name))),
        )  # fmt: skip
