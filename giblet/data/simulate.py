"""Simulated BOLD: features through a mapping and an HRF, under noise of a stated strength.

For voxel ``v``::

    bold[:, v] = amplitude * signal[:, v] + noise[:, v],     snr = var(signal part) / var(noise)

where ``signal`` is ``map(features) @ weights[:, v]`` convolved with the HRF and delayed by the lag. Both variances are
taken over all TRs of the simulation, and their ratio is `snr` exactly, in each voxel. Noise is an AR(1) process, a slow
drift and, if asked for, what head motion and a global signal add (:mod:`giblet.data.simulated_noise`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
from pydantic import Field, model_validator

from giblet.alignment import convolve_hrf
from giblet.alignment.checks import first_onset
from giblet.cells import SEPARATORS
from giblet.config import Settings
from giblet.data.bold.scan_timing import sidecar_path
from giblet.data.bold.tables import is_table
from giblet.data.simulated_mapping import generators, map_to_voxels
from giblet.errors import InputError
from giblet.features import (
    CODES,
    CONTINUOUS,
    REPLACE,
    SIMULATED,
    load_features,
    main_variable,
    new_features,
    save_features,
    standing,
)
from giblet.files import atomic_path, write_atomic
from giblet.spans import volume_rate
from giblet.storage import bring
from giblet.timing import TRGrid, check_tr, exact, same_tr, shown

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

CODE_DIMENSIONS = 8
"""Numbers that stand for one code of one codebook."""
VOXELS_AT_A_TIME = 4096
ADDED: dict[str, Any] = {"confounds": 0.0, "own": 0.0, "answers_to": None}
"""Settings that truths do not name where they have these values, as those of before there were such options."""
BOX_AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
"""Voxels of 3 mm."""


class SimulateSettings(Settings):
    """Options of the simulated brain. Same features, same settings: same BOLD."""

    n_voxels: int = Field(100, ge=1, description="voxels, or columns of a table")
    mapping: Literal["linear", "tanh", "interaction"] = Field(
        "linear",
        description="'tanh': each voxel's drive saturates; 'interaction': half its variance is a product of two drives",
    )
    hrf: Literal["glover", "spm"] = Field("glover", description="haemodynamic response, by nilearn's name")
    snr: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="variance of signal over variance of noise; 0: noise"
    )
    ar: float = Field(0.3, gt=-1, lt=1, description="correlation of the noise from one TR to the next, before drift")
    drift: float = Field(0.2, ge=0, lt=1, description="share of slow drift in the noise")
    confounds: float = Field(
        0.0, ge=0, lt=1, description="share of the noise that head motion and a global signal make, half each"
    )
    own: float = Field(
        0.0, ge=0, le=1, description="share of the mapping that is this subject's own, chosen by the noise seed"
    )
    lag: float = Field(0.0, allow_inf_nan=False, description="s that the BOLD comes late, exact; negative: early")
    seed: int = Field(0, ge=0, description="chooses the mapping")
    noise_seed: int | None = Field(None, ge=0, description="chooses the noise; one per subject. Default: the seed")

    @model_validator(mode="after")
    def _shares_leave_room(self) -> SimulateSettings:
        if self.drift + self.confounds >= 1:
            raise ValueError(
                f"drift is {self.drift:g} and confounds {self.confounds:g}: shares of the noise, below 1 together"
            )
        return self


class SimulateOptions(TypedDict, total=False):
    """The fields of :class:`SimulateSettings`, for editors and type checkers to complete in a call."""

    n_voxels: int
    mapping: str
    hrf: str
    snr: float
    ar: float
    drift: float
    confounds: float
    own: float
    lag: float
    seed: int
    noise_seed: int | None


@dataclass(frozen=True, repr=False)
class Simulation:
    """Simulated BOLD with its truth: mapping, signal and noise."""

    bold: np.ndarray
    """float32 (n_trs, n_voxels)."""
    truth: xr.Dataset
    """``signal`` (tr, voxel): the noiseless part of `bold`; ``features`` (tr, feature): z-scored, as mapped;
    ``weights`` (feature, voxel); ``gain`` (voxel); ``noise_ceiling`` (voxel): the correlation of signal and BOLD, which
    no prediction exceeds but by chance. Of several sources ``band`` (feature), the place of each column's source among
    ``answers_to`` of the settings, and ``share`` (band, voxel), that of each in the drive. With an interaction
    ``factors`` (factor, feature, voxel), weights of the two drives whose product is taken; with confounds ``confounds``
    (tr, confound), as added. Settings and lag are in the attributes."""

    def __repr__(self) -> str:
        (n_trs, n_voxels), attrs = self.bold.shape, self.truth.attrs
        return f"<Simulation: {n_trs} TRs of {attrs['tr']:g} s, {n_voxels} voxels, SNR {attrs['snr']:g}>"

    @property
    def run_lengths(self) -> list[int]:
        """TRs of each run."""
        return [int(n) for n in json.loads(self.truth.attrs["run_lengths"])]


def simulate_bold(
    features: np.ndarray | xr.Dataset | str | Path | Mapping[str, np.ndarray | xr.Dataset],
    tr: float | None = None,
    *,
    run_lengths: Sequence[int] | None = None,
    positive: bool = False,
    **settings: Unpack[SimulateOptions],
) -> Simulation:
    """Simulate BOLD driven by `features` through a known mapping.

    Parameters
    ----------
    features : ndarray of float, shape (n_trs, ...), feature file, or mapping of str to arrays or Datasets
        What is behind the first axis is flattened; the frames of a file are averaged within each TR. Codes of a file
        are categories: each entry of each codebook stands for 8 random numbers, drawn once by `seed`. Every column is
        z-scored over the TRs that are ``valid``; the others count as 0. Of a file that was cut from a longer one the
        scan begins where it does, and the ``onset`` of the truth and its attribute ``stimulus_time_at_volume_0`` (s)
        say so. Of several sources, by name, each has a share in the drive of each voxel, however many columns it has:
        shares are drawn evenly from all that sum to 1. The first source gives the clock.
    tr : float, optional
        Repetition time in seconds; needed for an array.
    run_lengths : sequence of int, optional
        TRs of each run: response, noise and drift start afresh in each.
    positive : bool
        Of features that are one column, let every voxel follow it, as brains follow a stimulus: voxels with a negative
        weight are turned upside down, noise and all (noise is the same upside down). With weights of both signs, the
        mean over voxels would be nothing. Features of several columns are left as they are.
    **settings
        Fields of :class:`SimulateSettings`: ``n_voxels``, ``mapping`` ("linear": ``drive = features @ weights``;
        "tanh": ``tanh`` of that; "interaction": that and, with as much variance, the product of two other drives),
        ``hrf``, ``snr``, ``ar``, ``drift``, ``confounds``, ``own``, ``lag`` (s), ``seed``, ``noise_seed``.

    Returns
    -------
    Simulation
        ``snr > 0``: the signal has variance 1, the noise ``1 / snr``. ``snr = 0``: noise of variance 1.

    Raises
    ------
    InputError
        If an option or the features cannot be used: all constant, not finite, codes as a bare array.

    Notes
    -----
    The lag is a delay of the stimulus, applied to the response in continuous time: ``lag / tr`` need not be whole.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 5))
    >>> simulation = simulate_bold(x, tr=1.5, n_voxels=3, snr=2.0)
    >>> noise = simulation.bold - simulation.truth.signal.values
    >>> (simulation.truth.signal.values.var(axis=0) / noise.var(axis=0)).round(3).tolist()
    [2.0, 2.0, 2.0]
    """
    options = SimulateSettings.make(**settings)
    given = {name: _read(one) for name, one in _by_name(features).items()}
    rngs = generators(options.seed, 0, len(given))
    begins = _begins(next(iter(given.values())), run_lengths)
    sources = [_numbers(one, rng) for one, rng in zip(given.values(), rngs, strict=True)]
    x, about = [one[0] for one in sources], sources[0][2]
    seconds = _tr_of_all(tr, [one[1] for one in sources])
    lengths = [len(x[0])] if run_lengths is None else [int(n) for n in run_lengths]
    if sum(lengths) != len(x[0]) or min(lengths) < 2:
        raise InputError(f"runs of {lengths} TRs do not fit; expected at least 2 each, {len(x[0])} together")
    if apart := [name for name, own in zip(given, x, strict=True) if len(own) != len(x[0])]:
        raise InputError(f"{apart[0]} has another number of TRs than {next(iter(given))}: extract both for one scan")
    mapped = map_to_voxels(
        x, options.n_voxels, options.mapping, rngs, seed=options.seed, own=options.own, own_seed=_noise_seed(options)
    )
    signal, gain = _signal(mapped.drive, options, seconds, lengths)
    bold, confounds = _with_noise(signal, options, seconds, lengths)
    weights = mapped.weights
    if positive and len(weights) == 1:
        sign = np.sign(weights[0])
        bold, signal, weights = bold * sign, signal * sign, weights * sign
    variables = {
        "signal": (("tr", "voxel"), signal),
        "features": (("tr", "feature"), np.concatenate(x, axis=1).astype(np.float32)),
        "weights": (("feature", "voxel"), weights),
        "gain": (("voxel",), gain),
        "noise_ceiling": (("voxel",), _ceiling(signal, bold)),
        **mapped.variables,
        **({} if confounds is None else {"confounds": (("tr", "confound"), confounds)}),
    }
    if len(given) > 1 or "" not in given:
        about = {**about, "answers_to": list(given)}
    return Simulation(bold, _truth(variables, options, seconds, lengths, begins, about))


def _by_name(features: Any) -> Mapping[str, Any]:
    """Sources by name; "" for one that has none. A Dataset is a mapping too, and is one source."""
    import xarray as xr

    several = isinstance(features, Mapping) and not isinstance(features, xr.Dataset)
    return features if several else {"": features}


def _read(features: np.ndarray | xr.Dataset | str | Path) -> np.ndarray | xr.Dataset:
    return load_features(features) if isinstance(features, (str, Path)) else features


def _begins(features: np.ndarray | xr.Dataset, run_lengths: Sequence[int] | None) -> float:
    """Second of its film at which the first TR begins."""
    import xarray as xr

    if not isinstance(features, xr.Dataset):
        return 0.0
    first_run = features.isel(tr=slice(None if run_lengths is None else int(run_lengths[0])))
    return float(first_onset(first_run, str(features.attrs.get("desc", "the features"))))


def _ceiling(signal: np.ndarray, bold: np.ndarray) -> np.ndarray:
    """Correlation of the noiseless signal with the BOLD, by voxel; 0 where there is no signal."""
    x, y = (one - one.mean(axis=0, dtype=np.float64) for one in (signal, bold))
    size = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    return np.divide((x * y).sum(axis=0), size, out=np.zeros_like(size), where=size > 0).astype(np.float32)


def _tr_of_all(tr: float | None, of_features: Sequence[float | None]) -> float:
    """The TR that was given, or that the features say, in seconds."""
    said = [one for one in of_features if one is not None]
    for own in said:
        if tr is not None and not same_tr(tr, own):
            raise InputError(
                f"the features have TR {shown(own)} s, but tr is {shown(tr)} s; extract them again with that TR"
            )
        if not same_tr(own, said[0]):
            raise InputError(f"features have TR {shown(said[0])} s and {shown(own)} s; extract them with one TR")
    either = tr if tr is not None else next(iter(said), None)
    if either is None:
        raise InputError("an array carries no TR; pass tr in seconds")
    return float(check_tr(either))


def _signal(
    drive: np.ndarray, options: SimulateSettings, tr: float, lengths: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The noiseless part of the BOLD, and what it was multiplied with to have variance 1, by voxel."""
    response = _respond(drive, tr, options.hrf, options.lag, lengths)
    spread = response.std(axis=0)
    if not (spread > 1e-9).all():
        raise InputError(
            f"with a lag of {options.lag:g} s nothing of the response falls into the scan; shorten the lag"
        )
    gain = (1.0 if options.snr else 0.0) / spread
    return (response * gain).astype(np.float32), gain


