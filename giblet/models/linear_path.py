"""The linear path of encoding: what of a TR ridge regression would be given, and the weights that it finds.

The weights are not learned by steps. :mod:`giblet.training.linear` computes them in closed form when training begins;
after that nothing changes them, and the network beside them learns only what they leave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from giblet.alignment.hrf_layer import HRFLayer
from giblet.models.inputs import checked_series, present_only
from giblet.models.latents import ABSENT, LatentStatistics
from giblet.models.settings import Modality, ModelSettings

PICTURE = (6, 10)
"""Height and width to which a picture is averaged."""
FIR_DELAYS = (1.5, 3.0, 4.5, 6.0, 7.5, 9.0)
"""Seconds, of ``linear_hrf: fir``: those of :data:`giblet.encoding.delays.DELAYS`."""


class FixedFeatures(nn.Module):
    """What of one TR a linear model of the brain is given; nothing of it learns.

    Of codes mean and deviation of their latents over the TR, of a mel spectrogram its mean, of a picture its means over
    6 x 10 fields; a vector as it is. A TR that is absent is 0, as the mean training TR is.

    Parameters
    ----------
    modality : Modality
        What one TR is.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec; without them codes have no such features.
    statistics : Tensor, shape (2, 2 * D), optional
        Mean and deviation over training TRs of the latents' statistics, which standardise them.
    """

    def __init__(self, modality: Modality, codebooks: Tensor | None = None, statistics: Tensor | None = None) -> None:
        super().__init__()
        self.kind = modality.kind
        self.latents: LatentStatistics | None = None
        self.n = modality.shape[0]
        if self.kind == "frames":
            self.n = 3 * PICTURE[0] * PICTURE[1]
        elif self.kind == "codes":
            self.n = 0 if codebooks is None else 2 * codebooks.shape[2]
            if codebooks is not None:  # a copy of the statistics: files of weights hold no tensor twice
                self.latents = LatentStatistics(codebooks, None if statistics is None else statistics.clone())

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """The features of some TRs.

        Parameters
        ----------
        x : Tensor, shape (N, ...)
            Of the modality, normalised.
        present : Tensor of bool, shape (N,)
            Which TRs are data.

        Returns
        -------
        Tensor, shape (N, n)
        """
        if self.kind == "codes":
            if self.latents is None:
                return x.new_zeros((len(x), 0), dtype=torch.float32)
            return self.latents(torch.where(present[:, None, None], x.long(), ABSENT))
        x = present_only(x, present)
        if self.kind == "mel":
            return x if x.ndim == 2 else x.mean(2)
        if self.kind == "frames":
            return nn.functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), PICTURE).flatten(1)
        return x


class LinearPath(nn.Module):
    """Fixed features of all modalities, convolved with a fixed HRF, times the weights of each subject.

    Before :meth:`set_weights` it answers 0. `gain` is the share of the network's own part that is added to it outside
    training, as validation TRs found it best: 0 to 1.

    Parameters
    ----------
    settings : ModelSettings
        Of `tr`, `hrf` and `linear_hrf`.
    modalities : mapping of str to Modality
        By name.
    n_voxels : sequence of int
        Of each subject.
    slice_time_refs : sequence of float
        When in its TR a volume is read, for each kind of scan.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec.
    statistics : Tensor, shape (2, 2 * D), optional
        As for :class:`FixedFeatures`.

    See Also
    --------
    giblet.encoding.EncodingModel : What finds the weights.
    """

    gain: Tensor
    """float32 ()."""

    def __init__(
        self,
        settings: ModelSettings,
        modalities: Mapping[str, Modality],
        n_voxels: Sequence[int],
        slice_time_refs: Sequence[float],
        codebooks: Tensor | None = None,
        statistics: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.modalities = dict(modalities)
        self.features = nn.ModuleDict({n: FixedFeatures(m, codebooks, statistics) for n, m in modalities.items()})
        # Its own, as that of the network may learn while the weights stay.
        hrf = settings.linear_hrf or settings.hrf
        late = max(slice_time_refs) * settings.tr  # the brain does not look ahead
        delays = tuple(delay for delay in FIR_DELAYS if delay >= late) if hrf == "fir" else None
        self.hrf = HRFLayer(tr=settings.tr, hrf=hrf, delays=delays, slice_time_ref=slice_time_refs)
        n = (1 if delays is None else len(delays)) * sum(int(own.n) for own in self.features.values())
        self.register_buffer("gain", torch.ones(()))
        for place, voxels in enumerate(n_voxels):
            self.register_buffer(f"weights_{place}", torch.zeros(n, voxels))
            self.register_buffer(f"intercept_{place}", torch.zeros(voxels))

    def bands(self, data: Mapping[str, Tensor], mask: Mapping[str, Tensor], which: int = 0) -> dict[str, Tensor]:
        """Features of each modality as the scanner would see them.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
            By modality, W successive TRs.
        mask : mapping of str to Tensor of bool, shape (B, W)
            Which TRs are data.
        which : int
            Place of the volumes' `slice_time_ref` among those given.

        Returns
        -------
        dict of str to Tensor, shape (B, W, n_columns)
            By modality; those without features are left out. One column for each feature, or each feature and delay.

        Raises
        ------
        InputError
            If a modality or its mask is missing, or of another shape or kind.
        """
        found = {}
        for name, features in self.features.items():
            x, present = checked_series(name, self.modalities[name], data, mask)
            series = features(x.flatten(0, 1), present.flatten()).unflatten(0, present.shape)
            if series.shape[2]:
                found[name] = self.hrf(series, which).flatten(2)
        return found

    def forward(self, data: Mapping[str, Tensor], mask: Mapping[str, Tensor], place: int, which: int = 0) -> Tensor:
        """BOLD of each volume, from the stimulus up to it.

        Parameters
        ----------
        data : mapping of str to Tensor, shape (B, W, ...)
        mask : mapping of str to Tensor of bool, shape (B, W)
        place : int
            Of the subject.
        which : int
            As for :meth:`bands`.

        Returns
        -------
        Tensor, shape (B, W, n_voxels)

        Raises
        ------
        InputError
            As :meth:`bands`.
        """
        weights, intercept = self.weights(place)
        bands = list(self.bands(data, mask, which).values())
        if not bands:
            return intercept.expand(*next(iter(mask.values())).shape, -1)
        return torch.cat(bands, dim=2) @ weights + intercept

    def weights(self, place: int) -> tuple[Tensor, Tensor]:
        """Weights and intercept of a subject.

        Parameters
        ----------
        place : int

        Returns
        -------
        weights : Tensor, shape (n_columns, n_voxels)
            Of the columns of all modalities, in their order.
        intercept : Tensor, shape (n_voxels,)
        """
        return getattr(self, f"weights_{place}"), getattr(self, f"intercept_{place}")

    @torch.no_grad()
    def set_weights(self, place: int, weights: Tensor, intercept: Tensor) -> None:
        """Give a subject its weights.

        Parameters
        ----------
        place : int
        weights : Tensor, shape (n_columns, n_voxels)
        intercept : Tensor, shape (n_voxels,)
        """
        own, level = self.weights(place)
        own.copy_(weights)
        level.copy_(intercept)
