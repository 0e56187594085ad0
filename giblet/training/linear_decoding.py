"""The linear path of decoding, in closed form from training TRs: ridge from the volumes after a TR to what was shown.

As :class:`giblet.encoding.DecodingModel` fits it: each number that is decoded with the penalty that contiguous folds of
training TRs choose, the fit in the span of the training windows, for any number of voxels.

The network beside it learns to decode by itself, as if there were no linear path: what ridge leaves of the TRs that it
was fitted to is far less than what it leaves of others, since windows of BOLD have more values than there are TRs. The
gain makes a weighted mean of the two, which errs less than either where they err in different places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from giblet.data.dataset.windows import Recording
from giblet.data.splits import HRF_SECONDS
from giblet.encoding.preparation import without_levels
from giblet.encoding.ridge import ALPHAS, solve_ridge_cv
from giblet.encoding.windows import Cleaning, Volumes, WindowBasis, window_rows
from giblet.modalities import BOLD
from giblet.models import MultimodalAutoencoder
from giblet.models.losses import scored_mask
from giblet.training.linear import Fold, folds_of_rows, window_batches
from giblet.training.objective import own_rows
from giblet.training.scored_windows import ScoredWindows


@dataclass(frozen=True)
class Heard:
    """What the linear decoding of one subject is fitted to; arrays are of the whole recording, 0 where not read."""

    bold: np.ndarray
    """float32 (n_trs, n_voxels): normalised."""
    present: np.ndarray
    """bool (n_trs,): training volumes."""
    targets: dict[str, np.ndarray]
    """float32 (n_trs, n) by modality."""
    learned: dict[str, np.ndarray]
    """int64 (n,) by modality: rows whose decoding training scores, all of their volumes there."""
    windows: np.ndarray
    """int64 (n_trs, n_lags): the row of each volume, -1 where it is missing."""


@dataclass(frozen=True)
class Decoder:
    """The linear decoding of one modality."""

    weights: np.ndarray
    """float64 (n_lags, n_voxels, n)"""
    intercept: np.ndarray
    """float64 (n,)"""


def fit_linear_decoding(
    model: MultimodalAutoencoder,
    windows: ScoredWindows,
    *,
    centre_runs: bool,
    moments: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Give the decoding of the linear path its weights; of a modality with too few TRs for folds the training mean.

    Parameters
    ----------
    model : MultimodalAutoencoder
        Untrained, on the CPU, with a linear path; changed in place.
    windows : ScoredWindows
        Of the training part.
    centre_runs : bool
        Whether the level of each run is taken out of what was shown too, as of BOLD.
    moments : mapping of str to ndarray of float, shape (n_trs, 2), optional
        By subject, as :func:`giblet.training.linear.folds_of_rows` takes them: what a run shows again is no new film
        to a decoder that knows it.
    """
    path = model.linear_path
    if path is None or not path.answers:
        return
    for recording in windows.windows.recordings:
        place = model.place(recording.subject)
        heard = _heard(model, windows, recording.subject)
        n_lags, n_voxels, _ = path.decoding_weights(place)[0].shape
        weights, intercepts = [], []
        for name, n in path.answers.items():
            fit = None
            if (folds := _folds(heard, name, recording, (moments or {}).get(recording.subject))) is not None:
                fit = _decoder(heard, name, folds, recording, centre_runs)
            mean = heard.targets[name][heard.learned[name]].mean(0) if len(heard.learned[name]) else np.zeros(n)
            weights.append(np.zeros((n_lags, n_voxels, n)) if fit is None else fit.weights)
            intercepts.append(mean if fit is None else fit.intercept)
        path.set_decoding(
            place, torch.from_numpy(np.concatenate(weights, axis=2)), torch.from_numpy(np.concatenate(intercepts))
        )
    for name in set(path.fitted) & set(path.answers):
        path.gain(name).zero_()  # the network has learned nothing yet


@torch.no_grad()
def _heard(model: MultimodalAutoencoder, windows: ScoredWindows, subject: str) -> Heard:
    """BOLD of the training volumes, and what was shown in the TRs whose decoding is scored."""
    path, recording = model.linear_path, windows.windows.recordings[model.place(subject)]
    assert path is not None
    n_trs = len(recording.run)
    bold = np.zeros((n_trs, model.n_voxels[subject]), np.float32)
    present = np.zeros(n_trs, bool)
    targets = {name: np.zeros((n_trs, n), np.float32) for name, n in path.answers.items()}
    learned = {name: np.zeros(n_trs, bool) for name in path.answers}
    for batch, rows in window_batches(windows, subject):
        there = batch["mask"][BOLD]
        bold[rows[there].numpy()] = batch["data"][BOLD][there].numpy()
        present[rows[there].numpy()] = True
        scored = own_rows(model, batch)
        for name in path.answers:
            own = scored_mask(name, scored, batch)
            targets[name][rows[own].numpy()] = path.targets(name, batch["data"][name][own]).numpy()
            learned[name][rows[own].numpy()] = True
    found = window_rows(bold, np.arange(path.n_lags), recording.run, None, present)
    whole = (found >= 0).all(1)
    return Heard(bold, present, targets, {n: np.flatnonzero(own & whole) for n, own in learned.items()}, found)


def _folds(heard: Heard, name: str, recording: Recording, moments: np.ndarray | None) -> list[Fold] | None:
    """Folds of one modality's rows, between which no volume is shared; None where there are too few."""
    learned, gap = heard.learned[name], max(HRF_SECONDS, (heard.windows.shape[1] - 1) * recording.tr)
    return folds_of_rows(learned, recording.run, recording.tr, gap, moments) if len(learned) else None


def _decoder(heard: Heard, name: str, folds: Sequence[Fold], recording: Recording, centre_runs: bool) -> Decoder | None:
    """Ridge of one modality; None where nothing of it changes, or of the BOLD."""
    learned, held, run = heard.learned[name], np.flatnonzero(heard.present), recording.run
    varies = np.ptp(heard.targets[name][learned], axis=0) > 0
    if not varies.any() or not heard.bold.any():
        return None
    shown = heard.targets[name][learned].astype(np.float64)
    y = without_levels(shown, run[learned] if centre_runs else None, np.arange(len(learned)))[:, varies]
    as_it_is = Cleaning.of(held, None, len(run), None, tr=recording.tr, high_pass=None)  # it is normalised already
    volumes = Volumes.of(heard.bold, as_it_is, np.arange(heard.bold.shape[1]), "columns")
    basis = WindowBasis.of(volumes, np.searchsorted(held, heard.windows[learned]), None)
    solution = solve_ridge_cv(basis.x, y, folds, np.asarray(ALPHAS), dtype=np.float64)
    weights = np.zeros((heard.windows.shape[1], heard.bold.shape[1], len(varies)))
    weights[:, :, varies] = basis.weights(solution.coef) / volumes.divisor[:, None]
    mean = shown.mean(0)
    intercept = mean - np.einsum("lv,lvf->f", volumes.mean_of(basis.windows), weights)
    return Decoder(weights, intercept)
