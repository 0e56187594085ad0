"""The check of scan and stimulus for the runs of a configuration, as training and encoding read them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from giblet.alignment.checks import check_applied_once
from giblet.alignment.lags import HIGH_PASS
from giblet.config import options_in
from giblet.data.study_settings import RunSettings, SubjectSettings
from giblet.encoding.settings import EncodeSettings
from giblet.errors import InputError
from giblet.evaluation.alignment import AlignmentCheck, Regressor
from giblet.features import load_features
from giblet.modalities import STIMULI
from giblet.pipeline.brain import checks_of, edges_in, expecting, read_with_regressors
from giblet.pipeline.training import read_config

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)


class CheckedRun(NamedTuple):
    """What was found of one run."""

    subject: str
    number: int
    """Of the run, from 1, in the order of the configuration."""
    bold: Path
    checks: list[AlignmentCheck]


def check_configured(
    config: str | Path, *, subject: str | None = None, run: int | None = None,
    lags: tuple[float, float] = (-15.0, 15.0), codec: str | None = None, device: str = "auto", hrf: str = "glover",
    n_surrogates: int = 1000, high_pass: float | None = HIGH_PASS, seed: int = 0,
) -> Iterator[CheckedRun]:  # fmt: skip
    """Test whether the runs of a configuration follow their stimulus.

    Parameters
    ----------
    config : str or Path
        YAML file of a training or an encoding run; scans, features, confounds and clock are taken from it.
    subject : str, optional
        One of its subjects, with or without ``sub-``; by default all.
    run : int, optional
        One run of each, from 1 in the order of the configuration; by default all.
    lags, codec, device, hrf, n_surrogates, high_pass, seed
        As for :func:`giblet.pipeline.brain.check_alignment`.

    Yields
    ------
    CheckedRun

    Raises
    ------
    GibletError
        If the configuration or a file cannot be used, or it has no such subject or run.

    See Also
    --------
    giblet.pipeline.brain.check_alignment : one run whose files are named.
    """
    settings = EncodeSettings.from_yaml(config) if "bands" in options_in(config) else read_config(config)
    tr = settings.tr if isinstance(settings, EncodeSettings) else _asked(settings.model)
    known: dict[Path, list[Regressor]] = {}
    outlines: dict[Path, tuple[xr.Dataset, list[tuple[str, np.ndarray]]]] = {}
    for one in _wanted(settings.data.subjects, subject):
        for number, own in _runs(one, run):
            if own.bold is None:
                continue
            files = [path for name in STIMULI if (path := getattr(own, name)) is not None]
            time, trim = own.stimulus_time_at_volume_0, own.on_short_bold == "trim"
            new = {path: load_features(path) for path in files if path not in known}
            edges = []
            for path in files:
                if path in new:
                    outlines[path] = new[path][[]], edges_in(new[path], path.name)
                outline, own_edges = outlines[path]
                check_applied_once(outline, time, path.name)
                if not own_edges and path in new:
                    log.warning("%s is left out: it holds nothing that a brain answers to by itself", path.name)
                    known[path] = []
                    del new[path]
                edges += own_edges
            if not edges:
                raise InputError(
                    f"subject {one.name}, run {number} has no features that a brain answers to by themselves: audio, "
                    "luminance, luminance_change or word_rate"
                )
            scan = one.model_copy(update={"runs": (own,)})
            load = partial(scan.processor(tr).load, [own.bold], confounds=scan.confounds(), subject=one.name)
            bold, made = read_with_regressors(
                load, expecting(edges, time, trim=trim), [(path.name, features) for path, features in new.items()],
                codec=codec, device=device,
            )  # fmt: skip
            known |= dict(zip(new, made, strict=True))
            del new
            checks = checks_of(
                bold, [regressor for path in files for regressor in known[path]], stimulus_time_at_volume_0=time,
                lags=lags, hrf=hrf, n_surrogates=n_surrogates, high_pass=high_pass, trim=trim, seed=seed,
            )  # fmt: skip
            yield CheckedRun(one.name, number, own.bold, checks)


def _asked(model: Any) -> float | None:
    return float(model.tr) if "tr" in model.model_fields_set else None


def _wanted(subjects: tuple[Any, ...], subject: str | None) -> list[SubjectSettings]:
    if subject is None:
        return list(subjects)
    found = [one for one in subjects if one.name.removeprefix("sub-") == subject.removeprefix("sub-")]
    if not found:
        names = ", ".join(one.name for one in subjects)
        raise InputError(f"the configuration has no subject {subject!r}: it has {names}")
    return found


def _runs(subject: SubjectSettings, run: int | None) -> list[tuple[int, RunSettings]]:
    runs = list(enumerate(subject.runs, start=1))
    if run is None:
        return runs
    if not 1 <= run <= len(runs):
        raise InputError(f"run is {run}: subject {subject.name} has runs 1 to {len(runs)}")
    return [runs[run - 1]]
