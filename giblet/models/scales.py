"""What predicting nothing but the training mean costs, from the training TRs alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from giblet.codec.quantizer import rvq_dequantize
from giblet.errors import InputError
from giblet.modalities import AUDIO
from giblet.models.inputs import is_code_dtype
from giblet.models.latents import latent_statistics
from giblet.models.settings import ModelSettings

# Below this a modality is constant over the training TRs, and its loss is left in its own units.
CONSTANT = 1e-8


@dataclass(frozen=True)
class Scales:
    """Loss of the best constant prediction, by modality; plain numbers, so that JSON holds them.

    Attributes
    ----------
    constant : dict of str to float
        Variance over training TRs, mean over the values of a TR; ``"latent"``: that of the codes' latents.
    codebooks : dict of str to list of float
        ``"entropy"`` of each codebook in nats, ``"deviation"`` of its codes as numbers, and ``"smooth_l1"``: that loss
        of the mean, in deviations.
    priors : Tensor or None, shape (K, V)
        How many times each code occurs, for ``MultimodalAutoencoder(priors=...)``.
    means : dict of str to dict of int to Tensor
        Mean training TR, flat, float32, by modality and subject (0 where a batch names none); ``"latent"``: (D,).
    statistics : Tensor or None, shape (2, 2 * D)
        Mean and deviation over training TRs of :func:`giblet.models.latents.latent_statistics`, for
        ``MultimodalAutoencoder(statistics=...)``; None without codebooks.
    """

    constant: dict[str, float]
    codebooks: dict[str, list[float]] = field(default_factory=dict)
    priors: Tensor | None = None
    means: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    statistics: Tensor | None = None

    def of(self, name: str) -> float:
        """The scale of a modality.

        Parameters
        ----------
        name : str
            Of the modality; ``"bold"`` and ``"latent"`` too.

        Returns
        -------
        float
            As `constant` has it.

        Raises
        ------
        InputError
            If the training TRs held none of it.
        """
        if name not in self.constant:
            raise InputError(f"there is no scale for {name}: fit_scales saw {', '.join(self.constant) or 'nothing'}")
        return self.constant[name]

    def mean(self, name: str, subject: int = 0) -> Tensor:
        """Mean training TR of a modality, flat; of all subjects where this one had none of it in training.

        Parameters
        ----------
        name : str
            Of the modality; ``"bold"`` and ``"latent"`` too.
        subject : int
            Place of the subject, as batches name it.

        Returns
        -------
        Tensor, shape (n,), float32
            `n` values of a TR; of ``"latent"`` the D dimensions.

        Raises
        ------
        InputError
            If the training TRs held none of it.
        """
        self.of(name)
        own = self.means[name]
        return own[subject] if subject in own else torch.stack(list(own.values())).mean(0)

    def by_codebook(self, name: str) -> list[float]:
        """A scale of the codes, one number per codebook.

        Parameters
        ----------
        name : {"entropy", "deviation", "smooth_l1"}

        Returns
        -------
        list of float
            As `codebooks` has it.

        Raises
        ------
        InputError
            If the training TRs held no codes.
        """
        if name not in self.codebooks:
            raise InputError(f"there is no {name} of the codes: the training TRs held no codes of {AUDIO}")
        return self.codebooks[name]


def fit_scales(
    batches: Iterable[Mapping[str, Any]], settings: ModelSettings, codebooks: Tensor | None = None
) -> Scales:
    """Scales of the training TRs.

    Parameters
    ----------
    batches : iterable of mapping
        Windows of the training part with ``data``, ``mask`` and, where there is, ``subject``; one pass. Each TR once:
        windows that overlap weigh what they share more than once.
    settings : ModelSettings
        `n_codebooks` and `codebook_size`.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec, for the scale of ``head="latent"`` and the statistics of latents.

    Returns
    -------
    Scales

    Raises
    ------
    InputError
        If there is no data at all, or codes are out of range or of another number of codebooks.

    See Also
    --------
    giblet.models.losses.combined_loss : What divides by them.
    """
    moments: dict[tuple[str, int], _Moments] = {}
    statistics = _Moments()
    counts = torch.zeros(settings.n_codebooks, settings.codebook_size, dtype=torch.float64)
    for batch in batches:
        for name, values in batch["data"].items():
            rows = batch["mask"][name]
            if is_code_dtype(values):
                rows = rows & (values >= 0).flatten(rows.ndim).all(-1)
            chosen = values[rows].cpu()
            if not len(chosen):
                continue
            key = (name, 0)
            if is_code_dtype(values):
                _count(chosen, counts)
                if codebooks is None:
                    continue
                latents = rvq_dequantize(chosen, codebooks.cpu())  # (N, F, D)
                statistics.add(latent_statistics(latents).double())
                key, chosen = ("latent", 0), latents.flatten(0, 1)
            elif "subject" in batch:
                # Subjects differ in voxels, and so in what lies where.
                key = (name, int(torch.as_tensor(batch["subject"]).flatten()[0]))
            moments.setdefault(key, _Moments()).add(chosen.flatten(1).double())
    if not moments and not counts.any():
        raise InputError("no training TR holds data: check the masks and the split")
    groups: dict[str, list[_Moments]] = {}
    for (name, _), moment in moments.items():
        groups.setdefault(name, []).append(moment)
    constant = {}
    for name, parts in groups.items():
        variance = sum(p.n * p.variance() for p in parts) / sum(p.n for p in parts)
        constant[name] = variance if variance > CONSTANT else 1.0
    means: dict[str, dict[int, Tensor]] = {}
    for (name, subject), moment in moments.items():
        means.setdefault(name, {})[subject] = torch.as_tensor(moment.mean).float()
    over_trs = torch.stack([torch.as_tensor(statistics.mean), statistics.deviation()]).float() if statistics.n else None
    return Scales(constant, _of_codes(counts), counts if counts.any() else None, means, over_trs)


class _Moments:
    """Running mean and squared deviations by value (Chan et al. 1979), float64."""

    def __init__(self) -> None:
        self.n = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        n, mean = len(rows), rows.mean(0)
        delta = mean - self.mean
        together = self.n + n
        self.squares = self.squares + (rows - mean).square().sum(0) + delta.square() * (self.n * n / together)
        self.mean = self.mean + delta * (n / together)
        self.n = together

    def deviation(self) -> Tensor:
        return (torch.as_tensor(self.squares) / self.n).sqrt()

    def variance(self) -> float:
        return float(torch.as_tensor(self.squares).mean()) / self.n


def _count(codes: Tensor, counts: Tensor) -> None:
    """Add the codes (N, K, F) to counts (K, V)."""
    k, v = counts.shape
    if codes.shape[1] != k or int(codes.max()) >= v:
        raise InputError(f"codes of {codes.shape[1]} codebooks up to {int(codes.max())}: the settings have {k} x {v}")
    for book in range(k):
        counts[book] += torch.bincount(codes[:, book].flatten().long(), minlength=v)


def _of_codes(counts: Tensor) -> dict[str, list[float]]:
    if not counts.any():
        return {}
    share = counts / counts.sum(1, keepdim=True)
    entropy = torch.special.entr(share).sum(1)
    entry = torch.arange(counts.shape[1], dtype=torch.float64)
    mean = share @ entry
    deviation = (share * (entry - mean[:, None]).square()).sum(1).sqrt()
    deviation = torch.where(deviation > CONSTANT, deviation, 1.0)
    error = (entry - mean[:, None]).abs() / deviation[:, None]
    huber = (share * torch.where(error < 1, error.square() / 2, error - 0.5)).sum(1)
    return {
        "entropy": torch.where(entropy > CONSTANT, entropy, 1.0).tolist(),
        "deviation": deviation.tolist(),
        "smooth_l1": torch.where(huber > CONSTANT, huber, 1.0).tolist(),
    }
