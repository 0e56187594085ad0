"""Voxels, regions and features that the training TRs say nothing of: found, named, and made 0."""

from __future__ import annotations

import logging

import numpy as np

from giblet.data.bold import brain_rows
from giblet.data.dataset.normalise import Normaliser
from giblet.data.dataset.windows import Recording, fit_normalisers
from giblet.data.splits import Splits
from giblet.modalities import BOLD

log = logging.getLogger(__name__)


def learnable(
    recordings: list[Recording],
    splits: dict[str, Splits],
    columns: dict[str, dict[str, np.ndarray]],
    *,
    centre_runs: bool = False,
) -> tuple[dict[str, dict[str, Normaliser]], dict[str, str]]:
    """Normalisers of training TRs, and in words what these say nothing of.

    What hardly varies there and does in the validation TRs, which choose the model, becomes 0; test TRs are not read.

    Parameters
    ----------
    recordings : list of Recording
    splits : dict of str to Splits
        By subject.
    columns : dict of str to dict of str to ndarray
        By subject, as :attr:`giblet.training.study.Study.columns`.
    centre_runs : bool
        As :func:`giblet.data.dataset.windows.fit_normalisers`.

    Returns
    -------
    normalisers : dict of str to dict of str to Normaliser
        By subject and modality; codes have none.
    unlearnable : dict of str to str
        By subject, which columns of the BOLD training TRs say nothing of; without the subjects that have none.

    Raises
    ------
    InputError
        If a TR is NaN or infinite in part, or fewer than two training TRs hold data.
    """
    fitted = fit_normalisers(recordings, {name: s.train for name, s in splits.items()}, centre_runs=centre_runs)
    unlearnable = {}
    for recording in recordings:
        subject, own = recording.subject, fitted[recording.subject]
        for name, normaliser in own.items():
            series = recording.series[name]
            far = normaliser.far(series, splits[subject].val, of_scan=name == BOLD, run=recording.run)
            own[name] = normaliser.without(far)
            if name == BOLD and own[name].n_constant:
                unlearnable[subject] = describe_columns(~normaliser.varies, far, columns[subject])
            elif far.any():
                log.warning(
                    "subject %s: %d of %d values of %s hardly vary over the training TRs, and do later: they count as "
                    "constant", subject, far.sum(), far.size, name,
                )  # fmt: skip
    return fitted, unlearnable


def describe_columns(constant: np.ndarray, far: np.ndarray, columns: dict[str, np.ndarray]) -> str:
    """Which voxels or regions the training TRs say nothing of, and why: the first five of each kind by name.

    Parameters
    ----------
    constant : ndarray of bool, shape (n_columns,)
        Without any change over the training TRs.
    far : ndarray of bool, shape (n_columns,)
        With hardly any change there, and a large one later.
    columns : dict of str to ndarray
        Of one subject, as :attr:`giblet.training.study.Study.columns`.

    Returns
    -------
    str
        Empty where there are none.
    """
    parts = []
    for which, why in (
        (constant, "without any change over the training TRs"),
        (far, "with hardly any change over the training TRs and a large one later"),
    ):
        if which.any():
            names = ", ".join(brain_rows.column_name(columns, int(n)) for n in np.flatnonzero(which)[:5])
            parts.append(
                f"{int(which.sum())} of {len(which)} {unit_of(columns)} {why}: "
                f"{names}{', ...' if which.sum() > 5 else ''}"
            )
    return " and ".join(parts)


def unit_of(columns: dict[str, np.ndarray]) -> str:
    """What the columns of the BOLD are.

    Parameters
    ----------
    columns : dict of str to ndarray
        Of one subject, as :attr:`giblet.training.study.Study.columns`.

    Returns
    -------
    {"voxels", "grayordinates", "regions"}
    """
    return f"{brain_rows.unit_of(columns)}s"
