"""How well a codec does on sound it has not seen: the numbers that codec training logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from giblet import sound_metrics
from giblet.codec.architecture import codebooks_of
from giblet.codec.quantizer import rvq_quantize
from giblet.codec.training.losses import MultiScaleLoss

FLOOR = 1e-12
"""Energy that is added to those of the waveforms: with it the scores of silence are numbers, which a log can hold."""


def perplexity(indices: Tensor, codebook_size: int) -> list[float]:
    """Effective number of entries in use per codebook.

    Parameters
    ----------
    indices : Tensor of int64, shape (K, N)
    codebook_size : int

    Returns
    -------
    list of float
        K numbers from 1 to `codebook_size`.
    """
    out = []
    for row in indices:
        p = torch.bincount(row.flatten(), minlength=codebook_size).double() / row.numel()
        out.append(float(torch.exp(-(p * torch.log(p.clamp(min=1e-12))).sum())))
    return out


@torch.no_grad()
def validate(
    model: Any, clips: Iterable[np.ndarray], n_books: int | None = None, perceptual: bool = True
) -> dict[str, float]:
    """Mean scores of a model over clips.

    Parameters
    ----------
    model : transformers.EncodecModel
    clips : iterable of ndarray of float32, shape (N,)
        At the model's sample rate, half a second or longer.
    n_books : int, optional
        Codebooks to use; all where absent.
    perceptual : bool
        Add STOI and wide-band PESQ where the packages pystoi and pesq are installed.

    Returns
    -------
    dict
        `si_sdr` (dB), `level` (level error, dB), `mel` (log10 distance), `stoi` and `pesq` where they could be
        computed, and `perplexity`, the lowest of the codebooks.

    Raises
    ------
    InputError
        If a clip is too short for the spectral loss.
    """
    sample_rate = model.config.sampling_rate
    spectral = MultiScaleLoss(sample_rate)
    books = codebooks_of(model)[:n_books]
    rows: list[dict[str, float]] = []
    used = []
    training = model.training
    model.eval()
    for clip in clips:
        x = torch.from_numpy(clip)[None, None]
        quantized, indices = rvq_quantize(model.encoder(x).transpose(1, 2), books)
        y = model.decoder(quantized.transpose(1, 2))[..., : x.shape[-1]]
        used.append(indices[0])
        decoded = y[0, 0].numpy()
        row = {
            "si_sdr": sound_metrics.si_sdr(clip, decoded, floor=FLOOR),
            "level": sound_metrics.level_error(clip, decoded, floor=FLOOR),
        }
        row["mel"] = float(spectral(y, x)["mel"])
        if perceptual:
            row |= _perceptual(clip, decoded, sample_rate)
        rows.append(row)
    model.train(training)
    keys = {key for row in rows for key in row}
    scores = {key: float(np.nanmean([row.get(key, np.nan) for row in rows])) for key in sorted(keys)}
    return scores | {"perplexity": min(perplexity(torch.cat(used, 1), books.shape[1]))}


def _perceptual(clip: np.ndarray, decoded: np.ndarray, sample_rate: int) -> dict[str, float]:
    absent = sound_metrics.missing()
    scores = {
        name: measure(clip, decoded, sample_rate)
        for name, measure in (("stoi", sound_metrics.stoi), ("pesq", sound_metrics.pesq))
        if name not in absent
    }
    return {name: score for name, score in scores.items() if score is not None}
