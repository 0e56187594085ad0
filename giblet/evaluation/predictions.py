"""What a trained model says of some TRs of a scan: BOLD from the stimulus, and the stimulus from BOLD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from giblet.codec.quantizer import rvq_quantize
from giblet.data.dataset.normalise import Normaliser, present_rows
from giblet.data.dataset.windows import Recording
from giblet.data.splits import segments
from giblet.features import CODES
from giblet.modalities import AUDIO, BOLD
from giblet.models import MultimodalAutoencoder

AT_A_TIME = 256
"""TRs that are predicted at once."""


@dataclass(frozen=True)
class Stretch:
    """Predictions for successive TRs of one run."""

    start: int
    """First row of the recording."""
    stop: int
    """Behind the last."""
    run: int
    bold: np.ndarray
    """float32 (n_trs, n_voxels): measured, normalised."""
    bold_predicted: np.ndarray
    """float32 (n_trs, n_voxels): from the stimulus."""
    bold_scored: np.ndarray
    """bool (n_trs,): BOLD is there, and all of the stimulus that it answers to is known."""
    decoded: dict[str, np.ndarray]
    """By modality, in the units of the data; codes int32."""
    truth: dict[str, np.ndarray]
    """By modality, what was shown."""
    scored: dict[str, np.ndarray]
    """By modality, bool (n_trs,): it was shown, and the BOLD that it is decoded from lies in this part of the scan."""
    bold_ridge: np.ndarray | None = None
    """float32 (n_trs, n_voxels): what the ridge regression in the model, its linear path, predicts by itself; None
    where it has none for this subject."""
    decoded_ridge: dict[str, np.ndarray] = field(default_factory=dict)
    """By modality, as `decoded`: what the linear path decodes by itself, where it does."""


def predict(
    model: MultimodalAutoencoder,
    recording: Recording,
    normalisers: Mapping[str, Normaliser],
    trs: np.ndarray,
    *,
    stimulus_trs: np.ndarray | None = None,
    bold: np.ndarray | None = None,
    expected: bool = False,
    ridge: MultimodalAutoencoder | None = None,
    device: str | torch.device = "cpu",
) -> list[Stretch]:
    """Both ways for the TRs of one part of a scan.

    Parameters
    ----------
    model : MultimodalAutoencoder
        In evaluation mode.
    recording : Recording
        Of a subject that the model knows.
    normalisers : mapping of str to Normaliser
        By modality, fitted on training TRs.
    trs : ndarray of int
        Rows to predict. A TR is decoded from BOLD of these rows alone; where they end the volumes that are missing
        count as absent, and the TR is not scored. BOLD is predicted from all of the stimulus before it in its run.
    stimulus_trs : ndarray of int, optional
        Of each row the TR of the stimulus: the rows that follow its TR 0 lack no context.
    bold : ndarray, shape (n_rows, n_voxels), optional
        Instead of the recording's, in the units of the training scans.
    expected : bool
        Of a classification head, the codes nearest to the mean latent under its probabilities instead of the most
        probable ones.
    ridge : MultimodalAutoencoder, optional
        Of which the linear path is the ridge regression beside; by default the model itself.
    device : str or torch.device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Returns
    -------
    list of Stretch
        One for each stretch of successive TRs within a run.

    Raises
    ------
    InputError
        If the model does not know the subject, or the recording or `bold` does not fit it.
    """
    found = []
    trs = np.unique(np.asarray(trs, np.int64))
    by_run = {
        name: one.by_run(recording.series[name] if name != BOLD or bold is None else bold, trs, recording.run)
        for name, one in normalisers.items()
        if name in recording.series
    }
    model = model.to(device)
    linear = model if ridge is None else ridge.to(device)
    for start, stop in segments(trs, recording.run):
        run_start = int(np.argmax(recording.run == recording.run[start]))
        first = max(run_start, start - model.context_trs)
        own = slice(start - first, stop - first)
        own_run = {name: runs[int(recording.run[start])] for name, runs in by_run.items()}
        data, mask = _read(recording, own_run, first, stop, model.modalities)
        rows, present = present_rows(recording.series[BOLD], start, stop)
        if bold is not None:
            rows, present = np.asarray(bold[start:stop], np.float32), np.isfinite(bold[start:stop]).all(axis=1)
        measured = np.zeros(rows.shape, np.float32)
        measured[present] = own_run[BOLD](rows[present])
        onsets = np.arange(first, stop) + 1 if stimulus_trs is None else stimulus_trs[first:stop]
        with torch.no_grad():
            answer, by_ridge, context = _bold_of(model, linear, data, mask, recording.subject, onsets)
            decoded, decoded_by_ridge = _decoded(
                model, linear, torch.from_numpy(measured), torch.from_numpy(present), recording.subject, expected
            )
        ahead = np.array([present[k : k + model.lead_trs + 1].sum() == model.lead_trs + 1 for k in range(len(present))])
        found.append(
            Stretch(
                start, stop, int(recording.run[start]), measured, answer[own],
                present & context[own],
                {name: _in_units(values, normalisers.get(name)) for name, values in decoded.items()},
                {n: recording.series[n].read(start, stop) for n in model.modalities if n in recording.series},
                {name: mask[name][own] & ahead for name in model.modalities},
                None if by_ridge is None else by_ridge[own],
                {name: _in_units(values, normalisers.get(name)) for name, values in decoded_by_ridge.items()},
            )
        )  # fmt: skip
    return found


def _read(
    recording: Recording, normalisers: Mapping[str, Normaliser], start: int, stop: int, modalities: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Stimulus rows as the model takes them, and which are there."""
    data, mask = {}, {}
    for name, modality in modalities.items():
        kind = np.int32 if modality.kind == CODES else np.float32
        data[name], mask[name] = np.zeros((stop - start, *modality.shape), kind), np.zeros(stop - start, bool)
        if name in recording.series:
            rows, there = present_rows(recording.series[name], start, stop)
            data[name][there] = normalisers[name](rows[there]) if name in normalisers else rows[there]
            mask[name] = there
    return data, mask


