"""Simulated brains, and the check that a scan and its stimulus are on one clock."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from giblet.alignment.checks import check_one_offset, first_onset
from giblet.data.bold.tables import is_table
from giblet.data.fmri import FMRIProcessor
from giblet.data.media import AudioReader
from giblet.data.simulate import Simulation, simulate_bold, write_simulation
from giblet.errors import InputError
from giblet.evaluation.alignment import Checked, Regressor, check, envelope, regressors_of
from giblet.evaluation.lag_plot import check_plotting, plot_checks
from giblet.features import CONTINUOUS, load_features, new_features
from giblet.files import check_writable
from giblet.pipeline.decoding import decode
from giblet.timing import TRGrid, exact

ORDER = "feature files come first, and the BOLD last"


def regressors_from(path: str | Path, *, codec: str | None = None, device: str = "auto") -> list[Regressor]:
    """What a brain answers to in a feature file: the envelope of its sound, or the series that it holds.

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
    features = load_features(path)
    if "codec" not in features.attrs and "mel" not in features:
        found = regressors_of(features)
        if not found:
            raise InputError(
                f"{Path(path).name} holds {', '.join(map(str, features.data_vars))}: audio codes, word_rate, luminance "
                "or motion_energy is needed"
            )
        return found
    with tempfile.TemporaryDirectory() as folder:
        begins = float(first_onset(features, Path(path).name))
        sound = decode(path, Path(folder) / "sound.wav", codec=codec, device=device)
        samples = np.concatenate(list(AudioReader(sound.path)))
        return [envelope(samples, int(features.attrs["sample_rate"]), begins=begins)]


def simulate(
    features: str | Path,
    out_dir: str | Path = ".",
    *,
    table: bool = False,
    regressor: str | None = None,
    codec: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    **settings: Any,
) -> tuple[Simulation, list[Path]]:
    """BOLD that answers to a feature file through a known mapping, as files, with the truth beside them.

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
        Answer to this one series alone (``"envelope"``, ``"word_rate"``, ``"luminance"``, ``"motion_energy"``), as
        :func:`check_alignment` looks for it, instead of the whole of the features.
    codec, device : str
        As for :func:`regressors_from`, for ``"envelope"``.
    overwrite : bool
        Replace files of another simulation that stand by these names.
    **settings
        Fields of :class:`giblet.data.simulate.SimulateSettings`.

    Returns
    -------
    simulation : Simulation
    files : list of Path
        The files written.

    Raises
    ------
    GibletError
        If the features or an option cannot be used; nothing is written then.
    """
    check_writable(out_dir)
    source = load_features(features)
    if regressor is not None:
        found = {one.name: one for one in regressors_from(features, codec=codec, device=device)}
        if regressor not in found:
            raise InputError(f"{Path(features).name} has no regressor {regressor!r}: it has {', '.join(found)}")
        source = _by_tr(found[regressor], source)
    simulation = simulate_bold(source, **settings)
    if simulation.truth.sizes["feature"] == 1:
        # One series drives every voxel up, as a stimulus does; with random signs the mean over voxels would be nothing.
        # Noise is the same upside down.
        sign = np.sign(simulation.truth["weights"].values[0]).astype(np.float32)
        truth = simulation.truth.copy()
        truth["weights"], truth["signal"] = truth["weights"] * sign, truth["signal"] * sign
        simulation = replace(simulation, bold=simulation.bold * sign, truth=truth)
    stem = Path(features).name.removesuffix(".nc").removesuffix("_features")
    name = f"{stem}_simulated_bold{'.tsv' if table else '.nii.gz'}"
    return simulation, write_simulation(simulation, Path(out_dir) / name, overwrite=overwrite)


def _by_tr(regressor: Regressor, features: xr.Dataset) -> xr.Dataset:
    """A regressor as a feature file of one column: its mean in each TR, weighted by overlap."""
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
    start_offset: float = 0.0,
    lags: tuple[float, float] = (-15.0, 15.0),
    plot: str | Path | None = None,
    overwrite: bool = False,
    codec: str | None = None,
    device: str = "auto",
    **options: Any,
) -> list[Checked]:
    """Scan what the brain should answer to against one run of BOLD, at many lags.

    Parameters
    ----------
    features : sequence of path
        Feature files of the same stimulus.
    bold : path
        NIfTI with `mask` or `atlas`, or a table of regions.
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
    start_offset : float
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
    **options
        As for :func:`giblet.evaluation.alignment.check`.

    Returns
    -------
    list of Checked
        One per regressor.

    Raises
    ------
    GibletError
        If a file or an option cannot be used; nothing is written then.
    """
    if plot is not None:
        check_plotting()
        check_writable(Path(plot).parent)
        if Path(plot).exists() and not overwrite:
            raise InputError(
                f"{plot} is there already: name another file with --out, or --overwrite (overwrite=True) to replace it"
            )
    _check_order(features, bold)
    for path in features:
        check_one_offset(load_features(path), start_offset, Path(path).name)
    fmri = FMRIProcessor(
        mask, atlas, tr=tr, overrule_tr=overrule_tr, slice_time_ref=slice_time_ref, background_label=background_label,
        columns=columns, decimal=decimal, confound_columns=confound_columns, bad=bad,
    )  # fmt: skip
    data = fmri.load(bold, confounds=confounds)
    seconds = float(data.attrs["tr"])
    low, high = lags
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"lags go from {low:g} to {high:g} s: the first must be below the last, as in -15..15")
    scanned = np.arange(np.ceil(low / seconds - 1e-6), np.floor(high / seconds + 1e-6) + 1) * seconds
    if len(scanned) < 2:
        raise InputError(f"there is no room for two lags between {low:g} and {high:g} s at TR {seconds:g} s: widen it")
    values = data["bold"].values[:, data["good"].values.astype(bool)]
    axis = "region" if "region" in data.coords else "voxel"
    names = np.arange(data.sizes["voxel"]) if axis == "voxel" else data["region"].values
    targets = [f"{axis} {n}" if axis == "voxel" else str(n) for n in names[data["good"].values.astype(bool)]]
    regressors = [r for path in features for r in regressors_from(path, codec=codec, device=device)]
    options |= {
        "start_offset": start_offset, "lags": scanned, "slice_time_ref": float(data.attrs["slice_time_ref"]),
        "sample_mask": data["sample_mask"].values.astype(bool) if "sample_mask" in data else None,
    }  # fmt: skip
    checks = [check(one, values, seconds, targets=targets, **options) for one in regressors]
    if plot is not None:
        plot_checks(checks, plot)
    return checks


def _check_order(features: Sequence[str | Path], bold: str | Path) -> None:
    """Say it in one line if files stand in each other's place."""
    for path in features:
        if is_table(path) or str(path).lower().endswith((".nii", ".nii.gz")):
            raise InputError(f"{Path(path).name} is a scan or a table, in the place of features: {ORDER}")
    if Path(bold).suffix.lower() == ".nc":
        raise InputError(f"{Path(bold).name} is a feature file, in the place of the BOLD: {ORDER}")
