"""The heads that decode sound as codes: everything that differs between them, each in a class of its own.

To add a head, write a subclass of :class:`CodeHead` here, name it in :data:`CODE_HEADS`, and add the name to
``Head`` in :mod:`giblet.models.settings` (and to ``NEED_CODEBOOKS`` there, if it cannot do without the codec's
codebooks). Nothing else asks which head it is: the decoder builds it from the table and asks it for codes and latents,
the training asks its class for losses, and settings, checkpoints and scorecards hold its name.

The heads of pictures, spectrograms and vectors are in :mod:`giblet.models.stimulus_heads`.
"""

# Methods that override one of CodeHead have its docstring.
# ruff: noqa: D102
from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from giblet.codec.quantizer import rvq_dequantize, rvq_quantize
from giblet.errors import InputError
from giblet.models.layers import QUIET, quiet
from giblet.models.logits import CodeLogits, log_frequency
from giblet.models.row_losses import cross_entropy, latent_loss, mse, smooth_l1
from giblet.models.scales import Scales
from giblet.models.settings import Head, ModelSettings
from giblet.models.stimulus_heads import PictureHead as PictureHead
from giblet.models.stimulus_heads import ShapedHead as ShapedHead

FRAME_WIDTH = 32
"""Length of the vector that stands for a frame."""
LATENT_DIM = 128
"""D of the latents of EnCodec, where there are no codebooks to say it."""


