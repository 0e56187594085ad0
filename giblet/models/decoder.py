"""From the bottleneck back to sound, picture and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from giblet.errors import InputError
from giblet.modalities import AUDIO, TEXT, VIDEO
from giblet.models.heads import CODE_HEADS, CodeHead
from giblet.models.layers import LinearPlus
from giblet.models.settings import Modality, ModelSettings, check_modalities
from giblet.models.stimulus_heads import PictureHead, ShapedHead

N_MELS = 2048
"""Mel bands of the legacy mode, where no modality says how many."""


@dataclass(frozen=True)
class WaitingAnswer:
    """What a head has yet to answer: ``answer[rows]`` computes those rows alone.

    Windows share rows with each other, and only one of them scores each: a step asks for little more than half.

    Parameters
    ----------
    head : torch.nn.Module
    hidden : Tensor, shape (..., features)
        What the head is given.
    """

    head: nn.Module
    hidden: Tensor

    def __getitem__(self, rows: Tensor) -> Any:
        """The answer to some rows, as ``head(hidden)[rows]`` would be.

        Parameters
        ----------
        rows : Tensor of bool, shape (...)

        Returns
        -------
        Tensor or CodeLogits
        """
        return self.head(self.hidden[rows])


class MultimodalDecoder(nn.Module):
    """Bottleneck to sound, picture and vectors by TR.

    Parameters
    ----------
    use_encodec : bool, optional
        Sound as codes, by the head of the settings; False: as a mel spectrogram. By default what the settings say.
    settings : ModelSettings, optional
        Of `head`, the shape of the codes and the widths; by default ``ModelSettings.make(use_encodec=use_encodec)``.
        ``head="latent"``, the default of all models: the latent vectors that codes stand for. ``"classification"``: a
        score for each entry of each codebook; a vector by frame, projected for each codebook, meets a vector by entry,
        so that 896 x 1024 outputs need no weights of their own. ``"regression"``: each code as a number in [0, V - 1],
        as if codes were on a scale. Each is a class in :mod:`giblet.models.heads`, which says how to add one.
    modalities : mapping of str to Modality, optional
        What is decoded, by name; by default sound alone: codes (K, F), or a mel spectrum of 2048 bands.
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec; what ``head="latent"`` requantizes with, and `to_latents` needs.
    priors : Tensor, shape (K, V), optional
        How many times each code occurs in training: the audio head starts from there. Uniform without.

    Raises
    ------
    InputError
        If `use_encodec` or the modalities contradict the settings, or codebooks or priors do not fit.

    See Also
    --------
    giblet.models.encoder.AudioEncoder : The way in, for sound.
    giblet.models.autoencoder.MultimodalAutoencoder : The whole model, which has one of these as ``decoder``.

    Examples
    --------
    >>> decoder = MultimodalDecoder(use_encodec=True, codebooks=torch.randn(8, 1024, 128))
    >>> decoded = decoder(torch.zeros(2, 128))
    >>> decoded["audio"].shape, decoder.to_codes(decoded).shape
    (torch.Size([2, 128, 112]), torch.Size([2, 8, 112]))
    >>> numbers = MultimodalDecoder(settings=ModelSettings.make(head="regression"))
    >>> numbers(torch.zeros(2, 128))["audio"].shape
    torch.Size([2, 8, 112])
    """

    codebooks: Tensor | None
    """float32 (K, V, D), saved with the weights."""

    def __init__(
        self,
        use_encodec: bool | None = None,  # the first, and this word: a promise to callers of before there were settings
        settings: ModelSettings | None = None,
        modalities: Mapping[str, Modality] | None = None,
        *,
        codebooks: Tensor | None = None,
        priors: Tensor | None = None,
    ) -> None:
        super().__init__()
        s = ModelSettings.make(use_encodec=use_encodec is not False) if settings is None else settings
        if use_encodec not in (None, s.use_encodec):
            raise InputError(f"use_encodec is {use_encodec}, but {s.use_encodec} in the settings; pass only one")
        self.use_encodec, self.head, self.bottleneck = s.use_encodec, s.head, s.bottleneck
        self.n_codebooks, self.codebook_size = s.n_codebooks, s.codebook_size
        if modalities is None:
            codes, mel = Modality("codes", (s.n_codebooks, s.frames_per_tr)), Modality("mel", (N_MELS,))
            modalities = {AUDIO: codes if s.use_encodec else mel}
        check_modalities(s, modalities)
        books = _checked_books(codebooks, s.n_codebooks, s.codebook_size) if s.use_encodec else None
        counts = _checked_counts(priors, s.n_codebooks, s.codebook_size) if s.use_encodec else None
        self.register_buffer("codebooks", books)
        self.trunk = LinearPlus(s.bottleneck, s.features, s.features)
        # In this order random weights have always been drawn: the same seed gives the same model.
        first = [name for name in (AUDIO, VIDEO, TEXT) if name in modalities]
        self.heads = nn.ModuleDict(
            {name: _head(modalities[name], s, books, counts) for name in dict.fromkeys([*first, *modalities])}
        )

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        """Decode.

        Parameters
        ----------
        z : Tensor, shape (B, bottleneck)
            Or with other leading axes, which the answer then has too.

        Returns
        -------
        dict of str to Tensor
            ``"audio"``: regression (B, K, F) float32 in [0, V - 1]; classification: scores (B, K, F, V); latent
            (B, D, F); mel (B, n_mels) or (B, n_mels, F). ``"video"`` (B, H, W, 3) or (B, n); ``"text"`` and other
            vectors (B, n).

        Raises
        ------
        InputError
            If `z` is not floats (..., bottleneck).
        """
        answers = self.decode(z)
        for name, head in self.heads.items():
            if isinstance(head, CodeHead):
                answers[name] = head.dense(answers[name])
        return answers

    def decode(self, z: Tensor) -> dict[str, Any]:
        """As calling the decoder, with the scores of classification in factors.

        Parameters
        ----------
        z : Tensor, shape (..., bottleneck)

        Returns
        -------
        dict of str to Tensor or CodeLogits
            As `forward`, with the leading axes of `z`; only ``"audio"`` of the classification head is CodeLogits, for
            scores (..., K, F, V).

        Raises
        ------
        InputError
            If `z` is not floats (..., bottleneck).
        """
        hidden = self._hidden(z)
        return {name: head(hidden) for name, head in self.heads.items()}

    def waiting(self, z: Tensor) -> dict[str, WaitingAnswer]:
        """As `decode`, but nothing is computed of the heads before rows are taken of their answers.

        Parameters
        ----------
        z : Tensor, shape (..., bottleneck)

        Returns
        -------
        dict of str to WaitingAnswer

        Raises
        ------
        InputError
            If `z` is not floats (..., bottleneck).

        See Also
        --------
        decode : The answers themselves.
        """
        hidden = self._hidden(z)
        return {name: WaitingAnswer(head, hidden) for name, head in self.heads.items()}

    def _hidden(self, z: Tensor) -> Tensor:
        """What the heads are given, (..., features)."""
        if not z.is_floating_point() or z.shape[-1:] != (self.bottleneck,):
            raise InputError(f"the decoder got {z.dtype} {tuple(z.shape)}; expected floats (B, {self.bottleneck})")
        return self.trunk(z)

    @torch.no_grad()
    def to_codes(self, outputs: Mapping[str, Any]) -> Tensor:
        """Codes that a codec can decode.

        Parameters
        ----------
        outputs : mapping of str to Tensor or CodeLogits
            What `forward` or `decode` answered.

        Returns
        -------
        Tensor, shape (..., K, F), int32 in [0, V - 1]
            Rounded and clipped, or the best entries, or the requantized latents.

        Raises
        ------
        InputError
            If there is no sound in codes, or it holds NaN, or the codebooks that latents are requantized with are not
            known.

        See Also
        --------
        to_latents : Latents instead of codes.
        """
        head, answer = self._of_codes(outputs)
        return head.codes(answer, self.codebooks)

    @torch.no_grad()
    def to_latents(self, outputs: Mapping[str, Any], expected: bool = False) -> Tensor:
        """Latents of the codec.

        Parameters
        ----------
        outputs : mapping of str to Tensor or CodeLogits
            What `forward` or `decode` answered.
        expected : bool
            The mean under the probabilities of the classification head, instead of the entries of the best codes: a
            smoother sound where the model is unsure.

        Returns
        -------
        Tensor, shape (..., D, F), float32
            ``head="latent"``: as decoded, neither requantized nor checked for NaN.

        Raises
        ------
        InputError
            If there is no sound in codes, `expected` is asked of another head, or, with a head other than ``"latent"``,
            the codebooks are not known; also as `to_codes`, where the best codes are taken.

        See Also
        --------
        to_codes : Codes instead of latents.
        """
        head, answer = self._of_codes(outputs)
        return head.expected_latents(answer, self.codebooks) if expected else head.latents(answer, self.codebooks)

    def _of_codes(self, outputs: Mapping[str, Any]) -> tuple[CodeHead, Any]:
        """What decodes the codes, and its answer."""
        head = dict(self.heads.items()).get(AUDIO)  # a ModuleDict has no get
        if not isinstance(head, CodeHead) or AUDIO not in outputs:
            raise InputError("there are no codes here: the model decodes a mel spectrogram, or no sound at all")
        return head, outputs[AUDIO]


def _head(modality: Modality, settings: ModelSettings, books: Tensor | None, counts: Tensor | None) -> nn.Module:
    """What decodes one modality."""
    if modality.kind == "codes":
        return CODE_HEADS[settings.head].build(settings, modality.shape[1], books, counts)
    return (PictureHead if modality.kind == "frames" else ShapedHead)(settings.features, modality.shape)


def _checked_books(codebooks: Tensor | None, k: int, size: int) -> Tensor | None:
    if codebooks is None:
        return None
    if codebooks.ndim != 3 or tuple(codebooks.shape[:2]) != (k, size):
        raise InputError(f"codebooks are of shape {tuple(codebooks.shape)}; expected ({k}, {size}, D)")
    return codebooks.detach().float().clone()


def _checked_counts(priors: Tensor | None, k: int, size: int) -> Tensor | None:
    if priors is None:
        return None
    counts = priors.detach().double()
    if tuple(counts.shape) != (k, size) or not bool((counts >= 0).all()) or not bool((counts.sum(1) > 0).all()):
        raise InputError(f"priors are of shape {tuple(counts.shape)}; expected counts of each code, ({k}, {size})")
    return counts
