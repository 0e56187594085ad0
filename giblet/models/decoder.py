"""From the bottleneck back to sound, picture and text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from giblet.codec.quantizer import rvq_dequantize, rvq_quantize
from giblet.errors import InputError
from giblet.models.heads import ClassificationHead, LatentHead, PictureHead, RegressionHead, ShapedHead
from giblet.models.layers import LinearPlus
from giblet.models.logits import CodeLogits
from giblet.models.settings import AUDIO, TEXT, VIDEO, Head

HEADS = ("regression", "classification", "latent")


class MultimodalDecoder(nn.Module):
    """Bottleneck to sound, picture and vectors by TR.

    Parameters
    ----------
    use_encodec : bool
        Sound as codes, by the `head`; False: as a mel spectrogram.
    head : {"regression", "classification", "latent"}
        ``"regression"``: each code as a number in [0, V - 1], as if codes were on a scale. ``"classification"``: a
        score for each entry of each codebook; a vector by frame, projected for each codebook, meets a vector by entry,
        so that 896 x 1024 outputs need no weights of their own. ``"latent"``: the latent vectors that codes stand for.
    bottleneck : int
    n_codebooks, codebook_size, frames_per_tr : int
        K, V and F of the codes.
    latent_dim : int
        D of the latents.
    n_mels : int
    mel_frames : int, optional
        Frames of mel per TR; None: one mean spectrum.
    video_shape : tuple of int, optional
        (H, W, 3) for pictures, (n,) for a vector; None: no picture is decoded.
    text_dim : int, optional
    codebooks : Tensor, shape (K, V, D), optional
        Of the codec; what ``head="latent"`` requantises with, and `to_latents` needs.
    priors : Tensor, shape (K, V), optional
        How many times each code occurs in training: the audio head starts from there. Uniform without.
    vectors : mapping of str to int, optional
        More vectors to decode, by name.
    audio : bool
        False: no sound is decoded.
    features : int
        Hidden width.

    Raises
    ------
    InputError
        If there is no such head, or codebooks or priors do not fit.

    Examples
    --------
    >>> decoder = MultimodalDecoder(use_encodec=True, head="regression")
    >>> decoder(torch.zeros(2, 128))["audio"].shape
    torch.Size([2, 8, 112])
    """

    codebooks: Tensor | None
    """float32 (K, V, D), saved with the weights."""

    def __init__(
        self,
        use_encodec: bool = True,
        head: Head = "regression",
        bottleneck: int = 128,
        n_codebooks: int = 8,
        codebook_size: int = 1024,
        frames_per_tr: int = 112,
        latent_dim: int = 128,
        n_mels: int = 2048,
        mel_frames: int | None = None,
        video_shape: tuple[int, ...] | None = None,
        text_dim: int | None = None,
        codebooks: Tensor | None = None,
        priors: Tensor | None = None,
        vectors: Mapping[str, int] | None = None,
        audio: bool = True,
        features: int = 256,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise InputError(f"head is {head!r}: {', '.join(HEADS)} are known")
        self.use_encodec, self.head, self.bottleneck = use_encodec, head, bottleneck
        self.n_codebooks, self.codebook_size, self.frames_per_tr = n_codebooks, codebook_size, frames_per_tr
        books = _checked_books(codebooks, n_codebooks, codebook_size) if use_encodec else None
        if books is not None and head == "latent":
            latent_dim = books.shape[2]
        self.register_buffer("codebooks", books)
        self.trunk = LinearPlus(bottleneck, features, features)
        self.heads = nn.ModuleDict()
        if audio:
            counts = _checked_counts(priors, n_codebooks, codebook_size) if use_encodec else None
            if not use_encodec:
                self.heads[AUDIO] = ShapedHead(features, (n_mels,) if mel_frames is None else (n_mels, mel_frames))
            elif head == "regression":
                self.heads[AUDIO] = RegressionHead(features, n_codebooks, frames_per_tr, codebook_size, counts)
            elif head == "classification":
                self.heads[AUDIO] = ClassificationHead(features, n_codebooks, frames_per_tr, codebook_size, counts)
            else:
                mean = None
                if counts is not None and books is not None:
                    mean = torch.einsum("kv,kvd->d", counts / counts.sum(1, keepdim=True), books.double()).float()
                self.heads[AUDIO] = LatentHead(features, latent_dim, frames_per_tr, mean)
        if video_shape is not None:
            picture = len(video_shape) == 3
            self.heads[VIDEO] = PictureHead(features, video_shape) if picture else ShapedHead(features, video_shape)
        if text_dim is not None:
            self.heads[TEXT] = ShapedHead(features, (text_dim,))
        for name, n in (vectors or {}).items():
            self.heads[name] = ShapedHead(features, (n,))

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
        factored = self.decode(z)
        return {name: out.dense() if isinstance(out, CodeLogits) else out for name, out in factored.items()}

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
        if not z.is_floating_point() or z.shape[-1:] != (self.bottleneck,):
            raise InputError(f"the decoder got {z.dtype} {tuple(z.shape)}: floats (B, {self.bottleneck}) are needed")
        hidden = self.trunk(z)
        return {name: head(hidden) for name, head in self.heads.items()}

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
            Rounded and clipped, or the best entries, or the requantised latents.

        Raises
        ------
        InputError
            If there is no sound in codes, or it holds NaN, or the codebooks that latents are requantised with are not
            known.

        See Also
        --------
        to_latents : Latents instead of codes.
        """
        audio = self._audio(outputs)
        if isinstance(audio, CodeLogits):
            _check_finite(audio.queries)
            return audio.argmax()
        _check_finite(audio)
        if self.head == "classification":
            return audio.argmax(-1).int()
        if self.head == "regression":
            return audio.round().clamp(0, self.codebook_size - 1).int()
        *lead, d, f = audio.shape
        codes = rvq_quantize(audio.reshape(-1, d, f).transpose(1, 2).float(), self._books())[1]
        return codes.reshape(*lead, self.n_codebooks, f).int()

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
            ``head="latent"``: as decoded, neither requantised nor checked for NaN.

        Raises
        ------
        InputError
            If there is no sound in codes, `expected` is asked of another head, or, with a head other than ``"latent"``,
            the codebooks are not known; also as `to_codes`, where the best codes are taken.

        See Also
        --------
        to_codes : Codes instead of latents.
        """
        audio = self._audio(outputs)
        if expected and self.head != "classification":
            raise InputError(f"head {self.head!r} gives no probabilities: expected=True needs 'classification'")
        if self.head == "latent":
            return audio
        if expected:
            if isinstance(audio, CodeLogits):
                return audio.expected(self._books())
            return torch.einsum("...kfv,kvd->...df", audio.softmax(-1), self._books())
        codes = self.to_codes(outputs)
        latents = rvq_dequantize(codes.reshape(-1, *codes.shape[-2:]), self._books()).transpose(1, 2)
        return latents.reshape(*codes.shape[:-2], *latents.shape[1:])

    def _audio(self, outputs: Mapping[str, Any]) -> Any:
        if not self.use_encodec or AUDIO not in outputs:
            raise InputError("there are no codes here: the model decodes a mel spectrogram, or no sound at all")
        return outputs[AUDIO]

    def _books(self) -> Tensor:
        if self.codebooks is None:
            raise InputError("the decoder does not know the codec's codebooks: give codebooks when it is made")
        return self.codebooks


def _checked_books(codebooks: Tensor | None, k: int, size: int) -> Tensor | None:
    if codebooks is None:
        return None
    if codebooks.ndim != 3 or tuple(codebooks.shape[:2]) != (k, size):
        raise InputError(f"codebooks are of shape {tuple(codebooks.shape)}: ({k}, {size}, D) is needed")
    return codebooks.detach().float().clone()


def _checked_counts(priors: Tensor | None, k: int, size: int) -> Tensor | None:
    if priors is None:
        return None
    counts = priors.detach().double()
    if tuple(counts.shape) != (k, size) or not bool((counts >= 0).all()) or not bool((counts.sum(1) > 0).all()):
        raise InputError(f"priors are of shape {tuple(counts.shape)}: counts of each code, ({k}, {size}), are needed")
    return counts


def _check_finite(values: Tensor) -> None:
    if not values.isfinite().all():
        raise InputError("the decoded sound holds NaN or infinity: there is no code for that; check the BOLD series")