class CodeHead(nn.Module, ABC):
    """What decodes the codes of a TR from its hidden features; subclasses say how.

    Calling it gives its *answer*, in whatever form suits the head: a Tensor, or an object that rows can be taken of by
    ``answer[rows]``. Nothing but the head itself looks into it.

    In the shapes below, K are codebooks, F frames of a TR, V entries of a codebook and D dimensions of the codec's
    latents; leading axes of an answer are kept. :meth:`build`, :meth:`codes` and :meth:`latents` are what the decoder
    needs, :meth:`loss` and :meth:`constant` what training needs, of the class alone.
    """

    @classmethod
    @abstractmethod
    def build(cls, settings: ModelSettings, n_frames: int, codebooks: Tensor | None, counts: Tensor | None) -> Self:
        """The head that the settings ask for, untrained.

        Parameters
        ----------
        settings : ModelSettings
            Of `features`, the hidden features of a TR, `n_codebooks` and `codebook_size`.
        n_frames : int
            F.
        codebooks : Tensor of float32, shape (K, V, D), or None
            Of the codec.
        counts : Tensor of float64, shape (K, V), or None
            How many times each code occurs in training, where the head starts from.

        Returns
        -------
        CodeHead
        """

    def dense(self, answer: Any) -> Tensor:
        """An answer as one Tensor, as :meth:`giblet.models.decoder.MultimodalDecoder.forward` gives it.

        Parameters
        ----------
        answer : Tensor or other
            As calling the head gives it.

        Returns
        -------
        Tensor
            By default the answer itself.
        """
        return answer

    @abstractmethod
    def codes(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        """Codes that a codec can decode.

        Parameters
        ----------
        answer : Tensor or other
            Of the head, dense or not.
        codebooks : Tensor, shape (K, V, D), or None
            Of the codec.

        Returns
        -------
        Tensor, shape (..., K, F), int32 in [0, V - 1]

        Raises
        ------
        InputError
            If the answer holds NaN or infinity, or codebooks are needed and not there.
        """

    def latents(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        """Latents of the codec: by default those that the codes stand for.

        Parameters
        ----------
        answer : Tensor or other
            Of the head, dense or not.
        codebooks : Tensor, shape (K, V, D), or None
            Of the codec.

        Returns
        -------
        Tensor, shape (..., D, F), float32

        Raises
        ------
        InputError
            As :meth:`codes`, or if the codebooks are not there.
        """
        codes = self.codes(answer, codebooks)
        latents = rvq_dequantize(codes.reshape(-1, *codes.shape[-2:]), _known(codebooks)).transpose(1, 2)
        return latents.reshape(*codes.shape[:-2], *latents.shape[1:])

    def expected_latents(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        """Mean latents under the probabilities of a head that has some; by default there are none.

        Parameters
        ----------
        answer : Tensor or other
            Of the head, dense or not.
        codebooks : Tensor, shape (K, V, D), or None
            Of the codec.

        Returns
        -------
        Tensor, shape (..., D, F), float32

        Raises
        ------
        InputError
            If the head gives no probabilities, or the codebooks are not there.
        """
        own = next((name for name, kind in CODE_HEADS.items() if kind is type(self)), type(self).__name__)
        able = [repr(n) for n, kind in CODE_HEADS.items() if kind.expected_latents is not CodeHead.expected_latents]
        raise InputError(f"head {own!r} gives no probabilities: expected=True needs {' or '.join(able)}")

    @classmethod
    @abstractmethod
    def loss(
        cls, target: Tensor, answer: Any, settings: ModelSettings, scales: Scales, codebooks: Tensor | None
    ) -> Tensor:
        """What an answer costs, divided by what :meth:`constant` costs over the training TRs.

        Parameters
        ----------
        target : Tensor of int, shape (N, K, F)
            The true codes.
        answer : Tensor or other
            Of the head, to N TRs; not dense.
        settings : ModelSettings
        scales : Scales
            Of the training TRs. What it does not hold can be computed from ``scales.priors``, how often each code
            occurs.
        codebooks : Tensor, shape (K, V, D), or None
            Of the codec.

        Returns
        -------
        Tensor, shape (N,), float32

        Raises
        ------
        InputError
            If a scale is missing, or codebooks are needed and not there.
        """

    @classmethod
    @abstractmethod
    def constant(cls, target: Tensor, scales: Scales) -> Any:
        """The best answer of one that knows nothing but the training codes: the same for all TRs.

        Parameters
        ----------
        target : Tensor of int, shape (N, K, F)
            Says how many TRs, on which device.
        scales : Scales
            Of the training TRs.

        Returns
        -------
        Tensor or other
            As calling the head gives it, for N TRs.

        Raises
        ------
        InputError
            If a scale is missing.
        """


class RegressionHead(CodeHead):
    """Each code as a number, as if codes were on a scale: ``(V - 1) * sigmoid(linear(hidden))``.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_codebooks, n_frames : int
        K and F: codebooks, and frames of a TR.
    codebook_size : int
        V: entries of a codebook.
    counts : Tensor of float64, shape (K, V), or None
        How many times each code occurs in training: the head starts at the mean code of each codebook. Without, in
        the middle of the scale.
    """

    def __init__(
        self, n_hidden: int, n_codebooks: int, n_frames: int, codebook_size: int, counts: Tensor | None
    ) -> None:
        super().__init__()
        self.shape, self.top = (n_codebooks, n_frames), codebook_size - 1
        self.linear = quiet(nn.Linear(n_hidden, n_codebooks * n_frames), 0.5)
        if counts is not None:
            mean = (counts @ torch.arange(codebook_size, dtype=counts.dtype)) / counts.sum(1) / self.top
            with torch.no_grad():
                self.linear.bias.copy_(torch.logit(mean, eps=1e-3)[:, None].expand(self.shape).reshape(-1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Each code as a number.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., K, F), float32 in [0, V - 1]
        """
        return self.linear(hidden).unflatten(-1, self.shape).float().sigmoid() * self.top

    @classmethod
    def build(cls, settings: ModelSettings, n_frames: int, codebooks: Tensor | None, counts: Tensor | None) -> Self:
        return cls(settings.features, settings.n_codebooks, n_frames, settings.codebook_size, counts)

    def codes(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        # Rounded and clipped.
        return _finite(answer).round().clamp(0, self.top).int()

    @classmethod
    def loss(
        cls, target: Tensor, answer: Any, settings: ModelSettings, scales: Scales, codebooks: Tensor | None
    ) -> Tensor:
        # By ``regression_loss``, each codebook in deviations of its codes.
        spread = _per_codebook(scales, "deviation", target)
        books = range(len(spread))
        if settings.regression_loss == "mse":
            by_book = [mse(target[:, k], answer[:, k]) / spread[k] ** 2 for k in books]
        else:
            cost = _per_codebook(scales, "smooth_l1", target)
            by_book = [smooth_l1(target[:, k], answer[:, k], spread[k]) / cost[k] for k in books]
        return torch.stack(by_book, dim=1) @ _weights(settings, target)

    @classmethod
    def constant(cls, target: Tensor, scales: Scales) -> Tensor:
        # The mean code of each codebook.
        counts = _counts(scales)
        mean = counts @ torch.arange(counts.shape[1], dtype=counts.dtype) / counts.sum(1)
        return mean.float().to(target.device)[:, None].expand(target.shape)


class Frames(nn.Module):
    """A vector for each frame of a TR: one for all of them, and beside it, small at the start, what makes each differ.

    BOLD tells what a TR was like long before it tells its frames apart: were each frame learned by itself, it would be
    learned from a 112th of the data. What makes frames differ is scaled down, so that it also learns more slowly.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_frames : int
        F: frames of a TR.
    """

    def __init__(self, n_hidden: int, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.whole = nn.Linear(n_hidden, FRAME_WIDTH)
        self.each = nn.Linear(n_hidden, n_frames * FRAME_WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """A vector for each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., F, FRAME_WIDTH)
        """
        each = self.each(hidden).unflatten(-1, (self.n_frames, FRAME_WIDTH))
        return self.whole(hidden)[..., None, :] + QUIET * each


class ClassificationHead(CodeHead):
    """A score for each entry: ``(frame @ projections[k]) . keys[k, v] + bias[k, v]``, with a vector for each frame.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    n_codebooks, n_frames : int
        K and F: codebooks, and frames of a TR.
    codebook_size : int
        V: entries of a codebook.
    counts : Tensor of float64, shape (K, V), or None
        How many times each code occurs in training: the bias starts at the log of how often. Without, at 0.
    """

    def __init__(
        self, n_hidden: int, n_codebooks: int, n_frames: int, codebook_size: int, counts: Tensor | None
    ) -> None:
        super().__init__()
        self.frames = Frames(n_hidden, n_frames)
        self.projections = nn.Parameter(torch.randn(n_codebooks, FRAME_WIDTH, FRAME_WIDTH) / FRAME_WIDTH**0.5)
        self.keys = nn.Parameter(torch.randn(n_codebooks, codebook_size, FRAME_WIDTH) * 0.1)
        start = torch.zeros(n_codebooks, codebook_size) if counts is None else log_frequency(counts)
        self.bias = nn.Parameter(start)

    def forward(self, hidden: Tensor) -> CodeLogits:
        """A score for each entry of each codebook at each frame.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        CodeLogits
            Scores (..., K, F, V), in factors.
        """
        frames = self.frames(hidden)
        return CodeLogits(torch.einsum("...fr,krs->...kfs", frames, self.projections), self.keys, self.bias)

    @classmethod
    def build(cls, settings: ModelSettings, n_frames: int, codebooks: Tensor | None, counts: Tensor | None) -> Self:
        return cls(settings.features, settings.n_codebooks, n_frames, settings.codebook_size, counts)

    def dense(self, answer: CodeLogits) -> Tensor:
        # All scores, (..., K, F, V).
        return answer.dense()

    def codes(self, answer: CodeLogits | Tensor, codebooks: Tensor | None) -> Tensor:
        # The best entries.
        if isinstance(answer, CodeLogits):
            _finite(answer.queries)
            return answer.argmax()
        return _finite(answer).argmax(-1).int()

    def expected_latents(self, answer: CodeLogits | Tensor, codebooks: Tensor | None) -> Tensor:
        # The mean under the probabilities that the scores stand for.
        if isinstance(answer, CodeLogits):
            return answer.expected(_known(codebooks))
        return torch.einsum("...kfv,kvd->...df", answer.softmax(-1), _known(codebooks))

    @classmethod
    def loss(
        cls, target: Tensor, answer: Any, settings: ModelSettings, scales: Scales, codebooks: Tensor | None
    ) -> Tensor:
        # Cross-entropy, each codebook divided by its entropy.
        nats = cross_entropy(target, answer)  # (N, K)
        return (nats / _per_codebook(scales, "entropy", target)) @ _weights(settings, target)

    @classmethod
    def constant(cls, target: Tensor, scales: Scales) -> CodeLogits:
        # How often each code occurs.
        n, k, f = target.shape
        counts = _counts(scales)
        keys = target.new_zeros((k, counts.shape[1], 1), dtype=torch.float32)
        return CodeLogits(keys.new_zeros(n, k, f, 1), keys, log_frequency(counts).to(target.device))


class LatentHead(CodeHead):
    """A vector for each frame, mapped linearly to the codec's latent space.

    Parameters
    ----------
    n_hidden : int
        Hidden features of a TR.
    latent_dim : int
        D: dimensions of the codec's latents.
    n_frames : int
        F: frames of a TR.
    mean : Tensor, shape (D,), or None
        Mean latent of the training frames, where the head starts. Without, at 0.
    """

    def __init__(self, n_hidden: int, latent_dim: int, n_frames: int, mean: Tensor | None) -> None:
        super().__init__()
        self.frames = Frames(n_hidden, n_frames)
        self.latent = quiet(nn.Linear(FRAME_WIDTH, latent_dim))
        if mean is not None:
            with torch.no_grad():
                self.latent.bias.copy_(mean)

    def forward(self, hidden: Tensor) -> Tensor:
        """Latents of the codec.

        Parameters
        ----------
        hidden : Tensor, shape (..., n_hidden)

        Returns
        -------
        Tensor, shape (..., D, F)
        """
        return self.latent(self.frames(hidden)).transpose(-1, -2)

    @classmethod
    def build(cls, settings: ModelSettings, n_frames: int, codebooks: Tensor | None, counts: Tensor | None) -> Self:
        mean = None
        if counts is not None and codebooks is not None:
            mean = torch.einsum("kv,kvd->d", counts / counts.sum(1, keepdim=True), codebooks.double()).float()
        return cls(settings.features, LATENT_DIM if codebooks is None else codebooks.shape[2], n_frames, mean)

    def codes(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        # Requantized.
        *lead, d, f = _finite(answer).shape
        codes = rvq_quantize(answer.reshape(-1, d, f).transpose(1, 2).float(), _known(codebooks))[1]
        return codes.reshape(*lead, codes.shape[1], f).int()

    def latents(self, answer: Any, codebooks: Tensor | None) -> Tensor:
        # As decoded, neither requantized nor checked for NaN.
        return answer

    @classmethod
    def loss(
        cls, target: Tensor, answer: Any, settings: ModelSettings, scales: Scales, codebooks: Tensor | None
    ) -> Tensor:
        # Squared distance from the latents that the codes stand for, divided by their variance.
        if codebooks is None:
            raise InputError("head='latent' compares latents; pass codebooks, model.decoder.codebooks")
        return latent_loss(target, answer, codebooks) / scales.of("latent")

    @classmethod
    def constant(cls, target: Tensor, scales: Scales) -> Tensor:
        # The mean latent.
        n, _, f = target.shape
        return scales.mean("latent").to(target.device)[:, None].expand(n, -1, f)


CODE_HEADS: dict[Head, type[CodeHead]] = {
    "regression": RegressionHead,
    "classification": ClassificationHead,
    "latent": LatentHead,
}
"""By its name in the settings, what decodes codes."""


def _finite(values: Tensor) -> Tensor:
    if not values.isfinite().all():
        raise InputError("the decoded sound holds NaN or infinity: there is no code for that; check the BOLD series")
    return values


def _known(codebooks: Tensor | None) -> Tensor:
    if codebooks is None:
        raise InputError("the decoder does not know the codec's codebooks; pass codebooks when it is made")
    return codebooks


def _weights(settings: ModelSettings, like: Tensor) -> Tensor:
    """Of each codebook, (K,)."""
    return torch.tensor(settings.codebook_weights, device=like.device)


def _per_codebook(scales: Scales, name: str, like: Tensor) -> Tensor:
    return torch.tensor(scales.by_codebook(name), dtype=torch.float32, device=like.device)


def _counts(scales: Scales) -> Tensor:
    """How often each code occurs in training, float64 (K, V), on the CPU: not every device has doubles."""
    scales.by_codebook("entropy")  # refuses scales of data without codes
    return torch.as_tensor(scales.priors).double()
