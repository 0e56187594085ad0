"""Simulated brains, as files that a scan could have left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from giblet.alignment.checks import first_onset
from giblet.data.brain_sources import NAMES, OWN, brain_bands, circular_by
from giblet.data.simulate import SimulateOptions, SimulateSettings, Simulation, simulate_bold, write_simulation
from giblet.errors import InputError
from giblet.evaluation.alignment import Regressor
from giblet.features import CODES, CONTINUOUS, VARIABLES_RENAMED, load_features, new_features
from giblet.files import check_writable
from giblet.notebook import html_facts
from giblet.pipeline.brain import regressors_in
from giblet.renamed import now_called
from giblet.storage import taking_urls
from giblet.timing import TRGrid, exact

if TYPE_CHECKING:
    import xarray as xr


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
    def circular(self) -> str:
        """Whether a model that is given the feature file is given what this brain answers to: yes, no or in part."""
        return str(self.simulation.truth.attrs["circular"])

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
        about = {
            "TRs": n_trs,
            "voxels": n_voxels,
            "TR, s": attrs["tr"],
            "SNR": attrs["snr"],
            "lag, s": attrs["lag"],
            **{name: attrs[name] for name in ("source", "circular")},
        }
        return html_facts(str(self.files[0]), {**about, "files": ", ".join(path.name for path in self.files)})


@taking_urls("features", "film", "words", into=("out_dir",))
def simulate(
    features: str | Path,
    out_dir: str | Path = ".",
    *,
    answers_to: Sequence[str] | None = None,
    film: str | Path | None = None,
    words: str | Path | None = None,
    table: bool = False,
    regressor: str | None = None,
    codec: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    **settings: Unpack[SimulateOptions],
) -> SimulatedScan:
    """Write simulated BOLD driven by features through a known mapping, with the truth beside it.

    Parameters
    ----------
    features : str or Path
        A feature file: what a model will be given, on the clock of the scan.
    out_dir : str or Path
        Gets ``<film>_desc-<what>_simulated_bold.nii.gz`` with its mask, or a ``.tsv`` without one, and beside it
        ``..._truth.nc``. Several runs are numbered: ``..._bold_run-1.nii.gz``.
    answers_to : sequence of str, optional
        What the brain answers to: names of :data:`giblet.data.brain_sources.SOURCES`, or other feature files of the
        same TRs. By default the feature file itself, of codes their names. A model is tested by what it is not given:
        a simulation from the very numbers of the feature file is called circular, in the truth, in the JSON beside the
        BOLD and in :attr:`SimulatedScan.circular`.
    film, words : str or Path, optional
        The film or sound, and the timed words, that `answers_to` needs.
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

    See Also
    --------
    simulate_subjects : Several subjects, who share part of the mapping.
    """
    check_writable(out_dir)
    bands, circular = _answered(features, answers_to, film, words, regressor, codec, device, settings)
    return _written(features, Path(out_dir), bands, circular, table, overwrite, settings)


@taking_urls("features", "film", "words", into=("out_dir",))
def simulate_subjects(
    features: str | Path,
    out_dir: str | Path = ".",
    *,
    n_subjects: int,
    answers_to: Sequence[str] | None = None,
    film: str | Path | None = None,
    words: str | Path | None = None,
    table: bool = False,
    overwrite: bool = False,
    **settings: Unpack[SimulateOptions],
) -> list[SimulatedScan]:
    """Write simulated BOLD of several subjects, each with noise of its own.

    Parameters
    ----------
    features, out_dir
        As for :func:`simulate`; names of files begin with ``sub-01_`` and so on.
    n_subjects : int
        The first has the noise seed that is given (or the seed), each further one the next number.
    answers_to, film, words, table, overwrite
        As for :func:`simulate`.
    **settings
        Fields of :class:`giblet.data.simulate.SimulateSettings`; ``own`` is the share of the mapping in which subjects
        differ. The same voxel of each has the same shared part.

    Returns
    -------
    list of SimulatedScan

    Raises
    ------
    GibletError
        If the features or an option cannot be used; nothing is written then.

    See Also
    --------
    simulate : One subject.
    """
    if n_subjects < 1:
        raise InputError(f"n_subjects is {n_subjects}: at least 1 is needed")
    check_writable(out_dir)
    bands, circular = _answered(features, answers_to, film, words, None, None, "auto", settings)
    options = SimulateSettings.make(**settings)
    first = options.seed if options.noise_seed is None else options.noise_seed
    return [
        _written(
            features, Path(out_dir), bands, circular, table, overwrite, {**settings, "noise_seed": first + place},
            prefix=f"sub-{place + 1:02d}_",
        )
        for place in range(n_subjects)
    ]  # fmt: skip


def _answered(
    features: str | Path, answers_to: Sequence[str] | None, film: str | Path | None, words: str | Path | None,
    regressor: str | None, codec: str | None, device: str, settings: SimulateOptions,
) -> tuple[Any, str]:  # fmt: skip
    """What the brain answers to, as :func:`simulate_bold` takes it, and whether that is circular."""
    source = load_features(features)
    default = NAMES if source.attrs["kind"] == CODES else OWN
    if regressor is not None:
        if answers_to is not None or film is not None or words is not None:
            raise InputError(f"regressor is {regressor!r}, of the feature file: leave out answers_to, film and words")
        return _one_regressor(source, Path(features).name, regressor, codec, device), "yes"
    asked = [default] if answers_to is None else answers_to
    bands = brain_bands(source, asked, film=film, words=words, seed=SimulateSettings.make(**settings).seed)
    circular = circular_by(asked, features)
    return (source if list(asked) == [default] else bands), circular


def _written(
    features: str | Path, out_dir: Path, bands: Any, circular: str, table: bool, overwrite: bool,
    settings: SimulateOptions, prefix: str = "",
) -> SimulatedScan:  # fmt: skip
    simulation = simulate_bold(bands, positive=True, **settings)
    simulation.truth.attrs["circular"] = circular
    stem = Path(features).name.removesuffix(".nc").removesuffix("_features")
    name = f"{prefix}{stem}_simulated_bold{'.tsv' if table else '.nii.gz'}"
    return SimulatedScan(simulation, tuple(write_simulation(simulation, out_dir / name, overwrite=overwrite)))


def _one_regressor(source: xr.Dataset, name: str, regressor: str, codec: str | None, device: str) -> xr.Dataset:
    """The features as the one series that was asked for."""
    by_name = {one.name: one for one in regressors_in(source, name, codec=codec, device=device)}
    if regressor not in by_name:
        if regressor in VARIABLES_RENAMED:
            raise InputError(f"regressor {now_called(regressor, VARIABLES_RENAMED[regressor])}")
        raise InputError(f"{name} has no regressor {regressor!r}; it has {', '.join(by_name)}: name one of these")
    return regressor_by_tr(by_name[regressor], source)


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
