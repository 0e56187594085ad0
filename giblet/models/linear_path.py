"""The linear path, both ways: what ridge regression would be given of a TR or of BOLD, and the weights that it finds.

The weights are not learned by steps. :mod:`giblet.training.linear` and :mod:`giblet.training.linear_decoding` compute
them in closed form when training begins; after that nothing changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from giblet.alignment.hrf_layer import HRFLayer
from giblet.modalities import BOLD
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
    """Encoding: fixed features of all modalities, convolved with a fixed HRF, times the weights of each subject.
    Decoding: the volumes from a TR on, times weights of each subject, to what of the TR is the same in all its frames
    and fields of the picture.

    Before :meth:`set_weights` and :meth:`set_decoding` it answers 0. Outside training the gain, 0 to 1 as validation
    TRs found it best, says how much of the network is heard: of BOLD the share of its part that is added, of a modality
    that is decoded its weight in the mean of the two.

    Parameters
    ----------
    settings : ModelSettings
        Of `tr`, `hrf`, `linear_hrf`, `decode_trs` and `head`: of the heads of codes, ``"latent"`` alone has a linear
        path.
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
        features = {name: FixedFeatures(modality, codebooks, statistics) for name, modality in modalities.items()}
        self.features = nn.ModuleDict(features)
        # Its own, as that of the network may learn while the weights stay.
        hrf = settings.linear_hrf or settings.hrf
        late = max(slice_time_refs) * settings.tr  # the brain does not look ahead
        delays = tuple(delay for delay in FIR_DELAYS if delay >= late) if hrf == "fir" else None
        self.hrf = HRFLayer(tr=settings.tr, hrf=hrf, delays=delays, slice_time_ref=slice_time_refs)
        n = (1 if delays is None else len(delays)) * sum(own.n + 1 for own in features.values() if own.n)
        self.answers = {
            name: own.n // 2 if own.kind == "codes" else own.n  # of codes the mean latent alone
            for name, own in features.items()
            if own.kind != "codes" or (settings.head == "latent" and own.n)
        }
        self.n_lags, n_answers = settings.decode_trs, sum(self.answers.values())
        for name in (BOLD, *self.answers):
            self.register_buffer(f"gain_{name}", torch.ones(()))
        self.n_subjects = len(n_voxels)
        for place, voxels in enumerate(n_voxels):
            self.register_buffer(f"weights_{place}", torch.zeros(n, voxels))
            self.register_buffer(f"intercept_{place}", torch.zeros(voxels))
            if n_answers:
                self.register_buffer(f"decoding_weights_{place}", torch.zeros(self.n_lags, voxels, n_answers))
                self.register_buffer(f"decoding_intercept_{place}", torch.zeros(n_answers))

    def bands(self, data: Mapping[str, Tensor], mask: Mapping[str, Tensor], which: int = 0) -> dict[str, Tensor]:
        """Features of each modality, and where it is absent, as the scanner would see them.

        Brains tell silence from speech, and features of an absent TR are those of the mean one.

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
            By modality, as ``"text"``, and by ``"text_absent"``, before the HRF 1 where the modality is absent;
            modalities without features are left out. One column for each feature, or each feature and delay.

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
                found[f"{name}_absent"] = self.hrf((~present)[..., None].to(series.dtype), which).flatten(2)
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
            Of the columns of all :meth:`bands`, in their order.
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

    @property
    def fitted(self) -> tuple[str, ...]:
        """What it has weights for, of any subject: ``"bold"`` and modalities that it decodes."""
        known = set[str]().union(*map(self.fitted_of, range(self.n_subjects)))
        return tuple(name for name in (BOLD, *self.answers) if name in known)

    def fitted_of(self, place: int) -> set[str]:
        """What it has weights for of one subject; what there was too little training data for has none.

        Parameters
        ----------
        place : int

        Returns
        -------
        set of str
            ``"bold"``, and modalities that it decodes.
        """
        found = {BOLD} if bool(self.weights(place)[0].any()) else set()
        if self.answers:
            parts = self.decoding_weights(place)[0].split(list(self.answers.values()), dim=2)
            found |= {name for name, own in zip(self.answers, parts, strict=True) if bool(own.any())}
        return found

    def gain(self, name: str) -> Tensor:
        """The share of the network's part in BOLD, or in a decoded modality.

        Parameters
        ----------
        name : str
            ``"bold"``, or of a modality that the linear path decodes.

        Returns
        -------
        Tensor, shape ()
        """
        return getattr(self, f"gain_{name}")

    def targets(self, name: str, x: Tensor) -> Tensor:
        """What of some TRs the linear path decodes: mean latent, mean spectrum, fields of the picture, or the vector.

        Parameters
        ----------
        name : str
            Of a modality in `answers`.
        x : Tensor, shape (N, ...)
            TRs that are data.

        Returns
        -------
        Tensor, shape (N, n)
        """
        features: FixedFeatures = self.features[name]  # type: ignore[assignment]
        found = features(x, torch.ones(len(x), dtype=torch.bool, device=x.device))
        if features.latents is None:
            return found
        n, latents = self.answers[name], features.latents
        gain = latents.gain[:n]
        return latents.centre[:n] + torch.where(gain > 0, found[:, :n] / gain.clamp_min(1e-30), 0.0)

    def spread(self, name: str, decoded: Tensor) -> Tensor:
        """What was decoded of a TR, in the form of the modality's answer.

        Parameters
        ----------
        name : str
        decoded : Tensor, shape (..., n)
            As :meth:`targets`.

        Returns
        -------
        Tensor
            Latents (..., D, F), a spectrogram (..., n_mels) or (..., n_mels, F), a picture (..., H, W, 3), or a vector.
        """
        modality = self.modalities[name]
        if modality.kind == "codes" or len(modality.shape) == 2:
            return decoded[..., None].expand(*decoded.shape, modality.shape[1])
        if modality.kind == "frames":
            small = decoded.reshape(-1, 3, *PICTURE)
            whole = nn.functional.interpolate(small, modality.shape[:2], mode="bilinear", align_corners=False)
            return whole.permute(0, 2, 3, 1).reshape(*decoded.shape[:-1], *modality.shape)
        return decoded

    def decode(self, bold: Tensor, place: int) -> dict[str, Tensor]:
        """What the volumes from each TR on tell of it.

        Parameters
        ----------
        bold : Tensor, shape (B, W, n_voxels)
            Normalised; 0 where absent or silenced, as behind the window's end.
        place : int
            Of the subject.

        Returns
        -------
        dict of str to Tensor
            By modality in `answers`, as :meth:`spread` gives them, over (B, W).
        """
        weights, intercept = self.decoding_weights(place)
        n_lags, _, n = weights.shape
        parts = (bold @ weights.transpose(0, 1).flatten(1)).unflatten(2, (n_lags, n))
        parts = nn.functional.pad(parts, (0, 0, 0, 0, 0, n_lags - 1))
        total = intercept + sum(parts[:, lag : lag + bold.shape[1], lag] for lag in range(n_lags))
        split = total.split(list(self.answers.values()), dim=2)
        return {name: self.spread(name, own) for name, own in zip(self.answers, split, strict=True)}

    def decoding_weights(self, place: int) -> tuple[Tensor, Tensor]:
        """Weights and intercept of a subject's decoding.

        Parameters
        ----------
        place : int

        Returns
        -------
        weights : Tensor, shape (n_lags, n_voxels, n)
            To what :meth:`targets` gives of all modalities in `answers`, in their order.
        intercept : Tensor, shape (n,)
        """
        return getattr(self, f"decoding_weights_{place}"), getattr(self, f"decoding_intercept_{place}")

    @torch.no_grad()
    def set_decoding(self, place: int, weights: Tensor, intercept: Tensor) -> None:
        """Give a subject its weights of decoding.

        Parameters
        ----------
        place : int
        weights : Tensor, shape (n_lags, n_voxels, n)
        intercept : Tensor, shape (n,)
        """
        own, level = self.decoding_weights(place)
        own.copy_(weights)
        level.copy_(intercept)
