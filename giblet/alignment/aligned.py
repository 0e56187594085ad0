"""What alignment returns: the rows that were kept, and a report of what was cut and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class SourceReport:
    """What alignment did to one modality."""

    name: str
    n_trs: int
    """TRs there were."""
    tr: float
    """Seconds, before alignment."""
    stimulus_time: float
    """Second of the modality's own clock that is paired with the onset of volume 0."""
    cut_start: int
    """TRs before the first that is used."""
    cut_end: int
    """TRs behind the last that is used."""
    not_valid: int
    """TRs that the film does not cover, and so were not used."""
    how: str
    """How values came onto the scan's clock, in words."""
    variable: str
    """The variable of the file that was used."""
    others: tuple[str, ...]
    """What else the file has by TR, for the option `variables`."""


@dataclass(frozen=True)
class AlignmentReport:
    """What was cut at each end, and why."""

    tr: float
    n_volumes: int
    """Volumes that were given."""
    kept: int
    cut_start: int
    """Volumes before the first that is used."""
    cut_end: int
    """Volumes behind the last that is used."""
    holes: int
    """Volumes left out, or not given, between the first and the last that are used."""
    sources: tuple[SourceReport, ...]
    reasons: tuple[str, ...]
    """One sentence for each cut."""

    def __str__(self) -> str:
        """The report as lines of text."""
        lines = [
            f"{self.kept} of {self.n_volumes} volumes of {self.tr:g} s kept; cut {self.cut_start} at the start, "
            f"{self.cut_end} at the end, {self.holes} between"
        ]
        for s in self.sources:
            lines.append(
                f"{s.name}: volume 0 is second {s.stimulus_time:g}; {s.how}; of {s.n_trs} TRs {s.cut_start} cut at the "
                f"start, {s.cut_end} at the end"
            )
            if s.others:
                lines.append(f"{s.name} is {s.variable}; its file also has {', '.join(s.others)} (option variables)")
        return "\n".join([*lines, *self.reasons])


@dataclass(frozen=True)
class Aligned:
    """Features and BOLD, row by row the same volumes."""

    features: dict[str, xr.DataArray]
    """By name, (n_rows, ...), codes int32, others float. Each knows what it holds: attributes ``kind``, ``tr``,
    ``variable``, ``slice_time_ref`` where the BOLD says it, and by row ``volume``, ``onset`` (second of the film at
    which the volume begins) and ``mask`` (False: nothing is there, no words were spoken). ``.values`` is the bare
    array."""
    bold: np.ndarray
    """(n_rows, n_voxels), as given; NaN where a volume that is not to be used keeps its place."""
    tr: float
    """Seconds."""
    volumes: np.ndarray
    """int64 (n_rows,): which volume of its run each row is, by the ``onset`` of the BOLD where it has one."""
    source_trs: dict[str, np.ndarray]
    """By name, int64 (n_rows,): the TR of the modality in which each volume begins."""
    report: AlignmentReport
    bold_mask: np.ndarray
    """bool (n_rows,): the BOLD is there; False only with ``on_holes="keep"``."""
    slice_time_ref: float = 0.0
    """When in its TR a volume was read, 0 (its onset, or unknown) to 1."""

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """By name, bool (n_rows,): the modality is there."""
        return {name: values["mask"].values for name, values in self.features.items()}
