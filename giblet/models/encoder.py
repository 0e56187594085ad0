"""From one TR of sound, picture or text to a vector of features.

Absent TRs are marked by a mask and replaced by a learned embedding; zeros are never treated as data. No encoder looks
beyond its TR, so that nothing of the future gets into the present.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from giblet.errors import InputError
from giblet.models.code_tables import distinct_rows, frames_after, mean_and_convolution
from giblet.models.inputs import check_floats, check_mask, is_code_dtype, present_only
from giblet.models.latents import ABSENT, LatentStatistics, rows_of
from giblet.models.layers import LinearPlus, channels_last, quiet
from giblet.models.settings import Modality, ModelSettings

HIDDEN = 128
"""Channels of the convolution over the frames of a TR."""


class AudioEncoder(nn.Module):
    """Sound of a TR, as codec codes or as a mel spectrogram, to features.

    Codes are categories: each has a vector in the embedding of its codebook. Embedded codes become the channels of a
    temporal convolution, channel ``k * embedding_dim + d`` being dimension ``d`` of codebook ``k``. Beside the
    convolution the mean over frames goes through a linear map. With `codebooks` there is a third way: mean and
    deviation of the TR's latents, linearly (:class:`giblet.models.latents.LatentStatistics`). They are what ridge
    regression would be given, and hundreds of TRs do not suffice to find them again among the embeddings of all
    codebooks.

    On CPUs TRs that are alike are encoded once, each with a dropout of its own, and many TRs by tables
    (:mod:`giblet.models.code_tables`), which give the same numbers in a fraction of the time.

    Parameters
    ----------
    use_encodec : bool
        Codes; False: mel.
    n_codebooks, codebook_size, frames_per_tr : int
        K, V and F of the codes. Another F is taken as well.
    embedding_dim : int
        Dimensions of the embedding of a code.
    features : int
        Features that come out.
    n_mels : int
        Bands, with ``use_encodec=False``.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec: embeddings start as the entries on their first `embedding_dim` principal axes, which all
        codebooks share. At random (standard normal) without.
    dropout : float
        Share of hidden features dropped in training.
    statistics : Tensor, shape (2, 2 * D), optional
        Mean and deviation over training TRs of their latents' statistics, which standardise them.

    Raises
    ------
    InputError
        If the codebooks do not fit.

    See Also
    --------
    VectorEncoder : For text, and all else that is a vector.
    VideoEncoder : For pictures.
    giblet.models.decoder.MultimodalDecoder : The way back, for all of them.

    Examples
    --------
    >>> AudioEncoder(use_encodec=True)(torch.zeros(2, 8, 112, dtype=torch.int32)).shape
    torch.Size([2, 256])
    >>> AudioEncoder(use_encodec=False)(torch.zeros(2, 2048, 64)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        use_encodec: bool = True,
        n_codebooks: int = 8,
        codebook_size: int = 1024,
        frames_per_tr: int = 112,
        embedding_dim: int = 64,
        features: int = 256,
        n_mels: int = 2048,
        codebooks: Tensor | None = None,
        dropout: float = 0.0,
        statistics: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.use_encodec, self.n_codebooks, self.codebook_size = use_encodec, n_codebooks, codebook_size
        self.frames_per_tr, self.embedding_dim, self.features, self.n_mels = (
            frames_per_tr, embedding_dim, features, n_mels,
        )  # fmt: skip
        channels = n_mels
        if use_encodec:
            channels = n_codebooks * embedding_dim
            start = torch.randn(n_codebooks, codebook_size, embedding_dim)
            if codebooks is not None:
                start = principal_entries(codebooks, start.shape)
            self.embedding = nn.Parameter(start)
            self.absent = nn.Parameter(torch.randn(n_codebooks, embedding_dim) * start.std())
        else:
            self.absent = nn.Parameter(torch.randn(features) * 0.1)
        self.convolution = nn.Sequential(
            nn.Conv1d(channels, HIDDEN, 3, stride=2, padding=1),
            nn.GroupNorm(1, HIDDEN),
            nn.GELU(),
            nn.Conv1d(HIDDEN, HIDDEN, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(HIDDEN, HIDDEN, 5, stride=2, padding=2),
            nn.GELU(),
        )
        self.dropout = nn.Dropout(dropout)
        self.pooled = quiet(nn.Linear(2 * HIDDEN, features))
        self.linear = nn.Linear(channels, features)
        self.latents: LatentStatistics | None = None
        if use_encodec and codebooks is not None:
            quiet(self.linear)
            self.latents = LatentStatistics(codebooks, statistics)
            self.from_latents = nn.Linear(2 * codebooks.shape[2], features)

    def embed(self, codes: Tensor) -> Tensor:
        """The vector of each code in the embedding of its codebook.

        Parameters
        ----------
        codes : Tensor of int, shape (B, K, F)
            In [-1, codebook_size); -1 is absent.

        Returns
        -------
        Tensor, shape (B, K, F, embedding_dim)

        Raises
        ------
        InputError
            If they are not integers, not of K codebooks, without a frame, or out of range.
        """
        self._check_codes(codes)
        return nn.functional.embedding(rows_of(codes, self.codebook_size), self._table().flatten(0, 1))

    def _table(self) -> Tensor:
        """What each code is embedded as, and behind those of a codebook its absent code: (K, V + 1, d)."""
        return torch.cat([self.embedding, self.absent[:, None]], dim=1)

    @staticmethod
    def to_channels(embedded: Tensor) -> Tensor:
        """Embedded codes as channels: ``k * d + i`` is dimension ``i`` of codebook ``k``.

        Parameters
        ----------
        embedded : Tensor, shape (B, K, F, d)

        Returns
        -------
        Tensor, shape (B, K * d, F)
        """
        return embedded.transpose(2, 3).flatten(1, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode.

        Parameters
        ----------
        x : Tensor
            Codes (B, K, F), integers; or mel (B, n_mels, F) or (B, n_mels), floats.
        mask : Tensor of bool, shape (B,), optional
            False: this TR is absent, and what `x` says there has no influence.

        Returns
        -------
        Tensor, shape (B, features), float32

        Raises
        ------
        InputError
            If codes come where mel belongs or the other way round, of another shape, or out of range.
        """
        present = check_mask(mask, len(x), x, "AudioEncoder")
        if self.use_encodec:
            if x.ndim == 3 and is_code_dtype(x):
                # Wide ones stay wide until they were found to be in range.
                x = x.int() if x.dtype == torch.int32 or x.element_size() < 4 else x.long()
                x = torch.where(present[:, None, None], x, ABSENT)
            return self._of_codes(x)
        if is_code_dtype(x):
            raise InputError(
                f"AudioEncoder(use_encodec=False) got {x.dtype}: a mel spectrogram holds floats, codes don't"
            )
        frames = x.shape[2:] if x.ndim == 3 else ()
        mel = present_only(check_floats(x, (self.n_mels, *frames), "AudioEncoder(use_encodec=False)"), present)
        encoded = self._encode(mel if mel.ndim == 3 else mel[:, :, None])
        return torch.where(present[:, None], encoded, self.absent)

    def _encode(self, channels: Tensor) -> Tensor:
        """(B, channels, F) to (B, features)."""
        hidden = self.convolution(channels)  # (B, HIDDEN, ceil(F / 8))
        return self.linear(channels.mean(2)) + self.pooled(self.dropout(_pool(hidden)))

    def _of_codes(self, codes: Tensor) -> Tensor:
        """(B, K, F) to (B, features); each TR once, and with tables where they are faster."""
        self._check_codes(codes)
        inverse = None
        if codes.device.type == "cpu":
            codes, inverse = distinct_rows(codes)
        if self.with_tables(codes):
            mean, first = mean_and_convolution(
                rows_of(codes, self.codebook_size), self._table(), cast(nn.Conv1d, self.convolution[0])
            )
            hidden = channels_last(cast(nn.Sequential, self.convolution[1:]), first)
        else:
            channels = self.to_channels(self.embed(codes))
            mean, hidden = channels.mean(2), self.convolution(channels)
        linear, pooled = self.linear(mean), _pool(hidden)
        if self.latents is not None:
            linear = linear + self.from_latents(self.latents(codes))
        if inverse is not None:
            linear, pooled = linear[inverse], pooled[inverse]
        return linear + self.pooled(self.dropout(pooled))

    def with_tables(self, codes: Tensor) -> bool:
        """Whether codes are encoded by tables (:mod:`giblet.models.code_tables`), which gives the same numbers.

        Parameters
        ----------
        codes : Tensor of int, shape (B, K, F)

        Returns
        -------
        bool
            True on CPUs, where there are more frames than rows in the table of a codebook: the first convolution has
            one product for each of them, and with tables one for each row.
        """
        n_frames = len(codes) * frames_after(codes.shape[2], cast(nn.Conv1d, self.convolution[0]))
        return codes.device.type == "cpu" and n_frames > self.codebook_size

    def _check_codes(self, codes: Tensor) -> None:
        if not is_code_dtype(codes):
            raise InputError(
                f"AudioEncoder got {codes.dtype} codes: codes are integers; round predictions first, "
                "or use use_encodec=False for a mel spectrogram"
            )
        if codes.ndim != 3 or codes.shape[1] != self.n_codebooks or not codes.shape[2]:
            raise InputError(
                f"AudioEncoder got codes of shape {tuple(codes.shape)}; "
                f"expected (B, {self.n_codebooks}, {self.frames_per_tr})"
            )
        if codes.numel():
            low, high = (int(v) for v in torch.aminmax(codes))
            if low < ABSENT or high >= self.codebook_size:
                bad = low if low < ABSENT else high
                raise InputError(
                    f"code {bad} is outside [0, {self.codebook_size - 1}] (-1: absent): "
                    "check which codec made these, or clip predictions"
                )


def _pool(hidden: Tensor) -> Tensor:
    """Mean and maximum over frames, (B, n, F) to (B, 2 * n)."""
    return torch.cat([hidden.mean(2), hidden.amax(2)], dim=1)


def principal_entries(codebooks: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """Codebook entries on the principal axes that all codebooks share.

    Parameters
    ----------
    codebooks : Tensor, shape (K, V, D)
    shape : tuple of int
        (K, V, d); where d exceeds D, what is left is filled with small noise.

    Returns
    -------
    Tensor, shape (K, V, d), float32
        Scaled so that the first codebook has deviation 1; the later ones keep their size relative to it.

    Raises
    ------
    InputError
        If K or V differ, or an entry is not finite.
    """
    k, v, d = shape
    books = codebooks.detach().float().cpu()
    if books.ndim != 3 or tuple(books.shape[:2]) != (k, v) or not books.isfinite().all():
        raise InputError(f"codebooks are of shape {tuple(codebooks.shape)}; expected ({k}, {v}, D) of finite floats")
    centred = books - books.mean(dim=1, keepdim=True)
    axes = torch.linalg.eigh(centred.flatten(0, 1).double().T @ centred.flatten(0, 1).double())[1]
    entries = centred @ axes.flip(1)[:, :d].float()
    entries = entries / entries[0].std().clamp_min(torch.finfo(torch.float32).tiny)
    extra = torch.randn(k, v, max(0, d - entries.shape[2])) * 0.1
    return torch.cat([entries, extra], dim=2)


class VectorEncoder(nn.Module):
    """A vector by TR (text embedding, loudness, low-level pictures) to features.

    Parameters
    ----------
    n : int
        Length of the vector.
    features : int
    """

    def __init__(self, n: int, features: int = 256) -> None:
        super().__init__()
        self.n = n
        self.map = LinearPlus(n, features, features)
        self.absent = nn.Parameter(torch.randn(features) * 0.1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode.

        Parameters
        ----------
        x : Tensor of floats, shape (B, n)
        mask : Tensor of bool, shape (B,), optional
            False: this TR is absent, and what `x` says there has no influence.

        Returns
        -------
        Tensor, shape (B, features)

        Raises
        ------
        InputError
            If `x` is not floats (B, n), or the mask not bool (B,).
        """
        present = check_mask(mask, len(x), x, "VectorEncoder")
        x = present_only(check_floats(x, (self.n,), "VectorEncoder"), present)
        return torch.where(present[:, None], self.map(x), self.absent)


class VideoEncoder(nn.Module):
    """A picture by TR to features: a small convolutional net, and beside it a linear map of the picture at low size.

    Parameters
    ----------
    shape : tuple of int
        (H, W, 3).
    features : int
    """

    def __init__(self, shape: tuple[int, ...], features: int = 256) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.convolution = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=4, padding=3),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d((3, 5)),
            nn.Flatten(),
            quiet(nn.Linear(64 * 15, features)),
        )
        self.small = nn.Sequential(nn.AdaptiveAvgPool2d((6, 10)), nn.Flatten(), nn.Linear(3 * 60, features))
        self.absent = nn.Parameter(torch.randn(features) * 0.1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode.

        Parameters
        ----------
        x : Tensor of floats, shape (B, H, W, 3)
        mask : Tensor of bool, shape (B,), optional
            False: this TR is absent, and what `x` says there has no influence.

        Returns
        -------
        Tensor, shape (B, features)

        Raises
        ------
        InputError
            If `x` is not floats (B, H, W, 3), or the mask not bool (B,).
        """
        present = check_mask(mask, len(x), x, "VideoEncoder")
        x = present_only(check_floats(x, self.shape, "VideoEncoder"), present).permute(0, 3, 1, 2)
        return torch.where(present[:, None], self.small(x) + self.convolution(x), self.absent)


def build_encoder(
    modality: Modality, settings: ModelSettings, codebooks: Tensor | None = None, statistics: Tensor | None = None
) -> AudioEncoder | VectorEncoder | VideoEncoder:
    """The encoder of a modality.

    Parameters
    ----------
    modality : Modality
        What one TR of it is.
    settings : ModelSettings
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec, for codes; used where ``settings.codebook_init`` says so.
    statistics : Tensor, shape (2, 2 * D), optional
        As for :class:`AudioEncoder`.

    Returns
    -------
    AudioEncoder, VectorEncoder or VideoEncoder

    Raises
    ------
    InputError
        If the codebooks do not fit.

    See Also
    --------
    giblet.models.decoder.MultimodalDecoder : The way back, for all modalities.
    """
    s = settings
    if modality.kind == "vector":
        return VectorEncoder(modality.shape[0], s.features)
    if modality.kind == "frames":
        return VideoEncoder(modality.shape, s.features)
    if modality.kind == "mel":
        return AudioEncoder(False, n_mels=modality.shape[0], features=s.features, dropout=s.dropout)
    return AudioEncoder(
        True, s.n_codebooks, s.codebook_size, s.frames_per_tr, s.embedding_dim, s.features, dropout=s.dropout,
        codebooks=codebooks if s.codebook_init else None, statistics=statistics,
    )  # fmt: skip
