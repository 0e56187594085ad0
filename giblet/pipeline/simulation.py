"""Simulated brains, as files that a scan could have left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import xarray as xr

from giblet.alignment.checks import first_onset
from giblet.data.simulate import SimulateOptions, Simulation, simulate_bold, write_simulation
from giblet.errors import InputError
from giblet.evaluation.alignment import Regressor
from giblet.features import CONTINUOUS, VARIABLES_RENAMED, load_features, new_features
from giblet.files import check_writable
from giblet.notebook import html_facts
from giblet.pipeline.brain import regressors_in
from giblet.renamed import now_called
from giblet.timing import TRGrid, exact


@dataclass(frozen=True, repr=False)
class SimulatedScan:
    """Simulated BOLD with the truth behind it, and the files that hold them.

    Examples
    --------
    >>> scan = simulate("film_desc-encodec24k_features.nc", "brain", snr=0.5)  # doctest: +SKIP
    >>> check_alignment(["film_desc-encodec24k_features.nc"], scan.runs[0], mask=scan.mask)  # doctest: +SKIP
    """

    simulation: Simulation
    files: tuple[Path, ...]
    """The runs, the mask of images, and last the truth. JSON sidecars stand beside runs and truth."""

    @property
    def runs(self) -> tuple[Path, ...]:
        """The file of each run."""
        return self.files[: len(self.simulation.run_lengths)]

    @property
    def mask(self) -> Path | None:
        """The mask of images; None for tables."""
        beside = self.files[len(self.runs) : -1]
        return beside[0] if beside else None

    @property
    def truth(self) -> Path:
        """The file of the noiseless signal, the features and the weights."""
        return self.files[-1]

    def __repr__(self) -> str:
        return f"<SimulatedScan {self.files[0]}: {self.simulation!r}>"

    def _repr_html_(self) -> str:
        (n_trs, n_voxels), attrs = self.simulation.bold.shape, self.simulation.truth.attrs
        about = {"TRs": n_trs, "voxels": n_voxels, **{name: attrs[name] for name in ("tr", "snr", "lag", "source")}}
        return html_facts(str(self.files[0]), {**about, "files": ", ".join(path.name for path in self.files)})


def simulate(
    features: str | Path,
    out_dir: str | Path = ".",
    *,
    table: bool = False,
    regressor: str | None = None,
    codec: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    **settings: Unpack[SimulateOptions],
) -> SimulatedScan:
    """Write simulated BOLD driven by a feature file through a known mapping, with the truth beside it.

    Parameters
    ----------
    features : str or Path
        A feature file.
    out_dir : str or Path
        Gets ``<film>_desc-<what>_simulated_bold.nii.gz`` with its mask, or a ``.tsv`` without one, and beside it
        ``..._truth.nc``. Several runs are numbered: ``..._bold_run-1.nii.gz``.
    table : bool
        A table of columns instead of an image.
    regressor : str, optional
        Answer to this one series alone (``"envelope"``, ``"word_rate"``, ``"luminance"``, ``"luminance_change"``), as
        :func:`check_alignment` looks for it, instead of the whole of the features.
    codec, device : str
        As for :func:`regressors_from`, for ``"envelope"``.
    overwrite : bool
        Replace files of another simulation that stand by these names.
    **settings
        Fields of :class:`giblet.data.simulate.SimulateSettings`. Where the features are one series, every voxel follows
        it (see ``positive`` of :func:`giblet.data.simulate.simulate_bold`).

    Returns
    -------
    SimulatedScan

    Raises
    ------
    GibletError
        If the features or an option cannot be used; nothing is written then.
    """
    check_writable(out_dir)
    source = load_features(features)
    if regressor is not None:
        name = Path(features).name
        by_name = {one.name: one for one in regressors_in(source, name, codec=codec, device=device)}
        if regressor not in by_name:
            if regressor in VARIABLES_RENAMED:
                raise InputError(f"regressor {now_called(regressor, VARIABLES_RENAMED[regressor])}")
            raise InputError(f"{name} has no regressor {regressor!r}; it has {', '.join(by_name)}: name one of these")
        source = regressor_by_tr(by_name[regressor], source)
    simulation = simulate_bold(source, positive=True, **settings)
    stem = Path(features).name.removesuffix(".nc").removesuffix("_features")
    name = f"{stem}_simulated_bold{'.tsv' if table else '.nii.gz'}"
    return SimulatedScan(simulation, tuple(write_simulation(simulation, Path(out_dir) / name, overwrite=overwrite)))


def regressor_by_tr(regressor: Regressor, features: xr.Dataset) -> xr.Dataset:
    """A regressor as a feature file of one column: its mean in each TR, weighted by overlap.

    Parameters
    ----------
    regressor : Regressor
    features : xarray.Dataset
        What it was made from: its clock is that of the result.

    Returns
    -------
    xarray.Dataset
    """
    tr, n_trs = exact(features.attrs["tr"]), features.sizes["tr"]
    onsets = float(first_onset(features, features.attrs["desc"])) + np.arange(n_trs + 1) * float(tr)
    total = np.r_[0, np.cumsum(regressor.values * np.diff(regressor.edges))]
    values = np.diff(np.interp(onsets, regressor.edges, total)) / float(tr)
    made = new_features(
        {regressor.name: (("tr",), values)},
        TRGrid(float(tr), n_trs, 1 / tr),
        film_duration=exact(features.attrs["film_duration"]),
        kind=CONTINUOUS,
        desc=regressor.name,
        duration=float(features.attrs["duration"]),
        settings={},
        source=features.attrs["source"],
        source_sha256=features.attrs["source_sha256"],
    )
    # Of a file that was cut, where it begins and which of its TRs the film covers.
    return made.assign({name: features[name] for name in ("onset", "valid")})