def _with_noise(
    signal: np.ndarray, options: SimulateSettings, tr: float, lengths: list[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The BOLD, signal and noise, float32 (n_trs, n_voxels), and the confounds in it (n_trs, n_confounds)."""
    from giblet.data.simulated_noise import confound_series, confound_weights, noise_of_runs

    rng = np.random.default_rng([_noise_seed(options), 1])
    bold = np.empty_like(signal)
    confounds, loadings = None, None
    rest = 1 - options.confounds
    if options.confounds:
        confounds = confound_series(lengths, tr, np.random.default_rng([_noise_seed(options), 4, 0]))
        loadings = confound_weights(options.n_voxels, np.random.default_rng([_noise_seed(options), 4, 1]))
    for start in range(0, options.n_voxels, VOXELS_AT_A_TIME):
        part = slice(start, min(start + VOXELS_AT_A_TIME, options.n_voxels))
        noise = noise_of_runs(lengths, part.stop - part.start, options.ar, options.drift / rest, tr, rng)
        if confounds is not None and loadings is not None:
            added = confounds @ loadings[:, part]
            noise = np.sqrt(rest) * noise + np.sqrt(options.confounds) * added / added.std(axis=0)
            noise = noise / noise.std(axis=0)
        bold[:, part] = signal[:, part] + noise / np.sqrt(options.snr or 1.0)
    return bold, None if confounds is None else confounds.astype(np.float32)


def _noise_seed(options: SimulateSettings) -> int:
    return options.seed if options.noise_seed is None else options.noise_seed


def _truth(
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]], options: SimulateSettings, tr: float, lengths: list[int],
    begins: float, about: dict[str, Any],
) -> xr.Dataset:  # fmt: skip
    """What is known of a simulation, as the Dataset of a feature file."""
    n_trs = sum(lengths)
    own = {name: value for name, value in options.model_dump(mode="json").items() if value != ADDED.get(name, ())}
    if answers_to := about.pop("answers_to", None):
        own["answers_to"] = answers_to
    truth = new_features(
        variables,
        TRGrid(tr, n_trs, 1 / exact(tr)),
        film_duration=n_trs * exact(tr),
        kind=CONTINUOUS,
        desc=SIMULATED,
        duration=float(n_trs * exact(tr)),
        run_lengths=json.dumps(lengths),
        lag=options.lag,
        snr=options.snr,
        settings={**own, "noise_seed": _noise_seed(options), "tr": tr},
        **about,
    )
    truth.attrs["frame_rate"] = volume_rate(tr)
    if begins:
        truth["onset"] = truth["onset"] + begins
        truth.attrs["stimulus_time_at_volume_0"] = begins
        log.warning(
            "the features begin at second %g of their film, and so does the simulated scan: align it, or check it, "
            "with stimulus_time_at_volume_0=%g", begins, begins,
        )  # fmt: skip
    return truth.assign_coords(run=("tr", np.repeat(np.arange(1, len(lengths) + 1), lengths)))


def _numbers(
    features: np.ndarray | xr.Dataset, rng: np.random.Generator
) -> tuple[np.ndarray, float | None, dict[str, Any]]:
    """Z-scored columns (n_trs, n_features) float64, the TR where it is known, and where they came from."""
    import xarray as xr

    about: dict[str, Any] = {"source": "array", "source_sha256": "none"}
    tr, valid = None, None
    if isinstance(features, xr.Dataset):
        attrs, name = features.attrs, main_variable(features)
        tr, valid = float(attrs["tr"]), features["valid"].values.astype(bool)
        about = {key: attrs[key] for key in ("source", "source_sha256")}
        x = features[name].values
        if attrs["kind"] == CODES:
            # (n_trs, K, frames) -> (n_trs, K, 8), codebook by codebook: all frames at once would be 8 times the file
            table = rng.standard_normal((x.shape[1], int(attrs["codebook_size"]), CODE_DIMENSIONS))
            x = np.stack([table[k][x[:, k]].mean(axis=1) for k in range(x.shape[1])], axis=1)
        elif "frame" in features[name].dims:
            own = features["frame_mask"] if "frame_mask" in features else xr.ones_like(features[name], dtype=bool)
            x = features[name].where(own).mean("frame").values
    else:
        x = np.asarray(features)
        if x.dtype.kind != "f":
            raise InputError(f"the features are {x.dtype}; pass codes as a feature file, numbers as float")
    if x.ndim < 2:
        x = x.reshape(len(x), -1) if x.ndim else x.reshape(0, 1)
    x = x.reshape(len(x), -1).astype(np.float64) if len(x) else x
    valid = np.ones(len(x), bool) if valid is None else valid
    if valid.sum() < 2:
        raise InputError(f"the features have {int(valid.sum())} TRs with data; expected at least 2")
    if not np.isfinite(x[valid]).all():
        raise InputError(
            f"{int((~np.isfinite(x[valid])).any(axis=1).sum())} TRs of the features hold NaN or infinity: extract "
            "them again"
        )
    spread = x[valid].std(axis=0)
    varies = spread > 1e-12 * np.maximum(1, np.abs(x[valid]).max(axis=0))
    if not varies.any():
        raise InputError(f"all {x.shape[1]} features are constant; a response needs one that varies")
    scaled = np.zeros_like(x)
    scaled[np.ix_(valid, varies)] = (x[np.ix_(valid, varies)] - x[valid][:, varies].mean(axis=0)) / spread[varies]
    return scaled, tr, about


def _respond(drive: np.ndarray, tr: float, hrf: str, lag: float, lengths: list[int]) -> np.ndarray:
    """The drive convolved with the HRF and delayed by `lag` seconds, run by run."""
    ahead = exact(lag) / exact(tr)
    whole = ceil(ahead)
    part = whole - ahead  # the response at (k + part) TRs, moved by whole TRs: late by lag
    oversampling = part.denominator * max(1, ceil(50 / part.denominator))
    if oversampling > 5000:
        raise InputError(f"a lag of {lag} s at TR {tr} s is finer than 1/5000 TR: round it")
    edges = np.cumsum([0, *lengths])
    out = np.zeros_like(drive)
    for start, stop in pairwise(edges):
        n = stop - start
        padded = np.pad(drive[start:stop], ((0, max(0, -whole)), (0, 0)))
        y = convolve_hrf(padded, tr=tr, hrf=hrf, kind=CONTINUOUS, slice_time_ref=float(part), oversampling=oversampling)
        if whole <= 0:
            out[start:stop] = y[-whole : -whole + n]
        elif whole < n:
            out[start + whole : stop] = y[: n - whole]
    return out


def write_simulation(simulation: Simulation, path: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write simulated BOLD as NIfTI or table, and the truth beside it.

    Parameters
    ----------
    simulation : Simulation
    path : str or Path
        ``.nii`` or ``.nii.gz``: voxels stand in a box of 3 mm voxels, with a mask ``<name>_mask.nii.gz`` beside it.
        ``.tsv`` or ``.csv`` (or with ``.gz``): one column per voxel. Several runs become ``<name>_run-1`` and so on.
    overwrite : bool
        Replace files of these names that are not of the same simulation.

    Returns
    -------
    list of Path
        The runs, the mask of images, and ``<name>_truth.nc``. JSON sidecars, with the TR, stand beside runs and truth.

    Raises
    ------
    InputError
        If the name is of neither sort, or a file cannot be written or would replace one of another simulation.
    """
    import nibabel as nib

    from giblet.data.bold.volumes import write_image

    path = Path(path)
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    table = is_table(path)
    if not table and suffix not in (".nii", ".nii.gz"):
        raise InputError(f"{path} is neither image nor table; expected .nii, .nii.gz, .tsv or .csv")
    stem, lengths = path.name.removesuffix(suffix), simulation.run_lengths
    tr = float(simulation.truth.attrs["tr"])
    targets = [path.with_name(f"{stem}_run-{run}{suffix}") for run in range(1, len(lengths) + 1)]
    targets = targets if len(lengths) > 1 else [path]
    mask, truth = path.with_name(f"{stem}_mask.nii.gz"), path.with_name(f"{stem}_truth.nc")
    if not overwrite:
        own = [*targets, *map(sidecar_path, targets)]
        for standing in (*own, mask, truth):
            bring(standing, needed=False)
        _check_replaced(simulation, own if table else [*own, mask], truth)
    inside = _box(simulation.bold.shape[1])
    circular = {"Circular": simulation.truth.attrs["circular"]} if "circular" in simulation.truth.attrs else {}
    for target, (start, stop) in zip(targets, pairwise(np.cumsum([0, *lengths])), strict=True):
        if table:
            _write_table(simulation.bold[start:stop], target)
        else:
            _write_volumes(simulation.bold[start:stop], inside, tr, target)
        # A table says no TR, and an image of 1 s looks as if nobody had set it.
        write_atomic(sidecar_path(target), json.dumps({"RepetitionTime": tr, "StartTime": 0.0, **circular}) + "\n")
    if not table:
        write_image(nib.Nifti1Image(inside.astype(np.uint8), BOX_AFFINE), mask)
    save_features(simulation.truth, truth)
    return [*targets, *([] if table else [mask]), truth]


def _box(n_voxels: int) -> np.ndarray:
    """A box of voxels, bool (x, y, z), of which the first are True."""
    side = ceil(n_voxels ** (1 / 3) - 1e-9)
    shape = (side, side, ceil(n_voxels / side**2))
    return (np.arange(np.prod(shape)) < n_voxels).reshape(shape)


def _write_table(bold: np.ndarray, path: Path) -> None:
    """One run, (n_trs, n_voxels), as a table of columns."""
    import pandas as pd

    n_voxels = bold.shape[1]
    columns = [f"voxel-{v:0{len(str(n_voxels))}d}" for v in range(1, n_voxels + 1)]
    separator = SEPARATORS[path.suffixes[-2] if path.suffix == ".gz" else path.suffix]
    with atomic_path(path) as temporary:
        pd.DataFrame(bold, columns=columns).to_csv(temporary, sep=separator, index=False, float_format="%.9g")


def _write_volumes(bold: np.ndarray, inside: np.ndarray, tr: float, path: Path) -> None:
    """One run, (n_trs, n_voxels), as an image of the voxels `inside`."""
    import nibabel as nib

    from giblet.data.bold.volumes import write_image

    volumes = np.zeros((*inside.shape, len(bold)), np.float32)
    volumes[inside] = bold.T
    image = nib.Nifti1Image(volumes, BOX_AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((3.0, 3.0, 3.0, tr))
    write_image(image, path)


def _check_replaced(simulation: Simulation, targets: list[Path], truth: Path) -> None:
    """An error if one of the files stands already and is not known to be of this simulation: the truth tells."""
    attrs = simulation.truth.attrs
    same = {name: attrs[name] for name in ("source_sha256", "run_lengths") if name in attrs}
    old = standing(truth, defaults=ADDED, settings=json.loads(attrs["settings"]), **same)
    signal = simulation.truth["signal"].values
    before = signal if old is None else old["signal"].values
    if before.shape != signal.shape or not np.allclose(before, signal, 1e-3, 1e-3):
        raise InputError(f"{truth} already exists and was made from other features: {REPLACE}")
    there = [target for target in targets if target.exists()]
    if old is None and there:
        raise InputError(f"{there[0]} already exists, without {truth.name} to tell what it is: {REPLACE}")
