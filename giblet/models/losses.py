"""What training minimises: one loss per modality, each on a scale where knowing nothing costs 1.

Codes run to 1023 and z-scored BOLD to 3: their squared errors differ a hundred-thousandfold, and the sum of them is
the codes'. So each loss is divided by what it costs to predict the training mean, or how often each code occurs, and
nothing else, for every TR. The losses of codes stand with their heads, in :mod:`giblet.models.heads`.

The order of arguments is the truth first, then what is said of it, as in the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from giblet.modalities import AUDIO, BOLD
from giblet.models.heads import CODE_HEADS
from giblet.models.inputs import is_code_dtype
from giblet.models.row_losses import cross_entropy as cross_entropy
from giblet.models.row_losses import latent_loss as latent_loss
from giblet.models.row_losses import mse
from giblet.models.row_losses import smooth_l1 as smooth_l1
from giblet.models.scales import Scales
from giblet.models.settings import ModelSettings


def scored_mask(name: str, scored: Mapping[str, Tensor], batch: Mapping[str, Any]) -> Tensor:
    """Rows that count for a modality's loss: they may be scored, and the TR is data.

    A TR with an absent code (-1) does not count.

    Parameters
    ----------
    name : str
        Of the modality, or ``"bold"``.
    scored : mapping of str to Tensor of bool, shape (B, W)
        ``"bold"`` and ``"decode"``, as ``MultimodalAutoencoder.scored_rows`` gives them.
    batch : mapping
        ``data`` and ``mask`` by modality, (B, W, ...).

    Returns
    -------
    Tensor of bool, shape (B, W)
    """
    rows = scored[BOLD if name == BOLD else "decode"] & batch["mask"][name]
    values = batch["data"][name]
    if name == AUDIO and is_code_dtype(values):
        rows = rows & (values >= 0).flatten(2).all(2)
    return rows


def combined_loss(
    batch: Mapping[str, Any],
    outputs: Mapping[str, Any],
    settings: ModelSettings,
    scales: Scales,
    codebooks: Tensor | None = None,
    counts: Mapping[str, float] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all losses, and each by itself.

    Parameters
    ----------
    batch : mapping
        The truth: ``data`` and ``mask`` by modality, (B, W, ...).
    outputs : mapping
        What :class:`~giblet.models.autoencoder.MultimodalAutoencoder` answers to it.
    settings : ModelSettings
    scales : Scales
        Of the training TRs, from :func:`fit_scales`.
    codebooks : Tensor, shape (K, V, D), optional
        For ``head="latent"``: ``model.decoder.codebooks``.
    counts : mapping of str to float, optional
        What each sum over rows is divided by, instead of the number of rows in this batch: rows of all processes
        divided by the number of processes makes DDP's mean of gradients that of one process with the whole batch.

    Returns
    -------
    total : Tensor, shape ()
        With gradients.
    parts : dict of str to Tensor, shape ()
        By modality, ``"bold"`` too, on the common scale (1: as good as the training mean) and without its weight;
        detached. 0 where no row counts.

    Raises
    ------
    InputError
        If a scale is missing, or codebooks are, for the latent head.

    See Also
    --------
    scored_mask : Rows that count, of which `counts` are the numbers.
    mean_loss : What predicting the training mean costs.
    """
    predicted = {BOLD: outputs["bold"], **outputs["decoded"]}
    parts: dict[str, Tensor] = {}
    total = outputs["bold"].new_zeros((), dtype=torch.float32)
    for name, prediction in predicted.items():
        rows = scored_mask(name, outputs["scored"], batch)
        target = batch["data"][name][rows]
        each = _normalised(name, target, prediction[rows], settings, scales, codebooks)
        n = float(counts[name]) if counts is not None else float(len(each))
        # An empty sum is 0 and keeps its place in the graph, so that every process has the same one.
        parts[name] = each.sum() / max(n, torch.finfo(torch.float32).tiny)
        total = total + settings.modality_weights.get(name, 1.0) * parts[name]
    return total, {name: loss.detach() for name, loss in parts.items()}


