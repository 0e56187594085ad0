"""The linear path of encoding, in closed form from training TRs, and what it predicts of them.

The weights of each subject are banded ridge regression (:class:`giblet.encoding.EncodingModel`), one band per modality
and one for where it is absent, on the TRs whose BOLD the training scores, with penalties of each voxel chosen by
contiguous folds of these TRs alone. The network then learns what ridge leaves. Ridge leaves a little less in the TRs
that it was fitted to than in others; predictions of folds that were left out, which are free of that, taught the
network no better (brains with products of features, 10 and 23 minutes, SNR 0.1 to 1: r within 0.003), and less where
folds are short: they are of other weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from giblet.data.splits import HRF_SECONDS
from giblet.encoding.folds import BlockedFolds
from giblet.encoding.held_out import quiet_fits
from giblet.encoding.model import EncodingModel
from giblet.errors import InputError
from giblet.modalities import BOLD
from giblet.models import MultimodalAutoencoder
from giblet.models.losses import scored_mask
from giblet.training.objective import own_rows
from giblet.training.scored_windows import ScoredWindows

log = logging.getLogger(__name__)

FOLDS = (5, 4, 3, 2)
"""Folds for the penalties: as many of the first as the training TRs allow."""
BAND_WEIGHTS = 20
"""Weights of the bands to try, where there are several modalities."""
AT_A_TIME = 16
"""Windows of which features are computed at once."""

Fold = tuple[np.ndarray, np.ndarray]
Predictions = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Scored:
    """What the linear path of one subject is fitted to."""

    rows: np.ndarray
    """int64 (n,): rows of the recording, ascending."""
    bands: dict[str, np.ndarray]
    """float32 (n, n_columns) by modality, and by where it is absent: convolved features."""
    bold: np.ndarray
    """float32 (n, n_voxels): normalised."""
    run: np.ndarray
    """int64 (n,): run of each row."""


def fit_linear_path(model: MultimodalAutoencoder, windows: ScoredWindows, *, centre_runs: bool) -> Predictions:
    """Give the linear path of a model its weights, and the network beside it the start at 0.

    A subject of whom there are too few training TRs for folds keeps the weights 0: for him the network is all.

    Parameters
    ----------
    model : MultimodalAutoencoder
        Untrained, on the CPU; changed in place.
    windows : ScoredWindows
        Of the training part.
    centre_runs : bool
        Whether the level of each run is taken out of features too, as of BOLD.

    Returns
    -------
    dict of str to dict of str to ndarray of float32
        By subject and ``"bold"``, (n_trs, n_voxels): what the linear path predicts of the training TRs that are scored;
        0 elsewhere.
    """
    path, found = model.linear_path, Predictions()
    if path is None:
        return found
    for recording in windows.windows.recordings:
        place = model.place(recording.subject)
        scored = _scored(model, windows, recording.subject)
        folds = None if scored is None else folds_of_rows(scored.rows, recording.run, recording.tr)
        if scored is None or folds is None or not any(np.ptp(x, axis=0).any() for x in scored.bands.values()):
            n = 0 if scored is None else len(scored.rows)
            log.warning(
                "subject %s has too little training data for the linear path, %d TRs: the network alone predicts its "
                "BOLD; folds with gaps of %g s need more", recording.subject, n, HRF_SECONDS
            )  # fmt: skip
            continue
        weights, intercept, predicted = _ridge(scored, folds, centre_runs=centre_runs)
        path.set_weights(place, torch.from_numpy(weights), torch.from_numpy(intercept))
        model.start_at_linear_path(place)
        whole = np.zeros((len(recording.run), scored.bold.shape[1]), np.float32)
        whole[scored.rows] = predicted
        found[recording.subject] = {BOLD: whole}
    return found


@torch.no_grad()
def _scored(model: MultimodalAutoencoder, windows: ScoredWindows, subject: str) -> Scored | None:
    """The rows whose BOLD is scored in training, with convolved features; None where there is none."""
    place, path = model.place(subject), model.linear_path
    recording = windows.windows.recordings[place]
    rows, bold, bands = [], [], dict[str, list[np.ndarray]]()
    for batch, places in window_batches(windows, subject):
        scored = scored_mask(BOLD, own_rows(model, batch), batch)
        rows.append(places[scored].numpy())
        bold.append(batch["data"][BOLD][scored].numpy())
        series = {} if path is None else path.bands(batch["data"], batch["mask"], model.which_ref(place))
        for name, values in series.items():
            bands.setdefault(name, []).append(values[scored].numpy())
    if not any(len(part) for part in rows):
        return None
    where = np.concatenate(rows)
    order = np.argsort(where, kind="stable")
    return Scored(
        where[order], {name: np.concatenate(parts)[order] for name, parts in bands.items()},
        np.concatenate(bold)[order], recording.run[where[order]],
    )  # fmt: skip


def window_batches(windows: ScoredWindows, subject: str) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
    """All windows of a subject, and the rows of the recording in them.

    Parameters
    ----------
    windows : ScoredWindows
    subject : str

    Yields
    ------
    batch : dict
        As a DataLoader gives it.
    rows : Tensor of int64, shape (B, W)
        Where a window is filled up, a row behind its end.
    """
    items = windows.indices_of(subject)
    for at in range(0, len(items), AT_A_TIME):
        some = items[at : at + AT_A_TIME]
        batch = torch.utils.data.default_collate([windows[item] for item in some])
        starts = torch.tensor([windows.windows.index[item][1] for item in some])
        yield batch, starts[:, None] + torch.arange(windows.windows.window)


def folds_of_rows(
    rows: np.ndarray, run: np.ndarray, tr: float, gap: float = HRF_SECONDS, moments: np.ndarray | None = None
) -> list[Fold] | None:
    """Contiguous folds of some rows of a scan, with gaps; a moment of film that is left out is so in all its runs.

    Parameters
    ----------
    rows : ndarray of int, ascending
    run : ndarray of int, shape (n_trs,)
        Run of each row of the scan.
    tr : float
        Repetition time in seconds.
    gap : float
        Seconds around what is left out.
    moments : ndarray of float, shape (n_trs, 2), optional
        Film of each row and where in it the row is, in TRs (:func:`giblet.training.parts.moments_of`). Penalties that
        were chosen by film which the other folds had heard too would be too small for film that is new.

    Returns
    -------
    list of (train, test), or None
        Places in `rows`; None where they do not suffice for two folds.
    """
    for n in FOLDS:
        try:
            blocked = BlockedFolds(n, gap, tr=tr)
            folds = blocked.of_rows(rows, run)
        except InputError:  # too few rows for so many: fewer and longer ones leave more to learn from
            continue
        if moments is not None:
            own = moments[rows]
            folds = [(train[~_shown_near(own[train], own[test], blocked.gap_trs)], test) for train, test in folds]
        if min(len(train) for train, _ in folds) >= 2:
            return folds
    return None


def _shown_near(moments: np.ndarray, others: np.ndarray, gap: int) -> np.ndarray:
    """Which rows show film within `gap` TRs of what other rows show."""
    near = np.zeros(len(moments), bool)
    for film in np.unique(others[:, 0]):
        places = np.sort(others[others[:, 0] == film, 1])
        own = moments[:, 1]
        right = np.minimum(np.searchsorted(places, own), len(places) - 1)
        distance = np.minimum(np.abs(places[right] - own), np.abs(places[np.maximum(right - 1, 0)] - own))
        near |= (moments[:, 0] == film) & (distance <= gap)
    return near


def _ridge(scored: Scored, folds: Sequence[Fold], *, centre_runs: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the columns as they are, intercepts, and predictions of the rows."""
    bands = {name: x.astype(np.float64) for name, x in scored.bands.items() if np.ptp(x, axis=0).any()}
    run = scored.run if centre_runs else None
    ridge = EncodingModel(cv=list(folds), n_iter=BAND_WEIGHTS)
    with quiet_fits():
        ridge.fit(bands, scored.bold, run=run)
    fitted = ridge.fitted_voxels_
    found = np.where(fitted, ridge.weights_, 0)
    parts, columns = [], ridge.columns()
    for name, x in scored.bands.items():
        if name not in bands:
            parts.append(np.zeros((x.shape[1], len(fitted))))
            continue
        own = ridge.bands_[name]
        parts.append(found[columns[name]] * (own.varies / own.divisor)[:, None])
    weights = np.concatenate(parts)
    x = np.concatenate(list(scored.bands.values()), axis=1)
    intercept = np.where(fitted, scored.bold.mean(0) - x.mean(0) @ weights, 0)
    return weights.astype(np.float32), intercept.astype(np.float32), (x @ weights + intercept).astype(np.float32)