def _bold_of(
    model: MultimodalAutoencoder,
    ridge: MultimodalAutoencoder,
    data: dict[str, np.ndarray],
    mask: dict[str, np.ndarray],
    subject: str,
    onsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """BOLD of all rows given, predicted, and by ridge alone, and of which the whole context is known; in pieces."""
    n, context = len(onsets), model.context_trs
    answers, by_ridge, known = [], list[np.ndarray](), []
    device = next(model.parameters()).device
    has_ridge = BOLD in _linear_ways(ridge, subject)
    for start in range(0, n, AT_A_TIME):
        first = max(0, start - context)
        part = slice(first, min(n, start + AT_A_TIME))
        x = {name: torch.from_numpy(values[part])[None].to(device) for name, values in data.items()}
        there = {name: torch.from_numpy(values[part])[None].to(device) for name, values in mask.items()}
        answers.append(model.predict_bold(x, there, subject)[0, start - first :].cpu().numpy())
        linear = ridge.linear_bold(x, there, subject) if has_ridge else None
        by_ridge += [] if linear is None else [linear[0, start - first :].cpu().numpy()]
        since_start = onsets[part][start - first :]
        row = np.arange(start, part.stop)
        known.append((row >= context) | (since_start - row <= 0))
    return np.concatenate(answers), np.concatenate(by_ridge) if by_ridge else None, np.concatenate(known)


def _linear_ways(model: MultimodalAutoencoder, subject: str) -> set[str]:
    """What ridge beside a model predicts: BOLD, and modalities."""
    return set() if model.linear_path is None else model.linear_path.fitted_of(model.place(subject))


def _decoded(
    model: MultimodalAutoencoder,
    ridge: MultimodalAutoencoder,
    bold: Tensor,
    present: Tensor,
    subject: str,
    expected: bool,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Each modality of all rows, and what ridge decodes alone, in pieces that overlap by the volumes ahead."""
    n, lead = len(bold), model.lead_trs
    pieces: tuple[dict[str, list[np.ndarray]], dict[str, list[np.ndarray]]] = ({}, {})
    device, ways = next(model.parameters()).device, _linear_ways(ridge, subject)
    for start in range(0, n, AT_A_TIME):
        stop = min(n, start + AT_A_TIME)
        part = slice(start, min(n, stop + lead))
        x, there = bold[part][None].to(device), present[part][None].to(device)
        linear = ridge.linear_decoded(x, subject, there) if ways - {BOLD} else {}
        for who, outputs, found in (
            (model, model.decode(x, subject, there), pieces[0]),
            (ridge, {name: values for name, values in linear.items() if name in ways}, pieces[1]),
        ):
            if AUDIO in outputs and model.settings.use_encodec:
                outputs = {**outputs, AUDIO: _codes(who, outputs, expected and who is model)}
            for name, values in outputs.items():
                found.setdefault(name, []).append(values[0, : stop - start].cpu().numpy())
    own, by_ridge = ({name: np.concatenate(values) for name, values in found.items()} for found in pieces)
    return own, by_ridge


def _codes(model: MultimodalAutoencoder, outputs: dict[str, Any], expected: bool) -> Tensor:
    if not expected:
        return model.decoder.to_codes(outputs)
    latents = model.decoder.to_latents(outputs, expected=True)  # (1, W, D, F)
    books = model.decoder.codebooks
    assert books is not None
    return rvq_quantize(latents[0].transpose(1, 2).float(), books)[1][None].int()


def _in_units(values: np.ndarray, normaliser: Normaliser | None) -> np.ndarray:
    return values if normaliser is None else normaliser.inverse(values)