@torch.no_grad()
def losses_by_row(
    batch: Mapping[str, Any],
    predicted: Mapping[str, Any],
    scored: Mapping[str, Tensor],
    settings: ModelSettings,
    scales: Scales,
    codebooks: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss of each row, on the scale of :func:`combined_loss`.

    Parameters
    ----------
    batch : mapping
        As for :func:`combined_loss`.
    predicted : mapping of str to Tensor or other
        By modality, ``"bold"`` too, what is said of it.
    scored : mapping of str to Tensor of bool, shape (B, W)
        As a model answers it: ``"bold"`` and ``"decode"``.
    settings : ModelSettings
    scales : Scales
        Of the training TRs, from :func:`fit_scales`.
    codebooks : Tensor, shape (K, V, D), optional
        For ``head="latent"``: ``model.decoder.codebooks``.

    Returns
    -------
    dict of str to Tensor, shape (B, W), float32
        By the names of `predicted`; 0 in rows that do not count.

    Raises
    ------
    InputError
        If a scale is missing, or codebooks are, for the latent head.
    """
    found = {}
    for name, prediction in predicted.items():
        rows = scored_mask(name, scored, batch)
        each = _normalised(name, batch["data"][name][rows], prediction[rows], settings, scales, codebooks)
        found[name] = torch.zeros(rows.shape, device=each.device).masked_scatter(rows, each.float())
    return found


def mean_loss(
    scored: Mapping[str, Tensor],
    batch: Mapping[str, Any],
    settings: ModelSettings,
    scales: Scales,
    codebooks: Tensor | None = None,
) -> dict[str, Tensor]:
    """What knowing nothing costs on a batch: the loss of predicting the training mean for every TR.

    For codes the mean is what the head could say of all TRs alike: how often each code occurs, the mean code of each
    codebook, or the mean latent.

    Parameters
    ----------
    scored : mapping of str to Tensor of bool, shape (B, W)
        As a model answers it: ``"bold"`` and ``"decode"``.
    batch : mapping
        As for :func:`combined_loss`; ``subject``, where there is one, says whose mean is predicted.
    settings : ModelSettings
    scales : Scales
        Of the training TRs, from :func:`fit_scales`.
    codebooks : Tensor, shape (K, V, D), optional
        For ``head="latent"``: ``model.decoder.codebooks``.

    Returns
    -------
    dict of str to Tensor, shape ()
        By modality of the batch, sum over the rows that count, on the scale of :func:`combined_loss`.

    Raises
    ------
    InputError
        If a scale is missing, or codebooks are, for the latent head.
    """
    subject = int(torch.as_tensor(batch["subject"]).flatten()[0]) if "subject" in batch else 0
    sums = {}
    for name, values in batch["data"].items():
        target = values[scored_mask(name, scored, batch)]
        if len(target):
            nothing = _mean_prediction(name, target, settings, scales, subject)
            sums[name] = _normalised(name, target, nothing, settings, scales, codebooks).sum()
        else:
            sums[name] = torch.zeros((), device=values.device)
    return sums


def _mean_prediction(name: str, target: Tensor, settings: ModelSettings, scales: Scales, subject: int) -> Any:
    """The same prediction for all rows of the target, in the form in which the head gives it."""
    if name != AUDIO or not settings.use_encodec:
        return scales.mean(name, subject).to(target.device).reshape(target.shape[1:]).expand(target.shape)
    return CODE_HEADS[settings.head].constant(target, scales)


def _normalised(
    name: str, target: Tensor, prediction: Any, settings: ModelSettings, scales: Scales, codebooks: Tensor | None
) -> Tensor:
    """Loss of each row, (N,), on the common scale."""
    if name != AUDIO or not settings.use_encodec:
        return mse(target, prediction) / scales.of(name)
    return CODE_HEADS[settings.head].loss(target, prediction, settings, scales, codebooks)
